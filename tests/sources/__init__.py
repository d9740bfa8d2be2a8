"""A world for each source of `data/sources`: its API on loopback, with everything that can go wrong with it."""
