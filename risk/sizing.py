"""From target weights to quantities that fit: blocked symbols, caps pro rata, rebalance band, lot grid, settled cash.

A weight is a share of equity, or of a fixed stake (quote), or of a fixed quantity, as the run's policy says. Trimming
happens here, before the gate, so that a refusal is rare and worth an alarm (law 7).
"""

import numpy as np

from risk.gate import entry_places, exposure, quote_cost
from risk.ledger import is_dust, is_flat, on_lots
from risk.memory import Ref, account_of, book_of, f8_at, limits_of, market_of, policy_of, u1_at
from risk.records import BY_EQUITY, BY_NOTIONAL, ENTRY, KEPT, STALE_EXIT
from signals.jit import hot
from signals.jit import inner as kernel


@hot
def unit_at(desk: Ref, price: float, equity: float) -> float:
    """Quote that a weight of 1 stands for in a symbol at `price`."""
    policy = policy_of(desk)
    if policy.sizing == BY_EQUITY:
        return equity
    if policy.sizing == BY_NOTIONAL:
        return policy.stake
    return policy.stake * price


@kernel
def unit(desk: Ref, k: int) -> float:
    """Quote that a weight of 1 stands for in symbol `k` at its last mark."""
    return unit_at(desk, book_of(desk, k).last, account_of(desk).equity)


@hot
def weight_at(desk: Ref, k: int, price: float, equity: float) -> float:
    """Weight held in symbol `k` at `price`, signed; dust counts as nothing."""
    qty = book_of(desk, k).qty
    if qty == 0.0 or is_dust(desk, k, price):
        return 0.0
    base = unit_at(desk, price, equity)
    return qty * price / base if base > 0.0 else 0.0


@kernel
def held_weight(desk: Ref, k: int) -> float:
    """Weight held in symbol `k` at its last mark."""
    return weight_at(desk, k, book_of(desk, k).last, account_of(desk).equity)


@hot
def suits(desk: Ref, k: int, weight: float, price: float, equity: float) -> bool:
    """True when the holding of symbol `k` (not 0) is what `weight` asks for, as near as the band; NaN asks for
    nothing.
    """
    base = unit_at(desk, price, equity)
    near = abs(weight * base - book_of(desk, k).qty * price) < policy_of(desk).band * base
    return bool(((weight == 0.0) & is_dust(desk, k, price)) | ((weight != 0.0) & near) | (weight != weight))


@kernel
def fit(desk: Ref, k: int, side: int, qty: float, price: float) -> float:
    """The largest quantity up to `qty` that every cap of the gate allows at worst price `price`, on the lot
    grid; or 0, also while so many orders work that an entry has no place.
    """
    account = account_of(desk)
    if account.n_orders >= entry_places(desk):
        return 0.0
    limits = limits_of(desk)
    market = market_of(desk, k)
    policy = policy_of(desk)
    position, gross, net, tagged = exposure(desk, k, side)
    room = min(limits.order_notional, limits.position_notional - position, limits.gross_notional - gross)
    room = min(room, limits.net_notional - side * net, limits.gross_leverage * account.equity - gross)
    room = min(room, limits.asset_share * account.equity - position, limits.turnover_per_day - account.turnover_day)
    if market.tag >= 0:
        room = min(room, f8_at(desk.tag_shares, market.tag) * account.equity - tagged)
    if policy.taker > 0.0:
        room = min(room, (limits.fees_per_day - account.fees_day) / policy.taker)
    room = min(room, (account.cash - account.reserved) / quote_cost(desk))
    if not room > 0.0:
        return 0.0
    fitted = on_lots(min(qty, room / max(price, book_of(desk, k).last), market.max_quantity), market.lot)
    if fitted * price < market.min_notional:
        return 0.0
    return fitted


@kernel
def _wish(desk: Ref, k: int, weight: float) -> float:
    """The weight that may be aimed for: no short where none is declared, no re-entry while a protective exit blocks, no
    more than is held where somebody sold by hand.
    """
    book = book_of(desk, k)
    if weight < 0.0 and policy_of(desk).short == 0:
        account_of(desk).clipped += 1
        weight = 0.0
    if book.blocked != 0.0:
        if weight == 0.0 or weight * book.blocked < 0.0:
            book.blocked = 0.0
        elif abs(book.blocked) == KEPT:
            side = 1.0 if weight > 0.0 else -1.0
            return side * min(abs(weight), max(side * held_weight(desk, k), 0.0))
        else:
            return 0.0
    return weight


@kernel
def _stale(desk: Ref, now: int, k: int) -> bool:
    """True when the strategy declared to leave after so long of not knowing, and that time is over (law 11)."""
    policy = policy_of(desk)
    book = book_of(desk, k)
    if book.unsure_ns == 0:
        book.unsure_ns = now
    return policy.stale_exit_ns > 0 and now - book.unsure_ns >= policy.stale_exit_ns and not is_flat(desk, k)


@hot
def quiet(desk: Ref, weights: int, states: int) -> bool:
    """True when this decision asks for nothing: every symbol holds what it should. The common case, so it
    stands first.
    """
    if account_of(desk).n_orders > 0:
        return False
    policy = policy_of(desk)
    for k in range(desk.symbols):
        book = book_of(desk, k)
        if u1_at(states, k) != 0:
            if policy.stale_exit_ns > 0:
                return False
            continue
        if book.unsure_ns != 0 or book.blocked != 0.0:
            return False
        weight = f8_at(weights, k)
        if book.qty == 0.0:
            if weight != 0.0 and not np.isnan(weight):
                return False
        elif not suits(desk, k, weight, book.last, account_of(desk).equity):
            return False
    return True


@kernel
def targets(desk: Ref, now: int, weights: int, states: int) -> None:
    """Write each symbol's wanted quantity to `book.target` (NaN: leave it be).

    weights: address of f8[M]; states: address of u1[M], nonzero where a signal isn't known, so that the symbol is held.
    """
    account = account_of(desk)
    limits = limits_of(desk)
    policy = policy_of(desk)
    asked = 0.0
    kept = 0.0
    cap = limits.asset_share * account.equity
    for k in range(desk.symbols):
        book = book_of(desk, k)
        weight = f8_at(weights, k)
        book.purpose = ENTRY
        book.target = np.nan
        if u1_at(states, k) != 0:
            kept += abs(book.qty) * book.last
            if _stale(desk, now, k):
                book.target = 0.0
                book.purpose = STALE_EXIT
            continue
        if np.isnan(weight):
            kept += abs(book.qty) * book.last  # allocate said HOLD
            continue
        book.unsure_ns = 0
        wish = weight if weight >= 0.0 and book.blocked == 0.0 else _wish(desk, k, weight)
        notional = min(max(wish * unit(desk, k), -cap), cap)
        book.target = notional
        asked += abs(notional)
    room = max(limits.gross_leverage * account.equity - kept, 0.0)
    scale = room / asked if asked > room else 1.0
    for k in range(desk.symbols):
        book = book_of(desk, k)
        if u1_at(states, k) != 0 or np.isnan(book.target):
            continue
        notional = book.target * scale
        base = unit(desk, k)
        # No branches but the last, for which symbols are held and which aren't is nothing a processor could guess.
        flat = is_flat(desk, k)
        notional = 0.0 if flat & (abs(notional) < policy.min_weight * base) else notional
        idle = flat & (notional == 0.0) & (book.work_entry == 0.0)  # there is nothing to do
        near = abs(notional - book.qty * book.last) < policy.band * base
        if idle | ((not flat) & (notional * book.qty > 0.0) & near):
            book.target = np.nan
        else:
            book.target = notional / book.last
