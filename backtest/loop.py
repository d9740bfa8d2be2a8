"""The compiled loop: every event of a run, ordered by time, through the kernels that the live engine calls one by one.

Order within one bar row: decisions since the last one closed, where bars are missing, funding due at its open, the
open, decisions inside it, funding inside it, its inside, its close, the decision at its close. `ask` is the only thing
that differs between the forms of a strategy: here a call through a pointer; `backtest.compile` builds the same loop
with the strategy's own function in its place.
"""

import numpy as np

from backtest.compile import ask, call_for
from backtest.skim import calm, skim
from backtest.tape import ASKED_BEFORE, PLAIN, write_turn
from backtest.venue import on_inside, on_open
from risk.desk import logs_are_full, on_close
from risk.execution import decide
from risk.hear import pay_funding
from risk.memory import Ref, account_of, f8_at, i8_at, policy_of, put_f8, u1_at
from risk.records import FLATTEN
from risk.sizing import held_weight
from signals.jit import hot, kernel

FINISHED, LOGS_FULL = 0, 1


@kernel
def _fund(desk: Ref, tape: Ref, until: int) -> bool:
    """Pay the fundings due up to and at `until`, at the last mark of each symbol. False when the logs have to grow
    first: a bar, or a gap between bars, may be longer than any number of them, and it goes on from there.
    """
    while tape.funding < tape.f and i8_at(tape.funding_ns, tape.funding) <= until:
        if logs_are_full(desk):
            return False
        k = i8_at(tape.funding_symbol, tape.funding)
        ns = i8_at(tape.funding_ns, tape.funding)
        rate = f8_at(tape.funding_rate, tape.funding)
        pay_funding(desk, ns, k, rate)
        tape.funding += 1
    return True


@hot
def record_close(desk: Ref, tape: Ref) -> None:
    """Write down the account at a decision bar's close."""
    account = account_of(desk)
    b = tape.out
    put_f8(tape.equity, b, account.equity)
    if tape.full != 0:
        write_turn(account, tape)
    tape.out = b + 1


@hot
def prepare(desk: Ref, tape: Ref) -> None:
    """Write the weight held now into the last place of each symbol's values of the decision that comes."""
    if tape.blind != 0:
        return
    base = tape.decision * tape.symbols * tape.width + tape.width - 1
    for k in range(desk.symbols):
        put_f8(tape.rows, base + k * tape.width, held_weight(desk, k))


@kernel
def before_decision(desk: Ref, tape: Ref) -> bool:
    """Make the values of decision tape.decision ready to be asked about; False when nobody is asked any more."""
    for k in range(tape.symbols):
        put_f8(tape.weights, tape.decision * tape.symbols + k, np.nan)
    if account_of(desk).level >= FLATTEN:
        tape.decision += 1
        return False
    prepare(desk, tape)
    return True


@kernel
def act_on(desk: Ref, tape: Ref, status: int) -> None:
    """Act on the weights written for decision tape.decision, and go on to the next."""
    j = tape.decision
    symbols = tape.symbols
    tape.decision = j + 1
    decide(desk, i8_at(tape.decide_ns, j), tape.weights + j * symbols * 8, tape.states + j * symbols, status)


@kernel
def decide_now(desk: Ref, tape: Ref) -> None:
    if before_decision(desk, tape):
        act_on(desk, tape, ask(tape, tape.decision))


@kernel
def open_row(desk: Ref, tape: Ref) -> bool:
    """The first half of a row: funding at its open, and its open. False when the logs have to grow first: to be called
    again then.
    """
    i = tape.row
    begins = i8_at(tape.open_ns, i)
    account = account_of(desk)
    account.row = tape.out
    perp = policy_of(desk).perp != 0
    if perp and not _fund(desk, tape, begins):
        return False
    if policy_of(desk).outside == 0 and (account.n_orders > 0 or perp):
        skip = i * tape.symbols * 8
        on_open(desk, begins, tape.open + skip, tape.volume + skip)
    tape.half = 1
    return True


@kernel
def close_row(desk: Ref, tape: Ref) -> bool:
    """The second half of a row: funding inside it, its inside, its close. False as `open_row`."""
    i = tape.row
    ends = i8_at(tape.close_ns, i)
    skip = i * tape.symbols * 8
    perp = policy_of(desk).perp != 0
    high, low, close = tape.high + skip, tape.low + skip, tape.close + skip
    if perp and not _fund(desk, tape, ends - 1):
        return False
    if policy_of(desk).outside == 0 and (account_of(desk).n_orders > 0 or perp):
        on_inside(desk, ends, tape.open + skip, high, low, tape.volume + skip)
    decides = u1_at(tape.decides, i) != 0
    strange = tape.strange + tape.out * tape.symbols if decides else 0
    on_close(desk, ends, high, low, close, strange, u1_at(tape.risk_bar, i) != 0)
    if decides:
        record_close(desk, tape)
    tape.row = i + 1
    tape.half = 0
    return True


@kernel
def loop(desk: Ref, tape: Ref, stop: int) -> int:
    """Run rows from tape.row up to `stop`; LOGS_FULL asks to be called again with larger logs. All state is in the
    records.
    """
    while tape.row < stop:
        if logs_are_full(desk):
            return LOGS_FULL
        if tape.row == tape.ready:
            call_for(tape.refill, tape)
        # A row whose open is behind us and left no order at work may be plain from there on.
        kind = u1_at(tape.plain, tape.row)
        if kind == PLAIN and calm(desk) and skim(desk, tape, stop):
            continue
        waits = kind == ASKED_BEFORE and tape.half == 0 and tape.late == 0
        if tape.half == 0 and tape.late == 0 and not waits:
            if not open_row(desk, tape):
                return LOGS_FULL
            if kind == PLAIN and calm(desk) and skim(desk, tape, stop):
                continue
        ends = i8_at(tape.close_ns, tape.row)
        until = i8_at(tape.open_ns, tape.row) if waits else ends - 1
        while tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) <= until:
            if logs_are_full(desk):  # a row has room for one decision, and facts may bring many
                return LOGS_FULL
            decide_now(desk, tape)
        if tape.half == 0 and not open_row(desk, tape):
            return LOGS_FULL
        if waits:
            continue
        if not close_row(desk, tape):
            return LOGS_FULL
        while tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) <= ends:
            decide_now(desk, tape)
    return FINISHED


@kernel
def next_event(desk: Ref, tape: Ref) -> int:
    """Go on until a decision has to be made: 0 then, LOGS_FULL when the logs have to grow first, -1 at the end.

    For whoever decides outside of compiled code; `tape.half` remembers that a row's open is behind us.
    """
    while tape.row < tape.n:
        if logs_are_full(desk):
            return LOGS_FULL
        if tape.half == 0:
            if tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) <= i8_at(tape.open_ns, tape.row):
                return 0  # at the close of the row before
            if tape.late == 0 and not open_row(desk, tape):
                return LOGS_FULL
        if tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) < i8_at(tape.close_ns, tape.row):
            return 0
        if tape.half == 0 and not open_row(desk, tape):
            return LOGS_FULL
        if not close_row(desk, tape):
            return LOGS_FULL
        if tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) <= i8_at(tape.close_ns, tape.row - 1):
            return 0
    return -1
