"""Control 23: know when to do nothing. A bar far outside the trailing spread of returns or volumes pauses new
orders; so does a flood of posts about the coin (control 21), which `signals.guard` finds out.
"""

import numpy as np

from risk.memory import Ref, book_of, limits_of, u1_at
from risk.orders import cancel, note
from risk.records import EV_FROZEN, NOVELTY, R_FLOOD, R_NOVELTY, Array
from signals.four import Number
from signals.jit import hot, inner, kernel
from signals.kernels import ema_step
from signals.raw import LANES, address_of, f8_at, i8_at, lanes, put_f8, put_i8, put_u1

MEMORY = 1.0 / 500.0  # weight of one bar in the trailing mean and variance
LEAST = 100  # bars seen before anything can be called unusual
UNUSUAL, FLOODED = 1, 2  # bits of what is told of a decision bar
BLOCK = 128  # bars of some symbols looked at before the next ones': what fits the processor's cache
VECTOR = 8  # symbols that its vectors hold


@hot
def var_step(var: Number, off: Number) -> Number:
    """Next exponentially weighted variance, of what lies `off` the mean before."""
    return (1.0 - MEMORY) * (var + MEMORY * off * off)


@hot
def learned(mean: float, var: float, x: float) -> tuple[float, float, float]:
    """(distance from the mean before, new mean, new variance): exponentially weighted moments (West 1979)."""
    off = x - mean
    return off, ema_step(mean, x, MEMORY), var_step(var, off)


@hot
def far_off(off: float, var: float, extra: float, v_var: float, z2: float, v2: float) -> bool:
    """Whether a return, or a volume above the mean, lies further from its mean than so many standard deviations."""
    return ((off * off > z2 * var) & (off != 0.0)) | ((extra > 0.0) & (extra * extra > v2 * v_var))


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
    unusual = far_off(off, var, extra, v_var, z2, v2)
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


Room = tuple[int, int, int, int, int, int]  # lanes for each field of such a record


@hot
def _take(room: Room, k: int) -> Seen:
    """What lane `k` of each holds."""
    prev, seen, mean, var, v_mean, v_var = room
    return f8_at(prev, k), i8_at(seen, k), f8_at(mean, k), f8_at(var, k), f8_at(v_mean, k), f8_at(v_var, k)


@hot
def _put(room: Room, k: int, one: Seen) -> None:
    """Write lane `k` of each."""
    prev, seen, mean, var, v_mean, v_var = room
    put_f8(prev, k, one[0])
    put_i8(seen, k, one[1])
    put_f8(mean, k, one[2])
    put_f8(var, k, one[3])
    put_f8(v_mean, k, one[4])
    put_f8(v_var, k, one[5])


@inner
def _watch_side_by_side(
    memory: Array, close: Array, volume: Array, z2: float, v2: float, strange: Array, first: int, count: int
) -> None:
    """`watch` for 8 or more symbols from `first` on, in the processor's vectors.

    What doesn't fill a vector goes into another together with symbols that are in one already: the same comes out. The
    loops stand where the lanes are made, or they would be compiled without the knowledge that nothing else lies there.
    """
    n, symbols = close.shape
    room = lanes(), lanes(), lanes(), lanes(), lanes(), lanes()
    rest = lanes(), lanes(), lanes(), lanes(), lanes(), lanes()
    odd, odd_rest = lanes(), lanes()
    whole = count // VECTOR * VECTOR
    again = VECTOR if whole < count else 0
    last = count - again
    for k in range(whole):
        _put(room, k, opened(memory[first + k]))
    for k in range(again):
        _put(rest, k, opened(memory[first + last + k]))
    price, size, told = address_of(close) + first * 8, address_of(volume) + first * 8, address_of(strange) + first
    for _ in range(n):
        for k in range(whole):
            unusual, one = judged(f8_at(price, k), f8_at(size, k), _take(room, k), z2, v2)
            _put(room, k, one)
            put_i8(odd, k, int(unusual))
        for k in range(again):
            unusual, one = judged(f8_at(price, last + k), f8_at(size, last + k), _take(rest, k), z2, v2)
            _put(rest, k, one)
            put_i8(odd_rest, k, int(unusual))
        for k in range(whole):
            put_u1(told, k, i8_at(odd, k))
        for k in range(again):
            put_u1(told, last + k, i8_at(odd_rest, k))
        price, size, told = price + symbols * 8, size + symbols * 8, told + symbols
    for k in range(whole):
        shut(memory[first + k], _take(room, k))
    for k in range(again):
        shut(memory[first + last + k], _take(rest, k))


Block = tuple[int, int, int, int, int]  # lanes: returns, how far off those and the spread before, so for volumes


@hot
def note_returns(block: Block, price: int, step: int, count: int, state: Seen) -> bool:
    """Write the returns of LANES closes, `step` numbers apart from address `price` on; False when fewer than that are
    there, or they can't all be judged.
    """
    x, last = block[0], state[0]
    if count < LANES or not last > 0.0 or state[1] < LEAST:
        return False
    first = f8_at(price, 0)
    put_f8(x, 0, first / last - 1.0)
    whole = first > 0.0
    for r in range(1, LANES):
        put_f8(x, r, f8_at(price, r * step) / f8_at(price, (r - 1) * step) - 1.0)
        whole &= f8_at(price, r * step) > 0.0
    return whole


@hot
def note_verdicts(block: Block, told: int, step: int, z2: float, v2: float) -> None:
    """Write down which bars of a block are unusual: told is the address of the first one's verdict."""
    odd, off, var_then, extra, v_var_then = block  # the returns are not needed any more
    for r in range(LANES):
        unusual = far_off(f8_at(off, r), f8_at(var_then, r), f8_at(extra, r), f8_at(v_var_then, r), z2, v2)
        put_i8(odd, r, int(unusual))
    for r in range(LANES):
        put_u1(told, r * step, i8_at(odd, r))


@inner
def _watch_alone(memory: Ref, price: int, size: int, told: int, step: int, rows: int, z2: float, v2: float) -> None:
    """`watch` for one symbol: addresses of its first bar's close, volume and verdict, `step` symbols apart.

    Where LANES bars are all there, what waits for the bar before (means and variances) is kept apart from what doesn't,
    which the processor's vectors do; the same comes out.
    """
    one = opened(memory)
    block = lanes(), lanes(), lanes(), lanes(), lanes()
    for begin in range(0, rows, LANES):
        count = min(LANES, rows - begin)
        skip = begin * step * 8
        if not note_returns(block, price + skip, step, count, one):
            for r in range(begin, begin + count):
                unusual, one = judged(f8_at(price, r * step), f8_at(size, r * step), one, z2, v2)
                put_u1(told, r * step, int(unusual))
            continue
        x, off, var_then, extra, v_var_then = block
        _, seen, mean, var, v_mean, v_var = one
        for r in range(LANES):
            put_f8(var_then, r, var)
            put_f8(v_var_then, r, v_var)
            distance, mean, var = learned(mean, var, f8_at(x, r))
            put_f8(off, r, distance)
            distance, v_mean, v_var = learned(v_mean, v_var, f8_at(size, (begin + r) * step))
            put_f8(extra, r, distance)
        note_verdicts(block, told + begin * step, step, z2, v2)
        one = f8_at(price, (begin + LANES - 1) * step), seen + LANES, mean, var, v_mean, v_var
    shut(memory, one)


@kernel
def watch(memory: Array, close: Array, volume: Array, return_z: float, volume_z: float, strange: Array) -> None:
    """Judge each decision bar against the bars before it, then learn it: strange[i, k] = 1 where it is unusual.

    memory: NOVELTY[M], carried on from call to call, so that one bar at a time and a year at once give the same; close,
    volume: f8[n, M], NaN where there is no bar; strange: u1[n, M]. z = (x - mean) / sd with the present bar left out.
    """
    n, symbols = close.shape
    z2, v2 = return_z * return_z, volume_z * volume_z
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        prices, volumes, told = close[begin:end], volume[begin:end], strange[begin:end]
        k = 0
        while symbols >= VECTOR and k < symbols:
            count = min(symbols - k, LANES)
            if 0 < symbols - k - count < VECTOR:
                count -= VECTOR
            _watch_side_by_side(memory, prices, volumes, z2, v2, told, k, count)
            k += count
        if k > 0:
            continue
        at, size, flags = address_of(prices), address_of(volumes), address_of(told)
        for k in range(symbols):
            _watch_alone(memory[k], at + k * 8, size + k * 8, flags + k, symbols, end - begin, z2, v2)


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
