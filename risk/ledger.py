"""Assets, positions, fees and net asset value of one wallet, moved by fills and funding and by nothing else.

Spot: `cash` is settled quote; a buy's fee may be taken in the coin bought, so less is held than was ordered.
Linear isolated perpetuals: `cash` is the free wallet, each position has its own `margin`; a reduction releases margin
pro rata and settles its profit. Equity is cash + margins + unrealised profit at the last mark.
"""

import numpy as np

from risk.memory import Ref, account_of, book_of, fill_of, market_of, policy_of
from signals.jit import hot
from signals.jit import inner as kernel

DAY_NS = 86_400 * 10**9
ULPS = 1e-14  # relative; some tens of roundings of a double
DUST = 1e-9  # of a lot: below this a remainder is rounding, not a holding


@kernel
def on_lots(qty: float, lot: float) -> float:
    """`qty` >= 0 down to the lot grid. A quantity short of a step by rounding alone, also after many sums, is on it."""
    steps = qty / lot
    return np.floor(steps + ULPS * steps + 1e-9) * lot


@kernel
def usable(qty: float, lot: float) -> float:
    """The part of a holding that can be sold, in base units: |qty| down to the lot grid."""
    return on_lots(abs(qty), lot)


@hot
def is_dust(desk: Ref, k: int, price: float) -> bool:
    """True when a venue would not take what symbol `k` holds: under a lot, or (spot) under the least notional at
    `price`.
    """
    size = abs(book_of(desk, k).qty)
    market = market_of(desk, k)
    spot = policy_of(desk).perp == 0
    return bool((size < market.lot * (1.0 - 1e-9)) | (spot & (size * price < market.min_notional)))


@kernel
def is_flat(desk: Ref, k: int) -> bool:
    """True when symbol `k` holds nothing, or dust."""
    return bool((book_of(desk, k).qty == 0.0) | is_dust(desk, k, book_of(desk, k).last))


@hot
def roll_day(account: Ref, ns: int) -> None:
    """Begin the UTC day of `ns`: the last mark before midnight becomes the day's mark, whenever the first event
    comes.
    """
    if ns >= account.day_end_ns:
        account.day_end_ns = (ns // DAY_NS + 1) * DAY_NS
        account.day_mark = account.equity
        account.turnover_day = 0.0
        account.fees_day = 0.0


@hot
def value(desk: Ref) -> None:
    """Write equity, gross and net notional at the last marks to the account. O(symbols)."""
    account = account_of(desk)
    perp = policy_of(desk).perp != 0
    equity = account.cash
    gross = 0.0
    net = 0.0
    for k in range(desk.symbols):
        book = book_of(desk, k)
        notional = book.qty * book.last  # 0 where nothing is held: adding it is quicker than asking
        net += notional
        gross += abs(notional)
        if perp:
            equity += book.margin + book.qty * (book.last - book.avg)
        else:
            equity += notional
    account.equity = equity
    account.gross = gross
    account.net = net


@kernel
def _increase(desk: Ref, k: int, qty: float, price: float, fee_base: float) -> None:
    """Book the opening part of a fill: `qty` signed, same side as the position (or flat)."""
    account = account_of(desk)
    policy = policy_of(desk)
    book = book_of(desk, k)
    got = qty - fee_base
    before = abs(book.qty)
    book.avg = (book.avg * before + price * abs(got)) / (before + abs(got))
    book.qty += got
    if policy.perp != 0:
        margin = abs(qty) * price / policy.leverage
        book.margin += margin
        account.cash -= margin
    else:
        account.cash -= qty * price


@kernel
def _reduce(desk: Ref, k: int, qty: float, price: float) -> float:
    """Book the closing part of a fill and return its gross profit in quote. |qty| <= |position|."""
    account = account_of(desk)
    book = book_of(desk, k)
    side = 1.0 if book.qty > 0.0 else -1.0
    closed = abs(qty)
    profit = closed * (price - book.avg) * side
    if policy_of(desk).perp != 0:
        released = book.margin * min(closed / abs(book.qty), 1.0)
        book.margin -= released
        account.cash += released + profit
    else:
        account.cash -= qty * price
    book.qty += qty
    if abs(book.qty) < DUST * market_of(desk, k).lot + ULPS * abs(qty):
        book.qty = 0.0
        account.cash += book.margin
        book.margin = 0.0
    return profit


@kernel
def apply_fill(
    desk: Ref, ns: int, k: int, order: int, purpose: int, qty: float, price: float, fee: float, fee_base: float,
    maker: bool, ref: float,
) -> None:  # fmt: skip
    """Book one fill of symbol `k` and log it.

    qty is signed, in base units, and never crosses zero (a turn is two orders). fee is the whole fee in quote; fee_base
    the part of it taken in the coin bought (then nothing is taken from cash). ref is the price at the decision.
    """
    account = account_of(desk)
    book = book_of(desk, k)
    roll_day(account, ns - 1)  # what fills inside a bar that ends at midnight belongs to the day it ends
    realised = 0.0
    if book.qty * qty >= 0.0:
        if is_flat(desk, k):
            book.entry_ns = ns
            book.extreme = price
            book.trade_pnl = 0.0
        _increase(desk, k, qty, price, fee_base)
    else:
        realised = _reduce(desk, k, qty, price)
    if fee_base == 0.0:
        account.cash -= fee
    slipped = qty * (price - ref)
    account.fees += fee
    account.slippage += slipped
    account.turnover_day += abs(qty) * price
    account.fees_day += fee
    book.trade_pnl += realised - fee
    account.realised += realised - fee
    account.dirty = 1
    fill = fill_of(desk, account.n_fills)
    fill.ns = ns
    fill.row = account.row
    fill.order = order
    fill.symbol = k
    fill.purpose = purpose
    fill.maker = 1 if maker else 0
    fill.qty = qty
    fill.price = price
    fill.fee = fee
    fill.fee_base = fee_base
    fill.slippage = slipped
    fill.held = book.qty
    fill.realised = realised - fee
    account.n_fills += 1


@kernel
def apply_funding(desk: Ref, k: int, paid: float) -> None:
    """Pay (`paid` > 0) or receive funding of symbol `k`, in quote.

    What the free wallet can't pay is taken from the position's margin, which moves its liquidation price. Where nothing
    is held any more (a venue told of it later) all of it is the wallet's, and no trade's.
    """
    account = account_of(desk)
    book = book_of(desk, k)
    from_cash = paid
    if paid > 0.0 and book.margin > 0.0:
        from_cash = min(paid, max(account.cash - account.reserved, 0.0))
    account.cash -= from_cash
    book.margin -= paid - from_cash
    if not is_flat(desk, k):
        book.trade_pnl -= paid
    account.funding += paid
    account.dirty = 1


@kernel
def liquidation_price(desk: Ref, k: int) -> float:
    """Mark at which margin + unrealised profit = maintenance rate x notional (linear, isolated); 0 when there is none.

    Long: (qty x avg - margin) / (qty x (1 - m)); short: (|qty| x avg + margin) / (|qty| x (1 + m)).
    """
    book = book_of(desk, k)
    size = abs(book.qty)
    if size == 0.0:
        return 0.0
    rate = market_of(desk, k).maintenance
    if book.qty > 0.0:
        return max((size * book.avg - book.margin) / (size * (1.0 - rate)), 0.0)
    return (size * book.avg + book.margin) / (size * (1.0 + rate))


@kernel
def deposit(desk: Ref, amount: float) -> None:
    """Move `amount` of quote in (below 0: out) of the allocation: units change, the NAV per unit doesn't
    (control 12).
    """
    account = account_of(desk)
    nav = account.equity / account.units
    account.cash += amount
    account.equity += amount
    account.day_mark += amount
    account.units += amount / nav
