"""The risk ladder ACTIVE ... HALTED. Software only tightens; the level is the maximum over one latch per cause.

A latch ends by its timer, or, where controls.md says so, by a person: `until_ns` is then NEVER. In a backtest nobody is
there, so the run states a policy (`resume_ns`) that stands for that person, and the report prints the idle time.
"""

from risk.ledger import DAY_NS, is_flat, roll_day, value
from risk.memory import Ref, account_of, book_of, event_of, far, fill_of, latch_of, limits_of, policy_of
from risk.orders import cancel, note
from risk.records import (
    ACTIVE,
    C_DAY,
    C_DRAWDOWN,
    C_STREAK,
    C_TURNOVER,
    CAUSES,
    ENTRY,
    EV_LADDER,
    FLATTEN,
    FLATTEN_EXIT,
    HALTED,
    NEVER,
    NO_NEW_RISK,
    R_DAY_LOSS,
    R_DAY_LOSS_FLATTEN,
    R_DRAWDOWN,
    R_FEES,
    R_STREAK,
    R_TURNOVER,
    REDUCE_ONLY,
)  # fmt: skip
from signals.jit import hot
from signals.jit import inner as kernel


@kernel
def person_until(desk: Ref, now: int) -> int:
    """When a latch that only a person clears will be cleared under the run's stated policy."""
    policy = policy_of(desk)
    if policy.resume_ns == -1:
        return NEVER
    if policy.resume_ns == -2:
        return (now // DAY_NS + 1) * DAY_NS
    return now + policy.resume_ns


@kernel
def next_day(now: int) -> int:
    """The UTC midnight after `now`."""
    return (now // DAY_NS + 1) * DAY_NS


@kernel
def _settle_level(desk: Ref, now: int, rule: int, limit: float, observed: float) -> None:
    """Recompute the level after a latch moved; record the move and act on it."""
    account = account_of(desk)
    level = ACTIVE
    selling = False
    for cause in range(CAUSES):
        level = max(level, latch_of(desk, cause).level)
        selling |= latch_of(desk, cause).level == FLATTEN
    was = account.level
    if level == was:
        return
    account.level = level
    note(desk, now, EV_LADDER, rule, -1, -1, limit, observed, 0.0, 0.0)
    event_of(desk, account.n_events - 1).was = was
    if level > was and was == ACTIVE:
        cancel(desk, -1, True, False, False, now)
    if level >= FLATTEN and selling and level > was:
        cancel(desk, -1, True, False, False, now)
        for k in range(desk.symbols):
            book_of(desk, k).target = 0.0
            book_of(desk, k).purpose = FLATTEN_EXIT
        account.planning = 1


@far
def latch(desk: Ref, cause: int, level: int, now: int, until: int, rule: int, limit: float, observed: float) -> None:
    """Tighten: set the latch of `cause` to at least `level`. Never loosens one."""
    entry = latch_of(desk, cause)
    if entry.level >= level:
        entry.until_ns = max(entry.until_ns, until)
        return
    entry.level = level
    entry.since_ns = now
    entry.until_ns = until
    entry.rule = rule
    entry.limit = limit
    entry.observed = observed
    _settle_level(desk, now, rule, limit, observed)


@kernel
def clear(desk: Ref, cause: int, now: int) -> None:
    """Loosen one latch: its timer ran out, or a person (or the run's policy for one) resumed.

    The mark that a loss is measured from starts anew here, or the same loss would latch again at the next bar.
    """
    account = account_of(desk)
    entry = latch_of(desk, cause)
    if entry.level == ACTIVE:
        return
    rule = entry.rule
    entry.level = ACTIVE
    entry.until_ns = 0
    if cause == C_DRAWDOWN:
        account.high = account.equity / account.units
    if cause == C_DAY:
        account.day_mark = account.equity
    if cause == C_STREAK:
        account.losses = 0
    _settle_level(desk, now, rule, entry.limit, entry.observed)


@kernel
def expire(desk: Ref, now: int) -> None:
    """Clear every latch whose time has come."""
    if account_of(desk).level == ACTIVE:
        return
    for cause in range(CAUSES):
        entry = latch_of(desk, cause)
        if entry.level != ACTIVE and entry.until_ns <= now:
            if cause == C_DRAWDOWN and entry.level == FLATTEN:
                continue  # still selling: it ends in HALTED first
            clear(desk, cause, now)


@kernel
def all_flat(desk: Ref) -> bool:
    """True when no symbol holds a position and no order works."""
    if account_of(desk).n_orders > 0:
        return False
    for k in range(desk.symbols):
        if not is_flat(desk, k):
            return False
    return True


@kernel
def judge(desk: Ref, now: int) -> None:
    """Controls 11 and 12 at the account's present equity (value() first); to be called at each risk bar and fill."""
    account = account_of(desk)
    limits = limits_of(desk)
    if account.equity > account.high * account.units:
        account.high = account.equity / account.units
    # A latch that stands is left alone: the same loss, seen again, must not put off its end.
    floor = account.high * account.units * (1.0 - limits.drawdown)
    if latch_of(desk, C_DRAWDOWN).level == ACTIVE and account.equity <= floor:
        fallen = 1.0 - account.equity / account.units / account.high
        latch(desk, C_DRAWDOWN, FLATTEN, now, person_until(desk, now), R_DRAWDOWN, limits.drawdown, fallen)
    if account.equity > account.day_mark * (1.0 - limits.daily_loss):
        pass
    elif account.equity <= account.day_mark * (1.0 - limits.daily_loss_flatten):
        lost = 1.0 - account.equity / account.day_mark
        if latch_of(desk, C_DAY).level < FLATTEN:
            until = person_until(desk, now)
            latch(desk, C_DAY, FLATTEN, now, until, R_DAY_LOSS_FLATTEN, limits.daily_loss_flatten, lost)
    elif latch_of(desk, C_DAY).level < REDUCE_ONLY:
        lost = 1.0 - account.equity / account.day_mark
        latch(desk, C_DAY, REDUCE_ONLY, now, person_until(desk, now), R_DAY_LOSS, limits.daily_loss, lost)
    drawdown = latch_of(desk, C_DRAWDOWN)
    if account.level >= FLATTEN and drawdown.level == FLATTEN and all_flat(desk):
        latch(desk, C_DRAWDOWN, HALTED, now, drawdown.until_ns, R_DRAWDOWN, drawdown.limit, drawdown.observed)


@hot
def mark(desk: Ref, now: int) -> None:
    """Value the account at `now`, roll the day, move the ladder. A mark at midnight belongs to the day it ends."""
    account = account_of(desk)
    roll_day(account, now - 1)
    value(desk)
    account.dirty = 0
    judge(desk, now)


@far
def after_fill(desk: Ref, now: int, k: int) -> None:
    """What a fill moves besides the ledger: loss streak (control 13), turnover and fees of the day (24), the ladder."""
    account = account_of(desk)
    limits = limits_of(desk)
    book = book_of(desk, k)
    if is_flat(desk, k) and book.trade_pnl != 0.0 and fill_of(desk, account.n_fills - 1).purpose != ENTRY:
        account.losses = account.losses + 1 if book.trade_pnl < 0.0 else 0
        book.trade_pnl = 0.0
        if account.losses >= limits.loss_streak:
            until = now + limits.loss_streak_pause_ns
            latch(desk, C_STREAK, NO_NEW_RISK, now, until, R_STREAK, limits.loss_streak, account.losses)
    if account.turnover_day > limits.turnover_per_day:
        latch(
            desk, C_TURNOVER, NO_NEW_RISK, now, next_day(now), R_TURNOVER, limits.turnover_per_day, account.turnover_day
        )
    if account.fees_day > limits.fees_per_day:
        latch(desk, C_TURNOVER, NO_NEW_RISK, now, next_day(now), R_FEES, limits.fees_per_day, account.fees_day)
    value(desk)
    judge(desk, now)
