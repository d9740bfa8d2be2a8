"""How a wish becomes orders: exits first, entries on settled cash, market or post-only with chase, protection.

Sells go first and the rest is planned on their fills, in every mode: `plan` runs at a decision and again after each
fill while `account.planning` stands.
"""

import numpy as np

from risk.gate import amend_bound, amend_stop, quote_cost, send, worst_price
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
from risk.orders import EXPIRED, cancel, close_order, is_protective, note, remaining
from risk.records import (
    ACTIVE,
    C_STRATEGY,
    ENTRY,
    EV_ERROR,
    EV_EXPIRED,
    EXIT,
    FLATTEN,
    MARKET,
    NO_NEW_RISK,
    POST_ONLY,
    R_STRATEGY,
    STOP,
    STOP_LOSS,
    TAKE,
    TAKE_PROFIT,
    TIME_EXIT,
    TRAILING,
)  # fmt: skip
from risk.sizing import fit, quiet, targets, unit
from signals.jit import inner as kernel

SLICES = 64  # at most so many orders for one exit at a time; what is left follows on their fills


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
                book.target = np.nan
            continue
        keep = abs(book.target) if book.target * book.qty > 0.0 else 0.0
        lot = market_of(desk, k).lot
        surplus = usable(book.qty, lot) - book.work_exit if keep == 0.0 else abs(book.qty) - keep - book.work_exit
        if on_lots(max(surplus, 0.0), lot) > 0.0:
            cancel(desk, k, True, False, True, now)
            leave(desk, now, k, surplus, EXIT if book.purpose == ENTRY else book.purpose)


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
    account.planning = 1 if leaving > 0.0 else 0
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
def decide(desk: Ref, now: int, weights: int, states: int, status: int) -> None:
    """Act on one decision: weights is the address of f8[M], good where states, the address of u1[M], is 0, status of
    the strategy's function.

    A strategy that raised (status > 0) or gave a weight that isn't a number skips the decision, is counted, and after
    so many in a row takes no new risk until a person has looked.
    """
    account = account_of(desk)
    bad = status
    if bad == 0:
        for k in range(desk.symbols):
            bad |= 2 * int((u1_at(states, k) == 0) & (abs(f8_at(weights, k)) == np.inf))
    if bad != 0:
        for k in range(desk.symbols):
            put_f8(weights, k, np.nan)  # a skipped decision asked for nothing, also where it had got to a number
        account.errors += 1
        account.error_run += 1
        note(desk, now, EV_ERROR, R_STRATEGY, -1, -1, limits_of(desk).strategy_errors, account.error_run, bad, 0.0)
        if account.error_run >= limits_of(desk).strategy_errors:
            until = person_until(desk, now)
            latch(
                desk,
                C_STRATEGY,
                NO_NEW_RISK,
                now,
                until,
                R_STRATEGY,
                limits_of(desk).strategy_errors,
                account.error_run,
            )
        return
    account.error_run = 0
    if account.level >= FLATTEN or quiet(desk, weights, states):
        return
    act(desk, now, weights, states)


@far
def protect(desk: Ref, now: int, k: int) -> None:
    """One protection per position, sized to what is held: a stop (or the trailing one, whichever is nearer), a
    target.
    """
    policy = policy_of(desk)
    if not (policy.stop_loss > 0.0 or policy.take_profit > 0.0 or policy.trailing > 0.0):
        return
    book = book_of(desk, k)
    if book.protected != 0:
        cancel(desk, k, False, False, True, now)
    if is_flat(desk, k) or book.work_exit > 0.0:
        return
    side = -1 if book.qty > 0.0 else 1
    size = usable(book.qty, market_of(desk, k).lot)
    price, purpose = stop_level(desk, k)
    if price > 0.0:
        send(desk, now, k, side, STOP, purpose, size, 0.0, price, 0, 0)
    if policy.take_profit > 0.0:
        tick = market_of(desk, k).tick
        aim = book.avg * (1.0 - side * policy.take_profit) / tick
        aim = (np.ceil(aim - 1e-9) if side < 0 else np.floor(aim + 1e-9)) * tick
        if aim > 0.0:
            send(desk, now, k, side, TAKE, TAKE_PROFIT, size, 0.0, aim, 0, 0)


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


@kernel
def _trail(desk: Ref, now: int, k: int) -> None:
    """Let a working stop follow: it only ever comes nearer."""
    price, purpose = stop_level(desk, k)
    sign = 1.0 if book_of(desk, k).qty > 0.0 else -1.0
    for j in range(account_of(desk).n_orders):
        order = order_of(desk, j)
        if order.symbol == k and order.kind == STOP and (price - order.stop) * sign > 0.0:
            amend_stop(desk, now, j, price, purpose)


@kernel
def _time_out(desk: Ref, now: int) -> None:
    """Entries whose wait is over: chase at a new price, take the market, or give up, as the policy says."""
    account = account_of(desk)
    place = account.n_orders - 1
    while place >= 0:
        order = order_of(desk, place)
        if order.kind == POST_ONLY and order.expires_ns <= now:
            k = order.symbol
            side = order.side
            rest = remaining(order)
            chases = order.chases
            note(desk, now, EV_EXPIRED, 0, k, order.id, 0.0, float(chases), side * rest, order.limit)
            close_order(desk, place, EXPIRED, now)
            if account.level == ACTIVE:
                if chases > 0:
                    enter(desk, now, k, side, rest, chases - 1, False)
                elif policy_of(desk).then_market != 0:
                    enter(desk, now, k, side, rest, 0, True)
        place -= 1


@far
def tend(desk: Ref, now: int, high: int, low: int, close: int) -> None:
    """Look after working orders and positions at a bar's close: time-outs, repriced exits, trailing stops, time exits.

    high, low, close: addresses of f8[M], the bar that ends at `now`, NaN where the symbol has none.
    """
    account = account_of(desk)
    policy = policy_of(desk)
    _time_out(desk, now)
    for j in range(account.n_orders):
        order = order_of(desk, j)
        if order.purpose != ENTRY and not is_protective(order) and not np.isnan(f8_at(close, order.symbol)):
            amend_bound(desk, now, j)
    for k in range(desk.symbols):
        book = book_of(desk, k)
        if book.qty == 0.0 or np.isnan(f8_at(close, k)) or is_flat(desk, k):
            continue
        if policy.trailing > 0.0:
            # A bar entered inside at a limit may have had its extreme before the entry: only its close counts.
            reached = f8_at(close, k) if book.inside != 0 else (f8_at(high, k) if book.qty > 0.0 else f8_at(low, k))
            book.extreme = max(book.extreme, reached) if book.qty > 0.0 else min(book.extreme, reached)
            _trail(desk, now, k)
        book.inside = 0
        if book.protected == 0:
            protect(desk, now, k)
        if policy.time_exit_ns > 0 and now - book.entry_ns >= policy.time_exit_ns and book.work_exit == 0.0:
            book.blocked = 1.0 if book.qty > 0.0 else -1.0
            book.target = 0.0
            book.purpose = TIME_EXIT
            account.decision += 1
            _plan_exits(desk, now, _busy(desk))
