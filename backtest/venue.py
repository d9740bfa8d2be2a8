"""The simulated venue: matching of working orders against bars. Pure, no clock, no I/O; mildly pessimistic by default.

Nothing fills on the bar that caused it. A market order fills at the next open, worse by half the spread and an impact
that grows with the square root of its share of the bar's volume. A resting limit fills at its own price, and only when
the price trades through it. A gap through a stop fills at the open; where the gap passes a resting entry as well, that
fills first, at its own price. Where stop and target lie in one bar, the stop comes first; an entry that fills inside a
bar gets no target in that bar. A bar's volume caps what may fill of it.

The open of a bar stands for the price in its first `grace_ns`: an order that arrives later than that waits for the next
open.
"""

import numpy as np

from risk.execution import plan
from risk.fills import book_fill, settle_protection
from risk.gate import acknowledge, quote_cost
from risk.ladder import after_fill
from risk.ledger import apply_fill, liquidation_price, on_lots, roll_day
from risk.memory import Ref, account_of, book_of, f8_at, far, market_of, order_of, policy_of
from risk.orders import EXPIRED, cancel, close_order, note, remaining
from risk.records import (
    ENTRY,
    EV_EXPIRED,
    EV_LIQUIDATED,
    EV_REJECTED,
    LIMIT,
    LIQUIDATION,
    MARKET,
    POST_ONLY,
    R_COLLAR,
    R_FUNDS,
    STOP,
    TAKE,
)  # fmt: skip
from signals.jit import inner as kernel


@kernel
def slipped(desk: Ref, price: float, side: int, qty: float, volume: float) -> float:
    """Price a taker gets: half spread plus impact x sqrt(qty / bar volume) against it (square-root impact law)."""
    policy = policy_of(desk)
    share = qty / volume if volume > 0.0 else 1.0
    return price * (1.0 + side * (policy.spread + policy.impact * np.sqrt(share)))


@kernel
def _make_room(desk: Ref, k: int, volume: float) -> None:
    """Set how much of symbol `k` the bar of this volume lets fill, once a bar."""
    book = book_of(desk, k)
    opened = account_of(desk).open_ns
    if book.room_ns != opened:
        book.room_ns = opened
        book.room = policy_of(desk).participation * volume if volume > 0.0 else 0.0


@kernel
def _affordable(desk: Ref, place: int, price: float) -> float:
    """Quantity that settled cash pays for at `price`: spot buys never take cash below zero."""
    account = account_of(desk)
    order = order_of(desk, place)
    free = account.cash - (account.reserved - order.reserved)
    return free / (price * quote_cost(desk))


@kernel
def _fill(desk: Ref, ns: int, place: int, price: float, maker: bool, capped: bool) -> float:
    """Fill the working order at `place` at `price` as far as volume, position and cash allow; returns the quantity.

    The order leaves the table when it is done, so the caller walks from the end or starts anew.
    """
    policy = policy_of(desk)
    order = order_of(desk, place)
    k = order.symbol
    book = book_of(desk, k)
    lot = market_of(desk, k).lot
    acknowledge(order)
    qty = remaining(order)
    if capped:
        qty = min(qty, book.room)
    if order.purpose == ENTRY:
        qty = min(qty, _affordable(desk, place, price))
    else:
        qty = min(qty, abs(book.qty))
    if qty < remaining(order) or order.purpose == ENTRY:
        qty = on_lots(qty, lot)
    if not qty > 0.0:
        return 0.0
    rate = policy.maker if maker else policy.taker
    fee = qty * price * rate
    fee_base = qty * rate if policy.fee_in_asset != 0 and order.side > 0 and policy.perp == 0 else 0.0
    book_fill(desk, ns, place, qty, price, fee, fee_base, maker)
    return qty


@kernel
def _expire_unpaid(desk: Ref, ns: int, number: int, price: float) -> None:
    """What settled cash could not pay for, though the volume was there, is given up: the next decision plans anew."""
    account = account_of(desk)
    for place in range(account.n_orders):
        order = order_of(desk, place)
        if order.id == number:
            short = remaining(order)
            note(
                desk,
                ns,
                EV_EXPIRED,
                R_FUNDS,
                order.symbol,
                number,
                account.cash,
                short * price,
                order.side * short,
                price,
            )
            close_order(desk, place, EXPIRED, ns)
            break


@kernel
def _at_open(desk: Ref, ns: int, place: int, price: float, volume: float) -> bool:
    """Match one order against a bar's open. True when the table of orders may have changed."""
    account = account_of(desk)
    order = order_of(desk, place)
    k = order.symbol
    side = order.side
    number = account.n_fills
    _make_room(desk, k, volume)
    if order.kind == MARKET:
        if not book_of(desk, k).room > 0.0:
            return False  # nobody traded in this bar: the order waits
        paid = slipped(desk, price, side, min(remaining(order), book_of(desk, k).room), volume)
        if (paid - order.limit) * side > 0.0:
            if order.purpose != ENTRY:
                return False  # priced at the collar: repriced at the close, until it is out
            note(desk, ns, EV_EXPIRED, R_COLLAR, k, order.id, order.limit, paid, side * remaining(order), paid)
            close_order(desk, place, EXPIRED, ns)
            return True
        purpose = order.purpose
        number_sent = order.id
        _fill(desk, ns, place, paid, False, True)
        if purpose == ENTRY and book_of(desk, k).room > market_of(desk, k).lot:
            _expire_unpaid(desk, ns, number_sent, paid)
    elif (order.kind == LIMIT or order.kind == POST_ONLY) and order.resting != 0:
        if order.resting != 1 or not (order.limit - price) * side > 0.0:
            return False
        _fill(desk, ns, place, order.limit, True, True)  # what comes first of all that the gap passes
    elif order.kind == LIMIT or order.kind == POST_ONLY:
        order.resting = 1
        acknowledge(order)
        if (order.limit - price) * side < 0.0:
            return False
        if order.kind == POST_ONLY:
            note(desk, ns, EV_REJECTED, 0, k, order.id, order.limit, price, side * remaining(order), order.limit)
            order.expires_ns = ns  # tended at the close like a time-out: chased, or taken to market
            order.resting = -1
            return False
        paid = slipped(desk, price, side, remaining(order), volume)
        _fill(desk, ns, place, min(paid, order.limit) if side > 0 else max(paid, order.limit), False, True)
    elif order.kind == STOP and (price - order.stop) * side >= 0.0:
        _fill(desk, ns, place, slipped(desk, price, side, remaining(order), volume), False, True)
    elif order.kind == TAKE and (price - order.stop) * side < 0.0:
        _fill(desk, ns, place, order.stop, True, True)
    else:
        return False
    if account.n_fills != number:
        settle_protection(desk, ns, k)
    return True


@kernel
def _arrived(desk: Ref, place: int, open_ns: int) -> bool:
    order = order_of(desk, place)
    return order.decided_ns <= open_ns and order.active_ns <= open_ns + policy_of(desk).grace_ns


@kernel
def _liquidate(desk: Ref, ns: int, k: int, price: float) -> None:
    """The venue closes the position at `price`; loss and fee are limited to the position's own margin."""
    account = account_of(desk)
    policy = policy_of(desk)
    book = book_of(desk, k)
    cancel(desk, k, True, True, True, ns)
    side = 1.0 if book.qty > 0.0 else -1.0
    size = abs(book.qty)
    bankrupt = book.avg - side * book.margin / size
    price = max(price, bankrupt) if side > 0.0 else min(price, bankrupt)
    left = max(book.margin + side * size * (price - book.avg), 0.0)
    fee = min(policy.liquidation_fee * size * price, left)
    note(desk, ns, EV_LIQUIDATED, 0, k, -1, 0.0, price, -book.qty, price)
    apply_fill(desk, ns, k, -1, LIQUIDATION, -book.qty, price, fee, 0.0, False, book.last)
    book.blocked = side
    book.target = np.nan
    after_fill(desk, ns, k)
    account.dirty = 1


@kernel
def _check_liquidation(desk: Ref, ns: int, k: int, price: float, worst: float, stops: bool) -> None:
    """Liquidate symbol `k` when the bar reaches its liquidation price; with `stops` not before its stop had its
    turn.
    """
    book = book_of(desk, k)
    level = liquidation_price(desk, k)
    if level <= 0.0:
        return
    side = 1.0 if book.qty > 0.0 else -1.0
    if (worst - level) * side > 0.0:
        return
    for j in range(account_of(desk).n_orders if stops else 0):
        order = order_of(desk, j)
        if (
            order.symbol == k
            and order.kind == STOP
            and (order.stop - level) * side > 0.0
            and (price - level) * side > 0.0
        ):
            return
    _liquidate(desk, ns, k, min(price, level) if side > 0.0 else max(price, level))


@far
def on_open(desk: Ref, ns: int, price: int, volume: int) -> None:
    """The open of bars that begin at `ns`: price and volume are addresses of f8[M], NaN where a symbol has no bar.

    Sells that fill free cash, and what was planned on their fills goes out and fills at the same open, as it would
    live.
    """
    account = account_of(desk)
    account.now_ns = ns
    account.open_ns = ns
    roll_day(account, ns)
    if policy_of(desk).perp != 0:
        for k in range(desk.symbols):
            if book_of(desk, k).qty != 0.0 and not np.isnan(f8_at(price, k)):
                _check_liquidation(desk, ns, k, f8_at(price, k), f8_at(price, k), True)
    for _ in range(2):
        fills = account.n_fills
        last = account.next_id
        number = -1
        place = 0
        while place < account.n_orders:
            order = order_of(desk, place)
            # What a fill here has planned waits; a stop that it has called for may be behind the price already.
            if order.id <= number or (order.id >= last and order.kind != STOP):
                place += 1
                continue
            number = order.id
            k = order.symbol
            if np.isnan(f8_at(price, k)) or not _arrived(desk, place, ns):
                place += 1
            elif _at_open(desk, ns, place, f8_at(price, k), f8_at(volume, k)):
                place = 0
            else:
                place += 1
        if account.n_fills == fills or account.planning == 0:
            break
        plan(desk, ns)
    if account.planning != 0 and account.dirty != 0:
        plan(desk, ns)


@kernel
def _stops(desk: Ref, ns: int, k: int, high: float, low: float, volume: float) -> None:
    """Fill the stops of symbol `k` that the bar reaches."""
    _make_room(desk, k, volume)
    place = account_of(desk).n_orders - 1
    while place >= 0:
        order = order_of(desk, place)
        if order.symbol == k and order.kind == STOP:
            if (order.side < 0 and low <= order.stop) or (order.side > 0 and high >= order.stop):
                _fill(desk, ns, place, slipped(desk, order.stop, order.side, remaining(order), volume), False, True)
                settle_protection(desk, ns, k)
                break
        place -= 1


@kernel
def _reached(desk: Ref, side: int, price: float, high: float, low: float) -> bool:
    """True when the bar trades through (or, by option, touches) a resting order at `price`."""
    best = low if side > 0 else high
    if policy_of(desk).touch != 0:
        return (price - best) * side >= 0.0
    return (price - best) * side > 0.0


@kernel
def _limits(desk: Ref, ns: int, k: int, high: float, low: float, volume: float, targets: bool) -> None:
    """Fill resting limits of symbol `k`: its targets, or its entries and then the stop of what they opened."""
    _make_room(desk, k, volume)
    place = account_of(desk).n_orders - 1
    while place >= 0:
        order = order_of(desk, place)
        fits = (
            order.kind == TAKE if targets else (order.resting == 1 and (order.kind == LIMIT or order.kind == POST_ONLY))
        )
        price = order.stop if order.kind == TAKE else order.limit
        if order.symbol == k and fits and _reached(desk, order.side, price, high, low):
            if _fill(desk, ns, place, price, True, True) > 0.0:
                if not targets:
                    book_of(desk, k).inside = 1
                settle_protection(desk, ns, k)
                if not targets:
                    _stops(desk, ns, k, high, low, volume)
                break
        place -= 1


@far
def on_inside(desk: Ref, ns: int, price: int, high: int, low: int, volume: int) -> None:
    """The inside of bars that close at `ns`: addresses of f8[M] (price: the open). Liquidation and stops, targets, then
    entries.
    """
    account = account_of(desk)
    perp = policy_of(desk).perp != 0
    if account.n_orders == 0 and not perp:
        return
    for k in range(desk.symbols):
        if np.isnan(f8_at(price, k)):
            continue
        book = book_of(desk, k)
        if perp and book.qty != 0.0:
            _check_liquidation(desk, ns, k, f8_at(price, k), f8_at(low, k) if book.qty > 0.0 else f8_at(high, k), True)
        if account.n_orders == 0:
            continue
        if book.protected != 0:
            _stops(desk, ns, k, f8_at(high, k), f8_at(low, k), f8_at(volume, k))
            if perp and book.qty != 0.0:  # what the bar's volume left of the position after its stop
                worst = f8_at(low, k) if book.qty > 0.0 else f8_at(high, k)
                _check_liquidation(desk, ns, k, f8_at(price, k), worst, False)
        if book.protected != 0:
            _limits(desk, ns, k, f8_at(high, k), f8_at(low, k), f8_at(volume, k), True)
        if book.work_entry != 0.0:
            _limits(desk, ns, k, f8_at(high, k), f8_at(low, k), f8_at(volume, k), False)
