"""Order life cycle as a table. An illegal move raises; a terminal state is never left.

PENDING (intent written) -> SENT (left for the venue) -> ACKED -> PARTIAL -> FILLED, or CANCELLED, REJECTED, EXPIRED.
UNKNOWN is a state of its own: the request left and its outcome isn't known; it ends in what the venue reports, or in
LOST. This file does not know whether the venue is simulated or real.
"""

import numpy as np

from risk.memory import Ref, account_of, book_of, copy_order, done_of, event_of, far, order_of, policy_of
from risk.records import ENTRY, LIQUIDATION, STOP, TAKE
from signals.jit import inner as kernel

PENDING, SENT, ACKED, PARTIAL, FILLED, CANCELLED, REJECTED, EXPIRED, UNKNOWN, LOST = range(10)
STATES = ("PENDING", "SENT", "ACKED", "PARTIAL", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "UNKNOWN", "LOST")

_MOVES = {
    PENDING: (SENT, CANCELLED),
    SENT: (ACKED, PARTIAL, FILLED, CANCELLED, REJECTED, EXPIRED, UNKNOWN),
    ACKED: (PARTIAL, FILLED, CANCELLED, REJECTED, EXPIRED, UNKNOWN),
    PARTIAL: (PARTIAL, FILLED, CANCELLED, EXPIRED, UNKNOWN),
    UNKNOWN: (ACKED, PARTIAL, FILLED, CANCELLED, REJECTED, EXPIRED, LOST),
}
LEGAL = np.zeros((len(STATES), len(STATES)), np.bool_)
for _state, _nexts in _MOVES.items():
    LEGAL[_state, list(_nexts)] = True
TERMINAL = ~LEGAL.any(axis=1)


@kernel
def move(order: Ref, state: int) -> None:
    """Bring `order` (an ORDER record) to `state`, or raise when the table has no such move."""
    if not LEGAL[order.state, state]:
        raise ValueError("illegal order move")
    order.state = state


@kernel
def note(
    desk: Ref,
    ns: int,
    kind: int,
    rule: int,
    symbol: int,
    order: int,
    limit: float,
    observed: float,
    qty: float,
    price: float,
) -> None:
    """Append one record to the event log."""
    account = account_of(desk)
    event = event_of(desk, account.n_events)
    event.ns = ns
    event.kind = kind
    event.rule = rule
    event.symbol = symbol
    event.level = account.level
    event.was = account.level
    event.order = order
    event.limit = limit
    event.observed = observed
    event.qty = qty
    event.price = price
    account.n_events += 1


@kernel
def remaining(order: Ref) -> float:
    """Quantity of `order` that is not filled yet, in base units."""
    return max(order.qty - order.filled, 0.0)


@kernel
def is_protective(order: Ref) -> bool:
    """True for a stop or take-profit that stands at the venue: it never adds up with other exits."""
    return order.kind == STOP or order.kind == TAKE


@kernel
def count_working(desk: Ref, order: Ref, sign: float) -> None:
    """Add (`sign` 1) or take away (-1) what `order` still has to do from its symbol's working totals."""
    book = book_of(desk, order.symbol)
    rest = sign * remaining(order)
    if order.purpose == ENTRY:
        book.work_entry += order.side * rest
        book.work_cost += rest * max(order.limit, order.ref)  # the most it may be worth
        if abs(book.work_entry) < 1e-12:
            book.work_entry = 0.0
        if abs(book.work_cost) < 1e-9:
            book.work_cost = 0.0
    elif is_protective(order):
        book.protected += int(sign)
    elif order.purpose != LIQUIDATION:
        book.work_exit += rest
        if abs(book.work_exit) < 1e-12:
            book.work_exit = 0.0


@kernel
def close_order(desk: Ref, place: int, state: int, ns: int) -> None:
    """End the working order at `place`: release its funds, log it, close the gap it leaves. Keeps the order of ids."""
    account = account_of(desk)
    order = order_of(desk, place)
    count_working(desk, order, -1.0)
    move(order, state)
    order.done_ns = ns
    account.reserved = max(account.reserved - order.reserved, 0.0)
    order.reserved = 0.0
    copy_order(order, done_of(desk, account.n_done))
    account.n_done += 1
    for j in range(place, account.n_orders - 1):
        copy_order(order_of(desk, j + 1), order_of(desk, j))
    account.n_orders -= 1
    if account.n_orders == 0:
        account.reserved = 0.0


@far
def cancel(desk: Ref, symbol: int, entries: bool, exits: bool, protection: bool, ns: int) -> None:
    """Cancel working orders of `symbol` (-1: of all) by what they are for; a venue outside has to confirm it."""
    account = account_of(desk)
    outside = policy_of(desk).outside != 0
    place = account.n_orders - 1
    while place >= 0:
        order = order_of(desk, place)
        if symbol < 0 or order.symbol == symbol:
            if order.purpose == ENTRY:
                chosen = entries
            elif is_protective(order):
                chosen = protection
            else:
                chosen = exits
            if chosen and not outside:
                close_order(desk, place, CANCELLED, ns)
            elif chosen and order.asked_ns == 0:
                order.asked_ns = ns
                account.planning = 1
        place -= 1
