"""The control socket: who may ask, what comes back, and what a hung bot costs."""

import asyncio
import json
import os
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import bot.operate.control
from bot.operate.control import ControlServer, NoAnswer, NobodyThere, as_event, ask
from data.errors import InputError, RefusedError, UnreachableError, WorkError

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def serve(file: Path, handler: Handler, work: Callable[[], Any]) -> Any:
    """What `work` gives, in a thread beside a server."""

    async def main() -> Any:
        server = ControlServer(file, handler)
        await server.start()
        try:
            return await asyncio.to_thread(work)
        finally:
            await server.close()

    return asyncio.run(main())


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    """A handler that says what it was asked; it raises by name."""
    kinds = {"input": InputError, "refused": RefusedError, "unreachable": UnreachableError, "crash": ZeroDivisionError}
    if request["do"] in kinds:
        raise kinds[request["do"]]("told so")
    if request["do"] == "slow":
        await asyncio.sleep(5)
    return {"heard": request, "big": "x" * 300_000, "odd": float("nan")}


def test_question_and_answer(tmp_path: Path) -> None:
    """An answer comes back whole, however long; numbers that are no JSON as null."""
    file = tmp_path / "bot.sock"
    answer = serve(file, echo, lambda: ask(file, {"do": "status", "n": 1}, timeout_s=5))
    assert answer["heard"] == {"do": "status", "n": 1} and len(answer["big"]) == 300_000 and answer["odd"] is None
    assert not file.exists()


def test_errors_keep_their_kind(tmp_path: Path) -> None:
    """What the bot refuses comes out of `ask` with its words and exit code; a crash without its innards."""
    file = tmp_path / "bot.sock"

    def work() -> None:
        for do, kind in (("input", InputError), ("refused", RefusedError), ("unreachable", UnreachableError)):
            with pytest.raises(kind, match="told so"):
                ask(file, {"do": do}, timeout_s=5)
        with pytest.raises(WorkError, match="the bot failed on it: ZeroDivisionError"):
            ask(file, {"do": "crash"}, timeout_s=5)
        with pytest.raises(InputError, match="not a request"):
            ask(file, {"done": 1}, timeout_s=5)

    serve(file, echo, work)


def test_nobody_and_silence_are_told_apart(tmp_path: Path) -> None:
    """No listener: nothing was asked. A listener that doesn't answer: not known, and no longer than the time given."""
    file = tmp_path / "bot.sock"
    with pytest.raises(NobodyThere):
        ask(file, {"do": "status"}, timeout_s=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(file))
        with pytest.raises(NobodyThere):  # bound, nobody listens: the process died
            ask(file, {"do": "status"}, timeout_s=1)
        sock.listen(0)
        began = time.monotonic()
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
        for client in waiting:  # a hung bot's queue of connections is full
            client.setblocking(False)
            client.connect_ex(str(file))
        for _ in range(2):
            with pytest.raises(NoAnswer):
                ask(file, {"do": "status"}, timeout_s=0.2)
        assert time.monotonic() - began < 2
        for client in waiting:
            client.close()


def test_slow_answer_is_none(tmp_path: Path) -> None:
    """The time given is for all of it."""
    file = tmp_path / "bot.sock"

    def work() -> None:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="no answer in 0.2 s"):
            ask(file, {"do": "slow"}, timeout_s=0.2)
        assert time.monotonic() - began < 2

    serve(file, echo, work)


def test_only_its_own_user_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is 0600, and another user's process gets no answer even when it can connect."""
    file = tmp_path / "bot.sock"

    def mode() -> int:
        return stat.S_IMODE(file.stat().st_mode)

    assert serve(file, echo, mode) == 0o600
    monkeypatch.setattr(bot.operate.control, "_is_ours", lambda writer: False)

    def refused() -> None:
        with pytest.raises(NoAnswer):
            ask(file, {"do": "status"}, timeout_s=2)

    serve(file, echo, refused)


def test_the_kernel_says_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is read from the socket, not from what is said on it."""

    class Writer:
        uid = 4242

        def get_extra_info(self, name: str) -> "Writer":
            return self

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
            return struct.pack("3i", 1, self.uid, 1)

    writer = Writer()
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert not bot.operate.control._is_ours(writer)  # type: ignore[arg-type]
    writer.uid = 1000
    assert bot.operate.control._is_ours(writer)  # type: ignore[arg-type]


def test_a_left_socket_is_replaced_and_a_deep_folder_fits(tmp_path: Path) -> None:
    """A dead bot's socket is no obstacle, nor is a path of more than the kernel's 108 bytes."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    file = deep / "bot.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, bot.operate.control.address(file) as name:
        sock.bind(name)
    assert file.exists()
    assert serve(file, echo, lambda: ask(file, {"do": "status"}, timeout_s=5))["heard"]["do"] == "status"


def test_garbage_and_crowds_do_no_harm(tmp_path: Path) -> None:
    """Lines that are no JSON, endless lines and many idle connections leave the server answering."""
    file = tmp_path / "bot.sock"

    def work() -> dict[str, Any]:
        for line in (b"\xff\xfe\n", b"[]\n", b'{"do": 1}\n'):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.connect(str(file))
                sock.sendall(line)
                assert json.loads(sock.makefile().readline())["ok"] is False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(str(file))
            sock.settimeout(5)
            with pytest.raises(OSError):
                for _ in range(200):
                    sock.sendall(b"x" * 65536)
        return ask(file, {"do": "status"}, timeout_s=5)

    assert serve(file, echo, work)["heard"]["do"] == "status"


def test_closing_hangs_up(tmp_path: Path) -> None:
    """A connection that idles doesn't keep the bot from stopping."""
    file = tmp_path / "bot.sock"

    async def main() -> None:
        server = ControlServer(file, echo)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(file))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(server.close(), 2)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await server.close()

    asyncio.run(main())


def test_a_stop_beside_a_verb_that_has_stopped_reading(tmp_path: Path) -> None:
    """It loses its answer; the bot ends."""
    file = tmp_path / "bot.sock"

    async def main() -> None:
        server = ControlServer(file, echo)
        await server.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck:
            stuck.connect(str(file))
            stuck.sendall(b'{"do": "status"}\n' * 3)
            await asyncio.sleep(0.2)
            await asyncio.wait_for(server.close(), 10)
        assert not file.exists()

    asyncio.run(main())


def test_requests_become_events() -> None:
    """A request that lacks a person, reason or symbol, or asks for something else, becomes none."""
    told = {"person": "ann", "reason": "looks odd"}
    event = as_event({"do": "halt", **told, "flatten": True}, 7)
    assert (event.ns, event.act, event.person, event.reason, event.flatten) == (7, "halt", "ann", "looks odd", True)
    assert as_event({"do": "halt", **told, "flatten": "yes"}, 7).flatten is False
    assert as_event({"do": "close", **told, "symbol": "BTC/USDT"}, 7).symbol == "BTC/USDT"
    for bad in (
        {"do": "buy", **told},
        {"do": "resume", "person": "ann"},
        {"do": "close", **told},
        {"do": "halt", **told, "person": 1},
    ):
        with pytest.raises(InputError):
            as_event(bad, 7)
