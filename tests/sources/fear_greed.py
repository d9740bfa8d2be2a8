"""The index of alternative.me, as its documentation shows it: texts for numbers, the newest day first."""

from aiohttp import web

from data.feed import Item, Reading
from data.times import DAY_NS, SECOND_NS, floor_time
from tests.sources.server import reply
from tests.sources.world import NOW_NS, World

FIRST_NS = floor_time(NOW_NS, DAY_NS) - 40 * DAY_NS


def make() -> World:
    """Forty days of history; each further day is published by `publish`."""
    days = [FIRST_NS + at * DAY_NS for at in range(39)]

    def value_of(day_ns: int) -> int:
        return int(day_ns // DAY_NS * 7 % 101)

    def rows(limit: int) -> list[dict[str, str]]:
        found = [
            {"value": str(value_of(day)), "value_classification": "Fear", "timestamp": str(day // SECOND_NS)}
            for day in reversed(days)
        ]
        found[0]["time_until_update"] = "3600"
        return found[:limit] if limit else found

    async def handler(request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", "1"))
        return reply({"name": "Fear and Greed Index", "data": rows(limit), "metadata": {"error": None}})

    async def drifted(request: web.Request) -> web.Response:
        return reply({"name": "Fear and Greed Index", "items": rows(2), "metadata": {"error": None}})

    def publish() -> None:
        days.append(days[-1] + DAY_NS)

    def readings(chosen: list[int]) -> list[Item]:
        return [Reading("fear_greed", "*", day, float(value_of(day))) for day in chosen]

    return World(
        name="fear_greed",
        handler=handler,
        options=lambda url: {"url": f"{url}/fng/", "every": 10.0},
        publish=publish,
        expected=lambda: readings(days[37:]),
        drifted=drifted,
        span=(FIRST_NS + 5 * DAY_NS, FIRST_NS + 20 * DAY_NS),
        history=lambda: readings(days[5:20]),
    )
