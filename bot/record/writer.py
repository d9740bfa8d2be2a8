"""The one who writes: gathers what all feeds hand over, makes it durable together, and only then lets them go on.

Each feed may have so many items waiting and no more: beyond, `take` doesn't return, and the feed isn't read on. While
the disk is full the same job is tried again, after pauses that grow; any other refusal of the disk ends the recording,
by name. Nothing that was acknowledged is lost by either: it was stored before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.record.commit import Committer, Job, Line, Report, is_full
from bot.record.coverage import Coverage
from bot.record.memory import Heard
from data.errors import InputError, WorkError
from data.feed import Batch, Card

LOG = logging.getLogger("tidegate.record")
LIFE_S: Final = 5.0
"""Signs of life go to disk so often when nothing else does."""

PURGE_S: Final = 30.0
PURGE_KEYS: Final = 500
FIRST_S, LONGEST_S = 0.25, 30.0


@dataclass
class Waiting:
    """A batch that isn't durable yet."""

    batch: Batch
    cursor: dict[str, Any] | None
    done: asyncio.Future[None]


@dataclass
class Queue:
    """What waits of one feed; `memory` is the cursor of its last acknowledged batch."""

    card: Card
    memory: dict[str, Any]
    waiting: deque[Waiting] = field(default_factory=deque)
    items: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)


class Writer:
    """The queues of all feeds, and the coroutine that empties them.

    Parameters
    ----------
    committer : Committer
    coverage : Coverage
        Its markers go with the facts.
    cards : dict of feed to Card
    flush_s : float
        What waits is stored after so long.
    most : int
        Items of one feed that wait at most; a single larger batch waits alone.
    told : callable
        Given the report of every commit.
    """

    def __init__(
        self, committer: Committer, coverage: Coverage, cards: dict[str, Card], *, flush_s: float, most: int,
        told: Callable[[Report], None],
    ) -> None:  # fmt: skip
        self.trouble = ""  # why the disk refuses, while it does
        self.retries = 0
        self._committer, self._coverage = committer, coverage
        self._queues = {name: Queue(card, dict(committer.kept[name].cursor)) for name, card in cards.items()}
        self._flush_s, self._most, self._told = flush_s, most, told
        self._more, self._closing = asyncio.Event(), asyncio.Event()
        self._purge_due = self._life_due = self._next_s = 0.0
        self._broken: Exception | None = None

    # --- feeds --------------------------------------------------------------------------------------------------------
    async def take(self, name: str, batch: Batch) -> None:
        """See `data.feed.Take`.

        Raises
        ------
        TypeError, ValueError
            The cursor isn't JSON, or the batch can't be made facts: a fault of the source's file.
        InputError, WorkError
            The disk refused for good.
        """
        queue = self._queues[name]
        cursor = None if batch.cursor is None else json.loads(json.dumps(dict(batch.cursor)))
        while queue.items and queue.items + len(batch.items) > self._most and self._broken is None:
            queue.room.clear()
            await queue.room.wait()
        if self._broken is not None:
            raise self._broken
        one = Waiting(batch, cursor, asyncio.get_running_loop().create_future())
        queue.waiting.append(one)
        queue.items += len(batch.items)
        self._more.set()
        await one.done

    def memory(self, name: str) -> dict[str, Any]:
        """The cursor of a feed's last acknowledged batch."""
        return dict(self._queues[name].memory)

    def waiting(self, name: str) -> int:
        """Items of a feed that wait."""
        return self._queues[name].items

    def wake(self) -> None:
        """There are markers to be stored."""
        self._more.set()

    def close(self) -> None:
        """Store what waits, then end `run`. Nobody may call `take` any more."""
        self._closing.set()
        self._more.set()

    # --- writing ------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Write until closed and empty.

        Raises
        ------
        InputError, WorkError
            The disk or the store refused for good.
        """
        while True:
            await self._pause()
            last = self._closing.is_set()
            job, waiting = self._gather(last=last)
            if job.lines or job.markers or job.purge or job.heard != self._committer.heard:
                await self._commit(job, waiting, last=last)
            if last and not any(queue.waiting for queue in self._queues.values()) and not self._coverage.waiting:
                return

    async def _pause(self) -> None:
        """Until something waits, and the last writing is long enough ago; much that came is written at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIFE_S):
                await self._more.wait()
        left_s = self._next_s - asyncio.get_running_loop().time()
        if left_s > 0:
            await self._nap(left_s)
        self._next_s = asyncio.get_running_loop().time() + self._flush_s
        if not self._closing.is_set():
            self._more.clear()

    def _gather(self, *, last: bool) -> tuple[Job, dict[str, list[Waiting]]]:
        """All that waits; the queues are empty afterwards, and have room when it is durable."""
        found: dict[str, list[Waiting]] = {}
        lines = []
        for name, queue in self._queues.items():
            if queue.waiting:
                found[name] = list(queue.waiting)
                queue.waiting.clear()
                cursors = [one.cursor for one in found[name] if one.cursor is not None]
                batches = [one.batch for one in found[name]]
                lines.append(Line(name, queue.card, batches, cursors[-1] if cursors else None))
        markers, now = self._coverage.take(), asyncio.get_running_loop().time()
        heard: Mapping[str, Heard] = self._committer.heard
        if markers or last or now >= self._life_due:
            heard, self._life_due = self._coverage.heard(), now + LIFE_S
        return Job(lines, markers, heard, self._purges(now)), found

    def _purges(self, now: float) -> bool:
        if not self._committer.gone_waiting:
            return False
        if now < self._purge_due and self._committer.gone_waiting < PURGE_KEYS and not self._closing.is_set():
            return False
        self._purge_due = now + PURGE_S
        return True

    async def _commit(self, job: Job, waiting: dict[str, list[Waiting]], *, last: bool) -> None:
        try:
            await self._store_all(job, waiting, last=last)
        except Exception as error:
            self._broken = error
            for queue in self._queues.values():
                for one in queue.waiting:
                    _refuse(one, error)
                queue.room.set()
            for held in waiting.values():
                for one in held:
                    _refuse(one, error)
            raise

    async def _store_all(self, job: Job, waiting: dict[str, list[Waiting]], *, last: bool) -> None:
        """Store a job; when one feed's facts spoil it, each feed's by themselves."""
        try:
            self._acknowledge(await self._durable(job, last=last), waiting)
        except (InputError, WorkError):
            raise
        except Exception as error:
            if len(job.lines) <= 1 and not (job.lines and job.markers):
                if not job.lines:
                    raise
                report = Report(refused={job.lines[0].name: error})
                self._acknowledge(report, waiting)
                return
            for line in job.lines:
                single = {line.name: waiting[line.name]}
                await self._store_all(Job([line], [], self._committer.heard), single, last=last)
            await self._store_all(Job([], job.markers, job.heard), {}, last=last)

    async def _durable(self, job: Job, *, last: bool) -> Report:
        pause_s = FIRST_S
        while True:
            try:
                report = await asyncio.to_thread(self._committer.commit, job)
            except (InputError, WorkError) as error:
                if not is_full(error) or (last and self.retries):
                    raise
                self.retries += 1
                self.trouble = str(error)
                LOG.error("nothing is recorded until there is room: %s", error)
                await self._nap(pause_s)
                last = last or self._closing.is_set()
                pause_s = min(LONGEST_S, 2 * pause_s)
                continue
            if self.trouble:
                LOG.info("the disk takes facts again after %d tries", self.retries)
            self.trouble, self.retries = "", 0
            return report

    async def _nap(self, seconds: float) -> None:
        """A pause that the end cuts short."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def _acknowledge(self, report: Report, waiting: dict[str, list[Waiting]]) -> None:
        for name, held in waiting.items():
            queue, fault = self._queues[name], report.refused.get(name)
            for one in held:
                queue.items -= len(one.batch.items)
                if fault is not None:
                    _refuse(one, fault)
                    continue
                if one.cursor is not None:
                    queue.memory = one.cursor
                if not one.done.done():
                    one.done.set_result(None)
            queue.room.set()
        self._told(report)


def _refuse(one: Waiting, error: Exception) -> None:
    if not one.done.done():
        one.done.set_exception(error)
        one.done.exception()  # it may be that nobody waits for it any more
