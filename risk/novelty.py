"""Control 23: know when to do nothing. A bar far outside the trailing spread of returns or volumes pauses new
orders; so does a flood of posts about the coin (control 21), which `signals.guard` finds out.
"""

import numpy as np

from risk.memory import Ref, book_of, limits_of, u1_at
from risk.orders import cancel, note
from risk.records import EV_FROZEN, NOVELTY, R_FLOOD, R_NOVELTY, Array
from signals.jit import hot, inner, kernel

MEMORY = 1.0 / 500.0  # weight of one bar in the trailing mean and variance
LEAST = 100  # bars seen before anything can be called unusual
UNUSUAL, FLOODED = 1, 2  # bits of what is told of a decision bar
BLOCK = 128  # bars of some symbols looked at before the next ones': what fits the processor's cache


@hot
def learned(mean: float, var: float, x: float) -> tuple[float, float, float]:
    """(distance from the mean before, new mean, new variance): exponentially weighted moments (West 1979)."""
    off = x - mean
    return off, (1.0 - MEMORY) * mean + MEMORY * x, (1.0 - MEMORY) * (var + MEMORY * off * off)


Seen = tuple[float, int, float, float, float, float]  # a NOVELTY record in the processor's registers


@hot
def judged(price: float, volume: float, state: Seen, z2: float, v2: float) -> tuple[bool, Seen]:
    """(unusual, the state with this bar learnt); a bar that isn't there changes nothing.

    `&` and choices in place of branches: the processor would guess wrong at every other volume.
    """
    prev, seen, mean, var, v_mean, v_var = state
    there = price > 0.0
    both = there & (prev > 0.0)
    off, mean_now, var_now = learned(mean, var, price / prev - 1.0)
    extra, v_mean_now, v_var_now = learned(v_mean, v_var, volume)
    unusual = (off * off > z2 * var) & (off != 0.0)
    unusual |= (extra > 0.0) & (extra * extra > v2 * v_var)
    first = volume if there else v_mean  # the first bar's volume begins the mean
    learnt = (
        price if there else prev,
        seen + 1 if both else seen,
        mean_now if both else mean,
        var_now if both else var,
        v_mean_now if both else first,
        v_var_now if both else v_var,
    )
    return both & (seen >= LEAST) & unusual, learnt


@hot
def opened(state: Ref) -> Seen:
    """What the record holds."""
    return state.prev_close, state.seen, state.return_mean, state.return_var, state.volume_mean, state.volume_var


@hot
def shut(state: Ref, seen: Seen) -> None:
    """Write it back."""
    state.prev_close, state.seen, state.return_mean, state.return_var, state.volume_mean, state.volume_var = seen


@kernel
def watch(memory: Array, close: Array, volume: Array, return_z: float, volume_z: float, strange: Array) -> None:
    """Judge each decision bar against the bars before it, then learn it: strange[i, k] = 1 where it is unusual.

    memory: NOVELTY[M], carried on from call to call, so that one bar at a time and a year at once give the same; close,
    volume: f8[n, M], NaN where there is no bar; strange: u1[n, M]. z = (x - mean) / sd with the present bar left out.
    """
    n, symbols = close.shape
    z2 = return_z * return_z
    v2 = volume_z * volume_z
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        for k in range(0, symbols - 1, 2):  # two at a time: each step waits for the one before, so they take turns
            one, two = opened(memory[k]), opened(memory[k + 1])
            for i in range(begin, end):
                strange[i, k], one = judged(close[i, k], volume[i, k], one, z2, v2)
                strange[i, k + 1], two = judged(close[i, k + 1], volume[i, k + 1], two, z2, v2)
            shut(memory[k], one)
            shut(memory[k + 1], two)
        if symbols % 2 == 1:
            one = opened(memory[symbols - 1])
            for i in range(begin, end):
                strange[i, symbols - 1], one = judged(close[i, symbols - 1], volume[i, symbols - 1], one, z2, v2)
            shut(memory[symbols - 1], one)


@hot
def heed(desk: Ref, now: int, strange: int) -> None:
    """Pause new orders in every symbol whose decision bar was unusual: strange is the address of u1[M]."""
    for k in range(desk.symbols):
        told = u1_at(strange, k)
        if told & UNUSUAL != 0:
            pause(desk, k, now + limits_of(desk).novelty_pause_ns, R_NOVELTY)
        if told & FLOODED != 0:
            freeze(desk, k, now)


@hot
def pause(desk: Ref, k: int, until: int, rule: int) -> None:
    """No new orders of symbol `k` until then; never shorter than what holds already."""
    book = book_of(desk, k)
    if until > book.novel_until:
        book.novel_until = until
        book.novel_rule = rule


@inner
def freeze(desk: Ref, k: int, now: int) -> None:
    """No new risk in symbol `k` while its posts aren't to be trusted: entries that wait at the venue are cancelled."""
    limits = limits_of(desk)
    book = book_of(desk, k)
    if not (book.novel_rule == R_FLOOD and now < book.novel_until):
        note(desk, now, EV_FROZEN, R_FLOOD, k, -1, 0.0, float(limits.flood_pause_ns), book.qty, book.last)
    pause(desk, k, now + limits.flood_pause_ns, R_FLOOD)
    cancel(desk, k, True, False, False, now)


def fresh_memory(symbols: int) -> Array:
    """What `watch` starts from."""
    return np.zeros(symbols, NOVELTY)
