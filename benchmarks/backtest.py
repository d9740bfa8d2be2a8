"""Our backtest beside vectorbt and others: one run, same work, equal results, process CPU seconds.

python -m benchmarks.backtest [--rows 525600] [--quick] [--only one,many,sweep,peers,whole] [--json]

Every contender runs in a process of its own, warm; they take turns, so that what slows the machine slows all. Fills and
final equity are shown beside each and have to be equal to 1e-9, or nothing is printed.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks import whole
from benchmarks.market import YEAR, Work
from benchmarks.tables import Table, Target, measure, ratios_of, rows_of, show

PARTS = ("one", "many", "sweep", "peers", "whole")
SWEEP_ROWS = 210_240  # vectorbt takes 5.4 GB for these at once, and would take about 12 for a year
SWEEP_FAST = tuple(range(5, 45, 2))
SWEEP_SLOW = tuple(range(50, 250, 10))


def targets(inlined: tuple[float, float], pointer: tuple[float, float]) -> tuple[Target, ...]:
    """What both forms have to reach against the numba and the Rust engine."""
    return (
        Target("pointer", "numba", pointer[0]), Target("pointer", "rust", pointer[1]),
        Target("inlined", "numba", inlined[0]), Target("inlined", "rust", inlined[1]),
    )  # fmt: skip


def tables(rows: int, rounds: int) -> dict[str, Table]:
    """The comparisons by name."""
    sides = ("pointer", "numba", "numba-hand", "inlined", "rust", "rust-hand")
    fifth = max(rows // 5, 200)
    tenth = max(rows // 10, 200)
    sweep_rows = min(rows, SWEEP_ROWS)
    size = len(SWEEP_FAST) * len(SWEEP_SLOW)
    return {
        "one": Table(
            f"One symbol, {rows:,} bars, EMA 20/60", Work(rows), sides, targets((12, 8), (6, 3)), rounds,
        ),
        "many": Table(
            f"20 symbols with shared cash, {fifth:,} bars", Work(fifth, 20), sides, targets((25, 25), (15, 15)), rounds,
        ),
        "sweep": Table(
            f"Sweep of {size} combinations, {sweep_rows:,} bars",
            Work(sweep_rows, 1, SWEEP_FAST, SWEEP_SLOW), ("sweep", "numba", "numba-hand", "rust", "rust-hand"),
            (Target("sweep", "numba", 20), Target("sweep", "rust", 20)), max(rounds // 5, 2), 0,
        ),
        "peers": Table(
            f"Bar by bar, {tenth:,} bars", Work(tenth), ("pointer", "backtesting", "backtrader", "freqtrade"), (), 2, 1,
        ),
    }  # fmt: skip


def compare(table: Table, *, quiet: bool) -> dict[str, Any]:
    """Measure one table and print it."""
    workers, skipped = measure(table)
    rows = rows_of(workers)
    ratios = ratios_of(rows, table.targets)
    if not quiet:
        show(table, rows, ratios, skipped)
    return {"title": table.title, "rounds": table.rounds, "rows": rows, "ratios": ratios, "skipped": skipped}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=YEAR, help="bars of the first table")
    parser.add_argument("--rounds", type=int, default=15, help="calls of each contender that count")
    parser.add_argument("--quick", action="store_true", help="a tenth of the bars, three rounds: does it work at all?")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run: {', '.join(PARTS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    rows, rounds = (asked.rows // 10, 3) if asked.quick else (asked.rows, asked.rounds)
    chosen = asked.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    for name, table in tables(rows, rounds).items():
        if name in chosen:
            found[name] = compare(table, quiet=asked.json)
    if "whole" in chosen:
        found["whole"] = whole.measure(rows, quiet=asked.json)
    if asked.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
