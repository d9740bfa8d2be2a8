"""Real files of several vendors, where they lie beside the project; skipped with a word where they don't."""

from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from data.files import ImportOptions, ImportReport, import_file, parse_values
from data.store import Store
from data.times import DAY_NS, HOUR_NS, parse_time

REAL = Path(__file__).parents[2].parent / "shared" / "data"
NOW = parse_time("2026-01-01")

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real files in {REAL}")


def take(store: Store, kind: str, name: str, **options: object) -> ImportReport:
    return import_file(store, kind, REAL / name, ImportOptions(**options), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "bars", "gaps", "missing", "largest_h"),
    [
        ("1h/BTC_USDT-1h-20210701_20221031.parquet", 11_706, 2, 6, 5),
        ("1h/XRP_USDT-1h-20221201_20241231.parquet", 18_287, 1, 1, 2),
        ("1m/XRP_ETH-1m-20191011_20191013.parquet", 2_469, 676, 1_091, 9 / 60),
    ],
)
def test_bars_as_their_source_says(
    store: Store, name: str, bars: int, gaps: int, missing: int, largest_h: float
) -> None:
    report = take(store, "bars", f"ohlcv/{name}", source="binance")
    assert (report.added, report.quarantined) == (bars, {})
    [line] = store.catalog()
    assert (line.rows, line.gaps, line.missing, line.largest_gap_ns) == (
        bars,
        gaps,
        missing,
        round(largest_h * HOUR_NS),
    )
    assert take(store, "bars", f"ohlcv/{name}", source="binance").unchanged == bars


def test_an_index_with_unsound_bars(store: Store) -> None:
    report = take(store, "bars", "ohlcv/1d/CCCAGG-ETH_USD-1d-20180201_20210430.parquet")
    assert report.quarantined == {"high and low do not bound open and close": 450}


def test_flows_are_known_at_six_on_the_next_day(store: Store) -> None:
    stated = {"coin": "BTC", "stamp": "start", "interval": "1d", "lag": "6h", "quality": "revised"}
    values = parse_values(["exchange_netflow=FlowInExUSD-FlowOutExUSD"])
    assert take(store, "metrics", "onchain/btc_coinmetrics_flows.parquet", values=values, **stated).added == 3_562
    frame = store.metrics(["exchange_netflow"])
    row = frame[frame["event_ns"] == parse_time("2021-10-13")].iloc[0]  # the flows of 2021-10-12
    assert row["known_ns"] == parse_time("2021-10-13T06:00Z")
    assert (frame["known_ns"] - frame["event_ns"]).eq(6 * HOUR_NS).all()


def test_fear_and_greed_and_supply(store: Store) -> None:
    take(store, "metrics", "onchain/fear_greed.parquet", coin="*", stamp="published", lag="0s", values={"fg": "value"})
    report = take(
        *(store, "metrics", "onchain/defillama_stablecoins_tvl.parquet"),
        coin="*",
        stamp="start",
        interval="1d",
        lag="6h",
        values={"supply": "stablecoin_supply_usd"},
    )
    assert (report.added, report.empty) == (2_499, 63)
    lines = {line.name: line for line in store.catalog()}
    assert lines["fg *"].missing == 95
    assert lines["supply *"].step_ns == DAY_NS


def test_news_to_the_minute_and_headlines_by_the_day(store: Store) -> None:
    assert take(store, "posts", "text/cryptonews_2021-10_2022-07.parquet").added == 7_465
    for name in ("text/btc_daily_headlines_2018_2023.parquet", "text/gnews_btc_2023.parquet"):
        options = {"source": "daily", "columns": {"text": "title+lead300"} if "gnews" in name else {}}
        with pytest.raises(InputError, match="dates, it seems"):
            take(store, "posts", name, **options)
        assert take(store, "posts", name, stamp="start", interval="1d", **options).added > 1_000


def test_a_dirty_file_gives_errors_or_quarantine_never_wrong_bars(store: Store) -> None:
    name = "fixtures/dirty/cdd_Binance_BTCUSDT_1h_slice.csv"
    volume = {"volume": "Volume BTC"}
    with pytest.raises(InputError, match="several columns could be the time"):
        take(store, "bars", name, interval="1h")
    with pytest.raises(InputError, match=r"several units: s in rows 593, .*ms in rows 1, 2, 3"):
        take(store, "bars", name, interval="1h", columns={"time": "unix", **volume})
    with pytest.raises(InputError, match="without a time zone"):
        take(store, "bars", name, interval="1h", columns={"time": "date", **volume})
    assert not store.root.exists()
    stated = {"interval": "1h", "tz": "UTC", "source": "cdd", "columns": {"time": "date", **volume}}
    first = take(store, "bars", name, **stated)
    second = take(store, "bars", name, time_format="%Y-%m-%d %I-%p", **stated)
    assert (first.added, second.quarantined["a spike that reverts within one bar (bad tick)"]) == (1_055, 1)
    take(store, "bars", "ohlcv/1h/BTC_USDT-1h-20170817_20210430.parquet", source="binance")
    dirty = store.bars("BTC/USDT", HOUR_NS, source="cdd")
    clean = store.bars("BTC/USDT", HOUR_NS, source="binance")
    both, mine, theirs = np.intersect1d(dirty.open_ns, clean.open_ns, return_indices=True)
    assert len(both) > len(dirty) - 10  # the vendor fills an outage of 2017
    off = abs(dirty.close[mine] / clean.close[theirs] - 1)
    assert (off < 1e-6).mean() > 0.97 and off.max() < 0.05  # the vendor repeats some closes of 2017


def test_a_banner_and_zero_prices(store: Store) -> None:
    name = "fixtures/dirty/cdd_gemini_BTCUSD_1h_slice.csv"
    with pytest.raises(InputError, match="several units"):
        take(store, "bars", name, interval="1h", symbol="BTC/USD", columns={"time": "Unix Timestamp"})
    report = take(store, "bars", name, interval="1h", symbol="BTC/USD", columns={"time": "Date"}, tz="UTC")
    assert report.quarantined["open is zero"] == 1
    assert any("banner" in note for note in report.notes)
