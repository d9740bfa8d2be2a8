"""The lists of hashes beside parts of posts, and the purge of deleted posts: quick, exact, and nothing but derived."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from data import append, keys, purge
from data.facts import fact_table
from data.store import Appended, Store
from data.times import SECOND_NS

Build = Callable[..., pa.Table]
START = 1_704_067_200 * SECOND_NS


def posts(first: int, count: int, *, source: str = "feed", text: str = "said") -> pa.Table:
    """Posts with numbered keys."""
    at = START + np.arange(first, first + count) * SECOND_NS
    return fact_table(
        "posts",
        {
            "source": source, "key": [f"k{number}" for number in range(first, first + count)], "event_ns": at,
            "known_ns": at, "ingested_ns": at, "quality": "recorded",
            "text": [f"{text} {number}" for number in range(first, first + count)], "author": "ann",
            "followers": 1.0, "url": "https://example.org/post",
        },
    )  # fmt: skip


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the part files that an append reads to compare."""
    found: list[str] = []
    real = append.read_table

    def counting(path: Path, columns: Any = None, **more: Any) -> pa.Table:
        if columns is not None and "payload" in columns:
            found.append(path.name)
        return real(path, columns, **more)

    monkeypatch.setattr(append, "read_table", counting)
    return found


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of at most a hundred rows."""
    monkeypatch.setattr(append, "LONG_ROWS_MAX", 100)


def files(store: Store, suffix: str) -> list[Path]:
    """Files of the posts, in order."""
    return sorted(path for path in (store.root / "posts").iterdir() if path.suffix == suffix)


@pytest.mark.usefixtures("small_parts")
def test_new_posts_are_not_compared_with_every_part(store: Store, reads: list[str]) -> None:
    for first in range(0, 1000, 100):
        store.append("posts", posts(first, 100))
    assert len(files(store, ".parquet")) >= 10
    assert reads == []
    assert store.append("posts", posts(250, 10)) == Appended(unchanged=10)
    assert len(reads) == 1
    assert store.append("posts", posts(255, 5, text="edited")) == Appended(revised=5)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("harm", ["gone", "torn", "flipped", "of another part"])
def test_a_list_that_is_not_whole_is_worked_out_again(store: Store, harm: str) -> None:
    for first in range(0, 300, 100):
        store.append("posts", posts(first, 100))
    listed = files(store, ".keys")
    assert len(listed) == 3
    for path in listed:
        raw = path.read_bytes()
        if harm == "gone":
            path.unlink()
        elif harm == "torn":
            path.write_bytes(raw[:-9])
        elif harm == "flipped":
            path.write_bytes(raw[:40] + bytes([raw[40] ^ 1]) + raw[41:])
    if harm == "of another part":
        first, second = listed[0].read_bytes(), listed[1].read_bytes()
        listed[0].write_bytes(second)
        listed[1].write_bytes(first)
    keys._OPEN.clear()
    assert store.append("posts", posts(0, 300)) == Appended(unchanged=300)


def test_a_store_that_is_put_in_anothers_place_is_read_anew(store: Store) -> None:
    """A running recorder, and somebody brings back a copy, or begins again: parts have the same names and sizes."""
    for first in (0, 50):
        store.append("posts", posts(first, 20))
        assert store.append("posts", posts(first, 20)) == Appended(unchanged=20)
        shutil.rmtree(store.root)


@pytest.mark.usefixtures("small_parts")
def test_lists_go_with_their_parts(store: Store) -> None:
    for first in range(0, 60, 7):
        store.append("posts", posts(first, 7))
    store.append("posts", posts(100, 1))
    parts = {path.stem for path in files(store, ".parquet")}
    assert {path.stem for path in files(store, ".keys")} == parts


@pytest.mark.usefixtures("small_parts")
def test_a_deleted_post_loses_its_text_for_good(store: Store) -> None:
    for first in range(0, 300, 100):
        store.append("posts", posts(first, 100))
    store.append("posts", posts(7, 1, text="edited"))
    before = store.table("posts")
    assert store.purge("feed", ["k7", "k150", "nobody's"]) == 3
    after = store.table("posts")
    rows = {(row["key"], row["revision"]): row for row in after.to_pylist()}
    for name in (("k7", 0), ("k7", 1), ("k150", 0)):
        assert rows[name]["text"] == rows[name]["author"] == rows[name]["url"] == ""
    assert rows["k8", 0]["text"] == "said 8"
    kept = ["key", "event_ns", "known_ns", "revision", "payload", "followers"]
    assert after.select(kept).equals(before.select(kept))
    for path in files(store, ".parquet"):  # not in a file that a manifest no longer names, either
        assert "edited 7" not in str(pa.parquet.read_table(path)["text"].to_pylist())
    assert store.purge("feed", ["k7"]) == 0
    assert store.append("posts", posts(7, 1)) == Appended(unchanged=1)  # delivered again, it doesn't come back
    assert store.append("posts", posts(300, 1)) == Appended(added=1)


def test_of_another_source_nothing_is_purged(store: Store) -> None:
    store.append("posts", posts(0, 3))
    assert store.purge("other", ["k1"]) == 0
    assert store.purge("feed", []) == 0
    assert Store(store.var / "absent").purge("feed", ["k1"]) == 0


def test_a_purge_that_is_cut_off_leaves_the_store_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("posts", posts(0, 3))
    before = store.digest("posts")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(purge, "write_table", full)
    with pytest.raises(Exception, match="disk is full"):
        store.purge("feed", ["k1"])
    assert store.digest("posts") == before and "said 1" in store.table("posts")["text"].to_pylist()
