"""What a signal report says of each symbol. There is evidence only where, at one horizon at least, all of this holds:

- the bootstrap's interval of the rank correlation leaves out 0;
- shuffled in time, the signal does as well so rarely that it is no accident among all tests of the report (Holm);
- the interval of what is left when past returns are known leaves out 0 too, on the same side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backtest import signal_stats as stats
from backtest.signal_result import LEAST_ROWS, Cell, Verdict
from backtest.signal_times import Coverage

LEVEL = 0.05  # chance of a false claim in a whole report; intervals hold 95 %


def judged(cells: Sequence[Cell]) -> list[Cell]:
    """The same cells with p-values corrected for the number of those that can be tested, and what each lacks."""
    corrected = iter(stats.holm([cell.chance for cell in cells if cell.testable]))
    chances = [next(corrected) if cell.testable else 1.0 for cell in cells]
    return [
        replace(cell, corrected=chance, fault=_fault(cell, chance)) for cell, chance in zip(cells, chances, strict=True)
    ]


def _fault(cell: Cell, corrected: float) -> str:
    """The first of the conditions that isn't met; empty when all are."""
    if not cell.testable:
        return "few"
    if not cell.low * cell.high > 0.0:
        return "interval"
    if not cell.chance < LEVEL:
        return "placebo"
    if not corrected < LEVEL:
        return "tests"
    if not (cell.beyond_low * cell.beyond_high > 0.0 and cell.beyond * cell.ic > 0.0):
        return "price"
    return ""


def verdicts(cells: Sequence[Cell], covered: Sequence[Coverage]) -> list[Verdict]:
    """One for each signal and symbol, by the cell that says most: one with evidence if there is any."""
    tests = sum(cell.testable for cell in cells)
    ready = {(one.signal, one.symbol): one.ready for one in covered}
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.signal, cell.symbol), []).append(cell)
    found = []
    for (signal, symbol), group in groups.items():
        best = max(
            group, key=lambda cell: (not cell.fault, abs(cell.strength) if cell.strength == cell.strength else -1.0)
        )
        found.append(Verdict(signal, symbol, not best.fault, _said(best, ready[signal, symbol], tests), best))
    return found


def _said(cell: Cell, ready: float, tests: int) -> str:
    """The verdict in words."""
    why = {
        "few": "never ready" if not ready else f"{cell.rows:,} of {LEAST_ROWS} decisions",
        "interval": "interval holds 0",
        "placebo": "shuffled as good",
        "tests": f"{tests} tests undo it",
        "price": "price explains it",
    }
    if cell.fault:
        return f"no evidence: {why[cell.fault]}"
    return "evidence: follow it" if cell.ic > 0.0 else "evidence: do the opposite"
