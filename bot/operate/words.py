"""Figures, ages and times as people read them."""

from __future__ import annotations

import math
from typing import Any

from data.times import HOUR_NS, MINUTE_NS, SECOND_NS, format_duration, format_time

NONE = "–"


def plain(entry: dict[str, Any]) -> str:
    """Plain values in a line; those inside another table in brackets."""
    return "   ".join(f"{words(name)} {figure(value)}" for name, value in entry.items())


def words(name: str) -> str:
    """A key as words."""
    return str(name).replace("_", " ")


def figure(value: Any) -> str:
    """A value as people read it, no digit invented; what isn't there is a dash."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.8f}".rstrip("0").rstrip(".") if 1e-8 <= abs(value) < 1e15 else f"{value:g}"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{words(name)} {figure(each)}" for name, each in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return ", ".join(figure(each) for each in value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def number(value: Any) -> float:
    """A figure, or NaN."""
    return float(value) if isinstance(value, (int, float)) else float("nan")


def money(value: Any, *, signed: bool = False) -> str:
    """An amount with two digits."""
    amount = number(value)
    return NONE if math.isnan(amount) else f"{amount:{'+' if signed else ''},.2f}"


def share(value: Any) -> str:
    """A share as a percentage."""
    part = number(value)
    return NONE if math.isnan(part) else f"{part:.1%}"


def moment(ns: Any) -> str:
    """A time to the second."""
    return format_time(int(ns) // SECOND_NS * SECOND_NS) if isinstance(ns, int) and ns > 0 else NONE


def age(ns: int) -> str:
    """A span, to the second below an hour and to the minute above."""
    step = SECOND_NS if ns < HOUR_NS else MINUTE_NS
    return format_duration(max(ns, 0) // step * step)


def age_s(value: Any) -> str:
    """An age in seconds as text; of what never came, "never"."""
    seconds = number(value)
    if math.isnan(seconds):
        return NONE
    if math.isinf(seconds):
        return "never"
    return f"{seconds:.1f}s" if seconds < 60 else age(int(seconds * 1e9))
