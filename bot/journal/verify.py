"""Recomputes a journal's chain and names the first record that was altered, dropped, added or moved.

A chain shows every change that leaves the hashes after it alone. It doesn't show a tail that was cut off, or one that
was written anew with all its hashes: signed heads do that (`bot.journal.heads`), as far as they reach.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from bot.journal.chain import GENESIS, JournalError, Row, digest, follows, text_of
from bot.journal.reader import COLUMNS, FAILURES, rows_after

WINDOW = 10_000  # how far a record that was moved, and how many that were dropped, are looked for
EVERY = 2_000  # records between two words about the progress
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Fault:
    """The first thing that is wrong. what "altered", "dropped", "added", "moved", "unreadable", "altered or added",
    and by the heads "cut", "rewritten", "signature" or "other journal"."""

    seq: int
    what: str
    text: str


@dataclass
class Walk:
    """What a walk along the chain found; `hashes` are those of the numbers that were asked for."""

    records: int = 0
    seq: int = 0
    hash: bytes = GENESIS
    first_ns: int = 0
    last_ns: int = 0
    hashes: dict[int, str] = field(default_factory=dict)
    fault: Fault | None = None


def walk(
    db: sqlite3.Connection,
    file: Path,
    *,
    since: int = 0,
    previous: bytes = GENESIS,
    wanted: Collection[int] = (),
    advance: Advance | None = None,
) -> Walk:
    """Recompute the chain after record `since`, whose hash is `previous`, up to the first fault."""
    found = Walk(seq=since, hash=previous)
    wanted, total = frozenset(wanted), 0
    # The whole chain starts at the lowest number there can be: a record put before the first one shows too.
    rows = rows_after(db, since or -(2**63), file)
    try:
        for row, _ in rows:
            expected = found.seq + 1
            try:
                sound = row.seq == expected and (
                    digest(found.hash, expected, row.ns, row.kind, text_of(row.body)) == row.hash
                )
            except (ValueError, TypeError):
                sound = False
            if not sound:
                found.fault = _diagnosed(db, expected, found.hash, row)
                return found
            found.seq, found.hash, found.last_ns = expected, row.hash, row.ns
            if not found.records:
                found.first_ns = row.ns
            found.records += 1
            if expected in wanted:
                found.hashes[expected] = row.hash.hex()
            if advance is not None and found.records % EVERY == 0:
                total = total if total > expected else _highest(db)
                advance(expected, max(total, expected))
    except JournalError as error:
        found.fault = Fault(found.seq + 1, "unreadable", f"record {found.seq + 1} can't be read: {error.what}")
    if advance is not None:
        advance(found.seq, found.seq)
    return found


def _highest(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT max(seq) FROM records").fetchone()[0] or 0)


def _diagnosed(db: sqlite3.Connection, expected: int, previous: bytes, row: Row) -> Fault:
    """The same for a file whose further pages may be damaged too."""
    try:
        return diagnose(db, expected, previous, row)
    except FAILURES:
        return Fault(expected, "altered", f"record {expected} was altered, and what follows it can't be read")


def diagnose(db: sqlite3.Connection, expected: int, previous: bytes, row: Row) -> Fault:
    """What was done at `expected`, where the chain stood at `previous` and `row` was found."""
    if row.seq < expected:
        return Fault(row.seq, "added", f"record {row.seq} was added: numbers begin at 1")
    if row.seq > expected:
        missing = f"record {expected} was" if row.seq == expected + 1 else f"records {expected} to {row.seq - 1} were"
        return Fault(expected, "dropped", f"{missing} dropped")
    after = _row(db, expected + 1)
    return (
        _moved(db, expected, previous, row)
        or _dropped(expected, row, after)
        or _altered(expected, row, after)
    )  # fmt: skip


def _moved(db: sqlite3.Connection, expected: int, previous: bytes, row: Row) -> Fault | None:
    """Look further on for the record that belongs here: then others were put before it, or it was moved."""
    at = expected
    for values in db.execute(f"SELECT {COLUMNS} FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (expected, WINDOW)):
        later = Row(*values)
        at += 1
        if later.seq != at:
            return None
        if not (follows(previous, expected, later) or follows(previous, expected, later, row.hash)):
            continue
        count = at - expected
        after = _row(db, at + 1)
        swapped = follows(later.hash, at, row) or follows(row.hash, at, row, later.hash)
        if not swapped and (after is None or follows(later.hash, expected + 1, after)):
            these = f"record {expected} was" if count == 1 else f"records {expected} to {at - 1} were"
            return Fault(expected, "added", f"{these} added: what belongs here is record {at} now")
        return Fault(expected, "moved", f"record {expected} was moved: it is record {at} now")
    return None


def _dropped(expected: int, row: Row, after: Row | None) -> Fault | None:
    """Whether the record here, and the one after it, once had higher numbers."""
    if after is None or follows(row.hash, expected + 1, after):
        return None  # the record after it has the number that it was given: nobody renumbered them
    try:
        after = after._replace(body=text_of(after.body))  # unpacked once, not for each number that is tried
    except ValueError:
        return None
    for count in range(1, WINDOW):
        if follows(row.hash, expected + 1 + count, after):
            these = "record was" if count == 1 else "records were"
            return Fault(
                expected, "dropped", f"{count} {these} dropped before record {expected}, and those after it renumbered"
            )
    return None


def _altered(expected: int, row: Row, after: Row | None) -> Fault:
    if after is None:
        return Fault(
            expected,
            "altered or added",
            f"record {expected}, the last one, was altered or added: it isn't what its hash says",
        )
    if isinstance(row.hash, bytes) and follows(row.hash, expected + 1, after):
        return Fault(
            expected,
            "altered",
            f"record {expected} was altered: the record after it knows its hash, its content hasn't it",
        )
    return Fault(
        expected,
        "altered",
        f"record {expected} was altered: its content hasn't its hash, and the next doesn't follow it",
    )


def _row(db: sqlite3.Connection, seq: int) -> Row | None:
    found = db.execute(f"SELECT {COLUMNS} FROM records WHERE seq = ?", (seq,)).fetchone()
    return None if found is None else Row(*found)
