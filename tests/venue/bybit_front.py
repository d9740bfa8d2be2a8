"""REST of the linear venue: which endpoint answers what, who is let in, and the envelope of every answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.venue.bybit_auth import Denied, check_request, check_right
from tests.venue.bybit_rows import Row, order_number, plain
from tests.venue.faults import Answer, Call

if TYPE_CHECKING:
    from tests.venue.bybit import LocalPerpVenue

TRADES = ("place", "cancel", "cancel-all", "settings")  # what only a key that may trade may ask
TWINS = {-1007: (10016, "Request timeout, please try again later"), -1003: (10006, "Too many visits!")}


@dataclass(frozen=True)
class Route:
    """One endpoint: what a fault calls it, whether it is signed, and what answers it."""

    label: str
    answer: Callable[[Row, int], Any]
    private: bool = True


class Front:
    """The endpoints of a venue."""

    def __init__(self, venue: LocalPerpVenue) -> None:
        self.venue = venue
        desk, tape = venue.desk, venue.tape
        self.routes = {
            ("GET", "/v5/market/time"): Route("time", self._time, False),
            ("GET", "/v5/market/instruments-info"): Route("info", tape.instruments, False),
            ("GET", "/v5/market/tickers"): Route("ticker", tape.tickers, False),
            ("GET", "/v5/market/kline"): Route("klines", tape.kline, False),
            ("GET", "/v5/market/orderbook"): Route("depth", tape.book, False),
            ("GET", "/v5/market/recent-trade"): Route("market-trades", tape.trades, False),
            ("GET", "/v5/market/funding/history"): Route("funding-rates", tape.funding, False),
            ("GET", "/v5/market/risk-limit"): Route("risk-limit", tape.risk_limit, False),
            ("GET", "/v5/user/query-api"): Route("rights", lambda query, now: venue.key.info()),
            ("GET", "/v5/account/info"): Route("rights", lambda query, now: desk.info("ON" if venue.dcp else "OFF")),
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

    # --- one request -------------------------------------------------------------------------------------------------
    def params(self, method: str, payload: str) -> Row:
        """Parameters of a query or a body; blank ones count as not given.

        Raises
        ------
        Denied
            The body isn't a JSON object.
        """
        if method == "GET":
            return dict(parse_qsl(payload))
        try:
            body = json.loads(payload or "{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Denied(10001, "params error: the body is no JSON object")
        return body

    def label(self, route: Route, params: Row) -> str:
        """What a fault calls this request: asking for one order by its id is a lookup."""
        named = params.get("orderLinkId") or params.get("orderId")
        return "lookup" if named and route.label in ("open-orders", "orders") else route.label

    def client_id(self, params: Row) -> str:
        """The client id that a request is about, if any."""
        if params.get("orderId"):
            order = self.venue.engine.find(order_id=order_number(str(params["orderId"])))
            return order.client_id if order else ""
        return str(params.get("orderLinkId") or "")

    def call(self, route: Route, params: Row, headers: Mapping[str, str], payload: str, record: Row) -> Call:
        """A request that waits to be done."""

        def admit() -> Answer | None:
            if not route.private:
                return None
            try:
                check_request(self.venue.key, headers, payload, self.venue.now_ms())
                if route.label in TRADES:
                    check_right(self.venue.key)
            except Denied as error:
                return self._noted(self.denied(error), record)
            return None

        return Call(admit, lambda: self._noted(self._act(route, params, record), record))

    def _act(self, route: Route, params: Row, record: Row) -> Answer:
        category = params.get("category", "linear")
        try:
            if category != "linear" and route.label in TRADES:
                raise Denied(10001, "params error: category invalid")
            if category != "linear" and route.private:  # nothing is held elsewhere
                result: Any = {"category": category, "list": [], "nextPageCursor": ""}
            else:
                result = route.answer(params, self.venue.now_ms())
        except Denied as error:
            return self.denied(error)
        if record["label"] == "lookup" and not result["list"]:
            self.venue.missed(record["client_id"])
        result, extra = result if isinstance(result, tuple) else (result, {})
        return self.said(0, "OK", result, extra)

    def said(self, code: int, text: str, result: Any, extra: Row | None = None, status: int = 200) -> Answer:
        """An answer in its envelope."""
        now = self.venue.now_ms()
        body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": extra or {}, "time": now}
        limits = {"X-Bapi-Limit": "20", "X-Bapi-Limit-Status": "19", "X-Bapi-Limit-Reset-Timestamp": str(now)}
        return Answer(status, body, limits | {"Timenow": str(now)})

    def denied(self, error: Denied) -> Answer:
        """A refusal in its envelope."""
        return self.said(error.code, error.text, {}, status=error.status)

    def render_error(self, code: int, text: str) -> Any:
        """The body of an error; two of Binance's codes become their twins, so that one list of faults fits both."""
        return self.said(*TWINS.get(code, (code, text)), {}).body

    def _noted(self, answer: Answer, record: Row) -> Answer:
        record["status"], record["code"] = answer.status, answer.body["retCode"]
        return answer

    # --- small endpoints ---------------------------------------------------------------------------------------------
    def _time(self, query: Row, now: int) -> Row:
        return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}

    def _fees(self, query: Row, now: int) -> Row:
        rows = [
            {"symbol": name, "takerFeeRate": plain(spec.taker), "makerFeeRate": plain(spec.maker)}
            for name, spec in self.venue.engine.specs.items()
            if query.get("symbol", name) == name
        ]
        return {"category": "", "list": rows}

    def _coins(self, query: Row, now: int) -> Row:
        specs = self.venue.engine.specs.values()
        names = sorted({coin for spec in specs for coin in (spec.base, spec.quote)})
        return {"rows": [{"name": name, "coin": name, "remainAmount": "0", "chains": []} for name in names]}

    def _seen(self, answer: Callable[[Row, int], Row]) -> Callable[[Row, int], Row]:
        """Leave out orders that are hidden for a while."""

        def less(query: Row, now: int) -> Row:
            result = answer(query, now)
            orders = self.venue.engine.orders
            result["list"] = [
                row for row in result["list"]
                if orders[order_number(row["orderId"])].extra.get("hidden_until_ms", 0) <= now
            ]  # fmt: skip
            return result

        return less

    def _set_dcp(self, body: Row, now: int) -> Row:
        if body.get("product") != "DERIVATIVES":
            raise Denied(10001, "params error: only product DERIVATIVES is offered here")
        window = body.get("timeWindow")
        if not isinstance(window, int) or not 3 <= window <= 300:
            raise Denied(10001, "params error: timeWindow must be between 3 and 300")
        if self.venue.dcp:
            self.venue.streams.window = window
        return {}

    def _dcp_info(self, query: Row, now: int) -> Row:
        row = {"product": "DERIVATIVES", "dcpStatus": "ON", "timeWindow": str(self.venue.streams.window or 10)}
        return {"dcpInfos": [row] if self.venue.dcp else []}
