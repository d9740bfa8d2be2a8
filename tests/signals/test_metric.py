"""The as-of rule, against a slow twin that looks at everything known each time."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from signals import Change, Level, MetricTape, Staleness, Stream, ZScore, evaluate
from signals.inputs import of_closes
from signals.ops import NOT_FINITE, OK, STALE, WARMING
from signals.program import RING_LEAST

HOUR_NS = 3_600_000_000_000
Row = tuple[int, int, float, int]  # known (hours), event (hours), value, revision


def tape(rows: list[Row], coin: int = 0) -> MetricTape:
    """Observations in the order in which they are known."""
    known, event, value, revision = (np.array(column) for column in zip(*rows, strict=True)) if rows else [[]] * 4
    size = len(rows)
    scale = HOUR_NS
    return MetricTape(np.full(size, coin), np.array(event) * scale, np.array(known) * scale, value, revision)


def values(signal: Any, rows: list[Row], bars: int, coin: int = 0) -> Any:
    """Values at the closes of hourly bars, f8[d]."""
    return evaluate({"it": signal}, of_closes([1.0] * bars, metrics={"m": tape(rows, coin)}))[0][:, 0, 0]


def known_at(rows: list[Row], now: int) -> dict[int, float]:
    """Values by event as the as-of rule has them: only news, and corrections of what counted."""
    kept: dict[int, tuple[float, int]] = {}
    for known, event, value, revision in rows:
        if known > now:
            break
        if not kept or event > max(kept) or (event in kept and revision >= kept[event][1]):
            kept[event] = value, revision
    return {event: value for event, (value, _) in kept.items()}


def slow(kind: str, rows: list[Row], now: int, window: int) -> float:
    kept = known_at(rows, now)
    if not kept:
        return math.nan
    newest = max(kept)
    if kind == "level":
        return kept[newest]
    if kind == "age":
        return float(now - newest)
    if kind == "change":
        before = [event for event in kept if event <= newest - window]
        return kept[newest] - kept[max(before)] if before else math.nan
    past = [value for event, value in kept.items() if newest - window <= event < newest]
    if min(kept) > newest - window or len(past) < 2:
        return math.nan
    spread = float(np.std(past))
    if spread == 0:
        return 0.0 if kept[newest] == np.mean(past) else math.nan
    return float((kept[newest] - np.mean(past)) / spread)


observations = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(-20, 20).map(float), st.integers(0, 2)), max_size=60
).map(lambda rows: sorted(((k, max(k - lag, 0), v, r) for k, lag, v, r in rows), key=lambda row: row[0]))


@given(rows=observations, window=st.integers(1, 12))
def test_as_of_against_a_slow_twin(rows: list[Row], window: int) -> None:
    bound = {
        "level": Level("m"),
        "age": Staleness("m"),
        "change": Change("m", window),
        "score": ZScore("m", f"{window}h", least=2),
    }
    found, _ = evaluate(bound, of_closes([1.0] * 44, metrics={"m": tape(rows)}))
    for now in range(1, 45):
        for j, kind in enumerate(bound):
            expected = slow(kind, rows, now, window)
            assert found[now - 1, 0, j] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True), (kind, now)


def test_the_last_arrival_is_not_the_latest_event() -> None:
    rows = [(2, 2, 10.0, 0), (4, 1, 99.0, 0), (6, 5, 20.0, 0)]
    np.testing.assert_array_equal(values(Level("m"), rows, 6), [np.nan, 10.0, 10.0, 10.0, 10.0, 20.0])


def test_a_revision_counts_from_its_time_also_inside_of_a_window() -> None:
    rows = [(1, 1, 0.0, 0), (2, 2, 4.0, 0), (3, 3, 2.0, 0), (5, 2, 8.0, 1), (6, 2, 1.0, 0)]
    np.testing.assert_array_equal(values(Level("m"), rows, 6)[2:], [2.0] * 4)
    scores = values(ZScore("m", "2h", least=2), rows, 6)
    np.testing.assert_allclose(scores[2:], [0.0, 0.0, -0.5, -0.5])  # an older revision that comes later changes nothing


def test_a_fact_known_late_is_not_seen_early() -> None:
    np.testing.assert_array_equal(values(Level("m"), [(5, 1, 7.0, 0)], 6), [np.nan] * 4 + [7.0, 7.0])


def test_the_age_limit_counts_from_the_event() -> None:
    inputs = of_closes([1.0] * 8, metrics={"m": tape([(3, 1, 7.0, 0)])})
    bound = {"level": Level("m", max_age="4h")}
    assert evaluate(bound, inputs)[1][:, 0].tolist() == [WARMING, WARMING, OK, OK, OK, STALE, STALE, STALE]
    limited = evaluate(bound, inputs, max_age_ns=2 * HOUR_NS)[1][:, 0].tolist()
    assert limited == [WARMING, WARMING, OK, STALE, STALE, STALE, STALE, STALE]


def test_own_coin_before_the_market() -> None:
    rows = [(1, 1, 5.0, 0), (2, 2, 6.0, 0)]
    assert values(Level("m"), rows, 3, coin=-1).tolist() == [5.0, 6.0, 6.0]
    both = MetricTape([-1, 0, -1], [3, 2, 4], [HOUR_NS, 2 * HOUR_NS, 3 * HOUR_NS], [5.0, 8.0, 9.0], [0, 0, 0])
    inputs = of_closes([1.0] * 3, metrics={"m": both})
    rows_found, _ = evaluate(
        {"own": Level("m"), "market": Level("m", coin="*"), "named": Level("m", coin="BTC")}, inputs
    )
    np.testing.assert_array_equal(rows_found[:, 0, :3], [[5.0, 5.0, np.nan], [8.0, 5.0, 8.0], [8.0, 9.0, 8.0]])


def test_a_ring_grows_as_far_as_its_window_asks() -> None:
    size = 5 * RING_LEAST
    rows = [(hour, hour, float(hour % 7), 0) for hour in range(1, size)]
    signal = ZScore("m", f"{3 * RING_LEAST}h")
    found = values(signal, rows, size)
    for hour in (3 * RING_LEAST + 1, size - 1):
        assert found[hour - 1] == pytest.approx(slow("score", rows, hour, 3 * RING_LEAST))
    stream = Stream({"it": signal}, ("BTC/USDT",), ("BTC",), HOUR_NS)
    for hour in range(1, size):
        stream.on_bar(0, hour * HOUR_NS, 1.0, 1.0, 1.0, 1.0, 1.0)
        stream.on_metric("m", 0, hour * HOUR_NS, hour * HOUR_NS, float(hour % 7))
        assert stream.read(hour * HOUR_NS)[0][0, 0] == pytest.approx(found[hour - 1], nan_ok=True, abs=0)


def test_a_window_with_too_much_in_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signals.program.RING_MOST", 2 * RING_LEAST)
    rows = [(hour, hour, 1.0, 0) for hour in range(1, 4 * RING_LEAST)]
    with pytest.raises(InputError, match="more than 32 observations"):
        values(ZScore("m", "1000h"), rows, 4 * RING_LEAST)


def test_values_that_are_no_numbers() -> None:
    rows = [(1, 1, 0.0, 0), (2, 2, math.nan, 0), (3, 3, 5.0, 0), (4, 4, 5.0, 0), (5, 5, 5.0, 0), (6, 6, 7.0, 0)]
    inputs = of_closes([1.0] * 6, metrics={"m": tape(rows)})
    assert evaluate({"it": Level("m")}, inputs)[1][:, 0].tolist() == [OK, NOT_FINITE, OK, OK, OK, OK]
    growth = evaluate({"it": Change("m", "1h", relative=True)}, inputs)[1][:, 0].tolist()
    assert growth == [WARMING, NOT_FINITE, NOT_FINITE, OK, OK, OK]
    assert evaluate({"it": ZScore("m", "2h", least=2)}, inputs)[1][5, 0] == NOT_FINITE  # departs from what never moved


def test_no_such_metric_is_warming_up_forever() -> None:
    assert (evaluate({"it": Level("other")}, of_closes([1.0] * 3))[1] == WARMING).all()


def test_what_is_to_be_loaded() -> None:
    assert Level("fear_greed", coin="*").facts() == (("metrics", "fear_greed", "*"),)
    assert ZScore("flow", "7d").facts() == (("metrics", "flow", None),)
    assert ZScore("close", 48).facts() == ()
    assert ZScore("flow", "40d").lookback_ns(HOUR_NS) >= 40 * 24 * HOUR_NS
    assert ZScore("close", "2d").lookback_ns(HOUR_NS) == 49 * HOUR_NS


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Level(""), "Level.metric"),
        (lambda: Change("m", "yesterday"), "Change.window"),
        (lambda: ZScore("m", "7d", least=1), "ZScore.least"),
        (lambda: ZScore("m", "7d", on="4h"), "ZScore.on"),
        (lambda: Staleness("m", coin=3), "coin"),  # type: ignore[arg-type]
    ],
)
def test_what_a_metric_signal_can_not_be(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
