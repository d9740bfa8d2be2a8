"""Many parameter sets of one strategy over the same facts: the same kernels, with the strategy's function inlined, or
asked in Python where it can't be compiled.

Each distinct signal is evaluated once; a combination only rewrites the columns that differ from the one before. What
comes out is a search, and says so: the best Sharpe ratio is deflated by the number of combinations tried.
"""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backtest import loop as loops
from backtest import skim as skims
from backtest.compile import ask, ask_all, clone, compile_pointer, inlined_call
from backtest.curve import DAY_NS, sampled_returns
from backtest.events import known_values, tape_of, unusual
from backtest.feed import Feed, follows
from backtest.hook import drive, python_rule
from backtest.load import RunInputs, cut_inputs, warm_since
from backtest.loop import LOGS_FULL
from backtest.run import new_desk, run_policy, settled
from backtest.sharpe import yearly_sharpe
from backtest.spec import RunSpec
from backtest.tape import PLAIN, Tape, strike_rows
from data.errors import InputError
from risk.desk import Desk
from risk.records import Array
from signals import ops
from signals.jit import kernel
from signals.kernels_dense import AVERAGE
from signals.raw import LANES, address_of, f8_at, lanes, put_f8
from signals.signal import Signal
from strategies.base import Strategy

MOST = 100_000  # combinations of one sweep


@dataclass(frozen=True)
class SweepRow:
    """One combination: its parameters, total return, Sharpe ratio (as in a report; None where it tells nothing),
    drawdown, fills, fees.
    """

    params: dict[str, float]
    total_return: float
    sharpe: float | None
    max_drawdown: float
    fills: int
    fees: float
    final_equity: float
    errors: int


@kernel
def _fall(lows: int, high: float) -> float:
    """The deepest fall from `high` to what some lanes hold, which are emptied."""
    low = np.inf
    for k in range(LANES):
        low = min(low, f8_at(lows, k))
        put_f8(lows, k, np.inf)
    return 1.0 - low / high if low < np.inf else 0.0


@kernel
def deepest(equity: Array) -> float:
    """Largest fall from a running high, as a fraction of it."""
    lows, marks, n = lanes(), address_of(equity), len(equity)
    high, worst = f8_at(marks, 0), 0.0
    _fall(lows, high)
    for begin in range(0, n, LANES):
        count = min(LANES, n - begin)
        higher = int(count < LANES)
        if count == LANES:  # mostly no new high: then by the processor's vectors, without a branch or a division
            for k in range(LANES):
                higher |= int(f8_at(marks, k) > high)
        if higher == 0:
            for k in range(LANES):
                put_f8(lows, k, f8_at(marks, k) if f8_at(marks, k) < f8_at(lows, k) else f8_at(lows, k))
        else:
            worst = max(worst, _fall(lows, high))
            for k in range(count):
                high = max(high, f8_at(marks, k))
                worst = max(worst, 1.0 - f8_at(marks, k) / high)
        marks += LANES * 8
    return max(worst, _fall(lows, high))


_LOOPS: dict[Any, Callable[..., int]] = {}


def inlined_loop(strategy: Strategy, *, narrow: bool) -> Callable[..., int]:
    """The loop of `backtest.loop` with the strategy's function written into it; compiled once for this process.

    narrow: see `backtest.compile.compile_pointer`.
    """
    key = (strategy.function, strategy.row_dtype, strategy.param_dtype, narrow)
    if key not in _LOOPS:
        _LOOPS[key] = _written_in(strategy, narrow)
    return _LOOPS[key]


def _written_in(strategy: Strategy, narrow: bool) -> Callable[..., int]:
    call = inlined_call(strategy, narrow=narrow)
    decision = clone(loops.decide_now, ask=clone(ask, _call=call))
    hear = clone(skims.hear, into_callers=True, ask_all=clone(ask_all, into_callers=True, _call=call))
    skim = clone(skims.skim, skim_rows=clone(skims.skim_rows, into_callers=True, hear=hear))
    return clone(loops.loop, free=True, decide_now=decision, skim=skim)


def walk(inlined: Callable[..., int], desk: Desk, tape: Tape) -> None:
    """Drive a tape through a desk, from its beginning to its end, by an `inlined_loop`."""
    tape.start(0)
    while inlined(desk.ref, tape.ref, len(tape["close_ns"])) == LOGS_FULL:
        desk.grow_logs()


def combinations(strategy: Strategy, grid: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """Every combination of the grid's values, the first name slowest; InputError for unknown names and empty axes."""
    declared = strategy.declared_params()
    for name, values in grid.items():
        if name not in declared:
            raise InputError("no such parameter", key=name, remedy=f"one of {', '.join(declared) or 'none'}")
        if not values:
            raise InputError("a grid axis without values", key=name)
    count = int(np.prod([len(values) for values in grid.values()]))
    if count > MOST:
        raise InputError("too many combinations", key="grid", value=count, remedy=f"keep to {MOST}")
    return [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*grid.values())]


class Columns:
    """Values and states of every distinct signal, evaluated once."""

    def __init__(self, spec: RunSpec, inputs: RunInputs) -> None:
        self.spec = spec
        self.inputs = inputs
        self._kept: dict[Signal, tuple[Array, Array, int]] = {}

    def of(self, signal: Signal) -> tuple[Array, Array, int]:
        """(values f8[d, M], states u1[d, M], decisions until all are fine) of one signal."""
        if signal not in self._kept:
            rows, states = known_values(self.spec, self.inputs, {"it": signal})
            values = np.ascontiguousarray(rows[:, :, 0])
            faults = np.flatnonzero(states.any(axis=1))
            self._kept[signal] = (values, states.copy(), int(faults[-1]) + 1 if len(faults) else 0)
        return self._kept[signal]


class Runner:
    """One worker: a tape that is rewritten from combination to combination."""

    def __init__(self, spec: RunSpec, inputs: RunInputs, columns: Columns, strange: Array) -> None:
        self.spec = spec
        self.columns = columns
        code = compile_pointer(spec.strategy)
        blind = code is not None and code.blind
        seen, count = inputs.signals, len(spec.strategy.signals)
        shape = (len(seen.decide_ns) - inputs.first, len(spec.symbols))
        feed = None
        rows = np.zeros((0, shape[1], count + 1))
        if code is not None and follows(inputs.bars, seen, inputs.first):
            # Columns are taken as they are, a stretch at a time.
            copies = dict.fromkeys(range(count), inputs.bars.close)
            bars, width = (seen.close, seen.volume), count + (0 if blind else 1)
            averages = np.zeros(0, AVERAGE)
            feed = Feed(bars, inputs.first, width, averages=averages, copies=copies, novelty=None, struck=True)
        else:
            rows = np.zeros((*shape, count + 1))
        self.inlined = None if code is None else inlined_loop(spec.strategy, narrow=feed is not None and blind)
        states, params = np.zeros(shape, np.uint8), spec.strategy.param_record()
        self.tape: Tape = tape_of(spec, inputs, rows, states, strange, params, full=False, blind=blind, feed=feed)
        self.plain = self.tape["plain"].copy()
        self.dirty = 0  # decisions whose states the last run wrote to
        self.first = new_desk(spec)
        self.desk = self.first.copy()
        self.loaded: list[Signal | None] = [None] * len(spec.strategy.signals)
        # One decision a row, at its close, and every row a decision bar.
        each_row = np.array_equal(self.tape["decide_ns"], self.tape["close_ns"])
        self.aligned = each_row and len(strange) == len(self.plain)
        self.close_ns = inputs.bars.close_ns[inputs.bars.decides != 0]
        self.begin_ns = int(self.close_ns[0]) - spec.bar_ns
        self.days = (int(self.close_ns[-1]) - self.begin_ns) / DAY_NS

    def load(self, strategy: Strategy) -> None:
        """Put a parameter set's columns into the tape."""
        tape, states, plain = self.tape, self.tape["states"], self.tape["plain"]
        states[: self.dirty] = 0
        self.dirty = 0
        copies = {}
        for place, signal in enumerate(strategy.signals.values()):
            values, own, until = self.columns.of(signal)
            copies[place] = values
            if tape.feed is None and self.loaded[place] != signal:
                tape["rows"][:, :, place] = values
                self.loaded[place] = signal
            mine, told = own[:until], states[:until]
            fresh = (told == 0) & (mine != 0)
            blame = np.where((mine & 7) == ops.NO_BAR, mine, mine | (place << ops.STATE_BITS))
            told[fresh] = blame[fresh]
            self.dirty = max(self.dirty, until)
        plain[:] = self.plain
        if tape.feed is not None:
            tape.feed.copy(copies)
        if self.aligned:
            some = slice(0, self.dirty)
            strike_rows(plain[some], tape["close"][some], states[some], tape["strange"][some])
        elif self.dirty:
            plain[plain == PLAIN] = 0  # decisions at facts: every row the long way

    def run(self, strategy: Strategy) -> SweepRow:
        """Run one parameter set."""
        tape = self.tape
        self.load(strategy)
        tape["params"][:] = strategy.param_record()
        spec, desk = replace(self.spec, strategy=strategy), self.desk
        self.first.arrays["policy"][:] = run_policy(spec)
        desk.restart(self.first)
        if self.inlined is not None:
            walk(self.inlined, desk, tape)
        else:
            tape.start(0)
            drive(desk, tape, python_rule(strategy))
        equity = tape["equity"]
        returns, _, yearly = sampled_returns(self.close_ns, equity, spec.cash, self.begin_ns, spec.bar_ns)
        return SweepRow(
            params=dict(strategy.params), total_return=float(equity[-1] / spec.cash - 1.0),
            sharpe=yearly_sharpe(returns, self.days, yearly),
            max_drawdown=float(deepest(equity)), fills=int(desk.account["n_fills"]), fees=float(desk.account["fees"]),
            final_equity=float(equity[-1]), errors=int(desk.account["errors"]),
        )  # fmt: skip


def candidates_of(spec: RunSpec, grid: Mapping[str, Sequence[float]]) -> list[RunSpec]:
    """The run of every combination, in the grid's order; raises InputError as `sweep` does."""
    cls = type(spec.strategy)
    wishes = combinations(spec.strategy, grid)
    return [replace(spec, strategy=cls(**{**spec.strategy.params, **wish})) for wish in wishes]


def neediest(spec: RunSpec, grid: Mapping[str, Sequence[float]]) -> RunSpec:
    """The combination that needs the longest warm-up: what is read for it is enough for all."""
    return min(candidates_of(spec, grid), key=lambda one: warm_since(one) or 0)


def sweep(
    spec: RunSpec, inputs: RunInputs, grid: Mapping[str, Sequence[float]], *, workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[SweepRow]:  # fmt: skip
    """Run every combination of `grid`; rows in the grid's order. Each is what a backtest of it alone gives.

    inputs: of the run that `neediest` names; each combination sees its own warm-up of it. workers: threads, by default
    one a core and at most four. Raises InputError for an unknown parameter, a value out of range, or a combination that
    a signal refuses.
    """
    runs = candidates_of(spec, grid)
    done = itertools.count(1)
    found: dict[int, SweepRow] = {}
    alike: dict[int | None, list[int]] = {}
    for place, one in enumerate(runs):
        alike.setdefault(warm_since(one), []).append(place)

    def told() -> None:
        if progress is not None:
            progress(next(done), len(runs))

    for since_ns, places in alike.items():
        own = cut_inputs(inputs, since_ns)
        rows = _sweep_alike(settled(spec, own), own, [runs[place].strategy for place in places], workers, told)
        found.update(zip(places, rows, strict=True))
    return [found[place] for place in range(len(runs))]


def _sweep_alike(
    spec: RunSpec, inputs: RunInputs, candidates: Sequence[Strategy], workers: int | None, told: Callable[[], None]
) -> list[SweepRow]:
    """Run combinations that see the same bars."""
    columns = Columns(spec, inputs)
    for strategy in candidates:
        for signal in strategy.signals.values():
            columns.of(signal)
    strange = unusual(spec, inputs)
    several = compile_pointer(spec.strategy) is not None  # threads would only wait for each other's interpreter
    count = min(workers or min(os.cpu_count() or 1, 4), len(candidates)) if several else 1
    runners = [Runner(spec, inputs, columns, strange) for _ in range(count)]  # here: compiling is no work for threads

    def work(part: Sequence[Strategy]) -> list[SweepRow]:
        runner = runners.pop()
        rows = []
        for strategy in part:
            rows.append(runner.run(strategy))
            told()
        return rows

    cuts = np.linspace(0, len(candidates), count + 1).astype(int)
    parts = [candidates[begin:end] for begin, end in itertools.pairwise(cuts.tolist())]
    if count == 1:
        return work(candidates)
    with ThreadPoolExecutor(count) as pool:
        return [row for rows in pool.map(work, parts) for row in rows]
