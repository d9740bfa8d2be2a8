"""The public side of a ccxt exchange that is followed: asked by REST, heard by streams, each failure with a name.

ccxt connects again by itself, waits for what never comes, and goes on silently where its reader has died. So its
connections are watched from outside: one that is replaced, ended, refused or silent is the end of the whole, and the
caller begins anew. What is behind a question is ccxt's own rate limit.
"""

from __future__ import annotations

import asyncio
import difflib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from data.ccxt_faults import first_line, troubles
from data.endpoints import replace_urls
from data.errors import InputError
from data.feed import Clock, FeedError
from data.hang_up import hang_up
from data.http import BUSY_S, retry_after_s
from data.times import SECOND_NS

BAN_S: Final = 120.0
PING_MS: Final = 10_000
CLOSE_S: Final = 5.0
DIAL_MS: Final = 1_000
CACHE_ROWS: Final = 5_000
"""Trades that ccxt keeps of a symbol, some kilobytes each; more between two looks than that are lost, and noticed."""


class LiveExchange:
    """One ccxt object from `open` to `close`; it isn't opened again.

    Parameters
    ----------
    exchange_id : str
        ccxt's name.
    urls : mapping
        Other endpoints, see `data.endpoints.replace_urls`.
    timeout_s : float
        For one question.
    clock : Clock
    counts : Counter
        Gets `asked`.
    """

    def __init__(
        self, exchange_id: str, urls: Mapping[str, str], timeout_s: float, clock: Clock, counts: Counter[str]
    ) -> None:
        import ccxt.async_support
        import ccxt.pro

        known = ccxt.async_support.exchanges
        if exchange_id not in known:
            near = difflib.get_close_matches(exchange_id, known, n=3)
            remedy = f"Perhaps {' or '.join(near)}" if near else "Use ccxt's name, for example binance or bybit"
            raise InputError("no such exchange", key="exchange", value=exchange_id, remedy=remedy)
        module = ccxt.pro if exchange_id in ccxt.pro.exchanges else ccxt.async_support
        self.name, self.clock, self.counts = exchange_id, clock, counts
        self.timeout_s = timeout_s
        self.made: Any = getattr(module, exchange_id)({"enableRateLimit": True, "timeout": int(timeout_s * 1000)})
        self.made.enableLastResponseHeaders = True
        self.made.has["fetchCurrencies"] = False  # public data need no list of coins, and some venues want a key for it
        self.made.options.update(fetchMargins=False, tradesLimit=CACHE_ROWS, liquidationsLimit=CACHE_ROWS)
        self.made.streaming = {**(self.made.streaming or {}), "keepAlive": PING_MS}
        self.made.urls["api"] = replace_urls(self.made.urls["api"], urls, key="urls")

    async def open(self, symbols: Sequence[str]) -> None:
        """Load the markets of the symbols' types.

        Raises
        ------
        FeedError
            The exchange didn't answer.
        InputError
            It has no such symbol.
        """
        kinds = self.made.options.get("fetchMarkets")
        wanted = ("linear", "swap") if any(":" in symbol for symbol in symbols) else ("spot",)
        if any(":" not in symbol for symbol in symbols):
            wanted = (*wanted, "spot")
        if isinstance(kinds, dict) and any(kind in kinds.get("types", ()) for kind in wanted):
            kinds["types"] = [kind for kind in kinds["types"] if kind in wanted]
        markets = await self.ask(lambda: self.made.load_markets(True), patience=4.0)
        if not isinstance(markets, dict) or not markets:
            raise FeedError(f"{self.name} named no markets")
        for symbol in symbols:
            if symbol not in markets:
                near = difflib.get_close_matches(symbol, list(markets), n=4, cutoff=0.5)
                remedy = f"Perhaps {', '.join(near)}" if near else "Write it like BTC/USDT:USDT"
                raise InputError(f"{self.name} has no such symbol", key="symbols", value=symbol, remedy=remedy)

    async def ask(self, call: Callable[[], Awaitable[Any]], patience: float = 1.0) -> Any:
        """The answer of a question, or FeedError."""
        self.counts["asked"] += 1
        try:
            async with asyncio.timeout(self.timeout_s * patience + 1.0):
                return await call()
        except troubles() as error:
            raise self.problem(error) from None

    def problem(self, error: Exception) -> FeedError:
        """What an error means for asking again."""
        import ccxt

        if isinstance(error, FeedError):
            return error
        if type(error) is TimeoutError:
            return FeedError(f"{self.name}: no whole answer within {self.timeout_s:g} s")
        text = f"{self.name}: {type(error).__name__}: {first_line(error)}"
        if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
            headers = getattr(self.made, "last_response_headers", None) or {}
            said = next((str(value) for name, value in headers.items() if name.lower() == "retry-after"), None)
            guess = BAN_S if " 418 " in f" {error} " else BUSY_S
            return FeedError(text, pause_s=retry_after_s(said, self.clock.now_ns(), guess))
        final = isinstance(error, (ccxt.NotSupported, ccxt.AuthenticationError))
        return FeedError(text, pause_s=self._dial_s(), final=final)

    def _dial_s(self) -> float:
        """How long an address whose handshakes failed asked to be left alone: ccxt notes it, and a new object of it
        wouldn't know.
        """
        held = getattr(self.made, "ws_dial_backoff", None) or {}
        left_ms = max((state["until"] - self.made.milliseconds() for state in held.values()), default=0)
        return float(left_ms) / 1000 if left_ms > DIAL_MS else 0.0

    def can(self, ability: str) -> bool:
        """Whether ccxt says that the exchange does that."""
        return bool(self.made.has.get(ability))

    async def close(self) -> None:
        """Hang up, whatever state the connections are in."""
        for client in list((self.made.clients or {}).values()):
            for future in list(client.futures.values()):
                if not future.done():
                    future.cancel()
        await hang_up(self.made, CLOSE_S)


@dataclass
class _Heard:
    """One connection of ccxt's: the object itself, its last stamp, and our clock when that last changed."""

    client: Any
    stamp: Any = None
    alive_ns: int = 0


class Lines:
    """ccxt's connections, watched from outside.

    Parameters
    ----------
    exchange : LiveExchange
    silence_s : float
        One that brings nothing for so long, not even a pong, has died.
    """

    def __init__(self, exchange: LiveExchange, silence_s: float) -> None:
        self._exchange, self._silence_ns = exchange, int(silence_s * SECOND_NS)
        self._heard: dict[str, _Heard] = {}
        self._looked_ns = 0
        self._begun_ns = 0

    @property
    def count(self) -> int:
        """How many connections were seen."""
        return len(self._heard)

    def look(self, now_ns: int) -> int:
        """Until when all connections were surely alive; 0 while one has said nothing yet.

        Raises
        ------
        FeedError
            One ended, was replaced, refused what it was asked for, or fell silent.
        """
        self._begun_ns = self._begun_ns or now_ns
        clients = dict(self._exchange.made.clients or {})
        for url, heard in self._heard.items():
            if clients.get(url) is not heard.client:
                raise FeedError(f"{self._exchange.name}: a stream ended")
        for url, client in clients.items():
            heard = self._heard.setdefault(url, _Heard(client))
            refused = next(iter(client.rejections.values()), None)
            if client.error or refused:
                raise self._exchange.problem(_as_error(client.error or refused))
            stamp = client.last_message_at
            if stamp is not None and stamp != heard.stamp:
                # It came after the look before this one: that is what can be vouched for.
                heard.stamp, heard.alive_ns = stamp, max(self._looked_ns, 1)
        last = min((heard.alive_ns for heard in self._heard.values()), default=0)
        if now_ns - max(last, self._begun_ns) > self._silence_ns:
            raise FeedError(f"{self._exchange.name}: a stream is silent for {self._silence_ns / SECOND_NS:g} s")
        self._looked_ns = now_ns
        return last


def _as_error(found: Any) -> Exception:
    return found if isinstance(found, Exception) else FeedError(str(found)[:200])
