"""Files as they are: CSV, Parquet, Feather, JSON lines and JSON into rows, nothing interpreted yet.

Text files come out as text columns, so that a bad row can be quarantined with its own words. Rows that do not even have
the file's shape are set apart here.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.errors import InputError
from data.layout import reject_table

I8 = np.ndarray[Any, np.dtype[np.int64]]

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}
_CANDLE = ("time", "open", "high", "low", "close", "volume")
_NUMBER = re.compile(r"\s*-?\d+(\.\d*)?\s*")


@dataclass(frozen=True)
class RawRows:
    """The rows of a file.

    Attributes
    ----------
    path : Path
    rows : pyarrow.Table
        Columns as read; text for text files.
    number : int64 array of shape (n,)
        1 for the first row below the header (for JSON lines: the line; else the record).
    broken : pyarrow.Table
        Rows without the file's shape, ready for quarantine.
    notes : tuple of str
        What was done that the user did not ask for.
    """

    path: Path
    rows: pa.Table
    number: I8
    broken: pa.Table
    notes: tuple[str, ...] = ()


def read_rows(
    path: Path,
    *,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    records: str | None = None,
) -> RawRows:
    """Read a file by its extension; ``.gz`` behind a text format is unpacked.

    Parameters
    ----------
    names : sequence of str, optional
        Column names of a CSV file (or of rows in JSON lists) that has none.
    delimiter, encoding : str
        For CSV; the delimiter is found in the header line when not given.
    records : str, optional
        The key of a JSON object that holds the rows.

    Raises
    ------
    InputError
        No such file, unknown format, damaged, empty, wrong encoding, no header.
    """
    path = Path(path)
    form = _form(path)
    try:
        if form in ("parquet", "feather"):
            return _binary(path, form)
        raw = _bytes(path)
    except IsADirectoryError as error:
        raise InputError("is a folder, not a file", where=path) from error
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror or error})", where=path) from error
    if not raw.strip():
        raise InputError("the file is empty", where=path)
    text = _decoded(path, raw, encoding)
    del raw
    if form == "csv":
        return _csv(path, text, names, delimiter)
    try:
        return _json_lines(path, text) if form == "jsonl" else _json(path, text, names, records)
    except RecursionError:
        remedy = "Rows are a list of objects, or of lists"
        raise InputError("nested too deeply to hold rows", where=path, remedy=remedy) from None


def _form(path: Path) -> str:
    if not path.exists():
        raise InputError("no such file", where=path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    last = suffixes[-2] if packed and len(suffixes) > 1 else (suffixes[-1] if suffixes else "")
    form = _FORMATS.get(last)
    if form is None or (packed and form in ("parquet", "feather")):
        raise InputError(
            "not a file format that can be imported",
            where=path,
            value="".join(suffixes),
            remedy="Known are .csv .tsv .txt .jsonl .ndjson .json (each also .gz), .parquet and .feather",
        )
    return form


def _bytes(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix.lower() != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the file is damaged ({error})", where=path, remedy="Download or copy it again") from error


def _decoded(path: Path, raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(
            f"not readable as {encoding} ({error})",
            where=path,
            remedy="Say how it was written, for example --encoding latin-1",
        ) from error
    if not text.strip():  # a byte order mark alone
        raise InputError("the file is empty", where=path)
    return text


def _binary(path: Path, form: str) -> RawRows:
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read() if form == "parquet" else feather.read_table(path)
    except IsADirectoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"not a readable {form} file ({reason})",
            where=path,
            remedy="It is damaged or cut off, or no such file at all: download or copy it again",
        ) from error
    if table.num_rows == 0:
        raise InputError("the file holds no rows", where=path)
    return RawRows(path, table.combine_chunks(), _counting(table.num_rows), _no_rejects())


def _csv(path: Path, text: str, names: Sequence[str] | None, delimiter: str | None) -> RawRows:
    import pyarrow.csv as csv

    text = re.sub(r"\A(?: *(?:\r\n|\r|\n))+", "", text)  # else an empty line would be the header
    lines = re.split(r"\r\n|\r|\n", text[:65536])[:3]
    raw = text.encode()
    skip, notes = 0, list[str]()
    mark = _delimiter(lines[0] if len(lines) < 2 else lines[1]) if delimiter is None else _given_delimiter(delimiter)
    if names is None:
        skip = _banner(lines, mark)
        if skip:
            notes.append(f"skipped the banner line {lines[0]!r}")
        _header_or_error(path, lines[skip].split(mark))
    header = list(names) if names is not None else _header(lines[skip], mark)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError("column names occur twice", where=path, key="header", value=", ".join(twice))
    broken: list[tuple[int, str]] = []

    def keep(row: Any) -> str:
        broken.append((int(row.number), str(row.text)))
        return "skip"

    try:
        table = csv.read_csv(
            io.BytesIO(raw),
            read_options=csv.ReadOptions(
                use_threads=False, block_size=1 << 26, skip_rows=skip + (names is None), column_names=header
            ),
            parse_options=csv.ParseOptions(delimiter=mark, newlines_in_values=True, invalid_row_handler=keep),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=False, column_types=dict.fromkeys(header, pa.string())
            ),
        )
    except pa.ArrowException as error:
        raise InputError(f"not a readable CSV file ({str(error).splitlines()[0]})", where=path) from error
    first = skip + (names is None)
    broken = [(number - first, text) for number, text in broken]
    total = table.num_rows + len(broken)
    if total == 0:
        raise InputError("the file holds no rows below its header", where=path)
    if not table.num_rows:
        what = f"no row has {len(header)} columns, as the header has"
        raise InputError(what, where=path, value=broken[0][1][:80], remedy="Say what parts them: --delimiter")
    number = np.setdiff1d(_counting(total), np.array([row for row, _ in broken], dtype=np.int64))
    shape = f"not {len(header)} columns like the header"
    rejects = _rejects((row, shape, {"line": text}) for row, text in broken)
    return RawRows(path, table.combine_chunks(), number[: table.num_rows], rejects, tuple(notes))


def _delimiter(line: str) -> str:
    return max(",;\t|", key=lambda mark: (line.count(mark), mark == ","))


def _given_delimiter(given: str) -> str:
    mark = {"\\t": "\t", "tab": "\t"}.get(given.lower(), given)
    if len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0':
        raise InputError("not a delimiter", key="--delimiter", value=given, remedy="One character, as , ; | or tab")
    return mark


def _header(line: str, mark: str) -> list[str]:
    import csv

    return [name.strip() for name in next(csv.reader([line], delimiter=mark))]


def _banner(lines: Sequence[str], mark: str) -> int:
    """1 when the first line is an advertisement above the header: fewer fields than the next, and a web address."""
    if len(lines) < 2:
        return 0
    fewer = lines[0].count(mark) < lines[1].count(mark)
    return int(fewer and re.search(r"https?://|www\.", lines[0]) is not None)


def _header_or_error(path: Path, fields: Sequence[str]) -> None:
    numbers = sum(bool(_NUMBER.fullmatch(name.strip('"'))) for name in fields)
    if numbers * 2 > len(fields):
        raise InputError(
            "the first line holds numbers where column names should be",
            where=path,
            value=",".join(fields[:6]),
            remedy="Name the columns: --names time,open,high,low,close,volume (as many as there are)",
        )


def _json_lines(path: Path, text: str) -> RawRows:
    found: list[dict[str, Any]] = []
    number: list[int] = []
    broken: list[tuple[int, str, Any]] = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            value = json.loads(content)
            row = _flat(value) if isinstance(value, dict) else None
        except (ValueError, RecursionError) as error:
            reason = "not JSON" if isinstance(error, ValueError) else "nested too deeply"
            broken.append((line, reason, {"line": content}))
            continue
        if row is not None:
            found.append(row)
            number.append(line)
        else:
            broken.append((line, "not a JSON object", {"line": content}))
    if not found:
        raise InputError(
            "no line is a JSON object", where=path, remedy="One object per line; for a whole list use .json"
        )
    return RawRows(path, _table(found), np.array(number, dtype=np.int64), _rejects(broken))


def _json(path: Path, text: str, names: Sequence[str] | None, records: str | None) -> RawRows:
    try:
        loaded = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"not readable as JSON ({error})",
            where=path,
            remedy="It is cut off or damaged; a file with one object per line has to be called .jsonl",
        ) from error
    loaded = _records(path, loaded, records)
    if not loaded:
        raise InputError("the file holds no rows", where=path)
    notes: tuple[str, ...] = ()
    shaped: list[dict[str, Any]] = []
    number: list[int] = []
    broken: list[tuple[int, str, Any]] = []
    if isinstance(loaded[0], list):
        header = list(names) if names else list(_CANDLE)
        notes = () if names else (f"rows are lists, read as {', '.join(header)}",)
    for at, row in enumerate(loaded, start=1):
        if isinstance(loaded[0], list) and isinstance(row, list) and len(row) == len(header):
            shaped.append(dict(zip(header, row, strict=True)))
        elif isinstance(loaded[0], dict) and isinstance(row, dict):
            shaped.append(_flat(row))
        else:
            broken.append((at, "not shaped like the first row", {"row": row}))
            continue
        number.append(at)
    if not shaped:
        raise InputError(
            f"rows of {len(loaded[0])} values" if isinstance(loaded[0], list) else "rows are neither lists nor objects",
            where=path,
            remedy="Name the columns: --names time,open,high,low,close,volume,... (as many as there are)",
        )
    return RawRows(path, _table(shaped), np.array(number, dtype=np.int64), _rejects(broken), notes)


def _records(path: Path, loaded: Any, records: str | None) -> list[Any]:
    if isinstance(loaded, list):
        return loaded
    if isinstance(loaded, dict):
        lists = dict(_lists(loaded))
        key = records if records is not None else (next(iter(lists)) if len(lists) == 1 else None)
        if key in lists:
            return lists[key]
        raise InputError(
            "can't tell where the rows are",
            where=path,
            key="--records",
            value=records,
            remedy=f"Name the list: --records {' or '.join(lists)}" if lists else "There is no list of rows in it",
        )
    raise InputError("neither a list nor an object", where=path)


def _lists(loaded: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Lists of rows inside an object, by their dotted names."""
    for key, value in loaded.items():
        if isinstance(value, list) and value and isinstance(value[0], (list, dict)):
            yield prefix + key, value
        elif isinstance(value, dict):
            yield from _lists(value, f"{prefix}{key}.")


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects by dotted names, as in ``public_metrics.followers``; lists as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[_encodable(prefix + key)] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds <= {int, float} and all(not isinstance(value, int) or abs(value) < 2**53 for value in values):
        return pa.array(values, pa.float64())
    texts = [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array([text if text is None else _encodable(text) for text in texts], pa.string())


def _encodable(text: str) -> str:
    """The same without halves of characters, which JSON can write and UTF-8 can't."""
    return text.encode("utf-8", "replace").decode()


def _counting(rows: int) -> I8:
    return np.arange(1, rows + 1, dtype=np.int64)


def _rejects(rows: Iterable[tuple[int, str, Any]]) -> pa.Table:
    listed = list(rows)
    return reject_table(
        pa.table(
            {
                "row": pa.array([row for row, _, _ in listed], pa.int64()),
                "reason": pa.array([reason for _, reason, _ in listed], pa.string()),
                "content": pa.array([json.dumps(content) for _, _, content in listed], pa.string()),
            }
        )
    )


def _no_rejects() -> pa.Table:
    return _rejects([])
