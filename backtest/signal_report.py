"""Whether a signal says anything of what comes after it: `tidegate signal-report` on one page, "no evidence" included.

The signal is read at each bar's close as a run reads it, and compared with what could have been earned after it: from
the open at which a run's order would fill, over each horizon. `backtest.signal_verdict` says what counts as evidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from backtest import signal_stats as stats
from backtest.events import known_values
from backtest.load import RunInputs
from backtest.run import model_of
from backtest.signal_result import LEAST_ROWS, Cell, Curve, Quarter, SignalReport
from backtest.signal_times import Coverage, Timeline, coverage, forward_returns, past_returns, quarters, usable_horizons
from backtest.signal_verdict import LEVEL, judged, verdicts
from backtest.spec import RunSpec
from risk.records import Array
from signals.signal import Signal
from strategies.base import Strategy

DRAWS = 999  # of the bootstrap
PLACEBOS = 10_000  # at least: a p-value that is just small enough should be so by any seed
PLACEBOS_A_TEST = 60  # so that the best p-value there can be survives the correction for the number of tests
LEAST_QUARTER = 100
CURVE_POINTS = 400
DAY_NS = 86_400 * 10**9
Progress = Callable[[int, int], None]


class Watched(Strategy):
    """Looks at signals and holds nothing: what the report is made of."""

    def __init__(self, looked_at: Mapping[str, Signal]) -> None:
        self._looked_at = dict(looked_at)
        super().__init__()

    def own_signals(self) -> dict[str, Signal]:
        """The signals of the report."""
        return self._looked_at

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Nothing, ever."""
        return 0.0


def watching(spec: RunSpec, looked_at: Mapping[str, Signal]) -> RunSpec:
    """The run that reads those signals at its bars' closes. Nothing is traded, so no funding is asked for."""
    return replace(spec, strategy=Watched(looked_at), decide_on="bar", inside_ns=None, market="spot")


def examine(
    spec: RunSpec,
    inputs: RunInputs,
    *,
    horizons_ns: Sequence[int] | None = None,
    seed: int = 1,
    draws: int = DRAWS,
    shuffled: bool = False,
    progress: Progress | None = None,
) -> SignalReport:
    """The report on the signals of `spec` (see `watching`).

    Parameters
    ----------
    horizons_ns : sequence of int, optional
        Lengths of the forward returns, multiples of the bar; by default five that fit bar and span.
    seed : int
        Of bootstrap and placebo: equal seeds give equal reports.
    draws : int
        Of the bootstrap.
    shuffled : bool
        Whether the facts were shuffled before (see `backtest.signal_shuffle`): is only said in the report.

    Raises
    ------
    InputError
        A horizon is shorter than a bar or no multiple of it, or the span is too short for it.
    """
    maker = _Maker(spec, inputs, horizons_ns, seed, draws)
    steps = len(spec.strategy.signals) * (len(maker.ahead) + 1)
    for place, name in enumerate(spec.strategy.signals):
        for done in maker.look_at(name):
            if progress is not None:
                progress(place * (len(maker.ahead) + 1) + done, steps)
    return maker.report(shuffled)


class _Maker:
    """Works through the signals of a report one by one."""

    def __init__(
        self, spec: RunSpec, inputs: RunInputs, horizons_ns: Sequence[int] | None, seed: int, draws: int
    ) -> None:
        self.spec, self.inputs, self.seed, self.draws = spec, inputs, seed, draws
        self.line = line = Timeline.of(inputs)
        horizons, self.notes = usable_horizons(horizons_ns, spec.bar_ns, int(line.ns[-1] - line.ns[0]))
        if line.stride > 1:
            self.notes.append(f"one close in {line.stride} is looked at, for the bars are many")
        self.ahead = {h: line.spread(forward_returns(spec, inputs, h)) for h in horizons}
        self.controls = {h: line.spread(past_returns(inputs, h)) for h in {*horizons, spec.bar_ns, DAY_NS}}
        most = len(spec.strategy.signals) * len(spec.symbols) * len(horizons)
        self.placebos = max(PLACEBOS, PLACEBOS_A_TEST * most)
        self.cells: list[Cell] = []
        self.quarters: list[Quarter] = []
        self.curves: list[Curve] = []
        self.coverage: list[Coverage] = []
        self.reference: dict[str, int] = {}
        self.placebo_ns: dict[str, int] = {}

    def report(self, shuffled: bool) -> SignalReport:
        """What was found, judged as a whole."""
        spec, inputs, line = self.spec, self.inputs, self.line
        cells = judged(self.cells)
        return SignalReport(
            symbols=tuple(spec.symbols),
            declared={name: repr(signal) for name, signal in spec.strategy.signals.items()},
            horizons_ns=tuple(self.ahead),
            reference_ns=self.reference,
            bar_ns=spec.bar_ns,
            step_ns=line.step_ns,
            start_ns=int(line.ns[0]),
            end_ns=int(line.ns[-1]),
            decisions=line.decisions,
            cells=tuple(cells),
            quarters=tuple(self.quarters),
            curves=tuple(self.curves),
            coverage=tuple(self.coverage),
            verdicts=tuple(verdicts(cells, self.coverage)),
            placebo_ns=self.placebo_ns,
            placebos=self.placebos,
            draws=self.draws,
            seed=self.seed,
            shuffled=shuffled,
            synthetic=inputs.synthetic,
            model=model_of(spec, int(line.ns[0])),
            inputs=tuple(inputs.shares),
            notes=(*self.notes, *inputs.doubts, *inputs.notes),
        )

    def look_at(self, name: str) -> Iterator[int]:
        """All of one signal: its cells, coverage, quarters and curves; yields the number of steps done."""
        rows, states = known_values(self.spec, self.inputs, {name: self.spec.strategy.signals[name]})
        x = self.line.spread(np.where(states == 0, rows[:, :, 0], np.nan))
        self.coverage += coverage(name, self.spec.symbols, states, self.line)
        orders = self._orders(name, x)
        made: dict[int, tuple[stats.Ranked, int]] = {}
        found: list[Cell] = []
        for place, h in enumerate(self.ahead):
            before = list(self.ahead)[place - 1] if place else None
            own = {h, self.spec.bar_ns, DAY_NS}
            past = [self.controls[h], *(self.controls[length] for length in sorted(own - {h}))]
            ranked = stats.Ranked.of(x, self.ahead[h], past)
            block = stats.block_length(ranked, self.line.slots(h))
            made[h] = ranked, block
            found += self._cells(name, x, h, before, ranked, block, orders)
            yield place + 1
        self.cells += found
        self.reference[name] = _reference(found)
        self._by_quarter(name, *made[self.reference[name]])
        yield len(self.ahead) + 1

    def _orders(self, name: str, x: Array) -> stats.Orders:
        longest, day = self.line.slots(max(self.ahead)), self.line.day_slots
        remembered = max(stats.memory(x[:, k]) for k in range(x.shape[1]))
        block = stats.placebo_block(len(x), longest, remembered, day)
        self.placebo_ns[name] = block * self.line.step_ns
        return stats.Orders.drawn(len(x), block, day, self.placebos, (self.seed, 2))

    def _cells(
        self, name: str, x: Array, h: int, before: int | None, ranked: stats.Ranked, block: int, orders: stats.Orders
    ) -> list[Cell]:
        y = self.ahead[h]
        step = y if before is None else y - self.ahead[before]
        seen = stats.correlations(ranked.features().sum(axis=0), ranked.u.shape[2])
        drawn = stats.bootstrap(ranked, block, self.draws, (self.seed, 1, h // 10**9))
        cells = []
        for k, symbol in enumerate(self.spec.symbols):
            few = ranked.counts[k] < LEAST_ROWS
            ic, price, beyond = (math.nan,) * 3 if few else (float(value) for value in seen[k])
            low, high = stats.interval(drawn[:, k, stats.EXPLAINS] if not few else np.empty(0), LEVEL)
            beyond_low, beyond_high = stats.interval(drawn[:, k, stats.BEYOND] if not few else np.empty(0), LEVEL)
            shams = stats.placebo(x[:, k], y[:, k], orders) if not few else np.empty(0)
            sham_low, sham_high = stats.interval(shams, LEVEL)
            spread = float(np.nanstd(shams)) if len(shams) else math.nan
            cells.append(
                Cell(
                    signal=name,
                    symbol=symbol,
                    horizon_ns=h,
                    rows=int(ranked.counts[k]),
                    block_ns=block * self.line.step_ns,
                    ic=ic,
                    low=low,
                    high=high,
                    step=math.nan if few else stats.rank_ic(x[:, k], step[:, k]),
                    price=price,
                    beyond=beyond,
                    beyond_low=beyond_low,
                    beyond_high=beyond_high,
                    placebo_low=sham_low,
                    placebo_high=sham_high,
                    strength=ic / spread if spread > 0.0 else math.nan,
                    chance=stats.placebo_chance(ic, shams),
                )  # fmt: skip
            )
        return cells

    def _by_quarter(self, name: str, ranked: stats.Ranked, block: int) -> None:
        """Quarters and curves at the reference horizon; ranks are those within the quarter."""
        counts = np.maximum(ranked.counts, 1)
        kept = np.unique(np.linspace(0, len(self.line.ns) - 1, CURVE_POINTS).astype(int))
        total = np.cumsum(ranked.u[:, :, 0] * ranked.u[:, :, 1], axis=0) / counts
        for k, symbol in enumerate(self.spec.symbols):
            if ranked.counts[k] >= LEAST_ROWS:
                self.curves.append(Curve(name, symbol, self.line.ns[kept], total[kept, k]))
        for label, part in quarters(self.line.ns):
            within = ranked.mask[part]
            raw = np.where(within[:, :, None], ranked.u[part], np.nan)
            inside = stats.Ranked.of(raw[:, :, 0], raw[:, :, 1])
            seen = stats.correlations(inside.features().sum(axis=0), 2)
            drawn = stats.bootstrap(inside, min(block, max(len(within) // 8, 1)), self.draws, (self.seed, 3))
            for k, symbol in enumerate(self.spec.symbols):
                rows = int(inside.counts[k])
                if rows >= LEAST_QUARTER:
                    bounds = stats.interval(drawn[:, k, stats.EXPLAINS], LEVEL)
                    self.quarters.append(Quarter(name, symbol, label, rows, float(seen[k, 0]), *bounds))


def _reference(cells: Sequence[Cell]) -> int:
    """The horizon at which a signal stands out most from its placebos, on the mean over symbols."""
    lengths = list(dict.fromkeys(cell.horizon_ns for cell in cells))
    known = {h: [abs(cell.strength) for cell in cells if cell.horizon_ns == h] for h in lengths}
    means = {h: np.nanmean(values) if np.isfinite(values).any() else -1.0 for h, values in known.items()}
    return max(lengths, key=lambda h: float(means[h]))
