"""Any HTTP API that answers in JSON, joined by configuration alone: addresses, paths, paging, times, costs.

A feed of it is a table such as `[feeds.vendor]` with `use = "http_json"`. What its keys mean stands with each; how
objects become facts stands in `data.mapping`, how secrets are kept out of the configuration in `data.vendor`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Literal
from urllib.parse import urljoin, urlsplit

from pydantic import Field, model_validator

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Progress, Reading, Source, Spoilt, Take, Tools, Written
from data.feed import no_history as no_past
from data.http import Answer, bare
from data.mapping import UNITS, Mapping, missing_items
from data.paths import MISSING, read_path
from data.polled import Polled
from data.times import DAY_NS, Span, format_date, format_time, parse_duration
from data.vendor import TERMS, Secrets, VendorOptions, check_purse

CARD: Final = Card(
    name="http_json",
    title="any HTTP API (JSON)",
    kinds=("posts", "metrics"),
    live=True,
    history="assumed_lag",
    revises=True,
    terms=TERMS,
    per_minute=60.0,
)
HISTORY_PAGES_MAX: Final = 100_000


class HttpJsonOptions(VendorOptions):
    """A table with `use = "http_json"`."""

    method: Literal["get", "post"] = Field("get", description="how it is asked")
    body: dict[str, Any] = Field({}, description="post: what is sent, as JSON; {name} stands for a secret")
    in_body: bool = Field(False, description="post: parameters of paging and time go into the body")
    every: float = Field(60.0, ge=1.0, description="seconds between two questions")
    per_minute: float = Field(60.0, gt=0, le=6000, description="requests a minute at most, pages with them")
    next_path: str = Field(
        "", description="paging: path of what asks for the next page; absent or null on the last one"
    )
    next_param: str = Field("", description="paging: parameter that it goes into; empty: it is the next page's address")
    page_param: str = Field("", description="paging: parameter of the page's number; the last page is an empty one")
    page_first: int = Field(1, ge=0, description="paging: the number of the first page")
    pages: int = Field(10, ge=1, le=1000, description="live: pages at most for one question")
    per: Literal["item", "request"] = Field("item", description="what `cost` is the cost of")
    page_items: int = Field(
        0, ge=0, description="paid by the item: items that a page can have, booked before it is asked"
    )
    since_param: str = Field("", description="parameter of the first time wanted; without it there is no history")
    until_param: str = Field("", description="parameter of the end of the time wanted")
    since_format: Literal["s", "ms", "us", "ns", "iso", "date"] = Field(
        "iso", description="how these times are written"
    )
    window: str = Field("", description="history: the longest span of one question, such as 30d")
    overlap: str = Field("10m", description="live: with since_param, how far back each question goes")
    lag: str = Field("0s", description="history: an item counts as known so long after its time")
    quality: Literal["assumed_lag", "vendor_pit", "revised"] = Field("assumed_lag", description="history: its quality")

    @model_validator(mode="after")
    def _sound(self) -> HttpJsonOptions:
        if self.next_path and self.page_param:
            raise InputError("two ways of paging", key="page_param", remedy="Leave it or next_path out")
        if self.next_param and not self.next_path:
            raise InputError("needs next_path", key="next_param", remedy="Say where the next page's mark lies")
        if self.window and not (self.since_param and self.until_param):
            raise InputError("needs since_param and until_param", key="window", remedy="Name both parameters")
        if self.method == "get" and (self.body or self.in_body):
            raise InputError("a question without a body", key="body", remedy='Write method = "post"')
        if self.cost > 0 and self.per == "item" and not self.page_items:
            remedy = "Say how many items a page can have: so many are booked before it is asked"
            raise InputError("paid by the item", key="page_items", remedy=remedy)
        read_path(self.next_path, key="next_path")
        for key in ("window", "overlap", "lag"):
            if text := getattr(self, key):
                parse_duration(text, key=key)
        return self


@dataclass(frozen=True)
class _Page:
    """One answer, read."""

    items: list[Item]
    arrived_ns: int


class HttpJson(Polled):
    """A feed as it was configured; `card` says what was declared of it."""

    def __init__(self, told: HttpJsonOptions, tools: Tools) -> None:
        card = replace(
            CARD, title=f"{told.name} (HTTP)", kinds=(told.kind,), cost=told.cost, per_minute=told.per_minute
        )
        super().__init__(card, tools, told.every)
        check_purse(told, tools)
        self._told, self._mapping, self._secrets = told, Mapping(told), Secrets(told, tools)
        self._next = read_path(told.next_path, key="next_path")
        self._overlap_ns = parse_duration(told.overlap) if told.overlap else 0
        self._lag_ns = parse_duration(told.lag) if told.lag else 0

    async def ask(self) -> Sequence[Batch]:
        """See `Polled`: pages until one of them says nothing new."""
        told, newest_ns = self._told, _whole(self.cursor.get("since_ns"))
        more: dict[str, str] = {}
        if told.since_param and newest_ns:
            more[told.since_param] = self._time_text(newest_ns - self._overlap_ns)
        batches: list[Batch] = []
        async for page in self._pages(more, told.pages, live=True):
            batches.append(Batch(page.items, page.arrived_ns, source=told.name))
            times = [item.event_ns for item in page.items if isinstance(item, Written | Reading)]
            newest_ns = max([newest_ns, *(time for time in times if time <= page.arrived_ns)])
            if all(self.knows(told.name, item) for item in page.items):
                break
        if told.since_param and newest_ns and batches:
            # With the last batch: the older pages behind it have to be stored before the time goes on.
            batches[-1] = replace(batches[-1], cursor={"since_ns": newest_ns})
        return batches

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""

        async def told(batch: Batch) -> None:
            await take(batch)
            self.cursor = dict(batch.cursor or self.cursor)  # only now: what wasn't acknowledged has to come again

        await super().stream(told)

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: window by window, page by page."""
        told = self._told
        if not told.since_param:
            raise no_past(self.card)
        windows = list(_windows(span, parse_duration(told.window) if told.window else 0))
        for at, (first, last) in enumerate(windows):
            more = {told.since_param: self._time_text(first)}
            if told.until_param:
                more[told.until_param] = self._time_text(last, up=True)
            async for page in self._pages(more, HISTORY_PAGES_MAX, live=False):
                kept = [item for item in page.items if first <= getattr(item, "event_ns", first) < last]
                if kept:
                    await take(Batch(kept, page.arrived_ns, source=told.name, history=True))
                progress(at, len(windows))
            progress(at + 1, len(windows))

    def health(self) -> dict[str, Any]:
        """Counts; `others`: values of coins that `coins` doesn't name; `cut`: questions that had more pages."""
        return {**super().health(), **({"others": self._mapping.others} if self._mapping.others else {})}

    async def _pages(self, more: dict[str, str], most: int, *, live: bool) -> AsyncIterator[_Page]:
        told, url, number = self._told, self._told.url, self._told.page_first
        marks: set[str] = set()
        given = dict(more)
        for at in range(most):
            if at:
                await self.tools.sleep(60.0 / told.per_minute)
            if told.page_param:
                given[told.page_param] = str(number + at)
            booked_ns = self.tools.clock.now_ns()
            booked = (told.page_items if told.per == "item" else 1) if told.cost > 0 else 0
            self._book(booked, booked_ns)
            try:
                answer = await self._question(url, given)
            except FeedError:
                self._give_back(booked, booked_ns)
                raise
            body = answer.json()
            items = self._items(answer, body, live=live)
            if booked and told.per == "item":
                self._book(len(items) - booked, booked_ns)
                self._give_back(booked - len(items), booked_ns)
            self.counts["pages"] += 1
            yield _Page(items, answer.arrived_ns)
            if not told.next_path and (not told.page_param or not items):
                return
            if told.next_path:
                mark = self._next.one(body)
                if mark is MISSING or mark is None or mark is False or mark == "" or str(mark) in marks:
                    return
                marks.add(str(mark))
                url, given = self._turn(url, given, mark)
        self.counts["cut"] += 1
        if not live:
            raise FeedError(f"{bare(told.url)}: more than {most:,} pages")

    def _turn(self, url: str, given: dict[str, str], mark: Any) -> tuple[str, dict[str, str]]:
        """Address and parameters of the next page."""
        if not isinstance(mark, str | int | float) or isinstance(mark, bool):
            raise FeedError(f"{bare(url)}: the next page's mark isn't a text or a number")
        if self._told.next_param:
            return url, {**given, self._told.next_param: str(mark)}
        target = urljoin(url, str(mark))
        asked, there = urlsplit(self._told.url), urlsplit(target)
        if (there.scheme, there.netloc) != (asked.scheme, asked.netloc):
            raise FeedError(f"{bare(url)}: the next page lies at another host, which isn't asked")
        return target, {}

    async def _question(self, url: str, given: dict[str, str]) -> Answer:
        told = self._told
        params = {**(self._secrets.fill(told.params) if url == told.url else {}), **({} if told.in_body else given)}
        headers = self._secrets.fill(told.headers)
        if told.method == "post":
            sent = {**self._secrets.fill(told.body), **(given if told.in_body else {})}
            return await self.tools.http.post(url, sent, headers, params=params)
        return await self.tools.http.get(url, params, headers)

    def _items(self, answer: Answer, body: Any, *, live: bool) -> list[Item]:
        told = self._told
        items = self._mapping.read(body, history=not live, lag_ns=self._lag_ns, quality=told.quality)
        if items is None:
            raise FeedError(missing_items(told, answer.url))
        bad = [item for item in items if isinstance(item, Spoilt)]
        if bad and len(bad) == len(items):
            self.counts["strange"] += len(bad)
        return [replace(item, content=self._secrets.hide(item.content)) if isinstance(item, Spoilt) else item
                for item in items]  # fmt: skip

    def _book(self, items: int, now_ns: int) -> None:
        if items > 0 and self.tools.purse is not None:
            self.tools.purse.spend(items, now_ns, self._cost())

    def _give_back(self, items: int, booked_ns: int) -> None:
        if items > 0 and self.tools.purse is not None:
            self.tools.purse.give_back(items, booked_ns, self._cost())

    def _cost(self) -> Decimal:
        return self._told.cost

    def _time_text(self, instant_ns: int, *, up: bool = False) -> str:
        """A time as the vendor writes it and by his stamps; rounded down, or up: what is too much is left out later."""
        stamp_ns = instant_ns - self._mapping.shift_ns
        told = self._told.since_format
        if told == "iso":
            return format_time(stamp_ns).replace(" ", "T")
        unit_ns = DAY_NS if told == "date" else UNITS[told]
        whole = -(-stamp_ns // unit_ns) if up else stamp_ns // unit_ns
        return format_date(whole * DAY_NS) if told == "date" else str(whole)


def _windows(span: Span, length_ns: int) -> Iterator[Span]:
    first, end = span
    while first < end:
        last = min(first + length_ns, end) if length_ns else end
        yield first, last
        first = last


def _whole(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


SOURCE: Final = Source(CARD, HttpJsonOptions, HttpJson)
