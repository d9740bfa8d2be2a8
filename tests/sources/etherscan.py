"""Etherscan's API v2 as its documentation shows it: status and message around each result, texts for numbers, pages."""

from email.utils import formatdate
from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.times import HOUR_NS, SECOND_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS, StepClock, World

NOW_HOUR_NS = NOW_NS // HOUR_NS * HOUR_NS
BLOCK_S = 12
ETHER = 10**18
COLD, HOT, OTHER = (f"0x{digit * 40}" for digit in "abc")
TETHER = "0xdac17f958d2ee523a2206206994597c13d831ec7"
KEY = "sEcReT123"
OPTIONS: dict[str, Any] = {
    "key": "env:KEY", "labels": {"exchange": (COLD.upper().replace("X", "x"), HOT)},
    "tokens": {"USDT": {"contract": TETHER, "decimals": 6}}, "every": 10.0, "slow_every": 10.0,
}  # fmt: skip


def transfers_of(hour_ns: int) -> list[dict[str, str]]:
    """What moves in an hour: in, out, between two addresses of the label, and one that failed; then two of a token."""
    step = hour_ns // HOUR_NS % 7 + 1

    def row(at_s: int, sender: str, receiver: str, value: int, **more: str) -> dict[str, str]:
        when = hour_ns // SECOND_NS + at_s
        told = {"blockNumber": str(when // BLOCK_S), "timeStamp": str(when), "from": sender, "to": receiver}
        return {**told, "value": str(value), "isError": "0", "hash": f"0x{when:064x}", **more}

    token = {"contractAddress": TETHER, "tokenDecimal": "6", "tokenSymbol": "USDT"}
    return [
        row(0, OTHER, COLD, 3 * ETHER * step, contractAddress=""),
        row(120, HOT, OTHER, ETHER // 2, contractAddress=""),
        row(1200, COLD, HOT, 1000 * ETHER, contractAddress=""),
        row(2400, OTHER, HOT, 7 * ETHER, contractAddress="", isError="1"),
        row(3000, OTHER, HOT, 5_000_000 * step, **token),
        row(3588, COLD, OTHER, 1_000_000, **token),
    ]


def flows_of(hour_ns: int) -> list[Item]:
    """What an hour has to become, at its end."""
    step = hour_ns // HOUR_NS % 7 + 1
    end = hour_ns + HOUR_NS
    sums = {"ETH": (3.0 * step, 0.5), "USDT": (5.0 * step, 1.0)}
    return [
        Reading(f"exchange_{name}", coin, end, value)
        for coin, (came, went) in sums.items()
        for name, value in (("inflow", came), ("outflow", went), ("netflow", came - went))
    ]


def list_of(query: Any, rows: list[dict[str, str]]) -> web.Response:
    """A page of an address's transfers, oldest first."""
    first, last = int(query["startblock"]), int(query["endblock"])
    token = query.get("contractaddress", "")
    found = [
        row
        for row in rows
        if query["address"] in (row["from"], row["to"])
        and row["contractAddress"] == token
        and first <= int(row["blockNumber"]) <= last
    ]
    size, page = int(query["offset"]), int(query["page"])
    found = found[(page - 1) * size : page * size]
    message = "OK" if found else "No transactions found"
    return reply({"status": "1" if found else "0", "message": message, "result": found})


def make() -> World:
    """Two days of hours; each further hour is published by `publish`."""
    clock = StepClock()
    hours = [NOW_HOUR_NS - at * HOUR_NS for at in range(48, 0, -1)]
    shown = [NOW_NS]

    async def handler(request: web.Request) -> web.Response:
        query = request.query
        if query.get("apikey") != KEY or query.get("chainid") != "1":
            return reply({"status": "0", "message": "NOTOK", "result": f"Invalid API Key ({query.get('apikey')})"})
        action = query["action"]
        if action in ("txlist", "tokentx"):
            return list_of(query, [row for hour in hours for row in transfers_of(hour)])
        gas = {"LastBlock": "1", "SafeGasPrice": "0.5", "ProposeGasPrice": "0.6", "FastGasPrice": "0.75",
               "suggestBaseFee": str(0.25 * len(shown)), "gasUsedRatio": "0.1,0.2"}  # fmt: skip
        results = {
            "gasoracle": gas,
            "ethsupply": str(120_000_000 * ETHER),
            "tokensupply": str(7 * 10**15),
            "getblocknobytime": str(int(query.get("timestamp", "0")) // BLOCK_S),
        }
        date = {"Date": formatdate(shown[-1] / SECOND_NS, usegmt=True)}
        if action == "eth_blockNumber":
            return reply({"jsonrpc": "2.0", "id": 83, "result": hex(shown[-1] // SECOND_NS // BLOCK_S)})
        return reply({"status": "1", "message": "OK", "result": results[action]}, headers=date)

    async def drifted(request: web.Request) -> web.Response:
        return reply({"status": "1", "message": "OK", "result": {"SafeGasPrice": None, "rows": [{"block": 1}]}})

    def publish() -> None:
        hours.append(hours[-1] + HOUR_NS)
        shown.append(shown[-1] + HOUR_NS)
        clock.advance(3_600)

    def samples() -> list[Item]:
        found: list[Item] = []
        for count, at in enumerate(shown, 1):
            gas = {"gas_safe": 0.5, "gas_propose": 0.6, "gas_fast": 0.75, "gas_base": 0.25 * count}
            found += [Reading(name, "ETH", at, value) for name, value in gas.items()]
            found += [Reading("supply", "ETH", at, 120e6), Reading("supply", "USDT", at, 7e9)]
        return found

    return World(
        name="etherscan",
        handler=handler,
        options=lambda url: {"url": f"{url}/v2/api", **OPTIONS},
        publish=publish,
        expected=lambda: [*samples(), *(item for hour in hours[47:] for item in flows_of(hour))],
        drifted=drifted,
        span=(NOW_HOUR_NS - 40 * HOUR_NS, NOW_HOUR_NS - 5 * HOUR_NS),
        history=lambda: [item for hour in hours[7:42] for item in flows_of(hour)],
        secrets={"env:KEY": KEY},
        clock=clock,
    )
