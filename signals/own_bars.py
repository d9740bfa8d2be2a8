"""A signal's own bars: the run's bars that are there, or coarser ones put together from them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from data.times import floor_time
from signals import kernels_bars, ops
from signals.inputs import PRICES, Array, Inputs
from signals.own import BarFact


def closed_bars(slab: Array, ticks: Array, at: int, length: int, bar: BarFact) -> list[BarFact]:
    """Coarser bars that closed when a bar came: none, that which it ends, and before that one which was left open."""
    if length == 0:
        return [bar]
    closed = []
    if kernels_bars.bucket_due(ticks, at, length, bar.close_ns):
        closed.append(_bucket(slab, ticks, at))
    if kernels_bars.bucket_add(slab, ticks, at, length, *bar):
        closed.append(_bucket(slab, ticks, at))
    return closed


def _bucket(slab: Array, ticks: Array, at: int) -> BarFact:
    end_ns = int(ticks[at + ops.S_END])
    ticks[at + ops.S_END] = 0
    return BarFact(end_ns, *(float(x) for x in slab[at + ops.S_OPEN : at + ops.S_VOLUME + 1]))


def own_bars(inputs: Inputs, k: int, length: int) -> tuple[Array, Array, Array]:
    """Closed bars of one symbol that are there, put together to bars of `length` unless that is 0.

    Gives their ends i8[n], prices f8[n, 5] and the run's bar with which each was closed, i8[n]. A coarser bar whose
    last part is missing closes when the next bar comes: until then its symbol has no bar anyway.
    """
    kept = inputs.__dict__.setdefault("_own_bars", {})
    if (k, length) in kept:
        return cast(tuple[Array, Array, Array], kept[k, length])
    if length == 0:
        at_bar = np.flatnonzero(np.isfinite(inputs.close[:, k]))
        prices = np.column_stack([getattr(inputs, name)[at_bar, k] for name in PRICES])
        found = inputs.close_ns[at_bar], prices, at_bar
    else:
        end_ns, prices, at_bar = own_bars(inputs, k, 0)
        slab = np.zeros(ops.BAR_HEAD)
        ends, coarse, last = np.empty_like(end_ns), np.empty_like(prices), np.empty_like(at_bar)
        count = kernels_bars.coarse_bars(slab, slab.view(np.int64), length, end_ns, prices, ends, coarse, last)
        found = ends[:count], coarse[:count], at_bar[last[:count]]
    kept[k, length] = found
    return found


def last_bars(inputs: Inputs, k: int, length: int) -> Array:
    """Which of a symbol's own bars was the last to have closed at each decision, i8[d]; -1 for none."""
    kept = inputs.__dict__.setdefault("_last_bars", {})
    if (k, length) not in kept:
        at_bar = own_bars(inputs, k, length)[2]
        places = len(inputs.close_ns) + 1  # the first is for "no bar yet"
        closed = np.cumsum(np.bincount(at_bar + 1, minlength=places)) - 1
        kept[k, length] = closed[inputs.decide_bar + 1]
    return cast(Array, kept[k, length])


def coarse_end(now_ns: Any, length: int) -> Any:
    """End of the last coarser bar that can have closed at a time, or at each of many."""
    return floor_time(now_ns, length)


def stretches(end_ns: Array, restart_ns: int) -> list[tuple[int, int]]:
    """Begin and end of runs of bars without a silence longer than `restart_ns`; one run when that is 0."""
    if not len(end_ns):
        return []
    silent = np.flatnonzero(np.diff(end_ns) > restart_ns) + 1 if restart_ns else np.empty(0, np.int64)
    starts = [0, *silent.tolist()]
    return list(zip(starts, [*starts[1:], len(end_ns)], strict=True))
