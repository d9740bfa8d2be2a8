"""Every source keeps the feed's contract: what it brings, when it counts as known, and how it fails."""

import asyncio
import contextlib
import importlib
from typing import Any

import pytest

from data.errors import InputError
from data.facts import KINDS, QUALITIES, to_facts
from data.feed import FeedError, Item, Options, Reading, Source, Spoilt, Written
from data.intake_feed import to_facts as intake
from data.sources import all_sources
from data.store import Store
from tests.sources.server import HTTP_FAULTS, PAUSE_S, serving
from tests.sources.world import Taken, World, opened, streaming

SOURCES = all_sources()
OWN_TESTS: dict[str, str] = {
    "binance_announcements": "tests/sources/test_binance_announcements.py",
    "bluesky": "tests/data/test_bluesky.py",
    "folder": "tests/data/test_folder.py",
    "node": "tests/data/test_node.py",
    "reddit": "tests/data/test_reddit.py",
    "ws_json": "tests/data/test_ws_json.py",
    "x": "tests/data/test_x_stream.py",
}
"""Sources that aren't asked by plain HTTP: the file of tests that puts the same faults to them."""

ASKED = [name for name in SOURCES if name not in OWN_TESTS]
FAULTS = [*HTTP_FAULTS, "drifted"]
ASKED_AGAIN = 8
"""A feed that has asked so often since the fault goes on by itself."""


def world_of(name: str) -> World:
    """A fresh world of a source."""
    made: World = importlib.import_module(f"tests.sources.{name}").make()
    return made


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_card_says_all(source: Source) -> None:
    """Kinds, quality, rate, cost and terms are stated; every option says what it means, and no secret has a default."""
    card = source.card
    assert card.kinds and set(card.kinds) <= set(KINDS)
    assert card.history == "" or card.history in QUALITIES
    assert card.live or card.history
    assert 0 < card.per_minute <= 6000 and card.cost >= 0 and card.lag_ns >= 0
    assert card.terms.url.startswith("https://") and card.terms.note
    assert issubclass(source.options, Options)
    for name, field in source.options.model_fields.items():
        assert field.description, f"{card.name}.{name} doesn't say what it means"
    for name in card.keys:
        assert not source.options.model_fields[name].default, f"{card.name}.{name} is a secret with a default"


def test_each_source_has_a_world_or_tests_of_its_own() -> None:
    """No source comes without its faults being played."""
    from pathlib import Path

    for name in SOURCES:
        if name in OWN_TESTS:
            assert (Path(__file__).parents[2] / OWN_TESTS[name]).is_file(), name
        else:
            assert world_of(name).name == name


@pytest.mark.parametrize("name", [name for name in ASKED if SOURCES[name].card.live])
def test_brings_what_is_published_once_and_goes_on_after_a_restart(name: str) -> None:
    """First what there is, then what comes; after a restart with the kept cursor nothing is lost."""

    async def work() -> None:
        world, taken = world_of(name), Taken()
        async with serving(world.handler) as server:
            given: dict[str, Any] = {"clock": world.clock, "secrets": world.secrets, "coins": world.coins}
            async with opened(name, world.options(server.url), **given) as feed, streaming(feed, taken):
                await taken.wait(len(world.expected()))
                assert _same(taken.items, world.expected())
                world.publish()
                await taken.wait(len(world.expected()))
            memory = next((dict(batch.cursor) for batch in reversed(taken.batches) if batch.cursor is not None), {})
            world.publish()
            wanted = len(_new(world.expected(), taken.items))
            again = Taken()
            async with opened(name, world.options(server.url), memory=memory, **given) as feed, streaming(feed, again):
                await again.wait(wanted)
            assert _same([*taken.items, *again.items], world.expected(), twice=True)

    asyncio.run(work())


@pytest.mark.parametrize("name", [name for name in ASKED if SOURCES[name].card.live])
def test_what_arrives_is_known_when_it_arrived(name: str, tmp_path: Any) -> None:
    """`known_ns` is our clock at the arrival of the answer: never before it, never before the event."""

    async def work() -> None:
        world, taken = world_of(name), Taken()
        before = world.clock.ns
        async with serving(world.handler) as server:
            given: dict[str, Any] = {"clock": world.clock, "secrets": world.secrets, "coins": world.coins}
            async with opened(name, world.options(server.url), **given) as feed, streaming(feed, taken):
                await taken.wait(len(world.expected()))
        after = world.clock.ns
        found = intake(SOURCES[name].card, taken.batches, ingested_ns=world.clock.now_ns())
        store = Store(tmp_path)
        assert found.count
        for kind, table in found.facts.items():
            store.append(kind, table)
            facts = to_facts(kind, store.table(kind))
            assert facts
            for fact in facts:
                assert fact.quality == "recorded"
                assert max(before, fact.event_ns) <= fact.known_ns
                assert fact.known_ns <= max(after, fact.event_ns)

    asyncio.run(work())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [name for name in ASKED if SOURCES[name].card.live])
def test_a_fault_has_a_name_and_loses_nothing(name: str, fault: str) -> None:
    """Whatever the source answers: a FeedError or things set apart, never a crash; then all of it is brought."""

    async def work() -> None:
        world, taken = world_of(name), Taken()
        async with serving(world.handler) as server:
            given: dict[str, Any] = {"clock": world.clock, "secrets": world.secrets, "coins": world.coins}
            async with opened(name, world.options(server.url), **given) as feed:
                error = await _meet(feed, fault, server, world, taken)
                if fault in ("429-seconds", "429-date"):
                    assert error is not None and error.pause_s >= PAUSE_S and not error.final
                if error is not None and fault not in ("drifted", "wrong-shape"):
                    assert not error.final
                for reference in world.secrets.values():
                    assert reference not in str(error)
                good = [item for item in taken.items if not isinstance(item, Spoilt)]
                assert _same(good, world.expected(), part=True)
                async with streaming(feed, taken):
                    await _until(lambda: _has_all(taken.items, world.expected()))

    asyncio.run(work())


@pytest.mark.parametrize("name", [name for name in ASKED if SOURCES[name].card.history])
def test_history_comes_whole_and_says_when_it_was_known(name: str, tmp_path: Any) -> None:
    """All of a span and nothing else; a second fetch adds nothing; `known_ns` is the source's or the card's lag."""

    async def work() -> None:
        world, taken = world_of(name), Taken()
        assert world.span is not None and world.history is not None
        async with serving(world.handler) as server:
            given: dict[str, Any] = {"clock": world.clock, "secrets": world.secrets, "coins": world.coins}
            async with opened(name, world.options(server.url), store=Store(tmp_path), **given) as feed:
                done: list[tuple[float, float]] = []
                await feed.fetch(world.span, taken, lambda part, whole: done.append((part, whole)))
                assert done and done[-1][0] == done[-1][1]
        assert _same(taken.items, world.history())
        assert all(batch.history for batch in taken.batches)
        card = SOURCES[name].card
        found = intake(card, taken.batches, ingested_ns=world.clock.now_ns())
        store = Store(tmp_path)
        for kind, table in found.facts.items():
            added = store.append(kind, table)
            assert added.added > 0 and store.append(kind, table).added == 0
            for row in store.table(kind).to_pylist():
                assert row["quality"] != "recorded" and row["known_ns"] >= row["event_ns"]

    asyncio.run(work())


@pytest.mark.parametrize("name", [name for name in ASKED if not SOURCES[name].card.history])
def test_without_history_fetch_says_so(name: str) -> None:
    """A source that keeps none says so, with what to do instead."""

    async def work() -> None:
        world = world_of(name)
        given: dict[str, Any] = {"clock": world.clock, "secrets": world.secrets, "coins": world.coins}
        async with opened(name, world.options("http://127.0.0.1:9"), **given) as feed:
            with pytest.raises(InputError, match="record"):
                await feed.fetch((0, 1), Taken(), lambda part, whole: None)

    asyncio.run(work())


async def _meet(feed: Any, fault: str, server: Any, world: World, taken: Taken) -> FeedError | None:
    """Stream into one fault: what it raised, or None when the feed went on by itself."""
    if fault == "drifted":
        healthy, server.handler = server.handler, world.drifted
    else:
        server.script.append(fault)
    before = len(server.asked)
    async with streaming(feed, taken) as task:
        with contextlib.suppress(TimeoutError):  # a slow answer goes on, and so does a feed that set things apart
            async with asyncio.timeout(0.3 if fault == "slow-loris" else 5.0):
                while not task.done() and (fault == "slow-loris" or len(server.asked) < before + ASKED_AGAIN):
                    await asyncio.sleep(0.002)
        if fault == "drifted":
            server.handler = healthy
        if not task.done():
            return None
        error = task.exception()
        assert isinstance(error, FeedError), f"{fault}: {error!r}"
        return error


async def _until(true: Any, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.005)


def _key(item: Item) -> Any:
    if isinstance(item, Reading):
        return (item.name, item.coin, item.event_ns, repr(item.value))
    if isinstance(item, Written):
        return (item.key, item.event_ns, item.text)
    return item


def _same(items: Any, wanted: Any, *, twice: bool = False, part: bool = False) -> bool:
    """The same things; in `twice`, some may come twice; in `part`, some may be absent."""
    found, asked = [_key(item) for item in items], [_key(item) for item in wanted]
    if not twice and len(set(map(str, found))) != len(found):
        return False
    there, all_of = set(map(str, found)), set(map(str, asked))
    return there <= all_of if part else there == all_of


def _has_all(items: Any, wanted: Any) -> bool:
    return {str(_key(item)) for item in wanted} <= {str(_key(item)) for item in items}


def _new(wanted: Any, items: Any) -> list[Any]:
    known = {str(_key(item)) for item in items}
    return [item for item in wanted if str(_key(item)) not in known]
