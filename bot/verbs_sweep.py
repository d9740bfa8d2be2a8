"""The verb that runs many parameter sets: `sweep`. It shows what it found, and what a search of that size is worth."""

import dataclasses
import itertools
import math
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.terminal import VAR, AsJson, ConfigFile, Settings, VarFolder, emit, note, progress, say, table
from data.errors import InputError

if TYPE_CHECKING:
    from backtest.load import RunInputs
    from backtest.spec import RunSpec
    from backtest.sweep import SweepRow

PANEL = "Runs"
AXIS_MOST = 10_000


class By(StrEnum):
    """What the shown rows are sorted by."""

    sharpe = "sharpe"
    total_return = "return"
    drawdown = "drawdown"
    grid = "grid"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("sweep", rich_help_panel=PANEL)(run_sweep)


def run_sweep(
    config: ConfigFile = None,
    grid: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUES", help="from:to:step or a,b,c, ends included. Repeatable.")
    ] = None,
    settings: Settings = None,
    sample: Annotated[bool, typer.Option("--sample", help="Run on the embedded sample, whatever lies here.")] = False,
    top: Annotated[int, typer.Option(min=1, help="How many rows are shown.")] = 10,
    by: Annotated[By, typer.Option(help="What they are sorted by.")] = By.sharpe,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write every row.")] = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Run every combination of a parameter grid over the same facts. A search finds luck first: it is deflated."""
    from backtest.sweep import neediest, sweep
    from backtest.tries import market_hash, record_trial
    from bot.verbs_runs import open_run

    axes = dict(read_axis(text) for text in grid or [])
    if not axes:
        raise InputError("nothing to sweep", key="--grid", remedy="For example: --grid fast_window=10:60:10")
    opened = open_run(config, settings, sample=sample, var=var, reaching=lambda spec: neediest(spec, axes))
    spec, inputs = opened.spec, opened.inputs
    with progress("sweep", "runs") as advance:
        rows = sweep(spec, inputs, axes, progress=advance)
    tried = f"{spec.strategy.identity()} {opened.config.hash()} {sorted(axes.items())}"
    trials = record_trial(var, market_hash(inputs.shares), tried, len(rows))
    worth = appraise(rows, inputs, trials)
    if as_json:
        told = {"synthetic": inputs.synthetic, "doubts": inputs.doubts, "notes": inputs.notes}
        emit({"rows": [dataclasses.asdict(row) for row in rows], **worth, **told})
    else:
        show_inputs(spec, inputs)
        show_rows(rows, list(axes), worth, top=top, by=by)
    if csv is not None:
        write_rows(csv, rows, list(axes))
        note(f"wrote {csv}")
    if any(row.errors for row in rows):
        note(f"the strategy failed in some decisions of {sum(row.errors > 0 for row in rows)} combinations")
        raise typer.Exit(1)


def read_axis(text: str) -> tuple[str, list[float]]:
    """Name and values of one `--grid`: `fast=10:60:10` (both ends included) or `fast=10,20,40`.

    Raises
    ------
    InputError
        When it is neither.
    """
    name, equals, shown = (part.strip() for part in text.partition("="))
    remedy = "Write --grid fast_window=10:60:10 (from, to, step) or --grid fast_window=10,20,40"
    wrong = InputError("not an axis of a grid", key="--grid", value=text, remedy=remedy)
    if not name or not equals or not shown:
        raise wrong
    try:
        numbers = [Decimal(part.strip()) for part in shown.split(":" if ":" in shown else ",")]
    except ArithmeticError:
        raise wrong from None
    if not all(number.is_finite() for number in numbers):
        raise wrong
    if ":" not in shown:
        return name, [float(number) for number in numbers]
    if len(numbers) != 3 or numbers[2] <= 0 or numbers[1] < numbers[0]:
        raise wrong
    first, last, step = numbers
    if (last - first) / step >= AXIS_MOST:
        raise InputError("too many values", key="--grid", value=text, remedy=f"Keep to {AXIS_MOST:,} on one axis")
    steps = itertools.count()
    return name, [float(value) for value in itertools.takewhile(lambda v: v <= last, (first + step * i for i in steps))]


def appraise(rows: "list[SweepRow]", inputs: "RunInputs", trials: int) -> dict[str, Any]:
    """What the best Sharpe ratio is worth after so many trials, its returns taken as normal and independent."""
    import numpy as np

    from backtest.curve import sampled_returns
    from backtest.sharpe import chance_above, luckiest_sharpe

    close_ns, bar_ns = inputs.bars.close_ns[inputs.bars.decides != 0], inputs.signals.bar_ns
    flat = np.ones(len(close_ns))
    returns, sampling, yearly = sampled_returns(close_ns, flat, 1.0, int(close_ns[0]) - bar_ns, bar_ns)
    known = [row.sharpe for row in rows if row.sharpe is not None]
    worth: dict[str, Any] = {
        "combinations": len(rows), "trials": trials, "sampling": f"{sampling}, {len(returns)} returns",
        "best_sharpe": max(known, default=None), "luckiest_sharpe": None, "chance_of_edge": None,
    }  # fmt: skip
    if known:
        luckiest, scale = luckiest_sharpe(len(returns), trials), math.sqrt(yearly)
        worth["luckiest_sharpe"] = luckiest * scale
        worth["chance_of_edge"] = chance_above(max(known) / scale, luckiest, len(returns), 0.0, 3.0)
    return worth


def show_inputs(spec: "RunSpec", inputs: "RunInputs") -> None:
    """What the facts leave in doubt, as a report of one run says it."""
    from rich.console import Console

    from backtest.account import quality_shares
    from backtest.run import model_of
    from backtest.terminal import SYNTHETIC, print_safely, told_lines
    from backtest.verdict import about_inputs, gravest_first

    model = model_of(spec, int(inputs.bars.close_ns[0]))
    console = Console()
    if inputs.synthetic:
        print_safely(SYNTHETIC, console)
    lines = gravest_first(about_inputs(inputs.doubts, model, quality_shares(inputs.shares)))
    if lines:
        print_safely(told_lines(lines), console)
    say()


def show_rows(rows: "list[SweepRow]", names: list[str], worth: dict[str, Any], *, top: int, by: By) -> None:
    """The first rows by the chosen figure, and what the best of them is worth."""
    from backtest import words

    keys = {
        By.sharpe: lambda row: math.inf if row.sharpe is None else -row.sharpe,
        By.total_return: lambda row: -row.total_return,
        By.drawdown: lambda row: row.max_drawdown,
        By.grid: lambda row: 0,
    }
    shown = sorted(rows, key=keys[by])[:top]
    figures = ("return", "Sharpe", "drawdown", "fills", "fees")
    lines = [
        (
            *(f"{row.params[name]:g}" for name in names),
            words.percent(row.total_return, sign=True),
            words.ratio(row.sharpe),
            words.percent(row.max_drawdown),
            row.fills,
            words.money(row.fees),
        )
        for row in shown
    ]
    title = f"{len(shown)} of {len(rows):,} combinations, by {by.value}"
    table(title, (*names, *figures), lines, right=(*names, *figures))
    if worth["chance_of_edge"] is None:
        say("No Sharpe ratio: the span is too short, or nothing was traded.")
        return
    best, luckiest = words.ratio(worth["best_sharpe"]), words.ratio(worth["luckiest_sharpe"])
    chance = words.chance(worth["chance_of_edge"])
    say(f"The best Sharpe is {best}; the luckiest of {worth['trials']:,} worthless tries on these facts is expected")
    say(f"to show {luckiest}. The chance of a true edge is {chance}, 95% is needed.")


def write_rows(file: Path, rows: "list[SweepRow]", names: list[str]) -> None:
    """Every row as CSV, parameters first."""
    figures = [field.name for field in dataclasses.fields(rows[0]) if field.name != "params"]
    lines = [",".join([*names, *figures])]
    for row in rows:
        values = [*(row.params[name] for name in names), *(getattr(row, figure) for figure in figures)]
        lines.append(",".join("" if value is None else repr(value) for value in values))
    try:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't be written ({error.strerror})", where=file, key="--csv") from None
