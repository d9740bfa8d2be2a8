"""The public side of Binance's USD-margined futures by its documentation: REST for history and for now, and streams.

What it holds is a function of the time, so that a test can say what has to come out. It plays faults when told to.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

HOUR_MS = 3_600_000
FUNDING_MS = 8 * HOUR_MS
COINS = ("BTC", "ETH", "SOL", "BNB", "XRP")


def listing(coin: str) -> dict[str, Any]:
    """One perpetual as `exchangeInfo` lists it."""
    return {
        "symbol": f"{coin}USDT", "pair": f"{coin}USDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000, "status": "TRADING", "baseAsset": coin, "quoteAsset": "USDT",
        "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8,
        "quotePrecision": 8, "underlyingType": "COIN", "orderTypes": ["LIMIT", "MARKET"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "1000000", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        ],
    }  # fmt: skip


@dataclass
class Usdm:
    """What the exchange holds, and how it misbehaves.

    Attributes
    ----------
    first_ms, last_ms : int
        Its history begins and ends there; the latter is not part of it.
    keeps_ms : int
        Open interest and ratios are kept so long before `last_ms`; older questions are refused. 0: for good.
    absent : set of (kind, symbol, stamp in ms)
        Rows that it doesn't have. Kinds: kline, funding, interest, ratio.
    hidden : set of the same
        Rows that it leaves out of the first answer that would hold them.
    script : deque of str
        Faults for the next questions beside `exchangeInfo`, see `tests.sources.server`.
    asked : list of (path, query)
        Questions beside `exchangeInfo`.
    gate : callable, optional
        Awaited before each of them is answered.
    """

    first_ms: int = 0
    last_ms: int = 0
    keeps_ms: int = 0
    limit_max: int = 1500
    absent: set[tuple[str, str, int]] = field(default_factory=set)
    hidden: set[tuple[str, str, int]] = field(default_factory=set)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    script: deque[str] = field(default_factory=deque)
    gate: Callable[[], Awaitable[None]] | None = None
    url: str = ""

    @property
    def urls(self) -> dict[str, str]:
        """ccxt's names of its endpoints."""
        return {"fapiPublic": f"{self.url}/fapi/v1", "fapiData": f"{self.url}/futures/data"}

    def rows(self, kind: str, symbol: str) -> dict[int, Any]:
        """All that it has of a series, by stamp."""
        step = FUNDING_MS if kind == "funding" else HOUR_MS
        stamps = range(-(-self.first_ms // step) * step, self.last_ms, step)
        return {at: make_row(kind, symbol, at) for at in stamps if (kind, symbol, at) not in self.absent}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One question."""
        path, query = request.path, dict(request.query)
        if path == "/fapi/v1/exchangeInfo":
            told = {"timezone": "UTC", "rateLimits": [], "assets": [], "symbols": [listing(coin) for coin in COINS]}
            return _reply(told)
        self.asked.append((path, query))
        if self.gate is not None:
            await self.gate()
        kind = {
            "/fapi/v1/klines": "kline",
            "/fapi/v1/fundingRate": "funding",
            "/futures/data/openInterestHist": "interest",
            "/futures/data/globalLongShortAccountRatio": "ratio",
        }.get(path)
        if kind is None:
            return _reply({"code": -1, "msg": "no such path"}, 404)
        if self.script:
            return _faulty(self.script.popleft())
        since, until = int(query.get("startTime", "0")), int(query.get("endTime", str(2**53)))
        if self.keeps_ms and kind in ("interest", "ratio") and since < self.last_ms - self.keeps_ms:
            return _reply({"code": -1130, "msg": "parameter 'startTime' is invalid."}, 400)
        found = []
        for at, row in self.rows(kind, query["symbol"]).items():
            if since <= at <= until:
                if (kind, query["symbol"], at) in self.hidden:
                    self.hidden.discard((kind, query["symbol"], at))
                else:
                    found.append(row)
        return _reply(found[: min(int(query.get("limit", "500")), self.limit_max)])


def make_row(kind: str, symbol: str, at: int) -> Any:
    """One row as the API gives it: a function of what it is about."""
    number = (at // HOUR_MS * 7919 + sum(map(ord, symbol))) % 1000
    if kind == "kline":
        low, close = 100 + number / 10, 101 + number / 10
        return [at, f"{low + 0.5}", f"{close + 1}", f"{low}", f"{close}", f"{number / 4}", at + HOUR_MS - 1, "1", 9,
                "1", "1", "0"]  # fmt: skip
    if kind == "funding":  # stamped some milliseconds late, as the exchange does
        rate = f"{(number - 500) / 1e6:.8f}"
        return {"symbol": symbol, "fundingTime": at + number % 9, "fundingRate": rate, "markPrice": "100.1"}
    if kind == "interest":
        amount, value = f"{1000 + number}.125", f"{(1000 + number) * 100}.5"
        return {"symbol": symbol, "sumOpenInterest": amount, "sumOpenInterestValue": value, "timestamp": at}
    ratio = f"{1 + number / 1000:.4f}"
    return {"symbol": symbol, "longShortRatio": ratio, "longAccount": "0.6", "shortAccount": "0.4", "timestamp": at}


def _reply(body: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type="application/json")


def _faulty(fault: str) -> web.Response:
    answers = {
        "429": web.Response(status=429, headers={"Retry-After": "3"}, text='{"code":-1003,"msg":"Too many requests"}'),
        "500": web.Response(status=500, text="oops"),
        "html": web.Response(text="<html>maintenance</html>", content_type="text/html"),
        "cut": web.Response(text='[{"symbol":"BTCUSDT","fundi', content_type="application/json"),
        "object": web.Response(text='{"surprise": 1}', content_type="application/json"),
        "renamed": web.Response(text='[{"symbol":"BTCUSDT","time":"yesterday"}]', content_type="application/json"),
    }
    return answers[fault]


@contextmanager
def threaded(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Iterator[tuple[str, Any]]:
    """A server on a free port with a loop and a thread of its own: its address and that loop."""
    loop = asyncio.new_event_loop()
    ready: threading.Event = threading.Event()
    told: list[str] = []
    stop = asyncio.Event()

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        told.append(f"http://{host}:{port}")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(run())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(10)
        yield told[0], loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
