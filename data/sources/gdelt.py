"""Headlines of the world's news by GDELT's DOC 2.0 API: free, without a key, titles only, slow and often overloaded.

An article is dated by `seendate`, when GDELT first saw it, to a quarter of an hour; so history counts as known half an
hour after it. Its key is its address without trackers, its author the site's domain. One request in five seconds is
allowed, which is kept; live, an hour is looked at again, since articles are indexed out of order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import Field

from data.clean import clean_name, clean_text
from data.feed import Batch, Card, FeedError, Item, Options, Progress, Source, Spoilt, Take, Terms, Tools, Written
from data.http import Answer, read_json, redacted
from data.news_document import TITLE_MAX, clean_link, short_key
from data.polled import Polled
from data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, Span

CARD: Final = Card(
    name="gdelt",
    title="GDELT DOC 2.0 (headlines of world news)",
    kinds=("posts",),
    live=True,
    history="assumed_lag",
    lag_ns=30 * MINUTE_NS,
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=True,
        note="open for any use, with a citation of the GDELT Project and a link to it; headlines are their publishers'",
        url="https://www.gdeltproject.org/about.html#termsofuse",
    ),
    per_minute=12.0,
)
RECORDS_MAX: Final = 250
PACE_S: Final = 5.0
BUSY_S: Final = 30.0
OVERLAP_NS: Final = HOUR_NS
BEHIND_MAX_NS: Final = DAY_NS
PAGES_MAX: Final = 8
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9A-Fa-f]{4})|\\')
_CONTROL = re.compile(r"[\x00-\x1f]")
_QUERY_FAULT = re.compile(
    r"your query|the specified phrase|one or more of your keywords|quer(?:y|ies) containing|parenthes[ei]s may only"
    r"|invalid query|illegal character|too (?:short|long|common)",
    re.IGNORECASE,
)


class GdeltOptions(Options):
    """The table `[feeds.gdelt]`."""

    url: str = Field("https://api.gdeltproject.org/api/v2/doc/doc", description="address of the API")
    query: str = Field(
        "(bitcoin OR ethereum OR cryptocurrency) sourcelang:english",
        min_length=3,
        max_length=1_000,
        description="what to look for, as GDELT's query language writes it",
    )
    every: float = Field(900.0, ge=60.0, description="seconds between two questions; GDELT adds to its index each 900")
    records: int = Field(RECORDS_MAX, ge=10, le=RECORDS_MAX, description="articles of one answer at most")


@dataclass(frozen=True)
class _Page:
    """Articles of an answer; `last_ns` is the newest date among them, `full` that there may be more."""

    items: Sequence[Item]
    last_ns: int
    full: bool
    arrived_ns: int


class Gdelt(Polled):
    """The articles of one query."""

    def __init__(self, options: GdeltOptions, tools: Tools) -> None:
        super().__init__(CARD, tools, options.every)
        self._url, self._query, self._records = options.url, options.query, options.records
        self._asked_ns = 0
        self._reached: dict[Span, tuple[int, frozenset[str]]] = {}

    async def ask(self) -> Sequence[Batch]:
        """See `Polled`: what was seen since an hour before the newest that was handed over."""
        now = self.tools.clock.now_ns()
        kept = self.cursor.get("seen_ns")
        newest = kept if isinstance(kept, int) and 0 < kept <= now else now
        since = max(newest - OVERLAP_NS, now - BEHIND_MAX_NS)
        batches: list[Batch] = []
        for _ in range(PAGES_MAX):
            page = await self._read(since, now + SECOND_NS)
            # what is dated ahead of its arrival is left for a later question: GDELT rounds its dates
            items = [item for item in page.items if not isinstance(item, Written) or item.event_ns <= page.arrived_ns]
            newest = max([newest] + [item.event_ns for item in items if isinstance(item, Written)])
            batches.append(Batch(items, page.arrived_ns, cursor={"seen_ns": newest}))
            if not page.full:
                break
            since = self._behind(page, since)
        return batches

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: page by page, oldest first; a second call goes on where a fault had ended the first."""
        whole, (since, told) = float(span[1] - span[0]), self._reached.get(span, (span[0], frozenset[str]()))
        while since < span[1]:
            page = await self._read(since, span[1])
            items = [_settled(item, page.arrived_ns) for item in page.items if _lies_in(item, since, span[1], told)]
            await take(Batch(items, page.arrived_ns, history=True))
            since = self._behind(page, since) if page.full else span[1]
            told = frozenset(item.key for item in page.items if isinstance(item, Written) and item.event_ns == since)
            self._reached[span] = (since, told)
            progress(float(min(since, span[1]) - span[0]), whole)
        self._reached.pop(span, None)
        progress(whole, whole)

    async def _hand_over(self, batch: Batch, take: Take) -> None:
        await super()._hand_over(batch, take)
        if batch.cursor is not None:  # only now: what wasn't acknowledged has to be asked for again
            self.cursor = dict(batch.cursor)

    def _behind(self, page: _Page, since: int) -> int:
        """Where the next page begins: at the last date, whose articles may not all have come."""
        if page.last_ns > since:
            return page.last_ns
        self.counts["cut"] += 1  # one date with more articles than an answer holds: the rest can't be asked for
        return since + SECOND_NS

    async def _read(self, since: int, until: int) -> _Page:
        """Articles seen in `[since, until)`, oldest first."""
        wait_s = PACE_S - (self.tools.clock.now_ns() - self._asked_ns) / SECOND_NS
        if wait_s > 0:
            await self.tools.sleep(wait_s)
        self._asked_ns = self.tools.clock.now_ns()
        asked = {
            "query": self._query,
            "mode": "ArtList",
            "format": "json",
            "sort": "DateAsc",
            "maxrecords": str(self._records),
            "startdatetime": _stamp(since),
            "enddatetime": _stamp(until - 1),
        }
        answer = await self.tools.http.get(self._url, asked)
        rows = _articles(answer)
        items = [_read_row(row) for row in rows]
        last = max([item.event_ns for item in items if isinstance(item, Written)], default=0)
        return _Page(items, last, len(rows) >= self._records, answer.arrived_ns)


def _articles(answer: Answer) -> list[Any]:
    """The rows of an answer. GDELT writes its complaints as plain text, and its JSON with escapes that JSON hasn't."""
    text = _CONTROL.sub(" ", answer.text()).strip()
    if text[:1] not in ("{", "[", "<", '"', ""):
        busy = "limit requests" in text.lower()
        final = not busy and _QUERY_FAULT.search(text) is not None
        raise FeedError(f"{answer.url}: says: {redacted(text)}", pause_s=BUSY_S if busy else 0.0, final=final)
    body = read_json(_ESCAPE.sub(lambda found: found[0] if found[1] else "\\\\", text), answer.url)
    if body == {}:
        return []
    rows = body.get("articles") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise FeedError(f"{answer.url}: the answer has no list 'articles'")
    return rows


def _read_row(row: Any) -> Item:
    try:
        stamp, url, title = row["seendate"], clean_link(row["url"]), row["title"]
        if not isinstance(stamp, str) or not _STAMP.fullmatch(stamp):
            raise ValueError("no date")
        seen = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (TypeError, ValueError, LookupError) as error:
        return Spoilt(repr(row)[:500], f"not an article as GDELT writes it ({type(error).__name__})")
    text = clean_text(title, html=True, most=TITLE_MAX).replace("\n", " ")
    if not url or not text:
        return Spoilt(repr(row)[:500], "no address" if text else "no title")
    return Written(
        short_key(url), int(seen.timestamp()) * SECOND_NS, text, author=clean_name(row.get("domain")), url=url
    )


def _settled(item: Item, arrived_ns: int) -> Item:
    """History younger than its lag counts as known at its arrival: it is here."""
    if isinstance(item, Written) and item.event_ns + CARD.lag_ns > arrived_ns >= item.event_ns:
        return replace(item, known_ns=arrived_ns)
    return item


def _lies_in(item: Item, since: int, until: int, told: frozenset[str]) -> bool:
    return not isinstance(item, Written) or (since <= item.event_ns < until and item.key not in told)


def _stamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime("%Y%m%d%H%M%S")


SOURCE: Final = Source(CARD, GdeltOptions, Gdelt)
