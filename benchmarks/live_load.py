"""A flood of posts at a running bot's door, with bars and orders going on; and a recorded peak played twice as fast.

The bot is the whole one: door, engine with a mood signal and control 21, journal on disk with a sync at every commit,
paper fills. The posts are about one of two coins, a few texts said again by strangers; the other coin trades on. The
feeder is a thread of the same process, so that it takes its share of the interpreter too.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backtest.facts import coins_of
from backtest.run import new_desk
from backtest.spec import RunSpec
from bot.engine import Engine
from bot.events import POSTS, Bar, Event, Posts, unpack
from bot.feeds.door import Door
from bot.journal import Journal
from bot.journal.reader import Reader
from bot.run import Bot, SimulatedVenue
from bot.session.running import SystemClock
from bot.step import Step
from data.times import HOUR_NS
from risk.limits import Limits, MarketSpec
from risk.records import EV_FROZEN, R_FLOOD, Array
from signals import Momentum, Mood
from strategies.base import Strategy

SECOND = 10**9
SYMBOLS = ("BTC/USDT", "ETH/USDT")
BURST_S = 0.001
WIDE = Limits(
    order_notional=1e9, orders_per_minute=100_000, orders_per_hour=1_000_000, repeat_orders=10_000,
    rate_breaches=10**9, daily_loss=0.9, daily_loss_flatten=0.95, drawdown=0.95, loss_streak=10**9, asset_share=1.0,
    position_notional=1e9, gross_notional=1e9, net_notional=1e9, gross_leverage=1.0, turnover_per_day=1e15,
    fees_per_day=1e12,
)  # fmt: skip


class Crowd(Strategy):
    """Holds what rose in the last bar, as far as the crowd doesn't hate it."""

    mood = Mood(half_life="6h")
    rise = Momentum(1)

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """A third of equity, or nothing."""
        return 0.3 if s.rise > 0.0 and s.mood > -0.5 else 0.0


def spec_of(bar_ns: int) -> RunSpec:
    """Two coins, bars as short as that, limits that don't bind."""
    market = MarketSpec(tick=0.01, lot=0.00001, min_notional=5.0)
    return RunSpec(
        strategy=Crowd(), symbols=list(SYMBOLS), bar_ns=bar_ns, limits=WIDE, decision_delay_ns=bar_ns // 4,
        markets=dict.fromkeys(SYMBOLS, market), model="",
    )  # fmt: skip


def posts_of(count: int, now_ns: int, rng: np.random.Generator, *, authors: int, coins: int = len(SYMBOLS)) -> Array:
    """Posts of so many authors, each in words of its own, about the first so many coins."""
    rows = np.zeros(count, POSTS)
    rows["coin"] = rng.integers(0, coins, count)
    rows["event_ns"] = rows["known_ns"] = now_ns
    rows["score"], rows["weight"] = rng.uniform(-0.2, 1.0, count), 1.0
    rows["author"], rows["cluster"] = rng.integers(1, authors + 1, count), rng.integers(1, 10**9, count)
    rows["source"], rows["trusted"] = rng.integers(0, 2, count), 1
    return rows


def usual_days(until_ns: int, days: int = 8) -> Iterator[Posts]:
    """What control 21 takes as usual: twenty posts an hour by forty authors."""
    rng = np.random.default_rng(3)
    for hour in range(24 * days, 0, -1):
        rows = posts_of(20, 0, rng, authors=40)
        rows["event_ns"] = rows["known_ns"] = until_ns - hour * HOUR_NS + np.sort(rng.integers(0, HOUR_NS, 20))
        yield Posts(ns=int(rows["known_ns"][-1]), rows=rows)


def bars_at(close_ns: int, bar_ns: int, up: bool) -> list[Bar]:
    """One row: both coins rise, or both fall."""
    first, last = (100.0, 100.5) if up else (100.5, 100.0)
    bar = Bar(ns=0, symbol="", open_ns=close_ns - bar_ns, close_ns=close_ns, open=first, high=100.6, low=99.9,
              close=last, volume=1e6)  # fmt: skip
    return [replace(bar, symbol=name) for name in SYMBOLS]


def resident_mb() -> float:
    """Memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


@dataclass
class Seen:
    """What the bot did, as a watcher of every step."""

    taken: int = 0
    decisions: int = 0
    orders: int = 0
    fills: int = 0
    frozen: int = 0
    waits_ns: list[int] = field(default_factory=list)
    put_ns: dict[tuple[int, str], int] = field(default_factory=dict)  # when each bar was put

    def watch(self, event: Event, step: Step) -> None:
        """See `bot.run.Watcher`."""
        if isinstance(event, Posts):
            self.taken += len(event.rows)
        elif isinstance(event, Bar):
            put = self.put_ns.pop((event.close_ns, event.symbol), None)
            if put is not None:
                self.waits_ns.append(time.perf_counter_ns() - put)
        self.decisions += len(step.decisions)
        self.orders += len(step.sent)
        self.fills += len(step.fills)
        kinds, rules = step.events["kind"], step.events["rule"]
        self.frozen += int(np.count_nonzero((kinds == EV_FROZEN) & (rules == R_FLOOD)))


class Feeder(threading.Thread):
    """Puts posts at a rate from a thread of its own, and counts what it put."""

    def __init__(self, door: Door, *, rate: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._door, self._rate, self._seconds = door, rate, seconds
        self._pool = posts_of(1 << 16, 0, np.random.default_rng(1), authors=50_000, coins=1)
        self._pool["cluster"] %= 50  # a few texts, said again and again by accounts that nobody knows
        self.put = 0

    def run(self) -> None:
        """Until the time is over."""
        began = time.perf_counter()
        while (now := time.perf_counter() - began) < self._seconds:
            due = int(now * self._rate) - self.put
            while due > 0:
                at = self.put % len(self._pool)
                rows = self._pool[at : at + due].copy()
                rows["event_ns"] = rows["known_ns"] = time.time_ns()
                self._door.put_from_thread(Posts(ns=0, rows=rows))
                self.put += len(rows)
                due -= len(rows)
            time.sleep(BURST_S)


def load(*, rate: int = 100_000, seconds: float = 10.0, posts_max: int = 50_000, bar_ms: int = 250) -> dict[str, Any]:
    """Figures of one flood; `told` is `taken` and `dropped` together, or this raises.

    Returns
    -------
    dict
        Counts, waits of bars from their put to their step written, in milliseconds, and resident megabytes before, at
        the most and after.
    """
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_load(Path(folder), rate, seconds, posts_max, bar_ms * 10**6))


async def _load(folder: Path, rate: int, seconds: float, posts_max: int, bar_ns: int) -> dict[str, Any]:
    spec = spec_of(bar_ns)
    engine = Engine(spec, new_desk(spec), coins_of(spec))
    now = time.time_ns()
    for back in range(40, 0, -1):
        for bar in bars_at(now // bar_ns * bar_ns - back * bar_ns, bar_ns, back % 2 == 0):
            engine.learn(bar)
    for posts in usual_days(now):
        engine.learn(posts)
    seen, door = Seen(), Door(posts_max)
    with Journal.create(folder / "journal.sqlite", {"bot": "00c0ffee"}) as journal:
        driver = Bot(engine, journal, clock=SystemClock(), door=door, venue=SimulatedVenue(), watchers=[seen.watch])
        running = asyncio.create_task(driver.run())
        await _bars(door, bar_ns, 1.0, seen)  # a calm second first: kernels are loaded, a normal day is known
        seen.waits_ns.clear()
        before = most = resident_mb()
        feeder = Feeder(door, rate=rate, seconds=seconds)
        orders = seen.orders
        feeder.start()
        while feeder.is_alive():
            await _bars(door, bar_ns, 0.5, seen)
            most = max(most, resident_mb())
        feeder.join()
        flooded = list(seen.waits_ns)
        await door.drained()
        driver.stop()
        await running
    size = (folder / "journal.sqlite").stat().st_size
    health = door.health()
    if feeder.put != seen.taken + health["dropped_posts"]:
        raise AssertionError(f"{feeder.put} told, {seen.taken} taken, {health['dropped_posts']} dropped")
    return {
        "told": feeder.put, "taken": seen.taken, "dropped": health["dropped_posts"], "seconds": seconds,
        "most_waiting": health["posts_most"], "bars": len(flooded), "bar_wait_ms": spread_ms(flooded),
        "decisions": seen.decisions, "orders": seen.orders - orders, "frozen_by_control_21": seen.frozen,
        "memory_mb": {"before": round(before, 1), "most": round(most, 1), "after": round(resident_mb(), 1)},
        "journal_mb": round(size / 2**20, 1),
    }  # fmt: skip


async def _bars(door: Door, bar_ns: int, seconds: float, seen: Seen) -> None:
    """Put rows at their closes for so long."""
    until = time.time_ns() + int(seconds * SECOND)
    while (close_ns := (time.time_ns() // bar_ns + 1) * bar_ns) < until:
        await asyncio.sleep(max(close_ns - time.time_ns(), 0) / SECOND)
        for bar in bars_at(close_ns, bar_ns, close_ns // bar_ns % 2 == 0):
            seen.put_ns[(close_ns, bar.symbol)] = time.perf_counter_ns()
            door.put(bar)
    await asyncio.sleep(max(until - time.time_ns(), 0) / SECOND)


def spread_ms(waits_ns: Sequence[int]) -> dict[str, float]:
    """Median, 99th percentile and most, in milliseconds."""
    if not waits_ns:
        return {}
    figures = np.percentile(np.array(waits_ns) / 1e6, [50, 99, 100])
    return dict(zip(("p50", "p99", "most"), (round(float(one), 3) for one in figures), strict=True))


def peak(*, rate: int = 2_000, seconds: float = 10.0, speed: float = 2.0, posts_max: int = 50_000) -> dict[str, Any]:
    """Record a peak through one bot, then play its record into another at `speed` times its pace.

    Returns
    -------
    dict
        Facts recorded, put and handled the second time, dropped; whether the decisions are the same; seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        recorded = record_peak(Path(folder) / "a.sqlite", rate=rate, seconds=seconds)
        return asyncio.run(_again(Path(folder), recorded, speed, posts_max)) | {"rate": rate, "speed": speed}


def record_peak(file: Path, *, rate: int, seconds: float) -> list[Event]:
    """The events of a session of so many posts a second, as its journal has them."""
    bar_ns, rng = SECOND, np.random.default_rng(2)
    spec = spec_of(bar_ns)
    engine = Engine(spec, new_desk(spec), coins_of(spec))
    start = time.time_ns() // bar_ns * bar_ns
    clock = Watch(start)

    async def run() -> None:
        with Journal.create(file, {"bot": "00c0ffee"}) as journal:
            driver = Bot(engine, journal, clock=clock, door=Door(1000), venue=SimulatedVenue())
            for part in range(int(seconds * 100)):
                clock.ns = start + part * SECOND // 100
                events: list[Event] = [Posts(ns=0, rows=posts_of(rate // 100, clock.ns, rng, authors=5_000))]
                if part % 100 == 0:
                    events += bars_at(clock.ns, bar_ns, part % 200 == 0)
                await driver.take(events)

    asyncio.run(run())
    with Reader(file) as reader:
        return [unpack(record.body) for record in reader.records(kinds=("event",))]


async def _again(folder: Path, recorded: Sequence[Event], speed: float, posts_max: int) -> dict[str, Any]:
    spec = spec_of(SECOND)
    engine = Engine(spec, new_desk(spec), coins_of(spec))
    seen, counts, door = Seen(), Counter[str](), Door(posts_max)
    start_ns = recorded[0].ns
    clock = Watch(start_ns)

    def count(event: Event, step: Step) -> None:
        counts["posts" if isinstance(event, Posts) else type(event).__name__] += (
            len(event.rows) if isinstance(event, Posts) else 1
        )

    with Journal.create(folder / "b.sqlite", {"bot": "00c0ffee"}) as journal:
        driver = Bot(engine, journal, clock=clock, door=door, venue=SimulatedVenue(), watchers=[seen.watch, count])
        running = asyncio.create_task(driver.run())
        began = time.perf_counter()
        for event in recorded:
            due = began + (event.ns - start_ns) / SECOND / speed
            if due > time.perf_counter():
                await asyncio.sleep(due - time.perf_counter())
            clock.ns = max(clock.ns, event.ns)
            door.put(event)
        await door.drained()
        took = time.perf_counter() - began
        driver.stop()
        await running
    put = sum(len(event.rows) for event in recorded if isinstance(event, Posts))
    return {
        "posts_recorded": put, "posts_handled": counts["posts"], "posts_dropped": door.health()["dropped_posts"],
        "bars_recorded": sum(isinstance(event, Bar) for event in recorded), "bars_handled": counts["Bar"],
        "most_waiting": door.health()["posts_most"], "decisions": seen.decisions, "seconds": round(took, 2),
    }  # fmt: skip


class Watch:
    """A clock that is set."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def now_ns(self) -> int:
        """The time it was set to."""
        return self.ns
