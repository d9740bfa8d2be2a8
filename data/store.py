"""The store: append-only Parquet under ``var/facts``, revisions kept, read in the order facts became known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import InputError
from data.facts import DATED, IDENTITY, KINDS, QUALITIES, SCHEMAS, columns, conform
from data.manifest import (
    Manifest,
    Part,
    Rejects,
    commit,
    describe,
    disk_error,
    locked,
    read_manifest,
    read_table,
    sweep,
    write_table,
)
from data.merge import CONTRADICTION, merge
from data.times import format_duration

if TYPE_CHECKING:
    import pandas as pd

    from data.quality import CatalogRow

F8 = np.ndarray[Any, np.dtype[np.float64]]
I8 = np.ndarray[Any, np.dtype[np.int64]]
T = TypeVar("T")

FILED_UNDER: Mapping[str, tuple[str, ...]] = {
    "bars": ("source", "symbol", "interval_ns"),
    "posts": (),
    "sentiment": ("model", "model_revision"),
    "metrics": ("source", "name", "coin"),
}
"""Columns that decide which file a row goes to."""

ORDER: Mapping[str, tuple[str, ...]] = {
    kind: ("known_ns", "source", *IDENTITY[kind], "event_ns", "revision") for kind in KINDS
}
"""The total order of one kind; rows that tie on all of it keep the order they were stored in."""

PART_ROWS_MAX = 4_000_000
REJECT_COLUMNS = ("reason", "row", "content")


@dataclass(frozen=True)
class Appended:
    """What an append did; ``known_differs`` counts unchanged rows that claimed another ``known_ns`` (the first stays)."""

    added: int = 0
    unchanged: int = 0
    revised: int = 0
    quarantined: int = 0
    known_differs: int = 0


@dataclass(frozen=True)
class BarSeries:
    """Bars of one symbol, oldest first, one per open time, as they stood at their own close.

    Arrays have shape (n,): ``open_ns`` and ``known_ns`` int64 nanoseconds UTC, prices in quote, ``volume`` in base units.
    """

    symbol: str
    interval_ns: int
    source: str
    open_ns: I8
    open: F8
    high: F8
    low: F8
    close: F8
    volume: F8
    known_ns: I8

    def __len__(self) -> int:
        return len(self.open_ns)

    @property
    def close_ns(self) -> I8:
        """Close times: open plus one interval."""
        return self.open_ns + self.interval_ns

    @cached_property
    def sha256(self) -> str:
        """Hash of all values and times: two runs on equal bars have equal hashes."""
        digest = hashlib.sha256(f"{self.symbol}|{self.interval_ns}|{self.source}|{len(self)}".encode())
        for array in (self.open_ns, self.known_ns, self.open, self.high, self.low, self.close, self.volume):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


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

    # ---- writing -------------------------------------------------------------------------------------------------

    def append(self, kind: str, table: pa.Table, *, rejects: pa.Table | None = None, origin: str = "") -> Appended:
        """Add facts, all of them or none.

        A row equal to one already stored (same source, identity, event and values) adds nothing; one that differs becomes
        the next revision. Rows that contradict each other inside the table are quarantined.

        Parameters
        ----------
        kind : str
        table : pyarrow.Table
            The kind's columns; ``revision`` and ``payload`` may be absent and are worked out anyway.
        rejects : pyarrow.Table, optional
            Bad rows to quarantine in the same commit, see `quarantine`.
        origin : str
            Where the rows came from: a file's name, an exchange.

        Raises
        ------
        InputError
            Disk full or not writable, or the store is damaged.
        ValueError
            When the table is not of the kind (a fault of the caller, not of the user).
        """
        conformed = conform(kind, table)
        check_facts(kind, conformed)
        return self._write(kind, conformed, rejects, origin)

    def quarantine(self, kind: str, rows: pa.Table, origin: str) -> int:
        """Keep bad rows apart, counted by reason; the same rows twice are kept once.

        Parameters
        ----------
        rows : pyarrow.Table
            A text column ``reason``, optionally ``row`` (line number); the other columns are the row as it was.
        origin : str

        Returns
        -------
        int
            Rows newly quarantined.
        """
        return self._write(kind, None, rows, origin).quarantined

    def _write(self, kind: str, table: pa.Table | None, rejects: pa.Table | None, origin: str) -> Appended:
        folder = self.root / kind
        with locked(folder):
            before = read_manifest(folder)
            written: list[str] = []
            try:
                sweep(folder, before)
                return self._write_locked(kind, before, table, rejects, origin, written)
            except OSError as error:
                for name in written:
                    (folder / name).unlink(missing_ok=True)
                raise disk_error(error, folder) from error

    def _write_locked(
        self,
        kind: str,
        before: Manifest,
        table: pa.Table | None,
        rejects: pa.Table | None,
        origin: str,
        written: list[str],
    ) -> Appended:
        folder = self.root / kind
        sequence = before.sequence + 1
        total = Appended()
        parts = list(before.parts)
        bad = [] if rejects is None or rejects.num_rows == 0 else [reject_table(rejects)]
        for number, (series, rows) in enumerate(split_series(kind, table)):
            merged = merge(kind, rows, self._stored_keys(kind, series, rows, before))
            total = _sum(total, Appended(merged.added, merged.unchanged, merged.revised, 0, merged.known_differs))
            if merged.contradicting.num_rows:
                reasons = pa.repeat(CONTRADICTION, merged.contradicting.num_rows)
                bad.append(reject_table(merged.contradicting.append_column("reason", reasons)))
            if merged.fresh.num_rows:
                parts = self._place(kind, series, merged.fresh, parts, f"{sequence:08d}-{number:04d}", written)
        new_rejects = self._new_rejects(before, folder, bad, origin)
        if not written and new_rejects is None:
            return total
        all_rejects = before.rejects
        if new_rejects is not None:
            name = f"rejects-{sequence:08d}.parquet"
            written.append(name)
            write_table(folder / name, new_rejects)
            counts = {pair["values"]: pair["counts"] for pair in pc.value_counts(new_rejects["reason"]).to_pylist()}
            all_rejects += (Rejects(name, origin, new_rejects.num_rows, counts, sequence),)
            total = replace(total, quarantined=new_rejects.num_rows)
        kept = {part.file for part in parts}
        retired = tuple(part.file for part in before.parts if part.file not in kept)
        after = Manifest(sequence, tuple(parts), all_rejects, retired)
        commit(folder, after)
        return total

    def _place(
        self, kind: str, series: tuple[str, ...], fresh: pa.Table, parts: list[Part], stem: str, written: list[str]
    ) -> list[Part]:
        """Write fresh rows, taking in the series' smaller newest parts so that reading never meets many."""
        folder = self.root / kind
        mine = sorted((part for part in parts if part.series == series), key=lambda part: -part.sequence)
        absorbed: list[Part] = []
        rows = fresh.num_rows
        for part in mine:
            if part.rows > 2 * rows or part.rows + rows > PART_ROWS_MAX:
                break
            absorbed.append(part)
            rows += part.rows
        tables = [read_table(folder / part.file) for part in reversed(absorbed)]
        whole = pa.concat_tables([*tables, fresh]) if tables else fresh
        whole = sort_rows(kind, whole)
        name = f"part-{stem}.parquet"
        written.append(name)
        packed = ("event_ns", "known_ns") if kind in DATED else ("known_ns",)
        write_table(folder / name, whole, sorted_columns=packed)
        gone = {part.file for part in absorbed}
        sequence = int(stem.partition("-")[0])
        return [part for part in parts if part.file not in gone] + [
            describe(whole, file=name, series=series, sequence=sequence)
        ]

    def _stored_keys(self, kind: str, series: tuple[str, ...], rows: pa.Table, manifest: Manifest) -> pa.Table:
        wanted = ["known_ns", "revision", "payload"]
        wanted += ["event_ns"] if kind in DATED else ["source", *IDENTITY[kind]]
        span = pc.min_max(rows["event_ns"]).as_py()
        near = [
            part
            for part in manifest.parts
            if part.series == series
            and (kind not in DATED or (part.event_min <= span["max"] and part.event_max >= span["min"]))
        ]
        tables = [read_table(self.root / kind / part.file, wanted).select(wanted) for part in near]
        if not tables:
            return SCHEMAS[kind].empty_table().select(wanted)
        return pa.concat_tables(tables).combine_chunks()

    def _new_rejects(self, before: Manifest, folder: Path, bad: list[pa.Table], origin: str) -> pa.Table | None:
        """The rejected rows not yet in quarantine under this origin; None when there are none."""
        if not bad:
            return None
        rows = pa.concat_tables(bad)
        held: set[tuple[str, int, str]] = set()
        for reject in before.rejects:
            if reject.origin == origin:
                kept = read_table(folder / reject.file, list(REJECT_COLUMNS))
                held |= set(zip(*[kept[name].to_pylist() for name in REJECT_COLUMNS], strict=True))
        mask = [row not in held for row in zip(*[rows[name].to_pylist() for name in REJECT_COLUMNS], strict=True)]
        fresh = rows.filter(pa.array(mask, pa.bool_()))
        return fresh if fresh.num_rows else None

    # ---- reading -------------------------------------------------------------------------------------------------

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
        return self._reading(
            "bars", lambda manifest: self._bars(manifest, symbol, interval_ns, since_ns, until_ns, source)
        )

    def _bars(
        self,
        manifest: Manifest,
        symbol: str,
        interval_ns: int,
        since_ns: int | None,
        until_ns: int | None,
        source: str | None,
    ) -> BarSeries:
        chosen = choose_source(self.root, manifest, symbol, interval_ns, source)
        parts = [part for part in manifest.parts if part.series == (chosen, symbol, str(interval_ns))]
        names = ["event_ns", "known_ns", "open", "high", "low", "close", "volume"]
        near = sorted(
            (
                part
                for part in parts
                if (since_ns is None or part.event_max >= since_ns) and (until_ns is None or part.event_min < until_ns)
            ),
            key=lambda part: (part.event_min, part.sequence),
        )
        simple = not any(part.revised for part in near) and all(
            first.event_max < second.event_min for first, second in zip(near, near[1:], strict=False)
        )
        wanted = names if simple else [*names, "revision"]
        tables = [read_table(self.root / "bars" / part.file, wanted) for part in near]
        held = {name: _column(tables, name) for name in wanted}
        if not simple:
            held = _as_of_close(held, interval_ns)
        low = 0 if since_ns is None else int(np.searchsorted(held["event_ns"], since_ns))
        high = len(held["event_ns"]) if until_ns is None else int(np.searchsorted(held["event_ns"], until_ns))
        if high <= low:
            from data.quality import empty_span

            raise empty_span(self.root, parts, symbol, interval_ns, since_ns, until_ns)
        cut = {name: held[name][low:high] for name in names}
        return BarSeries(
            symbol=symbol,
            interval_ns=interval_ns,
            source=chosen,
            open_ns=cut["event_ns"],
            open=cut["open"],
            high=cut["high"],
            low=cut["low"],
            close=cut["close"],
            volume=cut["volume"],
            known_ns=cut["known_ns"],
        )

    def sentiment(
        self,
        model: str,
        model_revision: str,
        coins: Sequence[str] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> pd.DataFrame:
        """Scores of one pinned model, all revisions, known in ``[since_ns, until_ns)``, in total order."""
        return self._frame(
            "sentiment", {"model": [model], "model_revision": [model_revision], "coin": coins}, since_ns, until_ns
        )

    def metrics(
        self,
        names: Sequence[str] | None = None,
        coins: Sequence[str] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        source: str | None = None,
    ) -> pd.DataFrame:
        """Metric values, all revisions, known in ``[since_ns, until_ns)``, in total order; None means all."""
        sources = None if source is None else [source]
        return self._frame("metrics", {"name": names, "coin": coins, "source": sources}, since_ns, until_ns)

    def posts(
        self,
        since_ns: int | None = None,
        until_ns: int | None = None,
        sources: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Posts, all revisions, known in ``[since_ns, until_ns)``, in total order; chosen columns only, if given."""
        frame = self._frame("posts", {"source": sources}, since_ns, until_ns)
        return frame if columns is None else frame[list(columns)]

    def table(
        self,
        kind: str,
        where: Mapping[str, Iterable[Any] | None] | None = None,
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
        self,
        kind: str,
        where: Mapping[str, Iterable[Any] | None] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
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

    def catalog(self) -> list[CatalogRow]:
        """What is stored, one row per series, see `data.quality.catalog`."""
        from data.quality import catalog

        return catalog(self)

    def manifest(self, kind: str) -> Manifest:
        """The current manifest of a kind."""
        return read_manifest(self.root / kind)

    def _frame(
        self, kind: str, where: Mapping[str, Iterable[Any] | None], since_ns: int | None, until_ns: int | None
    ) -> pd.DataFrame:
        frame: pd.DataFrame = self.table(kind, where, since_ns, until_ns).to_pandas()
        return frame

    def _table(
        self,
        manifest: Manifest,
        kind: str,
        where: Mapping[str, Iterable[Any] | None],
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
            rows = read_table(self.root / kind / part.file, needed).select(needed)
            tables.append(_keep(rows, filters, since_ns, until_ns))
        if not tables:
            return SCHEMAS[kind].empty_table().select(names)
        whole = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        if len(tables) > 1 or kind == "bars":
            whole = whole.take(total_order(kind, whole))
        return whole.select(names)

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
                where=error.filename,
                remedy=f"Restore it from a backup, or move the folder {self.root / kind} away and import again",
            ) from error


def check_facts(kind: str, table: pa.Table) -> None:
    """Raise ValueError when rows break a promise every fact keeps (a fault of the caller)."""
    if table.num_rows == 0:
        return
    if not set(pc.unique(table["quality"]).to_pylist()) <= set(QUALITIES):
        raise ValueError(f"{kind}: quality must be one of {', '.join(QUALITIES)}")
    if pc.any(pc.less(table["known_ns"], table["event_ns"])).as_py():
        raise ValueError(f"{kind}: known before it happened")
    if kind == "bars":
        closes = pc.add(table["event_ns"], table["interval_ns"])
        if pc.any(pc.less(table["known_ns"], closes)).as_py():
            raise ValueError("bars: known before its close")
    for name in ("open", "high", "low", "close", "volume", "value", "score"):
        if name in table.column_names and not pc.all(pc.is_finite(table[name])).as_py():
            raise ValueError(f"{kind}: {name} is not finite")


def split_series(kind: str, table: pa.Table | None) -> list[tuple[tuple[str, ...], pa.Table]]:
    """A table's rows by the series they are filed under."""
    if table is None or table.num_rows == 0:
        return []
    names = FILED_UNDER[kind]
    if not names:
        return [((), table)]
    distinct = table.select(names).group_by(list(names)).aggregate([]).to_pylist()
    if len(distinct) == 1:
        return [(tuple(str(distinct[0][name]) for name in names), table)]
    found = []
    for series in distinct:
        mask = pc.equal(table[names[0]], series[names[0]])
        for name in names[1:]:
            mask = pc.and_(mask, pc.equal(table[name], series[name]))
        found.append((tuple(str(series[name]) for name in names), table.filter(mask)))
    return sorted(found, key=lambda item: item[0])


def total_order(kind: str, table: pa.Table) -> pa.Array:
    """Row numbers of a table in the kind's total order; ties keep their order."""
    keyed = table.select(ORDER[kind]).append_column("at", pa.array(np.arange(table.num_rows)))
    return pc.sort_indices(keyed, sort_keys=[(name, "ascending") for name in (*ORDER[kind], "at")])


def sort_rows(kind: str, table: pa.Table) -> pa.Table:
    """Rows as they are filed: bars by open time and revision, all else in total order."""
    if kind != "bars":
        return table.take(total_order(kind, table))
    event = table["event_ns"].to_numpy()
    revision = table["revision"].to_numpy()
    if bool((np.diff(event) > 0).all()):
        return table
    return table.take(pa.array(np.lexsort((revision, event))))


def choose_source(root: Path, manifest: Manifest, symbol: str, interval_ns: int, source: str | None) -> str:
    """The one source that has these bars, or an error that names what there is."""
    interval = str(interval_ns)
    there = sorted({part.series for part in manifest.parts})
    sources = [series[0] for series in there if series[1:] == (symbol, interval)]
    if source in sources or (source is None and len(sources) == 1):
        return source or sources[0]
    wanted = f"{symbol} {format_duration(interval_ns)}"
    if source is None and sources:
        raise InputError(
            f"bars of {wanted} come from several sources: {', '.join(sources)}",
            where=root,
            key="source",
            remedy=f'Choose one, for example source = "{sources[0]}"',
        )
    near = [f"{s[1]} {format_duration(int(s[2]))} from {s[0]}" for s in there]
    raise InputError(
        f"no bars of {wanted}" + (f" from {source}" if source else ""),
        where=root,
        key="symbol",
        value=symbol,
        remedy="Bring them with tidegate fetch bars or tidegate import bars; stored: "
        + (", ".join(near[:12]) or "nothing"),
    )


def reject_table(rows: pa.Table) -> pa.Table:
    """Quarantined rows in their stored form: reason, row number (-1 unknown), the original content as JSON text."""
    import json

    rest = [name for name in rows.column_names if name not in ("reason", "row")]
    if rest == ["content"]:
        content = rows["content"].to_pylist()
    else:
        content = [json.dumps(row, default=str, sort_keys=False) for row in rows.select(rest).to_pylist()]
    number = rows["row"].to_pylist() if "row" in rows.column_names else [-1] * rows.num_rows
    return pa.table(
        {
            "reason": pa.array(rows["reason"].to_pylist(), pa.string()),
            "row": pa.array(number, pa.int64()),
            "content": pa.array(content, pa.string()),
        }
    )


def _keep(rows: pa.Table, filters: Mapping[str, list[str]], since_ns: int | None, until_ns: int | None) -> pa.Table:
    for name, allowed in filters.items():
        values = pa.array(allowed).cast(rows[name].type) if allowed else pa.array([], rows[name].type)
        rows = rows.filter(pc.is_in(rows[name], value_set=values))
    if since_ns is not None:
        rows = rows.filter(pc.greater_equal(rows["known_ns"], since_ns))
    if until_ns is not None:
        rows = rows.filter(pc.less(rows["known_ns"], until_ns))
    return rows


def _column(tables: list[pa.Table], name: str) -> Any:
    if not tables:
        return np.empty(0, dtype=np.int64 if name.endswith("_ns") else np.float64)
    chunks = [chunk for table in tables for chunk in table[name].chunks]
    return np.concatenate([chunk.to_numpy() for chunk in chunks])


def _as_of_close(held: dict[str, Any], interval_ns: int) -> dict[str, Any]:
    """One row per open time: the newest revision known at the close, else the first."""
    order = np.lexsort((held["revision"], held["event_ns"]))
    held = {name: values[order] for name, values in held.items()}
    usable = (held["revision"] == 0) | (held["known_ns"] <= held["event_ns"] + interval_ns)
    held = {name: values[usable] for name, values in held.items()}
    last = np.append(np.diff(held["event_ns"]) > 0, True)
    return {name: values[last] for name, values in held.items()}


def _sum(first: Appended, second: Appended) -> Appended:
    return Appended(
        first.added + second.added,
        first.unchanged + second.unchanged,
        first.revised + second.revised,
        first.quarantined + second.quarantined,
        first.known_differs + second.known_differs,
    )
