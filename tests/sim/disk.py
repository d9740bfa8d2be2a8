"""The disk under the journal, with seeded failures: commits that fail, and deaths on either side of a commit."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from bot.journal.chain import JournalError, Record
from bot.journal.memory import MemoryJournal


class Killed(BaseException):
    """The process is gone, in the middle of a line."""


@dataclass
class DiskFaults:
    """How likely each is, per commit that has something to keep."""

    fails: float = 0.0  # the commit says no, and every later one too
    kept: float = 0.0  # of those that say no: what was written is there all the same
    dies_before: float = 0.0
    dies_after: float = 0.0


def _nothing() -> None:
    """Nobody wants to know."""


class Pen:
    """One process's hold on the journal; implements `bot.ports.Keeper`. After death it writes nothing."""

    def __init__(self, journal: MemoryJournal, rng: random.Random, faults: DiskFaults) -> None:
        journal.rollback()  # what the process before had not committed was never there
        self.journal, self.faults = journal, faults
        self.dead = self.full = False
        self.on_death: Callable[[], None] = _nothing
        self._rng = rng
        self._waiting = 0

    def append(self, ns: int, kind: str, body: dict[str, Any]) -> int:
        """See `bot.ports.Keeper`."""
        self._alive()
        self._waiting += 1
        return self.journal.append(ns, kind, body)

    def commit(self) -> None:
        """See `bot.ports.Keeper`."""
        self._alive()
        if not self._waiting:
            return
        self._waiting = 0
        if self.full or self._hit("fails"):
            self.full = True
            if self._hit("kept"):
                self.journal.commit()
            else:
                self.journal.rollback()
            raise JournalError("the disk is full", why="full")
        if self._hit("dies_before"):
            self._die()
        self.journal.commit()
        if self._hit("dies_after"):
            self._die()

    def records(self, since: int = 0, kinds: Collection[str] | None = None) -> Iterator[Record]:
        """What is there."""
        return self.journal.records(since, kinds)

    def last(self, kind: str) -> Record | None:
        """The newest of a kind."""
        return self.journal.last(kind)

    def kill(self) -> None:
        """From now on nothing is written."""
        self.dead = True

    def _die(self) -> None:
        self.dead = True
        self.on_death()
        raise Killed

    def _alive(self) -> None:
        if self.dead:
            raise Killed

    def _hit(self, fault: str) -> bool:
        chance = getattr(self.faults, fault)
        return bool(chance) and self._rng.random() < chance
