"""What a contender is: something that is set up once, and does the same work again and again under the clock."""

from __future__ import annotations

import gc
import importlib.util
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from benchmarks.market import Walk, Work, walk


@dataclass(frozen=True)
class Outcome:
    """One timed call: seconds of process CPU and of the wall clock, and what came of it."""

    cpu: float
    wall: float
    trades: list[int]  # fills of each combination
    equity: list[float]  # final value of each combination


class Contender(ABC):
    """One side. `again` and `read` aren't timed, `act` is; and it may keep nothing for the next call."""

    name = ""
    needs = ""  # package without which it is skipped

    def __init__(self, work: Work) -> None:
        self.work = work
        self.bars: Walk = walk(work)

    def again(self) -> None:
        """Fresh inputs for the next call."""
        return

    @abstractmethod
    def act(self) -> Any:
        """Indicators, simulation, final value."""

    @abstractmethod
    def read(self, result: Any) -> tuple[list[int], list[float]]:
        """(fills, final equity) of each combination."""

    def timed(self) -> Outcome:
        """One call under the clock, right after one that isn't: while others had their turn, the system may have taken
        back memory and caches, and what it costs to get them again is nobody's work.
        """
        self.again()
        self.act()
        self.again()
        gc.collect()
        begun, started = time.perf_counter(), time.process_time()
        result = self.act()
        cpu, wall = time.process_time() - started, time.perf_counter() - begun
        trades, equity = self.read(result)
        return Outcome(cpu, wall, trades, equity)

    @classmethod
    def missing(cls) -> str:
        """Why it can't take part; empty when it can."""
        absent = [name for name in cls.needs.split() if importlib.util.find_spec(name) is None]
        return f"{' and '.join(absent)} not installed" if absent else ""
