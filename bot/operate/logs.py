"""Structured logs: JSON lines in a file that rotates, and a readable form on stderr; nothing secret in either.

A logger never waits for a disk: records go through a bounded queue to one thread that writes them. What doesn't fit
is dropped and counted, and the count is logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

LOG_FILE = "log.jsonl"
FILE_MAX = 10_000_000
FILES = 10
QUEUE_MAX = 20_000
NAME = "tidegate"
_USUAL = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "session", "seq"}
_kept: list[str] = []


@dataclass
class Context:
    """What every record is stamped with: the session, and the number of the event in hand (the driver sets it)."""

    session: str = ""
    seq: int = 0


CONTEXT = Context()


def keep_secret(secret: str) -> None:
    """Strike this text out of every log of this process from now on."""
    with contextlib.suppress(ImportError):
        from bot.exchange.redact import keep_secret as keep  # type: ignore[import-not-found,unused-ignore]

        if len(secret) >= 8:
            keep(secret)
    if secret and secret not in _kept:
        _kept.append(secret)


def clean(text: str) -> str:
    """A text without anything secret."""
    for secret in _kept:
        text = text.replace(secret, "***")
    try:
        from bot.exchange.redact import redact
    except ImportError:
        return text
    return str(redact(text))


class Logs:
    """Logging of one process, from `open_logs` until `close`."""

    def __init__(self, folder: Path, *, file: str, stream: TextIO | None, queue_max: int) -> None:
        self.dropped = 0  # records that didn't fit into the queue
        self.failed = 0  # records that the disk didn't take
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(queue_max)
        self._handlers: list[logging.Handler] = [_File(folder / file, self._fail)]
        if stream is not None:
            shown = logging.StreamHandler(stream)
            shown.setFormatter(Readable())
            self._handlers.append(shown)
        self._door = _Door(self._queue, self._drop)
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and stop. A second call does nothing."""
        if not self._thread.is_alive():
            return
        logging.getLogger().removeHandler(self._door)
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_s)
        self._thread.join(timeout_s)
        for handler in self._handlers:
            with contextlib.suppress(OSError):  # what a refusing disk didn't take was counted
                handler.close()

    def _write(self) -> None:
        told = 0
        while (record := self._queue.get()) is not None:
            if self.dropped > told:
                lost, told = self.dropped - told, self.dropped
                self._handle(logging.LogRecord(NAME, logging.WARNING, "", 0, f"{lost} log records lost", (), None))
            self._handle(record)

    def _handle(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            handler.handle(record)

    def _drop(self) -> None:
        self.dropped += 1

    def _fail(self, error: BaseException | None) -> None:
        self.failed += 1
        if self.failed in (1, 100, 10_000):
            sys.stderr.write(f"the log can't be written ({error}); {self.failed} records so far\n")


def open_logs(
    folder: Path,
    *,
    session: str,
    level: str = "INFO",
    stream: TextIO | Literal["stderr"] | None = "stderr",
    file: str = LOG_FILE,
    queue_max: int = QUEUE_MAX,
) -> Logs:
    """Log this process to `folder/log.jsonl` and, readable, to `stream` (None: to no one).

    Loggers under "tidegate" log from `level` on, everybody else's from WARNING: at DEBUG ccxt writes keys.
    """
    CONTEXT.session, CONTEXT.seq = session, 0
    out = sys.stderr if stream == "stderr" else stream
    logs = Logs(folder, file=file, stream=out, queue_max=queue_max)
    root = logging.getLogger()
    root.addHandler(logs._door)
    root.setLevel(logging.WARNING)
    logging.getLogger(NAME).setLevel(level)
    return logs


class _Door(logging.Handler):
    """Takes a record as it stands at the moment, and never waits."""

    def __init__(self, line: queue.Queue[logging.LogRecord | None], drop: Callable[[], None]) -> None:
        super().__init__()
        self._line, self._drop = line, drop

    def emit(self, record: logging.LogRecord) -> None:
        """Stamp it, settle its text and traceback, queue it."""
        try:
            record.msg = record.getMessage()
        except (TypeError, ValueError, KeyError) as error:
            record.msg = f"{record.msg} {record.args!r} ({type(error).__name__} in its text)"
        record.args = None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        record.exc_info = None
        record.__dict__.setdefault("session", CONTEXT.session)
        record.__dict__.setdefault("seq", CONTEXT.seq)
        try:
            self._line.put_nowait(record)
        except queue.Full:
            self._drop()


class _File(logging.handlers.RotatingFileHandler):
    """The file; a disk that refuses is reported, not thrown at who logs."""

    def __init__(self, file: Path, fail: Callable[[BaseException | None], None]) -> None:
        super().__init__(file, maxBytes=FILE_MAX, backupCount=FILES, encoding="utf-8", errors="backslashreplace")
        self._fail = fail
        self.setFormatter(JsonLine())

    def handleError(self, record: logging.LogRecord) -> None:
        """Count and tell."""
        self._fail(sys.exc_info()[1])


class JsonLine(logging.Formatter):
    """One JSON object: ns, time, level, logger, text, session, seq, what the call gave as `extra`, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps(entry_of(record), ensure_ascii=False, default=str)


class Readable(logging.Formatter):
    """The form for people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it."""
        return readable(entry_of(record))


def entry_of(record: logging.LogRecord) -> dict[str, Any]:
    """A record as plain, redacted values."""
    more = {name: value for name, value in record.__dict__.items() if name not in _USUAL}
    entry = {
        "ns": int(record.created * 1e6) * 1000,
        "level": record.levelname,
        "logger": record.name.removeprefix(f"{NAME}."),
        "text": record.getMessage(),
        "session": record.__dict__.get("session", CONTEXT.session),
        "seq": record.__dict__.get("seq", CONTEXT.seq),
        **{name: value for name, value in more.items() if not name.startswith("_")},
    }
    if record.exc_text:
        entry["error"] = record.exc_text
    cleaned = _cleaned(entry)
    return {"time": utc(entry["ns"]), **cleaned}


def readable(entry: dict[str, Any]) -> str:
    """An entry of the log in the form for people: time, level, who, text, and what else it carries."""
    shown = ("time", "ns", "level", "logger", "text", "session", "seq", "error")
    more = "".join(f"  {name}={value}" for name, value in entry.items() if name not in shown)
    moment = str(entry.get("time", ""))[:23].replace("T", " ")
    line = f"{moment}  {entry.get('level', ''):<7}  {entry.get('logger', '')}: {entry.get('text', '')}{more}"
    return f"{line}\n{entry['error']}" if entry.get("error") else line


def utc(ns: int) -> str:
    """ISO text with milliseconds."""
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {str(name): _cleaned(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value]
    return value if isinstance(value, (int, float, bool, type(None))) else clean(str(value))
