"""Purge what was written in posts that their authors deleted: key, times, revisions and scores stay, the text goes.

It is the one change of stored rows. The hash of the old contents stays with the row, so that the same post, delivered
once more, is known as a repetition and doesn't come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.facts import SCHEMAS
from data.keys import key_hashes, may_hold, write_keys
from data.manifest import Part, commit, read_table, sweep, transaction, write_table

PURGED = ("text", "author", "url")
"""Columns of a post that become empty."""


def purge(root: Path, source: str, keys: Sequence[str]) -> int:
    """Empty the texts of posts, all revisions, in one commit; see `data.store.Store.purge`."""
    folder = root / "posts"
    asked = pa.table({"source": pa.repeat(pa.scalar(source), len(keys)), "key": pa.array(list(keys), pa.string())})
    hashes = np.unique(key_hashes("posts", asked))
    with transaction(folder) as before:
        parts: list[Part] = []
        purged = 0
        for number, part in enumerate(before.parts):
            count, left = _without(folder, part, source, asked["key"], hashes, before.sequence + 1, number)
            purged += count
            parts.append(left)
        if not purged:
            return 0
        gone = tuple(sorted({part.file for part in before.parts} - {part.file for part in parts}))
        after = replace(before, sequence=before.sequence + 1, parts=tuple(parts), retired=gone)
        commit(folder, after)
        sweep(folder, replace(after, retired=()))  # the old files hold what has to go: now, not one commit later
        return purged


def _without(
    folder: Path, part: Part, source: str, keys: pa.ChunkedArray, hashes: np.ndarray, sequence: int, number: int
) -> tuple[int, Part]:
    """How many rows of a part were emptied, and the part as it is then; its sequence stays: nothing in it is new."""
    if not may_hold("posts", folder, part, hashes):
        return 0, part
    rows = read_table(folder / part.file)
    wanted = pc.and_(pc.equal(rows["source"], source), pc.is_in(rows["key"], value_set=keys.combine_chunks()))
    wanted = pc.and_(wanted, pc.not_equal(rows["text"], ""))
    count = int(pc.sum(wanted).as_py() or 0)
    if not count:
        return 0, part
    for name in PURGED:
        at = rows.column_names.index(name)
        rows = rows.set_column(at, SCHEMAS["posts"].field(name), pc.if_else(wanted, "", rows[name]))
    name = f"part-{sequence:08d}-p{number:03d}.parquet"
    write_table(folder / name, rows, packed=("known_ns",))
    write_keys("posts", folder / name, rows)
    return count, replace(part, file=name)
