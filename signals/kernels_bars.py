"""Bar signals in kernels: one closed bar into a signal, its value read out, and the loops over history.

A compiled signal is row `j` of `code` (int64, columns in `signals.ops`) and of `par` (float64). Its state lies in the
slab and in `ticks`, the same memory read as int64, for times that a float can't hold.
"""

from signals.jit import kernel
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
    sma_step,
    volatility_step,
)
from signals.ops import (
    AT,
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
def price_step(code: Ints, par: Floats, slab: Floats, j: int, k: int, n: float, x: float) -> float:
    """One bar into a signal that reads one column; `n` bars came before."""
    op = code[j, OP]
    a = code[j, AT] + BAR_HEAD
    window = code[j, WINDOW]
    if op == EMA:
        y: float = x if n == 0.0 else ema_step(slab[k, a], x, par[j, 0])
        slab[k, a] = y
        return y
    if op == SMA:
        return mean_step(slab, k, a, n, x, window)
    if op == RSI:
        return rsi_step(slab, k, a, n, x, window)
    if op == MOMENTUM:
        return momentum_step(slab, k, a, n, x, window)
    if op == VOLATILITY:
        return volatility_step(slab, k, a, n, x, window, par[j, 0])
    if op == ZSCORE:
        return score_step(slab, k, a, n, x, window)
    return x


@kernel
def learn_bar(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, k: int, end_ns: int,
    high: float, low: float, close: float, x: float,
) -> None:  # fmt: skip
    """One closed bar of the signal's own length; `x` is the column it reads."""
    op = code[j, OP]
    at = code[j, AT]
    if ticks[k, at + S_LAST] != 0 and end_ns - ticks[k, at + S_LAST] > code[j, RESTART_NS]:
        slab[k, at + S_COUNT] = 0.0
    ticks[k, at + S_LAST] = end_ns
    n = slab[k, at + S_COUNT]
    value = NAN
    if op in (ATR, DONCHIAN):
        if finite(high) and finite(low) and finite(close):
            a = at + BAR_HEAD
            if op == ATR:
                value = atr_step(slab, k, a, n, high, low, close, code[j, WINDOW])
                if par[j, 0] != 0.0:
                    value /= close
            else:
                value = donchian_step(slab, k, a, n, high, low, close, code[j, WINDOW], code[j, COLUMN])
            slab[k, at + S_COUNT] = n + 1.0
    elif finite(x) and (op != VOLATILITY or x > 0.0):
        value = price_step(code, par, slab, j, k, n, x)
        slab[k, at + S_COUNT] = n + 1.0
    slab[k, at + S_VALUE] = value


@kernel
def column_of(column: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """The value of a bar's column, numbered as in `signals.ops.BAR_COLUMNS`."""
    if column == 3:
        return close
    if column == 4:
        return volume
    if column == 0:
        return open_
    return high if column == 1 else low


@kernel
def bucket_end(ns: int, length: int) -> int:
    """End of the coarser bar that a time belongs to, which may be that time; a week's bars end on Mondays."""
    origin = 4 * DAY if length % (7 * DAY) == 0 else 0
    return (ns - origin + length - 1) // length * length + origin


@kernel
def close_bucket(code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, k: int) -> None:
    """Hand the coarser bar that was being put together on to its signal."""
    at = code[j, AT]
    open_, high, low = slab[k, at + S_OPEN], slab[k, at + S_HIGH], slab[k, at + S_LOW]
    close, volume = slab[k, at + S_CLOSE], slab[k, at + S_VOLUME]
    x = column_of(code[j, COLUMN], open_, high, low, close, volume)
    learn_bar(code, par, slab, ticks, j, k, ticks[k, at + S_END], high, low, close, x)
    ticks[k, at + S_END] = 0


@kernel
def feed_bar(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, k: int, close_ns: int,
    open_: float, high: float, low: float, close: float, volume: float,
) -> None:  # fmt: skip
    """One of the run's bars into signal `j` of symbol `k`; a coarser bar is handed on when it has closed.

    A coarser bar whose last part is missing closes when the next bar comes: until then its symbol has no bar anyway.
    """
    length = code[j, ON_NS]
    if length == 0:
        x = column_of(code[j, COLUMN], open_, high, low, close, volume)
        learn_bar(code, par, slab, ticks, j, k, close_ns, high, low, close, x)
        return
    at = code[j, AT]
    end = bucket_end(close_ns, length)
    if ticks[k, at + S_END] != 0 and ticks[k, at + S_END] != end:
        close_bucket(code, par, slab, ticks, j, k)
    if ticks[k, at + S_END] == 0:
        ticks[k, at + S_END] = end
        slab[k, at + S_OPEN], slab[k, at + S_HIGH], slab[k, at + S_LOW] = open_, high, low
        slab[k, at + S_VOLUME] = 0.0
    slab[k, at + S_HIGH] = max(slab[k, at + S_HIGH], high)
    slab[k, at + S_LOW] = min(slab[k, at + S_LOW], low)
    slab[k, at + S_CLOSE] = close
    slab[k, at + S_VOLUME] += volume
    if close_ns == end:
        close_bucket(code, par, slab, ticks, j, k)


@kernel
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
def read_bar(code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, k: int, now_ns: int) -> tuple[float, int]:
    """(value, state) of a bar signal; a value that isn't fine is NaN."""
    at = code[j, AT]
    state = OK
    if slab[k, at + S_COUNT] < code[j, NEED]:
        state = WARMING
    elif code[j, ON_NS] != 0 and ticks[k, at + S_LAST] < bucket_end(now_ns - code[j, ON_NS] + 1, code[j, ON_NS]):
        state = STALE  # the last coarser bar never was
    value = slab[k, at + S_VALUE]
    state = verdict(par, j, value, state)
    return (value if state == OK else NAN), state


# --- batch ------------------------------------------------------------------------------------------------------------


@kernel
def open_decisions(
    close_ns: Ints, close: Floats, bar_ns: int, decide_ns: Ints, decide_bar: Ints, states: Bytes
) -> tuple[int, int]:
    """Fill `states` with NO_BAR or OK; (missing bars, first decision that looks ahead or goes back, else -1)."""
    n, m = close.shape
    missing = 0
    for i in range(n):
        for k in range(m):
            missing += not finite(close[i, k])
    faulty = -1
    for i in range(len(decide_ns)):
        b = decide_bar[i]
        fresh = 0 <= b < n and decide_ns[i] - close_ns[b] < bar_ns
        early = b >= n or (b >= 0 and close_ns[b] > decide_ns[i])
        if faulty < 0 and (early or (i > 0 and (decide_ns[i] < decide_ns[i - 1] or b < decide_bar[i - 1]))):
            faulty = i
            fresh = False
        for k in range(m):
            states[i, k] = OK if fresh and finite(close[b, k]) else NO_BAR
    return missing, faulty


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
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, close_ns: Ints,
    open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats,
    decide_ns: Ints, decide_bar: Ints, rows: Floats, states: Bytes,
) -> None:  # fmt: skip
    """Any bar signal over history."""
    m = close.shape[1]
    b = -1
    for i in range(len(decide_ns)):
        while b < decide_bar[i]:
            b += 1
            for k in range(m):
                if finite(close[b, k]):
                    feed_bar(
                        code, par, slab, ticks, j, k, close_ns[b],
                        open_[b, k], high[b, k], low[b, k], close[b, k], volume[b, k],
                    )  # fmt: skip
        for k in range(m):
            value, state = read_bar(code, par, slab, ticks, j, k, decide_ns[i])
            note(rows, states, i, k, j, value, state)


@kernel
def warm_rows(rows: Floats, states: Bytes, j: int, until: int) -> None:
    """The rows before a signal is ready, where every bar is there."""
    for i in range(until):
        for k in range(rows.shape[1]):
            note(rows, states, i, k, j, NAN, WARMING)


@kernel
def dense_ema(x: Floats, window: int, a: float, slab: Floats, rows: Floats, states: Bytes, j: int) -> None:
    """`EMA` where no bar is missing and each is decided on: the same step with the average in a local."""
    n, m = x.shape
    warm = min(window - 1, n)
    warm_rows(rows, states, j, warm)
    if m == 1:
        y = x[0, 0]
        for i in range(1, warm):
            y = ema_step(y, x[i, 0], a)
        for i in range(max(warm, 0), n):
            y = ema_step(y, x[i, 0], a) if i > 0 else y
            rows[i, 0, j] = y
        return
    for k in range(m):
        slab[0, k] = x[0, k]
    for i in range(n):
        for k in range(m):
            y = ema_step(slab[0, k], x[i, k], a) if i > 0 else x[0, k]
            slab[0, k] = y
            if i >= warm:
                rows[i, k, j] = y


@kernel
def dense_copy(x: Floats, rows: Floats, j: int) -> None:
    """`Close` where no bar is missing and each is decided on."""
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            rows[i, k, j] = x[i, k]


@kernel
def dense_mean(x: Floats, window: int, rows: Floats, states: Bytes, j: int) -> None:
    """`SMA` where no bar is missing and each is decided on: the same sums with the total in a local."""
    n, m = x.shape
    warm_rows(rows, states, j, min(window - 1, n))
    for k in range(m):
        total = 0.0
        place = -1
        for i in range(n):
            place = place + 1 if place < window - 1 else 0
            if place == window - 1:
                total = 0.0
                for b in range(i - window + 1, i + 1):
                    total += x[b, k]
            else:
                total = sma_step(total, x[i, k], x[i - window, k] if i >= window else 0.0)
            if i >= window - 1:
                rows[i, k, j] = total / window
