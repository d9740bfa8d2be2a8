"""News sites by RSS or Atom: asked for what changed, each edit a revision, a broken site leaves the others alone.

The feeds say little about the past: a document holds the newest twenty to a hundred items, so history has to be
recorded. An item counts as known from when we first saw it. It is dated as its site says; one without a date, or with a
date that lies ahead, is dated by its first sight, and keeps that date when it is edited. A site that is down while the
others answer is marked as down by the feed itself (`data.gaps`): silence of one site isn't news either.
"""

from __future__ import annotations

import asyncio
import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from pydantic import Field, field_validator

from data.errors import InputError
from data.facts import MARKET_WIDE
from data.feed import (
    Batch,
    Card,
    FeedError,
    Item,
    Options,
    Progress,
    Reading,
    Source,
    Spoilt,
    Take,
    Terms,
    Tools,
    Written,
    no_history,
)
from data.gaps import POSTS_UP
from data.http import Answer
from data.intake_feed import FIRST_NS
from data.news_document import DOCUMENT_MAX, Entry, read_document
from data.times import SECOND_NS, Span

PRESETS: Final[Mapping[str, str]] = {
    "coindesk": "https://www.coindesk.com/arc/outboundfeeds/rss/",
    "cointelegraph": "https://cointelegraph.com/rss",
    "decrypt": "https://decrypt.co/feed",
    "theblock": "https://www.theblock.co/rss.xml",
}
CARD: Final = Card(
    name="news",
    title="News sites by RSS and Atom",
    kinds=("posts", "metrics"),
    live=True,
    history="",
    revises=True,
    terms=Terms(
        trainable=False,
        redistributable=False,
        note="each site has terms of its own, mostly personal non-commercial reading; several forbid machine learning "
        "on their texts without consent: read them before you name a site",
        url="https://www.coindesk.com/terms",
    ),
    per_minute=60.0,
)
UP, DOWN = 1.0, 0.0
DEADLINE_S: Final = 20.0
WAIT_MAX_S: Final = 3600.0
PATIENCE: Final = 3
"""Pauses between two questions after which a site that doesn't answer counts as down."""

SEEN_MAX: Final = 1_500
"""Items of a site that are remembered: more than a document may hold."""

ACCEPTED: Final = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_VALIDATOR = re.compile(r"[\x20-\x7e]{1,512}")


class NewsOptions(Options):
    """The table `[feeds.news]`."""

    sites: tuple[str, ...] = Field(
        tuple(PRESETS), description="sites to follow: coindesk, cointelegraph, decrypt, theblock, or a name of urls"
    )
    urls: dict[str, str] = Field(
        default_factory=dict,
        description="addresses of other feeds by the name that their posts get as source; they are followed as well",
    )
    every: float = Field(120.0, ge=30.0, description="seconds between two questions to one site")
    summary: int = Field(
        500, ge=0, le=8_000, description="characters of the summary kept under the title; 0: titles only"
    )

    @field_validator("urls")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, str]:
        for name, url in value.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name: small letters, digits, '_', '.', '-'")
            if not url.startswith(("https://", "http://")):
                raise ValueError(f"{name}: not a web address")
        return value


@dataclass
class _Site:
    """A site and what is known of it; `seen` has date and hash of text of what was handed over, by hash of its key."""

    name: str
    url: str
    etag: str = ""
    modified: str = ""
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    wait_s: float = 0.0
    failures: int = 0
    error: FeedError | None = None
    alive_ns: int = 0
    down: bool = False
    marked_ns: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def kept(self) -> dict[str, Any]:
        """What goes into the cursor."""
        seen = {key: list(had) for key, had in self.seen.items()}
        return {"url": self.url, "etag": self.etag, "modified": self.modified, "seen": seen}

    def failed(self, error: FeedError, every_s: float) -> None:
        """Wait for as long as the site asks, else twice as long each time."""
        self.failures += 1
        self.error = error
        self.counts["failed"] += 1
        self.wait_s = max(error.pause_s, min(every_s * 2.0 ** min(self.failures, 10), WAIT_MAX_S))

    def state(self) -> str:
        """One line for people."""
        if self.error is not None:
            return f"failing, {self.failures} in a row: {self.error}"
        return "ok" if self.counts["asked"] else "not asked yet"


class News:
    """The sites of the configuration, each with its own state."""

    card = CARD

    def __init__(self, options: NewsOptions, tools: Tools) -> None:
        self.tools = tools
        self._every_s, self._summary = options.every, options.summary
        self._left_ns = 0  # when the last failure was raised
        kept = tools.memory.get("sites")
        self._sites = [
            _recall(_Site(name, url), kept.get(name) if isinstance(kept, Mapping) else None)
            for name, url in _addresses(options).items()
        ]

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`: a document of news holds the newest items only."""
        raise no_history(self.card)

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`. Raises FeedError when no site answers any more; one that does keeps the rest going."""
        now = self.tools.clock.now_ns()
        self._pass((now - self._left_ns) / SECOND_NS if self._left_ns else 0.0)
        for site in self._sites:
            site.alive_ns = site.alive_ns or now
        while True:
            due = [site for site in self._sites if site.wait_s <= 0]
            if due:
                await self._visit(due, take)
                self._judge()
                await self._mark_down(take)
            pause_s = max(min(site.wait_s for site in self._sites), 1.0)
            await self.tools.sleep(pause_s)
            self._pass(pause_s)

    def health(self) -> dict[str, Any]:
        """Counts over all sites, and one line for each."""
        total: Counter[str] = Counter()
        for site in self._sites:
            total.update(site.counts)
        return {**total, "sites": {site.name: site.state() for site in self._sites}}

    def _pass(self, seconds: float) -> None:
        for site in self._sites:
            site.wait_s -= seconds

    async def _visit(self, due: Sequence[_Site], take: Take) -> None:
        """Ask some sites at once, and hand over what each brings as it comes: a slow one doesn't hold the others."""
        waiting = {asyncio.create_task(self._ask(site)) for site in due}
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    await self._handle(*task.result(), take)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _ask(self, site: _Site) -> tuple[_Site, Answer | None, list[Entry], FeedError | None]:
        """A site's answer; its entries are read beside the loop, for a hostile document may take a second."""
        site.counts["asked"] += 1
        told = {"accept": ACCEPTED}
        told |= {"if-none-match": site.etag} if site.etag else {}
        told |= {"if-modified-since": site.modified} if site.modified else {}
        statuses = frozenset({200, 304}) if site.etag or site.modified else frozenset({200})
        try:
            answer = await self.tools.http.get(
                site.url, headers=told, deadline_s=DEADLINE_S, most=DOCUMENT_MAX, statuses=statuses
            )
            if answer.status == 304:
                return site, answer, [], None
            kind = answer.headers.get("content-type", "")
            entries = await asyncio.to_thread(read_document, answer.body, kind, answer.url, summary_max=self._summary)
            if not entries and site.seen:
                raise FeedError(f"{answer.url}: no entries any more; has the document's form changed?")
        except FeedError as error:
            return site, None, [], error
        return site, answer, entries, None

    async def _handle(
        self, site: _Site, answer: Answer | None, entries: Sequence[Entry], error: FeedError | None, take: Take
    ) -> None:
        if answer is None:
            assert error is not None
            site.failed(error, self._every_s)
            return
        self.tools.alive()
        if answer.status == 304:
            site.counts["unchanged"] += 1
        else:
            await self._hand_over(site, answer, entries, take)
        site.alive_ns = answer.arrived_ns
        if site.down:
            await self._mark(site, UP, answer.arrived_ns, answer.arrived_ns, take)
        site.failures, site.error = 0, None
        site.wait_s = self._every_s * (1.0 + 0.1 * self.tools.rng.random())

    async def _hand_over(self, site: _Site, answer: Answer, entries: Sequence[Entry], take: Take) -> None:
        """What is new or says something else than before; only when it is durable, the site's state moves on."""
        found: list[Item] = []
        seen = dict(site.seen)
        oldest_first = {entry.key or repr(entry): entry for entry in reversed(entries)}  # a key twice: the upper counts
        for entry in oldest_first.values():
            item, key, what = _to_item(entry, answer.arrived_ns, seen)
            if key not in seen or seen[key][1] != what:
                found.append(item)
            date_ns = item.event_ns if isinstance(item, Written) else 0
            seen.pop(key, None)
            seen[key] = (date_ns, what)
        after = _Site(site.name, site.url, *_validators(answer), dict(list(seen.items())[-SEEN_MAX:]))
        if found:
            cursor = {"sites": {one.name: (after if one is site else one).kept() for one in self._sites}}
            await take(Batch(found, answer.arrived_ns, cursor=cursor, source=site.name))
            site.counts["items"] += len(found)
        site.etag, site.modified, site.seen = after.etag, after.modified, after.seen

    async def _mark_down(self, take: Take) -> None:
        """Mark sites that have been failing for some time while others answer; of the feed as a whole, others tell."""
        now = self.tools.clock.now_ns()
        for site in self._sites:
            if site.error is not None and not site.down and now - site.alive_ns > PATIENCE * self._every_s * SECOND_NS:
                since = site.alive_ns if site.alive_ns > site.marked_ns else now
                await self._mark(site, DOWN, since, now, take)

    async def _mark(self, site: _Site, value: float, event_ns: int, now: int, take: Take) -> None:
        await take(Batch([Reading(POSTS_UP, MARKET_WIDE, event_ns, value)], now, source=site.name))
        site.down, site.marked_ns = value == DOWN, event_ns

    def _judge(self) -> None:
        """Raise when the last question to every site failed: then it is the line, or all of them are gone."""
        errors = [site.error for site in self._sites if site.error is not None]
        if len(errors) < len(self._sites):
            return
        for site in self._sites:  # the caller waits; a site may be asked again at once, unless it asked for a pause
            site.wait_s = min(site.wait_s, site.error.pause_s if site.error is not None else 0.0)
            site.down = False  # the caller marks all of them, as down and, once one of them answers, as up
        pause_s = max(min(site.wait_s for site in self._sites), 0.0)
        self._left_ns = self.tools.clock.now_ns()
        final = all(error.final for error in errors)
        text = "; ".join(dict.fromkeys(str(error) for error in errors))
        which = "no news site answers: " if len(errors) > 1 else ""
        raise FeedError(f"{which}{text[:1500]}", pause_s=pause_s, final=final)


def _addresses(options: NewsOptions) -> dict[str, str]:
    known = {**PRESETS, **options.urls}
    if not options.sites and not options.urls:
        raise InputError("no site to follow", key="sites", remedy=f"Name some of {', '.join(PRESETS)}, or urls")
    for name in options.sites:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            remedy = f"Perhaps {' or '.join(near)}" if near else f"There are {', '.join(known)}; others go into urls"
            raise InputError("no such site", key="sites", value=name, remedy=remedy)
    return {name: known[name] for name in dict.fromkeys([*options.sites, *options.urls])}


def _recall(site: _Site, kept: Any) -> _Site:
    """The site as its cursor left it; what another address said of its document isn't said of this one's."""
    if not isinstance(kept, Mapping) or not isinstance(kept.get("seen"), Mapping):
        return site
    for key, had in kept["seen"].items():
        if isinstance(had, list | tuple) and len(had) == 2:
            site.seen[str(key)] = (int(had[0]), str(had[1]))
    if kept.get("url") == site.url:
        site.etag, site.modified = str(kept.get("etag", "")), str(kept.get("modified", ""))
    return site


def _validators(answer: Answer) -> tuple[str, str]:
    """`ETag` and `Last-Modified`, as they may be sent back."""
    said = (answer.headers.get("etag", ""), answer.headers.get("last-modified", ""))
    etag, modified = (value if _VALIDATOR.fullmatch(value) else "" for value in said)
    return etag, modified


def _to_item(entry: Entry, arrived_ns: int, seen: Mapping[str, tuple[int, str]]) -> tuple[Item, str, str]:
    """The entry as a post, the hash of its key and the hash of what it says."""
    text = "\n".join(part for part in (entry.title, entry.summary) if part)
    what = _digest(text)
    if not entry.key or not text:
        reason = "no text" if entry.key else "neither a key nor a link"
        return Spoilt(repr(entry)[:500], reason), _digest(f"{entry.key} {text}"), what
    key = _digest(entry.key)
    known = seen.get(key)
    date_ns = entry.published_ns
    if not FIRST_NS <= date_ns <= arrived_ns:
        changed = entry.updated_ns if FIRST_NS <= entry.updated_ns <= arrived_ns else arrived_ns
        date_ns = known[0] if known is not None and known[0] else changed
    return Written(entry.key, date_ns, text, author=entry.author, followers=math.nan, url=entry.url), key, what


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


SOURCE: Final = Source(CARD, NewsOptions, News)
