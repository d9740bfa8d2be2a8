"""Files as they are: every format, and every way a file can be broken."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from data.errors import InputError
from data.readers import RawRows, read_rows

LINES = "time,open\n1,2\n3,4\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def listed(raw: RawRows) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = raw.rows.to_pylist()
    return rows


def test_csv_and_its_relatives(tmp_path: Path) -> None:
    wanted = [{"time": "1", "open": "2"}, {"time": "3", "open": "4"}]
    for name, content in {
        "a.csv": LINES,
        "b.csv": "\ufeff" + LINES,
        "c.tsv": LINES.replace(",", "\t"),
        "d.txt": LINES.replace(",", ";"),
        "e.csv": LINES.replace("\n", "\r\n"),
        "f.csv": LINES.rstrip("\n"),
        "g.csv": "time, open\n1,2\n\n3,4\n",
        "h.csv": "\n \r\n" + LINES,
    }.items():
        raw = read_rows(write(tmp_path / name, content))
        assert listed(raw) == wanted, name
        assert raw.number.tolist() == [1, 2]
    assert listed(read_rows(write(tmp_path / "i.csv.gz", gzip.compress(LINES.encode())))) == wanted


def test_quoted_fields_and_ragged_rows(tmp_path: Path) -> None:
    raw = read_rows(write(tmp_path / "a.csv", 'id,text\n1,"one, two\nthree"\n2\n3,x,y\n4,"say ""hi"""\n'))
    assert [row["text"] for row in listed(raw)] == ["one, two\nthree", 'say "hi"']
    assert raw.number.tolist() == [1, 4]
    assert raw.broken["row"].to_pylist() == [2, 3]
    assert raw.broken["reason"].to_pylist() == ["not 2 columns like the header"] * 2
    assert json.loads(raw.broken["content"][1].as_py()) == {"line": "3,x,y"}


def test_a_delimiter_that_is_said(tmp_path: Path) -> None:
    for said, mark in ((";", ";"), ("\\t", "\t"), ("tab", "\t"), ("^", "^")):
        path = write(tmp_path / "a.csv", LINES.replace(",", mark))
        assert listed(read_rows(path, delimiter=said))[0] == {"time": "1", "open": "2"}
    for said in ("||", "", '"', "\n", "ä"):
        with pytest.raises(InputError, match="not a delimiter"):
            read_rows(path, delimiter=said)


def test_a_line_longer_than_what_is_looked_at_first(tmp_path: Path) -> None:
    """Cut anywhere in it, also inside of a character."""
    for ahead in ("", "x"):
        path = write(tmp_path / "a.csv", f'1,"{ahead}{"ä" * 70_000}"\n')
        assert listed(read_rows(path, names=["time", "text"])) == [{"time": "1", "text": ahead + "ä" * 70_000}]


def test_strange_json(tmp_path: Path) -> None:
    """Half characters and endless nesting: what can be read is, the rest is set apart by its line."""
    deep = '{"a":' * 100_000
    lines = ['{"t": "x \\ud83d", "\\udc00": 1}', deep, "[" * 100_000, '{"t": "y"}']
    raw = read_rows(write(tmp_path / "a.jsonl", "\n".join(lines)))
    assert [row["t"] for row in listed(raw)] == ["x ?", "y"]
    assert raw.broken["row"].to_pylist() == [2, 3]
    assert raw.broken["reason"].to_pylist() == ["nested too deeply"] * 2


def test_a_banner_is_skipped_and_said(tmp_path: Path) -> None:
    raw = read_rows(write(tmp_path / "a.csv", "From 2020,https://www.example.com\ntime,open,high\n1,2,3\n"))
    assert listed(raw) == [{"time": "1", "open": "2", "high": "3"}]
    assert raw.number.tolist() == [1]
    assert "banner" in raw.notes[0]


def test_a_file_without_header_needs_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1502942400000,4261.48,4313.62\n1502946000000,1,2\n")
    with pytest.raises(InputError, match="--names"):
        read_rows(path)
    raw = read_rows(path, names=["time", "open", "high"])
    assert raw.rows["time"].to_pylist() == ["1502942400000", "1502946000000"]


def test_json_lines(tmp_path: Path) -> None:
    content = '{"id": 1, "user": {"followers": 5}, "tags": ["a"]}\n\nnonsense\n[1]\n{"id": 2, "text": "x"}\n'
    raw = read_rows(write(tmp_path / "a.jsonl", content))
    assert listed(raw) == [
        {"id": 1, "user.followers": 5, "tags": '["a"]', "text": None},
        {"id": 2, "user.followers": None, "tags": None, "text": "x"},
    ]
    assert raw.number.tolist() == [1, 5]
    assert raw.broken["row"].to_pylist() == [3, 4]
    with pytest.raises(InputError, match="no line is a JSON object"):
        read_rows(write(tmp_path / "b.jsonl", "1\n2\n"))


def test_json_of_candles_objects_and_envelopes(tmp_path: Path) -> None:
    raw = read_rows(write(tmp_path / "a.json", "[[1, 2.5, 3, 4, 5, 6], [7, 8, 9, 10, 11], [1, 2, 3, 4, 5, null]]"))
    assert raw.rows.column_names == ["time", "open", "high", "low", "close", "volume"]
    assert raw.rows["open"].to_pylist() == [2.5, 2.0]
    assert raw.number.tolist() == [1, 3]
    assert raw.broken.num_rows == 1
    inner = [{"time": 1, "close": 2}]
    for content in (inner, {"ok": True, "data": inner}, {"Data": {"From": 1, "Data": inner}, "RateLimit": {}}):
        assert listed(read_rows(write(tmp_path / "b.json", json.dumps(content)))) == inner
    path = write(tmp_path / "c.json", json.dumps({"a": inner, "b": inner}))
    with pytest.raises(InputError, match="--records a or b"):
        read_rows(path)
    assert listed(read_rows(path, records="b")) == inner
    with pytest.raises(InputError, match="rows of 2 values"):
        read_rows(write(tmp_path / "d.json", "[[1, 2]]"))
    assert listed(read_rows(tmp_path / "d.json", names=["time", "value"])) == [{"time": 1, "value": 2}]


def test_columnar_files(tmp_path: Path) -> None:
    table = pa.table({"time": [1, 2], "open": [1.0, 2.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    feather.write_feather(table, tmp_path / "a.feather")
    for name in ("a.parquet", "a.feather"):
        assert read_rows(tmp_path / name).rows == table


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"\xef\xbb\xbf", "empty"),
        ("a.jsonl", b"\xef\xbb\xbf\n", "empty"),
        ("a.csv", b"time,open\n", "no rows"),
        ("a.csv", b"time,time\n1,2\n", "twice"),
        ("a.csv", b"time,open\n1\n2\n", "no row has 2 columns"),
        ("a.csv", b"time,text\n1,caf\xe9\n", "--encoding latin-1"),
        ("a.csv.gz", b"\x1f\x8b\x08cut", "damaged"),
        ("a.parquet", b"PAR1 and then nothing of use PAR1", "not a readable parquet file"),
        ("a.parquet", b"", "not a readable parquet file"),
        ("a.feather", b"ARROW1 cut", "not a readable feather file"),
        ("a.json", b"[[1, 2", "not readable as JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b"[]", "no rows"),
        ("a.json", b'"text"', "neither a list nor an object"),
        ("a.json", b'{"a": 1}', "There is no list of rows"),
        ("a.xlsx", b"PK", "not a file format"),
        ("a.parquet.gz", b"x", "not a file format"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match=words) as caught:
        read_rows(path)
    assert caught.value.where == str(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_rows(tmp_path / "absent.csv")
    for name in ("folder.csv", "folder.parquet"):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="is a folder|not a readable parquet"):
            read_rows(tmp_path / name)


def test_other_encodings(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "time,text\n1,café\n".encode("latin-1"))
    assert listed(read_rows(path, encoding="latin-1")) == [{"time": "1", "text": "café"}]
    with pytest.raises(InputError, match="--encoding"):
        read_rows(path, encoding="klingon")
