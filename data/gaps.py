"""When a feed was down: "nothing came" isn't "nothing was said".

A recorder writes for every source of posts the metric `posts_feed_up` (of other facts `feed_up`), about the market
(`*`): 0 when it notices that the source doesn't answer, with the last moment at which it surely did as `event_ns`, and
1 when it answers again. They are facts like others, known when they were written, so that a backtest is blind when the
recorder was. Of a source without such facts (imported posts) nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from data.times import HOUR_NS

FEED_UP: Final = "feed_up"
POSTS_UP: Final = "posts_feed_up"
AFTER_MAX_NS: Final = HOUR_NS
FOREVER: Final = 2**62


class Outages:
    """Until when posts are missing, as markers come in the order in which they became known.

    Posts are missing while any source is down that has brought a post before and has a weight; and for as long again
    after all are up, at most an hour: until then a mood still knows little of what was said meanwhile.

    Parameters
    ----------
    weights : mapping of source to float
        1 where nothing is said; a source that weighs nothing isn't missed.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.down_ns = 0  # of outages that are over, added up
        self.count = 0
        self._weights = weights
        self._first: dict[str, int] = {}
        self._down: dict[str, int] = {}
        self._since = 0

    def seen(self, source: str, known_ns: int) -> None:
        """A source has brought a post."""
        self._first[source] = min(known_ns, self._first.get(source, known_ns))

    def take(self, source: str, event_ns: int, known_ns: int, value: float) -> int | None:
        """A marker: until when posts are missing from `known_ns` on; None when that doesn't change."""
        if self._weights.get(source, 1.0) <= 0.0 or self._first.get(source, FOREVER) > known_ns:
            return None
        before = bool(self._down)
        if value == 0.0:
            self._down.setdefault(source, event_ns)
            if before:
                self._since = min(self._since, event_ns)
                return None
            self._since, self.count = event_ns, self.count + 1
            return FOREVER
        self._down.pop(source, None)
        if self._down or not before:
            return None
        lasted = known_ns - self._since
        self.down_ns += lasted
        return known_ns + min(lasted, AFTER_MAX_NS)
