"""X's search and look-up: what the stream has missed, the last seven days, and deletions honoured within one."""

import asyncio
import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.feed import Batch, FeedError, Written
from data.intake_feed import to_facts
from data.sources import find_source
from data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from data.x_posts import id_at, read_posts, time_of
from tests.sources.world import NOW_NS, Taken, streaming
from tests.sources.x_feed import BAD_ANSWERS, end_of, following, memory_of, texts, until
from tests.sources.x_world import XWorld, raw, refuse

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "fixtures" / "x_api_v2"


def searches(world: XWorld) -> list[dict[str, str]]:
    """Queries of the searches asked so far."""
    return [query for path, query in world.asked if path.endswith("/recent")]


def test_identities_hold_their_time() -> None:
    assert time_of(id_at(NOW_NS)) == NOW_NS
    assert time_of(1578516068309794817) // SECOND_NS == 1665182532  # 2022-10-07 22:42:12, as its recorded text says


def test_a_gap_is_refilled_page_by_page_and_known_late(tmp_path: Path) -> None:
    """By `since_id` of what was seen last, after a restart, from every query; nothing comes twice."""

    async def work() -> None:
        world, taken = XWorld(page=10), Taken()
        world.send(world.post("seen"), "close")
        options: dict[str, Any] = {"names": ("bitcoin",), "accounts": ("alice",)}
        async with following(world, tmp_path, **options) as feed:
            await end_of(feed, taken)
        world.clock.advance(60)
        for number in range(35):
            world.post(f"missed {number}")
        world.clock.advance(600)
        back_ns, again = world.clock.ns, Taken()
        async with following(world, tmp_path, memory=memory_of(taken), **options) as feed:
            async with streaming(feed, again):
                world.send(world.post("live"))
                await until(lambda: len(texts(again)) >= 36 and not feed._desk.gaps())
            assert feed.health()["refilled"] == 1
        assert sorted(set(texts(again))) == sorted(texts(again)), "each once"
        assert set(texts(again)) - {"seen"} == {"live", *(f"missed {number}" for number in range(35))}
        assert all(int(query["since_id"]) < int(query["until_id"]) for query in searches(world))
        assert {query["query"] for query in searches(world)} == {
            '("bitcoin") lang:en -is:retweet', "(from:alice) -is:retweet",
        }  # fmt: skip
        found = to_facts(find_source("x").card, again.batches, ingested_ns=world.clock.now_ns()).facts["posts"]
        assert set(found["quality"].to_pylist()) == {"recorded"}
        assert min(found["known_ns"].to_pylist()) > back_ns

    asyncio.run(work())


def test_what_came_before_anything_was_kept_is_refilled(tmp_path: Path) -> None:
    """A recorder that is killed before its first posts are durable has only the time of its connect to go by."""

    async def work() -> None:
        world, kept, taken = XWorld(), Taken(), Taken()
        world.post("before the first start", at_ns=world.clock.ns - HOUR_NS)

        async def killed(batch: Batch) -> None:
            if batch.items:
                raise RuntimeError("killed")
            await kept(batch)

        world.send(world.post("lost"))
        async with following(world, tmp_path) as feed:
            with pytest.raises(RuntimeError, match="killed"):
                await feed.stream(killed)
        world.clock.advance(60)
        async with following(world, tmp_path, memory=memory_of(kept)) as feed, streaming(feed, taken):
            await until(lambda: texts(taken) == ["lost"] and not feed._desk.gaps())

    asyncio.run(work())


def test_a_refill_that_fails_is_owed_until_it_is_done(tmp_path: Path) -> None:
    """Each fault of search ends the stream with its name; the gap stays in the cursor; then all of it comes."""

    async def work() -> None:
        world, taken = XWorld(page=10), Taken()
        world.send(world.post("seen"), "close")
        async with following(world, tmp_path) as feed:
            await end_of(feed, taken)
            world.clock.advance(60)
            for number in range(25):
                world.post(f"missed {number}")
            world.clock.advance(600)
            faults = [refuse(429, {"Retry-After": "9"}), refuse(503), *(raw(content) for content in BAD_ANSWERS)]
            for fault in [*faults, raw(b'{"data": [', then="abort")]:
                world.faults_at["/2/tweets/search/recent"] = deque([world._search, fault])
                error = await end_of(feed, taken)
                assert isinstance(error, FeedError) and not error.final, repr(error)
                assert memory_of(taken)["gaps"]
            async with streaming(feed, taken):
                await until(lambda: len(set(texts(taken))) == 26 and not feed._desk.gaps())
        assert len(texts(taken)) == 26

    asyncio.run(work())


def test_a_refill_has_an_end(tmp_path: Path) -> None:
    """It brings so many posts at most, and what search no longer reaches is given up and counted."""

    async def work() -> None:
        world, taken = XWorld(page=10), Taken()
        world.send(world.post("seen"), "close")
        async with following(world, tmp_path, refill_posts=20) as feed:
            await end_of(feed, taken)
            world.clock.advance(60)
            for number in range(50):
                world.post(f"missed {number}")
            world.clock.advance(600)
            async with streaming(feed, taken):
                await until(lambda: feed.health().get("refill_cut") == 1 and not feed._desk.gaps())
            assert len(texts(taken)) == 21 and "missed 49" in texts(taken)
            world.clock.advance(9 * DAY_NS / SECOND_NS)
            async with streaming(feed, taken):
                await until(lambda: feed.health().get("refill_cut") == 2 and not feed._desk.gaps())
            assert "since_id" not in searches(world)[-1] and "start_time" in searches(world)[-1]

    asyncio.run(work())


def test_history_is_whole_hours_oldest_first_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async def work() -> None:
        world, taken = XWorld(page=10), Taken()
        start = world.clock.ns - 10 * HOUR_NS
        for number in range(60):
            world.post(f"{number}", at_ns=start + number * 5 * MINUTE_NS)
        span = (start, start + 4 * HOUR_NS)
        done: list[tuple[float, float]] = []
        async with following(world, tmp_path) as feed:
            world.faults.extend([world._search] * 5 + [refuse(503)])
            with pytest.raises(FeedError):
                await feed.fetch(span, taken, lambda part, whole: done.append((part, whole)))
        assert 0 < len(texts(taken)) < 48
        asked = len(searches(world))
        async with following(world, tmp_path, memory=memory_of(taken)) as feed:
            await feed.fetch(span, taken, lambda part, whole: done.append((part, whole)))
            assert done[-1] == (4.0, 4.0) and searches(world)[asked]["start_time"] > searches(world)[0]["start_time"]
            asked = len(searches(world))
            await feed.fetch(span, taken, lambda part, whole: None)
            assert len(searches(world)) == asked, "nothing is bought twice"
        assert texts(taken) == [f"{number}" for number in range(48)] and all(batch.history for batch in taken.batches)
        found = to_facts(find_source("x").card, taken.batches, ingested_ns=world.clock.now_ns()).facts["posts"]
        assert set(found["quality"].to_pylist()) == {"assumed_lag"}
        late = (
            [known - event for known, event in zip(found["known_ns"], found["event_ns"], strict=True)] if False else []
        )
        assert not late
        events, known = found["event_ns"].to_pylist(), found["known_ns"].to_pylist()
        assert all(after - before == 30 * SECOND_NS for before, after in zip(events, known, strict=True))

    asyncio.run(work())


def test_history_farther_back_than_search_reaches_is_an_input_error(tmp_path: Path) -> None:
    async def work() -> None:
        world = XWorld()
        async with following(world, tmp_path) as feed:
            with pytest.raises(InputError, match="seven days"):
                await feed.fetch((world.clock.ns - 8 * DAY_NS, world.clock.ns), Taken(), lambda part, whole: None)

    asyncio.run(work())


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no recorded answers in {REAL}")
@pytest.mark.parametrize(
    "name", ["client_search_recent_tweets", "client_get_tweets", "client_get_users_tweets", "client_search_all_tweets"]
)
def test_recorded_answers_are_understood(name: str) -> None:
    """They were asked without `created_at`, so each post is set apart for that, and for nothing else."""
    [recorded, *_] = json.loads((REAL / f"{name}.json").read_text())
    rows = recorded["body"]["data"]
    items = read_posts(recorded["body"], name)
    assert [getattr(item, "reason", "") for item in items] == ["created_at can't be read"] * len(rows)
    for row in rows:
        row["created_at"] = "2022-10-07T22:42:12.000Z"
    items = read_posts(recorded["body"], name)
    assert [item.text for item in items if isinstance(item, Written)] == [row["text"] for row in rows]
