"""A signal report in the terminal: each symbol's verdict, then by horizon and quarter, then how it was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backtest import words
from backtest.signal_words import corrected, correlation, headline, how, missing, span_text
from backtest.terminal import SYNTHETIC, clean, print_safely, told_lines

if TYPE_CHECKING:
    from backtest.signal_result import SignalReport

QUARTERS_SHOWN = 8


def show_signals(report: SignalReport, console: Console | None = None) -> None:
    """Print the report to `console` (default: standard output)."""
    console = console or Console()
    print_safely(signal_text(report), console)


def signal_text(report: SignalReport) -> Group:
    """The report as a rich renderable for 80 columns or more."""
    parts: list[RenderableType] = [_title(report)]
    if report.synthetic:
        parts.append(SYNTHETIC)
    parts += [told_lines(headline(report)), Text("")]
    for signal in report.declared:
        parts.append(Text(clean(f"{signal} = {report.declared[signal]}"), "bold"))
        parts += [_verdicts(report, signal), Text(""), _horizons(report, signal), Text(""), _quarters(report, signal)]
        parts += [Text(""), _missing(report, signal), Text("")]
    parts.append(Padding(Text("\n".join(clean(text) for text in how(report)), "dim"), 0))
    return Group(*parts)


def _title(report: SignalReport) -> Text:
    title = Text()
    title.append("Signal report", "bold")
    title.append(f"  {clean(' '.join(report.symbols))}\n{span_text(report)}", "")
    return title


def _sheet(columns: Sequence[tuple[str, bool]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, header_style="dim", pad_edge=False)
    for place, (name, right) in enumerate(columns):
        header = Text(name, "bold" if place == 0 else "")
        table.add_column(header, justify="right" if right else "left", no_wrap=True)
    return table


def _verdicts(report: SignalReport, signal: str) -> Table:
    """One row a symbol, at the horizon that says most there; the words break where names are long."""
    table = _sheet([
        ("Verdict", False), ("", False), ("after", True), ("IC", True), ("95%", True),
        ("p", True),
    ])  # fmt: skip
    table.columns[1].no_wrap = False
    for verdict in report.verdicts:
        if verdict.signal != signal:
            continue
        cell = verdict.cell
        tone = "bold green" if verdict.evidence else ""
        table.add_row(
            clean(verdict.symbol),
            Text(verdict.text, tone),
            words.interval(cell.horizon_ns),
            Text(correlation(cell.ic), tone),
            f"{correlation(cell.low)} {correlation(cell.high)}" if cell.testable else words.NONE,
            corrected(cell),
        )
    return table


def _horizons(report: SignalReport, signal: str) -> Table:
    """The correlation by horizon, a star where the interval leaves out 0; and the price's at the verdict's horizon."""
    lengths = [(words.interval(h), True) for h in report.horizons_ns]
    table = _sheet([("IC by horizon", False), *lengths, ("price", True), ("beyond it", True)])
    for verdict in report.verdicts:
        if verdict.signal == signal:
            cells, shown = report.cells_of(signal, verdict.symbol), verdict.cell
            beyond = _starred(shown.beyond, shown.beyond_low, shown.beyond_high)
            across = (_starred(cell.ic, cell.low, cell.high) for cell in cells)
            table.add_row(clean(verdict.symbol), *across, correlation(shown.price), beyond)
    return table


def _quarters(report: SignalReport, signal: str) -> Table:
    """The correlation by quarter, the last ones."""
    mine = [quarter for quarter in report.quarters if quarter.signal == signal]
    labels = list(dict.fromkeys(quarter.quarter for quarter in mine))[-QUARTERS_SHOWN:]
    after = words.interval(report.reference_ns[signal])
    table = _sheet([(f"IC by quarter, {after}", False), *((label, True) for label in labels)])
    for symbol in report.symbols:
        known = {quarter.quarter: quarter for quarter in mine if quarter.symbol == symbol}
        shown = [known.get(label) for label in labels]
        table.add_row(
            clean(symbol), *(Text(words.NONE) if one is None else _starred(one.ic, one.low, one.high) for one in shown)
        )
    return table


def _starred(ic: float, low: float, high: float) -> Text:
    sure = low * high > 0.0
    return Text(correlation(ic) + ("*" if sure else " "), ("green" if ic > 0.0 else "red") if sure else "")


def _missing(report: SignalReport, signal: str) -> Table:
    """Coverage: how often there was a value, why there was none, and the longest time without one."""
    table = _sheet([("Coverage", False), ("ready", True), ("gaps", True), ("longest", False), ("not ready", False)])
    table.columns[-1].no_wrap = False
    for one in report.coverage:
        if one.signal == signal:
            table.add_row(clean(one.symbol), *missing(one))
    return table
