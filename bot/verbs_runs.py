"""Verbs that run a strategy over stored facts: `backtest`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.terminal import VAR, AsJson, ConfigFile, Settings, VarFolder, aside, note, now_ns, progress
from bot.verbs_reports import Export, ExportForm, Form, Page, deliver

if TYPE_CHECKING:
    from backtest.helper import Helper
    from backtest.load import RunInputs
    from backtest.result import Result
    from backtest.spec import RunSpec
    from bot.config import Config
    from data.store import Store

PANEL = "Runs"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("backtest", rich_help_panel=PANEL)(run_backtest)


def run_backtest(
    config: ConfigFile = None,
    settings: Settings = None,
    sample: Annotated[bool, typer.Option("--sample", help="Run on the embedded sample, whatever lies here.")] = False,
    html: Page = None,
    export: Export = None,
    form: ExportForm = Form.csv,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Run a strategy over stored facts behind the risk gate; print the report and save the run."""
    from backtest.tries import market_hash, record_trial

    opened = open_run(config, settings, sample=sample, var=var)
    result = execute(opened)
    result.trials = record_trial(var, market_hash(result.inputs), result.trial_key())
    saved = result.save(var)
    deliver(result, saved=saved, html=html, export=export, form=form, as_json=as_json)
    if result.errors:
        note(f"the strategy failed in {result.errors} decisions: they were skipped, and nothing was sold for it")
        raise typer.Exit(1)


@dataclass(frozen=True)
class OpenRun:
    """A run that can begin: its kernels are compiled."""

    config: "Config"
    spec: "RunSpec"
    inputs: "RunInputs"
    loaded_s: float  # what it took to read the inputs


def open_run(
    config: Path | None,
    settings: list[str] | None,
    *,
    sample: bool,
    var: Path,
    reaching: "Callable[[RunSpec], RunSpec] | None" = None,
) -> OpenRun:
    """What every verb that runs a strategy begins with: configuration, run, facts; the sample there, kernels warm.

    Parameters
    ----------
    reaching : callable, optional
        From the run to the one whose facts are read, where that looks further back.
    """
    from backtest.helper import begin_helper
    from bot.context import current_config

    with begin_helper() as helper, aside():
        chosen = current_config(config, settings, sample=sample, var=var)
        spec, store = open_facts(chosen, var)

        from backtest.load import load_inputs

        began = time.perf_counter()
        inputs = load_inputs(store, reaching(spec) if reaching is not None else spec)
        loaded_s = time.perf_counter() - began
        compile_with(helper, spec)
    return OpenRun(chosen, spec, inputs, loaded_s)


def open_facts(
    chosen: "Config", var: Path, *, made: "Callable[[RunSpec], RunSpec] | None" = None
) -> "tuple[RunSpec, Store]":
    """The run that a configuration describes, and the store of its facts; the sample is written if it is asked for.

    made: from that run to the one that is meant.
    """
    from bot.config_resolve import resolve_run, resolve_strategy
    from bot.context import store_of

    spec = resolve_run(chosen, resolve_strategy(chosen))
    if made is not None:
        spec = made(spec)
    store = store_of(chosen, var)
    if chosen.on_sample:
        ensure_sample(store, spec)
    return spec, store


def execute(opened: OpenRun) -> "Result":
    """Run it; the bar on stderr follows the compiled loop."""
    from backtest.run import run

    config = opened.config
    told = {**config.plain(), "config": {"file": config.where, "sha256": config.hash()}}
    began = time.perf_counter()
    with progress("backtest", "bars") as advance:
        result = run(opened.spec, opened.inputs, created_ns=now_ns(), settings=told, progress=advance)
    result.elapsed = opened.loaded_s + time.perf_counter() - began
    return result


def ensure_sample(store: "Store", spec: "RunSpec") -> None:
    """Write the embedded sample, score it if a signal of the run looks at posts, where it isn't done yet; say so."""
    from backtest.facts import needs_posts
    from signals.models import DEFAULT_MODEL, resolve

    if not store.manifest("bars").parts:
        from data.sample import write_sample

        note("writing the embedded sample: a synthetic year of five symbols and their crowd (once)")
        note(str(write_sample(store, ingested_ns=now_ns())))
    scored = {part.series[0] for part in store.manifest("sentiment").parts}
    if needs_posts(spec) and spec.model == DEFAULT_MODEL and DEFAULT_MODEL not in scored:
        from bot.verbs_score import run_scoring
        from signals.score_report import ScoreOptions
        from signals.scorer import Compute

        note(f"scoring the sample's posts with {DEFAULT_MODEL} (once)")
        card = resolve(DEFAULT_MODEL)
        run_scoring(store, card, Compute(), options=ScoreOptions(), aliases=None)


def warm_when_cold() -> None:
    """Compile what sessions and replays run by, when it isn't yet."""
    from backtest.helper import begin_helper

    with begin_helper() as helper, aside():
        compile_with(helper)


def compile_with(helper: "Helper | None", spec: "RunSpec | None" = None) -> None:
    """Compile the kernels (those of this run's signals, too) beside the helper, which is there when they aren't yet,
    and say so: it is the slow part of the first run.
    """
    if helper is not None:
        from backtest.warm import warm_up

        note("compiling the trading kernels, once: the next run starts at once")
        warm_up(helper, spec)
