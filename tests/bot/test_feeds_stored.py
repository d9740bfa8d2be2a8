"""Facts of the store as a live run hears them: each once, in order, worth what they are worth in a backtest."""

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.load import load_inputs
from backtest.spec import RunSpec
from bot.events import POSTS, Bar, Event, Observation, Posts
from bot.feeds.follow import KEEP_NS, Follower
from bot.feeds.gate import RowGate
from bot.feeds.stored import StoredFacts, in_order, known_of, posts_of, warm_bars, warm_facts
from data.errors import InputError
from data.facts import fact_table
from data.store import Store
from data.times import DAY_NS, HOUR_NS, SECOND_NS
from signals import Mood, ZScore
from signals.inputs import ids_of
from strategies.base import Strategy

START = 1_700_000_000 * SECOND_NS // HOUR_NS * HOUR_NS
MODEL = {"model": "m", "model_revision": "r"}


class Both(Strategy):
    """Looks at posts and at a metric."""

    mood = Mood(half_life="6h")
    flow = ZScore("flow", window="2d")

    @staticmethod
    def weigh(s, p):  # type: ignore[no-untyped-def]
        """Nothing."""
        return 0.0


SPEC = RunSpec(
    strategy=Both(), symbols=("BTC/USDT", "ETH/USDT"), model="m", model_revision="r", source_weights={"x": 0.5}
)  # fmt: skip


class Clock:
    """A clock that is set."""

    def __init__(self, ns: int = START) -> None:
        self.ns = ns

    def now_ns(self) -> int:
        """See `bot.ports.Clock`."""
        return self.ns


def scores(*posts: tuple[str, str, int, float], ingested_ns: int = START, **more: Any) -> Any:
    """Scored posts from (key, coin, known_ns, score)."""
    key, coin, known, score = zip(*posts, strict=True)
    columns = {
        "source": "x", "event_ns": [ns - SECOND_NS for ns in known], "quality": "recorded",
        "p_bearish": 0.2, "p_neutral": 0.2, "p_bullish": 0.6, "followers": 500.0, "author": "a", "cluster": 3,
        "flags": 1,
        **MODEL, "ingested_ns": ingested_ns, "key": list(key), "coin": list(coin), "known_ns": list(known),
        "score": list(score), **more,
    }  # fmt: skip
    return fact_table("sentiment", columns)


def metrics(*values: tuple[str, int, float], ingested_ns: int = START, **more: Any) -> Any:
    """Values of the metric from (coin, known_ns, value)."""
    coin, known, value = zip(*values, strict=True)
    columns = {
        "source": "chain", "name": "flow", "coin": list(coin), "event_ns": [ns - HOUR_NS for ns in known],
        "known_ns": list(known), "value": list(value), "quality": "recorded", "ingested_ns": ingested_ns, **more,
    }  # fmt: skip
    return fact_table("metrics", columns)


def bars(store: Store, symbol: str, count: int, since_ns: int = START) -> None:
    """Hourly bars."""
    opens = since_ns + HOUR_NS * np.arange(count)
    columns = {
        "source": "s", "symbol": symbol, "interval_ns": HOUR_NS, "event_ns": opens, "known_ns": opens + HOUR_NS,
        "ingested_ns": START, "quality": "recorded", "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 9.0,
    }  # fmt: skip
    store.append("bars", fact_table("bars", columns))


def told(events: list[Event]) -> list[tuple[Any, ...]]:
    """Facts one by one: ("post", coin, known, score) and ("metric", coin, known, value)."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        if isinstance(event, Posts):
            found += [("post", row["coin"], row["known_ns"], row["score"]) for row in event.rows]
        elif isinstance(event, Observation):
            found.append(("metric", event.coin, event.known_ns, event.value))
        else:
            assert isinstance(event, Bar)
            found.append(("bar", event.symbol, event.close_ns, event.close))
    return found


def listen(feed: StoredFacts, *steps: Any) -> list[Event]:
    """What a feed puts while some steps are done, one after the other."""
    heard: list[Event] = []

    async def main() -> None:
        task = asyncio.create_task(feed.run(heard.append))
        for step in steps:
            step()
            before = looked(feed)
            while looked(feed) < before + 2:
                await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    return heard


class Counted(StoredFacts):
    """Counts its looks."""

    looks = 0

    def _take(self, put: Any) -> None:
        super()._take(put)
        self.looks += 1


def looked(feed: Any) -> int:
    """How often a feed has looked."""
    return int(feed.looks)


def test_each_fact_is_put_once_in_the_order_it_became_known(var: Path) -> None:
    """History once by `warm`, then what is appended, whichever commits join which files."""
    store, clock = Store(var), Clock(START + 100 * SECOND_NS)
    store.append("sentiment", scores(("1", "BTC", START, 0.1), ("2", "*", START + SECOND_NS, 0.2)))
    store.append("metrics", metrics(("BTC", START, 5.0)))
    feed = Counted(store, SPEC, clock=clock, every_s=0.001)
    assert told(feed.warm()) == [
        ("metric", "BTC", START, 5.0),
        ("post", 0, START, 0.1),
        ("post", -1, START + SECOND_NS, 0.2),
    ]

    def first() -> None:
        store.append("sentiment", scores(("3", "ETH", START + 20 * SECOND_NS, 0.3), ("4", "DOGE", START, 1.0)))
        store.append("metrics", metrics(("ETH", START + 30 * SECOND_NS, 6.0)))

    def second() -> None:
        store.append("sentiment", scores(("5", "ETH", START + 40 * SECOND_NS, 0.4)))
        store.append("sentiment", scores(("5", "ETH", START + 40 * SECOND_NS, 0.4)))  # adds nothing

    heard = listen(feed, first, second)
    assert sorted(told(heard)) == sorted(
        [
            ("post", 1, START + 20 * SECOND_NS, 0.3),
            ("metric", "ETH", START + 30 * SECOND_NS, 6.0),
            ("post", 1, START + 40 * SECOND_NS, 0.4),
        ]
    )
    health = feed.health()
    assert (health["posts"], health["observations"], health["unexplained"]) == (2, 1, 0)
    assert health["posts_by_source"] == {"x": 5 - 1}
    assert feed.sources == {int(ids_of(["x"])[0]): "x"}


def test_a_fact_that_isnt_known_yet_waits_for_its_time(var: Path) -> None:
    """A value stored before the moment it counts from is put at that moment, and not before."""
    store, clock = Store(var), Clock(START + 10)
    store.append("metrics", metrics(("BTC", START, 1.0), ("BTC", START + HOUR_NS, 2.0)))
    feed = Counted(store, SPEC, clock=clock, every_s=0.001)
    assert told(feed.warm()) == [("metric", "BTC", START, 1.0)]

    def later() -> None:
        store.append("sentiment", scores(("9", "BTC", START + HOUR_NS, 0.5)))

    def ring() -> None:
        assert feed.health()["waiting"] == 2
        clock.ns = START + HOUR_NS

    assert told(listen(feed, later, ring)) == [
        ("metric", "BTC", START + HOUR_NS, 2.0), ("post", 0, START + HOUR_NS, 0.5),
    ]  # fmt: skip


def test_a_fact_written_late_counts_as_known_when_it_is_put(var: Path) -> None:
    """known_ns never goes back; a fact of days ago that is written only now is history, and counted."""
    store, clock = Store(var), Clock(START + 3 * DAY_NS)
    feed = Counted(store, SPEC, clock=clock, every_s=0.001)
    feed.warm()
    newest = START + 3 * DAY_NS - SECOND_NS

    def late() -> None:
        store.append("sentiment", scores(("2", "BTC", newest - HOUR_NS, 0.2), ("3", "BTC", START, 0.3)))

    heard = listen(feed, lambda: store.append("sentiment", scores(("1", "BTC", newest, 0.1))), late)
    assert told(heard) == [("post", 0, newest, 0.1), ("post", 0, newest, 0.2)]
    assert [int(event.rows["event_ns"][0]) for event in heard] == [newest - SECOND_NS, newest - HOUR_NS - SECOND_NS]  # type: ignore[attr-defined]
    assert feed.health()["too_late"] == 1


def test_a_restart_takes_up_what_was_written_meanwhile(var: Path) -> None:
    """`since_ns` leaves out what a snapshot has learnt; nothing else."""
    store, clock = Store(var), Clock(START + DAY_NS)
    store.append(
        "sentiment", scores(("1", "BTC", START, 0.1), ("2", "BTC", START + 5, 0.2), ("3", "ETH", START + 6, 0.3))
    )
    feed = StoredFacts(store, SPEC, clock=clock)
    assert told(feed.warm(START + 5)) == [("post", 0, START + 5, 0.2), ("post", 1, START + 6, 0.3)]


def test_posts_are_worth_what_they_are_worth_in_a_backtest(var: Path) -> None:
    """Live rows and the tape of a backtest over the same store are equal, column by column."""
    store = Store(var)
    rng = random.Random(3)
    posts = [(str(at), rng.choice(["BTC", "ETH", "*"]), START + at * 60 * SECOND_NS, rng.random()) for at in range(50)]
    more = {
        "source": [rng.choice(["x", "news"]) for _ in posts],
        "followers": [rng.choice([np.nan, 3.0, 1e4, 1e9]) for _ in posts],
        "author": [rng.choice(["", "ann", "bob"]) for _ in posts],
        "flags": [rng.choice([0, 1, 2]) for _ in posts],
    }
    for symbol in SPEC.symbols:
        bars(store, symbol, 24)
    store.append("sentiment", scores(*posts, **more))
    store.append("metrics", metrics(*[("BTC", START + at * HOUR_NS, float(at)) for at in range(1, 20)]))
    inputs = load_inputs(store, SPEC).signals
    live = StoredFacts(store, SPEC, clock=Clock(START + DAY_NS)).warm()
    rows = np.concatenate([event.rows for event in live if isinstance(event, Posts)])
    assert rows.dtype == POSTS
    assert rows.tobytes() == posts_of(inputs.sentiment).tobytes()
    assert len(set(rows["weight"])) > 3 and len(set(rows["flags"])) > 3
    tape = inputs.metrics["flow"]
    values = [(event.known_ns, event.value) for event in live if isinstance(event, Observation)]
    assert values == list(zip(tape.known_ns.tolist(), tape.value.tolist(), strict=True))
    history = warm_facts(store, SPEC, None, None)
    assert [event for event in history if not isinstance(event, Bar)][:1] != []
    again = np.concatenate([event.rows for event in history if isinstance(event, Posts)])
    assert again.tobytes() == rows.tobytes()
    times = [known_of(event)[0] for event in history]
    assert times == sorted(times)
    assert sum(isinstance(event, Bar) for event in history) == 48


def test_history_is_cut_by_when_it_was_known(var: Path) -> None:
    """Bars by their close, facts by known_ns: from one moment to before another; a symbol without bars is left out."""
    store = Store(var)
    bars(store, "BTC/USDT", 10)
    store.append("sentiment", scores(*[(str(at), "BTC", START + at * HOUR_NS, 0.1) for at in range(10)]))
    found = told(warm_facts(store, SPEC, START + 3 * HOUR_NS, START + 5 * HOUR_NS))
    assert [(kind, (ns - START) // HOUR_NS) for kind, _, ns, _ in found] == [
        ("post", 3), ("bar", 3), ("post", 4), ("bar", 4),
    ]  # fmt: skip
    assert warm_bars(store, SPEC, None, None)[0].caught_up
    assert warm_facts(Store(var / "none"), SPEC, None, None) == []


def test_a_metric_of_two_sources_is_refused_as_a_backtest_refuses_it(var: Path) -> None:
    """At the start with an error; while running the second source is left out and counted."""
    store, clock = Store(var), Clock(START + DAY_NS)
    store.append("metrics", metrics(("BTC", START, 1.0)))
    feed = Counted(store, SPEC, clock=clock, every_s=0.001)
    feed.warm()
    other = metrics(("BTC", START + 5, 2.0), source="other")
    revised = metrics(("BTC", START + 6, 3.0), quality="revised")
    heard = listen(feed, lambda: store.append("metrics", other), lambda: store.append("metrics", revised))
    assert heard == []
    assert feed.health()["refused"] == 2
    assert "revised later" in feed.health()["trouble"]
    with pytest.raises(InputError, match="several sources"):
        StoredFacts(store, SPEC, clock=clock).warm()


def test_a_store_that_cant_be_read_is_tried_again_and_nothing_found_is_lost(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged manifest is trouble in health, not the end of the feed."""
    monkeypatch.setattr("bot.feeds.stored.RETRY_S", 0.001)
    store, clock = Store(var), Clock(START + DAY_NS)
    store.append("sentiment", scores(("1", "BTC", START, 0.1)))
    store.append("metrics", metrics(("BTC", START, 1.0)))
    feed = Counted(store, SPEC, clock=clock, every_s=0.001)
    feed.warm()
    manifest = var / "facts" / "sentiment" / "manifest.json"

    async def main() -> None:
        heard: list[Event] = []
        task = asyncio.create_task(feed.run(heard.append))
        whole = manifest.read_text()
        manifest.write_text("{")
        store.append("metrics", metrics(("ETH", START + 7, 3.0)))
        while feed.health()["troubles"] < 3:
            await asyncio.sleep(0.002)
        assert "damaged" in feed.health()["trouble"]
        manifest.write_text(whole)
        store.append("sentiment", scores(("2", "BTC", START + 9, 0.2)))
        while len(told(heard)) < 2:
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert told(heard) == [("metric", "ETH", START + 7, 3.0), ("post", 0, START + 9, 0.2)]

    asyncio.run(main())


def test_a_follower_gives_every_row_once_whatever_the_commits(var: Path) -> None:
    """Random batches, merges of files and a second writer: all rows once, and memory of a day's rows only."""
    store = Store(var)
    rng = random.Random(11)
    follower = Follower(store, "sentiment", {"model": ["m"], "model_revision": ["r"], "coin": ["BTC"]}, ("key",))
    assert follower.look() is None
    given: list[str] = []
    found: list[str] = []
    for step in range(60):
        ingested = START + step * DAY_NS // 4
        batch = [
            (f"{step}-{at}", rng.choice(["BTC", "ETH"]), ingested - rng.randrange(HOUR_NS), 0.5)
            for at in range(rng.randrange(1, 9))
        ]
        store.append("sentiment", scores(*batch, ingested_ns=ingested))
        given += [key for key, coin, _, _ in batch if coin == "BTC"]
        if rng.random() < 0.6:
            table = follower.look()
            found += table["key"].to_pylist()  # type: ignore[index]
    table = follower.look()
    found += [] if table is None else table["key"].to_pylist()
    assert sorted(found) == sorted(given)
    assert follower.unexplained == 0
    assert follower.look() is None
    assert len(follower._seen) <= 8 * 5
    store.append("sentiment", scores(("old", "BTC", START, 0.5), ingested_ns=START))
    assert follower.look().num_rows == 0  # type: ignore[union-attr]
    assert follower.unexplained == 1
    assert KEEP_NS == DAY_NS


def test_in_order_parts_posts_where_others_lie_between() -> None:
    """At the same time metrics are first, then posts, then bars."""
    rows = np.zeros(4, POSTS)
    rows["known_ns"] = [1, 2, 2, 5]
    value = Observation(ns=0, name="flow", coin="*", event_ns=0, known_ns=2, value=1.0)
    closed = Bar(ns=0, symbol="B", open_ns=0, close_ns=2, open=1, high=1, low=1, close=1, volume=1)
    found = in_order([value, Posts(ns=0, rows=rows[2:]), Posts(ns=0, rows=rows[:2]), closed])
    assert [type(event).__name__ for event in found] == ["Posts", "Observation", "Posts", "Bar", "Posts"]
    assert [event.rows["known_ns"].tolist() for event in found if isinstance(event, Posts)] == [[1], [2, 2], [5]]


def test_what_is_known_behind_a_close_waits_for_its_row(var: Path) -> None:
    store, clock, done = Store(var), Clock(), [START - HOUR_NS]
    feed = Counted(store, SPEC, clock=clock)
    feed.warm()
    feed.until = RowGate(
        lambda: done[0], clock, bar_ns=HOUR_NS, delay_ns=2 * SECOND_NS, patience_ns=5 * SECOND_NS
    )  # fmt: skip

    def write() -> None:
        rows = [("a", "BTC", START - SECOND_NS, 0.1), ("b", "BTC", START + 2 * SECOND_NS, 0.2)]
        store.append("sentiment", scores(*rows, ("c", "BTC", START + 3 * SECOND_NS, 0.3)))
        clock.ns = START + 4 * SECOND_NS

    def heard_scores(*steps: Any) -> list[float]:
        found = [event for event in listen(feed, *steps) if isinstance(event, Posts)]
        return [float(row["score"]) for event in found for row in event.rows]

    assert heard_scores(write) == [0.1, 0.2]
    done[0] = START
    assert heard_scores(lambda: None) == [0.3]
    store.append("sentiment", scores(("d", "BTC", START + HOUR_NS + 3 * SECOND_NS, 0.4)))

    def later() -> None:
        clock.ns = START + HOUR_NS + 4 * SECOND_NS

    def too_late() -> None:
        clock.ns = START + HOUR_NS + 5 * SECOND_NS + 1

    assert heard_scores(later) == []
    assert heard_scores(too_late) == [0.4]  # the row's bars didn't come: nothing waits for longer than the bot does
