"""History of funding, open interest and long/short ratios from an exchange by ccxt: resumable, page by page.

What the values are, and what their stamps mean, stands in `data.series_rows`. A funding counts as known at the stamp
that the exchange gives it; an open interest or a ratio `LAG_NS` after its interval ended. The source of the facts is
the exchange's name in ccxt, their coin the base asset of the symbol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data.errors import InputError
from data.exchange import NotGivenError, PublicExchange, check_empty
from data.facts import fact_table
from data.layout import rejects_of
from data.quality import I8, Gap, distinct
from data.series_rows import (
    ABILITIES,
    LAG_NS,
    NAMES,
    PAGE,
    PAGES,
    SHORTEST_FUNDING_NS,
    USUAL_FUNDING_NS,
    What,
    check_nothing,
    local_steps,
    read_values,
    snap,
)
from data.store import Store
from data.times import (
    HOUR_NS,
    MILLISECOND_NS,
    Span,
    floor_time,
    format_duration,
    format_time,
    merge_spans,
    subtract_spans,
    windows_of,
)

FRESH_NS: Final = HOUR_NS
"""Younger than this, what is absent may only be late: it is asked for again with the next fetch."""

ROUNDS_MAX: Final = 8


@dataclass(frozen=True)
class SeriesReport:
    """What a fetch did. Times are nanoseconds UTC.

    ``gaps`` are holes that the exchange itself has (asked for again). ``refused_before_ns`` is where its history
    begins, when it was asked for older times and said so; 0 otherwise. ``lag_ns`` is how long after its event a value
    counts as known.
    """

    source: str
    symbol: str
    coin: str
    names: tuple[str, ...]
    interval_ns: int
    lag_ns: int
    requests: int
    added: int
    unchanged: int
    revised: int
    quarantined: int
    first_ns: int
    last_ns: int
    rows: int
    refused_before_ns: int
    gaps: tuple[Gap, ...]


def fetch_series(
    store: Store,
    exchange_id: str,
    symbol: str,
    what: What,
    since_ns: int,
    until_ns: int,
    *,
    now_ns: int,
    interval_ns: int = HOUR_NS,
    urls: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    wait: Callable[[float], None] | None = None,
) -> SeriesReport:
    """Bring what is dated in ``[since_ns, until_ns)`` and can be known by now; what is stored isn't asked for again.

    Every page is committed as it comes, so an interrupted fetch goes on where it stopped. A hole is asked for again
    until nothing more comes, and then known as the exchange's own. Where the exchange keeps its history for some weeks
    only, what is left of it is brought, and the report says where it begins.

    Parameters
    ----------
    exchange_id : str
        ccxt's name of the exchange; it becomes the facts' ``source``.
    symbol : str
        A linear perpetual: ``BTC/USDT:USDT``.
    interval_ns : int
        Of open interest and ratios; funding has its own.
    now_ns, urls, progress, wait
        See `data.market.fetch_bars`; progress is told in hours of the span.

    Raises
    ------
    InputError
        Unknown exchange, symbol or interval, an empty span, a series that isn't told there, or one that is stored
        already by another symbol or interval.
    UnreachableError
        The exchange didn't answer, or not in its protocol; what came before is stored.
    """
    step = interval_ns if what != "funding" else 0
    venue = PublicExchange(exchange_id, step, urls, wait)
    start, end = since_ns, min(until_ns, now_ns)
    if step:
        start, end = floor_time(since_ns + step - 1, step), min(until_ns, now_ns - LAG_NS + 1)
    if end <= start:
        raise InputError(
            "nothing of that span can be known yet, or it is empty",
            key="since",
            value=f"{format_time(since_ns)} to {format_time(until_ns)}",
            remedy="Choose an earlier start or a later end",
        )
    try:
        if not venue.exchange.has.get(ABILITIES[what]):
            raise InputError(f"ccxt knows no history of this at {venue.name}", key="exchange", value=venue.name)
        venue.open(symbol)
        job = _Job(store, venue, symbol, what, step, (start, end), now_ns, progress)
        job.run()
        return job.report()
    finally:
        venue.close()


class _Job:
    """One fetch: which spans are still to be asked for, and what came."""

    def __init__(
        self,
        store: Store,
        venue: PublicExchange,
        symbol: str,
        what: What,
        step: int,
        span: Span,
        now_ns: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        market = venue.exchange.markets[symbol]
        if not (market.get("swap") and market.get("linear")):
            raise InputError("not a linear perpetual", key="symbol", value=symbol, remedy="Write it like BTC/USDT:USDT")
        if what == "open_interest" and float(market.get("contractSize") or 1.0) != 1.0:
            raise InputError("told in contracts, not in base units", key="symbol", value=symbol)
        self.store, self.venue, self.symbol, self.what = store, venue, symbol, what
        self.coin, self.step, self.now_ns = symbol.partition("/")[0], step, now_ns
        self.start, self.end = span
        self.progress = progress or (lambda done, total: None)
        self.page_rows = PAGES.get((venue.name, what), PAGE)
        self.grain = step or SHORTEST_FUNDING_NS
        self.page_ns = self.page_rows * self.grain
        self.counts = {"added": 0, "unchanged": 0, "revised": 0, "quarantined": 0}
        self.refused_before_ns = 0
        spans = store.manifest("metrics").spans
        self._check_alone(spans)
        self.asked = self._common(spans, "asked")
        self.settled = self._common(spans, "settled")

    def run(self) -> None:
        """Ask for what is absent, then for the holes in it until nothing more comes."""
        todo = subtract_spans([(self.start, self.end)], self.asked)
        total = _hours(self.end - self.start)
        self._tell(todo, self.start, total)
        for first, last in todo:
            cursor = self._begin(first, last)
            self._tell(todo, cursor, total)
            while cursor < last:
                cursor = self._page(cursor, last)
                self._tell(todo, cursor, total)
        for _ in range(ROUNDS_MAX):
            before = self.counts["added"]
            holes = subtract_spans([hole for hole, _ in self._holes()], self.settled)
            windows = windows_of(holes, self.page_ns, self.grain)
            for first, last in windows:
                self._page(first, last, settles=True)
            if self.counts["added"] == before:
                break
            self.settled = subtract_spans(self.settled, windows)  # something came: what is left may come, too
        self.progress(total, total)

    def report(self) -> SeriesReport:
        """What there is now in the span."""
        events = self._events()
        return SeriesReport(
            source=self.venue.name,
            symbol=self.symbol,
            coin=self.coin,
            names=NAMES[self.what],
            interval_ns=self.step,
            lag_ns=LAG_NS if self.step else 0,
            requests=self.venue.requests,
            first_ns=int(events[0]) if len(events) else 0,
            last_ns=int(events[-1]) if len(events) else 0,
            rows=len(events),
            refused_before_ns=self.refused_before_ns,
            gaps=tuple(gap for _, gap in self._holes()),
            **self.counts,
        )

    def _tell(self, todo: Sequence[Span], cursor: int, total: int) -> None:
        behind = sum(max(0, last - max(first, cursor)) for first, last in todo)
        self.progress(max(0, total - _hours(behind)), total)

    def _begin(self, first: int, last: int) -> int:
        """The first page of a span; where the exchange keeps nothing so old, that of the oldest that it gives.

        Halving finds that time in a dozen questions, each of which brings a page when it is answered.
        """
        try:
            return self._page(first, last)
        except NotGivenError as error:
            refusal = error
        low, high, reached = first, last, dict[int, int]()
        while high - low > self.grain:
            middle = low + max((high - low) // 2 // self.grain, 1) * self.grain
            try:
                reached[middle] = self._page(middle, last)
                high = middle
            except NotGivenError as error:
                low, refusal = middle, error
        if high == last:
            raise refusal
        self.refused_before_ns = max(self.refused_before_ns, high)
        self.asked = merge_spans([*self.asked, (first, high)])
        return reached[high]

    def _page(self, first: int, last: int, *, settles: bool = False) -> int:
        """Ask for what is dated from ``first`` on, store it, and return where to go on."""
        covered = min(last, first + self.page_ns)
        rows = self.venue.ask(lambda: self._rows(first, covered), may_refuse=True)
        if len(rows) >= self.page_rows and covered - first > self.grain * len(rows):
            covered = max(int(self._event_ns(rows[-1]["timestamp"])), first) + 1  # the page was full: there is more
        read = [(*self._read(row), row) for row in rows]
        inside = [item for item in read if first <= item[0] < covered and item[1] <= self.now_ns]
        good = [(event, known, values) for event, known, values, fault, _ in inside if not fault]
        bad = [(fault, row) for _, _, _, fault, row in inside if fault]
        newest = max((event for event, _, _ in good), default=first)
        sure = min(covered, max(newest + 1, self.now_ns - FRESH_NS))
        if sure > first:
            if settles:
                self.settled = merge_spans([*self.settled, (first, sure)])
            else:
                self.asked = merge_spans([*self.asked, (first, sure)])
        self._store(good, bad)
        return covered

    def _rows(self, first: int, last: int) -> list[dict[str, Any]]:
        """What the exchange tells of the events in ``[first, last)``, oldest first, perhaps more."""
        exchange = self.venue.exchange
        since, until = (first - self.step) // MILLISECOND_NS, (last - self.step - 1) // MILLISECOND_NS
        rows: Any
        if self.what == "funding":
            rows = exchange.fetch_funding_rate_history(self.symbol, since, self.page_rows, {"until": until})
        elif self.what == "open_interest":
            timeframe = self.venue.timeframe
            rows = exchange.fetch_open_interest_history(self.symbol, timeframe, since, self.page_rows, {"until": until})
        else:
            span = {"startTime": since, "endTime": until} if self.venue.name == "bybit" else {"until": until}
            rows = exchange.fetch_long_short_ratio_history(
                self.symbol, self.venue.timeframe, since, self.page_rows, span
            )
        if not isinstance(rows, list):
            raise ValueError(f"rows came as {type(rows).__name__}")
        if not rows:
            check_empty(exchange.last_http_response)
            check_nothing(exchange.last_http_response, since, until)
        if any(not isinstance(row, dict) or not isinstance(row.get("timestamp"), int) for row in rows):
            raise ValueError("a row without its time")
        return sorted(rows, key=lambda row: int(row["timestamp"]))

    def _event_ns(self, stamp_ms: int) -> int:
        return snap(stamp_ms * MILLISECOND_NS) if not self.step else stamp_ms * MILLISECOND_NS + self.step

    def _read(self, row: Mapping[str, Any]) -> tuple[int, int, dict[str, float], str]:
        """Event and known time, values by name, and what is wrong with the row."""
        event = self._event_ns(row["timestamp"])
        known = event + LAG_NS if self.step else max(event, row["timestamp"] * MILLISECOND_NS)
        return event, known, *read_values(self.what, row)

    def _store(
        self, good: Sequence[tuple[int, int, dict[str, float]]], bad: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> None:
        rows = [(event, known, name, value) for event, known, values in good for name, value in values.items()]
        facts = fact_table(
            "metrics",
            {
                "source": self.venue.name,
                "name": [name for _, _, name, _ in rows],
                "coin": self.coin,
                "event_ns": np.array([event for event, _, _, _ in rows], np.int64),
                "known_ns": np.array([known for _, known, _, _ in rows], np.int64),
                "ingested_ns": self.now_ns,
                "quality": "assumed_lag",
                "value": np.array([value for _, _, _, value in rows], np.float64),
            },
        )
        spans = {}
        for name in NAMES[self.what]:
            spans[self._label("asked", name)] = self.asked
            spans[self._label("settled", name)] = self.settled
        done = self.store.append(
            "metrics", facts, rejects=self._rejects(bad), origin=self.venue.name, spans=spans, hashed=True
        )
        for name in self.counts:
            self.counts[name] += getattr(done, name)

    def _rejects(self, bad: Sequence[tuple[str, Mapping[str, Any]]]) -> Any:
        series = f"{self.venue.name}|{NAMES[self.what][0]}|{self.coin}"
        return rejects_of((series, fault, json.dumps(row.get("info"), default=str)[:2000]) for fault, row in bad)

    def _events(self) -> I8:
        """Times of the stored values in the span, ascending; of live recordings, those on the grid."""
        where = {"source": [self.venue.name], "name": [NAMES[self.what][0]], "coin": [self.coin]}
        events = distinct(self.store.table("metrics", where, columns=["event_ns"])["event_ns"].to_numpy())
        inside = (events >= self.start) & (events < self.end)
        if self.step:
            inside &= events % self.step == 0
        found: I8 = events[inside]
        return found

    def _holes(self) -> list[tuple[Span, Gap]]:
        """Holes behind the first value: what would have to be asked for, and how much is absent."""
        events = self._events()
        if len(events) == 0:
            return []
        step = self.step or USUAL_FUNDING_NS
        steps = np.full(len(events) - 1, step) if self.step else local_steps(events)
        found = []
        for at in np.flatnonzero(np.diff(events) > 1.5 * steps):
            usual, before, after = int(steps[at]), int(events[at]), int(events[at + 1])
            found.append(((before + 1, after), Gap(before, after, max(round((after - before) / usual) - 1, 1))))
        if self.step and int(events[-1]) + step < self.end:
            last, missing = int(events[-1]), (self.end - 1 - int(events[-1])) // step
            found.append(((last + 1, self.end), Gap(last, last + (missing + 1) * step, missing)))
        return found

    def _label(self, state: str, name: str) -> str:
        """Ends with the series, so that forgetting the series forgets that it was asked for."""
        interval = format_duration(self.step) if self.step else ""
        return f"{state}|{self.symbol}|{interval}|{self.venue.name}|{name}|{self.coin}"

    def _check_alone(self, spans: Mapping[str, Sequence[Span]]) -> None:
        """A series has one origin: values of two symbols or intervals under one name would contradict each other."""
        for name in NAMES[self.what]:
            mine = self._label("asked", name)
            series = f"|{self.venue.name}|{name}|{self.coin}"
            for label in spans:
                if label.startswith("asked|") and label.endswith(series) and label != mine:
                    _, symbol, interval, *_ = label.split("|")
                    raise InputError(
                        f"{name} of {self.coin} is stored from {symbol}{f' by {interval}' if interval else ''} already",
                        key="symbol",
                        value=f"{self.symbol}{f' by {format_duration(self.step)}' if self.step else ''}",
                        remedy="Keep to that one, or take it out first: tidegate data --forget metrics --where "
                        f"source={self.venue.name} --where name={name} --where coin={self.coin}",
                    )

    def _common(self, spans: Mapping[str, Sequence[Span]], state: str) -> list[Span]:
        """Spans that hold for each of the names."""
        whole: Span = (-(2**62), 2**62)
        left: list[Span] = []
        for name in NAMES[self.what]:
            left += subtract_spans([whole], merge_spans(spans.get(self._label(state, name), ())))
        return subtract_spans([whole], merge_spans(left))


def _hours(length_ns: int) -> int:
    return -(-length_ns // HOUR_NS)
