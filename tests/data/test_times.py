"""Durations and instants: exact, or a clear error."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.times import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    WEEK_NS,
    floor_time,
    format_date,
    format_duration,
    format_time,
    merge_spans,
    parse_duration,
    parse_time,
    parse_zone,
    subtract_spans,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("6h", 6 * HOUR_NS),
        ("1d", DAY_NS),
        ("2w", 2 * WEEK_NS),
        ("200ms", 200_000_000),
        ("1h30m", 90 * MINUTE_NS),
        ("1.5h", 90 * MINUTE_NS),
        ("15us", 15_000),
        ("7ns", 7),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_duration(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "6", "h", "6 h", "-6h", "1M", "1h 30m", "6hours", "0.1ns", "999999w"])
def test_no_duration(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_duration(text, key="--lag")
    assert caught.value.key == "--lag"
    assert caught.value.value == text


@given(st.integers(0, 2**62))
def test_duration_survives_its_text(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


def test_duration_text() -> None:
    assert format_duration(90 * MINUTE_NS) == "1h30m"
    assert format_duration(0) == "0s"
    assert format_duration(-HOUR_NS) == "-1h"


@pytest.mark.parametrize(
    "text",
    [
        "2021-10-12T20:00Z",
        "2021-10-12 20:00:00Z",
        "2021-10-12T22:00:00+02:00",
        "2021-10-12T15:00-0500",
        "2021-10-12 20:00 UTC",
    ],
)
def test_one_instant_in_many_ways(text: str) -> None:
    assert parse_time(text) == 1_634_068_800 * 10**9


def test_date_is_midnight_and_naive_needs_a_zone() -> None:
    assert parse_time("2021-10-12") == 1_633_996_800 * 10**9
    assert parse_time("2021-10-12", tz=parse_zone("+02:00")) == 1_633_996_800 * 10**9 - 2 * HOUR_NS
    assert parse_time("2021-07-01T12:00", tz=parse_zone("America/New_York")) == parse_time("2021-07-01T16:00Z")
    with pytest.raises(InputError, match="without a time zone"):
        parse_time("2021-10-12T20:00", key="since")


@pytest.mark.parametrize(
    "text", ["yesterday", "2021-13-01", "2021-02-30", "12/10/2021", "2021-10-12T25:00Z", "9999-01-01"]
)
def test_no_instant(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_time(text, key="since", where="tidegate.toml")
    assert str(caught.value).startswith("tidegate.toml: since = ")


@given(st.integers(-(2**61), 2**61))
def test_instant_survives_its_text(nanoseconds: int) -> None:
    text = format_time(nanoseconds)
    assert parse_time(text) == nanoseconds
    seconds, rest = divmod(nanoseconds, 10**9)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert text.startswith(moment.strftime("%Y-%m-%d %H:%M"))
    assert format_date(nanoseconds) == moment.strftime("%Y-%m-%d")
    assert ("." in text) == bool(rest)


def test_zones() -> None:
    for text in ("Mars/Olympus", "+25:00", "", "../etc/passwd"):
        with pytest.raises(InputError, match="time zone"):
            parse_zone(text)


def test_floor() -> None:
    noon = parse_time("2024-01-03T12:34:56Z")  # a Wednesday
    assert floor_time(noon, HOUR_NS) == parse_time("2024-01-03T12:00Z")
    assert floor_time(noon, DAY_NS) == parse_time("2024-01-03")
    assert floor_time(noon, WEEK_NS) == parse_time("2024-01-01")


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


@given(SPANS, SPANS)
def test_spans_against_sets(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    def points(spans: list[tuple[int, int]]) -> set[int]:
        return {at for begin, end in spans for at in range(begin, end)}

    merged, taken = merge_spans(first), merge_spans(second)
    assert points(merged) == points(first)
    assert all(np.diff([edge for span in merged for edge in span]) > 0)
    left = subtract_spans(merged, taken)
    assert points(left) == points(first) - points(second)
