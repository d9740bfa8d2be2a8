"""What a pinned model has already said of which text, and which posts need no second look; a file one may delete.

One SQLite file a model under ``var/cache/scores``. It only saves work: scores that count stand in the store. Deleting
it makes the next run link all posts again, and score those that have no score in the store. It also keeps the first
texts of the newest near-duplicate clusters, so that a run goes on where the one before it ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from signals.duplicates import First

Row = tuple[float, float, float]
Heard = tuple[int, str, int]
"""Cluster, coin, and what `signals.duplicates.turns` makes of the text."""
_TABLES: Final = """
create table if not exists texts (key blob primary key, bearish real, neutral real, bullish real) without rowid;
create table if not exists posts (id integer primary key, linked integer not null);
create table if not exists firsts (number integer primary key, cluster integer, known_ns integer, signature blob);
create table if not exists heard (
    cluster integer, coin text, turns integer, key blob, primary key (cluster, coin, turns)
) without rowid;
"""
_ASK_AT_ONCE: Final = 500


class ScoreCache:
    """The cache of one model; a context manager.

    Parameters
    ----------
    var : Path
        The run-time folder.
    fingerprint : str
        `signals.models.fingerprint` of the model.

    Raises
    ------
    InputError
        The file is damaged or can't be written.
    """

    def __init__(self, var: Path, fingerprint: str) -> None:
        folder = Path(var) / "cache" / "scores"
        self.path = folder / f"{fingerprint[:32]}.sqlite"
        with self._named():
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
            try:
                self._base.execute("pragma journal_mode = wal")
                self._base.execute("pragma synchronous = normal")
                self._base.executescript(_TABLES)
            except BaseException:
                self._base.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def scores(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Known probabilities by text key (see `signals.text.text_key`)."""
        rows = self._matching("select key, bearish, neutral, bullish from texts where key in", keys)
        return {key: (down, even, up) for key, down, even, up in rows}

    def _matching(self, asked: str, values: Sequence[bytes] | Sequence[int]) -> list[tuple[Any, ...]]:
        """Rows of a query that ends before its list of values, asked for some values at a time."""
        found: list[tuple[Any, ...]] = []
        with self._named():
            for start in range(0, len(values), _ASK_AT_ONCE):
                piece = values[start : start + _ASK_AT_ONCE]
                found += self._base.execute(f"{asked} ({','.join('?' * len(piece))})", piece)
        return found

    def keep_scores(self, scores: Mapping[bytes, Row]) -> None:
        """Remember probabilities; durable when this returns, but for a power cut."""
        rows = [(key, *row) for key, row in scores.items()]
        self._write("insert or replace into texts values (?, ?, ?, ?)", rows)

    def posts(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids of the posts done, ascending, and whether each has rows in the store."""
        with self._named():
            rows = self._base.execute("select id, linked from posts order by id").fetchall()
        table = np.array(rows, dtype=np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1] != 0

    def keep_posts(self, posts: Mapping[int, bool]) -> None:
        """Remember posts as done: id, and whether rows of it went to the store."""
        rows = [(post, int(linked)) for post, linked in posts.items()]
        self._write("insert or replace into posts values (?, ?)", rows)

    def firsts(self) -> list[First]:
        """First texts of the newest clusters, oldest first."""
        with self._named():
            asked = "select number, cluster, known_ns, signature from firsts order by number"
            return [First(*row) for row in self._base.execute(asked)]

    def heard(self, clusters: Sequence[int]) -> dict[Heard, bytes]:
        """Whose score stands for a cluster: text keys by (cluster, coin, turns), of texts that have a score."""
        asked = "select cluster, coin, turns, key from heard join texts using (key) where cluster in"
        return {(cluster, coin, turn): key for cluster, coin, turn, key in self._matching(asked, clusters)}

    def keep_clusters(self, opened: Sequence[First], heard: Mapping[Heard, bytes], kept: int) -> None:
        """Remember new clusters and whose score stands for them; those older than the newest `kept` go."""
        self._write("insert or replace into firsts values (?, ?, ?, ?)", opened)
        self._write("insert or replace into heard values (?, ?, ?, ?)", [(*of, key) for of, key in heard.items()])
        if opened:
            oldest = [(opened[-1].number - kept + 1,)]
            gone = "select cluster from firsts where number < ?"
            self._write(f"delete from heard where cluster in ({gone})", oldest)
            self._write("delete from firsts where number < ?", oldest)

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        with self._named(), closing(self._base.cursor()) as cursor:
            cursor.execute("begin immediate")
            try:
                cursor.executemany(statement, rows)
            except BaseException:
                cursor.execute("rollback")
                raise
            cursor.execute("commit")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            remedy = "Free space or mend the folder's rights; nothing that was scored is lost"
            raise InputError(f"the score cache can't be used: {error}", where=self.path, remedy=remedy) from error
        except sqlite3.DatabaseError as error:
            remedy = "Delete it: it only saves work, stored scores stay"
            raise InputError(f"the score cache is damaged: {error}", where=self.path, remedy=remedy) from error
        except OSError as error:
            raise InputError(f"can't be made ({error.strerror})", where=self.path.parent) from error
