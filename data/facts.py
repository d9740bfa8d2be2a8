"""The nouns: Bar, Post, Sentiment, Metric, and the columns they are stored in.

A fact has its times: ``event_ns`` (when it happened), ``known_ns`` (when this system could first have used it) and
``ingested_ns`` (when this row was written). Everything is ordered and joined by ``known_ns``. A corrected fact is a new
row with the next ``revision`` and a ``known_ns`` of its own; no row is ever changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

KINDS = ("bars", "posts", "sentiment", "metrics")
QUALITIES = ("recorded", "vendor_pit", "assumed_lag", "revised")
MARKET_WIDE = "*"


@dataclass(frozen=True, slots=True)
class Bar:
    """Open, high, low, close and volume of one symbol over one interval; known at its close, not before.

    ``event_ns`` is the bar's open. Prices are in quote, volume in base units.
    """

    source: str
    symbol: str
    interval_ns: int
    event_ns: int
    known_ns: int
    ingested_ns: int
    revision: int
    quality: str
    payload: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Post:
    """Something somebody wrote; ``followers`` is NaN when unknown. ``event_ns`` is when it was written."""

    source: str
    key: str
    event_ns: int
    known_ns: int
    ingested_ns: int
    revision: int
    quality: str
    payload: int
    text: str
    author: str
    followers: float
    url: str


@dataclass(frozen=True, slots=True)
class Sentiment:
    """What one pinned model made of one post for one coin; ``score`` lies in [-1, 1].

    ``event_ns`` is the post's, ``known_ns`` is when the score was ready. ``cluster`` names the near-duplicates that the
    post belongs to, 0 when nobody looked for them; ``flags`` are the bits of `FLAGS`.
    """

    source: str
    key: str
    coin: str
    model: str
    model_revision: str
    event_ns: int
    known_ns: int
    ingested_ns: int
    revision: int
    quality: str
    payload: int
    p_bearish: float
    p_neutral: float
    p_bullish: float
    score: float
    followers: float
    author: str
    cluster: int
    flags: int


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of an on-chain or market series for one coin, or market-wide (``*``).

    ``event_ns`` is the END of the interval measured; for a series stamped by its publication, that stamp.
    """

    source: str
    name: str
    coin: str
    event_ns: int
    known_ns: int
    ingested_ns: int
    revision: int
    quality: str
    payload: int
    value: float


IDENTITY: Mapping[str, tuple[str, ...]] = {
    "bars": ("symbol", "interval_ns"),
    "posts": ("key",),
    "sentiment": ("key", "coin", "model", "model_revision"),
    "metrics": ("name", "coin"),
}
"""Columns that, beside ``source``, say which thing a row is about."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "bars": ("open", "high", "low", "close", "volume"),
    "posts": ("text", "author", "followers", "url"),
    "sentiment": ("p_bearish", "p_neutral", "p_bullish", "score", "followers", "author", "cluster", "flags"),
    "metrics": ("value",),
}
"""Columns that hold what was observed; ``payload`` is their hash."""

HIDDEN_MARKS, LOOK_ALIKES, SPAM_LIKE, PREFIXED, FOREIGN = 1, 2, 4, 8, 16
FLAGS: Mapping[int, str] = {
    HIDDEN_MARKS: "hidden marks",
    LOOK_ALIKES: "look-alike letters",
    SPAM_LIKE: "four or more cashtags",
    PREFIXED: "a label or an instruction before the text",
    FOREIGN: "not English",
}
"""What the text of a scored post showed beside its meaning, bit by bit."""

DATED = frozenset({"bars", "metrics"})
"""Kinds whose event time is part of the identity. A post keeps its identity when it is re-dated."""

TIMES = ("event_ns", "known_ns", "ingested_ns")

_TYPES: Mapping[str, pa.DataType] = {
    "interval_ns": pa.int64(),
    "event_ns": pa.int64(),
    "known_ns": pa.int64(),
    "ingested_ns": pa.int64(),
    "revision": pa.int32(),
    "cluster": pa.int64(),
    "flags": pa.int32(),
    "payload": pa.int64(),
    **{name: pa.string() for name in ("source", "symbol", "key", "coin", "model", "model_revision", "name")},
    **{name: pa.string() for name in ("quality", "text", "author", "url")},
    **{name: pa.float64() for name in ("open", "high", "low", "close", "volume", "value", "followers")},
    **{name: pa.float64() for name in ("p_bearish", "p_neutral", "p_bullish", "score")},
}


def columns(kind: str) -> tuple[str, ...]:
    """All column names of a kind, in stored order."""
    return ("source", *IDENTITY[kind], *TIMES, "revision", "quality", "payload", *VALUES[kind])


SCHEMAS: Mapping[str, pa.Schema] = {
    kind: pa.schema([pa.field(name, _TYPES[name], nullable=False) for name in columns(kind)]) for kind in KINDS
}


def fact_table(kind: str, values: Mapping[str, Any]) -> pa.Table:
    """Table of a kind from columns or constants; ``revision`` and ``payload`` are filled in.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    values : mapping of str to array, sequence or scalar
        Every column of the kind except ``revision`` (0 when absent) and ``payload`` (always computed). A scalar is
        repeated. At least one column is an array.

    Returns
    -------
    pyarrow.Table
        In the column order and types of ``SCHEMAS[kind]``.

    Raises
    ------
    ValueError
        When a column is missing or unknown, or the lengths differ.
    """
    given = {"revision": 0, **values}
    given.pop("payload", None)
    wanted = [name for name in columns(kind) if name != "payload"]
    if set(given) != set(wanted):
        raise ValueError(f"{kind}: columns {sorted(set(given) ^ set(wanted))} are missing or unknown")
    lengths = {len(given[name]) for name in wanted if not _is_scalar(given[name])}
    if len(lengths) != 1:
        raise ValueError(f"{kind}: columns of differing lengths {sorted(lengths)}")
    rows = lengths.pop()
    arrays = {name: _array(given[name], _TYPES[name], rows) for name in wanted}
    arrays["payload"] = pa.array(payloads(kind, arrays))
    return pa.table([arrays[name] for name in columns(kind)], schema=SCHEMAS[kind])


def conform(kind: str, table: pa.Table) -> pa.Table:
    """The table with the kind's columns, order and types, and payloads computed anew.

    Raises
    ------
    ValueError
        When a column is missing, holds nulls, or can't be cast.
    """
    absent = [name for name in columns(kind) if name not in table.column_names and name not in ("revision", "payload")]
    if absent:
        raise ValueError(f"{kind}: columns {absent} are missing")
    given = {name: table[name] for name in columns(kind) if name in table.column_names and name != "payload"}
    try:
        return fact_table(kind, given)
    except pa.ArrowException as error:
        raise ValueError(f"{kind}: {error}") from error


def payloads(kind: str, arrays: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Stable hash of the value columns of each row: BLAKE2b, 8 bytes, little endian, signed.

    Numbers count by their bits (minus zero as zero, every NaN as the same NaN), texts by UTF-8 with their length. For
    kinds whose identity has no event time (posts, sentiment) the event time counts as a value.

    Parameters
    ----------
    kind : str
    arrays : mapping of str to array
        Arrow or numpy columns of equal length n.

    Returns
    -------
    int64 array of shape (n,)
    """
    names = VALUES[kind] if kind in DATED else (*VALUES[kind], "event_ns")
    numbers = [name for name in names if _TYPES[name] != pa.string()]
    texts = [name for name in names if _TYPES[name] == pa.string()]
    stacked = np.column_stack([_bits(arrays[name]) for name in numbers])
    width = stacked.shape[1] * 8
    raw = stacked.tobytes()
    records: Iterable[bytes] = (raw[at : at + width] for at in range(0, len(raw), width))
    if texts:
        encoded = zip(*[_texts(arrays[name]) for name in texts], strict=True)
        records = (
            record + b"".join(len(text).to_bytes(4, "little") + text for text in row)
            for record, row in zip(records, encoded, strict=True)
        )
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(record, digest_size=8).digest() for record in records])
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def _bits(array: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    numbers = np.asarray(array)
    if numbers.dtype.kind in "iu":
        return numbers.astype(np.int64)
    canonical = numbers.astype(np.float64) + 0.0  # minus zero becomes zero
    canonical[np.isnan(canonical)] = np.nan
    return canonical.view(np.int64)


def _texts(array: Any) -> list[bytes]:
    return [text.encode("utf-8", "surrogatepass") for text in array.to_pylist()]


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float, np.generic))


def _array(value: Any, kind_of: pa.DataType, rows: int) -> pa.Array:
    if _is_scalar(value):
        return pa.repeat(pa.scalar(value, type=kind_of), rows)
    if isinstance(value, pa.ChunkedArray):
        value = value.combine_chunks()
    if isinstance(value, pa.Array):
        array = value.cast(kind_of)
    else:
        array = pa.array(value, type=kind_of)
    if array.null_count:
        raise ValueError("a fact's column holds nulls")
    return array


def to_facts(kind: str, table: pa.Table) -> Sequence[Bar | Post | Sentiment | Metric]:
    """Rows of a stored table as frozen facts; for small reads and for tests."""
    noun: Any = {"bars": Bar, "posts": Post, "sentiment": Sentiment, "metrics": Metric}[kind]
    return [noun(**row) for row in table.select(columns(kind)).to_pylist()]
