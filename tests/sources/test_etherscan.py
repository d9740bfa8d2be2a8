"""Etherscan: sums of labelled addresses through pages, confirmations, resumed history, errors with HTTP 200."""

from typing import Any

import pytest
from aiohttp import web

from data.errors import InputError
from data.feed import FeedError, Reading
from data.intake_feed import to_facts
from data.sources import all_sources
from data.store import Store
from data.times import HOUR_NS, SECOND_NS
from tests.sources import etherscan
from tests.sources.etherscan import BLOCK_S, COLD, ETHER, HOT, KEY, NOW_HOUR_NS, OTHER, flows_of, list_of
from tests.sources.server import reply
from tests.sources.test_chain import Work, answering, failing, fetching, real, run
from tests.sources.world import NOW_NS, Taken, streaming

SPAN = (NOW_HOUR_NS - 30 * HOUR_NS, NOW_HOUR_NS - 2 * HOUR_NS)
ADDRESSES = {"labels": {"exchange": (COLD, HOT)}, "key": "env:KEY", "url": "URL"}


def chain(rows: list[dict[str, str]], head_s: int = NOW_NS // SECOND_NS) -> Any:
    """An API with these transfers and no others."""

    async def handler(request: web.Request) -> web.Response:
        action = request.query["action"]
        if action == "eth_blockNumber":
            return reply({"jsonrpc": "2.0", "id": 83, "result": hex(head_s // BLOCK_S)})
        if action == "getblocknobytime":
            result = str(min(int(request.query["timestamp"]), head_s) // BLOCK_S)
            return reply({"status": "1", "message": "OK", "result": result})
        return list_of(request.query, rows)

    return handler


def sent(at_ns: int, sender: str, receiver: str, units: int) -> dict[str, str]:
    """A transfer of the chain's own coin."""
    when = at_ns // SECOND_NS
    return {"blockNumber": str(when // BLOCK_S), "timeStamp": str(when), "from": sender, "to": receiver,
            "value": str(units), "isError": "0", "contractAddress": ""}  # fmt: skip


def following(count: int) -> Work:
    """Stream until so many items are there."""

    async def work(feed: Any, taken: Taken) -> None:
        async with streaming(feed, taken):
            await taken.wait(count)

    return work


def test_sums_are_whole_across_pages_that_end_inside_blocks() -> None:
    """3,100 transfers: blocks cut by a page's end, and one block that fills more than a page by itself."""
    hour = NOW_HOUR_NS - 2 * HOUR_NS
    each = [sent(hour + at * SECOND_NS, OTHER, HOT, at + 1) for at in range(1000)]
    crowded = [sent(hour + 1200 * SECOND_NS, OTHER, HOT, 10**9) for _ in range(2050)]
    late = [sent(hour + (1260 + at) * SECOND_NS, HOT, OTHER, 1) for at in range(50)]
    span = (hour + HOUR_NS, hour + HOUR_NS + 1)
    taken = run("etherscan", chain([*each, *crowded, *late]), fetching(span), **ADDRESSES)
    found = {item.name: item.value * ETHER for item in taken.items if isinstance(item, Reading)}
    assert found["exchange_inflow"] == pytest.approx(sum(range(1, 1001)) + 2050 * 10**9, rel=1e-15)
    assert found["exchange_outflow"] == pytest.approx(50, rel=1e-15)


def test_an_hour_waits_for_its_confirmations() -> None:
    """The last hour's end has to lie deep enough; until then the one before is all there is."""
    shallow = NOW_HOUR_NS // SECOND_NS + 5 * BLOCK_S
    span = (NOW_HOUR_NS - 2 * HOUR_NS, NOW_HOUR_NS + 1)
    taken = run("etherscan", chain([], shallow), fetching(span), **ADDRESSES)
    assert {item.event_ns for item in taken.items if isinstance(item, Reading)} == {
        NOW_HOUR_NS - HOUR_NS, NOW_HOUR_NS - 2 * HOUR_NS,
    }  # fmt: skip
    deep = NOW_HOUR_NS // SECOND_NS + 13 * BLOCK_S
    taken = run("etherscan", chain([], deep), fetching(span), **ADDRESSES)
    assert len({item.event_ns for item in taken.items if isinstance(item, Reading)}) == 3


def test_blocks_that_end_early_are_told() -> None:
    """An index that is hours behind has no part of the span: what it has is taken, and the rest is an error."""
    taken = Taken()

    async def work(feed: Any, _: Taken) -> None:
        with pytest.raises(FeedError, match="its blocks end before"):
            await feed.fetch((NOW_HOUR_NS - 6 * HOUR_NS, NOW_HOUR_NS), taken, lambda part, whole: None)

    run("etherscan", chain([], NOW_NS // SECOND_NS - 4 * 3600), work, **ADDRESSES)
    assert {item.event_ns for item in taken.items if isinstance(item, Reading)} == {
        NOW_HOUR_NS - 6 * HOUR_NS, NOW_HOUR_NS - 5 * HOUR_NS, NOW_HOUR_NS - 4 * HOUR_NS,
    }  # fmt: skip


def test_days_that_are_stored_are_not_asked_for_again(tmp_path: Any) -> None:
    """An interrupted fetch goes on where it was, and brings the same."""
    world, store = etherscan.make(), Store(tmp_path)
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["action"])
        return await world.handler(request)

    class PulledError(Exception):
        """Somebody pulls the plug."""

    async def first_day(feed: Any, taken: Taken) -> None:
        async def take(batch: Any) -> None:
            if taken.batches:
                raise PulledError
            await taken(batch)

        with pytest.raises(PulledError):
            await feed.fetch(SPAN, take, lambda part, whole: None)

    first = run("etherscan", handler, first_day, **etherscan.OPTIONS, url="URL")
    count = len(asked)
    facts = to_facts(all_sources()["etherscan"].card, first.batches, ingested_ns=NOW_NS).facts["metrics"]
    store.append("metrics", facts)
    second = run("etherscan", handler, fetching(SPAN), store=store, **etherscan.OPTIONS, url="URL")
    assert len(asked) - count < count
    hours = range(SPAN[0] - HOUR_NS, SPAN[1] - HOUR_NS, HOUR_NS)
    wanted = [item for hour in hours for item in flows_of(hour)]
    assert sorted(map(str, [*first.items, *second.items])) == sorted(map(str, wanted))


@pytest.mark.parametrize(
    ("result", "final", "pause_s"),
    [
        ("Max rate limit reached, please use API Key for higher rate limit", False, 5.0),
        ("Max daily rate limit reached. 110000 (100%) of 100000 day/limit", False, 3600.0),
        ("Too many invalid api key attempts, please try again later", False, 5.0),
        (f"Invalid API Key ({KEY})", True, 0.0),
        ("Missing or unsupported chainid parameter (required for v2 api)", True, 0.0),
        ("Unexpected error, timeout or server too busy. Please try again later", False, 0.0),
    ],
)
def test_errors_come_with_http_200(result: str, final: bool, pause_s: float) -> None:
    """Each has its meaning; the key is never repeated."""
    body = {"status": "0", "message": "NOTOK", "result": result}
    with pytest.raises(FeedError) as caught:
        run("etherscan", answering(body), failing, **ADDRESSES)
    assert (caught.value.final, caught.value.pause_s) == (final, pause_s)
    assert KEY not in str(caught.value) and result[:15] in str(caught.value)


@pytest.mark.parametrize("spoil", [{"value": "-5"}, {"value": None}, {"from": 7}, {"timeStamp": "soon"}])
def test_a_transfer_that_cannot_be_read_makes_no_sum(spoil: dict[str, Any]) -> None:
    """A sum without it would be wrong: nothing is handed over."""
    hour = NOW_HOUR_NS - 2 * HOUR_NS
    rows = [{**sent(hour, OTHER, HOT, 5), **spoil}]
    with pytest.raises(FeedError, match="can't be read"):
        run("etherscan", chain(rows), fetching((hour + HOUR_NS, hour + HOUR_NS + 1)), **ADDRESSES)


def test_recorded_answers_are_read() -> None:
    """A real gas oracle's answer, and real transactions of an address, as the API gave them years ago."""
    gas = real("etherscan/standard/get_gas_oracle.json")["res"]
    answer = {"status": "1", "message": "OK", "result": gas}
    taken = run("etherscan", answering(answer), following(4), key="env:KEY", url="URL", topics=("gas",))
    assert [item.value for item in taken.items if isinstance(item, Reading)] == [62.0, 82.0, 89.0]
    told = real("etherscan/standard/get_normal_txs_by_address_paginated.json")
    rows = [row for row in told["res"] if row["from"] != "GENESIS"]
    start = int(rows[0]["timeStamp"]) // 3600 * 3600 * SECOND_NS

    async def handler(request: web.Request) -> web.Response:
        action = request.query["action"]
        if action == "txlist":
            inside = [row for row in rows if 0 <= int(row["timeStamp"]) * SECOND_NS - start < HOUR_NS]
            return reply({"status": "1", "message": "OK", "result": inside})
        blocks = {"getblocknobytime": "47000" if request.query.get("timestamp") == str(start // SECOND_NS - 1) else
                  "48000", "eth_blockNumber": "99999999"}  # fmt: skip
        return reply({"status": "1", "message": "OK", "result": blocks[action]})

    labels = {"early": (told["kwargs"]["address"],)}
    taken = run(
        "etherscan", handler, fetching((start + 1, start + HOUR_NS + 1)), key="env:KEY", url="URL", labels=labels
    )
    assert Reading("early_outflow", "ETH", start + HOUR_NS, 9006.0) in taken.items


def test_what_is_wrong_with_the_options_is_named() -> None:
    """No key, no address, no label, nothing to do."""
    for wrong, word in (
        ({"key": ""}, "without a key"),
        ({"key": "env:KEY", "labels": {"Big One": (COLD,)}}, "not a label"),
        ({"key": "env:KEY", "labels": {"whale": ("0x12",)}}, "not an address"),
        ({"key": "env:KEY", "topics": ("flows",)}, "nothing to ask for"),
        ({"key": "env:KEY", "topics": ("blocks",)}, "no such topic"),
    ):
        with pytest.raises(InputError, match=word):
            run("etherscan", answering({}), failing, url="URL", **wrong)
