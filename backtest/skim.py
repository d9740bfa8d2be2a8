"""Going over the rows of a backtest on which nothing happens but new marks: most of them, in a few lines of arithmetic.

The same sums in the same order as `backtest.loop.close_row` and `risk.execution.decide`, on an account that can't
change; whatever is more than a new mark (a loss limit, a new day, a decision that trades) is left to them. Rows are
looked at in blocks: each question is asked of a whole block without a branch, by the processor's vectors, and only
where the answer is no of its rows one by one.
"""

from backtest.compile import ask_all
from backtest.scan import GROUP, LINE, content, off, scan_one
from backtest.tape import PLAIN, write_turn
from risk.execution import act, answered
from risk.memory import Ref, account_of, book_of, f8_at, i8_at, limits_of, policy_of, put_f8, put_i8, u1_at
from risk.records import ACTIVE, BY_EQUITY, BY_QUANTITY
from risk.sizing import weight_at
from signals.jit import hot, kernel
from signals.raw import fetch

FORESIGHT = 4096  # symbols, over several rows, that a strategy is asked about at once if it doesn't see what is held


@hot
def calm(desk: Ref) -> bool:
    """True when between two decisions nothing can happen to the account but marks."""
    account = account_of(desk)
    policy = policy_of(desk)
    working = account.n_orders != 0 or account.planning != 0 or account.level != ACTIVE
    return not (working or policy.perp != 0 or policy.guarded != 0 or policy.stale_exit_ns != 0)


@hot
def holdings(desk: Ref, tape: Ref) -> int:
    """List the symbols that hold something, and what every symbol holds, in the scratch space: how many there are, or
    -1 when one is blocked or in doubt.
    """
    held = 0
    barred = False
    for k in range(desk.symbols):
        book = book_of(desk, k)
        barred |= (book.blocked != 0.0) | (book.unsure_ns != 0)
        put_f8(tape.amounts, k, book.qty)
        put_i8(tape.holdings, held, k)  # overwritten by the next one unless it counts: no branch to guess
        held += int(book.qty != 0.0)
    return -1 if barred else held


@hot
def value_rows(tape: Ref, closes: int, equity_at: int, rows: int, held: int, symbols: int, cash: float) -> None:
    """Equity at each row's close, f8[rows], as `risk.ledger.value` adds it up."""
    if symbols == 1:
        amount = f8_at(tape.amounts, 0)
        for r in range(rows):
            put_f8(equity_at, r, cash + amount * f8_at(closes, r))
        return
    for r in range(rows):
        equity = cash
        for h in range(held):
            k = i8_at(tape.holdings, h)
            equity += f8_at(tape.amounts, k) * f8_at(closes, r * symbols + k)
        put_f8(equity_at, r, equity)


@kernel
def days_rows(desk: Ref, tape: Ref) -> int:
    """The first row from the present one on whose close is of a later day than the account's; kept for that day.

    Where bars follow each other without a gap its place can be told from two of them; else it is searched for.
    """
    day_end = account_of(desk).day_end_ns
    if tape.day_end_ns != day_end or tape.day_row < tape.row:
        low, high = tape.row, tape.n
        if low + 1 < high:
            begins = i8_at(tape.close_ns, low)
            step = max(i8_at(tape.close_ns, low + 1) - begins, 1)
            guess = low + max((day_end - begins) // step, 0) + 1
            if guess < high and i8_at(tape.close_ns, guess) - 1 >= day_end:
                high = guess
            if low < guess <= high and i8_at(tape.close_ns, guess - 1) - 1 < day_end:
                low = guess
        while low < high:
            middle = (low + high) // 2
            if i8_at(tape.close_ns, middle) - 1 < day_end:
                low = middle + 1
            else:
                high = middle
        tape.day_row, tape.day_end_ns = low, day_end
    return int(tape.day_row)


@hot
def fetch_row(tape: Ref, i: int, symbols: int) -> None:
    """Have at hand what an order that fills in row `i` will look at."""
    fetch(tape.open_ns + i * 8)
    for line in range(0, symbols, LINE):
        fetch(tape.open + (i * symbols + line) * 8)
        fetch(tape.volume + (i * symbols + line) * 8)


@hot
def look_ahead(desk: Ref, tape: Ref, i: int, equity_at: int, most: int, high: float) -> int:
    """How many of `most` rows from row `i` on are plain and keep the account off its loss limits.

    equity_at: address of the equity at their closes; high: the highest equity per unit so far.
    """
    account = account_of(desk)
    limits = limits_of(desk)
    plain, units = tape.plain + i, account.units
    keep = 1.0 - limits.drawdown
    day_floor = account.day_mark * (1.0 - limits.daily_loss)
    top = high * units
    told = 0
    floor = max(top * keep, day_floor)
    for r in range(most):
        equity = f8_at(equity_at, r)
        told |= int((u1_at(plain, r) != PLAIN) | (equity > top) | (equity <= floor))
    if told == 0:
        return most
    ahead = 0
    while ahead < most and u1_at(plain, ahead) == PLAIN:
        equity = f8_at(equity_at, ahead)
        if equity > top:
            top = equity / units * units
        if equity <= top * keep or equity <= day_floor:
            break
        ahead += 1
    return ahead


@hot
def offer(
    desk: Ref, tape: Ref, values: int, closes: int, equity_at: int, rows: int, held: int, symbols: int, width: int
) -> None:
    """What `backtest.loop.prepare` does, for the decisions of `rows` rows, at their closes instead of the books' marks.

    values: address of theirs.
    """
    if held < symbols:
        for place in range(rows * symbols):
            if f8_at(values, place * width + width - 1) != 0.0:  # of a run before: else memory stays as it is
                put_f8(values, place * width + width - 1, 0.0)
    for r in range(rows):
        for h in range(held):
            place = 0 if symbols == 1 else i8_at(tape.holdings, h)
            weight = weight_at(desk, place, f8_at(closes, r * symbols + place), f8_at(equity_at, r))
            put_f8(values, (r * symbols + place) * width + width - 1, weight)


@hot
def forget(values: int, rows: int, symbols: int, width: int) -> None:
    """Take back what was offered to decisions that are not reached yet."""
    for place in range(rows * symbols):
        put_f8(values, place * width + width - 1, 0.0)


@hot
def hear(tape: Ref, j: int, ahead: int, symbols: int) -> tuple[int, int]:
    """(decisions from `j` on whose weights are known, at most `ahead`; the status of the first of them).

    A strategy that doesn't see what is held is asked far ahead, once, whatever will be traded until then.
    """
    if tape.asked >= j + ahead:
        return ahead, 0
    count = ahead
    if tape.blind != 0 and j >= tape.doubt:
        count = max(ahead, min(FORESIGHT // symbols, min(tape.d, tape.ready) - j))
    values, weights = tape.rows + j * symbols * tape.width * 8, tape.weights + j * symbols * 8
    while True:
        status = ask_all(tape, values, count * symbols, weights)
        if status == 0 or count == 1:
            break
        tape.doubt = j + count  # at one of those decisions: come to it block by block, row by row
        count = ahead if count > ahead else 1
    if status == 0 and tape.blind != 0:
        tape.asked = j + count
    return min(count, ahead), status


@hot
def first_off(desk: Ref, tape: Ref, closes: int, weights: int, equity_at: int, rows: int, symbols: int) -> int:
    """The first place, row by row, at which a decision among those of some rows may want something else than what is
    held; as many as there are where none does.
    """
    policy = policy_of(desk)
    by_equity, by_price = policy.sizing == BY_EQUITY, policy.sizing == BY_QUANTITY
    stake, band = policy.stake, policy.band
    none = rows * symbols
    first = none
    if symbols == 1:
        qty = f8_at(tape.amounts, 0)
        for r in range(rows):
            fixed = f8_at(equity_at, r) if by_equity else stake
            apart = off(f8_at(weights, r), f8_at(closes, r), qty, fixed, by_price, band)
            first = min(first, r if apart else none)
        return first
    amounts = tape.amounts
    for r in range(rows):
        fixed = f8_at(equity_at, r) if by_equity else stake
        for k in range(symbols):
            at = r * symbols + k
            apart = off(f8_at(weights, at), f8_at(closes, at), f8_at(amounts, k), fixed, by_price, band)
            first = min(first, at if apart else none)
    return first


@hot
def contented(desk: Ref, tape: Ref, closes: int, weights: int, equity_at: int, rows: int, symbols: int) -> int:
    """How many of the next `rows` decisions ask for nothing else than what is held."""
    done = 0
    group = GROUP if symbols == 1 else 1
    while done < rows:
        count = min(group, rows - done)
        skip = done * symbols * 8
        first = first_off(desk, tape, closes + skip, weights + skip, equity_at + done * 8, count, symbols)
        if first == count * symbols:
            done += count
            continue
        row, begin = (first, 0) if symbols == 1 else (0, first)
        done += row
        skip = done * symbols * 8
        if not content(desk, weights + skip, closes + skip, f8_at(equity_at, done), begin):
            break
        done += 1
    return done


@hot
def highest(equity_at: int, rows: int, high: float, units: float) -> float:
    """The highest equity per unit after some rows more."""
    above = 0
    for r in range(rows):
        above |= int(f8_at(equity_at, r) > high * units)
    if above != 0:
        for r in range(rows):
            if f8_at(equity_at, r) > high * units:
                high = f8_at(equity_at, r) / units
    return high


@hot
def worth(tape: Ref, closes: int, held: int) -> tuple[float, float]:
    """(gross, net) of what is held at the closes of a row, as `risk.ledger.value` adds them up."""
    gross, net = 0.0, 0.0
    for h in range(held):
        k = i8_at(tape.holdings, h)
        notional = f8_at(tape.amounts, k) * f8_at(closes, k)
        gross += abs(notional)
        net += notional
    return gross, net


@hot
def settle(desk: Ref, tape: Ref, rows: int, held: int, symbols: int, high: float) -> None:
    """Leave the desk as if the next `rows` rows had been walked one by one."""
    account = account_of(desk)
    last = tape.row + rows - 1
    ends = i8_at(tape.close_ns, last)
    closes = tape.close + last * symbols * 8
    for k in range(symbols):
        book = book_of(desk, k)
        book.last = f8_at(closes, k)
        book.last_ns = ends
    inner = tape.row > 0 and u1_at(tape.decides, tape.row - 1) == 0  # the first row ends a bar that began before it
    filled = tape.full != 0 and (tape.half != 0 or inner)  # at its open, or before: what that left is written down
    if filled:
        account.gross, account.net = worth(tape, tape.close + tape.row * symbols * 8, held)
        write_turn(account, tape)
    if rows > 1 or not filled:
        account.gross, account.net = worth(tape, closes, held)
    account.equity, account.high = f8_at(tape.equity, tape.out + rows - 1), high
    account.dirty = 0
    account.now_ns = ends
    account.row = tape.out + rows - 1
    tape.row += rows
    tape.decision += rows
    tape.out += rows
    tape.half = 0


@hot
def skim_rows(desk: Ref, tape: Ref, stop: int, held: int, symbols: int) -> bool:
    """See `skim`.

    The strategy is asked about a block of rows at once, as if nothing were to trade, and heard up to the first row that
    does; the longer that is quiet, the larger the blocks.
    """
    account = account_of(desk)
    width, units, high = tape.width, account.units, account.high
    i, b, j = tape.row, tape.out, tape.decision
    rows, status = 0, 0
    quiet_row = True
    stop = min(stop, days_rows(desk, tape))
    largest = max(1, tape.batch // symbols)
    block = max(1, largest // 8)
    while quiet_row:
        closes, equity_at = tape.close + (i + rows) * symbols * 8, tape.equity + (b + rows) * 8
        values, weights = tape.rows + (j + rows) * symbols * width * 8, tape.weights + (j + rows) * symbols * 8
        most = min(block, stop - i - rows)
        if most <= 0:
            break
        if symbols == 1 and tape.asked - j - rows >= GROUP:
            passed, wanting = scan_one(desk, tape, rows, min(stop - i, tape.asked - j) - rows, high, account.cash)
            rows += passed + int(wanting)
            quiet_row = not wanting
            if passed > 0 or wanting:
                continue
            most = 1
        for line in range(0, most, LINE):
            fetch(tape.close_ns + (i + rows + line) * 8)
        value_rows(tape, closes, equity_at, most, held, symbols, account.cash)
        ahead = look_ahead(desk, tape, i + rows, equity_at, most, high)
        if ahead == 0:
            break
        if tape.blind == 0:
            offer(desk, tape, values, closes, equity_at, ahead, held, symbols, width)
        heard, status = hear(tape, j + rows, ahead, symbols)
        done = 0
        if status == 0:
            done = contented(desk, tape, closes, weights, equity_at, heard, symbols)
        quiet_row = done == heard and status == 0
        done += int(not quiet_row)
        high = highest(equity_at, done, high, units)
        if held > 0 and tape.blind == 0:
            forget(values + done * symbols * width * 8, ahead - done, symbols, width)
        rows += done
        block = min(2 * block, largest)
    if rows == 0:
        return False
    if not quiet_row:
        fetch_row(tape, i + rows, symbols)
    settle(desk, tape, rows, held, symbols, high)
    if status == 0 or rows > 1:
        account.error_run = 0
    if not quiet_row:
        last = tape.decision - 1
        weights, states = tape.weights + last * symbols * 8, tape.states + last * symbols
        if answered(desk, account.now_ns, weights, states, status):
            act(desk, account.now_ns, weights, states)
    return True


@kernel
def skim(desk: Ref, tape: Ref, stop: int) -> bool:
    """Go over plain rows while every decision asks for what is held already. True when it got on by a row."""
    held = holdings(desk, tape)
    if held < 0:
        return False
    return skim_rows(desk, tape, min(stop, tape.ready), held, desk.symbols)
