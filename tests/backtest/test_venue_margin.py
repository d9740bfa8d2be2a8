"""Margin at the simulated venue: liquidation beside stops, and money for the dearer of both fees."""

from dataclasses import replace

import pytest

from risk.policy import Execution
from risk.records import ENTRY, EV_LIQUIDATED, LIQUIDATION, STOP_LOSS
from tests.backtest.oracles.play import DAY, HOUR, IDEAL, NAN, START, Play, Setup, bars, flat_bars

TENFOLD = Setup(
    perp=True, leverage=10.0, short=True, cash=1000.0, fills=replace(IDEAL, participation=0.1, liquidation_fee=0.0)
)
LEVEL = 90.0 / 0.995  # (100 - 10) / (1 - 0.5 %)


def test_a_stop_before_the_liquidation_price_saves_the_margin() -> None:
    """Stop at 95, liquidation at 90.45, a bar down to 80: the stop was there first."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (99, 99, 80, 85), (85, 85, 85, 85)]
    play = Play(replace(TENFOLD, protection=(0.05, NAN, NAN, 0)), bars(rows), [1, NAN, NAN, NAN]).run()
    assert play.fills["purpose"].tolist() == [ENTRY, STOP_LOSS] and play.fills["price"][1] == 95.0


def test_what_the_bar_didnt_take_at_the_stop_is_liquidated_in_it() -> None:
    """A tenth of a volume of 1 at the stop; the rest meets the liquidation price in the same bar."""
    rows = [(100, 100, 100, 100, 1e6), (100, 101, 99, 100, 1e6), (99, 99, 80, 85, 1.0), (85, 85, 85, 85, 1e6)]
    play = Play(replace(TENFOLD, protection=(0.05, NAN, NAN, 0)), bars(rows), [1, NAN, NAN, NAN]).run()
    assert play.fills["purpose"].tolist() == [ENTRY, STOP_LOSS, LIQUIDATION]
    assert play.fills["qty"].tolist() == pytest.approx([1.0, -0.1, -0.9])
    assert play.fills["price"].tolist() == pytest.approx([100.0, 95.0, LEVEL])


@pytest.mark.parametrize(("low", "liquidated"), [(90.46, 0), (90.45, 1)])
def test_without_a_stop_the_price_decides(low: float, liquidated: int) -> None:
    """Reached or not: 90.4522..."""
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (99, 99, low, 95), (95, 95, 95, 95)]
    play = Play(TENFOLD, bars(rows), [1, NAN, NAN, NAN]).run()
    assert len(play.events_of(EV_LIQUIDATED)) == liquidated


def test_a_gap_beyond_ruin_costs_the_margin_and_no_more() -> None:
    """Opens at 70: the loss would be 30 on a margin of 10; isolated, 10 are lost, the wallet keeps 990."""
    play = Play(TENFOLD, flat_bars([100, 100, 70, 70]), [1, NAN, NAN, NAN]).run()
    assert play.fills["purpose"].tolist() == [ENTRY, LIQUIDATION]
    assert play.desk.account["cash"] == pytest.approx(990.0) and play.desk.account["equity"] == pytest.approx(990.0)


def test_funding_that_the_wallet_cant_pay_moves_the_liquidation_price() -> None:
    """All of the wallet is margin, so 1 % of funding comes out of it, and 91 is low enough where 90.45 was."""
    setup = replace(TENFOLD, cash=10.5, size="quantity")
    rows = [(100, 100, 100, 100), (100, 101, 99, 100), (99, 99, 91.0, 95), (95, 95, 95, 95)]
    free = Play(setup, bars(rows), [1, NAN, NAN, NAN]).run()
    paid = Play(setup, bars(rows), [1, NAN, NAN, NAN], funding=[(START + 2 * HOUR, 0, 0.02)]).run()
    assert len(free.events_of(EV_LIQUIDATED)) == 0 and len(paid.events_of(EV_LIQUIDATED)) == 1
    assert paid.desk.account["cash"] >= 0.0


def test_a_maker_fee_above_the_takers_is_reserved_too() -> None:
    """A venue that charges makers 2 % and takers nothing: all cash into a resting order leaves none below 0."""
    fills = replace(IDEAL, maker=0.02, taker=0.0, fee_asset="quote")
    execution = Execution(entry="post-only", band=0.0, wait_ns=DAY)
    setup = Setup(fills=fills, execution=execution, size="equity", cash=1000.0)
    rows = [(100, 100, 100, 100), (101, 101, 99, 100), (100, 100, 100, 100)]
    play = Play(setup, bars(rows), [1, NAN, NAN]).run()
    assert play.fills["maker"].tolist() == [1] and 0.0 <= play.desk.account["cash"] < 1.0
