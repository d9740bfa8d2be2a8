"""What a signal report holds: a cell for each signal, symbol and horizon, and the verdicts drawn from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from backtest.result import InputShare
from backtest.signal_times import Coverage
from risk.records import Array

LEAST_ROWS = 200  # decisions with a value and a return: below it nothing is said


@dataclass(frozen=True)
class Cell:
    """One signal, symbol and horizon. Correlations are of ranks; low and high bound 95 % of the bootstrap.

    price: the same for the past return over the horizon's length alone. beyond: the signal's when past returns are
    known. step: with the return since the horizon before this one. placebo_low, placebo_high: 95 % of the placebos.
    strength: the correlation in standard deviations of the placebos. chance: two-sided p-value against the placebos;
    corrected: after Holm. fault: why it is no evidence, empty when it is.
    """

    signal: str
    symbol: str
    horizon_ns: int
    rows: int
    block_ns: int
    ic: float
    low: float
    high: float
    step: float
    price: float
    beyond: float
    beyond_low: float
    beyond_high: float
    placebo_low: float
    placebo_high: float
    strength: float
    chance: float
    corrected: float = 1.0
    fault: str = ""

    @property
    def testable(self) -> bool:
        """Whether there was enough to test at all; decided by what is there, not by what it shows."""
        return self.rows >= LEAST_ROWS and math.isfinite(self.ic)


@dataclass(frozen=True)
class Quarter:
    """Rank correlation of one signal and symbol within a calendar quarter, at the signal's reference horizon."""

    signal: str
    symbol: str
    quarter: str
    rows: int
    ic: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """How the correlation adds up over time: it ends at the correlation, and is straight where the signal is steady."""

    signal: str
    symbol: str
    ns: Array
    total: Array


@dataclass(frozen=True)
class Verdict:
    """What is said of one signal in one symbol, and the horizon that says most."""

    signal: str
    symbol: str
    evidence: bool
    text: str
    cell: Cell


@dataclass(frozen=True)
class SignalReport:
    """All that a report says. Times in nanoseconds."""

    symbols: tuple[str, ...]
    declared: dict[str, str]  # signal name -> as one would type it
    horizons_ns: tuple[int, ...]
    reference_ns: dict[str, int]  # signal -> the horizon shown by quarter
    bar_ns: int
    step_ns: int  # between two decisions looked at
    start_ns: int
    end_ns: int
    decisions: int
    cells: tuple[Cell, ...]
    quarters: tuple[Quarter, ...]
    curves: tuple[Curve, ...]
    coverage: tuple[Coverage, ...]
    verdicts: tuple[Verdict, ...]
    placebo_ns: dict[str, int]  # signal -> length of the shuffled blocks
    placebos: int
    draws: int
    seed: int
    shuffled: bool
    synthetic: bool
    model: dict[str, Any] | None
    inputs: tuple[InputShare, ...]
    notes: tuple[str, ...] = field(default=())

    def cells_of(self, signal: str, symbol: str) -> list[Cell]:
        """A signal's cells in one symbol, by horizon."""
        return [cell for cell in self.cells if (cell.signal, cell.symbol) == (signal, symbol)]

    @property
    def tests(self) -> int:
        """How many cells were tested: what p-values are corrected for."""
        return sum(cell.testable for cell in self.cells)

    def found(self, signal: str) -> list[str]:
        """Symbols with evidence for that signal."""
        return [verdict.symbol for verdict in self.verdicts if verdict.signal == signal and verdict.evidence]
