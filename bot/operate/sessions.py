"""Which session an operator's verb is about: the only one, the running one, the live one, or the one that is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bot.operate.files import MODES, account_folder
from bot.operate.lock import holder
from data.errors import InputError

CONFIG = "tidegate.toml"


def sessions(var: Path) -> list[Path]:
    """Folders of all sessions, live ones first."""
    return [folder for mode in MODES for folder in sorted((var / mode).glob("*")) if folder.is_dir()]


def choose(var: Path, *, name: str | None, paper: bool | None, config: Path = Path(CONFIG)) -> list[Path]:
    """Sessions that fit what was said, the likeliest alone; several when nothing tells them apart.

    Raises
    ------
    InputError
        None fits.
    """
    modes = MODES if paper is None else ("paper",) if paper else ("live",)
    if name is not None:
        account_folder(var, "live", name)  # refuses what leads elsewhere
    found = [
        folder for folder in sessions(var) if folder.parent.name in modes and (name is None or folder.name == name)
    ]
    if not found:
        asked = " ".join([*([] if paper is None else [*modes]), *([name] if name else [])])
        remedy = "A session begins with tidegate paper or tidegate live; --var names the folder of another place"
        raise InputError(f"there is no {asked + ' ' if asked else ''}session", where=var, remedy=remedy)
    named = _configured(config)
    rules = (
        lambda folder: holder(folder) is not None,
        lambda folder: folder.name == named,
        lambda folder: folder.parent.name == "live",
    )
    for rule in rules:
        fitting = [folder for folder in found if rule(folder)]
        found = fitting or found
    return found


def one_of(found: list[Path]) -> Path:
    """The only one.

    Raises
    ------
    InputError
        There are several.
    """
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{folder.parent.name} {folder.name}" for folder in found)
    raise InputError(f"several sessions fit: {listed}", remedy="Say which: --name NAME, and --paper or --live")


def _configured(config: Path) -> str:
    """`[live] name` of the configuration here, or its default; faults in it are no matter of an operator's."""
    try:
        return str(tomllib.loads(config.read_text(encoding="utf-8")).get("live", {}).get("name", "default"))
    except (OSError, ValueError, AttributeError):
        return "default"
