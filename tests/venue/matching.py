"""The test venue's matching engine: pure and synchronous, without clock or network; time is an argument.

Orders match against the synthetic book only, never each other. A new price is met in this order: liquidations,
triggers of conditional orders, resting orders. So a price that jumps over both a stop and the liquidation price
liquidates: the worse of the two. A client id has to be unique among OPEN orders only, as at the real venues.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from decimal import ROUND_DOWN, Decimal
from typing import Any

from tests.venue import margin
from tests.venue.book import Book
from tests.venue.records import GRAIN, ZERO, Account, Funding, Happening, Order, Refusal, Spec, Trade, dec, plain
from tests.venue.rules import check_filters, is_touched

Hook = Callable[[Happening], None]


class Engine:
    """Accounts, orders, trades and balances of one venue.

    Parameters
    ----------
    specs : iterable of Spec
        The markets.
    first_order_id : int
        Where order ids begin. Trade ids count by symbol, so those of two symbols collide, as they may in reality.
    """

    def __init__(self, specs: Iterable[Spec], *, first_order_id: int = 1_000_001) -> None:
        self.specs = {spec.symbol: spec for spec in specs}
        self.books = {name: Book(spec) for name, spec in self.specs.items()}
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, Order] = {}
        self.trades: list[Trade] = []
        self.fundings: list[Funding] = []
        self.hooks: list[Hook] = []
        self.stops_survive = False  # whether a waiting reduce-only stop outlives the position that it guards
        self._order_id = first_order_id - 1
        self._trade_ids: dict[str, int] = {}
        self._fundings = 0

    # --- what the test decides ---------------------------------------------------------------------------------------
    def account(self, name: str = "main") -> Account:
        """An account, made when it is first asked for."""
        return self.accounts.setdefault(name, Account(name))

    def deposit(self, coin: str, amount: Decimal | str, now: int, account: str = "main") -> None:
        """Put coins into an account (below 0: take out), as if moved by hand; locked coins can't be taken."""
        held = self.account(account)
        if held.free[coin] + dec(amount) < 0:
            raise Refusal("funds", f"{held.free[coin]} {coin} free")
        held.free[coin] += dec(amount)
        self._tell(Happening("BALANCE", now, account, amounts={coin: dec(amount)}))

    def set_price(self, symbol: str, price: Decimal | str | float, now: int, mark: Decimal | str | None = None) -> None:
        """Set the reference price (and the mark price, by default the same); whatever that makes happen happens."""
        book = self.books[symbol]
        book.renew(dec(price))
        book.mark = dec(price if mark is None else mark)
        self._tell(Happening("PRICE", now, symbol=symbol, amounts={"price": book.price, "mark": book.mark}))
        if self.specs[symbol].status != "TRADING":
            return
        self._liquidations(symbol, now)
        for order in self._open_of(symbol):
            if order.is_open and order.waits and is_touched(order, book.price):
                order.triggered = True
                self._order_told("TRIGGERED", order, now)
                self._execute(order, now, maker=False)
        resting = [order for order in self._open_of(symbol) if not order.waits]
        for order in sorted(resting, key=lambda one: (-one.sign * (one.limit or ZERO), one.id)):
            if order.is_open:
                self._execute(order, now, maker=True)

    def set_depth(
        self, symbol: str, depth: Decimal | str | None, *, half_spread: Decimal | str | None = None,
        step: Decimal | str | None = None, count: int = 5,
    ) -> None:  # fmt: skip
        """Shape the book from the next price on: quantity at each of `count` levels, None for endless."""
        book = self.books[symbol]
        book.depth = None if depth is None else dec(depth)
        book.half_spread = None if half_spread is None else dec(half_spread)
        book.step = None if step is None else dec(step)
        book.count = count
        if book.price:
            book.renew(book.price)

    def set_status(self, symbol: str, status: str, now: int) -> None:
        """Halt ("BREAK"), resume ("TRADING") or delist a symbol; delisting expires its orders."""
        self.specs[symbol].status = status
        self._tell(Happening("STATUS", now, symbol=symbol))
        if status == "DELISTED":
            for order in self._open_of(symbol):
                self.end(order, now, "EXPIRED", "delisted")

    def fill(
        self, order: Order, qty: Decimal | str, price: Decimal | str | None, now: int, maker: bool = True
    ) -> Trade:
        """Fill a part of an open order whatever the book says."""
        at = dec(price) if price is not None else (order.limit or self.books[order.symbol].price)
        order.triggered = True
        return self._fill(order, min(dec(qty), order.left), at, maker, now)

    def fund(self, symbol: str, rate: Decimal | str, now: int) -> list[Funding]:
        """Every position of a perpetual pays or gets funding."""
        paid = []
        for account in self.accounts.values():
            held = account.position(symbol)
            if not held.qty:
                continue
            mark = self.books[symbol].mark
            amount = margin.pay_funding(account, self.specs[symbol], dec(rate), mark, now)
            self._fundings += 1
            paid.append(Funding(self._fundings, account.name, symbol, amount, dec(rate), held.qty, mark, now))
            self.fundings.append(paid[-1])
            self._tell(Happening("FUNDING", now, account.name, symbol, funding=paid[-1]))
        self._liquidations(symbol, now)
        return paid

    # --- what an account asks ----------------------------------------------------------------------------------------
    def place(
        self, symbol: str, side: str, kind: str, qty: Decimal | str | None, now: int, *, account: str = "main",
        limit: Decimal | str | None = None, stop: Decimal | str | None = None, quote_qty: Decimal | str | None = None,
        client_id: str = "", tif: str = "GTC", reduce_only: bool = False, origin: str = "api", dry: bool = False,
    ) -> Order:  # fmt: skip
        """Place an order; what can match at once does. dry: only check.

        Raises
        ------
        Refusal
            It doesn't exist then, and no id was used up.
        """
        spec = self.specs.get(symbol)
        if spec is None or spec.status == "DELISTED":
            raise Refusal("symbol", symbol)
        if spec.status != "TRADING":
            raise Refusal("halted", symbol)
        book = self.books[symbol]
        amount = dec(qty) if qty is not None else book.for_quote(side, dec(quote_qty or 0))
        order = Order(
            self._order_id + 1, account, symbol, side, kind, amount, client_id or f"v{self._order_id + 1:021d}",
            limit=None if limit is None else dec(limit), stop=None if stop is None else dec(stop),
            quote_qty=None if quote_qty is None else dec(quote_qty), tif=tif, reduce_only=reduce_only,
            created_ms=now, updated_ms=now, origin=origin,
        )  # fmt: skip
        others = self.open_orders(account, symbol)
        check_filters(order, spec, book, others)
        self._check_funds(order)
        if dry:
            return order
        self._order_id += 1
        self.orders[order.id] = order
        self._lock(order, order.left)
        self._order_told("NEW", order, now)
        if not order.waits:
            self._execute(order, now, maker=False)
        return order

    def stillborn(
        self, symbol: str, side: str, kind: str, qty: Decimal, now: int, *, reason: str, account: str = "main",
        limit: Decimal | None = None, client_id: str = "", reduce_only: bool = False,
    ) -> Order:  # fmt: skip
        """Accept an order and cancel it at once, unmatched: what some venues do with one that may not take."""
        self._order_id += 1
        order = Order(
            self._order_id, account, symbol, side, kind, qty, client_id, limit, reduce_only=reduce_only,
            created_ms=now, updated_ms=now,
        )  # fmt: skip
        self.orders[order.id] = order
        self._order_told("NEW", order, now)
        self.end(order, now, "CANCELED", reason)
        return order

    def cancel(self, order: Order | None, now: int, reason: str = "user") -> Order:
        """Cancel an open order.

        Raises
        ------
        Refusal
            "no-order": it isn't open (any more).
        """
        if order is None or not order.is_open:
            raise Refusal("no-order")
        self.end(order, now, "CANCELED", reason)
        return order

    def end(self, order: Order, now: int, status: str, reason: str) -> None:
        """End an open order, "CANCELED" or "EXPIRED": also of the venue's own accord."""
        if not order.is_open:
            return
        self._unlock(order, order.left)
        order.status, order.updated_ms, order.reason = status, now, reason
        self._order_told(status, order, now)

    def find(
        self, *, account: str = "main", symbol: str | None = None, order_id: int | None = None, client_id: str = ""
    ) -> Order | None:
        """An order by its id, or the newest with a client id."""
        for order in reversed(self.orders.values()):
            if order.account != account or (symbol is not None and order.symbol != symbol):
                continue
            if order.id == order_id or (order_id is None and client_id and order.client_id == client_id):
                return order
        return None

    def open_orders(self, account: str = "main", symbol: str | None = None) -> list[Order]:
        """Open orders, oldest first."""
        return [
            order for order in self.orders.values()
            if order.is_open and order.account == account and symbol in (None, order.symbol)
        ]  # fmt: skip

    def trades_of(self, account: str = "main", symbol: str | None = None, order_id: int | None = None) -> list[Trade]:
        """Trades, oldest first."""
        return [
            trade for trade in self.trades
            if trade.account == account and symbol in (None, trade.symbol) and order_id in (None, trade.order_id)
        ]  # fmt: skip

    def truth(self, account: str = "main") -> dict[str, Any]:
        """What really is: orders, trades, balances, positions and funding of an account as JSON values."""
        held = self.account(account)
        return {
            "orders": [plain(order) for order in self.orders.values() if order.account == account],
            "trades": [plain(trade) for trade in self.trades_of(account)],
            "balances": {
                coin: {"free": format(held.free[coin], "f"), "locked": format(held.locked[coin], "f")}
                for coin in held.coins()
            },
            "positions": [plain(one) for one in held.positions.values() if one.qty],
            "fundings": [plain(one) for one in self.fundings if one.account == account],
        }

    # --- inside ------------------------------------------------------------------------------------------------------
    def _tell(self, happening: Happening) -> None:
        for hook in self.hooks:
            hook(happening)

    def _order_told(self, what: str, order: Order, now: int, trade: Trade | None = None) -> None:
        self._tell(Happening(what, now, order.account, order.symbol, dataclasses.replace(order), trade))

    def _open_of(self, symbol: str) -> list[Order]:
        return [order for order in self.orders.values() if order.is_open and order.symbol == symbol]

    def _lock(self, order: Order, qty: Decimal) -> None:
        held = self.account(order.account)
        held.free[order.lock_coin] -= order.lock_unit * qty
        held.locked[order.lock_coin] += order.lock_unit * qty

    def _unlock(self, order: Order, qty: Decimal) -> None:
        self._lock(order, -qty)

    def _check_funds(self, order: Order) -> None:
        """Refuse what the account can't pay, and say what is to be locked while the order waits."""
        spec, held = self.specs[order.symbol], self.account(order.account)
        book = self.books[order.symbol]
        price = order.limit or order.stop or ZERO
        taken = book.walk(order.side, order.qty, None) if order.kind == "market" else [(price, order.qty)]
        if spec.kind == "linear":
            if order.reduce_only and not margin.closing(held, order, order.qty):
                raise Refusal("reduce-only", "no position to reduce")
            order.lock_coin = spec.quote
            if order.stop is not None:
                return  # takes no collateral while it waits: what isn't there when it triggers ends it
            opened = order.qty - margin.closing(held, order, order.qty)
            worst = max((at for at, _ in taken), default=book.price)
            need = ZERO if order.reduce_only else opened * margin.price_of_margin(held, spec, worst)
            if order.kind != "market":
                order.lock_unit = margin.lock_unit(held, spec, order, price)
                need = max(need, order.lock_unit * order.qty)
        elif order.side == "sell":
            order.lock_coin, order.lock_unit, need = spec.base, Decimal(1), order.qty
        else:
            order.lock_coin, order.lock_unit = spec.quote, price
            need = sum((at * qty for at, qty in taken), ZERO)
        if need > held.free[order.lock_coin]:
            raise Refusal("funds", f"{need} {order.lock_coin} needed, {held.free[order.lock_coin]} free")

    def _execute(self, order: Order, now: int, *, maker: bool) -> None:
        """Match an order with the book; what isn't allowed to rest expires."""
        book = self.books[order.symbol]
        rests = order.kind not in ("market", "stop", "take-profit") and (maker or order.tif == "GTC")
        found = book.walk(order.side, order.left, order.limit)
        if order.tif == "FOK" and not maker and sum((qty for _, qty in found), ZERO) < order.left:
            found = []
        for price, there in found:
            qty = self._allowed(order, there, price)
            if qty <= 0 or not order.is_open:
                break
            book.take(order.side, price, qty)
            self._fill(order, qty, order.limit if maker and order.limit else price, maker, now)
        if order.is_open and not rests:
            self.end(order, now, "EXPIRED", "nothing left to match")

    def _allowed(self, order: Order, qty: Decimal, price: Decimal) -> Decimal:
        """How much of a match the position (reduce-only) and the funds allow."""
        spec, held = self.specs[order.symbol], self.account(order.account)
        there = held.free[order.lock_coin] + order.lock_unit * qty
        if spec.kind == "spot":
            return qty if order.side == "sell" or price * qty <= there else ZERO
        closed = margin.closing(held, order, qty)
        if order.reduce_only:
            return closed
        return qty if (qty - closed) * margin.price_of_margin(held, spec, price) <= there or closed == qty else closed

    def _fill(self, order: Order, qty: Decimal, price: Decimal, maker: bool, now: int) -> Trade:
        spec, held = self.specs[order.symbol], self.account(order.account)
        self._unlock(order, qty)
        order.filled += qty
        order.cost += qty * price
        order.updated_ms = now
        order.status = "FILLED" if not order.left else "PARTIALLY_FILLED"
        rate = spec.maker if maker else spec.taker
        realised = closed = ZERO
        if spec.kind == "linear":
            fee, coin = (qty * price * rate).quantize(GRAIN), spec.quote
            realised, closed = margin.settle(held, spec, order, qty, price, fee, now)
        else:
            held.free[spec.base] += order.sign * qty
            held.free[spec.quote] -= order.sign * qty * price
            fee, coin = self._spot_fee(held, spec, order, qty, price, rate)
            held.free[coin] -= fee
        trade = self._trade(order, qty, price, fee, coin, maker, now)
        trade.realised, trade.closed_qty = realised, closed
        self._order_told("TRADE", order, now, trade)
        if closed and not held.position(order.symbol).qty:
            for other in self.open_orders(order.account, order.symbol):
                if other.reduce_only and not (other.waits and self.stops_survive):
                    self.end(other, now, "CANCELED", "position closed")
        return trade

    def _spot_fee(
        self, held: Account, spec: Spec, order: Order, qty: Decimal, price: Decimal, rate: Decimal
    ) -> tuple[Decimal, str]:
        """The fee and its coin: what was received, or the third coin while there is enough of it."""
        third = self.books.get(held.fee_coin + spec.quote)
        if third is not None and third.price:
            fee = (qty * price * rate * held.fee_discount / third.price).quantize(GRAIN, ROUND_DOWN)
            if held.free[held.fee_coin] >= fee:
                return fee, held.fee_coin
        received, coin = (qty, spec.base) if order.side == "buy" else (qty * price, spec.quote)
        return (received * rate).quantize(GRAIN, ROUND_DOWN), coin

    def _trade(
        self, order: Order, qty: Decimal, price: Decimal, fee: Decimal, coin: str, maker: bool, now: int
    ) -> Trade:
        number = self._trade_ids[order.symbol] = self._trade_ids.get(order.symbol, 0) + 1
        trade = Trade(number, order.id, order.account, order.symbol, order.side, qty, price, fee, coin, maker, now)
        self.trades.append(trade)
        return trade

    def _liquidations(self, symbol: str, now: int) -> None:
        spec, mark = self.specs[symbol], self.books[symbol].mark
        for held in self.accounts.values() if spec.kind == "linear" else ():
            position = held.position(symbol)
            if not margin.is_due(position, spec, mark):
                continue
            for order in self.open_orders(held.name, symbol):
                self.end(order, now, "CANCELED", "liquidation")
            side = "sell" if position.qty > 0 else "buy"
            size, price, fee, loss = margin.liquidate(held, spec, now)
            self._order_id += 1
            order = Order(
                self._order_id, held.name, symbol, side, "market", size, created_ms=now, updated_ms=now,
                status="FILLED", filled=size, cost=size * price, origin="venue", reason="liquidation",
            )  # fmt: skip
            self.orders[order.id] = order
            trade = self._trade(order, size, price, fee, spec.quote, False, now)
            trade.liquidation, trade.realised, trade.closed_qty = True, loss, size
            self._order_told("TRADE", order, now, trade)
