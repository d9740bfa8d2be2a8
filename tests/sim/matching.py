"""An exchange in memory: prices walk, orders match in parts, balances are kept to the last digit. Time is handed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

from bot.exchange.wire import FundingView, MarketView, OrderView, Place, TradeView

ZERO = Decimal(0)


@dataclass
class SimOrder:
    """An order at the exchange."""

    client_id: str
    venue_id: str
    symbol: str
    side: int
    kind: str
    qty: Decimal
    limit: Decimal | None
    stop: Decimal | None
    reduce_only: bool
    born_s: float
    visible_s: float
    filled: Decimal = ZERO
    status: str = "open"
    triggered: bool = False
    updated_s: float = 0.0

    @property
    def rest(self) -> Decimal:
        """What isn't filled."""
        return self.qty - self.filled


@dataclass
class SimTrade:
    """A trade of the account; visible_s is when REST shows it."""

    number: int
    order: SimOrder
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_coin: str
    maker: bool
    at_s: float
    visible_s: float


class Refusal(Exception):
    """The exchange says no; args are why, code, text as in `wire.Refused`."""


def _nothing(_: object) -> None:
    """Nobody listens."""


@dataclass
class Matching:
    """The exchange proper.

    fee_coin "base" (buys pay in the coin bought), "quote", or the name of a third coin; perp keeps positions instead of
    coins. lag_s draws how long REST doesn't show what is new; jumps is how likely a price leaps, per moment and symbol.
    """

    rng: random.Random
    markets: dict[str, MarketView]
    prices: dict[str, Decimal]
    balances: dict[str, Decimal]
    perp: bool = False
    fee_coin: str = "base"
    expire_share: float = 0.0
    stops_lock: bool = False  # a stop holds its coins, and is refused when it would trigger at once
    jumps: float = 0.0
    lag_s: Callable[[], float] = lambda: 0.0
    start_ns: int = 0
    on_order: Callable[[SimOrder], None] = _nothing
    on_trade: Callable[[SimTrade], None] = _nothing
    orders: list[SimOrder] = field(default_factory=list)
    trades: list[SimTrade] = field(default_factory=list)
    positions: dict[str, Decimal] = field(default_factory=dict)
    fundings: list[FundingView] = field(default_factory=list)

    # --- what may be asked of it --------------------------------------------------------------------------------------
    def place(self, place: Place, now_s: float) -> SimOrder:
        """Take an order, or raise `Refusal`."""
        market = self.markets[place.symbol]
        if not market.active:
            raise Refusal("market", "-1013", "the market is closed")
        if any(o.client_id == place.client_id and o.status == "open" for o in self.orders):
            raise Refusal("other", "-2010", "duplicate order sent")
        side = 1 if place.side == "buy" else -1
        order = SimOrder(
            client_id=place.client_id, venue_id=f"v{len(self.orders) + 1}", symbol=place.symbol, side=side,
            kind=place.kind, qty=Decimal(place.qty), limit=None if place.limit is None else Decimal(place.limit),
            stop=None if place.stop is None else Decimal(place.stop), reduce_only=place.reduce_only, born_s=now_s,
            visible_s=now_s + self.lag_s(), updated_s=now_s,
        )  # fmt: skip
        for value, step in ((order.qty, market.lot), (order.limit, market.tick), (order.stop, market.tick)):
            if value is not None and value % Decimal(step):
                raise Refusal("filters", "-1013", f"{value} isn't on the grid of {step}")
        self._afford(order)
        if self.stops_lock and order.kind == "stop" and self._triggers(order):
            raise Refusal("passed", "-2010", "the stop would trigger at once")
        if order.kind == "post-only" and self._crosses(order):
            raise Refusal("would-match", "-2010", "the order would match at once")
        self.orders.append(order)
        self.on_order(order)
        if order.kind == "market":
            self._take(order, now_s)
        return order

    def cancel(self, client_id: str, now_s: float) -> SimOrder | None:
        """Cancel an open order; None when there is none of that id."""
        for order in self.orders:
            if order.client_id == client_id and order.status == "open":
                self._end(order, "cancelled", now_s)
                return order
        return None

    def find(self, client_id: str, now_s: float) -> SimOrder | None:
        """The newest order of that id that REST shows already."""
        seen = [o for o in self.orders if o.client_id == client_id and o.visible_s <= now_s]
        return seen[-1] if seen else None

    def step(self, now_s: float) -> None:
        """A moment passes: prices move, what they cross fills in parts, some orders are expired by the exchange."""
        for symbol, market in self.markets.items():
            tick = Decimal(market.tick)
            far = 20 if self.jumps and self.rng.random() < self.jumps else 1
            self.prices[symbol] = max(self.prices[symbol] + tick * self.rng.randint(-8 * far, 8 * far), tick)
        for order in [o for o in self.orders if o.status == "open"]:
            if order.kind in ("stop", "take-profit"):
                if self._triggers(order):
                    self._take(order, now_s)
            elif self._crosses(order) and order.limit is not None:
                self._fill(order, self._part(order), order.limit, maker=True, now_s=now_s)
            elif self.rng.random() < self.expire_share:
                self._end(order, "expired", now_s)

    # --- what others do -----------------------------------------------------------------------------------------------
    def transfer(self, coin: str, amount: Decimal) -> None:
        """Somebody moves coins in, or out."""
        self.balances[coin] = self.balances.get(coin, ZERO) + amount

    def rob(self, coin: str, amount: Decimal, now_s: float) -> None:
        """Somebody takes coins out that may be ours; orders that hold them back have to be cancelled for it first."""
        for order in self.orders:
            if self.balances[coin] - self._locked(coin) < amount and self._locks(order, coin):
                self._end(order, "cancelled", now_s)
        self.transfer(coin, -amount)

    def by_hand(self, symbol: str, qty: Decimal, now_s: float, client_id: str = "web-1") -> None:
        """Somebody trades at market in the account; qty is signed."""
        order = SimOrder(
            client_id=client_id, venue_id=f"v{len(self.orders) + 1}", symbol=symbol, side=1 if qty > 0 else -1,
            kind="market", qty=abs(qty), limit=None, stop=None, reduce_only=False, born_s=now_s, visible_s=now_s,
        )  # fmt: skip
        self.orders.append(order)
        self._fill(order, order.qty, self.prices[symbol], maker=False, now_s=now_s)

    def fund(self, symbol: str, rate: Decimal, now_s: float) -> None:
        """Funding is due on a position."""
        amount = self.positions.get(symbol, ZERO) * self.prices[symbol] * rate
        if amount:
            view = FundingView(
                funding_id=f"f{len(self.fundings) + 1}", symbol=symbol, amount=str(amount), ns=self.ns(now_s)
            )
            self.fundings.append(view)
            self.balances[self._quote(symbol)] -= amount

    # --- how it is told -----------------------------------------------------------------------------------------------
    def ns(self, at_s: float) -> int:
        """The exchange's time of day."""
        return self.start_ns + int(at_s * 1e9)

    def order_view(self, order: SimOrder) -> OrderView:
        """As the wire has it."""
        return OrderView(
            client_id=order.client_id, venue_id=order.venue_id, symbol=order.symbol,
            side="buy" if order.side > 0 else "sell", kind=order.kind, qty=str(order.qty), filled=str(order.filled),
            status=order.status, updated_ns=self.ns(order.updated_s),
        )  # fmt: skip

    def trade_view(self, trade: SimTrade) -> TradeView:
        """As the wire has it."""
        order = trade.order
        return TradeView(
            trade_id=str(trade.number), venue_id=order.venue_id, client_id=order.client_id, symbol=order.symbol,
            side="buy" if order.side > 0 else "sell", qty=str(trade.qty), price=str(trade.price), fee=str(trade.fee),
            fee_currency=trade.fee_coin, maker=trade.maker, ns=self.ns(trade.at_s),
        )  # fmt: skip

    # --- inside -------------------------------------------------------------------------------------------------------
    @staticmethod
    def _quote(symbol: str) -> str:
        return symbol.partition("/")[2].partition(":")[0]

    def _crosses(self, order: SimOrder) -> bool:
        if order.limit is None:
            return False
        return (self.prices[order.symbol] - order.limit) * order.side < ZERO

    def _triggers(self, order: SimOrder) -> bool:
        assert order.stop is not None
        through = (self.prices[order.symbol] - order.stop) * order.side
        return through >= ZERO if order.kind == "stop" else through <= ZERO

    def _locked(self, coin: str) -> Decimal:
        return sum((self._locks(order, coin) for order in self.orders), ZERO)

    def _locks(self, order: SimOrder, coin: str) -> Decimal:
        """What an order holds back of a coin."""
        if order.status != "open":
            return ZERO
        if order.side > 0:
            worth = order.rest * (order.limit or self.prices[order.symbol])
            return worth if self._quote(order.symbol) == coin else ZERO
        holds = self.stops_lock or order.kind not in ("stop", "take-profit")
        return order.rest if holds and order.symbol.partition("/")[0] == coin else ZERO

    def _afford(self, order: SimOrder) -> None:
        if self.perp:
            held = self.positions.get(order.symbol, ZERO)
            if order.reduce_only and (held * order.side >= ZERO or abs(held) < order.qty):
                raise Refusal("other", "-2022", "reduce-only is refused")
            return
        base, quote = order.symbol.partition("/")[0], self._quote(order.symbol)
        coin, need = (base, order.qty) if order.side < 0 else (quote, order.qty * (order.limit or self._worst(order)))
        if self.balances.get(coin, ZERO) - self._locked(coin) < need:
            raise Refusal("funds", "-2010", "not enough of " + coin)

    def _worst(self, order: SimOrder) -> Decimal:
        return self.prices[order.symbol] * Decimal("1.001")

    def _part(self, order: SimOrder) -> Decimal:
        lot = Decimal(self.markets[order.symbol].lot)
        if self.rng.random() < 0.5:
            return order.rest
        part = (order.rest * Decimal(self.rng.random()) / lot).to_integral_value(ROUND_DOWN) * lot
        return max(part, min(lot, order.rest))

    def _take(self, order: SimOrder, now_s: float) -> None:
        """At market: in one piece or some; now and then the book is empty before it is done."""
        for _ in range(self.rng.randint(1, 3)):
            if order.status == "open":
                self._fill(order, self._part(order), self.prices[order.symbol], maker=False, now_s=now_s)
        if order.status == "open" and self.rng.random() < 0.7:
            self._fill(order, order.rest, self.prices[order.symbol], maker=False, now_s=now_s)
        if order.status == "open":
            self._end(order, "expired", now_s)

    def _fill(self, order: SimOrder, qty: Decimal, price: Decimal, *, maker: bool, now_s: float) -> None:
        base, quote = order.symbol.partition("/")[0], self._quote(order.symbol)
        rate = Decimal("0.001")
        if order.reduce_only:
            held = max(-order.side * self.positions.get(order.symbol, ZERO), ZERO)
            if held < qty:
                qty, order.qty = held, order.filled + held  # what is left of it isn't there any more
            if not qty:
                self._end(order, "expired", now_s)
                return
        if self.perp or self.fee_coin == "quote" or (self.fee_coin == "base" and order.side < 0):
            fee, coin = qty * price * rate, quote
        elif self.fee_coin == "base":
            fee, coin = qty * rate, base
        else:
            fee, coin = qty * rate / 100, self.fee_coin
        if self.perp:
            self.positions[order.symbol] = self.positions.get(order.symbol, ZERO) + order.side * qty
        else:
            self.transfer(base, order.side * qty)
            self.transfer(quote, -order.side * qty * price)
        self.transfer(coin, -fee)
        order.filled += qty
        order.updated_s = now_s
        if order.rest <= ZERO:
            order.status = "filled"
        visible_s = now_s + self.lag_s()
        trade = SimTrade(len(self.trades) + 1, order, qty, price, fee, coin, maker, now_s, visible_s)
        self.trades.append(trade)
        self.on_trade(trade)
        self.on_order(order)

    def _end(self, order: SimOrder, status: str, now_s: float) -> None:
        order.status = status
        order.updated_s = now_s
        self.on_order(order)


def spot_market(symbol: str, **given: str) -> MarketView:
    """A market with a plain grid."""
    fields: Mapping[str, str] = {"tick": "0.01", "lot": "0.001", "min_qty": "0.001", "min_notional": "5", **given}
    return MarketView(symbol=symbol, active=True, maker="0.001", taker="0.001", **fields)  # type: ignore[arg-type]
