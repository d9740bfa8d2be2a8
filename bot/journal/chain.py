"""What a record is and how each one carries the hash of the one before.

hash = SHA-256(hash before + "seq\\nns\\nkind\\nbody"), the body as canonical JSON: keys sorted, no spaces, ASCII,
floats by their shortest text that gives back every bit. Before the first record stands GENESIS. The chain has no
secret: who can write the file can compute it anew from any record on. That is what signed heads are for
(`bot.journal.heads`).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from data.errors import WorkError

GENESIS = hashlib.sha256(b"tidegate journal 1").digest()
PACKED_FROM = 4096  # characters of a body from which on it is stored compressed
PACKED_MOST = 1 << 30  # bytes that one body may unpack to
REMEDY = (
    "Restore the journal from a backup (tidegate backup --help says how); the next start reconciles it with the venue, "
    "whose orders, trades and balances are the truth"
)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_known_kinds: set[str] = set()


class JournalError(WorkError):
    """The journal can't be written or trusted: no journal, no order.

    Parameters
    ----------
    what : str
        What is wrong, one sentence without the final stop.
    why : str
        "busy" (another program locks the file) or "full" (the disk): the records still wait, `commit` may be tried
        again. "io", "damaged" or "foreign" (somebody else wrote to it): nothing more is written until it is opened
        anew. "locked": another process is its writer. "body": a record that can't be written as JSON. "closed".
    file : Path, optional
        The journal.
    seq : int, optional
        The first record concerned.
    remedy : str, optional
        What to do about it, one sentence.
    """

    def __init__(
        self, what: str, *, why: str, file: Path | None = None, seq: int | None = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.why = why
        self.file = file
        self.seq = seq
        self.remedy = remedy
        place = f"{file}: " if file else ""
        super().__init__(f"{place}{what}." + (f" {remedy}." if remedy else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.what, self.why, self.file, self.seq, self.remedy)

    @property
    def may_retry(self) -> bool:
        """True when nothing is lost and the same `commit` may succeed later."""
        return self.why in ("busy", "full")


def _rebuild(what: str, why: str, file: Path | None, seq: int | None, remedy: str | None) -> JournalError:
    return JournalError(what, why=why, file=file, seq=seq, remedy=remedy)


class Record(NamedTuple):
    """One record as it was appended. seq counts from 1; ns is UTC; hash is hexadecimal."""

    seq: int
    ns: int
    kind: str
    body: dict[str, Any]
    hash: str


class Row(NamedTuple):
    """One record as it is stored: `body` as text, or compressed as bytes. Of a damaged file any of it may be wrong."""

    seq: int
    ns: int
    kind: str
    hash: bytes
    body: str | bytes


def canonical(body: dict[str, Any]) -> str:
    """The one text of a body.

    Raises
    ------
    JournalError
        It holds what JSON has no word for: NaN and infinities too, which the caller writes as null.
    """
    if not isinstance(body, dict):
        raise JournalError(f"a record's body is a {type(body).__name__}, not a dict", why="body")
    try:
        return _encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"a record can't be written as JSON: {error}", why="body") from None


def check_stamp(ns: int, kind: str) -> None:
    """Refuse a time or a kind that the chain has no place for.

    Raises
    ------
    JournalError
        The time isn't a whole number of 64 bits, or the kind isn't a short lower-case word.
    """
    if type(ns) is not int or not -(2**63) <= ns < 2**63:
        raise JournalError(f"a record's time is {ns!r}, not whole nanoseconds", why="body")
    if kind not in _known_kinds:
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise JournalError(f"a record's kind is {kind!r}, not a lower-case word", why="body")
        _known_kinds.add(kind)


def digest(previous: bytes, seq: int, ns: int, kind: str, text: str) -> bytes:
    """The hash of a record, 32 bytes; `previous` is that of the record before it."""
    return hashlib.sha256(previous + f"{seq}\n{ns}\n{kind}\n{text}".encode("utf-8", "surrogateescape")).digest()


def pack_text(text: str) -> str | bytes:
    """A body as it is stored: long ones compressed."""
    return text if len(text) < PACKED_FROM else zlib.compress(text.encode(), 1)


def text_of(body: str | bytes) -> str:
    """The canonical text of a stored body.

    Raises
    ------
    ValueError
        It isn't one.
    """
    if isinstance(body, str):
        return body
    if not isinstance(body, bytes):
        raise ValueError("not a body")
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(body, PACKED_MOST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("a compressed body ends too soon or too late")
    return text.decode("ascii")


def follows(previous: bytes, seq: int, row: Row, stored: bytes | None = None) -> bool:
    """Whether a row's content has its stored hash (or `stored`), when it is record `seq` after `previous`."""
    try:
        return digest(previous, seq, row.ns, row.kind, text_of(row.body)) == (row.hash if stored is None else stored)
    except (ValueError, TypeError):
        return False


def record_of(row: Row) -> Record:
    """The record of a row whose hash was checked."""
    return Record(row.seq, row.ns, row.kind, json.loads(text_of(row.body)), row.hash.hex())
