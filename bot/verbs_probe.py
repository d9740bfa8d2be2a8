"""The verb that looks for look-ahead: `probe` changes the future of a strategy's facts and compares its past."""

import dataclasses
from typing import Annotated

import typer

from bot.terminal import VAR, AsJson, ConfigFile, Settings, VarFolder, aside, emit, say

PANEL = "Runs"
LEAKS_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("probe", rich_help_panel=PANEL)(run_probe)


def run_probe(
    config: ConfigFile = None,
    settings: Settings = None,
    sample: Annotated[bool, typer.Option("--sample", help="Run on the embedded sample, whatever lies here.")] = False,
    cuts: Annotated[int, typer.Option(min=1, max=100, help="How many times the future is changed.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Draws the times of the cuts.")] = 1,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Prove that a strategy can't see its future: change the facts after a time, compare every decision before it."""
    from backtest.bias import probe
    from bot.verbs_runs import open_run

    opened = open_run(config, settings, sample=sample, var=var)
    with aside():
        report = probe(opened.spec, opened.inputs, cuts=cuts, seed=seed)
    if as_json:
        emit({**dataclasses.asdict(report), "clean": report.clean})
    else:
        say(str(report))
        for leak in report.leaks[:LEAKS_SHOWN]:
            say(f"  {leak}")
    if not report.clean:
        raise typer.Exit(1)
