"""Vendors' series by coin with the time at which each value was computed: the base of those with point-in-time data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data.errors import InputError
from data.feed import Batch, Card, Item, Progress, Reading, Spoilt, Take, Tools
from data.http import Answer
from data.readings import RefusedError, Rounds, is_metric_name, number, past_batch, spoilt
from data.times import MILLISECOND_NS, SECOND_NS, Span, parse_time


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the vendor gives it: start of its interval, value, and when it was computed, if that is said."""

    whole: Any
    start: Any
    value: Any
    computed: Any = None


class DatedSeries(Rounds):
    """Several metrics of several coins, each asked for by itself.

    Parameters
    ----------
    card : Card
    tools : Tools
    metrics : mapping of str to str
        Names here to those of the vendor.
    coins : sequence of str
    interval_ns : int
        Between the start of a row and its end.
    every_s : float
    """

    def __init__(
        self,
        card: Card,
        tools: Tools,
        metrics: Mapping[str, str],
        coins: Sequence[str],
        interval_ns: int,
        every_s: float,
    ) -> None:
        for name in metrics:
            if not is_metric_name(name):
                remedy = "Small letters, digits and underscores, a letter first"
                raise InputError("not a metric's name", key="metrics", value=name, remedy=remedy)
        if not metrics or not coins:
            key = "metrics" if not metrics else "coins"
            raise InputError("nothing to ask for", key=key, remedy=f"Name some {key}, or --set {key}=...")
        self._series = {f"{name} {coin}": (name, coin) for name in metrics for coin in dict.fromkeys(coins)}
        super().__init__(card, tools, list(self._series), every_s)
        self._metrics, self.interval_ns = dict(metrics), interval_ns

    async def read(self, metric: str, coin: str, span: Span) -> tuple[Iterable[Row], Answer]:
        """Rows of the vendor's metric for a coin whose intervals start in a span. Raises FeedError, or RefusedError."""
        raise NotImplementedError

    def quality(self, metric: str, row: Row) -> str:
        """Quality of a row of history whose time of computation may be known; empty: that of the card."""
        return "vendor_pit" if row.computed is not None else ""

    async def ask_about(self, topic: str) -> Batch:
        """See `Rounds`."""
        since = self.since_ns(topic)
        items, arrived = await self._items(topic, (since - self.interval_ns, self.tools.clock.now_ns()))
        plain = [replace(item, known_ns=0, quality="") if isinstance(item, Reading) else item for item in items]
        return self.recent(topic, plain, arrived)

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: one series after the other."""
        async for topic in self.each(self._series, progress):
            try:
                items, arrived = await self._items(topic, (span[0] - self.interval_ns, span[1] - self.interval_ns))
            except RefusedError as error:
                self.skip(topic, error)
            else:
                await take(past_batch(items, span, arrived, self.card.lag_ns))

    async def _items(self, topic: str, span: Span) -> tuple[list[Item], int]:
        name, coin = self._series[topic]
        metric = self._metrics[name]
        rows, answer = await self.read(metric, coin, span)
        items: list[Item] = []
        for row in rows:
            if row.value is None and row.start is not None:
                continue  # not computed yet
            try:
                end = moment(row.start) + self.interval_ns
                known = 0 if row.computed is None else max(moment(row.computed), end)
                reading = Reading(name, coin, end, number(row.value), known, self.quality(metric, row))
            except ValueError as error:
                items.append(_named(spoilt(row.whole, f"a time or a value is {error}"), topic))
            else:
                items.append(reading)
        return items, answer.arrived_ns


def moment(value: Any) -> int:
    """Nanoseconds of a time in seconds or milliseconds since 1970, or as ISO text.

    Raises
    ------
    ValueError
        It isn't one.
    """
    if isinstance(value, str):
        try:
            return parse_time(value)
        except InputError:
            raise ValueError("not a time") from None
    found = int(number(value))
    if not 0 < found < 10**13:
        raise ValueError("not a time")
    return found * (SECOND_NS if found < 10**11 else MILLISECOND_NS)


def _named(bad: Spoilt, topic: str) -> Spoilt:
    return Spoilt(f"{topic}: {bad.content}", bad.reason)
