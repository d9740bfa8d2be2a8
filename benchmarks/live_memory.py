"""A week of a session in virtual time, with all that stands around a bot, and how its memory grows by the day.

A venue fills what is sent at once and reports it; posts, ticks and one-minute bars come all week. Records are made and
hashed as the journal's are, and dropped, so that what is measured is the bot's own.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backtest.facts import coins_of
from backtest.run import new_desk
from benchmarks.live_load import Seen, Watch, bars_at, posts_of, resident_mb, spec_of, usual_days
from bot.context import current_config
from bot.engine import Engine
from bot.events import Event, Posts, Report, Submit, Tick
from bot.feeds.door import Door
from bot.hearing import KEPT
from bot.journal.chain import GENESIS, canonical, digest
from bot.operate.latch import ACTIVE, write_latch
from bot.operate.lock import acquire
from bot.ports import Put
from bot.recover import Recovered
from bot.run import Bot
from bot.session.company import Company
from bot.session.opening import Opened
from data.times import DAY_NS, MINUTE_NS

SECOND = 10**9
START_NS = 1_767_225_600 * SECOND  # 2026-01-01


class Dropping:
    """A keeper that makes records as the journal does, and keeps the newest hash only."""

    def __init__(self) -> None:
        self.header: dict[str, Any] = {"bot": "00c0ffee"}
        self._seq, self._hash = 0, GENESIS

    def append(self, ns: int, kind: str, body: dict[str, Any]) -> int:
        """See `bot.ports.Keeper`."""
        self._seq += 1
        self._hash = digest(self._hash, self._seq, ns, kind, canonical(body))
        return self._seq

    def commit(self) -> None:
        """Nothing is kept."""

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest."""
        return self._seq, self._hash.hex()

    @property
    def origin(self) -> str:
        """Names the journal."""
        return GENESIS.hex()

    def close(self) -> None:
        """Nothing is open."""


class Filling:
    """A venue that fills every order whole, at its worst price's better side, as soon as it is asked."""

    def __init__(self) -> None:
        self.put: Put | None = None
        self.sent = 0

    async def start(self, put: Put) -> None:
        """Nothing to reconcile."""
        self.put = put

    async def send(self, commands: Sequence[Any]) -> None:
        """Fill it, or confirm that it is gone."""
        assert self.put is not None
        for command in commands:
            self.sent += 1
            if isinstance(command, Submit):
                price = 100.0 if command.side > 0 else 100.4
                fee = command.qty * price * 0.001
                trade = f"trade-{command.order}"
                self.put(Report(ns=0, order=command.order, what="acked"))
                filled = Report(ns=0, order=command.order, what="filled", qty=command.qty, price=price, fee=fee)
                self.put(Report(**{**vars(filled), "trade": trade}))
            else:
                self.put(Report(ns=0, order=command.order, what="cancelled"))

    async def stop(self) -> None:
        """Nothing to stop."""

    def health(self) -> dict[str, Any]:
        """For `status`."""
        return {"sent": self.sent}


def week(*, days: float = 7.0, posts_every_s: int = 1, tick_s: int = 1, samples_a_day: int = 8) -> dict[str, Any]:
    """Figures of a simulated stretch.

    Returns
    -------
    dict
        Events, orders and posts handled; resident megabytes by sample; the slope over all but the first day (the first
        quarter of a shorter stretch) in MB a day, with its 95% interval.
    """
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_week(Path(folder), days, posts_every_s, tick_s, samples_a_day))


async def _week(folder: Path, days: float, posts_every_s: int, tick_s: int, samples_a_day: int) -> dict[str, Any]:
    spec = spec_of(MINUTE_NS)
    engine = Engine(spec, new_desk(spec, outside=True), coins_of(spec))
    for posts in usual_days(START_NS):
        engine.learn(posts)
    engine.ear.recall(_full_ear())
    clock, seen, venue, door = Watch(START_NS), Seen(), Filling(), Door(50_000)
    write_latch(folder, ACTIVE, "benchmark", "a week in virtual time", START_NS)
    lock = acquire(folder, session="0000feed", bot_id="00c0ffee", now_ns=START_NS, take_over=False)
    journal: Any = Dropping()
    opened = Opened(folder, "paper", "00c0ffee", "0000feed", lock, journal, engine, spec, Recovered(), True)
    company = Company(opened, current_config(None, None, sample=True), now_ns=clock.now_ns, durable_latch=False,
                      quiet=True)  # fmt: skip
    driver = Bot(engine, journal, clock=clock, door=door, venue=venue, watchers=[seen.watch, company.watch])
    company.bot = driver
    await venue.start(door.put)
    rng, found = np.random.default_rng(5), []
    began, events, next_sample = time.perf_counter(), 0, START_NS
    for ns in range(START_NS, START_NS + int(days * DAY_NS), tick_s * SECOND):
        clock.ns = ns
        for event in _at(ns, rng, posts_every_s):
            door.put(event)
        while waiting := door.get_now():
            await driver.take(waiting)
            events += len(waiting)
        if ns >= next_sample:
            gc.collect()
            found.append(((ns - START_NS) / DAY_NS, resident_mb()))
            next_sample += DAY_NS // samples_a_day
    company.close(clean=True)
    lock.release(clock.now_ns())
    first = 1.0 if days > 2 else days / 4
    slope, half = slope_of([one for one in found if one[0] >= first])
    return {
        "days": days, "events": events, "posts": seen.taken, "orders": seen.orders, "fills": seen.fills,
        "decisions": seen.decisions, "seconds": round(time.perf_counter() - began, 1),
        "resident_mb": [[round(day, 3), round(mb, 2)] for day, mb in found],
        "mb_a_day": round(slope, 3), "interval": [round(slope - half, 3), round(slope + half, 3)],
    }  # fmt: skip


def _full_ear() -> dict[str, Any]:
    """Remembered trades and orders up to their bound, as after a long session: filling it isn't what is looked for."""
    trades = [f"{-number}:trade-{number}" for number in range(KEPT)]
    return {"trades": trades, "orders": [[-1 - number, 0, 1] for number in range(KEPT)], "standing": []}


def _at(ns: int, rng: np.random.Generator, posts_every_s: int) -> list[Event]:
    found: list[Event] = [Tick(ns=0)]
    if ns // SECOND % posts_every_s == 0:
        found.append(Posts(ns=0, rows=posts_of(1, ns, rng, authors=40)))
    if ns % MINUTE_NS == 0:
        found += bars_at(ns, MINUTE_NS, ns // MINUTE_NS % 2 == 0)
    return found


def slope_of(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(slope, half of its 95% interval) of a straight line through them; NaN when there are fewer than three."""
    if len(samples) < 3:
        return float("nan"), float("nan")
    x, y = np.array(samples).T
    off = x - x.mean()
    slope = float((off * y).sum() / (off * off).sum())
    rest = y - y.mean() - slope * off
    return slope, 1.96 * float(np.sqrt((rest * rest).sum() / (len(x) - 2) / (off * off).sum()))
