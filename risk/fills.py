"""A fill booked: the order, the funds it held, the ledger, what its purpose changes, the ladder; then its protection.

The simulated venue's matching and the reports of a real one end here alike.
"""

from risk.ladder import after_fill
from risk.ledger import apply_fill, is_flat
from risk.memory import Ref, account_of, book_of, market_of, order_of, policy_of
from risk.orders import FILLED, PARTIAL, cancel, close_order, count_working, is_protective, move, remaining
from risk.protection import protect
from risk.records import STOP_LOSS, TAKE_PROFIT, TIME_EXIT, TRAILING
from signals.jit import inner as kernel


@kernel
def book_fill(
    desk: Ref, ns: int, place: int, qty: float, price: float, fee: float, fee_base: float, maker: bool
) -> None:  # fmt: skip
    """Book a fill of `qty` > 0 of the working order at `place`, which leaves the table when it is done.

    fee is the whole fee's worth in quote, fee_base the part of it taken in the coin bought.
    """
    account = account_of(desk)
    order = order_of(desk, place)
    k = order.symbol
    book = book_of(desk, k)
    count_working(desk, order, -1.0)
    share = min(qty / remaining(order), 1.0) if remaining(order) > 0.0 else 1.0
    order.avg_price = (order.avg_price * order.filled + price * qty) / (order.filled + qty)
    order.filled += qty
    done = remaining(order) < 0.5 * market_of(desk, k).lot
    count_working(desk, order, 1.0)
    freed = order.reserved if done else order.reserved * share
    order.reserved -= freed
    account.reserved = max(account.reserved - freed, 0.0)
    book.room -= qty
    purpose, stands = order.purpose, is_protective(order)
    side_held = 1.0 if book.qty > 0.0 else -1.0
    apply_fill(desk, ns, k, order.id, purpose, order.side * qty, price, fee, fee_base, maker, order.ref)
    if done:
        close_order(desk, place, FILLED, ns)
    else:
        move(order, PARTIAL)
    if purpose == STOP_LOSS or purpose == TAKE_PROFIT or purpose == TRAILING or purpose == TIME_EXIT:
        book.blocked = side_held
        if stands:  # it goes on for the rest by itself; what was sent to market is planned until nothing is left
            book.target = float("nan")
        if policy_of(desk).outside != 0:  # at the simulated venue it takes until the close, see `risk.tending`
            cancel(desk, k, True, False, False, ns)
    after_fill(desk, ns, k)


@kernel
def settle_protection(desk: Ref, ns: int, k: int) -> None:
    """After a fill of symbol `k`: protection that fits what is held now, none when nothing is."""
    if is_flat(desk, k):
        cancel(desk, k, False, True, True, ns)
    else:
        protect(desk, ns, k)
