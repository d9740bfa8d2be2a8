"""`tidegate import`: bad files, each with a clear error, exit code 2 and nothing lost."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from data.store import Store

RUNNER = CliRunner()
HEAD = "time,open,high,low,close,volume\n"
GOOD = [f"2024-01-01T0{hour}:00Z,10,12,9,11,5" for hour in range(6)]
BARS = ["import", "bars", "--source", "test", "--symbol", "BTC/USDT", "--interval", "1h"]


def write(folder: Path, *rows: str, head: str = HEAD, name: str = "bars.csv") -> str:
    """A CSV file of those rows."""
    file = folder / name
    file.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    return str(file)


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


def bars_of(var: Path) -> int:
    """How many bars are stored."""
    return len(Store(var).table("bars")) if (var / "facts").exists() else 0


def test_good_bars_are_added_once(tmp_path: Path, var: Path) -> None:
    """The same file twice adds nothing; what was read and stored is printed."""
    file = write(tmp_path, *GOOD)
    first = run(*BARS, file)
    assert first.exit_code == 0, first.stderr
    assert "6 added" in first.stdout
    second = json.loads(run(*BARS, file, "--json").stdout)[0]
    assert (second["added"], second["unchanged"]) == (0, 6)
    assert bars_of(var) == 6


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        (["1704067200,1,2,1,2,5", "1704070800000,1,2,1,2,5"], [], "unit"),
        (["2024-01-01 00:00,1,2,1,2,5"], [], "--tz"),
        ([], [], "row"),
    ],
    ids=["mixed units", "naive times", "no rows"],
)
def test_bad_bars_are_refused(tmp_path: Path, var: Path, rows: list[str], options: list[str], told: str) -> None:
    """Nothing is guessed, nothing is stored, and what was there stays."""
    assert run(*BARS, write(tmp_path, *GOOD)).exit_code == 0
    done = run(*BARS, write(tmp_path, *rows, name="bad.csv"), *options)
    assert done.exit_code == 2
    assert "bad.csv" in done.stderr
    assert told in done.stderr
    assert bars_of(var) == 6


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2024-01-01T06:00Z,10,12,9,nan,5", "close"),
        ("2024-01-01T06:00Z,10,12,-9,11,5", "low"),
        ("2024-01-01T06:00Z,10,8,9,8.5,5", "high"),
    ],
    ids=["NaN price", "negative price", "high below low"],
)
def test_bad_rows_are_set_apart_with_a_reason(tmp_path: Path, var: Path, row: str, reason: str) -> None:
    """The good rows are stored, the bad one is counted by reason; `data` shows it."""
    done = run(*BARS, write(tmp_path, *GOOD, row))
    assert done.exit_code == 0, done.stderr
    assert "set apart: 1" in done.stdout and reason in done.stdout
    assert bars_of(var) == 6
    (listed,) = [line for line in json.loads(run("data", "--json").stdout) if line["kind"] == "bars"]
    assert sum(listed["quarantined"].values()) == 1


def test_unsorted_and_repeated_bars_are_counted(tmp_path: Path, var: Path) -> None:
    """Order doesn't matter, an equal row is counted, and rows that contradict each other are both set apart."""
    done = run(*BARS, write(tmp_path, *reversed(GOOD), GOOD[0], "2024-01-01T05:00Z,10,12,9,10,5"))
    assert done.exit_code == 0, done.stderr
    assert "said twice" in done.stdout and "set apart" in done.stdout
    assert bars_of(var) == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["import", "bars", "nowhere.csv"], "nowhere.csv"),
        (
            ["import", "metrics", "FILE", "--values", "value", "--coin", "BTC", "--source", "t", "--stamp", "start"],
            "--lag",
        ),
        (["import", "bars", "FILE", "--map", "open"], "--map"),
        (["import", "bars", "FILE", "--map", "opening=o"], "--map"),
        (["import", "bars", "FILE", "--source", "t", "--symbol", "BTC/USDT", "--quality", "fine"], "quality"),
        (["import", "bars", "FILE", "--source", "t", "--symbol", "BTC/USDT", "--tz", "Mars"], "Mars"),
        (["import", "ticks", "FILE"], "No such command"),
        (["import", "bars"], "Missing argument"),
    ],
)
def test_bad_arguments(tmp_path: Path, var: Path, arguments: list[str], told: str) -> None:
    """Wrong usage is told in one message; nothing is stored."""
    file = write(tmp_path, "2024-01-01T00:00Z,1", head="time,value\n")
    done = run(*[file if argument == "FILE" else argument for argument in arguments])
    assert done.exit_code == 2
    assert told in done.stderr
    assert bars_of(var) == 0


def test_wrong_columns_are_named(tmp_path: Path, var: Path) -> None:
    """The message lists what is missing and how to map it."""
    done = run(*BARS, write(tmp_path, "2024-01-01T00:00Z,1,2", head="when,first,last\n"))
    assert done.exit_code == 2
    assert "--map" in done.stderr
    assert bars_of(var) == 0


def test_a_corrupt_parquet_file_is_refused(tmp_path: Path, var: Path) -> None:
    """A file cut in the middle is no file."""
    file = tmp_path / "bars.parquet"
    pq.write_table(pa.table({"time": ["2024-01-01T00:00Z"], "open": [1.0]}), file)
    file.write_bytes(file.read_bytes()[:-20])
    done = run(*BARS, str(file))
    assert done.exit_code == 2
    assert "bars.parquet" in done.stderr
    assert bars_of(var) == 0


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path, var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for the new part: said, and the facts stored before are all there."""
    import errno

    import data.append as append

    assert run(*BARS, write(tmp_path, *GOOD)).exit_code == 0

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(append, "commit", full)
    done = run(*BARS, write(tmp_path, "2024-01-02T00:00Z,10,12,9,11,5", name="more.csv"))
    assert done.exit_code == 2
    assert "No space left" in done.stderr
    monkeypatch.undo()
    assert bars_of(var) == 6


def test_an_interrupted_import_leaves_the_store_as_it_was(
    tmp_path: Path, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C: exit code 130, a word that nothing is lost, and the same command goes on."""
    import data.append as append

    assert run(*BARS, write(tmp_path, *GOOD)).exit_code == 0
    file = write(tmp_path, "2024-01-02T00:00Z,10,12,9,11,5", name="more.csv")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(append, "commit", stop)
        done = run(*BARS, file)
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert bars_of(var) == 6
    assert run(*BARS, file).exit_code == 0
    assert bars_of(var) == 7
