"""The look-ahead probe: change everything that became known after a time, and see whether an earlier decision changes.

A decision that changes when only its future did has seen that future. Facts after random cuts are garbled, deleted and
delayed; signals and decisions are made anew; the first decision at or before the cut that differs is reported, with
the signal that let the future in.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backtest.grid import PRICES, Grid
from backtest.load import RunInputs
from backtest.run import Prepared, execute, new_desk, prepare_run, settled
from backtest.spec import RunSpec
from data.times import format_time
from risk.records import Array
from signals.inputs import Inputs, MetricTape, SentimentTape

WAYS = ("garbled", "deleted", "delayed")
DELAY_BARS = 3
Prepare = Callable[[RunSpec, RunInputs], Prepared]


@dataclass(frozen=True)
class Leak:
    """The first decision that changed when only what became known after `cut_ns` was changed.

    signal is the first signal whose value or state differs, empty when only the weight does; was and became are that
    signal's values, or the weights.
    """

    cut_ns: int
    way: str
    decide_ns: int
    symbol: str
    signal: str
    was: float
    became: float

    def __str__(self) -> str:
        what = f"signal {self.signal}" if self.signal else "the weight"
        return (
            f"{self.symbol}: {what} of {format_time(self.decide_ns)} was {self.was:g} and became {self.became:g} "
            f"when facts known after {format_time(self.cut_ns)} were {self.way}"
        )


@dataclass(frozen=True)
class ProbeReport:
    """What the probe found: cuts made, decisions compared in all, and a leak for each cut and way that showed one."""

    strategy: str
    cuts: int
    decisions: int
    leaks: tuple[Leak, ...]

    @property
    def clean(self) -> bool:
        """True when no decision saw its future."""
        return not self.leaks

    def __str__(self) -> str:
        if self.clean:
            return f"{self.strategy}: no look-ahead in {self.decisions:,} decisions before {self.cuts} cuts"
        first = min(self.leaks, key=lambda leak: leak.decide_ns)
        return f"{self.strategy}: LOOK-AHEAD. {first}"


def probe(
    spec: RunSpec, inputs: RunInputs, *, cuts: int = 4, seed: int = 1, prepare: Prepare = prepare_run
) -> ProbeReport:
    """Probe a strategy over its inputs.

    Parameters
    ----------
    spec : RunSpec
    inputs : RunInputs
        Real or sample facts, with the times at which they truly became known.
    cuts : int
        Bar closes at which the future is changed, drawn at random; one more for each kind of fact, at a close at which
        one had happened but wasn't known yet: there a join by the wrong time shows.
    seed : int
        Of the cuts and of the garbled values.
    prepare : callable
        What joins facts to decisions; another one than a run's own to probe a pipeline of one's own.

    Returns
    -------
    ProbeReport
        Decisions are compared bit for bit: signal values, their states, and the weights asked for.
    """
    rng = np.random.default_rng(seed)
    spec = settled(spec, inputs)
    base = _decided(spec, inputs, prepare)
    closes = inputs.bars.close_ns[inputs.bars.decides != 0]
    chosen = _cuts(inputs, closes[len(closes) // 5 : max(len(closes) - DELAY_BARS, 1)], cuts, rng)
    decide = inputs.signals.decide_ns[inputs.first :]
    cutoff = inputs.signals.cutoff_ns[inputs.first :]
    leaks = []
    compared = 0
    for cut_ns in chosen.tolist():
        before = (cutoff <= cut_ns) & (decide <= cut_ns)
        compared += int(before.sum())
        for way in WAYS:
            changed = _decided(spec, altered(inputs, cut_ns, way, rng), prepare)
            leak = _first_difference(spec, base, changed, np.flatnonzero(before), decide)
            if leak is not None:
                leaks.append(replace(leak, cut_ns=cut_ns, way=way))
    return ProbeReport(strategy=type(spec.strategy).__name__, cuts=len(chosen), decisions=compared, leaks=tuple(leaks))


def _cuts(inputs: RunInputs, closes: Array, count: int, rng: np.random.Generator) -> Array:
    """Closes to cut at, ascending."""
    chosen = set(rng.choice(closes, size=min(count, len(closes)), replace=False).tolist())
    tapes: list[MetricTape | SentimentTape] = [*inputs.signals.metrics.values(), inputs.signals.sentiment]
    for tape in tapes:
        last: Array = np.asarray(np.searchsorted(closes, tape.known_ns)) - 1  # the last close before it was known
        waited = np.flatnonzero((last >= 0) & (closes[np.maximum(last, 0)] >= tape.event_ns))
        if len(waited):
            chosen.add(int(closes[last[rng.choice(waited)]]))
    return np.array(sorted(chosen), np.int64)


def _decided(spec: RunSpec, inputs: RunInputs, prepare: Prepare) -> tuple[Array, Array, Array]:
    """Signal values, states and weights of every decision of a run."""
    prepared = prepare(spec, inputs)
    execute(new_desk(spec), prepared)
    tape = prepared.tape
    return tape["rows"][:, :, :-1].copy(), tape["states"].copy(), tape.wishes()


def _first_difference(
    spec: RunSpec,
    base: tuple[Array, Array, Array],
    changed: tuple[Array, Array, Array],
    before: Array,
    decide: Array,
) -> Leak | None:
    rows, states, weights = ((one[before], other[before]) for one, other in zip(base, changed, strict=True))
    signal_differs = ~_same(*rows)
    differs = signal_differs.any(axis=2) | (states[0] != states[1]) | ~_same(*weights)
    at = np.argwhere(differs)
    if not len(at):
        return None
    j, k = at[0].tolist()
    names = list(spec.strategy.signals)
    found = np.flatnonzero(signal_differs[j, k])
    if not len(found) and states[0][j, k] != states[1][j, k]:
        blamed = max(int(states[0][j, k]), int(states[1][j, k])) >> 3
        found = np.array([min(blamed, len(names) - 1)]) if names else found
    name = names[int(found[0])] if len(found) else ""
    was, became = (float(part[j, k, found[0]]) for part in rows) if len(found) else (float(w[j, k]) for w in weights)
    return Leak(
        cut_ns=0,
        way="",
        decide_ns=int(decide[before[j]]),
        symbol=spec.symbols[k],
        signal=name,
        was=was,
        became=became,
    )


def _same(one: Array, other: Array) -> Array:
    """Equal to the bit, NaN beside NaN included."""
    equal: Array = (one == other) | (np.isnan(one) & np.isnan(other))
    return equal


# --- another future ---------------------------------------------------------------------------------------------------
def altered(inputs: RunInputs, cut_ns: int, way: str, rng: np.random.Generator) -> RunInputs:
    """The same inputs up to a bar's close; whatever became known later is garbled, deleted or delayed."""
    seen = inputs.signals
    later = seen.close_ns > cut_ns
    prices = _prices({name: getattr(seen, name) for name in PRICES}, later, way, rng)
    metrics = {name: _metric(tape, cut_ns, way, seen.bar_ns, rng) for name, tape in seen.metrics.items()}
    sentiment = _posts(seen.sentiment, cut_ns, way, seen.bar_ns, rng)
    late = inputs.late.copy()
    if way == "delayed":
        late[seen.decide_ns > cut_ns] = True
    others: dict[str, Any] = {**prices, "metrics": metrics, "sentiment": sentiment}
    changed: Inputs = replace(seen, **others)
    when, symbol, rate = inputs.funding
    rate = np.where(when > cut_ns, rng.normal(0.0, 1e-3, len(rate)), rate)
    bars = _rows(inputs.bars, cut_ns, way, rng)
    return replace(inputs, signals=changed, bars=bars, late=late, funding=(when, symbol, rate))


def _prices(columns: dict[str, Array], later: Array, way: str, rng: np.random.Generator) -> dict[str, Array]:
    """Bars after the cut: another walk, or none."""
    changed = {name: np.array(column) for name, column in columns.items()}
    if way == "delayed":
        return changed  # what is late is told by `RunInputs.late`
    shape = changed["close"][later].shape
    factor = np.exp(rng.normal(0.0, 0.2, shape))
    for name, column in changed.items():
        if way == "deleted":
            column[later] = np.nan
        else:
            column[later] *= np.exp(rng.normal(0.0, 1.0, shape)) if name == "volume" else factor
    return changed


def _rows(bars: Grid, cut_ns: int, way: str, rng: np.random.Generator) -> Grid:
    """What the venue plays after the cut, changed likewise."""
    columns = _prices({name: getattr(bars, name) for name in PRICES}, bars.open_ns >= cut_ns, way, rng)
    return replace(bars, **columns)


def _metric(tape: MetricTape, cut_ns: int, way: str, bar_ns: int, rng: np.random.Generator) -> MetricTape:
    columns: dict[str, Any] = {name: np.array(column) for name, column in vars(tape).items()}
    later = columns["known_ns"] > cut_ns
    if way == "garbled":
        spread = float(np.nanstd(columns["value"])) or 1.0
        columns["value"][later] = rng.normal(np.nanmean(columns["value"]), 5.0 * spread, int(later.sum()))
    return MetricTape(**_kept_or_delayed(columns, later, way, bar_ns))


def _posts(tape: SentimentTape, cut_ns: int, way: str, bar_ns: int, rng: np.random.Generator) -> SentimentTape:
    columns: dict[str, Any] = {name: np.array(column) for name, column in vars(tape).items()}
    later = columns["known_ns"] > cut_ns
    if way == "garbled":
        columns["score"][later] = rng.uniform(-1.0, 1.0, int(later.sum()))
        columns["weight"][later] = rng.uniform(1.0, 50.0, int(later.sum()))
        for name in ("author", "source", "cluster"):
            columns[name][later] = rng.integers(1, 4, int(later.sum()))
    return SentimentTape(**_kept_or_delayed(columns, later, way, bar_ns))


def _kept_or_delayed(columns: dict[str, Any], later: Array, way: str, bar_ns: int) -> dict[str, Any]:
    if way == "deleted":
        return {name: column[~later] for name, column in columns.items()}
    if way == "delayed":
        columns["known_ns"][later] += DELAY_BARS * bar_ns
    return columns
