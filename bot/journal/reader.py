"""Reads a journal, also while the bot writes it: every record is checked against its hash before it is handed out."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bot.journal.chain import GENESIS, REMEDY, JournalError, Record, Row, follows, record_of
from bot.journal.places import JOURNAL_FILE
from data.errors import InputError

APPLICATION = 0x54474A31  # "TGJ1", in the file's header
VERSION = 1
LANDMARKS = ("alarm", "condition", "head", "header", "operator", "session", "snapshot")  # found by an index
_IS_LANDMARK = f"kind IN ({', '.join(repr(kind) for kind in LANDMARKS)})"
SCHEMA = {
    "records": "CREATE TABLE records (seq INTEGER PRIMARY KEY, ns INTEGER NOT NULL, kind TEXT NOT NULL,"
    " hash BLOB NOT NULL, body NOT NULL)",
    "landmarks": f"CREATE INDEX landmarks ON records (kind) WHERE {_IS_LANDMARK}",
}
COLUMNS = "seq, ns, kind, hash, body"
CHUNK = 500  # rows of one look: no reader holds the file long enough to keep the writer from tidying it
WAIT_S = 5.0
# The words of an error about a damaged file may be no text; the sqlite3 module then raises the second one instead.
FAILURES = (sqlite3.Error, UnicodeDecodeError)


def check_is_file(file: Path) -> None:
    """Raise InputError when there is no such file, or a folder."""
    if file.is_dir():
        raise InputError("a folder, not a journal", where=file, remedy=f"Name its file: {file / JOURNAL_FILE}")
    if not file.exists():
        raise InputError("no such journal", where=file, remedy=f"Name the {JOURNAL_FILE} of a session")


def connect(file: Path, *, mode: str = "ro", wait_s: float = WAIT_S, immutable: bool = False) -> sqlite3.Connection:
    """A connection without hidden transactions; text that isn't UTF-8 comes through as it is, to be refused by name.

    Raises
    ------
    InputError
        There is no such file.
    sqlite3.Error
        SQLite can't open it.
    """
    check_is_file(file)
    query = f"?mode={mode}" + ("&immutable=1" if immutable else "")
    db = sqlite3.connect(
        file.absolute().as_uri() + query, uri=True, isolation_level=None, timeout=wait_s, check_same_thread=False
    )
    db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return db


def connect_reader(file: Path) -> sqlite3.Connection:
    """A connection that only reads; on a medium that nobody can write to, without locks.

    Raises
    ------
    InputError or JournalError
        There is no such file, or it can't be opened or isn't a journal.
    """
    try:
        db = connect(file)
    except FAILURES as error:
        raise named(error, file) from error
    try:
        try:
            check_format(db, file)
        except sqlite3.OperationalError as error:
            wal = wal_of(file)
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or (wal.exists() and wal.stat().st_size):
                raise
            db.close()
            db = connect(file, immutable=True)
            check_format(db, file)
    except FAILURES as error:
        db.close()
        raise named(error, file) from error
    except BaseException:
        db.close()
        raise
    return db


def wal_of(file: Path) -> Path:
    """SQLite's write-ahead file of a journal: what was committed and not yet carried over."""
    return file.with_name(file.name + "-wal")


def check_format(db: sqlite3.Connection, file: Path) -> None:
    """Refuse a database that isn't a journal, or one with tables or triggers that aren't ours.

    Raises
    ------
    InputError or JournalError
        It is something else, of another version, or its layout was changed.
    """
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise InputError("not a Tidegate journal", where=file, remedy="Name the journal.sqlite of a session")
    if version != VERSION:
        remedy = "Use the Tidegate that wrote it"
        raise InputError(f"a journal of format {version}; this Tidegate reads {VERSION}", where=file, remedy=remedy)
    found = dict(db.execute("SELECT name, sql FROM sqlite_master").fetchall())
    if found != SCHEMA:
        raise JournalError("the layout of its tables was changed", why="damaged", file=file, remedy=REMEDY)


def named(error: Exception, file: Path, *, seq: int | None = None) -> JournalError:
    """SQLite's error as ours, by its code."""
    if isinstance(error, UnicodeDecodeError):
        return JournalError("the file is damaged", why="damaged", file=file, seq=seq, remedy=REMEDY)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        remedy = "End the program that keeps it locked; nothing was written"
        return JournalError("another program locks the journal", why="busy", file=file, seq=seq, remedy=remedy)
    if code == sqlite3.SQLITE_FULL:
        remedy = "Make room; nothing was written"
        return JournalError("the disk is full", why="full", file=file, seq=seq, remedy=remedy)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT):
        return JournalError(f"the file is damaged ({error})", why="damaged", file=file, seq=seq, remedy=REMEDY)
    remedy = "Look after disk and rights of the folder, then start again"
    return JournalError(f"can't be read or written ({error})", why="io", file=file, seq=seq, remedy=remedy)


def rows_after(db: sqlite3.Connection, since: int, file: Path, clause: str = "", given: tuple[str, ...] = ()) -> (
    Iterator[tuple[Row, bytes | None]]
):  # fmt: skip
    """Stored rows after number `since`, each with the stored hash of the row numbered one less; nothing is checked.

    Raises
    ------
    JournalError
        A page can't be read; what came before it has been handed out.
    """
    query = (
        f"SELECT {', '.join('r.' + name for name in COLUMNS.split(', '))}, p.hash FROM records r "
        f"LEFT JOIN records p ON p.seq = r.seq - 1 WHERE r.seq > ? {clause} ORDER BY r.seq LIMIT {CHUNK}"
    )
    while True:
        found: list[tuple[Any, ...]] = []
        failure: Exception | None = None
        try:
            # One by one: what was read before a failure is kept.
            for values in db.execute(query, (since, *given)):
                found.append(values)
        except FAILURES as error:
            failure = error
        for values in found:
            since = values[0]
            yield Row(*values[:5]), values[5]
        if failure is not None:
            raise named(failure, file, seq=since + 1) from failure
        if len(found) < CHUNK:
            return


class Reader:
    """A journal that is only read. Any number of them may be open while the bot writes.

    Parameters
    ----------
    file : Path
        The journal.

    Raises
    ------
    InputError
        There is no such file, or it is no journal.
    JournalError
        It is damaged where it begins or ends.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._db = connect_reader(file)
        try:
            first = self.record(1)
            if first is None or first.kind != "header":
                raise JournalError("record 1, the header, is missing", why="damaged", file=file, seq=1, remedy=REMEDY)
        except BaseException:
            self._db.close()
            raise
        self.header: dict[str, Any] = first.body
        self.origin: str = first.hash
        """Hash of the first record: names the journal."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def records(self, since: int = 0, kinds: Collection[str] | None = None) -> Iterator[Record]:
        """Committed records after number `since`, of those kinds, in order; also those that come while it reads.

        Raises
        ------
        JournalError
            A record isn't what was appended (its `seq` says which), or one before it is missing.
        """
        clause, given = "", tuple(sorted(kinds)) if kinds is not None else ()
        if kinds is not None:
            clause = f"AND r.kind IN ({', '.join('?' * len(given))})"
            if set(given) <= set(LANDMARKS):
                clause += f" AND r.{_IS_LANDMARK}"
        expected = max(since, 0) + 1
        for row, previous in rows_after(self._db, max(since, 0), self.file, clause, given):
            if kinds is None and row.seq != expected:
                raise self._damage(expected, "is missing")
            yield self._checked(row, previous)
            expected = row.seq + 1

    def record(self, seq: int) -> Record | None:
        """One committed record by its number; None when there is none.

        Raises
        ------
        JournalError
            It isn't what was appended.
        """
        return self._one("WHERE r.seq = ?", seq)

    def last(self, kind: str) -> Record | None:
        """The newest committed record of a kind; None when there is none.

        Raises
        ------
        JournalError
            It isn't what was appended.
        """
        landmark = f"AND r.{_IS_LANDMARK}" if kind in LANDMARKS else ""
        found = self._one(f"WHERE r.kind = ? {landmark} ORDER BY r.seq DESC LIMIT 1", kind)
        if found is not None and found.kind != kind:
            raise self._damage(found.seq, "isn't of the kind that the index says")
        return found

    def head(self) -> tuple[int, str]:
        """Number and hash of the last committed record.

        Raises
        ------
        JournalError
            It isn't what was appended.
        """
        return self.stored_head()

    def stored_head(self) -> tuple[int, str]:
        """The same, always as the file has it."""
        found = self._one("ORDER BY r.seq DESC LIMIT 1")
        if found is None:
            raise self._damage(1, "is missing")
        return found.seq, found.hash

    def _one(self, clause: str, *given: object) -> Record | None:
        columns = ", ".join("r." + name for name in COLUMNS.split(", "))
        query = f"SELECT {columns}, p.hash FROM records r LEFT JOIN records p ON p.seq = r.seq - 1 {clause}"
        try:
            found = self._db.execute(query, given).fetchone()
        except FAILURES as error:
            raise named(error, self.file) from error
        return None if found is None else self._checked(Row(*found[:5]), found[5])

    def _checked(self, row: Row, previous: bytes | None) -> Record:
        before = GENESIS if row.seq == 1 else previous
        if before is None:
            raise self._damage(row.seq - 1, "is missing")
        if not isinstance(before, bytes) or not follows(before, row.seq, row):
            raise self._damage(row.seq, "isn't what was appended")
        return record_of(row)

    def _damage(self, seq: int, what: str) -> JournalError:
        remedy = f"tidegate verify says what was done to it. {REMEDY}"
        return JournalError(f"record {seq} {what}", why="damaged", file=self.file, seq=seq, remedy=remedy)
