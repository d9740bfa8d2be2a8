"""The one way code is compiled here: cached on disk, exact floating point, never a stale kernel.

Numba's own cache looks at the time stamp of the file a function stands in, so a caller would keep the old machine code
of a callee in another file. The cache directory is therefore keyed by a hash over the source of every kernel floor, the
numba version and the processor. `fastmath` and Intel's SVML stay off: one law gives one result on every machine.
"""

import inspect
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")

import numba
from numba import types

from data.cache import kernel_cache

F = TypeVar("F", bound=Callable[..., Any])
# Both: numba reads the environment anew before each compilation, and would fall back to folders beside the sources.
os.environ["NUMBA_CACHE_DIR"] = str(kernel_cache())
numba.config.CACHE_DIR = str(kernel_cache())


def settle_types(dispatcher: Any, function: Callable[..., Any]) -> None:
    """Let calls between kernels take their argument types from the annotations: int64, float64, boolean, else as given.

    Left alone numba compiles a function anew for every literal constant it is called with, and for 0 beside 0.0:
    seventeen versions of one, and minutes of compiling in all (measured).
    """
    wanted = {int: types.int64, float: types.float64, bool: types.boolean}
    hints = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]
    resolve = dispatcher.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        settled = tuple(wanted.get(hint) or types.unliteral(kind) for hint, kind in zip(hints, args, strict=False))
        return resolve(settled, kws)

    dispatcher.get_call_template = get_call_template


def kernel(function: F) -> F:
    """Compile `function` for both callers, the backtest's loop and one event at a time, and keep it on disk.

    Its parameters are annotated with int, float or bool where they are numbers; other kernels pass them by position.
    """
    dispatcher = numba.njit(cache=True, error_model="numpy", fastmath=False)(function)
    settle_types(dispatcher, function)
    return cast(F, dispatcher)


def inner(function: F) -> F:
    """A kernel that only kernels call: without the wrappers for Python it compiles in less time."""
    dispatcher = numba.njit(
        cache=True, error_model="numpy", fastmath=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
    settle_types(dispatcher, function)
    return cast(F, dispatcher)


def hot(function: F) -> F:
    """An inner kernel that the compiler has to write into its callers, for the few that run at every bar."""
    dispatcher = numba.njit(
        cache=True,
        error_model="numpy",
        fastmath=False,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        forceinline=True,
    )(function)
    settle_types(dispatcher, function)
    return cast(F, dispatcher)
