"""The first run on a machine compiles the kernels: two processes do it in the time of one, and keep what they made."""

import subprocess
import sys

import numba
from numba import types

from backtest.loop import loop
from backtest.tape import TAPE
from risk.memory import FAR, HEADER, entry_point

# The helper goes through the far kernels from the front while this process comes from the back;
# what one has compiled the other finds on disk.
HELPER = "import backtest.loop; from risk.memory import FAR, entry_point; [entry_point(name) for name in FAR]"


def warm_up() -> None:
    """Compile every kernel of a run into the cache. What fails in the helper is simply compiled here."""
    helper = subprocess.Popen([sys.executable, "-c", HELPER], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        signature = (numba.from_dtype(HEADER), numba.from_dtype(TAPE), types.int64)
        loop.compile(signature)  # type: ignore[attr-defined]
        for name in reversed(FAR):
            entry_point(name)
    finally:
        helper.terminate()
        helper.wait()
