"""A journal in memory, with the same chain: for simulated worlds, where one hash stands for a whole run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from bot.journal.chain import GENESIS, Record, canonical, check_stamp, digest


class MemoryJournal:
    """Keeps records as the journal does, as long as the process lives.

    >>> journal = MemoryJournal({"bot": "00c0ffee"})
    >>> journal.append(1, "event", {"is": "Tick"})
    2
    >>> journal.commit()
    >>> [record.kind for record in journal.records()]
    ['header', 'event']
    """

    def __init__(self, header: dict[str, Any], *, ns: int = 0) -> None:
        self._rows: list[tuple[int, int, str, str, bytes]] = []
        self._committed = 0
        self.append(ns, "header", header)
        self.commit()
        self.header = header

    def append(self, ns: int, kind: str, body: dict[str, Any]) -> int:
        """Add a record to the open transaction; its sequence number."""
        check_stamp(ns, kind)
        text = canonical(body)
        seq = len(self._rows) + 1
        previous = self._rows[-1][4] if self._rows else GENESIS
        self._rows.append((seq, ns, kind, text, digest(previous, seq, ns, kind, text)))
        return seq

    def commit(self) -> None:
        """Keep what was appended."""
        self._committed = len(self._rows)

    def rollback(self) -> None:
        """Forget what was appended since the last commit."""
        del self._rows[self._committed :]

    def records(self, since: int = 0, kinds: Collection[str] | None = None) -> Iterator[Record]:
        """Committed records after number `since`, of those kinds, in order."""
        for seq, ns, kind, text, stored in self._rows[max(since, 0) : self._committed]:
            if kinds is None or kind in kinds:
                yield Record(seq, ns, kind, json.loads(text), stored.hex())

    def record(self, seq: int) -> Record | None:
        """One committed record by its number; None when there is none."""
        return next(self.records(seq - 1), None) if 1 <= seq <= self._committed else None

    def head(self) -> tuple[int, str]:
        """Number and hash of the last committed record."""
        row = self._rows[self._committed - 1]
        return row[0], row[4].hex()

    def last(self, kind: str) -> Record | None:
        """The newest committed record of a kind."""
        for seq, ns, found, text, stored in reversed(self._rows[: self._committed]):
            if found == kind:
                return Record(seq, ns, kind, json.loads(text), stored.hex())
        return None

    @property
    def origin(self) -> str:
        """Hash of the first record: names the journal."""
        return self._rows[0][4].hex()

    def close(self) -> None:
        """Nothing to let go of."""
