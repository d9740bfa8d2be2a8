"""One commit of a recorder, in a thread of its own: facts first, then deletions, cursors and signs of life.

The law of this file is its order. What feeds are told is durable was stored before; a cursor is written after the facts
that it lies behind; a source counts as up on disk before the store says so, and as down after. Killed anywhere between,
the next start finds facts that come again (the store drops them) and gaps that are told twice, but nothing lost.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bot.record.coverage import Marker, marker_table
from bot.record.memory import Heard, Kept, write_heard, write_kept
from data.feed import Batch, Card
from data.intake_feed import Intake, to_facts
from data.manifest import disk_error
from data.store import Store
from data.times import SECOND_NS

LOG = logging.getLogger("tidegate.record")
ORIGIN: Final = "record"
LATE_NS: Final = SECOND_NS
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LAGS: Final = 64
"""Lags kept of one feed and commit."""


@dataclass(frozen=True)
class Line:
    """What a feed handed over since the last commit, in order."""

    name: str
    card: Card
    batches: Sequence[Batch]
    cursor: Mapping[str, Any] | None


@dataclass
class Job:
    """All of one commit."""

    lines: Sequence[Line]
    markers: Sequence[Marker]
    heard: Mapping[str, Heard]
    purge: bool = False


@dataclass
class Report:
    """What a commit did.

    Attributes
    ----------
    refused : dict of str to Exception
        Feeds whose batches couldn't be made facts (a fault of their source's file): nothing of them was stored.
    facts, late : Counter
        Facts and late ones by feed.
    posts : Counter
        Posts by feed.
    lags_ns : dict of str to list of int
        From event to known, of some facts of each feed.
    """

    begun_ns: int = 0
    ended_ns: int = 0
    refused: dict[str, Exception] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    gone: Counter[str] = field(default_factory=Counter)
    lags_ns: dict[str, list[int]] = field(default_factory=dict)
    added: int = 0
    revised: int = 0
    unchanged: int = 0
    purged: int = 0


class Committer:
    """Makes jobs durable; `commit` is called by one thread at a time.

    Parameters
    ----------
    store : Store
    folder : Path
        The recorder's (`VAR/feeds`).
    kept : mapping of feed to Kept
        What was read of it at the start.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        now_ns: Callable[[], int],
        kept: Mapping[str, Kept],
        heard: Mapping[str, Heard],
    ) -> None:
        self.kept = dict(kept)
        self._store, self._folder, self._now_ns = store, folder, now_ns
        self._heard = dict(heard)  # as on disk

    @property
    def heard(self) -> dict[str, Heard]:
        """The signs of life that are on disk."""
        return dict(self._heard)

    @property
    def gone_waiting(self) -> int:
        """Deletions that wait for their purge."""
        return sum(len(keys) for kept in self.kept.values() for keys in kept.gone.values())

    def commit(self, job: Job) -> Report:
        """Store a job.

        Raises
        ------
        InputError, WorkError
            The disk or the store refused; what of it was stored already does no harm when it is tried again.
        """
        report = Report(begun_ns=self._now_ns())
        intakes = {line.name: found for line in job.lines if (found := self._intake(line, report)) is not None}
        try:
            self._turn_up(job.heard)
            self._append(intakes, job.markers, report)
            self._keep(job, intakes)
            if job.purge:
                report.purged = self._purge()
            if job.heard != self._heard:
                write_heard(self._folder, job.heard)
                self._heard = dict(job.heard)
        except OSError as error:
            raise disk_error(error, self._folder) from error
        report.ended_ns = self._now_ns()
        return report

    # --- facts --------------------------------------------------------------------------------------------------------
    def _intake(self, line: Line, report: Report) -> Intake | None:
        """Facts of a feed; None when its source's file handed over what isn't any."""
        batches = [self._on_time(line.name, batch, report) for batch in line.batches]
        try:
            found = to_facts(line.card, batches, ingested_ns=report.begun_ns)
        except Exception as error:
            report.refused[line.name] = error
            del report.late[line.name]
            return None
        report.facts[line.name] = found.count
        report.spoilt[line.name] = sum(table.num_rows for table in found.rejects.values())
        report.gone[line.name] = sum(len(keys) for keys in found.gone.values())
        posts = found.facts.get("posts")
        report.posts[line.name] = 0 if posts is None else posts.num_rows
        report.lags_ns[line.name] = _lags(posts if posts is not None else found.facts.get("metrics"))
        return found

    def _on_time(self, name: str, batch: Batch, report: Report) -> Batch:
        """A live batch that waited too long counts as known when it is written: nobody could have used it before."""
        if batch.history or report.begun_ns - batch.arrived_ns <= LATE_NS:
            return batch
        report.late[name] += len(batch.items)
        return replace(batch, arrived_ns=report.begun_ns)

    def _append(self, intakes: Mapping[str, Intake], markers: Sequence[Marker], report: Report) -> None:
        """All feeds' posts in one append, all metrics in one, all bars in one."""
        begun = report.begun_ns
        for kind in ("posts", "metrics", "bars"):
            tables = [found.facts[kind] for found in intakes.values() if kind in found.facts]
            if kind == "metrics" and markers:
                known = [replace(one, known_ns=begun) if begun - one.known_ns > LATE_NS else one for one in markers]
                tables.append(marker_table(known, begun))
            rejects = [found.rejects[kind] for found in intakes.values() if kind in found.rejects]
            bad = pa.concat_tables(rejects) if rejects else None
            if tables:
                added = self._store.append(
                    kind, pa.concat_tables(tables).combine_chunks(), rejects=bad, origin=ORIGIN, hashed=True
                )
                report.added += added.added
                report.revised += added.revised
                report.unchanged += added.unchanged + added.duplicates
            elif bad is not None:
                self._store.quarantine(kind, bad, ORIGIN)

    # --- memory -------------------------------------------------------------------------------------------------------
    def _turn_up(self, heard: Mapping[str, Heard]) -> None:
        """Sources that begin to be up: on disk before the store says so."""
        fresh = {name: one for name, one in heard.items() if one.up and not self._heard.get(name, Heard()).up}
        if fresh:
            told = {**self._heard, **fresh}
            write_heard(self._folder, told)
            self._heard = told

    def _keep(self, job: Job, intakes: Mapping[str, Intake]) -> None:
        """Cursors, and deletions to come."""
        for line in job.lines:
            found = intakes.get(line.name)
            if found is None:
                continue
            before = self.kept[line.name]
            cursor = before.cursor if line.cursor is None else line.cursor
            gone = _joined(before.gone, found.gone) if found.gone else before.gone
            kept = Kept(line.card.name, cursor, gone)
            if kept != before:
                write_kept(self._folder, line.name, kept)
                self.kept[line.name] = kept

    def _purge(self) -> int:
        """Purge what sources want deleted; forgotten only after it is done."""
        purged = 0
        for name, kept in self.kept.items():
            if not kept.gone:
                continue
            for source, keys in kept.gone.items():
                purged += self._store.purge(source, keys)
            done = replace(kept, gone={})
            write_kept(self._folder, name, done)
            self.kept[name] = done
        return purged


def is_full(error: BaseException) -> bool:
    """True for a refusal that ends when somebody makes room on the disk."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in FULL


def _joined(before: Mapping[str, list[str]], more: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {
        source: list(dict.fromkeys([*before.get(source, []), *more.get(source, [])]))
        for source in (*before, *(name for name in more if name not in before))
    }


def _lags(table: pa.Table | None) -> list[int]:
    if table is None or not table.num_rows:
        return []
    step = max(1, table.num_rows // LAGS)
    found: list[int] = (table["known_ns"].to_numpy() - table["event_ns"].to_numpy())[::step].astype(np.int64).tolist()
    return found
