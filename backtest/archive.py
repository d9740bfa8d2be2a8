"""Finished runs on disk: `var/runs/ID/`, written whole or not at all, checked when read.

A run's folder holds `result.json` (everything but arrays), `bars.parquet` (account and prices at each close),
`decisions.parquet` (targets and signal values), `fills.parquet`, `orders.parquet` and `events.parquet` (the records as
the kernels wrote them; `export` gives them with names). Pages carry checksums, so bit rot is an error and not a result.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backtest.result import ORDERLOG, Discount, InputShare, Result, plain
from data.errors import InputError, WorkError
from data.sealed import check_seal, seal
from risk.records import EVENT, FILL

Array = npt.NDArray[Any]

FORMAT = 4
SECOND = len("20240101-000000")  # what an id begins with
_ACCOUNT = ("equity", "cash", "gross", "net")
_BY_SYMBOL = ("open", "high", "low", "close", "held")
_LOGS = {"fills": FILL, "orders": ORDERLOG, "events": EVENT}
_TEXTS = {
    "created_ns", "strategy", "strategy_hash", "params", "symbols", "quote", "market", "bar_ns", "synthetic",
    "settings", "signal_names", "doubts", "notes", "model", "initial_cash", "stress", "trials", "errors",
    "error_samples", "resume_after", "elapsed", "id",
}  # fmt: skip


@dataclass(frozen=True)
class RunRow:
    """One saved run in a list; a damaged one has `fault` and nothing but its id."""

    id: str
    created_ns: int = 0
    strategy: str = ""
    symbols: tuple[str, ...] = ()
    start_ns: int = 0
    end_ns: int = 0
    total_return: float | None = None
    fills: int = 0
    synthetic: bool = False
    fault: str = ""


def save_run(result: Result, var: Path) -> Path:
    """Write `result` to `var/runs/ID` by one rename and return that folder.

    Saving the same run again changes nothing; another run that got the same id (same second, same four letters) gets a
    longer one. Raises WorkError when the disk refuses; the half-written folder is removed.
    """
    runs = Path(var) / "runs"
    content = result.content_hash()
    while (folder := runs / result.id).exists():
        if _content_of(folder) == content:
            return folder
        if len(result.id) > 80:
            raise WorkError(f"{folder}: another run has this id; remove it and save again")
        result.id += content[4:8]
    half = runs / f".{result.id}.{os.getpid()}"
    try:
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        _write_tables(result, half)
        text = seal(json.dumps(_texts(result, content), indent=1))
        (half / "result.json").write_text(text, encoding="utf-8")
        os.replace(half, folder)
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        raise WorkError(f"{folder}: the run could not be saved ({error.strerror or error})") from error
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return folder


def load_run(var: Path, run: str) -> Result:
    """Read one run by its id, an unambiguous start of its id, or `latest`. InputError when unknown or damaged."""
    folder = find_run(var, run)
    told = _told(folder)
    try:
        fields = {name: told[name] for name in _TEXTS}
        inputs = [InputShare(**share) for share in told["inputs"]]
        holds = {(symbol, state, signal): int(count) for symbol, state, signal, count in told["holds"]}
        discounted = [Discount(**one) for one in told["discounted"]]
        result = Result(
            **fields, inputs=inputs, holds=holds, discounted=discounted, **_read_tables(folder, told)
        )  # fmt: skip
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OSError, ArithmeticError) as error:
        raise _damaged(folder, error) from error
    if result.content_hash() != told.get("content"):
        raise _damaged(folder, "its content doesn't match its own hash")
    return result


def find_run(var: Path, run: str) -> Path:
    """The folder of the run meant by `run`; InputError that lists what there is when none or several are meant."""
    runs = Path(var) / "runs"
    names = _names(runs)
    if run == "latest" and names:
        return runs / names[-1]
    if run in names:
        return runs / run
    meant = [name for name in names if run and (name.startswith(run) or name.endswith(f"-{run}"))]
    if len(meant) == 1:
        return runs / meant[0]
    if meant:
        shown = ", ".join(meant[:5])
        raise InputError(
            "several runs have this start", where=runs, key="run", value=run, remedy=f"Give one of {shown}"
        )
    shown = f"There are {', '.join(names[-5:])}" if names else "Make one with `tidegate backtest`"
    raise InputError("there is no such run", where=runs, key="run", value=run, remedy=shown)


def list_runs(var: Path) -> list[RunRow]:
    """All saved runs, oldest first; damaged ones stay in the list with what is wrong."""
    runs = Path(var) / "runs"
    rows = []
    for name in _names(runs):
        try:
            told = _told(runs / name)
            rows.append(
                RunRow(
                    id=name,
                    created_ns=int(told["created_ns"]),
                    strategy=str(told["strategy"]),
                    symbols=tuple(told["symbols"]),
                    start_ns=int(told["start_ns"]),
                    end_ns=int(told["end_ns"]),
                    total_return=told["total_return"],
                    fills=int(told["lengths"]["fills"]),
                    synthetic=bool(told["synthetic"]),
                )
            )
        except (InputError, KeyError, TypeError, ValueError) as error:
            rows.append(RunRow(id=name, fault=str(error)))
    return rows


def _names(runs: Path) -> list[str]:
    if not runs.is_dir():
        return []
    names = sorted(entry.name for entry in runs.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    seconds = Counter(name[:SECOND] for name in names)
    return sorted(names, key=lambda name: (name[:SECOND], _created(runs / name) if seconds[name[:SECOND]] > 1 else 0))


def _created(folder: Path) -> int:
    """When a run was made, ns UTC; 0 for one that is damaged."""
    try:
        return int(_told(folder)["created_ns"])
    except (InputError, KeyError, TypeError, ValueError):
        return 0


def _texts(result: Result, content: str) -> dict[str, Any]:
    told = {name: getattr(result, name) for name in sorted(_TEXTS)}
    told["inputs"] = [dataclasses.asdict(share) for share in result.inputs]
    told["discounted"] = [dataclasses.asdict(one) for one in result.discounted]
    told["holds"] = [[*reason, int(count)] for reason, count in result.holds.items()]
    lengths = {"bars": len(result.close_ns), "decisions": len(result.decide_ns)}
    lengths |= {name: len(getattr(result, name)) for name in _LOGS}
    told |= {"format": FORMAT, "content": content, "lengths": lengths, "has_rows": result.rows is not None}
    some = len(result.close_ns) > 0
    told["start_ns"] = int(result.close_ns[0]) - result.bar_ns if some else 0
    told["end_ns"] = int(result.close_ns[-1]) if some else 0
    final = float(result.equity[-1]) / result.initial_cash - 1.0 if some else float("nan")
    told["total_return"] = final if np.isfinite(final) else None
    told["stress"] = {name: float(value) for name, value in result.stress.items()}
    found = plain(told)
    assert isinstance(found, dict)
    return found


def _told(folder: Path) -> dict[str, Any]:
    try:
        text = (folder / "result.json").read_text(encoding="utf-8")
        told = json.loads(text)
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from error
    if not isinstance(told, dict):
        raise _damaged(folder, "result.json is not a run")
    if told.get("format") != FORMAT:
        raise InputError(
            "this run was saved in another format",
            where=folder / "result.json",
            key="format",
            value=told.get("format"),
            remedy=f"Make the run again; this version reads format {FORMAT}",
        )
    try:
        check_seal(text)  # nothing else in a run repeats the number of trials, say: a wrong digit would pass
    except ValueError as error:
        raise _damaged(folder, f"result.json: {error}") from error
    return told


def _content_of(folder: Path) -> str | None:
    try:
        content = _told(folder).get("content")
    except InputError:
        return None
    return content if isinstance(content, str) else None


def _damaged(folder: Path, error: object) -> InputError:
    told = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"this saved run is damaged ({told[:200]})", where=folder, remedy="Remove it and make the run again"
    )


def _write_tables(result: Result, folder: Path) -> None:
    bars: list[tuple[str, Array]] = [("close_ns", result.close_ns), ("level", result.level)]
    bars += [(name, getattr(result, name)) for name in _ACCOUNT]
    for name in _BY_SYMBOL:
        bars += _columns(getattr(result, name), [f"{symbol} {name}" for symbol in result.symbols])
    _write(folder / "bars.parquet", bars)
    decisions: list[tuple[str, Array]] = [("decide_ns", result.decide_ns)]
    decisions += _columns(result.target, [f"{symbol} target" for symbol in result.symbols])
    if result.rows is not None:
        names = [f"{symbol} signal {signal}" for symbol in result.symbols for signal in result.signal_names]
        decisions += _columns(result.rows.reshape(len(result.decide_ns), -1), names)
    _write(folder / "decisions.parquet", decisions)
    for name in _LOGS:
        log = getattr(result, name)
        _write(folder / f"{name}.parquet", [(column, log[column]) for column in log.dtype.names])


def _columns(table: Array, names: list[str]) -> Iterator[tuple[str, Array]]:
    across = np.ascontiguousarray(table.T)
    return zip(names, across, strict=True)


def _write(path: Path, columns: list[tuple[str, Array]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # From buffers: `pa.array` would import pandas, a third of a second for nothing.
    arrays = [
        pa.Array.from_buffers(pa.from_numpy_dtype(column.dtype), len(column), [None, pa.py_buffer(column)])
        for column in (np.ascontiguousarray(column) for _, column in columns)
    ]
    table = pa.Table.from_arrays(arrays, names=[name for name, _ in columns])
    floats = [name for name, column in columns if column.dtype.kind == "f"]
    # Prices and equity rarely repeat: bytes in planes under a fast codec beat dictionaries in size and in time.
    pq.write_table(
        table,
        path,
        compression="lz4",
        row_group_size=65_536,
        use_dictionary=False,
        use_byte_stream_split=floats,
        write_statistics=False,
        write_page_checksum=True,
    )


def _read(path: Path, rows: int) -> list[Array]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if table.num_rows != rows:
        raise _damaged(path, f"{table.num_rows} rows where {rows} were written")
    return [_numbers(column) for column in table.columns]


def _numbers(column: Any) -> Array:
    """A chunked column as one numpy array, without pandas."""
    dtype = np.dtype(str(column.type))
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _read_tables(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    lengths, count = told["lengths"], len(told["symbols"])
    close_ns, level, *rest = _read(folder / "bars.parquet", lengths["bars"])
    if len(rest) != len(_ACCOUNT) + count * len(_BY_SYMBOL):
        raise _damaged(folder / "bars.parquet", "columns are missing")
    found: dict[str, Any] = {"close_ns": close_ns, "level": level, **dict(zip(_ACCOUNT, rest, strict=False))}
    for place, name in enumerate(_BY_SYMBOL):
        first = len(_ACCOUNT) + place * count
        found[name] = _table(rest[first : first + count], lengths["bars"])
    decide_ns, *rest = _read(folder / "decisions.parquet", lengths["decisions"])
    found["decide_ns"] = decide_ns
    found["target"] = _table(rest[:count], len(decide_ns))
    across = len(told["signal_names"])
    found["rows"] = None
    if told["has_rows"]:
        shape = (len(decide_ns), count, across)
        found["rows"] = _table(rest[count:], len(decide_ns)).reshape(shape)
    for name, dtype in _LOGS.items():
        log = np.zeros(lengths[name], dtype)
        columns = _read(folder / f"{name}.parquet", lengths[name])
        for column, values in zip(dtype.names or (), columns, strict=True):
            log[column] = values
        found[name] = log
    return found


def _table(columns: list[Array], rows: int) -> Array:
    if not columns:
        return np.zeros((rows, 0))
    return np.ascontiguousarray(np.stack(columns, axis=1))
