"""A linear perpetual venue on loopback that speaks Bybit v5: REST, public and private streams, and injected faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.venue import faults as injector
from tests.venue.bybit_auth import Denied, Key, check_request, check_right
from tests.venue.bybit_desk import Desk
from tests.venue.bybit_rows import Row
from tests.venue.bybit_tape import Tape
from tests.venue.bybit_ws import Streams
from tests.venue.faults import Answer, Fault, Faults
from tests.venue.matching import Engine
from tests.venue.records import Order, Spec

LABELS = {"order": "user:ORDER", "execution": "user:TRADE", "position": "user:POSITION", "wallet": "user:WALLET"}
TRADES = ("place", "cancel", "cancel-all", "settings")  # what only a key that may trade may ask


def perpetuals() -> list[Spec]:
    """BTCUSDT and ETHUSDT with round filters."""
    common: dict[str, Any] = {
        "quote": "USDT", "kind": "linear", "band_up": Decimal(2), "band_down": Decimal("0.5"), "max_conditional": 10,
        "max_orders": 500, "maker": Decimal("0.0002"), "taker": Decimal("0.00055"),
    }  # fmt: skip
    return [
        Spec("BTCUSDT", "BTC", tick=Decimal("0.1"), lot=Decimal("0.001"), min_qty=Decimal("0.001"), **common),
        Spec("ETHUSDT", "ETH", tick=Decimal("0.01"), lot=Decimal("0.01"), min_qty=Decimal("0.01"), **common),
    ]


@dataclass(frozen=True)
class Route:
    """One endpoint: what a fault calls it, whether it is signed, and what answers it."""

    label: str
    answer: Callable[[Row, int], Any]
    private: bool = True


class LocalPerpVenue:
    """The venue, as an asynchronous context manager: it listens on a free port of loopback while entered.

    Parameters
    ----------
    specs : iterable of Spec, optional
        Its markets; by default `perpetuals()`.
    balances : mapping of str to str, optional
        What the account begins with; by default 10,000 USDT.
    key : Key, optional
        The only API key.
    faults : iterable of Fault
        Injected in this order; more can be added to `faults` later.
    skew_ms : int
        How far the venue's clock is from this machine's; `skew_ms` may be changed at any time.
    second : float
        How long a second of the dead man's switch lasts, in seconds.
    dcp : bool
        Whether the switch was enabled for this account. Where it wasn't, setting it succeeds and does nothing.
    dcp_filter : str
        "" cancels every order when it fires; "Order" spares conditional ones.
    stops_survive : bool
        Whether a reduce-only stop that waits outlives its position.
    """

    def __init__(
        self, specs: Iterable[Spec] | None = None, *, balances: Mapping[str, str] | None = None, key: Key | None = None,
        faults: Iterable[Fault] = (), skew_ms: int = 0, second: float = 1.0, dcp: bool = True, dcp_filter: str = "",
        stops_survive: bool = True,
    ) -> None:  # fmt: skip
        self.key = key or Key()
        self.skew_ms, self.dcp, self.dcp_filter = skew_ms, dcp, dcp_filter
        self.faults = Faults(list(faults))
        self.engine = Engine(specs or perpetuals())
        self.engine.stops_survive = stops_survive
        self.tape = Tape(self.engine)
        self.streams = Streams(self.key, self.tape, self.now, self._fire_dcp, second=second, shape=self._shape)
        self.desk = Desk(self.engine, self.streams.push)
        self.fired = 0  # how often the dead man's switch cancelled
        self.requests: list[tuple[str, str]] = []  # label and client id of what arrived, faults or not
        self.port = 0
        self._hidden: dict[str, float] = {}
        self._unfound: dict[str, asyncio.Event] = {}
        self._held: list[tuple[str, Row]] = []  # stream messages that wait for the next one
        self._tasks: set[asyncio.Future[None]] = set()
        self._runner: web.AppRunner | None = None
        self._routes = self._table()
        for coin, amount in (balances or {"USDT": "10000"}).items():
            self.engine.deposit(coin, amount, self.now())

    # --- life --------------------------------------------------------------------------------------------------------
    async def __aenter__(self) -> LocalPerpVenue:
        app = web.Application()
        app.router.add_get("/v5/public/linear", self.streams.serve_public)
        app.router.add_get("/v5/private", self.streams.serve_private)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.streams.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def now(self) -> int:
        """Milliseconds UTC by the venue's clock."""
        return time.time_ns() // 1_000_000 + self.skew_ms

    @property
    def rest_url(self) -> str:
        """Where REST is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where streams are: `/v5/public/linear` and `/v5/private` under it."""
        return f"ws://127.0.0.1:{self.port}"

    def ccxt_urls(self) -> dict[str, Any]:
        """What replaces `urls["api"]` of ccxt's bybit."""
        public = {name: f"{self.ws_url}/v5/public/{name}" for name in ("spot", "linear", "inverse", "option")}
        private = f"{self.ws_url}/v5/private"
        spot = {"unified": private, "nonUnified": private}
        return {
            **dict.fromkeys(("spot", "futures", "v2", "public", "private"), self.rest_url),
            "ws": {
                "public": public,
                "private": {"spot": spot, "contract": private, "usdc": private, "trade": f"{self.ws_url}/v5/trade"},
            },
        }

    # --- what the test decides ---------------------------------------------------------------------------------------
    def set_price(self, symbol: str, price: Decimal | str | float, mark: Decimal | str | None = None) -> None:
        """Set the last price (and the mark price, by default the same); orders trigger, fill and are liquidated."""
        self.engine.set_price(symbol, price, self.now(), mark)

    def put_bar(self, symbol: str, open_ms: int, values: list[Any]) -> None:
        """Set one minute bar of the past: open, high, low, close, volume."""
        self.tape.put(symbol, open_ms, values)

    def pay_funding(self, symbol: str, rate: Decimal | str) -> None:
        """Every position of a symbol pays (or gets) funding now."""
        now = self.now()
        self.tape.rates[symbol].append((now, Decimal(rate)))
        self.engine.fund(symbol, rate, now)

    def deposit(self, coin: str, amount: Decimal | str) -> None:
        """Put coins in from outside (below 0: take them out)."""
        self.engine.deposit(coin, amount, self.now())

    def trade_by_hand(self, symbol: str, side: str, qty: Decimal | str) -> Order:
        """A market order of the account that no API key sent."""
        return self.engine.place(symbol, side, "market", qty, self.now(), client_id="", origin="hand")

    def cancel_by_venue(self, order: Order) -> None:
        """The venue ends an order of its own accord."""
        self.engine.end(order, self.now(), "CANCELED", "hand")

    def drop_streams(self, *, private: bool | None = None) -> int:
        """Cut stream connections without goodbye; how many."""
        return self.streams.drop(private=private)

    def truth(self) -> dict[str, Any]:
        """What really is: orders, trades, balances, positions and funding, as JSON values."""
        return self.engine.truth()

    # --- requests ----------------------------------------------------------------------------------------------------
    def _table(self) -> dict[tuple[str, str], Route]:
        desk, tape = self.desk, self.tape
        return {
            ("GET", "/v5/market/time"): Route("time", self._time, False),
            ("GET", "/v5/market/instruments-info"): Route("markets", tape.instruments, False),
            ("GET", "/v5/market/tickers"): Route("ticker", tape.tickers, False),
            ("GET", "/v5/market/kline"): Route("kline", tape.kline, False),
            ("GET", "/v5/market/orderbook"): Route("book", tape.book, False),
            ("GET", "/v5/market/recent-trade"): Route("market-trades", tape.trades, False),
            ("GET", "/v5/market/funding/history"): Route("funding-rates", tape.funding, False),
            ("GET", "/v5/market/risk-limit"): Route("risk-limit", tape.risk_limit, False),
            ("GET", "/v5/user/query-api"): Route("key", lambda query, now: self.key.info()),
            ("GET", "/v5/account/info"): Route("key", lambda query, now: desk.info("ON" if self.dcp else "OFF")),
            ("GET", "/v5/account/query-dcp-info"): Route("dead-man", self._dcp_info),
            ("GET", "/v5/account/wallet-balance"): Route("account", desk.balance),
            ("GET", "/v5/account/fee-rate"): Route("fees", self._fees),
            ("GET", "/v5/asset/coin/query-info"): Route("coins", self._coins),
            ("GET", "/v5/position/list"): Route("positions", desk.positions),
            ("GET", "/v5/order/realtime"): Route("open-orders", self._seen(desk.realtime)),
            ("GET", "/v5/order/history"): Route("orders", self._seen(desk.history)),
            ("GET", "/v5/execution/list"): Route("trades", desk.execution_list),
            ("POST", "/v5/order/create"): Route("place", desk.create),
            ("POST", "/v5/order/cancel"): Route("cancel", desk.cancel),
            ("POST", "/v5/order/cancel-batch"): Route("cancel", desk.cancel_batch),
            ("POST", "/v5/order/cancel-all"): Route("cancel-all", desk.cancel_all),
            ("POST", "/v5/order/disconnected-cancel-all"): Route("dead-man", self._set_dcp),
            ("POST", "/v5/position/set-leverage"): Route("settings", desk.set_leverage),
            ("POST", "/v5/position/switch-mode"): Route("settings", desk.switch_mode),
            ("POST", "/v5/account/set-margin-mode"): Route("settings", desk.set_margin_mode),
        }

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        route = self._routes.get((request.method, request.path))
        if route is None:
            return injector.respond(self._error(Denied(10017, "Route not found.", status=404)))
        raw_query = request.raw_path.partition("?")[2]
        try:
            params = json.loads(body or b"{}") if request.method == "POST" else dict(parse_qsl(raw_query))
        except ValueError:
            return injector.respond(self._error(Denied(10001, "params error: not JSON")))
        label, link = route.label, str(params.get("orderLinkId") or "")
        if label in ("open-orders", "orders") and (link or params.get("orderId")):
            label = "lookup"
        self.requests.append((label, link))
        payload = body.decode() if request.method == "POST" else raw_query

        def act() -> Answer:
            return self._act(route, params, request.headers, payload)

        fault = self.faults.take(label, self.now(), symbol=str(params.get("symbol") or ""), client_id=link)
        if fault is not None:
            return await injector.play(fault, request, act, self, link)
        answer = act()
        if label == "lookup" and link in self._unfound and not (answer.body.get("result") or {}).get("list"):
            self._unfound[link].set()
        return injector.respond(answer)

    def _act(self, route: Route, params: Row, headers: Mapping[str, str], payload: str) -> Answer:
        """Do what is asked, at the time it arrives."""
        now = self.now()
        try:
            if route.private:
                check_request(self.key, headers, payload, now)
                if route.label in TRADES:
                    check_right(self.key)
                if params.get("category", "linear") != "linear" and route.label in TRADES:
                    raise Denied(10001, "params error: category invalid")
            if route.private and params.get("category", "linear") != "linear":
                result: Any = {"category": params["category"], "list": [], "nextPageCursor": ""}
            else:
                result = route.answer(params, now)
        except Denied as error:
            return self._error(error)
        result, extra = result if isinstance(result, tuple) else (result, {})
        return self._said(0, "OK", result, extra)

    def _said(self, code: int, text: str, result: Any, extra: Row, status: int = 200) -> Answer:
        now = self.now()
        body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": extra, "time": now}
        limits = {"X-Bapi-Limit": "20", "X-Bapi-Limit-Status": "19", "X-Bapi-Limit-Reset-Timestamp": str(now)}
        return Answer(status, body, limits | {"Timenow": str(now)})

    def _error(self, error: Denied) -> Answer:
        return self._said(error.code, error.text, error.detail, {}, error.status)

    def _time(self, query: Row, now: int) -> Row:
        return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}

    def _fees(self, query: Row, now: int) -> Row:
        wanted = query.get("symbol")
        rows = [
            {"symbol": name, "takerFeeRate": str(spec.taker), "makerFeeRate": str(spec.maker)}
            for name, spec in self.engine.specs.items() if wanted in (None, "", name)
        ]  # fmt: skip
        return {"category": "", "list": rows}

    def _coins(self, query: Row, now: int) -> Row:
        names = sorted({coin for spec in self.engine.specs.values() for coin in (spec.base, spec.quote)})
        return {"rows": [{"name": name, "coin": name, "remainAmount": "0", "chains": []} for name in names]}

    def _seen(self, answer: Callable[[Row, int], Row]) -> Callable[[Row, int], Row]:
        """Leave out orders that are hidden for a while."""

        def less(query: Row, now: int) -> Row:
            result, moment = answer(query, now), time.monotonic()
            shown = [row for row in result["list"] if self._hidden.get(row["orderLinkId"], 0.0) <= moment]
            return {**result, "list": shown}

        return less

    # --- dead man's switch -------------------------------------------------------------------------------------------
    def _set_dcp(self, body: Row, now: int) -> Row:
        if body.get("product") != "DERIVATIVES":
            raise Denied(10001, "params error: only product DERIVATIVES is offered here")
        window = body.get("timeWindow")
        if not isinstance(window, int):
            raise Denied(10001, "params error: timeWindow invalid")
        if self.dcp:
            self.streams.arm(window)
        return {}

    def _dcp_info(self, query: Row, now: int) -> Row:
        window = str(self.streams.window or 10)
        row = {"product": "DERIVATIVES", "dcpStatus": "ON", "timeWindow": window}
        return {"dcpInfos": [row] if self.dcp else []}

    def _fire_dcp(self) -> None:
        self.fired += 1
        self.desk.cancel_all({"settleCoin": "USDT", "orderFilter": self.dcp_filter}, self.now(), reason="dcp")

    # --- what faults may do ------------------------------------------------------------------------------------------
    def _shape(self, topic: str, message: Row) -> list[tuple[float, Row]]:
        """Drop, repeat, delay or reorder a stream message, or cut the line instead of sending it."""
        label = LABELS.get(topic, f"market:{topic.partition('.')[0]}")
        fault = self.faults.take(label, self.now(), symbol=topic.rpartition(".")[2])
        held, self._held = [one for one in self._held if one[0] == label], []
        tail = [(0.0, one) for _, one in held]
        if fault is None or fault.kind not in injector.MESSAGE_KINDS:
            return [(0.0, message), *tail]
        if fault.kind == "reorder":
            self._held = [(label, message)]
            return tail
        if fault.kind == "disconnect":
            self.streams.drop(private=topic in LABELS)
        return {
            "duplicate": [(0.0, message), (0.0, message)],
            "delay": [(fault.seconds, message)],
            "garbage": [(0.0, {"topic": topic, "data": None})],
        }.get(fault.kind, []) + tail

    def render_error(self, code: int, text: str) -> Any:
        """The body of an error."""
        return self._said(code, text, {}, {}).body

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something beside, until the venue closes."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def command(self, command: dict[str, Any]) -> Any:
        """Call a method of this venue: {"do": its name, arguments by name ...}."""
        given = dict(command)
        return getattr(self, given.pop("do"))(**given)

    async def not_found(self, client_id: str) -> None:
        """Wait until a lookup of this client id was answered that there is no such order."""
        await self._unfound.setdefault(client_id, asyncio.Event()).wait()

    def around(self, fault: Fault, client_id: str, *, before: bool) -> None:
        """Do what "race-fill", "partial-cut", "venue-cancel" and "hide" do, before or after the request."""
        now = self.now()
        order = self.engine.find(client_id=client_id) if client_id else None
        if before and fault.kind == "race-fill" and order is not None and order.is_open:
            self.engine.fill(order, order.left, None, now)
        elif not before and fault.kind == "hide":
            self._hidden[client_id] = time.monotonic() + fault.seconds
        elif not before and order is not None and order.is_open and fault.kind == "partial-cut":
            lot = self.engine.specs[order.symbol].lot
            self.engine.fill(order, max(order.left * Decimal(fault.share) // lot * lot, lot), None, now)
            self.streams.drop(private=True)
        elif not before and order is not None and fault.kind == "venue-cancel":
            self.engine.end(order, now, "CANCELED", "hand")
