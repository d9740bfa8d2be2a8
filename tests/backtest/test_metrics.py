"""Figures against numbers worked out by hand or published, and against every way a run can have nothing to show."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest import sharpe as luck
from backtest.curve import DAY_NS, buy_and_hold, drawdown, monthly, sampled_returns
from backtest.metrics import measure, metrics_json
from backtest.result import Result
from backtest.sweep import deepest
from backtest.trades import round_trips
from backtest.verdict import verdict
from risk.records import ENTRY, EV_FUNDING, EV_LIQUIDATED, EVENT, EXIT, FILL, HALTED, LIQUIDATION, STOP_LOSS
from tests.backtest.results import HOUR_NS, START_NS, made_result

HOURS = START_NS + HOUR_NS * np.arange(1, 100_000, dtype=np.int64)


def with_equity(equity: Any, **changes: Any) -> Result:
    """A result without a trade whose equity (hourly closes) is given."""
    values = np.asarray(equity, float)
    result = made_result(len(values), ("A/USDT",), events=np.zeros(0, EVENT), **changes)
    return dataclasses.replace(result, equity=values, gross=np.full(len(values), 100.0))


def daily_curve(returns: Any) -> Any:
    """Hourly equity that makes `returns` from midnight to midnight, starting at 10,000."""
    levels = 10_000.0 * np.cumprod(1.0 + np.asarray(returns))
    return np.repeat(np.r_[10_000.0, levels[:-1]], 24) + np.tile(np.r_[np.zeros(23), 1.0], len(levels)) * np.repeat(
        np.diff(np.r_[10_000.0, levels]), 24
    )


# --- curves -----------------------------------------------------------------------------------------------------------
def test_drawdown_by_hand() -> None:
    fall = drawdown(HOURS[:8], np.array([110.0, 99.0, 104.5, 110.0, 121.0, 108.9, 115.0, 119.0]), 100.0, START_NS)
    assert fall.depth == pytest.approx(0.1)
    assert (fall.peak_ns, fall.trough_ns, fall.recovered_ns) == (HOURS[0], HOURS[1], HOURS[3])
    assert fall.length_ns == 3 * HOUR_NS == fall.longest_ns
    deeper = drawdown(HOURS[:8], np.array([110.0, 99.0, 104.5, 110.0, 121.0, 100.0, 115.0, 119.0]), 100.0, START_NS)
    assert deeper.depth == pytest.approx(21 / 121) and deeper.recovered_ns is None
    assert deeper.length_ns == 3 * HOUR_NS


def test_the_start_is_a_high_and_another_fall_may_last_longer() -> None:
    fall = drawdown(HOURS[:6], np.array([95.0, 98.0, 99.0, 100.0, 101.0, 80.0]), 100.0, START_NS)
    assert fall.depth == pytest.approx(21 / 101)
    assert fall.length_ns == HOUR_NS and fall.longest_ns == 4 * HOUR_NS
    never = drawdown(HOURS[:3], np.array([100.0, 100.0, 101.0]), 100.0, START_NS)
    assert (never.depth, never.length_ns, never.longest_ns) == (0.0, 0, 0)


@given(st.lists(st.floats(0.01, 1000.0), min_size=1, max_size=60))
def test_drawdown_equals_the_slow_way(values: list[float]) -> None:
    found = drawdown(HOURS[: len(values)], np.array(values), 50.0, START_NS)
    high, deepest = 50.0, 0.0
    for value in values:
        high = max(high, value)
        deepest = max(deepest, 1.0 - value / high)
    assert found.depth == pytest.approx(deepest, abs=1e-12)
    assert 0 <= found.length_ns <= found.longest_ns or found.depth == 0.0


def test_returns_are_sampled_at_midnights_of_utc() -> None:
    equity = np.arange(1.0, 73.0) + 100.0
    returns, told, yearly = sampled_returns(HOURS[:72], equity, 100.0, START_NS, HOUR_NS)
    assert returns == pytest.approx([124 / 100 - 1, 148 / 124 - 1, 172 / 148 - 1]) and yearly == 365.25
    assert "00:00 UTC" in told
    late, _, _ = sampled_returns(HOURS[5:72], equity[5:], 100.0, int(HOURS[4]), HOUR_NS)
    assert late == pytest.approx([148 / 124 - 1, 172 / 148 - 1])  # the first day is covered in part: left out
    weekly, told, yearly = sampled_returns(HOURS[:3] * 1, np.array([1.0, 2.0, 1.0]), 1.0, START_NS, 7 * DAY_NS)
    assert weekly == pytest.approx([0.0, 1.0, -0.5]) and yearly == pytest.approx(365.25 / 7) and "7-day" in told


def test_after_ruin_there_are_no_returns() -> None:
    equity = np.r_[np.full(48, 100.0), np.full(48, -3.0), np.full(24, 50.0)]
    returns, _, _ = sampled_returns(HOURS[:120], equity, 100.0, START_NS, HOUR_NS)
    assert returns == pytest.approx([0.0, 0.0, -1.0])


def test_months_know_which_are_partial() -> None:
    equity = np.linspace(101.0, 200.0, 24 * 45)
    months = monthly(HOURS[: 24 * 45], equity, 100.0, START_NS)
    assert [(month.year, month.month, month.partial) for month in months] == [(2024, 1, False), (2024, 2, True)]
    assert months[0].value == pytest.approx(equity[31 * 24 - 1] / 100.0 - 1.0)
    assert (1 + (months[0].value or 0)) * (1 + (months[1].value or 0)) == pytest.approx(2.0)


def test_holding_buys_at_the_first_decision_and_pays_once() -> None:
    close = np.array([[10.0, np.nan], [20.0, np.nan], [30.0, 5.0], [np.nan, 10.0], [40.0, 10.0]])
    value = buy_and_hold(close, HOURS[:5], int(HOURS[1]), 1000.0, 0.01)
    assert value == pytest.approx([1000.0, 495 + 500, 742.5 + 495, 742.5 + 990, 990 + 990])
    assert buy_and_hold(np.full((2, 1), np.nan), HOURS[:2], int(HOURS[0]), 10.0, 0.1) == pytest.approx([10.0, 10.0])


# --- luck -------------------------------------------------------------------------------------------------------------
def test_probabilistic_sharpe_of_the_paper() -> None:
    """Bailey & López de Prado 2012: 24 months at 0.458, skew -2.448, kurtosis 10.164: 0.913; were it normal, 0.982."""
    assert luck.chance_above(0.458, 0.0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=5e-4)
    assert luck.chance_above(0.458, 0.0, 24, 0.0, 3.0) == pytest.approx(0.982, abs=5e-4)


def test_deflated_sharpe_of_the_paper() -> None:
    """2014: best of 100 trials with variance 1/2 a year, SR 2.5 a year, 1250 days, skew -3, kurtosis 10: 0.9004."""
    best = luck.luckiest_sharpe(1250, 100, 0.5 / 250)
    assert best == pytest.approx(0.1132, abs=5e-5)
    assert luck.chance_above(2.5 / math.sqrt(250), best, 1250, -3.0, 10.0) == pytest.approx(0.9004, abs=5e-4)


def test_more_trials_make_luck_likelier() -> None:
    returns = np.random.default_rng(3).normal(0.0012, 0.01, 365)
    chances = [luck.deflated_sharpe(returns, trials) for trials in (1, 2, 10, 100, 10_000)]
    assert chances[0] == luck.probabilistic_sharpe(returns)
    assert chances == sorted(chances, reverse=True) and chances[-1] is not None and chances[-1] < 0.5


def test_the_record_length_needed_is_where_the_chance_passes() -> None:
    returns = np.random.default_rng(3).normal(0.001, 0.01, 400)
    needed = luck.track_record_needed(returns)
    ratio, (skew, kurtosis) = luck.sharpe(returns), luck.skew_and_kurtosis(returns)
    assert needed is not None and ratio is not None
    assert luck.chance_above(ratio, 0.0, math.ceil(needed), skew, kurtosis) >= 0.95
    assert luck.chance_above(ratio, 0.0, math.floor(needed), skew, kurtosis) <= 0.95
    assert luck.track_record_needed(-returns) is None


@pytest.mark.parametrize("returns", [[], [0.01], [0.0, 0.0, 0.0], [0.01, 0.01, 0.01]])
def test_no_spread_no_ratio(returns: list[float]) -> None:
    values = np.array(returns)
    assert luck.sharpe(values) is None and luck.probabilistic_sharpe(values) is None
    assert luck.deflated_sharpe(values, 10) is None and luck.track_record_needed(values) is None


# --- trades -----------------------------------------------------------------------------------------------------------
def filled(rows: list[tuple[Any, ...]], **changes: Any) -> Result:
    """A result with fills (bar, symbol, purpose, qty, price, fee, fee_base); positions are kept here."""
    fills = np.zeros(len(rows), FILL)
    held: dict[int, float] = {}
    for place, (row, symbol, purpose, qty, price, fee, fee_base) in enumerate(rows):
        held[symbol] = held.get(symbol, 0.0) + qty - fee_base
        fills[place]["ns"] = START_NS + row * HOUR_NS
        for name, value in zip(
            ("row", "symbol", "purpose", "qty", "price", "fee", "fee_base", "held"),
            (row, symbol, purpose, qty, price, fee, fee_base, held[symbol]),
            strict=True,
        ):
            fills[place][name] = value
    symbols = ("A/USDT", "B/USDT")
    close = np.tile([110.0, 11.0], (12, 1))
    book = np.zeros((12, 2))
    for k, qty in held.items():
        book[-1, k] = qty
    changes = {"close": close, "fills": fills, "held": book, "events": np.zeros(0, EVENT), "settings": {}} | changes
    return made_result(12, symbols, **changes)


def test_scaling_in_and_out_is_one_trade() -> None:
    trades = round_trips(
        filled([
            (1, 0, ENTRY, 1.0, 100.0, 0.1, 0.0), (2, 0, ENTRY, 3.0, 104.0, 0.3, 0.0),
            (3, 0, EXIT, -2.0, 110.0, 0.2, 0.0), (5, 0, STOP_LOSS, -2.0, 99.0, 0.2, 0.0),
            (7, 0, ENTRY, 1.0, 100.0, 0.1, 0.0),
        ])
    )  # fmt: skip
    first, second = trades
    assert len(trades) == 2 and first["entry_price"] == 103.0 and first["exit_price"] == 104.5
    assert (first["qty"], first["notional"], first["bars"], first["purpose"]) == (4.0, 412.0, 4, STOP_LOSS)
    assert first["pnl"] == pytest.approx(418.0 - 412.0 - 0.8) and first["return"] == pytest.approx(5.2 / 412.0)
    assert second["open"] == 1 and second["exit_ns"] == -1 and np.isnan(second["exit_price"])
    assert second["pnl"] == pytest.approx(10.0 - 0.1) and second["bars"] == 5


def test_dust_ends_a_trade_and_is_carried_into_the_next() -> None:
    result = filled([
        (1, 0, ENTRY, 1.0, 100.0, 0.1, 0.001), (3, 0, EXIT, -0.998, 110.0, 0.1, 0.0),
        (5, 0, ENTRY, 1.0, 100.0, 0.1, 0.001), (6, 0, EXIT, -1.0, 120.0, 0.1, 0.0),
    ])  # fmt: skip
    assert round_trips(result)["open"].tolist() == [0]  # a little over 0.1 % is left: without a lot, a position
    lots = {"effective": {"markets": {"A/USDT": {"lot": 0.01}}}}
    trades = round_trips(dataclasses.replace(result, settings=lots))
    assert trades["open"].tolist() == [0, 0]
    assert trades["pnl"][0] == pytest.approx(-100.0 + 0.998 * 110.0 - 0.1 + 0.001 * 110.0)
    assert trades["pnl"][1] == pytest.approx(-100.0 + 120.0 - 0.1 - 0.001 * 110.0)


def test_a_turn_in_one_fill_is_two_trades_and_shorts_earn_when_prices_fall() -> None:
    trades = round_trips(
        filled(
            [
                (1, 0, ENTRY, 2.0, 100.0, 0.2, 0.0),
                (2, 0, EXIT, -5.0, 110.0, 0.5, 0.0),
                (4, 0, EXIT, 3.0, 90.0, 0.3, 0.0),
            ]
        )
    )
    assert trades["side"].tolist() == [1, -1] and trades["open"].tolist() == [0, 0]
    assert trades["pnl"] == pytest.approx([20.0 - 0.2 - 0.2, 60.0 - 0.3 - 0.3])
    assert trades["fees"].sum() == pytest.approx(1.0)


def test_funding_goes_to_the_trade_that_held_the_position() -> None:
    events = np.zeros(3, EVENT)
    events["kind"], events["ns"] = EV_FUNDING, START_NS + HOUR_NS * np.array([2, 5, 8])
    events["observed"] = [1.0, -0.25, 4.0]
    rows = [
        (1, 0, ENTRY, 1.0, 100.0, 0.0, 0.0), (3, 0, EXIT, -1.0, 100.0, 0.0, 0.0), (4, 0, ENTRY, 1.0, 100.0, 0.0, 0.0),
        (5, 0, EXIT, -1.0, 100.0, 0.0, 0.0), (6, 0, ENTRY, 1.0, 100.0, 0.0, 0.0),
    ]  # fmt: skip
    trades = round_trips(filled(rows, events=events))
    assert trades["funding"].tolist() == [-1.0, 0.25, -4.0]
    assert trades["pnl"] == pytest.approx([-1.0, 0.25, 10.0 - 4.0])


@pytest.mark.parametrize("market", ["spot", "perp"])
@given(seed=st.integers(0, 10_000))
def test_trades_and_contributions_add_up_to_the_change_of_equity(market: str, seed: int) -> None:
    result = made_result(120, ("A/USDT", "B/USDT", "C/USDT"), seed=seed, market=market)
    change = float(result.equity[-1]) - result.initial_cash
    figures = measure(result)
    assert sum(figures.contributions.values()) == pytest.approx(change, abs=1e-6)
    assert float(round_trips(result)["pnl"].sum()) == pytest.approx(change, abs=0.05)  # dust below a lot
    assert abs(figures.unexplained) < 1e-6 and figures.trades.closed + figures.trades.open == len(round_trips(result))


# --- the whole --------------------------------------------------------------------------------------------------------
def test_figures_of_a_curve_by_hand() -> None:
    returns = np.tile([0.02, -0.01, 0.0], 122)
    figures = measure(with_equity(daily_curve(returns), trials=1))
    assert figures.days == 366 and figures.total_return == pytest.approx(np.prod(1 + returns) - 1)
    assert figures.annual_return == pytest.approx((1 + figures.total_return) ** (365.25 / 366) - 1)
    spread = np.std(returns, ddof=1)
    assert figures.volatility == pytest.approx(spread * math.sqrt(365.25))
    assert figures.sharpe == pytest.approx(returns.mean() / spread * math.sqrt(365.25))
    assert figures.sortino == pytest.approx(returns.mean() / math.sqrt(1e-4 / 3) * math.sqrt(365.25))
    assert figures.drawdown.depth == pytest.approx(0.01) and figures.calmar == pytest.approx(
        (figures.annual_return or 0) / 0.01
    )
    assert "366 returns" in figures.sampling and "365.25" in figures.sampling


def test_costs_exposure_and_controls() -> None:
    result = made_result(1000, market="perp")
    figures = measure(result)
    assert figures.fees == pytest.approx(result.fills["fee"].sum())
    assert figures.traded == pytest.approx(figures.fees / 0.001)
    assert figures.turnover == pytest.approx(figures.traded / result.equity.mean())
    assert figures.annual_turnover == pytest.approx(figures.turnover * 365.25 / figures.days)
    assert figures.time_in_market == pytest.approx(np.mean(result.gross / result.equity > 1e-3))
    assert figures.refusals == {9: 10, 24: 4} and figures.outcomes["expired"] == 4
    assert [move.level for move in figures.ladder] == ["NO_NEW_RISK", "ACTIVE"]
    assert figures.idle_ns == 48 * HOUR_NS == figures.time_at_level["NO_NEW_RISK"]
    assert figures.holds == {"warming up: flow": 168, "stale: mood": 41, "no bar": 3}
    assert figures.quality["metrics"] == {"assumed_lag": 0.9, "revised": 0.1}
    assert figures.hold_cost == pytest.approx(0.0012)
    halted = measure(dataclasses.replace(result, level=np.r_[np.zeros(900), np.full(100, HALTED)].astype(np.int8)))
    assert halted.time_at_level == {"HALTED": 100 * HOUR_NS}


def tones(result: Result) -> dict[str, str]:
    return {line.text: line.tone for line in verdict(result, measure(result))}


def test_luck_is_called_luck() -> None:
    said = verdict(made_result(2000), measure(made_result(2000)))
    assert said[0].text.startswith("No evidence of skill") and said[0].tone == "bad" and "95%" in said[0].text


def test_skill_needs_its_threshold_and_is_undone_by_trials() -> None:
    returns = np.random.default_rng(4).normal(0.002, 0.012, 366)
    fills = made_result(600, ("A/USDT",)).fills
    curve = daily_curve(returns)

    def judged(trials: int) -> tuple[Any, list[Any]]:
        result = with_equity(curve, trials=trials)
        result.fills = fills
        figures = measure(result)
        return figures, verdict(result, figures)

    figures, said = judged(1)
    assert figures.evidence.skilled and any(line.text.startswith("Evidence of skill") for line in said)
    figures, said = judged(5000)
    assert not figures.evidence.skilled
    assert any("number of tries undoes it" in line.text for line in said)
    assert any(line.text.startswith("No evidence of skill") for line in said)


def test_a_gain_that_a_stress_undoes_is_a_bad_gain() -> None:
    base = with_equity(np.linspace(10_000, 12_000, 24 * 60), stress={"fees doubled": -0.01, "one bar later": 0.2})
    base.fills = made_result(600, ("A/USDT",)).fills
    assert any(tone == "bad" and "fees doubled" in text and "later" not in text for text, tone in tones(base).items())
    calm = dataclasses.replace(base, stress={})
    assert any("No stress run" in text for text in tones(calm))


def test_a_run_that_never_traded() -> None:
    figures = measure(with_equity(np.full(24 * 60, 10_000.0), fills=np.zeros(0, FILL)))
    assert figures.sharpe is None and figures.sortino is None and figures.calmar is None
    assert figures.trades.win_rate is None and figures.trades.profit_factor is None and figures.cost_share is None
    assert figures.drawdown.depth == 0.0 and figures.total_return == 0.0 and figures.annual_return == 0.0
    assert any("never moved" in note for note in figures.notes)


def test_one_bar() -> None:
    result = made_result(1, ("A/USDT",))
    figures = measure(result)
    assert figures.bars == 1 and figures.annual_return is None and figures.sharpe is None
    assert any("too short to annualise" in note for note in figures.notes)
    json.dumps(metrics_json(result), allow_nan=False)


def test_a_short_run_has_no_figures_a_year() -> None:
    result = made_result(24 * 20)
    figures = measure(result)
    assert figures.annual_return is None and figures.annual_turnover is None and figures.sharpe is None
    assert figures.hold_annual is None and figures.calmar is None and figures.turnover > 0.0
    assert "too short" in verdict(result, figures)[0].text


def test_equity_that_is_no_number_is_a_broken_run() -> None:
    equity = np.full(24 * 60, 10_000.0)
    equity[:3], equity[500:510] = np.nan, np.inf
    result = with_equity(equity)
    figures = measure(result)
    assert figures.bad_equity == 13 and math.isfinite(figures.final)
    assert verdict(result, figures)[0].tone == "bad" and "13 closes" in verdict(result, figures)[0].text


def test_liquidated_to_nothing() -> None:
    equity = np.r_[np.linspace(10_000, 4_000, 24 * 20), np.zeros(24 * 20)]
    events = np.zeros(1, EVENT)
    events["kind"] = EV_LIQUIDATED
    result = dataclasses.replace(with_equity(equity), events=events)
    figures = measure(result)
    assert figures.total_return == -1.0 and figures.annual_return == -1.0 and figures.drawdown.depth == 1.0
    assert figures.sharpe is not None and figures.sharpe < 0.0 and figures.liquidations == 1
    said = [line.text for line in verdict(result, figures)]
    assert said[0].startswith("Ruined") and any("1 position liquidated" in text for text in said)
    json.dumps(metrics_json(result), allow_nan=False)


def test_books_that_do_not_balance_are_said() -> None:
    result = made_result(500)
    result.equity[-1] += 5.0
    figures = measure(result)
    assert figures.unexplained == pytest.approx(5.0)
    assert any("don't balance" in line.text and line.tone == "bad" for line in verdict(result, figures))


def test_no_bar_at_all_is_refused() -> None:
    empty = made_result(10)
    empty.close_ns = empty.close_ns[:0]
    with pytest.raises(ValueError, match="without a single bar"):
        measure(empty)


def test_json_has_everything_and_only_json() -> None:
    result = made_result(24 * 40, stress={"fees doubled": float("nan")}, errors=2, error_samples=["boom"])
    told = json.loads(json.dumps(metrics_json(result), allow_nan=False))
    assert told["metrics"]["total_return"] == pytest.approx(measure(result).total_return)
    assert {"sharpe", "sortino", "calmar", "evidence", "refusals", "ladder", "months", "quality"} <= set(
        told["metrics"]
    )
    assert told["metrics"]["refusals"][0]["name"] == "asset share"
    assert told["settings"] == result.settings and told["settings_sha256"] == result.settings_hash()
    assert [share["sha256"] for share in told["inputs"]] == [share.sha256 for share in result.inputs]
    assert told["stress"] == {"fees doubled": None} and told["errors"] == 2
    assert told["verdict"][0]["text"].startswith("The strategy failed")


def test_a_liquidation_ends_a_trade() -> None:
    trades = round_trips(filled([(1, 0, ENTRY, -1.0, 100.0, 0.0, 0.0), (2, 0, LIQUIDATION, 1.0, 150.0, 1.0, 0.0)]))
    assert trades["purpose"].tolist() == [LIQUIDATION] and trades["pnl"].tolist() == [-51.0]


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 129, 1000])
@pytest.mark.parametrize("drift", [-0.002, 0.0, 0.002])
def test_a_sweeps_drawdown_is_that_of_every_mark(count: int, drift: float) -> None:
    """Rising, falling and neither, over whole blocks of marks and parts of them: bit for bit."""
    equity = 1000.0 * np.exp(np.cumsum(np.random.default_rng(count).normal(drift, 0.01, count)))
    assert deepest(equity) == (1.0 - equity / np.maximum.accumulate(equity)).max()
