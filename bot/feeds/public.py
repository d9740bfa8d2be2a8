"""The public side of a ccxt exchange for a running bot: bars by REST and by stream, no key, every wait bounded."""

from __future__ import annotations

import asyncio
import difflib
import heapq
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from bot.config_live import Exchange
from data.ccxt_faults import first_line, troubles
from data.errors import InputError, UnreachableError
from data.hang_up import hang_up
from data.http import retry_after_s
from data.times import MILLISECOND_NS, SECOND_NS, format_duration
from data.trust import trust_authorities

T = TypeVar("T")
AT_ONCE = 4  # REST requests under way
BAN_S, BUSY_S = 120.0, 10.0  # waited when a venue shuts us out, or slows us down, and doesn't say how long
NEWEST = 3  # bars that are looked at in ccxt's cache
PAUSE_MAX_S = 3 * 24 * 3600.0
RESTART_S = 60.0  # a stream is begun anew at most so often


class Row(NamedTuple):
    """A bar as a venue tells of it: perhaps unfinished, perhaps wrong."""

    open_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class SourceError(UnreachableError):
    """The venue gave no usable answer. pause_s: it isn't to be asked before."""

    def __init__(self, text: str, pause_s: float = 0.0, *, final: bool = False) -> None:
        super().__init__(text)
        self.pause_s = pause_s
        self.final = final


def open_exchange(section: Exchange, *, pro: bool) -> Any:
    """A ccxt object without keys, its endpoints as the configuration says.

    Raises
    ------
    InputError
        No such exchange, or it has no sandbox or demo.
    """
    import ccxt.async_support
    import ccxt.pro

    from data.endpoints import replace_urls

    known = ccxt.async_support.exchanges
    if section.id not in known:
        near = difflib.get_close_matches(section.id, known, n=3)
        remedy = f"Perhaps {' or '.join(near)}" if near else "Use ccxt's name, for example binance or kraken"
        raise InputError("no such exchange", key="exchange.id", value=section.id, remedy=remedy)
    has_stream = pro and section.id in ccxt.pro.exchanges
    module = ccxt.pro if has_stream else ccxt.async_support
    timeout_ms = section.timeout // MILLISECOND_NS
    made: Any = getattr(module, section.id)({"enableRateLimit": True, "timeout": timeout_ms})
    made.options.update(section.options)
    made.enableLastResponseHeaders = True
    made.has["fetchCurrencies"] = False  # bars need no list of coins, and some venues want a key for it
    made.options["fetchMargins"] = False
    try:
        if section.sandbox:
            made.set_sandbox_mode(True)
        if section.demo:
            made.enable_demo_trading(True)
    except (ccxt.async_support.NotSupported, KeyError, TypeError) as error:
        which = "sandbox" if section.sandbox else "demo"
        raise InputError(
            f"{section.id} has none in ccxt ({first_line(error)})", key=f"exchange.{which}", remedy="Remove it"
        ) from error
    made.urls["api"] = replace_urls(made.urls["api"], section.urls)
    trust_authorities(made)
    return made


class CcxtBars:
    """Bars of one interval from a ccxt exchange; see `bot.feeds.bars.BarSource`.

    Parameters
    ----------
    now_ns : callable
        The clock, ns UTC: for the venue's offset and for dates in its answers.
    """

    def __init__(self, section: Exchange, symbols: Sequence[str], bar_ns: int, now_ns: Callable[[], int]) -> None:
        self.name = section.id
        self.section, self.symbols, self.bar_ns, self.now_ns = section, tuple(symbols), bar_ns, now_ns
        self.streams = False
        self.requests = self.failures = self.restarts = 0
        self._rest: Any = None
        self._stream: Any = None
        self._timeframe = ""
        self._room = asyncio.Semaphore(AT_ONCE)
        self._shut_until_ns = 0
        self._busy = 0
        self._restarted_ns = -(2**62)
        self._timeout_s = section.timeout / SECOND_NS

    async def open(self) -> None:
        """Load the markets.

        Raises
        ------
        InputError
            No such exchange, symbol or interval.
        SourceError
            The venue didn't answer.
        """
        if self._rest is None:
            self._rest = open_exchange(self.section, pro=True)
            self._timeframe = self._find_timeframe()
            kinds = self._rest.options.get("fetchMarkets")
            wanted = ("linear", "swap") if any(":" in symbol for symbol in self.symbols) else ("spot",)
            if isinstance(kinds, dict) and any(kind in kinds.get("types", ()) for kind in wanted):
                kinds["types"] = [kind for kind in kinds["types"] if kind in wanted]
        markets = await self._ask(lambda: self._rest.load_markets(True), patience=4.0)
        if not isinstance(markets, dict) or not markets:
            raise SourceError(f"{self.name} named no markets")
        for symbol in self.symbols:
            if symbol not in markets:
                near = difflib.get_close_matches(symbol, list(markets), n=4, cutoff=0.5)
                remedy = f"Perhaps {', '.join(near)}" if near else "Write it like BTC/USDT"
                raise InputError(f"{self.name} has no such symbol", key="run.symbols", value=symbol, remedy=remedy)
        self.streams = self.section.streams and self._rest.has.get("watchOHLCV") is True

    async def offset_ns(self) -> int | None:
        """The venue's clock less ours; None where it doesn't tell its time."""
        if not self._rest.has.get("fetchTime"):
            return None
        before = self.now_ns()
        told = await self._ask(self._rest.fetch_time)
        if not isinstance(told, (int, float)) or not math.isfinite(told):
            raise SourceError(f"{self.name} told no time")
        return int(told * MILLISECOND_NS) - (before + self.now_ns()) // 2

    async def fetch(self, symbol: str, since_ns: int, limit: int) -> list[Row]:
        """Bars that open at `since_ns` or later, oldest first, the unfinished one too where the venue gives it."""
        since_ms = since_ns // MILLISECOND_NS
        rows = await self._ask(lambda: self._rest.fetch_ohlcv(symbol, self._timeframe, since_ms, limit))
        return [row for row in read_rows(self.name, rows) if row.open_ns >= since_ns]

    async def watch(self, symbol: str) -> list[Row]:
        """The next news of a symbol's bars by stream. Waits as long as it takes: the caller bounds it."""
        if self._stream is None:
            self._stream = open_exchange(self.section, pro=True)
            self._stream.set_markets_from_exchange(self._rest)
        stream = self._stream
        try:
            rows = await stream.watch_ohlcv(symbol, self._timeframe)
        except troubles() as error:
            raise self._problem(error) from error
        # A message that came while this one was handed over lies in ccxt's cache, and would be told with the next one.
        # An old bar that the stream tells late lies behind newer ones there: the newest are found by their times.
        kept = (stream.ohlcvs.get(symbol) or {}).get(self._timeframe)
        newest = heapq.nlargest(NEWEST, kept or (), key=lambda row: row[0])
        return read_rows(self.name, [*rows, *newest])

    async def restart_stream(self) -> bool:
        """Hang up, so that the next watch begins anew; False when that was done a moment ago."""
        now = self.now_ns()
        if now - self._restarted_ns < RESTART_S * SECOND_NS or self._stream is None:
            return False
        self._restarted_ns = now
        self.restarts += 1
        old, self._stream = self._stream, None
        await hang_up(old, self._timeout_s)
        return True

    async def close(self) -> None:
        """Hang up for good."""
        for made in (self._stream, self._rest):
            if made is not None:
                await hang_up(made, self._timeout_s)
        self._stream = self._rest = None

    def health(self) -> dict[str, Any]:
        """Plain values for `status`."""
        shut_s = max(0.0, (self._shut_until_ns - self.now_ns()) / SECOND_NS)
        return {
            "exchange": self.name,
            "streams": self.streams,
            "requests": self.requests,
            "failures": self.failures,
            "restarts": self.restarts,
            "shut_out_s": shut_s,
        }

    def _find_timeframe(self) -> str:
        known = {name: self._rest.parse_timeframe(name) for name in self._rest.timeframes or {} if name[-1] != "M"}
        for name, seconds in known.items():
            if seconds * SECOND_NS == self.bar_ns:
                return str(name)
        raise InputError(
            f"{self.name} has no bars of that length", key="run.bar", value=format_duration(self.bar_ns),
            remedy=f"It has {', '.join(known) or 'none'}",
        )  # fmt: skip

    async def _ask(self, call: Callable[[], Awaitable[T]], patience: float = 1.0) -> T:
        left_s = (self._shut_until_ns - self.now_ns()) / SECOND_NS
        if left_s > 0:
            raise SourceError(f"{self.name} isn't asked for another {left_s:.0f} s: it has shut us out", left_s)
        async with self._room:
            self.requests += 1
            try:
                async with asyncio.timeout(self._timeout_s * patience + 1.0):  # wait_for may swallow a cancellation
                    answer = await call()
            except troubles() as error:
                self.failures += 1
                raise self._problem(error) from error
        self._busy = 0
        return answer

    def _problem(self, error: Exception) -> Exception:
        """What an error means for asking again. Whatever a public question meets, it may be asked again later."""
        import ccxt

        if isinstance(error, (SourceError, InputError)):
            return error
        text = f"{self.name}: {type(error).__name__}: {first_line(error)}"
        if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
            pause_s = self._pause_s(error)
            self._shut_until_ns = max(self._shut_until_ns, self.now_ns() + int(pause_s * SECOND_NS))
            return SourceError(text, pause_s)
        return SourceError(text, final=isinstance(error, (ccxt.NotSupported, ccxt.AuthenticationError)))

    def _pause_s(self, error: Exception) -> float:
        headers = getattr(self._rest, "last_response_headers", None) or {}
        said = next((str(value) for name, value in headers.items() if name.lower() == "retry-after"), None)
        self._busy += 1
        banned = " 418 " in f" {error} "
        guess = (BAN_S if banned else BUSY_S) * 2.0 ** min(self._busy - 1, 6)
        return retry_after_s(said, self.now_ns(), guess, PAUSE_MAX_S)


def read_rows(name: str, rows: Any) -> list[Row]:
    """Bars of an answer, oldest first, of each open time the last; a value that is missing is NaN.

    Raises
    ------
    SourceError
        It isn't a list of bars.
    """
    if not isinstance(rows, list):
        raise SourceError(f"{name}: bars came as {type(rows).__name__}")
    found: dict[int, Row] = {}
    for row in rows:
        try:
            values = [math.nan if value is None else float(value) for value in row[:6]]
            if len(values) != 6 or not math.isfinite(values[0]):
                raise ValueError("a bar without its six values")
        except (TypeError, ValueError, KeyError) as error:
            raise SourceError(f"{name}: bars can't be read ({first_line(error)})") from error
        open_ns = int(values[0]) * MILLISECOND_NS
        found[open_ns] = Row(open_ns, *values[1:])
    return [found[open_ns] for open_ns in sorted(found)]
