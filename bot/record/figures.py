"""What the recorder shows of itself: counts and rates of each feed, lags, the writer's times; all in bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bot.record.commit import Report
from data.times import SECOND_NS

RATE_S: Final = 10.0
LAGS_KEPT: Final = 512
COMMITS_KEPT: Final = 256
TEXT_MAX: Final = 300


@dataclass
class FeedFigures:
    """Of one feed, since the recorder began.

    Attributes
    ----------
    state : str
        "starting", "up", "down" (it is called again by itself) or "stopped" (no waiting mends it).
    again_ns : int
        When it is called again; 0 while it runs.
    """

    source: str
    state: str = "starting"
    facts: int = 0
    posts: int = 0
    late: int = 0
    spoilt: int = 0
    gone: int = 0
    errors: int = 0
    crashes: int = 0
    last_error: str = ""
    last_error_ns: int = 0
    again_ns: int = 0
    lags_ns: deque[int] = field(default_factory=lambda: deque(maxlen=LAGS_KEPT))
    recent: deque[tuple[int, int, int]] = field(default_factory=deque)  # (when, facts, posts)

    def failed(self, text: str, now_ns: int) -> None:
        """An error of this feed."""
        self.errors += 1
        self.last_error, self.last_error_ns = text[:TEXT_MAX], now_ns


class Figures:
    """Figures of all feeds and of the writer."""

    def __init__(self, sources: dict[str, str], now_ns: int) -> None:
        self.feeds = {name: FeedFigures(source) for name, source in sources.items()}
        self.began_ns = now_ns
        self.added = self.revised = self.unchanged = self.purged = self.commits = 0
        self._took: deque[int] = deque(maxlen=COMMITS_KEPT)

    def told(self, report: Report) -> None:
        """A commit was made."""
        self.commits += 1
        self.added += report.added
        self.revised += report.revised
        self.unchanged += report.unchanged
        self.purged += report.purged
        self._took.append(report.ended_ns - report.begun_ns)
        for name, count in report.facts.items():
            feed = self.feeds[name]
            feed.facts += count
            feed.posts += report.posts[name]
            feed.late += report.late[name]
            feed.spoilt += report.spoilt[name]
            feed.gone += report.gone[name]
            feed.lags_ns.extend(report.lags_ns.get(name, ()))
            feed.recent.append((report.ended_ns, count, report.posts[name]))
            while feed.recent and report.ended_ns - feed.recent[0][0] > RATE_S * SECOND_NS:
                feed.recent.popleft()

    def of_feed(self, name: str, now_ns: int) -> dict[str, Any]:
        """One feed's figures as plain values."""
        feed = self.feeds[name]
        facts, posts = self._rates(feed, now_ns)
        return {
            "source": feed.source, "state": feed.state, "facts": feed.facts, "posts": feed.posts,
            "facts_per_s": facts, "posts_per_s": posts, "lag_s": _median_s(feed.lags_ns),
            "late_writes": feed.late, "spoilt": feed.spoilt, "deleted": feed.gone, "errors": feed.errors,
            "crashes": feed.crashes, "last_error": feed.last_error, "last_error_ns": feed.last_error_ns,
            "again_in_s": max(0.0, (feed.again_ns - now_ns) / SECOND_NS) if feed.again_ns else None,
        }  # fmt: skip

    def of_writer(self) -> dict[str, Any]:
        """The writer's figures as plain values."""
        took = np.array(self._took or [0]) / 1e6
        return {
            "commits": self.commits, "added": self.added, "revised": self.revised, "unchanged": self.unchanged,
            "purged": self.purged, "commit_ms": float(np.median(took)), "commit_ms_most": float(took.max()),
        }  # fmt: skip

    def _rates(self, feed: FeedFigures, now_ns: int) -> tuple[float, float]:
        """Facts and posts a second over the last `RATE_S`."""
        since = now_ns - int(RATE_S * SECOND_NS)
        seen = min(RATE_S, max((now_ns - self.began_ns) / SECOND_NS, 1.0))
        recent = [row for row in feed.recent if row[0] > since]
        return sum(row[1] for row in recent) / seen, sum(row[2] for row in recent) / seen


def _median_s(lags_ns: deque[int]) -> float | None:
    return float(np.median(np.array(lags_ns))) / SECOND_NS if lags_ns else None
