"""Numbers from a user's file: known at their time, valid until the next row, and every fault in it named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import InputError, InputErrors
from signals import Given, evaluate
from signals.inputs import of_closes
from signals.ops import OK, WARMING

TEXT = """time,symbol,weight
1970-01-01T01:30Z,BTC/USDT,0.5
1970-01-01T03:00+00:00,BTC/USDT,-0.25
1970-01-01T00:10Z,ETH/USDT,1.0
"""


def written(folder: Path, text: str, name: str = "targets.csv") -> str:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_row_counts_from_its_time_until_the_next(tmp_path: Path) -> None:
    bound = {"target": Given(written(tmp_path, TEXT))}
    rows, states = evaluate(bound, of_closes([1.0] * 4))
    np.testing.assert_array_equal(rows[:, 0, 0], [np.nan, 0.5, -0.25, -0.25])
    assert states[:, 0].tolist() == [WARMING, OK, OK, OK]
    aged, _ = evaluate({"target": Given(written(tmp_path, TEXT), max_age="90m")}, of_closes([1.0] * 6))
    np.testing.assert_array_equal(aged[:, 0, 0], [np.nan, 0.5, -0.25, -0.25, np.nan, np.nan])


def test_a_coin_stands_for_its_symbol_and_other_symbols_wait(tmp_path: Path) -> None:
    file = written(tmp_path, "symbol,mine,time\nBTC,0.1,1970-01-01 00:30Z\n")
    assert evaluate({"it": Given(file, "mine")}, of_closes([1.0]))[0][0, 0, 0] == 0.1
    assert evaluate({"it": Given(file, "mine")}, of_closes([1.0], coin="DOGE"))[1][0, 0] == WARMING


def test_parquet_with_a_time_type(tmp_path: Path) -> None:
    times = pa.array([5_400_000, 10_800_000], pa.timestamp("ms", "Europe/Berlin"))
    file = tmp_path / "targets.parquet"
    pq.write_table(pa.table({"time": times, "symbol": ["BTC/USDT"] * 2, "weight": [0.5, -0.25]}), file)
    rows, _ = evaluate({"it": Given(str(file))}, of_closes([1.0] * 3))
    np.testing.assert_array_equal(rows[:, 0, 0], [np.nan, 0.5, -0.25])
    pq.write_table(pa.table({"time": times.cast(pa.timestamp("ms")), "symbol": ["B"] * 2, "weight": [1.0] * 2}), file)
    with pytest.raises(InputError, match="times without a time zone"):
        Given(str(file)).table()
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        Given(str(file)).table()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,symbol\n", "weight: a column is missing. It has: time, symbol"),
        ("", "is empty"),
        ("time,symbol,weight\n", "holds no row"),
        (
            "time,symbol,weight\n2024-01-01T00:00,BTC,1\n",
            "row 2: time = '2024-01-01T00:00': a time without a time zone",
        ),
        ("time,symbol,weight\n1704067200000,BTC,1\n", "not an ISO date or time"),
        ("time,symbol,weight\n2024-01-01,BTC,much\n", "row 2: weight = 'much': has to be a number from -2 to 2"),
        ("time,symbol,weight\n2024-01-01,BTC,nan\n", "has to be a number"),
        ("time,symbol,weight\n2024-01-01,BTC,100\n", "row 2: weight = '100'"),
        ("time,symbol,weight\n2024-01-01,BTC,1,2\n", "has 4 cells, not 3"),
        ("time,symbol,weight\n2024-01-01,B,1\n2024-01-01,B,1\n", "B at 2024-01-01 00:00Z stands twice, also in row 2"),
        ('time,symbol,weight\n"2024', "not a readable CSV file"),
    ],
)
def test_faults_in_a_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        Given(written(tmp_path, text), low=-2.0, high=2.0).table()
    assert said in str(caught.value)
    assert "targets.csv" in str(caught.value)


def test_several_faults_are_told_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "time,symbol,weight\nnoon,BTC,1\n2024-01-01,BTC,x\n2024-01-02,BTC,1\n")
    with pytest.raises(InputErrors) as caught:
        Given(file).table()
    assert [error.where for error in caught.value.errors] == [f"{file}, row 2", f"{file}, row 3"]


def test_no_such_file_and_no_such_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        Given(str(tmp_path / "none.csv")).table()
    with pytest.raises(InputError, match="neither CSV nor Parquet"):
        Given(written(tmp_path, TEXT, "targets.txt")).table()


def test_another_file_is_another_identity(tmp_path: Path) -> None:
    first = Given(written(tmp_path, TEXT)).digest()
    assert Given(written(tmp_path, TEXT)).digest() == first
    assert Given(written(tmp_path, TEXT + "1970-01-02T00:00Z,BTC/USDT,1\n")).digest() != first
