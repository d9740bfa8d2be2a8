"""The other side of the market: a synthetic order book around a reference price that the test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tests.venue.records import ZERO, Spec, dec, down, up

ENDLESS = Decimal(10**12)
Level = list[Decimal]  # price, quantity left


@dataclass
class Book:
    """Levels on both sides, best first. They are renewed at each new price and eaten up in between.

    half_spread in quote (default one tick); depth: quantity at each level, None for endless; step: distance of levels
    in quote (default one tick).
    """

    spec: Spec
    price: Decimal = ZERO
    mark: Decimal = ZERO
    half_spread: Decimal | None = None
    depth: Decimal | None = None
    step: Decimal | None = None
    count: int = 5
    bids: list[Level] = field(default_factory=list)
    asks: list[Level] = field(default_factory=list)

    def renew(self, price: Decimal) -> None:
        """Stand around a new reference price."""
        self.price = price
        tick = self.spec.tick
        half = tick if self.half_spread is None else self.half_spread
        step = self.step or tick
        qty = ENDLESS if self.depth is None else down(self.depth, self.spec.lot)
        count = 1 if self.depth is None else self.count
        self.asks = [[up(price + half + step * i, tick), qty] for i in range(count)]
        self.bids = [[max(down(price - half - step * i, tick), tick), qty] for i in range(count)]

    def against(self, side: str) -> list[Level]:
        """What an order of this side would take."""
        return self.asks if side == "buy" else self.bids

    def crosses(self, side: str, limit: Decimal) -> bool:
        """Whether an order at this limit would match at once."""
        return any(qty > 0 and within(side, price, limit) for price, qty in self.against(side))

    def walk(self, side: str, qty: Decimal, limit: Decimal | None) -> list[tuple[Decimal, Decimal]]:
        """Prices and quantities that an order would get now, nothing taken yet."""
        got = []
        for price, there in self.against(side):
            if qty <= 0 or (limit is not None and not within(side, price, limit)):
                break
            if there > 0:
                got.append((price, min(there, qty)))
                qty -= min(there, qty)
        return got

    def take(self, side: str, price: Decimal, qty: Decimal) -> None:
        """Eat up a quantity at a price."""
        for level in self.against(side):
            if level[0] == price and level[1] < ENDLESS:
                level[1] -= qty

    def for_quote(self, side: str, quote: Decimal) -> Decimal:
        """The quantity that an amount of quote is worth, on the lot grid."""
        qty = ZERO
        for price, there in self.against(side):
            part = min(there, quote / price)
            qty += part
            quote -= part * price
        return down(qty, self.spec.lot)

    def shown(self, side: str) -> list[tuple[Decimal, Decimal]]:
        """Levels that still have something; an endless one shows a thousand."""
        levels = self.bids if side == "bid" else self.asks
        return [(price, min(qty, dec(1000))) for price, qty in levels if qty > 0]


def within(side: str, price: Decimal, limit: Decimal) -> bool:
    """Whether a price is no worse than a limit."""
    return price <= limit if side == "buy" else price >= limit
