"""X's recent search: what the stream has missed, and the history of the last seven days.

A refill is live: what it brings was known when it came, not when it was written. History comes in hours, the oldest
first, each of them whole before the next is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from data.errors import InputError
from data.feed import FeedError, Item, Progress, Take
from data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, Span, format_time, merge_spans, subtract_spans
from data.x_api import XApi, next_page
from data.x_desk import Desk
from data.x_posts import read_posts, time_of

PAGE: Final = 100
PAGE_LEAST: Final = 10
REACH_NS: Final = 7 * DAY_NS - 5 * MINUTE_NS
SETTLE_S: Final = 45.0
"""Search knows a post some 30 s after it was written."""

PAGES_MAX: Final = 10_000


@dataclass
class Search:
    """Search for what the rules of the stream ask for.

    Parameters
    ----------
    desk : Desk
    queries : sequence of str
    most : int
        Posts that one refill brings at most.
    """

    desk: Desk
    queries: Sequence[str]
    most: int

    async def refill(self, api: XApi, take: Take) -> None:
        """Bring what the gaps of the cursor hold, the newest gap first, once search knows of it."""
        desk = self.desk
        if not desk.gaps():
            return
        await desk.tools.sleep(SETTLE_S)
        while gaps := desk.gaps():
            await self._fill(api, gaps[-1], take)
            left = [list(gap) for gap in gaps[:-1]]
            await desk.hand_over([], desk.tools.clock.now_ns(), take, {"gaps": left})
            desk.counts["refilled"] += 1

    async def history(self, api: XApi, span: Span, take: Take, progress: Progress) -> None:
        """Bring posts of a span within the last seven days; what the cursor says was fetched isn't asked for again.

        Raises
        ------
        InputError
            The span, or the beginning of it, lies farther back.
        """
        desk = self.desk
        now_ns = desk.tools.clock.now_ns()
        if span[0] < now_ns - REACH_NS:
            raise InputError(
                "X's recent search reaches back seven days",
                key="since",
                value=format_time(span[0]),
                remedy=f"Begin at {format_time(now_ns - REACH_NS + HOUR_NS)} or later",
            )
        until_ns = min(span[1], now_ns - int(SETTLE_S) * SECOND_NS)
        fetched = _spans(desk.cursor.get("fetched"))
        hours = [(at, min(at + HOUR_NS, until_ns)) for at in range(span[0], until_ns, HOUR_NS)]
        for done, hour in enumerate(hours):
            progress(float(done), float(len(hours)))
            for part in subtract_spans([hour], fetched):
                items, arrived_ns = await self._hour(api, part)
                fetched = merge_spans([*fetched, part])[-64:]
                changes = {"fetched": [list(pair) for pair in fetched]}
                await desk.hand_over(items, arrived_ns, take, changes, history=True)
        progress(float(max(len(hours), 1)), float(max(len(hours), 1)))

    async def _fill(self, api: XApi, gap: Span, take: Take) -> None:
        now_ns = self.desk.tools.clock.now_ns()
        bounds: dict[str, Any] = {"since_id": max(gap[0], 1), "until_id": gap[1]}
        if time_of(gap[0]) < now_ns - REACH_NS:
            bounds = {"start_time": _second(now_ns - REACH_NS), "until_id": gap[1]}
            self.desk.counts["refill_cut"] += 1
        if time_of(gap[1]) < now_ns - REACH_NS:
            return
        for query in self.queries:
            page, brought = "", 0
            for _ in range(PAGES_MAX):
                items, arrived_ns, page = await self._page(api, query, page, bounds)
                await self.desk.hand_over(items, arrived_ns, take, {})
                brought += len(items)
                if not page:
                    break
                if brought >= self.most:
                    self.desk.counts["refill_cut"] += 1
                    break

    async def _hour(self, api: XApi, hour: Span) -> tuple[list[Item], int]:
        bounds = {"start_time": _second(hour[0]), "end_time": _second(hour[1])}
        found: dict[str, Item] = {}
        arrived_ns = self.desk.tools.clock.now_ns()
        for query in self.queries:
            page = ""
            for _ in range(PAGES_MAX):
                items, arrived_ns, page = await self._page(api, query, page, bounds)
                found.update((repr(item), item) for item in items)
                if not page:
                    break
        return list(found.values())[::-1], arrived_ns

    async def _page(self, api: XApi, query: str, page: str, bounds: Mapping[str, Any]) -> tuple[list[Item], int, str]:
        desk = self.desk
        room = desk.purse.room(desk.tools.clock.now_ns(), desk.cost)
        most = min(max(room, PAGE_LEAST), PAGE)
        with desk.paying(most) as bill:
            answer = await api.search(query, most, page, bounds)
            values = answer.values()
            token = next_page(values, answer.shown, page)
            items = read_posts(values, answer.shown)
            if len(items) > most:
                raise FeedError(f"{answer.shown}: more posts than were asked for")
            bill.used = len(items)
        desk.tools.alive()
        desk.counts["pages"] += 1
        return items, answer.arrived_ns, token


def _second(instant_ns: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(instant_ns // SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spans(found: Any) -> list[Span]:
    try:
        return merge_spans((int(first), int(last)) for first, last in found or ())
    except (TypeError, ValueError):
        return []
