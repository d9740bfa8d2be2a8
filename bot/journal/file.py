"""The journal's one writer: records go in groups, each group in one durable transaction.

`append` only computes the record and its hash; `commit` writes all that waits and returns when it is on the disk
(write-ahead log, synchronous=FULL). When it raises, nothing of the group is in the journal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, Self

from bot.journal.chain import GENESIS, JournalError, canonical, check_stamp, digest, pack_text
from bot.journal.reader import APPLICATION, COLUMNS, FAILURES, SCHEMA, VERSION, Reader, connect, named
from bot.journal.recovery import Recovery, before_opening, check
from bot.operate.files import sync_folder
from bot.terminal import now_ns
from data.errors import InputError

BUSY_S = 0.5  # how long a commit waits for another program's lock
CHECKPOINT_PAGES = 4_000  # of the write-ahead file, from which on a commit carries them over itself
PAGE_BYTES = 4_096
# What is set on the writer, and has to read back: journal, sync to the platter also where fsync alone doesn't (macOS).
PRAGMAS: tuple[tuple[str, str, object], ...] = (
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),
    ("fullfsync", "ON", 1),
    ("checkpoint_fullfsync", "ON", 1),
    ("wal_autocheckpoint", str(CHECKPOINT_PAGES), CHECKPOINT_PAGES),
    ("cell_size_check", "ON", 1),
    ("trusted_schema", "OFF", 0),
    ("mmap_size", "0", 0),
)
_INSERT = f"INSERT INTO records ({COLUMNS}) VALUES (?, ?, ?, ?, ?)"
_HEAD = "SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1"


class WriterLock:
    """The right to write one journal: a lock on a file beside it, let go by the system when the process ends."""

    def __init__(self, file: Path) -> None:
        self._path = file.with_name(file.name + ".lock")
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"can't be locked ({error.strerror})", why="io", file=file) from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            what = f"process {holder or 'unknown'} is writing this journal already"
            remedy = "One bot writes one journal: end that process first, or give this one another [live] name"
            raise JournalError(what, why="locked", file=file, remedy=remedy) from None
        except OSError as error:
            os.close(self._handle)
            raise JournalError(f"can't be locked ({error.strerror})", why="io", file=file) from None

    def release(self) -> None:
        """Let somebody else write."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Journal(Reader):
    """The journal as its one writer has it; implements `bot.ports.Keeper`.

    Open it by `Journal.create` or `Journal.open`. `append` may go on in one thread while `commit` runs in another; what
    is read (`records`, `last`, `head`) is what was committed.
    """

    def __init__(self, file: Path, lock: WriterLock, *, whole: bool = False) -> None:
        wal = before_opening(file)
        super().__init__(file)
        try:
            self.recovery: Recovery = check(self, self._db, wal, whole=whole)
            seq, stored = self.stored_head()
            self._durable = seq, bytes.fromhex(stored)
            self._writer = open_writer(file)
        except BaseException:
            super().close()
            raise
        self._lock = lock
        self._mutex = threading.Lock()
        self._waiting: list[tuple[int, int, str, bytes, str | bytes]] = []
        self._tip = self._durable
        self._broken: JournalError | None = None

    @classmethod
    def create(cls, file: Path, header: dict[str, Any], *, ns: int | None = None) -> Journal:
        """A new journal whose first record is `header`, written and open. `ns` is the time of day when left out.

        Raises
        ------
        InputError
            There is one already.
        JournalError
            It can't be written, or another process does.
        """
        lock = WriterLock(file)
        try:
            _write_new(file, header, now_ns() if ns is None else ns)
            return cls(file, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, file: Path, *, whole: bool = False) -> Self:
        """A journal to be written on: a torn tail is cut; `recovery` says what was found.

        Parameters
        ----------
        file : Path
            The journal.
        whole : bool
            Check all of the chain, not only from the last snapshot on.

        Raises
        ------
        InputError
            There is no such file, or it is no journal.
        JournalError
            It is damaged anywhere but at its tail, can't be opened as it has to be, or another process writes it.
        """
        if not file.exists():
            raise InputError("no such journal", where=file, remedy="Name the journal.sqlite of a session")
        lock = WriterLock(file)
        try:
            return cls(file, lock, whole=whole)
        except BaseException:
            lock.release()
            raise

    @property
    def waiting(self) -> int:
        """How many records were appended and not yet committed."""
        return len(self._waiting)

    def append(self, ns: int, kind: str, body: dict[str, Any]) -> int:
        """Add a record to the open group; its number. Nothing is written before `commit`.

        Parameters
        ----------
        ns : int
            Its time, UTC.
        kind : str
            A lower-case word.
        body : dict
            JSON values; NaN is written as None by the caller.

        Raises
        ------
        JournalError
            It can't be written as JSON, or the journal takes no more.
        """
        if self._broken is not None:
            raise self._broken
        check_stamp(ns, kind)
        text = canonical(body)
        seq, previous = self._tip[0] + 1, self._tip[1]
        stored = digest(previous, seq, ns, kind, text)
        self._waiting.append((seq, ns, kind, stored, pack_text(text)))
        self._tip = seq, stored
        return seq

    def commit(self) -> None:
        """Make all that was appended durable before returning.

        Raises
        ------
        JournalError
            Nothing of it was written. When `may_retry`, the records still wait: commit again, or `rollback`. Otherwise
            whether they are found after a restart isn't known, and nothing more is taken.
        """
        with self._mutex:
            if self._broken is not None:
                raise self._broken
            group = self._waiting[:]
            if not group:
                return
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                self._refuse_foreign()
                self._writer.executemany(_INSERT, group)
                self._writer.execute("COMMIT")
            except BaseException as error:
                self._undo()
                raise self._failed(error) from error
            del self._waiting[: len(group)]
            self._durable = group[-1][0], group[-1][3]

    def rollback(self) -> None:
        """Forget what was appended since the last commit."""
        with self._mutex:
            self._waiting.clear()
            self._tip = self._durable

    def head(self) -> tuple[int, str]:
        """Number and hash of the last committed record."""
        return self._durable[0], self._durable[1].hex()

    def checkpoint(self) -> None:
        """Carry the write-ahead file over into the journal, as far as no reader is in the way: for a quiet moment.

        Raises
        ------
        JournalError
            It couldn't be done now; nothing is lost, and a later commit does it.
        """
        with self._mutex:
            try:
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except FAILURES as error:
                raise named(error, self.file) from error

    def close(self) -> None:
        """Let go of the file and of the right to write it. What wasn't committed is forgotten."""
        with self._mutex:
            self._broken = JournalError("the journal was closed", why="closed", file=self.file)
            try:
                self._db.close()
                self._writer.close()
            finally:
                self._lock.release()

    def _refuse_foreign(self) -> None:
        """Inside the transaction: the last record has to be the one that this process committed."""
        found = self._writer.execute(_HEAD).fetchone()
        if found != self._durable:
            what = f"somebody else wrote to it: its last record isn't record {self._durable[0]} as it was committed"
            remedy = "End whatever else opens the journal, then: tidegate verify"
            raise JournalError(what, why="foreign", file=self.file, seq=self._durable[0], remedy=remedy)

    def _undo(self) -> None:
        # A second error says nothing new: the transaction is undone when the connection goes at the latest.
        with contextlib.suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def _failed(self, error: BaseException) -> BaseException:
        failure = error
        if isinstance(error, FAILURES):
            failure = named(error, self.file)
        if isinstance(failure, JournalError) and not failure.may_retry:
            self._broken = failure
        return failure


def open_writer(file: Path) -> sqlite3.Connection:
    """The writing connection, with every pragma set and read back.

    Raises
    ------
    JournalError
        A pragma didn't take: the file system or this SQLite can't keep the promise.
    """
    try:
        db = connect(file, mode="rw", wait_s=BUSY_S)
    except FAILURES as error:
        raise named(error, file) from error
    try:
        for name, value, wanted in PRAGMAS:
            db.execute(f"PRAGMA {name} = {value}").fetchall()
            found = db.execute(f"PRAGMA {name}").fetchone()
            if found is not None and found[0] != wanted:
                what = f"SQLite's {name} is {found[0]!r} after it was set to {value}"
                remedy = "Keep the journal on a local disk (not a network share)"
                raise JournalError(what, why="io", file=file, remedy=remedy)
    except FAILURES as error:
        db.close()
        raise named(error, file) from error
    except BaseException:
        db.close()
        raise
    return db


def _write_new(file: Path, header: dict[str, Any], ns: int) -> None:
    """Write a journal of one record under another name and link it to its own: it is there whole or not at all."""
    check_stamp(ns, "header")
    text = canonical(header)
    draft = file.with_name(file.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        db = sqlite3.connect(draft, isolation_level=None)
        try:
            for pragma in (f"page_size = {PAGE_BYTES}", "synchronous = EXTRA", "encoding = 'UTF-8'"):
                db.execute(f"PRAGMA {pragma}")
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            for statement in SCHEMA.values():
                db.execute(statement)
            db.execute(_INSERT, (1, ns, "header", digest(GENESIS, 1, ns, "header", text), pack_text(text)))
            db.execute("COMMIT")
        finally:
            db.close()
        os.link(draft, file)
        draft.unlink()
        sync_folder(file.parent)
    except FileExistsError:
        remedy = "Open it, or move it away to begin anew"
        raise InputError("a journal exists already", where=file, remedy=remedy) from None
    except FAILURES as error:
        raise named(error, file) from error
    except OSError as error:
        raise JournalError(f"can't be written ({error.strerror})", why="io", file=file) from None
