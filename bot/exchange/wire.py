"""What the bot and the exchange process say to each other: typed intents and answers, one JSON line each.

No raw request passes here, and no key. Quantities and prices are decimal text on the market's grid; times are
nanoseconds UTC. A line is {"id": number, "is": name of the type, fields ...}; an answer carries the number of its
intent, a push carries 0.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Message:
    """Anything that is said."""


# --- intents: bot to exchange process ---------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """First line of a connection: who speaks, and how it may be silenced. `watch`: also wants the pushes."""

    bot: str
    session: str
    watch: bool = True


@dataclass(frozen=True, kw_only=True)
class Place(Message):
    """Place one order. Never repeated: a client id that was placed before is refused.

    kind "market", "limit", "post-only", "stop" or "take-profit"; limit is the worst price of a market order, which is
    checked against the process's own reference price and not sent; purpose "entry" or what kind of exit it is.
    """

    client_id: str
    symbol: str
    side: str
    kind: str
    qty: str
    limit: str | None = None
    stop: str | None = None
    reduce_only: bool = False
    purpose: str = "entry"
    decided_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class Cancel(Message):
    """Cancel one order by its client id."""

    client_id: str
    symbol: str


@dataclass(frozen=True, kw_only=True)
class CancelAll(Message):
    """Cancel every open order of this bot (client ids that begin with its prefix), of others none.

    Protection (stops and take-profits) is spared unless `protection` says so.
    """

    protection: bool = False


@dataclass(frozen=True, kw_only=True)
class CloseOut(Message):
    """Sell (or buy back) at market what a halted bot holds: quantity by symbol, signed, as its journal knows it."""

    quantities: dict[str, str]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Lookup(Message):
    """What became of one order, by its client id."""

    client_id: str
    symbol: str


@dataclass(frozen=True, kw_only=True)
class OpenOrders(Message):
    """Every open order of the account, ours and others'."""


@dataclass(frozen=True, kw_only=True)
class Trades(Message):
    """The account's own trades of a symbol after a trade id, or from a time on; in order.

    forced: also liquidations and the like, where the venue lists them apart.
    """

    symbol: str
    after_id: str | None = None
    since_ns: int | None = None
    forced: bool = False


@dataclass(frozen=True, kw_only=True)
class Balances(Message):
    """What the account holds."""


@dataclass(frozen=True, kw_only=True)
class Positions(Message):
    """Open positions of a derivatives account."""


@dataclass(frozen=True, kw_only=True)
class Fundings(Message):
    """Funding paid and received since a time."""

    since_ns: int


@dataclass(frozen=True, kw_only=True)
class Markets(Message):
    """Grid, filters, fees and state of the named symbols."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Clock(Message):
    """How far the venue's clock is from ours."""


@dataclass(frozen=True, kw_only=True)
class Rights(Message):
    """What the key may do."""


@dataclass(frozen=True, kw_only=True)
class DeadMan(Message):
    """Arm (or with 0 disarm) the venue's own timer that cancels all orders."""

    timeout_s: int


@dataclass(frozen=True, kw_only=True)
class Ping(Message):
    """Are you there?"""


# --- what is told of the venue ----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class OrderView(Message):
    """An order as the venue tells of it. status "open", "filled", "cancelled", "expired" or "rejected"."""

    client_id: str
    venue_id: str
    symbol: str
    side: str
    kind: str
    qty: str
    filled: str
    status: str
    avg_price: str | None = None
    limit: str | None = None
    stop: str | None = None
    updated_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class TradeView(Message):
    """One trade of ours. fee is above 0 when paid; fee_currency is the coin it was taken in."""

    trade_id: str
    venue_id: str
    client_id: str
    symbol: str
    side: str
    qty: str
    price: str
    fee: str
    fee_currency: str
    maker: bool
    ns: int


@dataclass(frozen=True, kw_only=True)
class BalanceView(Message):
    """One coin of the account."""

    coin: str
    free: str
    total: str


@dataclass(frozen=True, kw_only=True)
class PositionView(Message):
    """One position of a derivatives account; qty is signed."""

    symbol: str
    qty: str
    entry_price: str
    mark_price: str
    liquidation_price: str | None = None
    margin: str | None = None


@dataclass(frozen=True, kw_only=True)
class FundingView(Message):
    """One payment of funding; amount is above 0 when paid by us."""

    funding_id: str
    symbol: str
    amount: str
    ns: int


@dataclass(frozen=True, kw_only=True)
class MarketView(Message):
    """One market. active False: halted or delisted."""

    symbol: str
    active: bool
    tick: str
    lot: str
    min_qty: str
    min_notional: str
    max_qty: str | None = None
    maker: str | None = None
    taker: str | None = None
    maintenance: str | None = None
    stops: bool = True


# --- answers: exchange process to bot ---------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Done(Message):
    """It was done; `count` of how many things."""

    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Accepted(Message):
    """The venue has it."""

    order: OrderView


@dataclass(frozen=True, kw_only=True)
class Refused(Message):
    """It certainly doesn't exist at the venue: refused by the venue (a parsed code on the allow-list) or before it.

    why "funds", "filters", "duplicate", "caps", "latched", "market", "rights", "would-match", "passed" (of a stop or
    target: it would trigger at once) or "other".
    """

    why: str
    code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class NotSent(Message):
    """It never left: no connection, or the rate budget is spent until `until_ns`."""

    text: str
    until_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class Unknown(Message):
    """Nobody knows: a time-out, a 5xx, an answer that isn't one. sent_ns: when it left."""

    text: str
    sent_ns: int


@dataclass(frozen=True, kw_only=True)
class NotFound(Message):
    """The venue says that it doesn't know the order. Proves nothing before the fence."""


@dataclass(frozen=True, kw_only=True)
class OrdersAre(Message):
    """Answer to OpenOrders."""

    orders: tuple[OrderView, ...]


@dataclass(frozen=True, kw_only=True)
class TradesAre(Message):
    """Answer to Trades."""

    trades: tuple[TradeView, ...]


@dataclass(frozen=True, kw_only=True)
class BalancesAre(Message):
    """Answer to Balances."""

    balances: tuple[BalanceView, ...]


@dataclass(frozen=True, kw_only=True)
class PositionsAre(Message):
    """Answer to Positions."""

    positions: tuple[PositionView, ...]


@dataclass(frozen=True, kw_only=True)
class FundingsAre(Message):
    """Answer to Fundings."""

    fundings: tuple[FundingView, ...]


@dataclass(frozen=True, kw_only=True)
class MarketsAre(Message):
    """Answer to Markets."""

    markets: tuple[MarketView, ...]


@dataclass(frozen=True, kw_only=True)
class ClockIs(Message):
    """Answer to Clock: the venue's clock less ours, and the round trip it was measured over."""

    offset_ms: float
    round_trip_ms: float


@dataclass(frozen=True, kw_only=True)
class RightsAre(Message):
    """Answer to Rights; None where the venue doesn't tell."""

    can_trade: bool | None
    can_withdraw: bool | None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Failed(Message):
    """A question that has no answer now. revoked: the key isn't valid any more; until_ns: not before then."""

    text: str
    revoked: bool = False
    until_ns: int = 0


# --- pushes -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class OrderSeen(Message):
    """The private stream told of an order."""

    order: OrderView


@dataclass(frozen=True, kw_only=True)
class TradeSeen(Message):
    """The private stream told of a trade."""

    trade: TradeView


@dataclass(frozen=True, kw_only=True)
class StreamState(Message):
    """The private stream came up (whatever was missed in between has to be read), or went down."""

    up: bool
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Alarm(Message):
    """Something that a person should know: a revoked key, a ban, a fired dead-man timer. kind is one word."""

    kind: str
    text: str
    until_ns: int = 0


TYPES: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
}
