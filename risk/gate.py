"""The gate: every order, in every mode, passes here or does not exist.

It approves or refuses, with rule, limit and observed value, and never alters an order: sizing fits a wish to the caps
first. Two lists: what holds for every order, and what holds for new exposure only, so that an exit always gets out.
`send` is the only function of this code base that makes a working order; a test reads the sources to prove it.
"""

import numpy as np

from risk.ladder import latch, next_day
from risk.ledger import ULPS, is_flat
from risk.memory import Ref, account_of, book_of, f8_at, far, i8_at, limits_of, market_of, order_of, policy_of, put_i8
from risk.orders import ACKED, PENDING, SENT, count_working, move, note, remaining
from risk.records import (
    ACTIVE,
    APPROVED,
    C_RATE,
    C_REPEAT,
    ENTRY,
    EV_REFUSED,
    LIMIT,
    MARKET,
    NEVER,
    NO_NEW_RISK,
    POST_ONLY,
    R_ASSET_SHARE,
    R_BAR_AGE,
    R_COLLAR,
    R_DUPLICATE,
    R_FEES,
    R_FILTERS,
    R_FINITE,
    R_FLOOD,
    R_FUNDS,
    R_GROSS,
    R_LADDER,
    R_LEVERAGE,
    R_NET,
    R_NOVELTY,
    R_PLACES,
    R_POSITION,
    R_RATE,
    R_REDUCE,
    R_REPEAT,
    R_SIZE,
    R_TAG_SHARE,
    R_TURNOVER,
    STOP,
    TAKE,
)  # fmt: skip
from signals.jit import inner as kernel

MINUTE_NS = 60 * 10**9
HOUR_NS = 3600 * 10**9
NO_INTENT = -2  # of an amended order: the intent stands already
INTENTS = 64  # how many of the last intents are remembered against a second sending
SLICES = 64  # at most so many orders for one exit at a time; what is left follows on their fills
SLACK = 1e-9  # relative; what rounding may add to a sum of notionals


@kernel
def worst_price(desk: Ref, k: int, side: int) -> float:
    """The worst price a market order of symbol `k` may trade at: the collar around the last close."""
    return book_of(desk, k).last * (1.0 + side * limits_of(desk).price_collar)


@kernel
def off_grid(value: float, grid: float) -> float:
    """How far `value` lies from the grid, in grid steps, beyond what floating point can hold of it."""
    steps = value / grid
    return abs(steps - np.rint(steps)) - ULPS * steps


@kernel
def _intended(desk: Ref, intent: int) -> bool:
    """Whether an intent is among the last ones; all are looked at, without a branch, by the processor's vectors."""
    intents = desk.intents
    found = 0
    for j in range(INTENTS):
        found |= int(i8_at(intents, j) == intent)
    return found != 0


@kernel
def _every_order(
    desk: Ref, k: int, side: int, kind: int, purpose: int, qty: float, limit: float, stop: float, intent: int
) -> tuple[int, float, float]:
    """Controls that hold for every order: 1, 7, 2, 27, 14. Returns (rule, limit, observed)."""
    account = account_of(desk)
    book = book_of(desk, k)
    market = market_of(desk, k)
    if not (np.isfinite(qty) and qty > 0.0 and (side == 1 or side == -1)):
        return R_FINITE, 0.0, qty
    priced = kind == LIMIT or kind == POST_ONLY or kind == MARKET
    if priced and not (np.isfinite(limit) and limit > 0.0):
        return R_FINITE, 0.0, limit
    if (kind == STOP or kind == TAKE) and not (np.isfinite(stop) and stop > 0.0):
        return R_FINITE, 0.0, stop
    if _intended(desk, intent):
        return R_DUPLICATE, 0.0, 1.0
    if off_grid(qty, market.lot) > 1e-6:
        return R_FILTERS, market.lot, qty
    if (kind == LIMIT or kind == POST_ONLY) and off_grid(limit, market.tick) > 1e-4:
        return R_FILTERS, market.tick, limit
    price = stop if kind == STOP or kind == TAKE else limit
    if purpose == ENTRY and qty * price < market.min_notional:
        return R_FILTERS, market.min_notional, qty * price
    if purpose != ENTRY:
        free = abs(book.qty) - (0.0 if kind == STOP or kind == TAKE else book.work_exit)
        if book.qty * side >= 0.0 or qty > free + 1e-9 * market.lot:
            return R_REDUCE, max(free, 0.0), qty
        return APPROVED, 0.0, 0.0
    cost = qty * price * quote_cost(desk)
    if cost > (account.cash - account.reserved) * (1.0 + SLACK):
        return R_FUNDS, account.cash - account.reserved, cost
    return APPROVED, 0.0, 0.0


@kernel
def quote_cost(desk: Ref) -> float:
    """Quote an entry needs for each quote of notional: all of it or its margin, and the dearest fee when it is taken in
    quote.
    """
    policy = policy_of(desk)
    fee = max(policy.taker, policy.maker)
    if policy.perp != 0:
        return 1.0 / policy.leverage + fee
    return 1.0 if policy.fee_in_asset != 0 else 1.0 + fee


@kernel
def sent_within(desk: Ref, now: int, window_ns: int, count: int) -> bool:
    """True when the last `count` orders all fell into the window that ends now. Sliding, exact, one look."""
    if count <= 0:
        return True
    place = account_of(desk).rate_head - count
    while place < 0:
        place += desk.rate_places
    return now - i8_at(desk.rate, place) < window_ns


@kernel
def _rate(desk: Ref, now: int) -> tuple[int, float, float]:
    """Control 5 for entries: the reserved share of both windows is left to exits."""
    limits = limits_of(desk)
    share = 1.0 - limits.exit_reserve
    minute = int(limits.orders_per_minute * share)
    hour = int(limits.orders_per_hour * share)
    if sent_within(desk, now, MINUTE_NS, minute):
        return R_RATE, float(minute), float(minute + 1)
    if sent_within(desk, now, HOUR_NS, hour):
        return R_RATE, float(hour), float(hour + 1)
    return APPROVED, 0.0, 0.0


@kernel
def entry_places(desk: Ref) -> int:
    """How many orders may work when an entry is taken: the other places are left to exits and protection."""
    return int(desk.places - 2 * desk.symbols - SLICES)


@kernel
def exposure(desk: Ref, k: int, side: int) -> tuple[float, float, float, float]:
    """Worst-case notional with working entries filled: (of symbol `k`, gross, net towards `side`, of its tag)."""
    gross = 0.0
    net = 0.0
    tagged = 0.0
    tag = market_of(desk, k).tag
    for j in range(desk.symbols):
        other = book_of(desk, j)
        notional = other.qty * other.last
        total = abs(notional) + other.work_cost
        gross += total
        # What works on the other side may never fill. 0 added in place of a branch changes no sum.
        net += notional
        net += side * other.work_cost if other.work_entry * side > 0.0 else 0.0
        tagged += total if market_of(desk, j).tag == tag else 0.0
    own = book_of(desk, k)
    return abs(own.qty * own.last) + own.work_cost, gross, net, tagged


@kernel
def _caps(desk: Ref, k: int, side: int, added: float) -> tuple[int, float, float]:
    """Controls 8 and 9: position, every working order and `added` of notional, worst case, against the caps."""
    limits = limits_of(desk)
    equity = account_of(desk).equity
    position, gross, net, tagged = exposure(desk, k, side)
    if position + added > limits.position_notional * (1.0 + SLACK):
        return R_POSITION, limits.position_notional, position + added
    if gross + added > limits.gross_notional * (1.0 + SLACK):
        return R_GROSS, limits.gross_notional, gross + added
    if side * net + added > limits.net_notional * (1.0 + SLACK):
        return R_NET, limits.net_notional, side * net + added
    if not gross + added <= limits.gross_leverage * equity * (1.0 + SLACK):
        return R_LEVERAGE, limits.gross_leverage, (gross + added) / equity if equity > 0.0 else np.inf
    if not position + added <= limits.asset_share * equity * (1.0 + SLACK):
        return R_ASSET_SHARE, limits.asset_share, (position + added) / equity
    tag = market_of(desk, k).tag
    if tag >= 0 and not tagged + added <= f8_at(desk.tag_shares, tag) * equity * (1.0 + SLACK):
        return R_TAG_SHARE, f8_at(desk.tag_shares, tag), (tagged + added) / equity
    return APPROVED, 0.0, 0.0


@kernel
def _repeats(desk: Ref, k: int, side: int) -> int:
    """Address of the times of the last entries of symbol `k` on that side, the oldest first (control 6)."""
    return desk.repeats + (2 * k + (0 if side > 0 else 1)) * limits_of(desk).repeat_orders * 8


@kernel
def _new_exposure(
    desk: Ref, now: int, k: int, side: int, kind: int, qty: float, limit: float
) -> tuple[int, float, float]:
    """Controls for new exposure: ladder, 15, 3, 4, 23, 24, 5, 6, then the caps."""
    account = account_of(desk)
    limits = limits_of(desk)
    book = book_of(desk, k)
    if account.level != ACTIVE:
        return R_LADDER, float(ACTIVE), float(account.level)
    if account.n_orders >= entry_places(desk):
        return R_PLACES, float(entry_places(desk)), float(account.n_orders + 1)
    if book.qty * side < 0.0 and not is_flat(desk, k):
        return R_REDUCE, abs(book.qty), qty  # a turn is two orders: the exit first
    if not (book.last > 0.0 and np.isfinite(book.last)):
        return R_COLLAR, limits.price_collar, np.nan
    if now - book.last_ns > limits.bar_age_ns:
        return R_BAR_AGE, float(limits.bar_age_ns), float(now - book.last_ns)
    worth = qty * max(limit, book.last)  # a short may fill above its limit: what it is worth now is its worst
    away = abs(limit / book.last - 1.0)
    if away > limits.price_collar * (1.0 + 1e-6) + 1e-12:
        return R_COLLAR, limits.price_collar, away
    if worth > limits.order_notional * (1.0 + SLACK):
        return R_SIZE, limits.order_notional, worth
    if qty > market_of(desk, k).max_quantity * (1.0 + SLACK):
        return R_SIZE, market_of(desk, k).max_quantity, qty
    if now < book.novel_until:
        return R_FLOOD if book.novel_rule == R_FLOOD else R_NOVELTY, 0.0, float(book.novel_until - now)
    if account.turnover_day + worth > limits.turnover_per_day * (1.0 + SLACK):
        return R_TURNOVER, limits.turnover_per_day, account.turnover_day + worth
    fee = worth * policy_of(desk).taker
    if account.fees_day + fee > limits.fees_per_day * (1.0 + SLACK):
        return R_FEES, limits.fees_per_day, account.fees_day + fee
    rule, bound, seen = _rate(desk, now)
    if rule != APPROVED:
        return rule, bound, seen
    if now - i8_at(_repeats(desk, k, side), 0) < limits.repeat_window_ns:
        return R_REPEAT, float(limits.repeat_orders), float(limits.repeat_orders + 1)
    return _caps(desk, k, side, worth)


@kernel
def gate(
    desk: Ref, now: int, k: int, side: int, kind: int, purpose: int, qty: float, limit: float, stop: float, intent: int
) -> tuple[int, float, float]:
    """The verdict on one order: (APPROVED, 0, 0), or (rule, limit, observed). Reads the desk, changes nothing."""
    if account_of(desk).n_orders >= desk.places:
        return R_PLACES, float(desk.places), float(desk.places + 1)
    rule, bound, seen = _every_order(desk, k, side, kind, purpose, qty, limit, stop, intent)
    if rule != APPROVED or purpose != ENTRY:
        return rule, bound, seen
    return _new_exposure(desk, now, k, side, kind, qty, limit)


@kernel
def _note_sent(desk: Ref, now: int, k: int, side: int, purpose: int, intent: int) -> None:
    """Remember an order for the sliding windows and its intent against a second sending; refused ones count too."""
    account = account_of(desk)
    put_i8(desk.rate, account.rate_head, now)
    account.rate_head = account.rate_head + 1 if account.rate_head + 1 < desk.rate_places else 0
    put_i8(desk.intents, account.intent_head, intent)
    account.intent_head = (account.intent_head + 1) % INTENTS
    if purpose == ENTRY:
        times = _repeats(desk, k, side)
        last = limits_of(desk).repeat_orders - 1
        for place in range(last):  # some lines of memory moved by the processor's vectors, where a search would branch
            put_i8(times, place, i8_at(times, place + 1))
        put_i8(times, last, now)


@kernel
def _breach(desk: Ref, now: int, rule: int, bound: float, seen: float) -> None:
    """What a refusal does to the ladder: controls 5, 6 and 24."""
    account = account_of(desk)
    if rule == R_RATE:
        if now - account.rate_breach_ns >= HOUR_NS:  # breaches add up within an hour, not over a life
            account.rate_breaches = 0
            account.rate_breach_ns = now
        account.rate_breaches += 1
        if account.rate_breaches >= limits_of(desk).rate_breaches:
            account.rate_breaches = 0
            latch(desk, C_RATE, NO_NEW_RISK, now, now + HOUR_NS, rule, bound, seen)
    elif rule == R_REPEAT:
        until = NEVER if policy_of(desk).resume_ns == -1 else now + limits_of(desk).repeat_window_ns
        if policy_of(desk).resume_ns == -2:
            until = next_day(now)
        latch(desk, C_REPEAT, NO_NEW_RISK, now, until, rule, bound, seen)


@kernel
def intent_of(
    decision: int, now: int, k: int, side: int, purpose: int, kind: int, qty: float, held: float, slice_no: int
) -> int:
    """A number that stands for one intent: the same wish of the same decision over the same position (control 7)."""
    mixed = np.uint64(1469598103934665603)
    prime = np.uint64(1099511628211)
    for part in (decision, now, k, side + 2, purpose, kind, np.int64(qty * 1e8), np.int64(held * 1e8), slice_no):
        mixed = (mixed ^ np.uint64(part)) * prime
    return int(mixed >> np.uint64(1))


@far
def send(
    desk: Ref, now: int, k: int, side: int, kind: int, purpose: int, qty: float, limit: float, stop: float, chases: int,
    slice_no: int,
) -> bool:  # fmt: skip
    """Put one order through the gate and, if approved, to work. False when refused (and recorded)."""
    account = account_of(desk)
    policy = policy_of(desk)
    intent = intent_of(account.decision, now, k, side, purpose, kind, qty, book_of(desk, k).qty, slice_no)
    rule, bound, seen = gate(desk, now, k, side, kind, purpose, qty, limit, stop, intent)
    protective = kind == STOP or kind == TAKE
    if rule != APPROVED:
        note(desk, now, EV_REFUSED, rule, k, -1, bound, seen, side * qty, limit if limit > 0.0 else stop)
        _note_sent(desk, now, k, side, purpose, intent)
        _breach(desk, now, rule, bound, seen)
        return False
    if not protective:
        _note_sent(desk, now, k, side, purpose, intent)
    order = order_of(desk, account.n_orders)
    account.n_orders += 1
    order.id = account.next_id
    account.next_id += 1
    order.symbol = k
    order.side = side
    order.kind = kind
    order.purpose = purpose
    order.state = PENDING
    order.decided_ns = now
    order.active_ns = now if protective else now + policy.latency_ns
    order.expires_ns = now + policy.wait_ns if kind == POST_ONLY else NEVER
    order.done_ns = 0
    order.decision = account.decision
    order.chases = chases
    order.resting = 0
    order.asked_ns = 0
    order.qty = qty
    order.filled = 0.0
    order.limit = limit
    order.stop = stop
    order.ref = book_of(desk, k).last
    order.avg_price = 0.0
    order.reserved = 0.0
    if purpose == ENTRY:
        order.reserved = qty * limit * quote_cost(desk)
        account.reserved += order.reserved
    count_working(desk, order, 1.0)
    move(order, SENT)
    return True


@kernel
def acknowledge(order: Ref) -> None:
    """The venue has it."""
    if order.state == SENT:
        move(order, ACKED)


@kernel
def amend_bound(desk: Ref, now: int, place: int) -> None:
    """Bring an exit's worst price to the collar around the present close: law 7, an exit always gets out.

    The amended order passes the list for every order again; its own remainder is not counted against it.
    """
    order = order_of(desk, place)
    k = order.symbol
    limit = worst_price(desk, k, order.side)
    count_working(desk, order, -1.0)
    rule, bound, seen = _every_order(
        desk, k, order.side, order.kind, order.purpose, remaining(order), limit, 0.0, NO_INTENT
    )
    count_working(desk, order, 1.0)
    if rule == APPROVED:
        order.limit = limit
    else:
        note(desk, now, EV_REFUSED, rule, k, order.id, bound, seen, order.side * remaining(order), limit)


@kernel
def amend_stop(desk: Ref, now: int, place: int, stop: float, purpose: int) -> None:
    """Bring a working stop nearer; the amended order passes the list for every order again."""
    order = order_of(desk, place)
    k = order.symbol
    rule, bound, seen = _every_order(desk, k, order.side, order.kind, purpose, remaining(order), 0.0, stop, NO_INTENT)
    if rule == APPROVED:
        order.stop = stop
        order.purpose = purpose
    else:
        note(desk, now, EV_REFUSED, rule, k, order.id, bound, seen, order.side * remaining(order), stop)
