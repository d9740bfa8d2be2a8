"""What a new row means beside the rows already stored: an addition, nothing new, a revision, or a contradiction.

The law of this file: history is never rewritten. A row that differs from what was believed at its own ``known_ns``
becomes the next revision, known no earlier than everything stored about the same thing, and, when it claims to be known
earlier than that, not before it was ingested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.facts import DATED, IDENTITY

Int64 = np.ndarray[Any, np.dtype[np.int64]]

CONTRADICTION = "contradicting rows known at the same time"


@dataclass(frozen=True)
class Merged:
    """Outcome of a merge: the rows to store, the contradicting ones, those said twice, and the counts."""

    fresh: pa.Table
    contradicting: pa.Table
    repeated: pa.Table
    added: int
    revised: int
    unchanged: int
    known_differs: int


def row_identity(kind: str, table: pa.Table) -> pa.Array:
    """One value per row that is equal for rows about the same thing, within one filed series."""
    if kind in DATED:
        return table["event_ns"].combine_chunks()
    names = ["source", *(name for name in IDENTITY[kind] if name not in ("model", "model_revision"))]
    texts = [table[name].combine_chunks() for name in names]
    return pc.binary_join_element_wise(*texts, pa.scalar("\x1f"))


def merge(kind: str, incoming: pa.Table, stored: pa.Table) -> Merged:
    """Compare incoming rows of one series with the stored ones.

    Parameters
    ----------
    kind : str
    incoming : pyarrow.Table
        Complete rows of one filed series (see `data.facts.SCHEMAS`).
    stored : pyarrow.Table
        At least the identity, ``known_ns``, ``revision`` and ``payload`` of the stored rows of that series that are
        about the same things as incoming ones; others make no difference.
    """
    keys = row_identity(kind, incoming)
    again = incoming.slice(0, 0)
    repeated = _repeated(keys)
    if repeated.any():
        first = _first_of_equals(incoming, keys)
        again = incoming.filter(pa.array(~first))
        incoming = incoming.filter(pa.array(first)).combine_chunks()
        keys = row_identity(kind, incoming)
        repeated = _repeated(keys)
    old_keys = row_identity(kind, stored)
    at = pc.index_in(keys, value_set=old_keys)
    found = pc.is_valid(at).to_numpy(zero_copy_only=False)
    new = ~found & ~repeated
    if new.all():
        return Merged(incoming, incoming.slice(0, 0), again, incoming.num_rows, 0, 0, 0)
    # The common second import of the same file: one stored row, equal payload. Decided without a loop.
    position = pc.fill_null(at, 0).to_numpy(zero_copy_only=False)
    several = pc.is_in(keys, value_set=_several(old_keys, stored)).to_numpy(zero_copy_only=False)
    plain = found & ~repeated & ~several
    same = np.zeros(len(found), dtype=bool)
    differs = 0
    if plain.any():
        old_payload = stored["payload"].to_numpy()[position]
        same = plain & (incoming["payload"].to_numpy() == old_payload)
        differs = int((same & (incoming["known_ns"].to_numpy() != stored["known_ns"].to_numpy()[position])).sum())
    merged = _resolve_rest(incoming, stored, keys, old_keys, new, same, differs)
    return replace(merged, repeated=again)


def _repeated(keys: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mask of the rows whose key occurs more than once in the table itself."""
    counts = pc.value_counts(keys)
    if len(counts) == len(keys):
        return np.zeros(len(keys), dtype=bool)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    mask: np.ndarray[Any, np.dtype[np.bool_]] = pc.is_in(keys, value_set=twice).to_numpy(zero_copy_only=False)
    return mask


def _first_of_equals(incoming: pa.Table, keys: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mask of rows that are the first of their kind: same key, same known time, same payload."""
    at = pa.array(np.arange(len(keys)))
    whole = pa.table({"key": keys, "known": incoming["known_ns"], "payload": incoming["payload"], "at": at})
    firsts = whole.group_by(["key", "known", "payload"]).aggregate([("at", "min")])["at_min"]
    mask = np.zeros(len(keys), dtype=bool)
    mask[firsts.to_numpy()] = True
    return mask


def _several(old_keys: pa.Array, stored: pa.Table) -> pa.Array:
    """Stored keys with more than one revision."""
    return old_keys.filter(pc.greater(stored["revision"].combine_chunks(), 0))


def _resolve_rest(
    incoming: pa.Table, stored: pa.Table, keys: pa.Array, old_keys: pa.Array, new: Any, same: Any, differs: int
) -> Merged:
    rest = np.flatnonzero(~new & ~same)
    revision = np.zeros(incoming.num_rows, dtype=np.int32)
    known = incoming["known_ns"].to_numpy().copy()
    keep = new.copy()
    contradicting = np.zeros(incoming.num_rows, dtype=bool)
    unchanged = int(same.sum())
    revised = 0
    if len(rest):
        groups = _histories(keys.take(pa.array(rest)), old_keys, stored)
        ingested = incoming["ingested_ns"].to_numpy()
        payload = incoming["payload"].to_numpy()
        for history, members in groups:
            rows = sorted((int(known[rest[m]]), int(rest[m])) for m in members)
            for at in _contradictions([(when, int(payload[row]), row) for when, row in rows]):
                contradicting[at] = True
            for when, row in rows:
                if contradicting[row]:
                    continue
                verdict = history.offer(when, int(ingested[row]), int(payload[row]))
                if verdict is None:
                    unchanged += 1
                    continue
                keep[row] = True
                known[row], revision[row] = verdict
                revised += verdict[1] > 0
    fresh = incoming
    fresh = fresh.set_column(fresh.column_names.index("known_ns"), fresh.schema.field("known_ns"), pa.array(known))
    fresh = fresh.set_column(fresh.column_names.index("revision"), fresh.schema.field("revision"), pa.array(revision))
    fresh = fresh.filter(pa.array(keep))
    return Merged(
        fresh=fresh,
        contradicting=incoming.filter(pa.array(contradicting)),
        repeated=incoming.slice(0, 0),
        added=fresh.num_rows - revised,
        revised=revised,
        unchanged=unchanged,
        known_differs=differs,
    )


def _contradictions(rows: Sequence[tuple[int, int, int]]) -> list[int]:
    """Rows about one thing, known at the same time, with differing payloads: none of them can be trusted."""
    by_time: dict[int, set[int]] = {}
    for when, payload, _ in rows:
        by_time.setdefault(when, set()).add(payload)
    return [row for when, _, row in rows if len(by_time[when]) > 1]


class _History:
    """The revisions of one thing, oldest first."""

    def __init__(self, revisions: list[tuple[int, int, int]]) -> None:
        self.revisions = sorted(revisions)  # (revision, known_ns, payload)

    def offer(self, known_ns: int, ingested_ns: int, payload: int) -> tuple[int, int] | None:
        """``(known_ns, revision)`` to store a row under, or None when it says nothing new."""
        if not self.revisions:
            return self._add(known_ns, payload)
        believed = [stored for stored in self.revisions if stored[1] <= known_ns]
        if believed and believed[-1][2] == payload:
            return None
        latest_known = self.revisions[-1][1]
        if known_ns > latest_known:
            return self._add(known_ns, payload)
        if any(stored[2] == payload for stored in self.revisions):
            return None  # an older copy of the same file, imported again
        return self._add(max(ingested_ns, latest_known), payload)

    def _add(self, known_ns: int, payload: int) -> tuple[int, int]:
        revision = self.revisions[-1][0] + 1 if self.revisions else 0
        self.revisions.append((revision, known_ns, payload))
        return known_ns, revision


def _histories(keys: pa.Array, old_keys: pa.Array, stored: pa.Table) -> list[tuple[_History, list[int]]]:
    """For each distinct key: its stored history and the positions of the offered rows."""
    members: dict[Any, list[int]] = {}
    for position, key in enumerate(keys.to_pylist()):
        members.setdefault(key, []).append(position)
    mask = pc.is_in(old_keys, value_set=pc.unique(keys))
    past: dict[Any, list[tuple[int, int, int]]] = {}
    touched = stored.select(["revision", "known_ns", "payload"]).filter(mask)
    rows = zip(*[touched[name].to_pylist() for name in ("revision", "known_ns", "payload")], strict=True)
    for key, row in zip(old_keys.filter(mask).to_pylist(), rows, strict=True):
        past.setdefault(key, []).append(row)
    return [(_History(past.get(key, [])), positions) for key, positions in members.items()]
