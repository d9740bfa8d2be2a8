"""The queue at the engine's door: what overtakes, what is dropped, and that a flood delays nobody."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.events import POSTS, Bar, Condition, Event, Funding, Observation, Operator, Posts, Report, Tick
from bot.feeds.door import ROWS, Door


def posts(count: int, *, source: int = 1, known_ns: int = 0) -> Posts:
    """Posts of one source, numbered by known_ns from the one given on."""
    rows = np.zeros(count, POSTS)
    rows["source"] = source
    rows["known_ns"] = known_ns + np.arange(count)
    return Posts(ns=0, rows=rows)


def bar(close_ns: int = 60) -> Bar:
    """A bar of one minute."""
    return Bar(
        ns=0, symbol="BTC/USDT", open_ns=close_ns - 60, close_ns=close_ns, open=1, high=1, low=1, close=1, volume=1
    )


def observation(known_ns: int) -> Observation:
    """A metric's value."""
    return Observation(ns=0, name="netflow", coin="BTC", event_ns=known_ns, known_ns=known_ns, value=1.0)


def inside(work: Any) -> None:
    """Run a coroutine function in a loop of its own."""
    asyncio.run(work())


def test_words_overtake_bars_and_bars_overtake_facts() -> None:
    """First conditions, reports and people in their order, then bars and funding, then facts."""

    async def main() -> None:
        door = Door(10)
        told: list[Event] = [
            posts(2),
            observation(5),
            bar(),
            Funding(ns=0, symbol="BTC/USDT", due_ns=1, rate=0.1),
            Tick(ns=0),
            Condition(ns=0, cause="data", on=True),
            Report(ns=0, order=1, what="acked"),
            Operator(ns=0, act="halt", person="a", reason="b"),
        ]
        for event in told:
            door.put(event)
        found = await door.get()
        assert found == [*told[4:], told[2], told[3], told[0]]
        assert await door.get() == [told[1]]
        assert len(door) == 0 and not door
        assert door.get_now() == []

    inside(main)


def test_posts_are_merged_and_cut_into_events_of_bounded_size() -> None:
    """Many small events become few; facts of other kinds keep their place between them."""

    async def main() -> None:
        door = Door(10_000, rows=100)
        for at in range(130):
            door.put(posts(1, known_ns=at))
        door.put(observation(130))
        door.put(posts(5, known_ns=131))
        sizes = []
        while door:
            sizes += [len(event.rows) if isinstance(event, Posts) else "metric" for event in await door.get()]
        assert sizes == [100, 30, "metric", 5]

    inside(main)


def test_posts_of_two_feeds_come_out_in_the_order_they_became_known() -> None:
    """Within one event known_ns never goes back; equal ones keep their order."""

    async def main() -> None:
        door = Door(100)
        door.put(posts(3, source=1, known_ns=10))
        door.put(posts(3, source=2, known_ns=9))
        (event,) = await door.get()
        assert isinstance(event, Posts)
        pairs = list(zip(event.rows["known_ns"].tolist(), event.rows["source"].tolist(), strict=True))
        assert pairs == [(9, 2), (10, 1), (10, 2), (11, 1), (11, 2), (12, 1)]

    inside(main)


def test_posts_beyond_the_bound_are_dropped_and_counted_and_nothing_else_is() -> None:
    """The newest find no room; drops are told by the source's name; other facts wait however many they are."""

    async def main() -> None:
        door = Door(10, names={1: "x", 2: "reddit"})
        door.put(posts(8, source=1))
        door.put(posts(5, source=2, known_ns=8))
        door.put(posts(4, source=3))
        for at in range(1000):
            door.put(observation(at))
        assert door.dropped() == {"reddit": 3, "source 3": 4}
        assert door.health()["dropped_posts"] == 7
        assert len(door) == 1010
        (event, *_) = await door.get()
        assert isinstance(event, Posts)
        assert event.rows["known_ns"].tolist() == list(range(10))
        seen = 0
        while door:
            seen += len(await door.get())
        assert seen == 1000
        assert door.health()["waiting"]["posts"] == 0

    inside(main)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=60), st.integers(1, 20), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_the_ring_gives_back_what_it_took_in_order(moves: list[tuple[bool, int]], size: int, rows: int) -> None:
    """Whatever is put and taken in whatever turns: kept posts come once, in order; kept and dropped add up to all."""

    async def main() -> None:
        door = Door(size, rows=rows)
        given_ns, kept, out = 0, [], []
        for is_put, count in moves:
            if is_put:
                room = size - len(door)
                kept += list(range(given_ns, given_ns + min(room, count)))
                door.put(posts(count, known_ns=given_ns))
                given_ns += count
            else:
                out += [ns for event in door.get_now() for ns in event.rows["known_ns"].tolist()]  # type: ignore[attr-defined]
        while door:
            out += [ns for event in door.get_now() for ns in event.rows["known_ns"].tolist()]  # type: ignore[attr-defined]
        assert out == kept
        assert len(kept) + sum(door.dropped().values()) == given_ns

    inside(main)


def test_a_taker_waits_for_what_comes_from_a_thread() -> None:
    """Put from a thread wakes the loop, once for many."""

    async def main() -> None:
        door = Door(1000)

        def work() -> None:
            for at in range(500):
                door.put_from_thread(posts(1, known_ns=at))
            door.put_from_thread(bar())

        thread = threading.Thread(target=work)
        thread.start()
        found: list[Event] = []
        async with asyncio.timeout(5):
            while sum(len(event.rows) if isinstance(event, Posts) else 1 for event in found) < 501:
                found += await door.get()
        thread.join()
        assert [event for event in found if isinstance(event, Bar)] == [bar()]

    inside(main)


def test_a_thread_may_put_after_the_loop_has_gone() -> None:
    """A feed's thread that ends late breaks nothing."""
    kept = []

    async def main() -> None:
        kept.append(Door(5))

    inside(main)
    kept[0].put_from_thread(posts(1))
    assert len(kept[0]) == 1


def test_drained_means_that_the_taker_asks_for_more() -> None:
    """Who waits for the taker goes on after it has dealt with what it took, not while it does."""

    async def main() -> None:
        door = Door(10)
        done: list[str] = []

        async def taker() -> None:
            while True:
                await door.get()
                await asyncio.sleep(0.01)
                done.append("dealt with")

        task = asyncio.create_task(taker())
        door.put(bar())
        await door.drained()
        assert done == ["dealt with"]
        await door.drained()
        task.cancel()

    inside(main)


def test_taking_lets_others_run() -> None:
    """A queue that is never empty doesn't starve the feeds."""

    async def main() -> None:
        door = Door(10)
        door.put(bar())
        turns = []

        async def other() -> None:
            for _ in range(3):
                turns.append(1)
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        for _ in range(5):
            await door.get()
            door.put(bar())
        assert len(turns) == 3
        await task

    inside(main)


def test_a_bar_waits_no_longer_than_one_chunk_of_posts() -> None:
    """In a flood that fills the queue a bar is in the very next chunk, and no chunk has more posts than one event."""

    async def main() -> None:
        door = Door(50_000)
        door.put(posts(50_000))
        for at in range(100):
            door.put(posts(500))
            door.put(bar(60 * (at + 1)))
            found = await door.get()
            assert isinstance(found[0], Bar)
            assert sum(len(event.rows) for event in found if isinstance(event, Posts)) == ROWS

    inside(main)


@pytest.mark.parametrize("size", [0, -1])
def test_a_door_needs_room(size: int) -> None:
    """No bound, no door."""

    async def main() -> None:
        with pytest.raises(ValueError, match="at least one post"):
            Door(size)

    inside(main)


def test_drops_of_endless_sources_are_counted_in_bounded_memory() -> None:
    """An attacker who invents sources can't fill the memory with their counts."""

    async def main() -> None:
        door = Door(1)
        rows = np.zeros(5000, POSTS)
        rows["source"] = np.arange(5000)
        door.put(Posts(ns=0, rows=rows))
        counts = door.dropped()
        assert sum(counts.values()) == 4999
        assert len(counts) == 257
        assert counts["others"] == 4999 - 256

    inside(main)


def test_the_flood_of_the_benchmark_counts_every_post() -> None:
    """What was put was taken or dropped, and the queue never held more than it may."""
    from benchmarks.door import flood

    told = flood(posts_per_second=50_000, seconds=0.2, posts_max=500, work_ns=100_000)
    assert told["taken"] + told["dropped"] == told["put"] > 0
    assert told["dropped"] > 0 and told["most_waiting"] == 500
    assert told["bars"] > 0
