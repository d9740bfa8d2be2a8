"""A whole venue on loopback: Binance's spot protocol over the matching engine, in this process or one of its own.

`python -m tests.venue.server` prints its addresses as one line of JSON and takes control commands at `/control`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from decimal import Decimal
from typing import Any

from aiohttp import web

from tests.venue import faults as faulty
from tests.venue.binance import Binance
from tests.venue.binance_ws import Streams
from tests.venue.candles import Candles
from tests.venue.control import run_command
from tests.venue.doorman import Doorman, Key
from tests.venue.faults import Fault, Faults
from tests.venue.matching import Engine
from tests.venue.records import Happening, Order, Spec, Trade, down

API_KEY, SECRET = "venue-key", "venue-secret"
SPECS = (
    Spec("BTCUSDT", "BTC", "USDT"),
    Spec("ETHUSDT", "ETH", "USDT", lot=Decimal("0.0001"), min_qty=Decimal("0.0001")),
    Spec("SOLUSDT", "SOL", "USDT", lot=Decimal("0.001"), min_qty=Decimal("0.001")),
    Spec("BNBUSDT", "BNB", "USDT", lot=Decimal("0.001"), min_qty=Decimal("0.001")),
)
SPOT_NAMES = ("public", "private", "v1")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalVenue:
    """A venue that listens on 127.0.0.1 while `async with` lasts. Its own records are the judge.

    Parameters
    ----------
    specs : iterable of Spec
        Markets; by default BTC, ETH, SOL and BNB against USDT.
    balances : mapping
        Coins of the account "main" at the start, amounts as text.
    prices : mapping
        Reference prices by symbol ("BTCUSDT") at the start.
    faults : iterable of Fault
        What goes wrong.
    keys : mapping
        API keys; by default `API_KEY` with `SECRET`, which may trade and not withdraw.
    port : int
        0: any free one.
    """

    def __init__(
        self, specs: Iterable[Spec] = (), *, balances: Mapping[str, str] | None = None,
        prices: Mapping[str, str] | None = None, faults: Iterable[Fault] = (), keys: Mapping[str, Key] | None = None,
        port: int = 0,
    ) -> None:  # fmt: skip
        copies = [Spec(**vars(spec)) for spec in (tuple(specs) or SPECS)]
        self.engine = Engine(copies)
        self.faults: Faults = Faults(list(faults))
        self.doorman = Doorman(dict(keys or {API_KEY: Key(SECRET)}))
        self.candles = Candles()
        self.streams: Streams = Streams(self)
        self.front = Binance(self)
        self.offset_ms = 0.0  # how far the venue's clock is before ours
        self.maintenance = False
        self.port = port
        self.requests: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self._ids = 0
        self._lookups: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._listening = asyncio.Lock()
        self.engine.hooks += [self._logged, self.streams.hook]
        for coin, amount in (balances or {}).items():
            self.engine.deposit(coin, amount, self.now_ms())
        for symbol, price in (prices or {}).items():
            self.engine.set_price(symbol, price, self.now_ms())

    # --- addresses -------------------------------------------------------------------------------------------------
    @property
    def rest_url(self) -> str:
        """Root of REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Market streams; ccxt takes them as spot because of `/stream`."""
        return f"ws://127.0.0.1:{self.port}/stream"

    @property
    def user_url(self) -> str:
        """The WebSocket API, which carries the private stream."""
        return f"ws://127.0.0.1:{self.port}/ws-api/v3"

    def ccxt_urls(self) -> dict[str, Any]:
        """What to put in place of ccxt's `urls['api']`: nothing in it leads elsewhere."""
        rest, dead = self.rest_url, self.rest_url + "/unserved"
        kinds = ("dapi", "eapi", "fapi", "papi")
        ends = ("", "Public", "PublicV2", "PublicV3", "Private", "PrivateV2", "PrivateV3", "Data", "V2")
        urls: dict[str, Any] = {kind + end: dead for kind in kinds for end in ends}
        urls |= {f"sapi{end}": f"{rest}/sapi/{end.lower() or 'v1'}" for end in ("", "V2", "V3", "V4")}
        urls |= dict.fromkeys(SPOT_NAMES, f"{rest}/api/v3")
        names = ("linear", "inverse", "stock", "option", "optionMarket", "optionPrivate", "papi")
        streams: dict[str, Any] = dict.fromkeys(("spot", "margin"), self.ws_url)
        streams |= dict.fromkeys(names, f"ws://127.0.0.1:{self.port}/unserved")
        streams["ws-api"] = dict.fromkeys(("spot", "linear", "inverse"), self.user_url)
        return {**urls, "ws": streams}

    def ccxt_config(self, **more: Any) -> dict[str, Any]:
        """Arguments of a ccxt class that reaches this venue with the default key."""
        options = {
            "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False,
            "warnOnFetchOpenOrdersWithoutSymbol": False, "recvWindow": 5000,
        }  # fmt: skip
        return {"apiKey": API_KEY, "secret": SECRET, "options": options, "urls": {"api": self.ccxt_urls()}, **more}

    # --- life ------------------------------------------------------------------------------------------------------
    async def __aenter__(self) -> LocalVenue:
        app = web.Application(middlewares=[self._middleware])
        app.router.add_post("/control", self._control)
        app.router.add_get("/stream{tail:.*}", self.streams.serve)
        app.router.add_get("/ws{tail:.*}", self.streams.serve)
        app.router.add_route("*", "/{tail:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        await self.listen(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in list(self.streams.links):
            link.abort()
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()
        await asyncio.sleep(0.02)  # a connection that was being taken is there by now, and is closed with the others
        await self._runner.cleanup()

    async def listen(self, on: bool) -> None:
        """Begin to listen, or refuse connections (and cut those that are open)."""
        assert self._runner is not None
        async with self._listening:  # one change after the other, however busy the machine is
            if on and self._site is None:
                site = web.TCPSite(self._runner, "127.0.0.1", self.port)
                await site.start()
                self._site = site
                self.port = self._runner.addresses[0][1]
            elif not on and self._site is not None:
                site, self._site = self._site, None
                await site.stop()
                for connection in self._runner.server.connections if self._runner.server else ():
                    if connection.transport is not None:
                        connection.transport.abort()

    # --- time and the world ----------------------------------------------------------------------------------------
    def now_ms(self) -> int:
        """The venue's own clock."""
        return int(time.time() * 1000 + self.offset_ms)

    def new_id(self) -> str:
        """A client id as the venue makes one."""
        self._ids += 1
        return f"v{self._ids:021d}"

    def set_price(self, symbol: str, price: Decimal | str | float) -> None:
        """Move the market; orders fill and streams tell."""
        self.engine.set_price(symbol, price, self.now_ms())

    def bar(
        self, symbol: str, interval: str, open_ms: int, values: Iterable[object], *, closed: bool = True,
        twice: bool = False, tell: bool = True, walk: bool = False,
    ) -> None:  # fmt: skip
        """Give a bar (open, high, low, close, volume), as it is: REST has it, and the stream tells unless not `tell`.

        walk: the market first moves through it, open, low, high, close (falling bars: high before low).
        """
        texts = [str(value) for value in values]
        if walk:
            rising = Decimal(texts[3]) >= Decimal(texts[0])
            path = (texts[0], texts[2], texts[1]) if rising else (texts[0], texts[1], texts[2])
            for price in (*path, texts[3]):
                self.set_price(symbol, price)
        row = self.candles.put(symbol, interval, open_ms, texts, twice=twice)
        if tell:
            self.streams.kline(symbol, interval, row, closed=closed)

    def foreign(self, symbol: str, side: str, kind: str, qty: str, **more: Any) -> Order:
        """Somebody else's order on the same account, by hand: arguments as `Engine.place`."""
        more.setdefault("client_id", f"web_{self.new_id()}")
        return self.engine.place(symbol, side, kind, qty, self.now_ms(), origin="hand", **more)

    async def told(self) -> None:
        """Wait until all that happened was sent to those who listen."""
        while any(link.queue.qsize() for link in self.streams.links):
            await asyncio.sleep(0.001)

    def note(self, what: str, **more: Any) -> None:
        """Write down what happened."""
        self.log.append({"ms": self.now_ms(), "what": what, **more})

    def _logged(self, happening: Happening) -> None:
        order, trade = happening.order, happening.trade
        if happening.what == "PRICE":
            return
        more: dict[str, Any] = {"symbol": happening.symbol, "account": happening.account}
        if order is not None:
            more |= {"order": order.id, "client_id": order.client_id, "origin": order.origin}
        if trade is not None:
            more |= {"trade": trade.id, "qty": str(trade.qty), "price": str(trade.price)}
        self.note(happening.what, **more)

    def truth(self, account: str = "main") -> dict[str, Any]:
        """What really is and was: orders, trades, balances, the log, requests and faults that hit, as JSON values."""
        return {
            **self.engine.truth(account),
            "prices": {name: str(book.price) for name, book in self.engine.books.items()},
            "log": self.log,
            "requests": self.requests,
            "faults": self.faults.hits,
        }

    def orders(self, prefix: str = "", account: str = "main") -> list[Order]:
        """Orders whose client id begins so."""
        kept = self.engine.orders.values()
        return [one for one in kept if one.account == account and one.client_id.startswith(prefix)]

    def trades(self, prefix: str = "", account: str = "main") -> list[Trade]:
        """Trades of the orders whose client id begins so."""
        numbers = {order.id for order in self.orders(prefix, account)}
        return [trade for trade in self.engine.trades if trade.order_id in numbers]

    # --- what faults need ------------------------------------------------------------------------------------------
    def render_error(self, code: int, text: str) -> Any:
        """An error as Binance writes it."""
        return {"code": code, "msg": text}

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside until the venue closes."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def command(self, command: dict[str, Any]) -> Any:
        """Run a control command."""
        return await run_command(self, command)

    def missed(self, client_id: str) -> None:
        """A lookup of this client id was answered that there is no such order."""
        self._lookups.setdefault(client_id, asyncio.Event()).set()

    async def not_found(self, client_id: str) -> None:
        """Wait for `missed`."""
        await self._lookups.setdefault(client_id, asyncio.Event()).wait()

    def around(self, fault: Fault, client_id: str, *, before: bool) -> None:
        """Do to an order what "race-fill" (before the request) and the others (after it) do."""
        found = [self.engine.find(account=name, client_id=client_id) for name in self.engine.accounts if client_id]
        order = next((one for one in found if one is not None), None)
        now = self.now_ms()
        if before:
            if fault.kind == "race-fill" and order is not None and order.is_open:
                self.engine.fill(order, order.left, None, now)
            return
        if order is not None and order.is_open:
            if fault.kind == "partial-cut":
                part = down(order.left * Decimal(fault.share), self.engine.specs[order.symbol].lot)
                self.engine.fill(order, part, None, now)
            elif fault.kind == "venue-cancel":
                self.engine.end(order, now, "EXPIRED", "the venue's own will")
        if fault.kind == "hide" and order is not None:
            order.extra["hidden_until_ms"] = now + int(fault.seconds * 1000)
        if fault.kind == "partial-cut":
            self.streams.cut("user")

    async def dialled(self, request: web.Request, kind: str) -> web.StreamResponse | None:
        """An answer to a dial that is refused; None when it may come in."""
        fault = self.faults.take(f"dial:{kind}", self.now_ms())
        if fault is None:
            return web.Response(status=503, text=faulty.HTML) if self.maintenance else None
        if fault.kind in ("reset", "timeout"):
            await asyncio.sleep(fault.seconds if fault.kind == "timeout" else 0.0)
            return faulty.reset(request)
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return web.Response(status=fault.status, text=faulty.HTML, headers=headers)

    # --- requests --------------------------------------------------------------------------------------------------
    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:  # the client has hung up
            return web.Response()

    async def _control(self, request: web.Request) -> web.Response:
        try:
            return web.json_response({"ok": await self.command(await request.json())})
        except Exception as error:  # whatever is wrong with a command, the caller is told
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        route = self.front.routes.get((request.method, request.path))
        if route is None:
            return web.Response(status=404, text=faulty.HTML, content_type="text/html")
        if self.maintenance and route.label != "status":
            return web.Response(status=503, text=faulty.HTML, content_type="text/html")
        body = (await request.read()).decode()
        raw = request.rel_url.raw_query_string + body
        record: dict[str, Any] = {"ms": self.now_ms(), "ns": time.time_ns(), "label": route.label}
        record |= {"status": None, "code": None}
        self.requests.append(record)
        call = self.front.call(route, raw, request.headers.get("X-MBX-APIKEY"), record)
        params = self.front.params(raw)
        client_id = self.front.client_id(route.label, params)
        record |= {"client_id": client_id, "symbol": params.get("symbol", "")}
        fault = self.faults.take(route.label, self.now_ms(), symbol=record["symbol"], client_id=client_id)
        if fault is None:
            return faulty.respond(call())
        record["fault"] = fault.kind
        return await faulty.play(fault, request, call, self, client_id)


async def main(arguments: argparse.Namespace) -> None:
    """Listen until SIGTERM or SIGINT, or until standard input ends unless told to stay."""
    given = json.loads(arguments.setup)
    given["faults"] = [Fault(**one) for one in given.get("faults", ())]
    given["keys"] = {name: Key(**one) for name, one in given.get("keys", {}).items()} or None
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    async with LocalVenue(port=arguments.port, **given) as venue:
        addresses = {"rest": venue.rest_url, "stream": venue.ws_url, "user": venue.user_url, "port": venue.port}
        print(json.dumps({**addresses, "control": venue.rest_url + "/control", "urls": venue.ccxt_urls()}), flush=True)
        if not arguments.stay:
            threading.Thread(target=watch, daemon=True).start()
        await over.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--setup", default="{}", help="JSON: balances, prices, faults, keys")
    parser.add_argument("--stay", action="store_true", help="don't end with standard input")
    asyncio.run(main(parser.parse_args()))
