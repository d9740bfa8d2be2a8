"""The compiled loop: every event of a run, ordered by time, through the kernels that the live engine calls one by one.

Order within one bar row: funding due at its open, the open, decisions inside it, funding inside it, its inside, its
close, the decision at its close. `ask` is the only thing that differs between the forms of a strategy: here a call
through a pointer; `backtest.compile` builds the same loop with the strategy's own function in its place.
"""

import numpy as np

from backtest.compile import ask, ask_all
from backtest.tape import TURN
from backtest.venue import on_inside, on_open
from risk.desk import logs_are_full, on_close
from risk.execution import decide
from risk.hear import pay_funding
from risk.memory import Ref, account_of, book_of, f8_at, i8_at, limits_of, policy_of, put_f8, put_i8, reader, u1_at
from risk.records import ACTIVE, BY_EQUITY, BY_QUANTITY, FLATTEN
from risk.sizing import held_weight, suits, weight_at
from signals.jit import hot, kernel

FINISHED, LOGS_FULL = 0, 1
turn_at = reader(TURN)


@kernel
def _fund(desk: Ref, tape: Ref, until: int) -> None:
    """Pay the fundings due up to and at `until`, at the last mark of each symbol."""
    while tape.funding < tape.f and i8_at(tape.funding_ns, tape.funding) <= until:
        k = i8_at(tape.funding_symbol, tape.funding)
        ns = i8_at(tape.funding_ns, tape.funding)
        rate = f8_at(tape.funding_rate, tape.funding)
        pay_funding(desk, ns, k, rate)
        tape.funding += 1


@hot
def record_close(desk: Ref, tape: Ref) -> None:
    """Write down the account at a decision bar's close."""
    account = account_of(desk)
    b = tape.out
    put_f8(tape.equity, b, account.equity)
    if tape.full != 0:
        turn = turn_at(tape.turns, tape.turned)
        turn.bar = b
        turn.cash = account.cash
        turn.gross = account.gross
        turn.net = account.net
        turn.level = account.level
        tape.turned += 1
    tape.out = b + 1


@hot
def prepare(desk: Ref, tape: Ref) -> None:
    """Write the weight held now into the last place of each symbol's values of the decision that comes."""
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
def open_row(desk: Ref, tape: Ref) -> None:
    """The first half of a row: funding at its open, and its open."""
    i = tape.row
    begins = i8_at(tape.open_ns, i)
    account = account_of(desk)
    account.row = tape.out
    perp = policy_of(desk).perp != 0
    if perp:
        _fund(desk, tape, begins)
    if policy_of(desk).outside == 0 and (account.n_orders > 0 or perp):
        skip = i * tape.symbols * 8
        on_open(desk, begins, tape.open + skip, tape.volume + skip)


@kernel
def close_row(desk: Ref, tape: Ref) -> None:
    """The second half of a row: funding inside it, its inside, its close."""
    i = tape.row
    ends = i8_at(tape.close_ns, i)
    skip = i * tape.symbols * 8
    perp = policy_of(desk).perp != 0
    high, low, close = tape.high + skip, tape.low + skip, tape.close + skip
    if perp:
        _fund(desk, tape, ends - 1)
    if policy_of(desk).outside == 0 and (account_of(desk).n_orders > 0 or perp):
        on_inside(desk, ends, tape.open + skip, high, low, tape.volume + skip)
    decides = u1_at(tape.decides, i) != 0
    strange = tape.strange + tape.out * tape.symbols if decides else 0
    on_close(desk, ends, high, low, close, strange, u1_at(tape.risk_bar, i) != 0)
    if decides:
        record_close(desk, tape)
    tape.row = i + 1


@hot
def calm(desk: Ref) -> bool:
    """True when between two decisions nothing can happen to the account but marks."""
    account = account_of(desk)
    policy = policy_of(desk)
    working = account.n_orders != 0 or account.planning != 0 or account.level != ACTIVE
    return not (working or policy.perp != 0 or policy.guarded != 0 or policy.stale_exit_ns != 0)


@kernel
def holdings(desk: Ref, tape: Ref) -> int:
    """List the symbols that hold something, and what every symbol holds, in the scratch space: how many there are, or
    -1 when one is blocked or in doubt.
    """
    held = 0
    for k in range(desk.symbols):
        book = book_of(desk, k)
        if book.blocked != 0.0 or book.unsure_ns != 0:
            return -1
        put_f8(tape.amounts, k, book.qty)
        if book.qty != 0.0:
            put_i8(tape.holdings, held, k)
            held += 1
    return held


@hot
def offer(desk: Ref, tape: Ref, values: int, closes: int, held: int, equity: float, symbols: int, width: int) -> None:
    """What `prepare` does, at the closes of a row instead of the books' marks. values: address of the decision's."""
    if held < symbols:
        for k in range(symbols):
            if f8_at(values, k * width + width - 1) != 0.0:  # of a run before: else memory stays as it is
                put_f8(values, k * width + width - 1, 0.0)
    for h in range(held):
        k = 0 if symbols == 1 else i8_at(tape.holdings, h)
        put_f8(values, k * width + width - 1, weight_at(desk, k, f8_at(closes, k), equity))


@hot
def near(amounts: int, weights: int, closes: int, fixed: float, by_price: bool, band: float, symbols: int) -> bool:
    """What `content` says, without a look at what is dust: False may be wrong. No branches, for the processor's
    vectors. amounts: what each symbol holds; fixed, by_price: what a weight of 1 is worth, or how many coins.
    """
    apart = 0
    for k in range(symbols):
        weight, price, qty = f8_at(weights, k), f8_at(closes, k), f8_at(amounts, k)
        base = fixed * price if by_price else fixed
        off = (abs(weight) > 0.0) & ((qty == 0.0) | (not (abs(weight * base - qty * price) < band * base)))
        apart |= off | ((weight == 0.0) & (qty != 0.0))
    return apart == 0


@kernel
def content(desk: Ref, weights: int, closes: int, equity: float) -> bool:
    """What `quiet` asks, at the closes of a row: does every symbol hold what this decision wants?"""
    for k in range(desk.symbols):
        weight = f8_at(weights, k)
        qty = book_of(desk, k).qty
        if qty == 0.0:
            if weight != 0.0 and not np.isnan(weight):
                return False
        elif not suits(desk, k, weight, f8_at(closes, k), equity):
            return False
    return True


@hot
def forget(values: int, rows: int, symbols: int, width: int) -> None:
    """Take back what was offered to decisions that are not reached yet."""
    for place in range(rows * symbols):
        put_f8(values, place * width + width - 1, 0.0)


@hot
def look_ahead(
    desk: Ref, tape: Ref, i: int, b: int, closes: int, values: int, most: int, held: int, symbols: int, high: float
) -> int:
    """Mark up to `most` plain rows from row `i` on, write their equity, and offer their decisions the weights held: how
    many there are before something more than a new mark happens. closes, values: addresses at row `i`.
    """
    account = account_of(desk)
    limits = limits_of(desk)
    plain, close_ns, equity_at, amounts, width = tape.plain, tape.close_ns, tape.equity, tape.amounts, tape.width
    cash, units, day_end = account.cash, account.units, account.day_end_ns
    keep = 1.0 - limits.drawdown
    day_floor = account.day_mark * (1.0 - limits.daily_loss)
    top = high * units
    ahead = 0
    while ahead < most and u1_at(plain, i + ahead) != 0:
        at = closes + ahead * symbols * 8
        equity = cash
        for h in range(held):
            k = 0 if symbols == 1 else i8_at(tape.holdings, h)
            equity += f8_at(amounts, k) * f8_at(at, k)
        if equity > top:
            top = equity / units * units
        if i8_at(close_ns, i + ahead) - 1 >= day_end or equity <= top * keep or equity <= day_floor:
            break
        put_f8(equity_at, b + ahead, equity)
        offer(desk, tape, values + ahead * symbols * width * 8, at, held, equity, symbols, width)
        ahead += 1
    return ahead


@hot
def settle(desk: Ref, tape: Ref, rows: int, held: int, symbols: int, equity: float, high: float) -> None:
    """Leave the desk as if the next `rows` rows had been walked one by one."""
    account = account_of(desk)
    last = tape.row + rows - 1
    ends = i8_at(tape.close_ns, last)
    closes = tape.close + last * symbols * 8
    account.gross, account.net = 0.0, 0.0
    for k in range(symbols):
        book = book_of(desk, k)
        book.last = f8_at(closes, k)
        book.last_ns = ends
    for h in range(held):
        book = book_of(desk, i8_at(tape.holdings, h))
        account.net += book.qty * book.last
        account.gross += abs(book.qty * book.last)
    account.equity, account.high = equity, high
    account.dirty = 0
    account.now_ns = ends
    account.row = tape.out + rows - 1
    tape.row += rows
    tape.decision += rows
    tape.out += rows


@hot
def skim_rows(desk: Ref, tape: Ref, stop: int, held: int, symbols: int) -> bool:
    """See `skim`. Addresses and numbers stand in locals, which no write into an array can have changed; a call with
    symbols written out as 1 is compiled to code without loops over symbols.

    The strategy is asked about a block of rows at once, as if nothing were to trade, and heard up to the first row that
    does; the longer that is quiet, the larger the blocks.
    """
    account = account_of(desk)
    policy = policy_of(desk)
    width, amounts, units = tape.width, tape.amounts, account.units
    by_equity, by_price = policy.sizing == BY_EQUITY, policy.sizing == BY_QUANTITY
    stake, band = policy.stake, policy.band
    closes = tape.close + tape.row * symbols * 8
    values = tape.rows + tape.decision * symbols * width * 8
    weights = tape.weights + tape.decision * symbols * 8
    equity, high = account.equity, account.high
    rows, status = 0, 0
    quiet_row = True
    block = max(1, tape.batch // (16 * symbols))
    while quiet_row:
        most = min(block, stop - tape.row - rows)
        ahead = look_ahead(desk, tape, tape.row + rows, tape.out + rows, closes, values, most, held, symbols, high)
        if ahead == 0:
            break
        heard = ahead
        status = ask_all(tape, values, ahead * symbols, weights)
        if status != 0 and ahead > 1:  # at one of the rows: come to it row by row
            heard, block = 1, 1
            status = ask_all(tape, values, symbols, weights)
        done = 0
        while done < heard and quiet_row:
            equity = f8_at(tape.equity, tape.out + rows + done)
            if equity > high * units:
                high = equity / units
            base = equity if by_equity else stake
            quiet_row = status == 0 and (
                near(amounts, weights, closes, base, by_price, band, symbols) or content(desk, weights, closes, equity)
            )
            closes += symbols * 8
            values += symbols * width * 8
            weights += symbols * 8
            done += 1
        if held > 0:
            forget(values, ahead - done, symbols, width)
        rows += done
        block = min(2 * block, max(1, tape.batch // symbols))
    if rows == 0:
        return False
    settle(desk, tape, rows, held, symbols, equity, high)
    if status == 0 or rows > 1:
        account.error_run = 0
    if not quiet_row:
        states = tape.states + (tape.decision - 1) * symbols
        decide(desk, account.now_ns, weights - symbols * 8, states, status)
    return True


@kernel
def skim(desk: Ref, tape: Ref, stop: int) -> bool:
    """Go over plain rows while every decision asks for what is held already: most of a backtest, in a few lines of
    arithmetic.

    The same sums in the same order as `close_row` and `decide`, on an account that can't change; whatever is more than
    a new mark (a loss limit, a new day, a decision that trades) is left to them. True when it got on by a row.
    """
    held = holdings(desk, tape)
    if held < 0:
        return False
    if desk.symbols == 1:
        return skim_rows(desk, tape, stop, held, 1)
    return skim_rows(desk, tape, stop, held, desk.symbols)


@kernel
def loop(desk: Ref, tape: Ref, stop: int) -> int:
    """Run rows from tape.row up to `stop`; LOGS_FULL asks to be called again with larger logs. All state is in the
    records.
    """
    while tape.row < stop:
        if logs_are_full(desk):
            return LOGS_FULL
        if tape.half == 0:
            if u1_at(tape.plain, tape.row) != 0 and calm(desk):
                if skim(desk, tape, stop):
                    continue
            if tape.late == 0:
                open_row(desk, tape)
                tape.half = 1
        ends = i8_at(tape.close_ns, tape.row)
        while tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) < ends:
            if logs_are_full(desk):  # a row has room for one decision, and facts may bring many
                return LOGS_FULL
            decide_now(desk, tape)
        if tape.half == 0:
            open_row(desk, tape)
        close_row(desk, tape)
        tape.half = 0
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
            if tape.late == 0:
                open_row(desk, tape)
                tape.half = 1
        if tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) < i8_at(tape.close_ns, tape.row):
            return 0
        if tape.half == 0:
            open_row(desk, tape)
        close_row(desk, tape)
        tape.half = 0
        if tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) <= i8_at(tape.close_ns, tape.row - 1):
            return 0
    return -1
