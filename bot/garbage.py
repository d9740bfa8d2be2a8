"""When Python looks for garbage in reference cycles: seldom in a command, which mostly makes objects that stay.

Importing numba, Arrow and their like makes a million of them. Looking through those again and again, and once more when
the process ends, took a quarter of a backtest of a year of minutes (measured).
"""

import atexit
import gc

USUAL = gc.get_threshold()
SELDOM = (100_000, 20, 100)


def look_seldom() -> None:
    """For a command: look at every 100,000 new objects, and not at all at the end."""
    gc.set_threshold(*SELDOM)
    atexit.register(gc.freeze)  # what is frozen isn't looked at


def look_as_usual() -> None:
    """For what runs for days after the imports: look at what is new as often as ever. Nothing to undo, nothing done."""
    if gc.get_threshold() == SELDOM:
        gc.freeze()
        gc.set_threshold(*USUAL)
