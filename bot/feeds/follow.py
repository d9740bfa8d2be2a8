"""Follows one kind of stored facts as they are appended: every row once, none lost, in memory that stays bounded.

A commit may write older rows into a larger file once more, so new rows are told from old ones by what they are about:
eight bytes for each row written within a day of the newest one. A row that says it was written longer ago than that
counts as seen; how many rows of a commit can't be explained so is counted (`unexplained`), so that it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.facts import IDENTITY, SCHEMAS
from data.layout import FILED_UNDER, ORDER, total_order
from data.manifest import Part, read_table
from data.store import Store
from data.times import DAY_NS

KEEP_NS = DAY_NS


class Follower:
    """What is new of a kind since the last look.

    Parameters
    ----------
    where : mapping of column to allowed values
        Which rows; as for `Store.table`.
    names : sequence of str
        Columns that are wanted.
    """

    def __init__(self, store: Store, kind: str, where: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
        self.unexplained = 0
        self._store, self._kind, self._where = store, kind, where
        self._names = list(names)
        identity = ("source", *IDENTITY[kind], "event_ns", "revision")
        self._identity = list(dict.fromkeys(identity))
        self._needed = list(dict.fromkeys([*names, *identity, *ORDER[kind], "ingested_ns"]))
        self._stamp: tuple[int, int] | None = None
        self._sequence = 0
        self._rows = 0
        self._seen = np.empty(0, np.uint64)
        self._seen_ns = np.empty(0, np.int64)

    def look(self) -> pa.Table | None:
        """Rows that weren't there at the last look, in total order; None when nothing was written since.

        Raises
        ------
        InputError
            The store is damaged.
        """
        stamp = self._state()
        if stamp is None or stamp == self._stamp:
            return None
        while True:
            manifest = self._store.manifest(self._kind)
            parts = [part for part in manifest.parts if self._is_wanted(part)]
            fresh = [part for part in parts if part.sequence > self._sequence]
            try:
                tables = [self._read(part) for part in fresh]
                break
            except FileNotFoundError:
                continue  # a writer tidied it away since; the manifest names its successor by now
        rows = sum(part.rows for part in parts)
        grown = rows - self._rows
        self._sequence, self._rows, self._stamp = manifest.sequence, rows, stamp
        table = pa.concat_tables([SCHEMAS[self._kind].empty_table().select(self._needed), *tables])
        new = self._unseen(table)
        if grown > new.num_rows:
            self.unexplained += grown - new.num_rows
        for name, allowed in self._where.items():
            new = new.filter(pc.is_in(new[name], value_set=pa.array(list(allowed), new[name].type)))
        return new.take(total_order(self._kind, new)).select(self._names)

    def _state(self) -> tuple[int, int] | None:
        try:
            found = (self._store.root / self._kind / "manifest.json").stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_mtime_ns, found.st_ino

    def _is_wanted(self, part: Part) -> bool:
        filed = zip(FILED_UNDER[self._kind], part.series, strict=True)
        return all(name not in self._where or value in self._where[name] for name, value in filed)

    def _read(self, part: Part) -> pa.Table:
        table = read_table(self._store.root / self._kind / part.file, self._needed).select(self._needed)
        if self._sequence and len(self._seen_ns):
            table = table.filter(pc.greater_equal(table["ingested_ns"], int(self._seen_ns.max()) - KEEP_NS))
        return table

    def _unseen(self, table: pa.Table) -> pa.Table:
        """Rows not seen before; remembers those of the last day."""
        ids = row_ids(table.select(self._identity))
        new = ~np.isin(ids, self._seen)
        self._seen = np.concatenate([self._seen, ids[new]])
        self._seen_ns = np.concatenate([self._seen_ns, table["ingested_ns"].to_numpy()[new]])
        if len(self._seen):
            kept = self._seen_ns >= self._seen_ns.max() - KEEP_NS
            self._seen, self._seen_ns = self._seen[kept], self._seen_ns[kept]
        return table.filter(pa.array(new))


def row_ids(table: pa.Table) -> Any:
    """Eight bytes for each row's values, u8[n]."""
    import pandas as pd

    if not table.num_rows:
        return np.empty(0, np.uint64)
    frame = table.to_pandas()
    return pd.util.hash_pandas_object(frame, index=False, categorize=True).to_numpy().astype(np.uint64)
