"""Mood rank: hold the coins with the best mood, each by an equal part."""

from typing import Any

import numpy as np

from signals import Mood
from strategies.base import Param, Strategy


class MoodRank(Strategy):
    """Hold the few coins whose crowds are the most cheerful of all, as long as they are cheerful at all."""

    half_life = Param(24.0, low=0.5, high=480.0)  # hours
    top = Param(2, low=1, high=50, integer=True)
    least = Param(0.05, low=-1.0, high=1.0)
    stay = Param(0.03, low=0.0, high=1.0)  # head start of a coin that is held, so that ranks don't trade themselves
    share = Param(0.8, low=0.0, high=1.0)
    mood = Mood(half_life)

    @staticmethod
    def allocate(s: Any, p: Any) -> Any:
        """Target weights over symbols; `s.mood` and `s.held` are arrays."""
        count = len(s.mood)
        rank = np.empty(count)
        for k in range(count):
            rank[k] = s.mood[k] + (p.stay if s.held[k] > 0.0 else 0.0)
        weights = np.zeros(count)
        for k in range(count):
            better = 0
            for other in range(count):
                if rank[other] > rank[k] or (rank[other] == rank[k] and other < k):
                    better += 1
            if better < p.top and rank[k] > p.least:
                weights[k] = p.share / p.top
        return weights
