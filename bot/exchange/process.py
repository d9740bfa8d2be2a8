"""The exchange process: holds the key, takes typed intents over a Unix socket, tells what came of them.

Start it by `python -m bot.exchange.process DOCUMENT`, or with the document as one line on its standard input: then it
ends when that closes, that is, when the one who started it is gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import logging
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bot.exchange.ccxt_account import CcxtAccount
from bot.exchange.clerk import Clerk
from bot.exchange.codec import WireError, decode, encode
from bot.exchange.keys import Key, find_key
from bot.exchange.link import LOG, Link
from bot.exchange.once import Once
from bot.exchange.redact import Redaction, clean_streams, install, redact, redact_bytes
from bot.exchange.settings import Settings, read_settings
from bot.exchange.streams import Private, Times
from bot.exchange.wire import Alarm, Done, Failed, Hello, Message, NotSent, Place, StreamState, Unknown
from bot.hang_up import hang_up
from data.errors import InputError, TidegateError

SOCKET, LEDGER, LOCK = "exchange.sock", "exchange.sqlite", "exchange.lock"
LINE_MAX = 1 << 20
WAITING_MAX = 4 << 20
TASKS_MAX = 256
HELLO_S = 10.0
LOCK_S = 20.0
END_S = 15.0
PRICE_EVERY_S, CLOCK_EVERY_S = 15.0, 300.0
NOBODY = "00000000"


class Peer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.task = asyncio.current_task()
        self.hello: Hello | None = None

    def say(self, number: int, message: Message) -> None:
        """Send one line; who doesn't read is dropped, and has to ask anew."""
        if self.writer.transport.is_closing():
            return
        self.writer.write(redact_bytes(encode(number, _clean(message))))
        if self.writer.transport.get_write_buffer_size() > WAITING_MAX:
            LOG.warning("a client doesn't read; hanging up")
            self.writer.transport.abort()


class Process:
    """The server and what runs beside it."""

    def __init__(self, settings: Settings, key: Key, times: Times | None = None) -> None:
        self.settings, self._key, self._times = settings, key, times or Times()
        self.link = Link(settings, key, self.push)
        self.once = Once(settings.folder / LEDGER)
        self.account = CcxtAccount(settings, self.link, self.push, self.once.client_of)
        self.clerk = Clerk(settings, self.account, self.once, self.push, self._times.now_ns)
        self._peers: set[Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beside: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._state: StreamState | None = None

    async def start(self) -> None:
        """Open the socket; from then on intents are taken.

        Raises
        ------
        InputError
            The socket's path is longer than the system allows.
        """
        path = self.settings.folder / SOCKET
        if len(os.fsencode(path)) > 100:
            raise InputError("the path of the socket is too long", where=path, remedy="Use a shorter var folder")
        path.unlink(missing_ok=True)
        self.link.open()
        mask = os.umask(0o117 if self.settings.peers else 0o177)  # to its group, where others are named
        try:
            self._server = await asyncio.start_unix_server(self._met, path, limit=LINE_MAX)
        except BaseException:
            await self.link.close()
            raise
        finally:
            os.umask(mask)
        self._beside = [asyncio.create_task(self._kept(one)) for one in (self._streaming, self._prices, self._clocks)]

    async def stop(self) -> None:
        """Take nothing more; finish what is on its way; close. Once is enough."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        (self.settings.folder / SOCKET).unlink(missing_ok=True)
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=END_S)
            for task in (*self._beside, *self._tasks):
                task.cancel()
            await asyncio.gather(*self._beside, *self._tasks, return_exceptions=True)
            peers = list(self._peers)
            await asyncio.gather(*(hang_up(one.writer) for one in peers))
            await asyncio.gather(*(one.task for one in peers if one.task is not None), return_exceptions=True)
            await server.wait_closed()
        finally:
            await self.link.close()
            self.once.close()

    def push(self, message: Message) -> None:
        """Tell all who watch."""
        if isinstance(message, StreamState):
            self._state = message
        for peer in list(self._peers):
            if peer.hello is not None and peer.hello.watch:
                peer.say(0, message)

    # --- beside the server --------------------------------------------------------------------------------------------
    async def _kept(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it for good: what fails by a fault of ours is told, and begun anew."""
        while True:
            try:
                await work()
            except Exception as error:
                LOG.exception("%s failed", work.__name__)
                self.push(StreamState(up=False, text=f"{type(error).__name__}"))
                self.push(Alarm(kind="stream", text=f"{work.__name__} failed: {redact(error)[:200]}"))
            await asyncio.sleep(1.0)

    async def _streaming(self) -> None:
        while (failed := await self.clerk.ready()) is not None:
            self.push(StreamState(up=False, text=failed.text))
            await asyncio.sleep(max(2.0, (failed.until_ns - time.time_ns()) / 1e9))
        polling = self.clerk.polling
        polling.poll_s = self._times.poll_s
        if not self.settings.streams or not _streams(self.settings.exchange):
            polling.is_streaming = lambda: False
            self.push(StreamState(up=True, text=f"no stream: asking every {polling.poll_s:g} s"))
            await polling.run()
            return
        private = Private(self.account, self._key, self.push, self._times)
        polling.is_streaming = lambda: private.up
        async with asyncio.TaskGroup() as group:
            group.create_task(private.run())
            group.create_task(polling.run())

    async def _prices(self) -> None:
        while await self.clerk.ready() is not None:
            await asyncio.sleep(2.0)
        while True:
            for symbol in self.settings.symbols:
                await self.clerk.reference.refresh(symbol)
            await asyncio.sleep(PRICE_EVERY_S)

    async def _clocks(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            await self.account.clock()

    # --- connections --------------------------------------------------------------------------------------------------
    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        one = Peer(reader, writer)
        self._peers.add(one)
        try:
            if peer(writer.get_extra_info("socket"))[1] not in (os.getuid(), *self.settings.peers):
                LOG.warning("a connection of another user was refused")
                return
            await self._talk(one)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it hung up or is silent, perhaps in the middle of a line: a half line is no intent
        except (ValueError, asyncio.LimitOverrunError):
            one.say(0, Failed(text="a line is too long"))
        finally:
            self._peers.discard(one)
            await hang_up(writer)

    async def _talk(self, peer: Peer) -> None:
        async with asyncio.timeout(HELLO_S) as patience:
            while True:
                line = await peer.reader.readuntil(b"\n")
                patience.reschedule(None)
                try:
                    number, message = decode(line)
                except WireError as error:
                    peer.say(0, Failed(text=str(error)))
                    return
                if peer.hello is None or isinstance(message, Hello):
                    if not self._greeted(peer, number, message):
                        return
                    continue
                if len(self._tasks) >= TASKS_MAX:
                    peer.say(number, _too_many(message))
                    continue
                self._begin(self._answered(peer, number, message))

    def _greeted(self, peer: Peer, number: int, message: Message) -> bool:
        if not isinstance(message, Hello):
            peer.say(number, Failed(text="the first line has to be Hello"))
            return False
        if message.bot not in (self.settings.bot_id, NOBODY) or not _is_session(message.session):
            peer.say(number, Failed(text="this exchange process belongs to another bot"))
            return False
        peer.hello = message
        peer.say(number, Done())
        if message.watch and self._state is not None:
            peer.say(0, self._state)
        return True

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that goes on when its connection ends: an order on its way is never cut off."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answered(self, peer: Peer, number: int, message: Message) -> None:
        assert peer.hello is not None
        began_ns = time.time_ns()
        try:
            answer = await self.clerk.answer(message, peer.hello.session)
        except Exception as error:  # a fault of ours: said, logged, and for an order nobody knows what became of it
            LOG.exception("%s failed", type(message).__name__)
            text = redact(f"{type(error).__name__}: {error}")
            answer = Unknown(text=text, sent_ns=began_ns) if isinstance(message, Place) else Failed(text=text)
        peer.say(number, answer)


def peer(sock: Any) -> tuple[int, int]:
    """Process and user at the other end of a Unix socket."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid), int(uid)


def _is_session(text: str) -> bool:
    return len(text) == 8 and set(text) <= set("0123456789abcdef")


def _too_many(message: Message) -> Message:
    text = "too many intents at once"
    if isinstance(message, Place):
        return NotSent(text=text)
    return Failed(text=text)


def _clean(message: Message) -> Message:
    """The message with its free text redacted."""
    return replace(message, text=redact(message.text)) if _has_text(message) else message  # type: ignore[call-arg, attr-defined]


def _has_text(message: Message) -> bool:
    return any(one.name == "text" for one in fields(message))


def _streams(exchange: str) -> bool:
    import ccxt.pro

    return exchange in ccxt.pro.exchanges


# --- the start of the process -----------------------------------------------------------------------------------------
def harden() -> None:
    """No core dump, and no other process of this user may look into this one's memory or environment."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def lock_folder(folder: Path, patience_s: float = LOCK_S) -> int:
    """Hold the folder's exchange lock; an earlier process may still be finishing.

    Raises
    ------
    InputError
        Another exchange process serves this folder.
    """
    handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(handle)
                raise InputError("another exchange process serves this folder", where=folder) from None
            time.sleep(0.05)


async def serve(settings: Settings, key: Key, ends: asyncio.Event | None = None, starter: int | None = None) -> None:
    """Serve until a signal, `ends`, or the end of the starter's pipe (a file descriptor)."""
    over = ends or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if starter is not None:
        os.set_blocking(starter, False)
        loop.add_reader(starter, lambda: over.set() if _is_over(starter) else None)
    process = Process(settings, key)
    try:
        await process.start()
        LOG.info("exchange process %s: %s, key from %s", os.getpid(), settings.exchange, key.origin)
        await over.wait()
    finally:
        if starter is not None:
            loop.remove_reader(starter)
        await process.stop()


def _is_over(handle: int) -> bool:
    try:
        return os.read(handle, 4096) == b""
    except BlockingIOError:
        return False


def _document(arguments: list[str]) -> tuple[str, int | None]:
    if arguments:
        return Path(arguments[0]).read_text(encoding="utf-8"), None
    return sys.stdin.buffer.readline().decode(), sys.stdin.fileno()


def main(arguments: list[str]) -> int:
    """Run the process; the exit code is that of the command line's table."""
    os.umask(0o077)
    install()
    clean_streams()
    harden()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Redaction())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=os.environ.get("TIDEGATE_LOG", "INFO").upper(), handlers=[handler])
    try:
        text, starter = _document(arguments)
        settings = read_settings(text)
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_folder(settings.folder)
        key = find_key(settings.key_name, settings.key_file)
        asyncio.run(serve(settings, key, starter=starter))
    except TidegateError as error:
        LOG.error("%s", error)
        return error.exit_code
    except OSError as error:
        LOG.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
