"""A venue of our own for tests: matching that is exact in decimals, and fronts that speak real exchanges' protocols."""
