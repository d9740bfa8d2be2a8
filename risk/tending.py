"""What a bar's close does to working orders and positions: time-outs, chases, repriced exits, trailing, time exits."""

import numpy as np

from risk.execution import enter, plan_exits
from risk.gate import amend_bound, amend_stop
from risk.ledger import is_flat
from risk.memory import Ref, account_of, book_of, f8_at, far, order_of, policy_of
from risk.orders import ACKED, EXPIRED, PARTIAL, cancel, close_order, is_protective, note, remaining
from risk.protection import protect, stop_level, take_level, takes_at_venue
from risk.records import ACTIVE, ENTRY, EV_EXPIRED, POST_ONLY, STOP, TAKE_PROFIT, TIME_EXIT
from signals.jit import inner as kernel

IGNORED_NS = 60 * 10**9  # how old a stop has to be before a close beyond it means that the venue let it pass
TRAIL_STEP = 0.001  # of the price: a trailing stop at a venue outside is placed anew in steps no smaller than this


@kernel
def _trail(desk: Ref, now: int, k: int) -> None:
    """Let a working stop follow: it only ever comes nearer."""
    price, purpose = stop_level(desk, k)
    sign = 1.0 if book_of(desk, k).qty > 0.0 else -1.0
    outside = policy_of(desk).outside != 0
    for j in range(account_of(desk).n_orders):
        order = order_of(desk, j)
        if order.symbol == k and order.kind == STOP and (price - order.stop) * sign > 0.0:
            if not outside:
                amend_stop(desk, now, j, price, purpose)
            elif (price - order.stop) * sign > TRAIL_STEP * price:
                cancel(desk, k, False, False, True, now)  # the new one goes out when the old one is gone


@kernel
def _time_out(desk: Ref, now: int) -> None:
    """Entries whose wait is over: chase at a new price, take the market, or give up, as the policy says."""
    account = account_of(desk)
    place = account.n_orders - 1
    while place >= 0:
        if place >= account.n_orders:  # a chase that was refused latched, and cancelled more than its own order
            place -= 1
            continue
        order = order_of(desk, place)
        if order.kind == POST_ONLY and order.expires_ns <= now and policy_of(desk).outside != 0:
            if order.asked_ns == 0:
                order.asked_ns = now  # chased when the venue has confirmed it
                account.planning = 1
        elif order.kind == POST_ONLY and order.expires_ns <= now:
            k = order.symbol
            side = order.side
            rest = remaining(order)
            chases = order.chases
            note(desk, now, EV_EXPIRED, 0, k, order.id, 0.0, float(chases), side * rest, order.limit)
            close_order(desk, place, EXPIRED, now)
            chase(desk, now, k, side, rest, chases)
        place -= 1


@kernel
def chase(desk: Ref, now: int, k: int, side: int, rest: float, chases: int) -> None:
    """After an entry's wait is over: place the rest anew, take the market, or give up, as where it may not enter."""
    if account_of(desk).level == ACTIVE and book_of(desk, k).blocked * side <= 0.0:
        if chases > 0:
            enter(desk, now, k, side, rest, chases - 1, False)
        elif policy_of(desk).then_market != 0:
            enter(desk, now, k, side, rest, 0, True)


@kernel
def _ignored(desk: Ref, now: int, k: int, close: float) -> int:
    """The purpose of a stop that stands at the venue although a bar closed beyond it, or -1: what it became didn't find
    anybody (a stop-limit in a gap), or the venue failed.
    """
    for j in range(account_of(desk).n_orders):
        order = order_of(desk, j)
        stands = order.symbol == k and order.kind == STOP and order.asked_ns == 0
        stands = stands and (order.state == ACKED or order.state == PARTIAL) and now - order.decided_ns >= IGNORED_NS
        if stands and (close - order.stop) * order.side > 0.0:
            return int(order.purpose)
    return -1


@kernel
def guard(desk: Ref, now: int, k: int, high: float, low: float, close: float) -> None:
    """Stops and targets that a venue outside doesn't keep, or let pass: a bar that reached one sends the exit at its
    close.
    """
    policy = policy_of(desk)
    book = book_of(desk, k)
    sign = 1.0 if book.qty > 0.0 else -1.0
    worst, best = (low, high) if sign > 0.0 else (high, low)
    stop, purpose = stop_level(desk, k)
    take = take_level(desk, k)
    ignored = _ignored(desk, now, k, close)
    if policy.stops == 0 and stop > 0.0 and (worst - stop) * sign <= 0.0:
        get_out(desk, now, k, purpose)
    elif ignored >= 0:
        get_out(desk, now, k, ignored)
    elif take > 0.0 and not takes_at_venue(desk) and (best - take) * sign > 0.0:
        get_out(desk, now, k, TAKE_PROFIT)


@kernel
def get_out(desk: Ref, now: int, k: int, purpose: int) -> None:
    """Sell all of symbol `k`, and stay out until the strategy has wanted nothing of it, or the other side."""
    book = book_of(desk, k)
    book.blocked = 1.0 if book.qty > 0.0 else -1.0
    book.target = 0.0
    book.purpose = purpose
    account_of(desk).decision += 1
    plan_exits(desk, now)


@far
def tend(desk: Ref, now: int, high: int, low: int, close: int) -> None:
    """Look after working orders and positions at a bar's close: time-outs, repriced exits, trailing stops, time exits.

    high, low, close: addresses of f8[M], the bar that ends at `now`, NaN where the symbol has none.
    """
    account = account_of(desk)
    policy = policy_of(desk)
    _time_out(desk, now)
    for k in range(desk.symbols):
        book = book_of(desk, k)
        if book.blocked * book.work_entry > 0.0:  # left out of since it went out; what filled before this cancel, did
            cancel(desk, k, True, False, False, now)
    for j in range(account.n_orders):
        order = order_of(desk, j)
        exits = order.purpose != ENTRY and not is_protective(order) and policy.outside == 0
        if exits and not np.isnan(f8_at(close, order.symbol)):
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
            get_out(desk, now, k, TIME_EXIT)
        elif policy.outside != 0 and policy.guarded != 0 and book.work_exit == 0.0:
            guard(desk, now, k, f8_at(high, k), f8_at(low, k), f8_at(close, k))
