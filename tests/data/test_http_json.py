"""The generic HTTP source where the contract's world doesn't look: series, other ways of paging, costs, a body."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from data.errors import InputError
from data.feed import FeedError, Item, Reading, Spoilt
from data.intake_feed import to_facts
from data.sources.http_json import CARD, HttpJsonOptions
from data.spend import Spending
from data.times import DAY_NS, SECOND_NS, floor_time
from tests.sources.server import Handler, Server, reply, serving
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming

KEY = "k3y-of-the-vendor"
SERIES: dict[str, Any] = {
    "name": "vendor", "kind": "metrics", "items": "rows", "time": "day", "unit": "iso", "metric": "=tvl",
    "coin": "coin", "value": "usd", "stamp": "start", "interval": "1d", "every": 1.0, "per_minute": 6000.0,
}  # fmt: skip
TODAY_NS = floor_time(NOW_NS, DAY_NS)


def rows(first: int, last: int) -> list[dict[str, Any]]:
    """A row a day before today, the newest first."""
    return [{"day": f"2025-10-{9 - back:02d}", "coin": "btc", "usd": 100.5 + back} for back in range(first, last)]


def readings(first: int, last: int) -> list[Item]:
    """What these rows mean: the end of their day."""
    return [Reading("tvl", "BTC", TODAY_NS + (1 - back) * DAY_NS, 100.5 + back) for back in range(first, last)]


def run(handler: Handler, work: Callable[[Server], Awaitable[Any]]) -> Any:
    """Do the work beside a server."""

    async def whole() -> Any:
        async with serving(handler) as server:
            return await work(server)

    return asyncio.run(whole())


def feed(server: Server, **more: Any) -> Any:
    """The source, pointed at the local server."""
    tools = {name: more.pop(name) for name in ("memory", "purse", "secrets_found") if name in more}
    secrets = tools.pop("secrets_found", {})
    told = {**SERIES, "url": f"{server.url}/v1/rows", **more}
    return opened("http_json", told, clock=tools.pop("clock", StepClock()), secrets=secrets, **tools)


async def first(source: Any, count: int) -> list[Item]:
    """The first items of its stream."""
    taken = Taken()
    async with streaming(source, taken):
        return await taken.wait(count)


def test_pages_by_number_until_an_empty_one() -> None:
    """Live it stops where nothing is new; stamps of the start become the end of the interval."""

    async def handler(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return reply({"rows": rows(1, 6)[2 * page - 2 : 2 * page]})

    async def work(server: Server) -> None:
        async with feed(server, page_param="page") as source:
            taken = Taken()
            async with streaming(source, taken):
                assert await taken.wait(5) == readings(1, 6)
                async with asyncio.timeout(5):
                    while len(server.asked) < 6:
                        await asyncio.sleep(0.005)
        pages = [path.partition("page=")[2] for _, path in server.asked[:6]]
        assert pages[:4] == ["1", "2", "3", "4"] and set(pages[4:]) == {"1"}
        facts = to_facts(CARD, taken.batches, ingested_ns=NOW_NS + DAY_NS)
        assert facts.facts["metrics"]["source"].to_pylist() == ["vendor"] * 5

    run(handler, work)


def test_pages_by_their_address() -> None:
    """The next page's address is followed on the same host, without our parameters; another host isn't asked."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/v1/rows":
            return reply({"rows": rows(1, 3), "next": f"{request.url.origin()}/v1/more?at=7"})
        assert request.path_qs == "/v1/more?at=7"
        return reply({"rows": rows(3, 5), "next": "https://elsewhere.example/v1?key=" if strange[0] else None})

    strange = [False]

    async def work(server: Server) -> None:
        given = {"next_path": "next", "params": {"token": "{key}"}, "secrets": {"key": "env:KEY"}}
        async with feed(server, **given, secrets_found={"env:KEY": KEY}) as source:
            assert await first(source, 4) == readings(1, 5)
        assert server.asked[0][1] == f"/v1/rows?token={KEY}"
        strange[0] = True
        async with feed(server, **given, secrets_found={"env:KEY": KEY}) as source:
            with pytest.raises(FeedError, match="another host") as caught:
                await source.stream(Taken())
            assert KEY not in str(caught.value)

    run(handler, work)


def test_a_question_with_a_body() -> None:
    """Secrets, paging and times go into it where that is declared."""
    asked: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(await request.json())
        assert request.method == "POST" and not request.query
        return reply({"rows": rows(1, 2), "next": None})

    async def work(server: Server) -> None:
        given = {
            "method": "post", "in_body": True, "body": {"query": "{ rows { day } }", "auth": ["{key}"]},
            "secrets": {"key": "env:KEY"}, "since_param": "since", "since_format": "s", "overlap": "1d",
        }  # fmt: skip
        async with feed(server, **given, secrets_found={"env:KEY": KEY}, memory={"since_ns": TODAY_NS}) as source:
            assert await first(source, 1) == readings(1, 2)
        wanted = {"query": "{ rows { day } }", "auth": [KEY], "since": str((TODAY_NS - 2 * DAY_NS) // SECOND_NS)}
        assert asked[0] == wanted

    run(handler, work)


def test_the_time_goes_on_with_what_is_durable() -> None:
    """A batch that wasn't acknowledged is asked for again; after a restart the question begins before the newest."""

    async def handler(request: web.Request) -> web.Response:
        return reply({"rows": rows(1, 3)})

    async def work(server: Server) -> None:
        full, taken = [True], Taken()

        async def take(batch: Any) -> None:
            if full[0]:
                raise FeedError("the disk is full")
            await taken(batch)

        async with feed(server, since_param="from") as source:
            with pytest.raises(FeedError, match="disk"):
                await source.stream(take)
            full[0] = False
            async with streaming(source, take):
                assert await taken.wait(2) == readings(1, 3)
        assert [path for _, path in server.asked[:2]] == ["/v1/rows", "/v1/rows"]
        cursor = dict(taken.batches[-1].cursor or {})
        assert cursor == {"since_ns": TODAY_NS}
        asked = len(server.asked)
        async with feed(server, since_param="from", memory=cursor) as source:
            await first(source, 2)
        assert server.asked[asked][1] == "/v1/rows?from=2025-10-07T23%3A50Z"

    run(handler, work)


def test_history_in_windows_with_its_lag_and_quality() -> None:
    """Each window is asked for once; what lies outside the span isn't taken; values say when they were known."""

    async def handler(request: web.Request) -> web.Response:
        days = [row for row in rows(0, 8) if request.query["from"] <= row["day"] <= request.query["to"]]
        return reply({"rows": days})

    async def work(server: Server) -> None:
        given = {"since_param": "from", "until_param": "to", "since_format": "date", "window": "3d", "lag": "6h"}
        span = (TODAY_NS - 6 * DAY_NS, TODAY_NS - DAY_NS)
        taken, done = Taken(), list[tuple[float, float]]()
        async with feed(server, **given, quality="vendor_pit") as source:
            await source.fetch(span, taken, lambda part, whole: done.append((part, whole)))
        found = {item.event_ns for item in taken.items if isinstance(item, Reading)}
        assert found == {TODAY_NS - back * DAY_NS for back in range(2, 7)}
        assert all(item.known_ns == item.event_ns + DAY_NS // 4 for item in taken.items if isinstance(item, Reading))
        assert {item.quality for item in taken.items if isinstance(item, Reading)} == {"vendor_pit"}
        assert [path for _, path in server.asked] == [
            "/v1/rows?from=2025-10-02&to=2025-10-05", "/v1/rows?from=2025-10-05&to=2025-10-07",
        ]  # fmt: skip
        assert done[-1] == (2, 2)
        async with feed(server) as source:
            with pytest.raises(InputError, match="record"):
                await source.fetch(span, taken, lambda part, whole: None)

    run(handler, work)


def test_a_paid_source_stops_at_its_cap(tmp_path: Path) -> None:
    """Booked before it is asked; what didn't come is given back; at the cap nobody is asked any more."""

    async def handler(request: web.Request) -> web.Response:
        return reply({"rows": rows(1, 5)})

    async def work(server: Server) -> None:
        purse = Spending(tmp_path, cost=Decimal("0.01"), cap_day=Decimal("0.20"), cap_month=Decimal(9), lease_items=1)
        given = {"cost": Decimal("0.01"), "page_items": 8}
        async with feed(server, **given, purse=purse) as source:
            with pytest.raises(FeedError, match="cap|day|spent") as caught:
                await source.stream(Taken())
            assert caught.value.final
        assert len(server.asked) == 4  # 16 of 20 items; a page of 8 doesn't fit any more
        assert Decimal("0.16") <= purse.spent().today <= Decimal("0.17")  # an item is booked ahead
        server.script.append("500")
        async with feed(server, cost=Decimal("0.01"), per="request", purse=purse) as source:
            with pytest.raises(FeedError, match="500"):
                await source.stream(Taken())
        assert Decimal("0.16") <= purse.spent().today <= Decimal("0.17")  # an item is booked ahead
        with pytest.raises(InputError, match="purse"):
            async with feed(server, **given):
                pass

    run(handler, work)


def test_marks_that_turn_in_a_circle_end() -> None:
    """The same mark twice is the end; live, a source with pages without end is left after `pages`."""

    async def handler(request: web.Request) -> web.Response:
        at = int(request.query.get("mark", "0"))
        return reply({"rows": rows(at % 8, at % 8 + 1), "next": 3 if circle[0] else at + 1})

    circle = [True]

    async def work(server: Server) -> None:
        async with feed(server, next_path="next", next_param="mark", pages=6) as source:
            assert len(await first(source, 2)) == 2
        circle[0] = False
        async with feed(server, next_path="next", next_param="mark", pages=6) as source:
            await first(source, 6)
            assert source.health()["cut"] == 1

    run(handler, work)


def test_what_the_vendor_sends_back_is_shown_without_secrets() -> None:
    """A row that is set apart might hold the key."""

    async def handler(request: web.Request) -> web.Response:
        return reply({"rows": [{"you_are": request.headers["X-Key"]}]})

    async def work(server: Server) -> None:
        given = {"headers": {"X-Key": "{key}"}, "secrets": {"key": "env:KEY"}}
        async with feed(server, **given, secrets_found={"env:KEY": KEY}) as source:
            [item] = await first(source, 1)
        assert isinstance(item, Spoilt) and "***" in item.content and KEY not in repr(item)

    run(handler, work)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"next_path": "a", "page_param": "b"}, "page_param"),
        ({"next_param": "a"}, "next_param"),
        ({"next_path": "a..b"}, "next_path"),
        ({"window": "3d"}, "window"),
        ({"body": {"a": 1}}, "body"),
        ({"cost": "0.01"}, "page_items"),
        ({"lag": "soon"}, "lag"),
    ],
)
def test_options_are_checked(more: dict[str, Any], key: str) -> None:
    """When the configuration is read, with the key."""
    with pytest.raises(InputError) as caught:
        HttpJsonOptions(**{**SERIES, "url": "https://vendor.example/rows", **more})
    assert caught.value.key == key
