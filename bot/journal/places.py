"""Where the journals of this var folder lie: one for each mode and name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from data.errors import InputError

JOURNAL_FILE = "journal.sqlite"
DEFAULT_NAME = "default"


class Mode(StrEnum):
    """How a session trades; also the name of the folder that its state lies in."""

    paper = "paper"
    live = "live"


def journal_of(var: Path, config: Any, mode: Mode | None) -> Path:
    """The journal of the session that a configuration names; without a mode, the one that there is.

    Raises
    ------
    InputError
        There is none, or one of each mode.
    """
    name: str = getattr(getattr(config, "live", None), "name", DEFAULT_NAME)
    modes = [mode] if mode is not None else list(Mode)
    files = [var / each / name / JOURNAL_FILE for each in modes]
    found = [file for file in files if file.exists()]
    if len(found) == 1:
        return found[0]
    if found:
        remedy = "Say --mode paper or --mode live"
        raise InputError(f"both a paper and a live session are called {name!r}", where=var, key="--mode", remedy=remedy)
    remedy = f"Journals are looked for at {' and '.join(str(file) for file in files)}; --var names another folder"
    raise InputError("no session has run here yet", where=var, remedy=remedy)
