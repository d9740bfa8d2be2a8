"""Small compiled doors to kernels that only kernels may call, so that a test can hold one of them in its hand."""

from risk.gate import amend_bound, amend_stop, gate, send
from risk.ladder import latch, mark
from risk.ledger import apply_fill, apply_funding, deposit, liquidation_price, value
from risk.memory import Ref, account_of, book_of, f8_at, i8_at, order_of, put_f8
from risk.orders import move
from signals.jit import kernel


@kernel
def probe_gate(
    desk: Ref, now: int, k: int, side: int, kind: int, purpose: int, qty: float, limit: float, stop: float, intent: int
) -> tuple[int, float, float]:
    """The gate's verdict."""
    return gate(desk, now, k, side, kind, purpose, qty, limit, stop, intent)


@kernel
def probe_send(
    desk: Ref, now: int, k: int, side: int, kind: int, purpose: int, qty: float, limit: float, stop: float
) -> bool:
    """Send one order."""
    return send(desk, now, k, side, kind, purpose, qty, limit, stop, 0, 0)


@kernel
def probe_amend(desk: Ref, now: int, place: int, stop: float, purpose: int) -> None:
    """Move a working stop, or with stop 0 the worst price of a working exit."""
    if stop > 0.0:
        amend_stop(desk, now, place, stop, purpose)
    else:
        amend_bound(desk, now, place)


@kernel
def probe_move(desk: Ref, place: int, state: int) -> None:
    """Move an order in its life cycle."""
    move(order_of(desk, place), state)


@kernel
def probe_mark(desk: Ref, now: int) -> None:
    """Value the account and move the ladder."""
    mark(desk, now)


@kernel
def probe_latch(desk: Ref, cause: int, level: int, now: int, until: int, rule: int) -> None:
    """Set a latch."""
    latch(desk, cause, level, now, until, rule, 0.0, 0.0)


@kernel
def probe_deposit(desk: Ref, amount: float) -> None:
    """Move money in or out."""
    deposit(desk, amount)


@kernel
def probe_book(desk: Ref, count: int, steps: int, numbers: int, out: int) -> None:
    """Book `count` fills and fundings.

    steps: address of i8[count, 3] (what: 0 fill, 1 funding; symbol; ns); numbers: address of f8[count, 4]
    (quantity or rate,
    price or mark, fee, fee in the coin); out: address of f8[count, 6] (cash, equity, quantity, mean price, margin,
    liquidation price of the symbol after it).
    """
    for i in range(count):
        what = i8_at(steps, 3 * i)
        k = i8_at(steps, 3 * i + 1)
        ns = i8_at(steps, 3 * i + 2)
        amount = f8_at(numbers, 4 * i)
        price = f8_at(numbers, 4 * i + 1)
        book = book_of(desk, k)
        account = account_of(desk)
        if what == 0:
            account.n_fills = 0
            fee = f8_at(numbers, 4 * i + 2)
            apply_fill(desk, ns, k, i, 0, amount, price, fee, f8_at(numbers, 4 * i + 3), False, price)
        else:
            apply_funding(desk, k, book.qty * price * amount)
        book.last = price
        value(desk)
        put_f8(out, 6 * i, account.cash)
        put_f8(out, 6 * i + 1, account.equity)
        put_f8(out, 6 * i + 2, book.qty)
        put_f8(out, 6 * i + 3, book.avg)
        put_f8(out, 6 * i + 4, book.margin)
        put_f8(out, 6 * i + 5, liquidation_price(desk, k))
