"""What a run's decisions look at, made a stretch of rows at a time while the loop runs, in room that is used again.

A year of signal values is many times what the processor's cache holds: written out at once and read again later it
costs more than all that is done with it. So where every bar is there and decided on at its close, and every signal is
an average of closes (or is at hand already, in a sweep), values, weights and what is unusual are made for some
thousand symbols at a time by the same kernels, just before the loop comes there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from backtest.grid import Grid
from backtest.tape import TAPE, strike_rows
from risk.memory import Ref, f8_at, put_f8, reader
from risk.novelty import (
    MEMORY,
    fresh_memory,
    note_returns,
    note_verdicts,
    opened,
    shut,
    var_step,
    watch,
)
from risk.records import NOVELTY, Array
from signals.four import four, parts
from signals.inputs import Inputs
from signals.jit import inner, kernel
from signals.kernels import ema_step
from signals.kernels_dense import AVERAGE, dense_rows, interleave
from signals.ops import EMA
from signals.raw import LANES, lanes

STRETCH = 8192  # symbols, over several rows, that are made ready at once: what fits the processor's second cache

# Addresses and sizes: averages AVERAGE[A] with their state f8[A, M], copies COPY[C], bars of all n rows and of the
# `first` bars before them f8[first + n, M], novelty memory, room f8[rows, M, S + 1] and f8[rows, M].
FEED = np.dtype([
    ("averages", "i8"), ("n_averages", "i8"), ("state", "i8"), ("copies", "i8"), ("n_copies", "i8"),
    ("close", "i8"), ("volume", "i8"), ("first", "i8"), ("before", "i8"),
    ("memory", "i8"), ("watches", "i8"), ("return_z", "f8"), ("volume_z", "f8"),
    ("room", "i8"), ("weights", "i8"), ("stretch", "i8"),
    ("struck", "i8"),  # 1: which rows are plain is known already
])  # fmt: skip
COPY = np.dtype([("place", "i8"), ("values", "i8")])  # column of a row, address of f8[n, M]

feed_at, tape_at = reader(FEED), reader(TAPE)
copy_at, _memory_at = reader(COPY), reader(NOVELTY)


def _view(dtype: np.dtype[Any], dimensions: int) -> Any:
    """Intrinsic (address, shape) -> an array there, C-contiguous and owned by nobody."""
    kind = numba.from_dtype(dtype)

    @intrinsic  # type: ignore[untyped-decorator]
    def pointer(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(types.CPointer(kind)))

        return types.CPointer(kind)(types.int64), codegen

    return pointer


_f8, _u1 = _view(np.dtype("f8"), 2), _view(np.dtype("u1"), 2)
_averages, _memory = _view(AVERAGE, 1), _view(NOVELTY, 1)


@kernel
def _copy(tape: Ref, plan: Ref, begin: int, end: int) -> None:
    """Columns that are at hand into their places of the room."""
    symbols, width = tape.symbols, tape.width
    if width == 2 and plan.n_copies == 2 and copy_at(plan.copies, 0).place == 0:
        skip = begin * symbols * 8
        one, two = copy_at(plan.copies, 0).values + skip, copy_at(plan.copies, 1).values + skip
        interleave(one, two, plan.room, (end - begin) * symbols)
        return
    for c in range(plan.n_copies):
        copy = copy_at(plan.copies, c)
        values = copy.values + begin * symbols * 8
        target = plan.room + copy.place * 8
        for place in range((end - begin) * symbols):
            put_f8(target, place * width, f8_at(values, place))


@kernel
def _watch(tape: Ref, plan: Ref, begin: int, end: int, strange: Array) -> None:
    """What is unusual among the bars `begin` to `end`, counted from the first one that was before the run."""
    symbols = tape.symbols
    skip = begin * symbols * 8
    watch(
        numba.carray(_memory(plan.memory), (symbols,)),
        numba.carray(_f8(plan.close + skip), (end - begin, symbols)),
        numba.carray(_f8(plan.volume + skip), (end - begin, symbols)),
        plan.return_z,
        plan.volume_z,
        strange,
    )


@inner
def _average_and_watch(plan: Ref, one: Ref, two: Ref, tape: Ref, begin: int, end: int, states: Array) -> int:
    """Two `EMA` of the one symbol there is, and control 23, over the same bars: `dense_rows` and `watch` at once. Each
    number waits for the one before it only, so that all four averages take the time of one. states: f8[2], of the EMA.

    Goes by whole blocks of bars that can all be judged, and returns the first bar that is left to those two.
    """
    memory, first, width = _memory_at(plan.memory, 0), plan.first, tape.width
    y, z, z2, v2 = states[0], states[1], plan.return_z * plan.return_z, plan.volume_z * plan.volume_z
    weights, place, place_b = four(one.a, two.a, MEMORY, MEMORY), one.place, two.place
    state = opened(memory)
    x, off, var_then, extra, v_var_then = block = lanes(), lanes(), lanes(), lanes(), lanes()
    at = begin
    while note_returns(block, plan.close + (first + at) * 8, 1, min(LANES, end - at), state):
        price, size = plan.close + (first + at) * 8, plan.volume + (first + at) * 8
        row = plan.room + (at - begin) * width * 8
        _, seen, mean, var, v_mean, v_var = state
        means, spreads = four(y, z, mean, v_mean), four(0.0, 0.0, var, v_var)
        for r in range(LANES):
            _, _, var, v_var = parts(spreads)
            put_f8(var_then, r, var)
            put_f8(v_var_then, r, v_var)
            news = four(f8_at(price, r), f8_at(price, r), f8_at(x, r), f8_at(size, r))
            far = news - means
            means, spreads = ema_step(means, news, weights), var_step(spreads, far)
            _, _, mean, v_mean = parts(far)
            put_f8(off, r, mean)
            put_f8(extra, r, v_mean)
            y, z, _, _ = parts(means)
            put_f8(row, r * width + place, y)
            put_f8(row, r * width + place_b, z)
        note_verdicts(block, tape.strange + at, 1, z2, v2)
        y, z, mean, v_mean = parts(means)
        _, _, var, v_var = parts(spreads)
        state = f8_at(price, LANES - 1), seen + LANES, mean, var, v_mean, v_var
        at += LANES
    states[0], states[1] = y, z
    shut(memory, state)
    return at


@inner
def _ready(average: Ref, bar: int) -> bool:
    """Whether it is an `EMA` that has seen enough by then."""
    return bool(average.op == EMA and bar >= average.warm)


@kernel
def _refill(tape: Ref) -> None:
    """Make the next stretch ready: signal values, what is unusual, which rows are plain."""
    plan = feed_at(tape.feed, 0)
    begin, symbols, first = tape.ready, tape.symbols, plan.first
    end = min(begin + plan.stretch, tape.n)
    bars = numba.carray(_f8(plan.close), (first + tape.n, symbols))
    rows = numba.carray(_f8(plan.room), (plan.stretch, symbols, tape.width))
    averages = numba.carray(_averages(plan.averages), (plan.n_averages,))
    state = numba.carray(_f8(plan.state), (plan.n_averages, symbols))
    strange = numba.carray(_u1(tape.strange + begin * symbols), (end - begin, symbols))
    _copy(tape, plan, begin, end)
    base = first + begin
    made = begin  # bars before it have the first two averages, and are judged
    if begin > 0 and symbols == 1 and plan.watches != 0 and plan.n_averages > 1:
        if _ready(averages[0], base) and _ready(averages[1], base):
            made = _average_and_watch(plan, averages[0], averages[1], tape, begin, end, state[:2, 0])
    if made > begin:
        dense_rows(averages[:2], state[:2], bars, first + made, first + end, base, rows)
        dense_rows(averages[2:], state[2:], bars, base, first + end, base, rows)
    else:
        since = 0 if begin == 0 else base  # the bars before the run warm up what the first stretch needs
        dense_rows(averages, state, bars, since, first + end, base, rows)
    if plan.watches != 0:
        if begin == 0 and first > 0:
            _watch(tape, plan, 0, first, numba.carray(_u1(plan.before), (first, symbols)))
        _watch(tape, plan, first + made, first + end, strange[made - begin :])
    if plan.struck == 0:
        strike_rows(
            numba.carray(_u1(tape.plain + begin), (end - begin,)),
            bars[base : first + end],
            numba.carray(_u1(tape.states + begin * symbols), (end - begin, symbols)),
            strange,
        )
    tape.rows = plan.room - begin * symbols * tape.width * 8  # decisions keep their numbers
    tape.weights = plan.weights - begin * symbols * 8
    tape.ready = end


def refill(tape_address: int) -> int:
    """`_refill` for the tape at an address, to be called through a pointer."""
    _refill(tape_at(tape_address, 0))
    return 0


@cache
def entry_point() -> Any:
    """`refill` compiled, or loaded from disk."""
    return numba.cfunc(types.int64(types.int64), cache=True, error_model="numpy", fastmath=False)(refill)


def follows(bars: Grid, seen: Inputs, first: int) -> bool:
    """Whether a run's rows are the bars its signals see, from bar `first` on, each ending with a decision."""
    n, symbols = bars.close.shape
    skip = first * symbols * 8
    return (
        len(seen.close_ns) == len(seen.decide_ns) == first + n
        and bars.close.ctypes.data == seen.close.ctypes.data + skip
        and bars.close_ns.ctypes.data == seen.close_ns.ctypes.data + first * 8
        and int(np.count_nonzero(bars.decides)) == n
    )


class Feed:
    """The arrays by which `refill` works, and `address`, that of the FEED record by which it reaches them.

    bars: (close, volume) f8[first + n, M]; copies: f8[n, M] by column of a row; novelty: limits of control 23, or None
    when what is unusual is known already; struck: so is which rows are plain.
    """

    def __init__(
        self, bars: tuple[Array, Array], first: int, width: int, *, averages: Array, copies: dict[int, Array],
        novelty: tuple[float, float] | None, struck: bool = False,
    ) -> None:  # fmt: skip
        close, volume = bars
        symbols = close.shape[1]
        stretch = max(STRETCH // symbols, 1)
        self.copies = copies
        columns = np.zeros(len(copies), COPY)
        self.arrays = {
            "averages": averages, "state": np.zeros((len(averages), symbols)), "copies": columns, "close": close,
            "volume": volume, "memory": fresh_memory(symbols), "before": np.zeros((first, symbols), np.uint8),
            "room": np.zeros((stretch, symbols, width)), "weights": np.empty((stretch, symbols)),
        }  # fmt: skip
        self._record = np.zeros(1, FEED)
        for name, array in self.arrays.items():
            assert array.flags.c_contiguous, name
            self._record[name] = array.ctypes.data
        self._record["n_averages"], self._record["n_copies"] = len(averages), len(copies)
        self._record["first"], self._record["stretch"], self._record["struck"] = first, stretch, struck
        self.struck = struck
        if novelty is not None:
            self._record["watches"] = 1
            self._record["return_z"], self._record["volume_z"] = novelty
        self.address = int(self._record.ctypes.data)
        self.code = entry_point()
        self.copy(copies)

    def copy(self, copies: dict[int, Array]) -> None:
        """Put other columns, f8[n, M], in the places of those at hand."""
        self.copies = copies
        for row, (place, values) in zip(self.arrays["copies"], copies.items(), strict=True):
            row["place"], row["values"] = place, values.ctypes.data

    def rewind(self) -> None:
        """Back to before the first bar."""
        self.arrays["memory"][:] = fresh_memory(len(self.arrays["memory"]))
