"""A signal report as one HTML file, in the manner of a run's page: plain HTML figures, charts drawn on opening."""

from __future__ import annotations

import hashlib
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest import words
from backtest.page import compose, resource, save_page
from backtest.page_pack import Pack
from backtest.page_tables import inputs_table, synthetic_banner, verdict_list
from backtest.signal_words import corrected, correlation, headline, how, missing, span_text

if TYPE_CHECKING:
    from backtest.signal_result import SignalReport, Verdict

FULL_TINT = 0.3  # a correlation from which on a quarter's colour is at its strongest


def write_signal_page(report: SignalReport, path: Path) -> Path:
    """Write the page of `report` to `path` by one rename; WorkError when the disk refuses or plotly is missing."""
    return save_page(signal_page(report), path)


def signal_page(report: SignalReport) -> str:
    """The whole page as text; the same report gives the same page."""
    lines = headline(report)
    told = [
        *how(report),
        "Bands in the charts: 95% of the bootstrap in the colour of the line, 95% of the wrong orders behind it.",
    ]
    filling = {
        "title": escape(f"Signal report, {', '.join(report.declared)} · Tidegate"),
        "synthetic": synthetic_banner(report.synthetic),
        "subtitle": escape(f"{', '.join(report.symbols)} · {span_text(report)}"),
        "tone": lines[0].tone,
        "verdict": verdict_list(lines),
        "signals": "".join(_signal(report, s, name) for s, name in enumerate(report.declared)),
        "how": "".join(f"<li>{escape(text)}</li>" for text in told),
        "inputs": inputs_table(report.inputs, report.model),
        "charts_js": resource("signal_charts.js"),
    }
    facts = _packed(report)
    return compose("signal_page.html", filling, facts, stamp=hashlib.sha256(repr(report.cells).encode()).hexdigest())


def _signal(report: SignalReport, s: int, name: str) -> str:
    """The cards of one signal."""
    declared, after = report.declared[name], words.interval(report.reference_ns[name])
    found = report.found(name)
    label = f"Rank correlation of {name} by horizon; evidence in {', '.join(found) or 'no symbol'}"
    legend = (
        '<p class="legend"><span class="key run"></span>IC and 95% of it <span class="key halt"></span>shuffled in '
        'time, 95% <span class="key hold"></span>past return alone · dotted: return since the horizon before</p>'
    )
    sums = '<p class="legend">Straight up: steady. A single jump: one event. It ends at the whole span\'s.</p>'
    cards = (
        (f'{escape(name)} <span class="muted small">{escape(declared)}</span>', _verdicts(report, name)),
        ("Correlation by horizon", legend + _chart(f"ic{s}", "chart", label) + _horizons(report, name)),
        ("Correlation by quarter", _quarters(report, name, after)),
        (
            f"How it adds up, {escape(after)}",
            sums + _chart(f"sum{s}", "chart mid", "Running sum of the correlation over time"),
        ),
        ("Coverage and gaps", _coverage(report, name)),
    )
    return "".join(f'<section class="card"><h2>{title}</h2>{inside}</section>' for title, inside in cards)


def _chart(place: str, kind: str, label: str) -> str:
    return f'<div id="{place}" class="{kind}" role="img" aria-label="{escape(label)}"></div>'


def _table(heads: list[tuple[str, bool]], body: str, label: str) -> str:
    head = "".join(f'<th scope="col"{" class=num" if right else ""}>{escape(name)}</th>' for name, right in heads)
    table = f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll" tabindex="0" aria-label="{escape(label)}">{table}</div>'


def _verdicts(report: SignalReport, name: str) -> str:
    heads = [
        ("Symbol", False), ("Verdict", False), ("after", True), ("IC", True), ("95% of it", True), ("price", True),
        ("beyond it", True), ("95% of it", True), ("p", True), ("decisions", True),
    ]  # fmt: skip
    body = "".join(_verdict_row(verdict) for verdict in report.verdicts if verdict.signal == name)
    return _table(heads, body, f"Verdicts on {name}")


def _verdict_row(verdict: Verdict) -> str:
    cell = verdict.cell
    figures = (
        words.interval(cell.horizon_ns), correlation(cell.ic), _between(cell.low, cell.high), correlation(cell.price),
        correlation(cell.beyond), _between(cell.beyond_low, cell.beyond_high), corrected(cell),
        f"{cell.rows:,}",
    )  # fmt: skip
    told = f'<b class="gain">{escape(verdict.text)}</b>' if verdict.evidence else escape(verdict.text)
    cells = "".join(f'<td class="num">{figure}</td>' for figure in figures)
    return f'<tr><th scope="row">{escape(verdict.symbol)}</th><td class="nowrap">{told}</td>{cells}</tr>'


def _between(low: float, high: float) -> str:
    return words.NONE if math.isnan(low) else f"{correlation(low)} to {correlation(high)}"


def _horizons(report: SignalReport, name: str) -> str:
    """Every test, folded away."""
    heads = [
        ("Symbol", False), ("after", True), ("IC", True), ("95% of it", True), ("since the one before", True),
        ("price", True), ("beyond it", True), ("shuffled, 95%", True), ("p", True), ("after all tests", True),
    ]  # fmt: skip
    body = "".join(
        f'<tr><th scope="row">{escape(cell.symbol)}</th>'
        + "".join(
            f'<td class="num">{figure}</td>'
            for figure in (
                words.interval(cell.horizon_ns), correlation(cell.ic), _between(cell.low, cell.high),
                correlation(cell.step), correlation(cell.price), correlation(cell.beyond),
                _between(cell.placebo_low, cell.placebo_high), words.ratio(cell.chance, 4),
                corrected(cell),
            )
        )
        + "</tr>"
        for cell in report.cells
        if cell.signal == name
    )  # fmt: skip
    return f"<details><summary>Every test</summary>{_table(heads, body, f'Tests of {name}')}</details>"


def _quarters(report: SignalReport, name: str, after: str) -> str:
    """A heat table: tint by size, sign and number say the same without colour, a star where 95% leave out 0."""
    mine = [one for one in report.quarters if one.signal == name]
    labels = list(dict.fromkeys(one.quarter for one in mine))
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in ("", *labels))
    body = []
    for symbol in report.symbols:
        known = {one.quarter: one for one in mine if one.symbol == symbol}
        cells = []
        for label in labels:
            one = known.get(label)
            if one is None or math.isnan(one.ic):
                cells.append("<td></td>")
                continue
            tint, side = min(abs(one.ic) / FULL_TINT, 1.0) * 45.0, "up" if one.ic > 0.0 else "down"
            star = "*" if one.low * one.high > 0.0 else ""
            title = f"95%: {_between(one.low, one.high)}, {one.rows:,} decisions"
            cells.append(f'<td class="{side}" style="--v:{tint:.0f}" title="{title}">{correlation(one.ic)}{star}</td>')
        body.append(f'<tr><th scope="row" class="symbol">{escape(symbol)}</th>{"".join(cells)}</tr>')
    caption = f"<caption>With the return over {escape(after)}; * where 95% leave out 0, quarter by quarter</caption>"
    return (
        f'<div class="scroll" tabindex="0" aria-label="Correlation by quarter"><table class="heat quarters">{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _coverage(report: SignalReport, name: str) -> str:
    heads = [("Symbol", False), ("ready", True), ("gaps", True), ("longest gap", True), ("not ready", False)]
    body = ""
    for one in report.coverage:
        if one.signal == name:
            ready, gaps, longest, others = missing(one)
            body += f'<tr><th scope="row">{escape(one.symbol)}</th>'
            body += "".join(f'<td class="num">{figure}</td>' for figure in (ready, gaps, longest))
            body += f'<td class="nowrap">{escape(others)}</td></tr>'
    return _table(heads, body, f"Coverage of {name}")


def _packed(report: SignalReport) -> bytes:
    """Figures of the charts: by signal and symbol, one number a horizon; curves as arrays."""
    box = Pack()
    told: list[dict[str, Any]] = []
    for s, name in enumerate(report.declared):
        symbols: list[dict[str, Any]] = []
        for k, symbol in enumerate(report.symbols):
            cells = report.cells_of(name, symbol)
            columns = {
                "ic": "ic", "low": "low", "high": "high", "step": "step", "price": "price",
                "sham_low": "placebo_low", "sham_high": "placebo_high",
            }  # fmt: skip
            numbers = {key: [_known(getattr(cell, field)) for cell in cells] for key, field in columns.items()}
            symbols.append({"name": symbol, "evidence": symbol in report.found(name), **numbers})
            for curve in report.curves:
                if (curve.signal, curve.symbol) == (name, symbol):
                    box.add(f"t{s}", curve.ns / 1e6, "f8")
                    box.add(f"total{s}_{k}", curve.total)
        horizons = [words.interval(h) for h in report.horizons_ns]
        told.append({"name": name, "horizons": horizons, "symbols": symbols})
    box.header["signals"] = told
    return box.tobytes()


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
