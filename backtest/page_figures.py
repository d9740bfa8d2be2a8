"""The page's key figures and the full list of them, each with its formula in a few words."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from backtest import words
from backtest.figures import LEAST_DAYS, Metrics

if TYPE_CHECKING:
    from backtest.result import Result

Row = tuple[str, str, str]  # name, how it is worked out, value


def tiles(result: Result, metrics: Metrics) -> str:
    """Six figures that answer: how much, how bad, luck or not, how often, at what cost, how exposed."""
    evidence, trades, fall = metrics.evidence, metrics.trades, metrics.drawdown
    after = "1 trial" if evidence.trials == 1 else f"{evidence.trials:,} trials"
    recovered = "recovered" if fall.recovered_ns is not None else "not recovered"
    cost = metrics.fees + metrics.slippage - metrics.funding
    eaten = "" if metrics.cost_share is None else f"{words.percent(metrics.cost_share, 0)} of gross profit"
    won = f"{words.percent(trades.win_rate)} won, {trades.open:,} open" if trades.closed else f"{trades.open:,} open"
    shown = [
        (
            "Return",
            words.percent(metrics.total_return, sign=True),
            f"buy & hold {words.percent(metrics.hold_return, sign=True)}",
        ),
        (
            "Max drawdown",
            words.percent(fall.depth),
            f"{words.days(fall.length_ns)}, {recovered}" if fall.depth else "none",
        ),
        ("Sharpe a year", words.ratio(metrics.sharpe), _luck(evidence.deflated, after)),
        ("Trades", f"{trades.closed:,}", won),
        (f"Costs, {result.quote}", words.money(cost), eaten or "fees, slippage, funding"),
        (
            "In the market",
            words.percent(metrics.time_in_market, 0),
            f"mean exposure {words.percent(metrics.mean_exposure, 0)}",
        ),
    ]
    tones = {"Return": _tone(metrics.total_return)}
    return "".join(
        f'<div class="tile"><div class="label">{escape(name)}</div>'
        f'<div class="value {tones.get(name, "")}">{escape(value)}</div>'
        f'<div class="beside">{escape(beside)}</div></div>'
        for name, value, beside in shown
    )


def figure_cards(result: Result, metrics: Metrics) -> str:
    """All figures in three cards."""
    cards = [
        ("Return and risk", _return(result, metrics)),
        ("Skill or luck", _evidence(result, metrics)),
        ("Trading and costs", _trading(result, metrics)),
    ]
    return "".join(f'<section class="card"><h2>{name}</h2>{_list(figures)}</section>' for name, figures in cards)


def _list(figures: list[Row]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(name)}{f"<small>{escape(how)}</small>" if how else ""}</th>'
        f'<td class="num">{escape(value)}</td></tr>'
        for name, how, value in figures
    )
    return f'<table class="facts"><tbody>{body}</tbody></table>'


def _tone(value: float) -> str:
    return "gain" if value > 0.0 else "loss" if value < 0.0 else ""


def _luck(deflated: float | None, after: str) -> str:
    if deflated is None:
        return "too little to judge"
    return f"{words.chance(deflated)} not luck, {after}"


def _return(result: Result, metrics: Metrics) -> list[Row]:
    fall, hold = metrics.drawdown, metrics.hold_drawdown
    short = "too short" if metrics.days < LEAST_DAYS else None
    when = "never" if fall.recovered_ns is None else words.day(fall.recovered_ns)
    return [
        ("Equity at the end", f"from {words.money(metrics.initial)}", words.money(metrics.final, result.quote)),
        ("Return", "", words.percent(metrics.total_return, sign=True)),
        ("Return a year", "by calendar time, 365.25 days", short or words.percent(metrics.annual_return, sign=True)),
        ("Buy & hold", "equal weights, cost paid once", words.percent(metrics.hold_return, sign=True)),
        ("Buy & hold a year", "", short or words.percent(metrics.hold_annual, sign=True)),
        ("Volatility a year", "daily returns × √365.25", words.percent(metrics.volatility)),
        ("Max drawdown", f"{words.day(fall.peak_ns)} to {words.day(fall.trough_ns)}", words.percent(fall.depth)),
        ("Recovered", "back at the old high", when if fall.depth else words.NONE),
        ("Drawdown's length", "from the high to recovery or the end", words.days(fall.length_ns)),
        ("Longest time under a high", "", words.days(fall.longest_ns)),
        ("Buy & hold's drawdown", "", f"{words.percent(hold.depth)}, {words.days(hold.length_ns)}"),
        ("Calmar", "return a year / max drawdown", words.ratio(metrics.calmar)),
    ]


def _evidence(result: Result, metrics: Metrics) -> list[Row]:
    evidence = metrics.evidence
    needed = words.NONE if evidence.needed_days is None else f"{evidence.needed_days:,.0f} d"
    if evidence.needed_days is None and metrics.sharpe is not None:
        needed = "none would do"
    found: list[Row] = [
        ("Sharpe a year", metrics.sampling, words.ratio(metrics.sharpe)),
        ("Buy & hold's Sharpe", "", words.ratio(metrics.hold_sharpe)),
        ("Sortino a year", "mean / downside deviation", words.ratio(metrics.sortino)),
        (
            "Skew / kurtosis",
            "of daily returns; 0 / 3 is normal",
            f"{words.ratio(evidence.skew)} / {words.ratio(evidence.kurtosis)}",
        ),
        ("Probabilistic Sharpe", "chance that the true one is above 0", words.chance(evidence.probabilistic)),
        ("Trials on these facts", "strategies and settings so far", f"{evidence.trials:,}"),
        ("Sharpe that luck alone shows", "expected best of so many trials", words.ratio(evidence.luckiest)),
        ("Deflated Sharpe", "chance of skill after all trials; 95% needed", words.chance(evidence.deflated)),
        ("Record length needed", "days for 95%", needed),
        ("Record length", "", f"{metrics.days:,.0f} d"),
    ]
    found += [
        (f"Stress: {name}", "return of the same run", words.percent(value, sign=True))
        for name, value in result.stress.items()
    ]
    if not result.stress:
        found.append(("Stress", "fees doubled, later bar, later scores", "not run"))
    return found


def _trading(result: Result, metrics: Metrics) -> list[Row]:
    trades = metrics.trades
    quote = result.quote
    turnover = metrics.turnover if metrics.annual_turnover is None else metrics.annual_turnover
    a_year = "" if metrics.annual_turnover is None else " a year"
    found: list[Row] = [
        ("Closed trades", "flat to flat", f"{trades.closed:,}"),
        ("Win rate", "profit after costs above 0", words.percent(trades.win_rate)),
        ("Profit factor", "wins / losses", words.ratio(trades.profit_factor)),
        ("Mean win / loss", quote, f"{words.money(trades.average_win)} / {words.money(trades.average_loss)}"),
        ("Best / worst", quote, f"{words.money(trades.best)} / {words.money(trades.worst)}"),
        ("Mean time held", "bars", words.ratio(trades.average_bars, 1)),
        ("Open at the end", "marked at the last close", f"{trades.open:,} ({words.money(trades.open_pnl, quote)})"),
        ("Time in the market", "closes with exposure", words.percent(metrics.time_in_market)),
        (
            "Exposure, mean / max",
            "gross / equity",
            f"{words.percent(metrics.mean_exposure, 0)} / {words.percent(metrics.max_exposure, 0)}",
        ),
        (f"Turnover{a_year}", "notional traded / mean equity", f"{words.ratio(turnover, 1)}×"),
        ("Fees", "", words.money(metrics.fees, quote)),
        ("Slippage", "against the price at the decision", words.money(metrics.slippage, quote)),
    ]
    if result.market != "spot":
        found.append(("Funding received", "below 0: paid", words.money(metrics.funding, quote)))
        found.insert(1, ("Long / short", "", f"{trades.long:,} / {trades.short:,}"))
    found.append(("Costs / gross profit", "fees, slippage, funding", words.percent(metrics.cost_share, 0)))
    found += [(f"Ended by {name}", "", f"{count:,}") for name, count in trades.by_exit.items()]
    return found
