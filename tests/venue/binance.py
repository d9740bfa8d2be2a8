"""The REST side of the test venue: Binance's spot protocol over the matching engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.venue import binance_json as views
from tests.venue.candles import STEP_MS
from tests.venue.doorman import Key, VenueError, whole
from tests.venue.faults import Answer, Call
from tests.venue.records import Order, Refusal, Trade, text

if TYPE_CHECKING:
    from tests.venue.server import LocalVenue

Params = Mapping[str, str]
NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
CLIENT_ID = re.compile(r"[a-zA-Z0-9_-]{1,36}")
REFUSALS = {
    "symbol": (-1121, "Invalid symbol."),
    "halted": (-1013, "Market is closed."),
    "price-filter": (-1013, "Filter failure: PRICE_FILTER"),
    "lot-size": (-1013, "Filter failure: LOT_SIZE"),
    "notional": (-1013, "Filter failure: NOTIONAL"),
    "price-band": (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    "too-many": (-1013, "Filter failure: MAX_NUM_ORDERS"),
    "funds": (-2010, "Account has insufficient balance for requested action."),
    "duplicate": (-2010, "Duplicate order sent."),
    "would-match": (-2010, "Order would immediately match and take."),
    "would-trigger": (-2010, "Stop price would trigger immediately."),
    "no-order": (-2011, "Unknown order sent."),
}


@dataclass(frozen=True)
class Route:
    """One endpoint. lock "open", "key" (a known key) or "signed"."""

    label: str
    weight: int
    lock: str
    handler: Callable[[Params, Key | None], Any]


class Binance:
    """Answers requests; every one is checked, counted and recorded before it is done."""

    def __init__(self, venue: LocalVenue) -> None:
        self.venue = venue
        self.engine = venue.engine
        self.cancel_ids: dict[int, str] = {}
        api, sapi = "/api/v3/", "/sapi/v1/"
        self.routes: dict[tuple[str, str], Route] = {
            ("GET", api + "ping"): Route("ping", 1, "open", lambda params, key: {}),
            ("GET", api + "time"): Route("time", 1, "open", lambda params, key: {"serverTime": venue.now_ms()}),
            ("GET", api + "exchangeInfo"): Route("info", 20, "open", self.info),
            ("GET", api + "klines"): Route("klines", 2, "open", self.klines),
            ("GET", api + "ticker/price"): Route("price", 2, "open", self.price),
            ("GET", api + "ticker/bookTicker"): Route("book-ticker", 2, "open", self.book_ticker),
            ("GET", api + "ticker/24hr"): Route("ticker", 2, "open", self.ticker),
            ("GET", api + "depth"): Route("depth", 5, "open", self.depth),
            ("GET", api + "account"): Route("account", 20, "signed", self.account),
            ("POST", api + "order"): Route("place", 1, "signed", self.place),
            ("POST", api + "order/test"): Route("test-order", 1, "signed", self.test),
            ("GET", api + "order"): Route("lookup", 4, "signed", self.lookup),
            ("DELETE", api + "order"): Route("cancel", 1, "signed", self.cancel),
            ("GET", api + "openOrders"): Route("open-orders", 6, "signed", self.open_orders),
            ("DELETE", api + "openOrders"): Route("cancel-all", 1, "signed", self.cancel_all),
            ("GET", api + "allOrders"): Route("orders", 20, "signed", self.all_orders),
            ("GET", api + "myTrades"): Route("trades", 20, "signed", self.my_trades),
            ("POST", api + "userDataStream"): Route("listen-key", 2, "key", self.new_listen_key),
            ("PUT", api + "userDataStream"): Route("listen-key", 2, "key", self.keep_listen_key),
            ("DELETE", api + "userDataStream"): Route("listen-key", 2, "key", self.drop_listen_key),
            ("GET", sapi + "account/apiRestrictions"): Route("rights", 1, "signed", self.rights),
            ("GET", sapi + "capital/config/getall"): Route("coins", 10, "signed", self.coins),
            ("GET", sapi + "asset/tradeFee"): Route("fees", 1, "signed", self.fees),
            ("GET", sapi + "system/status"): Route("status", 1, "open", self.status),
        }

    # --- one request -------------------------------------------------------------------------------------------------
    def call(self, route: Route, raw: str, api_key: str | None, record: dict[str, Any]) -> Call:
        """A request that waits to be done."""
        params = self.params(raw)

        def admit() -> Answer | None:
            return self._guard(lambda: self._admit(route, raw, params, api_key), record)

        def act() -> Answer:
            return self._guard(lambda: self._act(route, params, api_key), record) or Answer(500, {})

        return Call(admit, act)

    def params(self, raw: str) -> Params:
        """The parameters of a request."""
        return dict(parse_qsl(raw, keep_blank_values=True))

    def client_id(self, label: str, params: Params) -> str:
        """The client id that a request is about, if any."""
        if label in ("place", "test-order"):
            return params.get("newClientOrderId", "")
        if params.get("orderId", "").isdigit():
            order = self.engine.orders.get(int(params["orderId"]))
            return order.client_id if order else ""
        return params.get("origClientOrderId", "")

    def _guard(self, do: Callable[[], Answer | None], record: dict[str, Any]) -> Answer | None:
        try:
            answer = do()
        except Refusal as refusal:
            code, msg = REFUSALS.get(refusal.why, (-1013, refusal.why))
            if refusal.why == "too-many" and refusal.detail == "conditional":
                msg = "Filter failure: MAX_NUM_ALGO_ORDERS"
            answer = Answer(400, {"code": code, "msg": msg}, self.venue.doorman.headers())
        except VenueError as error:
            headers = self.venue.doorman.headers()
            if error.retry_after is not None:
                headers["Retry-After"] = str(error.retry_after)
            answer = Answer(error.status, {"code": error.code, "msg": error.text}, headers)
        if answer is not None:
            record["status"] = answer.status
            record["code"] = answer.body.get("code", 0) if isinstance(answer.body, dict) else 0
        return answer

    def _admit(self, route: Route, raw: str, params: Params, api_key: str | None) -> None:
        doorman, now = self.venue.doorman, self.venue.now_ms()
        doorman.admit(route.weight, now)
        if route.lock == "open":
            return
        key = doorman.known(api_key, trade=route.label in ("place", "test-order", "cancel", "cancel-all"))
        if route.lock == "signed":
            doorman.signed(raw, params, key, now)

    def _act(self, route: Route, params: Params, api_key: str | None) -> Answer:
        if route.label == "place":
            self.venue.doorman.count_order(self.venue.now_ms())
        key = self.venue.doorman.keys.get(api_key or "")
        body = route.handler(params, key)
        return Answer(200, body, self.venue.doorman.headers(order=route.label == "place"))

    # --- market ------------------------------------------------------------------------------------------------------
    def info(self, params: Params, key: Key | None) -> Any:
        """Markets and filters; delisted ones are gone."""
        specs = [spec for spec in self.engine.specs.values() if spec.status != "DELISTED" and spec.kind == "spot"]
        if "symbol" in params:
            specs = [spec for spec in specs if spec.symbol == params["symbol"]] or [_no_symbol()]
        return views.info_view(specs, self.venue.now_ms())

    def klines(self, params: Params, key: Key | None) -> Any:
        """Bars."""
        symbol, interval = self._symbol(params), params.get("interval", "")
        if interval not in STEP_MS:
            raise VenueError(-1120, "Invalid interval.")
        limit = min(whole(params.get("limit", "500"), "limit"), 1000)
        return self.venue.candles.get(symbol, interval, *_span(params), limit)

    def price(self, params: Params, key: Key | None) -> Any:
        """Last prices."""
        return self._each(params, lambda book: {"symbol": book.spec.symbol, "price": text(book.price)})

    def book_ticker(self, params: Params, key: Key | None) -> Any:
        """Best bids and asks."""
        names = ("symbol", "bidPrice", "bidQty", "askPrice", "askQty")
        return self._each(params, lambda book: {name: views.day_ticker(book, 0)[name] for name in names})

    def ticker(self, params: Params, key: Key | None) -> Any:
        """A day's statistics."""
        return self._each(params, lambda book: views.day_ticker(book, self.venue.now_ms()))

    def depth(self, params: Params, key: Key | None) -> Any:
        """The order book."""
        book = self.engine.books[self._symbol(params)]
        sides = {
            name: [[text(price), text(qty)] for price, qty in book.shown(side)]
            for name, side in (("bids", "bid"), ("asks", "ask"))
        }
        return {"lastUpdateId": self.venue.streams.book_id, **sides}

    # --- orders ------------------------------------------------------------------------------------------------------
    def place(self, params: Params, key: Key | None, *, dry: bool = False) -> Any:
        """A new order."""
        kind = views.KINDS.get(params.get("type", ""))
        if kind is None:
            raise VenueError(-1116, "Invalid orderType.")
        if params.get("side") not in ("BUY", "SELL"):
            raise VenueError(-1117, "Invalid side.")
        tif = params.get("timeInForce", "GTC")
        client_id = params.get("newClientOrderId", "")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise VenueError(-1100, "Illegal characters found in parameter 'newClientOrderId'.")
        amount, quote = _number(params, "quantity"), _number(params, "quoteOrderQty")
        limit, stop = _number(params, "price"), _number(params, "stopPrice")
        needs_limit, needs_stop = "limit" in kind or kind == "post-only", kind.startswith(("stop", "take-profit"))
        lacks = [
            name for name, given, needed in (
                ("quantity", amount or quote, True), ("price", limit, needs_limit), ("stopPrice", stop, needs_stop),
                ("timeInForce", params.get("timeInForce"), kind in ("limit", "stop-limit", "take-profit-limit")),
            ) if needed and not given
        ]  # fmt: skip
        if lacks:
            raise VenueError(-1102, f"Mandatory parameter '{lacks[0]}' was not sent, was empty/null, or malformed.")
        if (limit and not needs_limit) or tif not in ("GTC", "IOC", "FOK"):
            raise VenueError(-1106, "Parameter 'price' sent when not required." if limit else "Invalid timeInForce.")
        order = self.engine.place(
            self._symbol(params), params["side"].lower(), kind, amount, self.venue.now_ms(), account=_account(key),
            limit=limit, stop=stop, quote_qty=quote, client_id=client_id, tif=tif, dry=dry,
        )  # fmt: skip
        form = params.get("newOrderRespType", "FULL" if kind in ("market", "limit") else "ACK")
        return views.placed_view(order, self.engine.trades_of(order.account, order.symbol, order.id), form)

    def test(self, params: Params, key: Key | None) -> Any:
        """An order that is only checked."""
        self.place(params, key, dry=True)
        return {}

    def lookup(self, params: Params, key: Key | None) -> Any:
        """One order by id or client id."""
        order = self._find(params, key)
        if order is None or self._hidden(order):
            self.venue.missed(self.client_id("lookup", params))
            raise VenueError(-2013, "Order does not exist.")
        return views.order_view(order)

    def cancel(self, params: Params, key: Key | None) -> Any:
        """Cancel one order."""
        order = self._find(params, key)
        cancel_id = params.get("newClientOrderId") or self.venue.new_id()
        if order is not None:
            self.cancel_ids[order.id] = cancel_id
        return views.cancelled_view(self.engine.cancel(order, self.venue.now_ms()), cancel_id)

    def cancel_all(self, params: Params, key: Key | None) -> Any:
        """Cancel all open orders of a symbol, everybody's who uses the account."""
        orders = self.engine.open_orders(_account(key), self._symbol(params))
        if not orders:
            raise Refusal("no-order")
        return [self.cancel({"symbol": order.symbol, "orderId": str(order.id)}, key) for order in orders]

    def open_orders(self, params: Params, key: Key | None) -> Any:
        """Open orders of one symbol, or all."""
        symbol = self._symbol(params) if "symbol" in params else None
        orders = self.engine.open_orders(_account(key), symbol)
        return [views.order_view(order) for order in orders if not self._hidden(order)]

    def all_orders(self, params: Params, key: Key | None) -> Any:
        """Orders of a symbol, from an id or a time on, else the newest."""
        symbol, (start, end) = self._symbol(params), _span(params)
        orders = [
            order for order in self.engine.orders.values()
            if order.account == _account(key) and order.symbol == symbol and not self._hidden(order)
            and (start is None or order.created_ms >= start) and (end is None or order.created_ms <= end)
        ]  # fmt: skip
        return [views.order_view(order) for order in _page(orders, params, "orderId", lambda one: one.id)]

    def my_trades(self, params: Params, key: Key | None) -> Any:
        """The account's trades of a symbol, from an id or a time on, else the newest."""
        symbol, (start, end) = self._symbol(params), _span(params)
        if "fromId" in params and (start is not None or end is not None):
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        if start is not None and end is not None and end - start > 86_400_000:
            raise VenueError(-1127, "More than 24 hours between startTime and endTime.")
        number = whole(params["orderId"], "orderId") if "orderId" in params else None
        trades: list[Trade] = [
            one for one in self.engine.trades_of(_account(key), symbol, number)
            if (start is None or one.ms >= start) and (end is None or one.ms <= end)
            and not self._hidden(self.engine.orders[one.order_id])
        ]  # fmt: skip
        return [views.trade_view(one) for one in _page(trades, params, "fromId", lambda one: one.id)]

    # --- account -----------------------------------------------------------------------------------------------------
    def account(self, params: Params, key: Key | None) -> Any:
        """Balances and rights."""
        assert key is not None
        held, skip = self.engine.account(key.account), params.get("omitZeroBalances") == "true"
        now = self.venue.now_ms()
        return views.account_view(held, can_trade=key.trade, can_withdraw=key.withdraw, now=now, skip_zero=skip)

    def rights(self, params: Params, key: Key | None) -> Any:
        """What the key may do."""
        assert key is not None
        return {
            "ipRestrict": True, "createTime": 1_700_000_000_000, "enableReading": True,
            "enableSpotAndMarginTrading": key.trade, "enableWithdrawals": key.withdraw,
            "enableInternalTransfer": False, "permitsUniversalTransfer": False, "enableMargin": False,
            "enableFutures": False, "enableVanillaOptions": False, "enablePortfolioMarginTrading": False,
        }  # fmt: skip

    def coins(self, params: Params, key: Key | None) -> Any:
        """Coins of the markets, without networks."""
        names = sorted({name for spec in self.engine.specs.values() for name in (spec.base, spec.quote)})
        return [{"coin": name, "name": name, "trading": True, "networkList": []} for name in names]

    def fees(self, params: Params, key: Key | None) -> Any:
        """Fee rates by symbol."""
        specs = [spec for name, spec in self.engine.specs.items() if params.get("symbol", name) == name]
        return [
            {"symbol": spec.symbol, "makerCommission": text(spec.maker), "takerCommission": text(spec.taker)}
            for spec in specs
        ]

    def status(self, params: Params, key: Key | None) -> Any:
        """Whether the venue is being maintained."""
        return {"status": 1, "msg": "system_maintenance"} if self.venue.maintenance else {"status": 0, "msg": "normal"}

    def new_listen_key(self, params: Params, key: Key | None) -> Any:
        """A listen key, as the older private stream wants it."""
        return {"listenKey": self.venue.streams.new_listen_key(_account(key))}

    def keep_listen_key(self, params: Params, key: Key | None) -> Any:
        """Keep a listen key alive."""
        if params.get("listenKey") not in self.venue.streams.listen_keys:
            raise VenueError(-1125, "This listenKey does not exist.")
        return {}

    def drop_listen_key(self, params: Params, key: Key | None) -> Any:
        """Close a listen key."""
        self.keep_listen_key(params, key)
        self.venue.streams.listen_keys.pop(params["listenKey"])
        return {}

    # --- inside ------------------------------------------------------------------------------------------------------
    def _symbol(self, params: Params) -> str:
        symbol = params.get("symbol", "")
        spec = self.engine.specs.get(symbol)
        if spec is None or spec.status == "DELISTED":
            raise Refusal("symbol", symbol)
        return symbol

    def _each(self, params: Params, view: Callable[[Any], Any]) -> Any:
        if "symbol" in params:
            return view(self.engine.books[self._symbol(params)])
        names = re.findall(r"[A-Z0-9]+", params.get("symbols", "")) or list(self.engine.specs)
        return [view(self.engine.books[self._symbol({"symbol": name})]) for name in names]

    def _find(self, params: Params, key: Key | None) -> Order | None:
        number = whole(params["orderId"], "orderId") if "orderId" in params else None
        client_id = params.get("origClientOrderId", "")
        if number is None and not client_id:
            raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        symbol = self._symbol(params)
        return self.engine.find(account=_account(key), symbol=symbol, order_id=number, client_id=client_id)

    def _hidden(self, order: Order) -> bool:
        return bool(order.extra.get("hidden_until_ms", 0) > self.venue.now_ms())


def _account(key: Key | None) -> str:
    return key.account if key else "main"


def _no_symbol() -> Any:
    raise Refusal("symbol")


def _number(params: Params, name: str) -> str | None:
    value = params.get(name)
    if value is not None and not NUMBER.fullmatch(value):
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{NUMBER.pattern}'.")
    return value


def _span(params: Params) -> tuple[int | None, int | None]:
    start, end = params.get("startTime"), params.get("endTime")
    return (whole(start, "startTime") if start else None), (whole(end, "endTime") if end else None)


def _page(rows: list[Any], params: Params, name: str, number: Callable[[Any], int]) -> list[Any]:
    """The first rows from an id or a time on, else the newest."""
    limit = min(whole(params.get("limit", "500"), "limit"), 1000)
    if name in params and (name == "fromId" or "startTime" not in params):
        return [one for one in rows if number(one) >= whole(params[name], name)][:limit]
    return rows[:limit] if "startTime" in params else rows[-limit:]
