"""A feed that asks again and again: what every source without a stream of its own has in common.

A source gives what it has now as a list of items, the same ones mostly. What was handed over before, and says the same,
isn't handed over again; the store would see that it is a repetition, but it would have to look each time.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any, Final

from data.feed import Batch, Card, Gone, Item, Progress, Reading, Take, Tools, Written, no_history
from data.times import Span

SEEN_MAX: Final = 20_000


class Polled:
    """Base of such feeds: give `ask` and, where there is history, `past`.

    Parameters
    ----------
    card : Card
    tools : Tools
    every_s : float
        Pause between two questions; a tenth of it is jitter.
    """

    def __init__(self, card: Card, tools: Tools, every_s: float) -> None:
        self.card, self.tools = card, tools
        self.every_s = max(every_s, 60.0 / card.per_minute)
        self.counts: Counter[str] = Counter()
        self.cursor: dict[str, Any] = dict(tools.memory)
        self._kept: dict[str, Any] = dict(tools.memory)
        self._seen: OrderedDict[tuple[str, ...], bytes] = OrderedDict()

    async def ask(self) -> Sequence[Batch]:
        """What the source says now. Sets `cursor` to what has to be remembered with it. Raises FeedError."""
        raise NotImplementedError

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed.fetch`; the base has no history."""
        raise no_history(self.card)

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`."""
        await self.past(span, take, progress)

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        while True:
            batches = await self.ask()
            self.counts["asked"] += 1
            self.tools.alive()
            for batch in batches:
                await self._hand_over(batch, take)
            await self.tools.sleep(self.every_s * (1.0 + 0.1 * self.tools.rng.random()))

    def health(self) -> dict[str, Any]:
        """Counts of questions and of items handed over."""
        return dict(self.counts)

    def knows(self, source: str, item: Item) -> bool:
        """Whether an item was handed over before, and said the same."""
        where, what = _identity(source, item)
        return self._seen.get(where) == what

    async def _hand_over(self, batch: Batch, take: Take) -> None:
        fresh: list[Item] = []
        told: dict[tuple[str, ...], bytes] = {}
        for item in batch.items:
            where, what = _identity(batch.source, item)
            if self._seen.get(where, told.get(where)) != what:
                fresh.append(item)
                told[where] = what
        cursor = batch.cursor if batch.cursor is not None else dict(self.cursor)
        if fresh or cursor != self._kept:
            await take(replace(batch, items=fresh, cursor=cursor))
            self._kept = dict(cursor)
        self.counts["items"] += len(fresh)
        for where, what in told.items():  # only now: what wasn't acknowledged has to come again
            self._seen[where] = what
            self._seen.move_to_end(where)
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)


def _identity(source: str, item: Item) -> tuple[tuple[str, ...], bytes]:
    """What an item is about, and what it says of it, in eight bytes."""
    what = hashlib.blake2b(repr(astuple(item)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    if isinstance(item, Written):
        return ("post", source, item.key), what
    if isinstance(item, Gone):
        return ("gone", source, item.key), what
    if isinstance(item, Reading):
        return ("metric", source, item.name, item.coin, str(item.event_ns)), what
    return ("other", source, what.hex()), what
