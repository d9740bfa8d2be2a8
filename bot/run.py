"""Drives facts into the engine: one queue, one consumer. Every step is durable before anything of it leaves.

Feeds and the venue are the only other coroutines. What the consumer takes from the door gets its time from the clock,
goes to the engine, and is written to the journal with what came of it; orders leave after that record is durable. When
the journal can't be written nothing is sent but cancels, and the session halts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from bot.behind import Behind
from bot.engine import Engine
from bot.events import Condition, Event, Tick, Withdraw, pack
from bot.feeds.door import Door
from bot.journal.chain import JournalError
from bot.ports import Clock, Feed, Keeper, Venue
from bot.recover import FACTS
from bot.snapshot import snapshot_body
from bot.step import Step, step_body
from data.errors import WorkError
from data.times import HOUR_NS
from risk.records import HALTED

LOG = logging.getLogger("tidegate.run")
TICK_S = 1.0
LAST_WORDS_S = 30.0  # for the cancels of a session whose journal failed
Watcher = Callable[[Event, Step], None]


class SimulatedVenue:
    """Where paper orders go: nowhere. The desk's own kernels match them against the next bars."""

    async def start(self, put: Callable[[Event], None]) -> None:
        """Nothing to reconcile."""

    async def send(self, commands: Sequence[Any]) -> None:
        """Nothing leaves."""

    async def stop(self) -> None:
        """Nothing to stop."""

    def health(self) -> dict[str, Any]:
        """What is simulated is always well."""
        return {"simulated": True}


class Bot:
    """A running session.

    Parameters
    ----------
    engine : Engine
    keeper : Keeper
        The journal.
    clock : Clock
    door : Door
    venue : Venue
    feeds : sequence of Feed
    watchers : sequence of callable
        Told of every event and its step after it is durable: notices, heartbeat, metrics. They may not raise.
    session : str
        Name of this session, and `sessions`: of earlier ones by the working orders that they sent.
    snapshot_ns : int
        A snapshot is written after so long at the latest, and at the end.
    """

    def __init__(
        self, engine: Engine, keeper: Keeper, *, clock: Clock, door: Door, venue: Venue, feeds: Sequence[Feed] = (),
        watchers: Sequence[Watcher] = (), session: str = "", sessions: Mapping[int, str] | None = None,
        snapshot_ns: int = HOUR_NS, tick_s: float = TICK_S,
    ) -> None:  # fmt: skip
        self.engine, self.keeper, self.clock, self.door, self.venue = engine, keeper, clock, door, venue
        self.feeds, self.watchers = list(feeds), list(watchers)
        self.session, self.sessions = session, dict(sessions or {})
        self.seq = 0
        self.failed: JournalError | None = None
        self.timer: Callable[[str, float], None] | None = None  # told of seconds that a "step" or a "commit" took
        self._snapshot_ns, self._tick_s = snapshot_ns, tick_s
        self._snapshot_due_ns = 0
        self._venue_memory: dict[str, Any] | None = None
        self._last_words: asyncio.Future[None] | None = None
        self._unsent: set[int] = set()  # orders that weren't handed to the venue, or not yet
        self._stopping = asyncio.Event()
        self._chunk: deque[Event] = deque()  # taken from the door and not handled yet
        self._untold: deque[tuple[Event, Step, int]] = deque()  # what watchers weren't told of yet, and its record
        self._behind = Behind()

    # --- life ---------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Run until `stop` is called or the journal fails; then leave a state that the next start takes up."""
        tasks = [asyncio.create_task(self._ticks(), name="ticks"), asyncio.create_task(self._start(), name="venue")]
        feeding = [asyncio.create_task(feed.run(self.door.put), name=f"feed {feed.name}") for feed in self.feeds]
        tasks += feeding
        stopping = asyncio.create_task(self._stopping.wait(), name="stop")
        consumer = asyncio.create_task(self._consume(), name="consumer")
        try:
            watched: set[asyncio.Task[Any]] = {stopping, consumer, *tasks}
            while not stopping.done() and not consumer.done():
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {stopping, consumer}:
                    task.result()  # a feed or the venue that raised ends the session: it never runs on half blind
                if feeding and all(task.done() for task in feeding):
                    await self.door.drained()  # a replay has come to its end
                    self.stop()
            await self._let_cancels_go()
        finally:
            for task in (*tasks, consumer, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            await self.venue.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await consumer
            await self._end()

    def stop(self) -> None:
        """Ask the session to end; orders at the venue are left standing."""
        self._stopping.set()

    async def _start(self) -> None:
        await self.venue.start(self.door.put)

    async def _ticks(self) -> None:
        while True:
            self.door.put(Tick(ns=0))
            await asyncio.sleep(self._tick_s)

    async def _consume(self) -> None:
        while self.failed is None:
            await self.take(await self.door.get())

    async def _end(self) -> None:
        """What still waits at the door is handled, and the state written down."""
        if self.failed is None:
            await self.take((), send=False)  # what was begun
            events = self.door.get_now()
            while events and self.failed is None:
                await self.take(events, send=False)
                events = self.door.get_now()
        if self.failed is None:
            self.write_snapshot(self._now())
            self._commit()

    # --- one chunk of events ------------------------------------------------------------------------------------------
    async def take(self, events: Sequence[Event], *, send: bool = True) -> None:
        """Handle events in order; each step that commands anything is durable before it is sent."""
        self._chunk.extend(events)  # kept, so that none is lost when the consumer is cancelled between two of them
        while self._chunk:
            step = self._handle(self._chunk.popleft())
            if step.commands and send:
                self._commit()
                await self._send(step)
                for _ in range(3):  # what was sent leaves now, before anybody is told and before the next event
                    await asyncio.sleep(0)
                self._tell()
        self._commit()
        self._tell()
        if self._now() >= self._snapshot_due_ns and self.failed is None:
            self.write_snapshot(self._now())
            self._commit()

    def _handle(self, event: Event) -> Step:
        event = replace(event, ns=self._now())
        began = perf_counter()
        step = self.engine.handle(event)
        if self.timer is not None:
            self.timer("step", perf_counter() - began)
        took = getattr(self.venue, "took", None)
        if took is not None:
            took(event)
        for order in step.sent["id"].tolist():
            self.sessions[order] = self.session
            self._unsent.add(order)
        if isinstance(event, Tick) and step.empty:
            self._untold.append((event, step, self.seq))
            return step
        self._write(event.ns, "event", pack(event))
        kind, seq = type(event).__name__, self.seq
        knew = any(one.cutoff_ns >= event.ns for one in step.decisions)  # else it only told that a row's time was over
        if knew or not step.decisions:
            self._behind.heard(kind, seq)
        if not step.empty:
            body = step_body(step, self.engine.symbols, self.engine.names)
            if step.decisions:
                body[FACTS] = self._behind.told()
            self._write(event.ns, "step", body)
        if step.decisions and not knew:
            self._behind.heard(kind, seq)
        self._untold.append((event, step, self.seq))
        return step

    def _now(self) -> int:
        """Later than every event before: two events never share an instant, so that their order can be told."""
        return max(self.clock.now_ns(), self.engine.now_ns + 1)

    def _tell(self) -> None:
        """Tell the watchers of what is durable by now; orders have left before, they don't wait for a line of log."""
        newest = self.seq
        while self._untold:
            event, step, self.seq = self._untold.popleft()
            self._watch(event, step)
        self.seq = newest

    def _watch(self, event: Event, step: Step) -> None:
        for watcher in self.watchers:
            watcher(event, step)

    async def _send(self, step: Step) -> None:
        if self.failed is None:
            await self.venue.send(step.commands)
            self._unsent.difference_update(step.sent["id"].tolist())
        else:
            await self._take_back(step)

    async def _take_back(self, step: Step) -> None:
        """Of a step that isn't written down: its cancels, but not those of orders that never left."""
        cancels = [one for one in step.commands if isinstance(one, Withdraw) and one.order not in self._unsent]
        if cancels:
            try:
                await self.venue.send(cancels)
            except WorkError as error:
                LOG.critical("%d orders stand that couldn't be cancelled: %s", len(cancels), error)

    async def _let_cancels_go(self) -> None:
        """After the journal failed: cancels of entries get some time before the venue's side is stopped."""
        if self._last_words is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._last_words
                while self.venue.health().get("leaving"):
                    await asyncio.sleep(TICK_S / 4)

    # --- the journal --------------------------------------------------------------------------------------------------
    def _write(self, ns: int, kind: str, body: dict[str, Any]) -> None:
        if self.failed is None:
            try:
                self.seq = self.keeper.append(ns, kind, body)
            except JournalError as error:
                self._fail(error)

    def _commit(self) -> None:
        if self.failed is not None:
            return
        memory = getattr(self.venue, "memory", None)
        if memory is not None and getattr(self.venue, "changed", True):
            told = memory()
            if told != self._venue_memory:
                self._venue_memory = told
                self._write(self._now(), "venue", told)
        began = perf_counter()
        try:
            self.keeper.commit()
        except JournalError as error:
            self._fail(error)
        if self.timer is not None:
            self.timer("commit", perf_counter() - began)

    def _fail(self, error: JournalError) -> None:
        """No journal, no send: entries are cancelled and nothing more is decided."""
        self.failed = error
        LOG.critical("the journal can't be written: %s", error)
        halted = Condition(ns=self._now(), cause="journal", on=True, level=HALTED, text=str(error))
        step = self.engine.handle(halted)
        self._watch(halted, step)
        self._unsent.update(step.sent["id"].tolist())
        self._last_words = asyncio.ensure_future(self._take_back(step))

    def write_snapshot(self, ns: int) -> None:
        """Append the whole state, so that recovery begins here."""
        self._snapshot_due_ns = ns + self._snapshot_ns
        working = set(self.engine.desk.working["id"].tolist())
        self.sessions = {order: session for order, session in self.sessions.items() if order in working}
        body = snapshot_body(self.engine, ns, feeds=self.health())
        body["order_sessions"] = [[order, session] for order, session in self.sessions.items()]
        self._write(ns, "snapshot", body)

    def health(self) -> dict[str, Any]:
        """What feeds, door and venue say of themselves."""
        found = {feed.name: feed.health() for feed in self.feeds}
        return {**found, "door": self.door.health()}
