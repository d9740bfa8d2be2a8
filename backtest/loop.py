"""The compiled loop: every event of a run, ordered by time, through the kernels that the live engine calls one by one.

Order within one bar row: funding due at its open, the open, decisions inside it, funding inside it, its inside, its
close, the decision at its close. `ask` is the only thing that differs between the forms of a strategy: here a call
through a pointer; `backtest.compile` builds the same loop with the strategy's own function in its place.
"""

import numpy as np

from backtest.compile import ask, ask_all
from backtest.venue import on_inside, on_open
from risk.desk import logs_are_full, on_close
from risk.execution import decide
from risk.ladder import after_fill
from risk.ledger import apply_funding
from risk.memory import Ref, account_of, book_of, f8_at, i8_at, limits_of, policy_of, put_f8, put_i8, u1_at
from risk.orders import note
from risk.records import ACTIVE, EV_FUNDING, FLATTEN, Array
from risk.sizing import held_weight, suits, weight_at
from signals.jit import hot, kernel

FINISHED, LOGS_FULL = 0, 1

# What happens: n bar rows, d decisions, f fundings, M symbols, S signals; addresses of C-contiguous arrays, and sizes.
# The second half is what is written down: weights of each decision, and the account at the close of each of b decision
# bars.
TAPE = np.dtype([
    ("open_ns", "i8"), ("close_ns", "i8"),  # i8[n]
    ("open", "i8"), ("high", "i8"), ("low", "i8"), ("close", "i8"), ("volume", "i8"),  # f8[n, M], NaN: no bar
    ("decides", "i8"), ("risk_bar", "i8"),  # u1[n]: a decision bar, a risk bar ends here
    ("plain", "i8"),  # u1[n]: a decision and risk bar, all there, all known, none unusual: see `skim`
    ("strange", "i8"),  # u1[b, M]: decision bars that are unusual
    ("decide_ns", "i8"), ("rows", "i8"), ("states", "i8"),  # i8[d], f8[d, M, S + 1] (last: weight held), u1[d, M]
    ("funding_ns", "i8"), ("funding_symbol", "i8"), ("funding_rate", "i8"),  # i8[f], i8[f], f8[f]
    ("weights", "i8"), ("equity", "i8"), ("cash", "i8"), ("gross", "i8"), ("net", "i8"), ("level", "i8"),
    ("held", "i8"), ("scratch", "i8"), ("holdings", "i8"), ("params", "i8"), ("strategy", "i8"),
    ("symbols", "i8"), ("width", "i8"), ("n", "i8"), ("d", "i8"), ("f", "i8"),
    ("row", "i8"), ("decision", "i8"), ("funding", "i8"), ("out", "i8"), ("half", "i8"),
    ("full", "i8"),  # the line above: where the loop stands; full: 0 writes the equity only
])  # fmt: skip


@kernel
def _fund(desk: Ref, tape: Ref, until: int) -> None:
    """Pay the fundings due up to and at `until`, at the last mark of each symbol."""
    while tape.funding < tape.f and i8_at(tape.funding_ns, tape.funding) <= until:
        k = i8_at(tape.funding_symbol, tape.funding)
        ns = i8_at(tape.funding_ns, tape.funding)
        rate = f8_at(tape.funding_rate, tape.funding)
        mark = book_of(desk, k).last
        paid = apply_funding(desk, ns, k, rate, mark)
        if paid != 0.0:
            note(desk, ns, EV_FUNDING, 0, k, -1, rate, paid, book_of(desk, k).qty, mark)
            after_fill(desk, ns, k)
        tape.funding += 1


@hot
def record_close(desk: Ref, tape: Ref) -> None:
    """Write down the account at a decision bar's close."""
    account = account_of(desk)
    b = tape.out
    put_f8(tape.equity, b, account.equity)
    put_f8(tape.cash, b, account.cash)
    put_f8(tape.gross, b, account.gross)
    put_f8(tape.net, b, account.net)
    put_i8(tape.level, b, account.level)
    for k in range(desk.symbols):
        put_f8(tape.held, b * desk.symbols + k, book_of(desk, k).qty)
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
    if account.n_orders > 0 or perp:
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
    if account_of(desk).n_orders > 0 or perp:
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
    """List the symbols that hold something in the scratch space: how many, or -1 when one is blocked or in doubt."""
    held = 0
    for k in range(desk.symbols):
        book = book_of(desk, k)
        if book.blocked != 0.0 or book.unsure_ns != 0:
            return -1
        if book.qty != 0.0:
            put_i8(tape.holdings, held, k)
            held += 1
    return held


@hot
def record_rest(desk: Ref, tape: Ref, b: int, cash: float, gross: float, net: float) -> None:
    """What `record_close` writes besides the equity, while skimming."""
    put_f8(tape.cash, b, cash)
    put_f8(tape.gross, b, gross)
    put_f8(tape.net, b, net)
    put_i8(tape.level, b, ACTIVE)
    for k in range(desk.symbols):
        put_f8(tape.held, b * desk.symbols + k, book_of(desk, k).qty)


@hot
def offer(desk: Ref, tape: Ref, j: int, closes: int, held: int, equity: float) -> None:
    """What `prepare` does, at the closes of a row instead of the books' marks."""
    base = j * tape.symbols * tape.width + tape.width - 1
    for k in range(desk.symbols):
        put_f8(tape.rows, base + k * tape.width, 0.0)
    for h in range(held):
        k = i8_at(tape.holdings, h)
        price = f8_at(closes, k)
        put_f8(tape.rows, base + k * tape.width, weight_at(desk, k, price, equity))


@hot
def content(desk: Ref, tape: Ref, j: int, closes: int, equity: float) -> bool:
    """What `quiet` asks, at the closes of a row: does every symbol hold what this decision wants?"""
    weights = tape.weights + j * tape.symbols * 8
    for k in range(desk.symbols):
        weight = f8_at(weights, k)
        qty = book_of(desk, k).qty
        if qty == 0.0:
            if weight != 0.0 and not np.isnan(weight):
                return False
        elif not suits(desk, k, weight, f8_at(closes, k), equity):
            return False
    return True


@kernel
def settle(desk: Ref, tape: Ref, i: int, j: int, b: int) -> None:
    """Leave the desk as if rows up to `i` had been walked one by one."""
    ends = i8_at(tape.close_ns, i - 1)
    for k in range(desk.symbols):
        book = book_of(desk, k)
        book.last = f8_at(tape.close, (i - 1) * desk.symbols + k)
        book.last_ns = ends
    account = account_of(desk)
    account.now_ns = ends
    account.row = b - 1
    tape.row = i
    tape.decision = j
    tape.out = b


@kernel
def skim(desk: Ref, tape: Ref, stop: int) -> bool:
    """Go over plain rows while every decision asks for what is held already: most of a backtest, in a few lines of
    arithmetic.

    The same sums in the same order as `close_row` and `decide`, on an account that can't change; whatever is more than
    a new mark (a loss limit, a new day, a decision that trades) is left to them. True when it got on by a row.
    """
    account = account_of(desk)
    limits = limits_of(desk)
    symbols = desk.symbols
    held = holdings(desk, tape)
    if held < 0:
        return False
    i, j, b = tape.row, tape.decision, tape.out
    cash, units, high, day_end = account.cash, account.units, account.high, account.day_end_ns
    keep = 1.0 - limits.drawdown
    day_floor = account.day_mark * (1.0 - limits.daily_loss)
    equity, gross, net = account.equity, account.gross, account.net
    full = tape.full
    status = 0
    quiet_row = True
    while i < stop and quiet_row and u1_at(tape.plain, i) != 0:
        closes = tape.close + i * symbols * 8
        sum_equity, sum_gross, sum_net = cash, 0.0, 0.0
        for h in range(held):
            k = i8_at(tape.holdings, h)
            notional = book_of(desk, k).qty * f8_at(closes, k)
            sum_net += notional
            sum_gross += abs(notional)
            sum_equity += notional
        new_high = sum_equity / units if sum_equity > high * units else high
        if i8_at(tape.close_ns, i) - 1 >= day_end or sum_equity <= new_high * units * keep or sum_equity <= day_floor:
            break
        equity, gross, net, high = sum_equity, sum_gross, sum_net, new_high
        put_f8(tape.equity, b, equity)
        if full != 0:
            record_rest(desk, tape, b, cash, gross, net)
        i += 1
        b += 1
        offer(desk, tape, j, closes, held, equity)
        status = ask_all(tape, j)
        quiet_row = status == 0 and content(desk, tape, j, closes, equity)
        j += 1
    if i == tape.row:
        return False
    several = i - tape.row > 1
    settle(desk, tape, i, j, b)
    account.equity, account.gross, account.net, account.high = equity, gross, net, high
    account.dirty = 0
    ends = account.now_ns
    if status == 0 or several:
        account.error_run = 0
    if not quiet_row:
        decide(desk, ends, tape.weights + (j - 1) * symbols * 8, tape.states + (j - 1) * symbols, status)
    return True


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
            open_row(desk, tape)
            tape.half = 1
        ends = i8_at(tape.close_ns, tape.row)
        while tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) < ends:
            if logs_are_full(desk):  # a row has room for one decision, and facts may bring many
                return LOGS_FULL
            decide_now(desk, tape)
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
            open_row(desk, tape)
            tape.half = 1
        if tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) < i8_at(tape.close_ns, tape.row):
            return 0
        close_row(desk, tape)
        tape.half = 0
        if tape.decision < tape.d and i8_at(tape.decide_ns, tape.decision) <= i8_at(tape.close_ns, tape.row - 1):
            return 0
    return -1


def plain_rows(
    open_ns: Array, close_ns: Array, close: Array, decides: Array, risk_bar: Array, decide_ns: Array, states: Array,
    strange: Array,
) -> Array:  # fmt: skip
    """u1[n]: rows that end a decision and risk bar with every price there, every signal known, nothing unusual."""
    plain: Array = (decides & risk_bar) != 0
    _strike(plain, ~(close > 0.0), None)
    if np.array_equal(decide_ns, close_ns):
        _strike(plain, states, None)
    else:
        at = np.searchsorted(decide_ns, open_ns, side="right")
        plain &= np.searchsorted(decide_ns, close_ns, side="right") - at == 1
        plain[plain] = decide_ns[at[plain]] == close_ns[plain]
        known = np.ones(len(decide_ns) + 1, bool)
        _strike(known, states, None)
        plain &= known[at]
    _strike(plain, strange, None if len(strange) == len(plain) else np.flatnonzero(decides))
    return plain.view(np.uint8)


def _strike(plain: Array, faults: Array, rows: Array | None) -> None:
    """Clear the places, `rows[i]` or i, of the faults[i, k] that are set: far quicker than any() over short rows."""
    struck = np.flatnonzero(faults) // faults.shape[1]
    plain[struck if rows is None else rows[struck]] = False


class Tape:
    """The arrays of a run and `ref`, the TAPE record by which the loop reaches them; made once, rewound for
    each run.
    """

    def __init__(
        self, *, open_ns: Array, close_ns: Array, prices: tuple[Array, Array, Array, Array, Array], decides: Array,
        risk_bar: Array, decide_ns: Array, rows: Array, states: Array, funding: tuple[Array, Array, Array],
        params: Array, strange: Array, full: bool = True,
    ) -> None:  # fmt: skip
        n, symbols = prices[0].shape
        d, _, width = rows.shape
        bars = int(decides.sum())
        names = ("open", "high", "low", "close", "volume")
        self.arrays: dict[str, Array] = {
            "open_ns": open_ns, "close_ns": close_ns, **dict(zip(names, prices, strict=True)), "decides": decides,
            "risk_bar": risk_bar, "decide_ns": decide_ns, "rows": rows, "states": states, "funding_ns": funding[0],
            "funding_symbol": funding[1], "funding_rate": funding[2], "params": params,
            "weights": np.empty((d, symbols)), "equity": np.zeros(bars), "cash": np.zeros(bars),
            "gross": np.zeros(bars), "net": np.zeros(bars), "level": np.zeros(bars, np.int64),
            "held": np.zeros((bars, symbols)), "scratch": np.zeros(symbols * (width + 1)),
            "holdings": np.zeros(symbols, np.int64), "strange": strange,
            "plain": plain_rows(open_ns, close_ns, prices[3], decides, risk_bar, decide_ns, states, strange),
        }  # fmt: skip
        self._header = np.zeros(1, TAPE)
        for name, array in self.arrays.items():
            assert array.flags.c_contiguous, name
            self._header[name] = array.ctypes.data
        sizes = {"symbols": symbols, "width": width, "n": n, "d": d, "f": len(funding[0])}
        for name, size in sizes.items():
            self._header[name] = size
        self._header["full"] = full

    def start(self, strategy: int) -> None:
        """Rewind, and let the strategy at this address decide."""
        for name in ("row", "decision", "funding", "out", "half"):
            self._header[name] = 0
        self._header["strategy"] = strategy
        self.arrays["weights"].fill(np.nan)

    @property
    def ref(self) -> Ref:
        """What the loop is handed."""
        return self._header[0]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]
