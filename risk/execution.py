"""How a wish becomes orders: exits first, entries on settled cash, market or post-only with chase, protection.

Sells go first and the rest is planned on their fills, in every mode: `plan` runs at a decision and again after each
fill while `account.planning` stands.
"""

import numpy as np

from risk.gate import SLICES, quote_cost, send, worst_price
from risk.ladder import latch, person_until
from risk.ledger import is_flat, on_lots, roll_day, usable
from risk.memory import (
    Ref,
    account_of,
    book_of,
    f8_at,
    far,
    i8_at,
    limits_of,
    market_of,
    order_of,
    policy_of,
    put_f8,
    put_i8,
    u1_at,
)
from risk.orders import cancel, note
from risk.records import (
    ACTIVE,
    C_STRATEGY,
    ENTRY,
    EV_ERROR,
    EXIT,
    FLATTEN,
    MARKET,
    NO_NEW_RISK,
    POST_ONLY,
    R_STRATEGY,
)  # fmt: skip
from risk.sizing import fit, quiet, targets, unit
from signals.jit import inner as kernel


@kernel
def enter(desk: Ref, now: int, k: int, side: int, qty: float, chases: int, market: bool) -> bool:
    """Send an entry of at most `qty`, fitted to the caps: at market (worst price: the collar) or post-only at
    our side.
    """
    policy = policy_of(desk)
    if market or policy.post_only == 0:
        price = worst_price(desk, k, side)
        kind = MARKET
    else:
        tick = market_of(desk, k).tick
        aim = book_of(desk, k).last * (1.0 - side * policy.offset) / tick
        price = (np.floor(aim + 1e-9) if side > 0 else np.ceil(aim - 1e-9)) * tick
        kind = POST_ONLY
    fitted = fit(desk, k, side, qty, price)
    if not fitted > 0.0:
        return False
    return send(desk, now, k, side, kind, ENTRY, fitted, price, 0.0, chases, 0)


@kernel
def leave(desk: Ref, now: int, k: int, qty: float, purpose: int) -> None:
    """Send exits for `qty` > 0 base units of symbol `k`, split above the order-size cap."""
    market = market_of(desk, k)
    side = -1 if book_of(desk, k).qty > 0.0 else 1
    price = worst_price(desk, k, side)
    most = min(limits_of(desk).order_notional / max(price, book_of(desk, k).last), market.max_quantity)
    most = max(on_lots(most, market.lot), market.lot)
    left = qty
    for slice_no in range(SLICES):
        piece = on_lots(min(left, most), market.lot)
        if piece <= 0.0 or account_of(desk).n_orders + 2 * desk.symbols >= desk.places:
            break
        if not send(desk, now, k, side, MARKET, purpose, piece, price, 0.0, 0, slice_no):
            break
        left -= piece


@kernel
def _busy(desk: Ref) -> int:
    """List the symbols with a target or a working exit: how many there are. All others have nothing to plan."""
    count = 0
    for k in range(desk.symbols):
        book = book_of(desk, k)
        put_i8(desk.busy, count, k)  # overwritten by the next one unless it counts: no branch to guess
        count += int((book.target == book.target) | (book.work_exit != 0.0))
    return count


@kernel
def locked(desk: Ref, k: int) -> bool:
    """True while a stop at a spot venue still holds the coins that are to be sold: first its cancel is confirmed."""
    policy = policy_of(desk)
    return policy.outside != 0 and policy.perp == 0 and book_of(desk, k).protected != 0


@kernel
def _plan_exits(desk: Ref, now: int, busy: int) -> None:
    for place in range(busy):
        k = i8_at(desk.busy, place)
        book = book_of(desk, k)
        if np.isnan(book.target):
            continue
        if is_flat(desk, k):
            if book.target == 0.0:
                if book.work_entry != 0.0:
                    cancel(desk, k, True, False, False, now)
                if book.work_entry == 0.0:  # else a fill may still come before the venue's word
                    book.target = np.nan
            continue
        keep = abs(book.target) if book.target * book.qty > 0.0 else 0.0
        lot = market_of(desk, k).lot
        surplus = usable(book.qty, lot) - book.work_exit if keep == 0.0 else abs(book.qty) - keep - book.work_exit
        if on_lots(max(surplus, 0.0), lot) > 0.0 and now >= book.wait_ns:
            cancel(desk, k, True, False, True, now)
            if locked(desk, k):
                continue
            leave(desk, now, k, surplus, EXIT if book.purpose == ENTRY else book.purpose)


@kernel
def plan_exits(desk: Ref, now: int) -> None:
    """Exits towards the targets, at once."""
    _plan_exits(desk, now, _busy(desk))


@kernel
def _lacking(desk: Ref, now: int, k: int) -> float:
    """Quantity still to be entered for symbol `k`'s target, signed; working entries that don't fit it are cancelled."""
    book = book_of(desk, k)
    if np.isnan(book.target) or book.target == 0.0:
        return 0.0
    flat = is_flat(desk, k)
    if not flat and book.target * book.qty < 0.0:
        return 0.0
    side = 1.0 if book.target > 0.0 else -1.0
    need = abs(book.target) - (0.0 if flat else abs(book.qty))
    if book.work_entry != 0.0:
        if abs(need * side - book.work_entry) * book.last < policy_of(desk).band * unit(desk, k):
            return 0.0  # what works is near enough: keep its place
        if book.work_entry * side < 0.0 or need < abs(book.work_entry):
            cancel(desk, k, True, False, False, now)
    return max(need - abs(book.work_entry), 0.0) * side


@kernel
def _awaited(desk: Ref, busy: int) -> bool:
    """True while a venue outside has yet to say what becomes of a cancel, or an exit has to be tried again."""
    if policy_of(desk).outside == 0:
        return False
    for j in range(account_of(desk).n_orders):
        if order_of(desk, j).asked_ns != 0:
            return True
    for place in range(busy):
        if book_of(desk, i8_at(desk.busy, place)).target == 0.0:
            return True
    return False


@far
def plan(desk: Ref, now: int) -> None:
    """Orders towards the targets: exits at once; entries on cash that is settled now, scaled pro rata when it's
    short.
    """
    account = account_of(desk)
    roll_day(account, now)
    busy = _busy(desk)
    _plan_exits(desk, now, busy)
    leaving = 0.0
    for place in range(busy):
        leaving += book_of(desk, i8_at(desk.busy, place)).work_exit
    account.planning = 1 if leaving > 0.0 or _awaited(desk, busy) else 0
    if account.level != ACTIVE:
        return
    wanted = 0.0
    for place in range(busy):
        k = i8_at(desk.busy, place)
        lacking = _lacking(desk, now, k)
        most = worst_price(desk, k, 1 if lacking > 0.0 else -1)
        wanted += abs(lacking) * (most if policy_of(desk).post_only == 0 else book_of(desk, k).last)
    if wanted > 0.0:
        # At worst prices, fees included, so that the last symbol isn't left with less than the first.
        scale = min(1.0, max(account.cash - account.reserved, 0.0) / (wanted * quote_cost(desk)))
        for place in range(busy):
            k = i8_at(desk.busy, place)
            lacking = _lacking(desk, now, k)
            if lacking != 0.0 and now >= book_of(desk, k).novel_until:
                enter(desk, now, k, 1 if lacking > 0.0 else -1, abs(lacking) * scale, policy_of(desk).chases, False)


@far
def act(desk: Ref, now: int, weights: int, states: int) -> None:
    """Aim at the weights of a new decision and plan the orders towards them."""
    account_of(desk).decision += 1
    targets(desk, now, weights, states)
    plan(desk, now)


@kernel
def answered(desk: Ref, now: int, weights: int, states: int, status: int) -> bool:
    """Whether the strategy's function gave an answer that can be acted on; see `decide`."""
    account = account_of(desk)
    bad = status
    if bad == 0:
        for k in range(desk.symbols):
            bad |= 2 * int((u1_at(states, k) == 0) & (abs(f8_at(weights, k)) == np.inf))
    if bad == 0:
        account.error_run = 0
        return True
    limits = limits_of(desk)
    for k in range(desk.symbols):
        put_f8(weights, k, np.nan)  # a skipped decision asked for nothing, also where it had got to a number
    account.errors += 1
    account.error_run += 1
    note(desk, now, EV_ERROR, R_STRATEGY, -1, -1, limits.strategy_errors, account.error_run, bad, 0.0)
    if account.error_run >= limits.strategy_errors:
        until = person_until(desk, now)
        latch(desk, C_STRATEGY, NO_NEW_RISK, now, until, R_STRATEGY, limits.strategy_errors, account.error_run)
    return False


@kernel
def decide(desk: Ref, now: int, weights: int, states: int, status: int) -> None:
    """Act on one decision: weights is the address of f8[M], good where states, the address of u1[M], is 0, status of
    the strategy's function.

    A strategy that raised (status > 0) or gave a weight that isn't a number skips the decision, is counted, and after
    so many in a row takes no new risk until a person has looked.
    """
    if not answered(desk, now, weights, states, status):
        return
    if account_of(desk).level >= FLATTEN or quiet(desk, weights, states):
        return
    act(desk, now, weights, states)
