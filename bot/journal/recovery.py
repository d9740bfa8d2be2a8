"""What is looked at before a journal is written again: a torn tail is cut, damage elsewhere refuses to start.

A tail is torn when the last commit never finished: its records were never acknowledged, so no order followed from them.
What can't be told from that is a last commit which was acknowledged and whose end was lost all the same (a disk that
lied about its sync): signed heads and the venue's own orders and trades show that.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from bot.journal.chain import GENESIS, REMEDY, JournalError
from bot.journal.reader import FAILURES, Reader, connect, named, wal_of
from bot.journal.verify import walk
from bot.journal.wal import WalState, carried_over, inspect_wal


@dataclass(frozen=True)
class Recovery:
    """What opening found. torn: frames of an unfinished commit that were cut; checked_from: first record looked at."""

    torn: int
    checked_from: int
    head: int


def before_opening(file: Path) -> WalState:
    """The write-ahead file as it was left, before SQLite reads it; a broken header that lost nothing counts as none."""
    wal = wal_of(file)
    try:
        state = inspect_wal(wal)
        if state.headless and carried_over(wal, file):
            return WalState(state.size)
    except OSError as error:
        raise JournalError(f"can't be read ({error.strerror})", why="io", file=wal) from None
    return state


def check(reader: Reader, db: sqlite3.Connection, wal: WalState, *, whole: bool = False) -> Recovery:
    """Refuse a journal that is damaged anywhere but at its tail.

    Checked are the write-ahead file, the structure of every page, and the chain from the last snapshot on; all of the
    chain when `whole`, or when there is no snapshot.

    Raises
    ------
    JournalError
        With the first record that is bad, and what to do.
    """
    try:
        head = reader.stored_head()[0]
        _refuse_lost(reader.file, wal, head)
        problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise _first_bad(reader.file, db, f"a page is damaged ({' '.join(str(problem).split())})")
        since, previous = 0, GENESIS
        snapshot = None if whole else reader.last("snapshot")
        if snapshot is not None:
            since, previous = snapshot.seq, bytes.fromhex(snapshot.hash)
        fault = walk(db, reader.file, since=since, previous=previous).fault
    except FAILURES as error:
        raise _first_bad(reader.file, db, named(error, reader.file).what) from error
    except JournalError as error:
        if error.why != "damaged" or "lost" in error.what:
            raise
        raise _first_bad(reader.file, db, error.what) from error
    if fault is not None:
        raise _first_bad(reader.file, db, fault.text)
    return Recovery(torn=wal.lost, checked_from=max(since, 1), head=head)


def _refuse_lost(file: Path, wal: WalState, head: int) -> None:
    """Refuse when committed records lie behind damage in the write-ahead file, or the journal is ahead of it."""
    carried = head_carried_over(file)
    if not (wal.hole or wal.headless or carried > head):
        return
    what = f"records from {head + 1} on are lost: the write-ahead file {wal_of(file).name} is damaged before its end"
    raise JournalError(what, why="damaged", file=file, seq=head + 1, remedy=REMEDY)


def head_carried_over(file: Path) -> int:
    """Number of the last record in the journal's own file, leaving the write-ahead file aside; 0 when it can't be told.

    A checkpoint carries over what is durable in the write-ahead file: when the journal is ahead, that lost frames.
    """
    try:
        db = connect(file, immutable=True)
        try:
            return int(db.execute("SELECT max(seq) FROM records").fetchone()[0] or 0)
        finally:
            db.close()
    except FAILURES:
        # In the middle of a checkpoint the file alone makes no sense, and needn't.
        return 0


def _first_bad(file: Path, db: sqlite3.Connection, what: str) -> JournalError:
    """The error that names the first bad record of the whole chain, found by walking all of it."""
    try:
        fault = walk(db, file).fault
    except FAILURES:
        fault = None
    if fault is None:
        return JournalError(what, why="damaged", file=file, remedy=REMEDY)
    return JournalError(fault.text, why="damaged", file=file, seq=fault.seq, remedy=REMEDY)
