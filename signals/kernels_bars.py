"""Bar signals in kernels: one closed bar into a signal, its value read out, and the loops over history.

A compiled signal is row `j` of `code` (int64, columns in `signals.ops`) and of `par` (float64). Its state for a symbol
lies from slot `at` on in the slab, and in `ticks`, the same memory read as int64, since a float cannot hold a time.
"""

from signals.bare import inner, kernel
from signals.kernels import (
    NAN,
    Bytes,
    Floats,
    Ints,
    atr_step,
    donchian_step,
    ema_step,
    finite,
    mean_step,
    momentum_step,
    rsi_step,
    score_step,
    volatility_step,
)
from signals.ops import (
    ATR,
    BAR_HEAD,
    COLUMN,
    DONCHIAN,
    EMA,
    HIGH,
    LOW,
    MOMENTUM,
    NEED,
    NO_BAR,
    NOT_FINITE,
    OK,
    ON_NS,
    OP,
    RESTART_NS,
    RSI,
    S_CLOSE,
    S_COUNT,
    S_END,
    S_HIGH,
    S_LAST,
    S_LOW,
    S_OPEN,
    S_VALUE,
    S_VOLUME,
    SMA,
    STALE,
    STATE_BITS,
    SUSPECT,
    VOLATILITY,
    WARMING,
    WINDOW,
    ZSCORE,
)

DAY = 86_400_000_000_000


@kernel
def learn_bar(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, at: int, end_ns: int,
    high: float, low: float, close: float, x: float,
) -> None:  # fmt: skip
    """One closed bar of its own length into signal `j`; `at` is its symbol's first slot, `x` the column it reads.

    A bar whose numbers aren't finite has no value and leaves no trace.
    """
    op = code[j, OP]
    if ticks[at + S_LAST] != 0 and end_ns - ticks[at + S_LAST] > code[j, RESTART_NS]:
        slab[at + S_COUNT] = 0.0
    ticks[at + S_LAST] = end_ns
    slab[at + S_VALUE] = NAN
    if not finite(x) or (op >= ATR and not finite(high - low)) or (op == VOLATILITY and not x > 0.0):
        return
    n = slab[at + S_COUNT]
    slab[at + S_COUNT] = n + 1.0
    a = at + BAR_HEAD
    window = code[j, WINDOW]
    if op == EMA:
        value = x if n == 0.0 else ema_step(slab[a], x, par[j, 0])
        slab[a] = value
    elif op == SMA:
        value = mean_step(slab, a, n, x, window)
    elif op == RSI:
        value = rsi_step(slab, a, n, x, window)
    elif op == MOMENTUM:
        value = momentum_step(slab, a, n, x, window)
    elif op == VOLATILITY:
        value = volatility_step(slab, a, n, x, window, par[j, 0])
    elif op == ZSCORE:
        value = score_step(slab, a, n, x, window)
    elif op == ATR:
        value = atr_step(slab, a, n, high, low, close, window)
        value = value / close if par[j, 0] != 0.0 else value
    elif op == DONCHIAN:
        value = donchian_step(slab, a, n, high, low, close, window, code[j, COLUMN])
    else:
        value = x
    slab[at + S_VALUE] = value


@inner
def bucket_end(ns: int, length: int) -> int:
    """End of the coarser bar that a time belongs to, which may be that time; a week's bars end on Mondays."""
    origin = 4 * DAY if length % (7 * DAY) == 0 else 0
    return (ns - origin + length - 1) // length * length + origin


@kernel
def bucket_due(ticks: Ints, at: int, length: int, close_ns: int) -> bool:
    """Whether an earlier coarser bar, whose last part is missing, has to be closed before this bar is taken."""
    end = ticks[at + S_END]
    return bool(end != 0 and end != bucket_end(close_ns, length))


@kernel
def bucket_add(
    slab: Floats, ticks: Ints, at: int, length: int, close_ns: int,
    open_: float, high: float, low: float, close: float, volume: float,
) -> bool:  # fmt: skip
    """Put a bar into the coarser bar it belongs to; whether that one has closed with it."""
    end = bucket_end(close_ns, length)
    if ticks[at + S_END] == 0:
        ticks[at + S_END] = end
        slab[at + S_OPEN], slab[at + S_HIGH], slab[at + S_LOW] = open_, high, low
        slab[at + S_VOLUME] = 0.0
    slab[at + S_HIGH] = max(slab[at + S_HIGH], high)
    slab[at + S_LOW] = min(slab[at + S_LOW], low)
    slab[at + S_CLOSE] = close
    slab[at + S_VOLUME] += volume
    return close_ns == end


@inner
def verdict(par: Floats, j: int, value: float, state: int) -> int:
    """State of a value that is otherwise fine: not finite, or outside the range that was seen."""
    if state != OK:
        return state
    if not finite(value):
        return NOT_FINITE
    if value < par[j, LOW] or value > par[j, HIGH]:
        return SUSPECT
    return OK


@kernel
def read_bar(code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, at: int, now_ns: int) -> tuple[float, int]:
    """(value, state) of a bar signal; a value that isn't fine is NaN."""
    state = OK
    if slab[at + S_COUNT] < code[j, NEED]:
        state = WARMING
    elif code[j, ON_NS] != 0 and ticks[at + S_LAST] < bucket_end(now_ns - code[j, ON_NS] + 1, code[j, ON_NS]):
        state = STALE  # the last coarser bar never was
    value = slab[at + S_VALUE]
    state = verdict(par, j, value, state)
    return (value if state == OK else NAN), state


@kernel
def coarse_bars(
    slab: Floats, ticks: Ints, length: int, close_ns: Ints, prices: Floats, out_ns: Ints, out: Floats, at_bar: Ints
) -> int:
    """Put bars, f8[n, 5], together to coarser ones; how many. `at_bar` gets the bar with which each was closed."""
    count = 0
    for b in range(len(close_ns)):
        for early in (True, False):
            if early:
                closed = bucket_due(ticks, 0, length, close_ns[b])
            else:
                closed = bucket_add(
                    slab, ticks, 0, length, close_ns[b],
                    prices[b, 0], prices[b, 1], prices[b, 2], prices[b, 3], prices[b, 4],
                )  # fmt: skip
            if closed:
                out_ns[count] = ticks[S_END]
                for column in range(5):
                    out[count, column] = slab[S_OPEN + column]
                at_bar[count] = b
                ticks[S_END] = 0
                count += 1
    return count


# --- batch ------------------------------------------------------------------------------------------------------------


@kernel
def note(rows: Floats, states: Bytes, i: int, k: int, j: int, value: float, state: int) -> None:
    """Write a signal's value; a symbol's state is that of the first signal that isn't fine."""
    if states[i, k] & 7 == NO_BAR:
        value = NAN
    elif state != OK and states[i, k] == OK:
        states[i, k] = state | (j << STATE_BITS)
    rows[i, k, j] = value


@kernel
def batch_bars(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, k: int, at: int,
    end_ns: Ints, prices: Floats, column: int, at_bar: Ints,
    decide_ns: Ints, decide_bar: Ints, rows: Floats, states: Bytes,
) -> None:  # fmt: skip
    """Any bar signal of one symbol over history.

    Its own bars are those that are there, prices f8[n, 5]; `at_bar` is the run's bar with which each was closed.
    """
    b = 0
    for i in range(len(decide_ns)):
        while b < len(at_bar) and at_bar[b] <= decide_bar[i]:
            learn_bar(
                code, par, slab, ticks, j, at, end_ns[b], prices[b, 1], prices[b, 2], prices[b, 3], prices[b, column]
            )
            b += 1
        value, state = read_bar(code, par, slab, ticks, j, at, decide_ns[i])
        note(rows, states, i, k, j, value, state)
