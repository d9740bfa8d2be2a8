"""Fear and greed: buy while others are afraid and sell to them when they have become greedy."""

from typing import Any

from signals import Level
from strategies.base import Param, Strategy


class FearGreed(Strategy):
    """Buy while the fear-and-greed index says fear, and hold until it says greed."""

    index = Level("fear_greed", coin="*", max_age="3d")
    fear = Param(25.0, low=0.0, high=100.0)
    greed = Param(60.0, low=0.0, high=100.0)
    weight = Param(0.25, low=0.0, high=1.0)

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Target weight of equity for one symbol; between the two it stays as it is."""
        if s.held > 0.0:
            return 0.0 if s.index >= p.greed else p.weight
        return p.weight if s.index <= p.fear else 0.0
