"""Measurements against other libraries: same work, equal results, one run."""
