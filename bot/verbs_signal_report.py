"""The verb that asks what a signal is worth: `signal-report`. It says "no evidence" when there is none."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.terminal import VAR, AsJson, ConfigFile, Settings, VarFolder, emit, note, progress

if TYPE_CHECKING:
    from backtest.signal_result import SignalReport
    from bot.config import Config
    from signals.signal import Signal
    from strategies.base import Strategy

PANEL = "Runs"
DEFAULT = 'Mood(half_life="6h")'


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("signal-report", rich_help_panel=PANEL)(signal_report)


def signal_report(
    config: ConfigFile = None,
    settings: Settings = None,
    sample: Annotated[bool, typer.Option("--sample", help="Look at the embedded sample, whatever lies here.")] = False,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="All signals of this strategy; else those of the configured one.")
    ] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option(metavar="SIGNAL", help="Mood(half_life='6h'), or a signal's name in the strategy. Repeatable."),
    ] = None,
    horizons: Annotated[
        str | None, typer.Option(metavar="1h,4h,1d", help="Lengths of the returns; else five that fit.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws: the same seed gives the same report.")] = 1,
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="Shuffle all posts and metrics in time first: nothing may be found.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write it as one page.")] = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Ask whether signals say anything of the returns after them, beyond price and beyond chance, symbol by symbol."""
    from backtest.load import load_inputs
    from backtest.signal_report import examine, watching
    from backtest.signal_shuffle import shuffle_facts
    from bot.context import current_config
    from bot.verbs_runs import open_facts
    from data.cache import kernel_cache

    lengths = None if horizons is None else read_horizons(horizons)
    chosen = of_strategy(current_config(config, settings, sample=sample, var=var), strategy)
    spec, store = open_facts(
        chosen,
        var,
        made=lambda run: watching(run, looked_at(run.strategy, signal or [], whole=strategy is not None)),
    )
    inputs = load_inputs(store, spec)
    if not kernel_cache().exists():
        note("compiling the kernels of the signals, once: the next report starts at once")
    if shuffled:
        inputs = shuffle_facts(inputs, seed)
    with progress("signal-report", "steps") as advance:
        report = examine(spec, inputs, horizons_ns=lengths, seed=seed, shuffled=shuffled, progress=advance)
    deliver(report, html=html, as_json=as_json)


def of_strategy(config: "Config", name: str | None) -> "Config":
    """The configuration with another strategy; parameters that the file gives to its own don't go along."""
    if name is None:
        return config
    params = {key: value for key, value in config.params.items() if f"params.{key}" in config.overridden}
    run = config.run.model_copy(update={"strategy": name})
    return config.model_copy(update={"run": run, "params": params})


def looked_at(strategy: "Strategy", asked: list[str], *, whole: bool) -> "dict[str, Signal]":
    """The signals of the report by name: those asked for, else the strategy's.

    Of a strategy that wasn't asked for by name (`whole`) only those moved by posts and metrics; a mood without any.
    """
    from signals.written import read_signal

    if not asked:
        found = {
            name: one for name, one in strategy.signals.items() if whole or one.kind in ("sentiment", "metric")
        }  # fmt: skip
        return found or {"mood": read_signal(DEFAULT)}
    found = {}
    for text in asked:
        one = strategy.signals[text] if text in strategy.signals else read_signal(text, key="--signal")
        name = base = text if text in strategy.signals else type(one).__name__.lower()
        count = 1
        while name in found:
            count += 1
            name = f"{base}_{count}"
        found[name] = one
    return found


def read_horizons(text: str) -> list[int]:
    """Lengths such as 1h,4h,1d in nanoseconds."""
    from data.times import parse_duration

    return [parse_duration(part, key="--horizons") for part in text.split(",")]


def deliver(report: "SignalReport", *, html: Path | None, as_json: bool) -> None:
    """Give the report out in the forms that were asked for."""
    written = None
    if html is not None:
        from backtest.signal_page import write_signal_page

        written = write_signal_page(report, html)
    if as_json:
        emit(as_plain(report))
    else:
        from backtest.signal_terminal import show_signals

        show_signals(report)
    if written is not None:
        note(f"wrote {written}")


def as_plain(report: "SignalReport") -> dict[str, Any]:
    """The report's figures without its curves."""
    return dataclasses.asdict(dataclasses.replace(report, curves=()))
