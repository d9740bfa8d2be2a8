"""The manifest: one small JSON file per kind that says which Parquet files are facts.

The law of this file: a Parquet file that the manifest doesn't name does not exist. Files are written and flushed first,
then the manifest is replaced by one rename. Whatever kills the process, at any byte, leaves the old manifest and the
old files; leftovers are swept by the next writer. A file a new manifest drops (its rows went into a larger one) is
deleted one commit later, so a reader that has just read the old manifest still finds it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError, WorkError
from data.sealed import check_seal, seal

FORMATS = {"sentiment": 3}
"""By kind, `FORMAT` for all others; counts the changes of a kind's columns."""

FORMAT = 2

NAME = "manifest.json"
PREVIOUS = "manifest.previous.json"
ROW_GROUP = 131_072


@dataclass(frozen=True)
class Part:
    """One Parquet file of facts: which series, how many rows, and the spans a reader needs to skip it.

    ``series`` holds the values of the columns the kind is filed under, as text. ``revised`` is true when a row with a
    revision above 0 lies in it. ``sequence`` orders parts by the commit that wrote them.
    """

    file: str
    series: tuple[str, ...]
    rows: int
    event_min: int
    event_max: int
    known_min: int
    known_max: int
    revised: bool
    sequence: int


@dataclass(frozen=True)
class Rejects:
    """One Parquet file of quarantined rows, counted by series label and reason."""

    file: str
    origin: str
    rows: int
    reasons: Mapping[str, Mapping[str, int]]
    sequence: int


@dataclass(frozen=True)
class Manifest:
    """What a kind consists of after commit number ``sequence``.

    ``duplicates`` counts, per series label and origin, rows that a source said twice. ``spans`` are named lists of
    half-open time spans, kept for a fetch that has to remember what it has asked for.
    """

    sequence: int = 0
    parts: tuple[Part, ...] = ()
    rejects: tuple[Rejects, ...] = ()
    retired: tuple[str, ...] = ()
    duplicates: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    spans: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)

    def files(self) -> set[str]:
        """Names of all files that this state needs."""
        return {part.file for part in self.parts} | {reject.file for reject in self.rejects}


def read_manifest(folder: Path) -> Manifest:
    """The state of a kind; empty when nothing was ever stored.

    Raises
    ------
    InputError
        When the manifest is there but can't be read.
    """
    path = folder / NAME
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Manifest()
    try:
        loaded = json.loads(raw)
        if loaded["format"] != FORMATS.get(folder.name, FORMAT):
            raise InputError(
                "written by another version of Tidegate",
                where=path,
                key="format",
                value=loaded["format"],
                remedy=f"Move {folder} away, and import, fetch or score again",
            )
        check_seal(raw.decode())  # by one wrong letter in a name the next writer would sweep a file of facts away
        return Manifest(
            sequence=int(loaded["sequence"]),
            parts=tuple(Part(**{**part, "series": tuple(part["series"])}) for part in loaded["parts"]),
            rejects=tuple(Rejects(**reject) for reject in loaded["rejects"]),
            retired=tuple(loaded["retired"]),
            duplicates=loaded["duplicates"],
            spans={name: [(first, last) for first, last in spans] for name, spans in loaded["spans"].items()},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the manifest is damaged ({error})",
            where=path,
            remedy=f"Copy {PREVIOUS} over it (the state one write earlier), or move {folder} away and import again",
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the kind's write lock; a second writer waits for the first."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_error(error, folder) from error
    try:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        except ImportError:  # Windows: no advisory lock; one writer at a time is then the user's care
            pass
        yield
    finally:
        os.close(handle)


@contextmanager
def transaction(folder: Path) -> Iterator[Manifest]:
    """The state of a kind, under its write lock, for one commit of all or nothing.

    What an attempt that failed has written is named by no manifest, unless the rename itself came through.

    Raises
    ------
    InputError, WorkError
        The disk refused.
    """
    with locked(folder):
        before = read_manifest(folder)
        try:
            sweep(folder, before)
            yield before
        except OSError as error:
            with suppress(OSError):
                sweep(folder, read_manifest(folder))
            raise disk_error(error, folder) from error


def write_table(path: Path, table: pa.Table, *, packed: tuple[str, ...] = ()) -> None:
    """Write and flush one Parquet file with page checksums.

    Columns in ``packed`` (times on a grid) are delta-packed; floats are stored plain, since a dictionary of a million
    prices helps nobody and a year of minutes has to load in a blink.
    """
    texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
    encodings = dict.fromkeys(packed, "DELTA_BINARY_PACKED")
    with path.open("wb") as sink:
        pq.write_table(
            table,
            sink,
            compression="zstd",
            compression_level=1,
            use_dictionary=texts,
            column_encoding=encodings or None,
            row_group_size=ROW_GROUP,
            write_page_checksum=True,
        )
        sink.flush()
        os.fsync(sink.fileno())


def commit(folder: Path, manifest: Manifest) -> None:
    """Make a manifest the state of the kind: flush, rename, flush the folder, keep the one before.

    Raises
    ------
    OSError
        Before the rename; the state is the old one.
    WorkError
        Behind it; the state is the new one.
    """
    target = folder / NAME
    fresh = folder / f"{NAME}.tmp"
    body = {"format": FORMATS.get(folder.name, FORMAT), **asdict(manifest)}
    with fresh.open("w", encoding="utf-8") as sink:
        sink.write(seal(json.dumps(body)))
        sink.flush()
        os.fsync(sink.fileno())
    if target.exists():
        with suppress(FileNotFoundError):
            (folder / PREVIOUS).unlink()
        with suppress(OSError):  # no hard links on some file systems: the copy is a convenience, not a promise
            os.link(target, folder / PREVIOUS)
    os.replace(fresh, target)
    try:
        flush_folder(folder)
    except OSError as error:  # the rename counts already: saying that nothing was stored would be wrong
        raise WorkError(f"{folder}: stored, but a power cut now might undo it ({error})") from error


def sweep(folder: Path, manifest: Manifest) -> int:
    """Delete files that no state needs (leftovers of a killed writer); the caller holds the lock."""
    needed = manifest.files() | set(manifest.retired)
    swept = 0
    for path in folder.iterdir():
        part = path.name if path.suffix != ".keys" else path.with_suffix(".parquet").name
        leftover = path.suffix == ".tmp" or (path.suffix in (".parquet", ".keys") and part not in needed)
        if leftover:
            path.unlink(missing_ok=True)
            swept += 1
    return swept


def disk_error(error: OSError, folder: Path) -> InputError | WorkError:
    """A failed write as a named error; what was stored before is untouched."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(
            f"the disk is full ({os.strerror(error.errno)}); nothing was stored, what was there before is whole",
            where=folder,
            remedy="Free some space, or choose another place with --var, and run the same command again",
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return InputError(
            f"can't be written ({error.strerror})",
            where=folder,
            remedy="Choose another place with --var, or change its permissions",
        )
    return WorkError(f"{folder}: writing failed ({error}); nothing was stored, what was there before is whole")


def read_table(
    path: Path, columns: list[str] | None = None, *, span: tuple[str, int | None, int | None] | None = None
) -> pa.Table:
    """Columns of one stored Parquet file, page checksums verified.

    Parameters
    ----------
    span : (column, low, high), optional
        Leave out row groups whose column lies wholly outside ``[low, high)``; rows outside may remain.

    Raises
    ------
    InputError
        When the file is damaged.
    FileNotFoundError
        When it is gone.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as stored:
            if span is None:
                return stored.read(columns=columns)
            return stored.read_row_groups(_groups_in(stored.metadata, *span), columns=columns)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"the stored file is damaged ({first})",
            where=path,
            remedy=f"Restore it from a backup, or move the folder {path.parent} away and import or fetch again",
        ) from error


def _groups_in(metadata: Any, column: str, low: int | None, high: int | None) -> list[int]:
    at = metadata.schema.names.index(column)
    chosen = []
    for group in range(metadata.num_row_groups):
        known = metadata.row_group(group).column(at).statistics
        if known is not None and known.has_min_max:
            if (low is not None and known.max < low) or (high is not None and known.min >= high):
                continue
        chosen.append(group)
    return chosen


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def describe(table: pa.Table, *, file: str, series: tuple[str, ...], sequence: int) -> Part:
    """The manifest's line for a table of facts about to be written."""
    import pyarrow.compute as pc

    event: dict[str, Any] = pc.min_max(table["event_ns"]).as_py()
    known: dict[str, Any] = pc.min_max(table["known_ns"]).as_py()
    return Part(
        file=file,
        series=series,
        rows=table.num_rows,
        event_min=event["min"],
        event_max=event["max"],
        known_min=known["min"],
        known_max=known["max"],
        revised=bool(pc.max(table["revision"]).as_py() > 0),
        sequence=sequence,
    )
