"""A linear perpetual venue on loopback that speaks Bybit v5: REST, public and private streams, and injected faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from tests.venue import faults as faulty
from tests.venue.bybit_auth import Denied, Key
from tests.venue.bybit_desk import Desk
from tests.venue.bybit_front import Front
from tests.venue.bybit_tape import ALL_NAMES, Tape
from tests.venue.bybit_ws import Streams
from tests.venue.control import run_command
from tests.venue.faults import Fault, Faults
from tests.venue.matching import Engine
from tests.venue.records import Happening, Order, Spec, Trade, down

COMMON: dict[str, Any] = {
    "quote": "USDT", "kind": "linear", "band_up": Decimal(2), "band_down": Decimal("0.5"), "max_conditional": 10,
    "max_orders": 500, "maker": Decimal("0.0002"), "taker": Decimal("0.00055"),
}  # fmt: skip
SPECS = (
    Spec("BTCUSDT", "BTC", tick=Decimal("0.1"), lot=Decimal("0.001"), min_qty=Decimal("0.001"), **COMMON),
    Spec("ETHUSDT", "ETH", tick=Decimal("0.01"), lot=Decimal("0.01"), min_qty=Decimal("0.01"), **COMMON),
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalPerpVenue:
    """A venue that listens on 127.0.0.1 while `async with` lasts. Its own records are the judge.

    One unified account, isolated margin, one-way positions, all settled in USDT.

    Parameters
    ----------
    specs : iterable of Spec
        Markets, kind "linear"; by default BTCUSDT and ETHUSDT.
    balances : mapping
        Coins of the account at the start, amounts as text; by default 10,000 USDT.
    prices : mapping
        Last and mark prices by symbol at the start.
    faults : iterable of Fault
        What goes wrong.
    key : Key
        The one API key; by default it may trade and not withdraw.
    port : int
        0: any free one.
    second : float
        How long a second of the dead man's switch lasts here.
    dcp : bool
        Whether that switch was enabled for the account. Where it wasn't, setting it is acknowledged and does nothing.
    dcp_filter : str
        "" lets it cancel every order, "Order" spares conditional ones: the documentation doesn't say which.
    stops_survive : bool
        Whether a reduce-only stop that still waits outlives its position.
    make_bars : bool
        Whether prices make bars by the venue's clock; by default only `bar` does.
    """

    def __init__(
        self, specs: Iterable[Spec] = (), *, balances: Mapping[str, str] | None = None,
        prices: Mapping[str, str] | None = None, faults: Iterable[Fault] = (), key: Key | None = None, port: int = 0,
        second: float = 1.0, dcp: bool = True, dcp_filter: str = "", stops_survive: bool = True,
        make_bars: bool = False,
    ) -> None:  # fmt: skip
        self.key = key or Key()
        self.doorman = SimpleNamespace(keys={self.key.api: self.key})
        self.offset_ms = 0.0  # how far the venue's clock is before ours
        self.maintenance = False
        self.dcp, self.dcp_filter, self.dcp_fired = dcp, dcp_filter, 0
        self.faults: Faults = Faults(list(faults))
        self.engine = Engine([Spec(**vars(spec)) for spec in (tuple(specs) or SPECS)])
        self.engine.stops_survive = stops_survive
        self.make_bars = make_bars
        self.tape = Tape(self.engine, make_bars=make_bars)
        self.streams = Streams(self, second)
        self.desk = Desk(self.engine, self.streams.push)
        self.front = Front(self)
        self.port = port
        self.requests: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self._lookups: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self.engine.hooks.append(self._logged)
        for coin, amount in ({"USDT": "10000"} if balances is None else balances).items():
            self.engine.deposit(coin, amount, self.now_ms())
        for symbol, price in (prices or {}).items():
            self.engine.set_price(symbol, price, self.now_ms())

    # --- addresses ---------------------------------------------------------------------------------------------------
    @property
    def rest_url(self) -> str:
        """Root of REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Public streams of linear contracts."""
        return f"ws://127.0.0.1:{self.port}/v5/public/linear"

    @property
    def user_url(self) -> str:
        """The private stream."""
        return f"ws://127.0.0.1:{self.port}/v5/private"

    def ccxt_urls(self) -> dict[str, Any]:
        """What to put in place of ccxt's `urls['api']`: nothing in it leads elsewhere."""
        dead = f"ws://127.0.0.1:{self.port}/unserved"
        public = {**dict.fromkeys(("spot", "inverse", "option"), dead), "linear": self.ws_url}
        private = {
            "spot": {"unified": self.user_url, "nonUnified": dead}, "contract": self.user_url, "usdc": dead,
            "trade": dead,
        }  # fmt: skip
        rest = dict.fromkeys(("spot", "futures", "v2", "public", "private"), self.rest_url)
        return {**rest, "ws": {"public": public, "private": private}}

    def ccxt_config(self, **more: Any) -> dict[str, Any]:
        """Arguments of a ccxt class that reaches this venue with the default key."""
        options = {"fetchMarkets": {"types": ["linear"]}, "recvWindow": 5000}
        keys = {"apiKey": self.key.api, "secret": self.key.secret}
        return {**keys, "options": options, "urls": {"api": self.ccxt_urls()}, **more}

    # --- life --------------------------------------------------------------------------------------------------------
    async def __aenter__(self) -> LocalPerpVenue:
        app = web.Application(middlewares=[self._middleware])
        app.router.add_post("/control", self._control)
        app.router.add_get("/v5/public/linear", self.streams.serve)
        app.router.add_get("/v5/private", self.streams.serve)
        app.router.add_route("*", "/{tail:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        await self.listen(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.streams.close()
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()
        await asyncio.sleep(0.02)  # a connection that was being taken is there by now, and is closed with the others
        await self._runner.cleanup()

    async def listen(self, on: bool) -> None:
        """Begin to listen, or refuse connections (and cut those that are open)."""
        assert self._runner is not None
        if on and self._site is None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self.port)
            await self._site.start()
            self.port = self._runner.addresses[0][1]
        elif not on and self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            for connection in self._runner.server.connections if self._runner.server else ():
                if connection.transport is not None:
                    connection.transport.abort()

    # --- time and the world ------------------------------------------------------------------------------------------
    def now_ms(self) -> int:
        """The venue's own clock."""
        return int(time.time() * 1000 + self.offset_ms)

    def set_price(self, symbol: str, price: Decimal | str | float, mark: Decimal | str | float | None = None) -> None:
        """Move the market (the mark price too unless it is given); orders trigger, fill, positions are liquidated."""
        self.engine.set_price(symbol, price, self.now_ms(), None if mark is None else str(mark))

    def bar(
        self, symbol: str, interval: str, open_ms: int, values: Iterable[object], *, closed: bool = True,
        twice: bool = False, tell: bool = True, walk: bool = False,
    ) -> None:  # fmt: skip
        """Give a bar (open, high, low, close, volume), as it is: REST has it, and the stream tells unless not `tell`.

        interval as ccxt names it, "1m" to "1d", or "1s". walk: the market first moves through it, open, low, high,
        close (falling bars: high before low).
        """
        number = {name: number for number, name in ALL_NAMES.items()}[interval]
        texts = [str(value) for value in values]
        if walk:
            rising = Decimal(texts[3]) >= Decimal(texts[0])
            path = (texts[0], texts[2], texts[1]) if rising else (texts[0], texts[1], texts[2])
            for price in (*path, texts[3]):
                self.set_price(symbol, price)
        row = self.tape.candles.put(symbol, interval, open_ms, texts, twice=twice)
        if tell:
            self.streams.kline(symbol, number, row, closed=closed)

    def pay_funding(self, symbol: str, rate: Decimal | str) -> None:
        """Every position of a symbol pays (or gets) funding now."""
        now = self.now_ms()
        self.tape.rates[symbol].append((now, Decimal(rate)))
        self.engine.fund(symbol, rate, now)

    def foreign(self, symbol: str, side: str, kind: str, qty: str, **more: Any) -> Order:
        """Somebody else's order on the same account, by hand: arguments as `Engine.place`."""
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
        """What really is and was: orders, trades, positions, funding, balances, log, requests and faults that hit."""
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

    def fire_dcp(self) -> None:
        """What the dead man's switch does when its time is over."""
        self.dcp_fired += 1
        self.note("dcp")
        self.desk.cancel_all({"settleCoin": "USDT", "orderFilter": self.dcp_filter}, self.now_ms(), reason="dcp")

    # --- what faults need --------------------------------------------------------------------------------------------
    def render_error(self, code: int, text: str) -> Any:
        """An error as Bybit writes it."""
        return self.front.render_error(code, text)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside until the venue closes."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def command(self, command: dict[str, Any]) -> Any:
        """Run a control command: "funding" (symbol, rate), "mark" (symbol, price), or one of `tests.venue.control`.

        Of those "limits" and "fee-coin" mean nothing here.
        """
        if command["do"] == "funding":
            return self.pay_funding(command["symbol"], command["rate"])
        if command["do"] == "mark":
            last = self.engine.books[command["symbol"]].price
            return self.set_price(command["symbol"], last, command["price"])
        return await run_command(self, command)  # type: ignore[arg-type]

    def missed(self, client_id: str) -> None:
        """A lookup of this client id was answered that there is no such order."""
        self._lookups.setdefault(client_id, asyncio.Event()).set()

    async def not_found(self, client_id: str) -> None:
        """Wait for `missed`."""
        await self._lookups.setdefault(client_id, asyncio.Event()).wait()

    def around(self, fault: Fault, client_id: str, *, before: bool) -> None:
        """Do to an order what "race-fill" (before the request) and the others (after it) do."""
        order = self.engine.find(client_id=client_id) if client_id else None
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
                self.engine.end(order, now, "CANCELED", "the venue's own will")
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
        return web.Response(status=fault.status, text=faulty.HTML)

    # --- requests ----------------------------------------------------------------------------------------------------
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
            return faulty.respond(self.front.denied(Denied(10017, "Route not found.", status=404)))
        if self.maintenance:
            return web.Response(status=503, text=faulty.HTML, content_type="text/html")
        body = (await request.read()).decode()
        payload = body if request.method == "POST" else request.raw_path.partition("?")[2]
        try:
            params = self.front.params(request.method, payload)
        except Denied as error:
            return faulty.respond(self.front.denied(error))
        label, client_id = self.front.label(route, params), self.front.client_id(params)
        symbol = str(params.get("symbol") or "")
        record: dict[str, Any] = {"ms": self.now_ms(), "label": label, "status": None, "code": None}
        record |= {"client_id": client_id, "symbol": symbol}
        self.requests.append(record)
        call = self.front.call(route, params, request.headers, payload, record)
        fault = self.faults.take(label, self.now_ms(), symbol=symbol, client_id=client_id)
        if fault is None:
            return faulty.respond(call())
        record["fault"] = fault.kind
        return await faulty.play(fault, request, call, self, client_id)
