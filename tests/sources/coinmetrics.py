"""The community API of Coin Metrics as its documentation shows it: texts for numbers, days by their start, pages."""

from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.times import DAY_NS, format_date, parse_time
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

TODAY_NS = NOW_NS // DAY_NS * DAY_NS
ROWS_A_PAGE = 5
METRICS = ("AdrActCnt", "FlowInExNtv", "FlowOutExNtv")


def value_of(day_ns: int, asset: str, metric: str) -> float:
    """What a metric was on a day."""
    return (day_ns // DAY_NS % 1000 + len(asset)) * (1 + METRICS.index(metric)) + 0.25


def readings_of(day_ns: int, asset: str) -> list[Item]:
    """What a day's row has to become: known a day after its stamp; DOGE has no flows here."""
    found = {"adr_act_cnt": value_of(day_ns, asset, "AdrActCnt")}
    if asset != "doge":
        inflow, outflow = value_of(day_ns, asset, "FlowInExNtv"), value_of(day_ns, asset, "FlowOutExNtv")
        found |= {"flow_in_ex_ntv": inflow, "flow_out_ex_ntv": outflow, "exchange_netflow": inflow - outflow}
    return [Reading(name, asset.upper(), day_ns + DAY_NS, value) for name, value in found.items()]


def make() -> World:
    """Forty days of two coins; each further day is published by `publish`."""
    clock = StepClock()
    days = [TODAY_NS - at * DAY_NS for at in range(40, 0, -1)]
    assets = ["btc", "doge"]

    def rows(query: Any) -> list[dict[str, Any]]:
        first = parse_time(query["start_time"])
        last = parse_time(query.get("end_time", "2030-01-01"))
        found = []
        for day in days:
            for asset in query["assets"].split(","):
                if asset in assets and first <= day <= last:
                    row: dict[str, Any] = {"asset": asset, "time": f"{format_date(day)}T00:00:00.000000000Z"}
                    for metric in query["metrics"].split(","):
                        row[metric] = str(value_of(day, asset, metric))
                        if asset == "doge" and metric.startswith("Flow"):
                            row[metric] = None
                    found.append(row)
        return found

    async def handler(request: web.Request) -> web.Response:
        at = int(request.query.get("next_page_token", "0"))
        found = rows(request.query)
        body: dict[str, Any] = {"data": found[at : at + ROWS_A_PAGE]}
        if at + ROWS_A_PAGE < len(found):
            body["next_page_token"] = str(at + ROWS_A_PAGE)
            body["next_page_url"] = f"https://api.coinmetrics.io/v4{request.path}?next_page_token={at + ROWS_A_PAGE}"
        return reply(body)

    async def drifted(request: web.Request) -> web.Response:
        return reply({"data": [{**row, "time": 20251008, "asset": 7} for row in rows(request.query)][:3]})

    def publish() -> None:
        days.append(days[-1] + DAY_NS)
        clock.advance(86_400)

    return World(
        name="coinmetrics",
        handler=handler,
        options=lambda url: {"url": f"{url}/v4", "metrics": METRICS, "every": 10.0},
        publish=publish,
        expected=lambda: [item for day in days[33:] for asset in assets for item in readings_of(day, asset)],
        drifted=drifted,
        span=(TODAY_NS - 30 * DAY_NS, TODAY_NS - 20 * DAY_NS),
        history=lambda: [
            item
            for day in days
            for asset in assets
            for item in readings_of(day, asset)
            if TODAY_NS - 30 * DAY_NS <= day + DAY_NS < TODAY_NS - 20 * DAY_NS
        ],
        coins=("BTC", "DOGE"),
        clock=clock,
    )
