"""What a desk is told besides bars and decisions: reports of a venue outside, conditions, a person's word, funding.

One MESSAGE record a thing, one kernel for all of them: the engine hands it over as it comes, a replay hands it over
again, and both end in the same books.
"""

import numpy as np

from risk.execution import plan
from risk.fills import book_fill, settle_protection
from risk.gate import acknowledge
from risk.ladder import after_fill, clear, latch
from risk.ledger import apply_fill, apply_funding, deposit, is_flat
from risk.memory import Ref, account_of, book_of, latch_of, market_of, order_of, policy_of
from risk.novelty import pause
from risk.orders import (
    ACKED,
    CANCELLED,
    EXPIRED,
    FILLED,
    LOST,
    PARTIAL,
    REJECTED,
    UNKNOWN,
    cancel,
    close_order,
    count_working,
    is_protective,
    move,
    note,
    remaining,
)
from risk.protection import protect
from risk.records import (
    ACTIVE,
    CAUSES,
    ENTRY,
    EV_CANCELLED,
    EV_EXPIRED,
    EV_FUNDING,
    EV_LOST,
    EV_OUTSIDE,
    EV_REJECTED,
    EV_UNKNOWN,
    EXIT,
    KEPT,
    M_CLOSE,
    M_CONDITION,
    M_FUNDING,
    M_LATE,
    M_OUTSIDE,
    M_PAUSE,
    M_REPORT,
    M_RESUME,
    M_TRANSFER,
    NEVER,
    OUTSIDE,
    POST_ONLY,
    STOP,
    STOP_LOSS,
)  # fmt: skip
from risk.tending import chase
from signals.jit import inner, kernel

FILLED_IN_PART = 100  # `what` of a report of one trade; the others are the order's new state
RETRY_NS = 10 * 10**9  # before an exit or a stop that the venue refused is tried again
REFUSALS = 3  # of a stop in a row, after which the position is sold instead


@inner
def place_of(desk: Ref, number: int) -> int:
    """Place of the working order of that number; -1 when none works."""
    for place in range(account_of(desk).n_orders):
        if order_of(desk, place).id == number:
            return place
    return -1


@inner
def _ended(desk: Ref, ns: int, place: int, state: int, passed: bool) -> None:
    """The venue (or the fence) says that an order is over: cancelled, expired, rejected or lost. passed: refused since
    the price is past its stop already.
    """
    account = account_of(desk)
    order = order_of(desk, place)
    k, side, kind, purpose, number = order.symbol, order.side, order.kind, order.purpose, order.id
    protective, asked, rest, chases = is_protective(order), order.asked_ns != 0, remaining(order), order.chases
    reached = passed or (kind == STOP and order.filled > 0.0)  # a stop that was hit and left something
    waited = kind == POST_ONLY and asked and order.expires_ns <= order.asked_ns
    price = order.limit if order.limit > 0.0 else order.stop
    told = EV_CANCELLED
    if state == EXPIRED:
        told = EV_EXPIRED
    elif state == REJECTED:
        told = EV_REJECTED
    elif state == LOST:
        told = EV_LOST
    if order.state == PARTIAL and state == REJECTED:
        state = CANCELLED  # part of it stood: the rest is gone
    note(desk, ns, told, 0, k, number, 0.0, order.filled, side * rest, price)
    close_order(desk, place, state, ns)
    book = book_of(desk, k)
    if purpose == ENTRY:
        if waited:
            chase(desk, ns, k, side, rest, chases)
        elif not asked:
            book.target = np.nan  # the wish was for then: the next decision plans anew
    elif protective:
        book.refusals = book.refusals + 1 if state == REJECTED else 0
        if (reached or book.refusals >= REFUSALS) and not is_flat(desk, k):
            book.refusals = 0
            book.blocked = 1.0 if book.qty > 0.0 else -1.0
            book.target = 0.0
            book.purpose = purpose if reached else STOP_LOSS
            account.planning = 1
    else:
        if state == REJECTED:
            book.wait_ns = ns + RETRY_NS
        account.planning = 1


@inner
def _shorten(desk: Ref, ns: int, place: int, excess: float, price: float) -> None:
    """An exit sold more than the desk holds (it was cut meanwhile): that part wasn't ours, and no longer works."""
    order = order_of(desk, place)
    note(desk, ns, EV_OUTSIDE, 0, order.symbol, order.id, 0.0, excess, order.side * excess, price)
    count_working(desk, order, -1.0)
    order.qty = max(order.qty - excess, order.filled)
    count_working(desk, order, 1.0)


@inner
def _report(desk: Ref, m: Ref) -> bool:
    """One report of one order. False when no such order works: nothing changes."""
    account = account_of(desk)
    place = place_of(desk, m.order)
    if place < 0:
        return False
    order = order_of(desk, place)
    k = order.symbol
    if m.what == UNKNOWN:
        if order.state != UNKNOWN:
            note(desk, m.ns, EV_UNKNOWN, 0, k, order.id, 0.0, order.filled, order.side * remaining(order), order.limit)
            move(order, UNKNOWN)
    elif m.what == ACKED:
        acknowledge(order)
        if order.state == UNKNOWN:
            move(order, PARTIAL if order.filled > 0.0 else ACKED)
    elif m.what == FILLED_IN_PART:
        qty = m.qty if order.purpose == ENTRY else min(m.qty, abs(book_of(desk, k).qty))
        if m.qty - qty > 0.5 * market_of(desk, k).lot:
            _shorten(desk, m.ns, place, m.qty - qty, m.price)
        if qty > 0.0:
            account.elsewhere += m.elsewhere
            book_fill(desk, m.ns, place, qty, m.price, m.fee, m.fee_base, m.maker != 0)
            settle_protection(desk, m.ns, k)
        elif remaining(order) < 0.5 * market_of(desk, k).lot:
            close_order(desk, place, FILLED, m.ns)
            account.planning = 1
    elif m.what == LOST and order.state != UNKNOWN:
        return False
    else:
        _ended(desk, m.ns, place, m.what, m.what == REJECTED and m.maker != 0)
    return True


@inner
def _protect_all(desk: Ref, now: int) -> None:
    """Protection for what has none although it should: its stop was cancelled, refused, or waited for a sale."""
    if policy_of(desk).outside == 0:
        return
    for k in range(desk.symbols):
        book = book_of(desk, k)
        bare = book.qty != 0.0 and book.protected == 0 and book.work_exit == 0.0 and book.target != 0.0
        if bare and (book.refusals == 0 or now - book.protect_ns >= RETRY_NS) and not is_flat(desk, k):
            protect(desk, now, k)


@inner
def _pause(desk: Ref, m: Ref) -> None:
    """A condition of one symbol begins (its entries are cancelled) or ends."""
    book = book_of(desk, m.symbol)
    if m.maker != 0:
        pause(desk, m.symbol, NEVER, m.what)
        cancel(desk, m.symbol, True, False, False, m.ns)
    elif book.novel_rule == m.what and book.novel_until == NEVER:
        book.novel_until = m.ns


@inner
def _resume(desk: Ref, m: Ref) -> None:
    """A person clears every latch but those whose bit in `what` says that their cause still stands."""
    for cause in range(CAUSES):
        if (m.what >> cause) & 1 == 0 and latch_of(desk, cause).level != ACTIVE:
            clear(desk, cause, m.ns)


@inner
def _close(desk: Ref, m: Ref) -> None:
    """A person's (or a halt's) order to be rid of a symbol, and to stay out until the strategy has wanted nothing."""
    book = book_of(desk, m.symbol)
    cancel(desk, m.symbol, True, False, False, m.ns)
    if not is_flat(desk, m.symbol):
        book.blocked = 1.0 if book.qty > 0.0 else -1.0
        book.target = 0.0
        book.purpose = m.what
        account_of(desk).decision += 1
        account_of(desk).planning = 1


@inner
def _cut(desk: Ref, m: Ref) -> None:
    """The venue holds less than the desk: somebody else took `qty` of it, at about `price`.

    What a person sold isn't bought back, now or by the next decision; an exit of the rest that is under way goes on.
    """
    k = m.symbol
    book = book_of(desk, k)
    gone = min(m.qty, abs(book.qty))
    side = 1.0 if book.qty > 0.0 else -1.0
    if gone > 0.0:
        note(desk, m.ns, EV_OUTSIDE, 0, k, -1, abs(book.qty) - gone, abs(book.qty), -side * gone, m.price)
        if book.target != 0.0:
            book.target = np.nan
        if book.blocked == 0.0:
            book.blocked = KEPT * side
        cancel(desk, k, True, False, False, m.ns)
        apply_fill(desk, m.ns, k, -1, OUTSIDE, -side * gone, m.price, 0.0, 0.0, False, book.last)
        after_fill(desk, m.ns, k)
        settle_protection(desk, m.ns, k)


@inner
def _late_fill(desk: Ref, m: Ref) -> None:
    """A trade of an order that was thought to be over: what happened is booked, whatever was thought."""
    k = m.symbol
    held = book_of(desk, k).qty
    account_of(desk).elsewhere += m.elsewhere
    if held * m.qty < 0.0 and abs(m.qty) > abs(held):  # first what closes, then what opens
        closing = m.fee * -held / m.qty
        apply_fill(desk, m.ns, k, m.order, EXIT, -held, m.price, closing, 0.0, m.maker != 0, m.price)
        opening = m.fee - closing
        apply_fill(desk, m.ns, k, m.order, ENTRY, m.qty + held, m.price, opening, m.fee_base, m.maker != 0, m.price)
    else:
        purpose = ENTRY if held * m.qty >= 0.0 else EXIT
        apply_fill(desk, m.ns, k, m.order, purpose, m.qty, m.price, m.fee, m.fee_base, m.maker != 0, m.price)
    after_fill(desk, m.ns, k)
    settle_protection(desk, m.ns, k)


@inner
def _funded(desk: Ref, ns: int, k: int, paid: float, rate: float, mark: float) -> None:
    if paid != 0.0:
        apply_funding(desk, k, paid)
        note(desk, ns, EV_FUNDING, 0, k, -1, rate, paid, book_of(desk, k).qty, mark)
        after_fill(desk, ns, k)


@inner
def pay_funding(desk: Ref, ns: int, k: int, rate: float) -> None:
    """Pay (rate > 0, long) or receive funding: position at its time x its last mark x rate."""
    book = book_of(desk, k)
    _funded(desk, ns, k, book.qty * book.last * rate, rate, book.last)


@kernel
def hear(desk: Ref, m: Ref) -> bool:
    """Take one MESSAGE. False when it was about an order that doesn't work (any more) and nothing changed.

    Fields by kind: M_REPORT what (order state, or FILLED_IN_PART), order, qty, price, fee, fee_base, elsewhere, maker.
    M_CONDITION what (cause), order (level, ACTIVE ends it), symbol (rule), qty (limit), price (observed). M_PAUSE what
    (rule), symbol, maker (1 begins, 0 ends). M_RESUME what (bits of causes that stand). M_CLOSE symbol, what (purpose).
    M_OUTSIDE symbol, qty (gone), price. M_TRANSFER qty. M_FUNDING symbol, price (rate), or fee (amount paid). M_TICK
    nothing. M_LATE as M_REPORT, with symbol and a signed qty. Of a refused order `maker` says that the price is past
    its stop already.
    """
    account = account_of(desk)
    account.now_ns = max(account.now_ns, m.ns)
    heard = True
    if m.kind == M_REPORT:
        heard = _report(desk, m)
    elif m.kind == M_CONDITION:
        if m.order == ACTIVE:
            clear(desk, m.what, m.ns)
        else:
            latch(desk, m.what, m.order, m.ns, NEVER, m.symbol, m.qty, m.price)
    elif m.kind == M_PAUSE:
        _pause(desk, m)
    elif m.kind == M_RESUME:
        _resume(desk, m)
    elif m.kind == M_CLOSE:
        _close(desk, m)
    elif m.kind == M_OUTSIDE:
        _cut(desk, m)
    elif m.kind == M_TRANSFER:
        deposit(desk, m.qty)
    elif m.kind == M_FUNDING and m.fee != 0.0:
        _funded(desk, m.ns, m.symbol, m.fee, 0.0, 0.0)
    elif m.kind == M_FUNDING:
        pay_funding(desk, m.ns, m.symbol, m.price)
    elif m.kind == M_LATE:
        _late_fill(desk, m)
    if account.planning != 0 and policy_of(desk).outside != 0:
        plan(desk, m.ns)
    _protect_all(desk, m.ns)
    return heard
