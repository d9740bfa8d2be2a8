"""GDELT's list of articles, as its DOC 2.0 API gives it: dates to a quarter of an hour, `{}` for none, oldest first."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from data.feed import Item, Written
from data.times import HOUR_NS, MINUTE_NS, SECOND_NS, parse_time
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

QUARTER_NS = 15 * MINUTE_NS
LAST_NS = NOW_NS // QUARTER_NS * QUARTER_NS


@dataclass
class Index:
    """Articles by number: when they were seen. `sloppy` writes titles as GDELT does, with escapes that JSON hasn't."""

    seen: list[int] = field(default_factory=list)
    sloppy: bool = False

    def row(self, number: int) -> dict[str, Any]:
        """An article as the API gives it."""
        stamp = self.seen[number]
        return {
            "url": f"https://paper{number % 3}.test/story/{number}?utm_medium=feed&id={number}",
            "url_mobile": "",
            "title": f"Bitcoin &amp; co , story {number}",
            "seendate": stamp_of(stamp, "T") + "Z",
            "socialimage": "",
            "domain": f"paper{number % 3}.test",
            "language": "English",
            "sourcecountry": "United States",
        }

    def item(self, number: int) -> Item:
        """An article as it has to be handed over."""
        url = f"https://paper{number % 3}.test/story/{number}?id={number}"
        return Written(
            url, self.seen[number], f"Bitcoin & co , story {number}", author=f"paper{number % 3}.test", url=url
        )

    async def answer(self, request: web.Request) -> web.Response:
        """The articles of the asked span."""
        query = request.query
        assert (query["mode"], query["format"], query["sort"]) == ("ArtList", "json", "DateAsc")
        first, last = read_stamp(query["startdatetime"]), read_stamp(query["enddatetime"])
        numbers = [number for number, stamp in enumerate(self.seen) if first <= stamp <= last]
        numbers = sorted(numbers, key=lambda number: self.seen[number])[: int(query["maxrecords"])]
        if not numbers:
            return reply({})
        rows = [self.row(number) for number in numbers]
        if self.sloppy:
            text = json.dumps({"articles": rows}).replace("story ", "it\\'s\tstory ")
            return web.Response(text=text, content_type="application/json")
        return reply({"articles": rows})


def stamp_of(time_ns: int, between: str = "") -> str:
    """`YYYYMMDD`, something between, `HHMMSS`."""
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime(f"%Y%m%d{between}%H%M%S")


def read_stamp(text: str) -> int:
    """Nanoseconds of `YYYYMMDDHHMMSS`."""
    return parse_time(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}Z")


def make() -> World:
    """Three articles a quarter for a day, a hundred ago; four in the last hour, and one more with each `publish`."""
    clock = StepClock()
    past = [LAST_NS - 100 * HOUR_NS + at // 3 * QUARTER_NS for at in range(96 * 3)]
    index = Index([*past, *(LAST_NS - at * QUARTER_NS for at in (2, 1, 0))])

    async def drifted(request: web.Request) -> web.Response:
        numbers = range(len(past), len(index.seen))
        return reply({"articles": [{**index.row(number), "seendate": 20251009, "url": None} for number in numbers]})

    def publish() -> None:
        clock.advance(900)
        index.seen.append(index.seen[-1] + QUARTER_NS)

    span = (LAST_NS - 95 * HOUR_NS, LAST_NS - 85 * HOUR_NS)
    return World(
        name="gdelt",
        handler=index.answer,
        options=lambda url: {"url": f"{url}/api/v2/doc/doc", "records": 10},
        publish=publish,
        expected=lambda: [index.item(number) for number in range(len(past), len(index.seen))],
        drifted=drifted,
        span=span,
        history=lambda: [index.item(at) for at, stamp in enumerate(index.seen) if span[0] <= stamp < span[1]],
        clock=clock,
    )
