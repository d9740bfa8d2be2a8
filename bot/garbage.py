"""When Python looks for garbage in reference cycles: seldom in a command, which mostly makes objects that stay.

Importing numba, Arrow and their like makes a million of them. Looking through those again and again, and once more when
the process ends, took a quarter of a backtest of a year of minutes (measured).
"""

import atexit
import gc
import sys

USUAL = gc.get_threshold()
SELDOM = (100_000, 20, 100)


def look_seldom() -> None:
    """For a command: look at every 100,000 new objects, and not at all at the end."""
    gc.set_threshold(*SELDOM)
    atexit.register(_skip_the_last)


def _skip_the_last() -> None:
    """Freeze what there is: it isn't looked at when the interpreter ends."""
    if "duckdb" not in sys.modules:  # whose binding counts at the end what nobody collected, and prints a page of it
        gc.freeze()


def look_as_usual() -> None:
    """For what runs for days: look as often as Python does by itself, unless a caller of ours chose otherwise."""
    if gc.get_threshold() == SELDOM:
        gc.set_threshold(*USUAL)
