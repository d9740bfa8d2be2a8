"""Binance's announcements in English by its official WebSocket: listings, delistings, maintenance, as they are sent.

The stream has no past and no keys: what was sent while the line was down isn't sent again, and an announcement is told
apart by the time of its publication and its title. Its author is the catalogue that it stands in ("Delisting", "New
Cryptocurrency Listing"). The line is signed by an API key that needs no rights: make one that can only read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import Field

from data.clean import clean_name, clean_text
from data.feed import (
    Batch,
    Card,
    FeedError,
    Item,
    Options,
    Progress,
    Source,
    Spoilt,
    Take,
    Terms,
    Tools,
    Written,
    no_history,
)
from data.http import read_json, redacted
from data.news_document import TITLE_MAX
from data.readings import secret_of
from data.times import MILLISECOND_NS, Span
from data.ws import Line, open_line

CARD: Final = Card(
    name="binance_announcements",
    title="Announcements of Binance (its WebSocket)",
    kinds=("posts",),
    live=True,
    history="",
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="for holders of a Binance account and its API key; the terms of the account apply",
        url="https://www.binance.com/en/terms",
    ),
    per_minute=6.0,
    keys=("key", "secret"),
)
TOPIC: Final = "com_announcement_en"
WINDOW_MS: Final = 30_000
PING_S: Final = 10.0
"""The server wants to be pinged within a minute, and takes five messages a second."""

MESSAGE_MAX: Final = 1024 * 1024
STRANGE_MAX: Final = 5
FINE: Final = "00000000"
STAMP_MAX_MS: Final = 4_102_444_800_000


class BinanceAnnouncementsOptions(Options):
    """The table `[feeds.binance_announcements]`."""

    url: str = Field("wss://api.binance.com/sapi/wss", description="address of the WebSocket")
    key: str = Field("", description="reference to the API key, env:BINANCE_NEWS_KEY for example; it needs no rights")
    secret: str = Field("", description="reference to the secret of the API key")
    catalogs: tuple[int, ...] = Field(
        (), description="kept catalogues by number (48: new listings, 161: delistings); empty: all"
    )
    body: int = Field(500, ge=0, le=8_000, description="characters of the text kept under the title; 0: titles only")


class BinanceAnnouncements:
    """The stream."""

    card = CARD

    def __init__(self, options: BinanceAnnouncementsOptions, tools: Tools) -> None:
        self._options, self._tools = options, tools
        self._key = secret_of(tools, options.key)
        self._secret = secret_of(tools, options.secret, "secret")
        self.counts: Counter[str] = Counter()

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`: the stream has no past."""
        raise no_history(self.card)

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`. A line lives for a day at most; then the caller comes again."""
        params = signed(self._secret, self._tools.clock.now_ns(), f"{self._tools.rng.getrandbits(128):032x}")
        async with open_line(
            self._options.url, self._tools, params=params, headers={"X-MBX-APIKEY": self._key},
            secrets=(self._key, self._secret), most=MESSAGE_MAX, pong_s=PING_S,
        ) as line:  # fmt: skip
            self.counts["connected"] += 1
            await self._follow(line, take)

    def health(self) -> dict[str, Any]:
        """Counts of connections, messages and announcements."""
        return dict(self.counts)

    async def _follow(self, line: Line, take: Take) -> None:
        strange = 0
        while True:
            heard = await line.hear(within_s=0.05)
            items: list[Item] = []
            for message in heard.messages:
                item = self._read(message, line.shown)
                strange = strange + 1 if isinstance(item, Spoilt) else 0
                items += [item] if item is not None else []
            if items:
                await take(Batch(_last_words(items), heard.arrived_ns))
            self.counts["messages"] += len(heard.messages)
            self.counts["items"] += sum(isinstance(item, Written) for item in items)
            self.counts["strange"] += sum(isinstance(item, Spoilt) for item in items)
            if strange >= STRANGE_MAX:
                raise FeedError(f"{line.shown}: {strange} messages in a row that aren't as Binance writes them")

    def _read(self, message: str | bytes, shown: str) -> Item | None:
        """The announcement of a message; None for an answer to a command, and for another catalogue.

        Raises
        ------
        FeedError
            Binance refuses the subscription.
        """
        try:
            told = read_json(message, shown)
            kind = told["type"]
            if kind == "DATA" and told["topic"] == TOPIC:
                body = told["data"]
                return self._post(read_json(body, shown) if isinstance(body, str) else body)
            if kind != "COMMAND":
                raise ValueError("another topic")
            code, said = str(told.get("code", FINE)), str(told.get("data", "SUCCESS"))
        except (FeedError, AttributeError, LookupError, TypeError, ValueError) as error:
            return Spoilt(repr(message)[:500], f"not as Binance writes ({type(error).__name__})")
        if code != FINE or said != "SUCCESS":
            raise FeedError(f"{shown}: refuses the subscription: {redacted(f'{said} ({code})')}")
        return None

    def _post(self, told: Mapping[str, Any]) -> Item | None:
        """Raises LookupError, TypeError, ValueError, AttributeError."""
        number, stamp_ms = told.get("catalogId"), told["publishDate"]
        if self._options.catalogs and number not in self._options.catalogs:
            return None
        if type(stamp_ms) is not int or not 0 < stamp_ms < STAMP_MAX_MS:
            raise ValueError("no date")
        title = clean_text(told["title"], html=True, most=TITLE_MAX).replace("\n", " ")
        if not title:
            raise ValueError("no title")
        body = clean_text(told.get("body"), html=True, most=self._options.body) if self._options.body else ""
        text = "\n".join(part for part in (title, body) if part)
        key = f"{stamp_ms}-{hashlib.blake2b(title.encode(), digest_size=6).hexdigest()}"
        return Written(key, stamp_ms * MILLISECOND_NS, text, author=clean_name(told.get("catalogName")))


def _last_words(items: list[Item]) -> list[Item]:
    """One announcement twice at one time: the later message counts, for a fact can't say two things at once."""
    return list({item.key if isinstance(item, Written) else at: item for at, item in enumerate(items)}.values())


def signed(secret: str, now_ns: int, random: str, topic: str = TOPIC) -> list[tuple[str, str]]:
    """The parameters of the connection, in the order in which Binance documents and signs them."""
    asked = [("random", random), ("topic", topic), ("recvWindow", str(WINDOW_MS))]
    asked.append(("timestamp", str(now_ns // MILLISECOND_NS)))
    signature = hmac.new(secret.encode(), urlencode(asked).encode(), hashlib.sha256).hexdigest()
    return [*asked, ("signature", signature)]


SOURCE: Final = Source(CARD, BinanceAnnouncementsOptions, BinanceAnnouncements)
