"""Durations and instants as int64 nanoseconds UTC: the only clock face Tidegate knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from data.errors import InputError

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
WEEK_NS = 7 * DAY_NS

Span = tuple[int, int]

_UNITS = {
    "ns": 1,
    "us": MICROSECOND_NS,
    "ms": MILLISECOND_NS,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": HOUR_NS,
    "d": DAY_NS,
    "w": WEEK_NS,
}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_PIECE.pattern})+")
_INSTANT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?"
    r"\s*(Z|z|UTC|[+-]\d{2}:?\d{2})?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64_MAX = 2**63 - 1


def parse_duration(text: str, *, key: str | None = None, where: str | None = None) -> int:
    """Nanoseconds of a duration such as ``6h``, ``1d``, ``200ms`` or ``1h30m``.

    Parameters
    ----------
    text : str
        One or more numbers, each with its unit: ns, us, ms, s, m (minutes), h, d, w. ``0`` needs no unit.
    key, where : str, optional
        Named in the error.

    Raises
    ------
    InputError
        When the text isn't a duration, or is not a whole number of nanoseconds.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0
    if not _DURATION.fullmatch(stripped):
        raise InputError(
            "not a duration",
            where=where,
            key=key,
            value=text,
            remedy="Write a number and a unit (ns, us, ms, s, m, h, d, w), for example 200ms, 90s, 6h or 1d",
        )
    total = 0
    for number, unit in _PIECE.findall(stripped):
        whole, _, fraction = number.partition(".")
        scale = 10 ** len(fraction)
        part, rest = divmod(int(whole + fraction) * _UNITS[unit], scale)
        if rest:
            raise InputError("finer than a nanosecond", where=where, key=key, value=text)
        total += part
    if total > _INT64_MAX:
        raise InputError("longer than 292 years", where=where, key=key, value=text)
    return total


def format_duration(duration_ns: int) -> str:
    """Shortest exact text of a duration: ``1h30m``, ``1d``, ``200ms``; ``0s`` for none; weeks are written as days."""
    if duration_ns == 0:
        return "0s"
    sign, rest = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    pieces = []
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            pieces.append(f"{count}{unit}")
    return sign + "".join(pieces)


def parse_zone(text: str, *, key: str | None = None, where: str | None = None) -> tzinfo:
    """Time zone from ``UTC``, an offset such as ``+02:00``, or an IANA name such as ``America/New_York``.

    Raises
    ------
    InputError
        When no such zone is known.
    """
    stripped = text.strip()
    if stripped in ("UTC", "Z", "utc"):
        return UTC
    offset = re.fullmatch(r"([+-])(\d{2}):?(\d{2})", stripped)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes))
    try:
        return ZoneInfo(stripped)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            "unknown time zone",
            where=where,
            key=key,
            value=text,
            remedy="Write UTC, an offset such as +02:00, or a name such as America/New_York",
        ) from error


def parse_time(text: str, *, tz: tzinfo | None = None, key: str | None = None, where: str | None = None) -> int:
    """Nanoseconds UTC of an ISO 8601 date or time.

    A bare date is that day's midnight (UTC, or in ``tz``). A time of day without an offset is naive and refused
    unless ``tz`` says where its clock hung.

    Raises
    ------
    InputError
        When the text isn't an ISO date or time, or is naive.
    """
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise InputError(
            "not an ISO date or time",
            where=where,
            key=key,
            value=text,
            remedy="Write 2021-10-12 or 2021-10-12T20:00Z",
        )
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    zone = _zone_of(text, hour, offset, tz, key, where)
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=zone
        )
    except ValueError as error:
        raise InputError(f"not a real date or time ({error})", where=where, key=key, value=text) from error
    elapsed = moment - _EPOCH
    whole_ns = (elapsed.days * 86_400 + elapsed.seconds) * SECOND_NS
    nanoseconds = whole_ns + int((fraction or "0").ljust(9, "0"))
    if abs(nanoseconds) > _INT64_MAX:
        raise InputError("outside the years 1678 to 2262", where=where, key=key, value=text)
    return nanoseconds


def _zone_of(
    text: str, hour: str | None, offset: str | None, tz: tzinfo | None, key: str | None, where: str | None
) -> tzinfo:
    if offset:
        return UTC if offset in ("Z", "z", "UTC") else parse_zone(offset, key=key, where=where)
    if tz is not None:
        return tz
    if hour is None:
        return UTC
    raise InputError(
        "a time without a time zone", where=where, key=key, value=text, remedy="Add Z for UTC, or an offset like +02:00"
    )


def format_time(instant_ns: int) -> str:
    """ISO text in UTC with no more digits than needed: ``2021-10-12 20:00Z``, ``2021-10-12 20:00:01.5Z``."""
    seconds, fraction = divmod(int(instant_ns), SECOND_NS)
    moment = _EPOCH + timedelta(seconds=seconds)
    text = moment.strftime("%Y-%m-%d %H:%M")
    if moment.second or fraction:
        text += f":{moment.second:02d}"
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


def format_date(instant_ns: int) -> str:
    """The UTC day an instant lies in: ``2021-10-12``."""
    return (_EPOCH + timedelta(seconds=int(instant_ns) // SECOND_NS)).strftime("%Y-%m-%d")


def floor_time(instant_ns: int, step_ns: int) -> int:
    """Start of the grid step that contains an instant; weeks start on Monday, all else counts from the epoch."""
    origin = 4 * DAY_NS if step_ns % WEEK_NS == 0 else 0
    return (instant_ns - origin) // step_ns * step_ns + origin


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Half-open spans as few, ascending and disjoint ones."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if first >= last:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def subtract_spans(spans: Iterable[Span], taken: Sequence[Span]) -> list[Span]:
    """What is left of spans without the taken ones (ascending, disjoint)."""
    left: list[Span] = []
    for first, last in spans:
        cursor = first
        for begin, end in taken:
            if end <= cursor or begin >= last:
                continue
            if begin > cursor:
                left.append((cursor, begin))
            cursor = end
        if cursor < last:
            left.append((cursor, last))
    return left


def windows_of(spans: Sequence[Span], longest_ns: int, grain_ns: int) -> list[Span]:
    """Spans gathered into at most so long ones, cut at that length, so that many small ones cost few requests."""
    windows: list[Span] = []
    for first, last in spans:
        cursor = first
        while cursor < last:
            if windows and min(last, cursor + grain_ns) - windows[-1][0] <= longest_ns:
                reach = min(last, windows[-1][0] + longest_ns)
                windows[-1] = (windows[-1][0], reach)
            else:
                reach = min(last, cursor + longest_ns)
                windows.append((cursor, reach))
            cursor = reach
    return windows
