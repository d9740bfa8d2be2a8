"""Bars from an exchange by ccxt: resumable, page by page, gaps asked for once more, nothing taken for granted."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.checks import bar_faults
from data.errors import InputError, UnreachableError
from data.facts import fact_table
from data.layout import reject_table
from data.quality import Gap, find_gaps
from data.store import Store
from data.times import MILLISECOND_NS, SECOND_NS, floor_time, format_duration, format_time

PAGE = 1000
ATTEMPTS = 5
TIMEOUT_MS = 12_000
WAIT_MAX_S = 120.0

Span = tuple[int, int]


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
    venue = _Venue(exchange_id, interval_ns, urls, wait)
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


class _Venue:
    """A ccxt exchange that is asked politely: limited rate, repeated on what may pass, named errors."""

    def __init__(
        self,
        exchange_id: str,
        interval_ns: int,
        urls: Mapping[str, str] | None,
        wait: Callable[[float], None] | None,
    ) -> None:
        import ccxt

        if exchange_id not in ccxt.exchanges:
            near = difflib.get_close_matches(exchange_id, ccxt.exchanges, n=3)
            raise InputError(
                "no such exchange",
                key="exchange",
                value=exchange_id,
                remedy=f"Perhaps {' or '.join(near)}"
                if near
                else "Use ccxt's name, for example binance, kraken, bybit",
            )
        self.name = exchange_id
        self.requests = 0
        self.exchange: Any = getattr(ccxt, exchange_id)({"enableRateLimit": True, "timeout": TIMEOUT_MS})
        self.exchange.has["fetchCurrencies"] = False  # public bars need no list of coins, and some venues want a key
        if urls:
            self.exchange.urls["api"] = {**self.exchange.urls["api"], **urls}
        self.timeframe = self._timeframe(interval_ns)
        self._wait = wait or (lambda seconds: self.exchange.sleep(seconds * 1000))

    def _timeframe(self, interval_ns: int) -> str:
        known = {
            name: self.exchange.parse_timeframe(name) for name in self.exchange.timeframes or {} if name[-1] != "M"
        }
        for name, seconds in known.items():
            if seconds * SECOND_NS == interval_ns:
                return str(name)
        raise InputError(
            f"{self.name} has no bars of that interval",
            key="interval",
            value=format_duration(interval_ns),
            remedy=f"It has {', '.join(known) or 'none'}",
        )

    def open(self, symbol: str) -> None:
        """Load the markets of the symbol's type."""
        kinds = self.exchange.options.get("fetchMarkets")
        wanted = ("linear", "swap") if ":" in symbol else ("spot",)
        if isinstance(kinds, dict) and any(kind in kinds.get("types", ()) for kind in wanted):
            kinds["types"] = [kind for kind in kinds["types"] if kind in wanted]
        markets = self.ask(self.exchange.load_markets)
        if not isinstance(markets, dict) or symbol not in markets:
            near = difflib.get_close_matches(symbol, list(markets or {}), n=4, cutoff=0.5)
            raise InputError(
                f"{self.name} has no such symbol",
                key="symbol",
                value=symbol,
                remedy=f"Perhaps {', '.join(near)}" if near else "Write it like BTC/USDT",
            )

    def close(self) -> None:
        session = getattr(self.exchange, "session", None)
        if session is not None:
            session.close()

    def page(self, symbol: str, since_ns: int, limit: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Up to ``limit`` bars from ``since_ns`` on, as rows of time in ms, open, high, low, close, volume."""

        def fetch() -> np.ndarray[Any, np.dtype[np.float64]]:
            rows = self.exchange.fetch_ohlcv(symbol, self.timeframe, since_ns // MILLISECOND_NS, limit)
            if not isinstance(rows, list):
                raise ValueError(f"bars came as {type(rows).__name__}")
            filled = [[np.nan if value is None else float(value) for value in row[:6]] for row in rows]
            if any(len(row) != 6 or not np.isfinite(row[0]) for row in filled):
                raise ValueError("a bar without its six values")
            return np.array(filled, dtype=np.float64).reshape(len(filled), 6)

        answer: np.ndarray[Any, np.dtype[np.float64]] = self.ask(fetch)
        return answer

    def ask(self, call: Callable[[], Any]) -> Any:
        """The answer of a public request; repeated while it may help.

        ccxt's class of an error does not tell: a cut-off answer comes as a final-looking ExchangeError, a ban as
        DDoSProtection like any rate limit. A public question can be asked again safely, so all but a plain refusal is.
        """
        import ccxt

        problem = "?"
        for attempt in range(ATTEMPTS):
            try:
                self.requests += 1
                return call()
            except (ccxt.BadSymbol, ccxt.NotSupported) as error:
                raise InputError(_first_line(error), key="exchange", value=self.name) from error
            except (ccxt.AuthenticationError, ccxt.PermissionDenied) as error:
                raise UnreachableError(f"{self.name} refuses: {_first_line(error)}") from error
            except (ccxt.BaseError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
                problem = f"{type(error).__name__}: {_first_line(error)}"
                pause = self._pause(error, attempt)
            if attempt + 1 < ATTEMPTS:
                self._wait(pause)
        raise UnreachableError(
            f"{self.name} gave no usable answer in {ATTEMPTS} attempts ({problem}). What came before is stored: check "
            "the connection, and run the same command again to go on"
        )

    def _pause(self, error: Exception, attempt: int) -> float:
        """Seconds to wait: what the exchange says, else twice as long each time."""
        headers = getattr(self.exchange, "last_response_headers", None) or {}
        said = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
        limited = type(error).__name__ in ("DDoSProtection", "RateLimitExceeded")
        seconds = float(2**attempt)
        if limited and said is not None:
            with suppress(ValueError):
                seconds = max(float(said), 0.0)
        if " 418 " in f" {error} " or seconds > WAIT_MAX_S:
            when = f"; it says to come back in {said} s" if said is not None else ""
            raise UnreachableError(f"{self.name} has shut us out ({_first_line(error)}){when}") from error
        return seconds


class _Job:
    """One fetch: which spans are still to be asked for, and what came."""

    def __init__(
        self,
        store: Store,
        venue: _Venue,
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
        for first, last in self._windows(self._holes()):
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
            covered = last if bool((open_ns >= last).all()) else int(open_ns[open_ns < last].max()) + self.interval_ns
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
        opens = np.unique(self.store.table("bars", where, columns=["event_ns"])["event_ns"].to_numpy())
        return opens[(opens >= self.start) & (opens < self.end)]

    def _holes(self) -> list[Span]:
        """Spans behind the first bar that were asked for, gave nothing, and were not asked for again yet."""
        opens = self._opens()
        if len(opens) == 0:
            return []
        held = [(int(at), int(at) + self.interval_ns) for at in opens]
        return subtract_spans([(int(opens[0]), self.end)], merge_spans([*held, *self.settled]))

    def _windows(self, holes: Sequence[Span]) -> list[Span]:
        """Holes gathered into spans of at most one page, so that many small ones cost few requests."""
        longest = PAGE * self.interval_ns
        windows: list[Span] = []
        for first, last in holes:
            while first < last:
                if windows and min(last, first + self.interval_ns) - windows[-1][0] <= longest:
                    reach = min(last, windows[-1][0] + longest)
                    windows[-1] = (windows[-1][0], reach)
                else:
                    reach = min(last, first + longest)
                    windows.append((first, reach))
                first = reach
        return windows


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Half-open spans as few, ascending and disjoint ones."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if first >= last:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def subtract_spans(spans: Iterable[Span], taken: Sequence[Span]) -> list[Span]:
    """What is left of spans without the taken ones (ascending, disjoint)."""
    left: list[Span] = []
    for first, last in spans:
        cursor = first
        for begin, end in taken:
            if end <= cursor or begin >= last:
                continue
            if begin > cursor:
                left.append((cursor, begin))
            cursor = end
        if cursor < last:
            left.append((cursor, last))
    return left


def _rejects(label: str, rows: Any, fault: Any) -> Any:
    import pyarrow as pa

    names = ("time_ms", "open", "high", "low", "close", "volume")
    table = pa.table({name: pa.array(rows[:, at], pa.float64()) for at, name in enumerate(names)})
    count = len(fault)
    table = table.append_column("series", pa.array([label] * count, pa.string()))
    return reject_table(table.append_column("reason", pa.array([str(text) for text in fault], pa.string())))


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
