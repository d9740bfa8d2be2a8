"""Posts on Bluesky as they are written, from Jetstream: free, without a key; the social feed of a fresh installation.

Jetstream sends every post of the network. Kept is what speaks of the run's coins (`data.words`) in the wanted
languages, and each deletion, since it may be one of a post that was kept. A post's time is what its author's program
says; where that is in the future or more than a day off, it is when Jetstream saw it.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, field_validator

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Gone, Item, Options, Progress, Source, Spoilt, Take, Terms, Tools, Written
from data.feed import no_history as no_past
from data.http import read_json
from data.times import DAY_NS, SECOND_NS, Span
from data.words import NAMES, WORD_CHARS_MAX, Sieve
from data.ws import Heard, Line, open_line

if TYPE_CHECKING:
    from data.store import Store

CARD: Final = Card(
    name="bluesky",
    title="Bluesky (Jetstream)",
    kinds=("posts",),
    live=True,
    history="",
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="public posts, which their authors keep owning; what they delete has to be deleted",
        url="https://docs.bsky.app/docs/support/developer-guidelines",
    ),
    per_minute=60.0,
)
POSTS: Final = "app.bsky.feed.post"
HOSTS: Final = tuple(
    f"wss://jetstream{at}.us-{side}.bsky.network/subscribe" for side in ("east", "west") for at in (2, 1)
)
MESSAGE_MAX: Final = 128 * 1024
"""Bytes; the server is told to leave longer ones out. A post has 3,000, with its pictures' words perhaps 30,000."""

REWIND_US: Final = 5_000_000
AHEAD_US: Final = 300_000_000
SLACK_NS: Final = 120 * SECOND_NS
"""The first event after a cursor is from so soon after it; else the server no longer had what lies between."""

STRANGE_MAX: Final = 20
CURSOR_NS: Final = 5 * SECOND_NS
KEPT_MAX: Final = 50_000
"""Keys of posts that were kept: what is edited until it is about something else is still the same post."""

CLOSED_MAX: Final = 2_000
CLOSED_NS: Final = 600 * SECOND_NS
"""Closed accounts are looked for in the store so often at most: each look reads all authors."""

US: Final = 1000
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_DID = re.compile(r"did:[a-z]{1,16}:[A-Za-z0-9._:%-]{1,200}")


class BlueskyOptions(Options):
    """The table `[feeds.bluesky]`."""

    urls: tuple[str, ...] = Field(HOSTS, min_length=1, max_length=8, description="Jetstream servers, asked in turn")
    coins: tuple[str, ...] = Field((), description="coins to look for; left out: those of the run")
    words: tuple[str, ...] = Field((), description="more words to look for, in any case, phrases with spaces")
    languages: tuple[str, ...] = Field(("en",), description="kept languages (en, de); empty: all; undeclared is kept")
    silence: float = Field(60.0, ge=0.1, description="seconds without any event after which the line counts as broken")

    @field_validator("words")
    @classmethod
    def _words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not 2 <= len(word.strip()) <= WORD_CHARS_MAX:
                remedy = f"Between 2 and {WORD_CHARS_MAX} characters"
                raise InputError("not a word to look for", key="words", value=word, remedy=remedy)
        return words

    @field_validator("languages")
    @classmethod
    def _languages(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for language in languages:
            if not _LANGUAGE.fullmatch(language):
                raise InputError("not a language", key="languages", value=language, remedy="Two letters, such as en")
        return languages


class Bluesky:
    """The stream; `counts` tells how much of it was looked at, and how much kept."""

    card = CARD

    def __init__(self, options: BlueskyOptions, tools: Tools) -> None:
        self._options, self._tools = options, tools
        self._sieve = Sieve(options.coins or tools.coins or NAMES, options.words)
        self._languages = frozenset(options.languages)
        self.counts: Counter[str] = Counter()
        self._cursor_us = _whole(tools.memory.get("time_us"))
        told = tools.memory.get("closed")
        self._closed = {did for did in told if _is_did(did)} if isinstance(told, list) else set()
        self._kept: OrderedDict[str, None] = OrderedDict()
        self._told_ns, self._asked_ns, self._strange, self._host = 0, 0, 0, 0
        self._missed_s, self._lag_s = 0.0, 0.0

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`: Jetstream keeps a day and a half, which `stream` takes up from its cursor."""
        raise no_past(self.card)

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        url = self._options.urls[self._host % len(self._options.urls)]
        params = [("wantedCollections", POSTS), ("maxMessageSizeBytes", str(MESSAGE_MAX - 1024))]
        if self._cursor_us:
            params.append(("cursor", str(self._cursor_us - REWIND_US)))
        try:
            async with open_line(
                url, self._tools, params=params, most=MESSAGE_MAX, silence_s=self._options.silence
            ) as line:
                self.counts["connected"] += 1
                await self._follow(line, take)
        except FeedError:
            self._host += 1  # the next call asks the next server: cursors are times, which all of them understand
            raise

    async def _follow(self, line: Line, take: Take) -> None:
        before_us, first = self._cursor_us, True
        while True:
            heard = await line.hear(most=2000, within_s=0.25)
            items, newest_us = self._read(heard)
            if first and newest_us:
                first = False
                self._look_for_gap(before_us, heard)
            if newest_us:
                self._lag_s = max(heard.arrived_ns // US - newest_us, 0) / 1e6
            cursor_us = max(self._cursor_us, newest_us)
            if items or (newest_us and heard.arrived_ns >= self._told_ns + CURSOR_NS):
                await take(Batch(items, heard.arrived_ns, cursor=self._memory(cursor_us)))
                self._told_ns = heard.arrived_ns
                self._count(items)
            self._cursor_us = cursor_us  # only now: what wasn't acknowledged has to come again
            await self._forget_closed(take, heard.arrived_ns)
            if self._strange >= STRANGE_MAX:
                self._strange = 0
                raise FeedError(f"{line.shown}: {STRANGE_MAX} messages in a row that aren't as Jetstream writes them")

    async def _forget_closed(self, take: Take, now_ns: int) -> None:
        """Hand over the posts of accounts that are closed, found in the store, as deleted."""
        if self._tools.store is None or not self._closed or now_ns < self._asked_ns + CLOSED_NS:
            return
        self._asked_ns, store, asked = now_ns, self._tools.store, sorted(self._closed)
        try:
            keys = await asyncio.to_thread(_keys_of, store, asked)
        except InputError:  # the store can't be read now: whoever writes it will say so, and we ask again
            self.counts["store_unread"] += 1
            return
        self._closed -= set(asked)
        gone: list[Item] = [Gone(key) for key in keys]
        await take(Batch(gone, now_ns, cursor=self._memory(self._cursor_us)))
        self._count(gone)

    def _memory(self, cursor_us: int) -> dict[str, Any]:
        return {"time_us": cursor_us, **({"closed": sorted(self._closed)} if self._closed else {})}

    def _count(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, Written):
                self.counts["posts"] += 1
            elif isinstance(item, Gone):
                self.counts["deletions"] += 1

    def _look_for_gap(self, before_us: int, heard: Heard) -> None:
        """A cursor that is too old isn't refused: the server begins with the oldest that it has, without a word."""
        times = (_time_of(message) for message in heard.messages)
        oldest_us = min((time_us for time_us in times if time_us), default=0)
        if before_us and (oldest_us - before_us) * US > SLACK_NS:
            self._missed_s += (oldest_us - before_us) / 1e6

    def health(self) -> dict[str, Any]:
        """Counts of events, posts and deletions; `missed_s`: seconds that Jetstream no longer had; `behind_s`."""
        return {**self.counts, "missed_s": round(self._missed_s, 1), "behind_s": round(self._lag_s, 3)}

    def _read(self, heard: Heard) -> tuple[list[Item], int]:
        """What is kept of some messages, and the newest time of the stream in them (0: none can be read)."""
        items: list[Item] = []
        newest_us, bound_us = 0, heard.arrived_ns // US + AHEAD_US
        for message in heard.messages:
            try:
                event = read_json(message, "Jetstream")
                time_us, kind = event["time_us"], event["kind"]
                if type(time_us) is not int or not 0 < time_us <= bound_us:
                    raise ValueError("a time that can't be")
                item = self._keep(event, time_us) if kind == "commit" else None
                if kind == "account":
                    self._close(event["account"], event["did"])
            except (FeedError, LookupError, TypeError, ValueError, OverflowError) as error:
                self._strange += 1
                self.counts["strange"] += 1
                if self._strange <= STRANGE_MAX:
                    items.append(Spoilt(repr(message)[:500], f"not as Jetstream writes ({_reason(error)})"))
                continue
            self._strange = 0
            newest_us = max(newest_us, time_us)
            if item is not None:
                items.append(item)
        self.counts["events"] += len(heard.messages)
        return items, newest_us

    def _close(self, account: dict[str, Any], author: Any) -> None:
        """Remember an account that was deleted or taken down; one that only rests keeps its posts."""
        closed = not account["active"] and account.get("status") in ("deleted", "takendown")
        if closed and _is_did(author) and len(self._closed) < CLOSED_MAX:
            self._closed.add(author)

    def _keep(self, event: dict[str, Any], time_us: int) -> Item | None:
        """The post of an event, its deletion, or None. Raises LookupError, TypeError, ValueError."""
        commit = event["commit"]
        if commit["collection"] != POSTS:
            return None
        author, name = event["did"], commit["rkey"]
        if not isinstance(author, str) or not isinstance(name, str) or not author or not name:
            raise ValueError("no key")
        key = f"at://{author}/{POSTS}/{name}"
        operation = commit["operation"]
        if operation == "delete":
            return Gone(key)
        if operation not in ("create", "update"):
            raise ValueError("an operation that isn't known")
        record = commit["record"]
        text = record["text"]
        if not isinstance(text, str):
            raise TypeError("a text that isn't one")
        if not text or not (self._wanted(record, text) or (operation == "update" and key in self._kept)):
            return None
        self._kept[key] = None
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        url = f"https://bsky.app/profile/{author}/post/{name}"
        return Written(key, _written_ns(record.get("createdAt"), time_us), text, author=author, url=url)

    def _wanted(self, record: dict[str, Any], text: str) -> bool:
        told = record.get("langs")
        if self._languages and isinstance(told, list) and told:
            if not any(isinstance(one, str) and one[:3].partition("-")[0].lower() in self._languages for one in told):
                return False
        tags = record.get("tags")
        if isinstance(tags, list) and tags:
            text = " ".join([text, *(tag for tag in tags[:16] if isinstance(tag, str))])
        return self._sieve.holds(text)


def _written_ns(told: Any, time_us: int) -> int:
    """When a post was written: as its author's program says, where that can be."""
    seen_ns = time_us * US
    try:
        moment = datetime.fromisoformat(told)
        written_ns = round(moment.timestamp() * 1e6) * US if moment.tzinfo is not None else seen_ns
    except (TypeError, ValueError, OverflowError):
        return seen_ns
    return written_ns if seen_ns - DAY_NS <= written_ns <= seen_ns else seen_ns


def _keys_of(store: Store, authors: list[str]) -> list[str]:
    """Keys of all posts of some authors."""
    found = store.table("posts", {"source": [CARD.name], "author": authors}, columns=["key"])
    return sorted(set(found["key"].to_pylist()))


def _is_did(value: Any) -> bool:
    return isinstance(value, str) and _DID.fullmatch(value) is not None


def _time_of(message: str | bytes) -> int:
    try:
        return _whole(read_json(message, "")["time_us"])
    except (FeedError, LookupError, TypeError):
        return 0


def _whole(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def _reason(error: Exception) -> str:
    return f"no {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)[:80]


SOURCE: Final = Source(CARD, BlueskyOptions, Bluesky)
