"""Binance's USD-margined futures as they are now, by its documentation: REST for one look, and public streams."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from tests.sources.server import Server, reply, serving
from tests.sources.world import StepClock
from tests.venue.usdm import COINS, FUNDING_MS, listing, make_row

MINUTE_MS = 60_000
RATIO_MS = 5 * MINUTE_MS


class UsdmLive:
    """The exchange at the time of a clock.

    Attributes
    ----------
    bids, asks : list of (price, size) as text
        The order book of every symbol.
    handshakes : deque of str
        What becomes of the next streams: "429", "500", "html", "drop", "never".
    refuses : bool
        It refuses what is subscribed.
    quiet : bool
        Its connections say nothing any more.
    subscribed : list of list of str
        Topics of each subscription.
    """

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock
        self.bids, self.asks = [("100.0", "3"), ("99.0", "5")], [("101.0", "1"), ("102.0", "7")]
        self.handshakes: deque[str] = deque()
        self.refuses = self.quiet = False
        self.subscribed: list[list[str]] = []
        self.links: list[tuple[web.Request, web.WebSocketResponse]] = []
        self.server = Server(self.handle)
        self.bars: dict[tuple[str, int], list[Any]] = {}

    @property
    def now_ms(self) -> int:
        """Its time, without moving the clock."""
        return self.clock.ns // 1_000_000

    @property
    def options(self) -> dict[str, Any]:
        """Of the source, to reach it."""
        return {"urls": {"rest": self.server.url, "stream": self.server.url.replace("http", "ws")}, "timeout": 3.0}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One question, or one stream."""
        path, query = request.path, request.query
        if "/ws" in path:
            return await self._stream(request)
        if path == "/fapi/v1/exchangeInfo":
            return reply(
                {"timezone": "UTC", "rateLimits": [], "assets": [], "symbols": [listing(coin) for coin in COINS]}
            )
        symbol, now = query["symbol"], self.now_ms
        if path == "/fapi/v1/premiumIndex":
            following = (now // FUNDING_MS + 1) * FUNDING_MS
            told = {"symbol": symbol, "markPrice": "100.5", "indexPrice": "100.4", "interestRate": "0.0001"}
            return reply({**told, "lastFundingRate": "0.00012000", "nextFundingTime": following, "time": now})
        if path == "/fapi/v1/openInterest":
            return reply({"symbol": symbol, "openInterest": "1234.500", "time": now})
        if path == "/fapi/v1/depth":
            return reply({"lastUpdateId": 7, "E": now, "T": now, "bids": self.bids, "asks": self.asks})
        if path == "/fapi/v1/fundingRate":
            return reply(self._rows("funding", symbol, query, FUNDING_MS, now))
        if path == "/futures/data/globalLongShortAccountRatio":
            return reply(self._rows("ratio", symbol, query, RATIO_MS, now))
        if path == "/fapi/v1/klines":
            rows = self._rows("kline", symbol, query, MINUTE_MS, now)
            return reply([self.bars.get((symbol, row[0]), row) for row in rows])
        return reply({"code": -1, "msg": f"no such path {path}"}, 404)

    def trade(self, symbol: str, number: int, stamp_ms: int, amount: str, side: str) -> dict[str, Any]:
        """A message of the stream of trades; `side` is the taker's."""
        return {"e": "trade", "E": stamp_ms, "T": stamp_ms, "s": symbol, "t": number, "p": "100.5", "q": amount,
                "X": "MARKET", "m": side == "sell"}  # fmt: skip

    def liquidation(self, symbol: str, stamp_ms: int, amount: str, side: str) -> dict[str, Any]:
        """A message of the stream of liquidations; `side` is that of the order."""
        order = {"s": symbol, "S": side.upper(), "o": "LIMIT", "f": "IOC", "q": amount, "p": "99.0", "ap": "99.5",
                 "X": "FILLED", "l": amount, "z": amount, "T": stamp_ms}  # fmt: skip
        return {"e": "forceOrder", "E": stamp_ms, "o": order}

    async def say(self, *messages: Any) -> None:
        """Send to every connection, which ccxt sorts out by what a message is about."""
        for message in messages:
            for _, link in list(self.links):
                with suppress(ConnectionError):
                    await link.send_str(message if isinstance(message, str) else json.dumps(message))

    def drop(self) -> None:
        """Cut all connections without a word."""
        for request, _ in self.links:
            if request.transport is not None:
                request.transport.abort()
        self.links.clear()

    def _rows(self, kind: str, symbol: str, query: Any, step: int, now: int) -> list[Any]:
        """Rows up to now, as many as asked for: from a start on, or the newest."""
        limit, since = int(query.get("limit", "30")), query.get("startTime")
        last = now // step * step
        first = last - (limit - 1) * step if since is None else -(-int(since) // step) * step
        rows = [make_row(kind, symbol, at) for at in range(first, last + 1, step)]
        return rows[:limit]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        fault = self.handshakes.popleft() if self.handshakes else ""
        if fault == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault == "never":
            await asyncio.sleep(60)
        if fault:
            status, headers = {"429": (429, {"Retry-After": "7"}), "500": (500, {}), "html": (200, {})}[fault]
            return web.Response(status=status, headers=headers, text="<html>no</html>", content_type="text/html")
        link = web.WebSocketResponse()
        await link.prepare(request)
        self.links.append((request, link))
        pulse = asyncio.ensure_future(self._pulse(link))
        try:
            async for message in link:
                told = json.loads(message.data)
                self.subscribed.append(told["params"])
                if self.refuses:
                    answer = {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": told["id"]}
                else:
                    answer = {"result": None, "id": told["id"]}
                await link.send_json(answer)
        finally:
            pulse.cancel()
            self.links = [(held, one) for held, one in self.links if one is not link]
        return link

    async def _pulse(self, link: web.WebSocketResponse) -> None:
        """A sign of life now and then, as real connections show by pings."""
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(0.01)
                if not self.quiet:
                    await link.ping()


@asynccontextmanager
async def open_usdm(clock: StepClock) -> AsyncIterator[UsdmLive]:
    """The exchange on a free port; its `server.script` plays faults of HTTP, `server.asked` tells what was asked."""
    held = UsdmLive(clock)
    async with serving(held.handle) as server:
        held.server = server
        yield held
