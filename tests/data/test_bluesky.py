"""Bluesky by its Jetstream: what is kept, when it was written, how it goes on, and all that can go wrong with it."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.feed import FeedError, Gone, Item, Spoilt, Written
from data.intake_feed import to_facts
from data.sources.bluesky import CARD, REWIND_US, STRANGE_MAX, BlueskyOptions
from data.store import Store
from data.times import DAY_NS, SECOND_NS
from tests.sources.jetstream import AUTHOR, Jetstream, moment
from tests.sources.world import StepClock, Taken, opened, streaming
from tests.sources.ws_server import ENDED, PAUSE_S, REFUSED, SAID, STUCK, WS_FAULTS, ws_serving

Work = Callable[[Jetstream, Any], Coroutine[Any, Any, Any]]


def run(work: Work) -> Any:
    """Do the work beside a Jetstream."""

    async def whole() -> Any:
        jetstream = Jetstream()
        async with ws_serving(jetstream.talk) as server:
            return await work(jetstream, server)

    return asyncio.run(whole())


def feed(server: Any, clock: StepClock | None = None, *, memory: Any = None, store: Any = None, **options: Any) -> Any:
    """The source, pointed at the local server."""
    told = {"urls": (server.url,), "silence": 5.0, **options}
    return opened("bluesky", told, clock=clock or StepClock(), memory=memory, store=store)


async def until(true: Callable[[], Any], timeout_s: float = 5.0) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.005)


def written(items: list[Item]) -> list[str]:
    """Texts of the posts among some items."""
    return [item.text for item in items if isinstance(item, Written)]


def test_posts_about_the_coins_are_kept_edited_and_deleted() -> None:
    """Names, cashtags, words with bounds, tags, languages; an edit is a revision, and each deletion is handed on."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        clock, taken = StepClock(), Taken()
        before = clock.ns
        async with feed(server, clock, words=("halving",)) as bluesky, streaming(bluesky, taken):
            await until(lambda: server.asked)
            clock.advance(30)
            key = jetstream.commit("a", "Bitcoin is up", langs=["en-US"])
            jetstream.commit("b", "the link is in bio")
            jetstream.commit("c", "$ETH and the rest", langs=["de", "en"])
            jetstream.commit("d", "Bitcoin ist gestiegen", langs=["de"])
            jetstream.commit("e", "gm", tags=["btc"])
            jetstream.commit("f", "after the Halving: buy", langs=[])
            jetstream.commit("g", "halvings")
            jetstream.commit("a", "It is down", operation="update", created=moment(jetstream.time_us))
            jetstream.commit("b", "no", operation="update")
            jetstream.commit("z", None, operation="delete")
            await until(lambda: bluesky.health().get("deletions"))
            assert taken.items[-1] == Gone(key[:-1] + "z")
            health = bluesky.health()
        assert written(taken.items) == [
            "Bitcoin is up",
            "$ETH and the rest",
            "gm",
            "after the Halving: buy",
            "It is down",
        ]
        first = taken.items[0]
        assert isinstance(first, Written) and (first.key, first.author) == (key, AUTHOR)
        assert first.url == f"https://bsky.app/profile/{AUTHOR}/post/a"
        assert (health["events"], health["posts"], health["deletions"], health["connected"]) == (10, 5, 1, 1)
        facts = to_facts(CARD, taken.batches, ingested_ns=clock.now_ns())
        assert not facts.rejects and facts.facts["posts"].num_rows == 5
        for row in facts.facts["posts"].to_pylist():
            assert before <= row["known_ns"] <= clock.ns and row["event_ns"] <= row["known_ns"]

    run(work)


def test_a_time_that_cannot_be_is_replaced_by_when_it_was_seen() -> None:
    """Authors' programs may say anything: the future, years ago, no zone, no time; the stream's own time holds then."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        taken = Taken()
        async with feed(server) as bluesky, streaming(bluesky, taken):
            await until(lambda: server.asked)
            said = [
                moment(jetstream.time_us + 500_000), "2031-01-01T00:00:00Z", moment(jetstream.time_us - 90_000_000_000),
                "2025-10-09T08:00:00", "yesterday", "9" * 400, moment(jetstream.time_us - 80_000_000_000),
            ]  # fmt: skip
            for at, created in enumerate(said):
                jetstream.commit(str(at), "btc", created=created)
            items = await taken.wait(len(said))
        seen = [event["time_us"] * 1000 for event in jetstream.events]
        found = [item.event_ns for item in items if isinstance(item, Written)]
        assert found == [seen[0] - SECOND_NS // 2, *seen[1:6], seen[6] - DAY_NS + (DAY_NS - (seen[6] - found[6]))]
        assert DAY_NS * 0.9 < seen[6] - found[6] < DAY_NS

    run(work)


def test_it_goes_on_from_its_cursor_a_little_earlier() -> None:
    """What came while it was away is brought, what was just brought comes again; the store drops repetitions."""

    async def work(jetstream: Jetstream, server: Any, tmp: Path) -> None:
        clock, taken, again = StepClock(), Taken(), Taken()
        async with feed(server, clock) as bluesky, streaming(bluesky, taken):
            await until(lambda: server.asked)
            jetstream.commit("a", "btc one")
            jetstream.commit("b", "btc two")
            await taken.wait(2)
        memory = dict(taken.batches[-1].cursor or {})
        assert memory == {"time_us": jetstream.time_us}
        jetstream.commit("c", "btc three")
        clock.advance(60)
        async with feed(server, clock, memory=memory) as bluesky, streaming(bluesky, again):
            await until(lambda: "btc three" in written(again.items))
            assert bluesky.health()["missed_s"] == 0
        assert f"cursor={memory['time_us'] - REWIND_US}" in server.asked[1]
        store = Store(tmp)
        for batches, count in ((taken.batches, 2), (again.batches, 1)):
            facts = to_facts(CARD, batches, ingested_ns=clock.now_ns())
            assert store.append("posts", facts.facts["posts"]).added == count

    import tempfile

    with tempfile.TemporaryDirectory() as tmp:
        run(lambda jetstream, server: work(jetstream, server, Path(tmp)))


def test_a_cursor_that_is_too_old_is_told() -> None:
    """The server doesn't refuse it; how much is missing stands in health."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        clock, taken = StepClock(), Taken()
        old_us = jetstream.time_us
        jetstream.commit("lost", "btc lost")
        jetstream.time_us += 3600 * 1_000_000
        jetstream.floor_us = jetstream.time_us
        clock.advance(3700)
        jetstream.commit("there", "btc there")
        async with feed(server, clock, memory={"time_us": old_us}) as bluesky, streaming(bluesky, taken):
            await taken.wait(1)
            assert bluesky.health()["missed_s"] == pytest.approx(3602, abs=1)
            assert bluesky.health()["behind_s"] == pytest.approx(98, abs=2)
        assert written(taken.items) == ["btc there"]

    run(work)


def test_what_was_not_acknowledged_comes_again() -> None:
    """The cursor only moves with what is durable."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        taken = Taken()
        full = [True]

        async def take(batch: Any) -> None:
            if full[0]:
                raise FeedError("the disk is full")
            await taken(batch)

        async with feed(server, memory={"time_us": jetstream.time_us}) as bluesky:
            jetstream.commit("a", "btc one")
            with pytest.raises(FeedError, match="disk"):
                await bluesky.stream(take)
            full[0] = False
            async with streaming(bluesky, take):
                assert written(await taken.wait(1)) == ["btc one"]

    run(work)


@pytest.mark.parametrize("fault", [fault for fault in WS_FAULTS if fault != "slow-loris"])  # 15 s; see test_ws.py
def test_a_fault_has_a_name_and_loses_nothing(fault: str) -> None:
    """A FeedError, or a message set apart; then all posts since the cursor are brought."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        taken = Taken()
        memory = {"time_us": jetstream.time_us}
        jetstream.commit("a", "btc one")
        server.script.append(fault)
        async with feed(server, memory=memory, silence=0.8 if fault in STUCK else 10.0) as bluesky:
            if fault not in SAID:
                with pytest.raises(FeedError) as caught:
                    await bluesky.stream(taken)
                assert caught.value.final is (fault == "401")
                assert (caught.value.pause_s >= PAUSE_S) is (
                    fault.startswith("429") or fault in ("503-seconds", "close-1013")
                )
                assert not taken.items and (fault in ENDED or fault in REFUSED)
            async with streaming(bluesky, taken):
                await until(lambda: written(taken.items) == ["btc one"])
            apart = [item for item in taken.items if isinstance(item, Spoilt)]
            assert len(apart) == (1 if fault in SAID else 0)

    run(work)


DRIFTED: list[dict[str, Any]] = [
    {"kind": "commit", "did": AUTHOR, "commit": {}},
    {"time_us": "1760000001000000", "kind": "commit"},
    {"time_us": 2**70, "kind": "commit"},
    {"time_us": -1, "kind": "commit"},
    {"time_us": 1_760_000_001_000_000, "did": AUTHOR, "commit": {}},
    {"time_us": 1_760_000_001_000_000, "kind": "commit", "commit": None},
    {"time_us": 1_760_000_001_000_000, "kind": "account", "did": AUTHOR, "account": "gone"},
]
PIECES: list[dict[str, Any]] = [
    {"rkey": 7}, {"rkey": ""}, {"operation": "swap"}, {"record": None}, {"record": {"text": ["btc"]}}, {"record": {}},
]  # fmt: skip


def test_events_that_are_not_as_they_were_are_set_apart() -> None:
    """One by one with a reason; a stream of nothing else ends, and a good event in between starts the count again."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        taken = Taken()
        good = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": "r", "record": {"text": "btc"}}
        wrong = [
            {"kind": "commit", "did": AUTHOR, "time_us": 1_760_000_001_000_000, "commit": good | piece}
            for piece in PIECES
        ]
        async with feed(server) as bluesky:
            async with streaming(bluesky, taken):
                await until(lambda: server.asked)
                for event in [*DRIFTED, *wrong]:
                    jetstream.happen({"time_us": 0, **event} if "time_us" not in event else event)
                jetstream.time_us += 2 * REWIND_US  # what is strange isn't played again
                jetstream.commit("ok", "btc")
                await until(lambda: written(taken.items))
            apart = [item for item in taken.items if isinstance(item, Spoilt)]
            assert len(apart) == len(DRIFTED) + len(PIECES) and all(item.reason for item in apart)
            assert taken.batches[-1].cursor == {"time_us": jetstream.time_us}
            stream = asyncio.create_task(bluesky.stream(taken))
            await until(lambda: len(server.asked) == 2)
            for _ in range(STRANGE_MAX + 5):
                jetstream.happen({"time_us": jetstream.time_us, "type": "commit"})
            with pytest.raises(FeedError, match="in a row"):
                await stream
            assert len([item for item in taken.items if isinstance(item, Spoilt)]) <= len(apart) + STRANGE_MAX

    run(work)


def test_posts_of_a_closed_account_are_deleted(tmp_path: Path) -> None:
    """Found in the store by their author; an account that only rests keeps them."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        clock, taken, store = StepClock(), Taken(), Store(tmp_path)
        gone, rests = "did:plc:gone", "did:plc:rests"
        async with feed(server, clock, store=store) as bluesky, streaming(bluesky, taken):
            await until(lambda: server.asked)
            key = jetstream.commit("a", "btc one", author=gone)
            jetstream.commit("b", "btc two", author=rests)
            await taken.wait(2)
            facts = to_facts(CARD, taken.batches, ingested_ns=clock.now_ns())
            store.append("posts", facts.facts["posts"])
            jetstream.account(rests, "deactivated")
            jetstream.account(gone, "deleted")
            await until(lambda: Gone(key) in taken.items)
        assert [item for item in taken.items if isinstance(item, Gone)] == [Gone(key)]
        assert taken.batches[-1].cursor == {"time_us": jetstream.time_us}

    run(work)


def test_the_next_server_is_asked_after_a_failure() -> None:
    """Cursors are times, so all servers understand them."""

    async def work(jetstream: Jetstream, server: Any) -> None:
        taken = Taken()
        jetstream.commit("a", "btc one")
        memory = {"time_us": jetstream.time_us}
        told = {"urls": ("ws://127.0.0.1:9/subscribe", server.url), "silence": 5.0}
        async with opened("bluesky", told, clock=StepClock(), memory=memory) as bluesky:
            with pytest.raises(FeedError):
                await bluesky.stream(taken)
            async with streaming(bluesky, taken):
                assert written(await taken.wait(1)) == ["btc one"]

    run(work)


def test_options_are_checked() -> None:
    """Words and languages that can't be are named; no history is promised."""
    for wrong, key in (({"words": ("x",)}, "words"), ({"languages": ("english",)}, "languages")):
        with pytest.raises(InputError) as caught:
            BlueskyOptions(**wrong)
        assert caught.value.key == key

    async def work(jetstream: Jetstream, server: Any) -> None:
        async with feed(server) as bluesky:
            with pytest.raises(InputError, match="record"):
                await bluesky.fetch((0, 1), Taken(), lambda part, whole: None)

    run(work)


def test_thousands_a_second_are_no_trouble() -> None:
    """Reading and sieving takes a small part of a second for what the whole network writes in one."""
    import random
    import time

    from data.feed import Tools
    from data.http import Http
    from data.sources.bluesky import Bluesky
    from data.ws import Heard

    jetstream, clock = Jetstream(), StepClock()
    for at in range(5000):
        jetstream.commit(str(at), f"number {at} is {'about bitcoin' if at % 50 == 0 else 'about lunch'} " * 5)
    messages = [json.dumps(event) for event in jetstream.events]
    bluesky = Bluesky(BlueskyOptions(), Tools(clock=clock, http=Http(clock), rng=random.Random(1), coins=("BTC",)))
    began = time.process_time()
    items, newest_us = bluesky._read(Heard(messages, jetstream.time_us * 1000 + SECOND_NS))
    took_s = time.process_time() - began
    assert len(items) == 100 and newest_us == jetstream.time_us
    assert took_s < 1.0, f"5,000 events took {took_s:.2f} s of CPU"
