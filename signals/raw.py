"""Numbers at addresses, and lanes: room on the stack for one number of each of some symbols.

Compiled code knows of nothing else that a lane may overlap with, so that a loop over symbols that keeps its state in
lanes is compiled for the processor's vectors without a look at where its arrays lie.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # symbols side by side


def _loader(kind: types.Type, shape: ir.Type) -> Callable[[int, int], Any]:
    """Intrinsic (address, index) -> the number there."""

    @intrinsic  # type: ignore[untyped-decorator]
    def load(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load(builder.gep(builder.inttoptr(args[0], shape.as_pointer()), [args[1]]))

        return kind(types.int64, types.int64), codegen

    return load  # type: ignore[no-any-return]


def _storer(kind: types.Type, shape: ir.Type) -> Callable[[int, int, Any], None]:
    """Intrinsic (address, index, number): write it there."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store(typingctx: Any, address: Any, index: Any, number: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            builder.store(args[2], builder.gep(builder.inttoptr(args[0], shape.as_pointer()), [args[1]]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, kind), codegen

    return store  # type: ignore[no-any-return]


f8_at = _loader(types.float64, ir.DoubleType())
i8_at = _loader(types.int64, ir.IntType(64))
u1_at = _loader(types.uint8, ir.IntType(8))
put_f8 = _storer(types.float64, ir.DoubleType())
put_i8 = _storer(types.int64, ir.IntType(64))
put_u1 = _storer(types.uint8, ir.IntType(8))


@intrinsic  # type: ignore[untyped-decorator]
def lanes(typingctx: Any) -> Any:
    """Address of fresh room on the stack for LANES numbers of 8 bytes; it lives as long as the call."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        room = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(64), LANES))
        room.align = 64
        return builder.ptrtoint(room, ir.IntType(64))

    return types.int64(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def address_of(typingctx: Any, array: Any) -> Any:
    """Where a C-contiguous array begins. Reads through it needn't ask whether an index counts from the end."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ptrtoint(context.make_array(sig.args[0])(context, builder, args[0]).data, ir.IntType(64))

    return types.int64(array), codegen


@intrinsic  # type: ignore[untyped-decorator]
def fetch(typingctx: Any, address: Any) -> Any:
    """Tell the processor that the number at an address will be looked at soon: memory is a hundred times as slow as it
    is, and guesses only what comes in a row.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(32)
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        shape = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        prefetch = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        builder.call(prefetch, [pointer, ir.Constant(word, 0), ir.Constant(word, 3), ir.Constant(word, 1)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
