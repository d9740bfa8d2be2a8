"""The clockwork of the venue's side: when the exchange is read, when the start is done, when its timer is armed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Protocol

from bot.exchange.conditions import Conditions
from bot.exchange.line import SECOND, Backoff, Line, VenueSettings
from bot.exchange.listen import Listener
from bot.exchange.orders_book import OrdersBook
from bot.exchange.outbox import Outbox
from bot.exchange.reconcile import Reconciler
from bot.exchange.wire import DeadMan, Done, TradeView
from bot.ports import Clock
from data.errors import RefusedError

MOVED_KEPT = 5_000
HURRIED = 6  # rounds at the shortest pause before it grows


class Alarmer(Protocol):
    """Who is told."""

    def alarm(self, kind: str, text: str) -> None:
        """Tell a person."""
        ...


class Rounds:
    """Reads the venue every so often and whenever somebody wakes it. `ready` is set when a round found all in order."""

    def __init__(
        self, *, reconciler: Reconciler, listener: Listener, conditions: Conditions, line: Line, book: OrdersBook,
        outbox: Outbox, clock: Clock, rng: random.Random, settings: VenueSettings, owner: Alarmer,
    ) -> None:  # fmt: skip
        self._reconciler, self._listener, self._conditions, self._line = reconciler, listener, conditions, line
        self._book, self._outbox, self._clock, self._rng = book, outbox, clock, rng
        self._settings, self._owner = settings, owner
        self._wake = asyncio.Event()
        self.ready = asyncio.Event()
        self.refused: RefusedError | None = None
        self.armed = False
        self.dead_man = ""
        self._moved: dict[tuple[str, str], None] = {}
        self._drained_ns = 0
        self._silent = False
        self._told = 0  # reports at the last waking
        self._hurried = 0  # quick rounds in a row

    def wake(self) -> None:
        """Read the venue now."""
        self._wake.set()

    def moved(self, view: TradeView) -> None:
        """A trade that isn't known to be ours: it may have moved what we hold, so look soon, once for each."""
        key = (view.symbol, view.trade_id)
        if key not in self._moved:
            self._moved[key] = None
            while len(self._moved) > MOVED_KEPT:
                del self._moved[next(iter(self._moved))]
            self.wake()

    async def run(self) -> None:
        """Round after round until cancelled."""
        pause = self._pause()
        while True:
            generation = self._listener.generation
            try:
                whole = await self._round()
            except ValueError as error:
                whole = False
                self._conditions.on("venue", f"an answer makes no sense: {error}")
            except RefusedError as refused:
                self.refused = refused
                self.ready.set()
                return
            if whole:
                pause = self._pause()
                self._weigh(generation)
            self._watch_engine()
            await self._sleep(self._line.wait_s(self._next_s() if whole else pause.next()))

    async def _round(self) -> bool:
        """Each reading on its own: one that fails leaves the others their chance."""
        reconciler = self._reconciler
        done = [await reconciler.read_markets(), await reconciler.read_orders(), await reconciler.read_clock()]
        return all([*done, await reconciler.read_account(), await reconciler.read_fundings()])

    def _weigh(self, generation: int) -> None:
        """After a whole round: may new risk be taken again?"""
        if self._listener.state == "down" or self._listener.generation != generation:
            return
        if any(o.verify or o.lacking for o in self._book) or not self._reconciler.compared:
            return
        self._conditions.off("stream")
        if not any(o.unknown for o in self._book):
            self.ready.set()

    def _next_s(self) -> float:
        if self._reconciler.doubtful or not self.ready.is_set() or self._conditions.is_on("stream"):
            # A round costs much of the venue's patience: a doubt that stays is looked into ever more seldom.
            self._hurried += 1
            return min(self._settings.confirm_s * 1.5 ** max(self._hurried - HURRIED, 0), self._slow_s())
        self._hurried = 0
        if self._listener.state == "up":
            return self._settings.reconcile_s
        return min(self._settings.poll_s, self._settings.reconcile_s)

    def _slow_s(self) -> float:
        return max(self._settings.confirm_s, min(self._settings.poll_s * 2.0, self._settings.reconcile_s))

    def _pause(self) -> Backoff:
        return Backoff(self._rng, first=self._settings.backoff_s, most=self._settings.unreachable_most_s)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
                # One reading for many calls, and none before the venue wants to hear from us again.
                await asyncio.sleep(self._line.wait_s(self._settings.backoff_s))
        self._wake.clear()

    # --- the engine takes what it is told -----------------------------------------------------------------------------
    def took(self) -> None:
        """The engine has taken something."""
        if self._outbox.pending:
            return
        self._drained_ns = self._clock.now_ns()
        self._silent = False
        if self._told != self._outbox.told and (self._reconciler.doubtful or not self._reconciler.compared):
            self._told = self._outbox.told  # something new was booked; mere passing of time is no reason to ask
            self.wake()

    def _watch_engine(self) -> None:
        now_ns = self._clock.now_ns()
        if not self._outbox.pending or not self._drained_ns:
            self._drained_ns = now_ns
        elif not self._silent and now_ns - self._drained_ns > self._settings.silent_s * SECOND:
            self._silent = True
            self._owner.alarm("engine", f"{self._outbox.pending} reports weren't taken for {self._settings.silent_s} s")

    # --- the venue's own timer ----------------------------------------------------------------------------------------
    async def rearm(self) -> None:
        """Keep the venue's timer wound up, except while stops stand that it would cancel too."""
        while True:
            stops = any(o.protective for o in self._book) and not self._settings.dead_man_spares_stops
            span = 0 if stops else self._settings.dead_man_s
            if span or self.armed:
                answer = await self._line.ask(DeadMan(timeout_s=span))
                done = isinstance(answer, Done)
                said = ("armed" if span else "off, for stops stand") if done else f"not set: {answer}"
                if not done and said != self.dead_man:
                    self._owner.alarm("dead-man", said)
                self.armed, self.dead_man = (span > 0, said) if done else (self.armed, said)
            await asyncio.sleep(self._settings.dead_man_s / 3.0)

    async def disarm(self) -> None:
        """Orders are left standing on purpose: the timer mustn't cancel them."""
        if self.armed:
            await self._line.ask(DeadMan(timeout_s=0))
