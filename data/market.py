"""Bars from an exchange by ccxt: resumable, page by page, gaps asked for once more, nothing taken for granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.checks import bar_faults
from data.errors import InputError
from data.exchange import PublicExchange
from data.facts import fact_table
from data.layout import reject_table
from data.quality import Gap, distinct, find_gaps
from data.store import Store
from data.times import MILLISECOND_NS, Span, floor_time, format_time, merge_spans, subtract_spans, windows_of

PAGE = 1000


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did. ``gaps`` are holes the exchange itself has (asked for twice); times are nanoseconds UTC."""

    source: str
    symbol: str
    interval_ns: int
    requests: int
    added: int
    unchanged: int
    revised: int
    quarantined: int
    first_ns: int
    last_ns: int
    bars: int
    gaps: tuple[Gap, ...]


def fetch_bars(
    store: Store,
    exchange_id: str,
    symbol: str,
    interval_ns: int,
    since_ns: int,
    until_ns: int,
    *,
    now_ns: int,
    urls: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    wait: Callable[[float], None] | None = None,
) -> FetchReport:
    """Bring the bars that open in ``[since_ns, until_ns)`` and are over by now; what is stored isn't asked for again.

    Every page is committed as it comes, so an interrupted fetch goes on where it stopped. A hole inside what came is
    asked for once more, and then known as the exchange's own.

    Parameters
    ----------
    exchange_id : str
        ccxt's name of the exchange; it becomes the bars' ``source``.
    symbol : str
        ``BTC/USDT``, or ``BTC/USDT:USDT`` for a linear perpetual.
    now_ns : int
        Bars that close later are left out.
    urls : mapping, optional
        Replaces addresses of the exchange's API (``{"public": "http://127.0.0.1:8080/api/v3"}``).
    progress : function, optional
        Called with bars done and bars in all.
    wait : function, optional
        Called with seconds to wait before an attempt is repeated; sleeps by default.

    Raises
    ------
    InputError
        Unknown exchange, symbol or interval, or an empty span.
    UnreachableError
        The exchange didn't answer, or not in its protocol; what came before is stored.
    """
    venue = PublicExchange(exchange_id, interval_ns, urls, wait)
    start = floor_time(since_ns + interval_ns - 1, interval_ns)
    end = min(until_ns, floor_time(now_ns, interval_ns))
    if end <= start:
        raise InputError(
            "no bar opens and closes in that span",
            key="since",
            value=f"{format_time(since_ns)} to {format_time(until_ns)}",
            remedy="Choose an earlier start or a later end",
        )
    try:
        venue.open(symbol)
        job = _Job(store, venue, symbol, interval_ns, start, end, now_ns, progress)
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
        interval_ns: int,
        start: int,
        end: int,
        now_ns: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.store, self.venue, self.symbol = store, venue, symbol
        self.interval_ns, self.start, self.end, self.now_ns = interval_ns, start, end, now_ns
        self.progress = progress or (lambda done, total: None)
        self.label = f"{venue.name}|{symbol}|{interval_ns}"
        self.counts = {"added": 0, "unchanged": 0, "revised": 0, "quarantined": 0}
        spans = store.manifest("bars").spans
        self.asked = merge_spans(spans.get(f"asked|{self.label}", ()))
        self.settled = merge_spans(spans.get(f"settled|{self.label}", ()))

    def run(self) -> None:
        """Ask for what is absent, then once more for the holes in it."""
        stored = self._opens()
        held = [(int(at), int(at) + self.interval_ns) for at in stored]
        todo = subtract_spans([(self.start, self.end)], merge_spans([*self.asked, *held]))
        total = (self.end - self.start) // self.interval_ns
        left = sum(last - first for first, last in todo) // self.interval_ns
        self.progress(total - left, total)
        for first, last in todo:
            cursor = first
            while cursor < last:
                cursor = self._page(cursor, last)
                behind = sum(max(0, b - max(a, cursor)) for a, b in todo if b > first) // self.interval_ns
                self.progress(total - behind, total)
        for first, last in windows_of(self._holes(), PAGE * self.interval_ns, self.interval_ns):
            cursor = first
            while cursor < last:
                cursor = self._page(cursor, last, settles=True)
        self.progress(total, total)

    def report(self) -> FetchReport:
        """What there is now in the span."""
        opens = self._opens()
        return FetchReport(
            source=self.venue.name,
            symbol=self.symbol,
            interval_ns=self.interval_ns,
            requests=self.venue.requests,
            first_ns=int(opens[0]) if len(opens) else 0,
            last_ns=int(opens[-1]) if len(opens) else 0,
            bars=len(opens),
            gaps=tuple(find_gaps(opens, self.interval_ns)),
            **self.counts,
        )

    def _page(self, first: int, last: int, *, settles: bool = False) -> int:
        """Ask for bars from ``first`` on, store them, and return where to go on."""
        limit = min(PAGE, (last - first) // self.interval_ns)
        rows = self.venue.page(self.symbol, first, limit)
        open_ns = rows[:, 0].astype(np.int64) * MILLISECOND_NS
        rows, open_ns = rows[open_ns >= first], open_ns[open_ns >= first]
        # A full page may be shorter than asked for (venues have limits of their own) and may begin behind a hole: the
        # last bar says how far we are. An empty one may only mean that its window is empty.
        covered = min(last, first + limit * self.interval_ns)
        if len(open_ns):
            covered = min(last, int(open_ns.max()) + self.interval_ns)
        rows, open_ns = rows[open_ns < last], open_ns[open_ns < last]
        if settles:
            self.settled = merge_spans([*self.settled, (first, covered)])
        else:
            self.asked = merge_spans([*self.asked, (first, covered)])
        self._store(open_ns, rows)
        return covered

    def _store(self, open_ns: Any, rows: Any) -> None:
        prices = (rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4])
        fault = bar_faults(open_ns, prices, rows[:, 5], self.interval_ns, self.now_ns)
        good = fault == ""
        names = ("open", "high", "low", "close", "volume")
        facts = fact_table(
            "bars",
            {
                "source": self.venue.name,
                "symbol": self.symbol,
                "interval_ns": self.interval_ns,
                "event_ns": open_ns[good],
                "known_ns": open_ns[good] + self.interval_ns,
                "ingested_ns": self.now_ns,
                "quality": "assumed_lag",
                **{name: rows[good, at] for at, name in enumerate(names, start=1)},
            },
        )
        done = self.store.append(
            "bars",
            facts,
            rejects=_rejects(self.label, rows[~good], fault[~good]),
            origin=self.venue.name,
            spans={f"asked|{self.label}": self.asked, f"settled|{self.label}": self.settled},
        )
        for name in self.counts:
            self.counts[name] += getattr(done, name)

    def _opens(self) -> Any:
        """Open times of the stored bars in the span, ascending."""
        where: dict[str, list[object]] = {
            "source": [self.venue.name],
            "symbol": [self.symbol],
            "interval_ns": [self.interval_ns],
        }
        opens = distinct(self.store.table("bars", where, columns=["event_ns"])["event_ns"].to_numpy())
        return opens[(opens >= self.start) & (opens < self.end)]

    def _holes(self) -> list[Span]:
        """Spans behind the first bar that were asked for, gave nothing, and were not asked for again yet."""
        opens = self._opens()
        if len(opens) == 0:
            return []
        held = [(int(at), int(at) + self.interval_ns) for at in opens]
        return subtract_spans([(int(opens[0]), self.end)], merge_spans([*held, *self.settled]))


def _rejects(label: str, rows: Any, fault: Any) -> Any:
    import pyarrow as pa

    names = ("time_ms", "open", "high", "low", "close", "volume")
    table = pa.table({name: pa.array(rows[:, at], pa.float64()) for at, name in enumerate(names)})
    count = len(fault)
    table = table.append_column("series", pa.array([label] * count, pa.string()))
    return reject_table(table.append_column("reason", pa.array([str(text) for text in fault], pa.string())))
