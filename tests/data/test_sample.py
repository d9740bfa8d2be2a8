"""The embedded sample: shape, sameness, honest candles, times, words and metrics, and its way into the store."""

import hashlib
import html
import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from data.errors import InputError
from data.facts import SCHEMAS
from data.sample import (
    COIN_NAMES,
    END_NS,
    INTERVAL_NS,
    OUTAGE_NS,
    PLANTED,
    SOURCES,
    START_NS,
    SYMBOLS,
    sample_tables,
    sample_truth,
    write_sample,
)
from data.sample_market import COINS, CRASH_HOUR, HOURS, SampleCoin
from data.sample_voices import CORES, FLOODS, LOOK_ALIKES, NOBODY, SPAM_MANY, SPAM_ONE, WORDS, compiled
from data.store import Store

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
SHORT_HOURS = 60 * 24
INGESTED_NS = END_NS + 30 * DAY_NS
GOLDEN = {
    "bars": "fc7f26dc30ff692796eca90dc4140cfb9d1d87d3c93483b8225e0d5c98b546fb",
    "metrics": "f8f9ab6241bf28160f3e0e7efbc7ab265641418bff9451d0ea4071056696cf9c",
    "posts": "f0f21c64da71b54655ad8f995c65dc95d8c6b40e3db594973848681d41b7b119",
}

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@pytest.fixture(scope="module")
def year() -> dict[str, pa.Table]:
    return sample_tables(7)


@pytest.fixture(scope="module")
def short() -> dict[str, pa.Table]:
    return sample_tables(7, hours=SHORT_HOURS)


@pytest.fixture(scope="module")
def truth() -> dict[str, tuple[str, str, int]]:
    """Voice, coin and tone of each post by key."""
    table = sample_truth(7)
    rows = zip(*[table[name].to_pylist() for name in ("key", "voice", "coin", "tone")], strict=True)
    return {key: (voice, coin, tone) for key, voice, coin, tone in rows}


def column(table: pa.Table, name: str) -> F8:
    values: F8 = table[name].to_numpy()
    return values


def candles(table: pa.Table, symbol: str) -> dict[str, F8]:
    names = ("event_ns", "open", "high", "low", "close", "volume")
    mine = np.array(table["symbol"].to_pylist()) == symbol
    return {name: column(table, name)[mine] for name in names}


def sha256(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in table.column_names:
        if pa.types.is_string(table.schema.field(name).type):
            digest.update("\x1f".join(table[name].to_pylist()).encode())
        else:
            digest.update(np.ascontiguousarray(table[name].to_numpy()).tobytes())
    return digest.hexdigest()


def metric(table: pa.Table, name: str, coin: str, *, revised: bool = False) -> tuple[I8, I8, F8]:
    wanted = zip(table["name"].to_pylist(), table["coin"].to_pylist(), table["revision"].to_pylist(), strict=True)
    mine = np.array([row == (name, coin, int(revised)) for row in wanted])
    return column(table, "event_ns")[mine], column(table, "known_ns")[mine], column(table, "value")[mine]


# ---- shape and sameness ------------------------------------------------------------------------------------------


def test_the_year_has_the_stated_size_and_says_that_it_is_synthetic(year: dict[str, pa.Table]) -> None:
    assert {kind: table.schema for kind, table in year.items()} == {kind: SCHEMAS[kind] for kind in year}
    assert year["bars"].num_rows == 5 * (HOURS - 3)
    assert 38_000 < year["posts"].num_rows < 42_000
    for table in year.values():
        assert set(table["source"].to_pylist()) <= set(SOURCES)
    assert all(source.startswith("synthetic") for source in SOURCES)
    assert set(year["posts"]["source"].to_pylist()) == {"synthetic:social", "synthetic:news"}
    assert all("synthetic.invalid/" in url for url in year["posts"]["url"].to_pylist())


def test_equal_seeds_give_equal_tables_and_other_seeds_others(short: dict[str, pa.Table]) -> None:
    again = sample_tables(7, hours=SHORT_HOURS)
    other = sample_tables(8, hours=SHORT_HOURS)
    for kind, table in short.items():
        assert sha256(again[kind]) == sha256(table)
        assert sha256(other[kind]) != sha256(table)


def test_the_default_year_is_the_recorded_one(year: dict[str, pa.Table]) -> None:
    assert {kind: sha256(table) for kind, table in year.items()} == GOLDEN


def test_a_short_sample_is_the_beginning_of_the_year(year: dict[str, pa.Table], short: dict[str, pa.Table]) -> None:
    until_ns = START_NS + SHORT_HOURS * HOUR_NS
    for kind, table in year.items():
        event_ns = column(table, "event_ns")
        begun = event_ns <= until_ns if kind == "metrics" else event_ns < until_ns
        assert sha256(table.filter(pa.array(begun))) == sha256(short[kind])


@pytest.mark.parametrize(("seed", "hours"), [(7, 0), (7, HOURS + 1), (-1, None)])
def test_bad_arguments_are_input_errors(seed: int, hours: int | None) -> None:
    with pytest.raises(InputError):
        sample_tables(seed, hours=hours)
    with pytest.raises(InputError):
        sample_truth(seed, hours=hours)


# ---- bars --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coin", COINS, ids=COIN_NAMES)
def test_candles_are_valid_and_on_the_tick_grid(year: dict[str, pa.Table], coin: SampleCoin) -> None:
    bar = candles(year["bars"], f"{coin.coin}/USDT")
    assert (bar["low"] > 0).all() and (bar["volume"] > 0).all()
    assert (bar["low"] <= np.minimum(bar["open"], bar["close"])).all()
    assert (bar["high"] >= np.maximum(bar["open"], bar["close"])).all()
    for name in ("open", "high", "low", "close"):
        assert (np.round(bar[name], coin.decimals) == bar[name]).all()
    joined = np.diff(bar["event_ns"]) == HOUR_NS
    jump = np.abs(bar["open"][1:] - bar["close"][:-1])[joined]
    assert jump.max() < 1.5 * 10.0**-coin.decimals


def test_the_only_gap_is_the_declared_outage(year: dict[str, pa.Table]) -> None:
    for symbol in SYMBOLS:
        event_ns = candles(year["bars"], symbol)["event_ns"].astype(np.int64)
        assert (event_ns[0], event_ns[-1]) == (START_NS, END_NS - HOUR_NS)
        gaps = np.flatnonzero(np.diff(event_ns) != HOUR_NS)
        assert len(gaps) == 1
        assert (event_ns[gaps[0]] + HOUR_NS, event_ns[gaps[0] + 1]) == OUTAGE_NS
    assert OUTAGE_NS[1] - OUTAGE_NS[0] == 3 * HOUR_NS
    assert set(column(year["bars"], "known_ns") - column(year["bars"], "event_ns")) == {INTERVAL_NS}


def test_returns_look_like_a_market(year: dict[str, pa.Table]) -> None:
    returns = np.array([np.diff(np.log(candles(year["bars"], symbol)["close"])) for symbol in SYMBOLS])
    for series in returns:
        centred = series - series.mean()
        assert np.mean(centred**4) / np.var(series) ** 2 > 5.0  # fat tails
        size = np.abs(series)
        assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.08  # volatility clusters
        assert abs(np.corrcoef(series[1:], series[:-1])[0, 1]) < 0.06
        assert 0.3 < series.std() * np.sqrt(8766) < 1.0
    assert np.corrcoef(returns)[np.triu_indices(5, 1)].min() > 0.4  # a common factor
    open_ns = candles(year["bars"], "BTC/USDT")["event_ns"][1:]
    by_day = np.bincount(((open_ns - START_NS) // DAY_NS).astype(np.int64), weights=returns[0])
    assert by_day.argmin() == CRASH_HOUR // 24 and by_day.min() < -0.12
    assert max(by_day[day : day + 34].sum() for day in range(280, 320)) > 0.2  # the rally


def test_volume_follows_the_clock_and_the_moves(year: dict[str, pa.Table]) -> None:
    for symbol in SYMBOLS:
        bar = candles(year["bars"], symbol)
        hour = (bar["event_ns"] - START_NS) // HOUR_NS % 24
        assert bar["volume"][hour == 14].mean() > 1.4 * bar["volume"][hour == 4].mean()
        moved = np.abs(np.log(bar["close"] / bar["open"]))
        assert np.corrcoef(moved, np.log(bar["volume"]))[0, 1] > 0.25


# ---- posts -------------------------------------------------------------------------------------------------------


def test_posts_arrive_after_they_were_written_and_some_hours_late(year: dict[str, pa.Table]) -> None:
    posts = year["posts"]
    delay_s = (column(posts, "known_ns") - column(posts, "event_ns")) / 1e9
    first = column(posts, "revision") == 0
    assert delay_s.min() >= 2.0
    assert 15 < np.median(delay_s[first]) < 60
    assert 0.01 < np.mean(delay_s[first] > 3_600) < 0.02
    assert (np.diff(column(posts, "known_ns")) >= 0).all()
    assert column(posts, "event_ns").min() >= START_NS and column(posts, "event_ns").max() < END_NS


def test_edits_are_revisions_known_later(year: dict[str, pa.Table]) -> None:
    rows = year["posts"].select(["key", "revision", "event_ns", "known_ns", "text", "author"]).to_pylist()
    first = {row["key"]: row for row in rows if row["revision"] == 0}
    edits = [row for row in rows if row["revision"] == 1]
    assert len(first) + len(edits) == len(rows) and 400 < len(edits) < 900
    for edit in edits:
        original = first[edit["key"]]
        assert edit["known_ns"] >= original["known_ns"] + 180 * 10**9
        assert (edit["event_ns"], edit["author"]) == (original["event_ns"], original["author"])
        assert edit["text"] != original["text"] and original["text"] in edit["text"]


def test_coin_posts_name_their_coin_and_a_tenth_names_none(
    year: dict[str, pa.Table], truth: dict[str, tuple[str, str, int]]
) -> None:
    plain = str.maketrans({alike: letter for letter, alike in LOOK_ALIKES.items()})
    names = {coin.coin: re.compile(rf"\b({coin.coin}|{coin.name})\b", re.IGNORECASE) for coin in COINS}
    none = 0
    for key, text in zip(year["posts"]["key"].to_pylist(), year["posts"]["text"].to_pylist(), strict=True):
        readable = "".join(letter for letter in text if unicodedata.category(letter) != "Cf").translate(plain)
        found = {coin for coin, pattern in names.items() if pattern.search(readable)}
        if truth[key][1] == "*":
            assert not found or len(found) == 5, text  # spam lists them all
            none += not found
        else:
            assert truth[key][1] in found, text
    assert 0.08 < none / year["posts"].num_rows < 0.12


def test_posts_carry_the_marks_of_real_feeds(year: dict[str, pa.Table]) -> None:
    texts = year["posts"]["text"].to_pylist()
    count = len(texts)
    assert 0.01 < sum(html.unescape(text) != text for text in texts) / count < 0.06
    assert 0.005 < sum(any(alike in text for alike in LOOK_ALIKES.values()) for text in texts) / count < 0.04
    assert 0.003 < sum("\u200b" in text or "\u200d" in text or "\u2060" in text for text in texts) / count < 0.03
    assert sum(any(unicodedata.category(letter) == "So" for letter in text) for text in texts) / count > 0.05
    assert sum(len(set(re.findall(r"\$[A-Z]{3,4}\b", text))) >= 4 for text in texts) > 400
    assert len(set(texts)) / count > 0.75
    followers = column(year["posts"], "followers")
    known = followers[~np.isnan(followers)]
    assert 0.005 < np.isnan(followers).mean() < 0.06
    assert known.min() >= 0 and known.max() > 1_000 * np.median(known)


def test_voices_and_tones_are_all_there(truth: dict[str, tuple[str, str, int]]) -> None:
    assert {voice for voice, _, _ in truth.values()} == {"trader", "holder", "desk", "bot", "chatter", "spam", "flood"}
    share = np.bincount([tone + 1 for _, _, tone in truth.values()]) / len(truth)
    assert (share > 0.15).all()


def test_floods_are_bursts_of_near_duplicates(
    year: dict[str, pa.Table], truth: dict[str, tuple[str, str, int]]
) -> None:
    flood = np.array([truth[key][0] == "flood" for key in year["posts"]["key"].to_pylist()])
    event_ns = np.sort(column(year["posts"], "event_ns")[flood])
    assert 800 < flood.sum() < 1_500
    ten_minutes = np.searchsorted(event_ns, event_ns + HOUR_NS // 6) - np.arange(len(event_ns))
    assert ten_minutes.max() >= 15


def test_no_post_quotes_a_price_to_come(year: dict[str, pa.Table]) -> None:
    posts = year["posts"]
    checked = 0
    bars = {coin: candles(year["bars"], f"{coin}/USDT") for coin in COIN_NAMES}
    for text, event_ns in zip(posts["text"].to_pylist(), posts["event_ns"].to_pylist(), strict=True):
        quoted = re.fullmatch(r"([A-Z]+)/USDT 1h close ([\d,.]+) \(([+-][\d.]+)% 24h\)", text)
        if quoted is None:
            continue
        bar = bars[quoted[1]]
        at = int(np.searchsorted(bar["event_ns"], event_ns - HOUR_NS, side="right")) - 1
        if bar["event_ns"][at] + 2 * HOUR_NS <= event_ns:
            continue  # written during the outage
        assert float(quoted[2].replace(",", "")) == pytest.approx(bar["close"][at], rel=1e-4)
        checked += 1
    assert checked > 200


def test_every_template_names_its_coin_and_only_known_slots() -> None:
    filled = {"c", "k", "n", "t", "o", "px", "lvl", "sup", "chg", "amt", "all"}
    of_a_coin = [text for block in CORES.values() for text in block] + [*SPAM_ONE, *FLOODS]
    for text in of_a_coin:
        assert {slot for _, slot in compiled(text)} & {"c", "k", "n", "t"}, text
    for text in [*of_a_coin, *SPAM_MANY, *(text for block in NOBODY.values() for text in block)]:
        assert {slot for _, slot in compiled(text)} <= filled | set(WORDS) | {""}, text
    assert all(not re.search(r"[{}|]", word) for words in WORDS.values() for word in words)


# ---- metrics -----------------------------------------------------------------------------------------------------


def test_metrics_have_their_lags_and_their_revisions(year: dict[str, pa.Table]) -> None:
    table = year["metrics"]
    for coin in COIN_NAMES:
        event_ns, known_ns, value = metric(table, "exchange_netflow", coin)
        assert len(value) == 366 and (np.diff(event_ns) == DAY_NS).all() and set(known_ns - event_ns) == {6 * HOUR_NS}
        later_event, later_known, later_value = metric(table, "exchange_netflow", coin, revised=True)
        assert 3 <= len(later_value) <= 10 and (later_known - later_event >= 3 * DAY_NS).all()
        assert (later_value != value[np.searchsorted(event_ns, later_event)]).all()
        times, known_ns, rate = metric(table, "funding_rate", coin)
        assert (times == known_ns).all() and (np.diff(times) == 8 * HOUR_NS).all()
        assert (times[0], times[-1]) == (START_NS, END_NS) and np.abs(rate).max() < 0.0075
    event_ns, known_ns, index = metric(table, "fear_greed", "*")
    assert (known_ns == event_ns).all() and (index == np.rint(index)).all() and 1 <= index.min() < 25 < 75 < index.max()
    event_ns, known_ns, supply = metric(table, "stablecoin_supply", "*")
    assert len(supply) == 366 and (known_ns - event_ns == 12 * HOUR_NS).all() and supply.min() > 1e11
    revised = np.array(table["revision"].to_pylist()) == 1
    assert set(np.array(table["quality"].to_pylist())[revised]) == {"revised"}


# ---- into the store ----------------------------------------------------------------------------------------------


def test_the_store_takes_every_row_of_the_year(var: Path, year: dict[str, pa.Table]) -> None:
    store = Store(var)
    for kind, table in year.items():
        done = store.append(kind, table)
        revised = int(np.count_nonzero(column(table, "revision")))
        assert (done.added, done.revised, done.quarantined) == (table.num_rows - revised, revised, 0)
    held = store.bars("ETH/USDT", INTERVAL_NS)
    assert held.source == "synthetic" and np.array_equal(held.close, candles(year["bars"], "ETH/USDT")["close"])
    stored = store.posts(columns=["key", "revision", "known_ns"])
    assert int((stored["revision"] == 1).sum()) == np.count_nonzero(column(year["posts"], "revision"))
    assert (store.metrics(["exchange_netflow"], ["BTC"])["revision"] == 1).sum() >= 3


def test_writing_twice_adds_nothing(var: Path, short: dict[str, pa.Table]) -> None:
    store = Store(var)
    summary = write_sample(store, ingested_ns=INGESTED_NS, hours=SHORT_HOURS)
    assert summary.added == sum(table.num_rows for table in short.values()) and summary.unchanged == 0
    assert (summary.bars, summary.metrics) == (short["bars"].num_rows, short["metrics"].num_rows)
    assert summary.posts + summary.edited == short["posts"].num_rows
    again = write_sample(store, ingested_ns=INGESTED_NS + DAY_NS, hours=SHORT_HOURS)
    assert (again.added, again.unchanged) == (0, summary.added)
    assert all(store.manifest(kind).rejects == () for kind in ("bars", "posts", "metrics"))


def test_a_longer_sample_completes_a_short_one_and_another_seed_is_refused(var: Path) -> None:
    store = Store(var)
    first = write_sample(store, ingested_ns=INGESTED_NS, hours=240)
    longer = write_sample(store, ingested_ns=INGESTED_NS, hours=480)
    assert longer.unchanged == first.added and longer.added > 0
    with pytest.raises(InputError, match="another seed"):
        write_sample(store, seed=8, ingested_ns=INGESTED_NS, hours=240)
    assert write_sample(store, ingested_ns=INGESTED_NS, hours=480).added == 0


def test_the_summary_says_synthetic(var: Path) -> None:
    summary = write_sample(Store(var), ingested_ns=INGESTED_NS, hours=48)
    assert str(summary).startswith("SYNTHETIC") and summary.synthetic
    assert "ETH/USDT and SOL/USDT" in str(summary)
    assert summary.planted == PLANTED == ("ETH/USDT", "SOL/USDT")
