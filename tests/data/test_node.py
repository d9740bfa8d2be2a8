"""The JSON-RPC node, through unmodified web3 against a local chain: reorganisations, faults, pages of logs, history."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from aiohttp import web

from data.errors import InputError
from data.facts import to_facts as facts_of
from data.feed import FeedError, Reading
from data.intake_feed import to_facts
from data.json_rpc import load_provider
from data.sources import all_sources
from data.store import Store
from data.times import SECOND_NS
from tests.sources.ledger import BLOCK_S, GENESIS_S, OPTIONS, Ledger
from tests.sources.server import HTTP_FAULTS, PAUSE_S, Server, serving
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming

pytestmark = pytest.mark.skipif(find_spec("web3") is None, reason="web3, of the extra 'node', isn't installed")
CARD = all_sources()["node"].card
HEAD = 100
SETTLED = HEAD - OPTIONS["confirmations"]
Use = Callable[[Any, Ledger, Server], Awaitable[None]]


@pytest.fixture(scope="module", autouse=True)
def web3_loaded() -> None:
    """Once, as it takes seconds; web3 has to leave the interpreter as it was, or deep JSON ends the process."""
    limit = sys.getrecursionlimit()
    load_provider()
    assert sys.getrecursionlimit() == limit


def chain(count: int = HEAD + 1) -> Ledger:
    """A chain of so many blocks."""
    ledger = Ledger()
    ledger.mine(count)
    return ledger


@asynccontextmanager
async def feeding(ledger: Ledger, **more: Any) -> Any:
    """A feed of a local chain, and its server."""
    kept = {name: more.pop(name) for name in ("memory", "store", "secrets") if name in more}
    async with serving(ledger.handler) as server:
        options = {**OPTIONS, "endpoint": f"{server.url}/v3/kEyInPaTh", **more}
        async with opened("node", options, clock=StepClock(), **kept) as feed:
            yield feed, server


def same(items: Any, wanted: Any) -> bool:
    """Equal but for order and times of knowing."""

    def plain(many: Any) -> list[Any]:
        return sorted((item.event_ns, item.coin, item.name, item.value) for item in many)

    return plain(items) == plain(wanted)


def cursor_of(taken: Taken) -> dict[str, Any]:
    """What the last batch left behind."""
    return dict(taken.batches[-1].cursor or {})


async def until(true: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def test_follows_the_chain_by_confirmed_blocks_and_goes_on_after_a_restart(tmp_path: Any) -> None:
    """Each block once, from the newest that is deep enough; known when it arrived."""

    async def work() -> None:
        ledger, taken, again = chain(), Taken(), Taken()
        async with feeding(ledger) as (feed, _), streaming(feed, taken):
            await taken.wait(6)
            assert same(taken.items, ledger.items(SETTLED, SETTLED))
            ledger.mine(25)
            await taken.wait(26 * 6)
            await until(lambda: feed.health()["next"] == SETTLED + 26)
            assert feed.health()["reorgs"] == 0
        ledger.mine(5)
        async with feeding(ledger, memory=cursor_of(taken)) as (feed, _), streaming(feed, again):
            await again.wait(5 * 6)
        assert same([*taken.items, *again.items], ledger.items(SETTLED, SETTLED + 30))
        found = to_facts(CARD, taken.batches, ingested_ns=NOW_NS + 10 * SECOND_NS)
        store = Store(tmp_path)
        store.append("metrics", found.facts["metrics"])
        for fact in facts_of("metrics", store.table("metrics")):
            assert fact.quality == "recorded" and fact.known_ns >= max(fact.event_ns, NOW_NS)

    asyncio.run(work())


def test_a_turn_within_the_confirmations_is_not_seen() -> None:
    """What wasn't a fact can't be wrong."""

    async def work() -> None:
        ledger, taken = chain(), Taken()
        async with feeding(ledger) as (feed, _), streaming(feed, taken):
            await taken.wait(6)
            ledger.turn(3, 6)
            await taken.wait(4 * 6)
            assert same(taken.items, ledger.items(SETTLED, SETTLED + 3)) and feed.health()["reorgs"] == 0

    asyncio.run(work())


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("pause_s", [BLOCK_S, BLOCK_S + 7])
def test_a_deeper_turn_becomes_revisions(tmp_path: Any, pause_s: int, restart: bool) -> None:
    """Blocks since the fork come again; times that no longer have a block hold 0; both are counted."""

    async def work() -> None:
        ledger, taken = chain(), Taken()
        async with feeding(ledger) as (feed, _), streaming(feed, taken):
            await taken.wait(6)
            ledger.mine(6)
            await taken.wait(7 * 6)
            before = taken
            if not restart:
                gone = ledger.turn(8, 9, pause_s=pause_s)
                await until(lambda: feed.health()["reorgs"] == 1 and feed.health()["next"] == SETTLED + 8)
                assert feed.health()["reorged_blocks"] == 5
        if restart:
            gone = ledger.turn(8, 9, pause_s=pause_s)
            after = Taken()
            async with feeding(ledger, memory=cursor_of(before)) as (feed, _), streaming(feed, after):
                await until(lambda: feed.health()["reorgs"] == 1 and feed.health()["next"] == SETTLED + 8)
            before.batches += after.batches
        store = Store(tmp_path)
        for batch in before.batches:
            found = to_facts(CARD, [batch], ingested_ns=batch.arrived_ns)
            assert not found.rejects
            store.append("metrics", found.facts["metrics"])
        latest = {}
        for row in store.table("metrics").to_pylist():
            latest[row["event_ns"], row["coin"], row["name"]] = row["value"]
        wanted: dict[Any, float] = {}
        for block in gone[:5]:
            wanted |= {(item.event_ns, item.coin, item.name): 0.0 for item in block.items()}
        for item in ledger.items(SETTLED, SETTLED + 7):
            wanted[item.event_ns, item.coin, item.name] = item.value
        assert latest == wanted
        assert any(row["revision"] > 0 for row in store.table("metrics").to_pylist())

    asyncio.run(work())


def test_a_turn_beyond_memory_is_followed_as_well() -> None:
    """All that is remembered is taken back, and the chain is followed from there."""

    async def work() -> None:
        ledger, taken = chain(), Taken()
        async with feeding(ledger, remembered=2) as (feed, _), streaming(feed, taken):
            await taken.wait(6)
            ledger.mine(6)
            await taken.wait(7 * 6)
            ledger.turn(9, 10)
            await until(lambda: feed.health()["next"] == SETTLED + 8)
            assert feed.health()["reorgs"] == 1 and feed.health()["reorged_blocks"] == 2
            assert same(taken.items[7 * 6 :], ledger.items(SETTLED + 5, SETTLED + 7))

    asyncio.run(work())


@pytest.mark.parametrize("fault", HTTP_FAULTS)
def test_a_fault_has_a_name_and_loses_nothing(fault: str) -> None:
    """Whatever the server says at whatever call: a FeedError without the key, and afterwards every block."""

    async def work() -> None:
        ledger, taken = chain(), Taken()
        patience_s = 1.0 if fault == "slow-loris" else 6.0  # a busy machine takes its time for healthy answers
        async with feeding(ledger, timeout=patience_s) as (feed, server):
            for calls in (0, 3):  # the first call of all, and one in the middle of a block
                server.script.extend([*([""] * calls), fault])
                with pytest.raises(FeedError) as caught:
                    async with asyncio.timeout(8):
                        await feed.stream(taken)
                assert "kEyInPaTh" not in str(caught.value) and not caught.value.final
                if fault in ("429-seconds", "429-date"):
                    assert caught.value.pause_s >= PAUSE_S
            async with streaming(feed, taken):
                await taken.wait(6)
                ledger.mine(3)
                await taken.wait(4 * 6)
        assert same(taken.items, ledger.items(SETTLED, SETTLED + 3))

    asyncio.run(work())


@pytest.mark.parametrize(
    ("method", "odd"),
    [
        ("eth_blockNumber", {"result": 100}),
        ("eth_blockNumber", {"result": "0x" + "f" * 65}),
        ("eth_blockNumber", {"ok": True}),
        ("eth_getBlockByNumber", {"result": None}),
        ("eth_getBlockByNumber", {"result": ["0x1"]}),
        ("eth_getBlockByNumber", {"result": {"number": "0x5"}}),
        ("eth_getLogs", {"result": None}),
        ("eth_getLogs", {"result": [{"blockNumber": "0x1"}]}),
        ("eth_getLogs", {"error": {"code": -32005, "message": "query returned more than 10000 results"}}),
        ("eth_getTransactionReceipt", {"result": None}),
        ("eth_getTransactionReceipt", {"error": "no"}),
    ],
)
def test_wrong_shapes_make_no_sum(method: str, odd: dict[str, Any]) -> None:
    """An answer that can't be read is an error; a sum without it would be wrong."""

    async def work() -> None:
        ledger, taken = chain(), Taken()
        async with feeding(ledger) as (feed, _):
            ledger.odd[method] = odd
            with pytest.raises(FeedError):
                async with asyncio.timeout(8):
                    await feed.stream(taken)
            assert not taken.items
            ledger.odd.clear()
            async with streaming(feed, taken):
                await taken.wait(6)
        assert same(taken.items, ledger.items(SETTLED, SETTLED))

    asyncio.run(work())


@pytest.mark.parametrize(
    ("odd", "final", "pause_s"),
    [
        ({"eth_chainId": {"result": "0x89"}}, True, 0.0),
        ({"eth_chainId": {"error": {"code": -32005, "message": "project rate limit exceeded"}}}, False, 10.0),
        ({"eth_chainId": {"error": {"code": -32601, "message": "the method does not exist"}}}, True, 0.0),
        ({"eth_chainId": {"error": {"code": -32000, "message": "header not found"}}}, False, 0.0),
    ],
)
def test_errors_say_what_to_do(odd: dict[str, Any], final: bool, pause_s: float) -> None:
    """Another chain, a limit, a method that isn't there, a node that is behind."""

    async def work() -> None:
        ledger = chain()
        async with feeding(ledger) as (feed, _):
            ledger.odd.update(odd)
            with pytest.raises(FeedError) as caught:
                await feed.stream(Taken())
            assert (caught.value.final, caught.value.pause_s) == (final, pause_s)

    asyncio.run(work())


def test_a_redirect_is_not_followed() -> None:
    """Nothing that the node says leads anywhere else."""

    async def work() -> None:
        visited = []

        async def elsewhere(request: web.Request) -> web.Response:
            visited.append(request.path)
            return web.Response(status=302, headers={"Location": "/private"})

        async with feeding(chain()) as (feed, server):
            server.handler = elsewhere
            with pytest.raises(FeedError):
                await feed.stream(Taken())
        assert visited == ["/v3/kEyInPaTh"]

    asyncio.run(work())


@pytest.mark.parametrize("span_max", [1, 3])
def test_history_halves_questions_for_logs_and_goes_on_where_it_was(tmp_path: Any, span_max: int) -> None:
    """Twice interrupted, equal to the chain; known when blocks were deep enough; stored ones aren't read again."""

    class PulledError(Exception):
        """Somebody pulls the plug."""

    async def work() -> None:
        ledger, store = chain(), Store(tmp_path)
        ledger.span_max = span_max
        span = ((GENESIS_S + 20 * BLOCK_S - 5) * SECOND_NS, (GENESIS_S + 38 * BLOCK_S) * SECOND_NS)
        reads = []
        for pulled in (True, True, False):
            taken = Taken()

            async def take(batch: Any, taken: Taken = taken, pulled: bool = pulled) -> None:
                if pulled and taken.batches:
                    raise PulledError
                found = to_facts(CARD, [batch], ingested_ns=batch.arrived_ns)
                store.append("metrics", found.facts["metrics"])
                await taken(batch)

            ledger.asked.clear()
            done: list[tuple[float, float]] = []
            async with feeding(ledger, store=store, chunk=5) as (feed, _):
                try:
                    await feed.fetch(span, take, lambda part, whole, done=done: done.append((part, whole)))
                except PulledError:
                    assert pulled
            reads.append(ledger.asked.count("eth_getTransactionReceipt"))
            assert done
        assert done[-1][0] == done[-1][1] and reads[2] < reads[0]  # eight blocks, not ten
        rows = store.table("metrics").to_pylist()
        found = [Reading(row["name"], row["coin"], row["event_ns"], row["value"]) for row in rows]
        assert same(found, ledger.items(20, 37))
        assert {row["known_ns"] - row["event_ns"] for row in rows} == {3 * BLOCK_S * SECOND_NS}
        assert {row["quality"] for row in rows} == {"assumed_lag"}

    asyncio.run(work())


def test_a_node_that_is_behind_says_so() -> None:
    """What it has is taken; that the rest is absent is an error, not silence."""

    async def work() -> None:
        taken = Taken()
        end = (GENESIS_S + 5000 * BLOCK_S) * SECOND_NS
        async with feeding(chain(20)) as (feed, _):
            feed.tools.clock.advance(1000 * BLOCK_S)
            with pytest.raises(FeedError, match="is behind"):
                await feed.fetch(((GENESIS_S + 10 * BLOCK_S) * SECOND_NS, end), taken, lambda part, whole: None)
            feed.tools.clock.ns = (GENESIS_S + 30 * BLOCK_S) * SECOND_NS
            await feed.fetch(((GENESIS_S + 16 * BLOCK_S) * SECOND_NS, end), Taken(), lambda part, whole: None)
        assert same(taken.items, chain(20).items(10, 16))

    asyncio.run(work())


def test_what_is_wrong_with_the_options_is_named() -> None:
    """No address, no labels, nothing to watch; a reference is looked up and not shown."""

    async def work(word: str, **wrong: Any) -> None:
        with pytest.raises(InputError, match=word):
            async with feeding(chain(1), **wrong):
                pass

    asyncio.run(work("address of a node", endpoint=""))
    asyncio.run(work("address of a node", endpoint="file.ipc"))
    asyncio.run(work("address of a node", endpoint="env:URL", secrets={"env:URL": "sEcReT"}))
    asyncio.run(work("no labels", labels={}))
    asyncio.run(work("neither a coin", coin="", tokens={}))
