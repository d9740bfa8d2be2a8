"""An exit always gets out, and a turn opens its other side only with permission."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.records import (
    ACTIVE,
    C_DAY,
    C_OPERATOR,
    ENTRY,
    EV_REFUSED,
    LEVELS,
    NO_NEW_RISK,
    R_DAY_LOSS,
    R_RATE,
    R_REPEAT,
    REDUCE_ONLY,
)
from tests.backtest.oracles.play import DAY, HOUR, IDEAL, NAN, OPEN_LIMITS, START, Play, Setup, flat_bars
from tests.backtest.oracles.probes import probe_latch, probe_send


def limited(perp: bool = False, **limits: Any) -> Setup:
    """Limits, one coin for a weight of 1, shorts on perpetuals."""
    return Setup(limits=replace(OPEN_LIMITS, **limits), perp=perp, short=perp)


@pytest.mark.parametrize("perp", [False, True])
def test_with_the_rate_exhausted_the_exit_leaves(perp: bool) -> None:
    """One entry an hour and its window full of refused ones: no entry passes, the exit does."""
    setup = limited(perp, orders_per_hour=2, exit_reserve=0.5, rate_breaches=10**6)
    play = Play(setup, flat_bars([100] * 6), [1, NAN, NAN, 0, 1, NAN])

    def flood(run: Play, when: str, decision: int) -> None:
        if when == "before" and decision >= 1:
            now = START + (decision + 1) * HOUR
            for i in range(5):
                assert not probe_send(run.desk.ref, now, 0, 1, 0, ENTRY, 0.5 + 0.001 * i, 100.0, 0.0) or i == 0

    play.run(flood)
    assert play.desk.books[0]["qty"] >= 0.0
    out = play.fills[play.fills["qty"] < 0.0]
    assert len(out) >= 1 and out["ns"][0] == START + 4 * HOUR
    assert (play.events_of(EV_REFUSED)["rule"] == R_RATE).all() and len(play.events_of(EV_REFUSED)) > 10


@pytest.mark.parametrize("way", [0.7, 1.3])
def test_through_a_gap_of_thirty_percent_the_exit_leaves(way: float) -> None:
    """A long through a fall, a short through a rise: repriced at the close of the gap, out at the next open."""
    side = 1.0 if way < 1.0 else -1.0
    setup = limited(perp=True)
    prices = flat_bars([100, 100, 100 * way, 100 * way, 100 * way])
    play = Play(setup, prices, [side, 0, NAN, NAN, NAN]).run()
    assert play.fills["qty"].tolist() == [side, -side]
    assert play.fills["ns"].tolist() == [START + HOUR, START + 3 * HOUR] and play.fills["price"][1] == 100 * way


@pytest.mark.parametrize("level", [NO_NEW_RISK, REDUCE_ONLY])
@pytest.mark.parametrize("perp", [False, True])
def test_a_flipped_target_closes_and_without_permission_the_short_never_opens(perp: bool, level: int) -> None:
    """Latched for the daily loss while long: the wish to be short sells what there is, and nothing more, for ever."""
    play = Play(limited(perp), flat_bars([100] * 8), [2, NAN, -2, -2, -2, -2, -2, -2])

    def latched(run: Play, when: str, decision: int) -> None:
        if when == "before" and decision == 2:
            probe_latch(run.desk.ref, C_DAY, level, START + 3 * HOUR, 2**62, R_DAY_LOSS)

    play.run(latched)
    assert play.fills["qty"].tolist() == [2.0, -2.0] and play.desk.books[0]["qty"] == 0.0
    assert LEVELS[play.desk.account["level"]] == LEVELS[level]


def test_a_flipped_target_turns_in_two_orders_when_it_may() -> None:
    """Both at one open: first out, then in. On spot there is no other side."""
    play = Play(limited(perp=True), flat_bars([100] * 4), [2, -3, NAN, NAN]).run()
    assert play.fills["qty"].tolist() == [2.0, -2.0, -3.0] and len(set(play.fills["ns"].tolist())) == 2
    assert len(set(play.fills["order"].tolist())) == 3
    spot = Play(limited(), flat_bars([100] * 4), [2, -3, NAN, NAN]).run()
    assert spot.fills["qty"].tolist() == [2.0, -2.0]


def test_a_refused_entry_doesnt_keep_the_exit_of_another_wish() -> None:
    """Throttled on the buying side, the same symbol still sells."""
    setup = limited(repeat_orders=1, repeat_window_ns=DAY)
    play = Play(setup, flat_bars([100] * 6), [1, 2, NAN, 0, NAN, NAN]).run()
    assert play.fills["qty"].tolist() == [1.0, -1.0]
    assert play.events_of(EV_REFUSED)["rule"].tolist() == [R_REPEAT]


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    perp=st.booleans(),
    cause=st.sampled_from([C_DAY, C_OPERATOR]),
    level=st.integers(ACTIVE, REDUCE_ONLY),
    slices=st.sampled_from([60.0, 500.0, np.inf]),
    thin=st.booleans(),
)
def test_whatever_happens_a_wish_for_nothing_ends_with_nothing(
    seed: int, perp: bool, cause: int, level: int, slices: float, thin: bool
) -> None:
    """Jumps of up to 60 % at every third bar, thin volume, small slices, any latch: once it is calm it is out."""
    rng = np.random.default_rng(seed)
    jumps = np.where(np.arange(12) % 3 == 0, rng.uniform(0.4, 1.6, 12), 1.0)
    path = [100.0, 100.0, *(100.0 * np.cumprod(jumps)).tolist()]
    path += [path[-1]] * 60
    setup = replace(
        limited(perp, order_notional=slices, rate_breaches=10**6),
        fills=replace(IDEAL, participation=0.1 if thin else 1.0),
    )
    prices = flat_bars(path, volume=10.0)
    side = -1.0 if perp and seed % 2 else 1.0
    play = Play(setup, prices, [5 * side, *([0] * (len(path) - 1))])

    def latched(run: Play, when: str, decision: int) -> None:
        if when == "before" and decision == 1 and level > ACTIVE:
            probe_latch(run.desk.ref, cause, level, START + 2 * HOUR, 2**62, R_DAY_LOSS)

    play.run(latched)
    assert play.desk.books[0]["qty"] == 0.0 and len(play.desk.working) == 0
    assert (play.fills["qty"] * side > 0).any()
