"""The simulated venue, rule by rule: when an order fills, at what price and how much of it."""

from dataclasses import replace

import numpy as np
import pytest

from risk.orders import CANCELLED, EXPIRED, FILLED
from risk.policy import Execution
from risk.records import (
    ENTRY,
    EV_EXPIRED,
    EV_REJECTED,
    EXIT,
    R_COLLAR,
    R_FUNDS,
    STOP_LOSS,
    TAKE_PROFIT,
    TIME_EXIT,
    TRAILING,
)
from tests.backtest.oracles.play import HOUR, IDEAL, NAN, OPEN_LIMITS, START, Play, Setup, bars, flat_bars

STOP10 = (0.10, NAN, NAN, 0)
POST = Execution(entry="post-only", band=0.0, wait_ns=HOUR, chases=1, then="cancel")


def test_a_market_order_fills_at_the_next_open_never_on_its_own_bar() -> None:
    """Decided at the close of bar 0, filled at the open of bar 1, whatever bar 0 still showed."""
    play = Play(Setup(), bars([(100, 120, 80, 100), (103, 104, 102, 103), (105, 105, 105, 105)]), [1, 0, NAN]).run()
    assert play.table() == [(1, 1.0, 103.0), (2, -1.0, 105.0)]
    assert (play.fills["ns"] > START + HOUR - 1).all()
    assert play.fills["purpose"].tolist() == [ENTRY, EXIT]


def test_a_taker_pays_half_the_spread_and_the_square_root_of_its_share() -> None:
    """100 x (1 + 0.001 + 0.1 x sqrt(1/25)) = 102.1; the exit by the same law: 100 x (1 - 0.001 - 0.02) = 97.9."""
    fills = replace(IDEAL, spread=0.001, impact=0.1)
    play = Play(Setup(fills=fills), flat_bars([100, 100, 100], volume=25.0), [1, 0, NAN]).run()
    assert [round(price, 9) for _, _, price in play.table()] == [102.1, 97.9]
    assert [round(lost, 9) for lost in play.fills["slippage"]] == [2.1, 2.1]


def test_participation_caps_what_a_bar_fills_and_the_rest_waits() -> None:
    """A tenth of a volume of 4 a bar: 1 unit needs three bars, 0.4 + 0.4 + 0.2; so does the way out."""
    fills = replace(IDEAL, participation=0.1)
    weights = [1, NAN, NAN, 0, NAN, NAN, NAN]
    play = Play(Setup(fills=fills), flat_bars([100] * 7, volume=4.0), weights).run()
    got = [(bar, round(qty, 9)) for bar, qty, _ in play.table()]
    assert got == [(1, 0.4), (2, 0.4), (3, 0.2), (4, -0.4), (5, -0.4), (6, -0.2)]
    assert play.desk.done["state"].tolist() == [FILLED, FILLED]


def test_an_entry_beyond_the_collar_expires_at_a_gap() -> None:
    """The collar of 5 % bounds what an entry may cost; the next decision plans anew."""
    play = Play(Setup(), flat_bars([100, 106, 106, 106]), [1, 1, NAN, NAN]).run()
    assert play.table() == [(2, 1.0, 106.0)]
    gone = play.events_of(EV_EXPIRED, R_COLLAR)
    assert gone["limit"].tolist() == [105.0] and gone["observed"].tolist() == [106.0]
    assert play.desk.done["state"].tolist() == [EXPIRED, FILLED]


def test_an_exit_is_repriced_after_a_gap_until_it_is_out() -> None:
    """An exit is priced at the collar instead of refused by it: a fall of 30 % moves its worst price, and then it
    fills.
    """
    play = Play(Setup(), flat_bars([100, 100, 70, 69, 69]), [1, 0, NAN, NAN, NAN]).run()
    assert play.table() == [(1, 1.0, 100.0), (3, -1.0, 69.0)]
    assert play.desk.done["limit"][-1] == pytest.approx(70 * 0.95)


def test_a_crash_over_many_bars_still_lets_the_exit_out() -> None:
    """Three falls of a third in a row: out at the first open that lies within the collar of the close before."""
    play = Play(Setup(), flat_bars([100, 100, 66, 44, 29, 28.9, 29]), [1, 0, NAN, NAN, NAN, NAN, NAN]).run()
    assert play.table()[-1] == (5, -1.0, 28.9)


def test_latency_beyond_the_grace_waits_for_the_next_open() -> None:
    """The open of a bar stands for its first minute: 59 s late still gets it, 61 s late gets the next."""
    for seconds, bar in ((59, 1), (61, 2)):
        fills = replace(IDEAL, latency_ns=seconds * 10**9)
        play = Play(Setup(fills=fills), flat_bars([100, 101, 102]), [1, NAN, NAN]).run()
        assert play.table() == [(bar, 1.0, 100.0 + bar)]


def test_a_decision_delay_counts_as_latency() -> None:
    """A bar of delay: one open later."""
    play = Play(Setup(delay_ns=HOUR), flat_bars([100, 101, 102, 103]), [1, NAN, NAN, NAN]).run()
    assert play.table() == [(2, 1.0, 102.0)]


def test_no_bar_no_fill() -> None:
    """A symbol without a bar can't trade in it; the order waits."""
    prices = flat_bars([100, 100, 103, 104])
    for column in prices:
        column[1] = NAN
    play = Play(Setup(), prices, [1, NAN, NAN, NAN]).run()
    assert play.table() == [(2, 1.0, 103.0)]


# --- stops, targets ---------------------------------------------------------------------------------------------------
def test_a_stop_inside_a_bar_fills_at_its_price() -> None:
    """Entered at 100, stop at 90."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (98, 99, 85, 88), (88, 88, 88, 88)]
    play = Play(Setup(protection=STOP10), bars(rows), [1, NAN, NAN, NAN]).run()
    assert play.table()[-1][1:] == (-1.0, 90.0)
    assert play.fills["purpose"].tolist() == [ENTRY, STOP_LOSS]
    assert play.fills["ns"][-1] == START + 3 * HOUR


def test_a_gap_through_a_stop_fills_at_the_open() -> None:
    """The stop at 90 gets 80, which is all that was there."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (80, 99, 80, 88), (88, 88, 88, 88)]
    play = Play(Setup(protection=STOP10), bars(rows), [1, NAN, NAN, NAN]).run()
    assert play.table() == [(1, 1.0, 100.0), (2, -1.0, 80.0)]
    assert play.fills["ns"][-1] == START + 2 * HOUR


def test_a_stop_works_in_the_bar_of_its_entry() -> None:
    """Entered at the open, the fall of the same bar hits the stop."""
    rows = [(100, 100, 100, 100), (100, 101, 85, 86), (86, 86, 86, 86)]
    play = Play(Setup(protection=STOP10), bars(rows), [1, NAN, NAN]).run()
    assert [price for _, _, price in play.table()] == [100.0, 90.0]


def test_with_stop_and_target_in_one_bar_the_stop_is_first() -> None:
    """A bar from 85 to 115 has both 90 and 110 in it."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 115, 85, 100), (100, 100, 100, 100)]
    play = Play(Setup(protection=(0.1, 0.1, NAN, 0)), bars(rows), [1, NAN, NAN, NAN]).run()
    assert [price for _, _, price in play.table()] == [100.0, 90.0]


def test_a_target_fills_at_its_own_price() -> None:
    """Traded through inside a bar, or jumped over by an open: 110 both times."""
    for third in ((100, 115, 99, 112), (118, 119, 117, 118)):
        rows = [(100, 100, 100, 100), (100, 101, 99, 100), third, (100, 100, 100, 100)]
        play = Play(Setup(protection=(0.1, 0.1, NAN, 0)), bars(rows), [1, NAN, NAN, NAN]).run()
        assert play.table()[-1][1:] == (-1.0, 110.0)
        assert play.fills["purpose"][-1] == TAKE_PROFIT and play.fills["maker"][-1] == 1


@pytest.mark.parametrize(("touch", "filled"), [(False, 1), (True, 2)])
def test_a_resting_order_needs_trade_through_unless_touch_is_chosen(touch: bool, filled: int) -> None:
    """The high is exactly the target."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 110, 99, 105), (105, 105, 105, 105)]
    setup = Setup(fills=replace(IDEAL, touch=touch), protection=(NAN, 0.1, NAN, 0))
    assert len(Play(setup, bars(rows), [1, NAN, NAN, NAN]).run().fills) == filled


def test_protection_of_a_short_lies_on_the_other_side() -> None:
    """Short at 100: stop at 110, target at 90."""
    setup = Setup(perp=True, short=True, protection=(0.1, 0.1, NAN, 0))
    up = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 112, 99, 111), (111, 111, 111, 111)]
    down = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 101, 88, 89), (89, 89, 89, 89)]
    assert Play(setup, bars(up), [-1, NAN, NAN, NAN]).run().table()[-1][1:] == (1.0, 110.0)
    assert Play(setup, bars(down), [-1, NAN, NAN, NAN]).run().table()[-1][1:] == (1.0, 90.0)


def test_a_trailing_stop_follows_the_prior_bars_extreme() -> None:
    """The high of 120 raises the stop to 108 only for the bar after it: its own low of 105 doesn't hit it."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 120, 105, 119), (119, 121, 107, 110), (110, 110, 110, 110)]
    play = Play(Setup(protection=(NAN, NAN, 0.1, 0)), bars(rows), [1, NAN, NAN, NAN, NAN]).run()
    assert play.table()[-1][1:] == (-1.0, 108.0)
    assert play.fills["purpose"][-1] == TRAILING and play.fills["ns"][-1] == START + 4 * HOUR


def test_a_trailing_stop_never_goes_back() -> None:
    """After a high of 120 lower highs leave it at 108."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 120, 105, 119), (115, 115, 112, 113), (112, 112, 107, 111)]
    play = Play(Setup(protection=(NAN, NAN, 0.1, 0)), bars(rows), [1, NAN, NAN, NAN, NAN]).run()
    assert play.table()[-1][1:] == (-1.0, 108.0)


def test_a_time_exit_leaves_after_its_time() -> None:
    """Entered at the open of bar 1, three hours: out at the open of bar 4."""
    setup = Setup(protection=(NAN, NAN, NAN, 3 * HOUR))
    play = Play(setup, flat_bars([100] * 6), [1, NAN, NAN, NAN, NAN, NAN]).run()
    assert [(bar, qty) for bar, qty, _ in play.table()] == [(1, 1.0), (4, -1.0)]
    assert play.fills["purpose"][-1] == TIME_EXIT


@pytest.mark.parametrize(
    ("weights", "entries"),
    [
        ([1, 1, 1, 1, 1, 1, 1], 1),  # still wanted: blocked
        ([1, 1, 1, 0, 1, 1, 1], 2),  # given up once: free again
        ([1, 1, 1, NAN, NAN, 1, 1], 1),  # HOLD says nothing
    ],
)
def test_a_protective_exit_blocks_until_the_target_was_zero(weights: list[float], entries: int) -> None:
    """Stopped in bar 2, the price is back in bar 3."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 101, 85, 100)] + [(100, 100, 100, 100)] * 4
    play = Play(Setup(protection=STOP10), bars(rows), weights).run()
    assert (play.fills["purpose"] == ENTRY).sum() == entries
    assert (play.fills["purpose"] == STOP_LOSS).sum() == 1


def test_a_change_of_sign_ends_the_block() -> None:
    """Stopped out of a long, the short opens at once."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (100, 101, 85, 100)] + [(100, 100, 100, 100)] * 3
    play = Play(Setup(perp=True, short=True, protection=STOP10), bars(rows), [1, 1, 1, -1, NAN, NAN]).run()
    assert [qty for _, qty, _ in play.table()] == [1.0, -1.0, -1.0]


# --- post-only --------------------------------------------------------------------------------------------------------
def test_a_post_only_entry_fills_when_traded_through() -> None:
    """Offered at the last close of 100, filled there by a bar that goes to 99, as a maker."""
    rows = [(100, 100, 100, 100), (101, 102, 99, 101), (101, 101, 101, 101)]
    play = Play(Setup(execution=POST), bars(rows), [1, NAN, NAN]).run()
    assert play.table()[0][1:] == (1.0, 100.0) and play.fills["maker"].tolist() == [1]


def test_a_gap_passes_the_rest_of_an_entry_before_its_stop() -> None:
    """0.4 bought at 100; the next bar opens at 85: 0.6 more are bought at 100 on the way, and all is sold at 85."""
    rows = [(100, 100, 100, 100, 100), (101, 102, 99, 101, 4), (85, 101, 85, 85, 100), (85, 101, 85, 101, 100)]
    patient = replace(POST, wait_ns=100 * HOUR)
    setup = Setup(fills=replace(IDEAL, participation=0.1), execution=patient, protection=STOP10)
    play = Play(setup, bars(rows), [1, NAN, NAN, NAN]).run()
    assert [(round(qty, 9), price) for _, qty, price in play.table()] == [(0.4, 100.0), (0.6, 100.0), (-1.0, 85.0)]
    assert play.fills["row"].tolist() == [1, 2, 2]
    assert play.fills["purpose"].tolist() == [ENTRY, ENTRY, STOP_LOSS]


def test_the_rest_of_an_entry_is_cancelled_when_its_stop_has_sold() -> None:
    """0.4 bought at 95; the trailing stop sells them at 135; what is left of the bid doesn't buy at 95 afterwards."""
    rows = [(100, 100, 100, 100, 100), (100, 100, 94, 100, 4), (100, 150, 100, 150, 100), (150, 150, 130, 131, 100)]
    later = [(131, 131, 90, 100, 100), (100, 100, 90, 100, 100)]
    patient = replace(POST, wait_ns=100 * HOUR, offset=0.05)
    setup = Setup(
        fills=replace(IDEAL, participation=0.1), execution=patient, protection=(NAN, NAN, 0.1, 0),
        limits=replace(OPEN_LIMITS, price_collar=0.2),
    )  # fmt: skip
    play = Play(setup, bars(rows + later), [1] + [NAN] * 5).run()
    assert [(round(qty, 9), price) for _, qty, price in play.table()] == [(0.4, 95.0), (-0.4, 135.0)]
    assert play.fills["row"].tolist() == [1, 3]
    assert sorted(play.desk.done["state"].tolist()) == sorted([CANCELLED, FILLED]) and len(play.desk.working) == 0


def test_a_limit_entry_inside_a_bar_gets_no_target_in_that_bar() -> None:
    """Entered at 100 inside a bar that also saw 115: which came first isn't known, so the target waits. The stop
    doesn't.
    """
    rows = [(100, 100, 100, 100), (101, 115, 99, 112), (112, 112, 111, 112), (112, 113, 112, 112)]
    setup = Setup(execution=POST, protection=(0.1, 0.1, NAN, 0))
    play = Play(setup, bars(rows), [1, NAN, NAN, NAN]).run()
    assert [
        (int(ns - START) // HOUR, price) for ns, price in zip(play.fills["ns"], play.fills["price"], strict=True)
    ] == [
        (2, 100.0),
        (2, 110.0),
    ]
    assert play.fills["row"].tolist() == [1, 2]
    fallen = [(100, 100, 100, 100), (101, 115, 85, 112), (112, 112, 111, 112), (112, 113, 112, 112)]
    assert Play(setup, bars(fallen), [1, NAN, NAN, NAN]).run().fills["row"].tolist() == [1, 1]


def test_a_bar_entered_inside_counts_for_the_trailing_stop_by_its_close_only() -> None:
    """The high of 130 may have been before the entry: the stop trails from the close of 101, to 90.9."""
    rows = [(100, 100, 100, 100), (101, 130, 99, 101), (101, 101, 90.95, 100), (95, 95, 90.0, 94), (94, 94, 94, 94)]
    setup = Setup(execution=POST, protection=(NAN, NAN, 0.1, 0))
    play = Play(setup, bars(rows), [1, NAN, NAN, NAN, NAN]).run()
    assert play.fills["row"].tolist() == [1, 3] and play.fills["price"][-1] == pytest.approx(90.9)


def test_a_post_only_order_that_would_take_is_rejected_and_chased_then_given_up() -> None:
    """Opens of 95, 90 and 85 each lie under the price asked for: rejected, chased once, then cancelled."""
    rows = [(100, 100, 100, 100), (95, 96, 94, 95), (90, 91, 89, 90), (85, 86, 84, 85), (85, 85, 80, 85)]
    play = Play(Setup(execution=POST), bars(rows), [1, NAN, NAN, NAN, NAN]).run()
    assert len(play.fills) == 0
    rejected = play.events_of(EV_REJECTED)
    assert rejected["limit"].tolist() == [100.0, 95.0] and rejected["observed"].tolist() == [95.0, 90.0]
    assert play.events_of(EV_EXPIRED)["observed"].tolist() == [1.0, 0.0]  # chases that were left
    assert len(play.desk.working) == 0 and play.desk.account["reserved"] == 0.0


def test_a_chase_follows_the_price_and_may_end_at_the_market() -> None:
    """Never traded through on the way up: 100, then 102, then at market at the open of 106."""
    rows = [
        (100, 100, 100, 100),
        (101, 102, 101, 102),
        (103, 104, 103, 104),
        (106, 107, 106, 106),
        (106, 106, 106, 106),
    ]
    execution = replace(POST, then="market")
    play = Play(Setup(execution=execution), bars(rows), [1, NAN, NAN, NAN, NAN]).run()
    assert play.table() == [(3, 1.0, 106.0)]
    assert play.desk.done["limit"][:2].tolist() == [100.0, 102.0] and play.fills["maker"].tolist() == [0]


def test_an_offset_asks_for_a_better_price_on_the_tick() -> None:
    """1 % under 100.005 is 99.00495, on a tick of 0.01 downwards 99.00."""
    rows = [(100, 101, 100, 100.005), (100, 101, 98, 100), (100, 100, 100, 100)]
    play = Play(Setup(execution=replace(POST, offset=0.01)), bars(rows), [1, NAN, NAN]).run()
    assert play.table()[0][2] == pytest.approx(99.0, abs=1e-12)


# --- several symbols, cash --------------------------------------------------------------------------------------------
def two(first: list[float], second: list[float], volume: float = 1e9) -> tuple[np.ndarray, ...]:
    """Flat bars of two symbols."""
    table = np.column_stack([first, second]).astype(float)
    return (*(np.ascontiguousarray(table.copy()) for _ in range(4)), np.full(table.shape, volume))


def test_sells_go_first_and_the_rest_is_planned_on_their_fills_at_the_same_open() -> None:
    """All cash in the first, then all into the second: both at one open, the buy paid by the sale."""
    setup = Setup(size="equity", cash=1000.0)
    play = Play(setup, two([100, 100, 100, 100], [50, 50, 50, 50]), [[1, 0], [0, 1], [NAN, NAN], [NAN, NAN]]).run()
    fills = play.fills
    assert fills["symbol"].tolist() == [0, 0, 1, 1]  # what cash was left, then what the sale brought
    assert len(set(fills["ns"].tolist()[1:])) == 1
    assert 1000 / (50 * 1.05) - 0.05 < fills["qty"][2:].sum() < 1000 / 50
    assert play.desk.account["cash"] >= 0.0


def test_buys_are_scaled_alike_when_cash_is_short() -> None:
    """Two wishes of 1 on 1,000 of cash: half each, not all for the first."""
    setup = Setup(size="notional", stake=1000.0, cash=1000.0)
    play = Play(setup, two([100, 100, 100], [50, 50, 50]), [[1, 1], [NAN, NAN], [NAN, NAN]]).run()
    paid = play.fills["qty"] * play.fills["price"]
    assert len(paid) == 2 and paid[0] == pytest.approx(paid[1], rel=0.001) and paid.sum() <= 1000.0


def test_what_cash_cannot_pay_at_the_fill_is_given_up() -> None:
    """Planned at 100 with all cash, filled at 104 within the collar: less is bought, cash stays at 0 or more."""
    setup = Setup(size="equity", cash=1000.0, limits=replace(OPEN_LIMITS, price_collar=0.04))
    play = Play(setup, flat_bars([100, 104, 104]), [1, NAN, NAN]).run()
    assert play.desk.account["cash"] >= 0.0 and len(play.desk.working) == 0
    assert len(play.events_of(EV_EXPIRED, R_FUNDS)) in (0, 1)
    assert play.fills["qty"].sum() * 104 <= 1000.0


def test_a_spot_buy_receives_less_than_was_ordered_when_the_fee_is_taken_in_the_coin() -> None:
    """0.1 % of 1 coin: 0.999 held, 100 paid; the whole lots of it are sold, on a lot of 0.01 that is 0.99."""
    fills = replace(IDEAL, taker=0.001, fee_asset="received")
    setup = Setup(fills=fills, market=replace(Setup().market, lot=0.01))
    play = Play(setup, flat_bars([100, 100, 100]), [1, 0, NAN]).run()
    assert play.fills["held"].tolist() == pytest.approx([0.999, 0.009])
    assert play.fills["fee_base"].tolist() == pytest.approx([0.001, 0.0])
    assert play.desk.account["cash"] == pytest.approx(10_000 - 100 + 99 - 0.099)


# --- inside bars ------------------------------------------------------------------------------------------------------
def test_finer_bars_say_whether_stop_or_target_came_first() -> None:
    """Two half-hour rows in a decision bar: up to the target first, then down through the stop. The target got it."""
    rows = [(100, 100, 100, 100)] * 2 + [(100, 112, 100, 111), (111, 111, 85, 86), (86, 86, 86, 86), (86, 86, 86, 86)]
    setup = Setup(protection=(0.1, 0.1, NAN, 0))
    play = Play(setup, bars(rows), [1, NAN, NAN], step=HOUR // 2, decides=[0, 1, 0, 1, 0, 1]).run()
    assert [price for _, _, price in play.table()] == [100.0, 110.0]
    assert play.fills["row"].tolist() == [1, 1]
