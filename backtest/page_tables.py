"""The parts of the page that are plain HTML: verdict, months, controls, inputs, settings. Everything is escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from backtest import words
from backtest.figures import LEAST_DAYS, Metrics
from backtest.page_figures import figure_cards, tiles
from backtest.page_pack import MOST_FILLS, MOST_TRADES
from backtest.verdict import Line, verdict
from risk.records import EV_REFUSED

if TYPE_CHECKING:
    from backtest.result import InputShare, Result

SHOWN = 200  # ladder moves and other lists
_SIGNS = {"bad": "✗", "warn": "!", "good": "✓", "plain": "·"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parts(result: Result, metrics: Metrics, left_out: dict[str, int]) -> dict[str, str]:
    """What goes into each place of page.html."""
    lines = verdict(result, metrics)
    label = (
        f"Equity from {words.money(metrics.initial)} to {words.money(metrics.final, result.quote)}, "
        f"buy and hold {words.percent(metrics.hold_return, sign=True)}, "
        f"deepest fall {words.percent(metrics.drawdown.depth)}"
    )
    exposure = (
        f"Gross exposure, mean {words.percent(metrics.mean_exposure)}, highest {words.percent(metrics.max_exposure)}"
    )
    perp = result.market != "spot"
    return {
        "title": escape(f"{result.strategy} {words.percent(metrics.total_return, sign=True)} · Tidegate"),
        "synthetic": synthetic_banner(result.synthetic),
        "strategy": escape(result.strategy),
        "subtitle": _subtitle(result, metrics),
        "tone": lines[0].tone,
        "verdict": verdict_list(lines),
        "tiles": tiles(result, metrics),
        "ladder_key": '<span class="key halt"></span>risk ladder above ACTIVE' if metrics.ladder else "",
        "short_key": '<span class="mark short">▼</span>short entry ' if perp else "",
        "net_key": '<span class="key net"></span>net / equity' if perp else "",
        "equity_label": escape(label),
        "exposure_label": escape(exposure),
        "symbols": "".join(f'<option value="{k}">{escape(name)}</option>' for k, name in enumerate(result.symbols)),
        "months": months_table(metrics),
        "contributions": _contributions(result, metrics),
        "figures": figure_cards(result, metrics),
        "trades_note": _trades_note(metrics, left_out),
        "controls": _refusals(result, metrics) + _ladder(result, metrics) + _discounted(result),
        "inputs": inputs_table(result.inputs, result.model),
        "settings": _settings(result),
        "foot": _foot(result, metrics, left_out),
    }


def rows(pairs: Sequence[tuple[str, ...]], heads: tuple[str, ...] = ()) -> str:
    """A table of escaped texts: the first column names, the others are right-aligned."""
    head = "".join(
        f'<th scope="col"{" class=num" if place else ""}>{escape(name)}</th>' for place, name in enumerate(heads)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f'<td class="num">{escape(cell)}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in pairs
    )
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<div class="scroll"><table class="list">{top}<tbody>{body}</tbody></table></div>'


def months_table(metrics: Metrics) -> str:
    """Months as a heat map: the tint grows with the return up to 15 %, sign and number say the same without colour."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", *_MONTHS, "Year"))
    body = []
    for year in sorted({month.year for month in metrics.months}):
        mine = {month.month: month for month in metrics.months if month.year == year}
        cells, total = [], 1.0
        for number in range(1, 13):
            month = mine.get(number)
            if month is None or month.value is None:
                cells.append("<td></td>")
                continue
            total *= 1.0 + month.value
            cells.append(_heat(month.value, month.partial))
        body.append(f'<tr><th scope="row">{year}</th>{"".join(cells)}{_heat(total - 1.0, False, " total")}</tr>')
    partial = any(month.partial for month in metrics.months)
    caption = f"<caption>Percent, by UTC month{'; * covered in part' if partial else ''}</caption>"
    return (
        f'<div class="scroll" tabindex="0" aria-label="Monthly returns"><table class="heat">{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _heat(value: float, partial: bool, more: str = "") -> str:
    tint = min(abs(value) / 0.15, 1.0) * 45.0
    side = "up" if value > 0.0 else "down"
    text = words.percent(value, 1, sign=True).removesuffix("%") + ("*" if partial else "")
    return f'<td class="{side}{more}" style="--v:{tint:.0f}">{text}</td>'


def synthetic_banner(synthetic: bool) -> str:
    """What stands above a page on invented facts."""
    if not synthetic:
        return ""
    text = "Synthetic market: invented prices and posts. It says nothing about a real one."
    return f'<div class="synthetic" role="note">{text}</div>'


def _subtitle(result: Result, metrics: Metrics) -> str:
    names = result.symbols if len(result.symbols) <= 8 else (*result.symbols[:7], f"{len(result.symbols) - 7} more")
    told = [
        ", ".join(names),
        f"{result.market}, {words.interval(result.bar_ns)} bars",
        f"{words.day(metrics.start_ns)} to {words.day(metrics.end_ns)} ({metrics.days:,.0f} days)",
        f"run {result.id}",
    ]
    return " · ".join(escape(text) for text in told)


def verdict_list(lines: Sequence[Line]) -> str:
    """The headline, and the other sentences behind the signs of their tones."""
    first, rest = lines[0], lines[1:]
    items = "".join(f'<li class="{line.tone}"><b>{_SIGNS[line.tone]}</b>{escape(line.text)}</li>' for line in rest)
    return f'<p class="headline">{escape(first.text)}</p><ul>{items}</ul>'


def _contributions(result: Result, metrics: Metrics) -> str:
    """What each symbol earned, as bars to the left and right of zero."""
    if len(result.symbols) < 2:
        return ""
    earned = sorted(metrics.contributions.items(), key=lambda item: -item[1])
    most = max(max(abs(value) for _, value in earned), 1e-12)
    drawn = []
    for name, value in earned:
        width = 50.0 * abs(value) / most
        left = 50.0 if value >= 0.0 else 50.0 - width
        tone = "gain" if value >= 0.0 else "loss"
        amount = f"{words.money(value)} ({words.percent(value / metrics.initial, sign=True)})"
        drawn.append(
            f'<span>{escape(name)}</span><span class="bar">'
            f'<i class="{tone}" style="left:{left:.2f}%;width:{width:.2f}%"></i></span>'
            f'<span class="num">{amount}</span>'
        )
    return (
        '<section class="card"><h2>What each symbol earned</h2>'
        f'<p class="muted small">{escape(result.quote)} after fees, slippage and funding, open positions at the last '
        f'close; in brackets the share of initial cash</p><div class="bars">{"".join(drawn)}</div></section>'
    )


def _trades_note(metrics: Metrics, left_out: dict[str, int]) -> str:
    if metrics.trades.closed + metrics.trades.open == 0:
        return "The run never traded."
    note = "Round trips from flat to flat, after all costs. Choose a trade to see it in the chart."
    if left_out["trades"]:
        note += f" The first {MOST_TRADES:,} are here, {left_out['trades']:,} more in the exports."
    return note


def _refusals(result: Result, metrics: Metrics) -> str:
    refused = [(words.rule_name(rule), f"{count:,}") for rule, count in metrics.refusals.items()]
    held = [(reason, f"{count:,}") for reason, count in metrics.holds.items()]
    others = [(name, f"{count:,}") for name, count in metrics.outcomes.items() if name != "funding"]
    text = '<section class="card"><h2>Refused and held</h2>'
    text += rows(refused, ("Refused by the gate", "orders")) if refused else "<p>The gate refused no order.</p>"
    text += _refused_orders(result, metrics)
    text += rows(held, ("Held, not decided", "times")) if held else "<p>No decision was held back.</p>"
    if others:
        text += rows(others, ("Other events", "times"))
    return text + "</section>"


def _refused_orders(result: Result, metrics: Metrics) -> str:
    """The single refusals with what was asked and what the rule allows, folded away."""
    events = result.events[result.events["kind"] == EV_REFUSED]
    if len(events) == 0:
        return ""
    shown = [
        (
            words.minute(int(event["ns"])),
            result.symbols[event["symbol"]] if 0 <= event["symbol"] < len(result.symbols) else words.NONE,
            words.rule_name(int(event["rule"])),
            words.rule_value(int(event["rule"]), float(event["observed"])),
            words.rule_value(int(event["rule"]), float(event["limit"])),
        )
        for event in events[:SHOWN]
    ]
    more = f"<p>{len(events) - SHOWN:,} more are in the exports.</p>" if len(events) > SHOWN else ""
    table = rows(shown, ("Time, UTC", "symbol", "rule", "observed", "limit"))
    return f"<details><summary>Each refusal</summary>{table}{more}</details>"


def _ladder(result: Result, metrics: Metrics) -> str:
    text = '<section class="card"><h2>Risk ladder</h2>'
    share = metrics.idle_ns / max(metrics.end_ns - metrics.start_ns, 1)
    idle = f"{words.percent(share)} of the time above ACTIVE" if metrics.idle_ns else "Never above ACTIVE"
    text += f'<p class="muted small">{idle}. A halt resumes: {escape(result.resume_after)}.</p>'
    if metrics.time_at_level:
        text += rows([(name, words.span(ns)) for name, ns in metrics.time_at_level.items()], ("Level", "time spent"))
    moves = [
        (
            words.minute(move.ns),
            f"{move.was} → {move.level}",
            words.rule_name(move.rule),
            f"{words.rule_value(move.rule, move.observed)} / {words.rule_value(move.rule, move.limit)}",
        )
        for move in metrics.ladder[:SHOWN]
    ]
    if moves:
        text += rows(moves, ("Time, UTC", "move", "rule", "observed / limit"))
    if len(metrics.ladder) > SHOWN:
        text += f"<p>{len(metrics.ladder) - SHOWN:,} more moves are in the exports.</p>"
    if result.errors:
        samples = "".join(f"<li class=hash>{escape(sample)}</li>" for sample in result.error_samples[:20])
        text += (
            f'<h3 class="loss">Strategy errors</h3><p>{result.errors:,} decisions were skipped.</p><ul>{samples}</ul>'
        )
    return text + "</section>"


def _discounted(result: Result) -> str:
    """Posts that didn't count, or not in full: by what rule, with what was observed and what is allowed."""
    if not result.discounted:
        return ""
    shown = [
        (
            f"{one.coin} {words.minute(one.since_ns)}",
            words.minute(one.until_ns),
            words.rule_name(one.rule) if one.rule else words.NONE,
            words.discount(one.rule, one.why, one.observed, one.limit),
            f"{one.posts:,}",
            f"{one.taken_back:,}",
        )
        for one in result.discounted[:SHOWN]
    ]
    text = '<section class="card"><h2>Discounted posts</h2>'
    text += (
        '<p class="muted small">Until the time shown the coin\'s sentiment was suspect, and held. Posts taken back had '
        "counted until the flood was found out.</p>"
    )
    text += rows(shown, ("From, UTC", "until", "rule", "why", "posts", "taken back"))
    if len(result.discounted) > SHOWN:
        text += f"<p>{len(result.discounted) - SHOWN:,} more lots are in the saved run.</p>"
    return text + "</section>"


def inputs_table(inputs: Sequence[InputShare], model: dict[str, Any] | None) -> str:
    """Every input with its span, hash and the quality of its times."""
    body = "".join(
        f'<tr><th scope="row">{escape(share.kind)}</th><td>{escape(share.name)}</td><td>{escape(share.source)}</td>'
        f'<td class="num">{share.rows:,}</td>'
        f'<td class="nowrap">{words.day(share.first_ns)} to {words.day(share.last_ns)}</td>'
        f"<td>{_quality(share.quality)}</td>"
        f'<td class="hash" title="{escape(share.sha256)}">{escape(share.sha256[:16])}</td></tr>'
        for share in inputs
    )
    heads = ("Kind", "Name", "Source", "Rows", "Span", "How its times are known", "sha256")
    head = "".join(f'<th scope="col"{" class=num" if name == "Rows" else ""}>{name}</th>' for name in heads)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    text = f'<div class="scroll" tabindex="0" aria-label="Inputs">{table}</div>'
    if model:
        text += (
            f'<p class="small">Sentiment model: {escape(str(model.get("id", "?")))} @ '
            f"{escape(str(model.get('revision') or 'no revision'))}, trained on texts until "
            f"{escape(str(model.get('cutoff') or 'unknown'))}.</p>"
        )
    return text


def _quality(shares: dict[str, int]) -> str:
    total = sum(shares.values())
    if not total:
        return words.NONE
    mix = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{count / total:.0%} {escape(name.replace('_', ' '))}" for name, count in mix if count)


def _settings(result: Result) -> str:
    """Every setting by section; nested ones as dotted keys."""
    sections: dict[str, list[tuple[str, str]]] = {"strategy": [("source sha256", result.strategy_hash[:16])]}
    sections["strategy"] += [(name, f"{value:g}") for name, value in result.params.items()]
    for key, value in result.settings.items():
        if key == "effective" and isinstance(value, dict):
            for name, item in value.items():
                told = _leaves(item if isinstance(item, dict) else {name: item})
                sections.setdefault(f"in effect: {name if isinstance(item, dict) else 'other'}", []).extend(told)
        elif isinstance(value, dict):
            if key != "params":
                sections[key] = _leaves(value)
        else:
            sections.setdefault("run", []).append((key, _told(value)))
    text = "".join(
        f"<section><h3>{escape(name)}</h3><table>"
        + "".join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(told)}</td></tr>' for key, told in pairs)
        + "</table></section>"
        for name, pairs in sections.items()
        if pairs
    )
    return f'<div class="settings small">{text}</div><p class="hash muted">sha256 {result.settings_hash()}</p>'


def _leaves(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, dict):
            found += _leaves(item, f"{prefix}{key}.")
        elif key.endswith("_ns") and isinstance(item, int):
            found.append((f"{prefix}{key.removesuffix('_ns')}", words.span(item)))
        else:
            found.append((f"{prefix}{key}", "no limit" if item == "inf" else _told(item)))
    return found


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_told(item) for item in value)
    if value is None:
        return words.NONE
    return value if isinstance(value, str) else json.dumps(value)


def _foot(result: Result, metrics: Metrics, left_out: dict[str, int]) -> str:
    told = [
        f"Sharpe and Sortino from {metrics.sampling}. A year has 365.25 days, a market that never closes has no 252.",
        "Drawdown at bar closes: inside a bar it may have been deeper.",
        "Buy and hold: equal weights bought at the first decision's close, "
        f"{words.percent(metrics.hold_cost, 2)} paid once.",
    ]
    if metrics.days < LEAST_DAYS:
        told.append(f"Figures a year need {LEAST_DAYS} days.")
    if left_out["bucket"] > 1:
        told.append(
            f"Curves are thinned: of every {left_out['bucket']:,} bars the lowest and the highest value are drawn. "
            "Figures and trades use all of them."
        )
    if left_out["fills"]:
        told.append(f"Marks for the first {MOST_FILLS:,} fills only.")
    told += [words.sentence(note) for note in (*result.notes, *metrics.notes)]
    told.append(f"Facts sha256 {result.facts_hash()[:16]}. Made by Tidegate; charts by plotly.js (MIT).")
    return "".join(f"<p>{escape(text)}</p>" for text in told)
