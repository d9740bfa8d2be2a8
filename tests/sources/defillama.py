"""DefiLlama as its documentation shows it: charts by day with the running day at their end, and chains now."""

from email.utils import formatdate
from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.times import DAY_NS, SECOND_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

TODAY_NS = NOW_NS // DAY_NS * DAY_NS
CHARTS = {"tvl": "*", "stablecoin_supply": "*", "defi_fees": "*", "chain_tvl": "ETH", "chain_fees": "ETH"}


def value_of(day_ns: int, name: str) -> float:
    """What a series was on a day, in USD."""
    return 1e9 * (1 + len(name)) + float(day_ns // DAY_NS)


def chart(path: str, days: list[int]) -> Any:
    """What the API answers there, for some days and the running one."""
    running = [days[-1] + DAY_NS + 4 * 3600 * SECOND_NS]
    stamps = [*days, *running]
    name = {"historicalChainTvl": "tvl", "Ethereum": "chain_tvl", "all": "stablecoin_supply"}.get(
        path.rpartition("/")[2], "defi_fees"
    )
    if path.endswith("fees/Ethereum"):
        name = "chain_fees"
    values = [(stamp // SECOND_NS, value_of(stamp, name)) for stamp in stamps]
    if name == "stablecoin_supply":
        return [
            {
                "date": str(at),
                "totalCirculating": {"peggedUSD": 1.0},
                "totalCirculatingUSD": {"peggedUSD": value - 1e8, "peggedEUR": 1e8},
            }
            for at, value in values
        ]
    if "fees" in name:
        return {"total24h": 1, "totalDataChart": [[at, value] for at, value in values], "protocols": []}
    return [{"date": at, "tvl": value} for at, value in values]


def make() -> World:
    """Forty days of five charts and what is locked now; each further day is published by `publish`."""
    clock = StepClock()
    days = [TODAY_NS - at * DAY_NS for at in range(40, 0, -1)]
    shown = [NOW_NS]  # when the chains were asked for

    async def handler(request: web.Request) -> web.Response:
        if request.path.endswith("/v2/chains"):
            rows = [
                {"gecko_id": "ethereum", "tvl": value_of(shown[-1], "now"), "tokenSymbol": "ETH", "name": "Ethereum"},
                {"gecko_id": None, "tvl": 5.0, "tokenSymbol": None, "name": "Base"},
            ]
            return reply(rows, headers={"Date": formatdate(shown[-1] / SECOND_NS, usegmt=True)})
        return reply(chart(request.path, days))

    async def drifted(request: web.Request) -> web.Response:
        if "fees" in request.path:
            return reply({"chart": [[1, 2]]})
        return reply([{"day": "2025-10-01", "usd": 3.0}, ["2025-10-01", 3.0]])

    def publish() -> None:
        days.append(days[-1] + DAY_NS)
        shown.append(shown[-1] + DAY_NS)
        clock.advance(86_400)

    def readings(chosen: list[int]) -> list[Item]:
        return [
            Reading(name, coin, day + DAY_NS, value_of(day, name)) for day in chosen for name, coin in CHARTS.items()
        ]

    return World(
        name="defillama",
        handler=handler,
        options=lambda url: {"url": url, "stablecoins_url": f"{url}/stable", "every": 10.0},
        publish=publish,
        expected=lambda: [
            *readings([day for day in days if day + DAY_NS >= NOW_NS - 7 * DAY_NS]),
            *(Reading("chain_tvl_now", "ETH", at, value_of(at, "now")) for at in shown),
        ],
        drifted=drifted,
        span=(TODAY_NS - 30 * DAY_NS, TODAY_NS - 20 * DAY_NS),
        history=lambda: readings(
            [day for day in days if TODAY_NS - 30 * DAY_NS <= day + DAY_NS < TODAY_NS - 20 * DAY_NS]
        ),
        coins=("ETH", "XRP"),
        clock=clock,
    )
