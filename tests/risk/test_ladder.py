"""The ladder, latch by latch: what moves it, from what mark a loss is measured, what ends it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from risk.desk import Desk
from risk.novelty import FLOODED
from risk.policy import Execution
from risk.records import (
    ACTIVE,
    C_DAY,
    C_DRAWDOWN,
    C_STREAK,
    ENTRY,
    EV_ERROR,
    EV_FROZEN,
    EV_LADDER,
    FLATTEN,
    FLATTEN_EXIT,
    HALTED,
    NO_NEW_RISK,
    R_DAY_LOSS,
    R_DAY_LOSS_FLATTEN,
    R_DRAWDOWN,
    R_FLOOD,
    R_STRATEGY,
    R_STREAK,
    R_TURNOVER,
    REDUCE_ONLY,
)
from tests.backtest.oracles.play import DAY, HOUR, IDEAL, NAN, OPEN_LIMITS, START, Play, Setup, flat_bars
from tests.backtest.oracles.probes import probe_deposit, probe_latch, probe_mark


def limited(resume_ns: int = -1, **limits: Any) -> Setup:
    """All of 1,000 may be in the coin; some limits."""
    return Setup(limits=replace(OPEN_LIMITS, **limits), cash=1000.0, resume_ns=resume_ns)


def days(prices: list[float], per_day: int = 6) -> dict[str, Any]:
    """Flat bars of four hours from midnight."""
    return {"prices": flat_bars(prices), "step": DAY // per_day}


def test_control_11_daily_loss_is_measured_from_the_last_mark_before_midnight() -> None:
    """8 coins at 100; the last close before midnight is 110: equity 1,080. 10 % less is 972, at a price of 96.5."""
    prices = [100, 100, 100, 100, 100, 110, 108, 97, 96, 96, 96, 96]
    play = Play(limited(daily_loss=0.10), weights=[8] + [NAN] * 11, **days(prices)).run()
    moves = play.events_of(EV_LADDER)
    assert play.moves() == [(R_DAY_LOSS, ACTIVE, REDUCE_ONLY)]
    assert moves["ns"].tolist() == [START + 9 * DAY // 6]  # 97 is 9.6 % down, 96 is 10.4 %
    assert moves["limit"][0] == 0.10 and moves["observed"][0] == pytest.approx(1 - (200 + 8 * 96) / 1080)
    assert play.desk.books[0]["qty"] == 8.0  # reduce-only sells nothing by itself


def test_control_11_a_bar_missing_at_midnight_leaves_the_last_mark_there_was() -> None:
    """Without the bars around midnight the mark is the close before them, not the first one after."""
    prices = days([100, 100, 100, 110, NAN, NAN, NAN, 97, 96, 96, 96, 96])
    play = Play(limited(daily_loss=0.10), weights=[8] + [NAN] * 11, **prices).run()
    assert play.events_of(EV_LADDER)["observed"].tolist() == pytest.approx([1 - 968 / 1080])


def test_control_11_second_level_flattens_and_yesterdays_loss_is_forgotten_at_midnight() -> None:
    """9 % each day moves nothing; 16 % on the third day sells."""
    prices = [100, 100, 100, 100, 100, 91, 91, 91, 91, 91, 91, 83, 83, 68, 68, 68, 68, 68]
    play = Play(limited(daily_loss=0.10, daily_loss_flatten=0.15), weights=[10] + [NAN] * 17, **days(prices)).run()
    assert play.moves() == [(R_DAY_LOSS_FLATTEN, ACTIVE, FLATTEN)]
    assert play.desk.books[0]["qty"] == 0.0 and play.fills["purpose"][-1] == FLATTEN_EXIT
    assert play.fills["row"][-1] == 14


def test_control_11_a_fill_inside_the_bar_that_ends_at_midnight_belongs_to_the_day_it_ends() -> None:
    """The stop inside the last bar of the day doesn't move the next day's mark back to the bar before it."""
    rows = flat_bars([100.0, 100.0, 100.0, 100.0])
    rows[2][1] = 89.0  # low of the day that ends at the second midnight
    rows[3][1:] = 95.0
    for column in rows[:3]:
        column[2:] = 95.0
    setup = replace(limited(daily_loss=0.02), protection=(0.1, NAN, NAN, 0))
    play = Play(setup, rows, [NAN, NAN, NAN, NAN], step=DAY)
    play.wanted[0] = 8
    play.run()
    assert play.fills["price"].tolist() == [100.0, 90.0] and play.fills["ns"][-1] == START + 2 * DAY
    assert [int(ns - START) // DAY for ns in play.events_of(EV_LADDER)["ns"]] == [2]
    assert play.desk.account["day_mark"] == pytest.approx(920.0)  # not 1,000, which was the mark a day before


@pytest.mark.parametrize(("resume_ns", "active_again"), [(-1, None), (-2, DAY), (12 * HOUR, 32 * HOUR)])
def test_resume_policies(resume_ns: int, active_again: int | None) -> None:
    """Latched at 18:00 of the first day: never, at the second midnight... in a backtest as the run states."""
    prices = [100, 100, 100, 100, 80] + [80] * 13
    setup = limited(resume_ns, daily_loss=0.10)
    play = Play(setup, weights=[8] + [NAN] * 17, **days(prices)).run()
    moves = play.events_of(EV_LADDER)
    latched = START + 5 * DAY // 6
    assert moves["ns"][0] == latched and moves["level"][0] == REDUCE_ONLY
    if active_again is None:
        assert len(moves) == 1
        return
    want = {-2: START + DAY, 12 * HOUR: latched + 12 * HOUR}[resume_ns]
    assert moves["level"].tolist() == [REDUCE_ONLY, ACTIVE] and moves["ns"][1] == want
    # Not latched again by the same loss: the mark began anew.
    assert play.desk.account["level"] == ACTIVE


def test_control_12_drawdown_flattens_then_halts_and_does_not_forget() -> None:
    """From a high of 1,100 a fall of 21 %; flat, then HALTED; whatever the strategy says later, nothing is bought."""
    prices = [100, 100, 120, 118, 74, 73, 90, 150, 160, 170, 180, 190]
    play = Play(limited(drawdown=0.20), weights=[5] * 12, **days(prices)).run()
    assert play.moves() == [(R_DRAWDOWN, ACTIVE, FLATTEN), (R_DRAWDOWN, FLATTEN, HALTED)]
    assert play.events_of(EV_LADDER)["observed"][0] == pytest.approx(1 - 870 / 1100)
    assert [qty for _, qty, _ in play.table()] == [5.0, -5.0]
    assert (play.fills["ns"] <= play.events_of(EV_LADDER)["ns"][1]).all()
    assert play.desk.account["high"] == pytest.approx(play.tape["equity"].max() / 1000)


def test_control_12_after_a_resume_the_high_begins_anew() -> None:
    """Eight hours after it latched a person has looked: buys again, and isn't flattened again by the old high."""
    prices = [100, 100, 120, 118, 94, 93, 93, 93, 93, 93, 93, 93]
    play = Play(limited(8 * HOUR, drawdown=0.20), weights=[5] * 12, **days(prices)).run()
    levels = [level for _, _, level in play.moves()]
    assert levels == [] or levels[-1] == ACTIVE
    deep = Play(limited(8 * HOUR, drawdown=0.10), weights=[9] * 12, **days(prices)).run()
    assert [level for _, _, level in deep.moves()] == [FLATTEN, HALTED, ACTIVE]
    assert deep.desk.books[0]["qty"] > 0.0


def test_control_12_measures_unit_value_not_money() -> None:
    """Half is withdrawn: no drawdown. A fall after it is one."""
    desk = limited(drawdown=0.20).desk()
    probe_deposit(desk.ref, -500.0)
    probe_mark(desk.ref, START + 1)
    assert desk.account["level"] == ACTIVE and desk.account["equity"] == 500.0
    probe_deposit(desk.ref, 4500.0)
    desk.account["cash"] = 4001.0
    probe_mark(desk.ref, START + 2)
    assert desk.account["level"] == ACTIVE
    desk.account["cash"] = 3999.0
    probe_mark(desk.ref, START + 3)
    assert desk.account["level"] == HALTED  # flat already, so it goes there at once


def test_control_13_loss_streak_pauses_for_its_time() -> None:
    """Three losing round trips of one bar each pause entries for five bars; a win before would have ended the count."""
    prices, weights = [], []
    price = 100.0
    for _ in range(12):
        prices += [price, price]
        weights += [1, 0]
        price *= 0.99
    play = Play(limited(loss_streak=3, loss_streak_pause_ns=5 * HOUR), flat_bars(prices), weights).run()
    moves = play.events_of(EV_LADDER)
    assert moves["rule"][0] == R_STREAK and moves["observed"][0] == 3.0 and moves["level"][0] == NO_NEW_RISK
    assert moves["ns"][1] == moves["ns"][0] + 5 * HOUR and moves["level"][1] == ACTIVE
    entries = play.fills["ns"][play.fills["purpose"] == ENTRY]
    paused = (entries >= moves["ns"][0]) & (entries < moves["ns"][1])
    assert not paused.any() and (entries >= moves["ns"][1]).any()


def test_control_13_a_partial_entry_is_no_losing_close() -> None:
    """A first fill worth less than the least notional leaves the position 'flat', and has lost its fee: that is no
    trade.
    """
    fills = replace(IDEAL, taker=0.01, participation=0.1)
    setup = replace(limited(loss_streak=1), fills=fills, market=replace(Setup().market, min_notional=50.0))
    play = Play(setup, flat_bars([100, 100, 100, 100, 100], volume=4.0), [1, NAN, NAN, NAN, NAN]).run()
    assert len(play.fills) == 3 and play.moves() == []


def test_control_24_turnover_pauses_until_the_day_ends() -> None:
    """3 x 100 a day: in, out (the exit passes the limit), nothing more; at midnight's close it may buy again."""
    weights = [2, 0, 2, 2, 2, 2, 2, 0, 2, 2, 2, 2]
    play = Play(limited(turnover_per_day=300.0), weights=weights, **days([100] * 12)).run()
    by_day = [play.fills["row"] < 6, play.fills["row"] >= 6]
    assert play.fills["qty"][by_day[0]].tolist() == [2.0, -2.0]
    assert play.moves()[0] == (R_TURNOVER, ACTIVE, NO_NEW_RISK)
    assert play.events_of(EV_LADDER)["ns"][1] == START + DAY
    assert play.fills["row"][by_day[1]][0] == 6 and play.fills["qty"][by_day[1]].tolist()[:2] == [2.0, -2.0]


def test_control_24_with_daily_bars_every_day_has_its_own_turnover() -> None:
    """Each decision stands at midnight: yesterday's turnover doesn't count against it."""
    weights = [1, 2, 3, 4, 5, NAN]
    play = Play(limited(turnover_per_day=150.0), flat_bars([100] * 6), weights, step=DAY).run()
    assert play.fills["qty"].tolist() == [1.0] * 5


def test_a_latch_only_tightens_and_keeps_its_own_cause() -> None:
    """The level is the maximum over causes; a lower one later changes nothing, and an expired one leaves the others."""
    desk = limited().desk()
    probe_latch(desk.ref, C_DAY, REDUCE_ONLY, START, 2**62, R_DAY_LOSS)
    probe_latch(desk.ref, C_DAY, NO_NEW_RISK, START, 2**62, R_DAY_LOSS)
    probe_latch(desk.ref, C_STREAK, NO_NEW_RISK, START, START + HOUR, R_STREAK)
    assert desk.account["level"] == REDUCE_ONLY
    probe_latch(desk.ref, C_DRAWDOWN, FLATTEN, START, 2**62, R_DRAWDOWN)
    assert desk.account["level"] == FLATTEN
    told = desk.events
    assert told["was"].tolist() == [ACTIVE, REDUCE_ONLY] and told["level"].tolist() == [REDUCE_ONLY, FLATTEN]


def test_tightening_cancels_waiting_entries_and_keeps_exits_and_protection() -> None:
    """A post-only entry waits in one symbol, a stop stands in the other."""
    prices = tuple(np.repeat(column, 2, axis=1).copy() for column in flat_bars([100.0] + [101.0] * 3))
    setup = replace(
        limited(), execution=Execution(entry="post-only", band=0.0, wait_ns=DAY), protection=(0.1, NAN, NAN, 0)
    )
    play = Play(setup, prices, [[1, 1], [NAN, NAN], [NAN, NAN], [NAN, NAN]])  # type: ignore[arg-type]
    prices[2][1, 0] = 99.0  # trades through the first symbol's order only

    def latched(run: Play, when: str, decision: int) -> None:
        if decision == 1 and when == "after":
            assert run.desk.working["purpose"].tolist().count(ENTRY) == 1
            probe_latch(run.desk.ref, C_STREAK, NO_NEW_RISK, START + 2 * HOUR, 2**62, R_STREAK)
            assert ENTRY not in run.desk.working["purpose"].tolist() and len(run.desk.working) == 1

    play.run(latched)
    assert play.desk.account["reserved"] == 0.0 and play.desk.books["qty"].tolist() == [1.0, 0.0]


def test_control_21_a_flood_cancels_waiting_entries_of_its_symbol_and_pauses_new_ones() -> None:
    """Entries wait in both symbols, nothing trades through; the first symbol is flooded in the next two bars."""
    prices = tuple(np.repeat(column, 2, axis=1).copy() for column in flat_bars([100.0] + [101.0] * 7))
    setup = replace(
        limited(flood_pause_ns=3 * HOUR), execution=Execution(entry="post-only", band=0.0, wait_ns=DAY)
    )  # fmt: skip
    play = Play(setup, prices, [[1, 1], *[[NAN, NAN]] * 3, *[[1, 1]] * 4])  # type: ignore[arg-type]
    play.tape["strange"][1, 0] = play.tape["strange"][2, 0] = FLOODED
    waiting: dict[int, list[int]] = {}

    def look(run: Play, when: str, decision: int) -> None:
        if when == "after":
            waiting[decision] = run.desk.working["symbol"].tolist()

    play.run(look)
    assert waiting[0] == [0, 1] and waiting[1] == waiting[4] == [1]  # until 3 hours after the last sign
    assert sorted(waiting[5]) == [0, 1]
    [event] = play.events_of(EV_FROZEN)  # one flood, one event
    assert (event["rule"], event["symbol"], event["ns"]) == (R_FLOOD, 0, START + 2 * HOUR)
    assert play.desk.account["level"] == ACTIVE  # the other symbols go on


def test_strategy_errors_in_a_row_take_no_new_risk() -> None:
    """Two in a row of three are nothing; a sound decision ends the count; the third in a row latches."""
    play = Play(limited(strategy_errors=3), flat_bars([100] * 9), [1] * 9)
    play.run(statuses={0: 1, 1: 2, 3: 1, 4: 1, 5: 1})
    assert play.desk.account["errors"] == 5 and len(play.events_of(EV_ERROR)) == 5
    assert play.moves() == [(R_STRATEGY, ACTIVE, NO_NEW_RISK)]
    assert play.events_of(EV_LADDER)["ns"].tolist() == [START + 6 * HOUR]
    assert play.fills["qty"].tolist() == [1.0]  # what was bought before is held


def test_no_new_risk_holds_and_still_sells() -> None:
    """Latched, the wish to leave is followed, the wish to return isn't."""
    play = Play(limited(strategy_errors=1), flat_bars([100] * 8), [2, NAN, NAN, 1, 0, 2, 2, 2])
    play.run(statuses={2: 1})
    assert play.fills["qty"].tolist() == [2.0, -1.0, -1.0]


def test_an_exit_of_very_many_slices_completes_while_flattening() -> None:
    """200 slices of at most one coin each: more than go out at one time, and all get out."""
    limits = {"order_notional": 100.0, "daily_loss": 0.05, "daily_loss_flatten": 0.05}
    setup = replace(limited(**limits), cash=100_000.0)
    play = Play(setup, flat_bars([100] * 3 + [90] * 9), [NAN] * 12)
    desk = play.desk
    desk.books["qty"], desk.books["avg"], desk.account["cash"] = 200.0, 100.0, 0.0
    desk.books["last"], desk.account["equity"], desk.account["day_mark"] = 100.0, 20_000.0, 20_000.0
    play.run()
    assert play.moves() == [(R_DAY_LOSS_FLATTEN, ACTIVE, FLATTEN)]
    assert desk.books[0]["qty"] == 0.0 and len(play.fills) > 128


def test_a_dust_sized_remainder_is_sold_as_a_sale() -> None:
    """What is left of an exit when the price has fallen under the least notional is still a closing fill with its
    loss.
    """
    fills = replace(IDEAL, participation=0.5)
    setup = replace(limited(), fills=fills, market=replace(Setup().market, min_notional=60.0))
    prices = flat_bars([100, 100, 100, 100, 97, 97], volume=1.3)
    prices[4][1:3] = 10.0
    play = Play(setup, prices, [1.2, NAN, 0, NAN, NAN, NAN]).run()
    desk: Desk = play.desk
    left = desk.books[0]["qty"]
    assert desk.account["equity"] == pytest.approx(1000 + desk.account["realised"] + left * (97 - desk.books[0]["avg"]))
