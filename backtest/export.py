"""A run's trades, orders, fills and events as CSV or Parquet with names and readable times, for other tools.

Columns are plain: times twice (nanoseconds, and ISO text in UTC in CSV, timestamps in Parquet), codes as words.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError, WorkError
from risk.orders import STATES
from risk.records import EVENTS, KINDS, LEVELS, PURPOSES, RULES

if TYPE_CHECKING:
    import pyarrow as pa

    from backtest.result import Result

Array = npt.NDArray[Any]

FORMS = ("csv", "parquet")


def export_tables(result: Result, folder: Path, form: str = "csv") -> list[Path]:
    """Write `trades`, `orders`, `fills` and `events` into `folder` (made when missing); return the files' paths.

    Raises InputError for an unknown form, WorkError when a file can't be written.
    """
    if form not in FORMS:
        raise InputError("unknown form", key="form", value=form, remedy=f"Give one of {', '.join(FORMS)}")
    tables = {"trades": trades(result), "orders": orders(result), "fills": fills(result), "events": events(result)}
    paths = []
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, columns in tables.items():
            path = Path(folder) / f"{name}.{form}"
            _write(path, columns, form)
            paths.append(path)
    except OSError as error:
        raise WorkError(f"{folder}: could not be written ({error.strerror or error})") from error
    return paths


def trades(result: Result) -> dict[str, Any]:
    """Round trips by column."""
    from backtest.trades import round_trips

    found = round_trips(result)
    columns: dict[str, Any] = {name: found[name] for name in found.dtype.names or ()}
    columns["symbol"] = _names(result.symbols, found["symbol"])
    columns["side"] = np.where(found["side"] > 0, "long", "short")
    columns["purpose"] = _names(PURPOSES, found["purpose"])
    columns["open"] = found["open"] == 1
    return columns


def orders(result: Result) -> dict[str, Any]:
    """Every order that reached a terminal state or still worked at the end."""
    log = result.orders
    columns: dict[str, Any] = {name: log[name] for name in log.dtype.names or ()}
    columns["symbol"] = _names(result.symbols, log["symbol"])
    columns["side"] = np.where(log["side"] > 0, "buy", "sell")
    columns["kind"] = _names(KINDS, log["kind"])
    columns["purpose"] = _names(PURPOSES, log["purpose"])
    columns["state"] = _names(STATES, log["state"])
    return columns


def fills(result: Result) -> dict[str, Any]:
    """Every fill; `qty` is signed."""
    log = result.fills
    columns: dict[str, Any] = {name: log[name] for name in log.dtype.names or ()}
    columns["symbol"] = _names(result.symbols, log["symbol"])
    columns["purpose"] = _names(PURPOSES, log["purpose"])
    columns["maker"] = log["maker"] == 1
    return columns


def events(result: Result) -> dict[str, Any]:
    """Refusals, ladder moves, funding and what else is no fill; `rule_name` in words."""
    log = result.events
    columns: dict[str, Any] = {name: log[name] for name in log.dtype.names or ()}
    columns["kind"] = _names(EVENTS, log["kind"])
    columns["symbol"] = _names(result.symbols, log["symbol"])
    columns["level"] = _names(LEVELS, log["level"])
    columns["was"] = _names(LEVELS, log["was"])
    columns["rule_name"] = [RULES.get(rule, "") for rule in log["rule"].tolist()]
    return columns


def _names(words: tuple[str, ...], codes: Array) -> list[str]:
    return [words[code] if 0 <= code < len(words) else "" for code in codes.tolist()]


def _write(path: Path, columns: dict[str, Any], form: str) -> None:
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    table = _table(columns, form)
    if form == "parquet":
        pq.write_table(table, path)
    else:
        csv.write_csv(table, path)


def _table(columns: dict[str, Any], form: str) -> pa.Table:
    import pyarrow as pa

    found: dict[str, Any] = {}
    for name, values in columns.items():
        found[name] = pa.array(values, mask=np.asarray(values) < 0) if name.endswith("_ns") else pa.array(values)
        if name == "ns" or name.endswith("_ns"):
            times = found[name].cast(pa.timestamp("ns", tz="UTC"))
            told = name.removesuffix("_ns") if name != "ns" else "time"
            found[told] = times if form == "parquet" else _iso(values)
    return pa.table(found)


def _iso(values: Array) -> list[str]:
    texts = np.datetime_as_string(np.asarray(values, np.int64).view("datetime64[ns]"), unit="ms").tolist()
    return [f"{text}Z" if ns >= 0 else "" for text, ns in zip(texts, np.asarray(values).tolist(), strict=True)]
