"""Mood momentum: hold the coin while the crowd cheers and the price agrees with it."""

from typing import Any

from signals import Momentum, Mood
from strategies.base import Param, Strategy


class MoodMomentum(Strategy):
    """Hold a coin while its crowd is cheerful and its price rises, and leave when either turns."""

    half_life = Param(12.0, low=0.5, high=240.0)  # hours
    window = Param(24, low=2, high=1000, integer=True)
    entry = Param(0.15, low=0.0, high=1.0)
    exit = Param(0.05, low=-1.0, high=1.0)
    weight = Param(0.25, low=0.0, high=1.0)
    stop_loss = Param(0.08, low=0.005, high=0.9)
    mood = Mood(half_life)
    momentum = Momentum(window)

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Target weight of equity for one symbol; `s.held` is the weight held now."""
        threshold = p.exit if s.held > 0.0 else p.entry
        return p.weight if s.mood > threshold and s.momentum > 0.0 else 0.0
