"""A world for the recorder: feeds that are played by a script, a real store, and the recorder in this process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.config import load_config
from bot.config_feeds import FeedTable
from bot.record.feeds import Chosen
from bot.record.recorder import Recorder
from bot.session.running import SystemClock
from data.feed import Batch, Card, Clock, Item, Options, Progress, Source, Take, Terms, Tools, Written
from data.store import Store
from data.times import Span

Script = Callable[["Played", Take], Awaitable[None]]


class Played:
    """A feed whose stream is a script; `calls` counts how often it was begun, over all that were made of it."""

    def __init__(self, card: Card, tools: Tools, script: Script, calls: list[int]) -> None:
        self.card, self.tools, self._script, self._calls = card, tools, script, calls

    @property
    def call(self) -> int:
        """Which call of `stream` this is, from 1."""
        return len(self._calls)

    def now_ns(self) -> int:
        """The clock of the recorder."""
        return self.tools.clock.now_ns()

    def batch(self, *items: Item, ago_ns: int = 0, cursor: Mapping[str, Any] | None = None) -> Batch:
        """Things that have just arrived."""
        return Batch(items, self.now_ns() - ago_ns, cursor=cursor)

    def post(self, key: str, text: str = "bitcoin is up") -> Written:
        """A post that was written a moment ago."""
        return Written(key, self.now_ns() - 1_000_000_000, text)

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """Nobody asks."""

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        self._calls.append(1)
        await self._script(self, take)

    def health(self) -> dict[str, Any]:
        """For status."""
        return {"call": self.call}


class Every(Options):
    """Options of a played feed."""

    every: float = 0.0


def card_of(name: str, **more: Any) -> Card:
    """A card of a free source of posts."""
    plain: dict[str, Any] = {
        "name": name, "title": name, "kinds": ("posts",), "live": True, "history": "", "revises": False,
        "terms": Terms(True, True, "made up", "https://example.org/"), "per_minute": 60.0, "cost": Decimal(0),
    }  # fmt: skip
    return Card(**{**plain, **more})


def recorder(var: Path, scripts: Mapping[str, Script], *, sources: Mapping[str, str] | None = None,
             patience_ns: int | None = None, options: Options | None = None, clock: Clock | None = None,
             **record: Any) -> Recorder:  # fmt: skip
    """A recorder of played feeds; `sources` of those that share one or are called otherwise."""
    (var / "feeds").mkdir(parents=True, exist_ok=True)  # the lock's maker does it otherwise
    raw = {"run": {"symbols": ["BTC/USDT"]}, "record": {"flush": "20ms", **record}}
    config = load_config(None, base=raw)
    feeds = []
    for name, script in scripts.items():
        card, calls = card_of((sources or {}).get(name, name)), []

        def build(options: Any, tools: Tools, card: Card = card, script: Script = script,
                  calls: list[int] = calls) -> Played:  # fmt: skip
            return Played(card, tools, script, calls)

        table = FeedTable(source=card.name, options=options or Every(), patience=patience_ns)
        feeds.append(Chosen(name, table, Source(card, Every, build)))
    return Recorder(config, feeds, var, clock=clock or SystemClock(), rng=random.Random(1), scoring=False)


def play(made: Recorder, enough: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    """Record until it is enough, then end in order."""

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        until = time.monotonic() + timeout_s
        while not enough() and not task.done():
            assert time.monotonic() < until, made.body()
            await asyncio.sleep(0.005)
        stop.set()
        await task

    asyncio.run(main())


def keys(var: Path) -> list[str]:
    """Keys of all stored posts."""
    found: list[str] = Store(var).table("posts", columns=["key"])["key"].to_pylist()
    return found


def markers(var: Path, source: str) -> list[tuple[float, int, int]]:
    """(value, event_ns, known_ns) of a source's markers, in the order of their events."""
    rows = Store(var).table("metrics", {"name": ["feed_up", "posts_feed_up"], "source": [source]}).to_pylist()
    assert all(row["coin"] == "*" and row["revision"] == 0 and row["quality"] == "recorded" for row in rows)
    return sorted(((row["value"], row["event_ns"], row["known_ns"]) for row in rows), key=lambda row: row[1])
