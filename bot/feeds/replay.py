"""A stored span played again as if it were now: bars, posts, metrics and funding at their times, at a chosen speed.

The clock stands still while the bot works on what was known at one moment and goes on when it has dealt with it, so
that the same facts make the same session at any speed, on any machine. At one moment facts come first, then bars, then
funding: a decision at a close knows what was known by then, as in a backtest.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from backtest.funding import funding_due
from backtest.spec import RunSpec
from bot.events import Bar, Event, Funding, Posts
from bot.feeds.stored import bar_of, known_of, stored_facts
from bot.ports import Put
from data.errors import InputError
from data.store import Store
from data.times import SECOND_NS, format_time

SLICE_S = 1.0
FASTEST = math.inf


class ReplayClock:
    """The time of day within a replay: moved by the feed, never back.

    Parameters
    ----------
    start_ns : int
        Where it stands at first.
    """

    def __init__(self, start_ns: int) -> None:
        self._ns = start_ns

    def now_ns(self) -> int:
        """See `bot.ports.Clock`."""
        return self._ns

    def advance(self, ns: int) -> None:
        """Go on to a moment; one that has gone by changes nothing."""
        self._ns = max(self._ns, ns)


@dataclass(frozen=True)
class Span:
    """What is played: history to warm up on, then (moment, event) in order."""

    history: list[Event]
    played: list[tuple[int, Event]]

    @property
    def start_ns(self) -> int:
        """The first moment."""
        return self.played[0][0]


def read_span(store: Store, spec: RunSpec, since_ns: int | None, until_ns: int | None) -> Span:
    """A stored span; what was known before it is history.

    Parameters
    ----------
    since_ns, until_ns : int, optional
        Moments in `[since_ns, until_ns)` are played. Left out: from the first stored bar on, to the last one.

    Raises
    ------
    InputError
        No bars in the span, several sources of a symbol's bars, funding missing, or what a backtest refuses of a
        metric.
    """
    bars = [timed for symbol in spec.symbols for timed in _bars(store, spec, symbol)]
    ends = [at for at, _ in bars]
    first = min(ends) if since_ns is None else since_ns
    last = max(ends) if until_ns is None else until_ns - 1
    timed: list[tuple[int, Event]] = [(at, event) for at, event in bars if at <= last]
    if not any(at >= first for at, _ in timed):
        shown = f"{format_time(first)} to {format_time(last)}"
        remedy = f"Stored bars close from {format_time(min(ends))} to {format_time(max(ends))}"
        raise InputError("no bar closes in the span that is to be played", key="since", value=shown, remedy=remedy)
    for fact in stored_facts(store, spec, None, last + 1):
        timed += _single(fact)
    times, places, rates = funding_due(store, spec, first, last, [], [])
    for due_ns, place, rate in zip(times.tolist(), places.tolist(), rates.tolist(), strict=True):
        timed.append((due_ns, Funding(ns=0, symbol=spec.symbols[place], due_ns=due_ns, rate=rate)))
    timed.sort(key=lambda item: (item[0], _rank(item[1])))
    history = [event for at, event in timed if at < first]
    return Span(_caught_up(history), [(at, event) for at, event in timed if at >= first])


class Replay:
    """The feed: plays a span once, then ends.

    Parameters
    ----------
    span : Span
    clock : ReplayClock
        The bot's clock, moved by this feed.
    drained : callable
        Waits until the bot has dealt with all that was put: `bot.feeds.door.Door.drained`.
    speed : float
        Seconds of the span to one of ours; `inf`: as fast as the bot can.
    """

    name = "replay"

    def __init__(
        self, span: Span, clock: ReplayClock, drained: Callable[[], Awaitable[None]], *, speed: float = FASTEST
    ) -> None:
        if not speed > 0:
            raise InputError("has to be above 0", key="--speed", value=speed, remedy="For example --speed 3600")
        self._span, self._clock, self._drained, self._speed = span, clock, drained, speed
        self._done = 0
        self._counts: Counter[str] = Counter()

    async def run(self, put: Put) -> None:
        """See `bot.ports.Feed`; ends when all is played."""
        loop = asyncio.get_running_loop()
        began, start_ns = loop.time(), self._span.start_ns
        for at, group in groupby(self._span.played, key=lambda item: item[0]):
            while (left_s := began + (at - start_ns) / SECOND_NS / self._speed - loop.time()) > 0:
                await asyncio.sleep(min(left_s, SLICE_S))
            self._clock.advance(at)
            for _, events in groupby((event for _, event in group), key=_stage):
                for event in events:
                    put(event)
                    self._counts[type(event).__name__] += 1
                await self._drained()
            self._done += 1

    def health(self) -> dict[str, Any]:
        """Where it is."""
        start, end = self._span.start_ns, self._span.played[-1][0]
        now = self._clock.now_ns()
        share = 1.0 if end == start else min(1.0, (now - start) / (end - start))
        return {"at": format_time(now), "until": format_time(end), "share": share, "put": dict(self._counts)}


def _bars(store: Store, spec: RunSpec, symbol: str) -> Iterator[tuple[int, Bar]]:
    """Bars of one symbol with the time they became known."""
    series = store.bars(symbol, spec.bar_ns, None, None, spec.bar_source)
    columns = (series.open_ns, series.known_ns, series.open, series.high, series.low, series.close, series.volume)
    for open_ns, known_ns, *prices in zip(*(column.tolist() for column in columns), strict=True):
        yield max(known_ns, open_ns + spec.bar_ns), bar_of(symbol, open_ns, spec.bar_ns, prices, caught_up=False)


def _single(fact: Event) -> list[tuple[int, Event]]:
    """Posts parted by the moment they became known."""
    if not isinstance(fact, Posts):
        return [(known_of(fact)[0], fact)]
    known = fact.rows["known_ns"]
    cuts = np.flatnonzero(np.diff(known)) + 1
    return [(int(rows["known_ns"][0]), Posts(ns=0, rows=rows)) for rows in np.split(fact.rows, cuts)]


def _rank(event: Event) -> int:
    """Order at one moment: metrics, posts, bars, funding; within a kind that of the store and of the symbols."""
    return {"Observation": 0, "Posts": 1, "Bar": 2, "Funding": 3}[type(event).__name__]


def _stage(event: Event) -> int:
    return max(_rank(event), 1)


def _caught_up(events: Sequence[Event]) -> list[Event]:
    return [replace(event, caught_up=True) if isinstance(event, Bar) else event for event in events]
