"""Import of files: read, check, set bad rows apart, store; all of it in one commit, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data.errors import InputError
from data.intake_bars import bars_of
from data.intake_metrics import metrics_of
from data.intake_posts import posts_of, scores_of
from data.layout import LISTED_BY
from data.merge import CONTRADICTION
from data.options import ImportOptions, parse_map, parse_values
from data.quality import series_name
from data.readers import read_rows
from data.sheet import Batch, Sheet
from data.store import Store

__all__ = ["ImportOptions", "ImportReport", "import_file", "parse_map", "parse_values"]

_INTAKES: Mapping[str, Callable[[Sheet, ImportOptions, int], Batch]] = {
    "bars": bars_of,
    "posts": posts_of,
    "metrics": metrics_of,
    "scores": scores_of,
}


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    kind, path : what was imported, from where
    series : the series it went to, for people to read
    read : rows in the file
    added, unchanged, revised : facts stored anew, there already, stored as corrections
    duplicates : rows the file itself said twice
    empty : cells of wide metric files that hold nothing
    quarantined : bad rows by reason
    quarantined_new : how many of them were not in quarantine before
    first_ns, last_ns : span of the facts' event times; 0 when there are none
    notes : what was decided on the way, one sentence each
    """

    kind: str
    path: str
    series: tuple[str, ...]
    read: int
    added: int
    unchanged: int
    revised: int
    duplicates: int
    empty: int
    quarantined: Mapping[str, int]
    quarantined_new: int
    first_ns: int
    last_ns: int
    notes: tuple[str, ...]


def import_file(store: Store, kind: str, path: Path, options: ImportOptions, ingested_ns: int) -> ImportReport:
    """Bring a file's rows into the store.

    Parameters
    ----------
    store : Store
    kind : {"bars", "posts", "metrics", "scores"}
    path : Path
    options : ImportOptions
    ingested_ns : int
        Now: what is dated later, or not finished by then, is set apart.

    Raises
    ------
    InputError or InputErrors
        The file, or what was said about it, is wrong, or not one row of it is usable; nothing was stored.
    """
    if kind not in _INTAKES:
        raise InputError("nothing that can be imported", key="kind", value=kind, remedy=f"One of {', '.join(_INTAKES)}")
    raw = read_rows(
        path, names=options.names, delimiter=options.delimiter, encoding=options.encoding, records=options.records
    )
    sheet = Sheet(raw, options)
    batch = _INTAKES[kind](sheet, options, ingested_ns)
    if batch.facts.num_rows == 0:
        raise _nothing_usable(sheet, batch)
    done = store.append(batch.kind, batch.facts, rejects=batch.rejects, origin=Path(path).name, hashed=True)
    notes = list(batch.notes)
    if done.known_differs:
        notes.append(
            f"{done.known_differs} rows were stored before with another known time; the stored one stays "
            "(tidegate data --forget takes a series out, to import it anew)"
        )
    if done.revised:
        notes.append(
            f"{done.revised} rows differ from stored ones: kept as revisions, known from this import on at the earliest"
        )
    reasons = {pair["values"]: pair["counts"] for pair in pc.value_counts(batch.rejects["reason"]).to_pylist()}
    contradicting = batch.facts.num_rows - done.added - done.unchanged - done.revised - done.duplicates
    if contradicting:
        reasons[CONTRADICTION] = contradicting
    span = pc.min_max(batch.facts["event_ns"]).as_py()
    return ImportReport(
        kind=kind,
        path=str(path),
        series=_series(batch.kind, batch.facts),
        read=sheet.rows + raw.broken.num_rows,
        added=done.added,
        unchanged=done.unchanged,
        revised=done.revised,
        duplicates=done.duplicates,
        empty=batch.empty,
        quarantined=dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        quarantined_new=done.quarantined,
        first_ns=span["min"],
        last_ns=span["max"],
        notes=tuple(notes),
    )


def _nothing_usable(sheet: Sheet, batch: Batch) -> InputError:
    counts = pc.value_counts(batch.rejects["reason"]).to_pylist()
    counts.sort(key=lambda pair: -pair["counts"])
    reasons = "; ".join(f"{pair['counts']} × {pair['values']}" for pair in counts[:4])
    example = batch.rejects["content"][0].as_py()[:160] if batch.rejects.num_rows else ""
    if not reasons:
        reasons = f"{batch.empty} empty cells" if batch.empty else "no rows"
    return InputError(
        f"not one usable row: {reasons}",
        where=sheet.where,
        value=example or None,
        remedy="Nothing was stored. Check which columns were taken (--map) and how times are written",
    )


def _series(kind: str, facts: pa.Table) -> tuple[str, ...]:
    names = list(LISTED_BY[kind])
    rows = facts.select(names).group_by(names).aggregate([]).to_pylist()
    return tuple(sorted(series_name(kind, row) for row in rows))
