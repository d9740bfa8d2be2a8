"""Posts and scores from files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import InputError
from data.files import ImportOptions, ImportReport, import_file
from data.intake_posts import EARLY, FUTURE
from data.store import Store
from data.times import DAY_NS, HOUR_NS, parse_time

NOW = parse_time("2024-06-01")
NOON = parse_time("2024-01-01T12:00Z")
Take = Callable[..., ImportReport]


@pytest.fixture
def take(store: Store, tmp_path: Path) -> Take:
    """Import objects as JSON lines."""

    def run(rows: list[dict[str, Any]], kind: str = "posts", **options: Any) -> ImportReport:
        path = tmp_path / "dump.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        return import_file(store, kind, path, ImportOptions(**options), NOW)

    return run


def post(hour: int = 12, **fields: Any) -> dict[str, Any]:
    return {"created_at": f"2024-01-01T{hour:02d}:00:00Z", "text": "to the moon", **fields}


def test_a_plain_dump(take: Take, store: Store) -> None:
    report = take(
        [post(12, id="1", user="ann", followers=7), post(13, id="2", user="bob", followers=None, url="http://x")],
        source="x",
    )
    assert (report.added, report.series) == (2, ("x",))
    assert any("lag 0s assumed" in note for note in report.notes)
    frame = store.posts()
    assert frame["key"].tolist() == ["1", "2"]
    assert frame["known_ns"].tolist() == frame["event_ns"].tolist() == [NOON, NOON + HOUR_NS]
    assert frame["author"].tolist() == ["ann", "bob"]
    assert frame["followers"].fillna(-1).tolist() == [7, -1]
    assert set(frame["quality"]) == {"assumed_lag"}
    assert take([post(12, id="1", user="ann", followers=7)], source="x").unchanged == 1


def test_a_declared_lag_and_quality(take: Take, store: Store) -> None:
    report = take([post()], lag="90s", quality="recorded")
    assert any("is known at 2024-01-01 12:01:30Z (recorded)" in note for note in report.notes)
    assert store.posts()["known_ns"].tolist() == [NOON + 90 * 10**9]
    with pytest.raises(InputError, match="unknown quality"):
        take([post()], quality="certain")


def test_a_column_of_arrival_times(take: Take, store: Store) -> None:
    rows = [post(12, seen="2024-01-01T12:00:05Z"), post(13, seen="2024-01-01T12:59:00Z"), post(14, seen=None)]
    with pytest.raises(InputError, match="--quality recorded"):
        take(rows, columns={"known": "seen"})
    report = take(rows, columns={"known": "seen"}, quality="recorded")
    assert report.quarantined == {EARLY: 1, "no time": 1}
    assert store.posts()["known_ns"].tolist() == [NOON + 5 * 10**9]


def test_title_and_text(take: Take, store: Store) -> None:
    report = take([post(12, title="BTC up"), post(13, title="", text="only text")])
    assert store.posts()["text"].tolist() == ["BTC up\n\nto the moon", "only text"]
    assert any("title and text together" in note for note in report.notes)
    take([post(14, title="A", lead="B")], columns={"text": "title+lead"})
    assert store.posts()["text"].tolist()[-1] == "A\n\nB"
    with pytest.raises(InputError, match="no column for text"):
        take([{"created_at": "2024-01-01T00:00Z", "words": "x"}])


def test_keys(take: Take, store: Store) -> None:
    take([post(12), post(13), post(12, url="http://a"), post(12, id=12345678901234567890)])
    keys = store.posts()["key"].tolist()
    assert len(set(keys)) == 4
    assert "http://a" in keys and "12345678901234567890" in keys
    assert take([post(12), post(13)]).unchanged == 2


def test_an_article_that_changed(take: Take, store: Store) -> None:
    take([post(12, url="http://a")])
    assert take([post(15, url="http://a", text="to the mood")]).revised == 1
    assert store.posts()["text"].tolist() == ["to the moon", "to the mood"]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ([{"a": 1}], pa.struct({"a": pa.int64()})),
        ([["to", "the", "moon"]], pa.list_(pa.string())),
        ([b"\xff\xfe"], pa.binary()),
    ],
)
def test_columns_that_hold_no_text(store: Store, tmp_path: Path, texts: list[Any], kind: pa.DataType) -> None:
    """Named, with their type; beside the text they do no harm."""
    path = tmp_path / "dump.parquet"
    rows = {"time": ["2024-01-01T12:00Z"], "text": ["to the moon"]}
    pq.write_table(pa.table(rows | {"text": pa.array(texts, kind)}), path)
    with pytest.raises(InputError, match="holds no text") as caught:
        import_file(store, "posts", path, ImportOptions(), NOW)
    assert caught.value.key == "text" and caught.value.where == str(path)
    pq.write_table(pa.table(rows | {"extra": pa.array(texts, kind)}), path)
    assert import_file(store, "posts", path, ImportOptions(), NOW).added == 1


def test_bad_posts(take: Take, store: Store) -> None:
    rows = [post(12), post(12, text="  "), post(12, text=None), {"created_at": "2031-01-01T00:00Z", "text": "late"}]
    report = take(rows)
    assert report.added == 1
    assert report.quarantined == {"no text": 2, FUTURE: 1}
    assert store.rejects("posts")["row"].to_pylist() == [2, 3, 4]


def test_sources_in_a_column(take: Take, store: Store) -> None:
    rows = [post(12, source="wire"), post(13, source="blog")]
    assert take(rows).series == ("blog", "wire")
    assert take(rows, source="mine").series == ("mine",)
    assert take([post(14, outlet="desk")], columns={"source": "outlet"}).series == ("desk",)


def test_bare_dates_could_be_any_hour(take: Take, store: Store) -> None:
    rows = [{"created_at": f"2024-01-0{day}", "text": f"day {day}"} for day in range(1, 8)]
    with pytest.raises(InputError, match="--stamp start --interval 1d"):
        take(rows)
    take(rows, stamp="start", interval="1d", lag="1h")
    assert store.posts()["known_ns"].tolist()[0] == parse_time("2024-01-02T01:00Z")
    with pytest.raises(InputError, match="needs the interval"):
        take(rows, stamp="start")
    with pytest.raises(InputError, match="unknown stamp"):
        take(rows, stamp="middle")


def test_dates_in_the_dress_of_times(take: Take, store: Store) -> None:
    rows = [{"created_at": f"2024-01-0{day}T0{7 + day % 2}:00:00Z", "text": f"day {day}"} for day in range(1, 8)]
    with pytest.raises(InputError, match="7 of 7 times are 07:00Z or 08:00Z: dates, it seems"):
        take(rows)
    assert take(rows, stamp="published").added == 7
    assert take([post(7), post(8)]).added == 2  # two posts are no pattern
    assert store.posts()["event_ns"].min() == parse_time("2024-01-01T07:00Z")


def score(**fields: Any) -> dict[str, Any]:
    return {"id": "1", "created_at": "2024-01-01T12:00:00Z", "coin": "btc", "score": 0.5, **fields}


def test_scores(take: Take, store: Store) -> None:
    stated = {"kind": "scores", "model": "mine", "model_revision": "3", "lag": "2s", "source": "x"}
    report = take([score(), score(id="2", score=-1, p_bearish=0.9), score(id="3", coin="ETH")], **stated)
    assert (report.added, report.series) == (3, ("mine@3",))
    frame = store.sentiment("mine", "3")
    assert frame["coin"].tolist() == ["BTC", "BTC", "ETH"]
    assert frame["known_ns"].tolist() == [NOON + 2 * 10**9] * 3
    assert frame["score"].tolist() == [0.5, -1.0, 0.5]
    rows = [score(id="4"), score(id="5", score=3), score(id="6", score=None), score(id="", p_bullish=2)]
    report = take(rows, **stated)
    assert report.quarantined == {"no key": 1, "no score": 1, "score outside -1 to 1": 1}
    assert take([score()], **stated).unchanged == 1


def test_clusters_and_flags_of_scores(take: Take, store: Store) -> None:
    stated = {"kind": "scores", "model": "mine", "model_revision": "3", "lag": "2s", "source": "x"}
    largest = str(2**63 - 1)  # as a float it would be another number
    take([score(), score(id="2", cluster=largest, flags="3"), score(id="3", cluster="-5")], **stated)
    frame = store.sentiment("mine", "3")
    assert frame[["cluster", "flags"]].values.tolist() == [[0, 0], [2**63 - 1, 3], [-5, 0]]
    bad = [score(id="4", flags="32"), score(id="5", cluster="c1"), score(id="6", cluster="9" * 19)]
    report = take([*bad, score(id="7")], **stated)
    reasons = {"flags is not a whole number from 0 to 31": 1, "cluster is not a whole number of 64 bits": 2}
    assert report.quarantined == reasons


def test_probabilities_without_a_score(take: Take, store: Store) -> None:
    row = {
        "id": "1",
        "created_at": "2024-01-01T12:00Z",
        "coin": "BTC",
        "p_bearish": 0.1,
        "p_neutral": 0.2,
        "p_bullish": 0.7,
    }
    take([row, {**row, "id": "2", "p_bullish": None}], "scores", model="mine", model_revision="1", lag="0s")
    assert store.sentiment("mine", "1")["score"].round(9).tolist() == [0.6]
    assert store.rejects("sentiment")["reason"].to_pylist() == ["no score"]


def test_scores_need_model_revision_coin_and_lag(take: Take) -> None:
    stated = {"model": "mine", "model_revision": "3", "lag": "2s"}
    for missing, words in {
        "model": "--model ",
        "model_revision": "--model-revision",
        "lag": "lag is not stated",
    }.items():
        with pytest.raises(InputError, match=words):
            take([score()], "scores", **{key: value for key, value in stated.items() if key != missing})
    row = score()
    del row["coin"]
    with pytest.raises(InputError, match="--coin"):
        take([row], "scores", **stated)
    assert take([row], "scores", coin="sol", **stated).added == 1


def test_an_unknown_kind(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="One of bars, posts, metrics, scores"):
        import_file(store, "trades", tmp_path / "x.csv", ImportOptions(), NOW)


def test_posts_of_a_day_count_from_its_end(take: Take, store: Store) -> None:
    take([{"created_at": "2024-01-05", "text": "x"}], stamp="start", interval="1d")
    assert store.posts()["event_ns"].tolist() == [parse_time("2024-01-05") + DAY_NS]
