"""Recursions over numbers, each written once: the batch form is a loop over the step that the stream form calls.

State lies in a slab, f8[M, slots]: row `k` is a symbol's, `a` the first slot of this recursion, and `n` the number of
values it took before this one. No step creates an array, and each sets its slots when `n` is 0.
"""

import math
from typing import Any, TypeAlias

from signals.jit import kernel

Floats: TypeAlias = Any  # f8 array; numba infers the types, a checker can't follow items of arrays
Ints: TypeAlias = Any  # i8 array
Bytes: TypeAlias = Any  # u1 array
NAN = math.nan


@kernel
def finite(x: float) -> bool:
    """Neither NaN nor infinite."""
    return x - x == 0.0


@kernel
def ema_step(y: float, x: float, a: float) -> float:
    """Next exponential average."""
    return a * x + (1.0 - a) * y


@kernel
def sma_step(total: float, x: float, old: float) -> float:
    """Next sum over a window."""
    return total + (x - old)


@kernel
def rsi_step(slab: Floats, k: int, a: int, n: float, x: float, window: int) -> float:
    """Relative strength index; slots: last close, average gain, average loss."""
    last = slab[k, a]
    slab[k, a] = x
    if n == 0.0:
        slab[k, a + 1] = 0.0
        slab[k, a + 2] = 0.0
        return NAN
    gain = max(x - last, 0.0)
    loss = max(last - x, 0.0)
    if n <= window:  # the first averages are plain means
        slab[k, a + 1] += gain / window
        slab[k, a + 2] += loss / window
    else:
        slab[k, a + 1] += (gain - slab[k, a + 1]) / window
        slab[k, a + 2] += (loss - slab[k, a + 2]) / window
    both = slab[k, a + 1] + slab[k, a + 2]
    return 100.0 * slab[k, a + 1] / both if both > 0.0 else 50.0


@kernel
def atr_step(slab: Floats, k: int, a: int, n: float, high: float, low: float, close: float, window: int) -> float:
    """Average true range; slots: last close, average."""
    wide = high - low
    if n > 0.0:
        last = slab[k, a]
        wide = max(wide, abs(high - last), abs(low - last))
    else:
        slab[k, a + 1] = 0.0
    slab[k, a] = close
    if n < window:
        slab[k, a + 1] += wide / window
    else:
        slab[k, a + 1] += (wide - slab[k, a + 1]) / window
    average: float = slab[k, a + 1]
    return average


@kernel
def mean_step(slab: Floats, k: int, a: int, n: float, x: float, window: int) -> float:
    """Mean of the last `window` values; slots: sum, ring. The sum is made anew once a turn and so can't drift."""
    place = int(n) % window
    old = slab[k, a + 1 + place]
    slab[k, a + 1 + place] = x
    if n == 0.0:
        slab[k, a] = 0.0
    if place == window - 1:
        total = 0.0
        for i in range(window):
            total += slab[k, a + 1 + i]
        slab[k, a] = total
    else:
        slab[k, a] = sma_step(slab[k, a], x, old if n >= window else 0.0)
    mean: float = slab[k, a] / window
    return mean


@kernel
def moments_step(slab: Floats, k: int, a: int, n: float, x: float, window: int) -> None:
    """Take a value into a window's moments; slots: shift, sum, sum of squares, largest, mean, variance, ring.

    Sums are of deviations from a shift that lies among the values. They are made anew once a turn, and whenever the
    variance has become small against what went through them, so that a calm after a storm isn't made of rounding.
    """
    ring = a + 6
    place = int(n) % window
    old = slab[k, ring + place]
    slab[k, ring + place] = x
    if n == 0.0:
        slab[k, a] = x
        slab[k, a + 1] = slab[k, a + 2] = slab[k, a + 3] = 0.0
    filled = n >= window - 1
    step = x - slab[k, a]
    gone = old - slab[k, a] if n >= window else 0.0
    slab[k, a + 1] += step - gone
    slab[k, a + 2] += step * step - gone * gone
    slab[k, a + 3] = max(slab[k, a + 3], step * step)
    if not filled:
        return
    mean = slab[k, a + 1] / window
    variance = slab[k, a + 2] / window - mean * mean
    if place == window - 1 or variance < 1e-9 * slab[k, a + 3]:
        total = 0.0
        for i in range(window):
            total += slab[k, ring + i] - x
        shift = x + total / window
        total = squares = largest = 0.0
        for i in range(window):
            step = slab[k, ring + i] - shift
            total += step
            squares += step * step
            largest = max(largest, step * step)
        slab[k, a], slab[k, a + 1], slab[k, a + 2], slab[k, a + 3] = shift, total, squares, largest
        mean = total / window
        variance = squares / window - mean * mean
    slab[k, a + 4] = slab[k, a] + mean
    slab[k, a + 5] = max(variance, 0.0)


@kernel
def score_step(slab: Floats, k: int, a: int, n: float, x: float, window: int) -> float:
    """Standard score of a value against the `window` values before it."""
    value = NAN
    if n >= window:
        apart = x - slab[k, a + 4]
        if slab[k, a + 5] > 0.0:
            value = apart / math.sqrt(slab[k, a + 5])
        elif apart == 0.0:
            value = 0.0
    moments_step(slab, k, a, n, x, window)
    return value


@kernel
def volatility_step(slab: Floats, k: int, a: int, n: float, x: float, window: int, scale: float) -> float:
    """Root mean square of the last `window` log returns, times a scale; slots: last close, moments."""
    last = slab[k, a]
    slab[k, a] = x
    if n == 0.0:
        return NAN
    moments_step(slab, k, a + 1, n - 1.0, math.log(x / last), window)
    mean = slab[k, a + 5]
    return scale * math.sqrt(slab[k, a + 6] + mean * mean)


@kernel
def momentum_step(slab: Floats, k: int, a: int, n: float, x: float, window: int) -> float:
    """Return over `window` bars; slots: ring."""
    place = a + int(n) % window
    old = slab[k, place]
    slab[k, place] = x
    return x / old - 1.0 if n >= window else NAN


@kernel
def extreme_step(slab: Floats, k: int, a: int, n: float, x: float, window: int) -> None:
    """Take a value into a window's maximum; slots: maximum, its bar, ring. Scans only when the maximum leaves."""
    slab[k, a + 2 + int(n) % window] = x
    if n == 0.0 or x >= slab[k, a]:
        slab[k, a] = x
        slab[k, a + 1] = n
    elif slab[k, a + 1] <= n - window:
        best = n
        top = x
        for back in range(1, window):
            y = slab[k, a + 2 + int(n - back) % window]
            if y > top:
                top = y
                best = n - back
        slab[k, a] = top
        slab[k, a + 1] = best


@kernel
def donchian_step(
    slab: Floats, k: int, a: int, n: float, high: float, low: float, close: float, window: int, part: int
) -> float:
    """Channel over the `window` bars before this one; part 0 = the close's place in it, 1 = top, 2 = bottom."""
    below = a + 2 + window
    value = NAN
    if n >= window:
        top, bottom = slab[k, a], -slab[k, below]
        if part == 1:
            value = top
        elif part == 2:
            value = bottom
        else:
            value = (close - bottom) / (top - bottom) if top > bottom else 0.5
    extreme_step(slab, k, a, n, high, window)
    extreme_step(slab, k, below, n, -low, window)
    return value
