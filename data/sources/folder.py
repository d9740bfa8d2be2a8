"""A folder that is watched: what other programs append to its JSON-lines files becomes facts, line by line.

Files are followed as they grow, also when they are renamed, cut off or written anew; a last line without its end waits
for it. How a line becomes facts stands in `data.mapping`. A fact is known when it was read here, whatever its line
says.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from pydantic import Field, field_validator

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Progress, Source, Spoilt, Take, Terms, Tools
from data.http import read_json
from data.mapping import MappedOptions, Mapping
from data.times import Span

CARD: Final = Card(
    name="folder",
    title="a watched folder (JSON lines)",
    kinds=("posts", "metrics"),
    live=True,
    history="",
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="as the terms of whoever writes these files say",
        url="https://example.com/the-terms-of-your-vendor",
    ),
    per_minute=6000.0,
)
FILES_MAX: Final = 1_000
PIECE: Final = 1024 * 1024
"""Bytes that are read at a time, unless a line may be longer."""

TAIL: Final = 64
PACKED: Final = (".gz", ".zst", ".bz2", ".xz", ".zip")


class FolderOptions(MappedOptions):
    """A table with `use = "folder"`."""

    folder: str = Field(min_length=1, description="the folder")
    pattern: str = Field("*.jsonl", min_length=1, description="names of its files; packed ones are never read")
    every: float = Field(1.0, ge=0.05, description="seconds between two looks")
    line_bytes: int = Field(1_000_000, ge=100, le=16_000_000, description="a longer line is set apart")

    @field_validator("pattern")
    @classmethod
    def _a_name(cls, pattern: str) -> str:
        if "/" in pattern or "\\" in pattern:
            raise InputError("not a pattern of names", key="pattern", value=pattern, remedy="Such as *.jsonl")
        return pattern


@dataclass(frozen=True)
class Mark:
    """How far a file was read.

    Parameters
    ----------
    device, inode : int
        Which file it is, whatever it is called.
    at : int
        Bytes read.
    tail : str
        Hash of the bytes before that place: other bytes there mean that the file was written anew.
    skip : bool
        The place lies within a line that is too long.
    """

    device: int
    inode: int
    at: int = 0
    tail: str = ""
    skip: bool = False


@dataclass(frozen=True)
class _Found:
    path: Path
    device: int
    inode: int
    size: int


class Folder:
    """The files of a folder; `counts` tells what was read."""

    def __init__(self, told: FolderOptions, tools: Tools) -> None:
        self.card = replace(CARD, title=f"{told.name} ({told.folder})", kinds=(told.kind,), cost=told.cost)
        if told.cost > 0:
            raise InputError("files cost nothing", key="cost", remedy="Leave it out")
        self._told, self._tools, self._mapping = told, tools, Mapping(told)
        self._folder = Path(told.folder).expanduser()
        self._marks = {(mark.device, mark.inode): mark for mark in _read_marks(tools.memory.get("files"))}
        self._piece = max(PIECE, told.line_bytes + 1)
        self.counts: Counter[str] = Counter()

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`: what lies in the folder is read by `stream`."""
        remedy = "Record it from now on: tidegate record; or bring whole files with tidegate import"
        raise InputError("a watched folder has no history of its own", key="source", value=CARD.name, remedy=remedy)

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        while True:
            try:
                found = await asyncio.to_thread(self._look)
                for file in found:
                    await self._follow(file, take)
            except OSError as error:
                raise FeedError(f"{error.filename or self._folder}: {error.strerror or error}") from None
            there = {(file.device, file.inode) for file in found}
            self._marks = {name: mark for name, mark in self._marks.items() if name in there}
            self.counts["files"] = len(found)
            self._tools.alive()
            await self._tools.sleep(self._told.every * (1.0 + 0.1 * self._tools.rng.random()))

    def health(self) -> dict[str, Any]:
        """Files, lines and items read; `others`: values of coins that `coins` doesn't name."""
        return {**self.counts, **({"others": self._mapping.others} if self._mapping.others else {})}

    def _look(self) -> list[_Found]:
        """Files by their names: those of the pattern, and those that were followed before they were renamed."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False) or entry.name.lower().endswith(PACKED):
                    continue
                told = entry.stat(follow_symlinks=False)
                if fnmatchcase(entry.name, self._told.pattern) or (told.st_dev, told.st_ino) in self._marks:
                    found.append(_Found(Path(entry.path), told.st_dev, told.st_ino, told.st_size))
        if len(found) > FILES_MAX:
            raise FeedError(f"{self._folder}: more than {FILES_MAX:,} files; move those that are done elsewhere")
        # What was renamed was written before what now has its name.
        followed = {file.inode for file in found if (file.device, file.inode) in self._marks}
        return sorted(found, key=lambda file: (file.inode not in followed, file.path.name))

    async def _follow(self, file: _Found, take: Take) -> None:
        """Read what a file has grown by, piece by piece."""
        name = (file.device, file.inode)
        while True:
            before = self._marks.get(name, Mark(*name))
            if file.size == before.at and before.at == 0:
                self._marks[name] = before
                return
            lines, after = await asyncio.to_thread(self._read, file.path, before)
            items = [item for line in lines for item in self._items(line, file.path)]
            self.counts["lines"] += len(lines)
            marks = {**self._marks, name: after}
            if items:
                await take(Batch(items, self._tools.clock.now_ns(), cursor=_write_marks(marks), source=self._told.name))
                self.counts["items"] += len(items)
            self._marks = marks  # only now: what wasn't acknowledged has to come again
            if after.at == before.at or after.at >= file.size:
                return

    def _read(self, path: Path, mark: Mark) -> tuple[list[bytes | None], Mark]:
        """Whole lines from a mark on (None: one that is too long), and the mark behind them."""
        with open(path, "rb", opener=_no_link) as file:
            told = os.fstat(file.fileno())
            if (told.st_dev, told.st_ino) != (mark.device, mark.inode):
                return [], mark  # another file has that name by now: the next look sees it
            if told.st_size < mark.at or _tail(file, mark.at) != mark.tail:
                self.counts["anew"] += mark.at > 0
                mark = Mark(mark.device, mark.inode)
            file.seek(mark.at)
            piece = file.read(self._piece)
            lines: list[bytes | None] = []
            end = piece.rfind(b"\n") + 1
            skip = mark.skip
            if not end and len(piece) > self._told.line_bytes:  # no line may be so long: leave it, up to its end
                lines += [] if skip else [None]
                end, skip = len(piece), True
            elif end:
                whole = piece[:end].split(b"\n")[:-1]
                for line in whole[1:] if skip else whole:
                    lines.append(line if len(line) <= self._told.line_bytes else None)
                skip = False
            at = mark.at + end
            return lines, Mark(mark.device, mark.inode, at, _tail(file, at), skip)

    def _items(self, line: bytes | None, path: Path) -> list[Item]:
        if line is None:
            return [Spoilt(path.name, f"a line of more than {self._told.line_bytes:,} bytes")]
        if not line.strip():
            return []
        try:
            body = read_json(line.decode("utf-8"), path.name)
        except UnicodeDecodeError:
            return [Spoilt(repr(line[:500]), "a line that isn't UTF-8")]
        except FeedError as error:
            return [Spoilt(line[:500].decode("utf-8", "replace"), str(error)[:200])]
        items = self._mapping.read(body)
        if items is None:
            return [Spoilt(line[:500].decode("utf-8", "replace"), f"nothing lies at {self._told.items}")]
        return items


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _tail(file: Any, at: int) -> str:
    """What stands before a place, in eight bytes."""
    file.seek(max(at - TAIL, 0))
    return hashlib.blake2b(file.read(min(at, TAIL)), digest_size=8).hexdigest() if at else ""


def _read_marks(told: Any) -> Iterator[Mark]:
    for entry in told if isinstance(told, list) else []:
        device, inode, at, tail, skip = entry
        yield Mark(int(device), int(inode), int(at), str(tail), bool(skip))


def _write_marks(marks: dict[tuple[int, int], Mark]) -> dict[str, Any]:
    return {"files": [[mark.device, mark.inode, mark.at, mark.tail, mark.skip] for mark in marks.values()]}


SOURCE: Final = Source(CARD, FolderOptions, Folder)
