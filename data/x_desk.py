"""What the parts of the X feed share: money, the cursor, and the one way in which things are handed over.

The stream, the refill of a gap and the look-ups for deletions run side by side and have one cursor. So only one of them
hands over at a time, and what it has changed in the cursor counts when the batch is durable, not before.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from data.feed import Batch, FeedError, Item, Purse, Take, Tools, Written
from data.times import MINUTE_NS, SECOND_NS, Span, merge_spans
from data.x_door import XError
from data.x_posts import id_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AHEAD_NS: Final = 5 * MINUTE_NS
SEEN_MAX: Final = 20_000
WINDOW_NS: Final = 15 * MINUTE_NS
CONNECTS_MAX: Final = 40
"""Of the 50 connects that X allows in 15 minutes; the rest is left for others who use the same key."""

OVERLAP_NS: Final = 10 * SECOND_NS
"""The stream brings posts some seconds late and not in order: a refill begins so much before the newest one."""


class PurseError(FeedError):
    """The purse gives nothing more."""


@dataclass
class Desk:
    """State of one X feed.

    Parameters
    ----------
    tools : Tools
    purse : Purse
    cost : Decimal
        USD for a post with all that is asked for with it.
    cursor : dict
        `newest`: greatest identity that the stream has brought; `gaps`: spans of identities that a refill still has to
        ask for; `connects`: when the stream was connected; `fetched`: see `data.x_search`; `round`, `looked` and `job`:
        see `data.x_recheck`.
    """

    tools: Tools
    purse: Purse
    cost: Decimal
    cursor: dict[str, Any]
    counts: Counter[str] = field(default_factory=Counter)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)
    _doubt: bool = False

    async def hand_over(
        self, items: Sequence[Item], arrived_ns: int, take: Take, changes: Mapping[str, Any], *, history: bool = False
    ) -> None:
        """Hand items over that weren't yet, and have the cursor changed with them."""
        async with self._turn:
            fresh: list[Item] = []
            seen: dict[tuple[str, str], int] = {}
            for item in items:
                if isinstance(item, Written):
                    place, text = (item.key, item.url), hash(item.text)
                    if not history and seen.get(place, self._seen.get(place)) == text:
                        continue
                    seen[place] = text
                fresh.append(item)
            cursor = {**self.cursor, **changes}
            if fresh or cursor != self.cursor:
                await take(Batch(fresh, arrived_ns, cursor, history=history))
            self.cursor = cursor
            self.counts["items"] += len(fresh)
            self.counts["repeated"] += len(items) - len(fresh)
            self._seen.update(seen)
            while len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)

    def spend(self, items: int, cost: Decimal) -> int:
        """Book items, and say when.

        Raises
        ------
        PurseError
            A cap is reached, or the books can't be kept.
        """
        now_ns = self.tools.clock.now_ns()
        try:
            self.purse.spend(items, now_ns, cost)
        except FeedError as error:
            raise PurseError(str(error), pause_s=error.pause_s, final=error.final) from error
        return now_ns

    @contextmanager
    def paying(self, items: int, cost: Decimal | None = None) -> Iterator[Bill]:
        """Book items for a request before it is made, and give back what it didn't bring.

        A refusal with a status costs nothing. An answer that broke off may have been billed and stays booked; asked for
        again on the same day, X bills it once, so several such failures in a row are booked once.
        """
        each = self.cost if cost is None else cost
        now_ns = self.spend(items, each)
        bill = Bill(items)
        try:
            yield bill
            self._doubt = False
        except XError:
            bill.used = 0
            raise
        except FeedError:
            bill.used = 0 if self._doubt else items
            self._doubt = True
            raise
        finally:
            if bill.used < items:
                self.purse.give_back(items - bill.used, now_ns, each)

    def newest_of(self, identities: Iterable[str]) -> int:
        """The greatest identity with these; one that is dated ahead of our clock doesn't count."""
        most = id_at(self.tools.clock.now_ns() + AHEAD_NS)
        return max([self.newest(), *(int(found) for found in identities if found and int(found) <= most)])

    def gaps(self) -> list[Span]:
        """Spans of identities not asked for yet, ascending."""
        found = self.cursor.get("gaps")
        pairs = [pair for pair in found if _is_pair(pair)] if isinstance(found, list) else []
        return merge_spans((int(first), int(last)) for first, last in pairs)

    def newest(self) -> int:
        """The greatest identity that the stream has brought; 0 before the first."""
        found = self.cursor.get("newest")
        return found if isinstance(found, int) else 0

    async def note_connect(self, take: Take, *, refill: bool) -> None:
        """Write down that the stream is about to be connected, and what a refill has to bring once it is.

        Raises
        ------
        FeedError
            It was connected too often; `pause_s` says when it may be again.
        """
        now_ns = self.tools.clock.now_ns()
        found = self.cursor.get("connects")
        times = [at for at in found if isinstance(at, int)] if isinstance(found, list) else []
        recent = [at for at in times if now_ns - at < WINDOW_NS]
        if len(recent) >= CONNECTS_MAX:
            pause_s = (min(recent) + WINDOW_NS - now_ns) / SECOND_NS + 1.0
            text = f"X's stream was connected {len(recent)} times in 15 minutes, X allows 50"
            raise FeedError(text, pause_s=min(pause_s, WINDOW_NS / SECOND_NS + 1.0))
        gaps = self.gaps()
        since = self.newest() or id_at(min(times, default=0))
        if refill and since:  # a stream that was killed before its first batch was kept has missed something too
            gaps = merge_spans([*gaps, (since - id_span(OVERLAP_NS), id_at(now_ns + OVERLAP_NS))])
        await self.hand_over([], now_ns, take, {"connects": [*recent, now_ns], "gaps": [list(gap) for gap in gaps]})


@dataclass
class Bill:
    """What a request has cost: `used` items of those that were booked; all of them until somebody says otherwise."""

    used: int


def id_span(span_ns: int) -> int:
    """How much X's identities grow in a time."""
    return (span_ns // 1_000_000) << 22


def _is_pair(found: Any) -> bool:
    return isinstance(found, list | tuple) and len(found) == 2 and all(isinstance(entry, int) for entry in found)
