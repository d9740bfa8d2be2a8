"""A recorded span backtests to the very signals that were seen live, value for value.

The recorder, the scoring job, the feed of stored facts and the engine run side by side in virtual time: posts and
readings arrive at any moment, some a millisecond on either side of a close, a feed goes down and comes back, bars come
up to two seconds after their close. Afterwards a backtest reads the store, and nothing of what the session held in
memory.
"""

import asyncio
import hashlib
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backtest.facts import coins_of
from backtest.load import load_inputs
from backtest.run import known_values, new_desk, settled
from backtest.spec import RunSpec, bar_patience
from bot.engine import Engine
from bot.events import Bar, Event, Tick
from bot.feeds.gate import RowGate
from bot.feeds.stored import StoredFacts, warm_bars
from bot.step import Decision
from data.facts import fact_table
from data.feed import FeedError, Reading, Take, Written
from data.store import Store
from data.times import MINUTE_NS, SECOND_NS, floor_time
from signals import EMA, Attention, Close, Disagreement, Level, Mood, MoodChange
from signals.ops import OK, SUSPECT
from signals.score_report import ScoreOptions
from signals.scorer import Compute, Probabilities
from signals.scoring import Job, open_cache
from signals.streaming import Watch
from strategies.base import Strategy
from tests.bot.feeds_world import START_NS, VirtualClock, VirtualLoop
from tests.bot.record_world import Played, recorder
from tests.signals.score_helpers import CARD, Echo

SYMBOLS = ("BTC/USDT", "ETH/USDT")
NAMES = {"BTC": "bitcoin", "ETH": "ethereum"}
MINUTES = 28
DOWN = (16.4, 19.2)  # minutes between which the feed of posts doesn't answer


class Looks(Strategy):
    """Looks at posts, at a metric and at the price."""

    mood = Mood(half_life="20m", max_age="never", min_weight=0.1)
    turn = MoodChange("5m", against="40m", max_age="never", min_weight=0.1)
    split = Disagreement("30m", max_age="never", min_weight=0.1)
    loud = Attention("10m", every="2m", max_age="never")
    flow = Level("flow", max_age="never")
    trend = EMA(5)
    price = Close()

    @staticmethod
    def weigh(s, p):  # type: ignore[no-untyped-def]
        """A little of what is liked."""
        return 0.1 if s.mood > 0.0 else 0.0


class Inline(ThreadPoolExecutor):
    """Work for a thread is done at once: virtual time doesn't go on meanwhile."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


class Oracle(Echo):
    """A score for every text, by its hash."""

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        rows = []
        for text in texts:
            up = 0.4 + 0.2 * hashlib.blake2b(text.encode()).digest()[0] / 255
            rows.append([1.0 - up, 0.0, up])
        yield np.arange(len(texts)), np.array(rows, np.float32)


def moments(rng: random.Random, every_s: float) -> list[int]:
    """When things arrive, in nanoseconds after the start: anywhere, and a millisecond on either side of closes."""
    found = {int(rng.uniform(0, MINUTES * 60) * SECOND_NS) for _ in range(int(MINUTES * 60 / every_s))}
    for minute in range(1, MINUTES, 3):
        found |= {minute * MINUTE_NS + shift * SECOND_NS // 1000 for shift in (-1, 1, 700)}
    return sorted(found)


class World:
    """The session; `decisions` is what the engine decided, in order."""

    def __init__(self, var: Path, *, seed: int) -> None:
        self.var, self.rng = var, random.Random(seed)
        self.clock = VirtualClock()
        self.spec = RunSpec(
            strategy=Looks(), symbols=SYMBOLS, bar_ns=MINUTE_NS, model=CARD.name, model_revision=CARD.pinned
        )  # fmt: skip
        waiting = replace(self.spec, decision_delay_ns=bar_patience(MINUTE_NS))
        self.first_ns = floor_time(START_NS, MINUTE_NS)
        self.bars: dict[str, list[tuple[int, float]]] = {symbol: [] for symbol in SYMBOLS}
        store = Store(var)
        store.append("bars", self._history())
        waiting = settled(waiting, load_inputs_of_prices(store, waiting))
        self.engine = Engine(waiting, new_desk(waiting), tuple(coins_of(waiting)))
        for fact in warm_bars(store, waiting, None, None):
            self.engine.learn(fact)
        self.decisions: list[Decision] = []

    def _history(self) -> Any:
        """One bar of each symbol before the start, so that markets have a price."""
        at = [self.first_ns - MINUTE_NS] * 2
        return bar_table(list(SYMBOLS), at, [100.0, 50.0])

    def put(self, event: Event) -> None:
        """To the engine, at once."""
        self.decisions += self.engine.handle(replace(event, ns=self.clock.now_ns())).decisions

    async def until(self, ns: int) -> None:
        """Sleep until a moment of the session."""
        left_ns = self.first_ns + ns - self.clock.now_ns()
        await asyncio.sleep(max(left_ns, 0) / SECOND_NS)

    # --- what comes from outside --------------------------------------------------------------------------------------
    async def chatter(self, feed: Played, take: Take) -> None:
        """Posts; those of the time when the source is down come never."""
        for number, at in enumerate(self.posts_at):
            if number < self.told:
                continue
            minute = at / MINUTE_NS
            if minute > DOWN[0] and feed.now_ns() < self.first_ns + int(DOWN[1] * MINUTE_NS):
                self.told = next(i for i, later in enumerate(self.posts_at) if later > DOWN[1] * MINUTE_NS)
                raise FeedError("gone")
            await self.until(at)
            coin = self.rng.choice(list(NAMES))
            written = feed.now_ns() - self.rng.randrange(1, 90) * SECOND_NS
            text = f"{NAMES[coin]} and the {' '.join(self.rng.choices(self.words, k=9))}"
            item = Written(f"k{number}", written, text, author=f"a{self.rng.randrange(40)}", followers=500.0)
            self.told = number + 1
            await take(feed.batch(item))
        await asyncio.Event().wait()

    async def measure(self, feed: Played, take: Take) -> None:
        """Readings of a metric."""
        for at in moments(self.rng, 47.0):
            await self.until(at)
            value = self.rng.uniform(-5.0, 5.0)
            coin = self.rng.choice(list(NAMES))
            await take(feed.batch(Reading("flow", coin, feed.now_ns() - SECOND_NS, value)))
        await asyncio.Event().wait()

    async def trade(self, symbol: str) -> None:
        """Closed bars, each up to two seconds late."""
        price = 100.0
        for minute in range(MINUTES):
            close_ns = self.first_ns + (minute + 1) * MINUTE_NS
            await self.until((minute + 1) * MINUTE_NS + int(self.rng.uniform(0.05, 2.0) * SECOND_NS))
            price *= 1.0 + self.rng.uniform(-0.01, 0.01)
            self.bars[symbol].append((close_ns - MINUTE_NS, price))
            self.put(
                Bar(
                    ns=0,
                    symbol=symbol,
                    open_ns=close_ns - MINUTE_NS,
                    close_ns=close_ns,
                    open=price,
                    high=price,
                    low=price,
                    close=price,
                    volume=5.0,
                )  # fmt: skip
            )

    async def tick(self) -> None:
        """The engine's own clock."""
        while True:
            await asyncio.sleep(1.0)
            self.put(Tick(ns=0))

    async def score(self, store: Store) -> None:
        """The scoring job, a tenth of a second behind."""
        options = ScoreOptions(scorer=Oracle(), live=True)
        with open_cache(store, CARD, Compute()) as cache:
            job = Job(store, CARD, cache, self.clock.now_ns, None, options)
            watch = Watch(job)
            while True:
                rows = watch.look()
                if rows is not None and rows.num_rows:
                    await asyncio.sleep(0.1)
                    job.take(rows.to_pylist())
                await asyncio.sleep(0.05)

    # --- the session --------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Half an hour of it."""
        asyncio.get_running_loop().set_default_executor(Inline())
        self.posts_at, self.told = moments(self.rng, 15.0), 0
        self.words = ["".join(self.rng.choices("aeioulmnrst", k=6)) for _ in range(300)]  # no two posts are alike
        store = Store(self.var)
        facts = StoredFacts(store, self.spec, clock=self.clock)
        facts.warm()
        facts.until = RowGate(
            lambda: self.engine.row_ns, self.clock, bar_ns=MINUTE_NS, delay_ns=0, patience_ns=bar_patience(MINUTE_NS)
        )
        scripts = {"chatter": self.chatter, "measure": self.measure}
        made = recorder(self.var, scripts, clock=self.clock, flush="250ms")
        stop = asyncio.Event()
        beside = [facts.run(self.put), self.tick(), self.score(store)]
        tasks = [asyncio.create_task(each) for each in beside]
        recording = asyncio.create_task(made.run(stop))
        await asyncio.gather(*(self.trade(symbol) for symbol in SYMBOLS))
        stop.set()
        await recording
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(found, asyncio.CancelledError), found


def bar_table(symbols: list[str], opens: list[int], closes: list[float]) -> Any:
    """Bars as a fetch stores them."""
    at = np.array(opens, np.int64)
    prices = dict.fromkeys(("open", "high", "low", "close"), np.array(closes))
    columns = {"source": "s", "symbol": symbols, "interval_ns": MINUTE_NS, "event_ns": at, "known_ns": at + MINUTE_NS}
    return fact_table(
        "bars", {**columns, "ingested_ns": at + MINUTE_NS, "quality": "assumed_lag", **prices, "volume": 5.0}
    )


def load_inputs_of_prices(store: Store, spec: RunSpec) -> Any:
    """Inputs of a strategy without facts: enough to settle markets."""

    class Plain(Strategy):
        price = Close()

        @staticmethod
        def weigh(s, p):  # type: ignore[no-untyped-def]
            """Nothing."""
            return 0.0

    return load_inputs(store, replace(spec, strategy=Plain()))


@pytest.mark.parametrize("seed", [1])
def test_a_recorded_span_backtests_to_the_signals_that_were_seen_live(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(world.run())
    store = Store(tmp_path)
    for symbol, rows in world.bars.items():
        store.append("bars", bar_table([symbol] * len(rows), [at for at, _ in rows], [price for _, price in rows]))
    spec = replace(world.spec, since_ns=world.first_ns)
    inputs = load_inputs(store, spec)
    values, states = known_values(spec, inputs, spec.strategy.signals)
    assert [one.ns for one in world.decisions] == inputs.signals.decide_ns[inputs.first :].tolist()
    assert len(world.decisions) == MINUTES
    reasons = set()
    for number, live in enumerate(world.decisions):
        assert np.array_equal(live.states, states[number]), (number, live.states, states[number])
        assert live.values.tobytes() == values[number, :, :-1].tobytes(), (number, live.values, values[number])
        reasons |= set((live.states & 7).tolist())
    assert {OK, SUSPECT} <= reasons  # both were seen: signals, and a feed that was down
    assert any("feeds of posts were down once" in note for note in inputs.notes)
