"""A run in the terminal: what a trader reads in ten seconds, doubt first. Fits 100 columns, stacks below 96.

Texts that came from outside (names, messages) are printed as they are, never as markup, and without control characters.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backtest import words
from backtest.figures import LEAST_DAYS, Metrics
from backtest.metrics import measure
from backtest.verdict import Line, verdict

if TYPE_CHECKING:
    from backtest.result import Result

WIDE = 96
SHOWN = 6  # lines of each list of reasons before "and N more"
_SIGNS = {"bad": ("✗", "bold red"), "warn": ("!", "yellow"), "good": ("✓", "green"), "plain": ("·", "default")}
_ASCII = str.maketrans(
    {"−": "-", "–": "-", "×": "x", "√": "sqrt ", "·": "-", "→": ">", "─": "-", "✗": "x", "✓": "+", "—": "-"}
)


def show(
    result: Result, console: Console | None = None, metrics: Metrics | None = None, saved: Path | None = None
) -> None:
    """Print the report of `result` to `console` (default: standard output)."""
    console = console or Console()
    print_safely(report(result, console.width, metrics, saved), console)


SYNTHETIC = Text(" SYNTHETIC MARKET: invented prices and posts; it says nothing about a real one. ", "black on yellow")


def print_safely(page: RenderableType, console: Console) -> None:
    """Print `page`; on a terminal that knows ASCII only, without the signs that it would fail on."""
    if not console.options.ascii_only:
        console.print(page)
        return
    plain = io.StringIO()
    Console(file=plain, width=console.width, color_system=None, legacy_windows=False).print(page)
    text = plain.getvalue().translate(_ASCII)
    console.print(Text(text.encode("ascii", "replace").decode("ascii")), end="")


def report_text(result: Result, width: int = 100, metrics: Metrics | None = None, saved: Path | None = None) -> str:
    """The report as plain text of at most `width` columns."""
    page = io.StringIO()
    Console(file=page, width=width, color_system=None, force_terminal=False, legacy_windows=False).print(
        report(result, width, metrics, saved)
    )
    return "".join(line.rstrip() + "\n" for line in page.getvalue().splitlines())


def report(result: Result, width: int = 100, metrics: Metrics | None = None, saved: Path | None = None) -> Group:
    """The report as a rich renderable."""
    metrics = metrics or measure(result)
    parts: list[RenderableType] = [_title(result, metrics, width)]
    if result.synthetic:
        parts.append(SYNTHETIC)
    parts += [told_lines(verdict(result, metrics)), _blank()]
    left, right = _performance(result, metrics), _trading(result, metrics)
    if width >= WIDE:
        grid = Table.grid(padding=(0, 3, 0, 0), expand=False)
        grid.add_row(left, right)
        parts.append(grid)
    else:
        parts += [left, _blank(), right]
    parts += [_blank(), _reasons(result, metrics), _blank(), _months(metrics)]
    if len(result.symbols) > 1:
        parts += [_blank(), _symbols(result, metrics)]
    parts += [_blank(), _inputs(result, metrics), _blank(), _foot(result, metrics, saved)]
    return Group(*parts)


def clean(text: object) -> str:
    """A foreign text on one line, without control characters that a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def _blank() -> Text:
    return Text("")


def _title(result: Result, metrics: Metrics, width: int) -> Text:
    title = Text()
    title.append(clean(result.strategy), "bold")
    shown = result.symbols if len(result.symbols) <= 6 else (*result.symbols[:5], f"+{len(result.symbols) - 5} more")
    title.append(f"  {clean(' '.join(shown))}  {result.market} {words.interval(result.bar_ns)}\n")
    dates = f"{words.day(metrics.start_ns)} → {words.day(metrics.end_ns)}"
    title.append(f"{dates}  {metrics.days:,.0f} days, {metrics.bars:,} bars, {metrics.decisions:,} decisions", "dim")
    title.append(f"  run {clean(result.id)}" if width >= WIDE else f"\nrun {clean(result.id)}", "dim")
    return title


def told_lines(lines: Iterable[Line]) -> Table:
    """Sentences, each behind the sign of its tone."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for line in lines:
        sign, style = _SIGNS[line.tone]
        table.add_row(Text(sign, style), Text(clean(line.text), style if line.tone in ("bad", "good") else ""))
    return table


def _sheet(title: str, *headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, header_style="dim", pad_edge=False)
    table.add_column(Text(title, "bold"), no_wrap=True)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _tinted(text: str, value: float | None) -> Text:
    if value is None or value == 0.0:
        return Text(text)
    return Text(text, "green" if value > 0.0 else "red")


def _performance(result: Result, metrics: Metrics) -> Table:
    """This run beside buy-and-hold."""
    table = _sheet("Performance", "this run", "buy & hold")
    hold, fall, evidence = metrics.hold_drawdown, metrics.drawdown, metrics.evidence
    final_hold = metrics.initial * (1.0 + metrics.hold_return)
    table.add_row(f"Equity, {clean(result.quote)}", words.money(metrics.final), words.money(final_hold))
    mine = _tinted(words.percent(metrics.total_return, sign=True), metrics.total_return)
    table.add_row("Return", mine, words.percent(metrics.hold_return, sign=True))
    if metrics.days < LEAST_DAYS:
        table.add_row("A year", "too short", "too short")
    else:
        annual = words.percent(metrics.annual_return, sign=True)
        table.add_row("A year", annual, words.percent(metrics.hold_annual, sign=True))
    table.add_row("Max drawdown", words.percent(fall.depth), words.percent(hold.depth))
    table.add_row("  its length", words.days(fall.length_ns), words.days(hold.length_ns))
    table.add_row("  recovered", _recovered(fall.depth, fall.recovered_ns), _recovered(hold.depth, hold.recovered_ns))
    table.add_row("Sharpe", words.ratio(metrics.sharpe), words.ratio(metrics.hold_sharpe))
    table.add_row("  not luck (PSR)", words.chance(evidence.probabilistic), "")
    tried = "1 trial" if evidence.trials == 1 else f"{evidence.trials:,} trials"
    table.add_row(f"  after {tried} (DSR)", words.chance(evidence.deflated), "")
    table.add_row("Sortino", words.ratio(metrics.sortino), "")
    table.add_row("Calmar", words.ratio(metrics.calmar), "")
    table.add_row("Volatility a year", words.percent(metrics.volatility), "")
    return table


def _recovered(depth: float, recovered_ns: int | None) -> str:
    if depth <= 0.0:
        return words.NONE
    return "no" if recovered_ns is None else words.day(recovered_ns)


def _trading(result: Result, metrics: Metrics) -> Table:
    """Trades, exposure and what it all cost."""
    table = _sheet("Trading and costs", "")
    trades = metrics.trades
    is_open = f" + {trades.open:,} open" if trades.open else ""
    table.add_row("Trades", f"{trades.closed:,} closed{is_open}")
    if trades.short:
        table.add_row("  long / short", f"{trades.long:,} / {trades.short:,}")
    table.add_row("Win rate", words.percent(trades.win_rate))
    table.add_row("Profit factor", words.ratio(trades.profit_factor))
    table.add_row("Mean win / loss", f"{words.money(trades.average_win)} / {words.money(trades.average_loss)}")
    by_exit = sorted(trades.by_exit.items(), key=lambda item: -item[1])[:2]
    if by_exit:
        table.add_row("Exits", ", ".join(f"{name} {count:,}" for name, count in by_exit))
    table.add_row("Mean bars held", words.ratio(trades.average_bars, 1))
    table.add_row("Time in market", words.percent(metrics.time_in_market))
    exposed = f"{words.percent(metrics.mean_exposure, 0)} / {words.percent(metrics.max_exposure, 0)}"
    table.add_row("Exposure mean / max", exposed)
    if metrics.annual_turnover is None:
        table.add_row("Turnover", f"{words.ratio(metrics.turnover, 1)} × equity")
    else:
        table.add_row("Turnover a year", f"{words.ratio(metrics.annual_turnover, 1)} × equity")
    table.add_row("Fees", words.money(metrics.fees, clean(result.quote)))
    table.add_row("Slippage", words.money(metrics.slippage, clean(result.quote)))
    if result.market != "spot":
        table.add_row("Funding received", words.money(metrics.funding, clean(result.quote)))
    if metrics.cost_share is not None:
        table.add_row("Costs / gross profit", words.percent(metrics.cost_share, 0))
    return table


def _reasons(result: Result, metrics: Metrics) -> Table:
    """Stress, refusals, ladder, holds and errors: what else happened, and why."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    stress = [f"{clean(name)} {words.percent(value, sign=True)}" for name, value in result.stress.items()]
    table.add_row("Stress", Text(" · ".join(stress) or "not run"))
    refused = [f"{words.rule_name(rule)} {count:,}" for rule, count in metrics.refusals.items()]
    table.add_row("Refused", Text(_list(refused)))
    outcomes = [f"{clean(name)} {count:,}" for name, count in metrics.outcomes.items() if name != "funding"]
    if outcomes:
        table.add_row("Also", Text(_list(outcomes)))
    table.add_row("Held", Text(_list([f"{clean(name)} {count:,}" for name, count in metrics.holds.items()])))
    if result.discounted:
        table.add_row("Discounted", _discounted(result))
    table.add_row("Ladder", _ladder(metrics))
    idle = metrics.idle_ns / max(metrics.end_ns - metrics.start_ns, 1)
    levels = ", ".join(f"{name} {words.span(ns)}" for name, ns in metrics.time_at_level.items())
    resume = f"resume_after {clean(result.resume_after)}"
    spent = f"{words.percent(idle)} of the time ({levels})" if metrics.idle_ns else "never idle"
    table.add_row("Idle", Text(f"{spent}; {resume}"))
    if result.errors:
        samples = " · ".join(clean(sample) for sample in result.error_samples[:2])
        table.add_row("Errors", Text(f"{result.errors:,} decisions skipped: {samples}", "red"))
    return table


def _list(items: list[str]) -> str:
    more = f" · and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return (" · ".join(items[:SHOWN]) + more) or "nothing"


def _discounted(result: Result) -> Text:
    """Posts that a control discounted, the largest lots first; near-duplicates in one line."""
    told = sorted((one for one in result.discounted if one.rule), key=lambda one: -one.posts)
    lines = [
        f"{clean(one.coin)} {words.minute(one.since_ns)} → {words.minute(one.until_ns)}  {one.posts:,} posts: "
        + words.discount(one.rule, clean(one.why), one.observed, one.limit)
        for one in told[:SHOWN]
    ]
    if len(told) > SHOWN:
        lines.append(f"and {sum(one.posts for one in told[SHOWN:]):,} more posts in {len(told) - SHOWN:,} lots")
    repeated = [one for one in result.discounted if not one.rule]
    if repeated:
        posts, worth = sum(one.posts for one in repeated), sum(one.observed for one in repeated)
        lines.append(f"{posts:,} posts: {words.discount(0, clean(repeated[0].why), worth, 0.0)}")
    return Text("\n".join(lines))


def _ladder(metrics: Metrics) -> Text:
    lines = [
        f"{words.minute(move.ns)}  {move.was} → {move.level}  {words.rule_name(move.rule)}: "
        f"{words.rule_value(move.rule, move.observed)}, limit {words.rule_value(move.rule, move.limit)}"
        for move in metrics.ladder[:SHOWN]
    ]
    if len(metrics.ladder) > SHOWN:
        lines.append(f"and {len(metrics.ladder) - SHOWN:,} more moves")
    return Text("\n".join(lines) or "no move")


def _months(metrics: Metrics) -> Table:
    """Monthly returns, a row a year; an asterisk marks a month covered in part. The last three years that there are."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(Text("Months, %", "bold"), no_wrap=True)
    for name in ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"):
        table.add_column(name, justify="right", no_wrap=True)
    years = sorted({month.year for month in metrics.months})[-3:]
    for year in years:
        cells = {month.month: month for month in metrics.months if month.year == year}
        row = [Text(str(year))]
        for number in range(1, 13):
            month = cells.get(number)
            if month is None or month.value is None:
                row.append(Text(""))
                continue
            text = words.ratio(month.value * 100.0, 1 if abs(month.value) < 1.0 else 0)
            row.append(_tinted(text + ("*" if month.partial else ""), month.value))
        table.add_row(*row)
    return table


def _symbols(result: Result, metrics: Metrics) -> Table:
    """What each symbol earned, the largest parts first."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    parts = sorted(metrics.contributions.items(), key=lambda item: -abs(item[1]))
    shown = [f"{clean(name)} {words.percent(earned / metrics.initial, sign=True)}" for name, earned in parts]
    table.add_row("By symbol", Text(_list(shown)))
    return table


def _inputs(result: Result, metrics: Metrics) -> Table:
    """How the inputs' times are known, and which model scored."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for kind, shares in metrics.quality.items():
        rows = sum(share.rows for share in result.inputs if share.kind == kind)
        mix = ", ".join(f"{words.percent(share, 0)} {clean(name)}" for name, share in shares.items())
        table.add_row(kind.capitalize(), Text(f"{rows:,} rows: {mix}"))
    if result.model:
        told = [str(result.model.get("id", "?")), str(result.model.get("revision") or "no revision")]
        cutoff = result.model.get("cutoff")
        text = clean(
            " @ ".join(told) + (f", trained on texts until {cutoff}" if cutoff else ", training cutoff unknown")
        )
        table.add_row("Model", Text(text))
    return table


def _foot(result: Result, metrics: Metrics, saved: Path | None) -> Padding:
    cost = words.percent(metrics.hold_cost, 2)
    lines = [
        f"Sharpe, Sortino: {metrics.sampling}. Years have 365.25 days.",
        f"Drawdown at bar closes. Buy & hold: equal weights at the first decision's close, {cost} paid once.",
    ]
    lines += [words.sentence(clean(note)) for note in (*result.notes, *metrics.notes)]
    if saved is not None:
        lines.append(f"Saved in {clean(saved)}")
    return Padding(Text("\n".join(lines), "dim"), 0)
