"""Recursions over numbers, each written once: the batch form is a loop over the step that the stream form calls.

State lies in a slab of floats: `a` is the first slot of this recursion for one symbol, and `n` the number of values it
took before this one. No step creates an array, and each sets its slots when `n` is 0.
"""

import math
from typing import Any, TypeAlias

from signals.bare import inner
from signals.four import Number

Floats: TypeAlias = Any  # f8 array; numba infers the types, a checker can't follow items of arrays
Ints: TypeAlias = Any  # i8 array
Bytes: TypeAlias = Any  # u1 array
NAN = math.nan


@inner
def finite(x: float) -> bool:
    """Neither NaN nor infinite."""
    return x - x == 0.0


@inner
def ema_step(y: Number, x: Number, a: Number) -> Number:
    """Next exponential average."""
    return a * x + (1.0 - a) * y


@inner
def sma_step(total: float, x: float, old: float) -> float:
    """Next sum over a window."""
    return total + (x - old)


@inner
def rsi_step(slab: Floats, a: int, n: float, x: float, window: int) -> float:
    """Relative strength index; slots: last close, average gain, average loss."""
    last = slab[a]
    slab[a] = x
    if n == 0.0:
        slab[a + 1] = 0.0
        slab[a + 2] = 0.0
        return NAN
    gain = max(x - last, 0.0)
    loss = max(last - x, 0.0)
    if n <= window:  # the first averages are plain means
        slab[a + 1] += gain / window
        slab[a + 2] += loss / window
    else:
        slab[a + 1] += (gain - slab[a + 1]) / window
        slab[a + 2] += (loss - slab[a + 2]) / window
    both = slab[a + 1] + slab[a + 2]
    return 100.0 * slab[a + 1] / both if both > 0.0 else 50.0


@inner
def atr_step(slab: Floats, a: int, n: float, high: float, low: float, close: float, window: int) -> float:
    """Average true range; slots: last close, average."""
    wide = high - low
    if n > 0.0:
        last = slab[a]
        wide = max(wide, abs(high - last), abs(low - last))
    else:
        slab[a + 1] = 0.0
    slab[a] = close
    if n < window:
        slab[a + 1] += wide / window
    else:
        slab[a + 1] += (wide - slab[a + 1]) / window
    average: float = slab[a + 1]
    return average


@inner
def mean_step(slab: Floats, a: int, n: float, x: float, window: int) -> float:
    """Mean of the last `window` values; slots: sum, ring. The sum is made anew once a turn and so can't drift."""
    place = int(n) % window
    old = slab[a + 1 + place]
    slab[a + 1 + place] = x
    if n == 0.0:
        slab[a] = 0.0
    if place == window - 1:
        total = 0.0
        for i in range(window):
            total += slab[a + 1 + i]
        slab[a] = total
    else:
        slab[a] = sma_step(slab[a], x, old if n >= window else 0.0)
    mean: float = slab[a] / window
    return mean


@inner
def moments_step(slab: Floats, a: int, n: float, x: float, window: int) -> None:
    """Take a value into a window's moments; slots: shift, sum, sum of squares, largest, mean, variance, ring.

    Sums are of deviations from a shift that lies among the values. They are made anew once a turn, and whenever the
    variance has become small against what went through them, so that a calm after a storm isn't made of rounding.
    """
    ring = a + 6
    place = int(n) % window
    old = slab[ring + place]
    slab[ring + place] = x
    if n == 0.0:
        slab[a] = x
        slab[a + 1] = slab[a + 2] = slab[a + 3] = 0.0
    filled = n >= window - 1
    step = x - slab[a]
    gone = old - slab[a] if n >= window else 0.0
    slab[a + 1] += step - gone
    slab[a + 2] += step * step - gone * gone
    slab[a + 3] = max(slab[a + 3], step * step)
    if not filled:
        return
    mean = slab[a + 1] / window
    variance = slab[a + 2] / window - mean * mean
    if place == window - 1 or variance < 1e-9 * slab[a + 3]:
        total = 0.0
        for i in range(window):
            total += slab[ring + i] - x
        shift = x + total / window
        total = squares = largest = 0.0
        for i in range(window):
            step = slab[ring + i] - shift
            total += step
            squares += step * step
            largest = max(largest, step * step)
        slab[a], slab[a + 1], slab[a + 2], slab[a + 3] = shift, total, squares, largest
        mean = total / window
        variance = squares / window - mean * mean
    slab[a + 4] = slab[a] + mean
    slab[a + 5] = max(variance, 0.0)


@inner
def score_step(slab: Floats, a: int, n: float, x: float, window: int) -> float:
    """Standard score of a value against the `window` values before it."""
    value = NAN
    if n >= window:
        apart = x - slab[a + 4]
        if slab[a + 5] > 0.0:
            value = apart / math.sqrt(slab[a + 5])
        elif apart == 0.0:
            value = 0.0
    moments_step(slab, a, n, x, window)
    return value


@inner
def volatility_step(slab: Floats, a: int, n: float, x: float, window: int, scale: float) -> float:
    """Root mean square of the last `window` log returns, times a scale; slots: last close, moments."""
    last = slab[a]
    slab[a] = x
    if n == 0.0:
        return NAN
    moments_step(slab, a + 1, n - 1.0, math.log(x / last), window)
    mean = slab[a + 5]
    return scale * math.sqrt(slab[a + 6] + mean * mean)


@inner
def momentum_step(slab: Floats, a: int, n: float, x: float, window: int) -> float:
    """Return over `window` bars; slots: ring."""
    place = a + int(n) % window
    old = slab[place]
    slab[place] = x
    return x / old - 1.0 if n >= window else NAN


@inner
def extreme_step(slab: Floats, a: int, n: float, x: float, window: int) -> None:
    """Take a value into a window's maximum; slots: maximum, its bar, ring. Scans only when the maximum leaves."""
    place = int(n) % window
    slab[a + 2 + place] = x
    if n == 0.0 or x >= slab[a]:
        slab[a] = x
        slab[a + 1] = n
    elif slab[a + 1] <= n - window:
        best = n
        top = x
        for back in range(1, window):
            place = place - 1 if place > 0 else window - 1
            y = slab[a + 2 + place]
            if y > top:
                top = y
                best = n - back
        slab[a] = top
        slab[a + 1] = best


@inner
def donchian_step(
    slab: Floats, a: int, n: float, high: float, low: float, close: float, window: int, part: int
) -> float:
    """Channel over the `window` bars before this one; part 0 = the close's place in it, 1 = top, 2 = bottom."""
    below = a + 2 + window
    value = NAN
    if n >= window:
        top, bottom = slab[a], -slab[below]
        if part == 1:
            value = top
        elif part == 2:
            value = bottom
        else:
            value = (close - bottom) / (top - bottom) if top > bottom else 0.5
    extreme_step(slab, a, n, high, window)
    extreme_step(slab, below, n, -low, window)
    return value
