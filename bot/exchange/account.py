"""Whose is what in the account: what was there before us, what is ours, and what moved without us. Pure arithmetic.

At the first start all that isn't ours is foreign, coin by coin. Later the venue's total should be foreign + ours. When
it isn't, but ours is still there, the foreign part moved: it is adopted. When less than ours is left, ours is cut: the
bot never makes it up from what is foreign. The same holds for positions of a derivatives account, symbol by symbol.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from bot.exchange.grid import number
from bot.exchange.wire import BalanceView, MarketView, PositionView, TradeView

ZERO = Decimal(0)
ROUNDING = Decimal("1e-6")  # of a lot: the desk takes a holding so near to the next one for it, and less than that off


def base_of(symbol: str) -> str:
    """The coin that a symbol trades: "BTC" of "BTC/USDT"."""
    return symbol.partition("/")[0]


def quote_of(symbol: str) -> str:
    """The coin that it is paid in: "USDT" of "BTC/USDT" and of "BTC/USDT:USDT"."""
    return symbol.partition("/")[2].partition(":")[0]


@dataclass(frozen=True)
class Drift:
    """What the venue holds of one key (coin, or symbol of a derivative) that isn't foreign + ours.

    ours is what is left of ours: below what the desk has when `short`, then the desk has to be cut; foreign is what the
    baseline becomes; moved the difference in all; dust: it lies within the tolerance.
    """

    key: str
    seen: Decimal
    moved: Decimal
    ours: Decimal
    foreign: Decimal
    short: bool
    dust: bool


def drift(
    key: str, *, seen: Decimal, foreign: Decimal, ours: Decimal, tolerance: Decimal, lot: Decimal = ZERO
) -> Drift | None:
    """How the venue differs from what it should hold; None within the tolerance. Quantities signed, in units of key.

    lot: of a coin that is sold by it. Where so little is missing that it makes one lot less to sell, that counts within
    the tolerance, too: an exit or a stop for all of ours would be refused for it, again and again.

    >>> d = drift("BTC", seen=Decimal("2.1"), foreign=Decimal("2"), ours=Decimal("0.5"), tolerance=Decimal("0.001"))
    >>> (d.short, d.ours, d.foreign)
    (False, Decimal('0.5'), Decimal('1.6'))
    >>> d = drift("BTC", seen=Decimal("0.2"), foreign=Decimal("0"), ours=Decimal("0.5"), tolerance=Decimal("0.001"))
    >>> (d.short, d.ours, d.foreign)
    (True, Decimal('0.2'), Decimal('0.0'))
    >>> lot = Decimal("0.001")
    >>> d = drift("BTC", seen=Decimal("0.4999"), foreign=Decimal("0"), ours=Decimal("0.5"), tolerance=lot, lot=lot)
    >>> (d.short, d.ours, d.foreign, d.dust)
    (True, Decimal('0.4999'), Decimal('0.0000'), True)
    """
    moved = seen - foreign - ours
    dust = abs(moved) <= tolerance
    lacks = bool(lot) and ZERO <= seen < ours and seen // lot < (ours + ROUNDING * lot) // lot
    if dust and not lacks:
        return None
    sign = -1 if ours < ZERO else 1
    if seen * sign >= ours * sign - tolerance and not lacks:
        return Drift(key, seen, moved, ours, seen - ours, short=False, dust=dust)
    left = sign * max(seen * sign, ZERO)
    if lacks and seen % lot >= lot * (1 - ROUNDING):
        left = seen // lot * lot
    return Drift(key, seen, moved, left, seen - left, short=True, dust=dust)


def price_of_cut(trades: Sequence[TradeView], sign: int, gone: Decimal) -> float | None:
    """At what price somebody else took `gone` of our long (sign 1) or short, fees in it: the newest trades that did.

    None when they don't make up for it.

    >>> one = TradeView(trade_id="1", venue_id="", client_id="", symbol="X", side="sell", qty="3", price="100", fee="6",
    ...                 fee_currency="Q", maker=False, ns=1)
    >>> price_of_cut([one], 1, Decimal(2)), price_of_cut([one], -1, Decimal(2)), price_of_cut([one], 1, Decimal(4))
    (98.0, None, None)
    """
    left, worth = gone, ZERO
    for view in sorted(trades, key=lambda view: view.ns, reverse=True):
        qty = number(view.qty)
        if view.side != ("sell" if sign > 0 else "buy") or qty <= ZERO or left <= ZERO:
            continue
        part = min(qty, left)
        worth += part * (number(view.price) - sign * number(view.fee) / qty)
        left -= part
    return float(worth / gone) if left <= ZERO < gone and worth > ZERO else None


def totals(balances: Sequence[BalanceView]) -> dict[str, Decimal]:
    """Total by coin."""
    return {view.coin: number(view.total) for view in balances}


def nets(positions: Sequence[PositionView]) -> dict[str, Decimal]:
    """Net quantity by symbol."""
    return {view.symbol: number(view.qty) for view in positions}


class Account:
    """Keys, tolerances and the foreign baseline of one account.

    Parameters
    ----------
    symbols : sequence of str
        What the bot trades; all in one quote coin.
    perp : bool
        Positions by symbol are compared instead of balances by coin.
    held, quote_held : callable
        What the desk has: quantity of a symbol; quote, fees taken elsewhere not subtracted.
    mark : callable
        Last price of a symbol, NaN when there is none.
    foreign : mapping of str to str, optional
        The baseline, as journalled; None before the first start.
    """

    def __init__(
        self, *, symbols: Sequence[str], perp: bool, held: Callable[[str], float], quote_held: Callable[[], float],
        mark: Callable[[str], float], foreign: Mapping[str, str] | None = None, quote_tolerance: float = 0.01,
    ) -> None:  # fmt: skip
        self.perp = perp
        self.quote = quote_of(symbols[0])
        self.symbol_of = {symbol if perp else base_of(symbol): symbol for symbol in symbols}
        self._held, self._quote_held, self.mark = held, quote_held, mark
        self._quote_tolerance = Decimal(str(quote_tolerance))
        self.foreign = None if foreign is None else {key: number(text) for key, text in foreign.items()}
        self.charged = False  # the baseline paid a fee and isn't noted yet

    @property
    def keys(self) -> tuple[str, ...]:
        """What is compared: coins traded and the quote coin, or symbols."""
        return tuple(self.symbol_of) if self.perp else (*self.symbol_of, self.quote)

    def ours(self, key: str) -> Decimal:
        """What the desk has of a key."""
        value = self._held(self.symbol_of[key]) if key in self.symbol_of else self._quote_held()
        if not math.isfinite(value):
            raise ValueError(f"the desk holds {value!r} of {key}")
        return Decimal(repr(float(value)))

    def tolerance(self, key: str, markets: Mapping[str, MarketView]) -> Decimal:
        """Dust: a lot of a coin, a cent or so of quote, and the roundings of doubles."""
        ours = abs(self.ours(key)) * Decimal("1e-9")
        if key not in self.symbol_of:
            return max(self._quote_tolerance, ours)
        lot = number(markets[self.symbol_of[key]].lot)
        return max(lot / 2 if self.perp else lot, ours)

    def _lot(self, key: str, markets: Mapping[str, MarketView]) -> Decimal:
        """What a coin is sold by; 0 of quote, and of positions."""
        return ZERO if self.perp or key not in self.symbol_of else number(markets[self.symbol_of[key]].lot)

    def begin(self, seen: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Take all that isn't ours for foreign; what is missing of ours, by key (no baseline is made then)."""
        rest = {key: seen.get(key, ZERO) - self.ours(key) for key in self.keys}
        missing = {} if self.perp else {key: -value for key, value in rest.items() if value < ZERO}
        if not missing:
            self.foreign = rest
        return missing

    def compare(self, seen: Mapping[str, Decimal], markets: Mapping[str, MarketView]) -> list[Drift]:
        """Every key that differs by more than its tolerance."""
        assert self.foreign is not None
        found = []
        for key in self.keys:
            one = drift(
                key, seen=seen.get(key, ZERO), foreign=self.foreign.get(key, ZERO), ours=self.ours(key),
                tolerance=self.tolerance(key, markets), lot=self._lot(key, markets),
            )  # fmt: skip
            if one is not None:
                found.append(one)
        return found

    def adopt(self, one: Drift) -> None:
        """Let the baseline be what it is now."""
        assert self.foreign is not None
        self.foreign[one.key] = one.foreign

    def mingled(self, symbol: str, markets: Mapping[str, MarketView]) -> Decimal:
        """What somebody else holds of a derivative, beside which nothing of ours can be told apart; 0 when nothing.

        A venue nets both: an exit or a stop of ours that doesn't reduce the sum would be refused.
        """
        foreign = (self.foreign or {}).get(symbol, ZERO)
        return foreign if self.perp and abs(foreign) > self.tolerance(symbol, markets) else ZERO

    def share(self, symbol: str) -> Decimal:
        """Which part of what the venue holds of a derivative is ours, 0 to 1."""
        ours, foreign = self.ours(symbol), (self.foreign or {}).get(symbol, ZERO)
        if not foreign or ours + foreign == ZERO:
            return Decimal(1)
        return min(max(ours / (ours + foreign), ZERO), Decimal(1))

    def worth(self, key: str, qty: Decimal) -> float:
        """|qty| of a key in quote; NaN when it has no price."""
        return abs(float(qty)) * (self.mark(self.symbol_of[key]) if key in self.symbol_of else 1.0)

    def equity(self) -> float:
        """Quote and holdings at the last prices; NaN when a holding has none."""
        total = self._quote_held()
        for symbol in self.symbol_of.values():
            qty = self._held(symbol)
            total += qty * self.mark(symbol) if qty else 0.0
        return total

    def fees(self, view: TradeView, market: MarketView | None) -> tuple[float, float, float]:
        """Whole fee of a trade in quote, the part in the coin bought, the worth of what was taken elsewhere.

        A third coin is worth its last price where we trade it, else the market's fee rate of the notional. What is
        taken from a coin of the account that isn't the trade's own lowers the foreign baseline.
        """
        amount, price = number(view.fee), number(view.price)
        base, quote = base_of(view.symbol), quote_of(view.symbol)
        if not amount or view.fee_currency == quote:
            return float(amount), 0.0, 0.0
        if view.fee_currency == base and view.side == "buy" and not self.perp:
            return float(amount * price), float(amount), 0.0
        if self.foreign is not None and not self.perp and view.fee_currency in self.foreign:
            self.foreign[view.fee_currency] -= amount
            self.charged = True
        worth = self._worth_elsewhere(view, amount, price, market)
        return worth, 0.0, worth

    def _worth_elsewhere(self, view: TradeView, amount: Decimal, price: Decimal, market: MarketView | None) -> float:
        if view.fee_currency == base_of(view.symbol):
            return float(amount * price)
        symbol = self.symbol_of.get(view.fee_currency)
        mark = math.nan if symbol is None else self.mark(symbol)
        if math.isfinite(mark) and mark > 0.0:
            return float(amount) * mark
        rate = None if market is None else (market.maker if view.maker else market.taker)
        return float(number(view.qty) * price * number(rate or "0.001"))
