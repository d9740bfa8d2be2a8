"""Which part may hold a row about the same thing: a sorted list of hashes beside each part of posts and scores.

A store of millions is asked at every write whether it knows what has come. Posts keep their identity when they are
re-dated, so no span of time narrows the question; eight bytes a row do. Such a list is worked out from its part and can
be worked out again: one that is absent, torn or damaged is, and nothing else depends on it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data.facts import IDENTITY
from data.manifest import Part, read_table
from data.merge import row_identity

SUFFIX: Final = ".keys"
DIGEST_BYTES: Final = 16
KEPT: Final = 256
"""Lists that a process keeps open; each is mapped, not read into memory."""

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
_OPEN: OrderedDict[Path, tuple[bytes, Hashes]] = OrderedDict()  # by list: what it begins with, and the map


def key_hashes(kind: str, table: pa.Table) -> Hashes:
    """Eight bytes for what each row is about, u8[n]."""
    blake2b = hashlib.blake2b
    texts = row_identity(kind, table).to_pylist()
    joined = b"".join([blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts])
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def write_keys(kind: str, path: Path, table: pa.Table) -> None:
    """Write the list of a part that was just written; without it, reading works it out again."""
    with suppress(OSError):
        _write(path.with_suffix(SUFFIX), np.sort(key_hashes(kind, table)))


def may_hold(kind: str, folder: Path, part: Part, hashes: Hashes) -> bool:
    """Whether a part holds a row about any of the things with these hashes; a hash that is shared says yes as well.

    Raises
    ------
    InputError
        The part is damaged.
    FileNotFoundError
        It is gone.
    """
    held = _hashes_of(kind, folder / part.file, part.rows)
    at = np.searchsorted(held, hashes)
    at[at == len(held)] = 0
    return bool((held[at] == hashes).any())


def _hashes_of(kind: str, path: Path, rows: int) -> Hashes:
    listed = path.with_suffix(SUFFIX)
    begins = _beginning(listed)
    if listed in _OPEN:
        known, held = _OPEN[listed]
        if begins and known == begins:  # else a store was put in its place, by somebody else or from a copy
            _OPEN.move_to_end(listed)
            return held
        del _OPEN[listed]
    read = _read(listed, rows)
    if read is None:
        columns = ["source", *IDENTITY[kind]]
        read = np.sort(key_hashes(kind, read_table(path, columns).select(columns)))
        with suppress(OSError):
            _write(listed, read)
        begins = _beginning(listed)
    for other in [other for other in _OPEN if not other.exists()]:
        del _OPEN[other]  # its rows went into a larger part: a map of it would keep its pages
    _OPEN[listed] = begins, read
    while len(_OPEN) > KEPT:
        _OPEN.popitem(last=False)
    return read


def _beginning(path: Path) -> bytes:
    """The digest that a list begins with; empty when it isn't there."""
    try:
        with path.open("rb") as file:
            return file.read(DIGEST_BYTES)
    except OSError:
        return b""


def _write(path: Path, hashes: Hashes) -> None:
    body = hashes.astype("<u8").tobytes()
    fresh = path.with_name(f"{path.name}.tmp")
    fresh.write_bytes(_digest(path, body) + body)
    fresh.replace(path)


def _read(path: Path, rows: int) -> Hashes | None:
    """The list, mapped; None when it isn't there or isn't what was written."""
    try:
        if path.stat().st_size != DIGEST_BYTES + 8 * rows:
            return None
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError):
        return None
    body = raw[DIGEST_BYTES:]
    if _digest(path, body.data) != bytes(raw[:DIGEST_BYTES]):
        return None
    found: Hashes = body.view("<u8")
    return found


def _digest(path: Path, body: bytes | memoryview) -> bytes:
    """Of the list and of its name: one that was put beside another part isn't taken for that part's."""
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES, key=path.stem.encode()[:64]).digest()
