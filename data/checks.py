"""What makes a bar unusable, found the same way in a file and in an exchange's answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from data.quality import WRONG_FACTOR, find_spikes
from data.times import DAY_NS, WEEK_NS, format_duration

F8 = np.ndarray[Any, np.dtype[np.float64]]
I8 = np.ndarray[Any, np.dtype[np.int64]]
Faults = np.ndarray[Any, np.dtype[np.object_]]

UNFINISHED = "not finished when it was brought in"
OFF_GRID = "opens off the grid"
SPIKE = "a spike that reverts within one bar (bad tick)"


def bar_faults(open_ns: I8, prices: tuple[F8, F8, F8, F8], volume: F8, interval_ns: int, now_ns: int) -> Faults:
    """Why each bar can't be used, the first reason found; the empty text where it can.

    Parameters
    ----------
    open_ns : int64 array of shape (n,)
    prices : open, high, low, close, float64 arrays of shape (n,)
    volume : float64 array of shape (n,)
    interval_ns : int
    now_ns : int
        A bar that closes after this is not finished.

    Returns
    -------
    object array of shape (n,)
    """
    names = ("open", "high", "low", "close")
    fault: Faults = np.full(len(open_ns), "", dtype=object)

    def blame(mask: Any, reason: str) -> None:
        fault[mask & (fault == "")] = reason

    for name, values in zip((*names, "volume"), (*prices, volume), strict=True):
        blame(np.isnan(values), f"{name} is missing")
        blame(np.isinf(values), f"{name} is infinite")
    for name, values in zip(names, prices, strict=True):
        blame(values == 0, f"{name} is zero")
        blame(values < 0, f"{name} is negative")
    blame(volume < 0, "volume is negative")
    opened, high, low, close = prices
    blame(high < low, "high below low")
    blame((high < opened) | (high < close) | (low > opened) | (low > close), "high and low do not bound open and close")
    blame(off_grid(open_ns, interval_ns), f"{OFF_GRID} of {format_duration(interval_ns)}")
    blame(open_ns > now_ns - interval_ns, UNFINISHED)
    return fault


def off_grid(open_ns: I8, interval_ns: int) -> Any:
    """Mask of bars that open between two grid steps.

    Grids up to a day count from midnight UTC, weeks from Monday; for other spans of days exchanges differ, so there the
    commonest phase of the bars themselves is the grid.
    """
    phase = open_ns % interval_ns
    if interval_ns <= DAY_NS:
        return phase != 0
    if interval_ns == WEEK_NS:
        return phase != 4 * DAY_NS
    values, counts = np.unique(phase, return_counts=True)
    return phase != values[np.argmax(counts)]


def spike_faults(open_ns: I8, prices: tuple[F8, F8, F8, F8]) -> Any:
    """Mask of bad ticks among sound bars, in the order given (see `data.quality.find_spikes`)."""
    order = np.argsort(open_ns, kind="stable")
    mask = np.zeros(len(open_ns), dtype=bool)
    opened, high, low, close = (values[order] for values in prices)
    mask[order] = find_spikes(opened, high, low, close, factor=WRONG_FACTOR)
    return mask
