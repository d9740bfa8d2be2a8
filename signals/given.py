"""Numbers somebody worked out elsewhere, read from a file: known at their time, and valid until the next row."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError, raise_all
from data.times import format_time, parse_time
from signals.inputs import Array
from signals.own import OwnSignal
from signals.signal import Setting, Span

FAULTS_SHOWN = 10


class Given(OwnSignal):
    """The value a file gives for a symbol: its newest row at the time of the decision.

    The file has the columns time (ISO 8601 with an offset, or a time type with a time zone; epoch numbers are refused,
    for nobody can tell seconds from milliseconds), symbol ("BTC/USDT", or just the coin) and one of numbers. A row
    counts from its time on, so state there when the number could have been used.

    Parameters
    ----------
    file : str
        CSV or Parquet.
    column : str
        Name of the column of numbers.
    max_age : duration, optional
        A row older than this is stale; by default never.
    low, high : float
        Numbers outside are an error in the file.
    seen
        As for every signal.

    Raises
    ------
    InputError
        When the file is missing, can't be read, lacks a column or has faulty rows; all faulty rows are named at once.
    """

    feeds = ()

    def __init__(
        self,
        file: str,
        column: str = "weight",
        *,
        max_age: Span = None,
        low: float = -math.inf,
        high: float = math.inf,
        seen: Setting = None,
    ) -> None:
        self._declare(file=str(file), column=column, max_age=max_age, low=low, high=high, seen=seen)

    def settle(self) -> None:
        self.file = Path(self.arguments["file"])
        self.column = self.arguments["column"]
        self._table: dict[str, tuple[Array, Array]] | None = None
        self.low, self.high = float(self.arguments["low"]), float(self.arguments["high"])

    def digest(self) -> str:
        """sha256 of the file's bytes."""
        return hashlib.sha256(_bytes_of(self.file)).hexdigest()

    def table(self) -> dict[str, tuple[Array, Array]]:
        """Times i8 and values f8 of each symbol, in order of time; read once."""
        if self._table is None:
            self._table = _read(self.file, self.column, self.low, self.high)
        return self._table

    def start(self, symbol: str) -> dict[str, Any]:
        table = self.table()
        times, values = table.get(symbol) or table.get(symbol.split("/")[0]) or (np.empty(0, np.int64), np.empty(0))
        return {"times": times, "values": values}

    def step(self, memory: Any, fact: Any) -> None:
        """It is told nothing: its file says all."""

    def value(self, memory: Any, now_ns: int) -> float:
        return float(self.at(memory, np.array([now_ns]))[0])

    def at(self, memory: Any, now_ns: Array) -> Array:
        times, values = memory["times"], memory["values"]
        row = np.searchsorted(times, now_ns, side="right") - 1
        if not len(times):
            return np.full(len(now_ns), np.nan)
        found = np.where(row >= 0, values[np.maximum(row, 0)], np.nan)
        if self.max_age_ns:
            found = np.where(now_ns - times[np.maximum(row, 0)] > self.max_age_ns, np.nan, found)
        return np.asarray(found, dtype=float)


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"can't be read ({error.strerror})", where=file, remedy="Give the path of a CSV or Parquet file"
        ) from error


def _read(file: Path, column: str, low: float, high: float) -> dict[str, tuple[Array, Array]]:
    frame = _frame(file)
    missing = [name for name in ("time", "symbol", column) if name not in frame]
    if missing:
        raise InputError(
            "a column is missing", where=file, key=", ".join(missing), remedy=f"It has: {', '.join(map(str, frame))}"
        )
    times, faults = _times(file, frame["time"])
    symbols = [str(symbol).strip() for symbol in frame["symbol"]]
    values = np.array([_number(text) for text in frame[column]], dtype=float)
    for bad in np.flatnonzero(~((values >= low) & (values <= high) & np.isfinite(values))):
        faults.append(
            _fault(file, int(bad), column, frame[column][bad], f"has to be a number from {low:g} to {high:g}")
        )
    seen: dict[tuple[str, int], int] = {}
    for row, where in enumerate(zip(symbols, times.tolist(), strict=True)):
        if where in seen and not faults:
            said = f"{where[0]} at {format_time(where[1])} stands twice, also in row {seen[where] + 2}"
            faults.append(_fault(file, row, "time", frame["time"][row], said))
        seen[where] = row
    raise_all(faults[:FAULTS_SHOWN])
    table = {}
    for symbol in dict.fromkeys(symbols):
        own = np.array([row for row, name in enumerate(symbols) if name == symbol])
        own = own[np.argsort(times[own], kind="stable")]
        table[symbol] = (times[own], values[own])
    if not table:
        raise InputError("holds no row", where=file)
    return table


def _frame(file: Path) -> dict[str, list[Any]]:
    """Columns of a file as lists; a CSV's cells as text."""
    raw = _bytes_of(file)
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError("neither CSV nor Parquet by its name", where=file, remedy="Name it .csv or .parquet")
    if suffix == ".csv":
        return _csv(file, raw)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(raw))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"not a readable Parquet file ({error})", where=file) from error
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                raise InputError("times without a time zone", where=file, key=name, remedy="Store it with tz UTC")
            column = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
            columns[name] = [None if ns is None else Instant(ns) for ns in column.to_pylist()]
        else:
            columns[name] = column.to_pylist()
    return columns


class Instant(int):
    """Nanoseconds that came with their time zone, unlike a bare number."""


def _csv(file: Path, raw: bytes) -> dict[str, list[Any]]:
    import csv
    import io

    try:
        lines = list(csv.reader(io.StringIO(raw.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a readable CSV file ({error})", where=file) from error
    lines = [line for line in lines if line]
    if not lines:
        raise InputError("is empty", where=file)
    header = [name.strip() for name in lines[0]]
    for row, line in enumerate(lines[1:]):
        if len(line) != len(header):
            raise _fault(file, row, ",".join(header), ",".join(line), f"has {len(line)} cells, not {len(header)}")
    return {name: [line[place] for line in lines[1:]] for place, name in enumerate(header)}


def _times(file: Path, cells: list[Any]) -> tuple[Array, list[InputError]]:
    times = np.zeros(len(cells), np.int64)
    faults = []
    for row, cell in enumerate(cells):
        try:
            times[row] = int(cell) if isinstance(cell, Instant) else parse_time(str(cell))
        except InputError as fault:
            faults.append(_fault(file, row, "time", cell, f"{fault.what}. {fault.remedy or ''}"))
    return times, faults


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def _fault(file: Path, row: int, column: str, value: Any, what: str) -> InputError:
    return InputError(what, where=f"{file}, row {row + 2}", key=column, value=value)
