"""mempool.space as its documentation shows it: three answers of the moment, and days of mining stamped by their end."""

from email.utils import formatdate
from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.times import DAY_NS, SECOND_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

TODAY_NS = NOW_NS // DAY_NS * DAY_NS
ADJUSTED = 700 * SECOND_NS  # after midnight: when a block changed the difficulty
LIVE_NS = 7 * DAY_NS


def values_of(at_ns: int) -> dict[str, float]:
    """What there is at a time, by the names here."""
    step = float(at_ns // DAY_NS % 100)
    return {
        "fee_fastest": 5 + step, "fee_half_hour": 4 + step, "fee_hour": 3 + step, "fee_economy": 2 + step,
        "fee_minimum": 1.0, "mempool_count": 40_000 + step, "mempool_vsize": 9e7 + step, "mempool_fees": 2e7 + step,
        "difficulty_change_expected": -1.5 + step, "difficulty_progress": step,
    }  # fmt: skip


def mining(ends: list[int]) -> dict[str, Any]:
    """The hash rate of some days, and the difficulty of each fourteenth."""
    return {
        "hashrates": [{"timestamp": end // SECOND_NS, "avgHashrate": 1e21 + end} for end in ends],
        "difficulty": [
            {"time": (end + ADJUSTED) // SECOND_NS, "height": 1, "difficulty": 1e14 + end, "adjustment": 1.01}
            for end in ends[::14]
        ],
        "currentHashrate": 1.1e21,
        "currentDifficulty": 1e14,
    }


def make() -> World:
    """Forty days; each further day is published by `publish`."""
    clock = StepClock()
    ends = [TODAY_NS - at * DAY_NS for at in range(40, -1, -1)]
    shown = [NOW_NS]

    async def handler(request: web.Request) -> web.Response:
        now = values_of(shown[-1])
        bodies: dict[str, Any] = {
            "/api/v1/fees/recommended": {
                "fastestFee": now["fee_fastest"], "halfHourFee": now["fee_half_hour"], "hourFee": now["fee_hour"],
                "economyFee": now["fee_economy"], "minimumFee": now["fee_minimum"],
            },
            "/api/mempool": {
                "count": now["mempool_count"], "vsize": now["mempool_vsize"], "total_fee": now["mempool_fees"],
                "fee_histogram": [[53.01, 102131]],
            },
            "/api/v1/difficulty-adjustment": {
                "progressPercent": now["difficulty_progress"], "difficultyChange": now["difficulty_change_expected"],
                "estimatedRetargetDate": 1762000000000, "remainingBlocks": 1121, "remainingTime": 665977627,
                "previousRetarget": -4.8, "nextRetargetHeight": 741888, "timeAvg": 302328, "timeOffset": 0,
            },
        }  # fmt: skip
        body = bodies.get(request.path) or mining(ends)
        return reply(body, headers={"Date": formatdate(shown[-1] / SECOND_NS, usegmt=True)})

    async def drifted(request: web.Request) -> web.Response:
        if "mining" in request.path:
            return reply({"hashrates": [{"t": 1, "avgHashrate": 1}, 5], "difficulty": ["x"]})
        return reply({"fees": {"fastest": 3}, "fastestFee": "soon"})

    def publish() -> None:
        ends.append(ends[-1] + DAY_NS)
        shown.append(shown[-1] + DAY_NS)
        clock.advance(86_400)

    def mined(first_ns: int, last_ns: int) -> list[Item]:
        days: list[Item] = [Reading("hashrate", "BTC", end, 1e21 + end) for end in ends]
        days += [Reading("difficulty", "BTC", end + ADJUSTED, 1e14 + end) for end in ends[::14]]
        return [day for day in days if isinstance(day, Reading) and first_ns <= day.event_ns < last_ns]

    return World(
        name="mempool_space",
        handler=handler,
        options=lambda url: {"url": f"{url}/api", "every": 10.0, "mining_every": 10.0},
        publish=publish,
        expected=lambda: [
            *mined(NOW_NS - LIVE_NS, 2**62),
            *(Reading(name, "BTC", at, float(value)) for at in shown for name, value in values_of(at).items()),
        ],
        drifted=drifted,
        span=(TODAY_NS - 30 * DAY_NS, TODAY_NS - 5 * DAY_NS),
        history=lambda: mined(TODAY_NS - 30 * DAY_NS, TODAY_NS - 5 * DAY_NS),
        clock=clock,
    )
