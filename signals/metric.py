"""What the chain and the market's gauges show: levels, changes, standard scores and age of metrics.

Of each series the newest event that is known counts: an arrival whose event is older than the newest one is no news. A
correction replaces the event it corrects, from the time it is known, also inside of windows. A metric about the
symbol's own coin is preferred to one about the market as a whole.
"""

from __future__ import annotations

from data.errors import InputError
from signals import ops
from signals.signal import Recipe, Setting, Signal, Span, bar_column, count_of, span_ns


class _Metric(Signal):
    """A signal moved by one metric."""

    kind = "metric"
    metric: str
    window_ns: int = 0

    def settle(self) -> None:
        name, coin = self.arguments["metric"], self.arguments.get("coin")
        if not isinstance(name, str) or not name:
            raise InputError("has to be the name of a metric", key=f"{type(self).__name__}.metric", value=name)
        if coin is not None and not (isinstance(coin, str) and coin):
            raise InputError(
                "has to be a ticker, '*' for the market, or None for each symbol's own", key="coin", value=coin
            )
        self.metric, self.coin = name, coin

    def facts(self) -> tuple[tuple[str, str, str | None], ...]:
        return (("metrics", self.metric, self.coin),)

    def scope(self, coins: tuple[str, ...]) -> int:
        return ops.scope_of(self.coin, coins)

    def lookback_ns(self, bar_ns: int) -> int:
        # Twice the window, since windows end at the newest event, which may itself be old; and a month for the rare
        # ones.
        return max(2 * self.window_ns, 30 * 24 * 3600 * 10**9)


class Level(_Metric):
    """The value of the newest event known.

    Parameters
    ----------
    metric : str
        Name it is stored by.
    coin : str, optional
        A ticker, or "*" for the market as a whole; by default each symbol's own coin, else the market.
    max_age : duration, optional
        Stale when the newest event ended longer ago than this; by default never.
    seen : (float, float), optional
        A value outside of this range is suspect: the symbol is held as it is.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import MetricTape, of_closes
    >>> hour = 3_600_000_000_000
    >>> times = [hour, 2 * hour + 1]
    >>> fear = MetricTape(coin=[-1, -1], event_ns=[1, 2], known_ns=times, value=[25.0, 70.0], revision=[0, 0])
    >>> evaluate({"fear": Level("fear")}, of_closes([1.0] * 3, metrics={"fear": fear}))[0][:, 0, 0]
    array([25., 25., 70.])
    """

    def __init__(self, metric: str, *, coin: str | None = None, max_age: Span = None, seen: Setting = None) -> None:
        self._declare(metric=metric, coin=coin, max_age=max_age, seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.LEVEL, slots=ops.METRIC_SLOTS)


class Change(_Metric):
    """The newest value less the value of the newest event at least `window` before it.

    Parameters
    ----------
    metric : str
    window : duration
        Between the ends of the two events.
    relative : bool
        As a share of the older value.
    coin, max_age, seen
        As for `Level`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import MetricTape, of_closes
    >>> hour = 3_600_000_000_000
    >>> times = [hour, 2 * hour, 3 * hour]
    >>> none, value = [0] * 3, [100.0, 110.0, 121.0]
    >>> supply = MetricTape(coin=none, event_ns=times, known_ns=times, value=value, revision=none)
    >>> growth = Change("supply", window="2h", relative=True)
    >>> evaluate({"growth": growth}, of_closes([1.0] * 3, metrics={"supply": supply}))[0][:, 0, 0].round(9)
    array([ nan,  nan, 0.21])
    """

    def __init__(
        self,
        metric: str,
        window: Span,
        *,
        relative: bool = False,
        coin: str | None = None,
        max_age: Span = None,
        seen: Setting = None,
    ) -> None:
        self._declare(metric=metric, window=window, relative=relative, coin=coin, max_age=max_age, seen=seen)

    def settle(self) -> None:
        super().settle()
        self.window_ns = span_ns(self.arguments["window"], "Change.window")

    def recipe(self, bar_ns: int) -> Recipe:
        params = (float(bool(self.arguments["relative"])),)
        return Recipe(ops.CHANGE, slots=ops.METRIC_SLOTS, window=self.window_ns, params=params)


class Staleness(_Metric):
    """Hours since the newest event known ended.

    Parameters
    ----------
    metric, coin, seen
        As for `Level`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import MetricTape, of_closes
    >>> hour = 3_600_000_000_000
    >>> flow = MetricTape(coin=[0], event_ns=[hour // 2], known_ns=[hour], value=[3.0], revision=[0])
    >>> evaluate({"age": Staleness("flow")}, of_closes([1.0] * 3, metrics={"flow": flow}))[0][:, 0, 0]
    array([0.5, 1.5, 2.5])
    """

    def __init__(self, metric: str, *, coin: str | None = None, seen: Setting = None) -> None:
        self._declare(metric=metric, coin=coin, max_age="never", seen=seen)

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.STALENESS, slots=ops.METRIC_SLOTS)


class ZScore(_Metric):
    """Standard score of the newest value against the trailing window before it: the current value is never part of it.

    (value - mean) / standard deviation, the latter of the population (divided by the count). Of a metric, the window
    goes back from the newest event known and its far end belongs to it; it is ready when the first event known is at
    least that old and `least` values lie in it. Of a bar column, the window is the `window` bars before the current
    one. A value that departs from a window in which nothing moved has no score: it isn't finite.

    Parameters
    ----------
    metric : str
        Name of a metric, or a bar column: "close", "open", "high", "low", "volume".
    window : duration or int
        A duration for a metric; a number of bars, or a duration that is a multiple of its bar, for a bar column.
    least : int
        Values a metric's window has to hold.
    coin, max_age
        Of a metric, as for `Level`.
    on
        Of a bar column, as for `Close`.
    seen
        As for every signal.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import of_closes
    >>> evaluate({"z": ZScore("close", window=2)}, of_closes([1.0, 3.0, 4.0]))[0][:, 0, 0]
    array([nan, nan,  2.])
    """

    def __init__(
        self,
        metric: str,
        window: Span,
        *,
        least: Setting = 3,
        coin: str | None = None,
        on: Setting = None,
        max_age: Span = None,
        seen: Setting = None,
    ) -> None:
        self.kind = "bar" if metric in ops.BAR_COLUMNS else "metric"
        self._declare(metric=metric, window=window, least=least, coin=coin, on=on, max_age=max_age, seen=seen)

    def settle(self) -> None:
        super().settle()
        self.least = count_of(self.arguments["least"], "ZScore.least", least=2)
        window = self.arguments["window"]
        stray = ("coin", "max_age") if self.kind == "bar" else ("on",)
        for name in stray:
            if self.arguments[name] is not None:
                raise InputError(
                    f"says nothing about a {self.kind}'s score", key=f"ZScore.{name}", value=self.arguments[name]
                )
        if self.kind == "bar":
            self.column = bar_column(self.metric, "ZScore.metric")
            self.bars = 0 if isinstance(window, str) else count_of(window, "ZScore.window", least=2)
        if self.kind == "metric" or isinstance(window, str):
            self.window_ns = span_ns(window, "ZScore.window")

    def facts(self) -> tuple[tuple[str, str, str | None], ...]:
        return super().facts() if self.kind == "metric" else ()

    def window_bars(self, bar_ns: int) -> int:
        """Its window in its own bars."""
        if self.bars:
            return self.bars
        return count_of(self.window_ns / (self.on_ns or bar_ns), "ZScore.window / bar", least=2)

    def recipe(self, bar_ns: int) -> Recipe:
        if self.kind == "metric":
            params = (0.0, float(self.least))
            return Recipe(ops.METRIC_ZSCORE, slots=ops.METRIC_SLOTS, window=self.window_ns, params=params)
        window = self.window_bars(bar_ns)
        return Recipe(ops.ZSCORE, slots=6 + window, column=self.column, window=window, need=window + 1)

    @property
    def lookback_bars(self) -> int:
        return self.bars + 1 if self.kind == "bar" and self.bars else 0

    def lookback_ns(self, bar_ns: int) -> int:
        if self.kind == "metric":
            return super().lookback_ns(bar_ns)
        return (self.window_bars(bar_ns) + 1) * (self.on_ns or bar_ns) + self.on_ns
