"""What a signal report says in words, the same in the terminal and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtest import words
from backtest.verdict import Line

if TYPE_CHECKING:
    from backtest.signal_result import Cell, SignalReport
    from backtest.signal_times import Coverage

SHOWN = 0.0005  # a share below it would be printed as 0.0%


def corrected(cell: Cell) -> str:
    """The p-value after the correction for the number of tests; a dash where nothing was tested."""
    return words.ratio(cell.corrected, 3) if cell.testable else words.NONE


def correlation(value: float) -> str:
    """A correlation with its sign and two digits: `+0.12`."""
    text = words.ratio(value)
    return text if text in (words.NONE, "0.00") or text.startswith("\u2212") else f"+{text}"


def span_text(report: SignalReport) -> str:
    """Span, decisions and bars."""
    days = (report.end_ns - report.start_ns) / 86_400e9
    return (
        f"{words.day(report.start_ns)} → {words.day(report.end_ns)}  {days:,.0f} days, "
        f"{report.decisions:,} decisions at closes of {words.interval(report.bar_ns)} bars"
    )


def headline(report: SignalReport) -> list[Line]:
    """One sentence a signal, those with evidence first, then what weakens it all."""
    lines = [_of_signal(report, signal) for signal in sorted(report.declared, key=lambda name: not report.found(name))]
    if report.shuffled:
        lines.append(Line("warn", "The facts were shuffled in time before: whatever shows here is chance."))
    if report.model and report.model.get("warning"):
        lines.append(Line("warn", str(report.model["warning"])))
    for kind, text in _qualities(report):
        lines.append(Line(kind, text))
    if any(report.found(signal) for signal in report.declared):
        lines.append(Line("plain", "One report in twenty on pure noise finds something too."))
        lines.append(Line("plain", "A correlation isn't a profit: fees and spread aren't in it."))
    return lines


def _of_signal(report: SignalReport, signal: str) -> Line:
    found = report.found(signal)
    called = f"{signal} = {report.declared[signal]}"
    if not found:
        return Line("bad", f"No evidence in any symbol: {called}.")
    inverse = {one.symbol for one in report.verdicts if one.signal == signal and one.evidence and one.cell.ic < 0.0}
    names = ", ".join(f"{symbol} (the opposite)" if symbol in inverse else symbol for symbol in found)
    return Line("good", f"Evidence in {len(found)} of {len(report.symbols)} symbols: {names}; {called}.")


def _qualities(report: SignalReport) -> list[tuple[str, str]]:
    """How the times of the facts are known, where that isn't by recording."""
    said = []
    for kind in ("sentiment", "metrics"):
        mine = [share.quality for share in report.inputs if share.kind == kind]
        total = sum(sum(quality.values()) for quality in mine)
        for name, tone, text in (
            ("revised", "warn", "are values revised later: they may know part of the future"),
            ("assumed_lag", "plain", "have an assumed publication lag, not a recorded one"),
        ):
            part = sum(quality.get(name, 0) for quality in mine)
            if part:
                said.append((tone, f"{part / total:.0%} of {kind} {text}."))
    return said


def missing(one: Coverage) -> tuple[str, str, str, str]:
    """Share ready, number of gaps, the longest of them, and the states in which there was no value."""
    others = ", ".join(f"{words.percent(share)} {name}" for name, share in one.states.items() if share >= SHOWN)
    if one.missing:
        others = f"{others}, {one.missing:,} bars missing".removeprefix(", ")
    longest = (
        f"{words.span(one.longest_gap_ns)} from {words.minute(one.longest_gap_from_ns)}" if one.gaps else words.NONE
    )
    return words.percent(one.ready), f"{one.gaps:,}", longest, others or words.NONE


def how(report: SignalReport) -> list[str]:
    """How it was worked out, so that it can be doubted."""
    blocks = sorted({cell.block_ns for cell in report.cells})
    shuffled = ", ".join(dict.fromkeys(words.span(ns) for ns in report.placebo_ns.values()))
    told = [
        "IC: rank correlation of the signal at a close with the return from the next open on (*: 95% leaves out 0).",
        f"Interval: stationary bootstrap, {report.draws:,} draws, blocks of {words.span(blocks[0])} to "
        f"{words.span(blocks[-1])}, no shorter than the horizon.",
        "Price: IC of the return over as long before. Beyond it: the signal's where past returns are known (bar, "
        "horizon, day).",
        f"p: how often the same signal does as well in blocks of {shuffled} put in {report.placebos:,} wrong orders, "
        f"corrected by Holm for {report.tests} tests, those of this report alone. Stars aren't.",
        f"Evidence needs all three: interval, p below 5%, interval beyond price. Seed {report.seed}.",
    ]
    if report.model:
        model = report.model
        cutoff = model["cutoff"] or "unknown"
        told.append(f"Scores of {model['id']} @ {model['revision']}, trained on texts until {cutoff}.")
    return told + [words.sentence(note) for note in report.notes]
