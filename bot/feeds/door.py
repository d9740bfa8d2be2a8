"""The bounded queue at the engine's door: three lanes, and only posts beyond the bound are ever dropped.

What a person, the venue or a guard says goes first, then bars, then facts, a bounded chunk of each at a time: however
many posts pour in, a bar waits no longer than one chunk. Posts lie in one ring of fixed size; what finds no room is
dropped, the newest first, and counted by source. Nothing else is dropped.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from bot.events import POSTS, Bar, Event, Funding, Observation, Posts
from risk.records import Array

CHUNK = 256  # events of one lane that are handed over at once
ROWS = 256  # posts of one event
SOURCES_MAX = 256  # sources whose drops are counted apart
OTHERS = "others"
FACTS, BARS, FIRST = range(3)


def lane_of(event: Event) -> int:
    """FIRST for conditions, reports and people; BARS for what the market's clock brings; FACTS for the rest."""
    if isinstance(event, (Posts, Observation)):
        return FACTS
    return BARS if isinstance(event, (Bar, Funding)) else FIRST


class Door:
    """The one queue. Made inside the loop that takes from it.

    Parameters
    ----------
    posts_max : int
        Posts that wait at most.
    names : mapping of int to str, optional
        Names of the posts' sources by their numbers, for the count of drops; read when asked, so it may grow.
    rows : int
        Posts of one event at most.
    """

    def __init__(self, posts_max: int, *, names: Mapping[int, str] | None = None, rows: int = ROWS) -> None:
        if posts_max < 1 or rows < 1:
            raise ValueError("a door lets at least one post wait")
        self._ring = np.zeros(posts_max, POSTS)
        self._rows = rows
        self._names = {} if names is None else names
        self._first = self._waiting = 0
        self._lanes: dict[int, deque[Event]] = {FIRST: deque(), BARS: deque()}
        self._facts: deque[Observation | int] = deque()  # an observation, or how many posts of the ring come next
        self._dropped: dict[int, int] = {}
        self._dropped_others = 0
        self._taken = {FIRST: 0, BARS: 0, FACTS: 0}
        self._most = 0
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._come = asyncio.Event()
        self._idle = asyncio.Event()
        self._called = False

    def put(self, event: Event) -> None:
        """Let an event wait for its turn; from the loop's own thread."""
        with self._lock:
            self._keep(event)
        self._wake()

    def put_from_thread(self, event: Event) -> None:
        """The same from any thread. After the loop is closed the event is kept, and nobody is woken."""
        with self._lock:
            self._keep(event)
            first, self._called = not self._called, True
        if first and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    async def get(self) -> list[Event]:
        """What waits, at least one event: at most a chunk of each lane, the posts as one event of at most `rows`.

        Always lets others run first: a full queue doesn't starve the feeds and the venue.
        """
        await asyncio.sleep(0)
        while True:
            found = self.get_now()
            if found:
                return found
            self._idle.set()
            await self._come.wait()

    def get_now(self) -> list[Event]:
        """What waits, as `get` gives it; perhaps nothing."""
        with self._lock:
            found = self._take()
            if not self:
                self._come.clear()
        return found

    async def drained(self) -> None:
        """Wait until everything has been taken and the taker asks for more: it has dealt with what it took."""
        await self._idle.wait()

    def __len__(self) -> int:
        """Events that wait; each post counts."""
        others = sum(1 for fact in self._facts if not isinstance(fact, int)) if self._facts else 0
        return len(self._lanes[FIRST]) + len(self._lanes[BARS]) + self._waiting + others

    def __bool__(self) -> bool:
        return bool(self._lanes[FIRST] or self._lanes[BARS] or self._facts)

    def dropped(self) -> dict[str, int]:
        """Posts dropped since the start, by the name of their source."""
        with self._lock:
            counts = {self._names.get(source, f"source {source}"): count for source, count in self._dropped.items()}
            if self._dropped_others:
                counts[OTHERS] = counts.get(OTHERS, 0) + self._dropped_others
        return counts

    def health(self) -> dict[str, Any]:
        """Plain values for `status`."""
        dropped = self.dropped()
        return {
            "waiting": {"first": len(self._lanes[FIRST]), "bars": len(self._lanes[BARS]), "posts": self._waiting},
            "posts_max": len(self._ring),
            "posts_most": self._most,
            "taken": {"first": self._taken[FIRST], "bars": self._taken[BARS], "facts": self._taken[FACTS]},
            "dropped": dropped,
            "dropped_posts": sum(dropped.values()),
        }

    def _wake(self) -> None:
        self._called = False
        if self:
            self._idle.clear()
            self._come.set()

    def _keep(self, event: Event) -> None:
        lane = lane_of(event)
        if isinstance(event, Posts):
            self._keep_posts(event.rows)
        elif isinstance(event, Observation):
            self._facts.append(event)
        else:
            self._lanes[lane].append(event)

    def _keep_posts(self, rows: Array) -> None:
        size = len(self._ring)
        fits = min(len(rows), size - self._waiting)
        if fits < len(rows):
            self._drop(rows["source"][fits:])
        if fits == 0:
            return
        at = (self._first + self._waiting) % size
        head = min(fits, size - at)
        self._ring[at : at + head] = rows[:head]
        self._ring[: fits - head] = rows[head:fits]
        self._waiting += fits
        self._most = max(self._most, self._waiting)
        if self._facts and isinstance(self._facts[-1], int):
            self._facts[-1] += fits
        else:
            self._facts.append(fits)

    def _drop(self, sources: Array) -> None:
        found, counts = np.unique(sources, return_counts=True)
        for source, count in zip(found.tolist(), counts.tolist(), strict=True):
            if source in self._dropped or len(self._dropped) < SOURCES_MAX:
                self._dropped[source] = self._dropped.get(source, 0) + count
            else:
                self._dropped_others += count

    def _take(self) -> list[Event]:
        found: list[Event] = []
        for lane in (FIRST, BARS):
            waiting = self._lanes[lane]
            count = min(CHUNK, len(waiting))
            found += [waiting.popleft() for _ in range(count)]
            self._taken[lane] += count
        begun = len(found)
        while self._facts and len(found) - begun < CHUNK:
            fact = self._facts.popleft()
            if isinstance(fact, int):
                found.append(self._take_posts(fact))
                break
            found.append(fact)
        self._taken[FACTS] += len(found) - begun
        return found

    def _take_posts(self, count: int) -> Posts:
        here = min(count, self._rows)
        if count > here:
            self._facts.appendleft(count - here)
        places = np.arange(self._first, self._first + here) % len(self._ring)
        rows = self._ring[places]
        self._first = (self._first + here) % len(self._ring)
        self._waiting -= here
        known = rows["known_ns"]
        if (known[1:] < known[:-1]).any():  # two feeds may have put them
            rows = rows[np.argsort(known, kind="stable")]
        return Posts(ns=0, rows=rows)
