"""How much is written on X about each coin, by the hour: one request counts many posts, so volume is cheap.

The metric `x_post_count` is the number of posts in an hour that hold the coin's cashtag or one of its names; it is
stamped with the hour's end. Only whole hours are taken, two minutes after their end. X counts posts that stand when it
is asked: history lacks what was deleted since, and an hour asked for later may hold fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import Field

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Progress, Reading, Source, Spoilt, Take, Terms, Tools
from data.polled import Polled
from data.spend import PaidOptions
from data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, Span, floor_time, format_time, parse_time
from data.x_api import XApi, next_page
from data.x_door import BASE, Door, XError, near_of, token_of
from data.x_rules import QUERY_CHARS, Wish

METRIC: Final = "x_post_count"
REQUEST_USD: Final = Decimal("0.005")
"""For a request of recent counts, by X's list on 2026-08-22 (docs.x.com/x-api/getting-started/pricing)."""

SETTLE_NS: Final = 2 * MINUTE_NS
REACH_NS: Final = 7 * DAY_NS - 5 * MINUTE_NS
PAGES_MAX: Final = 40

CARD: Final = Card(
    name="x_counts",
    title="Posts an hour on X (paid, by the request)",
    kinds=("metrics",),
    live=True,
    history="assumed_lag",
    lag_ns=5 * MINUTE_NS,
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=False,
        note="X's terms forbid to train foundation or frontier models on its contents; of counts they don't speak",
        url="https://docs.x.com/developer-terms/agreement",
    ),
    per_minute=20.0,
    cost=REQUEST_USD,
    keys=("key",),
)


class XCountsOptions(PaidOptions):
    """The table `[feeds.x_counts]`."""

    account: str = Field("x", pattern=r"^[a-z0-9_-]{1,40}$", description="feeds with the same account share one purse")
    key: str = Field("", description="reference to the bearer token of your app, for example env:X_BEARER")
    cost: Decimal = Field(REQUEST_USD, ge=0, description="USD for a request: one a coin and hour")
    coins: tuple[str, ...] = Field((), description="tickers; those of the run if none is named")
    names: Mapping[str, tuple[str, ...]] = Field({}, description="by ticker: words and phrases that count as well")
    language: str = Field("en", pattern=r"^([a-z]{2,3})?$", description="of the posts; empty for all")
    retweets: bool = Field(False, description="reposts count as well")
    every: float = Field(300.0, ge=10.0, description="seconds between two looks whether an hour is over")
    query_chars: int = Field(QUERY_CHARS, ge=64, description="characters of a search that your plan allows")
    url: str = Field(BASE, pattern=r"^https?://[^/?#@]+$", description="address of the API")


class XCounts(Polled):
    """The feed. Its cursor holds, by coin, the end of the last hour taken."""

    def __init__(self, options: XCountsOptions, tools: Tools) -> None:
        super().__init__(replace(CARD, cost=options.cost), tools, options.every)
        if tools.purse is None:
            raise InputError("X costs money, and no purse was given to the feed", key="feeds.x_counts")
        self._purse, self._options = tools.purse, options
        self._token, self._near = token_of(options.key, tools), near_of(options.url)
        coins = tuple(dict.fromkeys(options.coins or tools.coins))
        self._queries = {coin: _query(coin, options) for coin in coins}
        if not self._queries:
            raise InputError("X isn't told what to count", key="coins", value=(), remedy="Name coins")
        self._come: dict[str, Batch] = {}

    async def ask(self) -> Sequence[Batch]:
        """See `Polled`: hours that are over and weren't taken yet; what has come is kept when a later request fails."""
        now_ns = self.tools.clock.now_ns()
        due_ns = floor_time(now_ns - SETTLE_NS, HOUR_NS)
        waiting = [coin for coin in self._queries if self._taken(coin) < due_ns and coin not in self._come]
        if waiting:
            async with self._api() as api:
                for coin in waiting:
                    first_ns = max(
                        self._taken(coin) or due_ns - HOUR_NS, floor_time(now_ns - REACH_NS, HOUR_NS) + HOUR_NS
                    )
                    self._come[coin] = await self._count(api, coin, (first_ns, due_ns))
        come, self._come = self._come, {}
        return [self._with_cursor(coin, batch) for coin, batch in come.items()]

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: the last seven days, a request a coin; hours that are stored aren't asked for again."""
        now_ns = self.tools.clock.now_ns()
        hours = (-(-span[0] // HOUR_NS) * HOUR_NS, floor_time(min(span[1], now_ns - SETTLE_NS), HOUR_NS))
        if hours[0] < now_ns - REACH_NS:
            raise InputError(
                "X counts the last seven days",
                key="since",
                value=format_time(span[0]),
                remedy=f"Begin at {format_time(floor_time(now_ns - REACH_NS, HOUR_NS) + HOUR_NS)} or later",
            )
        async with self._api() as api:
            for done, coin in enumerate(self._queries):
                progress(float(done), float(len(self._queries)))
                if hours[0] < hours[1] and not self._is_stored(coin, hours):
                    batch = await self._count(api, coin, hours)
                    await take(replace(batch, history=True))
        progress(float(len(self._queries)), float(len(self._queries)))

    async def _hand_over(self, batch: Batch, take: Take) -> None:
        if batch.cursor is not None:  # coins are handed over one by one: each moves its own part
            batch = replace(batch, cursor={**self.cursor, **batch.cursor})
        await super()._hand_over(batch, take)
        if batch.cursor is not None:
            self.cursor = dict(batch.cursor)

    async def _count(self, api: XApi, coin: str, hours: Span) -> Batch:
        bounds = {"start_time": _second(hours[0]), "end_time": _second(hours[1])}
        items: list[Item] = []
        page, arrived_ns = "", 0
        for _ in range(PAGES_MAX):
            with self._paying():
                answer = await api.counts(self._queries[coin], page, bounds)
            values = answer.values()
            rows, arrived_ns = values.get("data"), answer.arrived_ns
            if not isinstance(rows, list):
                raise FeedError(f"{answer.shown}: the answer has no list 'data'")
            items += [item for row in rows if (item := _read_row(row, coin, hours)) is not None]
            if rows and not any(isinstance(item, Reading) for item in items):
                raise FeedError(f"{answer.shown}: no hour in it can be read: {_shown(rows[0])}")
            page = next_page(values, answer.shown, page)
            self.counts["requests"] += 1
            if not page:
                return Batch(items, arrived_ns)
        raise FeedError(f"{answer.shown}: its pages have no end")

    @contextmanager
    def _paying(self) -> Iterator[None]:
        """Book a request before it is made; a refusal costs nothing, an answer that broke off may have."""
        booked_ns = self.tools.clock.now_ns()
        self._purse.spend(1, booked_ns, self._options.cost)
        try:
            yield
        except XError:
            self._purse.give_back(1, booked_ns, self._options.cost)
            raise
        finally:
            self._purse.close()

    def _api(self) -> _Opened:
        return _Opened(Door(self._options.url, self._token, self.tools.clock, self._near))

    def _taken(self, coin: str) -> int:
        """The end of the last hour taken; 0 before the first."""
        found = self.cursor.get(coin)
        return found if isinstance(found, int) else 0

    def _with_cursor(self, coin: str, batch: Batch) -> Batch:
        ends = [item.event_ns for item in batch.items if isinstance(item, Reading)]
        return replace(batch, cursor={coin: max(ends)}) if ends else batch

    def _is_stored(self, coin: str, hours: Span) -> bool:
        if self.tools.store is None:
            return False
        where = {"source": [CARD.name], "name": [METRIC], "coin": [coin]}
        ends = set(self.tools.store.table("metrics", where, columns=["event_ns"])["event_ns"].to_pylist())
        return all(at + HOUR_NS in ends for at in range(hours[0], hours[1], HOUR_NS))


class _Opened:
    """An API that is hung up behind the questions."""

    def __init__(self, door: Door) -> None:
        self._api = XApi(door)

    async def __aenter__(self) -> XApi:
        return self._api

    async def __aexit__(self, *exc: object) -> None:
        await self._api.close()


def _query(coin: str, options: XCountsOptions) -> str:
    wish = Wish((coin,), options.names.get(coin, ()), (), options.language, options.retweets)
    rules = wish.rules(options.query_chars)
    if len(rules) > 1:
        remedy = "Take fewer names: a post that two queries find would be counted twice"
        raise InputError(
            f"longer than a search may be ({options.query_chars} characters)", key=f"names.{coin}", remedy=remedy
        )
    return rules[0]


def _read_row(row: Any, coin: str, hours: Span) -> Item | None:
    """The count of a whole hour; None for a part of one, and for hours that weren't asked for."""
    try:
        start_ns, end_ns = parse_time(row["start"]), parse_time(row["end"])
        count = row["tweet_count"] if "tweet_count" in row else row["post_count"]
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError("no count")
    except (InputError, TypeError, ValueError, LookupError, AttributeError) as error:
        return Spoilt(_shown(row), f"an hour can't be read ({type(error).__name__})")
    if end_ns - start_ns != HOUR_NS or start_ns % HOUR_NS or start_ns < hours[0] or end_ns > hours[1]:
        return None
    return Reading(METRIC, coin, end_ns, float(count))


def _shown(row: Any) -> str:
    return repr(row)[:200]


def _second(instant_ns: int) -> str:
    return datetime.fromtimestamp(instant_ns // SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SOURCE: Final = Source(CARD, XCountsOptions, XCounts)
