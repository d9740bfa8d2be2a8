"""What a run is worth, in words, with the thresholds said. Doubt comes first: a good number never hides a bad reason.

Every line has a tone: `bad` (the result can't be relied on), `warn` (read this before the figures), `good` (a claim
that passed its threshold), `plain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backtest import words
from backtest.figures import CONFIDENCE, LEAST_DAYS, LEAST_TRADES, Metrics

if TYPE_CHECKING:
    from backtest.result import Result


@dataclass(frozen=True)
class Line:
    """One sentence and how it is meant."""

    tone: str  # bad | warn | good | plain
    text: str


def verdict(result: Result, metrics: Metrics) -> list[Line]:
    """All sentences, the gravest first; the first one is the headline."""
    lines = _broken(result, metrics)
    lines += _skill(metrics)
    lines += _against_hold(metrics)
    lines += _stress(result, metrics)
    lines += about_inputs(result.doubts, result.model, metrics.quality)
    lines += _halts(result, metrics)
    headline, rest = lines[0], lines[1:]
    return [headline, *gravest_first(rest)]


def gravest_first(lines: Iterable[Line]) -> list[Line]:
    """The lines in order of their tone."""
    order = {"bad": 0, "warn": 1, "good": 2, "plain": 3}
    return sorted(lines, key=lambda line: order[line.tone])


def _broken(result: Result, metrics: Metrics) -> list[Line]:
    lines = []
    if metrics.bad_equity:
        lines.append(Line("bad", f"Broken run: equity is not a number at {metrics.bad_equity:,} closes."))
    if metrics.final <= 0.0:
        lines.append(Line("bad", "Ruined: nothing of the allocation was left."))
    if metrics.liquidations:
        lines.append(Line("bad", f"{_many(metrics.liquidations, 'position')} liquidated."))
    if result.errors:
        lines.append(Line("bad", f"The strategy failed at {_many(result.errors, 'decision')}; those were skipped."))
    if abs(metrics.unexplained) > 1e-6 * abs(metrics.initial):
        lost = words.money(metrics.unexplained, result.quote)
        lines.append(Line("bad", f"The books don't balance: {lost} unexplained."))
    return lines


def _skill(metrics: Metrics) -> list[Line]:
    """The headline: is there evidence that this was not luck?"""
    evidence = metrics.evidence
    threshold = f"{CONFIDENCE:.0%}"
    if metrics.fills == 0:
        return [Line("warn", "The run never traded: there is nothing to judge.")]
    if metrics.days < LEAST_DAYS:
        return [Line("warn", f"No evidence of skill: {metrics.days:.1f} days are too short to judge or to annualise.")]
    if evidence.deflated is None or evidence.probabilistic is None:
        return [Line("warn", "No evidence of skill: the daily returns allow no Sharpe ratio.")]
    tried = "one trial" if evidence.trials == 1 else f"{evidence.trials:,} trials on these facts"
    chance = f"the chance of a true edge is {words.chance(evidence.deflated)} after {tried}, {threshold} is needed"
    if not evidence.skilled:
        lines = [Line("bad", f"No evidence of skill: {chance}.")]
        if evidence.probabilistic >= CONFIDENCE:
            text = (
                f"One trial alone would pass ({words.chance(evidence.probabilistic)}); the number of tries undoes it."
            )
            lines.append(Line("warn", text))
    else:
        lines = [Line("good", f"Evidence of skill: {chance}.")]
    if 0 < metrics.trades.closed < LEAST_TRADES:
        lines.append(
            Line("warn", f"Only {_many(metrics.trades.closed, 'closed trade')}; {LEAST_TRADES} are the least.")
        )
    if evidence.needed_days is not None and evidence.needed_days > metrics.days:
        lines.append(
            Line("warn", f"{metrics.days:,.0f} days of record; {evidence.needed_days:,.0f} are needed for {threshold}.")
        )
    return lines


def _against_hold(metrics: Metrics) -> list[Line]:
    """Return and fall beside buy-and-hold; a loss is named a loss even when holding lost more."""
    mine, theirs = words.percent(metrics.total_return, sign=True), words.percent(metrics.hold_return, sign=True)
    if metrics.fills == 0:
        return []
    if metrics.total_return < 0.0:
        if metrics.hold_return >= 0.0:
            return [Line("warn", f"It lost money ({mine}) where buy-and-hold gained ({theirs}).")]
        beside = "less" if metrics.total_return > metrics.hold_return else "more"
        return [Line("warn", f"It lost money ({mine}), {beside} than buy-and-hold ({theirs}).")]
    if metrics.total_return <= metrics.hold_return:
        return [Line("warn", f"Buy-and-hold earned more: {theirs} against {mine}.")]
    text = f"{mine} against {theirs} for buy-and-hold"
    if metrics.drawdown.depth > metrics.hold_drawdown.depth:
        deep, shallow = words.percent(metrics.drawdown.depth), words.percent(metrics.hold_drawdown.depth)
        return [Line("warn", f"{text}, with a deeper fall ({deep} against {shallow}).")]
    return [Line("plain", f"{text}, with a smaller fall.")]


def _stress(result: Result, metrics: Metrics) -> list[Line]:
    if metrics.total_return <= 0.0:
        return []
    failed = [f"{name} ({words.percent(value, sign=True)})" for name, value in result.stress.items() if not value > 0.0]
    if failed:
        return [Line("bad", f"The gain doesn't survive: {', '.join(failed)}.")]
    if result.stress:
        return [Line("plain", f"The gain survives: {', '.join(result.stress)}.")]
    return [Line("warn", "No stress run: what higher fees or later fills do to it is not known.")]


def about_inputs(
    doubts: Sequence[str], model: Mapping[str, Any] | None, quality: Mapping[str, Mapping[str, float]]
) -> list[Line]:
    """What the facts of a run leave in doubt: what was assumed or missing, the model's past, how times are known."""
    lines = [Line("warn", words.sentence(doubt)) for doubt in doubts]
    if model and model.get("warning"):
        lines.append(Line("warn", str(model["warning"])))
    for kind, shares in quality.items():
        revised = shares.get("revised", 0.0)
        assumed = shares.get("assumed_lag", 0.0)
        if revised > 0.0:
            text = f"{revised:.0%} of {kind} are values revised later: they may know part of the future."
            lines.append(Line("warn", text))
        if assumed > 0.5 and kind != "bars":
            lines.append(Line("plain", f"{assumed:.0%} of {kind} have an assumed publication lag, not a recorded one."))
    return lines


def _halts(result: Result, metrics: Metrics) -> list[Line]:
    lines = []
    if metrics.idle_ns:
        share = metrics.idle_ns / max(metrics.end_ns - metrics.start_ns, 1)
        levels = ", ".join(f"{name} {words.span(ns)}" for name, ns in metrics.time_at_level.items())
        tone = "warn" if share > 0.05 else "plain"
        lines.append(Line(tone, f"Held back by the risk ladder {words.percent(share)} of the time ({levels})."))
    refused = sum(metrics.refusals.values())
    if refused:
        lines.append(Line("plain", f"{_many(refused, 'order')} refused by the gate."))
    return lines


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
