"""Contenders in processes of their own, so that they can take turns without one's memory or caches helping another.

python -m benchmarks.workers NAME WORK: reads a line from standard input for each call, answers with a line of JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.contenders import Contender, Outcome
from benchmarks.market import Work
from benchmarks.pipes import answers, ask, stop

HOUSE = Path(__file__).resolve().parent.parent


def contenders() -> dict[str, type[Contender]]:
    """All of them by the name that a worker is started with."""
    from benchmarks import ours, peers

    return {
        "pointer": ours.Pointer, "inlined": ours.Inlined, "sweep": ours.Sweep, "numba": peers.VectorbtNumba,
        "rust": peers.VectorbtRust, "numba-hand": peers.VectorbtNumbaByHand, "rust-hand": peers.VectorbtRustByHand,
        "backtesting": peers.BacktestingPy, "backtrader": peers.Backtrader, "freqtrade": peers.Freqtrade,
    }  # fmt: skip


@dataclass
class Worker:
    """A running contender and what it did so far."""

    key: str
    label: str
    process: subprocess.Popen[str]
    outcomes: list[Outcome] = field(default_factory=list)
    peak_mb: float = 0.0

    @classmethod
    def start(cls, key: str, label: str, work: Work) -> Worker:
        """Start the process; it warms up when it is first asked."""
        command = [sys.executable, "-m", "benchmarks.workers", key, json.dumps(work.plain())]
        process = subprocess.Popen(command, cwd=HOUSE, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return cls(key, label, process)

    def call(self, *, keep: bool = True) -> Outcome:
        """Let it do its work once."""
        answer = ask(self.process, self.label, "go")
        self.peak_mb = answer.pop("peak_mb")
        outcome = Outcome(**answer)
        if keep:
            self.outcomes.append(outcome)
        return outcome

    def stop(self) -> None:
        """Let it end."""
        stop(self.process)


def main() -> None:
    """The worker's side."""
    key, plain = sys.argv[1:]
    told = answers()
    contender = contenders()[key](Work.of(json.loads(plain)))
    for _ in sys.stdin:
        outcome = contender.timed()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told.write(json.dumps({**asdict(outcome), "peak_mb": peak}) + "\n")
        told.flush()


if __name__ == "__main__":
    main()
