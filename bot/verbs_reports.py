"""Verbs about finished runs: `report`, `compare`."""

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.terminal import VAR, AsJson, VarFolder, emit, note, say, table

if TYPE_CHECKING:
    from backtest.result import Result

PANEL = "Runs"
Page = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write the report as one page.")]
Export = Annotated[Path | None, typer.Option("--export", metavar="FOLDER", help="Also write trades, orders and fills.")]


class Form(StrEnum):
    """File forms of exported tables."""

    csv = "csv"
    parquet = "parquet"


ExportForm = Annotated[Form, typer.Option("--form", help="Form of the exported tables.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(rich_help_panel=PANEL)(report)
    app.command("compare", rich_help_panel=PANEL)(compare_runs)


def report(
    run: Annotated[
        str, typer.Argument(metavar="[ID]", help="Id of a run or its beginning; else the latest.")
    ] = "latest",
    listed: Annotated[bool, typer.Option("--list", help="List the saved runs instead.")] = False,
    html: Page = None,
    export: Export = None,
    form: ExportForm = Form.csv,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Show a saved run again: the terminal report, the page, the tables, the figures as JSON."""
    if listed:
        _list(var, as_json)
        return
    from backtest.archive import find_run, load_run

    result = load_run(var, run)
    deliver(result, saved=find_run(var, result.id), html=html, export=export, form=form, as_json=as_json)


def compare_runs(
    runs: Annotated[list[str], typer.Argument(metavar="ID ID...", help="Two runs or more.")],
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: their figures, and what differs in strategy, settings and inputs."""
    from backtest.archive import load_run
    from backtest.compare import compare, show_comparison

    comparison = compare([load_run(var, run) for run in runs])
    if as_json:
        emit(comparison.json())
    else:
        show_comparison(comparison)


def deliver(
    result: "Result", *, saved: Path | None, html: Path | None, export: Path | None, form: Form, as_json: bool
) -> None:
    """Give a run out in the forms that were asked for."""
    from backtest.metrics import measure, metrics_json

    figures = measure(result)
    written: list[Path] = []
    if html is not None:
        from backtest.page import write_page

        written.append(write_page(result, html, figures))
    if export is not None:
        written += result.export(export, form.value)
    if as_json:
        emit(metrics_json(result, figures))
    else:
        from backtest.terminal import show

        show(result, metrics=figures, saved=saved)
    for path in written:
        note(f"wrote {path}")


def _list(var: Path, as_json: bool) -> None:
    from backtest.archive import list_runs
    from backtest.words import percent
    from data.times import format_date

    rows = list_runs(var)
    if as_json:
        emit([dataclasses.asdict(row) for row in rows])
        return
    if not rows:
        say(f"no runs are saved in {var}")
        return
    lines: list[tuple[object, ...]] = []
    for row in rows:
        if row.fault:
            lines.append((row.id, "damaged", row.fault, "", "", ""))
            continue
        span = f"{format_date(row.start_ns)} to {format_date(row.end_ns)}"
        symbols = " ".join(row.symbols) + (" SYNTHETIC" if row.synthetic else "")
        lines.append((row.id, row.strategy, symbols, span, percent(row.total_return, sign=True), row.fills))
    columns = ("id", "strategy", "symbols", "span", "return", "fills")
    table("Runs, oldest first", columns, lines, right=("return", "fills"))
