"""Bybit's index of announcements, as its v5 API gives it: the newest first, page by page."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from data.feed import Item, Written
from data.times import HOUR_NS, MILLISECOND_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

FIRST_NS = NOW_NS - 60 * HOUR_NS


@dataclass
class Board:
    """Announcements by number: when they went out; `titles` says which were changed since."""

    times: list[int] = field(default_factory=list)
    titles: dict[int, str] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    def row(self, number: int) -> dict[str, Any]:
        """An announcement as the API gives it."""
        return {
            "title": self.titles.get(number, f"New listing: COIN{number}/USDT &amp; more"),
            "description": f"Bybit lists <b>COIN{number}</b>.",
            "type": {"title": "New Listings", "key": "new_crypto"},
            "tags": ["Spot"],
            "url": f"https://announcements.bybit.com/en-US/article/coin{number}-blt{number:08x}/?utm_source=api",
            "dateTimestamp": self.times[number] // MILLISECOND_NS - 1,
            "startDateTimestamp": 0,
            "endDateTimestamp": 0,
            "publishTime": self.times[number] // MILLISECOND_NS,
        }

    def item(self, number: int) -> Item:
        """An announcement as it has to be handed over."""
        url = f"https://announcements.bybit.com/en-US/article/coin{number}-blt{number:08x}/"
        title = self.titles.get(number, f"New listing: COIN{number}/USDT & more")
        text = f"{title}\nBybit lists COIN{number} ."
        return Written(url, self.times[number], text, author="new_crypto", url=url)

    async def answer(self, request: web.Request) -> web.Response:
        """A page."""
        assert request.path == "/v5/announcements/index" and request.query["locale"] == "en-US"
        self.asked.append(dict(request.query))
        page, limit = int(request.query["page"]), int(request.query["limit"])
        numbers = list(reversed(range(len(self.times))))[(page - 1) * limit : page * limit]
        result = {"total": len(self.times), "list": [self.row(number) for number in numbers]}
        return reply({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": NOW_NS // 1_000_000})


def make() -> World:
    """Twenty announcements, three hours apart; five stand on the first page; each `publish` adds one."""
    clock = StepClock()
    board = Board([FIRST_NS + at * 3 * HOUR_NS for at in range(20)])

    async def drifted(request: web.Request) -> web.Response:
        rows = [{**board.row(number), "publishTime": "today", "dateTimestamp": None} for number in range(15, 20)]
        return reply({"retCode": 0, "retMsg": "OK", "result": {"total": 20, "list": rows}})

    def publish() -> None:
        clock.advance(3 * 3600)
        board.times.append(board.times[-1] + 3 * HOUR_NS)

    span = (board.times[4] - 1, board.times[12])
    return World(
        name="bybit_announcements",
        handler=board.answer,
        options=lambda url: {"url": url, "rows": 5},
        publish=publish,
        expected=lambda: [board.item(number) for number in range(15, len(board.times))],
        drifted=drifted,
        span=span,
        history=lambda: [board.item(number) for number in range(4, 12)],
        clock=clock,
    )
