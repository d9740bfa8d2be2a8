"""Time columns: units told by size or refused, naive times refused, zones applied."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.stamps import NO_HOUR, NO_TIME, OUT_OF_RANGE, TWICE_OR_NEVER, UNIT_NS, UNREADABLE, Stamps, read_stamps
from data.times import HOUR_NS, parse_time

NOON = parse_time("2021-10-12T12:00Z")


def read(values: Any, **options: Any) -> Stamps:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return read_stamps(array, np.arange(1, len(array) + 1), key="when", where="a.csv", **options)


@given(st.sampled_from(sorted(UNIT_NS)), st.integers(parse_time("2005-01-02"), parse_time("2099-12-30")))
def test_unit_is_told_by_size(unit: str, instant: int) -> None:
    whole = instant // UNIT_NS[unit]
    for values in ([whole], [str(whole)], [f"{whole}.0"]):
        stamps = read(values)
        assert stamps.ns.tolist() == [whole * UNIT_NS[unit]]
        assert stamps.description == f"unix times in {unit} (told by their size)"


def test_fractions_are_exact() -> None:
    assert read(["1634040000.123456789"]).ns.tolist() == [NOON + 123_456_789]
    assert read(["1634040000123.25"]).ns.tolist() == [NOON + 123_250_000]
    assert read([1634040000.25]).ns.tolist() == [NOON + 250_000_000]


def test_mixed_units_are_an_error_with_rows() -> None:
    for values in ([1634040000, 1634043600000, 1634047200], ["1634040000.0", "1634043600000", "1634047200.0"]):
        for options in ({}, {"unit": "s"}, {"unit": "ms"}):
            with pytest.raises(InputError, match="several units: s in rows 1, 3 .*; ms in rows 2 ") as caught:
                read(values, **options)
            assert (caught.value.key, caught.value.where) == ("when", "a.csv")


def test_a_wrong_unit_is_not_believed() -> None:
    with pytest.raises(InputError, match="look like ms in rows 1 .*, not s"):
        read([1634040000000], unit="s")
    with pytest.raises(InputError, match="unknown unit"):
        read([1634040000], unit="minutes")
    assert read([1634040000], unit="s").ns.tolist() == [NOON]


def test_numbers_that_are_no_epochs() -> None:
    with pytest.raises(InputError, match="--time-format %Y%m%d"):
        read([20211012, 20211013])
    with pytest.raises(InputError, match="can't tell the unit"):
        read([5, 6])
    with pytest.raises(InputError, match="holds no times"):
        read(pa.array([None, None], pa.int64()))
    assert read(["20211012"], form="%Y%m%d").days


def test_single_bad_rows_are_blamed_not_the_file() -> None:
    stamps = read(["1634040000", "", "12", "soon", "1634043600", "9" * 30])
    assert stamps.fault.tolist() == ["", NO_TIME, OUT_OF_RANGE, UNREADABLE, "", NO_TIME]
    assert stamps.ns[[0, 4]].tolist() == [NOON, NOON + HOUR_NS]
    assert read([1634040000.0, float("nan"), float("inf")]).fault.tolist() == ["", NO_TIME, NO_TIME]
    assert read(pa.array([1634040000, None], pa.int64())).fault.tolist() == ["", NO_TIME]


def test_written_times() -> None:
    stamps = read(
        [
            "2021-10-12T12:00:00Z",
            "2021-10-12 14:00:00+02:00",
            "2021-10-12 12:00:00 UTC",
            "2021-10-12T12:00:00.000000001Z",
            "Tue, 12 Oct 2021 12:00:00 GMT",
            "Tue, 12 Oct 2021 08:00:00 -0400",
            "2021-10-12",
            "12.10.2021",
            None,
        ]
    )
    assert stamps.fault.tolist() == ["", "", "", "", "", "", NO_HOUR, UNREADABLE, NO_TIME]
    assert stamps.ns[:6].tolist() == [NOON, NOON, NOON, NOON + 1, NOON, NOON]


def test_naive_times_need_a_zone() -> None:
    naive = pa.array([None, datetime(2021, 10, 12, 12)], pa.timestamp("ms"))
    with pytest.raises(InputError, match=r"1 times without a time zone \(first in row 2\).*--tz UTC"):
        read(naive)
    with pytest.raises(InputError, match="first in row 2"):
        read(["2021-10-12T12:00Z", "2021-10-12 12:00"])
    assert read(naive, tz="UTC").ns[1] == NOON
    assert read(["2021-10-12 12:00"], tz="+02:00").ns.tolist() == [NOON - 2 * HOUR_NS]
    assert read(["2021-10-12 12:00"], tz="America/New_York").ns.tolist() == [NOON + 4 * HOUR_NS]
    # An offset in the text is worth more than the option.
    assert read(["2021-10-12T12:00Z"], tz="America/New_York").ns.tolist() == [NOON]
    with pytest.raises(InputError, match="unknown time zone"):
        read(naive, tz="Mars")


def test_hours_that_daylight_saving_makes_twice_or_never() -> None:
    stamps = read(["2021-03-14 02:30", "2021-11-07 01:30", "2021-11-07 03:30"], tz="America/New_York")
    assert stamps.fault.tolist() == [TWICE_OR_NEVER, TWICE_OR_NEVER, ""]


def test_typed_columns() -> None:
    aware = pa.array([NOON // 10**6], pa.timestamp("ms", "UTC"))
    assert read(aware).ns.tolist() == [NOON]
    days = read(pa.array([date(2021, 10, 12)]))
    assert (days.ns.tolist(), days.days) == ([parse_time("2021-10-12")], True)
    assert read(pa.array(["2021-10-12"]).dictionary_encode()).days
    with pytest.raises(InputError, match="can't be read as times"):
        read(pa.array([True]))


def test_whole_numbers_that_no_clock_reaches() -> None:
    """More than 63 bits: the column is named."""
    with pytest.raises(InputError, match="out of range"):
        read(pa.array([2**63 + 5], pa.uint64()))


def test_a_declared_form() -> None:
    stamps = read(["2017-08-17 04-AM", "2017-08-17 05-PM", "no"], form="%Y-%m-%d %I-%p", tz="UTC")
    assert stamps.ns[:2].tolist() == [parse_time("2017-08-17T04:00Z"), parse_time("2017-08-17T17:00Z")]
    assert stamps.fault.tolist() == ["", "", UNREADABLE]
    with pytest.raises(InputError, match="without a time zone"):
        read(["2017-08-17 04-AM"], form="%Y-%m-%d %I-%p")
    assert read(["12/10/2021 12:00 +0000"], form="%d/%m/%Y %H:%M %z").ns.tolist() == [NOON]
