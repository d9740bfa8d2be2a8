"""Mood against flow: hold the coin while the crowd cheers and coins leave the exchanges."""

from typing import Any

from signals import Mood, ZScore
from strategies.base import Param, Strategy


class MoodFlow(Strategy):
    """Hold a coin while its crowd is cheerful and coins leave the exchanges, for what flows in is there to be sold."""

    mood = Mood(half_life="6h")
    flow = ZScore("exchange_netflow", window="7d")
    entry = Param(0.30, low=0.0, high=1.0)
    exit = Param(0.10, low=0.0, high=1.0)
    pull = Param(0.25, low=0.0, high=5.0)  # what one standard deviation of inflow takes off the conviction

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Target weight of equity for one symbol; `s.held` is the weight held now."""
        conviction = s.mood - p.pull * s.flow
        threshold = p.exit if s.held > 0.0 else p.entry
        return min(conviction, 1.0) if conviction > threshold else 0.0
