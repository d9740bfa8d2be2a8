"""For one state and one order a tighter limit never approves what a looser one refuses."""

from dataclasses import fields, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.limits import Limits
from risk.records import APPROVED, ENTRY
from tests.backtest.oracles.orders import MINUTE, NOW, ask, desk_of
from tests.backtest.oracles.play import HOUR, OPEN_LIMITS, Setup

SHARES = ("gross_leverage", "asset_share", "price_collar")
MONEY = ("order_notional", "position_notional", "gross_notional", "net_notional", "turnover_per_day", "fees_per_day")
COUNTS = ("orders_per_minute", "orders_per_hour", "repeat_orders")
TIMES = ("bar_age_ns",)
number = st.floats(0.01, 3.0)


@st.composite
def limit_pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two sets of limits, the second tighter in at least one number and looser in none."""
    loose: dict[str, Any] = {name: 1000.0 * draw(number) for name in MONEY}
    loose |= {name: min(draw(number), 0.2) if name == "price_collar" else draw(number) for name in SHARES}
    loose |= {name: draw(st.integers(1, 6)) for name in COUNTS} | {
        name: draw(st.integers(0, 3)) * HOUR for name in TIMES
    }
    tight = dict(loose)
    for name in draw(st.sets(st.sampled_from(sorted(loose)), min_size=1)):
        if name in COUNTS:
            tight[name] = max(1, loose[name] - draw(st.integers(0, 3)))
        else:
            tight[name] = type(loose[name])(loose[name] * draw(st.floats(0.2, 1.0)))
    return loose, tight


@settings(max_examples=250)
@given(
    pair=limit_pairs(),
    held=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    before=st.integers(0, 5),
    later=st.integers(0, 3),
    asked=st.tuples(st.sampled_from([-1, 1]), st.integers(1, 4000), st.floats(0.85, 1.15)),
    traded=st.floats(0, 1500),
)
def test_a_tighter_limit_never_approves_what_a_looser_one_refuses(
    pair: tuple[dict[str, Any], dict[str, Any]], held: tuple[float, float], before: int, later: int,
    asked: tuple[int, int, float], traded: float,
) -> None:  # fmt: skip
    """Same state, same order, two sets of limits."""
    verdicts = []
    side, lots, away = asked
    for limits in pair:
        setup = Setup(limits=replace(OPEN_LIMITS, **limits), perp=True, fills=replace(Setup().fills, taker=0.001))
        desk = desk_of(setup, held=held)
        for name in ("turnover_day", "fees_day"):
            desk.account[name] = traded if name == "turnover_day" else traded / 1000
        desk.account["rate_head"] = before % len(desk.arrays["rate"])
        # The same last orders in both: the newest stand in what places the memory of each has.
        times = [NOW - (before - i) * MINUTE // 4 for i in range(before)]
        rate = desk.arrays["rate"]
        for i, ns in enumerate(times[-len(rate) :]):
            rate[(before - len(times[-len(rate) :]) + i) % len(rate)] = ns
        repeats = desk.arrays["repeats"][0, 0 if side > 0 else 1]
        recent = times[-len(repeats) :]
        repeats[len(repeats) - len(recent) :] = recent
        answer = ask(
            desk, side=side, qty=round(lots * 0.001, 3), limit=100.0 * away, now=NOW + later * HOUR, purpose=ENTRY
        )
        verdicts.append(answer[0])
    loose, tight = verdicts
    assert not (loose != APPROVED and tight == APPROVED), (loose, tight)


def test_that_pair_of_limits_names_every_gate_limit() -> None:
    """A limit of the gate that is added later has to join the property above."""
    elsewhere = {
        "exit_reserve", "rate_breaches", "repeat_window_ns", "tag_share", "daily_loss", "daily_loss_flatten",
        "drawdown", "loss_streak", "loss_streak_pause_ns", "signal_age_ns", "novelty_return_z", "novelty_volume_z",
        "novelty_pause_ns", "flood_posts", "flood_z", "flood_share", "flood_pause_ns", "mood_jump",
        "strategy_errors",
    }  # fmt: skip
    assert {entry.name for entry in fields(Limits)} == elsewhere | {*SHARES, *MONEY, *COUNTS, *TIMES}
