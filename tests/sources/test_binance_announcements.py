"""Binance's announcements: the signed line, what it brings, and all that can go wrong with it."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from data.errors import InputError
from data.feed import FeedError, Spoilt, Written
from data.intake_feed import to_facts as intake
from data.sources.binance_announcements import CARD, STRANGE_MAX, signed
from data.store import Store
from data.times import MILLISECOND_NS
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming
from tests.sources.ws_server import ENDED, PAUSE_S, REFUSED, SAID, WS_FAULTS, ws_serving

KEYS = {"env:KEY": "vmPUZE6mv9SD5VNHk4HlWFs", "env:SECRET": "NhqPtmdSJYdKjVHjA7PZj4M"}
STAMP_MS = NOW_NS // MILLISECOND_NS - 2_000


def announcement(number: int, **more: Any) -> dict[str, Any]:
    """A message as Binance documents it: the announcement is JSON inside of JSON."""
    told = {
        "catalogId": 48,
        "catalogName": "New Cryptocurrency Listing",
        "publishDate": STAMP_MS + number,
        "title": f"Binance Will List COIN{number}",
        "body": f"<p>Fellow Binancians,</p><p>COIN{number} &amp; more.</p>",
        "disclaimer": "Trade on-the-go",
        **more,
    }
    return {"type": "DATA", "topic": "com_announcement_en", "data": json.dumps(told)}


class Desk:
    """The local announcer: says what `publish` gave it, to every line, from then on."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    async def talk(self, connection: Any) -> None:
        """One line."""
        self.lines.append(connection)
        await connection.wait_closed()

    async def publish(self, *messages: Any) -> None:
        """Say something to the newest line, once there is one."""
        async with asyncio.timeout(5):
            while not self.lines or self.lines[-1].state.name != "OPEN":
                await asyncio.sleep(0.005)
        for message in messages:
            await self.lines[-1].send(message if isinstance(message, str | bytes) else json.dumps(message))


def run(work: Callable[[Desk, Any], Coroutine[Any, Any, Any]]) -> Any:
    """Do the work beside an announcer."""

    async def whole() -> Any:
        desk = Desk()
        async with ws_serving(desk.talk) as server:
            return await work(desk, server)

    return asyncio.run(whole())


def feed(server: Any, clock: StepClock | None = None, **options: Any) -> Any:
    """The source, pointed at the local server."""
    told = {"url": f"{server.url}/sapi/wss", "key": "env:KEY", "secret": "env:SECRET", **options}
    return opened("binance_announcements", told, clock=clock or StepClock(), secrets=KEYS)


def test_the_signature_is_the_documented_one() -> None:
    """The example of Binance's own page, with its example key."""
    secret = "Avqz4IQjoZSJOowMFSo3QZEd4ovfwLH7Kie8ZliTtP8ktDnqcX8bpCP7WluFtrfn"
    params = signed(secret, 1753244327210 * MILLISECOND_NS, "56724ac693184379ae23ffe5e910063c", "topic1")
    assert dict(params)["signature"] == "8346d214e0da7165a0093043395f67e08c63f61b5d6e25779d513c11450e691b"


def test_announcements_come_as_posts_known_at_their_arrival(tmp_path: Path) -> None:
    async def work(desk: Desk, server: Any) -> None:
        clock, taken = StepClock(), Taken()
        before = clock.ns
        async with feed(server, clock) as binance, streaming(binance, taken):
            await desk.publish(
                {"type": "COMMAND", "data": "SUCCESS", "subType": "SUBSCRIBE", "code": "00000000"}, announcement(1)
            )
            await taken.wait(1)
            await desk.publish(announcement(1, body="Delayed."), announcement(1, body="Postponed."), announcement(2))
            await taken.wait(3)
            async with asyncio.timeout(5):
                while binance.health()["messages"] < 5 or not any("Postponed" in str(item) for item in taken.items):
                    await asyncio.sleep(0.005)
        query = parse_qsl(server.asked[0].partition("?")[2])
        assert query[1] == ("topic", "com_announcement_en") and server.asked[0].startswith("/sapi/wss?random=")
        random, stamp_ms = dict(query)["random"], int(dict(query)["timestamp"])
        assert query == signed(KEYS["env:SECRET"], stamp_ms * MILLISECOND_NS, random)
        assert server.headers[0]["x-mbx-apikey"] == KEYS["env:KEY"]
        found = intake(CARD, taken.batches, ingested_ns=clock.now_ns())
        store = Store(tmp_path)
        added = store.append("posts", found.facts["posts"])
        assert not found.rejects and not added.quarantined
        rows = sorted(store.table("posts").to_pylist(), key=lambda row: (row["key"], row["revision"]))
        last = {row["key"]: row["text"] for row in rows}
        assert rows[0]["text"] == "Binance Will List COIN1\nFellow Binancians,\nCOIN1 & more."
        assert list(last.values()) == [
            "Binance Will List COIN1\nPostponed.",
            "Binance Will List COIN2\nFellow Binancians,\nCOIN2 & more.",
        ]
        for row in rows:
            assert (row["source"], row["author"]) == ("binance_announcements", "New Cryptocurrency Listing")
            assert row["event_ns"] <= before <= row["known_ns"] <= clock.ns and row["quality"] == "recorded"

    run(work)


def test_catalogues_are_chosen_and_bodies_left_out() -> None:
    async def work(desk: Desk, server: Any) -> None:
        taken = Taken()
        async with feed(server, catalogs=(161,), body=0) as binance, streaming(binance, taken):
            await desk.publish(announcement(1), announcement(2, catalogId=161, title="Notice of <b>Removal</b>"))
            [item] = await taken.wait(1)
        assert isinstance(item, Written) and item.text == "Notice of Removal"

    run(work)


@pytest.mark.parametrize("fault", WS_FAULTS)
def test_a_fault_has_a_name_and_the_next_line_brings_the_news(fault: str) -> None:
    """A FeedError or a message set apart, never a crash; and never a secret in a message."""

    async def work(desk: Desk, server: Any) -> None:
        taken = Taken()
        server.script.append(fault)
        async with feed(server) as binance:
            task = asyncio.create_task(binance.stream(taken))
            if fault in ("slow-loris", "half-frame", "no-pong"):
                async with asyncio.timeout(5):
                    while not server.asked or server.script:
                        await asyncio.sleep(0.005)
                task.cancel()
            elif fault in SAID:
                assert isinstance((await taken.wait(1))[0], Spoilt)
                task.cancel()
            [error] = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(error, FeedError | asyncio.CancelledError), repr(error)
            if fault in REFUSED:
                assert isinstance(error, FeedError) and error.final == (fault == "401")
            elif fault in ENDED and isinstance(error, FeedError):
                assert not error.final
            if fault in ("429-seconds", "429-date"):
                assert isinstance(error, FeedError) and error.pause_s >= PAUSE_S
            told = f"{error} {[item for item in taken.items if isinstance(item, Spoilt)]}"
            assert (
                not any(secret in told for secret in (*KEYS.values(), "signature=8", "s3cr3t-token"))
                or "close" in fault
            )
            assert not any(secret in told for secret in KEYS.values())
            async with streaming(binance, taken):
                await desk.publish(announcement(7))
                async with asyncio.timeout(5):
                    while not any(isinstance(item, Written) for item in taken.items):
                        await asyncio.sleep(0.005)

    run(work)


@pytest.mark.parametrize(
    "message",
    [
        announcement(1, publishDate="today"),
        announcement(1, publishDate=True),
        announcement(1, publishDate=-5),
        announcement(1, publishDate=10**30),
        announcement(1, title=""),
        announcement(1, title=None),
        {"type": "DATA", "topic": "com_announcement_en", "data": "[1]"},
        {"type": "DATA", "topic": "com_announcement_en", "data": "[" * 9_000},
        {"type": "DATA", "topic": "com_announcement_en"},
        {"type": "DATA", "topic": "another", "data": "{}"},
        {"type": "NEWS"},
        [1],
    ],
)
def test_what_is_not_as_documented_is_set_apart_and_ends_the_line_when_it_goes_on(message: Any) -> None:
    async def work(desk: Desk, server: Any) -> None:
        taken = Taken()
        async with feed(server) as binance, streaming(binance, taken) as task:
            await desk.publish(message, announcement(3))
            await taken.wait(2)
            assert [type(item) for item in taken.items] == [Spoilt, Written]
            await desk.publish(*[message] * STRANGE_MAX)
            with pytest.raises(FeedError, match="as Binance writes"):
                await asyncio.wait_for(task, 5)

    run(work)


def test_a_refused_subscription_ends_the_line() -> None:
    async def work(desk: Desk, server: Any) -> None:
        async with feed(server) as binance, streaming(binance, Taken()) as task:
            await desk.publish({"type": "COMMAND", "data": "INVALID TOPIC", "subType": "SUBSCRIBE", "code": "10000001"})
            with pytest.raises(FeedError, match="INVALID TOPIC"):
                await asyncio.wait_for(task, 5)

    run(work)


def test_without_a_key_it_says_what_is_missing_and_it_has_no_history() -> None:
    async def work(desk: Desk, server: Any) -> None:
        with pytest.raises(InputError, match="without a key"):
            async with feed(server, key=""):
                pass
        async with feed(server) as binance:
            with pytest.raises(InputError, match="record"):
                await binance.fetch((0, 1), Taken(), lambda done, whole: None)

    run(work)
