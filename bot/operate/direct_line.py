"""A short talk with the exchange process, for those who stop a bot: start it when it isn't there, cancel, close out."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from bot.exchange.codec import WireError, decode, encode
from bot.exchange.wire import Failed, Hello, Message, Ping, Refused
from bot.operate.control import NoAnswer, NobodyThere, address
from data.errors import UnreachableError

EXCHANGE_SOCKET = "exchange.sock"
DOCUMENT_FILE = "exchange.json"  # what the exchange process is told at its start; no secret is in it
START_S = 45.0
PING_S = 5.0
LINE_MAX = 16 << 20
NOBODY = "00000000"
Spawn = Callable[[Path], "subprocess.Popen[bytes]"]


class Hangs(NoAnswer):
    """The exchange process is there and silent. `pid` is 0 when the kernel doesn't tell."""

    def __init__(self, text: str, pid: int) -> None:
        super().__init__(text)
        self.pid = pid


class DirectLine:
    """One connection to the exchange process."""

    def __init__(self, file: Path, *, bot_id: str, session: str) -> None:
        """Connect, say who we are, and see that it answers.

        Raises
        ------
        NobodyThere, Hangs, UnreachableError
            No process listens; it is silent; it doesn't want to talk.
        """
        self.file, self._rest, self._number = file, b"", 1
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.settimeout(PING_S)
            try:
                with address(file) as name:
                    self._sock.connect(name)
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                raise NobodyThere(f"{file}: no exchange process listens") from None
            except OSError as error:
                raise Hangs(f"{file}: the exchange process takes no talk ({error})", 0) from None
            self.pid = _peer(self._sock)
            self._hello = encode(self._number, Hello(bot=bot_id or NOBODY, session=session or NOBODY, watch=False))
            self._sock.sendall(self._hello)
            self.ask(Ping(), timeout_s=PING_S)
        except NoAnswer as error:
            self.close()
            raise Hangs(str(error), getattr(self, "pid", 0)) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DirectLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def ask(self, message: Message, *, timeout_s: float) -> Message:
        """The answer to one intent or question.

        Raises
        ------
        NoAnswer
            None came in time, or it hung up. What became of the intent isn't known.
        UnreachableError
            It doesn't want to talk to us.
        """
        self._number += 1
        until = time.monotonic() + timeout_s
        try:
            self._sock.sendall(encode(self._number, message))
            while True:
                number, answer = decode(self._line(until))
                if number == 1 and isinstance(answer, (Refused, Failed)):
                    raise UnreachableError(f"{self.file}: the exchange process doesn't talk to us: {answer.text}")
                if number == self._number:
                    return answer
        except (OSError, WireError) as error:
            asked = type(message).__name__
            raise NoAnswer(f"{self.file}: no answer to {asked} in {timeout_s:g} s ({error})") from None

    def _line(self, until: float) -> bytes:
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or len(self._rest) > LINE_MAX:
                raise TimeoutError("it is silent")
            self._sock.settimeout(left)
            piece = self._sock.recv(1 << 16)
            if not piece:
                raise ConnectionError("it hung up")
            self._rest += piece
        told, _, self._rest = self._rest.partition(b"\n")
        return told


@contextlib.contextmanager
def open_line(
    folder: Path,
    *,
    bot_id: str,
    session: str,
    spawn: Spawn | None,
    tell: Callable[[str], None],
    start_s: float = START_S,
) -> Iterator[DirectLine]:
    """The exchange process of an account, started when none runs, and ended again when it was started here.

    One that hangs is killed and started anew when `spawn` is given; else that is left to a person.

    Raises
    ------
    UnreachableError
        It isn't there and can't be started, or it hangs.
    """
    file, started = folder / EXCHANGE_SOCKET, None
    try:
        try:
            line = DirectLine(file, bot_id=bot_id, session=session)
        except (NobodyThere, Hangs) as error:
            if isinstance(error, Hangs):
                _end_hung(error, spawn, tell)
            if spawn is None:
                raise
            tell("no exchange process runs: starting one")
            started = spawn(folder)
            line = _wait_for(file, started, bot_id=bot_id, session=session, start_s=start_s)
        with line:
            yield line
    finally:
        if started is not None:
            end_process(started)


def end_process(process: subprocess.Popen[bytes], *, patience_s: float = 5.0) -> None:
    """Ask a process that we started to end; kill it when it doesn't."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def spawner(command: list[str]) -> Spawn:
    """Starts the exchange process by a command line, apart from our terminal; what it prints goes to a file."""

    def spawn(folder: Path) -> subprocess.Popen[bytes]:
        paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        try:
            with open(folder / "exchange.out", "ab") as out:
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=own
                )
        except OSError as error:
            raise UnreachableError(f"the exchange process can't be started: {error}") from None

    return spawn


def default_spawn(folder: Path) -> Spawn | None:
    """Starts the exchange process by the document that the bot left in the folder; None where there is none (paper)."""
    document = folder / DOCUMENT_FILE
    if not document.is_file():
        return None
    return spawner([sys.executable, "-m", "bot.exchange.process", str(document.resolve())])


def _wait_for(file: Path, started: subprocess.Popen[bytes], *, bot_id: str, session: str, start_s: float) -> DirectLine:
    until = time.monotonic() + start_s
    while True:
        try:
            return DirectLine(file, bot_id=bot_id, session=session)
        except (NobodyThere, Hangs) as error:
            code = started.poll()
            if code is not None:
                out = file.with_name("exchange.out")
                raise UnreachableError(f"the exchange process ended at once with code {code}; see {out}") from None
            if time.monotonic() > until:
                raise UnreachableError(f"the exchange process isn't ready after {start_s:g} s: {error}") from None
            time.sleep(0.05)


def _end_hung(error: Hangs, spawn: Spawn | None, tell: Callable[[str], None]) -> None:
    if spawn is None or not error.pid:
        by_hand = f"kill {error.pid}, then try again" if error.pid else "end it, then try again"
        raise UnreachableError(f"{error}: it hangs; {by_hand}") from None
    tell(f"the exchange process {error.pid} hangs: killing it")
    try:
        os.kill(error.pid, signal.SIGKILL)
    except OSError as refused:
        raise UnreachableError(f"the exchange process {error.pid} hangs and can't be killed: {refused}") from None


def _peer(sock: socket.socket) -> int:
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid if uid == os.getuid() else 0
