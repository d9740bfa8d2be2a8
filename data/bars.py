"""Bars read fast: one row per open time, each as it stood at its own close."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import InputError
from data.manifest import Manifest, Part, read_table
from data.times import format_duration, format_time

F8 = np.ndarray[Any, np.dtype[np.float64]]
I8 = np.ndarray[Any, np.dtype[np.int64]]

_COLUMNS = ["event_ns", "known_ns", "open", "high", "low", "close", "volume"]


@dataclass(frozen=True)
class BarSeries:
    """Bars of one symbol, oldest first, one per open time, as they stood at their own close.

    Arrays have shape (n,): ``open_ns`` and ``known_ns`` int64 nanoseconds UTC, prices in quote, ``volume`` in base
    units.
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


def read_bars(
    folder: Path,
    manifest: Manifest,
    symbol: str,
    interval_ns: int,
    since_ns: int | None,
    until_ns: int | None,
    source: str | None,
) -> BarSeries:
    """Bars that open in ``[since_ns, until_ns)``; see `data.store.Store.bars`.

    Raises
    ------
    InputError
        No such bars, none in the span, several sources, a damaged file.
    """
    chosen = choose_source(folder, manifest, symbol, interval_ns, source)
    parts = [part for part in manifest.parts if part.series == (chosen, symbol, str(interval_ns))]
    near = [
        part
        for part in parts
        if (since_ns is None or part.event_max >= since_ns) and (until_ns is None or part.event_min < until_ns)
    ]
    near.sort(key=lambda part: (part.event_min, part.sequence))
    apart = all(first.event_max < second.event_min for first, second in zip(near, near[1:], strict=False))
    simple = apart and not any(part.revised for part in near)
    wanted = _COLUMNS if simple else [*_COLUMNS, "revision"]
    span = ("event_ns", since_ns, until_ns)
    tables = [read_table(folder / part.file, wanted, span=span) for part in near]
    held = {name: _column(tables, name) for name in wanted}
    if not simple:
        held = _as_of_close(held, interval_ns)
    opens = held["event_ns"]
    first = 0 if since_ns is None else int(np.searchsorted(opens, since_ns))
    last = len(opens) if until_ns is None else int(np.searchsorted(opens, until_ns))
    if last <= first:
        raise _empty_span(folder, parts, symbol, interval_ns, since_ns, until_ns)
    cut = {name: held[name][first:last] for name in _COLUMNS}
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


def count_qualities(folder: Path, manifest: Manifest, series: BarSeries) -> dict[str, int]:
    """Rows by point-in-time quality among those stored in the span of `series`, revisions included."""
    counts: dict[str, int] = {}
    first, last = int(series.open_ns[0]), int(series.open_ns[-1])
    for part in manifest.parts:
        if part.series != (series.source, series.symbol, str(series.interval_ns)):
            continue
        if part.event_max < first or part.event_min > last:
            continue
        rows = read_table(folder / part.file, ["event_ns", "quality"], span=("event_ns", first, last + 1))
        inside = pc.and_(pc.greater_equal(rows["event_ns"], first), pc.less_equal(rows["event_ns"], last))
        for row in rows.filter(inside)["quality"].value_counts().to_pylist():
            counts[row["values"]] = counts.get(row["values"], 0) + row["counts"]
    return counts


def choose_source(folder: Path, manifest: Manifest, symbol: str, interval_ns: int, source: str | None) -> str:
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
            where=folder,
            key="source",
            remedy=f'Choose one, for example source = "{sources[0]}"',
        )
    near = [f"{series[1]} {format_duration(int(series[2]))} from {series[0]}" for series in there]
    more = "" if len(near) <= 12 else f" and {len(near) - 12} more (tidegate data lists them)"
    raise InputError(
        f"no bars of {wanted}" + (f" from {source}" if source else ""),
        where=folder,
        key="symbol",
        value=symbol,
        remedy="Bring them with tidegate fetch bars or tidegate import bars; stored are "
        + (", ".join(near[:12]) + more if near else "none at all"),
    )


def _empty_span(
    folder: Path, parts: Sequence[Part], symbol: str, interval_ns: int, since_ns: int | None, until_ns: int | None
) -> InputError:
    first = format_time(min(part.event_min for part in parts))
    last = format_time(max(part.event_max for part in parts))
    since = "the start" if since_ns is None else format_time(since_ns)
    until = "the end" if until_ns is None else format_time(until_ns)
    return InputError(
        f"no bars of {symbol} {format_duration(interval_ns)} from {since} to {until}",
        where=folder,
        key="since",
        remedy=f"Stored bars open from {first} to {last}: choose a span inside, or fetch more",
    )


def _column(tables: list[pa.Table], name: str) -> Any:
    chunks = [chunk.to_numpy() for table in tables for chunk in table[name].chunks]
    if not chunks:
        return np.empty(0, dtype=np.int64 if name.endswith("_ns") else np.float64)
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _as_of_close(held: dict[str, Any], interval_ns: int) -> dict[str, Any]:
    """One row per open time: the newest revision known at the close, else the first."""
    order = np.lexsort((held["revision"], held["event_ns"]))
    held = {name: values[order] for name, values in held.items()}
    usable = (held["revision"] == 0) | (held["known_ns"] <= held["event_ns"] + interval_ns)
    held = {name: values[usable] for name, values in held.items()}
    last = np.append(np.diff(held["event_ns"]) > 0, True)[: len(held["event_ns"])]
    return {name: values[last] for name, values in held.items()}
