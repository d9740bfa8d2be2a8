"""Signal reports on worlds with a known truth: what is planted is found, what isn't is not, and when returns begin."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backtest import signal_report
from backtest.load import RunInputs
from backtest.signal_report import examine
from backtest.signal_result import SignalReport
from backtest.signal_shuffle import shuffle_facts
from backtest.signal_times import Timeline, forward_returns, past_returns, quarters, usable_horizons
from data.errors import InputError
from data.times import parse_time
from signals import Level, Momentum
from signals.inputs import SentimentTape
from tests.backtest.signal_worlds import HOUR, START, looking, planted, remembering, world

DAY = 24 * HOUR
LENGTHS = (HOUR, 4 * HOUR, 12 * HOUR)


@pytest.fixture(autouse=True)
def fewer_placebos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for the few tests of these worlds, in less time."""
    monkeypatch.setattr(signal_report, "PLACEBOS", 2000)


def report(x: np.ndarray, returns: np.ndarray, **options: Any) -> SignalReport:
    """The tide of x over those returns."""
    options = {"horizons_ns": LENGTHS, "draws": 199} | options
    return examine(looking(x.shape[1]), world(x, returns), **options)


# --- the verdict -----------------------------------------------------------------------------------------------------
def test_a_planted_signal_is_found_in_its_symbol_alone_and_fades_with_the_horizon() -> None:
    rng = np.random.default_rng(3)
    x = remembering(rng, 3000, 3, 3.0)
    returns = planted(x, rng.standard_normal(x.shape), 0.3)
    returns[:, 1:] = 0.01 * rng.standard_normal((3000, 2))
    found = report(x, returns, horizons_ns=(*LENGTHS, 36 * HOUR))
    assert found.found("tide") == ["BTC/USDT"]
    cells = found.cells_of("tide", "BTC/USDT")
    assert [cell.fault for cell in cells[:2]] == ["", ""]
    assert 0.25 < cells[0].ic < 0.33 and cells[0].low > 0.2
    assert abs(cells[3].step) < 0.1 < cells[0].step  # a day later nothing of it is left
    verdict = {verdict.symbol: verdict for verdict in found.verdicts}
    assert verdict["BTC/USDT"].text == "evidence: follow it" and verdict["BTC/USDT"].cell.horizon_ns <= 4 * HOUR
    assert verdict["ETH/USDT"].text.startswith("no evidence: ") and not verdict["ETH/USDT"].evidence


def test_a_signal_that_is_wrong_on_purpose_is_evidence_for_the_opposite() -> None:
    rng = np.random.default_rng(2)
    x = remembering(rng, 2000, 1, 6.0)
    found = report(x, planted(x, rng.standard_normal(x.shape), -0.3))
    assert found.verdicts[0].text == "evidence: do the opposite" and found.verdicts[0].cell.ic < -0.2


def test_noise_is_no_evidence_at_the_stated_level() -> None:
    """A false claim anywhere in a report on three symbols and three horizons: at most 5 in 100 reports."""
    claims = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = remembering(rng, 1000, 3, 12.0)
        returns = 0.01 * (0.7 * rng.standard_normal((1000, 1)) + 0.7 * rng.standard_normal((1000, 3)))
        claims += bool(report(x, returns, draws=99, seed=seed).found("tide"))
    assert claims <= 5  # of 40; more has a chance of 1.4 % at a true level of 5 %


def test_an_echo_of_the_price_is_explained_by_it() -> None:
    """Prices that go on, and a signal that only repeats their last day: it correlates, and says nothing of its own."""
    rng = np.random.default_rng(4)
    trend = 0.01 * (remembering(rng, 3000, 1, 24.0) * 0.4 + rng.standard_normal((3000, 1)))
    path = np.cumsum(trend, axis=0)
    x = np.full((3000, 1), np.nan)
    x[24:] = path[24:] - path[:-24]
    found = report(x + 1e-6 * rng.standard_normal(x.shape), trend)
    assert {cell.fault for cell in found.cells} == {"price"} and min(cell.ic for cell in found.cells) > 0.1
    assert found.verdicts[0].text == "no evidence: price explains it"


def test_a_season_of_the_day_isnt_evidence() -> None:
    """Signal and return that both follow the clock: an edge, perhaps, but not one that a shuffled day loses."""
    rng = np.random.default_rng(5)
    hour = np.sin(np.arange(2400) % 24 / 24 * 2 * np.pi)[:, None]
    found = report(hour + 0.1 * rng.standard_normal((2400, 1)), 0.01 * (0.5 * hour + rng.standard_normal((2400, 1))))
    assert found.cells[1].ic > 0.3 and found.cells[1].low > 0 and found.cells[1].fault == "placebo"


def test_more_tests_ask_for_more() -> None:
    """What passes alone is undone when it is the best of many; untestable ones don't count."""
    rng = np.random.default_rng(13)
    x = remembering(rng, 2000, 1, 6.0)
    returns = planted(x, rng.standard_normal(x.shape), 0.055)
    alone = report(x, returns, horizons_ns=[HOUR])
    assert alone.tests == 1 and alone.verdicts[0].evidence
    spec = looking(1, **{f"tide_{n}": Level("tide", max_age=f"{n + 1}h") for n in range(30)})
    many = examine(spec, world(x, returns), horizons_ns=[HOUR], draws=199)
    assert many.tests == 30 and {verdict.text for verdict in many.verdicts} == {"no evidence: 30 tests undo it"}
    absent = np.hstack([x, np.full_like(x, np.nan)])
    with_none = report(absent, np.hstack([returns, returns]), horizons_ns=[HOUR])
    assert with_none.tests == 1 and with_none.verdicts[0].evidence
    assert with_none.verdicts[1].text == "no evidence: never ready"


def test_shuffled_facts_hold_nothing() -> None:
    """Values of a metric change places within their coin, posts change places with their times; nothing is lost."""
    rng = np.random.default_rng(6)
    x = remembering(rng, 1500, 2, 6.0)
    inputs = world(x, planted(x, rng.standard_normal(x.shape), 0.4))
    none = np.arange(6)
    posts = SentimentTape(
        coin=[0, 1, -1, 0, 1, 1], event_ns=none, known_ns=none + 10, score=none / 10, weight=none + 1.0, author=none,
        source=none, revision=0 * none,
    )  # fmt: skip
    inputs = replace(inputs, signals=replace(inputs.signals, sentiment=posts))
    moved = shuffle_facts(inputs, 3)
    tide, before = moved.signals.metrics["tide"], inputs.signals.metrics["tide"]
    for coin in (0, 1):
        assert np.array_equal(np.sort(tide.value[tide.coin == coin]), np.sort(before.value[before.coin == coin]))
    assert np.array_equal(tide.known_ns, before.known_ns) and not np.array_equal(tide.value, before.value)
    after = moved.signals.sentiment
    assert np.array_equal(after.known_ns, posts.known_ns) and np.array_equal(after.event_ns, posts.event_ns)
    assert sorted(zip(after.coin, after.score, after.weight, strict=True)) == sorted(
        zip(posts.coin, posts.score, posts.weight, strict=True)
    )
    assert not np.array_equal(after.score, posts.score)
    options: dict[str, Any] = {"horizons_ns": LENGTHS, "draws": 199}
    assert len(examine(looking(2), inputs, **options).found("tide")) == 2
    assert examine(looking(2), moved, shuffled=True, **options).found("tide") == []


def test_equal_seeds_give_equal_reports() -> None:
    rng = np.random.default_rng(7)
    x, returns = remembering(rng, 800, 1, 6.0), 0.01 * rng.standard_normal((800, 1))
    first, again, other = (report(x, returns, seed=seed) for seed in (3, 3, 4))
    assert first.cells == again.cells and first.quarters == again.quarters and first.verdicts == again.verdicts
    assert first.cells != other.cells and first.cells[0].ic == other.cells[0].ic


# --- what is compared ------------------------------------------------------------------------------------------------
def steps(rows: int = 30) -> RunInputs:
    """A world whose bar i gains i percent of a percent."""
    returns = np.arange(rows)[:, None] * 1e-4
    return world(np.zeros((rows, 1)), returns)


def test_returns_run_from_the_next_open_to_the_open_a_horizon_later() -> None:
    """The bar that was decided on isn't in it, nor is the one that opens when the horizon ends."""
    inputs = steps()
    for hours in (1, 3):
        got = forward_returns(looking(1), inputs, hours * HOUR)[:, 0]
        wanted = [sum(range(i + 1, i + 1 + hours)) * 1e-4 for i in range(30 - 1 - hours)]
        assert got[: len(wanted)] == pytest.approx(wanted) and np.isnan(got[len(wanted) :]).all()


def test_a_decision_that_waits_too_long_for_an_open_takes_the_next() -> None:
    """Within the venue's grace the open still stands; after it, the order fills one bar later."""
    inputs = steps()
    for delay, later in ((30 * 10**9, 0), (20 * 60 * 10**9, 1)):
        seen = replace(inputs.signals, cutoff_ns=inputs.signals.decide_ns + delay)
        got = forward_returns(looking(1), replace(inputs, signals=seen), HOUR)[:, 0]
        assert got[5] == pytest.approx((6 + later) * 1e-4)


def test_past_returns_are_known_at_the_decision() -> None:
    got = past_returns(steps(), 3 * HOUR)[:, 0]
    assert np.isnan(got[:3]).all()
    assert got[3:] == pytest.approx([(i + i - 1 + i - 2) * 1e-4 for i in range(3, 30)])


def test_no_return_reaches_over_an_outage() -> None:
    """Two bars are missing: decisions that would fill or leave in them have no return; those before and after do."""
    missing = np.zeros((30, 1), bool)
    missing[10:12] = True
    inputs = world(np.zeros((30, 1)), np.full((30, 1), 1e-4), missing=missing)
    got = forward_returns(looking(1), inputs, 2 * HOUR)[:, 0]
    assert np.flatnonzero(np.isnan(got)).tolist() == [7, 8, 9, 10, 27, 28, 29]


def test_what_the_future_holds_changes_no_signal_and_no_control() -> None:
    """Everything known after a time is garbled: what was compared with the returns before it stays as it was."""
    rng = np.random.default_rng(9)
    x, returns = remembering(rng, 400, 1, 6.0), 0.01 * rng.standard_normal((400, 1))
    x_later, returns_later = x.copy(), returns.copy()
    x_later[300:], returns_later[301:] = 9.0, 0.05
    one, two = (world(*facts) for facts in ((x, returns), (x_later, returns_later)))
    assert np.array_equal(past_returns(one, DAY)[:300], past_returns(two, DAY)[:300], equal_nan=True)
    ahead = [forward_returns(looking(1), inputs, 4 * HOUR) for inputs in (one, two)]
    assert np.array_equal(ahead[0][:296], ahead[1][:296]) and not np.array_equal(ahead[0][:300], ahead[1][:300])


# --- coverage, quarters, lines of time -------------------------------------------------------------------------------
def test_coverage_says_how_often_there_was_a_value_and_why_not() -> None:
    """Silent for ten hours, of which the first three still count by max_age; two bars missing; late to begin."""
    rng = np.random.default_rng(10)
    x = rng.standard_normal((500, 2))
    x[:20, 0], x[100:110, 0] = np.nan, np.nan
    missing = np.zeros((500, 2), bool)
    missing[200:202, 1] = True
    got = examine(looking(2), world(x, 0.01 * rng.standard_normal((500, 2)), missing=missing), draws=99)
    first, second = got.coverage
    assert first.states == {"warming up": 20 / 500, "stale": 7 / 500} and first.ready == 1 - 27 / 500
    assert (first.gaps, first.longest_gap_ns) == (1, 7 * HOUR)
    assert first.longest_gap_from_ns == START + 104 * HOUR  # bar 103 closes then
    assert second.states == {"no bar": 2 / 500} and second.longest_gap_ns == 2 * HOUR


def test_quarters_are_the_calendars_and_add_up() -> None:
    rng = np.random.default_rng(11)
    x = remembering(rng, 24 * 185, 1, 4.0)
    edge = np.where(np.arange(len(x))[:, None] < 24 * 91, 0.4, 0.0)  # in the first quarter of 2024 only
    moved = 0.01 * rng.standard_normal(x.shape)
    moved[1:] += 0.01 * edge[1:] * x[:-1]
    got = report(x, moved)
    assert [quarter.quarter for quarter in got.quarters] == ["2024 Q1", "2024 Q2"]  # of the third too little
    first, second = got.quarters
    assert first.low > 0.3 and abs(second.ic) < 0.05 and second.high < 0.1
    [curve] = got.curves
    shown = next(cell for cell in got.cells if cell.horizon_ns == got.reference_ns["tide"])
    assert curve.total[-1] == pytest.approx(shown.ic, abs=1e-9)
    middle = curve.total[np.searchsorted(curve.ns, START + 91 * DAY)]
    assert middle == pytest.approx(shown.ic, rel=0.35)


def test_names_of_quarters() -> None:
    days = np.arange(parse_time("2023-12-30"), parse_time("2024-04-03"), DAY)
    assert [(name, part.stop - part.start) for name, part in quarters(days)] == [
        ("2023 Q4", 2), ("2024 Q1", 91), ("2024 Q2", 2),
    ]  # fmt: skip


def test_long_lines_are_thinned_in_parts_of_a_day() -> None:
    """A year of minutes: slots of half an hour, each the value at its own close."""
    closes = START + np.arange(525_600) * (HOUR // 60)
    seen = type("Seen", (), {"decide_ns": closes, "bar_ns": HOUR // 60})
    line = Timeline.of(type("Facts", (), {"signals": seen, "first": 0}))  # type: ignore[arg-type]
    assert (line.stride, line.day_slots, line.decisions) == (30, 48, 17_520)
    spread = line.spread(np.arange(525_600.0)[:, None])
    assert spread[:3, 0].tolist() == [0.0, 30.0, 60.0] and line.slots(HOUR) == 2 and line.slots(HOUR // 4) == 1


# --- horizons, and what can't be judged ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("bar", "days", "hours"),
    [
        (HOUR, 366, [1, 4, 12, 24, 72]),
        (HOUR, 40, [1, 4, 12]),
        (DAY, 800, [24, 72, 168]),
        (HOUR // 60, 366, [0.25, 1, 4, 12, 24]),
        (5 * HOUR, 366, [5]),
    ],
)
def test_horizons_that_fit_bar_and_span(bar: int, days: int, hours: list[float]) -> None:
    kept, notes = usable_horizons(None, bar, days * DAY)
    assert [h / HOUR for h in kept] == hours
    assert notes == (["the span is too short for a horizon of 1d, 3d"] if days == 40 else [])


@pytest.mark.parametrize(
    ("asked", "days", "said"),
    [
        ([HOUR // 2], 366, "--horizons = '30m': a horizon is shorter than a bar. Use multiples of 1h"),
        ([90 * HOUR // 60], 366, "--horizons = '1h30m': a horizon isn't a whole number of bars"),
        ([DAY], 30, "'1d': the span of 30.0 days is too short for this horizon. 60 of them .* horizons up to 12h"),
        (None, 1, "'1h': the span of 1.0 days is too short for this horizon. 60 of them are the least: take a longer"),
    ],
)
def test_horizons_that_cant_be(asked: list[int] | None, days: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        usable_horizons(asked, HOUR, days * DAY)


def test_a_signal_of_the_price_is_judged_too() -> None:
    """No facts to shuffle: the placebo is the same, and price explains what it finds."""
    rng = np.random.default_rng(13)
    trend = 0.01 * (remembering(rng, 2500, 1, 48.0) * 0.5 + rng.standard_normal((2500, 1)))
    got = examine(looking(1, push=Momentum(24)), world(np.zeros((2500, 1)), trend), horizons_ns=[4 * HOUR], draws=199)
    assert got.cells[0].ic > 0.2 and got.verdicts[0].text == "no evidence: price explains it"
    assert got.cells[0].beyond == pytest.approx(0.0, abs=1e-6)
