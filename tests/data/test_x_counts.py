"""X's counts cost one request a coin and hour, hold whole hours only, and share X's purse."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.feed import FeedError, Reading
from data.intake_feed import to_facts
from data.sources.x_counts import CARD
from data.spend import Spending
from data.store import Store
from data.times import DAY_NS, HOUR_NS, floor_time
from tests.sources.server import Server, reply, serving
from tests.sources.world import NOW_NS, Taken, World, opened, streaming
from tests.sources.x_counts import make
from tests.sources.x_world import refuse

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "fixtures" / "x_api_v2"
REQUEST = Decimal("0.005")


def purse_in(folder: Path, cap: str = "5") -> Spending:
    """A purse for requests of counts."""
    return Spending(folder / "x", cost=REQUEST, cap_day=Decimal(cap), cap_month=Decimal(50))


@asynccontextmanager
async def counting(world: World, folder: Path, **given: Any) -> AsyncIterator[tuple[Any, Server]]:
    """A feed on a running server."""
    tools = {name: given.pop(name) for name in ("memory", "store", "purse") if name in given}
    tools.setdefault("purse", purse_in(folder))
    async with serving(world.handler) as server:
        options = {**world.options(server.url), **given}
        secrets = world.secrets
        async with opened("x_counts", options, clock=world.clock, secrets=secrets, coins=world.coins, **tools) as feed:
            yield feed, server


def test_one_request_a_coin_and_hour(tmp_path: Path) -> None:
    """While no hour is over nothing is asked and nothing is paid; a gap of hours costs one request as well."""

    async def work() -> None:
        world, taken = make(), Taken()
        async with counting(world, tmp_path) as (feed, server), streaming(feed, taken):
            await taken.wait(2, timeout_s=20)
            while feed.health()["asked"] < 8:
                await asyncio.sleep(0.01)
            assert len(server.asked) == 2 and purse_in(tmp_path).spent().today == 2 * REQUEST
            world.clock.advance(5 * 3600)
            await taken.wait(12, timeout_s=20)
            assert len(server.asked) == 4 and purse_in(tmp_path).spent().today == 4 * REQUEST
        ends = sorted(item.event_ns for item in taken.items if isinstance(item, Reading) and item.coin == "BTC")
        last_ns = floor_time(NOW_NS, HOUR_NS) + 5 * HOUR_NS
        assert ends == [last_ns - hour * HOUR_NS for hour in range(5, -1, -1)]
        assert all("%22bitcoin%22" in path for _, path in server.asked if "BTC" in path)

    asyncio.run(work())


def test_a_coin_that_has_come_is_not_paid_again_when_the_next_one_fails(tmp_path: Path) -> None:
    async def work() -> None:
        world, taken = make(), Taken()
        async with counting(world, tmp_path) as (feed, server):
            healthy, asked = world.handler, []

            async def handler(request: Any) -> Any:
                asked.append(request.path)
                if len(asked) == 2:
                    return await refuse(429, {"x-rate-limit-reset": str(world.clock.ns // 10**9 + 200)})(request)
                return await healthy(request)

            server.handler = handler
            with pytest.raises(FeedError, match="asked too often") as caught:
                await feed.stream(taken)
            assert 190 < caught.value.pause_s <= 200 and purse_in(tmp_path).spent().today == REQUEST
            async with streaming(feed, taken):
                await taken.wait(2, timeout_s=20)
            assert len(asked) == 3 and purse_in(tmp_path).spent().today == 2 * REQUEST

    asyncio.run(work())


def test_the_cap_stops_it(tmp_path: Path) -> None:
    async def work() -> None:
        world = make()
        async with counting(world, tmp_path, purse=purse_in(tmp_path, "0.005")) as (feed, server):
            with pytest.raises(FeedError, match=r"cap of 0\.005 USD a day") as caught:
                await feed.stream(Taken())
            assert caught.value.final and len(server.asked) == 1

    asyncio.run(work())


def test_history_is_not_bought_twice(tmp_path: Path) -> None:
    """What is stored whole isn't asked for again; the newer name of the count is read as well."""

    async def work() -> None:
        world, taken, store = make(), Taken(), Store(tmp_path / "var")
        assert world.span is not None
        healthy = world.handler

        async def renamed(request: Any) -> Any:
            answer = await healthy(request)
            return reply(json.loads(answer.text.replace("tweet_count", "post_count")))  # type: ignore[attr-defined]

        world.handler = renamed
        async with counting(world, tmp_path, store=store) as (feed, server):
            await feed.fetch(world.span, taken, lambda part, whole: None)
            assert len(server.asked) == 2 and len(taken.items) == 48
            found = to_facts(CARD, taken.batches, ingested_ns=world.clock.now_ns())
            store.append("metrics", found.facts["metrics"])
            assert set(found.facts["metrics"]["quality"].to_pylist()) == {"assumed_lag"}
            await feed.fetch(world.span, taken, lambda part, whole: None)
            assert len(server.asked) == 2
            with pytest.raises(InputError, match="seven days"):
                await feed.fetch((NOW_NS - 8 * DAY_NS, NOW_NS), taken, lambda part, whole: None)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"key": ""}, "key"),
        ({"names": {"BTC": ("long " * 30,) * 1 + ("word " * 30,)}, "query_chars": 200}, "names.BTC"),
    ],
)
def test_options_that_cannot_work_are_named(tmp_path: Path, options: dict[str, Any], word: str) -> None:
    async def work() -> None:
        with pytest.raises(InputError, match=word):
            async with counting(make(), tmp_path, **options):
                pass

    asyncio.run(work())


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no recorded answers in {REAL}")
def test_a_recorded_answer_gives_its_whole_hours(tmp_path: Path) -> None:
    """169 buckets of a week; the first and the last are parts of an hour."""
    [recorded, *_] = json.loads((REAL / "client_get_recent_tweets_count.json").read_text())
    rows = recorded["body"]["data"]

    async def work() -> None:
        world, taken = make(), Taken()
        world.clock.ns = 1_632_165_514 * 10**9  # 2021-09-20 19:18:34, when it was answered

        async def handler(request: Any) -> Any:
            return reply(recorded["body"])

        world.handler = handler
        start_ns = floor_time(world.clock.ns, HOUR_NS) - 7 * DAY_NS + HOUR_NS
        async with counting(world, tmp_path, coins=("TWEEPY",)) as (feed, _server):
            await feed.fetch((start_ns, world.clock.ns), taken, lambda part, whole: None)
        counts = [item.value for item in taken.items if isinstance(item, Reading)]
        assert counts == [row["tweet_count"] for row in rows[1:-1]] and len(taken.items) == len(rows) - 2

    asyncio.run(work())
