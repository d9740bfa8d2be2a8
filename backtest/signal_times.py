"""Decisions on a regular line of time: what could be earned after each, what the price did before, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from backtest.load import RunInputs
from backtest.spec import RunSpec
from data.errors import InputError
from data.times import DAY_NS, HOUR_NS, format_duration
from risk.records import Array
from signals import ops

HORIZONS_NS = tuple(HOUR_NS * n // 4 for n in (1, 4, 16, 48, 96, 288, 672))  # 15m 1h 4h 12h 1d 3d 7d
HORIZONS_MOST = 5
LEAST_STRETCHES = 60  # of a horizon in the span: fewer returns that don't overlap say nothing
SLOTS_MOST = 20_000


@dataclass(frozen=True)
class Timeline:
    """Slots of equal length; a slot without a decision stays empty. Long spans of short bars are thinned.

    at: i8[d], each decision's bar counted from the first; stride: bars from one slot to the next.
    """

    ns: Array  # i8[N], the slots' times
    at: Array
    stride: int
    step_ns: int
    decisions: int  # among the slots

    @classmethod
    def of(cls, inputs: RunInputs) -> Timeline:
        """The line of a run's decisions at closes."""
        decide, bar_ns = inputs.signals.decide_ns[inputs.first :], inputs.signals.bar_ns
        at = (decide - decide[0]) // bar_ns
        stride = -(-int(at[-1] + 1) // SLOTS_MOST)
        while DAY_NS % bar_ns == 0 and stride * bar_ns < DAY_NS and DAY_NS % (stride * bar_ns):
            stride += 1  # so that a slot keeps its hour of the day
        slots = np.arange(0, int(at[-1]) + 1, stride)
        return cls(decide[0] + slots * bar_ns, at, stride, stride * bar_ns, int(np.isin(slots, at).sum()))

    @property
    def day_slots(self) -> int:
        """Slots of a day; 1 where a day isn't a whole number of them."""
        return DAY_NS // self.step_ns if DAY_NS % self.step_ns == 0 else 1

    def slots(self, length_ns: int) -> int:
        """Slots that a length reaches over."""
        return -(-length_ns // self.step_ns)

    def spread(self, values: Array) -> Array:
        """Values of the decisions, f8[d, M], on the slots, f8[N, M]; NaN in those without one."""
        whole = np.full((int(self.at[-1]) + 1, values.shape[1]), np.nan)
        whole[self.at] = values
        return np.ascontiguousarray(whole[:: self.stride])


def usable_horizons(asked: Sequence[int] | None, bar_ns: int, span_ns: int) -> tuple[list[int], list[str]]:
    """Horizons in order, and notes on what was left out.

    Raises
    ------
    InputError
        One that was asked for is shorter than a bar, no multiple of it, or too long for the span; or none is short
        enough.
    """
    longest = span_ns // LEAST_STRETCHES
    for h in asked or ():
        if h < bar_ns or h % bar_ns:
            what = "a horizon is shorter than a bar" if h < bar_ns else "a horizon isn't a whole number of bars"
            raise InputError(
                what, key="--horizons", value=format_duration(h), remedy=f"Use multiples of {format_duration(bar_ns)}"
            )
        if h > longest:
            raise _too_short(h, span_ns, longest // bar_ns * bar_ns)
    if asked:
        return sorted(set(asked)), []
    fitting = [h for h in HORIZONS_NS if h % bar_ns == 0][:HORIZONS_MOST] or [bar_ns]
    kept = [h for h in fitting if h <= longest]
    if not kept:
        raise _too_short(fitting[0], span_ns, 0)
    left = ", ".join(format_duration(h) for h in fitting if h > longest)
    return kept, [f"the span is too short for a horizon of {left}"] if left else []


def _too_short(h: int, span_ns: int, most: int) -> InputError:
    remedy = f"{LEAST_STRETCHES} of them are the least: take a longer span"
    if most:
        remedy += f", or horizons up to {format_duration(most)}"
    what = f"the span of {span_ns / DAY_NS:,.1f} days is too short for this horizon"
    return InputError(what, key="--horizons", value=format_duration(h), remedy=remedy)


def forward_returns(spec: RunSpec, inputs: RunInputs, horizon_ns: int) -> Array:
    """Log return from the open at which an order of the decision would fill to that a horizon later, f8[d, M].

    The fill follows the venue's rule: never on the bar that was decided on, and not before delay and latency have
    passed, less the grace in which an open still stands. NaN where either open is missing for longer than a bar.
    """
    bars, bar_ns = inputs.bars, inputs.signals.bar_ns
    decide = inputs.signals.decide_ns[inputs.first :]
    active = inputs.signals.cutoff_ns[inputs.first :] + spec.fills.latency_ns
    ready = np.maximum(decide, active - spec.fills.grace_ns)
    found = np.full((len(decide), len(spec.symbols)), np.nan)
    for k in range(len(spec.symbols)):
        there = np.isfinite(bars.open[:, k])
        opens, price = bars.open_ns[there], np.log(bars.open[there, k])
        entry, could_enter = _first_open(opens, ready, bar_ns)
        leave, could_leave = _first_open(opens, opens[entry] + horizon_ns, bar_ns) if len(opens) else (entry, entry)
        done = could_enter & could_leave
        found[done, k] = price[leave[done]] - price[entry[done]]
    return found


def _first_open(opens: Array, wanted: Array, bar_ns: int) -> tuple[Array, Array]:
    """Index of the first open at or after each time, and whether it comes within a bar."""
    at = np.searchsorted(opens, wanted)
    there = at < len(opens)
    at = np.minimum(at, max(len(opens) - 1, 0))
    if len(opens):
        there &= opens[at] - wanted < bar_ns
    return at, there


def past_returns(inputs: RunInputs, length_ns: int) -> Array:
    """Log return over the length before each decision by the closes known then, f8[d, M]; NaN before there were any."""
    seen = inputs.signals
    decide = seen.decide_ns[inputs.first :]
    found = np.full((len(decide), seen.close.shape[1]), np.nan)
    for k in range(seen.close.shape[1]):
        there = np.isfinite(seen.close[:, k])
        ends, price = seen.close_ns[there], np.log(seen.close[there, k])
        now = np.searchsorted(ends, decide, side="right") - 1
        then = np.searchsorted(ends, decide - length_ns, side="right") - 1
        known = then >= 0
        found[known, k] = price[now[known]] - price[then[known]]
    return found


def quarters(ns: Array) -> list[tuple[str, slice]]:
    """Calendar quarters of ordered times (UTC), each with its part: "2024 Q1"."""
    months = ns.astype("M8[ns]").astype("M8[M]").astype(np.int64)
    number = months // 3
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(ns)]
    found = []
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        first = datetime.fromtimestamp(int(ns[begin]) / 1e9, UTC)
        found.append((f"{first.year} Q{(first.month - 1) // 3 + 1}", slice(begin, end)))
    return found


@dataclass(frozen=True)
class Coverage:
    """How much of a signal there was for one symbol, among all slots of the span.

    ready: share of the decisions with a value; states: share by reason of the others; missing: slots without a
    decision. Gaps are stretches of slots without a value after the first one.
    """

    signal: str
    symbol: str
    decisions: int
    ready: float
    states: dict[str, float]
    missing: int
    gaps: int
    longest_gap_ns: int
    longest_gap_from_ns: int


def coverage(name: str, symbols: Sequence[str], states: Array, line: Timeline) -> list[Coverage]:
    """Coverage of one signal, by symbol; states u1[d, M] as `signals.evaluate` gives them for it alone."""
    found = []
    bar_ns = line.step_ns // line.stride
    slots = int(line.at[-1]) + 1
    for k, symbol in enumerate(symbols):
        codes = states[:, k] & (2**ops.STATE_BITS - 1)
        values, counts = np.unique(codes, return_counts=True)
        shares = {
            ops.STATES[code]: count / len(codes) for code, count in zip(values.tolist(), counts.tolist(), strict=True)
        }
        fine = np.zeros(slots, bool)
        fine[line.at[codes == ops.OK]] = True
        begin, length, gaps = _longest_gap(fine)
        found.append(
            Coverage(
                signal=name,
                symbol=symbol,
                decisions=len(codes),
                ready=shares.pop(ops.STATES[ops.OK], 0.0),
                states=shares,
                missing=slots - len(codes),
                gaps=gaps,
                longest_gap_ns=length * bar_ns,
                longest_gap_from_ns=int(line.ns[0]) + begin * bar_ns if gaps else 0,
            )  # fmt: skip
        )
    return found


def _longest_gap(fine: Array) -> tuple[int, int, int]:
    """(begin, length, number) of the stretches that aren't fine, after the first that is."""
    first = int(np.argmax(fine)) if fine.any() else len(fine)
    edges = np.flatnonzero(np.diff(np.r_[True, fine[first:], True].astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    if not len(begins):
        return 0, 0, 0
    longest = int(np.argmax(ends - begins))
    return first + int(begins[longest]), int(ends[longest] - begins[longest]), len(begins)
