"""The generic WebSocket source: what is said to it, what its messages mean, what it costs, and all its faults."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from data.errors import InputError
from data.feed import FeedError, Gone, Item, Spoilt, Tools, Written
from data.http import Http
from data.intake_feed import to_facts
from data.sources.ws_json import CARD, STRANGE_MAX, WsJson, WsJsonOptions
from data.spend import Spending
from data.times import SECOND_NS
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming
from tests.sources.ws_server import PAUSE_S, SAID, STUCK, WS_FAULTS, WsServer, repeat, ws_serving

KEY = "k3y-of-the-vendor"
POSTS: dict[str, Any] = {
    "name": "vendor", "kind": "posts", "items": "data", "key": "id", "time": "at", "unit": "s", "text": "say",
    "deleted": "gone", "silence": 5.0,
}  # fmt: skip


def row(at: int, say: str = "btc") -> dict[str, Any]:
    """A post as the vendor sends it."""
    return {"id": at, "at": NOW_NS // SECOND_NS - 100 + at, "say": f"{say} {at}"}


def post(at: int, say: str = "btc") -> tuple[str, int, str]:
    """What it means."""
    return str(at), NOW_NS - (100 - at) * SECOND_NS, f"{say} {at}"


def told(items: list[Item]) -> list[tuple[str, int, str]]:
    """The posts among some items."""
    return [(item.key, item.event_ns, item.text) for item in items if isinstance(item, Written)]


def run(talk: Any, work: Callable[[WsServer], Awaitable[Any]]) -> Any:
    """Do the work beside a server."""

    async def whole() -> Any:
        async with ws_serving(talk) as server:
            return await work(server)

    return asyncio.run(whole())


def feed(server: WsServer, clock: StepClock | None = None, *, purse: Any = None, **more: Any) -> Any:
    """The source, pointed at the local server."""
    options = {**POSTS, "url": f"{server.url}/live", **more}
    return opened("ws_json", options, clock=clock or StepClock(), secrets={"env:KEY": KEY}, purse=purse)


async def three(connection: ServerConnection) -> None:
    """A healthy vendor: out of order, one thing twice, one edited, one deleted; heartbeats between them."""
    messages = [
        {"type": "hello"}, {"data": [row(2), row(1)]}, {"type": "beat"}, {"data": [row(2)]},
        {"data": {**row(1), "say": "edited 1"}}, {"data": {"id": 2, "gone": True}},
    ]  # fmt: skip
    await repeat(connection, messages)


def test_posts_come_as_they_are_sent_and_are_known_when_they_came() -> None:
    """In their order, with edits and deletions; messages without items are only counted."""

    async def work(server: WsServer) -> None:
        clock, taken = StepClock(), Taken()
        async with feed(server, clock) as source, streaming(source, taken):
            items = await taken.wait(5)
            async with asyncio.timeout(5):
                while source.health().get("items") != 5:
                    await asyncio.sleep(0.005)
            assert source.health()["without_items"] == 2
        assert told(items) == [post(2), post(1), post(2), post(1, "edited")]
        assert items[4] == Gone("2")
        facts = to_facts(CARD, taken.batches, ingested_ns=clock.now_ns())
        for fact in facts.facts["posts"].to_pylist():
            assert fact["source"] == "vendor" and NOW_NS < fact["known_ns"] <= clock.ns
        assert facts.gone == {"vendor": ["2"]}

    run(three, work)


def test_subscribing_and_keeping_alive() -> None:
    """What is said when the line is open, with secrets in their places, and again and again where that is asked."""
    said: list[str] = []

    async def vendor(connection: ServerConnection) -> None:
        async for message in connection:
            said.append(str(message))
            await connection.send("pong" if message == "ping" else '{"type": "ok"}')
            if said.count("ping") == 2:
                await connection.send('{"data": [{"id": 1, "at": 1759999901, "say": "btc 1"}]}')

    async def work(server: WsServer) -> None:
        given = {
            "subscribe": ["LOGIN {key}", {"op": "subscribe", "auth": {"key": "{key}"}}], "secrets": {"key": "env:KEY"},
            "headers": {"Authorization": "Bearer {key}"}, "params": {"token": "{key}"}, "ignore": ["pong"],
            "keepalive": "ping", "keepalive_every": 0.05,
        }  # fmt: skip
        taken = Taken()
        async with feed(server, **given) as source, streaming(source, taken):
            assert told(await taken.wait(1)) == [post(1)]
        assert said[:2] == [f"LOGIN {KEY}", f'{{"op": "subscribe", "auth": {{"key": "{KEY}"}}}}']
        assert server.asked == [f"/live?token={KEY}"]
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"

    run(vendor, work)


def test_a_refusal_ends_the_line_with_its_words() -> None:
    """Cleaned, on one line, without the key."""

    async def vendor(connection: ServerConnection) -> None:
        await repeat(connection, [{"error": {"code": 7}, "data": []}, {"error": None, "data": [row(1)]}])

    async def wordy(connection: ServerConnection) -> None:
        await repeat(connection, [{"error": f"\x1b[2Jno such key {KEY}\nat all"}])

    async def work(server: WsServer) -> str:
        with pytest.raises(FeedError) as caught:
            async with feed(server, error_path="error", secrets={"key": "env:KEY"}) as source:
                await source.stream(Taken())
        return str(caught.value)

    assert "refused" in run(vendor, work)
    text = run(wordy, work)
    assert text.endswith("refused: [2Jno such key *** at all") and KEY not in text


def test_only_some_messages_hold_items() -> None:
    """Told apart by what lies at a path."""

    async def vendor(connection: ServerConnection) -> None:
        await repeat(connection, [{"type": "old", "data": [row(1)]}, {"type": "new", "data": [row(2)]}])

    async def work(server: WsServer) -> None:
        taken = Taken()
        async with feed(server, only_path="type", only_value="new") as source, streaming(source, taken):
            assert told(await taken.wait(1)) == [post(2)]

    run(vendor, work)


@pytest.mark.parametrize("fault", [fault for fault in WS_FAULTS if fault != "slow-loris"])  # 15 s; see test_ws.py
def test_a_fault_has_a_name_and_the_next_line_is_healthy(fault: str) -> None:
    """A FeedError, or a message that is set apart or left; then what the vendor sends."""

    async def work(server: WsServer) -> None:
        server.script.append(fault)
        taken = Taken()
        async with feed(server, silence=0.8 if fault in STUCK else 10.0) as source:
            if fault not in SAID:
                with pytest.raises(FeedError) as caught:
                    await source.stream(taken)
                asked_for = fault.startswith("429") or fault in ("503-seconds", "close-1013")
                assert (caught.value.pause_s >= PAUSE_S) is asked_for and caught.value.final is (fault == "401")
                assert not taken.items
            async with streaming(source, taken):
                async with asyncio.timeout(5):
                    while Gone("2") not in taken.items:
                        await asyncio.sleep(0.005)
        bad = [item for item in taken.items if isinstance(item, Spoilt)]
        assert len(bad) == (0 if fault not in SAID or fault == "wrong-shape" else 1), bad

    run(three, work)


def test_items_that_are_not_as_declared_are_set_apart_until_it_is_too_much() -> None:
    """A changed vendor ends the line, instead of filling the disk."""

    async def vendor(connection: ServerConnection) -> None:
        await repeat(connection, [{"data": [{"uid": at}]} for at in range(STRANGE_MAX + 30)])

    async def work(server: WsServer) -> None:
        taken = Taken()
        async with feed(server) as source:
            with pytest.raises(FeedError, match="in a row"):
                await source.stream(taken)
        assert len(taken.items) == STRANGE_MAX and all(isinstance(item, Spoilt) for item in taken.items)

    run(vendor, work)


def test_a_paid_line_stops_at_its_cap(tmp_path: Path) -> None:
    """Each item is booked before it is handed over; at the cap the line isn't even opened."""

    async def vendor(connection: ServerConnection) -> None:
        for at in range(9):
            await connection.send(f'{{"data": [{{"id": {at}, "at": 1759999901, "say": "btc"}}]}}')
            await asyncio.sleep(0.02)
        await connection.wait_closed()

    async def work(server: WsServer) -> None:
        cost = Decimal("0.01")
        purse = Spending(tmp_path, cost=cost, cap_day=Decimal("0.05"), cap_month=Decimal(9), lease_items=1)
        taken = Taken()
        async with feed(server, cost=cost, purse=purse) as source:
            for _ in range(2):
                with pytest.raises(FeedError) as caught:
                    await source.stream(taken)
                assert caught.value.final
        assert len(taken.items) == 5 and len(server.asked) == 1
        tools = Tools(clock=StepClock(), http=Http(StepClock()), rng=random.Random(1))
        with pytest.raises(InputError, match="purse"):
            WsJson(WsJsonOptions(**{**POSTS, "url": server.url, "cost": cost}), tools)

    run(vendor, work)


@pytest.mark.parametrize(
    ("more", "key"), [({"only_value": "x"}, "only_value"), ({"error_path": "a..b"}, "error_path"), ({"key": ""}, "key")]
)
def test_options_are_checked(more: dict[str, Any], key: str) -> None:
    """When the configuration is read, with the key; no history is promised."""
    with pytest.raises(InputError) as caught:
        WsJsonOptions(**{**POSTS, "url": "wss://vendor.example/", **more})
    assert caught.value.key == key

    async def work(server: WsServer) -> None:
        async with feed(server) as source:
            with pytest.raises(InputError, match="record"):
                await source.fetch((0, 1), Taken(), lambda part, whole: None)

    run(three, work)
