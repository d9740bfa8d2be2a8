"""The nouns of the test venue: symbols, orders, trades, positions, accounts, and what a front is told of them.

All amounts are exact decimals; times are milliseconds since 1970 UTC, handed in.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import Any

ZERO = Decimal(0)
GRAIN = Decimal("0.00000001")  # the venue's books have eight decimals
OPEN = ("NEW", "PARTIALLY_FILLED")
CONDITIONAL = ("stop", "stop-limit", "take-profit", "take-profit-limit")


def dec(value: Decimal | str | int | float) -> Decimal:
    """A number as an exact decimal; a float by its shortest text."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def text(value: Decimal | None) -> str:
    """A decimal as plain digits with eight decimals, as the venue writes amounts."""
    return f"{(value or ZERO).quantize(GRAIN, ROUND_DOWN):f}"


def down(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of a step at or below a value."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def up(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of a step at or above a value."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


class Refusal(Exception):
    """The engine refuses; nothing changed.

    why "symbol", "halted", "price-filter", "lot-size", "notional", "price-band", "funds", "duplicate", "would-match",
    "would-trigger", "too-many", "reduce-only", "leverage" or "no-order".
    """

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(f"{why}: {detail}" if detail else why)
        self.why = why
        self.detail = detail


@dataclass
class Spec:
    """One market and its rules. kind "spot" or "linear"; status "TRADING", "BREAK" (halted) or "DELISTED"."""

    symbol: str
    base: str
    quote: str
    kind: str = "spot"
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.00001")
    min_qty: Decimal = Decimal("0.00001")
    max_qty: Decimal = Decimal(9000)
    min_notional: Decimal = Decimal(5)
    min_price: Decimal = Decimal("0.01")
    max_price: Decimal = Decimal(1_000_000)
    band_down: Decimal = Decimal("0.2")
    band_up: Decimal = Decimal(5)
    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")
    max_orders: int = 200
    max_conditional: int = 5
    max_leverage: Decimal = Decimal(100)
    maintenance: Decimal = Decimal("0.005")
    status: str = "TRADING"


@dataclass
class Order:
    """One order. kind "market", "limit", "post-only", or one of CONDITIONAL; status as Binance names them."""

    id: int
    account: str
    symbol: str
    side: str
    kind: str
    qty: Decimal
    client_id: str = ""
    limit: Decimal | None = None
    stop: Decimal | None = None
    quote_qty: Decimal | None = None
    tif: str = "GTC"
    reduce_only: bool = False
    created_ms: int = 0
    updated_ms: int = 0
    status: str = "NEW"
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    triggered: bool = False
    lock_coin: str = ""
    lock_unit: Decimal = ZERO  # locked for each unit of quantity that is still open
    origin: str = "api"  # or "hand" (somebody else's), "venue" (liquidation)
    reason: str = ""
    extra: dict[str, Any] = field(default_factory=dict)  # whatever a front wants to remember

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self.side == "buy" else -1

    @property
    def left(self) -> Decimal:
        """Quantity that isn't filled."""
        return self.qty - self.filled

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN

    @property
    def waits(self) -> bool:
        """Whether it is a conditional order that wasn't triggered yet."""
        return self.kind in CONDITIONAL and not self.triggered


@dataclass
class Trade:
    """One execution of one account's order. id is unique within its symbol only, as at the real venues."""

    id: int
    order_id: int
    account: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_coin: str
    maker: bool
    ms: int
    realised: Decimal = ZERO
    closed_qty: Decimal = ZERO
    liquidation: bool = False


@dataclass
class Position:
    """One-way net position in a linear perpetual, isolated margin. qty is signed."""

    symbol: str
    qty: Decimal = ZERO
    entry: Decimal = ZERO
    margin: Decimal = ZERO
    realised: Decimal = ZERO
    updated_ms: int = 0

    def unrealised(self, mark: Decimal) -> Decimal:
        """Profit at a mark price, in quote."""
        return (mark - self.entry) * self.qty


@dataclass
class Funding:
    """One funding payment; amount above 0 when the account paid."""

    id: int
    account: str
    symbol: str
    amount: Decimal
    rate: Decimal
    qty: Decimal
    mark: Decimal
    ms: int


def _amounts() -> defaultdict[str, Decimal]:
    return defaultdict(lambda: ZERO)


@dataclass
class Account:
    """One account. fee_coin: take fees in this coin while there is enough of it (Binance's BNB option)."""

    name: str
    free: defaultdict[str, Decimal] = field(default_factory=_amounts)
    locked: defaultdict[str, Decimal] = field(default_factory=_amounts)
    positions: dict[str, Position] = field(default_factory=dict)
    leverage: dict[str, Decimal] = field(default_factory=dict)
    fee_coin: str = ""
    fee_discount: Decimal = Decimal("0.75")

    def total(self, coin: str) -> Decimal:
        """Free and locked; the margin of positions is in neither."""
        return self.free[coin] + self.locked[coin]

    def coins(self) -> list[str]:
        """Coins that were ever held, in order."""
        return sorted({*self.free, *self.locked})

    def position(self, symbol: str) -> Position:
        """The position of a symbol, made when it is first asked for."""
        return self.positions.setdefault(symbol, Position(symbol))


@dataclass(frozen=True)
class Happening:
    """What hooks are told.

    what "NEW", "TRADE", "CANCELED", "EXPIRED", "TRIGGERED" (of an order: a snapshot), "BALANCE" (coins changed from
    outside), "PRICE" (a new reference price), "FUNDING", "POSITION" or "STATUS" (a symbol's).
    """

    what: str
    ms: int
    account: str = ""
    symbol: str = ""
    order: Order | None = None
    trade: Trade | None = None
    funding: Funding | None = None
    amounts: dict[str, Decimal] = field(default_factory=dict)


def plain(record: Any) -> dict[str, Any]:
    """A record as JSON values, decimals as text."""
    return {
        name: format(value, "f") if isinstance(value, Decimal) else value
        for name, value in dataclasses.asdict(record).items()
    }
