"""What is new in the store: bounded looks, oldest first, counted, and nothing twice or never."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.facts import fact_table
from data.store import Store
from data.times import HOUR_NS, SECOND_NS
from signals import watch
from signals.score_report import ScoreOptions
from signals.scorer import Compute
from signals.scoring import Job, open_cache
from signals.watch import Watch
from tests.signals.score_helpers import CARD, T0, Clock, Echo


def made(store: Store, cache: Any, **options: Any) -> Watch:
    """A watch that has marked what is there."""
    found = Watch(Job(store, CARD, cache, Clock(), None, ScoreOptions(scorer=Echo(), **options)))
    assert found.look() is None
    return found


def some(first: int, count: int, *, source: str = "here", ingested_ns: int | None = None) -> pa.Table:
    """Posts a second apart."""
    times = T0 + np.arange(first, first + count) * SECOND_NS
    return fact_table(
        "posts",
        {
            "source": source, "key": [f"p{at}" for at in range(first, first + count)], "event_ns": times,
            "known_ns": times, "ingested_ns": times if ingested_ns is None else np.full(count, ingested_ns),
            "quality": "recorded", "text": [f"bitcoin {at}" for at in range(first, first + count)], "author": "ann",
            "followers": 12.0, "url": "",
        },
    )  # fmt: skip


def all_of(found: Watch) -> list[list[str]]:
    """Keys of every look until there is nothing new."""
    looks = []
    while (rows := found.look()) is not None:
        looks.append(rows["key"].to_pylist())
    return looks


def test_a_look_gives_so_many_oldest_first_and_the_rest_is_counted(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many came at once, also beyond the window; nothing that was there before."""
    monkeypatch.setattr(watch, "LOOK_POSTS", 40)
    store = Store(var)
    store.append("posts", some(0, 5))
    with open_cache(store, CARD, Compute()) as cache:
        found = made(store, cache)
        assert found.waiting() == 0
        store.append("posts", some(5, 100))
        assert found.waiting() == 100
        first = found.look()
        assert first is not None and first["key"].to_pylist() == [f"p{at}" for at in range(5, 45)]
        assert found.left and found.waiting() == 60
        store.append("posts", some(105, 3))
        assert [key for keys in all_of(found) for key in keys] == [f"p{at}" for at in range(45, 108)]
        assert found.waiting() == 0 and not found.left
        store.append("posts", some(10_000, 2))
        assert all_of(found) == [["p10000", "p10001"]]


def test_what_comes_with_an_older_time_is_found_too(var: Path) -> None:
    """An import while posts are followed; and once more what a commit only wrote into another file isn't new."""
    store = Store(var)
    store.append("posts", some(100_000, 50))
    with open_cache(store, CARD, Compute()) as cache:
        found = made(store, cache)
        late = T0 + 101_000 * SECOND_NS
        store.append("posts", some(100_050, 2))
        store.append("posts", some(0, 3, ingested_ns=late))
        looks = all_of(found)
        assert sorted(key for keys in looks for key in keys) == ["p0", "p1", "p100050", "p100051", "p2"]
        assert found.waiting() == 0
        for at in range(4):
            store.append("posts", some(100_060 + at, 1, ingested_ns=late))
        assert [key for keys in all_of(found) for key in keys] == [f"p{100_060 + at}" for at in range(4)]


def test_only_wanted_sources_are_given_and_the_others_count_as_seen(var: Path) -> None:
    """They don't wait for anything."""
    store = Store(var)
    with open_cache(store, CARD, Compute()) as cache:
        found = made(store, cache, sources=["x"])
        store.append("posts", some(0, 3))
        store.append("posts", some(3, 2, source="x"))
        assert [key for keys in all_of(found) for key in keys] == ["p3", "p4"]
        assert found.waiting() == 0
        store.forget("posts", {"source": "x"})
        assert all_of(found) == [] and found.waiting() == 0
        store.append("posts", some(5, 1, source="x", ingested_ns=T0 + HOUR_NS))
        assert all_of(found) == [["p5"]]
