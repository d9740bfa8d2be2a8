"""A second process that compiles kernels beside this one when there are none yet.

It is begun before this process imports what it needs itself, goes through what every run needs, and is told of the run
when that is known: see `backtest.warm`. It ends with whoever began it.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from data.cache import kernels_are_cold

Helper = subprocess.Popen[bytes]
HELPER = """
import gc, sys
gc.disable()  # it makes only what stays, and ends
from backtest.warm import help_out
help_out(sys.stdin.buffer)
"""


@contextmanager
def begin_helper() -> Iterator[Helper | None]:
    """The helper for as long as the block lasts, or None where the kernels are compiled already."""
    if not kernels_are_cold():
        yield None
        return
    command = [sys.executable, "-c", HELPER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as helper:
        try:
            yield helper
        finally:
            helper.terminate()
