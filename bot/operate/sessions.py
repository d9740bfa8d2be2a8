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


def choose(var: Path, *, name: str | None, mode: str | None, config: Path | None = None) -> list[Path]:
    """Sessions that fit what was said, the likeliest alone; several when nothing tells them apart.

    `config` counts as its `live.name`; without it, one that lies here only tells sessions apart.

    Raises
    ------
    InputError
        None fits.
    """
    if name is None and config is not None:
        if not config.is_file():
            raise InputError("there is no such file", where=config)
        name = _configured(config)
    modes = MODES if mode is None else (mode,)
    if name is not None:
        account_folder(var, "live", name)  # refuses what leads elsewhere
    found = [each for each in sessions(var) if each.parent.name in modes and name in (None, each.name)]
    if not found:
        asked = " ".join(word for word in (mode, "session", f"called {name!r}" if name else "") if word)
        there = ", ".join(f"{each.parent.name} {each.name}" for each in sessions(var))
        remedy = (
            f"There are: {there}" if there else "tidegate paper begins one; --var names the folder of another place"
        )
        raise InputError(f"there is no {asked}", where=var, remedy=remedy)
    named = _configured(Path(CONFIG))
    rules = (
        lambda folder: holder(folder) is not None,
        lambda folder: folder.name == named,
        lambda folder: folder.parent.name == "live",
    )
    for rule in rules:
        found = [folder for folder in found if rule(folder)] or found
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
    raise InputError(f"several sessions fit: {listed}", remedy="Say which: --name NAME, --mode live or paper")


def _configured(config: Path) -> str:
    """`[live] name` of the configuration here, or its default; faults in it are no matter of an operator's."""
    try:
        return str(tomllib.loads(config.read_text(encoding="utf-8")).get("live", {}).get("name", "default"))
    except (OSError, ValueError, AttributeError):
        return "default"
