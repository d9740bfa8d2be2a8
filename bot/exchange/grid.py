"""From an order in floats to an intent in decimal text exactly on the market's grid; what isn't on it is refused."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from bot.events import Submit
from bot.exchange.wire import MarketView, Place
from risk.records import ENTRY, KINDS, LIMIT, MARKET, POST_ONLY, PURPOSES, STOP, TAKE

OFF_GRID = 1e-6  # of a step: more than this beside the grid is no rounding of a double


class OffGridError(ValueError):
    """The order can't be said to the venue as it is; the text says why."""


def plain(value: Decimal) -> str:
    """Decimal text without an exponent and without needless zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def number(text: str) -> Decimal:
    """A finite decimal number from the wire.

    Raises
    ------
    ValueError
        It isn't one.
    """
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{text!r} is no number") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} is no finite number")
    return value


def steps(value: float, step: str, what: str) -> Decimal:
    """`value` as the multiple of `step` that it is.

    Raises
    ------
    OffGridError
        It isn't a finite multiple above 0.
    """
    size = number(step)
    if not math.isfinite(value) or value <= 0.0:
        raise OffGridError(f"{what} {value!r} is no number above 0")
    exact = Decimal(value) / size
    count = exact.to_integral_value()
    if abs(exact - count) > Decimal(OFF_GRID) + abs(count) * Decimal(1e-15) or count <= 0:
        raise OffGridError(f"{what} {value!r} isn't a multiple of {step}")
    return count * size


def intent(command: Submit, market: MarketView, client_id: str, *, perp: bool, mark: float) -> Place:
    """The intent that says `command` to the venue.

    mark is the last price of the symbol, NaN when there is none. A market order's worst price is rounded to the
    stricter side; everything else has to be on the grid already.

    Raises
    ------
    OffGridError
        Quantity, price, least or greatest size isn't what the market takes, or the market doesn't trade.
    """
    if command.side not in (1, -1) or not 0 <= command.kind < len(KINDS):
        raise OffGridError(f"side {command.side!r} or kind {command.kind!r} isn't one")
    if not market.active and command.purpose == ENTRY:
        raise OffGridError(f"{market.symbol} isn't trading")
    qty = steps(command.qty, market.lot, "quantity")
    limit = _limit(command, market)
    stop = steps(command.stop, market.tick, "stop price") if command.kind in (STOP, TAKE) else None
    _sizes(command, market, qty=qty, price=_price(command, limit, stop, mark), perp=perp)
    return Place(
        client_id=client_id,
        symbol=command.symbol,
        side="buy" if command.side > 0 else "sell",
        kind=KINDS[command.kind],
        qty=plain(qty),
        limit=None if limit is None else plain(limit),
        stop=None if stop is None else plain(stop),
        reduce_only=perp and command.purpose != ENTRY,
        purpose=PURPOSES[command.purpose],
        decided_ns=command.decided_ns,
    )


def _limit(command: Submit, market: MarketView) -> Decimal | None:
    if command.kind in (LIMIT, POST_ONLY):
        return steps(command.limit, market.tick, "limit price")
    if not math.isfinite(command.limit) or command.limit <= 0.0:
        return None
    if command.kind == MARKET:
        tick = number(market.tick)
        stricter = ROUND_FLOOR if command.side > 0 else ROUND_CEILING
        return (Decimal(command.limit) / tick).to_integral_value(stricter) * tick
    return steps(command.limit, market.tick, "limit price")


def _price(command: Submit, limit: Decimal | None, stop: Decimal | None, mark: float) -> Decimal | None:
    """What the venue will measure the least notional at; None when nobody can say."""
    if command.kind == MARKET and math.isfinite(mark) and mark > 0.0:
        return Decimal(mark)
    return limit if limit is not None else stop


def _sizes(command: Submit, market: MarketView, *, qty: Decimal, price: Decimal | None, perp: bool) -> None:
    if qty < number(market.min_qty):
        raise OffGridError(f"quantity {plain(qty)} is under the least of {market.min_qty}")
    if market.max_qty is not None and qty > number(market.max_qty):
        raise OffGridError(f"quantity {plain(qty)} is over the greatest of {market.max_qty}")
    if perp and command.purpose != ENTRY:
        return  # venues take a reduction of any worth
    if price is not None and qty * price < number(market.min_notional):
        raise OffGridError(f"worth {plain(qty * price)} is under the least of {market.min_notional}")
