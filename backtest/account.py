"""Parts of the figures: exposure, costs, trades, and what the gate and the ladder held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backtest.figures import IN_MARKET, LEAST_DAYS, LEAST_TRADES, LadderMove, TradeFigures
from backtest.trades import effective, number
from risk.records import EV_FUNDING, EV_LADDER, EV_LIQUIDATED, EV_REFUSED, EVENTS, LEVELS, PURPOSES

if TYPE_CHECKING:
    from backtest.result import InputShare, Result

Array = npt.NDArray[Any]

UNEXPLAINED = 1e-6  # of initial cash: more than rounding


def trade_figures(trades: Array, notes: list[str]) -> TradeFigures:
    """Win rate, profit factor and averages over closed round trips."""
    closed = trades[trades["open"] == 0]
    still = trades[trades["open"] == 1]
    if len(closed) == 0:
        notes.append("no closed trade: no win rate, no profit factor")
        return TradeFigures(open=len(still), open_pnl=float(still["pnl"].sum()))
    if len(closed) < LEAST_TRADES:
        notes.append(f"{len(closed)} closed trades are too few to judge a win rate by")
    profits = closed["pnl"]
    wins, losses = profits[profits > 0.0], profits[profits <= 0.0]
    lost = float(-losses.sum())
    if lost <= 0.0:
        notes.append("no losing trade: no profit factor")
    by_exit = Counter(PURPOSES[code] for code in closed["purpose"].tolist())
    return TradeFigures(
        closed=len(closed),
        open=len(still),
        long=int((trades["side"] > 0).sum()),
        short=int((trades["side"] < 0).sum()),
        win_rate=len(wins) / len(closed),
        profit_factor=float(wins.sum()) / lost if lost > 0.0 else None,
        average_win=float(wins.mean()) if len(wins) else None,
        average_loss=float(losses.mean()) if len(losses) else None,
        best=float(profits.max()),
        worst=float(profits.min()),
        average_return=float(np.nanmean(closed["return"])),
        average_bars=float(closed["bars"].mean()),
        open_pnl=float(still["pnl"].sum()),
        by_exit=dict(by_exit.most_common()),
    )


def quality_shares(inputs: Iterable[InputShare]) -> dict[str, dict[str, float]]:
    """Share of rows by point-in-time quality, for each kind of input."""
    rows: dict[str, Counter[str]] = {}
    for share in inputs:
        rows.setdefault(share.kind, Counter()).update(share.quality)
    return {
        kind: {name: count / total for name, count in counts.most_common()}
        for kind, counts in rows.items()
        if (total := sum(counts.values()))
    }


def exposure(result: Result, equity: Array) -> dict[str, Any]:
    """Share of closes in the market, mean and highest gross / equity (closes without equity left out)."""
    alive = equity > 0.0
    share = np.divide(result.gross, equity, out=np.zeros(len(equity)), where=alive)
    return {
        "time_in_market": float(np.mean(share > IN_MARKET)),
        "mean_exposure": float(np.mean(share)),
        "max_exposure": float(np.max(share)),
    }


def costs(result: Result, equity: Array, days: float) -> dict[str, Any]:
    """Notional traded, turnover, fees, slippage, funding, and the share of the gross profit that they ate."""
    fills = result.fills
    traded = float(np.abs(fills["qty"] * fills["price"]).sum())
    fees, slippage = float(fills["fee"].sum()), float(fills["slippage"].sum())
    funding = 0.0 - float(result.events["observed"][result.events["kind"] == EV_FUNDING].sum())
    mean = float(np.mean(np.maximum(equity, 0.0)))
    turnover = traded / mean if mean > 0.0 else 0.0
    paid = fees + slippage - funding
    before = float(equity[-1]) - result.initial_cash + paid
    return {
        "traded": traded,
        "fees": fees,
        "slippage": slippage,
        "funding": funding,
        "turnover": turnover,
        "annual_turnover": turnover * 365.25 / days if days >= LEAST_DAYS else None,
        "cost_share": paid / before if before > 0.0 else None,
    }


def controls(result: Result) -> dict[str, Any]:
    """Refusals by rule, ladder moves, time spent below ACTIVE, and the other events by name."""
    events = result.events
    refused = Counter(events["rule"][events["kind"] == EV_REFUSED].tolist())
    others = Counter(events["kind"][(events["kind"] != EV_REFUSED) & (events["kind"] != EV_LADDER)].tolist())
    moves = tuple(
        LadderMove(
            int(e["ns"]), LEVELS[e["was"]], LEVELS[e["level"]], int(e["rule"]), float(e["limit"]), float(e["observed"])
        )
        for e in events[events["kind"] == EV_LADDER]
    )
    closes = np.bincount(np.asarray(result.level, np.int64), minlength=len(LEVELS))
    at_level = {LEVELS[k]: int(closes[k]) * result.bar_ns for k in range(1, len(LEVELS)) if closes[k]}
    return {
        "refusals": dict(refused.most_common()),
        "outcomes": {EVENTS[kind]: count for kind, count in others.most_common()},
        "ladder": moves,
        "time_at_level": at_level,
        "idle_ns": sum(at_level.values()),
        "liquidations": others.get(EV_LIQUIDATED, 0),
    }


def holds(result: Result) -> dict[str, int]:
    """Decisions held by reason: `stale: mood` -> count over all symbols."""
    found: Counter[str] = Counter()
    for (_, state, signal), count in result.holds.items():
        found[f"{state}: {signal}" if signal else state] += count
    return dict(found.most_common())


def unexplained(result: Result, equity: Array, earned: dict[str, float], notes: list[str]) -> float:
    """Change of equity minus what fills, positions and funding account for, in quote; 0 up to rounding."""
    rest = float(equity[-1]) - result.initial_cash - sum(earned.values())
    if abs(rest) > UNEXPLAINED * abs(result.initial_cash):
        notes.append(f"{rest:,.2f} {result.quote} of the change of equity is not explained by fills and funding")
    return rest


def entry_cost(result: Result) -> float:
    """Cost of one market entry as a fraction of notional: taker fee and half spread, else what the fills paid."""
    fills = effective(result, "fills")
    if "taker" in fills:
        return number(fills["taker"]) + number(fills.get("spread"))
    traded = float(np.abs(result.fills["qty"] * result.fills["price"]).sum())
    return float(result.fills["fee"].sum()) / traded if traded > 0.0 else 0.0
