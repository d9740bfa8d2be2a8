"""How kernels reach their records: by address, through one header record, so that a call costs a pointer and no more.

Array arguments cost seven words each and a reference count; a desk of fourteen arrays made the loop a hundred times
slower and took a minute and a half to compile (measured). Here a desk is one record of addresses and sizes; the Python
object `risk.desk.Desk` owns the arrays and outlives every call. Vectors over symbols are handed over as the address of
f8[M].
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from risk.records import ACCOUNT, BOOK, EVENT, FILL, LATCH, LIMITS, MARKETS, ORDER, POLICY
from signals.jit import inner as kernel
from signals.raw import f8_at, i8_at, put_f8, put_i8, u1_at

__all__ = ["f8_at", "i8_at", "put_f8", "put_i8", "u1_at"]  # handed on to whoever works with records
F = TypeVar("F", bound=Callable[..., Any])
Ref = Any  # a record as kernels see it: fields are attributes, writing one writes to the owner's array

HEADER = np.dtype([
    ("account", "i8"), ("books", "i8"), ("orders", "i8"), ("limits", "i8"), ("markets", "i8"), ("policy", "i8"),
    ("latches", "i8"), ("tag_shares", "i8"), ("rate", "i8"), ("repeats", "i8"), ("intents", "i8"),
    ("busy", "i8"),
    ("fills", "i8"), ("events", "i8"), ("done", "i8"),
    ("symbols", "i8"), ("places", "i8"), ("rate_places", "i8"), ("log_places", "i8"),
    # entry points of kernels that are compiled apart (see `far`)
    ("latch", "i8"), ("cancel", "i8"), ("send", "i8"), ("after_fill", "i8"), ("protect", "i8"),
    ("plan", "i8"), ("act", "i8"),
    ("tend", "i8"), ("on_open", "i8"), ("on_inside", "i8"),
])  # fmt: skip


def reader(dtype: np.dtype[Any]) -> Callable[[int, int], Ref]:
    """Intrinsic (address, index) -> the record of `dtype` there."""
    record = numba.from_dtype(dtype)
    size = dtype.itemsize

    @intrinsic  # type: ignore[untyped-decorator]
    def at(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            offset = builder.mul(args[1], ir.Constant(ir.IntType(64), size))
            return builder.inttoptr(builder.add(args[0], offset), context.get_value_type(record))

        return record(types.int64, types.int64), codegen

    return at  # type: ignore[no-any-return]


_account, _book, _order, _limits = reader(ACCOUNT), reader(BOOK), reader(ORDER), reader(LIMITS)
_market, _policy, _latch, _fill, _event = (
    reader(MARKETS),
    reader(POLICY),
    reader(LATCH),
    reader(FILL),
    reader(EVENT),
)


@kernel
def account_of(desk: Ref) -> Ref:
    """The ACCOUNT record."""
    return _account(desk.account, 0)


@kernel
def limits_of(desk: Ref) -> Ref:
    """The LIMITS record."""
    return _limits(desk.limits, 0)


@kernel
def policy_of(desk: Ref) -> Ref:
    """The POLICY record."""
    return _policy(desk.policy, 0)


@kernel
def book_of(desk: Ref, k: int) -> Ref:
    """The BOOK record of symbol `k`."""
    return _book(desk.books, k)


@kernel
def market_of(desk: Ref, k: int) -> Ref:
    """The MARKETS record of symbol `k`."""
    return _market(desk.markets, k)


@kernel
def order_of(desk: Ref, place: int) -> Ref:
    """The working ORDER at `place`."""
    return _order(desk.orders, place)


@kernel
def done_of(desk: Ref, number: int) -> Ref:
    """Place `number` of the log of ended orders."""
    return _order(desk.done, number)


@kernel
def latch_of(desk: Ref, cause: int) -> Ref:
    """The LATCH of one cause."""
    return _latch(desk.latches, cause)


@kernel
def fill_of(desk: Ref, number: int) -> Ref:
    """Place `number` of the log of fills."""
    return _fill(desk.fills, number)


@kernel
def event_of(desk: Ref, number: int) -> Ref:
    """Place `number` of the log of events."""
    return _event(desk.events, number)


ORDER_WORDS = ORDER.itemsize // 8


@intrinsic  # type: ignore[untyped-decorator]
def _address(typingctx: Any, record: Any) -> Any:
    """Where a record lies."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(record), codegen


@kernel
def copy_order(source: Ref, target: Ref) -> None:
    """Copy one ORDER record over another."""
    here = _address(source)
    there = _address(target)
    for word in range(ORDER_WORDS):
        put_i8(there, word, i8_at(here, word))


FAR: dict[str, tuple[Callable[..., Any], Any]] = {}
_HEADER_TYPE = numba.from_dtype(HEADER)
_KINDS = {int: types.int64, float: types.float64, bool: types.boolean, None: types.void}


def _offset(field: str) -> int:
    """Where a field lies in the header."""
    assert HEADER.fields is not None
    return int(HEADER.fields[field][1])


def far(function: F) -> F:
    """A kernel compiled by itself and called through the header record, for what is large and not hot.

    Numba compiles into each caller a copy of all it calls, and of all those call: without such borders the loop would
    be optimised ten times over. First argument the desk, then numbers; kernels call it like any other.
    """
    name = function.__name__
    hints = inspect.signature(function)
    wanted = [_KINDS[parameter.annotation] for parameter in list(hints.parameters.values())[1:]]
    returned = _KINDS[hints.return_annotation]
    offset = _offset(name)
    FAR[name] = (function, returned(_HEADER_TYPE, *wanted))

    def typed(desk: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            word = ir.IntType(64)
            place = builder.add(builder.ptrtoint(args[0], word), ir.Constant(word, offset))
            target = builder.load(builder.inttoptr(place, word.as_pointer()))
            shape = ir.FunctionType(
                ir.VoidType() if returned == types.void else context.get_value_type(returned),
                [context.get_value_type(kind) for kind in sig.args],
            )
            answer = builder.call(builder.inttoptr(target, shape.as_pointer()), args)
            return context.get_dummy_value() if returned == types.void else answer

        return returned(desk, *wanted), codegen

    # An intrinsic is typed by the parameters it names, so it has to name the function's own.
    names = ", ".join(hints.parameters)
    space: dict[str, Any] = {"typed": typed}
    exec(f"def {name}(typingctx, {names}): return typed(desk)", space)
    return cast(F, intrinsic(space[name]))


@cache
def entry_point(name: str) -> Any:
    """One far kernel compiled, or loaded from disk."""
    function, signature = FAR[name]
    return numba.cfunc(signature, cache=True, error_model="numpy", fastmath=False)(function)


def entry_points() -> dict[str, int]:
    """Address of every far kernel by name; they go into each desk's header."""
    return {name: entry_point(name).address for name in FAR}
