"""The gate, control by control: what is refused, with rule, limit and observed value, and what still passes."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from risk.orders import CANCELLED, LEGAL, STATES, TERMINAL, UNKNOWN
from risk.records import (
    APPROVED,
    EV_REFUSED,
    EXIT,
    FLATTEN,
    HALTED,
    LIMIT,
    NO_NEW_RISK,
    POST_ONLY,
    R_ASSET_SHARE,
    R_BAR_AGE,
    R_COLLAR,
    R_DUPLICATE,
    R_FEES,
    R_FILTERS,
    R_FINITE,
    R_FLOOD,
    R_FUNDS,
    R_GROSS,
    R_LADDER,
    R_LEVERAGE,
    R_NET,
    R_NOVELTY,
    R_PLACES,
    R_POSITION,
    R_RATE,
    R_REDUCE,
    R_REPEAT,
    R_SIZE,
    R_TAG_SHARE,
    R_TURNOVER,
    STOP,
    STOP_LOSS,
    TAKE,
)
from tests.backtest.oracles.orders import INF, MINUTE, NAN, NOW, ask, desk_of, order
from tests.backtest.oracles.play import HOUR, OPEN_LIMITS, Setup
from tests.backtest.oracles.probes import probe_amend, probe_move


def limited(**limits: Any) -> Setup:
    """A setup with some limits."""
    return Setup(limits=replace(OPEN_LIMITS, **limits))


def test_a_sound_order_passes() -> None:
    """Nothing is wrong with it."""
    assert ask(desk_of()) == (APPROVED, 0.0, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"qty": NAN}, {"qty": INF}, {"qty": 0.0}, {"qty": -1.0}, {"limit": NAN}, {"limit": INF}, {"limit": 0.0},
        {"limit": -5.0}, {"side": 0}, {"side": 2}, {"kind": STOP, "purpose": STOP_LOSS, "stop": NAN},
        {"kind": TAKE, "purpose": EXIT, "stop": 0.0}, {"kind": POST_ONLY, "limit": NAN},
    ],
)  # fmt: skip
def test_control_1_finite_numbers(wrong: dict[str, Any]) -> None:
    """Every field finite and of the right sign, exits too."""
    assert ask(desk_of(held=(5.0, 0.0)), **wrong)[0] == R_FINITE
    assert ask(desk_of(held=(5.0, 0.0)), **{"purpose": EXIT, "side": -1, **wrong})[0] == R_FINITE


def test_control_2_venue_filters() -> None:
    """Lot, tick and least notional; an exit may be under the least notional but not off the lot."""
    assert ask(desk_of(), qty=1.0005) == (R_FILTERS, 0.001, 1.0005)
    assert ask(desk_of(), kind=LIMIT, limit=100.005) == (R_FILTERS, 0.01, 100.005)
    assert ask(desk_of(), qty=0.001)[0] == R_FILTERS
    assert ask(desk_of(held=(1.0, 0.0)), purpose=EXIT, side=-1, qty=0.001)[0] == APPROVED
    assert ask(desk_of(held=(1.0, 0.0)), purpose=EXIT, side=-1, qty=0.0015)[0] == R_FILTERS


def test_control_3_price_collar_needs_a_reference() -> None:
    """5 % around the last close; without one nothing is new."""
    assert ask(desk_of(), limit=105.0)[0] == APPROVED
    rule, limit, seen = ask(desk_of(), limit=105.1)
    assert (rule, limit) == (R_COLLAR, 0.05) and seen == pytest.approx(0.051)
    for nothing in (0.0, NAN):
        assert ask(desk_of(last=nothing), qty=1.0)[0] == R_COLLAR


def test_control_4_order_size_at_the_worst_price() -> None:
    """Notional at the worst price a market order may get, and the venue's largest quantity; exits are split, not
    refused.
    """
    setup = limited(order_notional=500.0)
    assert ask(desk_of(setup), qty=4.95)[0] == APPROVED
    assert ask(desk_of(setup), qty=4.951) == (R_SIZE, 500.0, 4.951 * 101.0)
    assert ask(desk_of(setup, held=(9.0, 0.0)), purpose=EXIT, side=-1, qty=9.0)[0] == APPROVED
    small = replace(Setup(), market=replace(Setup().market, max_quantity=0.5))
    assert ask(desk_of(small)) == (R_SIZE, 0.5, 1.0)


def test_control_5_order_rate_slides_and_leaves_exits_their_share() -> None:
    """Of 8 a minute a quarter is kept for exits: 6 entries, the seventh is refused until the first is a minute old."""
    setup = limited(orders_per_minute=8, exit_reserve=0.25, rate_breaches=2, repeat_orders=100)
    desk = desk_of(setup, held=(3.0, 0.0))
    for i in range(6):
        assert order(desk, now=NOW + i * 10**9, qty=0.1 + 0.001 * i)
    assert ask(desk, now=NOW + 6 * 10**9, intent=1) == (R_RATE, 6.0, 7.0)
    assert ask(desk, now=NOW + MINUTE - 1, intent=1)[0] == R_RATE
    assert ask(desk, now=NOW + MINUTE, intent=1)[0] == APPROVED
    for i in range(4):  # exits have no rate
        assert order(desk, now=NOW + 7 * 10**9 + i, purpose=EXIT, side=-1, qty=0.5, limit=99.0)
    assert not order(desk, now=NOW + 8 * 10**9) and not order(desk, now=NOW + 9 * 10**9)
    assert desk.account["level"] == NO_NEW_RISK
    refused = desk.events[desk.events["kind"] == EV_REFUSED]
    assert refused["rule"].tolist() == [R_RATE, R_RATE] and refused["limit"].tolist() == [6.0, 6.0]


def test_working_orders_leave_places_to_exits_and_end_where_the_table_does() -> None:
    """Of the 112 places of two symbols 44 take entries; exits find one while there is any, none beyond."""
    setup = limited(orders_per_minute=10_000, orders_per_hour=10_000, repeat_orders=1000)
    desk = desk_of(setup, held=(5.0, 0.0))
    places = len(desk.arrays["orders"])
    assert places == 112
    for i in range(44):
        assert order(desk, now=NOW + i, qty=0.1, kind=LIMIT, limit=99.0)
    assert ask(desk, now=NOW + 44, intent=1) == (R_PLACES, 44.0, 45.0)
    for i in range(44, places):
        assert order(desk, now=NOW + i, purpose=EXIT, side=-1, qty=0.01, limit=99.0)
    assert not order(desk, now=NOW + places, purpose=EXIT, side=-1, qty=0.01, limit=99.0)
    assert len(desk.working) == places and desk.events["rule"].tolist() == [R_PLACES]


def test_control_5_with_more_a_minute_than_an_hour() -> None:
    """Eight a minute and four an hour, a quarter for exits: the hour's three are what counts, not the first of them."""
    desk = desk_of(limited(orders_per_minute=8, orders_per_hour=4, exit_reserve=0.25, repeat_orders=100))
    for i in range(3):
        assert order(desk, now=NOW + i * 10**9, qty=0.1 + 0.001 * i)
    assert ask(desk, now=NOW + 3 * 10**9, intent=1) == (R_RATE, 3.0, 4.0)
    assert ask(desk, now=NOW + HOUR, intent=1)[0] == APPROVED


def test_control_5_by_the_hour_and_refused_orders_count() -> None:
    """Three an hour; a refused one is an order too, so the window stays full."""
    desk = desk_of(limited(orders_per_hour=4, exit_reserve=0.25, rate_breaches=1000))
    for i in range(3):
        assert order(desk, now=NOW + i * MINUTE)
    assert not order(desk, now=NOW + 30 * MINUTE)
    assert not order(desk, now=NOW + HOUR)  # the first is an hour old, but the refused one stands in the window
    assert not order(desk, now=NOW + HOUR + MINUTE)
    assert order(desk, now=NOW + 3 * HOUR)


def test_control_6_repeat_throttle_needs_a_person() -> None:
    """The third entry of one symbol and side within an hour; the other symbol and the other side are others."""
    desk = desk_of(limited(repeat_orders=2, repeat_window_ns=HOUR))
    assert order(desk) and order(desk, now=NOW + 1)
    assert ask(desk, now=NOW + HOUR - 1, intent=1) == (R_REPEAT, 2.0, 3.0)
    assert ask(desk, now=NOW + HOUR, intent=1)[0] == APPROVED
    assert ask(desk, now=NOW + 2, k=1, intent=1)[0] == APPROVED
    assert not order(desk, now=NOW + 2)
    assert desk.account["level"] == NO_NEW_RISK and desk.arrays["latches"]["until_ns"].max() == 2**62


def test_control_7_duplicate_intent() -> None:
    """The same wish at the same time over the same position is sent once, an exit too."""
    desk = desk_of(held=(3.0, 0.0))
    assert order(desk) and not order(desk)
    assert order(desk, qty=1.1)
    assert order(desk, purpose=EXIT, side=-1, limit=99.0) and not order(desk, purpose=EXIT, side=-1, limit=99.0)
    assert desk.events["rule"].tolist() == [R_DUPLICATE, R_DUPLICATE]


@pytest.mark.parametrize(
    ("limits", "rule", "limit", "seen"),
    [
        ({"position_notional": 300.0}, R_POSITION, 300.0, 301.0),
        ({"gross_notional": 600.0}, R_GROSS, 600.0, 601.0),
        ({"net_notional": 600.0}, R_NET, 600.0, 601.0),
        ({"gross_leverage": 0.06}, R_LEVERAGE, 0.06, 0.0601),
        ({"asset_share": 0.03}, R_ASSET_SHARE, 0.03, 0.0301),
        ({"tag_share": {"major": 0.06}}, R_TAG_SHARE, 0.06, 0.0601),
    ],
)
def test_controls_8_and_9_exposure_counts_position_and_working_orders(
    limits: dict[str, Any], rule: int, limit: float, seen: float
) -> None:
    """100 held, 100 working and 101 asked for in one symbol, 300 in the other of the same tag, on 10,000 of equity."""
    setup = replace(limited(**limits), tags={"C0/USDT": "major", "C1/USDT": "major"})
    desk = desk_of(setup, held=(1.0, 3.0))
    assert order(desk, limit=100.0)
    assert ask(desk) == (rule, limit, pytest.approx(seen))
    assert ask(desk, qty=0.99)[0] == APPROVED
    assert ask(desk, purpose=EXIT, side=-1, limit=99.0)[0] == APPROVED


def test_control_14_reserved_funds() -> None:
    """A buy reserves its worst cost before it is sent, and the next one sees only what is left."""
    desk = desk_of(replace(Setup(), cash=1000.0))
    assert order(desk, qty=9.0)
    assert desk.account["reserved"] == pytest.approx(909.0)
    assert ask(desk, qty=1.0) == (R_FUNDS, pytest.approx(91.0), pytest.approx(101.0))
    assert ask(desk, qty=0.9)[0] == APPROVED


def test_control_14_perpetuals_reserve_margin_and_fee() -> None:
    """A tenth of the notional and the fee."""
    setup = replace(Setup(), cash=1000.0, perp=True, leverage=10.0, fills=replace(Setup().fills, taker=0.001))
    desk = desk_of(setup)
    assert order(desk, qty=90.0)
    assert desk.account["reserved"] == pytest.approx(9090 * 0.101)
    assert ask(desk, qty=9.0)[0] == R_FUNDS and ask(desk, qty=8.0)[0] == APPROVED


def test_control_15_market_data_age() -> None:
    """Two hours old is allowed, a nanosecond more isn't; an exit doesn't ask."""
    desk = desk_of(limited(bar_age_ns=2 * HOUR), held=(1.0, 0.0))
    assert ask(desk, now=NOW + 2 * HOUR)[0] == APPROVED
    assert ask(desk, now=NOW + 2 * HOUR + 1) == (R_BAR_AGE, 2.0 * HOUR, 2.0 * HOUR + 1)
    assert ask(desk, now=NOW + 9 * HOUR, purpose=EXIT, side=-1, limit=99.0)[0] == APPROVED


def test_control_23_novelty_pauses_new_orders_only() -> None:
    """Until the pause is over."""
    desk = desk_of(held=(1.0, 0.0))
    desk.books[0]["novel_until"] = NOW + HOUR
    assert ask(desk) == (R_NOVELTY, 0.0, float(HOUR))
    assert ask(desk, now=NOW + HOUR)[0] == APPROVED and ask(desk, k=1)[0] == APPROVED
    assert ask(desk, purpose=EXIT, side=-1, limit=99.0)[0] == APPROVED


def test_control_21_a_flood_pauses_new_orders_by_its_own_name() -> None:
    """The pause is told with the rule that asked for it."""
    desk = desk_of(held=(1.0, 0.0))
    desk.books[0]["novel_until"], desk.books[0]["novel_rule"] = NOW + HOUR, R_FLOOD
    assert ask(desk) == (R_FLOOD, 0.0, float(HOUR)) and ask(desk, k=1)[0] == APPROVED
    assert ask(desk, purpose=EXIT, side=-1, limit=99.0)[0] == APPROVED


def test_control_24_turnover_and_fees_of_the_day() -> None:
    """What was traded today and this order at its worst price."""
    desk = desk_of(limited(turnover_per_day=1000.0), held=(1.0, 0.0))
    desk.account["turnover_day"] = 900.0
    assert ask(desk) == (R_TURNOVER, 1000.0, 1001.0) and ask(desk, limit=100.0)[0] == APPROVED
    assert ask(desk, purpose=EXIT, side=-1, limit=99.0)[0] == APPROVED
    costly = replace(limited(fees_per_day=1.0), fills=replace(Setup().fills, taker=0.001))
    desk = desk_of(costly)
    desk.account["fees_day"] = 0.9
    assert ask(desk)[0] == R_FEES and ask(desk, qty=0.9)[0] == APPROVED


def test_control_27_reduce_only_cannot_flip() -> None:
    """At most the position less working exits, and never on its own side."""
    desk = desk_of(held=(2.0, 0.0))
    out = {"purpose": EXIT, "side": -1, "limit": 99.0}
    assert ask(desk, qty=2.0, **out)[0] == APPROVED
    assert ask(desk, qty=2.001, **out) == (R_REDUCE, 2.0, 2.001)
    assert ask(desk, purpose=EXIT, side=1)[0] == R_REDUCE
    assert ask(desk, k=1, qty=1.0, **out)[0] == R_REDUCE
    assert order(desk, qty=1.5, **out)
    assert ask(desk, qty=0.5, **out)[0] == APPROVED and ask(desk, qty=0.501, **out)[0] == R_REDUCE


def test_a_turn_is_two_orders() -> None:
    """A short can't be entered over a long."""
    desk = desk_of(replace(Setup(), perp=True), held=(2.0, 0.0))
    assert ask(desk, side=-1, qty=1.0, limit=99.0)[0] == R_REDUCE


@pytest.mark.parametrize("level", [NO_NEW_RISK, NO_NEW_RISK + 1, FLATTEN, HALTED])
def test_above_active_nothing_is_new_and_exits_pass(level: int) -> None:
    """The ladder's own rule."""
    desk = desk_of(held=(1.0, 0.0))
    desk.account["level"] = level
    assert ask(desk) == (R_LADDER, 0.0, float(level))
    assert ask(desk, purpose=EXIT, side=-1, limit=99.0)[0] == APPROVED


def test_a_refusal_is_recorded_in_full() -> None:
    """Rule, limit, observed, quantity and price, and no order."""
    desk = desk_of(limited(position_notional=50.0))
    assert not order(desk, now=NOW + 5)
    event = desk.events[0]
    assert len(desk.events) == 1 and len(desk.working) == 0 and desk.account["reserved"] == 0.0
    told = tuple(event[name].item() for name in ("ns", "kind", "rule", "symbol", "limit", "observed", "qty", "price"))
    assert told == (NOW + 5, EV_REFUSED, R_POSITION, 0, 50.0, 101.0, 1.0, 101.0)


def test_an_amended_order_passes_the_gate_again() -> None:
    """A stop moves to a price on nobody's wish list only if that is a price; an exit's bound follows the market."""
    desk = desk_of(held=(2.0, 0.0))
    assert order(desk, kind=STOP, purpose=STOP_LOSS, side=-1, qty=2.0, limit=0.0, stop=90.0)
    probe_amend(desk.ref, NOW + 1, 0, 95.0, STOP_LOSS)
    assert desk.working["stop"][0] == 95.0 and len(desk.events) == 0
    probe_amend(desk.ref, NOW + 2, 0, INF, STOP_LOSS)
    assert desk.working["stop"][0] == 95.0 and desk.events["rule"].tolist() == [R_FINITE]
    assert order(desk, purpose=EXIT, side=-1, qty=2.0, limit=95.0)
    desk.books["last"] = 60.0
    probe_amend(desk.ref, NOW + 3, 1, 0.0, EXIT)
    assert desk.working["limit"][1] == pytest.approx(57.0)


@pytest.mark.parametrize(("was", "becomes"), list(itertools.product(range(len(STATES)), repeat=2)))
def test_order_table(was: int, becomes: int) -> None:
    """A legal move is made, an illegal one raises and leaves the order as it was."""
    desk = desk_of()
    assert order(desk)
    desk.working["state"][0] = was
    if LEGAL[was, becomes]:
        probe_move(desk.ref, 0, becomes)
        assert desk.working["state"][0] == becomes
    else:
        with pytest.raises(ValueError, match="illegal order move"):
            probe_move(desk.ref, 0, becomes)
        assert desk.working["state"][0] == was


def test_a_terminal_state_is_never_left_and_unknown_isnt_one() -> None:
    """Only what the venue reports, or LOST, ends UNKNOWN."""
    assert [STATES[i] for i in np.flatnonzero(TERMINAL)] == ["FILLED", "CANCELLED", "REJECTED", "EXPIRED", "LOST"]
    assert not TERMINAL[UNKNOWN] and LEGAL[UNKNOWN, CANCELLED]
