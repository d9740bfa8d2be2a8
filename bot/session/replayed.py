"""The embedded sample replayed as if it were live: the clock is the sample's, faster, and nothing needs a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bot.events import Bar, Observation, Posts
from bot.feeds.door import Door
from bot.feeds.stored import StoredFacts
from bot.operate.latch import ACTIVE, write_latch
from bot.ports import Feed, Put, Venue
from bot.recover import Warm
from bot.run import SimulatedVenue
from bot.session.opening import Opened, folder_of, open_session
from bot.session.paper import Tell, last_prices, run_opened, stored_bars
from bot.session.terms import spec_of, with_markets
from data.times import DAY_NS, SECOND_NS, format_time

if TYPE_CHECKING:
    from pathlib import Path

    from bot.config import Config

ORDER = {Observation: 0, Posts: 1, Bar: 2}


class ReplayClock:
    """Tells the time of what is being replayed."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def now_ns(self) -> int:
        """Nanoseconds UTC of the sample."""
        return self.ns


class Replay:
    """Puts facts in the order in which they were known, each handled before the next; so that a replay is one replay.

    Parameters
    ----------
    facts : sequence of Bar, Posts, Observation
        In order; `ns` is when each was known.
    speed : float
        Seconds of the sample in one second; 0: as fast as it goes.
    """

    name = "replay"

    def __init__(self, facts: Sequence[Warm], clock: ReplayClock, door: Door, *, speed: float) -> None:
        self._facts, self._clock, self._door, self._speed = facts, clock, door, speed
        self._done = 0

    async def run(self, put: Put) -> None:
        """See `bot.ports.Feed`; ends with the last fact."""
        begun, first_ns = time.monotonic(), self._facts[0].ns if self._facts else 0
        for fact in self._facts:
            if self._speed > 0.0:
                due = begun + (fact.ns - first_ns) / SECOND_NS / self._speed
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._clock.ns = max(self._clock.ns, fact.ns)
            put(fact)
            await self._door.drained()
            self._done += 1

    def health(self) -> dict[str, Any]:
        """How far it is."""
        return {"facts": self._done, "of": len(self._facts), "at": format_time(self._clock.ns), "age_s": 0.0}


def in_order(facts: Iterable[Warm]) -> Iterator[Warm]:
    """Facts by the time they were known, at one instant metrics first, then posts, then bars; posts one by one."""
    yield from sorted(_single(facts), key=lambda fact: (fact.ns, ORDER[type(fact)]))


def _single(facts: Iterable[Warm]) -> Iterator[Warm]:
    for fact in facts:
        if isinstance(fact, Posts):
            for i, known in enumerate(fact.rows["known_ns"].tolist()):
                yield Posts(ns=known, rows=fact.rows[i : i + 1])
        elif isinstance(fact, Observation):
            yield replace(fact, ns=fact.known_ns)
        else:
            yield fact


def run_replayed(config: Config, var: Path, *, days: float, speed: float, person: str, tell: Tell) -> Opened:
    """Replay the last days of the sample into a fresh paper session.

    Raises
    ------
    TidegateError
        Whatever keeps it from starting or going on.
    """
    from bot.context import store_of
    from bot.verbs_runs import ensure_sample

    store = store_of(config, var)
    ensure_sample(store, config)
    spec = spec_of(config)
    end_ns = max(int(store.bars(symbol, spec.bar_ns).close_ns[-1]) for symbol in spec.symbols)
    since_ns = end_ns - int(days * DAY_NS)
    whole = StoredFacts(store, spec, clock=ReplayClock(end_ns))
    facts = list(in_order([*_warm(whole), *_bars_between(store, spec, since_ns, end_ns)]))
    before = [fact for fact in facts if fact.ns <= since_ns]
    live = [fact for fact in facts if fact.ns > since_ns]
    clock = ReplayClock(since_ns)
    spec = with_markets(spec, {}, last_prices(fact for fact in before if isinstance(fact, Bar)))
    folder = folder_of(config, var, "paper", name=f"replay-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    write_latch(folder, ACTIVE, person, "a replay of the sample", clock.now_ns())
    opened = open_session(
        config, spec, folder, mode="paper", now_ns=clock.now_ns(), person=person, outside=False, stops=True,
        warm=lambda: before, tell=tell, facts={"replayed": "the embedded sample: invented prices and posts"},
    )  # fmt: skip
    tell(f"SYNTHETIC MARKET: {len(live):,} facts from {format_time(since_ns)} on, at {speed:g} times their pace")

    def parts(door: Door) -> tuple[Venue, Sequence[Feed]]:
        return SimulatedVenue(), [Replay(live, clock, door, speed=speed)]

    run_opened(opened, config, clock, parts)
    return opened


def _warm(whole: StoredFacts) -> Iterator[Warm]:
    for fact in whole.warm():
        assert isinstance(fact, Posts | Observation)
        yield fact


def _bars_between(store: Any, spec: Any, since_ns: int, end_ns: int) -> Iterator[Warm]:
    yield from stored_bars(store, spec, end_ns, None, since_ns=since_ns)
