"""Four numbers that go the same way at once, in one of the processor's vectors.

Recursions of which each waits for its own last value only take no longer side by side than one alone. A step that is
written for any numbers (`signals.kernels.ema_step`) works on four of them as well, with the same roundings.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic, overload

Four: TypeAlias = Any  # four f8
Number: TypeAlias = Any  # an f8, or four


class FourType(types.Type):  # type: ignore[misc]
    """The type of four numbers in compiled code."""

    def __init__(self) -> None:
        super().__init__(name="Four")


_FOUR = FourType()
_WORD = ir.IntType(32)
_SHAPE = ir.VectorType(ir.DoubleType(), 4)


@register_default(FourType)
class FourModel(models.PrimitiveModel):  # type: ignore[misc]
    """How they lie: as a vector of the processor."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _SHAPE)


def _packed(builder: Any, numbers: Any) -> Any:
    value = ir.Constant(_SHAPE, ir.Undefined)
    for place, number in enumerate(numbers):
        value = builder.insert_element(value, number, ir.Constant(_WORD, place))
    return value


@intrinsic  # type: ignore[untyped-decorator]
def four(typingctx: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Four numbers side by side."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _packed(builder, args)

    return _FOUR(types.float64, types.float64, types.float64, types.float64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def parts(typingctx: Any, value: Any) -> Any:
    """The four numbers one by one."""
    answer = types.UniTuple(types.float64, 4)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        numbers = [builder.extract_element(args[0], ir.Constant(_WORD, place)) for place in range(4)]
        return context.make_tuple(builder, answer, numbers)

    return answer(_FOUR), codegen


def _is_number(kind: Any) -> bool:
    return isinstance(kind, FourType | types.Float)


def _arithmetic(sign: Callable[[Any, Any], Any], instruction: str) -> None:
    """Let `sign` work on four numbers each, or on four and one that stands for four of the same."""

    @intrinsic  # type: ignore[untyped-decorator]
    def compute(typingctx: Any, x: Any, y: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            both = [
                value if isinstance(kind, FourType) else _packed(builder, [value] * 4)
                for kind, value in zip(sig.args, args, strict=True)
            ]
            return getattr(builder, instruction)(*both)

        return _FOUR(x, y), codegen

    @overload(sign)  # type: ignore[untyped-decorator]
    def apply(x: Any, y: Any) -> Any:
        if _is_number(x) and _is_number(y) and FourType in (type(x), type(y)):

            def both(x: Any, y: Any) -> Any:
                return compute(x, y)

            return both
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
