"""One write transaction: merge, place into files, commit; all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data.facts import DATED, IDENTITY, SCHEMAS
from data.keys import key_hashes, may_hold, write_keys
from data.layout import LISTED_BY, REJECT_COLUMNS, label, label_counts, reject_table, sort_rows, split_series
from data.manifest import (
    Manifest,
    Part,
    Rejects,
    commit,
    describe,
    read_table,
    transaction,
    write_table,
)
from data.merge import CONTRADICTION, merge, row_identity

PART_ROWS_MAX = 4_000_000
LONG_ROWS_MAX = 262_144
"""Rows of a part that smaller ones went into, for kinds with texts: writing one takes them all into memory."""

REJECT_FILES_MAX = 16
"""Files of bad rows of one origin; with the next one they become one file."""


@dataclass(frozen=True)
class Appended:
    """What an append did.

    ``quarantined`` counts rows newly in quarantine. ``duplicates`` counts rows the table itself said twice.
    ``known_differs`` counts unchanged rows that claimed another ``known_ns`` than the stored one, which stays.
    """

    added: int = 0
    unchanged: int = 0
    revised: int = 0
    quarantined: int = 0
    duplicates: int = 0
    known_differs: int = 0


@dataclass
class _Transaction:
    kind: str
    folder: Path
    before: Manifest
    origin: str
    parts: list[Part] = field(default_factory=list)
    rejects: list[Rejects] = field(default_factory=list)
    bad: list[pa.Table] = field(default_factory=list)
    repeated: dict[str, int] = field(default_factory=dict)
    wrote: bool = False

    @property
    def sequence(self) -> int:
        return self.before.sequence + 1


def write(
    root: Path,
    kind: str,
    table: pa.Table | None,
    *,
    rejects: pa.Table | None,
    origin: str,
    spans: Mapping[str, Sequence[tuple[int, int]]] | None = None,
) -> Appended:
    """Merge checked facts and bad rows into a kind in one commit; see `data.store.Store.append`."""
    folder = root / kind
    with transaction(folder) as before:
        job = _Transaction(kind, folder, before, origin, list(before.parts), list(before.rejects))
        return _write_locked(job, table, rejects, spans)


def _write_locked(
    job: _Transaction,
    table: pa.Table | None,
    rejects: pa.Table | None,
    spans: Mapping[str, Sequence[tuple[int, int]]] | None,
) -> Appended:
    total = Appended()
    if rejects is not None and rejects.num_rows:
        job.bad.append(reject_table(rejects))
    for number, (series, rows) in enumerate(split_series(job.kind, table)):
        merged = merge(job.kind, rows, _stored_keys(job, series, rows))
        total = Appended(
            added=total.added + merged.added,
            unchanged=total.unchanged + merged.unchanged,
            revised=total.revised + merged.revised,
            duplicates=total.duplicates + merged.repeated.num_rows,
            known_differs=total.known_differs + merged.known_differs,
        )
        if merged.repeated.num_rows:
            job.repeated.update(label_counts(job.kind, merged.repeated))
        if merged.contradicting.num_rows:
            job.bad.append(_contradicting(job.kind, merged.contradicting))
        if merged.fresh.num_rows:
            _place(job, series, merged.fresh, f"{job.sequence:08d}-{number:04d}")
    quarantined = _store_rejects(job)
    duplicates = _duplicates(job)
    known_spans = {**job.before.spans, **{name: list(given) for name, given in (spans or {}).items()}}
    changed = job.wrote or duplicates != job.before.duplicates or known_spans != job.before.spans
    if changed:
        after = Manifest(job.sequence, tuple(job.parts), tuple(job.rejects), (), duplicates, known_spans)
        commit(job.folder, replace(after, retired=tuple(sorted(job.before.files() - after.files()))))
    return replace(total, quarantined=quarantined)


def _place(job: _Transaction, series: tuple[str, ...], fresh: pa.Table, stem: str) -> None:
    """Write fresh rows, taking in the series' smaller newest parts so that reading never meets many."""
    mine = sorted((part for part in job.parts if part.series == series), key=lambda part: -part.sequence)
    absorbed: list[Part] = []
    rows = fresh.num_rows
    most = PART_ROWS_MAX if job.kind in DATED else LONG_ROWS_MAX
    for part in mine:
        if part.rows > 2 * rows or part.rows + rows > most:
            break
        absorbed.append(part)
        rows += part.rows
    older = [read_table(job.folder / part.file) for part in reversed(absorbed)]
    whole = sort_rows(job.kind, pa.concat_tables([*older, fresh]) if older else fresh)
    name = f"part-{stem}.parquet"
    packed = ("event_ns", "known_ns") if job.kind in DATED else ("known_ns",)
    job.wrote = True
    write_table(job.folder / name, whole, packed=packed)
    if job.kind not in DATED:
        write_keys(job.kind, job.folder / name, whole)
    gone = {part.file for part in absorbed}
    line = describe(whole, file=name, series=series, sequence=job.sequence)
    job.parts = [part for part in job.parts if part.file not in gone] + [line]


def _stored_keys(job: _Transaction, series: tuple[str, ...], rows: pa.Table) -> pa.Table:
    """Identity, known time, revision and payload of the stored rows that are about the same things as the new ones.

    Part by part, so that a store of millions takes no more memory than a small one; of posts and scores only those
    parts whose list of hashes says that they may hold one (`data.keys`).
    """
    wanted = ["known_ns", "revision", "payload"]
    wanted += ["event_ns"] if job.kind in DATED else ["source", *IDENTITY[job.kind]]
    span = pc.min_max(rows["event_ns"]).as_py()
    near = [
        part
        for part in job.before.parts
        if part.series == series
        and (job.kind not in DATED or (part.event_min <= span["max"] and part.event_max >= span["min"]))
    ]
    if not near:
        return SCHEMAS[job.kind].empty_table().select(wanted)
    cut = ("event_ns", span["min"], span["max"] + 1) if job.kind in DATED else None
    keys = row_identity(job.kind, rows)
    hashes = None if job.kind in DATED else key_hashes(job.kind, rows)
    found = []
    for part in near:
        if hashes is not None and not may_hold(job.kind, job.folder, part, hashes):
            continue
        stored = read_table(job.folder / part.file, wanted, span=cut).select(wanted)
        found.append(stored.filter(pc.is_in(row_identity(job.kind, stored), value_set=keys)))
    if not found:
        return SCHEMAS[job.kind].empty_table().select(wanted)
    return pa.concat_tables(found).combine_chunks()


def _contradicting(kind: str, rows: pa.Table) -> pa.Table:
    names = LISTED_BY[kind]
    labels = [label(kind, row) for row in rows.select(names).to_pylist()]
    rows = rows.append_column("series", pa.array(labels, pa.string()))
    return reject_table(rows.append_column("reason", pa.repeat(pa.scalar(CONTRADICTION), rows.num_rows)))


def _store_rejects(job: _Transaction) -> int:
    """Write the bad rows not yet in quarantine under this origin; how many they were."""
    if not job.bad:
        return 0
    rows = pa.concat_tables(job.bad)
    mine = [reject for reject in job.before.rejects if reject.origin == job.origin]
    tables = [read_table(job.folder / reject.file, list(REJECT_COLUMNS)) for reject in mine]
    held = {row for table in tables for row in _reject_rows(table)}
    fresh = rows.filter(pa.array([row not in held for row in _reject_rows(rows)], pa.bool_()))
    if fresh.num_rows == 0:
        return 0
    name = f"rejects-{job.sequence:08d}.parquet"
    job.wrote = True
    whole = fresh
    if len(mine) >= REJECT_FILES_MAX:  # a source that goes on spoiling things would make ever more files
        whole = pa.concat_tables([*tables, fresh])
        job.rejects = [reject for reject in job.rejects if reject.origin != job.origin]
    write_table(job.folder / name, whole)
    counts: dict[str, dict[str, int]] = {}
    grouped = whole.group_by(["series", "reason"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        counts.setdefault(row["series"], {})[row["reason"]] = row["count_all"]
    job.rejects.append(Rejects(name, job.origin, whole.num_rows, counts, job.sequence))
    return int(fresh.num_rows)


def _reject_rows(table: pa.Table) -> Iterator[tuple[object, ...]]:
    return zip(*[table[name].to_pylist() for name in REJECT_COLUMNS], strict=True)


def _duplicates(job: _Transaction) -> dict[str, dict[str, int]]:
    """Counts of repeated rows; one origin's count replaces its earlier one, so a second import adds nothing."""
    counts = {series: dict(origins) for series, origins in job.before.duplicates.items()}
    for series, count in job.repeated.items():
        counts.setdefault(series, {})[job.origin] = count
    return counts
