"""EMA cross: hold the coin while its fast average lies above its slow one."""

from typing import Any

from signals import EMA
from strategies.base import Param, Strategy


class EmaCross(Strategy):
    """Hold a coin while its fast exponential average lies above its slow one."""

    fast_window = Param(20, low=2, high=1000, integer=True)
    slow_window = Param(60, low=3, high=5000, integer=True)
    weight = Param(1.0, low=0.0, high=1.0)
    fast = EMA(fast_window)
    slow = EMA(slow_window)

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Target weight of equity for one symbol."""
        return p.weight if s.fast > s.slow else 0.0
