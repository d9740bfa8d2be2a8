"""Funding, open interest and long/short ratios as ccxt's rows tell them, and which metrics they become.

- `funding_rate`, per funding interval as a share (0.0001 is 0.01 %), positive when longs pay. `event_ns` is the funding
  time, on the whole minute: some exchanges stamp it milliseconds later.
- `open_interest` in base units and `open_interest_value` in quote, where the exchange tells it.
- `long_short_ratio`: accounts that are long for each that is short.

Exchanges stamp the latter two per interval and don't say whether with its start or its end. It is taken for the start:
`event_ns` is an interval after the stamp. If the stamp was the end, a value is an interval staler than it could be, and
never too early.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from data.quality import I8
from data.times import HOUR_NS, MINUTE_NS, SECOND_NS, floor_time

What = Literal["funding", "open_interest", "long_short_ratio"]

LAG_NS: Final = 5 * MINUTE_NS
SNAP_NS: Final = 5 * SECOND_NS
USUAL_FUNDING_NS: Final = 8 * HOUR_NS
SHORTEST_FUNDING_NS: Final = HOUR_NS
AROUND: Final = 9
STAMP_DIGITS: Final = 13

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "funding": ("funding_rate",),
    "open_interest": ("open_interest", "open_interest_value"),
    "long_short_ratio": ("long_short_ratio",),
}
ABILITIES: Final[Mapping[str, str]] = {
    "funding": "fetchFundingRateHistory",
    "open_interest": "fetchOpenInterestHistory",
    "long_short_ratio": "fetchLongShortRatioHistory",
}
PAGES: Final[Mapping[tuple[str, str], int]] = {
    ("binance", "funding"): 1000,
    ("binance", "open_interest"): 500,
    ("binance", "long_short_ratio"): 500,
    ("bybit", "funding"): 200,
    ("bybit", "open_interest"): 200,
    ("bybit", "long_short_ratio"): 500,
}
"""Rows that an exchange gives at once, as its documentation says; elsewhere 100."""

PAGE: Final = 100


def read_values(what: str, row: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """Values by metric of a row as ccxt gives it, and what is wrong with it: empty for a sound one."""
    if what == "funding":
        rate = _number(row.get("fundingRate"))
        return {"funding_rate": rate}, "" if abs(rate) < 1.0 else "not a funding rate"
    if what == "long_short_ratio":
        ratio = _number(row.get("longShortRatio"))
        return {"long_short_ratio": ratio}, "" if 0.0 <= ratio < math.inf else "not a ratio"
    amount, value = _number(row.get("openInterestAmount")), _number(row.get("openInterestValue"))
    told = {"open_interest": amount, "open_interest_value": value}
    values = {name: number for name, number in told.items() if number == number}
    sound = values and all(0.0 <= number < math.inf for number in values.values())
    return values, "" if sound else "not an open interest"


def check_nothing(answer: object, since_ms: int, until_ms: int) -> None:
    """Raise ValueError for an answer that holds rows of the span, although ccxt found none: it leaves out silently
    what it can't date.
    """
    for row in _rows_in(json.loads(str(answer))):
        stamps = [int(text) for text in map(str, row) if text.isdigit() and len(text) == STAMP_DIGITS]
        if not stamps or any(since_ms <= stamp <= until_ms for stamp in stamps):
            raise ValueError("rows whose times aren't where they were")


def snap(stamp_ns: int) -> int:
    """A funding time on its whole minute; exchanges stamp some of them milliseconds later."""
    minute = floor_time(stamp_ns + MINUTE_NS // 2, MINUTE_NS)
    return minute if abs(stamp_ns - minute) <= SNAP_NS else stamp_ns


def local_steps(events: I8) -> I8:
    """The usual distance around each distance of ascending times, by the median of nine: intervals change with time.

    Returns
    -------
    int64 array of shape (n - 1,)
    """
    steps = np.diff(events)
    if len(steps) < 2:
        return np.full(len(steps), USUAL_FUNDING_NS)
    half = AROUND // 2
    padded = np.pad(steps, half, mode="reflect" if len(steps) > half else "edge")
    found: I8 = np.median(np.lib.stride_tricks.sliding_window_view(padded, AROUND), axis=1).astype(np.int64)
    return found


def _rows_in(loaded: Any) -> list[list[Any]]:
    """Values of the rows in the first list of an answer that has any."""
    if isinstance(loaded, dict):
        return next((rows for below in loaded.values() if (rows := _rows_in(below))), [])
    if isinstance(loaded, list):
        return [list(row.values()) if isinstance(row, dict) else row for row in loaded if isinstance(row, (dict, list))]
    return []


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
