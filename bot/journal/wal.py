"""Looks into SQLite's write-ahead file before SQLite does: a torn tail may be cut, a hole in the middle may not.

SQLite reads frames up to the first that is broken and forgets the rest. That is right for a tail that a power cut tore:
the frames of a commit are on the disk before the next commit writes any. So when whole commits follow a broken frame,
it had been durable, and something damaged it since; SQLite would lose what was acknowledged, and say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from risk.records import Array

HEADER, FRAME_HEADER = 32, 24
MAGIC = 0x377F0682  # the lowest bit set: checksums over big-endian words
FRAMES_AT_ONCE = 512
_FRAME = np.dtype([("page", ">u4"), ("commit", ">u4"), ("salt", ">u4", 2), ("sum", ">u4", 2)])


@dataclass(frozen=True)
class WalState:
    """What a write-ahead file holds.

    frames: whole frames of this generation that are sound, up to the last commit; lost: frames after them that belong
    to this generation; hole: a whole commit lies behind a broken frame; headless: its header is broken while frames
    follow it; ends: length of the file in bytes after each sound commit.
    """

    size: int
    frames: int = 0
    lost: int = 0
    hole: bool = False
    headless: bool = False
    page_bytes: int = 0
    ends: tuple[int, ...] = ()


def inspect_wal(file: Path) -> WalState:
    """The state of a write-ahead file; one that is missing is empty."""
    if not file.exists():
        return WalState(0)
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(HEADER)
    if len(head) < HEADER:
        return WalState(size)
    words = np.frombuffer(head, ">u4")
    order, page = ("<u4" if not words[0] & 1 else ">u4"), int(words[2])
    known = int(words[0]) & ~1 == MAGIC and 512 <= page <= 65536 and page & (page - 1) == 0
    if not known or checksums(head[:24], order, (0, 0)) != (int(words[6]), int(words[7])):
        return WalState(size, headless=size > HEADER + FRAME_HEADER + 512)
    return _scan(file, size, page, order, (int(words[4]), int(words[5])), (int(words[6]), int(words[7])))


def _scan(file: Path, size: int, page: int, order: str, salt: tuple[int, int], running: tuple[int, int]) -> WalState:
    """Sound frames from the front; behind the first broken one, whether a commit of this generation is followed on."""
    place = sound = committed = lost = 0
    broken = ended = hole = False
    ends: list[int] = []
    for frames, block in _blocks(file, page):
        ours = (frames["salt"] == salt).all(axis=1) & (frames["page"] > 0)
        sums = _sums(block, order) if not broken else None
        for number in range(len(frames)):
            place += 1
            if not broken and sums is not None and ours[number]:
                running = _advance(running, sums[number], page)
                broken = running != (int(frames["sum"][number, 0]), int(frames["sum"][number, 1]))
            elif not broken:
                broken = True
            if not broken:
                sound = place
                if frames["commit"][number]:
                    committed = sound
                    ends.append(HEADER + place * (FRAME_HEADER + page))
            elif ours[number]:
                lost += 1
                hole = hole or ended
                ended = ended or bool(frames["commit"][number])
    return WalState(size, committed, lost + sound - committed, hole, page_bytes=page, ends=tuple(ends))


def _blocks(file: Path, page: int) -> Iterator[tuple[Array, Array]]:
    """Frame headers and the bytes under checksum (first 8 of the header, then the page), a few hundred at once."""
    each = FRAME_HEADER + page
    with file.open("rb") as stream:
        stream.seek(HEADER)
        while True:
            raw = stream.read(each * FRAMES_AT_ONCE)
            whole = len(raw) // each
            if not whole:
                return
            block = np.frombuffer(raw, "u1", whole * each).reshape(whole, each)
            headers = np.ascontiguousarray(block[:, :FRAME_HEADER]).view(_FRAME).reshape(whole)
            yield headers, np.concatenate((block[:, :8], block[:, FRAME_HEADER:]), axis=1)


def checksums(raw: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    """SQLite's running checksum over some bytes (a multiple of 8)."""
    block = np.frombuffer(raw, "u1").reshape(1, -1)
    return _advance(start, _sums(block, order)[0], len(raw) - 8)


def _sums(block: Array, order: str) -> list[tuple[int, int]]:
    """What each row of bytes adds to a running checksum that starts at 0.

    A step takes two words: a += x + b; b += y + a. That is linear modulo 2^32, so a row is one weighted sum.
    """
    words = np.ascontiguousarray(block).view(order).astype(np.uint32)
    x, both = words[:, 0::2], words[:, 0::2] + words[:, 1::2]
    weights = _powers(x.shape[1])
    first = (x * weights[0] + both * weights[1]).sum(axis=1, dtype=np.uint32)
    second = (x * weights[1] + both * weights[2]).sum(axis=1, dtype=np.uint32)
    return list(zip(first.tolist(), second.tolist(), strict=True))


_POWERS: dict[int, Array] = {}


def _powers(count: int) -> Array:
    """Entries of the powers of [[1, 1], [1, 2]], from the highest (count - 1) to the lowest: upper left, off, lower."""
    if count not in _POWERS:
        rows = np.zeros((3, count), np.uint32)
        a, b, d = 1, 0, 1
        for place in range(count - 1, -1, -1):
            rows[:, place] = a, b, d
            a, b, d = (a + b) % 2**32, (b + d) % 2**32, (b + 2 * d) % 2**32
        _POWERS[count] = rows
    return _POWERS[count]


def _advance(start: tuple[int, int], added: tuple[int, int], page: int) -> tuple[int, int]:
    """A running checksum carried over `page` + 8 bytes that add `added`."""
    steps = (page + 8) // 8
    top = _powers(steps + 1)[:, 0]  # the power `steps`
    a, b, d = int(top[0]), int(top[1]), int(top[2])
    return (a * start[0] + b * start[1] + added[0]) % 2**32, (b * start[0] + d * start[1] + added[1]) % 2**32


def carried_over(wal: Path, file: Path) -> bool:
    """Whether the newest content of every page in a write-ahead file with a broken header is in the journal already.

    That is so when a power cut hit while its header was written anew: SQLite does that only after a full checkpoint.
    """
    with file.open("rb") as stream:
        page = int.from_bytes(stream.read(18)[16:18], "big")
        page = 65536 if page == 1 else page
        if not (512 <= page <= 65536 and page & (page - 1) == 0):
            return False
        newest: dict[int, bytes] = {}
        waiting: dict[int, bytes] = {}
        for number, commit, content in _generation(wal, page):
            waiting[number] = content
            if commit:
                newest.update(waiting)
                waiting.clear()
        return bool(newest) and _same(stream, newest, page)


def _generation(wal: Path, page: int) -> Iterator[tuple[int, int, bytes]]:
    """Page number, commit mark and content of the frames that are of one generation with the first."""
    salt: bytes | None = None
    for headers, block in _blocks(wal, page):
        for number in range(len(headers)):
            mark = headers["salt"][number].tobytes()
            salt = mark if salt is None else salt
            if mark != salt:
                return
            yield int(headers["page"][number]), int(headers["commit"][number]), block[number, 8:].tobytes()


def _same(stream: BinaryIO, pages: dict[int, bytes], page: int) -> bool:
    for number, content in pages.items():
        stream.seek((number - 1) * page)
        if number < 1 or stream.read(page) != content:
            return False
    return True
