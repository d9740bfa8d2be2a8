"""When each source was heard: "it was down" is not "it was quiet", so both moments become facts.

The facts are metrics of the source (`data.gaps` says what they are called and what they mean): 0.0 at the last moment
at which it was surely up, known when that was noticed; 1.0 when it is up again. Where facts name the site or the venue
they come from as their source, each of those gets the same. A source that several feeds share is up while all are.
Nothing here reads a clock or a disk: the recorder says what time it is, and the writer stores the markers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from bot.record.memory import Heard
from data.facts import MARKET_WIDE, fact_table
from data.gaps import FEED_UP, POSTS_UP
from data.times import SECOND_NS

UP, DOWN = 1.0, 0.0
GAPS_KEPT: Final = 100


@dataclass(frozen=True)
class Marker:
    """One of the facts."""

    source: str
    metric: str
    value: float
    event_ns: int
    known_ns: int


@dataclass(frozen=True)
class Gap:
    """A source wasn't heard from `since_ns` on; `until_ns` is 0 while it lasts."""

    source: str
    since_ns: int
    until_ns: int = 0


@dataclass
class Feed:
    """A feed as it was heard; `up` is None before its first answer."""

    source: str
    patience_ns: int
    up: bool | None = None
    alive_ns: int = 0
    gaps: int = 0


class Coverage:
    """Signs of life of feeds, and the markers that come of them.

    Parameters
    ----------
    feeds : mapping of name to (source, patience in ns)
    of_posts : set of str
        Sources that bring posts.
    heard : mapping of source to Heard
        What an earlier process left.
    now_ns : int
        Sources that it left as up were down since their last sign of life: their markers are made at once.
    """

    def __init__(
        self, feeds: Mapping[str, tuple[str, int]], heard: Mapping[str, Heard], now_ns: int,
        of_posts: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.feeds = {name: Feed(source, patience_ns) for name, (source, patience_ns) in feeds.items()}
        self._heard = dict(heard)
        for source in {source for source, _ in feeds.values()}:
            metric = POSTS_UP if source in of_posts else FEED_UP
            self._heard[source] = replace(self._heard.get(source, Heard()), metric=metric)
        self._markers: list[Marker] = []
        self.gaps: deque[Gap] = deque(maxlen=GAPS_KEPT)  # of this process, the newest last
        for source, one in list(self._heard.items()):
            if one.up:
                self._mark(source, DOWN, one.alive_ns, now_ns)

    def alive(self, name: str, now_ns: int) -> None:
        """A feed's source has answered."""
        feed = self.feeds[name]
        feed.alive_ns = max(feed.alive_ns, now_ns)
        if feed.up:
            return
        feed.up = True
        here = [each for each in self.feeds.values() if each.source == feed.source]
        if not self._heard[feed.source].up and all(each.up for each in here):
            self._mark(feed.source, UP, now_ns, now_ns)

    def brings(self, name: str, origin: str) -> None:
        """A feed's facts name a source of their own."""
        source = self.feeds[name].source
        one = self._heard[source]
        if origin and origin != source and origin not in one.origins:
            self._heard[source] = replace(one, origins=(*one.origins, origin))

    def fell(self, name: str, now_ns: int) -> None:
        """A feed has failed, or was ended. Before its first answer that is no news."""
        feed = self.feeds[name]
        if not feed.up:
            feed.up = False
            return
        feed.up = False
        feed.gaps += 1
        if self._heard[feed.source].up:
            self._mark(feed.source, DOWN, feed.alive_ns, now_ns)

    def notice(self, now_ns: int) -> list[str]:
        """Feeds that have just lost our patience: they count as down until they answer."""
        silent = [name for name, feed in self.feeds.items() if feed.up and now_ns - feed.alive_ns > feed.patience_ns]
        for name in silent:
            self.fell(name, now_ns)
        return silent

    def take(self) -> list[Marker]:
        """The markers since the last call."""
        found, self._markers = self._markers, []
        return found

    @property
    def waiting(self) -> int:
        """Markers that nobody took yet."""
        return len(self._markers)

    def heard(self) -> dict[str, Heard]:
        """What has to be on disk so that a killed process leaves no gap unseen."""
        found = dict(self._heard)
        for source, one in found.items():
            times = [feed.alive_ns for feed in self.feeds.values() if feed.source == source]
            if one.up and times:
                found[source] = replace(one, alive_ns=min(times))
        return found

    def _mark(self, source: str, value: float, event_ns: int, known_ns: int) -> None:
        """Add a marker; two of a source never share an instant, since the later one would be a revision of it."""
        before = self._heard[source]
        event = max(event_ns, before.marker_ns + 1)
        for name in (source, *before.origins):
            self._markers.append(Marker(name, before.metric, value, event, max(known_ns, event)))
        self._heard[source] = replace(before, up=value == UP, alive_ns=event_ns, marker_ns=event)
        if value == DOWN:
            self.gaps.append(Gap(source, event))
            return
        for at, gap in enumerate(self.gaps):
            if gap.source == source and not gap.until_ns:
                self.gaps[at] = replace(gap, until_ns=event)


def marker_table(markers: Iterable[Marker], ingested_ns: int) -> pa.Table:
    """Markers as metrics."""
    rows = list(markers)
    return fact_table(
        "metrics",
        {
            "source": [row.source for row in rows],
            "name": [row.metric for row in rows],
            "coin": MARKET_WIDE,
            "event_ns": [row.event_ns for row in rows],
            "known_ns": [row.known_ns for row in rows],
            "ingested_ns": ingested_ns,
            "quality": "recorded",
            "value": [row.value for row in rows],
        },
    )


def patience_of(options: object, given_ns: int | None, usual_ns: int) -> int:
    """How long a feed may be silent: what its table says, else what is usual, and three of its own pauses at least."""
    if given_ns is not None:
        return given_ns
    every = getattr(options, "every", 0.0)
    own_ns = int(3 * every * SECOND_NS) if isinstance(every, (int, float)) else 0
    return max(usual_ns, own_ns)
