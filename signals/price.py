"""What the price does: averages, ranges, momentum and channels over closed bars.

A missing bar is skipped. A silence longer than the signal's own window starts it anew, for what it remembers is then
older than all it should remember.
"""

from __future__ import annotations

import math

from data.times import DAY_NS
from signals import ops
from signals.signal import Recipe, Setting, Signal, bar_column, choice_of, count_of

YEAR_NS = 365 * DAY_NS  # a market that never closes


class _Windowed(Signal):
    """A bar signal with one window."""

    window: int
    before: int = 0  # bars it needs besides those in its window

    def settle(self) -> None:
        name = type(self).__name__
        self.window = count_of(self.arguments["window"], f"{name}.window")
        self.column = bar_column(self.arguments.get("column", "close"), f"{name}.column")

    @property
    def lookback_bars(self) -> int:
        return self.window + self.before


class Close(Signal):
    """The last bar's close, or another of its columns.

    Parameters
    ----------
    column : {"close", "open", "high", "low", "volume"}
    on : duration, optional
        Length of its own, coarser bars ("4h"), of which only closed ones count.
    seen : (float, float), optional
        A value outside of this range is suspect: the symbol is held as it is.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"close": Close()}, of_closes([10.0, 11.0, 12.0]))[0][:, 0, 0]
    array([10., 11., 12.])
    """

    def __init__(self, *, column: Setting = "close", on: Setting = None, seen: Setting = None) -> None:
        self._declare(column=column, on=on, seen=seen)

    def settle(self) -> None:
        self.column = bar_column(self.arguments["column"], "Close.column")

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.CLOSE, column=self.column)

    @property
    def lookback_bars(self) -> int:
        return 1


class EMA(_Windowed):
    """Exponential moving average, y = a x + (1 - a) y with a = 2 / (window + 1), seeded at the first close.

    Ready at the `window`-th bar; the same as `pandas` ewm(span=window, adjust=False, min_periods=window).

    Parameters
    ----------
    window : int
        Bars.
    column, on, seen
        As for `Close`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"ema": EMA(3)}, of_closes([1.0, 2.0, 3.0, 4.0]))[0][:, 0, 0]
    array([  nan,   nan, 2.25 , 3.125])
    """

    def __init__(self, window: Setting, *, column: Setting = "close", on: Setting = None, seen: Setting = None) -> None:
        self._declare(window=window, column=column, on=on, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        smoothing = 2.0 / (self.window + 1)
        return Recipe(ops.EMA, slots=1, column=self.column, window=self.window, need=self.window, params=(smoothing,))


class SMA(_Windowed):
    """Mean of the last `window` bars, ready at the `window`-th.

    Parameters
    ----------
    window : int
        Bars.
    column, on, seen
        As for `Close`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"sma": SMA(2)}, of_closes([1.0, 2.0, 3.0, 4.0]))[0][:, 0, 0]
    array([nan, 1.5, 2.5, 3.5])
    """

    def __init__(self, window: Setting, *, column: Setting = "close", on: Setting = None, seen: Setting = None) -> None:
        self._declare(window=window, column=column, on=on, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        slots = 1 + self.window
        return Recipe(ops.SMA, slots=slots, column=self.column, window=self.window, need=self.window)


class RSI(_Windowed):
    """Relative strength index, 0 to 100: 100 U / (U + D), with U and D Wilder's averages of the gains and the losses.

    Both start as plain means of the first `window` changes and then move by 1 / window of what is new; 50 when nothing
    moved. From J. W. Wilder, New Concepts in Technical Trading Systems (1978). Ready at bar `window` + 1.

    Parameters
    ----------
    window : int
        Changes.
    on, seen
        As for `Close`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"rsi": RSI(2)}, of_closes([10.0, 11.0, 10.0, 13.0]))[0][:, 0, 0]
    array([ nan,  nan, 50. , 87.5])
    """

    before = 1

    def __init__(self, window: Setting = 14, *, on: Setting = None, seen: Setting = None) -> None:
        self._declare(window=window, on=on, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.RSI, slots=3, column=self.column, window=self.window, need=self.window + 1)


class ATR(_Windowed):
    """Average true range: the greatest of high - low, |high - last close| and |low - last close|, averaged by Wilder.

    Starts as the plain mean of the first `window` ranges (the very first is high - low) and then moves by 1 / window of
    what is new. From J. W. Wilder, New Concepts in Technical Trading Systems (1978). Ready at the `window`-th bar.

    Parameters
    ----------
    window : int
        Bars.
    relative : bool
        As a share of the close instead of in quote.
    on, seen
        As for `Close`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"atr": ATR(2)}, of_closes([10.0, 11.0, 13.0]))[0][:, 0, 0]
    array([ nan, 0.5 , 1.25])
    """

    def __init__(
        self, window: Setting = 14, *, relative: bool = False, on: Setting = None, seen: Setting = None
    ) -> None:
        self._declare(window=window, relative=relative, on=on, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        params = (float(bool(self.arguments["relative"])),)
        return Recipe(ops.ATR, slots=2, column=self.column, window=self.window, need=self.window, params=params)


class Momentum(_Windowed):
    """Return over `window` bars: close / close then - 1. Ready at bar `window` + 1.

    Parameters
    ----------
    window : int
        Bars.
    column, on, seen
        As for `Close`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"momentum": Momentum(2)}, of_closes([8.0, 9.0, 10.0]))[0][:, 0, 0]
    array([ nan,  nan, 0.25])
    """

    before = 1

    def __init__(self, window: Setting, *, column: Setting = "close", on: Setting = None, seen: Setting = None) -> None:
        self._declare(window=window, column=column, on=on, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        need = self.window + 1
        return Recipe(ops.MOMENTUM, slots=self.window, column=self.column, window=self.window, need=need)


class Volatility(_Windowed):
    """Realised volatility per year: the root of the mean squared log return of the last `window` bars, times that of a
    year.

    The mean return isn't taken off (Andersen and Bollerslev, 1998: realised variance is the sum of squared returns). A
    year is 365 days of 24 hours. Ready at bar `window` + 1.

    Parameters
    ----------
    window : int
        Returns.
    on, seen
        As for `Close`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"volatility": Volatility(2)}, of_closes([100.0, 101.0, 100.0]))[0][:, 0, 0]
    array([       nan,        nan, 0.93129994])
    """

    before = 1

    def __init__(self, window: Setting, *, on: Setting = None, seen: Setting = None) -> None:
        self._declare(window=window, on=on, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        scale = math.sqrt(YEAR_NS / (self.on_ns or bar_ns))
        slots, need = 7 + self.window, self.window + 1
        return Recipe(ops.VOLATILITY, slots, column=self.column, window=self.window, need=need, params=(scale,))


class Donchian(_Windowed):
    """Channel between the highest high and the lowest low of the `window` bars before the current one.

    The current bar isn't part of it, so that a close above its top is a breakout: then the position is above 1. It is
    0.5 in a channel without width. After R. Donchian's four-week rule (1960). Ready at bar `window` + 1.

    Parameters
    ----------
    window : int
        Bars.
    part : {"position", "high", "low"}
        Where the close lies between bottom (0) and top (1), or the top, or the bottom.
    on, seen
        As for `Close`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"place": Donchian(2)}, of_closes([10.0, 12.0, 11.0, 13.0]))[0][:, 0, 0]
    array([nan, nan, 0.5, 2. ])
    """

    before = 1

    def __init__(
        self, window: Setting = 20, *, part: str = "position", on: Setting = None, seen: Setting = None
    ) -> None:
        self._declare(window=window, part=part, on=on, seen=seen)

    def settle(self) -> None:
        super().settle()
        self.part = choice_of(self.arguments["part"], "Donchian.part", ("position", "high", "low"))

    def recipe(self, bar_ns: int) -> Recipe:
        slots, need = 2 * (2 + self.window), self.window + 1
        return Recipe(ops.DONCHIAN, slots, column=self.part, window=self.window, need=need)
