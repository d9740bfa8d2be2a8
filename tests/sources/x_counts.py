"""X's recent counts, as its documentation shows them: the last seven days by the hour, the running hour as a part."""

from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.times import DAY_NS, HOUR_NS, floor_time, parse_time
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World
from tests.sources.x_world import TOKEN, iso

COINS = ("BTC", "ETH")


def value_of(coin: str, hour_ns: int) -> int:
    """Posts about a coin in the hour that begins so."""
    return int(hour_ns // HOUR_NS * 13 % 997) + len(coin) + COINS.index(coin) * 1000


def make() -> World:
    """A week of counts; with each further hour one more of each coin is whole."""
    clock = StepClock()
    first_ns = floor_time(NOW_NS, HOUR_NS)

    def coin_of(request: web.Request) -> str:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}" and request.query["granularity"] == "hour"
        return next(coin for coin in COINS if f"${coin}" in request.query["query"])

    def buckets(request: web.Request, name: str) -> list[dict[str, Any]]:
        coin = coin_of(request)
        begin = max(parse_time(request.query.get("start_time", "2009-01-01")), clock.ns - 7 * DAY_NS)
        end = min(parse_time(request.query.get("end_time", "2200-01-01")), clock.ns)
        rows = []
        while begin < end:
            until = min(floor_time(begin, HOUR_NS) + HOUR_NS, end)
            count = value_of(coin, floor_time(begin, HOUR_NS))
            rows.append({"start": iso(begin), "end": iso(until), name: count})
            begin = until
        return rows

    async def handler(request: web.Request) -> web.Response:
        rows = buckets(request, "tweet_count")
        return reply({"data": rows, "meta": {"total_tweet_count": sum(row["tweet_count"] for row in rows)}})

    async def drifted(request: web.Request) -> web.Response:
        return reply({"data": buckets(request, "amount"), "meta": {}})

    def readings(begin_ns: int, end_ns: int) -> list[Item]:
        hours = range(begin_ns, end_ns, HOUR_NS)
        return [
            Reading("x_post_count", coin, at + HOUR_NS, float(value_of(coin, at))) for coin in COINS for at in hours
        ]

    span = (first_ns - 5 * DAY_NS, first_ns - 4 * DAY_NS)
    return World(
        name="x_counts",
        handler=handler,
        options=lambda url: {"url": url, "key": "env:X", "names": {"BTC": ("bitcoin",)}, "every": 10.0},
        publish=lambda: clock.advance(3600),
        expected=lambda: readings(first_ns - HOUR_NS, floor_time(clock.ns - 120 * 10**9, HOUR_NS)),
        drifted=drifted,
        span=span,
        history=lambda: readings(*span),
        secrets={"env:X": TOKEN},
        coins=COINS,
        clock=clock,
    )
