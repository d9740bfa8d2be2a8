"""Buy and hold: a share of equity in equal parts, whatever happens."""

from typing import Any

import numpy as np

from strategies.base import Param, Strategy


class BuyAndHold(Strategy):
    """Hold every coin in equal parts, bought at the first decision and left to drift."""

    share = Param(1.0, low=0.0, high=1.0)

    @staticmethod
    def allocate(s: Any, p: Any) -> Any:
        """What is held stays as it has drifted; what is left of the share is parted among the others."""
        count = len(s.held)
        weights = np.empty(count)
        left = p.share
        absent = 0
        for k in range(count):
            left -= s.held[k]
            absent += s.held[k] == 0.0
        for k in range(count):
            weights[k] = s.held[k] if s.held[k] != 0.0 else max(left, 0.0) / absent
        return weights
