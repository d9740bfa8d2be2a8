"""A source for `benchmarks/record.py`, found when this folder is added to those of `data.sources`."""
