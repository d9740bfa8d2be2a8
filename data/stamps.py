"""Time columns into nanoseconds UTC, without a guess that is not said and cannot be wrong.

Epoch numbers are UTC by definition; their unit is told from their size, and a column that holds several units is an
error. A written time needs an offset, or ``--tz`` for the clock it was read from. A bare date is a day of UTC (or of
``--tz``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import InputError
from data.times import MICROSECOND_NS, MILLISECOND_NS, SECOND_NS, parse_time, parse_zone

I8 = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

UNIT_NS = {"s": SECOND_NS, "ms": MILLISECOND_NS, "us": MICROSECOND_NS, "ns": 1}
_EARLIEST = parse_time("2005-01-01")
_LATEST = parse_time("2100-01-01")

_EPOCH = r"^-?\d+(\.\d*)?$"
_ISO = r"^(19|20|21)\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?"
_OFFSET = r"(Z|[+-]\d\d:?\d\d)$"
_DATE = r"^(19|20|21)\d\d-\d\d-\d\d$"
_MAIL = r"^([A-Za-z]{3}, )?\d{1,2} [A-Za-z]{3} \d{4} \d\d:\d\d"

NO_TIME = "no time"
UNREADABLE = "unreadable time"
OUT_OF_RANGE = "time out of range"
NO_HOUR = "a date without a time of day"
TWICE_OR_NEVER = "local time that daylight saving makes twice or never"


@dataclass(frozen=True)
class Stamps:
    """A time column read.

    Attributes
    ----------
    ns : int64 array of shape (n,)
        Nanoseconds UTC; 0 where ``fault`` is not empty.
    fault : object array of shape (n,)
        Why a row has no time, or the empty text.
    description : str
        What the column was taken for.
    days : bool
        True when it holds bare dates.
    """

    ns: I8
    fault: np.ndarray[Any, np.dtype[np.object_]]
    description: str
    days: bool = False


@dataclass(frozen=True)
class _Column:
    """A column with what the user said of it, and where to point in an error."""

    values: pa.Array
    number: I8
    key: str
    where: str
    unit: str | None
    zone: tzinfo | None
    form: str | None


def read_stamps(
    values: pa.ChunkedArray | pa.Array,
    number: I8,
    *,
    key: str,
    where: str,
    unit: str | None = None,
    tz: str | None = None,
    form: str | None = None,
) -> Stamps:
    """Nanoseconds UTC of a column of times.

    Parameters
    ----------
    values : Arrow array of shape (n,)
        Timestamps, dates, numbers or texts.
    number : int64 array of shape (n,)
        Row numbers, for errors.
    key, where : str
        Column and file, for errors.
    unit : {"s", "ms", "us", "ns"}, optional
        Of epoch numbers; found by their size when not given.
    tz : str, optional
        Zone of naive times.
    form : str, optional
        ``strptime`` format of written times.

    Raises
    ------
    InputError
        Naive times without ``tz``, several units in one column, a unit that can't be told, an unknown zone or unit.
    """
    if unit is not None and unit not in UNIT_NS:
        raise InputError("unknown unit", where=where, key="--unit", value=unit, remedy="One of s, ms, us, ns")
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    zone = None if tz is None else parse_zone(tz, key="--tz", where=where)
    column = _Column(values, number, key, where, unit, zone, form)
    given = values.type
    if pa.types.is_timestamp(given):
        return _timestamps(column)
    if pa.types.is_date(given):
        column = _replaced(column, pc.strftime(pc.cast(values, pa.timestamp("s")), format="%Y-%m-%d"))
        return _texts(column)
    if pa.types.is_integer(given):
        missing = ~_valid(values)
        try:
            whole = pc.fill_null(values, 0).cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowException as error:
            raise InputError(f"times out of range ({error})", where=where, key=key) from error
        return _epochs(column, whole, np.zeros(len(whole), dtype=np.int64), missing)
    if pa.types.is_floating(given) or pa.types.is_decimal(given):
        return _float_epochs(column)
    if pa.types.is_string(given) or pa.types.is_large_string(given):
        return _texts(_replaced(column, pc.utf8_trim_whitespace(values.cast(pa.string()))))
    raise InputError(f"a column of {given} can't be read as times", where=where, key=key)


def _replaced(column: _Column, values: pa.Array) -> _Column:
    return _Column(values, column.number, column.key, column.where, column.unit, column.zone, column.form)


def _timestamps(column: _Column) -> Stamps:
    values, missing = column.values, ~_valid(column.values)
    fault = _faults(len(values), missing, NO_TIME)
    try:
        wall = values.cast(pa.timestamp("ns", values.type.tz), safe=True)
    except pa.ArrowException as error:
        raise InputError(f"times out of range ({error})", where=column.where, key=column.key) from error
    ns = pc.fill_null(wall.cast(pa.int64()), 0).to_numpy(zero_copy_only=False).copy()
    if values.type.tz is not None:
        return Stamps(ns, fault, f"timestamps in {values.type.tz}")
    if column.zone is None:
        _naive_error(column, pc.invert(pc.is_null(values)))
    return _localised(column, ns, ~missing, fault, f"timestamps read in {column.zone}")


def _float_epochs(column: _Column) -> Stamps:
    numbers = pc.fill_null(column.values.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    missing = ~np.isfinite(numbers)
    filled = np.where(missing | (np.abs(np.nan_to_num(numbers)) > 9e18), 0.0, numbers)
    whole = np.floor(filled)
    # A double holds unix seconds to about 0.2 microseconds: finer digits are noise.
    billionths = np.rint((filled - whole) * 1e6).astype(np.int64) * 1000
    return _epochs(column, whole.astype(np.int64), billionths, missing)


def _texts(column: _Column) -> Stamps:
    values = column.values
    empty = pc.fill_null(pc.or_(pc.is_null(values), pc.equal(values, "")), True)
    texts = pc.fill_null(values, "")
    if column.form is not None:
        return _formatted(column, texts, empty)
    numeric = pc.match_substring_regex(texts, _EPOCH)
    if pc.sum(numeric).as_py() or 0:
        if 2 * (pc.sum(numeric).as_py() or 0) >= len(texts) - (pc.sum(empty).as_py() or 0):
            return _text_epochs(column, texts, numeric, empty)
    return _written(column, texts, empty)


def _text_epochs(column: _Column, texts: pa.Array, numeric: pa.Array, empty: pa.Array) -> Stamps:
    sane = pc.and_(numeric, pc.less_equal(pc.utf8_length(texts), 40))
    plain = pc.if_else(sane, texts, "0")
    whole_text = pc.replace_substring_regex(plain, r"\.\d*$", "")
    sane = pc.and_(sane, pc.less_equal(pc.utf8_length(whole_text), 18 + 1))
    whole = pc.if_else(sane, whole_text, "0").cast(pa.int64()).to_numpy(zero_copy_only=False)
    digits = pc.replace_substring_regex(plain, r"^[^.]*\.?", "")
    digits = pc.utf8_slice_codeunits(pc.binary_join_element_wise(digits, pa.scalar("000000000"), pa.scalar("")), 0, 9)
    billionths = digits.cast(pa.int64()).to_numpy(zero_copy_only=False)
    stamps = _epochs(column, whole, billionths, ~sane.to_numpy(zero_copy_only=False))
    fault = stamps.fault
    odd = pc.and_(pc.invert(numeric), pc.invert(empty)).to_numpy(zero_copy_only=False)
    fault[odd] = UNREADABLE
    return Stamps(stamps.ns, fault, stamps.description)


def _epochs(column: _Column, whole: I8, billionths: I8, missing: Mask) -> Stamps:
    """Epoch numbers; ``billionths`` of their unit come on top."""
    present = ~missing
    fits = {}
    for unit, unit_ns in UNIT_NS.items():
        fits[unit] = present & (whole >= _EARLIEST // unit_ns) & (whole < _LATEST // unit_ns)
    seen = [unit for unit in UNIT_NS if fits[unit].any()]
    if len(seen) > 1 or (column.unit is not None and seen not in ([], [column.unit])):
        raise _several_units(column, whole, fits, seen)
    if column.unit is None and not seen:
        raise _no_unit(column, whole, present)
    unit = column.unit or seen[0]
    unit_ns = UNIT_NS[unit]
    good = fits[unit]
    # A fraction of a unit: billionths * unit, in whole nanoseconds.
    ns = np.where(good, whole, 0) * unit_ns + np.where(good, billionths * unit_ns // 1_000_000_000, 0)
    fault = _faults(len(whole), missing, NO_TIME)
    fault[present & ~good] = OUT_OF_RANGE
    how = "as told" if column.unit else "told by their size"
    return Stamps(ns, fault, f"unix times in {unit} ({how})")


def _several_units(column: _Column, whole: I8, fits: dict[str, Mask], seen: list[str]) -> InputError:
    pieces = []
    for unit in seen:
        rows = column.number[fits[unit]]
        listed = ", ".join(str(row) for row in rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
        pieces.append(f"{unit} in rows {listed} (like {whole[fits[unit]][0]})")
    if len(seen) == 1:
        return InputError(
            f"the numbers look like {pieces[0]}, not {column.unit}",
            where=column.where,
            key=column.key,
            remedy=f"Leave --unit away, or say --unit {seen[0]}",
        )
    return InputError(
        "times in several units: " + "; ".join(pieces),
        where=column.where,
        key=column.key,
        remedy="Choose another time column with --map time=NAME, or split the file so that each has one unit",
    )


def _no_unit(column: _Column, whole: I8, present: Mask) -> InputError:
    if not present.any():
        return InputError("the column holds no times", where=column.where, key=column.key)
    example = int(whole[present][0])
    remedy = "Times before 2005 or after 2099 are not taken; choose another column with --map time=NAME"
    if 19_000_000 < example < 21_000_000:
        remedy = "It looks like a date written as a number: give its form, --time-format %Y%m%d"
    return InputError(
        "can't tell the unit of these times", where=column.where, key=column.key, value=example, remedy=remedy
    )


def _written(column: _Column, texts: pa.Array, empty: pa.Array) -> Stamps:
    """ISO 8601 and mail dates."""
    import pandas as pd

    texts = pc.replace_substring_regex(texts, r"\s*(UTC|GMT|z)$", "Z")
    iso = pc.match_substring_regex(texts, _ISO)
    zoned = pc.and_(iso, pc.match_substring_regex(texts, _ISO + r"\s*" + _OFFSET))
    naive = pc.and_(iso, pc.match_substring_regex(texts, _ISO + "$"))
    days = pc.match_substring_regex(texts, _DATE)
    if column.zone is None and pc.any(naive).as_py():
        _naive_error(column, naive)
    readable = pc.or_(pc.or_(zoned, naive), days)
    series = pc.if_else(readable, texts, pa.scalar(None, pa.string())).to_pandas()
    parsed = pd.to_datetime(series, format="ISO8601", utc=True, errors="coerce").dt.as_unit("ns")
    bad = parsed.isna().to_numpy()
    ns = parsed.fillna(pd.Timestamp(0, tz="UTC")).astype("int64").to_numpy().copy()
    fault = _faults(len(ns), bad, UNREADABLE)
    fault[empty.to_numpy(zero_copy_only=False)] = NO_TIME
    mail = pc.and_(pc.match_substring_regex(texts, _MAIL), pc.invert(readable)).to_numpy(zero_copy_only=False)
    for at in np.flatnonzero(mail):
        _mail(texts[int(at)].as_py(), int(at), ns, fault)
    wall = pc.or_(naive, days).to_numpy(zero_copy_only=False)
    timed = bool(pc.any(pc.or_(zoned, naive)).as_py()) or bool((mail & (fault == "")).any())
    only_days = not timed and bool(pc.any(days).as_py())
    if timed:
        fault[days.to_numpy(zero_copy_only=False)] = NO_HOUR
    what = "dates" if only_days else "written times"
    if column.zone is None:
        return Stamps(ns, fault, f"{what} in UTC" if only_days else f"{what} with offsets", only_days)
    stamps = _localised(column, ns, wall & (fault == ""), fault, f"{what} read in {column.zone}")
    return Stamps(stamps.ns, stamps.fault, stamps.description, only_days)


def _mail(text: str, at: int, ns: I8, fault: Any) -> None:
    """A mail date (RFC 2822), which carries its offset; ``-0000`` and none at all do not count as one."""
    try:
        moment = parsedate_to_datetime(text.replace("Z", " +0000"))
    except (ValueError, TypeError):
        return
    if moment.tzinfo is not None:
        ns[at] = int(moment.timestamp()) * SECOND_NS
        fault[at] = ""


def _formatted(column: _Column, texts: pa.Array, empty: pa.Array) -> Stamps:
    form = column.form or ""
    days = not any(mark in form for mark in ("%H", "%I", "%s", "%c", "%X", "%T", "%R"))
    zoned = "%z" in form or "%s" in form
    if column.zone is None and not days and not zoned:
        _naive_error(column, pc.invert(empty))
    cache: dict[object, int | None] = {}
    for text in pc.unique(texts).to_pylist():
        try:
            moment = datetime.strptime(str(text), form)
        except ValueError:
            cache[text] = None
            continue
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        cache[text] = round(moment.timestamp() * 1_000_000) * MICROSECOND_NS
    found = [cache[text] for text in texts.to_pylist()]
    bad = np.array([value is None for value in found], dtype=bool)
    ns = np.array([value or 0 for value in found], dtype=np.int64)
    fault = _faults(len(ns), bad, UNREADABLE)
    fault[empty.to_numpy(zero_copy_only=False)] = NO_TIME
    if column.zone is None or zoned:
        return Stamps(ns, fault, f"written as {form}", days)
    stamps = _localised(column, ns, ~bad, fault, f"written as {form}, read in {column.zone}")
    return Stamps(stamps.ns, stamps.fault, stamps.description, days)


def _localised(column: _Column, wall_ns: I8, which: Mask, fault: Any, description: str) -> Stamps:
    """Wall-clock nanoseconds of the chosen rows to UTC by the declared zone."""
    zone = column.zone
    if isinstance(zone, ZoneInfo):
        wall = pa.array(wall_ns).cast(pa.timestamp("ns"))
        chances = [
            pc.assume_timezone(wall, zone.key, ambiguous=side, nonexistent=side).cast(pa.int64()).to_numpy()
            for side in ("earliest", "latest")
        ]
        torn = which & (chances[0] != chances[1])
        ns = np.where(which, chances[0], wall_ns)
        fault[torn] = TWICE_OR_NEVER
    else:
        offset = zone.utcoffset(None) if zone is not None else None
        shift = 0 if offset is None else round(offset.total_seconds()) * SECOND_NS
        ns = np.where(which, wall_ns - shift, wall_ns)
    ns[fault != ""] = 0
    return Stamps(ns, fault, description)


def _naive_error(column: _Column, naive: pa.Array) -> None:
    rows = np.flatnonzero(pc.fill_null(naive, False).to_numpy(zero_copy_only=False))
    if len(rows) == 0:
        return
    raise InputError(
        f"{len(rows)} times without a time zone (first in row {column.number[rows[0]]})",
        where=column.where,
        key=column.key,
        value=str(column.values[int(rows[0])].as_py()),
        remedy="Say which clock wrote them: --tz UTC, --tz +02:00 or --tz America/New_York",
    )


def _faults(rows: int, mask: Mask, reason: str) -> np.ndarray[Any, np.dtype[np.object_]]:
    fault = np.full(rows, "", dtype=object)
    fault[mask] = reason
    return fault


def _valid(values: pa.Array) -> Mask:
    mask: Mask = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return mask
