"""A client id is placed once, ever: durable before the order leaves, so also after a crash and a restart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from data.errors import InputError, WorkError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS placed (
    client_id TEXT PRIMARY KEY,
    ns INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    purpose TEXT NOT NULL,
    is_exit INTEGER NOT NULL,
    notional TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT '',
    venue_id TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID
"""


HOPS = 6  # turns of the loop in which further orders of one decision may come before their ids are written


@dataclass(frozen=True)
class Claim:
    """A client id that is about to be taken, and for what."""

    client_id: str
    ns: int
    symbol: str
    side: str
    purpose: str
    is_exit: bool
    notional: Decimal

    @property
    def row(self) -> tuple[str | int, ...]:
        """As it is stored."""
        is_exit, notional = int(self.is_exit), str(self.notional)
        return (self.client_id, self.ns, self.symbol, self.side, self.purpose, is_exit, notional)


@dataclass(frozen=True)
class Spent:
    """One order that was placed: when (ns), worth what in quote, and whether it was an exit."""

    client_id: str
    ns: int
    notional: Decimal
    is_exit: bool


class Once:
    """The ledger of placed client ids, in `file` (SQLite, WAL, synchronous FULL).

    Raises
    ------
    InputError
        The file is damaged, or its durability can't be had.
    """

    def __init__(self, file: Path) -> None:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._waiting: list[tuple[Claim, asyncio.Future[bool]]] = []
        self._base = sqlite3.connect(file, isolation_level=None)
        try:
            mode = self._base.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            self._base.execute("PRAGMA synchronous = FULL")
            full = self._base.execute("PRAGMA synchronous").fetchone()[0]
            sound = self._base.execute("PRAGMA quick_check").fetchone()[0]
            self._base.execute(_SCHEMA)
            self._base.execute("CREATE INDEX IF NOT EXISTS by_ns ON placed (ns)")
            self._base.execute("CREATE INDEX IF NOT EXISTS by_venue_id ON placed (venue_id)")
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise InputError(f"the ledger of placed orders is damaged ({error})", where=file) from None
        if (mode, full, sound) != ("wal", 2, "ok"):
            self._base.close()
            raise InputError(f"the ledger of placed orders isn't safe here: {mode}, {full}, {sound}", where=file)

    async def claim(self, claim: Claim) -> bool:
        """Take a client id, durably; False when it was ever taken before. Those that come together share one sync.

        Raises
        ------
        WorkError
            It couldn't be made durable: nothing may be sent.
        """
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((claim, taken))
        if len(self._waiting) == 1:
            loop.call_soon(self._gather, loop, HOPS)
        return await taken

    def _gather(self, loop: asyncio.AbstractEventLoop, hops: int) -> None:
        if hops:
            loop.call_soon(self._gather, loop, hops - 1)
            return
        waiting, self._waiting = self._waiting, []
        try:
            taken = self.take([claim for claim, _ in waiting])
        except WorkError as error:
            for _, one in waiting:
                if not one.done():
                    one.set_exception(error)
            return
        for (_, one), new in zip(waiting, taken, strict=True):
            if not one.done():
                one.set_result(new)

    def take(self, claims: Sequence[Claim]) -> list[bool]:
        """Take client ids at once, durably; which of them were never taken before.

        Raises
        ------
        WorkError
            None of them could be made durable.
        """
        found = []
        try:
            self._base.execute("BEGIN IMMEDIATE")
            for claim in claims:
                found.append(self._insert(claim))
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            raise WorkError(f"the ledger of placed orders can't be written: {error}") from error
        return found

    def _insert(self, claim: Claim) -> bool:
        try:
            self._base.execute(
                "INSERT INTO placed (client_id, ns, symbol, side, purpose, is_exit, notional) VALUES (?,?,?,?,?,?,?)",
                claim.row,
            )
        except sqlite3.IntegrityError:
            return False
        return True

    def settle(self, client_id: str, outcome: str, venue_id: str = "", *, left: bool = True) -> None:
        """Note what became of a placed id; `left` False takes its notional out of the caps. Never frees the id."""
        notional = "" if left else ", notional = '0'"
        try:
            self._base.execute(
                f"UPDATE placed SET outcome = ?, venue_id = ?{notional} WHERE client_id = ?",
                (outcome, venue_id, client_id),
            )
        except sqlite3.Error as error:
            raise WorkError(f"the ledger of placed orders can't be written: {error}") from error

    def since(self, ns: int) -> Iterator[Spent]:
        """What was placed from `ns` on, in order."""
        rows = self._base.execute(
            "SELECT client_id, ns, notional, is_exit FROM placed WHERE ns >= ? ORDER BY ns", (ns,)
        )
        for client_id, placed_ns, notional, is_exit in rows:
            yield Spent(client_id, placed_ns, Decimal(notional), bool(is_exit))

    def purpose(self, client_id: str) -> str | None:
        """What an order was placed for; None when we didn't place it."""
        row = self._base.execute("SELECT purpose FROM placed WHERE client_id = ?", (client_id,)).fetchone()
        return None if row is None else str(row[0])

    def client_of(self, venue_id: str) -> str:
        """Our client id of an order by the venue's; "" when it isn't known."""
        row = self._base.execute("SELECT client_id FROM placed WHERE venue_id = ?", (venue_id,)).fetchone()
        return "" if row is None or not venue_id else str(row[0])

    def close(self) -> None:
        """Close the file."""
        self._base.close()
