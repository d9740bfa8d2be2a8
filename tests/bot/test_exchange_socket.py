"""The socket between bot and exchange process: garbage, half lines, wrong peers, two clients, slow ones, restarts."""

import asyncio
import contextlib
import json
import os
import signal
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bot.exchange import client as client_module
from bot.exchange import process as process_module
from bot.exchange.client import SocketTransport, spawn_exchange
from bot.exchange.codec import decode, encode
from bot.exchange.process import SOCKET
from bot.exchange.wire import (
    Accepted,
    Alarm,
    Balances,
    Done,
    Failed,
    Hello,
    Message,
    NotSent,
    OrderSeen,
    Ping,
    StreamState,
)
from bot.ports import NotConnected
from data.errors import UnreachableError
from tests.bot.exchange_worlds import (
    BOT,
    MONEY,
    PRICES,
    SESSION,
    World,
    activate,
    document,
    order,
    urls_of,
    world,
)
from tests.venue.faults import Fault
from tests.venue.server import API_KEY, SECRET, LocalVenue

HELLO = encode(1, Hello(bot=BOT, session=SESSION, watch=False))


def play(folder: Path, story: Callable[[World], Awaitable[None]]) -> None:
    """One story in one world."""

    async def run() -> None:
        async with world(folder) as there:
            await story(there)

    asyncio.run(run())


class Raw:
    """A connection without manners."""

    def __init__(self, there: World) -> None:
        self.file = there.folder / SOCKET

    async def __aenter__(self) -> "Raw":
        self.reader, self.writer = await asyncio.open_unix_connection(self.file)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def say(self, line: bytes) -> None:
        """Write bytes."""
        self.writer.write(line)
        await self.writer.drain()

    async def hear(self) -> tuple[int, Message]:
        """One answer."""
        async with asyncio.timeout(3):
            return decode(await self.reader.readuntil(b"\n"))

    async def is_over(self) -> bool:
        """Whether the other end hung up."""
        async with asyncio.timeout(3):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


def test_who_may_talk(tmp_path: Path) -> None:
    """The socket is its user's alone; the first line says who speaks; another bot is sent away."""

    async def story(there: World) -> None:
        assert stat.S_IMODE((there.folder / SOCKET).stat().st_mode) == 0o600
        for first in (Ping(), Hello(bot="ffffffff", session=SESSION), Hello(bot=BOT, session="x")):
            async with Raw(there) as raw:
                await raw.say(encode(7, first))
                number, answer = await raw.hear()
                assert number == 7 and isinstance(answer, Failed) and await raw.is_over()
        async with Raw(there) as raw:
            await raw.say(encode(1, Hello(bot="00000000", session="00000000")) + encode(2, Ping()))
            assert await raw.hear() == (1, Done())

    play(tmp_path, story)


def test_another_user_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells who is at the other end."""

    async def story(there: World) -> None:
        monkeypatch.setattr(process_module, "peer", lambda sock: (1, os.getuid() + 1))
        async with Raw(there) as raw:
            await raw.say(HELLO)
            assert await raw.is_over()
        monkeypatch.undo()
        monkeypatch.setattr(client_module, "peer", lambda sock: (1, os.getuid() + 1))
        other = SocketTransport(there.folder / SOCKET, bot_id=BOT, session=SESSION)
        with pytest.raises(UnreachableError, match="another user's"):
            await other.connect(timeout_s=3)
        await other.close()

    play(tmp_path, story)


def test_a_process_of_its_own_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users that the document names may talk to it; its socket is then its group's, too."""

    async def run() -> None:
        async with world(tmp_path, peers=[os.getuid() + 1]) as there:
            assert stat.S_IMODE((there.folder / SOCKET).stat().st_mode) == 0o660
            for uid, welcome in ((os.getuid() + 1, True), (os.getuid() + 2, False)):
                monkeypatch.setattr(process_module, "peer", lambda sock, one=uid: (1, one))
                async with Raw(there) as raw:
                    await raw.say(HELLO)
                    assert (await raw.hear() == (1, Done())) if welcome else await raw.is_over()

    asyncio.run(run())


@pytest.mark.parametrize(
    "line",
    [b"garbage\n", b"{}\n", b'{"id":1,"is":"Nothing"}\n', b'{"id":1,"is":"Place"}\n', b"\xff\xfe\n", b"\n",
     b'{"id":5,"is":"Ping","more":1}\n', b'{"id":"x","is":"Ping"}\n', b'{"id":true,"is":"Cancel","symbol":1}\n'],
)  # fmt: skip
def test_garbage_lines(tmp_path: Path, line: bytes) -> None:
    """Who speaks another language is told so and hung up on; the others don't notice."""

    async def story(there: World) -> None:
        async with Raw(there) as raw:
            await raw.say(HELLO)
            await raw.hear()
            await raw.say(line)
            number, answer = await raw.hear()
            assert number == 0 and isinstance(answer, Failed) and await raw.is_over()
        assert await there.ask(Ping()) == Done()

    play(tmp_path, story)


def test_half_and_endless_lines(tmp_path: Path) -> None:
    """Half an order is none; a line without end is cut off."""

    async def story(there: World) -> None:
        whole = encode(2, order(1))
        async with Raw(there) as raw:
            await raw.say(HELLO + whole[: len(whole) // 2])
            await raw.hear()
        await asyncio.sleep(0.05)
        assert not there.stands(1)
        async with Raw(there) as raw:
            with contextlib.suppress(ConnectionError):
                await raw.say(HELLO + b"x" * (3 << 20))
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await raw.hear()
                await raw.hear()
            assert await raw.is_over()
        async with Raw(there) as raw:  # in two pieces, and two in one piece
            await raw.say(HELLO + whole[:30])
            await asyncio.sleep(0.02)
            await raw.say(whole[30:] + encode(3, Ping()))
            answers = dict([await raw.hear() for _ in range(3)])
            assert isinstance(answers[2], Accepted) and answers[3] == Done()
        assert await there.ask(Ping()) == Done() and len(there.stands(1)) == 1

    play(tmp_path, story)


def test_two_clients(tmp_path: Path) -> None:
    """Each gets its own answers; both hear the pushes; a slow question holds nobody up."""

    async def story(there: World) -> None:
        second = SocketTransport(there.folder / SOCKET, bot_id=BOT, session="33334444")
        await second.connect(timeout_s=3)
        await there.ask(Balances())
        there.venue.faults.add(Fault("delay", label="account", seconds=0.3))
        slow = asyncio.create_task(there.ask(Balances()))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(0.2):
            assert await second.ask(Ping(), timeout_s=1) == Done()
        there.process.push(Alarm(kind="test", text="both"))
        for one in (there.client, second):
            async with asyncio.timeout(2):
                pushes = one.pushes()
                while not isinstance(push := await anext(pushes), Alarm):
                    assert isinstance(push, (StreamState, OrderSeen))
            assert push.text == "both"
        assert type(await slow).__name__ == "BalancesAre"
        await second.close()

    play(tmp_path, story)


def test_a_client_that_doesnt_read_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unread lines don't fill the process's memory, and the others go on."""
    monkeypatch.setattr(process_module, "WAITING_MAX", 100_000)

    async def story(there: World) -> None:
        async with Raw(there) as raw:
            await raw.say(encode(1, Hello(bot=BOT, session=SESSION, watch=True)))
            await raw.hear()
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(200):
                there.process.push(Alarm(kind="test", text="a line that nobody reads " * 200))
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                while len(there.process._peers) > 1:
                    await asyncio.sleep(0.01)
        assert await there.ask(Ping()) == Done()

    play(tmp_path, story)


def test_too_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the room an order is said not to have been sent, and it wasn't."""
    monkeypatch.setattr(process_module, "TASKS_MAX", 2)

    async def story(there: World) -> None:
        await there.ask(Balances())
        there.venue.faults.add(Fault("delay", label="account", seconds=0.3, times=2))
        slow = [asyncio.create_task(there.ask(Balances())) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert isinstance(await there.ask(order(1)), NotSent) and isinstance(await there.ask(Ping()), Failed)
        await asyncio.gather(*slow)
        assert isinstance(await there.ask(order(1)), Accepted)

    play(tmp_path, story)


def test_the_transport_says_what_it_knows(tmp_path: Path) -> None:
    """Nothing written: NotConnected. Written and no answer in time: TimeoutError; a late answer is dropped."""

    async def story(there: World) -> None:
        lone = SocketTransport(tmp_path / "nobody.sock", bot_id=BOT, session=SESSION)
        with pytest.raises(NotConnected):
            await lone.ask(Ping(), timeout_s=1)
        with pytest.raises(UnreachableError):
            await lone.connect(timeout_s=0.1)
        await lone.close()
        await there.ask(Balances())
        there.venue.faults.add(Fault("delay", label="account", seconds=0.2))
        with pytest.raises(TimeoutError):
            await there.ask(Balances(), timeout_s=0.05)
        await asyncio.sleep(0.25)
        assert await there.ask(Ping()) == Done()
        there.venue.faults.add(Fault("timeout", label="account", seconds=5))
        asking = asyncio.create_task(there.ask(Balances()))
        await asyncio.sleep(0.05)
        await there.process.stop()
        answer = await asking  # it finished what was on its way
        assert isinstance(answer, Failed)
        async with asyncio.timeout(2):
            while there.client.connected:
                await asyncio.sleep(0.01)
        with pytest.raises(NotConnected):
            await there.ask(order(1))

    play(tmp_path, story)


def test_a_connection_that_ends_before_the_answer(tmp_path: Path) -> None:
    """What was written and not answered isn't known: a ConnectionError, and not NotConnected."""

    async def story(there: World) -> None:
        await there.ask(Balances())
        there.venue.faults.add(Fault("delay", label="account", seconds=0.3))
        asking = asyncio.create_task(there.ask(Balances()))
        await asyncio.sleep(0.05)
        for one in list(there.process._peers):
            one.writer.transport.abort()
        with pytest.raises(ConnectionError) as caught:
            await asking
        assert not isinstance(caught.value, NotConnected)
        async with asyncio.timeout(3):
            while not there.client.connected:
                await asyncio.sleep(0.01)
        assert await there.ask(Ping()) == Done()

    play(tmp_path, story)


def test_a_real_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started with its key from the environment; killed, the transport says so; started again, an old id is refused."""
    folder = activate(tmp_path / "s")
    names = {"TIDEGATE_TEST_KEY": API_KEY, "TIDEGATE_TEST_SECRET": SECRET}
    for name, value in names.items():
        monkeypatch.setenv(name, value)

    async def run() -> None:
        async with LocalVenue(balances=MONEY, prices=PRICES) as venue:
            given = document(folder, urls_of(venue))
            started = await asyncio.to_thread(spawn_exchange, given, log_file=tmp_path / "log", ready_s=20)
            assert not any(name in os.environ for name in names)
            client = SocketTransport(folder / SOCKET, bot_id=BOT, session=SESSION)
            await client.connect(timeout_s=5)
            assert isinstance(await client.ask(order(1), timeout_s=20), Accepted)
            with pytest.raises(UnreachableError, match="ended at once with code 2"):
                await asyncio.to_thread(spawn_exchange, {**given, "caps": {}}, log_file=tmp_path / "log2", ready_s=20)
            assert "caps" in (tmp_path / "log2").read_text()
            started.process.send_signal(signal.SIGKILL)
            pushes = client.pushes()
            async with asyncio.timeout(5):
                while True:
                    push = await anext(pushes)
                    if isinstance(push, StreamState) and not push.up:
                        break
            with pytest.raises(NotConnected):
                await client.ask(order(2), timeout_s=5)
            environment = {**os.environ, **names}
            await asyncio.to_thread(started.close)
            assert started.exit_code == -signal.SIGKILL
            started = await asyncio.to_thread(
                spawn_exchange, given, log_file=tmp_path / "log", ready_s=20, environment=environment
            )
            async with asyncio.timeout(5):
                while not client.connected:
                    await asyncio.sleep(0.02)
            answer = await client.ask(order(1), timeout_s=20)
            assert getattr(answer, "why", "") == "duplicate" and len(venue.orders(BOT)) == 1
            await client.close()
            await asyncio.to_thread(started.close)
            assert started.exit_code == 0 and not (folder / SOCKET).exists()

    asyncio.run(run())


def test_no_key_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start without a key ends at once, with exit code 2 and what to do."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    given = document(tmp_path / "s", {"rest": "http://127.0.0.1:1"}, key={"name": "nobody"})
    with pytest.raises(UnreachableError, match="code 2"):
        spawn_exchange(given, log_file=tmp_path / "log", ready_s=20)
    assert "no key was found" in (tmp_path / "log").read_text()
    assert json.dumps(given)
