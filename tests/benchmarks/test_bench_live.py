"""The live benchmark on little work: counts and bounds hold; how long anything takes is not asserted."""

import math

from benchmarks.live_latency import STAGES, joined
from benchmarks.live_load import load, peak, spread_ms
from benchmarks.live_memory import slope_of, week


def test_a_flood_is_counted_to_the_last_post() -> None:
    """Told is taken and dropped together; control 21 freezes the flooded coin, the other one trades on."""
    load(rate=10, seconds=0.1, bar_ms=100)  # kernels that aren't compiled yet would take up the whole flood
    for bar_ms in (100, 400, 1600):  # on a machine that is busy otherwise, short bars come too late to be decided on
        found = load(rate=60_000, seconds=bar_ms / 50, posts_max=2_000, bar_ms=bar_ms)
        assert found["told"] == found["taken"] + found["dropped"] and found["dropped"] > 0
        assert found["most_waiting"] <= 2_000
        assert found["frozen_by_control_21"] >= 1
        assert found["bars"] > 0 and found["memory_mb"]["most"] - found["memory_mb"]["before"] < 64
        if found["orders"] > 0:
            return
    raise AssertionError("the coin that wasn't flooded never traded")


def test_a_recorded_peak_played_faster_loses_nothing() -> None:
    """Every post and bar of the record is handled again."""
    found = peak(rate=1_000, seconds=2.0)
    assert found["posts_handled"] == found["posts_recorded"] == 2_000 and found["posts_dropped"] == 0
    assert found["bars_handled"] == found["bars_recorded"] > 0


def test_a_stretch_of_a_week_is_measured() -> None:
    """Orders fill, samples are taken, and a line is laid through them."""
    found = week(days=0.004, samples_a_day=3000)
    assert found["orders"] > 0 and found["fills"] > 0 and len(found["resident_mb"]) > 5
    assert math.isfinite(found["mb_a_day"])
    assert slope_of([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == (2.0, 0.0)


def test_orders_are_followed_by_their_client_ids() -> None:
    """Only those that bot, exchange process and venue all saw; stages add up."""
    ours = [{"client_id": "a", "came": 1, "begun": 2, "decided": 4, "durable": 8, "asked": 9, "closed": 0}]
    exchange = [{"client_id": "a", "came": 10, "checked": 12, "claimed": 15, "left": 20, "as": "Accepted"}]
    venue = [{"client_id": "a", "label": "place", "ns": 23}, {"client_id": "b", "label": "place", "ns": 9}]
    found = joined([*ours, {**ours[0], "client_id": "b"}], exchange, venue)
    assert len(found) == 1
    assert sum(found[0][until] - found[0][since] for _, since, until in STAGES) == 23 - 1
    assert spread_ms([10**6, 3 * 10**6]) == {"p50": 2.0, "p99": 2.98, "most": 3.0}
