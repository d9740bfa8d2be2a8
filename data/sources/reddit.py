"""Submissions and comments of subreddits, by asyncpraw: opt-in, with the keys of an approved application.

New ones are asked for again and again. Recent ones are looked at again at certain ages: what was edited becomes a
revision, what was deleted or removed is purged. What is stored of the last two days is taken up after a restart.
"""

from __future__ import annotations

import asyncio
import math
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, field_validator

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Gone, Item, Options, Source, Spoilt, Take, Terms, Tools, Written
from data.polled import Polled
from data.reddit_door import Limit, load, named, open_reddit
from data.times import DAY_NS, SECOND_NS

CARD: Final = Card(
    name="reddit",
    title="Reddit (asyncpraw)",
    kinds=("posts",),
    live=True,
    history="",
    revises=True,
    terms=Terms(
        trainable=False,
        redistributable=False,
        note="access on approval; no training without the authors' permission; what is deleted there has to be deleted",
        url="https://redditinc.com/policies/data-api-terms",
    ),
    per_minute=60.0,
    keys=("client_id", "client_secret"),
)
AGES_S: Final = (900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0, 44 * 3600.0)
"""Ages at which a thing is looked at again, the last one within the two days that Reddit allows for deleting."""

KEPT_NS: Final = 2 * DAY_NS
KEPT_MAX: Final = 50_000
TOGETHER: Final = 100
SLACK_NS: Final = 600 * SECOND_NS
DELETED: Final = ("[deleted]", "[removed]", "[deleted by user]")
_NAME = re.compile(r"[A-Za-z0-9_]{2,30}")
_FULLNAME = re.compile(r"t[13]_[0-9a-z]{1,13}")


class RedditOptions(Options):
    """The table `[feeds.reddit]`."""

    client_id: str = Field("", description="where the id of your application lies, such as env:REDDIT_ID")
    client_secret: str = Field("", description="where its secret lies, such as env:REDDIT_SECRET")
    user_agent: str = Field("python:tidegate:1 (research)", min_length=8, description="who asks; put your name into it")
    subreddits: tuple[str, ...] = Field(("CryptoCurrency", "Bitcoin", "ethereum"), min_length=1, max_length=50,
                                        description="subreddits")  # fmt: skip
    comments: bool = Field(True, description="comments as well as submissions")
    every: float = Field(60.0, ge=2.0, description="seconds between two questions")
    most: int = Field(300, ge=1, le=1000, description="new things that are read at once at most")
    api_url: str = Field("https://oauth.reddit.com", description="address of the API")
    token_url: str = Field("https://www.reddit.com", description="address that gives tokens")

    @field_validator("subreddits")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _NAME.fullmatch(name):
                raise InputError("not a subreddit", key="subreddits", value=name, remedy="Its name without r/")
        return names


@dataclass
class _Kept:
    """A thing that is looked at again: when it was written, and how often it was looked at."""

    event_ns: int
    looks: int


class Reddit(Polled):
    """The subreddits; `counts` tells of edits and deletions as well."""

    def __init__(self, options: RedditOptions, tools: Tools) -> None:
        super().__init__(CARD, tools, options.every)
        self._options = options
        self._keys = (tools.secret(options.client_id), tools.secret(options.client_secret))
        self._limit = Limit()
        self._client: Any = None
        self._watched: OrderedDict[str, _Kept] | None = None
        self._marks: dict[str, int] = {}

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""

        async def told(batch: Batch) -> None:
            await take(batch)
            self.cursor = dict(batch.cursor or self.cursor)  # only now: what wasn't acknowledged has to come again

        await asyncio.to_thread(load)
        self._client = open_reddit(
            self.tools, self._limit, keys=self._keys, agent=self._options.user_agent,
            urls=(self._options.api_url, self._options.token_url),
        )  # fmt: skip
        try:
            await super().stream(told)
        finally:
            await self._client.close()

    async def ask(self) -> Sequence[Batch]:
        """See `Polled`: what is new, and what of the recent has to be looked at again."""
        if self._watched is None:
            self._watched = await asyncio.to_thread(_stored, self.tools)
        with named():
            batches = [await self._newest("submissions")]
            if self._options.comments:
                batches.append(await self._newest("comments"))
            async for batch in self._again(self._watched):
                batches.append(batch)
        if any(batch.items for batch in batches):
            marks = {**self.cursor, **self._marks}
            batches[-1] = Batch(batches[-1].items, batches[-1].arrived_ns, cursor=marks)
        return batches

    def health(self) -> dict[str, Any]:
        """Counts; `left`: requests that Reddit still allows in this window; `watched`: things looked at again."""
        left = {} if math.isinf(self._limit.left) else {"left": int(self._limit.left)}
        return {**super().health(), **left, "watched": len(self._watched or ())}

    async def _newest(self, listing: str) -> Batch:
        """The newest things, back to what was seen before."""
        subreddit = await self._client.subreddit("+".join(self._options.subreddits))
        known_ns = self.cursor.get(listing)
        until_ns = known_ns - SLACK_NS if type(known_ns) is int else 0
        most = self._options.most if until_ns else min(self._options.most, TOGETHER)
        found = subreddit.new(limit=most) if listing == "submissions" else subreddit.comments(limit=most)
        items: list[Item] = []
        newest_ns = known_ns if type(known_ns) is int else 0
        count = 0
        async for thing in found:
            count += 1
            item = _item(thing)
            items.append(item)
            if isinstance(item, Written):
                newest_ns = max(newest_ns, item.event_ns)
                self._keep(item)
                if item.event_ns < until_ns:
                    break
        else:
            self.counts["cut"] += bool(until_ns and count >= most)
        self._marks[listing] = newest_ns
        items.reverse()
        return Batch(items, self.tools.clock.now_ns())

    def _keep(self, item: Written) -> None:
        kept = self._watched if self._watched is not None else OrderedDict()
        if item.key not in kept:
            age_s = (self.tools.clock.now_ns() - item.event_ns) / SECOND_NS
            kept[item.key] = _Kept(item.event_ns, bisect_right(AGES_S, age_s))
        while len(kept) > KEPT_MAX:
            kept.popitem(last=False)
            self.counts["unwatched"] += 1

    async def _again(self, kept: OrderedDict[str, _Kept]) -> AsyncIterator[Batch]:
        """Look at what has come to an age, a hundred at a time."""
        now_ns = self.tools.clock.now_ns()
        for name in [name for name, thing in kept.items() if now_ns - thing.event_ns > KEPT_NS]:
            del kept[name]
        due = [name for name, thing in kept.items() if bisect_right(AGES_S, _age_s(thing, now_ns)) > thing.looks]
        for at in range(0, len(due), TOGETHER):
            names = due[at : at + TOGETHER]
            items: list[Item] = []
            async with aclosing(self._client.info(fullnames=names)) as found:
                async for thing in found:
                    item = _item(thing)
                    if isinstance(item, Gone):
                        self.counts["deleted"] += 1
                        kept.pop(item.key, None)
                    elif isinstance(item, Written) and vars(thing).get("edited"):
                        self.counts["edited"] += 1
                    items.append(item)
            for name in names:
                if name in kept:
                    kept[name].looks = bisect_right(AGES_S, _age_s(kept[name], now_ns))
            yield Batch(items, self.tools.clock.now_ns())


def _age_s(thing: _Kept, now_ns: int) -> float:
    return (now_ns - thing.event_ns) / SECOND_NS


def _stored(tools: Tools) -> OrderedDict[str, _Kept]:
    """What is stored of the last two days, oldest first; all of it is looked at again at once."""
    if tools.store is None:
        return OrderedDict()
    since_ns = tools.clock.now_ns() - KEPT_NS
    try:
        rows = tools.store.table("posts", {"source": [CARD.name]}, since_ns, None, ["key", "event_ns", "text"])
    except InputError as error:
        raise FeedError(f"the store can't be read now: {error}") from None
    found: OrderedDict[str, _Kept] = OrderedDict()
    for row in rows.to_pylist():
        if row["text"] and row["event_ns"] >= since_ns and _FULLNAME.fullmatch(row["key"]):
            found[row["key"]] = _Kept(row["event_ns"], 0)
    return found


def _item(thing: Any) -> Item:
    """A submission or a comment as an item; asyncpraw sets what Reddit sent as attributes."""
    told = vars(thing)
    key = told.get("name")
    if not isinstance(key, str) or not _FULLNAME.fullmatch(key):
        return Spoilt(_shown(told), "no name")
    title, body = told.get("title"), told.get("selftext" if key.startswith("t3_") else "body")
    if not isinstance(body, str) or (key.startswith("t3_") and not isinstance(title, str)):
        return Spoilt(_shown(told), "no text")
    if told.get("author", "") is None or body in DELETED or title in DELETED or told.get("removed_by_category"):
        return Gone(key)
    written_s = told.get("created_utc")
    if isinstance(written_s, bool) or not isinstance(written_s, int | float) or not 0 < written_s < 4e9:
        return Spoilt(_shown(told), "no time")
    author, link = told.get("author"), told.get("permalink")
    name = getattr(author, "name", author)
    return Written(
        key, round(written_s) * SECOND_NS, "\n".join(part for part in (title, body) if part),
        author=name if isinstance(name, str) else "",
        url=f"https://www.reddit.com{link}" if isinstance(link, str) and link.startswith("/") else "",
    )  # fmt: skip


def _shown(told: dict[str, Any]) -> str:
    return repr({name: value for name, value in told.items() if not name.startswith("_")})[:500]


SOURCE: Final = Source(CARD, RedditOptions, Reddit)
