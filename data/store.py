"""The store: append-only Parquet under ``var/facts``, revisions kept, read in the order facts became known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.append import Appended, write
from data.bars import BarSeries, count_qualities, read_bars
from data.errors import InputError
from data.facts import IDENTITY, KINDS, SCHEMAS, columns, conform
from data.forget import forget
from data.layout import FILED_UNDER, ORDER, check_facts, total_order
from data.manifest import Manifest, read_manifest, read_table

if TYPE_CHECKING:
    import pandas as pd

    from data.quality import CatalogRow

__all__ = ["Appended", "BarSeries", "Store"]

T = TypeVar("T")
Where = Mapping[str, Iterable[Any] | None]


class Store:
    """Facts under ``var/facts/<kind>/``.

    Parameters
    ----------
    var : Path
        The run-time folder. It need not exist; reading an absent store finds nothing.
    """

    def __init__(self, var: Path) -> None:
        self.var = Path(var)
        self.root = self.var / "facts"

    def append(
        self,
        kind: str,
        table: pa.Table,
        *,
        rejects: pa.Table | None = None,
        origin: str = "",
        spans: Mapping[str, Sequence[tuple[int, int]]] | None = None,
        hashed: bool = False,
    ) -> Appended:
        """Add facts, all of them or none.

        A row equal to one already stored (same source, identity, event and values) adds nothing; one that differs
        becomes the next revision. Rows that contradict each other inside the table are quarantined.

        Parameters
        ----------
        kind : str
        table : pyarrow.Table
            The kind's columns; ``revision`` and ``payload`` may be absent and are worked out anyway.
        rejects : pyarrow.Table, optional
            Bad rows to quarantine in the same commit, see `quarantine`.
        origin : str
            Where the rows came from: a file's name, an exchange.
        spans : mapping, optional
            Named time spans to remember in the same commit (see `data.manifest.Manifest`).
        hashed : bool
            The table comes straight from `data.facts.fact_table`, so its payloads need not be worked out again.

        Raises
        ------
        InputError
            Disk full or not writable, or the store is damaged.
        ValueError
            When the table is not of the kind (a fault of the caller, not of the user).
        """
        conformed = table if hashed and table.schema == SCHEMAS[kind] else conform(kind, table)
        check_facts(kind, conformed)
        return write(self.root, kind, conformed, rejects=rejects, origin=origin, spans=spans)

    def quarantine(self, kind: str, rows: pa.Table, origin: str) -> int:
        """Keep bad rows apart, counted by reason; the same rows twice are kept once.

        Parameters
        ----------
        rows : pyarrow.Table
            A text column ``reason``, optionally ``row`` (line number) and ``series``; all else is the row as it was.
        origin : str

        Returns
        -------
        int
            Rows newly quarantined.
        """
        return write(self.root, kind, None, rejects=rows, origin=origin).quarantined

    def forget(self, kind: str, where: Mapping[str, str]) -> int:
        """Take series out of the store, all revisions: for what was imported under a wrong lag, symbol or name.

        Their quarantined rows, duplicate counts and remembered spans go as well; they come back with the next import or
        fetch.

        Parameters
        ----------
        where : mapping of column to value
            All of them have to match, for example ``{"source": "coinmetrics", "name": "exchange_netflow"}``.

        Returns
        -------
        int
            Rows removed.
        """
        if not where:
            raise InputError("what shall be forgotten?", where=self.root / kind, remedy="Name at least the source")
        return forget(self.root, kind, where)

    def purge(self, source: str, keys: Sequence[str]) -> int:
        """Empty the texts of posts that their authors deleted, all revisions; keys, times and scores stay.

        Returns
        -------
        int
            Rows emptied; keys that aren't stored make no difference.

        Raises
        ------
        InputError
            Disk full or not writable, or the store is damaged.
        """
        from data.purge import purge

        return purge(self.root, source, keys) if keys else 0

    def bars(
        self,
        symbol: str,
        interval_ns: int,
        since_ns: int | None = None,
        until_ns: int | None = None,
        source: str | None = None,
    ) -> BarSeries:
        """Bars that open in ``[since_ns, until_ns)``, each as it stood at its own close.

        A correction counts only when it was known at the bar's close; a later one doesn't rewrite history. A bar whose
        first row came after its close keeps that row, with its later ``known_ns``.

        Raises
        ------
        InputError
            No such bars, none in the span, several sources to choose from, or a damaged file.
        """
        folder = self.root / "bars"
        return self._reading(
            "bars", lambda manifest: read_bars(folder, manifest, symbol, interval_ns, since_ns, until_ns, source)
        )

    def bar_qualities(self, series: BarSeries) -> dict[str, int]:
        """Rows by point-in-time quality in the span of bars read before."""
        return self._reading("bars", lambda manifest: count_qualities(self.root / "bars", manifest, series))

    def sentiment(
        self,
        model: str,
        model_revision: str,
        coins: Sequence[str] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> pd.DataFrame:
        """Scores of one pinned model, all revisions, known in ``[since_ns, until_ns)``, in total order."""
        where: Where = {"model": [model], "model_revision": [model_revision], "coin": coins}
        return self._frame("sentiment", where, since_ns, until_ns)

    def metrics(
        self,
        names: Sequence[str] | None = None,
        coins: Sequence[str] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        source: str | None = None,
    ) -> pd.DataFrame:
        """Metric values, all revisions, known in ``[since_ns, until_ns)``, in total order; None means all."""
        where: Where = {"name": names, "coin": coins, "source": None if source is None else [source]}
        return self._frame("metrics", where, since_ns, until_ns)

    def posts(
        self,
        since_ns: int | None = None,
        until_ns: int | None = None,
        sources: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Posts, all revisions, known in ``[since_ns, until_ns)``, in total order; chosen columns only, if given."""
        return self._frame("posts", {"source": sources}, since_ns, until_ns, columns)

    def table(
        self,
        kind: str,
        where: Where | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Stored rows of a kind, all revisions, known in ``[since_ns, until_ns)``, in total order, as Arrow.

        Parameters
        ----------
        where : mapping of column to allowed values (None: all)
        """
        return self._reading(
            kind, lambda manifest: self._table(manifest, kind, where or {}, since_ns, until_ns, columns)
        )

    def digest(
        self, kind: str, where: Where | None = None, since_ns: int | None = None, until_ns: int | None = None
    ) -> str:
        """SHA-256 over the identity, times, revision and payload of the rows that `table` would give."""
        names = ["source", *IDENTITY[kind], "event_ns", "known_ns", "revision", "payload"]
        rows = self.table(kind, where, since_ns, until_ns, columns=names).combine_chunks()
        sha256 = hashlib.sha256(f"{kind}|{rows.num_rows}".encode())
        for name in names:
            values = rows[name]
            if pa.types.is_string(values.type):
                sha256.update("\x1f".join(values.to_pylist()).encode("utf-8", "surrogatepass"))
            else:
                sha256.update(np.ascontiguousarray(values.to_numpy()).data)
        return sha256.hexdigest()

    def rejects(self, kind: str) -> pa.Table:
        """Quarantined rows of a kind: origin, series, reason, row and content (JSON), oldest first."""
        return self._reading(kind, lambda manifest: self._rejects(manifest, kind))

    def query(self, sql: str) -> pa.Table:
        """Ask DuckDB; the views ``bars``, ``posts``, ``sentiment`` and ``metrics`` are the stored rows.

        Raises
        ------
        InputError
            When the query is wrong.
        """
        import duckdb

        with duckdb.connect() as session:
            try:
                for kind in KINDS:
                    session.execute(f"CREATE VIEW {kind} AS {self._rows_sql(kind)}")
                return session.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                reason = str(error).splitlines()[0]
                if ".parquet" in reason:
                    raise InputError(
                        f"a stored file is damaged or gone ({reason})",
                        where=self.root,
                        remedy="Restore it from a backup, or move its folder away and import or fetch again",
                    ) from error
                raise InputError(f"the query failed ({reason})", key="sql", value=sql) from error

    def _rows_sql(self, kind: str) -> str:
        files = [str(self.root / kind / part.file).replace("'", "''") for part in self.manifest(kind).parts]
        if files:
            return "SELECT * FROM read_parquet([" + ", ".join(f"'{file}'" for file in files) + "])"
        types = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.float64(): "DOUBLE"}
        nothing = ", ".join(f"NULL::{types[field.type]} AS {field.name}" for field in SCHEMAS[kind])
        return f"SELECT {nothing} WHERE false"

    def catalog(self) -> list[CatalogRow]:
        """What is stored, one row per series, see `data.quality.catalog`."""
        from data.quality import catalog

        return catalog(self)

    def manifest(self, kind: str) -> Manifest:
        """The current manifest of a kind."""
        return read_manifest(self.root / kind)

    def _frame(
        self,
        kind: str,
        where: Where,
        since_ns: int | None,
        until_ns: int | None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        frame: pd.DataFrame = self.table(kind, where, since_ns, until_ns, columns).to_pandas()
        return frame

    def _table(
        self,
        manifest: Manifest,
        kind: str,
        where: Where,
        since_ns: int | None,
        until_ns: int | None,
        wanted: Sequence[str] | None,
    ) -> pa.Table:
        filters = {name: [str(value) for value in values] for name, values in where.items() if values is not None}
        names = list(columns(kind)) if wanted is None else list(wanted)
        needed = list(dict.fromkeys([*names, *ORDER[kind], *filters]))
        tables = []
        for part in sorted(manifest.parts, key=lambda part: part.sequence):
            outside = (since_ns is not None and part.known_max < since_ns) or (
                until_ns is not None and part.known_min >= until_ns
            )
            filed = dict(zip(FILED_UNDER[kind], part.series, strict=True))
            if outside or any(name in filed and filed[name] not in allowed for name, allowed in filters.items()):
                continue
            span = ("known_ns", since_ns, until_ns)
            rows = read_table(self.root / kind / part.file, needed, span=span).select(needed)
            tables.append(_keep(rows, filters, since_ns, until_ns))
        if not tables:
            return SCHEMAS[kind].empty_table().select(names)
        whole = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        if len(tables) > 1 or kind == "bars":
            whole = whole.take(total_order(kind, whole))
        return whole.select(names)

    def _rejects(self, manifest: Manifest, kind: str) -> pa.Table:
        tables = []
        for reject in manifest.rejects:
            rows = read_table(self.root / kind / reject.file)
            tables.append(rows.add_column(0, "origin", pa.repeat(pa.scalar(reject.origin), rows.num_rows)))
        if not tables:
            texts = {name: pa.array([], pa.string()) for name in ("origin", "series", "reason")}
            return pa.table({**texts, "row": pa.array([], pa.int64()), "content": pa.array([], pa.string())})
        return pa.concat_tables(tables)

    def _reading(self, kind: str, read: Callable[[Manifest], T]) -> T:
        """Read at one manifest; once more when a writer tidied its files away in between."""
        try:
            return read(self.manifest(kind))
        except FileNotFoundError:
            pass
        try:
            return read(self.manifest(kind))
        except FileNotFoundError as error:
            raise InputError(
                "a stored file is gone",
                where=error.filename or self.root / kind,
                remedy=f"Restore it from a backup, or move the folder {self.root / kind} away and import again",
            ) from error


def _keep(rows: pa.Table, filters: Mapping[str, list[str]], since_ns: int | None, until_ns: int | None) -> pa.Table:
    for name, allowed in filters.items():
        values = pa.array(allowed, pa.string()).cast(rows[name].type)
        rows = rows.filter(pc.is_in(rows[name], value_set=values))
    if since_ns is not None:
        rows = rows.filter(pc.greater_equal(rows["known_ns"], since_ns))
    if until_ns is not None:
        rows = rows.filter(pc.less(rows["known_ns"], until_ns))
    return rows
