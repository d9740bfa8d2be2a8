"""Strategies that fail: when the price is 13, or from the beginning."""

from typing import Any

import numpy as np

from signals import EMA, Close, Mood
from strategies.base import Strategy


class Raises(Strategy):
    """Raises when the price is 13."""

    close = Close()

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """A division by zero."""
        return 0.5 / (0.0 if s.close == 13.0 else 1.0)


class GivesNan(Strategy):
    """Gives NaN when the price is 13."""

    close = Close()

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """No number."""
        return np.nan if s.close == 13.0 else 0.5


class Slow(Strategy):
    """Can't be compiled, and raises when the price is 13."""

    close = Close()

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """A dictionary of mixed things is beyond numba."""
        return {"yes": 0.5, 3: "no"}["yes" if s.close != 13.0 else "oh"]  # type: ignore[return-value]


class Fewer(Strategy):
    """Leaves out symbols when the price is 13: what lies behind an array's end is no weight."""

    close = Close()

    @staticmethod
    def allocate(s: Any, p: Any) -> Any:
        """Only those that are not at 13."""
        return np.full(len(s), 0.5)[s.close != 13.0]


class More(Strategy):
    """Answers for a symbol too many when the price is 13."""

    close = Close()

    @staticmethod
    def allocate(s: Any, p: Any) -> Any:
        """One more."""
        return np.full(len(s) + (1 if s.close[0] == 13.0 else 0), 0.5)


class Listed(Strategy):
    """Gives a list with the weight in it when the price is 13."""

    close = Close()

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Numpy would take it out of the list."""
        return [0.5] if s.close == 13.0 else 0.5


class Single(Strategy):
    """Gives one weight for all symbols when the price is 13."""

    close = Close()

    @staticmethod
    def allocate(s: Any, p: Any) -> Any:
        """Numpy would give it to each."""
        return 0.5 if s.close[0] == 13.0 else np.full(len(s), 0.5)


class Ancient(Strategy):
    """Looks further back than times reach."""

    close, mean, mood = Close(), EMA(10_000_000), Mood("100000d")

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Nothing."""
        return 0.0
