"""The kernels of this floor: compiled as `signals.jit` does it, but without reference counts.

Numba counts references to array arguments at every call, by atomic instructions: 150 ns a bar where the arithmetic
takes 10 (measured). The kernels here make no array and keep none, so that there is nothing to count.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from signals import jit

F = TypeVar("F", bound=Callable[..., Any])


def _uncounted(function: F) -> F:
    # Compiling waits for the first call, so that the option still counts; no array may be made in such a kernel.
    cast(Any, function).targetoptions["_nrt"] = False
    return function


def kernel(function: F) -> F:
    """As `signals.jit.kernel`."""
    return _uncounted(jit.kernel(function))


def inner(function: F) -> F:
    """As `signals.jit.inner`."""
    return _uncounted(jit.inner(function))
