"""Measures of an equity curve in calendar time: crypto markets never close, a year has 365.25 days and a day 24 hours.

All times are int64 nanoseconds UTC. A curve is its bar closes `close_ns` and values `equity`; before the first close it
stood at `initial`, since `start_ns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DAY_NS = 86_400 * 10**9
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class Drawdown:
    """The deepest fall from a high, seen at bar closes (a low inside a bar is deeper)."""

    depth: float  # share of the high, 0.25 = a quarter lost
    peak_ns: int
    trough_ns: int
    recovered_ns: int | None  # None: not recovered at the end
    length_ns: int  # from the high to recovery, or to the end
    longest_ns: int  # longest time under any high, which may be another fall


@dataclass(frozen=True)
class Month:
    """Return of one UTC month; partial when the run covers only a part of it."""

    year: int
    month: int
    value: float | None
    partial: bool


def filled(values: Array) -> Array:
    """`values` with each NaN replaced by the last number before it; leading NaN stay. f8[n]."""
    known = np.isfinite(values)
    if known.all():
        return values
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    found: Array = np.where(last >= 0, values[np.maximum(last, 0)], np.nan)
    return found


def value_at(times: Array, close_ns: Array, equity: Array, initial: float) -> Array:
    """The curve's value as known at each of `times`: its last close at or before, `initial` when there is none yet."""
    place = np.searchsorted(close_ns, times, side="right") - 1
    found: Array = np.where(place >= 0, equity[np.maximum(place, 0)], initial)
    return found


def sampled_returns(
    close_ns: Array, equity: Array, initial: float, start_ns: int, bar_ns: int
) -> tuple[Array, str, float]:
    """Simple returns between UTC midnights (bars longer than a day: between closes), what that is, and samples a year.

    Days that the run covers only in part are left out. Once the value is 0 or below, the series ends with that day's
    -100 %.
    """
    if bar_ns > DAY_NS:
        days = bar_ns / DAY_NS
        values = np.r_[initial, equity]
        return _returns(values), f"{days:g}-day bars", YEAR_DAYS / days
    first = -(-start_ns // DAY_NS)
    last = int(close_ns[-1]) // DAY_NS
    midnights = np.arange(first, last + 1, dtype=np.int64) * DAY_NS
    values = value_at(midnights, close_ns, equity, initial)
    return _returns(values), "daily closes at 00:00 UTC", YEAR_DAYS


def _returns(values: Array) -> Array:
    if len(values) < 2:
        return np.zeros(0)
    dead = np.flatnonzero(~(values > 0.0))
    if len(dead):
        values = values[: dead[0] + 1].copy()
        values[-1] = 0.0
        if len(values) < 2:
            return np.zeros(0)
    found: Array = values[1:] / values[:-1] - 1.0
    return found


def drawdown(close_ns: Array, equity: Array, initial: float, start_ns: int) -> Drawdown:
    """The deepest fall and how long it lasted; the starting value counts as the first high."""
    times = np.r_[np.int64(start_ns), close_ns]
    values = np.r_[initial, equity]
    highs = np.maximum.accumulate(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        fallen = np.where(highs > 0.0, 1.0 - values / highs, 0.0)
    trough = int(np.argmax(fallen))
    at_high = np.flatnonzero(values >= highs)
    if fallen[trough] <= 0.0:
        return Drawdown(0.0, int(times[-1]), int(times[-1]), int(times[-1]), 0, 0)
    peak = int(at_high[at_high <= trough][-1])
    later = np.flatnonzero(values[trough:] >= highs[trough])
    recovered = int(times[trough + later[0]]) if len(later) else None
    end = int(times[-1]) if recovered is None else recovered
    length = end - int(times[peak])
    longest = _longest_under(times, fallen)
    return Drawdown(float(fallen[trough]), int(times[peak]), int(times[trough]), recovered, length, longest)


def _longest_under(times: Array, fallen: Array) -> int:
    """Longest stretch from a high to the return to it (or the end), counting only stretches that fell."""
    high = np.flatnonzero(fallen <= 0.0)
    bounds = np.r_[high, len(fallen) - 1]
    steps = np.diff(bounds)
    falls = steps > 1
    falls[-1:] |= fallen[-1] > 0.0
    if not falls.any():
        return 0
    return int((times[bounds[1:]] - times[bounds[:-1]])[falls].max())


def monthly(close_ns: Array, equity: Array, initial: float, start_ns: int) -> list[Month]:
    """Returns by UTC calendar month from the curve's value at the month's two ends."""
    end_ns = int(close_ns[-1])
    first = np.datetime64(start_ns, "ns").astype("datetime64[M]")
    last = np.datetime64(max(end_ns - 1, start_ns), "ns").astype("datetime64[M]")
    edges = np.arange(first, last + np.timedelta64(2, "M"))
    bounds = edges.astype("datetime64[ns]").astype(np.int64)
    values = value_at(np.clip(bounds, start_ns, end_ns), close_ns, equity, initial)
    months = []
    for place, edge in enumerate(edges[:-1]):
        before, after = float(values[place]), float(values[place + 1])
        partial = bool(bounds[place] < start_ns or bounds[place + 1] > end_ns)
        year, month = (int(part) for part in str(edge).split("-"))
        months.append(Month(year, month, after / before - 1.0 if before > 0.0 else None, partial))
    return months


def buy_and_hold(close: Array, close_ns: Array, decide_ns: int, initial: float, cost: float) -> Array:
    """Value of all symbols in equal weight, bought at the first decision's close; `cost` (a fraction) paid once. f8[n].

    A symbol without a price then is bought at its first one; its share waits in cash. Weights are never rebalanced.
    """
    count, symbols = close.shape
    value = np.zeros(count)
    start = max(int(np.searchsorted(close_ns, decide_ns, side="right")) - 1, 0)
    for k in range(symbols):
        column = filled(close[:, k])
        share = initial / symbols
        known = np.flatnonzero(np.isfinite(column[start:]) & (column[start:] > 0.0))
        if len(known) == 0:
            value += share
            continue
        bought = start + int(known[0])
        value[:bought] += share
        value[bought:] += share * (1.0 - cost) * column[bought:] / column[bought]
    return value
