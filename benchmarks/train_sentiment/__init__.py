"""Trains the three-class model that Tidegate ships, or one of a user's own: `python -m benchmarks.train_sentiment`."""
