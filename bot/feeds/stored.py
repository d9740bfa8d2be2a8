"""Scored posts and metrics as recorders and scorer append them to the store; and history, for warming.

A fact is put when it is known by the clock, in the order facts became known: one that was written late counts as known
when it is put, so that known_ns never goes back. A post is worth here what it is worth in a backtest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from backtest.facts import (
    MARKERS,
    METRICS,
    SENTIMENT,
    check_metric,
    coins_of,
    gap_tape,
    join_tapes,
    marker_where,
    metric_names,
    metric_where,
    needs_posts,
    read_columns,
    read_gaps,
    sentiment_tape,
    sentiment_where,
    table_columns,
)
from backtest.spec import RunSpec
from bot.events import POSTS, Bar, Event, Observation, Posts
from bot.feeds.follow import Follower
from bot.ports import Clock, Put
from data.errors import InputError
from data.gaps import FOREVER, Outages
from data.store import Store
from data.times import DAY_NS, SECOND_NS
from risk.records import Array
from signals.inputs import SentimentTape, ids_of

LOG = logging.getLogger("tidegate.feeds")
EVERY_S = 0.1
LATE_NS = DAY_NS  # a fact that was known longer ago, and is written only now, is history: it isn't put
RETRY_S = 5.0


class StoredFacts:
    """The feed of posts and metrics that a run's signals look at.

    Call `warm` first: it gives history and marks what it gave, so that `run` puts exactly the rest.

    Parameters
    ----------
    store : Store
    spec : RunSpec
        Symbols, signals, pinned model, weights of sources.
    clock : Clock
    every_s : float
        How often the store is looked at.

    Attributes
    ----------
    until : callable
        Facts that are known later than it says wait: those behind a close until its row is done (`bot.feeds.gate`).
    """

    name = "facts"

    def __init__(self, store: Store, spec: RunSpec, *, clock: Clock, every_s: float = EVERY_S) -> None:
        self.sources: dict[int, str] = {}
        self.until: Callable[[], int] = lambda: FOREVER
        self._spec, self._clock, self._every_s = spec, clock, every_s
        self._coins = coins_of(spec)
        self._posts: Follower | None = None
        self._markers: Follower | None = None
        self._outages = Outages(spec.source_weights)
        if needs_posts(spec):
            self._posts = Follower(store, "sentiment", sentiment_where(spec, self._coins), SENTIMENT)
            self._markers = Follower(store, "metrics", marker_where(), MARKERS)
        self._metrics: Follower | None = None
        names = metric_names(spec)
        if names:
            where = {"name": names, "coin": [*self._coins, "*"]}
            self._metrics = Follower(store, "metrics", where, ("name", *METRICS))
        self._found: list[Posts | Observation] = []  # looked at, not dealt with yet
        self._waiting: list[Posts | Observation] = []  # in order; known later than now
        self._origin: dict[str, str] = {}  # the source that a metric comes from
        self._newest_ns = 0
        self._counts: Counter[str] = Counter()
        self._by_source: Counter[str] = Counter()
        self._last: dict[str, int] = {}
        self._trouble = self._refusal = ""
        self._warmed = False

    def warm(self, since_ns: int | None = None) -> list[Event]:
        """History up to now, in order, marked as given.

        Parameters
        ----------
        since_ns : int, optional
            Leave out what was known before: what a restored snapshot has learnt already. Left out: all of it.

        Raises
        ------
        InputError
            A metric has several sources, or values revised later that weren't allowed; or the store is damaged.
        """
        self._look(strict=True)
        facts, self._found = in_order(self._found), []
        self._warmed = True
        now = self._clock.now_ns()
        if since_ns is not None:
            facts = [cut for fact in facts if (cut := _cut(fact, since_ns, None)) is not None]
        self._waiting = [cut for fact in facts if (cut := _cut(fact, now + 1, None)) is not None]
        given: list[Event] = [cut for fact in facts if (cut := _cut(fact, None, now + 1)) is not None]
        self._newest_ns = max((known_of(fact)[1] for fact in given), default=0)
        return given

    async def run(self, put: Put) -> None:
        """See `bot.ports.Feed`. Without `warm` before, all that is stored by now counts as given."""
        if not self._warmed:
            await asyncio.to_thread(self.warm)
        while True:
            try:
                await asyncio.to_thread(self._look)
                self._trouble = ""
            except (InputError, OSError, pa.ArrowException) as error:
                self._trouble = str(error)
                self._counts["troubles"] += 1
                LOG.warning("the store can't be read: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            self._take(put)
            await asyncio.sleep(self._every_s)

    def health(self) -> dict[str, Any]:
        """Ages of the newest facts and counts."""
        now = self._clock.now_ns()
        followers = [one for one in (self._posts, self._metrics, self._markers) if one is not None]
        return {
            "age_s": {name: (now - known_ns) / SECOND_NS for name, known_ns in sorted(self._last.items())},
            "posts_by_source": dict(self._by_source),
            "waiting": len(self._waiting),
            "trouble": self._trouble or self._refusal,
            "unexplained": sum(follower.unexplained for follower in followers),
            **{name: self._counts[name] for name in COUNTS},
        }

    def _look(self, *, strict: bool = False) -> None:
        """Find what is new; what is found stays when a second look fails."""
        metrics = None if self._metrics is None else self._metrics.look()
        if metrics is not None:
            self._found += self._observations(metrics, strict=strict)
        posts = None if self._posts is None else self._posts.look()
        if posts is not None and posts.num_rows:
            self._found += self._scored(posts)
        markers = None if self._markers is None else self._markers.look()
        if markers is not None and markers.num_rows:
            gaps = gap_tape(table_columns(markers, MARKERS), self._coins, self._outages)
            if len(gaps):
                self._found.append(Posts(ns=0, rows=posts_of(gaps)))

    def _scored(self, table: pa.Table) -> list[Posts | Observation]:
        rows = table_columns(table, SENTIMENT)
        names = sorted(set(rows["source"]))
        self.sources.update(zip(ids_of(names).tolist(), names, strict=True))
        self._by_source.update(rows["source"])
        for source, known_ns in zip(rows["source"], rows["known_ns"].tolist(), strict=True):
            self._outages.seen(source, known_ns)
        tape = sentiment_tape(rows, self._coins, self._spec.source_weights)
        return [Posts(ns=0, rows=posts_of(tape))]

    def _observations(self, table: pa.Table, *, strict: bool) -> list[Posts | Observation]:
        found: list[Posts | Observation] = []
        for row in table.to_pylist():
            fault, remedy = self._fault_of(row)
            if fault and strict:
                raise InputError(fault, key="metric", value=row["name"], remedy=remedy)
            if fault:
                self._counts["refused"] += 1
                self._refusal = f"{row['name']}: {fault}"
                continue
            found.append(observation_of(row))
        return found

    def _fault_of(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """What a backtest refuses of a metric (`backtest.facts.check_metric`), one value at a time; and the remedy."""
        name = row["name"]
        origin = self._origin.setdefault(name, row["source"])
        if origin != row["source"]:
            return f"a metric has several sources ({origin}, {row['source']})", "'tidegate data --forget' all but one"
        if row["quality"] == "revised" and name not in self._spec.allow_revised:
            fault = "a metric holds values that were revised later than they were true"
            return fault, f'allow it by name: run.allow_revised = ["{name}"]'
        return "", ""

    def _take(self, put: Put) -> None:
        """Put what is known by now; keep the rest for its time."""
        now = min(self._clock.now_ns(), self.until())
        if self._found:
            self._waiting, self._found = in_order([*self._waiting, *self._found]), []
        later: list[Posts | Observation] = []
        for fact in self._waiting:
            due = _cut(fact, None, now + 1)
            rest = _cut(fact, now + 1, None)
            if due is not None:
                self._put(due, put)
            if rest is not None:
                later.append(rest)
        self._waiting = later

    def _put(self, fact: Posts | Observation, put: Put) -> None:
        first, last = known_of(fact)
        if first < self._newest_ns:
            fresh = _cut(fact, self._newest_ns - LATE_NS, None)
            self._counts["too_late"] += count_of(fact) - (0 if fresh is None else count_of(fresh))
            if fresh is None:
                return
            fact = _lifted(fresh, self._newest_ns)
            self._counts["late"] += int(first < self._newest_ns)
        self._newest_ns = max(self._newest_ns, last)
        self._last["posts" if isinstance(fact, Posts) else fact.name] = last
        self._counts["posts" if isinstance(fact, Posts) else "observations"] += count_of(fact)
        put(fact)


COUNTS = ("posts", "observations", "late", "too_late", "refused", "troubles")


def warm_facts(store: Store, spec: RunSpec, since_ns: int | None, until_ns: int | None) -> list[Event]:
    """Stored bars, posts and metrics of a run known in `[since_ns, until_ns)`, in the order they became known.

    Bars are marked as caught up. What isn't stored is left out: signals that need it stay cold.

    Raises
    ------
    InputError
        A metric has several sources, or values revised later that weren't allowed by name; the store is damaged.
    """
    return in_order([*warm_bars(store, spec, since_ns, until_ns), *stored_facts(store, spec, since_ns, until_ns)])


def stored_facts(store: Store, spec: RunSpec, since_ns: int | None, until_ns: int | None) -> list[Posts | Observation]:
    """The posts and metrics of `warm_facts`."""
    found: list[Posts | Observation] = []
    coins = coins_of(spec)
    for name in metric_names(spec):
        rows = read_columns(store, "metrics", metric_where(name, coins), since_ns, until_ns, METRICS)
        check_metric(name, rows, spec.allow_revised)
        for at in range(len(rows["known_ns"])):
            found.append(observation_of({"name": name, **{key: rows[key][at] for key in METRICS}}))
    if needs_posts(spec):
        rows = read_columns(store, "sentiment", sentiment_where(spec, coins), since_ns, until_ns, SENTIMENT)
        if len(rows["known_ns"]):
            posts = sentiment_tape(rows, coins, spec.source_weights)
            gaps = Posts(ns=0, rows=posts_of(join_tapes(_gaps(store, spec, coins, until_ns), posts)))
            fact = gaps if since_ns is None else _cut(gaps, since_ns, None)
            found += [] if fact is None else [fact]
    return found


def _gaps(store: Store, spec: RunSpec, coins: Sequence[str], until_ns: int | None) -> SentimentTape:
    """When feeds of posts were down, from the beginning of the store on: an outage may have begun before the span."""
    names = ("source", "known_ns")
    posts = read_columns(store, "sentiment", sentiment_where(spec, coins), None, until_ns, names)
    return read_gaps(store, coins, posts, Outages(spec.source_weights), until_ns)[0]


def warm_bars(store: Store, spec: RunSpec, since_ns: int | None, until_ns: int | None) -> list[Bar]:
    """Stored bars of a run's symbols that closed in `[since_ns, until_ns)`, symbol after symbol, marked as caught up.

    A symbol without stored bars is left out.
    """
    found = []
    for symbol in spec.symbols:
        since = None if since_ns is None else since_ns - spec.bar_ns
        until = None if until_ns is None else until_ns - spec.bar_ns
        try:
            series = store.bars(symbol, spec.bar_ns, since, until, spec.bar_source)
        except InputError as error:
            LOG.info("no stored bars of %s: %s", symbol, error)
            continue
        columns = (series.open_ns, series.open, series.high, series.low, series.close, series.volume)
        for open_ns, *prices in zip(*(column.tolist() for column in columns), strict=True):
            found.append(bar_of(symbol, open_ns, spec.bar_ns, prices, caught_up=True))
    return found


def bar_of(symbol: str, open_ns: int, bar_ns: int, prices: Sequence[float], *, caught_up: bool) -> Bar:
    """A bar from its open, high, low, close and volume."""
    opened, high, low, close, volume = prices
    return Bar(
        ns=0, symbol=symbol, open_ns=open_ns, close_ns=open_ns + bar_ns, open=opened, high=high, low=low, close=close,
        volume=volume, caught_up=caught_up,
    )  # fmt: skip


def observation_of(row: Mapping[str, Any]) -> Observation:
    """One stored value of a metric."""
    numbers = {name: int(row[name]) for name in ("event_ns", "known_ns", "revision")}
    return Observation(ns=0, name=row["name"], coin=row["coin"], value=float(row["value"]), **numbers)


def posts_of(tape: SentimentTape) -> Array:
    """A tape's posts as POSTS[f]."""
    rows = np.zeros(len(tape), POSTS)
    for name in POSTS.names or ():
        rows[name] = getattr(tape, name)
    return rows


def known_of(event: Event) -> tuple[int, int]:
    """When the first and the last fact of an event became known; a bar at its close."""
    if isinstance(event, Posts):
        return int(event.rows["known_ns"][0]), int(event.rows["known_ns"][-1])
    at = event.known_ns if isinstance(event, Observation) else event.close_ns if isinstance(event, Bar) else event.ns
    return at, at


def count_of(fact: Posts | Observation) -> int:
    """How many facts an event holds."""
    return len(fact.rows) if isinstance(fact, Posts) else 1


def in_order(events: Iterable[Any]) -> list[Any]:
    """Events in the order their facts became known; posts are parted where another event lies between.

    At the same time metrics come first, then posts, then bars: a decision at a close knows what was known by then.
    """
    single = [event for event in events if not isinstance(event, Posts)]
    rows = [event.rows for event in events if isinstance(event, Posts)]
    single.sort(key=lambda event: (known_of(event)[0], isinstance(event, Bar)))
    if not rows:
        return single
    posts = np.concatenate(rows)
    posts = posts[np.argsort(posts["known_ns"], kind="stable")]
    found: list[Any] = []
    begin = 0
    for event in single:
        side: Literal["left", "right"] = "right" if isinstance(event, Bar) else "left"
        cut = int(np.searchsorted(posts["known_ns"], known_of(event)[0], side=side))
        if cut > begin:
            found.append(Posts(ns=0, rows=posts[begin:cut]))
            begin = cut
        found.append(event)
    if begin < len(posts):
        found.append(Posts(ns=0, rows=posts[begin:]))
    return found


def _cut(fact: Posts | Observation, since_ns: int | None, until_ns: int | None) -> Posts | Observation | None:
    """The part of an event known in `[since_ns, until_ns)`; None when there is none."""
    if isinstance(fact, Posts):
        known = fact.rows["known_ns"]
        first = 0 if since_ns is None else int(np.searchsorted(known, since_ns))
        last = len(known) if until_ns is None else int(np.searchsorted(known, until_ns))
        if first == 0 and last == len(known):
            return fact
        return Posts(ns=0, rows=fact.rows[first:last]) if last > first else None
    inside = (since_ns is None or fact.known_ns >= since_ns) and (until_ns is None or fact.known_ns < until_ns)
    return fact if inside else None


def _lifted(fact: Posts | Observation, floor_ns: int) -> Posts | Observation:
    """The same, known at that time at the earliest."""
    if isinstance(fact, Observation):
        return replace(fact, known_ns=max(fact.known_ns, floor_ns))
    rows = fact.rows.copy()
    rows["known_ns"] = np.maximum(rows["known_ns"], floor_ns)
    return Posts(ns=0, rows=rows)
