"""A source that makes posts at a rate, and writes down which of them it was told are durable."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from pydantic import Field

from data.feed import Batch, Card, Options, Progress, Source, Take, Terms, Tools, Written, no_history
from data.times import Span

CARD: Final = Card(
    name="firehose",
    title="Posts made at a rate",
    kinds=("posts",),
    live=True,
    history="",
    revises=False,
    terms=Terms(trainable=True, redistributable=True, note="made up", url="https://example.org/"),
    per_minute=6000.0,
)
WORDS: Final = (
    "bitcoin",
    "is",
    "going",
    "up",
    "down",
    "to",
    "the",
    "moon",
    "and",
    "back",
    "sell",
    "buy",
    "now",
    "$BTC",
)


class FirehoseOptions(Options):
    """The table `[feeds.firehose]`."""

    rate: float = Field(100.0, gt=0, description="posts a second")
    batch: int = Field(100, ge=1, description="posts of one batch")
    at_once: int = Field(4, ge=1, description="batches that may wait to be durable")
    log: str = Field("", description="file that is told which posts were acknowledged")


class Firehose:
    """Numbered posts; the number of the last acknowledged one is the cursor."""

    card = CARD

    def __init__(self, options: FirehoseOptions, tools: Tools) -> None:
        self._options, self._tools = options, tools
        self._next = int(tools.memory.get("next", 0))
        self._log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if options.log else -1
        self.behind = 0

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`."""
        raise no_history(self.card)

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`: as many batches at once as may wait, each begun when its time has come."""
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(self._options.at_once)
        began, first = loop.time(), self._next
        async with asyncio.TaskGroup() as group:
            while True:
                due_s = began + (self._next - first) / self._options.rate
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                await room.acquire()
                self.behind = int(max(0.0, loop.time() - due_s) * self._options.rate)
                lo, self._next = self._next, self._next + self._options.batch
                group.create_task(self._hand_over(lo, self._next, take, room))

    def health(self) -> dict[str, Any]:
        """How many posts it is behind its rate."""
        return {"behind": self.behind}

    async def _hand_over(self, lo: int, hi: int, take: Take, room: asyncio.Semaphore) -> None:
        now = self._tools.clock.now_ns()
        posts = [Written(f"f{number}", now, text_of(number), f"author{number % 997}") for number in range(lo, hi)]
        await take(Batch(posts, now, cursor={"next": hi}))
        if self._log >= 0:
            os.write(self._log, f"{lo} {hi}\n".encode())
        room.release()


def text_of(number: int) -> str:
    """A text of its own for each number, the words of it by the number's digits."""
    words = [WORDS[(number // 14**place) % 14] for place in range(6)]
    return f"{' '.join(words)} {number}"


SOURCE: Final = Source(CARD, FirehoseOptions, Firehose)
