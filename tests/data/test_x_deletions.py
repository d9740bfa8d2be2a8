"""Deletions on X are honoured within a day: by batch compliance jobs, which are free, else by look-ups."""

import asyncio
from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from data.feed import Batch, FeedError, Gone, Written
from data.intake_feed import to_facts
from data.sources import find_source
from data.store import Store
from data.x_posts import time_of
from tests.sources.server import reply
from tests.sources.world import Taken, streaming
from tests.sources.x_feed import CHEAP, end_of, following, memory_of, purse_in, until
from tests.sources.x_world import PROBLEM, XWorld, raw, refuse


def stored(world: XWorld, folder: Path, rows: list[dict[str, Any]]) -> Store:
    """A store that has taken posts live."""
    store = Store(folder / "var")
    batches = [
        Batch([Written(row["id"], time_of(int(row["id"])), row["text"], "user_7", 1500.0)], world.clock.now_ns())
        for row in rows
    ]
    facts = to_facts(find_source("x").card, batches, ingested_ns=world.clock.now_ns()).facts["posts"]
    store.append("posts", facts)
    return store


def test_deletions_are_noticed_within_a_day(tmp_path: Path) -> None:
    """Deleted and protected posts go; those that X only doesn't mention stay; edits are revisions; the rest stays."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        rows = [world.post(f"post {number}") for number in range(6)]
        edited = world.edit(rows[4], "changed my mind")
        store = stored(world, tmp_path, rows)
        world.gone.add(rows[1]["id"])
        world.protected.add(rows[2]["id"])
        world.silent.add(rows[3]["id"])
        async with (
            following(world, tmp_path, store=store, refill=False, recheck="look-up", recheck_hours=20) as feed,
            streaming(feed, taken),
        ):
            await until(lambda: feed.health().get("rounds") == 1)
            keys = {item.key for item in taken.items if isinstance(item, Gone)}
            assert keys == {rows[1]["id"], rows[2]["id"]}
            [newer] = [item for item in taken.items if isinstance(item, Written)]
            assert (newer.key, newer.text, newer.author) == (rows[4]["id"], "changed my mind", "user_7")
            assert newer.url.endswith(edited["id"])
            world.gone.add(rows[0]["id"])
            world.clock.advance(20 * 3600 + 1)
            await until(lambda: feed.health().get("rounds") == 2)
            assert Gone(rows[0]["id"]) in taken.items
        spent, billed = purse_in(tmp_path).spent(), sum(world.billed.values()) * CHEAP
        assert billed <= spent.this_month <= billed + 20 * CHEAP, (
            "what was booked ahead on a day that is over stays booked"
        )

    asyncio.run(work())


def test_a_look_up_that_errs_once_deletes_nothing(tmp_path: Path) -> None:
    """A text that is purged is gone for good: so two answers have to say so."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        rows = [world.post(f"post {number}") for number in range(3)]
        store = stored(world, tmp_path, rows)
        lie = {
            "errors": [
                {"resource_type": "tweet", "resource_id": row["id"], "type": f"{PROBLEM}resource-not-found"}
                for row in rows
            ]
        }
        world.faults_at["/2/tweets"] = deque([refuse(200, body=lie)])
        async with following(world, tmp_path, store=store, recheck="look-up") as feed, streaming(feed, taken):
            await until(lambda: feed.health().get("rounds") == 1)
            assert [path for path, _ in world.asked].count("/2/tweets") == 2
            assert not taken.items

    asyncio.run(work())


def test_look_ups_keep_to_their_money_and_say_what_they_left(tmp_path: Path) -> None:
    """The newest hundred first; what the day's money doesn't reach is counted; faults end the stream with a name."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        rows = [world.post(f"post {number}") for number in range(250)]
        store = stored(world, tmp_path, rows)
        world.gone.update({rows[0]["id"], rows[240]["id"]})
        given: dict[str, Any] = {"store": store, "recheck_usd": Decimal("0.100"), "recheck": "look-up"}
        async with following(world, tmp_path, **given) as feed:
            for fault in (refuse(503), raw(b'{"errors": 7}', then="abort"), raw(b"[]")):
                world.faults_at["/2/tweets"] = deque([fault])
                error = await end_of(feed, taken)
                assert isinstance(error, FeedError) and not error.final and "/2/tweets" in str(error)
            async with streaming(feed, taken):
                await until(lambda: feed.health().get("rounds") == 1)
            assert feed.health()["unchecked"] == 150
        assert [item for item in taken.items if isinstance(item, Gone)] == [Gone(rows[240]["id"])]
        asked = {key for path, query in world.asked if path == "/2/tweets" for key in query["ids"].split(",")}
        assert asked == {row["id"] for row in rows[150:]}

    asyncio.run(work())


def job_asks(world: XWorld) -> int:
    """Jobs begun so far."""
    return [path for path, _ in world.asked].count("/2/compliance/jobs")


def test_a_job_finds_what_is_gone_and_costs_nothing(tmp_path: Path) -> None:
    """Deleted and protected posts go, in one job for all of them; it is waited for; the next one comes in time."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        rows = [world.post(f"post {number}") for number in range(150)]
        store = stored(world, tmp_path, rows)
        world.gone.add(rows[1]["id"])
        world.protected.add(rows[140]["id"])
        world.job_states.extend(["created", "in_progress", "in_progress"])
        async with following(world, tmp_path, store=store, refill=False) as feed, streaming(feed, taken):
            await until(lambda: feed.health().get("rounds") == 1)
            assert {item.key for item in taken.items if isinstance(item, Gone)} == {rows[1]["id"], rows[140]["id"]}
            assert world.polls == 4 and len(world.jobs) == 1
            world.gone.add(rows[0]["id"])
            world.clock.advance(12 * 3600 + 1)
            await until(lambda: feed.health().get("rounds") == 2)
            assert Gone(rows[0]["id"]) in taken.items
        assert sum(world.billed.values()) == 0 and "/2/tweets" not in [path for path, _ in world.asked]

    asyncio.run(work())


def test_a_job_that_was_begun_is_waited_for_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        world, taken, again = XWorld(), Taken(), Taken()
        rows = [world.post("post")]
        store = stored(world, tmp_path, rows)
        world.gone.add(rows[0]["id"])
        world.job_states.extend(["in_progress"] * 10**4)
        async with following(world, tmp_path, store=store) as feed, streaming(feed, taken):
            await until(lambda: world.polls > 2)
        world.job_states.clear()
        async with following(world, tmp_path, store=store, memory=memory_of(taken)) as feed, streaming(feed, again):
            await until(lambda: feed.health().get("rounds") == 1)
        assert [item for item in again.items if isinstance(item, Gone)] == [Gone(rows[0]["id"])]
        assert job_asks(world) == 1

    asyncio.run(work())


JOB_FAULTS: dict[str, Any] = {
    "not in the plan": refuse(403),
    "asked too often": refuse(429, {"Retry-After": "7"}),
    "503": refuse(503, page=True),
    "cut": raw(b'{"data": {', then="abort"),
    "no job": refuse(200, body={"data": {"id": 7}}),
    "no address": refuse(200, body={"data": {"id": "7", "status": "created"}}),
    "elsewhere": refuse(200, body={"data": {"id": "7", "upload_url": "http://example.org/?signature=5ec7e7"}}),
    "private": refuse(200, body={"data": {"id": "7", "upload_url": "https://10.0.0.1/?signature=5ec7e7"}}),
}


@pytest.mark.parametrize("fault", JOB_FAULTS)
def test_without_a_job_posts_are_looked_up(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """A job that fails doesn't end the stream: the same round is made by look-ups, with their money."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        rows = [world.post(f"post {number}") for number in range(3)]
        store = stored(world, tmp_path, rows)
        world.gone.add(rows[1]["id"])
        world.faults_at["/2/compliance/jobs"] = deque([JOB_FAULTS[fault]])
        async with following(world, tmp_path, store=store) as feed, streaming(feed, taken) as task:
            await until(lambda: feed.health().get("rounds") == 1)
            assert feed.health()["jobs_failed"] == 1 and not task.done()
        assert [item for item in taken.items if isinstance(item, Gone)] == [Gone(rows[1]["id"])]
        assert world.billed["look-up"] == 2 and "5ec7e7" not in caplog.text

    asyncio.run(work())


@pytest.mark.parametrize("state", ["failed", "expired", "", "garbage"])
def test_a_job_that_fails_later_is_followed_by_look_ups_too(tmp_path: Path, state: str) -> None:
    async def work() -> None:
        world, taken = XWorld(), Taken()
        rows = [world.post("post")]
        store = stored(world, tmp_path, rows)
        world.gone.add(rows[0]["id"])
        if state == "garbage":

            async def nonsense(request: Any) -> Any:
                return reply([1]) if request.method == "GET" else await healthy(request)

            healthy, world._storage = world._storage, nonsense  # type: ignore[method-assign]
        else:
            world.job_states.append(state)
        async with following(world, tmp_path, store=store) as feed, streaming(feed, taken):
            await until(lambda: feed.health().get("rounds") == 1)
            assert feed.health()["jobs_failed"] == 1
        assert [item for item in taken.items if isinstance(item, Gone)] == [Gone(rows[0]["id"])]

    asyncio.run(work())


def test_deletions_are_honoured_while_a_cap_stops_the_feed(tmp_path: Path) -> None:
    """It comes back twice a day, buys nothing, and hands over what is gone."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        rows = [world.post("post")]
        store = stored(world, tmp_path, rows)
        world.gone.add(rows[0]["id"])
        purse_in(tmp_path, "0.010").spend(10, world.clock.ns)
        async with following(world, tmp_path, store=store, purse=purse_in(tmp_path, "0.010")) as feed:
            error = await end_of(feed, taken)
            assert isinstance(error, FeedError) and error.final and "cap of" in str(error)
            assert 0 < error.pause_s <= 12 * 3600
            assert taken.items == [Gone(rows[0]["id"])] and world.streams == 0
            await end_of(feed, taken)
            assert job_asks(world) == 1, "not before it is due"
        assert sum(world.billed.values()) == 0

    asyncio.run(work())
