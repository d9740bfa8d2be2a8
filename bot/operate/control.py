"""The bot's control socket: an operator's verbs ask, the running bot answers; one JSON line each way.

A request is {"do": "status" | "halt" | "resume" | "close" | "ping", ...}; an answer {"ok": true, "answer": {...}} or
{"ok": false, "error": text, "code": exit code}. Only the bot's own user (and root) is listened to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.hang_up import hang_up
from bot.terminal import clean
from data.errors import InputError, RefusedError, TidegateError, UnreachableError, WorkError

if TYPE_CHECKING:
    from bot.events import Operator

SOCKET_FILE = "bot.sock"
ANSWER_MAX = 16 << 20
REQUEST_MAX = 1 << 16
CONNECTIONS_MAX = 16
IDLE_S = 30.0
ADDRESS_MAX = 100
LOG = logging.getLogger("tidegate.control")
Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
_ERRORS: dict[int, Callable[[str], TidegateError]] = {2: InputError, 3: RefusedError, 4: UnreachableError}


class NobodyThere(UnreachableError):
    """No process listens at the socket: nothing was asked."""


class NoAnswer(UnreachableError):
    """It was asked, and no answer came in time: whether it was done isn't known."""


class ControlServer:
    """The running bot's side. One handler answers everything; its errors become answers."""

    def __init__(self, file: Path, handler: Handler) -> None:
        self.file, self._handler = file, handler
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket that an earlier process left is replaced: hold the instance lock when you call this.

        Raises
        ------
        OSError
            The socket can't be made.
        """
        with contextlib.suppress(FileNotFoundError):
            self.file.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(sock.fileno(), 0o600)  # before it has a name: no moment at which others may connect
            with address(self.file) as name:
                sock.bind(name)
            os.chmod(self.file, 0o600)
            self._inode = self.file.stat().st_ino
            self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=REQUEST_MAX)
        except BaseException:
            sock.close()
            raise

    async def close(self) -> None:
        """Stop listening and hang up on everybody."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await server.wait_closed()
        with contextlib.suppress(OSError):
            if self.file.stat().st_ino == self._inode:
                self.file.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) <= CONNECTIONS_MAX and _is_ours(writer):
                while line := await _line_of(reader):
                    writer.write(await self._answer(line))
                    async with asyncio.timeout(IDLE_S):
                        await writer.drain()
        except (TimeoutError, ConnectionError, ValueError, asyncio.CancelledError):
            pass  # it hung up, was silent, said too long a line, or we stop: either way this connection ends
        finally:
            self._open.discard(task)
            await hang_up(writer)

    async def _answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or not isinstance(request.get("do"), str):
                raise InputError("not a request")
            answer = {"ok": True, "answer": await self._handler(request)}
            return json.dumps(clean(answer), default=str).encode() + b"\n"
        except TidegateError as error:
            refusal = {"ok": False, "error": str(error), "code": error.exit_code}
        except Exception as error:
            LOG.exception("a request of the operator failed")
            refusal = {"ok": False, "error": f"the bot failed on it: {type(error).__name__}", "code": 1}
        return json.dumps(refusal).encode() + b"\n"


def ask(file: Path, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """The running bot's answer; `timeout_s` is for all of it.

    Raises
    ------
    NobodyThere
        No bot listens.
    NoAnswer
        It doesn't answer in time, or hung up.
    TidegateError
        The bot refused or failed: its own words, with the exit code it gave.
    """
    until = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _connect(sock, file, timeout_s)
        try:
            sock.sendall(json.dumps(request).encode() + b"\n")
            raw = _line(sock, until)
            answer = json.loads(raw)
            ok = answer["ok"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoAnswer(f"{file}: no answer in {timeout_s:g} s ({error or type(error).__name__})") from None
    if ok is not True:
        raise _ERRORS.get(int(answer.get("code", 1)), WorkError)(str(answer.get("error")))
    found = answer.get("answer")
    return found if isinstance(found, dict) else {}


async def _line_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(IDLE_S):
        return await reader.readline()


def as_event(request: dict[str, Any], ns: int) -> Operator:
    """The operator's event that a request asks for, checked.

    Raises
    ------
    InputError
        It isn't halt, resume or close, or person, reason or symbol is missing.
    """
    from bot.events import Operator

    act = request.get("do")
    if act not in ("halt", "resume", "close"):
        raise InputError("not something an operator does to a bot", key="do", value=act)
    texts = {name: request.get(name) for name in ("person", "reason", *(["symbol"] if act == "close" else []))}
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{act} needs a {name}", key=name)
    return Operator(ns=ns, act=act, flatten=act == "halt" and request.get("flatten") is True, **texts)  # type: ignore[arg-type]


@contextlib.contextmanager
def address(file: Path) -> Iterator[str]:
    """A name of the socket that fits into the kernel's 108 bytes, however deep its folder lies."""
    if len(os.fsencode(file)) <= ADDRESS_MAX:
        yield str(file)
        return
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{file.name}"
    finally:
        os.close(handle)


def _connect(sock: socket.socket, file: Path, timeout_s: float) -> None:
    sock.settimeout(timeout_s)
    try:
        with address(file) as name:
            sock.connect(name)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise NobodyThere(f"{file}: no bot listens") from None
    except (TimeoutError, BlockingIOError):
        raise NoAnswer(f"{file}: a bot is there and takes no more questions") from None
    except OSError as error:
        raise NoAnswer(f"{file}: can't be asked ({error.strerror})") from None


def _line(sock: socket.socket, until: float) -> bytes:
    raw = bytearray()
    while not raw.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it is silent")
        sock.settimeout(left)
        piece = sock.recv(1 << 16)
        if not piece:
            raise ConnectionError("it hung up")
        raw += piece
        if len(raw) > ANSWER_MAX:
            raise ValueError("the answer has no end")
    return bytes(raw)


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    sock = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid in (0, os.getuid()):
        return True
    LOG.warning("a process of user %d tried the control socket and was turned away", uid)
    return False
