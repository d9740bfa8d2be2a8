"""From a run's inputs to the tape of its events: signal values, unusual bars, risk bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backtest.crowd import guard_limits, looked_at, mark_floods
from backtest.feed import Feed, follows
from backtest.grid import Grid
from backtest.load import RunInputs
from backtest.spec import RunSpec
from backtest.tape import Tape
from risk.novelty import fresh_memory, watch
from risk.records import Array
from signals import ops
from signals.history import dense, evaluate
from signals.signal import Signal

BATCH = 256  # symbols, over several rows, that a weigh is asked about in one call: what fits the fastest cache


def fed_tape(spec: RunSpec, inputs: RunInputs, *, blind: bool) -> Tape | None:
    """The tape of a run whose values are made while it goes on; None where that can't be."""
    strategy, seen, bars, first = spec.strategy, inputs.signals, inputs.bars, inputs.first
    if not follows(bars, seen, first) or inputs.late[first:].any() or looked_at(spec):
        return None
    plan = dense(strategy.signals, seen, max_age_ns=spec.limits.signal_age_ns)
    if plan is None:
        return None
    z, v = spec.limits.novelty_return_z, spec.limits.novelty_volume_z
    feed = Feed(
        (seen.close, seen.volume), first, len(strategy.signals) + (0 if blind else 1), averages=plan.averages,
        copies=dict.fromkeys(plan.closes, bars.close),
        novelty=(float(z), float(v)) if np.isfinite(z) or np.isfinite(v) else None,
    )  # fmt: skip
    strange = np.zeros(bars.close.shape, np.uint8)
    return tape_of(
        spec, inputs, feed.arrays["room"], plan.states[first:], strange, strategy.param_record(), blind=blind, feed=feed
    )


def known_values(spec: RunSpec, inputs: RunInputs, bound: Mapping[str, Signal]) -> tuple[Array, Array]:
    """(values f8[d, M, S + 1], states u1[d, M]) of signals at the run's decisions; a bar that came late is no bar."""
    guard = guard_limits(spec.limits)
    rows, states = evaluate(bound, inputs.signals, max_age_ns=spec.limits.signal_age_ns, guard=guard)
    rows, states = rows[inputs.first :], states[inputs.first :]
    late = inputs.late[inputs.first :]
    if late.any():
        states[late & (states == ops.OK)] = ops.NO_BAR
    return rows, states


def tape_of(
    spec: RunSpec,
    inputs: RunInputs,
    rows: Array,
    states: Array,
    strange: Array,
    params: Array,
    *,
    full: bool = True,
    late: bool = False,
    blind: bool = False,
    feed: Feed | None = None,
) -> Tape:
    """The tape of a run's events with these signal values."""
    bars = inputs.bars
    ladder_moves = risk_bars(bars, spec.risk_bar_ns)
    return Tape(
        open_ns=bars.open_ns,
        close_ns=bars.close_ns,
        prices=bars.prices,
        decides=bars.decides,
        risk_bar=ladder_moves,
        decide_ns=np.ascontiguousarray(inputs.signals.decide_ns[inputs.first :]),
        rows=np.ascontiguousarray(rows),
        states=np.ascontiguousarray(states),
        funding=inputs.funding,
        params=params,
        strange=strange,
        full=full,
        late=late,
        blind=blind,
        feed=feed,
        batch=BATCH if spec.strategy.form == "weigh" else 0,
    )


def risk_bars(bars: Grid, risk_ns: int) -> Array:
    """u1[n]: 1 where a risk bar of that length ends; without a length the decision bars are the risk bars.

    Where the bar at a boundary is missing, the next one stands for it.
    """
    if not risk_ns:
        return bars.decides
    parts = bars.close_ns // risk_ns
    before = np.r_[bars.open_ns[0] // risk_ns, parts[:-1]]
    ended: Array = (parts > before).astype(np.uint8)
    return ended


def unusual(spec: RunSpec, inputs: RunInputs) -> Array:
    """u1[b, M]: decision bars of the run that control 23 calls unusual, warmed up on the bars before it, and in which
    control 21 saw a flood.
    """
    seen = inputs.signals
    strange = np.zeros(seen.close.shape, np.uint8)
    z, v = spec.limits.novelty_return_z, spec.limits.novelty_volume_z
    if np.isfinite(z) or np.isfinite(v):
        watch(fresh_memory(len(spec.symbols)), seen.close, seen.volume, float(z), float(v), strange)
    mark_floods(spec, inputs, strange)
    flags: Array = np.ascontiguousarray(strange[len(strange) - int(inputs.bars.decides.sum()) :])
    return flags
