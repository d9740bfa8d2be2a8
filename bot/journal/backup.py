"""A copy of a journal while the bot writes it: verified, then put in place in one step, with its signed heads.

To restore one: stop the bot; move journal.sqlite, journal.sqlite-wal and journal.sqlite-shm away, all three (a
write-ahead file of the old journal would be read into the new one); copy the backup to journal.sqlite, mode 0600, and
the heads that lie beside it to heads.jsonl, keeping the newer ones; start. What happened after the backup isn't in it:
the start reconciles with the venue, whose orders, trades and balances are the truth.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

from bot.journal.chain import JournalError
from bot.journal.heads import HEADS_FILE, PUBLIC_FILE
from bot.journal.reader import FAILURES, Reader, connect_reader, named
from bot.journal.report import Verdict, verify
from bot.journal.verify import Advance
from bot.operate.files import sync_folder
from data.errors import InputError

PAGES_AT_ONCE = 2_048


def heads_of(backup: Path) -> Path:
    """Where a backup's signed heads lie."""
    return backup.with_name(backup.name + "." + HEADS_FILE)


def public_of(backup: Path) -> Path:
    """Where a backup's public key lies."""
    return backup.with_name(backup.name + "." + PUBLIC_FILE)


def back_up(file: Path, to: Path, *, advance: Advance | None = None) -> Verdict:
    """Copy a journal, verify the copy, and put it at `to`; an older backup of the same journal there is replaced.

    Parameters
    ----------
    file : Path
        The journal; the bot may be writing it.
    to : Path
        The backup; signed heads and public key go beside it, by its name.
    advance : callable, optional
        Told of the progress, in pages.

    Raises
    ------
    InputError
        There is no journal, or something else lies at `to`.
    JournalError
        It can't be written, the copy isn't sound, or what lies at `to` knows more than the journal.
    """
    if not to.parent.is_dir():
        raise InputError("no such folder", where=to.parent, remedy="Make it first")
    draft = to.with_name(f".{to.name}.part")
    drafts = {draft: to}
    try:
        for name, place in ((HEADS_FILE, heads_of(to)), (PUBLIC_FILE, public_of(to))):
            # Heads are read before the records, so that none of them knows more than the copy.
            if (file.parent / name).exists():
                part = place.with_name(f".{place.name}.part")
                shutil.copyfile(file.parent / name, part)
                drafts[part] = place
        _copy(file, draft, advance)
        _refuse_loss(draft, file, to)
        found = verify(draft, heads=_part(drafts, heads_of(to)), public_key=_part(drafts, public_of(to)))
        if found.fault is not None:
            what = f"the copy isn't sound, and nothing was kept of it: {found.fault.text}"
            raise JournalError(what, why="damaged", file=file, seq=found.fault.seq, remedy="Run: tidegate verify")
        for part, place in drafts.items():
            _sync(part)
            part.replace(place)
        sync_folder(to.parent)
    except OSError as error:
        raise JournalError(f"the backup can't be written ({error.strerror})", why="io", file=to) from None
    finally:
        for part in (*drafts, *(draft.with_name(draft.name + end) for end in ("-wal", "-shm", "-journal"))):
            part.unlink(missing_ok=True)
    return found


def _part(drafts: dict[Path, Path], place: Path) -> Path | None:
    return next((part for part, final in drafts.items() if final == place), None)


def _copy(file: Path, draft: Path, advance: Advance | None) -> None:
    """All pages as of one moment, into one plain file without a write-ahead file beside it."""
    source = connect_reader(file)
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as target:
            # A read transaction of our own: what the bot commits meanwhile doesn't make the copy begin again.
            source.execute("BEGIN")
            source.execute("SELECT max(seq) FROM records").fetchone()

            def tell(status: int, left: int, total: int) -> None:
                if advance is not None:
                    advance(total - left, total)

            source.backup(target, pages=PAGES_AT_ONCE, progress=tell, sleep=0.05)
            source.execute("COMMIT")
            target.execute("PRAGMA journal_mode = DELETE").fetchall()
    except FAILURES as error:
        raise named(error, file) from error
    finally:
        source.close()


def _refuse_loss(draft: Path, file: Path, to: Path) -> None:
    """Refuse to replace what isn't an earlier backup of the same journal."""
    if not to.exists():
        return
    remedy = "Name another file, and look at both: tidegate verify"
    if to.samefile(file):
        raise InputError("that is the journal itself", where=to, key="--to", remedy="Name another file")
    with Reader(to) as old, Reader(draft) as new:
        if old.origin != new.origin:
            raise InputError("a backup of another journal lies there", where=to, key="--to", remedy=remedy)
        seq, stored = old.head()
        same = new.record(seq)
    if same is None:
        what = f"the backup that lies there goes to record {seq}; the journal is shorter now"
        raise JournalError(what, why="damaged", file=to, seq=seq, remedy=remedy)
    if same.hash != stored:
        what = f"record {seq} of the backup that lies there isn't the journal's: the journal was rewritten since"
        raise JournalError(what, why="damaged", file=to, seq=seq, remedy=remedy)


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
