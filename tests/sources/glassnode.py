"""Glassnode's metrics as its documentation shows them: t (the day's start) and v, with a time of computation."""

from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.times import DAY_NS, HOUR_NS, SECOND_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

TODAY_NS = NOW_NS // DAY_NS * DAY_NS
KEY = "gLaSsKeY"


def value_of(day_ns: int, coin: str) -> float:
    """What a day was for a coin."""
    return day_ns // DAY_NS % 1000 + len(coin) / 10


def make() -> World:
    """Forty days of two coins; each further day is published by `publish`."""
    clock = StepClock()
    days = [TODAY_NS - at * DAY_NS for at in range(40, 0, -1)]

    def rows(query: Any) -> list[dict[str, Any]]:
        first, last = int(query["s"]) * SECOND_NS, int(query["u"]) * SECOND_NS
        return [
            {
                "t": day // SECOND_NS,
                "v": value_of(day, query["a"]),
                "computed_at": (day + DAY_NS + 2 * HOUR_NS) // SECOND_NS,
            }
            for day in days
            if first <= day <= last
        ]

    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("x-api-key") != KEY or request.path != "/v1/metrics/transactions/net_pit":
            return web.Response(status=401)
        return reply(rows(request.query))

    async def drifted(request: web.Request) -> web.Response:
        return reply([{"time": row["t"], "v": row["v"]} for row in rows(request.query)] + [[1, 2], {"t": 5, "o": {}}])

    def publish() -> None:
        days.append(days[-1] + DAY_NS)
        clock.advance(86_400)

    def readings(first_ns: int, last_ns: int, computed: bool) -> list[Item]:
        return [
            Reading(
                "exchange_netflow", coin, day + DAY_NS, value_of(day, coin),
                day + DAY_NS + 2 * HOUR_NS if computed else 0, "vendor_pit" if computed else "",
            )
            for day in days
            for coin in ("BTC", "ETH")
            if first_ns < day + DAY_NS < last_ns
        ]  # fmt: skip

    return World(
        name="glassnode",
        handler=handler,
        options=lambda url: {
            "url": f"{url}/v1/metrics", "key": "env:KEY", "every": 10.0,
            "metrics": {"exchange_netflow": "transactions/net_pit"},
        },
        publish=publish,
        expected=lambda: readings(NOW_NS - 7 * DAY_NS, 2**62, computed=False),
        drifted=drifted,
        span=(TODAY_NS - 30 * DAY_NS + 1, TODAY_NS - 5 * DAY_NS),
        history=lambda: readings(TODAY_NS - 30 * DAY_NS, TODAY_NS - 5 * DAY_NS, computed=True),
        secrets={"env:KEY": KEY},
        clock=clock,
    )  # fmt: skip
