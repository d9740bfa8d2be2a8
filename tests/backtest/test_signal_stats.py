"""Rank correlation, bootstrap and placebo of a signal report, against scipy and against slow twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as theirs

from backtest import signal_stats as stats
from tests.backtest.signal_worlds import remembering

FEW = st.integers(-4, 4).map(float)


@given(arrays(float, st.shared(st.integers(3, 40), key="n"), elements=FEW))
def test_ranks_are_scipys(values: np.ndarray) -> None:
    assert np.array_equal(stats.ranks(values), theirs.rankdata(values))


@given(
    arrays(float, st.shared(st.integers(3, 40), key="n"), elements=FEW | st.just(np.nan)),
    arrays(float, st.shared(st.integers(3, 40), key="n"), elements=FEW | st.just(np.nan)),
)
def test_the_correlation_is_scipys_where_both_are_known(x: np.ndarray, y: np.ndarray) -> None:
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 2 or len(set(x[both])) < 2 or len(set(y[both])) < 2:
        assert np.isnan(stats.rank_ic(x, y))
    else:
        assert stats.rank_ic(x, y) == pytest.approx(theirs.spearmanr(x[both], y[both]).statistic, abs=1e-9)


def table(seed: int = 5, rows: int = 400) -> tuple[np.ndarray, ...]:
    """Signal, return and two past returns of two symbols that all hang together, with holes."""
    rng = np.random.default_rng(seed)
    past, other, x = (rng.standard_normal((rows, 2)) for _ in range(3))
    x += 0.6 * past - 0.3 * other
    y = 0.2 * x + 0.4 * past + rng.standard_normal((rows, 2)) ** 3
    x[rng.random((rows, 2)) < 0.1] = np.nan
    y[-12:] = np.nan
    return x, y, past, other


def test_all_three_correlations_are_those_one_gets_by_regression() -> None:
    """The partial one: correlate what a regression of the ranks on the controls' ranks leaves."""
    x, y, past, other = table()
    ranked = stats.Ranked.of(x, y, [past, other])
    found = stats.correlations(ranked.features().sum(axis=0), 4)
    for k in range(2):
        rows = ranked.mask[:, k]
        assert rows.sum() == ranked.counts[k] < len(x)
        u = np.column_stack([theirs.rankdata(column[rows, k]) for column in (x, y, past, other)])
        design = np.column_stack([np.ones(len(u)), u[:, 2:]])
        left = u[:, :2] - design @ np.linalg.lstsq(design, u[:, :2], rcond=None)[0]
        wanted = [
            theirs.spearmanr(x[rows, k], y[rows, k]).statistic,
            theirs.spearmanr(past[rows, k], y[rows, k]).statistic,
            np.corrcoef(left.T)[0, 1],
        ]
        assert found[k] == pytest.approx(wanted, abs=1e-9)


def test_nothing_is_left_of_a_signal_that_is_the_price_and_a_control_twice_counts_once() -> None:
    x, y, past, other = table()
    copy = stats.Ranked.of(np.exp(past), y, [past, other])  # another number, the same ranks
    assert stats.correlations(copy.features().sum(axis=0), 4)[:, stats.BEYOND] == pytest.approx([0.0, 0.0])
    once = stats.correlations(stats.Ranked.of(x, y, [past]).features().sum(axis=0), 3)
    twice = stats.correlations(stats.Ranked.of(x, y, [past, past]).features().sum(axis=0), 4)
    assert twice == pytest.approx(once, abs=1e-12)


def test_what_is_constant_or_absent_has_no_correlation() -> None:
    x, y, past, _ = table()
    x[:, 0], y[:, 1] = 1.0, np.nan
    found = stats.correlations(stats.Ranked.of(x, y, [past]).features().sum(axis=0), 3)
    assert np.isnan(found[0, [stats.EXPLAINS, stats.BEYOND]]).all() and np.isnan(found[1]).all()


def test_the_bootstrap_is_that_of_ranking_anew_and_repeats_itself() -> None:
    """The same draws, ranked anew by scipy, spread as widely; equal seeds give equal draws."""
    from arch.bootstrap import StationaryBootstrap

    rng = np.random.default_rng(8)
    x = remembering(rng, 900, 1, 6.0)
    y = 0.15 * x + remembering(rng, 900, 1, 3.0)
    drawn = stats.bootstrap(stats.Ranked.of(x, y), 20, 300, (4,))[:, 0, 0]
    sampler = StationaryBootstrap(20, x[:, 0], y[:, 0], seed=np.random.default_rng([4]))
    anew = np.array([theirs.spearmanr(a, b).statistic for (a, b), _ in sampler.bootstrap(300)])
    assert drawn.std() == pytest.approx(anew.std(), rel=0.05)
    assert np.abs(drawn - anew).mean() < 0.01 and np.corrcoef(drawn, anew)[0, 1] > 0.98
    assert np.array_equal(drawn, stats.bootstrap(stats.Ranked.of(x, y), 20, 300, (4,))[:, 0, 0])


def overlapping(seed: int, horizon: int, rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """A signal that remembers and overlapping returns that it knows nothing of."""
    rng = np.random.default_rng(seed)
    x = remembering(rng, rows, 1, 12.0)
    path = np.r_[0.0, np.cumsum(rng.standard_normal(rows))]
    y = np.full((rows, 1), np.nan)
    y[: rows - horizon, 0] = path[horizon + 1 :][: rows - horizon] - path[1:][: rows - horizon]
    return x, y


def test_intervals_allow_for_overlap() -> None:
    """Of worthless signals' intervals about one in twenty leaves out 0; one that takes rows as independent, half."""
    wide = naive = 0
    for seed in range(60):
        x, y = overlapping(seed, horizon=24)
        ranked = stats.Ranked.of(x, y)
        assert stats.block_length(ranked, 24) >= 24
        for block, is_naive in ((stats.block_length(ranked, 24), False), (1, True)):
            low, high = stats.interval(stats.bootstrap(ranked, block, 200, (seed,))[:, 0, 0], 0.05)
            naive += is_naive and low * high > 0
            wide += not is_naive and low * high > 0
    assert wide <= 9 and naive >= 25


def test_placebos_are_those_of_the_slow_way() -> None:
    """Turn the signal, put its blocks in order, rank what is known, correlate what meets."""
    rng = np.random.default_rng(2)
    x, y = remembering(rng, 100, 2, 4.0).T
    x[[3, 40, 41]], y[90:] = np.nan, np.nan
    orders = stats.Orders.drawn(100, 12, 4, 30, (1,))
    assert orders.phases == (4, 8) and orders.draws == 30
    found = stats.placebo(x, y, orders)
    slow = []
    for phase, permutations in zip(orders.phases, orders.permutations, strict=True):
        for order in permutations:
            turned = np.roll(x, phase)
            blocks = [turned[b * 12 : (b + 1) * 12] for b in order]
            moved = np.r_[np.concatenate(blocks), turned[96:]]
            u, v = (np.where(np.isnan(a), np.nan, theirs.rankdata(a, nan_policy="omit")) for a in (moved, y))
            both = np.isfinite(u) & np.isfinite(v)
            slow.append(np.corrcoef(u[both], v[both])[0, 1])
    assert found == pytest.approx(slow, abs=1e-9)


def test_the_placebo_keeps_the_hour_of_the_day() -> None:
    """A signal and returns that both only know the hour: the correlation is real, and no better than its placebos."""
    rng = np.random.default_rng(3)
    hour = np.cos(np.arange(24 * 120) % 24 / 24 * 2 * np.pi)
    x, y = hour + 0.3 * rng.standard_normal(len(hour)), hour + rng.standard_normal(len(hour))
    seen = stats.rank_ic(x, y)
    whole_days = stats.placebo(x, y, stats.Orders.drawn(len(x), 72, 24, 400, (1,)))
    assert seen > 0.4 and stats.placebo_chance(seen, whole_days) > 0.05


def test_p_values_of_worthless_signals_are_spread_evenly() -> None:
    chances = []
    for seed in range(120):
        x, y = overlapping(1000 + seed, horizon=12, rows=1500)
        block = stats.placebo_block(1500, 12, stats.memory(x[:, 0]), 24)
        orders = stats.Orders.drawn(1500, block, 24, 400, (seed,))
        chances.append(stats.placebo_chance(stats.rank_ic(x[:, 0], y[:, 0]), stats.placebo(x[:, 0], y[:, 0], orders)))
    assert theirs.kstest(chances, "uniform").pvalue > 0.01
    assert np.mean(np.array(chances) < 0.05) <= 0.1


def test_a_p_value_is_never_nothing() -> None:
    assert stats.placebo_chance(0.5, np.zeros(99)) == 0.01
    assert stats.placebo_chance(0.0, np.zeros(99)) == 1.0
    assert stats.placebo_chance(float("nan"), np.zeros(99)) == stats.placebo_chance(0.5, np.zeros(0)) == 1.0


def test_holm_is_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 40):
        chances = rng.random(size) ** 3
        assert stats.holm(chances.tolist()) == pytest.approx(multipletests(chances, method="holm")[1])
    assert stats.holm([]) == []


@pytest.mark.parametrize(
    ("slots", "horizon", "remembers", "day", "block"),
    [
        (8784, 72, 60, 24, 288),  # four horizons, a multiple of the day
        (8784, 4, 60, 24, 120),  # twice the memory
        (8784, 4, 4000, 24, 720),  # a twelfth of the span, in whole days
        (300, 1, 1, 24, 24),  # a day at least
        (100, 1, 1, 24, 8),  # less than that where the span has no twelve of them
        (400, 3, 2, 1, 12),  # bars of a day
    ],
)
def test_blocks_of_the_placebo(slots: int, horizon: int, remembers: int, day: int, block: int) -> None:
    assert stats.placebo_block(slots, horizon, remembers, day) == block


def test_memory_is_that_of_the_process() -> None:
    rng = np.random.default_rng(4)
    x = remembering(rng, 20_000, 1, 10.0)[:, 0]
    x[500:600] = np.nan
    assert 26 <= stats.memory(x) <= 42  # 0.5 ** (33 / 10) is a tenth
    assert stats.memory(rng.standard_normal(2000)) == 1
    assert stats.memory(np.full(50, np.nan)) == 1
