"""Bars from files: what is taken, what is set apart, what is refused."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.checks import UNFINISHED
from data.errors import InputError
from data.files import ImportOptions, ImportReport, import_file, parse_map
from data.merge import CONTRADICTION
from data.store import Store
from data.times import HOUR_NS, parse_time

START = 1_704_067_200  # 2024-01-01
NOW = parse_time("2024-06-01")
BTC = ImportOptions(symbol="BTC/USDT", interval="1h")
Take = Callable[..., ImportReport]


@pytest.fixture
def take(store: Store, tmp_path: Path) -> Take:
    """Import rows of a CSV file (or a ready file) as bars."""

    def run(rows: list[str] | Path, options: ImportOptions = BTC, now: int = NOW, head: str = HEAD) -> ImportReport:
        path = rows if isinstance(rows, Path) else tmp_path / "bars.csv"
        if not isinstance(rows, Path):
            path.write_text("\n".join([head, *rows]) + "\n")
        return import_file(store, "bars", path, options, now)

    return run


HEAD = "time,open,high,low,close,volume"


def row(hour: int, close: float = 10.0) -> str:
    return f"{START + 3600 * hour},{close},{close + 1},{close - 1},{close},5"


def closes(store: Store, symbol: str = "BTC/USDT") -> list[float]:
    return store.bars(symbol, HOUR_NS).close.tolist()


def test_a_plain_file(take: Take, store: Store) -> None:
    report = take([row(0, 10), row(1, 11), row(2, 12)])
    assert (report.read, report.added, report.quarantined) == (3, 3, {})
    assert report.series == ("BTC/USDT 1h",)
    bars = store.bars("BTC/USDT", HOUR_NS)
    assert bars.open_ns.tolist() == [START * 10**9 + at * HOUR_NS for at in range(3)]
    assert bars.known_ns.tolist() == bars.close_ns.tolist()
    assert (bars.source, bars.high.tolist(), bars.volume.tolist()) == ("file", [11, 12, 13], [5, 5, 5])
    again = take([row(0, 10), row(1, 11), row(2, 12)])
    assert (again.added, again.unchanged, again.revised) == (0, 3, 0)


def test_unsorted_is_sorted_and_said(take: Take, store: Store) -> None:
    assert any("not in time order" in note for note in take([row(2, 12), row(0, 10), row(1, 11)]).notes)
    assert closes(store) == [10, 11, 12]
    assert any("newest first" in note for note in take([row(4), row(3)]).notes)


def test_duplicates(take: Take, store: Store) -> None:
    report = take([row(0), row(0), row(1, 11), row(1, 12), row(2)])
    assert (report.added, report.duplicates) == (2, 1)
    assert report.quarantined == {CONTRADICTION: 2}
    assert len(closes(store)) == 2


BAD = {
    "open is missing": f"{START},,11,9,10,5",
    "high is missing": f"{START},10,nan,9,10,5",
    "close is zero": f"{START},10,11,9,0,5",
    "low is negative": f"{START},10,11,-9,10,5",
    "volume is negative": f"{START},10,11,9,10,-5",
    "close is infinite": f"{START},10,1e999,9,1e999,5",
    "high below low": f"{START},10,9,11,10,5",
    "high and low do not bound open and close": f"{START},10,11,9,12,5",
    "opens off the grid of 1h": f"{START + 60},10,11,9,10,5",
    "open is not a number": f"{START},ten,11,9,10,5",
    "unreadable time": "soon,10,11,9,10,5",
    "no time": ",10,11,9,10,5",
    "not 6 columns like the header": f"{START},10,11",
}


@pytest.mark.parametrize("reason", sorted(BAD))
def test_bad_rows_are_quarantined_as_they_were(take: Take, store: Store, reason: str) -> None:
    report = take([BAD[reason], row(1), row(2), row(3)])
    if reason == "close is infinite":
        reason = "high is infinite"  # the first of its two faults
    assert report.quarantined == {reason: 1}
    assert (report.read, report.added) == (4, 3)
    [kept] = store.rejects("bars").to_pylist()
    assert (kept["reason"], kept["row"], kept["origin"]) == (reason, 1, "bars.csv")
    values = list(json.loads(kept["content"]).values())
    assert ",".join(values) == BAD[reason if reason in BAD else "close is infinite"]
    assert take([BAD[reason if reason in BAD else "close is infinite"], row(1), row(2), row(3)]).quarantined_new == 0


def test_bad_rows_show_in_the_catalogue(take: Take, store: Store) -> None:
    take([row(0), row(0), row(1, -5), row(2), row(5)])
    [line] = store.catalog()
    assert (line.name, line.rows, line.gaps, line.missing, line.duplicates) == ("BTC/USDT 1h", 3, 2, 3, 1)
    assert dict(line.quarantined) == {"open is negative": 1}
    assert dict(line.quality) == {"assumed_lag": 3}


def test_the_unfinished_bar_is_left_out(take: Take, store: Store) -> None:
    report = take([row(0), row(1), row(2)], now=START * 10**9 + 3 * HOUR_NS - 1)
    assert report.quarantined == {UNFINISHED: 1}
    assert take([row(0), row(1), row(2)], now=START * 10**9 + 3 * HOUR_NS).added == 1


def test_a_bad_tick_is_quarantined_unless_wanted(take: Take) -> None:
    spike = f"{START + 3600 * 30},10,40,9,10,5"
    rows = [row(hour) for hour in range(30)] + [spike] + [row(hour) for hour in range(31, 60)]
    # Where every hour moves a tenth, one wick is no wonder; it takes three times the price and twenty usual ranges.
    calm = [line.replace(",11.0,9.0,", ",10.01,9.99,") for line in rows]
    report = take(calm)
    assert list(report.quarantined.values()) == [1]
    assert any("--keep-spikes" in note for note in report.notes)
    assert take(calm, ImportOptions(symbol="BTC/USDT", interval="1h", keep_spikes=True)).added == 1


def test_a_crash_that_stays_is_no_bad_tick(take: Take) -> None:
    rows = [f"{START + 3600 * hour},{p},{p * 1.001},{p * 0.999},{p},5" for hour, p in enumerate([100] * 30 + [20] * 30)]
    assert take(rows).quarantined == {}


def test_names_are_mapped(take: Take, store: Store) -> None:
    head = "Date,O,H,L,Price,Volume BTC"
    with pytest.raises(InputError, match="no column for close; there are Date, O, H, L, Price"):
        take([row(0)], head=head)
    options = ImportOptions(symbol="BTC/USDT", interval="1h", columns=parse_map(["close=Price", "volume=volume btc"]))
    assert take([row(0)], options, head=head).added == 1
    wrong = ImportOptions(symbol="BTC/USDT", interval="1h", columns={"close": "Preis"})
    with pytest.raises(InputError, match="no such column"):
        take([row(0)], wrong, head=head)
    with pytest.raises(InputError, match="several columns could be the time: time, date"):
        take([f"1,{row(0)}"], head="time," + HEAD.replace("time", "date"))
    for text in ("open", "open=", "=x", "price=x"):
        with pytest.raises(InputError, match="not a column mapping"):
            parse_map([text])


def test_symbol_and_interval_have_to_be_known(take: Take, store: Store) -> None:
    with pytest.raises(InputError, match="--symbol BTC/USDT"):
        take([row(0)], ImportOptions(interval="1h"))
    with pytest.raises(InputError, match="rows are 1h apart.*--interval 1h"):
        take([row(0), row(1)], ImportOptions(symbol="BTC/USDT"))
    with pytest.raises(InputError, match="known before they were over"):
        take([row(hour) for hour in range(12)], ImportOptions(symbol="BTC/USDT", interval="1m"))
    with pytest.raises(InputError, match="off the 4h grid"):
        take([row(1), row(2), row(3)], ImportOptions(symbol="BTC/USDT", interval="4h"))
    with pytest.raises(InputError, match="not a symbol"):
        take([row(0)], ImportOptions(symbol="BTCUSDT", interval="1h"))
    with pytest.raises(InputError, match="not a duration"):
        take([row(0)], ImportOptions(symbol="BTC/USDT", interval="hourly"))
    assert not store.root.exists()


def test_symbols_in_a_column(take: Take, store: Store) -> None:
    head = "symbol," + HEAD
    report = take([f"btc-usdt,{row(0)}", f"ETH/USDT,{row(0, 3)}"], ImportOptions(interval="1h"), head=head)
    assert report.series == ("BTC/USDT 1h", "ETH/USDT 1h")
    assert closes(store, "ETH/USDT") == [3]
    with pytest.raises(InputError, match="several symbols"):
        take([f"BTC/USDT,{row(0)}", f"ETH/USDT,{row(0)}"], head=head)
    with pytest.raises(InputError, match="can't tell base and quote apart"):
        take([f"BTCUSDT,{row(0)}"], ImportOptions(interval="1h"), head=head)
    assert take([f"BTCUSDT,{row(9)}"], head=head).added == 1


def test_bars_stamped_at_their_end(take: Take, store: Store) -> None:
    last = [f"{(START + 3600 * hour) * 1000 - 1},{10 + hour},20,5,{10 + hour},5" for hour in (1, 2, 3)]
    with pytest.raises(InputError, match="--stamp end"):
        take(last)
    take(last, ImportOptions(symbol="BTC/USDT", interval="1h", stamp="end"))
    assert store.bars("BTC/USDT", HOUR_NS).open_ns.tolist() == [START * 10**9 + at * HOUR_NS for at in range(3)]
    with pytest.raises(InputError, match="start or end"):
        take(last, ImportOptions(symbol="BTC/USDT", interval="1h", stamp="published"))


def test_refused_times_leave_no_trace(take: Take, store: Store) -> None:
    naive = [f"2024-01-01 0{hour}:00:00,10,11,9,10,5" for hour in range(3)]
    with pytest.raises(InputError, match="without a time zone"):
        take(naive)
    with pytest.raises(InputError, match="several units"):
        take([row(0), row(1).replace(str(START + 3600), str(START * 1000 + 3_600_000))])
    with pytest.raises(InputError, match="not one usable row: 2 × open is negative"):
        take([row(0, -5), row(1, -5)])
    assert not store.root.exists()
    zoned = ImportOptions(symbol="BTC/USDT", interval="1h", tz="America/New_York")
    assert take(naive, zoned).first_ns == parse_time("2024-01-01T05:00Z")


def test_freqtrade_layouts(take: Take, store: Store, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC").as_unit("ms"),
            **dict.fromkeys(("open", "high", "low", "close"), [7.0, 8.0, 9.0]),
            "volume": [1.0, 2.0, 3.0],
        }
    )
    frame.to_feather(tmp_path / "ETH_USDT-1h.feather")
    candles = [[(START + 3600 * hour) * 1000, 5, 6, 4, 5 + hour / 2, 1.5] for hour in range(3)]
    (tmp_path / "ADA_USDT-1h.json").write_text(json.dumps(candles))
    (tmp_path / "XRP_USDT_USDT-1h-futures.json.gz").write_bytes(gzip.compress(json.dumps(candles).encode()))
    for name in ("ETH_USDT-1h.feather", "ADA_USDT-1h.json", "XRP_USDT_USDT-1h-futures.json.gz"):
        assert take(tmp_path / name, ImportOptions()).added == 3
    assert closes(store, "ETH/USDT") == [7, 8, 9]
    assert closes(store, "ADA/USDT") == [5, 5.5, 6]
    assert closes(store, "XRP/USDT:USDT") == [5, 5.5, 6]


def test_parquet_needs_zoned_times_or_a_zone(take: Take, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "timestamp": pd.date_range("2024-01-01", periods=2, freq="h"),
            **dict.fromkeys(("open", "high", "low", "close", "volume"), [7.0, 8.0]),
        }
    )
    path = tmp_path / "BTC_USDT-1h-2024.parquet"
    frame.to_parquet(path)
    with pytest.raises(InputError, match=r"--tz UTC"):
        take(path, ImportOptions())
    assert take(path, ImportOptions(tz="UTC")).added == 2
    frame["timestamp"] = frame["timestamp"].dt.tz_localize("UTC")
    frame.to_parquet(path)
    assert take(path, ImportOptions()).unchanged == 2


def test_a_changed_file_makes_revisions_that_do_not_rewrite_history(take: Take, store: Store) -> None:
    take([row(0, 10), row(1, 11)])
    report = take([row(0, 10), row(1, 99)], now=NOW + HOUR_NS)
    assert (report.unchanged, report.revised) == (1, 1)
    assert any("revisions" in note for note in report.notes)
    assert closes(store) == [10, 11]
    assert store.table("bars")["known_ns"].to_pylist()[-1] == NOW + HOUR_NS


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(12)), twice=st.lists(st.integers(0, 11), max_size=5), cut=st.integers(1, 11))
def test_order_repeats_and_pieces_do_not_matter(
    order: list[int], twice: list[int], cut: int, take: Take, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Store(tmp_path_factory.mktemp("pieces"))
    rows = [row(hour, 10 + hour) for hour in [*order, *twice]]
    for piece in (rows[:cut], rows[cut:]):
        path = tmp_path_factory.mktemp("files") / "bars.csv"
        path.write_text("\n".join([HEAD, *piece]) + "\n")
        import_file(other, "bars", path, BTC, NOW)
    take([row(hour, 10 + hour) for hour in range(12)])
    assert other.bars("BTC/USDT", HOUR_NS).sha256 == store.bars("BTC/USDT", HOUR_NS).sha256
    assert np.all(np.diff(other.bars("BTC/USDT", HOUR_NS).open_ns) == HOUR_NS)
