"""What a row is asked before it is passed over: does every symbol hold what is wanted? Of many rows or symbols at once
by the processor's vectors, and exactly where the answer may be no.
"""

from backtest.tape import PLAIN
from risk.memory import Ref, account_of, book_of, f8_at, limits_of, policy_of, put_f8, u1_at
from risk.records import BY_EQUITY, BY_QUANTITY
from risk.sizing import suits
from signals.jit import hot, kernel
from signals.raw import fetch

LINE = 8  # numbers that come from memory together
GROUP = 16  # rows that are looked at in one go


@hot
def off(weight: float, price: float, qty: float, fixed: float, by_price: bool, band: float) -> bool:
    """False when a symbol holds what `weight` asks for; of dust True may be wrong. No branches, for the processor's
    vectors. fixed, by_price: what a weight of 1 is worth, or how many coins.
    """
    base = fixed * price if by_price else fixed
    apart = (abs(weight) > 0.0) & ((qty == 0.0) | (not (abs(weight * base - qty * price) < band * base)))
    return apart | ((weight == 0.0) & (qty != 0.0))


@kernel
def content(desk: Ref, weights: int, closes: int, equity: float, begin: int) -> bool:
    """What `risk.sizing.quiet` asks, at the closes of a row: does every symbol from `begin` on hold what this decision
    wants?
    """
    for k in range(begin, desk.symbols):
        weight = f8_at(weights, k)
        none = book_of(desk, k).qty == 0.0
        wanted = (weight != 0.0) & (weight == weight)
        if (none & wanted) | ((not none) & (not suits(desk, k, weight, f8_at(closes, k), equity))):
            return False
    return True


@hot
def scan_one(desk: Ref, tape: Ref, rows: int, most: int, high: float, cash: float) -> tuple[int, bool]:
    """(how many of the `most` rows after `rows` more `look_ahead` and `contented` would both pass; whether the decision
    after them is the reason that it isn't more). The equity at their closes is written. One symbol, weights known.
    """
    account, limits, policy = account_of(desk), limits_of(desk), policy_of(desk)
    by_equity, by_price = policy.sizing == BY_EQUITY, policy.sizing == BY_QUANTITY
    stake, band, qty = policy.stake, policy.band, f8_at(tape.amounts, 0)
    top = high * account.units
    floor = max(top * (1.0 - limits.drawdown), account.day_mark * (1.0 - limits.daily_loss))
    closes, plain = tape.close + (tape.row + rows) * 8, tape.plain + tape.row + rows
    equity_at, weights = tape.equity + (tape.out + rows) * 8, tape.weights + (tape.decision + rows) * 8
    close_ns = tape.close_ns + (tape.row + rows) * 8
    done = 0
    while done < most:
        first = 0
        if done + GROUP <= most:  # a whole group: without a branch, by the processor's vectors
            first = GROUP
            for r in range(GROUP):
                price = f8_at(closes, done + r)
                equity = cash + qty * price
                put_f8(equity_at, done + r, equity)
                fixed = equity if by_equity else stake
                apart = off(f8_at(weights, done + r), price, qty, fixed, by_price, band)
                told = (u1_at(plain, done + r) != PLAIN) | (equity > top) | (equity <= floor) | apart
                first = min(first, r if told else GROUP)
            for line in range(0, GROUP, LINE):
                fetch(close_ns + (done + line) * 8)
        done += first
        if first == GROUP:
            continue
        price = f8_at(closes, done)
        equity = cash + qty * price
        put_f8(equity_at, done, equity)
        if (u1_at(plain, done) != PLAIN) | (equity > top) | (equity <= floor):
            return done, False
        fixed = equity if by_equity else stake
        apart = off(f8_at(weights, done), price, qty, fixed, by_price, band)
        if apart and not content(desk, weights + done * 8, closes + done * 8, equity, 0):
            return done, True
        done += 1
    return done, False
