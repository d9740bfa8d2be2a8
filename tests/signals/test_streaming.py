"""Posts scored as they arrive: all of them once, known when ready, within bounds, until somebody stops it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from data.errors import InputError
from data.store import Store
from data.times import HOUR_NS, SECOND_NS
from signals import streaming
from signals.score_report import ScoreOptions, ScoreReport
from signals.scorer import Compute, Probabilities
from signals.streaming import Inbox, follow_posts
from tests.signals.score_helpers import CARD, Echo, facts, posts

BUDGET_NS = SECOND_NS // 5


def follow(store: Store, until: Callable[[], bool], echo: Any = None, **options: Any) -> ScoreReport:
    chosen = ScoreOptions(scorer=echo or Echo(), **options)
    return follow_posts(store, CARD, Compute(), time.time_ns, None, chosen, BUDGET_NS, until)


class Feed:
    """Appends posts while the scorer follows, and ends it when all have rows."""

    def __init__(self, store: Store, pieces: Sequence[pa.Table], rows: int) -> None:
        self.store, self.pieces, self.rows = store, list(pieces), rows
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        if self.pieces:
            self.store.append("posts", self.pieces.pop(0))
            return False
        return len(facts(self.store)) >= self.rows or self.asked > 500


def test_new_posts_are_scored_live_and_old_ones_as_ever(var: Path) -> None:
    store = Store(var)
    store.append("posts", posts(["bitcoin is up"]))
    pieces = [
        posts(["ethereum no: is down", "nothing here"], first=1, quality="recorded"),
        posts(["solana is quick"], first=3, quality="recorded"),
    ]
    begun = time.time_ns()
    report = follow(store, Feed(store, pieces, 3))
    rows = {row["key"]: row for row in facts(store)}
    assert set(rows) == {"p0", "p1", "p3"}
    assert rows["p0"]["quality"] == "assumed_lag" and rows["p0"]["known_ns"] < begun - HOUR_NS
    for key in ("p1", "p3"):
        assert rows[key]["quality"] == "recorded"
        assert begun < rows[key]["known_ns"] <= time.time_ns()
    assert (report.posts, report.linked, report.unlinked, report.rows_added) == (4, 3, 1, 3)
    assert 0 < report.delays_ms["median"] <= report.delays_ms["p95"] <= report.delays_ms["most"]
    assert not report.interrupted
    again = follow(store, lambda: True)
    assert (again.already, again.done) == (4, 0)
    assert again.delays_ms == {} and again.followed


def test_posts_that_a_scorer_who_was_gone_left_are_known_when_they_are_scored(var: Path) -> None:
    store, now = Store(var), time.time_ns()
    store.append("posts", posts(["bitcoin is up"], quality="recorded", known_ns=now - HOUR_NS))
    store.append("posts", posts(["ethereum is up"], first=1, quality="recorded", known_ns=now - 30 * HOUR_NS))
    follow(store, lambda: True)
    rows = {row["key"]: row for row in facts(store)}
    assert rows["p0"]["quality"] == "recorded" and rows["p0"]["known_ns"] >= now
    assert rows["p1"]["quality"] == "assumed_lag" and rows["p1"]["known_ns"] < now - 29 * HOUR_NS


def test_ctrl_c_ends_it_with_everything_scored_stored(var: Path) -> None:
    store = Store(var)
    feed = Feed(store, [posts(["bitcoin is up"])], 1)

    def until() -> bool:
        if feed():
            raise KeyboardInterrupt
        return False

    report = follow(store, until)
    assert report.interrupted and report.linked == 1
    assert [row["key"] for row in facts(store)] == ["p0"]
    assert not [thread for thread in threading.enumerate() if thread.name == "watch posts"]


def test_an_edit_that_arrives_is_a_revision(var: Path) -> None:
    store = Store(var)
    store.append("posts", posts(["bitcoin is up"]))
    edit = posts(["bitcoin no: is down"], known_ns=time.time_ns(), quality="recorded")
    follow(store, Feed(store, [edit], 2))
    assert [(row["revision"], row["score"] > 0) for row in facts(store)] == [(0, True), (1, False)]


def test_what_the_watcher_meets_ends_the_run(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(self: Any) -> None:
        if threading.current_thread().name == "watch posts":
            raise InputError("a stored file is damaged")

    monkeypatch.setattr(streaming.Watch, "look", damaged)
    with pytest.raises(InputError, match="damaged"):
        follow(Store(var), lambda: False)


@pytest.mark.parametrize(("options", "budget"), [({}, 0), ({"since_ns": 1}, BUDGET_NS), ({"until_ns": 1}, BUDGET_NS)])
def test_what_can_not_be_followed_is_refused(var: Path, options: dict[str, Any], budget: int) -> None:
    with pytest.raises(InputError):
        follow_posts(Store(var), CARD, Compute(), time.time_ns, None, ScoreOptions(scorer=Echo(), **options), budget)


def test_the_queue_is_bounded_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty posts at once and room for four: the watcher waits, and every post comes out in order."""
    monkeypatch.setattr(streaming, "QUEUE_POSTS", 4)
    waiting = [posts([f"bitcoin {number}" for number in range(20)])]
    inbox = Inbox(lambda: waiting.pop() if waiting else None, time.time_ns, BUDGET_NS)
    inbox.start()
    try:
        deadline = time.monotonic() + 20
        while not inbox._posts.full() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert inbox._posts.qsize() == 4
        found: list[str] = []
        while len(found) < 20 and time.monotonic() < deadline:
            batch = inbox.batch()
            found += [post.row["key"] for post in batch]
            inbox.scored(len(batch), BUDGET_NS)
    finally:
        inbox.stop()
    assert found == [f"p{number}" for number in range(20)]


def test_a_batch_closes_in_half_of_the_budget() -> None:
    """The clock is the test's: the first post was seen long ago, so the batch takes what is there and no more."""
    late = [0]
    inbox = Inbox(lambda: None, lambda: late[0], BUDGET_NS)
    for number in range(3):
        inbox._posts.put(streaming.Waiting(0, {"key": number}))
    late[0] = BUDGET_NS
    begun = time.monotonic()
    assert [post.row["key"] for post in inbox.batch()] == [0, 1, 2]
    assert time.monotonic() - begun < 1.0
    assert inbox.batch() == []


def test_batches_hold_what_fits_into_half_of_the_budget() -> None:
    inbox = Inbox(lambda: None, lambda: 0, BUDGET_NS)
    for number in range(200):
        inbox._posts.put(streaming.Waiting(0, {"key": number}))
    sizes = []
    for _ in range(4):
        batch = inbox.batch()
        sizes.append(len(batch))
        inbox.scored(len(batch), len(batch) * SECOND_NS // 100)  # a hundred posts a second
    assert sizes == [32, 10, 10, 10]
    inbox.scored(10, 1)
    assert len(inbox.batch()) == 20  # doubled at most


def test_when_the_budget_is_lost_a_batch_takes_what_there_is() -> None:
    """Else a slow disk would cut batches ever smaller, and what waits would only grow."""
    inbox = Inbox(lambda: None, lambda: 10 * BUDGET_NS, BUDGET_NS)
    for number in range(3000):
        inbox._posts.put(streaming.Waiting(0, {"key": number}))
    inbox.scored(1, SECOND_NS)
    assert [len(inbox.batch()) for _ in range(3)] == [streaming.CATCH_UP, streaming.CATCH_UP, 952]


class Slow(Echo):
    """A model that needs longer than the budget."""

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        time.sleep(1.5 * BUDGET_NS / SECOND_NS)
        yield from super().batches(texts)


def test_a_slow_model_is_late_and_says_so(var: Path) -> None:
    store = Store(var)
    words = ("halving", "custody", "seoul")
    pieces = [posts([f"bitcoin {word}"], first=at, quality="recorded") for at, word in enumerate(words)]
    report = follow(store, Feed(store, pieces, 3), Slow())
    assert len(facts(store)) == 3
    assert report.delays_ms["most"] > 1.5 * BUDGET_NS / 1e6
