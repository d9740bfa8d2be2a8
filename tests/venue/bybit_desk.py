"""The account's side of the linear venue: orders, executions, positions and settings over the matching engine.

Pure: no network and no clock. Each method is one endpoint: parameters and the time in, a result out, or `Denied`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from tests.venue import margin
from tests.venue.bybit_auth import Denied
from tests.venue.bybit_rows import (
    Row,
    execution_row,
    funding_row,
    link_of,
    order_key,
    order_number,
    order_row,
    plain,
    position_row,
    wallet_row,
)
from tests.venue.bybit_terms import Body, denied, number, order_of, page, span
from tests.venue.matching import Engine
from tests.venue.records import ZERO, Happening, Order, Refusal

Push = Callable[[str, list[Row]], None]
RECENT = 500  # closed orders that are still found in real time
ENDS = {  # how an order ended, by the engine's reason: cancelType and rejectReason
    "user": ("CancelByUser", "EC_PerCancelRequest"),
    "dcp": ("CancelByDCP", "EC_PerCancelRequest"),
    "by hand": ("CancelByUser", "EC_PerCancelRequest"),
    "the venue's own will": ("CancelByAdmin", "EC_PerCancelRequest"),
    "liquidation": ("CancelAllBeforeLiq", "EC_PerCancelRequest"),
    "position closed": ("CancelByReduceOnly", "EC_PerCancelRequest"),
    "delisted": ("CancelBySettle", "EC_PerCancelRequest"),
    "nothing left to match": ("UNKNOWN", "EC_NoImmediateQtyToFill"),
    "would match": ("UNKNOWN", "EC_PostOnlyWillTakeLiquidity"),
}


class Desk:
    """One unified account in isolated margin and one-way mode.

    Parameters
    ----------
    engine : Engine
        Orders and money.
    push : callable
        Told a private topic and its rows, in the order they happen.
    settle : str
        The coin of all contracts.
    """

    def __init__(self, engine: Engine, push: Push, *, settle: str = "USDT", account: str = "main") -> None:
        self.engine, self.push, self.settle, self.account = engine, push, settle, account
        self.executions: list[tuple[int, Row]] = []  # trades and funding, oldest first
        self._coming: Body = {}
        engine.hooks.append(self._hear)

    # --- orders ------------------------------------------------------------------------------------------------------
    def create(self, body: Body, now: int) -> Row:
        """Accept an order, or deny it. What became of it is told by the stream and the lists, not here."""
        kind, given = order_of(body)
        symbol, side = given["symbol"], given["side"]
        book = self.engine.books.get(symbol)
        self._coming = given.pop("extra")
        if book is not None:
            self._coming["lastPriceOnCreated"] = plain(book.price)
        qty = self._trimmed(given.pop("qty"), given, body)
        try:
            if kind == "post-only" and book is not None and book.crosses(side, given["limit"]):
                order = self._stillborn(qty, given, now)
            else:
                order = self.engine.place(kind=kind, qty=qty, now=now, account=self.account, **given)
        except Refusal as refusal:
            raise denied(refusal, given["stop"] is not None, body) from None
        finally:
            self._coming = {}
        return {"orderId": order_key(order.id), "orderLinkId": body.get("orderLinkId", "")}

    def _trimmed(self, qty: Decimal, given: Body, body: Body) -> Decimal:
        """Cut a reduce-only order to what of the position isn't taken by others like it; 0 closes all of it."""
        if not given["reduce_only"] or given["symbol"] not in self.engine.specs:
            return qty
        held = self.engine.account(self.account).position(given["symbol"]).qty
        if qty == 0 and body.get("closeOnTrigger"):
            return abs(held)
        sign = 1 if given["side"] == "buy" else -1
        if given["stop"] is not None or held * sign >= 0:
            return qty
        others = [
            order.left for order in self.engine.open_orders(self.account, given["symbol"])
            if order.reduce_only and order.sign == sign and not order.waits
        ]  # fmt: skip
        left = abs(held) - sum(others, ZERO)
        if left <= 0:
            raise Denied(110017, "orderQty will be truncated to zero.")
        return min(qty, left)

    def _stillborn(self, qty: Decimal, given: Body, now: int) -> Order:
        """A post-only order that would take: accepted, then cancelled before it ever rested."""
        self.engine.place(kind="limit", qty=qty, now=now, account=self.account, dry=True, **given)
        return self.engine.stillborn(
            given["symbol"], given["side"], "post-only", qty, now, account=self.account, limit=given["limit"],
            client_id=given["client_id"], reduce_only=given["reduce_only"], reason="would match",
        )  # fmt: skip

    def cancel(self, body: Body, now: int) -> Row:
        """Cancel one open order by either id."""
        order = self._named(body)
        try:
            self.engine.cancel(order if order is not None and order.is_open else None, now)
        except Refusal as refusal:
            raise denied(refusal) from None
        assert order is not None
        return {"orderId": order_key(order.id), "orderLinkId": link_of(order)}

    def cancel_batch(self, body: Body, now: int) -> tuple[Row, Row]:
        """Cancel several; result and what became of each."""
        rows, fates = [], []
        for item in body.get("request") or []:
            row = {"category": "linear", "symbol": item.get("symbol", ""), "orderId": "", "orderLinkId": ""}
            try:
                rows.append(row | self.cancel({"category": body.get("category"), **item}, now))
                fates.append({"code": 0, "msg": "OK"})
            except Denied as error:
                rows.append(row | {name: item[name] for name in ("orderId", "orderLinkId") if name in item})
                fates.append({"code": error.code, "msg": error.text})
        return {"list": rows}, {"list": fates}

    def cancel_all(self, body: Body, now: int, reason: str = "user") -> Row:
        """Cancel every open order of a symbol or settle coin; without a filter conditional ones too."""
        if not any(body.get(name) for name in ("symbol", "baseCoin", "settleCoin")):
            raise Denied(10001, "params error: symbol, baseCoin or settleCoin is required")
        gone = self._filtered(self._chosen(body, open_only=True), body)
        for order in gone:
            self.engine.end(order, now, "CANCELED", reason)
        return {
            "list": [{"orderId": order_key(order.id), "orderLinkId": link_of(order)} for order in gone],
            "success": "1",
        }

    def realtime(self, query: Body, now: int) -> Row:
        """Open orders; by an id or with openOnly=1 also the newest closed ones."""
        named = bool(query.get("orderId") or query.get("orderLinkId"))
        if not named and not any(query.get(name) for name in ("symbol", "baseCoin", "settleCoin")):
            raise Denied(10001, "params error: symbol, baseCoin or settleCoin is required")
        found = self._chosen(query, open_only=False)
        closed = [order for order in found if not order.is_open][-RECENT:]
        if named:
            found = [order for order in found if order.is_open or order in closed]
        else:
            found = closed if query.get("openOnly") == "1" else [order for order in found if order.is_open]
        return page([(order.id, order_row(order)) for order in self._filtered(found, query)], query, 20, 50)

    def history(self, query: Body, now: int) -> Row:
        """Orders of every state within a span of at most seven days, newest first."""
        found = self._filtered(self._chosen(query, open_only=False), query)
        begin, end = span(query, now)
        rows = [(order.id, order_row(order)) for order in found if begin <= order.created_ms <= end]
        wanted = query.get("orderStatus")
        return page([row for row in rows if wanted in (None, "", row[1]["orderStatus"])], query, 20, 50)

    def execution_list(self, query: Body, now: int) -> Row:
        """Trades and funding within a span of at most seven days, newest first; by an order's id without a span."""
        key, link = query.get("orderId"), query.get("orderLinkId")
        begin, end = (0, now) if key or link else span(query, now)
        rows = []
        for index, (stamp, row) in enumerate(self.executions):
            fits = (
                row["orderId"] == key if key else row["orderLinkId"] == link if link
                else query.get("symbol") in (None, "", row["symbol"])
            )  # fmt: skip
            if fits and begin <= stamp <= end and query.get("execType") in (None, "", row["execType"]):
                rows.append((index + 1, row))
        return page(rows, query, 50, 100)

    # --- account -----------------------------------------------------------------------------------------------------
    def positions(self, query: Body, now: int) -> Row:
        """The position of a symbol, flat or not, or every position of a settle coin that isn't flat."""
        symbol = query.get("symbol")
        if not symbol and not query.get("settleCoin"):
            raise Denied(10001, "params error: symbol or settleCoin is required")
        if symbol and symbol not in self.engine.specs:
            raise Denied(10001, "params error: symbol invalid")
        names = [symbol] if symbol else list(self.engine.specs)
        rows = [(index + 1, self.position(name)) for index, name in enumerate(names)]
        if not symbol:
            rows = [row for row in rows if row[1]["side"] and query.get("settleCoin") == self.settle]
        return page(rows, query, 20, 200)

    def position(self, symbol: str) -> Row:
        """The row of one position."""
        held, spec = self.engine.account(self.account), self.engine.specs[symbol]
        position, mark = held.position(symbol), self.engine.books[symbol].mark
        return position_row(position, spec, margin.leverage(held, spec), mark, margin.liquidation_price(position, spec))

    def wallet(self) -> Row:
        """The row of the unified account."""
        marks = {name: book.mark for name, book in self.engine.books.items()}
        rates = {name: spec.maintenance for name, spec in self.engine.specs.items()}
        return wallet_row(self.engine.account(self.account), marks, rates, self.settle)

    def balance(self, query: Body, now: int) -> Row:
        """The unified account, all of it or the coins asked for."""
        if query.get("accountType") != "UNIFIED":
            raise Denied(10001, "params error: accountType only support UNIFIED.")
        row, wanted = self.wallet(), query.get("coin")
        if wanted:
            row["coin"] = [coin for coin in row["coin"] if coin["coin"] in wanted.split(",")]
        return {"list": [row]}

    def set_leverage(self, body: Body, now: int) -> Row:
        """Set the leverage of a symbol; the same as before is an error, as at the real venue."""
        spec = self.engine.specs.get(str(body.get("symbol")))
        if spec is None:
            raise denied(Refusal("symbol"))
        value = number(body, "buyLeverage")
        if value != number(body, "sellLeverage"):
            raise Denied(10001, "params error: buyLeverage must equal sellLeverage")
        held = self.engine.account(self.account)
        if value == margin.leverage(held, spec):
            raise Denied(110043, "leverage not modified")
        try:
            margin.set_leverage(held, spec, value)
        except Refusal as refusal:
            raise denied(refusal) from None
        self.push("position", [self.position(spec.symbol)])
        return {}

    def switch_mode(self, body: Body, now: int) -> Row:
        """One-way is what there is; hedge mode isn't offered."""
        if str(body.get("mode")) == "0":
            raise Denied(110025, "Position mode is not modified")
        raise Denied(110029, "Hedge mode is not available for this symbol")

    def set_margin_mode(self, body: Body, now: int) -> Row:
        """Isolated margin is what there is."""
        if body.get("setMarginMode") != "ISOLATED_MARGIN":
            raise Denied(3400045, "Set margin mode failed")
        return {"reasons": []}

    def info(self, dcp: str) -> Row:
        """Mode of the account: unified 2.0, isolated."""
        return {
            "marginMode": "ISOLATED_MARGIN", "unifiedMarginStatus": 6, "updatedTime": "1700000000000",
            "dcpStatus": dcp, "timeWindow": 0, "smpGroup": 0, "isMasterTrader": False, "spotHedgingStatus": "OFF",
        }  # fmt: skip

    # --- inside ------------------------------------------------------------------------------------------------------
    def _named(self, body: Body) -> Order | None:
        key, link = body.get("orderId"), body.get("orderLinkId")
        if not key and not link:
            raise Denied(10001, "params error: orderId or orderLinkId is required")
        symbol = body.get("symbol")
        if key:
            return self.engine.find(account=self.account, symbol=symbol, order_id=order_number(str(key)))
        return self.engine.find(account=self.account, symbol=symbol, client_id=str(link))

    def _chosen(self, query: Body, *, open_only: bool) -> list[Order]:
        """Orders that a query names, oldest first: by order id, else by link id, else by symbol or coins."""
        key, link, symbol = (query.get(name) for name in ("orderId", "orderLinkId", "symbol"))
        base, settle = query.get("baseCoin"), query.get("settleCoin")
        found = []
        for order in self.engine.orders.values():
            spec = self.engine.specs[order.symbol]
            if key:
                fits = order.id == order_number(key)
            elif link:
                fits = order.client_id == link
            elif symbol:
                fits = order.symbol == symbol
            else:
                fits = base in (None, "", spec.base) and settle in (None, "", spec.quote)
            if fits and order.account == self.account and (order.is_open or not open_only):
                found.append(order)
        return found

    def _filtered(self, orders: Iterable[Order], query: Body) -> list[Order]:
        """Only active (`Order`) or only conditional (`StopOrder`) ones, where that was asked."""
        wanted = query.get("orderFilter")
        if wanted not in ("Order", "StopOrder"):
            return list(orders)
        return [order for order in orders if order.waits == (wanted == "StopOrder")]

    def _hear(self, news: Happening) -> None:
        if news.account != self.account:
            return
        if news.order is not None:
            self._hear_order(news, news.order)
        if news.funding is not None:
            row = funding_row(news.funding)
            self.executions.append((news.ms, row))
            self.push("execution", [row])
        if news.trade is not None or news.funding is not None:
            self.push("position", [self.position(news.symbol)])
        if news.what != "TRIGGERED":
            self.push("wallet", [self.wallet()])

    def _hear_order(self, news: Happening, order: Order) -> None:
        extra = order.extra  # the same as the engine's order has: what is written here stays
        if news.what == "NEW":
            extra.update(self._coming)
        elif news.what in ("CANCELED", "EXPIRED"):
            extra["cancelType"], extra["rejectReason"] = ENDS.get(order.reason, ("UNKNOWN", "EC_Others"))
        if order.origin == "venue":
            extra["createType"] = "CreateByTakeOver_PassThrough"
        if news.trade is not None:
            trade, spec = news.trade, self.engine.specs[order.symbol]
            extra["fee"] = plain(Decimal(extra.get("fee", "0")) + trade.fee)
            extra["feeCoin"] = trade.fee_coin
            row = execution_row(trade, order, spec, self.engine.books[order.symbol].mark, order.left)
            self.executions.append((trade.ms, row))
            self.push("execution", [row])
        if news.what == "NEW" and order.kind == "market":
            return  # a market order is first heard of when it has traded or failed to
        self.push("order", [order_row(order) | ({"orderStatus": "Triggered"} if news.what == "TRIGGERED" else {})])
