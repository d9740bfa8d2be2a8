"""Contenders that take turns, and the table of what they took: nothing is compared that didn't come out equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.contenders import Outcome
from benchmarks.market import Work
from benchmarks.workers import Worker, contenders

TOLERANCE = 1e-9  # of the final equity, relative


class UnequalError(AssertionError):
    """Two contenders didn't do the same work."""


@dataclass(frozen=True)
class Target:
    """How many times faster than `peer` the contender `key` has to be."""

    key: str
    peer: str
    times: float


@dataclass(frozen=True)
class Table:
    """One comparison: the work, who does it, and what is asked of us."""

    title: str
    work: Work
    keys: Sequence[str]
    targets: Sequence[Target]
    rounds: int
    warm: int = 3


def same(one: Outcome, other: Outcome) -> bool:
    """Equal fills and, to TOLERANCE, equal final equity, run by run."""
    return one.trades == other.trades and all(
        abs(a - b) <= TOLERANCE * abs(b) for a, b in zip(one.equity, other.equity, strict=True)
    )


def check(workers: Sequence[Worker]) -> None:
    """Raise UnequalError unless every call of every worker came out like the first worker's."""
    first = workers[0].outcomes[0]
    for worker in workers:
        for outcome in worker.outcomes:
            if not same(outcome, first):
                shown = [f"{sum(each.trades)} fills, equity {sum(each.equity)!r}" for each in (first, outcome)]
                raise UnequalError(f"{workers[0].label}: {shown[0]}; {worker.label}: {shown[1]}")


def measure(table: Table) -> tuple[list[Worker], list[str]]:
    """Let the contenders of a table take turns; the workers with their outcomes, and who was skipped and why."""
    skipped, workers = [], []
    known = contenders()
    for key in table.keys:
        why = known[key].missing()
        if why:
            skipped.append(f"{known[key].name}: skipped, {why}")
        else:
            workers.append(Worker.start(key, known[key].name, table.work))
    try:
        for worker in workers:
            for _ in range(table.warm):
                worker.call(keep=False)
        for _ in range(table.rounds):
            for worker in workers:
                worker.call()
    finally:
        for worker in workers:
            worker.stop()
    check(workers)
    return workers, skipped


def rows_of(workers: Sequence[Worker]) -> list[dict[str, Any]]:
    """One row a contender; seconds of process CPU."""
    rows = []
    for worker in workers:
        seconds = [outcome.cpu for outcome in worker.outcomes]
        last = worker.outcomes[-1]
        row: dict[str, Any] = {"key": worker.key, "what": worker.label}
        row |= {"min": min(seconds), "median": median(seconds), "max": max(seconds)}
        row |= {"wall_median": median(outcome.wall for outcome in worker.outcomes), "peak_mb": worker.peak_mb}
        rows.append(row | {"fills": sum(last.trades), "equity": sum(last.equity) / len(last.equity)})
    return rows


def ratios_of(rows: Sequence[dict[str, Any]], targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Ratios of medians beside what is asked."""
    medians = {row["key"]: row["median"] for row in rows}
    found = []
    for target in targets:
        for peer in (target.peer, f"{target.peer}-hand"):
            if target.key in medians and peer in medians:
                times = medians[peer] / medians[target.key]
                found.append({"what": target.key, "peer": peer, "times": times})
                if peer == target.peer:
                    found[-1] |= {"target": target.times, "met": times >= target.times}
    return found


def show(
    table: Table, rows: Sequence[dict[str, Any]], ratios: Sequence[dict[str, Any]], skipped: Sequence[str]
) -> None:
    """Print a table."""
    print(f"\n{table.title}  ({table.rounds} rounds, taking turns; milliseconds of process CPU)")
    print(f"{'':<20}{'min':>10}{'median':>10}{'max':>10}{'wall':>10}{'MB':>8}{'fills':>10}  final equity")
    for row in rows:
        times = "".join(f"{1e3 * row[name]:>10,.1f}" for name in ("min", "median", "max", "wall_median"))
        print(f"{row['what']:<20}{times}{row['peak_mb']:>8,.0f}{row['fills']:>10,}  {row['equity']:.9f}")
    for ratio in ratios:
        asked = ""
        if "target" in ratio:
            asked = f"asked {ratio['target']:g} x: {'met' if ratio['met'] else 'MISSED'}"
        print(f"  {ratio['what']:>8} against {ratio['peer']:<12} {ratio['times']:6.1f} x   {asked}")
    for line in skipped:
        print(f"  {line}")
