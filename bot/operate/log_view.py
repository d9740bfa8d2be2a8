"""Reads a session's JSON log for people: the last lines or all that match, and what comes after them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.operate.logs import FILES, LOG_FILE

Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries are wanted; all that is given has to fit."""

    level: str = "DEBUG"
    text: str = ""
    logger: str = ""
    session: str = ""
    since_ns: int = 0

    def wants(self, entry: Entry) -> bool:
        """True when the entry fits. A level that nobody knows counts as the highest."""
        number = logging.getLevelNamesMapping().get(str(entry.get("level")), logging.CRITICAL)
        return (
            number >= logging.getLevelNamesMapping()[self.level]
            and (not self.text or self.text.lower() in json.dumps(entry, ensure_ascii=False).lower())
            and (not self.logger or str(entry.get("logger", "")).startswith(self.logger))
            and (not self.session or str(entry.get("session", "")).startswith(self.session))
            and int(entry.get("ns") or 0) >= self.since_ns
        )


def entries(folder: Path, wanted: Filter, *, file: str = LOG_FILE) -> Iterator[Entry]:
    """What fits, oldest first, rotated files included."""
    for number in range(FILES, -1, -1):
        path = folder / (f"{file}.{number}" if number else file)
        if path.exists():
            with open(path, "rb") as stream:
                yield from (entry for line in stream if (entry := _entry(line)) is not None and wanted.wants(entry))


def last_entries(folder: Path, wanted: Filter, count: int, *, file: str = LOG_FILE) -> list[Entry]:
    """The newest `count` that fit."""
    return list(deque(entries(folder, wanted, file=file), maxlen=count))


def follow(
    folder: Path, wanted: Filter, *, file: str = LOG_FILE, ended: Callable[[], bool] = lambda: False,
    every_s: float = 0.3,
) -> Iterator[Entry]:  # fmt: skip
    """What comes from now on, over rotations, until `ended`."""
    path, rest = folder / file, b""
    with contextlib.ExitStack() as held:
        stream = held.enter_context(open(path, "rb")) if path.exists() else None
        if stream is not None:
            stream.seek(0, os.SEEK_END)
        while not ended():
            piece = stream.read() if stream is not None else b""
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            yield from (entry for line in lines if (entry := _entry(line)) is not None and wanted.wants(entry))
            if piece:
                continue
            if path.exists() and (stream is None or path.stat().st_ino != os.fstat(stream.fileno()).st_ino):
                rest += stream.read() if stream is not None else b""  # written between our last look and its turning
                held.close()
                stream = held.enter_context(open(path, "rb"))
                continue
            time.sleep(every_s)


def _entry(line: bytes) -> Entry | None:
    """The entry of a line; a torn or foreign line is shown as text, an empty one is none."""
    if not line.strip():
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) else {"level": "WARNING", "text": line.decode(errors="replace").rstrip()}
