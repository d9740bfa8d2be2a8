"""Runs side by side: figures, and what differs in strategy, settings and inputs.

No run is marked as the best one: picking the best of several is one more way to be lucky.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from backtest import words
from backtest.figures import Metrics
from backtest.metrics import measure, metrics_json
from backtest.result import Result
from backtest.terminal import clean, print_safely
from data.errors import InputError


@dataclass(frozen=True)
class Comparison:
    """Columns are the runs in the order given; every row has one text for each of them."""

    ids: tuple[str, ...]
    names: tuple[str, ...]  # strategies
    figures: tuple[tuple[str, tuple[str, ...]], ...]
    differences: tuple[tuple[str, tuple[str, ...]], ...]  # dotted key -> its value in each run, where they differ
    inputs: tuple[tuple[str, tuple[str, ...]], ...]  # input -> hash in each run, where they differ
    warnings: tuple[str, ...]
    runs: tuple[dict[str, Any], ...]  # metrics_json of each

    def json(self) -> dict[str, Any]:
        """Plain types for `--json`."""
        return {
            "ids": list(self.ids),
            "warnings": list(self.warnings),
            "differences": {key: list(values) for key, values in self.differences},
            "inputs": {key: list(values) for key, values in self.inputs},
            "runs": list(self.runs),
        }


def compare(results: Sequence[Result]) -> Comparison:
    """Put two or more runs side by side. InputError for fewer."""
    if len(results) < 2:
        raise InputError("two runs at least are needed to compare", key="run", remedy="Give another id")
    measured = [measure(result) for result in results]
    inputs = _input_differences(results)
    return Comparison(
        ids=tuple(result.id for result in results),
        names=tuple(result.strategy for result in results),
        figures=tuple(_figures(results, measured)),
        differences=tuple(_setting_differences(results)),
        inputs=tuple(inputs),
        warnings=tuple(_warnings(results, measured, inputs)),
        runs=tuple(metrics_json(result, figures) for result, figures in zip(results, measured, strict=True)),
    )


def show_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print `comparison` to `console` (default: standard output)."""
    print_safely(comparison_report(comparison), console or Console())


def comparison_text(comparison: Comparison, width: int = 100) -> str:
    """The comparison as plain text."""
    page = io.StringIO()
    Console(file=page, width=width, color_system=None, legacy_windows=False).print(comparison_report(comparison))
    return "".join(line.rstrip() + "\n" for line in page.getvalue().splitlines())


def comparison_report(comparison: Comparison) -> Group:
    """Warnings first, then figures, then what differs."""
    parts: list[RenderableType] = [Text(f"! {clean(warning)}", "bold yellow") for warning in comparison.warnings]
    if parts:
        parts.append(Text(""))
    heads = [f"{place}. {clean(name)}" for place, name in enumerate(comparison.names, start=1)]
    for place, run in enumerate(comparison.ids, start=1):
        parts.append(Text(f"{place}. {clean(run)}", "dim"))
    parts += [Text(""), _table("Figures", heads, comparison.figures)]
    if comparison.differences:
        parts += [Text(""), _table("Settings that differ", heads, comparison.differences)]
    else:
        parts += [Text(""), Text("Settings: all the same")]
    if comparison.inputs:
        parts += [Text(""), _table("Inputs that differ", heads, comparison.inputs)]
    return Group(*parts)


def _table(title: str, heads: list[str], rows: Sequence[tuple[str, tuple[str, ...]]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    table.add_column(Text(title, "bold"), overflow="fold")
    for head in heads:
        table.add_column(Text(head), justify="right", overflow="fold")
    for key, values in rows:
        table.add_row(Text(clean(key)), *(Text(clean(value)) for value in values))
    return table


def _figures(results: Sequence[Result], measured: list[Metrics]) -> list[tuple[str, tuple[str, ...]]]:
    rows: list[tuple[str, list[str]]] = [
        ("From", [words.day(m.start_ns) for m in measured]),
        ("To", [words.day(m.end_ns) for m in measured]),
        ("Return", [words.percent(m.total_return, sign=True) for m in measured]),
        ("A year", [words.percent(m.annual_return, sign=True) for m in measured]),
        ("Buy & hold", [words.percent(m.hold_return, sign=True) for m in measured]),
        ("Max drawdown", [words.percent(m.drawdown.depth) for m in measured]),
        ("  its length", [words.days(m.drawdown.length_ns) for m in measured]),
        ("Sharpe", [words.ratio(m.sharpe) for m in measured]),
        ("  not luck (PSR)", [words.chance(m.evidence.probabilistic) for m in measured]),
        ("  after all trials (DSR)", [words.chance(m.evidence.deflated) for m in measured]),
        ("  trials", [f"{m.evidence.trials:,}" for m in measured]),
        ("Sortino", [words.ratio(m.sortino) for m in measured]),
        ("Calmar", [words.ratio(m.calmar) for m in measured]),
        ("Time in market", [words.percent(m.time_in_market) for m in measured]),
        ("Turnover, × equity", [words.ratio(m.turnover, 1) for m in measured]),
        ("Fees", [words.money(m.fees, r.quote) for m, r in zip(measured, results, strict=True)]),
        ("Slippage", [words.money(m.slippage, r.quote) for m, r in zip(measured, results, strict=True)]),
        ("Funding received", [words.money(m.funding, r.quote) for m, r in zip(measured, results, strict=True)]),
        ("Closed trades", [f"{m.trades.closed:,}" for m in measured]),
        ("Win rate", [words.percent(m.trades.win_rate) for m in measured]),
        ("Profit factor", [words.ratio(m.trades.profit_factor) for m in measured]),
        ("Refused orders", [f"{sum(m.refusals.values()):,}" for m in measured]),
        ("Ladder moves", [f"{len(m.ladder):,}" for m in measured]),
        ("Idle", [words.span(m.idle_ns) for m in measured]),
    ]
    for name in dict.fromkeys(name for result in results for name in result.stress):
        rows.append((f"Stress: {name}", [words.percent(result.stress.get(name), sign=True) for result in results]))
    return [(label, tuple(values)) for label, values in rows]


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys and texts."""
    if isinstance(value, dict) and value:
        found: dict[str, str] = {}
        for key, item in value.items():
            found |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: value if isinstance(value, str) else json.dumps(value)}


def _setting_differences(results: Sequence[Result]) -> list[tuple[str, tuple[str, ...]]]:
    told = []
    for result in results:
        flat = _flat(result.settings) | {f"params.{name}": f"{value:g}" for name, value in result.params.items()}
        flat |= {"strategy": result.strategy, "strategy source": result.strategy_hash[:12], "market": result.market}
        flat |= {"symbols": " ".join(result.symbols), "bar": words.interval(result.bar_ns)}
        flat["model"] = " @ ".join(str(result.model.get(key)) for key in ("id", "revision")) if result.model else "none"
        told.append(flat)
    keys = list(dict.fromkeys(key for flat in told for key in flat))
    rows = [(key, tuple(flat.get(key, words.NONE) for flat in told)) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _input_differences(results: Sequence[Result]) -> list[tuple[str, tuple[str, ...]]]:
    told = [
        {
            f"{share.kind} {share.name} ({share.source})": f"{share.rows:,} rows {share.sha256[:10]}"
            for share in result.inputs
        }
        for result in results
    ]
    keys = list(dict.fromkeys(key for shares in told for key in shares))
    rows = [(key, tuple(shares.get(key, words.NONE) for shares in told)) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _warnings(
    results: Sequence[Result], measured: list[Metrics], inputs: list[tuple[str, tuple[str, ...]]]
) -> list[str]:
    found = []
    if any(words.NONE not in values for _, values in inputs):
        found.append("The same input differs between these runs: they did not see the same facts.")
    elif inputs:
        found.append("These runs used different inputs (listed below).")
    if len({(m.start_ns, m.end_ns) for m in measured}) > 1:
        found.append("These runs cover different spans: compare what they earned a year, with care.")
    if len({result.quote for result in results}) > 1:
        found.append("These runs count in different currencies.")
    if len({result.synthetic for result in results}) > 1:
        found.append("Some of these runs are on a synthetic market, some on a real one.")
    elif results[0].synthetic:
        found.append("Synthetic market: these figures say nothing about a real one.")
    if not any(m.evidence.skilled for m in measured):
        found.append("None of these runs shows evidence of skill (deflated Sharpe below 95%).")
    return found
