"""Santiment's GraphQL as its public code and documentation show it: rows by datetime, asked for by slug."""

from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.times import DAY_NS, HOUR_NS, format_time, parse_time
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

TODAY_NS = NOW_NS // DAY_NS * DAY_NS
KEY = "sAnKeY99"
SLUGS = {"bitcoin": "BTC", "ethereum": "ETH"}


def value_of(day_ns: int, coin: str) -> float:
    """What a day was for a coin."""
    return day_ns // DAY_NS % 1000 + len(coin) / 10


def make() -> World:
    """Forty days of two coins; each further day is published by `publish`."""
    clock = StepClock()
    days = [TODAY_NS - at * DAY_NS for at in range(40, 0, -1)]

    def rows(asked: Any) -> list[dict[str, Any]]:
        first, last = parse_time(asked["from"]), parse_time(asked["to"])
        coin = SLUGS[asked["slug"]]
        return [
            {
                "datetime": format_time(day).replace(" ", "T"),
                "value": value_of(day, coin),
                "computedAt": format_time(day + DAY_NS + 3 * HOUR_NS).replace(" ", "T"),
            }
            for day in days
            if first <= day < last
        ]

    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Apikey {KEY}":
            return reply({"errors": [{"message": "unauthorized"}], "data": None})
        body = await request.json()
        assert "computedAt" in body["query"] and body["variables"]["interval"] == "1d"
        return reply({"data": {"getMetric": {"timeseriesDataJson": rows(body["variables"])}}})

    async def drifted(request: web.Request) -> web.Response:
        told = rows((await request.json())["variables"])
        changed = [{"date": row["datetime"], "value": row["value"]} for row in told]
        return reply({"data": {"getMetric": {"timeseriesDataJson": [*changed, 5]}}})

    def publish() -> None:
        days.append(days[-1] + DAY_NS)
        clock.advance(86_400)

    def readings(first_ns: int, last_ns: int, computed: bool) -> list[Item]:
        return [
            Reading(
                "social_volume", coin, day + DAY_NS, value_of(day, coin),
                day + DAY_NS + 3 * HOUR_NS if computed else 0, "vendor_pit" if computed else "",
            )
            for day in days
            for coin in ("BTC", "ETH")
            if first_ns < day + DAY_NS < last_ns
        ]  # fmt: skip

    return World(
        name="santiment",
        handler=handler,
        options=lambda url: {
            "url": f"{url}/graphql", "key": "env:KEY", "every": 10.0,
            "metrics": {"social_volume": "social_volume_total"},
        },
        publish=publish,
        expected=lambda: readings(NOW_NS - 7 * DAY_NS, 2**62, computed=False),
        drifted=drifted,
        span=(TODAY_NS - 30 * DAY_NS + 1, TODAY_NS - 5 * DAY_NS),
        history=lambda: readings(TODAY_NS - 30 * DAY_NS, TODAY_NS - 5 * DAY_NS, computed=True),
        secrets={"env:KEY": KEY},
        clock=clock,
    )  # fmt: skip
