"""What the catalogue finds: gaps, late rows, revisions, odd ticks."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.checks import bar_faults, off_grid
from data.quality import SOURCES_MAX, WRONG_FACTOR, Gap, common_step, find_gaps, find_spikes, usual_step
from data.store import Store
from data.times import DAY_NS, HOUR_NS, WEEK_NS, parse_time

Build = Callable[..., pa.Table]
START = parse_time("2024-01-01")


@given(st.sets(st.integers(0, 200), min_size=2))
def test_gaps_against_counting(steps: set[int]) -> None:
    times = np.array(sorted(steps), dtype=np.int64) * HOUR_NS
    gaps = find_gaps(times, HOUR_NS)
    assert sum(gap.missing for gap in gaps) == (max(steps) - min(steps) + 1) - len(steps)
    assert len(gaps) == sum(second - first > 1 for first, second in pairwise(sorted(steps)))


def test_gaps_say_where_and_forgive_jitter() -> None:
    times = np.array([0, 8, 24, 32], dtype=np.int64) * HOUR_NS + np.array([17, 3, 0, 9])
    [gap] = find_gaps(times, usual_step(times), slack=0.5)
    assert gap == Gap(8 * HOUR_NS + 3, 24 * HOUR_NS, 1)
    assert usual_step(times[:1]) == 0
    assert common_step(np.array([0, 4, 6], dtype=np.int64)) == 2


def test_a_spike_needs_to_revert() -> None:
    close = np.full(100, 100.0)
    high, low = close * 1.001, close * 0.999
    high[50] = 400.0
    assert np.flatnonzero(find_spikes(close, high, low, close, WRONG_FACTOR)).tolist() == [50]
    high[50] = 170.0
    assert not find_spikes(close, high, low, close, WRONG_FACTOR).any()
    assert np.flatnonzero(find_spikes(close, high, low, close)).tolist() == [50]
    fallen = np.concatenate([np.full(50, 100.0), np.full(50, 20.0)])
    assert not find_spikes(fallen, fallen * 1.001, fallen * 0.999, fallen).any()
    opened = close.copy()
    opened[0] = 420.0  # the very first bar, as a real vendor has it
    assert find_spikes(opened, np.maximum(high, opened), low, close, WRONG_FACTOR)[0]
    assert not find_spikes(close[:2], high[:2], low[:2], close[:2]).any()


def test_grids() -> None:
    monday = parse_time("2024-01-01")
    assert off_grid(np.array([monday, monday + HOUR_NS // 2]), HOUR_NS).tolist() == [False, True]
    assert off_grid(np.array([monday, monday + DAY_NS]), WEEK_NS).tolist() == [False, True]
    three = monday + DAY_NS * np.array([0, 3, 6, 7])
    assert off_grid(three, 3 * DAY_NS).tolist() == [False, False, False, True]


@given(
    st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True, width=32)] * 5, st.integers(0, 5)), min_size=1)
)
def test_no_unsound_bar_passes(rows: list[tuple[float, float, float, float, float, int]]) -> None:
    opened, high, low, close, volume = (
        np.array(column, dtype=np.float64) for column in list(zip(*rows, strict=True))[:5]
    )
    open_ns = START + HOUR_NS * np.array([row[5] for row in rows], dtype=np.int64)
    now = START + 4 * HOUR_NS
    fault = bar_faults(open_ns, (opened, high, low, close), volume, HOUR_NS, now)
    for at, (o, h, lo, c, v, hour) in enumerate(rows):
        finite = all(np.isfinite([o, h, lo, c, v]))
        sound = finite and min(o, h, lo, c) > 0 and v >= 0 and lo <= min(o, c) and h >= max(o, c) and hour <= 3
        assert (fault[at] == "") == sound


def test_late_and_revised_rows(store: Store, observed: Build) -> None:
    store.append("metrics", observed([(10, 11, 1.0), (30, 31, 3.0), (20, 40, 2.0), (30, 50, 3.5)]))
    [line] = store.catalog()
    assert (line.rows, line.late, line.revised) == (4, 1, 1)
    assert (line.first_ns, line.last_ns, line.known_last_ns, line.step_ns) == (10, 30, 50, 10)


def test_odd_ticks_in_the_store_are_counted(store: Store, hourly: Build) -> None:
    close = np.full(60, 100.0)
    high = close * 1.002
    high[30] = 200.0
    store.append("bars", hourly(close, high=high, low=close * 0.998))
    [line] = store.catalog()
    assert (line.kind, line.name, line.source) == ("bars", "BTC/USDT 1h", "test")
    assert (line.rows, line.bad_ticks, line.gaps, line.step_ns) == (60, 1, 0, HOUR_NS)


def test_many_sources_share_a_line(store: Store, written: Build) -> None:
    for number in range(SOURCES_MAX + 3):
        store.append("posts", written([(f"{at}", at, "x") for at in range(number + 1)], source=f"s{number:02d}"))
    lines = store.catalog()
    assert len(lines) == SOURCES_MAX + 1
    assert lines[-1].name == "3 smaller sources"
    assert lines[-1].rows == 1 + 2 + 3
    assert sum(line.rows for line in lines) == store.query("SELECT count(*) AS n FROM posts").to_pylist()[0]["n"]


def test_a_damaged_file_is_named(store: Store, hourly: Build) -> None:
    from data.errors import InputError

    store.append("bars", hourly([1.0, 2.0]))
    [part] = store.manifest("bars").parts
    (store.root / "bars" / part.file).write_bytes(b"no parquet")
    with pytest.raises(InputError, match=part.file):
        store.catalog()
