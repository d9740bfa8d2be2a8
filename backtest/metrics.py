"""Works out the figures of a run (`backtest.figures` says what each one is) from its records."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backtest import sharpe as luck
from backtest.account import controls, costs, entry_cost, exposure, holds, quality_shares, trade_figures, unexplained
from backtest.curve import DAY_NS, YEAR_DAYS, buy_and_hold, drawdown, filled, monthly, sampled_returns
from backtest.figures import CONFIDENCE, LEAST_DAYS, Evidence, Metrics
from backtest.trades import contributions, round_trips

if TYPE_CHECKING:
    from backtest.result import Result

Array = npt.NDArray[Any]


def measure(result: Result) -> Metrics:
    """Work out every figure of `result`. O(bars x symbols); a year of minutes takes some 30 ms."""
    if len(result.close_ns) == 0:
        raise ValueError("a result without a single bar has no figures")
    notes: list[str] = []
    start_ns = int(result.close_ns[0]) - result.bar_ns
    end_ns = int(result.close_ns[-1])
    equity, bad = _clean(result, notes)
    days = (end_ns - start_ns) / DAY_NS
    total = float(equity[-1]) / result.initial_cash - 1.0
    if days < LEAST_DAYS:
        notes.append(f"too short to annualise: {days:.1f} days, {LEAST_DAYS} are the least")
    fall = drawdown(result.close_ns, equity, result.initial_cash, start_ns)
    hold, cost = hold_curve(result)
    hold_fall = drawdown(result.close_ns, hold, result.initial_cash, start_ns)
    hold_total = float(hold[-1]) / result.initial_cash - 1.0
    annual = _annual(total, days)
    trades = round_trips(result)
    earned = contributions(result)
    return Metrics(
        start_ns=start_ns,
        end_ns=end_ns,
        days=days,
        bars=len(result.close_ns),
        decisions=len(result.decide_ns),
        initial=result.initial_cash,
        final=float(equity[-1]),
        total_return=total,
        annual_return=annual,
        hold_return=hold_total,
        hold_annual=_annual(hold_total, days),
        hold_drawdown=hold_fall,
        hold_sharpe=_ratios(result, hold, days, [])["sharpe"],
        hold_cost=cost,
        calmar=annual / fall.depth if annual is not None and fall.depth > 0.0 else None,
        drawdown=fall,
        trades=trade_figures(trades, notes),
        orders=len(result.orders),
        fills=len(result.fills),
        contributions=earned,
        months=tuple(monthly(result.close_ns, equity, result.initial_cash, start_ns)),
        bad_equity=bad,
        quality=quality_shares(result.inputs),
        holds=holds(result),
        **_ratios(result, equity, days, notes),
        **exposure(result, equity),
        **costs(result, equity, days),
        **controls(result),
        unexplained=unexplained(result, equity, earned, notes),
        notes=tuple(notes),
    )


def hold_curve(result: Result) -> tuple[Array, float]:
    """Buy-and-hold beside the run, f8[n], and the cost it paid once (a fraction of notional)."""
    decided = int(result.decide_ns[0]) if len(result.decide_ns) else int(result.close_ns[0])
    cost = entry_cost(result)
    return buy_and_hold(result.close, result.close_ns, decided, result.initial_cash, cost), cost


def metrics_json(result: Result, metrics: Metrics | None = None) -> dict[str, Any]:
    """Everything that `--json` prints: identity, figures, refusals, ladder, holds, inputs, settings, verdict."""
    from backtest.verdict import verdict
    from backtest.words import rule_name

    metrics = metrics or measure(result)
    figures = dataclasses.asdict(metrics)
    figures["refusals"] = [
        {"rule": rule, "name": rule_name(rule), "count": count} for rule, count in metrics.refusals.items()
    ]
    told = {
        "id": result.id,
        "created_ns": result.created_ns,
        "strategy": result.strategy,
        "strategy_hash": result.strategy_hash,
        "params": result.params,
        "symbols": result.symbols,
        "quote": result.quote,
        "market": result.market,
        "bar_ns": result.bar_ns,
        "synthetic": result.synthetic,
        "resume_after": result.resume_after,
        "verdict": [dataclasses.asdict(line) for line in verdict(result, metrics)],
        "metrics": figures,
        "stress": result.stress,
        "model": result.model,
        "errors": result.errors,
        "error_samples": result.error_samples,
        "holds": [[*reason, count] for reason, count in result.holds.items()],
        "discounted": [dataclasses.asdict(one) for one in result.discounted],
        "inputs": [dataclasses.asdict(share) for share in result.inputs],
        "doubts": result.doubts,
        "notes": result.notes,
        "facts_sha256": result.facts_hash(),
        "settings": result.settings,
        "settings_sha256": result.settings_hash(),
        "elapsed": result.elapsed,
    }
    found = _strict(told)
    assert isinstance(found, dict)
    return found


def _strict(value: Any) -> Any:
    """JSON types only, and null for what is not a finite number, so that any JSON reader takes it."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _clean(result: Result, notes: list[str]) -> tuple[Array, int]:
    """Equity without gaps, and how many closes had none. Such a run is broken and says so."""
    bad = int((~np.isfinite(result.equity)).sum())
    if not bad:
        return result.equity, 0
    notes.append(f"equity is not a number at {bad} of {len(result.equity)} closes: these figures can't be trusted")
    equity = filled(result.equity)
    return np.where(np.isfinite(equity), equity, result.initial_cash), bad


def _annual(total: float, days: float) -> float | None:
    if days < LEAST_DAYS:
        return None
    if total <= -1.0:
        return -1.0
    with np.errstate(over="ignore"):
        value = float(np.float64(1.0 + total) ** (YEAR_DAYS / days) - 1.0)
    return value if math.isfinite(value) else None


def _ratios(result: Result, equity: Array, days: float, notes: list[str]) -> dict[str, Any]:
    """Volatility, Sharpe and Sortino from sampled returns, and what the Sharpe ratio is worth."""
    start_ns = int(result.close_ns[0]) - result.bar_ns
    returns, sampling, yearly = sampled_returns(result.close_ns, equity, result.initial_cash, start_ns, result.bar_ns)
    found: dict[str, Any] = dict.fromkeys(("volatility", "sharpe", "sortino"))
    found["sampling"] = f"{sampling}, {len(returns)} returns, × √{yearly:g}, risk-free rate 0"
    found["evidence"] = Evidence(observations=len(returns), trials=max(result.trials, 1))
    found["sharpe"] = luck.yearly_sharpe(returns, days, yearly)
    if not luck.tell_enough(returns, days):
        notes.append(f"{len(returns)} daily returns are too few for a Sharpe ratio")
        return found
    if found["sharpe"] is None:
        notes.append("equity never moved: no Sharpe ratio")
        return found
    scale = math.sqrt(yearly)
    found["volatility"] = float(np.std(returns, ddof=1)) * scale
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    if downside > 0.0:
        found["sortino"] = float(np.mean(returns)) / downside * scale
    skew, kurtosis = luck.skew_and_kurtosis(returns)
    trials = max(result.trials, 1)
    deflated = luck.deflated_sharpe(returns, trials)
    needed = luck.track_record_needed(returns, confidence=CONFIDENCE)
    found["evidence"] = Evidence(
        observations=len(returns),
        trials=trials,
        skew=skew,
        kurtosis=kurtosis,
        probabilistic=luck.probabilistic_sharpe(returns),
        deflated=deflated,
        luckiest=luck.luckiest_sharpe(len(returns), trials) * scale,
        needed_days=None if needed is None else needed * YEAR_DAYS / yearly,
        skilled=deflated is not None and deflated >= CONFIDENCE,
    )
    return found
