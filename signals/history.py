"""Signals over history: one row of values per decision and symbol, and why a symbol has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import InputError
from signals import kernels_bars, kernels_metrics, kernels_posts, ops
from signals.guard import OFF, GuardLimits, Verdicts, verdicts
from signals.inputs import Array, Inputs, MetricTape
from signals.kernels_dense import AVERAGE, all_there, dense_rows
from signals.own_bars import coarse_end, last_bars, own_bars, stretches
from signals.program import Program, compile_signals, larger, own_runs, price_column
from signals.signal import Signal


def evaluate(
    bound: Mapping[str, Signal],
    inputs: Inputs,
    *,
    max_age_ns: int = 0,
    guard: GuardLimits | None = None,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """Values of all signals at every decision.

    Parameters
    ----------
    bound : mapping of name to Signal
        In order of declaration.
    inputs : Inputs
    max_age_ns : int
        Age limit of fact-driven signals, beside their own; 0 = none.
    guard : GuardLimits, optional
        Limits of controls 21 and 22; left out, posts are only counted by their near-duplicates.
    out : f8[d, M, S + 1], optional
        Room for the values, to be used again and again.

    Returns
    -------
    rows : f8[d, M, S + 1]
        Values; NaN where a signal isn't fine. The last column is left at 0 for the weight held.
    states : u1[d, M]
        0 where all is fine, else ``code | index << 3`` of the first signal that isn't (codes in `signals.ops`).

    Raises
    ------
    InputError
        When a decision looks at a bar that closes after it, or a signal can't be what it was declared to be.
    """
    program = compile_signals(bound, inputs.bar_ns, inputs.coins, max_age_ns=max_age_ns)
    opened, dense = _opened(inputs)
    states = opened.copy()
    rows = _room(out, (len(inputs.decide_ns), len(inputs.symbols), len(bound) + 1))
    if not states.size:
        return rows, states
    slab, ticks = program.state(len(inputs.symbols))
    runs = own_runs(bound, inputs.symbols, inputs.coins, inputs.bar_ns, max_age_ns)
    posts = any(fact[0] == "sentiment" for signal in bound.values() for fact in signal.facts())
    judged = verdicts(inputs, guard or OFF) if posts else None
    plain = [j for j in range(len(bound)) if j not in runs and dense and _is_dense(program, j)]
    _run_dense(averages_of(program, plain), closes_of(program, plain), inputs.close, rows)
    for j, signal in enumerate(bound.values()):
        if j in runs:
            _note_all(*runs[j].history(inputs, judged), rows, states, j)
        elif j in plain:
            note_warming(program.code[j], j, states)
        elif signal.kind == "bar":
            _bars(program, j, slab, ticks, inputs, rows, states)
        elif signal.kind == "sentiment":
            assert judged is not None, "a signal moved by posts names them among its facts"
            _posts(program, j, slab, ticks, inputs, judged, rows, states)
        else:
            _metrics(program, j, slab, ticks, inputs, rows, states)
    return rows, states


def _room(out: Array | None, shape: tuple[int, ...]) -> Array:
    if out is None:
        return np.zeros(shape)  # pages the system has cleared: no pass of ours over them
    if out.shape != shape or out.dtype != np.float64 or not out.flags.c_contiguous:
        raise InputError(f"has to be a C-contiguous f8 array of shape {shape}", key="out", value=out.shape)
    out[:, :, -1] = 0.0
    return out


def _opened(inputs: Inputs) -> tuple[Array, bool]:
    """States before any signal, and whether every bar is there and decided on; found once per inputs."""
    known = inputs.__dict__.get("_opened")
    if known is None and _whole(inputs):
        known = np.full(inputs.close.shape, np.uint8(ops.OK)), True
        inputs.__dict__["_opened"] = known
    if known is None:
        bar, now = inputs.decide_bar, inputs.decide_ns
        n = len(inputs.close_ns)
        faulty = (bar >= n) | (bar < -1)
        faulty[1:] |= (np.diff(now) < 0) | (np.diff(bar) < 0)
        if n:
            at = np.clip(bar, 0, n - 1)
            faulty |= (bar >= 0) & (inputs.close_ns[at] > now)
        if faulty.any():
            raise InputError(
                "a decision looks at a bar that closes later, or decisions are out of order",
                key="decide_bar",
                value=int(np.argmax(faulty)),
            )
        whole = np.isfinite(inputs.close)
        there = np.zeros((len(bar), len(inputs.symbols)), bool)
        if n:
            fresh = (bar >= 0) & (now - inputs.close_ns[at] < inputs.bar_ns)
            there = whole[at] & fresh[:, None]
        dense = bool(whole.all() and there.all()) and len(bar) == n and bool((bar == np.arange(n)).all())
        known = np.where(there, np.uint8(ops.OK), np.uint8(ops.NO_BAR)), dense
        inputs.__dict__["_opened"] = known
    return known[0], known[1]


def _whole(inputs: Inputs) -> bool:
    """Whether every bar is there and decided on at its close: so it is in most runs, and it is quick to see."""
    n = len(inputs.close_ns)
    if not 0 < n == len(inputs.decide_ns):
        return False
    decided = inputs.every_close or (
        np.array_equal(inputs.decide_ns, inputs.close_ns) and np.array_equal(inputs.decide_bar, np.arange(n))
    )
    return decided and bool(all_there(inputs.close))


@dataclass(frozen=True)
class Dense:
    """Signals that are averages of closes, where every bar is there and decided on at its close.

    Parameters
    ----------
    averages : AVERAGE[A]
        To be run by `signals.kernels_dense`.
    closes : list of int
        Places of signals that are the close itself.
    states : u1[d, M]
        As from `evaluate`.
    """

    averages: Array
    closes: list[int]
    states: Array


def dense(bound: Mapping[str, Signal], inputs: Inputs, *, max_age_ns: int = 0) -> Dense | None:
    """What `evaluate` would run, for who makes the values a stretch at a time; None where it isn't all averages."""
    program = compile_signals(bound, inputs.bar_ns, inputs.coins, max_age_ns=max_age_ns)
    places = range(len(bound))
    kinds = [signal.kind for signal in bound.values()]
    if not all(kind == "bar" and _is_dense(program, j) for j, kind in zip(places, kinds, strict=True)):
        return None
    opened, whole = _opened(inputs)
    if not whole:
        return None
    states = opened.copy()
    for j in places:
        note_warming(program.code[j], j, states)
    return Dense(averages_of(program, places), closes_of(program, places), states)


AVERAGES = (ops.EMA, ops.SMA, ops.CLOSE)


def _is_dense(program: Program, j: int) -> bool:
    """Whether a signal is an average of the run's own closes, of which none is called suspect."""
    row, par = program.code[j], program.par[j]
    is_close = row[ops.COLUMN] == ops.BAR_COLUMNS.index("close")
    return bool(row[ops.OP] in AVERAGES and is_close and not row[ops.ON_NS] and not np.isfinite(par[ops.LOW :]).any())


def _bars(program: Program, j: int, slab: Array, ticks: Array, inputs: Inputs, rows: Array, states: Array) -> None:
    row, par = program.code[j], program.par[j]
    if row[ops.OP] in AVERAGES:
        columns = [_average(row, par, inputs, k) for k in range(len(inputs.symbols))]
        values, codes = (np.column_stack(parts) for parts in zip(*columns, strict=True))
        _note_all(values, codes, rows, states, j)
        return
    for k in range(len(inputs.symbols)):
        end_ns, prices, at_bar = own_bars(inputs, k, int(row[ops.ON_NS]))
        kernels_bars.batch_bars(
            program.code, program.par, slab, ticks, j, k, program.slot(j, k), end_ns, prices, price_column(row), at_bar,
            inputs.decide_ns, inputs.decide_bar, rows, states,
        )  # fmt: skip


def note_warming(row: Array, j: int, states: Array) -> None:
    """Where every bar is there and decided on, a signal is early until it has seen what it needs, then fine."""
    early = states[: int(row[ops.NEED]) - 1]
    early[early == ops.OK] = ops.WARMING | (j << ops.STATE_BITS)


def averages_of(program: Program, among: Sequence[int]) -> Array:
    """AVERAGE[A]: the EMA and SMA among some signals of a program."""
    return np.concatenate([_averages(program.code[j], program.par[j], j) for j in among] or [np.zeros(0, AVERAGE)])


def closes_of(program: Program, among: Sequence[int]) -> list[int]:
    """The places of those among some signals that are the close itself."""
    return [j for j in among if program.code[j, ops.OP] == ops.CLOSE]


def _averages(row: Array, par: Array, j: int) -> Array:
    """AVERAGE[1], or none for a plain close."""
    found = np.zeros(int(row[ops.OP] != ops.CLOSE), AVERAGE)
    found["op"], found["place"], found["window"], found["a"] = row[ops.OP], j, row[ops.WINDOW], par[0]
    found["warm"] = row[ops.NEED] - 1
    return found


def _run_dense(averages: Array, closes: Sequence[int], x: Array, rows: Array) -> None:
    """Averages of x, f8[n, M], and x itself into their columns of rows, f8[n, M, S]; NaN before they are ready."""
    for j in closes:
        rows[:, :, j] = x
    if len(averages):
        dense_rows(averages, np.empty((len(averages), x.shape[1])), x, 0, len(x), 0, rows)


def _average(row: Array, par: Array, inputs: Inputs, k: int) -> tuple[Array, Array]:
    """Values and states of an average of one symbol: over each stretch of its bars as if none were missing."""
    length = int(row[ops.ON_NS])
    end_ns, prices, _ = own_bars(inputs, k, length)
    x = prices[:, row[ops.COLUMN]]
    fine = np.isfinite(x)
    found, counts = np.full(len(x) + 1, np.nan), np.zeros(len(x) + 1, np.int64)  # the last place: no bar yet
    for begin, end in stretches(end_ns, int(row[ops.RESTART_NS])):
        taken = begin + np.flatnonzero(fine[begin:end])
        values = np.full((len(taken), 1, 1), np.nan)
        closes = [0] if row[ops.OP] == ops.CLOSE else []
        _run_dense(_averages(row, par, 0), closes, np.ascontiguousarray(x[taken, None]), values)
        found[taken] = values[:, 0, 0]
        counts[begin:end] = np.cumsum(fine[begin:end])
    last = last_bars(inputs, k, length)
    values = found[last]
    codes = np.zeros(len(last), np.uint8)
    codes[(values < par[ops.LOW]) | (values > par[ops.HIGH])] = ops.SUSPECT
    missing = np.flatnonzero(np.isnan(values))
    codes[missing] = ops.NOT_FINITE
    if length:
        codes[np.append(end_ns, 0)[last] < coarse_end(inputs.decide_ns, length)] = ops.STALE
        missing = np.arange(len(last))
    codes[missing[counts[last[missing]] < row[ops.NEED]]] = ops.WARMING
    return np.where(codes == ops.OK, values, np.nan), codes


def _note_all(values: Array, codes: Array, rows: Array, states: Array, j: int) -> None:
    """Write what Python worked out; a symbol's state is that of the first signal that isn't fine."""
    rows[:, :, j] = np.where(states == ops.NO_BAR, np.nan, values)
    first = (states == ops.OK) & (codes != ops.OK)
    states[first] = codes[first] | np.uint8(j << ops.STATE_BITS)


def _posts(
    program: Program, j: int, slab: Array, ticks: Array, inputs: Inputs, judged: Verdicts, rows: Array, states: Array
) -> None:
    tape = inputs.sentiment
    kernels_posts.batch_posts(
        program.code, program.par, slab, ticks, j,
        tape.coin, tape.event_ns, tape.known_ns, tape.score, tape.weight, tape.revision, tape.trusted,
        judged.share, judged.until_ns, judged.back,
        inputs.decide_ns, inputs.cutoff_ns, rows, states,
    )  # fmt: skip


def _metrics(program: Program, j: int, slab: Array, ticks: Array, inputs: Inputs, rows: Array, states: Array) -> None:
    name = list(program.bound.values())[j].facts()[0][1]
    tape = inputs.metrics.get(name) or MetricTape.empty()
    ring = program.ring(len(inputs.symbols))
    before = states.copy()
    while not kernels_metrics.batch_metrics(
        program.code, program.par, slab, ticks, ring, ring.view(np.int64), j,
        tape.coin, tape.event_ns, tape.known_ns, tape.value, tape.revision,
        inputs.decide_ns, inputs.cutoff_ns, rows, states,
    ):  # fmt: skip
        ring = np.zeros_like(larger(ring, program, ticks, j))  # too small for its window: from the beginning again
        for k in range(len(inputs.symbols)):
            ticks[program.slot(j, k) :][: ops.METRIC_SLOTS] = 0
        states[:] = before
