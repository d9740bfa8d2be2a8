"""What is made of an exchange's rows: the imbalance of a book, bars that are closed, sums of whole minutes."""

import pytest

from data.market_rows import closed_bars, imbalance
from data.minutes import GRACE_NS, KEPT, Minutes
from data.times import MILLISECOND_NS, MINUTE_NS, SECOND_NS
from tests.sources.world import NOW_NS

SYMBOL = "BTC/USDT:USDT"


def test_imbalance_of_a_book() -> None:
    """By levels, by distance, cut where the nearer side ends; what isn't a book is refused."""
    book = {"bids": [[99.0, 3], [98.0, 1], [90.0, 100]], "asks": [[101.0, 1], [102.0, 1], [103.0, 50]]}
    assert imbalance(book, 1, 0.0) == 0.5
    assert imbalance(book, 2, 0.0) == pytest.approx(2 / 6)
    assert imbalance(book, 3, 200.0) == pytest.approx(2 / 6)  # 98 to 102
    assert imbalance(book, 3, 900.0) == pytest.approx((4 - 52) / 56)  # the asks end at 103: 97 to 103
    assert imbalance({"bids": [[99, 1], [98, 9]], "asks": [[101, 1]]}, 20, 0.0) == 0.0
    for bids, asks in (([], [[1, 1]]), ([[2, 1]], [[1, 1]]), ([[1, 0]], [[2, 0]]), ([[1, "x"]], [[2, 1]])):
        with pytest.raises(ValueError):
            imbalance({"bids": bids, "asks": asks}, 5, 0.0)


def test_bars_count_as_closed_when_they_surely_are() -> None:
    """A later one came, or some seconds went by; the clock alone doesn't close a bar at its end."""
    first = NOW_NS // MINUTE_NS * MINUTE_NS
    rows = [[at * 60_000 + first // MILLISECOND_NS, 1, 2, 1, 2, 5] for at in range(2)]
    assert [bar.event_ns for bar in closed_bars(rows, SYMBOL, MINUTE_NS, first + MINUTE_NS + 1)] == [first]
    assert closed_bars(rows[:1], SYMBOL, MINUTE_NS, first + MINUTE_NS + SECOND_NS) == []
    assert len(closed_bars(rows[:1], SYMBOL, MINUTE_NS, first + MINUTE_NS + 11 * SECOND_NS)) == 1
    assert closed_bars(rows, SYMBOL, MINUTE_NS, first + MINUTE_NS - 1) == []  # our clock is behind: it waits
    for bad in ("yes", [[1, 2]], {"code": 1}):
        with pytest.raises(ValueError):
            closed_bars(bad, SYMBOL, MINUTE_NS, first)


def test_minutes_stay_bounded() -> None:
    """Old minutes are let go; what comes for them is counted, and changes nothing."""
    minutes, start = Minutes(1), NOW_NS // MINUTE_NS * MINUTE_NS
    assert minutes.settle(start + 10 * MINUTE_NS) == []
    minutes.begin(start + 1)
    minutes.add("before", start + 2, (1.0,))
    told = minutes.settle(start + 100 * MINUTE_NS + GRACE_NS)
    assert [end for end, _ in told] == [start + at * MINUTE_NS for at in range(2, 101)]
    minutes.add("old", start + (99 - KEPT) * MINUTE_NS, (1.0,))
    minutes.add("late", start + 99 * MINUTE_NS, (1.0,))
    assert minutes.settle(start + 100 * MINUTE_NS + GRACE_NS) == [(start + 100 * MINUTE_NS, (1.0,))]
    assert minutes.counts == {"too_late": 1, "late": 1}


def test_a_minute_that_lost_something_is_not_told() -> None:
    """Nor is the one before it, when it was lost so soon after its end that it may be of either."""
    minutes, start = Minutes(1), NOW_NS // MINUTE_NS * MINUTE_NS
    minutes.begin(start)
    minutes.add("one", start + 2 * MINUTE_NS + SECOND_NS, (1.0,))
    minutes.spoil(start + 2 * MINUTE_NS + SECOND_NS)
    minutes.spoil(start + 4 * MINUTE_NS + 30 * SECOND_NS)
    told = minutes.settle(start + 6 * MINUTE_NS + GRACE_NS)
    assert [(end - start) // MINUTE_NS for end, _ in told] == [1, 4, 6]
    assert minutes.counts["unwhole"] == 3
