"""Strategies as machine code: compiled functions behind a pointer (the default), inlined loops (sweeps), and a Python
hook.

A compiled strategy answers `ask(values, states, held, params) -> weights, status`. The status is there because an
exception in a raw pointer would come back as a weight of 0.0, and sell. The loop is compiled once for all strategies
and kept on disk; a strategy's own few lines are compiled in each process, and no address is ever stored.
"""

import re
import types as pytypes
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from risk.memory import Ref, f8_at, put_f8, u1_at
from signals.jit import kernel, settle_types
from strategies.base import HELD, Strategy

Native = Callable[..., Any]


@intrinsic  # type: ignore[untyped-decorator]
def _call(typingctx: Any, address: Any, rows: Any, count: Any, params: Any, out: Any) -> Any:
    """Call the C function int64(rows, count, params, out) at `address`."""
    signature = types.int64(types.int64, types.int64, types.int64, types.int64, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        shape = ir.FunctionType(word, [word] * 4)
        return builder.call(builder.inttoptr(args[0], shape.as_pointer()), args[1:])

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def call_for(typingctx: Any, address: Any, record: Any) -> Any:
    """Call the C function int64(address of the record) at `address`."""
    signature = types.int64(types.int64, record)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        target = builder.inttoptr(args[0], ir.FunctionType(word, [word]).as_pointer())
        return builder.call(target, [builder.ptrtoint(args[1], word)])

    return signature, codegen


@kernel
def ask(tape: Ref, j: int) -> int:
    """Let the strategy of `tape` weigh the symbols of decision `j` that are known; returns its status.

    When every symbol is known the function sees the values where they lie; else the known ones are moved together
    first, so that a symbol nobody knows about is not in the strategy's world at all. Weights of the others stay NaN.
    """
    count = tape.symbols
    width = tape.width
    states = tape.states + j * count
    known = 0
    for k in range(count):
        if u1_at(states, k) == 0:
            known += 1
    if known == 0:
        return 0
    rows = tape.rows + j * count * width * 8
    weights = tape.weights + j * count * 8
    if known == count:
        return _call(tape.strategy, rows, count, tape.params, weights)
    place = 0
    for k in range(count):
        if u1_at(states, k) == 0:
            for s in range(width):
                put_f8(tape.scratch, place * width + s, f8_at(rows, k * width + s))
            place += 1
    answers = tape.scratch + count * width * 8
    status = _call(tape.strategy, tape.scratch, known, tape.params, answers)
    place = 0
    for k in range(count):
        if u1_at(states, k) == 0:
            put_f8(weights, k, f8_at(answers, place))
            place += 1
    return status


@kernel
def ask_all(tape: Ref, values: int, count: int, weights: int) -> int:
    """`ask` for a decision at which every symbol is known: addresses of its values and of the weights to be written."""
    return _call(tape.strategy, values, count, tape.params, weights)


@intrinsic  # type: ignore[untyped-decorator]
def _records(typingctx: Any, address: Any, like: Any) -> Any:
    """The pointer to records of `like`'s type at an address."""
    pointer = types.CPointer(like.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(types.int64, like), codegen


def blind_dtype(strategy: Strategy, *, narrow: bool) -> np.dtype[Any]:
    """The strategy's row without the weight held: a function that compiles for it can't look at that. narrow: there is
    no room for it either.
    """
    whole = strategy.row_dtype
    fields = {name: spot for name, spot in (whole.fields or {}).items() if name != HELD}
    kinds, offsets = [spot[0] for spot in fields.values()], [spot[1] for spot in fields.values()]
    size = 8 * len(fields) if narrow else whole.itemsize
    return np.dtype({"names": list(fields), "formats": kinds, "offsets": offsets, "itemsize": size})


def entry_point(strategy: Strategy, row_dtype: np.dtype[Any]) -> Native:
    """The strategy's function as plain Python over addresses: (rows, count, params, out) -> status.

    Status 1: it raised, or answered fewer or more weights than there are symbols. Status 2: a weight that is no number;
    in `allocate` NaN says HOLD and is let through.
    """
    rule = numba.njit(error_model="python")(strategy.function)
    row_like = np.zeros(1, row_dtype)
    param_like = np.zeros(1, strategy.param_dtype)
    weight_like = np.zeros(1)

    @numba.njit(error_model="python", forceinline=True)  # type: ignore[untyped-decorator]
    def weigh(rows: Any, given: Any, weights: Any) -> int:
        status = 0
        for k in range(len(weights)):
            weight = rule(rows[k], given)
            weights[k] = weight
            if not np.isfinite(weight):
                status = 2
        return status

    @numba.njit(error_model="python", forceinline=True)  # type: ignore[untyped-decorator]
    def allocate(rows: Any, given: Any, weights: Any) -> int:
        status = 0
        answer = rule(rows, given)
        if len(answer) != len(weights):  # nothing else keeps what lies behind it from being read as weights
            return 1
        for k in range(len(weights)):
            weights[k] = answer[k]
            if np.isinf(answer[k]):
                status = 2
        return status

    every = weigh if strategy.form == "weigh" else allocate

    def answer(rows_at: int, count: int, params_at: int, out_at: int) -> int:
        rows = numba.carray(_records(rows_at, row_like), (count,))
        given = numba.carray(_records(params_at, param_like), (1,))
        weights = numba.carray(_records(out_at, weight_like), (count,))
        # Nothing but this call stands between the words: from Python 3.12 on numba lets through what is raised in the
        # first turn of a loop that stands there.
        try:
            status = every(rows, given[0], weights)
        except Exception:
            status = 1
        return status

    return answer


_SIGNATURE = types.int64(types.int64, types.int64, types.int64, types.int64)


@dataclass(frozen=True)
class Compiled:
    """A strategy's machine code. `address` is good while this object lives, in this process only; blind: it doesn't
    see the weights held.
    """

    address: int
    code: Any
    blind: bool


class CompileWarning(UserWarning):
    """A strategy couldn't be compiled and runs interpreted."""


_KEPT: dict[Any, Compiled | str] = {}


def compile_pointer(strategy: Strategy, *, narrow: bool = False) -> Compiled | None:
    """A strategy's function behind a pointer, compiled once for this process; None, and a warning with the reason, when
    it can't be compiled: it then runs interpreted.

    narrow: for rows that have no room for the weight held, which only a strategy that is blind to it can be asked by.
    """
    key = (strategy.function, strategy.row_dtype.names, strategy.param_dtype.names, narrow)
    if key not in _KEPT:
        try:
            _KEPT[key] = _compiled(strategy, narrow)
        except Exception as error:  # numba raises a zoo of types for code it can't compile
            _KEPT[key] = _reason(error)
    kept = _KEPT[key]
    if isinstance(kept, Compiled):
        return kept
    warnings.warn(f"{type(strategy).__name__} runs interpreted, slower: {kept}", CompileWarning, stacklevel=3)
    return None


def _reason(error: Exception) -> str:
    """What numba stumbled over, and where: the first lines of its account are always the same."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = next((line for line in lines if not line.startswith("Failed in nopython")), type(error).__name__)
    found = re.search(r'File "([^"]+)", line (\d+)', str(error))
    return f"{what} ({found[1]}, line {found[2]})" if found else what


def _compiled(strategy: Strategy, narrow: bool) -> Compiled:
    build = numba.cfunc(_SIGNATURE, error_model="python")
    if narrow:
        code = build(entry_point(strategy, blind_dtype(strategy, narrow=True)))
        return Compiled(address=code.address, code=code, blind=True)
    if strategy.form == "weigh":
        with suppress(Exception):  # it looks at the weight held, or can't be compiled at all
            code = build(entry_point(strategy, blind_dtype(strategy, narrow=False)))
            return Compiled(address=code.address, code=code, blind=True)
    code = build(entry_point(strategy, strategy.row_dtype))
    return Compiled(address=code.address, code=code, blind=False)


def clone(function: Native, *, into_callers: bool = False, free: bool = False, **replaced: Any) -> Native:
    """The same kernel source compiled anew with some of its globals replaced: one law, another callee.

    into_callers: written into what calls it; free: runs without the interpreter's lock, so that threads can share the
    work.
    """
    source = function.py_func  # type: ignore[attr-defined]
    twin = pytypes.FunctionType(source.__code__, {**source.__globals__, **replaced}, source.__name__)
    twin.__annotations__ = source.__annotations__
    dispatcher = numba.njit(error_model="numpy", fastmath=False, nogil=free, forceinline=into_callers)(twin)
    settle_types(dispatcher, twin)
    return dispatcher


def inlined_call(strategy: Strategy, *, narrow: bool) -> Native:
    """What stands in the place of the call through a pointer: the strategy's own function, parameters read at
    run time.
    """
    row_dtype = blind_dtype(strategy, narrow=True) if narrow else strategy.row_dtype
    direct = numba.njit(error_model="python", forceinline=True)(entry_point(strategy, row_dtype))

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def call(address: int, rows: int, count: int, params: int, out: int) -> int:
        return direct(rows, count, params, out)

    return call
