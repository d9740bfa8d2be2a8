"""X (formerly Twitter): posts by cashtags, names and accounts, live, paid for one by one, through tweepy.

What X's list said on 2026-08-22 (docs.x.com/x-api/getting-started/pricing): 0.005 USD for a post that is read, 0.010
USD for a user; the same thing read again on one UTC day isn't billed again, which X calls a soft guarantee and on which
the purse doesn't count. The list doesn't say that the author who comes with a post is free, so he is counted; set
`author_cost = 0` when your bill shows that he is, or `authors = false` to do without names and followers.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import Field

from data.errors import InputError
from data.feed import Card, FeedError, Item, Progress, Source, Take, Terms, Tools
from data.spend import PaidOptions
from data.times import SECOND_NS, Span
from data.x_api import XApi
from data.x_desk import Desk, PurseError
from data.x_door import BASE, Door, near_of, token_of
from data.x_recheck import Recheck
from data.x_rules import QUERY_CHARS, RULE_CHARS, Wish
from data.x_search import Search
from data.x_stream import Arrived, Line

POST_USD: Final = Decimal("0.005")
USER_USD: Final = Decimal("0.010")
BATCH_MAX: Final = 500
LAST_WORDS_S: Final = 10.0

CARD: Final = Card(
    name="x",
    title="X (paid, by the post)",
    kinds=("posts",),
    live=True,
    history="assumed_lag",
    lag_ns=30 * SECOND_NS,
    revises=True,
    terms=Terms(
        trainable=False,
        redistributable=False,
        note="no training of foundation or frontier models; only post ids may be handed on; what is deleted, protected"
        " or changed on X has to be deleted or changed here, at the latest 24 hours after a request",
        url="https://docs.x.com/developer-terms/agreement",
    ),
    per_minute=30.0,
    cost=POST_USD + USER_USD,
    keys=("key",),
)


class XOptions(PaidOptions):
    """The table `[feeds.x]`."""

    account: str = Field("x", pattern=r"^[a-z0-9_-]{1,40}$", description="feeds with the same account share one purse")
    key: str = Field("", description="reference to the bearer token of your app, for example env:X_BEARER")
    cost: Decimal = Field(POST_USD, ge=0, description="USD for a post")
    author_cost: Decimal = Field(USER_USD, ge=0, description="USD for the author who comes with a post")
    authors: bool = Field(True, description="ask for each post's author: name and followers")
    cashtags: tuple[str, ...] = Field((), description="tickers without $; those of the run's coins if nothing is named")
    names: tuple[str, ...] = Field((), description="words and phrases")
    accounts: tuple[str, ...] = Field((), description="user names whose posts are followed in all languages")
    language: str = Field("en", pattern=r"^([a-z]{2,3})?$", description="of posts found by words; empty for all")
    retweets: bool = Field(False, description="reposts as well")
    refill: bool = Field(True, description="search for what was missed while the stream was down")
    refill_posts: int = Field(500, ge=10, description="posts that a refill brings at most")
    recheck: Literal["job", "look-up"] = Field("job", description="how deletions are looked for first")
    recheck_days: int = Field(30, ge=0, le=3650, description="days in which a stored post is asked after")
    recheck_hours: float = Field(12.0, gt=0, le=24, description="hours between two rounds of that")
    recheck_usd: Decimal = Field(Decimal(1), ge=0, description="USD that look-ups for it may cost in a day")
    ahead: int = Field(20, ge=0, description="posts booked ahead while the stream runs, for those already on their way")
    silence: float = Field(45.0, gt=0, description="seconds without a sign of life before the stream is given up")
    rule_chars: int = Field(RULE_CHARS, ge=64, description="characters of a rule that your plan allows")
    query_chars: int = Field(QUERY_CHARS, ge=64, description="characters of a search that your plan allows")
    url: str = Field(BASE, pattern=r"^https?://[^/?#@]+$", description="address of the API")


class X:
    """The feed; see `data.x_stream`, `data.x_search` and `data.x_recheck` for its parts."""

    def __init__(self, options: XOptions, tools: Tools) -> None:
        each = options.cost + (options.author_cost if options.authors else 0)
        self.card = replace(CARD, cost=each)
        self._options, self._tools = options, tools
        self._token, self._near = token_of(options.key, tools), near_of(options.url)
        if tools.purse is None:
            raise InputError(
                "X costs money and there is no purse for it", key="feeds.x", remedy="Set cap_day, cap_month"
            )
        self._purse = tools.purse
        cashtags = options.cashtags or (() if options.names or options.accounts else tools.coins)
        wish = Wish(cashtags, options.names, options.accounts, options.language, options.retweets)
        self._rules = wish.rules(options.rule_chars)
        self._desk = Desk(tools, tools.purse, each, dict(tools.memory))
        self._search = Search(self._desk, wish.rules(options.query_chars), options.refill_posts)
        self._recheck = Recheck(
            self._desk, options.cost, options.recheck_hours, options.recheck_days, options.recheck_usd,
            options.recheck == "job",
        )  # fmt: skip
        self._state: Literal["idle", "connecting", "following"] = "idle"

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`: the last seven days, as search shows them now: without what was deleted since."""
        api = XApi(self._door(), authors=self._options.authors)
        try:
            await self._search.history(api, span, take, progress)
        finally:
            await api.close()
            self._purse.close()

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`: one connection; any end of it is a FeedError."""
        api = XApi(self._door(), authors=self._options.authors)
        self._state = "connecting"
        ahead, booked_ns = max(self._options.ahead, 1), 0
        try:
            booked_ns = self._desk.spend(ahead, self._desk.cost)
            added, deleted = await api.set_rules(self._rules)
            self._desk.counts["rules_added"] += added
            self._desk.counts["rules_deleted"] += deleted
            self._tools.alive()
            await self._desk.note_connect(take, refill=self._options.refill)
            await self._follow(api, take)
        except PurseError as error:
            if not booked_ns:
                await self._recheck.without_money(api, take)
            booked_ns = 0  # what was booked ahead stays booked, for posts that are on their way
            if self._recheck.possible:  # come again for deletions, long before a month is over
                error.pause_s = min(error.pause_s, self._options.recheck_hours * 3600.0)
            raise
        finally:
            self._state = "idle"
            await api.close()
            if booked_ns:
                self._purse.give_back(ahead, booked_ns, self._desk.cost)
            self._purse.close()

    def health(self) -> dict[str, Any]:
        """Counts of posts, requests, repetitions and deletions, and what is still owed to the past."""
        return {"state": self._state, **self._desk.counts, "gaps": len(self._desk.gaps()), "rules": len(self._rules)}

    def _door(self) -> Door:
        return Door(self._options.url, self._token, self._tools.clock, self._near)

    async def _follow(self, api: XApi, take: Take) -> None:
        """Read, write, refill and look up side by side until one of them fails; what came is handed over anyway."""
        desk, tools = self._desk, self._tools
        line = Line(
            self._door(), api.fields, tools.clock, lambda: desk.spend(1, desk.cost), tools.alive,
            self._options.silence, desk.counts,
        )  # fmt: skip
        reader = asyncio.create_task(line.run())
        writer = asyncio.create_task(self._write(line, take))
        others = [asyncio.create_task(self._beside(api, take, line))]
        others.append(asyncio.create_task(self._recheck.run(api, take)))
        tasks = [reader, writer, *others]
        try:
            waiting = set(tasks)
            while not reader.done() and not writer.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(task.exception() for task in done):
                    break
        finally:
            for task in (reader, *others):
                task.cancel()
            await asyncio.gather(reader, *others, return_exceptions=True)
            line.queue.put_nowait(None)
            await asyncio.wait({writer}, timeout=LAST_WORDS_S)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        errors = [task.exception() for task in tasks if not task.cancelled()]
        raise next((error for error in errors if error is not None), FeedError("X's stream has ended"))

    async def _beside(self, api: XApi, take: Take, line: Line) -> None:
        await line.connected.wait()
        self._state = "following"
        await self._search.refill(api, take)

    async def _write(self, line: Line, take: Take) -> None:
        """Hand over what has come, as much at once as there is, until the line's end."""
        while (first := await line.queue.get()) is not None:
            batch: list[Arrived] = [first]
            ended = False
            while len(batch) < BATCH_MAX and not line.queue.empty():
                following = line.queue.get_nowait()
                if following is None:
                    ended = True
                    break
                batch.append(following)
            items: list[Item] = [arrived.item for arrived in batch if arrived.item is not None]
            newest = self._desk.newest_of(arrived.identity for arrived in batch)
            await self._desk.hand_over(items, batch[-1].arrived_ns, take, {"newest": newest} if newest else {})
            for _ in batch:
                line.queue.task_done()
            if ended:
                return


SOURCE: Final = Source(CARD, XOptions, X)
