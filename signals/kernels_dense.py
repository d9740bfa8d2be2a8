"""Averages of closes of which none is missing, a stretch of bars at a time: the same steps, their state kept on.

What is to be run is a list of `AVERAGE` records over x, f8[n, M]. `state`, f8[A, M], carries each from stretch to
stretch, so that a year at once and a block at a time give the same numbers.
"""

import numpy as np

from signals.bare import inner, kernel
from signals.kernels import NAN, Floats, Ints, ema_step, sma_step
from signals.ops import EMA, SMA
from signals.raw import LANES, address_of, f8_at, lanes, put_f8

# op: EMA or SMA; place: the value's in a row; warm: bars before it is ready; a: weight of the newest value
AVERAGE = np.dtype([("op", "i8"), ("place", "i8"), ("window", "i8"), ("warm", "i8"), ("a", "f8")])


@inner
def _pair_of_one(
    x: Floats, begin: int, end: int, base: int, a: float, warm: int, j: int, b: float, warm_b: int, j_b: int,
    y: float, z: float, rows: Floats,
) -> tuple[float, float]:  # fmt: skip
    """Two `EMA` of one symbol, their state in the processor's registers; at once, since each waits for itself only."""
    for i in range(begin, end):
        y = ema_step(y, x[i, 0], a)
        z = ema_step(z, x[i, 0], b)
        if i >= base:
            rows[i - base, 0, j] = y if i >= warm else NAN
            rows[i - base, 0, j_b] = z if i >= warm_b else NAN
    return y, z


@inner
def _note(values: int, count: int, row: int, width: int, ready: bool) -> None:
    """Write the values in some lanes to the places of their symbols, from address `row` on."""
    if not ready:
        for k in range(count):
            put_f8(row, k * width, NAN)
        return
    for k in range(count):
        put_f8(row, k * width, f8_at(values, k))


@inner
def interleave(one: int, two: int, row: int, count: int) -> None:
    """Write two numbers of each symbol side by side from address `row` on; a step that is known when this is compiled
    goes by the processor's vectors. one, two: addresses of f8[count].
    """
    for k in range(count):
        put_f8(row, 2 * k, f8_at(one, k))
        put_f8(row, 2 * k + 1, f8_at(two, k))


@inner
def _pair_of_many(
    x: Floats, begin: int, end: int, base: int, one: Ints, two: Ints, state: Floats, p: int, q: int, rows: Floats,
    first: int, count: int,
) -> None:  # fmt: skip
    """Two `EMA` of `count` symbols from `first` on, in lanes."""
    a, b, m, width = one.a, two.a, x.shape[1], rows.shape[2]
    known = max(one.warm, two.warm, base)  # from there on both are written, whatever comes
    side_by_side = (width == 2) & (one.place == 0) & (two.place == 1)
    y, z = lanes(), lanes()
    at = address_of(x) + (begin * m + first) * 8
    row = address_of(rows) + ((begin - base) * m + first) * width * 8
    for k in range(count):
        put_f8(y, k, state[p, first + k])
        put_f8(z, k, state[q, first + k])
    for i in range(begin, end):
        for k in range(count):
            put_f8(y, k, ema_step(f8_at(y, k), f8_at(at, k), a))
            put_f8(z, k, ema_step(f8_at(z, k), f8_at(at, k), b))
        if i >= known and side_by_side:
            interleave(y, z, row, count)
        elif i >= base:
            _note(y, count, row + one.place * 8, width, i >= one.warm)
            _note(z, count, row + two.place * 8, width, i >= two.warm)
        at += m * 8
        row += m * width * 8
    for k in range(count):
        state[p, first + k] = f8_at(y, k)
        state[q, first + k] = f8_at(z, k)


@inner
def _emas(plan: Ints, p: int, q: int, state: Floats, x: Floats, begin: int, end: int, base: int, rows: Floats) -> None:
    """The averages `p` and `q` of the list, both `EMA`; one alone is two of the same."""
    m = x.shape[1]
    one, two = plan[p], plan[q]
    if begin == 0:
        for k in range(m):
            state[p, k] = state[q, k] = x[0, k]
            if base == 0:
                rows[0, k, one.place] = x[0, k] if one.warm == 0 else NAN
                rows[0, k, two.place] = x[0, k] if two.warm == 0 else NAN
        begin = 1
    if m == 1:
        y, z = _pair_of_one(
            x, begin, end, base, one.a, one.warm, one.place, two.a, two.warm, two.place, state[p, 0], state[q, 0], rows
        )
        state[p, 0], state[q, 0] = y, z
        return
    for first in range(0, m, LANES):
        _pair_of_many(x, begin, end, base, one, two, state, p, q, rows, first, min(m - first, LANES))


@inner
def _sma(plan: Ints, p: int, state: Floats, x: Floats, begin: int, end: int, base: int, rows: Floats) -> None:
    """Average `p` of the list, an `SMA`: its total in `state`, made anew once a turn."""
    window, j = plan[p].window, plan[p].place
    for k in range(x.shape[1]):
        total = state[p, k] if begin > 0 else 0.0
        place = (begin + window - 1) % window
        for i in range(begin, end):
            place = place + 1 if place < window - 1 else 0
            if place == window - 1:
                total = 0.0
                for b in range(i - window + 1, i + 1):
                    total += x[b, k]
            else:
                total = sma_step(total, x[i, k], x[i - window, k] if i >= window else 0.0)
            if i >= base:
                rows[i - base, k, j] = total / window if i >= window - 1 else NAN
        state[p, k] = total


@kernel
def dense_rows(plan: Ints, state: Floats, x: Floats, begin: int, end: int, base: int, rows: Floats) -> None:
    """Run averages over the bars `begin` to `end` of x, f8[n, M]; from bar `base` on write row i - base of rows,
    f8[r, M, W], NaN where a value isn't ready.
    """
    waiting = -1  # an EMA that goes together with the next one
    for p in range(len(plan)):
        if plan[p].op == SMA:
            _sma(plan, p, state, x, begin, end, base, rows)
        elif plan[p].op == EMA:
            if waiting < 0:
                waiting = p
            else:
                _emas(plan, waiting, p, state, x, begin, end, base, rows)
                waiting = -1
    if waiting >= 0:
        _emas(plan, waiting, waiting, state, x, begin, end, base, rows)


@kernel
def all_there(close: Floats) -> bool:
    """Whether no close of close, f8[n, M], is missing; one pass, without a branch."""
    n, m = close.shape
    prices = address_of(close)
    faults = 0
    for place in range(n * m):
        price = f8_at(prices, place)
        faults |= int(price - price != 0.0)
    return faults == 0
