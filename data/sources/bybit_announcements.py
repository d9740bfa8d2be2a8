"""Bybit's announcements by ccxt (`v5/announcements/index`): listings, delistings, maintenance; free, without a key.

An announcement is dated by `publishTime`, when it went out; one that is dated ahead, by its first sight. Its key is its
address, its author its type ("new_crypto", "delistings"). One whose text has changed is a revision; history brings the
texts as they are now.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field

from data.bounded import bounded_session
from data.clean import clean_name, clean_text
from data.feed import Batch, Card, FeedError, Item, Options, Progress, Source, Spoilt, Take, Terms, Tools, Written
from data.http import BUSY_S, bare, look_up, redacted, retry_after_s
from data.news_document import TITLE_MAX, clean_link, short_key
from data.polled import Polled
from data.times import MILLISECOND_NS, MINUTE_NS, Span

CARD: Final = Card(
    name="bybit_announcements",
    title="Announcements of Bybit (by ccxt)",
    kinds=("posts",),
    live=True,
    history="assumed_lag",
    lag_ns=5 * MINUTE_NS,
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="public without an account; the terms of Bybit's API apply",
        url="https://www.bybit.com/en/terms-service/api-terms/",
    ),
    per_minute=30.0,
)
TIMEOUT_S: Final = 20.0
PAGES_MAX: Final = 400
MISSED_PAGES_MAX: Final = 10
STAMP_MAX_MS: Final = 4_102_444_800_000
FIRST_MAX: Final = 1_000


class BybitAnnouncementsOptions(Options):
    """The table `[feeds.bybit_announcements]`."""

    url: str = Field("https://api.bybit.com", description="address of the API, without a path")
    locale: str = Field("en-US", pattern=r"[a-z]{2}-[A-Z]{2}", description="language of the announcements")
    type: str = Field("", description="kept type: new_crypto, delistings, maintenance_updates, ...; empty: all")
    every: float = Field(60.0, ge=5.0, description="seconds between two questions")
    rows: int = Field(50, ge=5, le=100, description="announcements of one answer")
    summary: int = Field(
        500, ge=0, le=8_000, description="characters of the description kept under the title; 0: titles only"
    )


class BybitAnnouncements(Polled):
    """The announcements, newest first."""

    def __init__(self, options: BybitAnnouncementsOptions, tools: Tools) -> None:
        super().__init__(CARD, tools, options.every)
        self._options = options
        self._shown = bare(options.url)
        self._first: OrderedDict[str, int] = OrderedDict()

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        async with self._open() as self._api:
            await super().stream(take)

    async def ask(self) -> Sequence[Batch]:
        """See `Polled`: the first page, and those behind it down to the newest that was handed over."""
        kept = self.cursor.get("newest_ns")
        pages: list[Batch] = []
        newest = kept if isinstance(kept, int) else 0
        for number in range(1, MISSED_PAGES_MAX + 1):
            items, count, arrived = await self._page(number)
            dates = [item.event_ns for item in items if isinstance(item, Written)]
            newest = max([newest, *dates])
            pages.append(Batch(items, arrived))
            if not isinstance(kept, int) or count < self._options.rows or (dates and min(dates) <= kept):
                break
            await self.tools.sleep(60.0 / CARD.per_minute)
        oldest_first = [Batch(list(reversed(page.items)), page.arrived_ns) for page in reversed(pages)]
        return [*oldest_first[:-1], replace(oldest_first[-1], cursor={"newest_ns": newest})]

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: page by page, newest first, as Bybit lists them."""
        whole, told = float(span[1] - span[0]), set[str]()
        async with self._open() as self._api:
            for number in range(1, PAGES_MAX + 1):
                items, count, arrived = await self._page(number)
                dates = [item.event_ns for item in items if isinstance(item, Written)]
                # pages move on by one with each new announcement: what stood there before comes again
                fresh = [item for item in items if not isinstance(item, Written) or item.key not in told]
                told |= {item.key for item in fresh if isinstance(item, Written)}
                await take(
                    Batch([_settled(item, arrived) for item in fresh if _lies_in(item, span)], arrived, history=True)
                )
                if count < self._options.rows or (dates and max(dates) < span[0]):
                    return progress(whole, whole)
                progress(float(max(span[1] - max(min(dates, default=span[1]), span[0]), 0)), whole)
                await self.tools.sleep(60.0 / CARD.per_minute)
        raise FeedError(f"{self._shown}: pages without end")

    async def _hand_over(self, batch: Batch, take: Take) -> None:
        kept = batch if batch.cursor is not None else replace(batch, cursor=dict(self.cursor))
        await super()._hand_over(kept, take)
        self.cursor = dict(kept.cursor or {})  # only now: what wasn't acknowledged has to be asked for again

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Any]:
        """ccxt's class as it is, in a session that is bounded."""
        from ccxt.async_support import bybit

        async with bounded_session(self.tools.http.near) as session:
            api: Any = bybit({"enableRateLimit": True, "timeout": int(TIMEOUT_S * 1000), "session": session})
            api.enableLastResponseHeaders = True
            api.urls["api"] = {**api.urls["api"], "public": self._options.url.rstrip("/")}
            try:
                yield api
            finally:
                await api.close()

    async def _page(self, number: int) -> tuple[list[Item], int, int]:
        """Items of a page, how many rows it had, and when it had come."""
        asked = {"locale": self._options.locale, "page": number, "limit": self._options.rows}
        asked |= {"type": self._options.type} if self._options.type else {}
        told = await self._ask(asked)
        arrived = self.tools.clock.now_ns()
        result = told.get("result") if isinstance(told, Mapping) else None
        rows = result.get("list") if isinstance(result, Mapping) else None
        if not isinstance(rows, list):
            raise FeedError(f"{self._shown}: the answer has no list of announcements")
        return [self._read(row, arrived) for row in rows], len(rows), arrived

    async def _ask(self, asked: Mapping[str, Any]) -> Any:
        import ccxt

        await look_up(*self._address(), self.tools.http.near)
        self._api.last_response_headers = None
        try:
            async with asyncio.timeout(TIMEOUT_S + 5.0):
                return await self._api.public_get_v5_announcements_index(dict(asked))
        except TimeoutError:
            raise FeedError(f"{self._shown}: no whole answer within {TIMEOUT_S:g} s") from None
        except (ccxt.BaseError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            busy = isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded)
            headers = self._api.last_response_headers or {}
            said = next((str(value) for name, value in headers.items() if name.lower() == "retry-after"), None)
            now = self.tools.clock.now_ns()
            pause_s = retry_after_s(said, now, BUSY_S) if busy or said is not None else 0.0
            raise FeedError(self._told(error), pause_s=pause_s) from None

    def _address(self) -> tuple[str, int]:
        parts = urlsplit(self._options.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def _told(self, error: Exception) -> str:
        lines = str(error).splitlines()
        return f"{self._shown}: {type(error).__name__}: {redacted(lines[0] if lines else '')[:200]}"

    def _read(self, row: Any, arrived_ns: int) -> Item:
        try:
            title = clean_text(row["title"], html=True, most=TITLE_MAX).replace("\n", " ")
            url, kind, stamp_ms = clean_link(row["url"]), row.get("type"), row.get("publishTime")
            if type(stamp_ms) is not int or not 0 < stamp_ms < STAMP_MAX_MS:
                stamp_ms = row["dateTimestamp"]
            if type(stamp_ms) is not int or not 0 < stamp_ms < STAMP_MAX_MS:
                raise ValueError("no date")
            if not title or not url:
                raise ValueError("no title or no address")
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            return Spoilt(repr(row)[:500], f"not as Bybit writes ({type(error).__name__})")
        most = self._options.summary
        body = clean_text(row.get("description"), html=True, most=most) if most else ""
        text = "\n".join(part for part in (title, body if body != title else "") if part)
        author = clean_name(kind.get("key")) if isinstance(kind, Mapping) else ""
        key = short_key(url)
        return Written(key, self._dated(key, stamp_ms * MILLISECOND_NS, arrived_ns), text, author=author, url=url)

    def _dated(self, key: str, said_ns: int, arrived_ns: int) -> int:
        """When it went out; what is dated ahead went out before it was first seen here."""
        if said_ns <= arrived_ns:
            return said_ns
        first = self._first.setdefault(key, arrived_ns)
        while len(self._first) > FIRST_MAX:
            self._first.popitem(last=False)
        return first


def _settled(item: Item, arrived_ns: int) -> Item:
    """History younger than its lag counts as known at its arrival: it is here."""
    if isinstance(item, Written) and item.event_ns + CARD.lag_ns > arrived_ns:
        return replace(item, known_ns=arrived_ns)
    return item


def _lies_in(item: Item, span: Span) -> bool:
    return not isinstance(item, Written) or span[0] <= item.event_ns < span[1]


SOURCE: Final = Source(CARD, BybitAnnouncementsOptions, BybitAnnouncements)
