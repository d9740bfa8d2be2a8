"""Verbs about this machine and this folder: `init`, `doctor`."""

from pathlib import Path

import typer

from bot.terminal import VAR, AsJson, VarFolder, emit, say, table, write_new
from data.errors import InputError, raise_all

PANEL = "Start here"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(rich_help_panel=PANEL)(init)
    app.command(rich_help_panel=PANEL)(doctor)


def init() -> None:
    """Write a commented tidegate.toml and a strategy into this folder. Refuses to overwrite either."""
    from bot.config import DEFAULT_FILE
    from bot.template import STRATEGY, STRATEGY_FILE, config_text

    files = {DEFAULT_FILE: config_text(), STRATEGY_FILE: STRATEGY}
    there = [name for name in files if Path(name).exists()]
    remedy = "Move it away, or go to another folder; nothing was written"
    raise_all([InputError("exists already", where=name, remedy=remedy) for name in there])
    for name, text in files.items():
        write_new(Path(name), text)
        say(f"wrote {name}")
    say("next: tidegate backtest (it runs on the embedded sample until run.source is removed)")


def doctor(var: VarFolder = VAR, as_json: AsJson = False) -> None:
    """Check this machine: Python, packages, cores, torch's device, disk, caches, whether var can be written."""
    from bot.doctor import examine

    findings = examine(var)
    if as_json:
        emit([finding.__dict__ for finding in findings])
    else:
        table("", ("", "check", "found", "what to do"), [(f.status, f.check, f.found, f.remedy) for f in findings])
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)
