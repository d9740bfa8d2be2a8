"""Verbs about this machine and this folder: `init`, `doctor`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.terminal import VAR, AsJson, ConfigFile, Settings, VarFolder, emit, say, table, write_new
from data.errors import InputError, UnreachableError, raise_all

if TYPE_CHECKING:
    from bot.doctor import Finding

PANEL = "Start here"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(rich_help_panel=PANEL)(init)
    app.command(rich_help_panel=PANEL)(doctor)


def init(
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Also write systemd units for the live session of this folder.")
    ] = False,
    var: VarFolder = VAR,
) -> None:
    """Write a commented tidegate.toml and a strategy into this folder. Refuses to overwrite either.

    With --systemd and a tidegate.toml that is here already, only the units are written.
    """
    from bot.config import DEFAULT_FILE
    from bot.template import STRATEGY, STRATEGY_FILE, config_text

    if not (systemd and Path(DEFAULT_FILE).exists()):
        _write_all({DEFAULT_FILE: config_text(), STRATEGY_FILE: STRATEGY})
        say("next: tidegate backtest (it runs on the embedded sample until run.source is removed)")
    if systemd:
        from bot.config import load_config
        from bot.operate.systemd import how_to_install, systemd_units

        config = load_config(Path(DEFAULT_FILE))
        units = systemd_units(config, var=var)
        _write_all(units)
        say(how_to_install(config, list(units), var=var))


def _write_all(files: dict[str, str]) -> None:
    """Write new files, all or none."""
    remedy = "Move it away, or go to another folder; nothing was written"
    raise_all([InputError("exists already", where=name, remedy=remedy) for name in files if Path(name).exists()])
    for name, text in files.items():
        write_new(Path(name), text)
        say(f"wrote {name}")


def doctor(
    config: ConfigFile = None,
    settings: Settings = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Also all that a live session's start looks at. Asks the venue; places nothing."),
    ] = False,
    unknown_rights: Annotated[
        bool, typer.Option("--accept-unknown-rights", help="The venue doesn't tell what the key may do; accept that.")
    ] = False,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Check this machine: Python, packages, cores, torch's device, disk, caches, whether var can be written.

    With --live also key and rights, clock, markets, minimums, balances, fees, latch, lock, model and facts. Exit code 1
    when a check fails, 4 when the venue doesn't answer.
    """
    from bot.doctor import examine

    reached = True
    findings = examine(var)
    if live or config is not None or settings:
        more, reached = _examine_config(config, settings, var, live=live, unknown_rights=unknown_rights)
        findings += more
    if as_json:
        emit([finding.__dict__ for finding in findings])
    else:
        rows = [(f.status, f.check, f"{f.found}\n→ {f.remedy}" if f.remedy else f.found) for f in findings]
        table("", ("", "check", "found → what to do"), rows)
    if not reached:
        raise typer.Exit(UnreachableError.exit_code)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


def _examine_config(
    config: Path | None, settings: list[str] | None, var: Path, *, live: bool, unknown_rights: bool
) -> "tuple[list[Finding], bool]":
    """What is to be said of a configuration, and whether the venue answered, if it was asked."""
    from bot.context import current_config, store_of
    from bot.terminal import now_ns

    chosen = current_config(config, settings)
    if live:
        from bot.doctor_live import examine_live

        return examine_live(chosen, var, store_of(chosen, var), now_ns=now_ns(), unknown_rights=unknown_rights)
    from bot.doctor import Finding

    return [
        Finding("ok", "configuration", f"{chosen.where} can be read; its venue wasn't asked", "--live asks it")
    ], True
