"""The store: idempotent, revisions, order, one commit or nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data.store
from data import append, manifest
from data.errors import InputError
from data.facts import fact_table, to_facts
from data.store import Appended, Store
from data.times import HOUR_NS

Build = Callable[..., pa.Table]
START = 1_704_067_200_000_000_000


def test_empty_store_reads_nothing(store: Store) -> None:
    assert store.catalog() == []
    assert len(store.posts()) == 0
    assert len(store.metrics(["flow"], ["BTC"])) == 0
    assert not store.root.exists()
    with pytest.raises(InputError, match="no bars of BTC/USDT 1h"):
        store.bars("BTC/USDT", HOUR_NS)


def test_same_rows_twice_add_nothing(store: Store, hourly: Build) -> None:
    table = hourly([1.0, 2.0, 3.0])
    assert store.append("bars", table) == Appended(added=3)
    files = sorted(path.name for path in (store.root / "bars").iterdir())
    assert store.append("bars", table) == Appended(unchanged=3)
    assert sorted(path.name for path in (store.root / "bars").iterdir()) == files
    assert store.append("bars", hourly([3.0, 4.0], first=2)) == Appended(added=1, unchanged=1)
    assert store.bars("BTC/USDT", HOUR_NS).close.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_late_correction_does_not_rewrite_history(store: Store, hourly: Build) -> None:
    store.append("bars", hourly([1.0, 2.0, 3.0]))
    assert store.append("bars", hourly([9.0], first=1, ingested_ns=START + 50 * HOUR_NS)) == Appended(revised=1)
    assert store.bars("BTC/USDT", HOUR_NS).close.tolist() == [1.0, 2.0, 3.0]
    [first, second] = [bar for bar in to_facts("bars", store.table("bars")) if bar.event_ns == START + HOUR_NS]
    assert (first.revision, second.revision) == (0, 1)
    assert second.known_ns == START + 50 * HOUR_NS
    # The old file again, and the corrected one again: both are known already.
    assert store.append("bars", hourly([1.0, 2.0, 3.0])) == Appended(unchanged=3)
    assert store.append("bars", hourly([9.0], first=1, ingested_ns=START + 60 * HOUR_NS)) == Appended(unchanged=1)


def test_a_bar_first_known_late_says_so(store: Store, hourly: Build) -> None:
    late = START + 30 * HOUR_NS
    store.append("bars", hourly([5.0], known_ns=[late]))
    assert store.bars("BTC/USDT", HOUR_NS).known_ns.tolist() == [late]


def test_spans_sources_and_missing_symbols(store: Store, hourly: Build) -> None:
    store.append("bars", hourly([1.0, 2.0, 3.0, 4.0]))
    cut = store.bars("BTC/USDT", HOUR_NS, START + HOUR_NS, START + 3 * HOUR_NS)
    assert cut.close.tolist() == [2.0, 3.0]
    assert cut.close_ns.tolist() == [START + 2 * HOUR_NS, START + 3 * HOUR_NS]
    with pytest.raises(InputError, match="Stored bars open from 2024-01-01 00:00Z to 2024-01-01 03:00Z"):
        store.bars("BTC/USDT", HOUR_NS, START + 10 * HOUR_NS)
    with pytest.raises(InputError, match="no bars of ETH/USDT 1h"):
        store.bars("ETH/USDT", HOUR_NS)
    store.append("bars", hourly([7.0], source="other"))
    with pytest.raises(InputError, match="several sources: other, test"):
        store.bars("BTC/USDT", HOUR_NS)
    assert store.bars("BTC/USDT", HOUR_NS, source="other").close.tolist() == [7.0]


def test_equal_bars_have_equal_hashes(store: Store, hourly: Build, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    prices = np.linspace(1, 2, 40)
    store.append("bars", hourly(prices))
    for first in range(0, 40, 7):
        other.append("bars", hourly(prices[first : first + 7], first=first))
    one, two = store.bars("BTC/USDT", HOUR_NS), other.bars("BTC/USDT", HOUR_NS)
    assert one.sha256 == two.sha256
    assert store.digest("bars") == other.digest("bars")
    other.append("bars", hourly([5.0], first=40))
    assert other.bars("BTC/USDT", HOUR_NS).sha256 != one.sha256
    assert other.digest("bars", until_ns=START + 41 * HOUR_NS) == store.digest("bars")


def test_many_small_appends_stay_few_files(store: Store, hourly: Build) -> None:
    for first in range(40):
        store.append("bars", hourly([1.0 + first], first=first))
    assert len(store.manifest("bars").parts) <= 6
    assert store.bars("BTC/USDT", HOUR_NS).close.tolist() == [1.0 + at for at in range(40)]
    files = [path for path in (store.root / "bars").iterdir() if path.suffix == ".parquet"]
    assert len(files) <= 6 + 7  # what the last commit retired stays for readers until the next


def test_merging_stops_where_it_would_take_much_memory(
    store: Store, written: Build, hourly: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "LONG_ROWS_MAX", 8)
    for at in range(40):
        store.append("posts", written([(f"p{at:02}", at, "text")]))
        store.append("bars", hourly([1.0 + at], first=at))
    parts = [part.rows for part in store.manifest("posts").parts]
    assert max(parts) <= 8 and len(parts) <= 10 and sum(parts) == 40
    assert store.posts()["key"].tolist() == [f"p{at:02}" for at in range(40)]
    assert store.append("posts", written([("p03", 3, "text")])) == Appended(unchanged=1)
    assert max(part.rows for part in store.manifest("bars").parts) > 8
    store.append("posts", written([(f"q{at:02}", at, "text") for at in range(20)]))
    assert max(part.rows for part in store.manifest("posts").parts) == 20  # what came together stays together


def test_a_span_is_read_without_the_rest_of_its_file(
    store: Store, written: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "ROW_GROUP", 4)
    store.append("posts", written([(f"p{at:02}", at // 2, "text") for at in range(40)]))
    read: list[int] = []

    def watched(*given: Any, **named: Any) -> pa.Table:
        rows = manifest.read_table(*given, **named)
        read.append(rows.num_rows)
        return rows

    monkeypatch.setattr(data.store, "read_table", watched)
    for since, until in ((None, None), (None, 3), (5, 7), (6, 8), (18, None), (7, 7), (25, None)):
        expected = [
            at for at in range(40) if (since is None or at // 2 >= since) and (until is None or at // 2 < until)
        ]
        assert store.posts(since_ns=since, until_ns=until)["key"].tolist() == [f"p{at:02}" for at in expected]
    assert read == [40, 8, 8, 4, 4, 4]  # the last span lies outside the file, as the manifest says


def test_contradictions_inside_one_table_are_quarantined(store: Store, observed: Build) -> None:
    done = store.append("metrics", observed([(1, 5, 10.0), (1, 5, 11.0), (2, 6, 12.0), (2, 6, 12.0)]), origin="a.csv")
    assert done == Appended(added=1, quarantined=2, duplicates=1)
    rejects = store.rejects("metrics").to_pylist()
    assert {row["series"] for row in rejects} == {"test|flow|BTC"}
    assert [json.loads(row["content"])["value"] for row in rejects] == [10.0, 11.0]
    again = store.append("metrics", observed([(1, 5, 10.0), (1, 5, 11.0), (2, 6, 12.0), (2, 6, 12.0)]), origin="a.csv")
    assert again == Appended(unchanged=1, duplicates=1)
    assert store.rejects("metrics").num_rows == 2
    [row] = store.catalog()
    assert (row.rows, row.duplicates, sum(row.quarantined.values())) == (1, 1, 2)


def test_revisions_with_times_of_their_own(store: Store, observed: Build) -> None:
    rows = [(1, 5, 10.0), (1, 9, 11.0), (1, 20, 10.0)]
    assert store.append("metrics", observed(rows)) == Appended(added=1, revised=2)
    assert store.append("metrics", observed(rows)) == Appended(unchanged=3)
    frame = store.metrics(["flow"], ["BTC"])
    assert frame["known_ns"].tolist() == [5, 9, 20]
    assert frame["revision"].tolist() == [0, 1, 2]
    assert frame["value"].tolist() == [10.0, 11.0, 10.0]


def test_another_lag_for_the_same_rows_is_counted(store: Store, observed: Build) -> None:
    store.append("metrics", observed([(1, 5, 10.0), (2, 6, 11.0)]))
    done = store.append("metrics", observed([(1, 8, 10.0), (2, 9, 11.0)]))
    assert done == Appended(unchanged=2, known_differs=2)
    assert store.metrics()["known_ns"].tolist() == [5, 6]


def test_an_edited_post_is_a_revision(store: Store, written: Build) -> None:
    store.append("posts", written([("a", 5, "first"), ("b", 6, "other")]))
    assert store.append("posts", written([("a", 9, "edited")])) == Appended(revised=1)
    frame = store.posts(columns=["key", "text", "revision", "known_ns"])
    assert frame.to_dict("list") == {
        "key": ["a", "b", "a"],
        "text": ["first", "other", "edited"],
        "revision": [0, 0, 1],
        "known_ns": [5, 6, 9],
    }
    assert store.append("posts", written([("a", 5, "first")], source="elsewhere")) == Appended(added=1)


def test_total_order_and_filters(store: Store, written: Build) -> None:
    store.append("posts", written([("b", 7, "x"), ("a", 7, "y"), ("c", 3, "z")]))
    store.append("posts", written([("a", 5, "w")], source="about"))
    frame = store.posts()
    assert list(zip(frame["known_ns"], frame["source"], frame["key"], strict=True)) == [
        (3, "news", "c"),
        (5, "about", "a"),
        (7, "news", "a"),
        (7, "news", "b"),
    ]
    assert store.posts(since_ns=5, until_ns=7)["key"].tolist() == ["a"]
    assert store.posts(sources=["news"])["key"].tolist() == ["c", "a", "b"]
    assert len(store.posts(sources=[])) == 0


def test_sentiment_by_model(store: Store) -> None:
    rows = {
        "source": "news",
        "key": ["a", "a", "b"],
        "coin": ["BTC", "ETH", "BTC"],
        "model": "vader",
        "model_revision": ["1", "1", "2"],
        "event_ns": [1, 1, 2],
        "known_ns": [4, 4, 3],
        "ingested_ns": 9,
        "quality": "recorded",
        "p_bearish": 0.0,
        "p_neutral": 0.5,
        "p_bullish": 0.5,
        "score": [0.5, 0.25, 0.1],
        "followers": float("nan"),
        "author": "",
        "cluster": [7, 7, -(2**62)],
        "flags": 0,
    }
    table = fact_table("sentiment", rows)
    assert store.append("sentiment", table) == Appended(added=3)
    assert store.append("sentiment", table) == Appended(unchanged=3)
    assert store.sentiment("vader", "1")["coin"].tolist() == ["BTC", "ETH"]
    assert store.sentiment("vader", "1", coins=["ETH"])["score"].tolist() == [0.25]
    assert store.sentiment("vader", "2")[["key", "cluster"]].values.tolist() == [["b", -(2**62)]]
    assert [row.name for row in store.catalog()] == ["vader@1", "vader@2"]


def test_facts_of_another_version_are_named(store: Store, hourly: Build) -> None:
    store.append("bars", hourly([1.0]))
    path = store.root / "bars" / "manifest.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 7'))
    with pytest.raises(InputError, match="another version of Tidegate.*score again"):
        store.manifest("bars")


def test_query(store: Store, hourly: Build) -> None:
    store.append("bars", hourly([1.0, 5.0]))
    assert store.query("SELECT max(close) AS top FROM bars").to_pylist() == [{"top": 5.0}]
    assert store.query("SELECT count(*) AS n FROM posts").to_pylist() == [{"n": 0}]
    with pytest.raises(InputError, match="query failed"):
        store.query("SELECT nothing FROM nowhere")


def test_broken_promises_are_the_callers_fault(store: Store, hourly: Build) -> None:
    for columns, words in [
        ({"quality": "certain"}, "quality"),
        ({"known_ns": [START]}, "known before its close"),
        ({"volume": [float("nan")]}, "not finite"),
    ]:
        with pytest.raises(ValueError, match=words):
            store.append("bars", hourly(**{"close": [1.0], **columns}))
    assert not store.root.exists()


def test_forget(store: Store, observed: Build) -> None:
    store.append("metrics", observed([(1, 5, 1.0), (1, 5, 2.0), (2, 6, 3.0)]), origin="f")
    store.append("metrics", observed([(1, 5, 1.0)], name="other"), origin="f", spans={"asked|test|flow|BTC": [(0, 9)]})
    assert store.forget("metrics", {"name": "nothing"}) == 0
    assert store.forget("metrics", {"source": "test", "name": "flow"}) == 1
    assert store.metrics()["name"].tolist() == ["other"]
    assert store.rejects("metrics").num_rows == 0
    assert store.manifest("metrics").spans == {}
    assert store.append("metrics", observed([(2, 99, 3.0)])) == Appended(added=1)
    with pytest.raises(InputError):
        store.forget("metrics", {})


def test_quarantine_keeps_the_row_as_it_was(store: Store) -> None:
    rows = pa.table({"reason": ["bad", "bad", "worse"], "row": [3, 4, 5], "open": ["x", "y", "z"]})
    assert store.quarantine("bars", rows, "a.csv") == 3
    assert store.quarantine("bars", rows, "a.csv") == 0
    kept = store.rejects("bars").to_pylist()
    assert kept[0] == {"origin": "a.csv", "series": "", "reason": "bad", "row": 3, "content": '{"open": "x"}'}
    [line] = store.catalog()
    assert (line.name, line.rows, dict(line.quarantined)) == ("a.csv", 0, {"bad": 2, "worse": 1})


class Twin:
    """The rule of revisions, said slowly: what is believed of one event, by when it was known."""

    def __init__(self) -> None:
        self.rows: dict[int, list[tuple[int, float]]] = {}

    def append(self, rows: list[tuple[int, int, float]], ingested: int) -> None:
        for event in sorted({row[0] for row in rows}):
            offered = sorted({(known, value) for at, known, value in rows if at == event})
            times = [known for known, _ in offered]
            for known, value in offered:
                if times.count(known) == 1:
                    self.offer(self.rows.setdefault(event, []), known, value, ingested)

    @staticmethod
    def offer(history: list[tuple[int, float]], known: int, value: float, ingested: int) -> None:
        if not history:
            history.append((known, value))
            return
        believed = [old for when, old in history if when <= known]
        if believed and believed[-1] == value:
            return
        if known > history[-1][0]:
            history.append((known, value))
        elif value not in [old for _, old in history]:
            history.append((max(ingested, history[-1][0]), value))

    def stored(self) -> list[tuple[int, int, int, float]]:
        found = [
            (known, event, revision, value)
            for event, history in self.rows.items()
            for revision, (known, value) in enumerate(history)
        ]
        return sorted(found)


ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(5, 12), st.sampled_from([1.0, 2.0, 3.0])), min_size=1, max_size=8
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(ROWS, min_size=1, max_size=4))
def test_revisions_against_a_slow_twin(
    batches: list[list[tuple[int, int, float]]], tmp_path_factory: pytest.TempPathFactory, observed: Build
) -> None:
    store, twin = Store(tmp_path_factory.mktemp("twin")), Twin()
    seen: list[tuple[int, int, int, float]] = []
    for number, rows in enumerate(batches):
        ingested = 20 + number
        store.append("metrics", observed(rows, ingested))
        twin.append(rows, ingested)
        frame = store.metrics()
        stored = list(zip(frame["known_ns"], frame["event_ns"], frame["revision"], frame["value"], strict=True))
        assert stored == twin.stored()
        assert set(seen) <= set(stored)  # nothing stored is ever changed or lost
        seen = stored
        again = store.append("metrics", observed(rows, ingested + 100))
        assert (again.added, again.revised) == (0, 0)


def test_bad_rows_of_one_origin_become_one_file(store: Store) -> None:
    for number in range(40):
        rows = pa.table({"reason": ["bad"], "series": ["feed"], "content": [f"row {number}"]})
        assert store.quarantine("posts", rows, "feed") == 1
    assert store.quarantine("posts", pa.table({"reason": ["bad"], "content": ["x"]}), "other") == 1
    files = [path for path in (store.root / "posts").iterdir() if path.name.startswith("rejects-")]
    assert len(files) <= append.REJECT_FILES_MAX + 3
    kept = store.rejects("posts").to_pylist()
    assert sorted(row["content"] for row in kept if row["origin"] == "feed") == sorted(f"row {n}" for n in range(40))
    counts = {line.name: dict(line.quarantined) for line in store.catalog()}
    assert counts["feed"] == {"bad": 40}
