"""What the price does: averages, ranges, momentum and channels over closed bars.

A missing bar is skipped. A silence longer than the signal's own window starts it anew, for what it remembers is then
older than all it should remember.
"""

from __future__ import annotations

from signals import ops
from signals.signal import Recipe, Setting, Signal, bar_column, count_of


class Close(Signal):
    """The close of the last bar."""

    def __init__(self, *, column: Setting = "close", on: Setting = None, seen: Setting = None) -> None:
        self._declare(column=column, on=on, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.CLOSE, column=bar_column(self.arguments["column"], "Close.column"))

    @property
    def lookback_bars(self) -> int:
        return 1


class EMA(Signal):
    """Exponential moving average, y = a x + (1 - a) y with a = 2 / (window + 1), seeded at the first close."""

    window: int

    def __init__(self, window: Setting, *, column: Setting = "close", on: Setting = None, seen: Setting = None) -> None:
        self._declare(window=window, column=column, on=on, seen=seen)

    def settle(self) -> None:
        self.window = count_of(self.arguments["window"], "EMA.window")
        self.column = bar_column(self.arguments["column"], "EMA.column")

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(
            ops.EMA,
            slots=1,
            column=self.column,
            window=self.window,
            need=self.window,
            params=(2.0 / (self.window + 1),),
        )

    @property
    def lookback_bars(self) -> int:
        return self.window
