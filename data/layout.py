"""How rows of each kind are filed, ordered and labelled; what every fact has to keep before it is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.facts import IDENTITY, KINDS, QUALITIES

FILED_UNDER: Mapping[str, tuple[str, ...]] = {
    "bars": ("source", "symbol", "interval_ns"),
    "posts": (),
    "sentiment": ("model", "model_revision"),
    "metrics": ("source", "name", "coin"),
}
"""Columns that decide which file a row goes to."""

LISTED_BY: Mapping[str, tuple[str, ...]] = {**FILED_UNDER, "posts": ("source",)}
"""Columns that make one line of the catalogue."""

ORDER: Mapping[str, tuple[str, ...]] = {
    kind: ("known_ns", "source", *IDENTITY[kind], "event_ns", "revision") for kind in KINDS
}
"""The total order of one kind; rows that tie on all of it keep the order they were stored in."""

REJECT_COLUMNS = ("series", "reason", "row", "content")


def label(kind: str, row: Mapping[str, Any]) -> str:
    """Name of the series a row belongs to, as counts are kept under it: ``binance|BTC/USDT|3600000000000``."""
    return "|".join(str(row[name]) for name in LISTED_BY[kind])


def label_counts(kind: str, table: pa.Table) -> dict[str, int]:
    """Rows of a table per series label."""
    names = list(LISTED_BY[kind])
    grouped = table.select(names).group_by(names).aggregate([([], "count_all")])
    return {label(kind, row): row["count_all"] for row in grouped.to_pylist()}


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
    if bool((np.diff(event) > 0).all()):
        return table
    return table.take(pa.array(np.lexsort((table["revision"].to_numpy(), event))))


def rejects_of(rows: Iterable[tuple[str, str, str]]) -> pa.Table:
    """Quarantined rows in their stored form from series, reason and content as text."""
    listed = list(rows)
    names = ("series", "reason", "content")
    columns = {name: pa.array([row[at] for row in listed], pa.string()) for at, name in enumerate(names)}
    return reject_table(pa.table(columns))


def reject_table(rows: pa.Table) -> pa.Table:
    """Quarantined rows in their stored form.

    Parameters
    ----------
    rows : pyarrow.Table
        A text column ``reason``; optionally ``row`` (line or row number, -1 unknown) and ``series`` (see `label`). All
        other columns are the row as it was; they become one JSON text, ``content``.
    """
    rest = [name for name in rows.column_names if name not in ("series", "reason", "row")]
    if rest == ["content"]:
        content = rows["content"].to_pylist()
    else:
        content = [json.dumps(row, default=str) for row in rows.select(rest).to_pylist()]
    number = rows["row"].to_pylist() if "row" in rows.column_names else [-1] * rows.num_rows
    series = rows["series"].to_pylist() if "series" in rows.column_names else [""] * rows.num_rows
    return pa.table(
        {
            "series": pa.array(series, pa.string()),
            "reason": pa.array(rows["reason"].to_pylist(), pa.string()),
            "row": pa.array(number, pa.int64()),
            "content": pa.array(content, pa.string()),
        }
    )
