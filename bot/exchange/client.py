"""The bot's end of the exchange process: a transport over its socket, and how it is started without its key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from bot.exchange.codec import WireError, decode, encode
from bot.exchange.keys import environment_names
from bot.exchange.process import LINE_MAX, SOCKET, peer
from bot.exchange.wire import Alarm, Failed, Hello, Message, StreamState
from bot.hang_up import hang_up
from bot.ports import NotConnected
from data.errors import UnreachableError

READY_S = 45.0
RETRY_S = (0.05, 2.0)
PUSHES_MAX = 10_000
HELLO_S = 10.0


class SocketTransport:
    """Implements `bot.ports.Transport` over the exchange process's Unix socket; connects again by itself.

    Each reconnect is told as `StreamState(up=False)` when the connection ends; the process tells the stream's state
    when it is back. An intent is never sent twice: one whose connection ended before the answer raises ConnectionError.
    """

    def __init__(
        self, file: Path, *, bot_id: str, session: str, watch: bool = True, process_uid: int | None = None
    ) -> None:
        """`process_uid` is the user of the exchange process, where it isn't this one's."""
        self.file, self._uid = file, os.getuid() if process_uid is None else process_uid
        self._hello = Hello(bot=bot_id, session=session, watch=watch)
        self._writer: asyncio.StreamWriter | None = None
        self._number = 0
        self._lines: list[bytes] = []  # on their way into the socket
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._pushes: asyncio.Queue[Message | None] = asyncio.Queue(PUSHES_MAX)
        self._keeper: asyncio.Task[None] | None = None
        self._closed = self._was_up = False
        self._up = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether an intent would leave now."""
        return self._up.is_set()

    async def connect(self, *, timeout_s: float = READY_S) -> None:
        """Connect, and keep connected from now on.

        Raises
        ------
        UnreachableError
            No process answered in time, it isn't our user's, or it belongs to another bot.
        """
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        wait = asyncio.create_task(self._up.wait())
        done, _ = await asyncio.wait({wait, self._keeper}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        wait.cancel()
        if self._keeper in done:
            self._keeper.result()
        if not self._up.is_set():
            raise UnreachableError(f"{self.file}: no exchange process answers")

    async def ask(self, message: Message, *, timeout_s: float) -> Message:
        """The answer to one intent or question.

        Raises
        ------
        NotConnected
            Nothing was written.
        ConnectionError
            The process went before it answered: what became of the intent isn't known.
        TimeoutError
            No answer came in time; one that comes later is dropped.
        """
        writer = self._writer
        if writer is None or not self._up.is_set() or writer.transport.is_closing():
            raise NotConnected("the exchange process isn't there")
        self._number += 1
        number, future = self._number, asyncio.get_running_loop().create_future()
        line = encode(number, message)
        self._waiting[number] = future
        try:
            self._write(line)
            async with asyncio.timeout(timeout_s):
                answer: Message = await future
                return answer
        finally:
            self._waiting.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()

    def _write(self, line: bytes) -> None:
        """Orders of one decision leave in one write: the process then makes them durable by one sync."""
        self._lines.append(line)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._writer is not None and lines:
            self._writer.write(b"".join(lines))

    async def pushes(self) -> AsyncIterator[Message]:
        """What the process tells of itself, until `close`."""
        while True:
            message = await self._pushes.get()
            if message is None:
                return
            yield message

    async def close(self) -> None:
        """Hang up."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._drop("closed by us")
        self._tell(None)

    async def _keep(self) -> None:
        retry_s = RETRY_S[0]
        while not self._closed:
            try:
                reader, writer = await asyncio.open_unix_connection(self.file, limit=16 * LINE_MAX)
            except OSError:
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_S[1])
                continue
            self._writer = writer
            try:
                if peer(writer.get_extra_info("socket"))[1] != self._uid:
                    raise UnreachableError(f"{self.file}: the process behind it is another user's")
                await self._listen(reader, writer)
                text = "it hung up"
            except (OSError, WireError, ValueError, asyncio.IncompleteReadError) as error:
                text = f"{type(error).__name__}: {error}"
            except UnreachableError as error:
                if not self._was_up:
                    raise
                text = str(error)
            finally:
                was_up, self._was_up = self._up.is_set(), self._was_up or self._up.is_set()
                await self._drop("the exchange process hung up")
            if was_up:
                retry_s = RETRY_S[0]
                self._tell(StreamState(up=False, text=f"the exchange process: {text}"))
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_S[1])

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        hello = self._number
        writer.write(encode(hello, self._hello))
        async with asyncio.timeout(HELLO_S) as patience:
            while True:
                number, message = decode(await reader.readuntil(b"\n"))
                if number == hello:
                    if isinstance(message, Failed):
                        raise UnreachableError(f"{self.file}: {message.text}")
                    patience.reschedule(None)
                    self._up.set()
                elif number == 0:
                    self._tell(message)
                else:
                    future = self._waiting.get(number)
                    if future is not None and not future.done():
                        future.set_result(message)

    async def _drop(self, text: str) -> None:
        self._up.clear()
        writer, self._writer = self._writer, None
        self._lines.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(text))
        if writer is not None:
            await hang_up(writer)

    def _tell(self, message: Message | None) -> None:
        if self._pushes.full():
            # Nobody reads: what was lost has to be read again from the venue, so that is what is said.
            while not self._pushes.empty():
                self._pushes.get_nowait()
            self._pushes.put_nowait(StreamState(up=False, text="pushes were lost: nobody read them"))
            self._pushes.put_nowait(Alarm(kind="pushes", text=f"{PUSHES_MAX} messages of the venue were lost unread"))
        self._pushes.put_nowait(message)


class ExchangeProcess:
    """A started exchange process. It ends when `close` is called, or when the starter ends."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process, self.folder = process, folder

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.folder / SOCKET

    @property
    def exit_code(self) -> int | None:
        """None while it runs. The bot decides what a dead one means; it isn't started again by itself."""
        return self.process.poll()

    def close(self, patience_s: float = 20.0) -> None:
        """Let it finish what is on its way, and end it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spawn_exchange(
    document: Mapping[str, Any],
    *,
    log_file: Path | None = None,
    ready_s: float = READY_S,
    environment: Mapping[str, str] | None = None,
) -> ExchangeProcess:
    """Start the exchange process and wait for its socket. The key is read there, never here.

    Where the key is in the environment it is handed on and removed from this process's own: a second start then
    needs it set again. The other sources have no such trouble.

    Parameters
    ----------
    document : mapping
        See `bot.exchange.settings`.
    log_file : Path, optional
        Where what it prints is appended, mode 0600; left out: this process's standard error.
    ready_s : float
        How long its socket is waited for, in seconds.
    environment : mapping, optional
        Of the new process; left out: this one's.

    Raises
    ------
    UnreachableError
        It ended at once (no key, a wrong document), or isn't ready in time.
    """
    folder = Path(document["folder"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = dict(os.environ if environment is None else environment)
    for name in environment_names(str((document.get("key") or {}).get("name") or "default")):
        os.environ.pop(name, None)
    output = None
    if log_file is not None:
        output = os.open(log_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    root = str(Path(__file__).resolve().parents[2])
    given["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [given.get("PYTHONPATH")])])
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot.exchange.process"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=given,
            start_new_session=True,  # a Ctrl-C at the bot isn't one at the exchange process
        )
    finally:
        if output is not None:
            os.close(output)
    assert process.stdin is not None
    started = ExchangeProcess(process, folder)
    try:
        process.stdin.write(json.dumps(document).encode() + b"\n")
        process.stdin.flush()
        _await_socket(started, ready_s, log_file)
    except BaseException:
        started.close(2.0)
        raise
    return started


def _await_socket(started: ExchangeProcess, ready_s: float, log_file: Path | None) -> None:
    until = time.monotonic() + ready_s
    where = "" if log_file is None else f"; see {log_file}"
    while True:
        code = started.exit_code
        if code is not None:
            raise UnreachableError(f"the exchange process ended at once with code {code}{where}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
            sock.connect(str(started.socket))
            if peer(sock)[0] == started.process.pid:  # not an earlier one that is still finishing
                return
        if time.monotonic() > until:
            raise UnreachableError(f"the exchange process isn't ready after {ready_s:g} s{where}")
        time.sleep(0.02)
