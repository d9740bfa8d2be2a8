"""Protection of a position: one stop (and target) that fits what is held, at the venue where it can stand there."""

import numpy as np

from risk.gate import send
from risk.ledger import is_flat, usable
from risk.memory import Ref, account_of, book_of, far, market_of, order_of, policy_of
from risk.orders import cancel, is_protective, remaining
from risk.records import STOP, STOP_LOSS, TAKE, TAKE_PROFIT, TRAILING
from signals.jit import inner as kernel


@far
def protect(desk: Ref, now: int, k: int) -> None:
    """One protection per position, sized to what is held: a stop (or the trailing one, whichever is nearer), a
    target.
    """
    policy = policy_of(desk)
    if not (policy.stop_loss > 0.0 or policy.take_profit > 0.0 or policy.trailing > 0.0):
        return
    if policy.outside != 0 and policy.stops == 0:
        return  # the venue keeps none: `guard` looks at every bar
    book = book_of(desk, k)
    size = usable(book.qty, market_of(desk, k).lot)
    if book.protected != 0:
        if policy.outside != 0 and book.protected == stands(desk, k, size):
            return
        cancel(desk, k, False, False, True, now)
    if is_flat(desk, k) or book.work_exit > 0.0 or book.protected != 0:
        return
    side = -1 if book.qty > 0.0 else 1
    book.protect_ns = now
    price, purpose = stop_level(desk, k)
    if price > 0.0:
        send(desk, now, k, side, STOP, purpose, size, 0.0, price, 0, 0)
    aim = take_level(desk, k)
    if aim > 0.0 and takes_at_venue(desk):
        send(desk, now, k, side, TAKE, TAKE_PROFIT, size, 0.0, aim, 0, 0)


@kernel
def stands(desk: Ref, k: int, size: float) -> int:
    """Protective orders of symbol `k` whose size fits what is held and that nobody asked to cancel."""
    count = 0
    for j in range(account_of(desk).n_orders):
        order = order_of(desk, j)
        if order.symbol == k and is_protective(order) and order.asked_ns == 0:
            count += int(abs(remaining(order) - size) < 0.5 * market_of(desk, k).lot)
    return count


@kernel
def takes_at_venue(desk: Ref) -> bool:
    """Whether a take-profit can stand beside a stop: at a spot venue the stop has locked the coins."""
    policy = policy_of(desk)
    return bool(policy.outside == 0 or policy.perp != 0)


@kernel
def take_level(desk: Ref, k: int) -> float:
    """Take-profit price of symbol `k`'s position, rounded away from the price; 0 when none is declared."""
    policy = policy_of(desk)
    if not policy.take_profit > 0.0:
        return 0.0
    book = book_of(desk, k)
    tick = market_of(desk, k).tick
    sign = 1.0 if book.qty > 0.0 else -1.0
    aim = book.avg * (1.0 + sign * policy.take_profit) / tick
    return float((np.ceil(aim - 1e-9) if sign > 0.0 else np.floor(aim + 1e-9)) * tick)


@kernel
def stop_level(desk: Ref, k: int) -> tuple[float, int]:
    """Stop price of symbol `k`'s position and which rule sets it; 0 when none is declared. Rounded away from
    the price.
    """
    policy = policy_of(desk)
    book = book_of(desk, k)
    tick = market_of(desk, k).tick
    sign = 1.0 if book.qty > 0.0 else -1.0
    price = 0.0
    purpose = STOP_LOSS
    if policy.stop_loss > 0.0:
        price = book.avg * (1.0 - sign * policy.stop_loss)
    if policy.trailing > 0.0:
        trailed = book.extreme * (1.0 - sign * policy.trailing)
        if price == 0.0 or (trailed - price) * sign > 0.0:
            price = trailed
            purpose = TRAILING
    steps = price / tick
    return (np.floor(steps + 1e-9) if sign > 0.0 else np.ceil(steps - 1e-9)) * tick, purpose
