"""What is new in the store's posts: so many at a time, oldest first; what can't be scored yet stays in the store.

A look reads identities from the newest post that was taken on, in a window that grows until it holds enough, and then
the contents of those that are taken. A commit may write older posts into a larger file once more: those are told from
new ones by their ids, kept for what was written within a day of the newest. Posts that came with an older time (an
import) are missing in the count of rows, and then looked for behind.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.manifest import Manifest
from data.times import DAY_NS, SECOND_NS
from signals.scoring import CONTENT, Job

LOOK_POSTS: Final = 4_096
"""Posts that a look gives at most."""

SEEN_NS: Final = DAY_NS
"""A post that says it was written longer before the newest one counts as seen."""

MARGIN_NS: Final = 10 * SECOND_NS
"""Commits overlap: posts so much older than the newest one that was taken are looked at again."""

WINDOW_NS: Final = 30 * SECOND_NS
IDENTITY: Final = ("source", "key", "revision", "known_ns", "ingested_ns")


class Watch:
    """What is new in the store's posts, since the last look."""

    def __init__(self, job: Job) -> None:
        self.left = False  # the last look left posts behind
        self._job = job
        self._sequence = -1
        self._checked = -1  # as of when posts with an older time were looked for
        self._low_ns = 0  # known time of the newest post taken
        self._counted = 0  # rows of the store that were seen
        self._seen: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # ascending
        self._written: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # when each of them was written

    def look(self) -> pa.Table | None:
        """The oldest posts that no look gave yet, in total order, with their ids; None when there is none.

        The first look gives none: it marks what is there.
        """
        manifest = self._job.store.manifest("posts")
        if manifest.sequence == self._sequence and not self.left and _rows(manifest) == self._counted:
            return None
        if self._sequence < 0:
            self._mark(manifest)
            return None
        rows, ids, self.left = self._ahead(manifest)
        if not rows.num_rows:
            rows, ids = self._behind(manifest)
        self._sequence = manifest.sequence
        return self._contents(rows, ids) if rows.num_rows else None

    def waiting(self) -> int:
        """Posts in the store that no look gave yet."""
        return max(0, _rows(self._job.store.manifest("posts")) - self._counted)

    def _mark(self, manifest: Manifest) -> None:
        rows = self._job.store.table("posts", columns=IDENTITY)
        self._sequence = self._checked = manifest.sequence
        self._counted = rows.num_rows
        if rows.num_rows:
            self._remember(self._job.ids(rows), rows["ingested_ns"].to_numpy())
            self._low_ns = int(rows["known_ns"].to_numpy()[-1])

    def _ahead(self, manifest: Manifest) -> tuple[pa.Table, NDArray[np.int64], bool]:
        """New posts from the newest one taken on, and whether there are more."""
        newest = max((part.known_max for part in manifest.parts), default=0)
        span = WINDOW_NS
        while True:
            until = self._low_ns + span
            rows, ids = self._new(self._low_ns - MARGIN_NS, until)
            if rows.num_rows >= LOOK_POSTS or until > newest:
                break
            span *= 4
        more = rows.num_rows > LOOK_POSTS or until <= newest
        rows, ids = rows.slice(0, LOOK_POSTS), ids[:LOOK_POSTS]
        self._take(rows, ids)
        if rows.num_rows:
            self._low_ns = max(self._low_ns, int(rows["known_ns"][-1].as_py()))
        return rows, ids, more

    def _behind(self, manifest: Manifest) -> tuple[pa.Table, NDArray[np.int64]]:
        """Posts that came with an older time, where the count says that there are such."""
        total = _rows(manifest)
        fresh = [part.known_min for part in manifest.parts if part.sequence > self._checked]
        rows, ids = self._new(min(fresh), None) if fresh and total > self._counted else self._new(0, 0)
        self._take(rows, ids)
        self._checked, self._counted = manifest.sequence, total
        return rows, ids

    def _new(self, since_ns: int, until_ns: int | None) -> tuple[pa.Table, NDArray[np.int64]]:
        """Identities known in a span that weren't seen, and their ids."""
        rows = self._job.store.table("posts", None, since_ns, until_ns, IDENTITY)
        if len(self._written):
            recent = pc.greater_equal(rows["ingested_ns"], int(self._written.max()) - SEEN_NS)
            rows = rows.filter(recent)
        ids = self._job.ids(rows)
        new = ~self._is_seen(ids)
        return rows.filter(pa.array(new)), ids[new]

    def _contents(self, rows: pa.Table, ids: NDArray[np.int64]) -> pa.Table:
        """The posts themselves, of the sources that are wanted."""
        known = rows["known_ns"].to_numpy()
        where = {"source": self._job.options.sources}
        found = self._job.store.table("posts", where, int(known[0]), int(known[-1]) + 1, CONTENT)
        here = self._job.ids(found)
        wanted = np.isin(here, ids)
        return found.append_column("id", pa.array(here)).filter(pa.array(wanted))

    def _take(self, rows: pa.Table, ids: NDArray[np.int64]) -> None:
        self._counted += rows.num_rows
        self._remember(ids, rows["ingested_ns"].to_numpy())

    def _is_seen(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not len(self._seen):
            return np.zeros(len(ids), dtype=bool)
        at = np.minimum(np.searchsorted(self._seen, ids), len(self._seen) - 1)
        found: NDArray[np.bool_] = self._seen[at] == ids
        return found

    def _remember(self, ids: NDArray[np.int64], written: NDArray[np.int64]) -> None:
        if not len(ids):
            return
        seen, when = np.concatenate([self._seen, ids]), np.concatenate([self._written, written])
        kept = when >= when.max() - SEEN_NS
        seen, when = seen[kept], when[kept]
        order = np.argsort(seen, kind="stable")
        self._seen, self._written = seen[order], when[order]


def _rows(manifest: Manifest) -> int:
    return sum(part.rows for part in manifest.parts)
