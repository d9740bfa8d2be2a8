"""The whole look at a journal: its chain from the first record, and the signed heads against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bot.journal.chain import GENESIS
from bot.journal.heads import HEADS_FILE, PUBLIC_FILE, Head, check_signatures, compare, read_heads, read_public_key
from bot.journal.places import JOURNAL_FILE
from bot.journal.reader import check_is_file, connect_reader
from bot.journal.verify import Advance, Fault, Walk, walk


@dataclass(frozen=True)
class Verdict:
    """What verifying found.

    hash: of the last sound record; heads: how many signed heads were checked, up to record `head_seq` signed at
    `head_ns`; key: the public key that signed them; given: whether that key was given, not found beside the journal or
    in the lines themselves.
    """

    file: Path
    records: int
    hash: str
    first_ns: int
    last_ns: int
    heads: int
    head_seq: int
    head_ns: int
    key: str
    given: bool
    fault: Fault | None

    @property
    def sound(self) -> bool:
        """Nothing was found wrong."""
        return self.fault is None


def verify(
    file: Path, *, heads: Path | None = None, public_key: Path | None = None, advance: Advance | None = None
) -> Verdict:
    """Recompute all of a journal's chain and hold the signed heads against it; it may be written meanwhile.

    Parameters
    ----------
    file : Path
        The journal.
    heads : Path, optional
        Signed heads; else those that lie beside a journal or a backup.
    public_key : Path, optional
        The key that has to have signed them; else the one that lies beside it, else the one that the lines name.
    advance : callable, optional
        Told of the progress, in records.

    Raises
    ------
    InputError
        A file is missing or isn't what it should be.
    JournalError
        The file is damaged so that SQLite can't read any of it.
    """
    check_is_file(file)
    signed_file = heads if heads is not None else beside(file, HEADS_FILE)
    # Heads first: what the bot signs while the chain is walked is newer than the walk.
    signed: list[Head] = read_heads(signed_file) if signed_file is not None else []
    key_file = public_key if public_key is not None else beside(file, PUBLIC_FILE)
    public = read_public_key(key_file) if key_file is not None else None
    db = connect_reader(file)
    try:
        found = walk(db, file, wanted=[1, *(head.seq for head in signed)], advance=advance)
    finally:
        db.close()
    fault = found.fault or _missing_header(found)
    if fault is None:
        fault = check_signatures(signed, public) or compare(signed, found.hashes[1], found)
    last = max(signed, key=lambda head: head.seq, default=None)
    return Verdict(
        file=file,
        records=found.records,
        hash=found.hash.hex(),
        first_ns=found.first_ns,
        last_ns=found.last_ns,
        heads=len(signed),
        head_seq=last.seq if last else 0,
        head_ns=last.ns if last else 0,
        key=public or (signed[0].key if signed else ""),
        given=public_key is not None,
        fault=fault,
    )


def beside(file: Path, name: str) -> Path | None:
    """What goes with a journal: in its folder; with a backup: by its own name. None when it isn't there.

    Heads in the folder know more than an older copy that lies there too, so only `journal.sqlite` is held against them.
    """
    place = file.parent / name if file.name == JOURNAL_FILE else file.with_name(f"{file.name}.{name}")
    return place if place.exists() else None


def _missing_header(found: Walk) -> Fault | None:
    if found.hash == GENESIS:
        return Fault(1, "dropped", "there is no record at all, not even the header")
    return None
