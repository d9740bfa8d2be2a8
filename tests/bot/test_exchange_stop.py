"""The exchange process begins and ends whole: also where it can't begin, is cut short, or nobody reads what it says."""

import asyncio
import shutil
import socket
from pathlib import Path

import pytest

from bot.exchange.codec import encode
from bot.exchange.keys import Key
from bot.exchange.process import SOCKET, Process
from bot.exchange.wire import Alarm, Hello
from tests.bot.exchange_worlds import BOT, SESSION, activate, settings_of, world
from tests.venue.server import API_KEY, SECRET


def test_a_socket_that_cant_be_opened(tmp_path: Path) -> None:
    """The process says why and leaves no session to the venue behind."""
    settings = settings_of(activate(tmp_path / "s"), {"rest": "http://127.0.0.1:1"})

    async def start() -> None:
        process = Process(settings, Key(API_KEY, SECRET, None, "a test"))
        shutil.rmtree(tmp_path / "s")
        with pytest.raises(FileNotFoundError):
            await process.start()
        assert process.link.api.session is None
        process.once.close()

    asyncio.run(start())


def test_a_stop_that_is_cut_short(tmp_path: Path) -> None:
    """Who is cancelled while something is still on its way closes the session to the venue all the same."""

    async def cut() -> None:
        async with world(tmp_path) as w:
            w.process._tasks.add(asyncio.create_task(asyncio.sleep(60)))
            stopping = asyncio.create_task(w.process.stop())
            await asyncio.sleep(0.05)
            assert not stopping.done()
            stopping.cancel()
            await asyncio.wait([stopping])
            assert stopping.cancelled()
            assert w.process.link.api.session is None

    asyncio.run(cut())


def test_a_stop_beside_a_client_that_has_stopped_reading(tmp_path: Path) -> None:
    """It loses what it didn't read; the process ends."""

    async def story() -> None:
        async with world(tmp_path) as w:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck:
                await asyncio.to_thread(stuck.connect, str(w.folder / SOCKET))
                stuck.sendall(encode(1, Hello(bot=BOT, session=SESSION, watch=True)))
                async with asyncio.timeout(5):
                    while sum(one.hello is not None and one.hello.watch for one in w.process._peers) < 2:
                        await asyncio.sleep(0.01)
                for _ in range(5000):
                    w.process.push(Alarm(kind="many", text="x" * 100))
                await asyncio.wait_for(w.process.stop(), 10)
                assert not w.process._peers

    asyncio.run(story())
