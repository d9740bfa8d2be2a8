"""How often Python looks for garbage, in processes of their own: the threshold is the process's."""

import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
SHOW = (
    "import atexit, gc; was = gc.get_freeze_count();"  # not 0 under Python 3.12
    "atexit.register(lambda: print(gc.get_threshold(), gc.get_freeze_count() > was));"
)


def told(code: str) -> list[str]:
    """What such a process says at its end, before the last word (handlers run backwards), and its Python's usual."""
    done = subprocess.run(
        [sys.executable, "-c", f"import gc; print(gc.get_threshold()); {SHOW} {code}"], cwd=HOUSE, capture_output=True,
        env=dict(os.environ), text=True, timeout=120,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    return [lines[0], lines[-1]]


def test_a_command_looks_seldom_and_not_at_its_end() -> None:
    """Objects are frozen before the interpreter ends."""
    assert told("from bot.cli import main; main(['--version'])")[1] == "(100000, 20, 100) True"


def test_what_runs_for_days_looks_as_usual() -> None:
    """A session undoes it; where a caller of ours chose something else, nothing is changed."""
    usual, after = told("from bot.garbage import *; look_seldom(); look_as_usual()")
    assert after == f"{usual} True"
    after = told("from bot.garbage import look_as_usual; gc.set_threshold(5); look_as_usual()")[1]
    assert after.startswith("(5, ") and after.endswith("False")


def test_nothing_is_printed_of_what_is_left_at_the_end() -> None:
    """DuckDB's binding complains of its own types where the last look is left out; a user would read that."""
    code = "from bot.garbage import look_seldom; look_seldom(); import duckdb; duckdb.connect().execute('select 1')"
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
