"""Random lives: seeded lists of faults, restarts and kills at random points, then quiet, then the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.faults import judge
from tests.faults.bot_world import FOREIGN_BTC, LIMITS
from tests.faults.lives import Life, Tape, brief, is_quiet, world
from tests.faults.nursery import DEATHS, Nursery
from tests.venue.faults import Fault, seeded
from tests.venue.server import LocalVenue

# Tight ones, so that they bind.
BOUNDS = {**LIMITS, "order_notional": "1500", "position_notional": "1900", "orders_per_minute": 60}
QUIET_S = 90.0  # much longer than it takes: the machine may be busy
ENDS = ("kill",) * 8 + ("term",) * 3 + ("exchange",) * 2 + ("power",) * 2 + ("die",) * 5


@dataclass
class Verdict:
    """What a seed came to. `wrong` is empty when all is well."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    trades: int = 0
    faults: int = 0
    lost: int = 0
    latched: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Story:
    """One seed's world while it lasts."""

    def __init__(self, seed: int, venue: LocalVenue, life: Life, tape: Tape) -> None:
        self.rng = random.Random(seed)
        self.venue, self.life, self.tape = venue, life, tape
        self.verdict = Verdict(seed)
        self.foreign = Decimal(FOREIGN_BTC)
        self.crash = 0.02

    def moves(self) -> Mapping[str, float]:
        """Up or down a little; now and then through every stop."""
        found = {}
        for name in self.tape.prices:
            if self.rng.random() < self.crash:
                found[name] = 0.93
            else:
                found[name] = 1.0 + self.rng.choice((1, -1)) * self.rng.uniform(0.0005, 0.003)
        return found

    def wrong(self, truth: judge.Truth, ledger: judge.Ledger, *, quiet: bool) -> list[str]:
        """Everything that is."""
        foreign = {"BTC": str(self.foreign)}
        return judge.faults(truth, ledger, foreign=foreign, limits=BOUNDS, quiet=quiet)

    async def run(self, lives: int, *, faults: bool = True) -> None:
        """All lives, the quiet after them, the verdict."""
        async with self.tape.running(self.moves):
            for _ in range(lives):
                await self._live(faults=faults)
            await self._mend()
            await self._begin()
            await asyncio.sleep(self.rng.uniform(1.0, 2.0))
        await self._quiet()
        code = await self.life.stop()
        if code:
            self.verdict.wrong.append(f"SIGTERM ended it with {code}")
        self._judge()

    async def killed(self, count: int) -> None:
        """Killed again and again; see `kill`."""
        rng, life = self.rng, self.life
        async with self.tape.running(self.moves):
            for _ in range(count):
                if rng.random() < 0.9:
                    await self._begin()
                    now = time.time()
                    close = int(now) + 1 + rng.randint(0, 1) - now
                    await asyncio.sleep(close + (rng.uniform(0.0, 0.15) if rng.random() < 0.8 else rng.random()))
                else:  # killed while it starts
                    life.start()
                    await asyncio.sleep(rng.uniform(0.0, 1.5))
                await life.kill()
                self.verdict.ends["kill"] += 1
                if (life.account / "journal.sqlite").exists():
                    self._judge(quiet=False)
                if self.verdict.wrong:
                    return
            await self._begin()
        await self._quiet()
        await life.stop()
        self._judge()

    async def _live(self, *, faults: bool) -> None:
        end = self.rng.choice(ENDS)
        more: dict[str, Any] = {}
        if end == "die":
            more = {"die": self.rng.choice(DEATHS), "nth": self.rng.randint(1, 8)}
        self.verdict.ends[end] += 1
        if faults:
            self.venue.faults.add(*self.faults())
        self.life.start(**more)
        span = self.rng.uniform(1.0, 5.5)
        limit = time.monotonic() + span
        while self.life.lives and time.monotonic() < limit:
            if self.rng.random() < 0.05:
                self.somebody()
            await asyncio.sleep(0.1)
        await self._end(end)

    async def _end(self, end: str) -> None:
        if self.rng.random() < 0.6:  # around a close, when orders are under way
            now = time.time()
            await asyncio.sleep(int(now) + 1 - now + self.rng.uniform(0.0, 0.15))
        if end == "term":
            await self.life.stop()
            return
        others = [pid for pid in await asyncio.to_thread(self.life.companions) if pid != self.life.pid]
        if end in ("exchange", "power"):
            for pid in others:
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(pid, signal.SIGKILL)
        if end == "exchange":
            await self.life.ended()
        elif self.life.lives:
            await self.life.kill()

    def faults(self) -> list[Fault]:
        """What goes wrong in one life."""
        return seeded(self.rng.randrange(2**31), self.rng.randint(1, 5), within=12)

    def somebody(self) -> None:
        """Somebody else uses the account: a deposit, a withdrawal, a trade or an order far away, all small."""
        venue, what = self.venue, self.rng.choice(("in", "out", "far", "buy"))
        if what in ("in", "out"):
            amount = Decimal("0.0005") * (1 if what == "in" else -1)
            venue.engine.deposit("BTC", str(amount), venue.now_ms())
            self.foreign += amount
        elif what == "far":
            price = venue.engine.books["BTCUSDT"].price * Decimal("1.5")
            venue.foreign("BTCUSDT", "sell", "limit", "0.0005", limit=price.quantize(Decimal("0.01")))
        else:
            before = venue.engine.account("main").total("BTC")
            venue.foreign("BTCUSDT", "buy", "market", "0.0005")
            self.foreign += venue.engine.account("main").total("BTC") - before

    async def _mend(self) -> None:
        """The world is well again."""
        self.venue.faults.clear()
        await asyncio.sleep(0.5)  # what was to change back by itself has
        self.venue.maintenance = False
        self.venue.offset_ms = 0.0
        self.venue.doorman.banned_until_ms = 0
        await self.venue.listen(True)

    async def _begin(self) -> None:
        """Start it until it runs, as a service manager would: an earlier exchange process may still be finishing."""
        limit = time.monotonic() + QUIET_S
        while True:
            self.life.start()
            try:
                await self.life.until(is_quiet, QUIET_S)
                return
            except AssertionError:
                if self.life.lives or self.life.code not in (3, 4) or time.monotonic() > limit:
                    raise

    async def _quiet(self) -> None:
        """One last rise, so that something is held; then no bar more, until nothing is under way."""
        await self.tape.step(**dict.fromkeys(self.tape.prices, 1.001))
        limit, still = time.monotonic() + QUIET_S, 0
        told: dict[str, Any] | None = None
        seen = -1
        while still < 6:
            await asyncio.sleep(0.15)
            told = await self.life.told()
            calm = told is not None and is_quiet(told) and all(one["state"] == "ACKED" for one in told["orders"])
            still = still + 1 if calm and len(self.venue.requests) <= seen + 8 else 0
            seen = len(self.venue.requests)
            if not self.life.lives or time.monotonic() > limit:
                self.verdict.wrong.append(f"it didn't come to rest: {brief(told)} {self.life.said()[-1500:]}")
                return
        assert told is not None
        self.verdict.latched = [f"{one['cause']}: {one['text']}" for one in told["latches"] if one["cause"] != "data"]

    def _judge(self, *, quiet: bool = True) -> None:
        truth, ledger = self.venue.truth(), judge.read(self.life.account)
        verdict = self.verdict
        verdict.wrong += self.wrong(truth, ledger, quiet=quiet)
        ours = [one for one in truth["orders"] if str(one["client_id"]).startswith(ledger.bot)]
        verdict.orders = len(ours)
        verdict.trades = len(truth["trades"])
        verdict.faults = len(truth["faults"])
        verdict.lost = len(ledger.orders) - len(ours)


Made = tuple[Callable[..., Any], type[Story]]  # how a world is made, and what happens in it


def spot(nursery: Nursery, folder: Path) -> Any:
    """A world of coins."""
    return world(nursery, folder, limits=BOUNDS, run={"decision_delay": "150ms"})


def _made(perp: bool) -> Made:
    if not perp:
        return spot, Story
    from tests.faults import perp_lives

    return perp_lives.world, perp_lives.PerpStory


async def play(
    nursery: Nursery, folder: Path, seed: int, *, lives: int = 0, faults: bool = True, perp: bool = False
) -> Verdict:
    """One seed from its birth to its verdict; an error of the story itself is a verdict, too.

    lives: how many before the last one; 0: one to four. perp: on perpetuals.
    """
    return await _told(nursery, folder, seed, perp, lambda story: story.run(lives or 1 + seed % 4, faults=faults))


async def kill(nursery: Nursery, folder: Path, seed: int, count: int, *, perp: bool = False) -> Verdict:
    """So many SIGKILLs of one account's bot while it trades, each followed by a start; judged after every one.

    What is under way when it is killed can't be judged then; what was doubled, sold of others or breached can. At the
    end all comes to rest, and everything is judged.
    """
    return await _told(nursery, folder, seed, perp, lambda story: story.killed(count))


async def _told(
    nursery: Nursery, folder: Path, seed: int, perp: bool, story_of: Callable[[Story], Awaitable[None]]
) -> Verdict:
    began = time.monotonic()
    verdict = Verdict(seed)
    make, kind = _made(perp)
    try:
        async with make(nursery, folder) as (venue, life, tape):
            story = kind(seed, venue, life, tape)
            verdict = story.verdict
            try:
                await story_of(story)
            except (AssertionError, ValueError) as error:
                verdict.wrong.append(f"{type(error).__name__}: {error}")
    finally:
        verdict.seconds = time.monotonic() - began
    return verdict
