"""Linear perpetuals of the test venue: one-way positions, isolated margin, funding and liquidation."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tests.venue.records import GRAIN, ZERO, Account, Order, Position, Refusal, Spec, dec, down, up

ONE = Decimal(1)


def leverage(account: Account, spec: Spec) -> Decimal:
    """The account's leverage on a symbol."""
    return account.leverage.get(spec.symbol, ONE)


def set_leverage(account: Account, spec: Spec, value: Decimal) -> None:
    """Set leverage; an open position's margin is moved to fit, from or to free collateral."""
    value = dec(value)
    if not ONE <= value <= spec.max_leverage:
        raise Refusal("leverage", f"{value} isn't in 1..{spec.max_leverage}")
    held = account.position(spec.symbol)
    need = (abs(held.qty) * held.entry / value).quantize(GRAIN, ROUND_CEILING)
    if need - held.margin > account.free[spec.quote]:
        raise Refusal("funds", "not enough collateral for that leverage")
    account.free[spec.quote] -= need - held.margin
    held.margin = need
    account.leverage[spec.symbol] = value


def closing(account: Account, order: Order, qty: Decimal) -> Decimal:
    """How much of a quantity would close the position rather than open one."""
    held = account.position(order.symbol).qty
    return min(qty, abs(held)) if held * order.sign < 0 else ZERO


def price_of_margin(account: Account, spec: Spec, price: Decimal) -> Decimal:
    """Collateral that one unit opened at a price takes, fee included."""
    return (price / leverage(account, spec) + price * spec.taker).quantize(GRAIN, ROUND_CEILING)


def lock_unit(account: Account, spec: Spec, order: Order, price: Decimal) -> Decimal:
    """Collateral to lock for each unit of a waiting order: none for what can only close."""
    if order.reduce_only or closing(account, order, order.qty) == order.qty:
        return ZERO
    return price_of_margin(account, spec, price)


def settle(
    account: Account, spec: Spec, order: Order, qty: Decimal, price: Decimal, fee: Decimal, now: int
) -> tuple[Decimal, Decimal]:
    """Book one execution: what it closes first, then what it opens. Returns profit realised and quantity closed."""
    held = account.position(spec.symbol)
    held.updated_ms = now
    closed = closing(account, order, qty)
    realised = ZERO
    if closed:
        share = held.margin if closed == abs(held.qty) else (held.margin * closed / abs(held.qty)).quantize(GRAIN)
        realised = ((price - held.entry) * closed * -order.sign).quantize(GRAIN, ROUND_FLOOR)
        account.free[spec.quote] += share + realised
        held.margin -= share
        held.qty += order.sign * closed
        held.realised += realised
    opened = qty - closed
    if opened:
        need = (opened * price / leverage(account, spec)).quantize(GRAIN, ROUND_CEILING)
        account.free[spec.quote] -= need
        held.entry = (held.entry * abs(held.qty) + price * opened) / (abs(held.qty) + opened)
        held.qty += order.sign * opened
        held.margin += need
    if not held.qty:
        held.entry = ZERO
    account.free[spec.quote] -= fee
    return realised, closed


def liquidation_price(held: Position, spec: Spec) -> Decimal | None:
    """The first mark price on the grid at which the position is liquidated; None when flat or never."""
    size = abs(held.qty)
    if not size:
        return None
    if held.qty > 0:
        price = (held.entry * size - held.margin) / (size * (ONE - spec.maintenance))
        return down(price, spec.tick) if price > 0 else None
    return up((held.entry * size + held.margin) / (size * (ONE + spec.maintenance)), spec.tick)


def is_due(held: Position, spec: Spec, mark: Decimal) -> bool:
    """Whether the position has to be liquidated at this mark price."""
    need = abs(held.qty) * mark * spec.maintenance
    return bool(held.qty) and held.margin + held.unrealised(mark) <= need


def liquidate(account: Account, spec: Spec, now: int) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Take the position over at its bankruptcy price: all of its margin is lost.

    Returns quantity, price, what of the margin was left as the liquidation's fee, and the loss.
    """
    held = account.position(spec.symbol)
    size = abs(held.qty)
    if held.qty > 0:
        price = max(up(held.entry - held.margin / size, spec.tick), spec.tick)
    else:
        price = down(held.entry + held.margin / size, spec.tick)
    loss = ((price - held.entry) * held.qty).quantize(GRAIN, ROUND_FLOOR)
    loss = max(loss, -held.margin)
    fee = held.margin + loss
    held.realised += loss
    held.qty, held.entry, held.margin, held.updated_ms = ZERO, ZERO, ZERO, now
    return size, price, fee, loss


def pay_funding(account: Account, spec: Spec, rate: Decimal, mark: Decimal, now: int) -> Decimal:
    """Pay (above 0) or get what is due on the position: its quantity at the mark price times the rate."""
    held = account.position(spec.symbol)
    amount = (held.qty * mark * rate).quantize(GRAIN)
    from_free = min(amount, max(account.free[spec.quote], ZERO))
    account.free[spec.quote] -= from_free
    held.margin -= amount - from_free
    held.updated_ms = now
    return amount
