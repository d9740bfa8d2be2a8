"""What the contract test needs of each source: how to point it at a local server, and what it has to bring."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from data.feed import Batch, Feed, Item, Purse, Tools
from data.http import Http
from data.sources import find_source
from data.times import SECOND_NS, Span
from tests.sources.server import Handler

NOW_NS = 1_760_000_000 * SECOND_NS  # 2025-10-09 08:53:20 UTC: what the local APIs say is about these days


class StepClock:
    """The time of day: goes on by a millisecond at every look, and by `advance`."""

    def __init__(self, start_ns: int = NOW_NS) -> None:
        self.ns = start_ns

    def now_ns(self) -> int:
        """See `data.feed.Clock`."""
        self.ns += 1_000_000
        return self.ns

    def advance(self, seconds: float) -> None:
        """Go on."""
        self.ns += int(seconds * SECOND_NS)


class Plenty:
    """A purse without a bottom."""

    def spend(self, items: int, now_ns: int, cost: Decimal | None = None) -> None:
        """See `data.feed.Purse`."""

    def give_back(self, items: int, booked_ns: int, cost: Decimal | None = None) -> None:
        """See `data.feed.Purse`."""

    def room(self, now_ns: int, cost: Decimal | None = None) -> int:
        """See `data.feed.Purse`."""
        return 10**9

    def close(self) -> None:
        """See `data.feed.Purse`."""


@dataclass
class World:
    """A polled or paged HTTP source for the contract test; see `tests/contracts/test_sources.py`.

    Parameters
    ----------
    name : str
        Of the source.
    handler : callable
        The healthy API. It may keep state.
    options : callable
        The source's options for a base address of the local server.
    publish : callable
        Lets one more thing happen at the source; called before and while it is followed.
    expected : callable
        The items published so far, as the feed has to hand them over (without those it had to set apart).
    drifted : callable
        The same API after a change that the source's file doesn't know: fields renamed, types changed.
    span : Span, optional
        For `fetch`, when the source has history; `history` gives the items that it has to bring, times included.
    secrets : dict
        What references of the options lead to.
    coins : tuple of str
    """

    name: str
    handler: Handler
    options: Callable[[str], dict[str, Any]]
    publish: Callable[[], None]
    expected: Callable[[], Sequence[Item]]
    drifted: Handler
    span: Span | None = None
    history: Callable[[], Sequence[Item]] | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    coins: tuple[str, ...] = ("BTC", "ETH")
    clock: StepClock = field(default_factory=StepClock)


class Taken:
    """A `Take` that keeps what it is given, and tells who waits for it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._more = asyncio.Event()

    async def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._more.set()
        await asyncio.sleep(0)

    @property
    def items(self) -> list[Item]:
        """All items, in order."""
        return [item for batch in self.batches for item in batch.items]

    async def wait(self, count: int, timeout_s: float = 5.0) -> list[Item]:
        """Until there are so many items."""
        async with asyncio.timeout(timeout_s):
            while len(self.items) < count:
                self._more.clear()
                await self._more.wait()
        return self.items


async def _nap(seconds: float) -> None:
    """A pause between two questions, cut to what a test can wait for."""
    await asyncio.sleep(min(seconds, 0.01))


@asynccontextmanager
async def opened(
    name: str,
    options: dict[str, Any],
    *,
    clock: StepClock,
    memory: dict[str, Any] | None = None,
    secrets: dict[str, str] | None = None,
    coins: tuple[str, ...] = ("BTC", "ETH"),
    purse: Purse | None = None,
    store: Any = None,
    alive: Callable[[], None] = lambda: None,
) -> Any:
    """A feed with real tools, allowed to reach this machine."""
    source = find_source(name)
    async with Http(clock, near=frozenset({"127.0.0.1", "localhost"})) as http:
        tools = Tools(
            clock=clock, http=http, rng=random.Random(1), memory=memory or {}, coins=coins,
            secret=lambda reference: (secrets or {})[reference], alive=alive, store=store,
            purse=purse or Plenty(), sleep=_nap,
        )  # fmt: skip
        yield source.build(source.options(**options), tools)


@asynccontextmanager
async def streaming(feed: Feed, take: Callable[[Batch], Awaitable[None]]) -> Any:
    """The feed's stream as a task, cancelled at the end."""
    task = asyncio.create_task(feed.stream(take))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
