"""Take series out of the store: the one way back from an import under a wrong lag, symbol or name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data.layout import label_counts
from data.manifest import Manifest, Part, Rejects, commit, describe, read_table, transaction, write_table


def forget(root: Path, kind: str, where: Mapping[str, str]) -> int:
    """Remove matching rows with all revisions, in one commit; see `data.store.Store.forget`."""
    folder = root / kind
    with transaction(folder) as before:
        parts, removed, labels = _parts_left(folder, kind, before, where)
        if not removed:
            return 0
        rejects = tuple(kept for reject in before.rejects if (kept := _rejects_left(folder, before, reject, labels)))
        needed = {part.file for part in parts} | {reject.file for reject in rejects}
        after = Manifest(
            sequence=before.sequence + 1,
            parts=tuple(parts),
            rejects=rejects,
            retired=tuple(sorted(before.files() - needed)),
            duplicates={series: counts for series, counts in before.duplicates.items() if series not in labels},
            spans={name: spans for name, spans in before.spans.items() if not _names_one_of(name, labels)},
        )
        commit(folder, after)
        return removed


def _parts_left(
    folder: Path, kind: str, before: Manifest, where: Mapping[str, str]
) -> tuple[list[Part], int, set[str]]:
    """The parts without the matching rows, how many rows went, and the series they belonged to."""
    left: list[Part] = []
    removed, labels = 0, set[str]()
    for number, part in enumerate(before.parts):
        rows = read_table(folder / part.file)
        mask = pa.repeat(pa.scalar(True), rows.num_rows)
        for name, value in where.items():
            mask = pc.and_(mask, pc.equal(rows[name], pa.scalar(value).cast(rows[name].type)))
        rest, gone = rows.filter(pc.invert(mask)), rows.filter(mask)
        if not gone.num_rows:
            left.append(part)
            continue
        removed += gone.num_rows
        labels |= set(label_counts(kind, gone))
        if rest.num_rows:
            name = f"part-{before.sequence + 1:08d}-{number:04d}.parquet"
            write_table(folder / name, rest)
            left.append(describe(rest, file=name, series=part.series, sequence=part.sequence))
    return left, removed, labels


def _rejects_left(folder: Path, before: Manifest, reject: Rejects, labels: set[str]) -> Rejects | None:
    if not labels & set(reject.reasons):
        return reject
    reasons = {series: counts for series, counts in reject.reasons.items() if series not in labels}
    if not reasons:
        return None
    rows = read_table(folder / reject.file)
    rows = rows.filter(pc.invert(pc.is_in(rows["series"], value_set=pa.array(sorted(labels), pa.string()))))
    name = f"rejects-{before.sequence + 1:08d}-{reject.file.removeprefix('rejects-')}"
    write_table(folder / name, rows)
    return Rejects(name, reject.origin, rows.num_rows, reasons, reject.sequence)


def _names_one_of(name: str, labels: set[str]) -> bool:
    return any(name.endswith(series) for series in labels)
