"""A feed that was down: signals of posts hold, in a backtest and live alike, by what was known of it at the time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.load import load_inputs
from backtest.signal_shuffle import shuffle_facts
from backtest.spec import RunSpec
from bot.events import Posts
from bot.feeds.stored import StoredFacts, warm_facts
from data.facts import fact_table
from data.gaps import AFTER_MAX_NS, FOREVER, POSTS_UP, Outages
from data.store import Store
from data.times import HOUR_NS, MINUTE_NS, SECOND_NS
from signals import Attention, Mood, OwnSignal, Stream, evaluate
from signals.guard import GuardLimits
from signals.ops import GAP, OK, STATE_BITS, SUSPECT
from strategies.base import Strategy
from tests.bot.test_feeds_stored import START, Clock, bars, scores

HOURS = 12


class Heard(OwnSignal):
    """How many posts it was told."""

    feeds = ("post",)

    def __init__(self, *, max_age: Any = "never", on: Any = None, seen: Any = None) -> None:
        self._declare(max_age=max_age, on=on, seen=seen)

    def start(self, symbol: str) -> dict[str, int]:
        return {"count": 0}

    def step(self, memory: Any, fact: Any) -> None:
        memory["count"] += 1

    def value(self, memory: Any, now_ns: int) -> float:
        return float(memory["count"])


class Listens(Strategy):
    """Looks at posts in several ways."""

    mood = Mood(half_life="6h", max_age="never", min_weight=0.1)
    seen = Attention("2h", max_age="never")
    heard = Heard()

    @staticmethod
    def weigh(s, p):  # type: ignore[no-untyped-def]
        """Nothing."""
        return 0.0


def spec(**weights: float) -> RunSpec:
    """The run, with weights of sources."""
    given = {"x": 1.0, **weights}
    return RunSpec(
        strategy=Listens(), symbols=("BTC/USDT", "ETH/USDT"), model="m", model_revision="r", source_weights=given
    )


def marker(source: str, hours: float, up: bool, *, alive: float | None = None) -> Any:
    """What a recorder writes when it notices, so many hours after the start; `alive`: when the source last answered."""
    known = START + int(hours * HOUR_NS)
    event = known if alive is None else START + int(alive * HOUR_NS)
    columns = {
        "source": source, "name": POSTS_UP, "coin": "*", "event_ns": [event], "known_ns": [known],
        "ingested_ns": known, "quality": "recorded", "value": float(up),
    }  # fmt: skip
    return fact_table("metrics", columns)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve hours of bars and a post about each coin every ten minutes."""
    found = Store(tmp_path)
    for symbol in ("BTC/USDT", "ETH/USDT"):
        bars(found, symbol, HOURS)
    posts = []
    for at in range(HOURS * 6):
        known = START + at * 10 * MINUTE_NS + SECOND_NS
        posts += [(f"b{at}", "BTC", known, 0.5), (f"e{at}", "ETH", known, -0.5)]
    found.append("sentiment", scores(*posts, ingested_ns=START))
    return found


def states(store: Store, run: RunSpec) -> np.ndarray:
    """Reasons of both coins to hold, u1[hour, coin]: the state of the first signal that isn't fine."""
    inputs = load_inputs(store, run)
    bound = dict(run.strategy.signals)
    guard = GuardLimits(posts=30, z=6.0, share=0.5, pause_ns=HOUR_NS, jump=0.9)
    _, found = evaluate(bound, inputs.signals, guard=guard)
    return np.asarray(found)


def live_states(store: Store, run: RunSpec) -> np.ndarray:
    """The same one fact at a time, as a running bot hears them from the store."""
    inputs = load_inputs(store, run)
    bound = dict(run.strategy.signals)
    guard = GuardLimits(posts=30, z=6.0, share=0.5, pause_ns=HOUR_NS, jump=0.9)
    stream = Stream(bound, run.symbols, ("BTC", "ETH"), run.bar_ns, guard=guard)
    feed = StoredFacts(store, run, clock=Clock(START + 100 * HOUR_NS))
    rows = np.concatenate([event.rows for event in feed.warm() if isinstance(event, Posts)])
    found, at = [], 0
    for decide in inputs.signals.decide_ns.tolist():
        while at < len(rows) and rows["known_ns"][at] <= decide:
            stream.on_sentiment(
                *(rows[name][at].item() for name in ("coin", "event_ns", "known_ns", "score", "weight", "author")),
                *(rows[name][at].item() for name in ("source", "revision", "trusted", "cluster", "flags")),
            )
            at += 1
        for symbol in range(len(run.symbols)):
            stream.on_bar(symbol, decide, 1.0, 2.0, 0.5, 1.5, 9.0)
        found.append(stream.read(decide)[1])
    return np.array(found)


def reasons(codes: np.ndarray) -> list[int]:
    """Of the first coin, without the signal's number."""
    return [int(code) & ((1 << STATE_BITS) - 1) for code in codes[:, 0]]


def test_signals_of_posts_hold_while_their_feed_is_down_and_a_while_after(store: Store) -> None:
    store.append("metrics", marker("x", 5.1, up=False, alive=5.0))
    store.append("metrics", marker("x", 8.4, up=True))
    codes = states(store, spec())
    # Closes at 1, 2, ... hours. Noticed at 5:06, so the decision at 5:00 knew nothing; up again at 8:24, then an hour.
    assert reasons(codes)[4:10] == [OK, SUSPECT, SUSPECT, SUSPECT, SUSPECT, OK]
    assert (codes[:, 0] == codes[:, 1]).all()
    assert np.array_equal(codes, live_states(store, spec()))
    assert load_inputs(store, spec()).notes == [
        "feeds of posts were down once, 3h24m in all: signals of posts held meanwhile"
    ]


def test_a_short_outage_is_over_as_long_again_after_it(store: Store) -> None:
    store.append("metrics", marker("x", 5.5, up=False))
    store.append("metrics", marker("x", 5.8, up=True))  # blind until 6.1
    assert reasons(states(store, spec()))[4:8] == [OK, SUSPECT, OK, OK]
    assert np.array_equal(states(store, spec()), live_states(store, spec()))


def test_a_feed_that_brought_nothing_or_weighs_nothing_is_not_missed(store: Store) -> None:
    store.append("metrics", marker("y", 5.1, up=False))
    assert set(reasons(states(store, spec()))[3:]) == {OK}
    store.append("sentiment", scores(("y1", "BTC", START + 2 * HOUR_NS, 0.1), source="y", ingested_ns=START))
    assert set(reasons(states(store, spec()))[6:]) == {SUSPECT}
    assert set(reasons(states(store, spec(y=0.0)))[3:]) == {OK}


def test_an_outage_is_history_for_a_bot_that_starts_in_it(store: Store) -> None:
    store.append("metrics", marker("x", 5.1, up=False))
    history = [event for event in warm_facts(store, spec(), None, None) if isinstance(event, Posts)]
    rows = np.concatenate([event.rows for event in history])
    gaps = rows[rows["flags"] & GAP > 0]
    assert gaps["coin"].tolist() == [-1, 0, 1] and set(gaps["cluster"].tolist()) == {FOREVER}
    later = [event for event in warm_facts(store, spec(), START + 6 * HOUR_NS, None) if isinstance(event, Posts)]
    assert not np.concatenate([event.rows for event in later])["flags"].__and__(GAP).any()
    assert np.array_equal(states(store, spec()), live_states(store, spec()))


def test_shuffled_posts_leave_the_outage_where_it_was(store: Store) -> None:
    store.append("metrics", marker("x", 5.1, up=False))
    inputs = load_inputs(store, spec())
    before, after = inputs.signals.sentiment, shuffle_facts(inputs, 3).signals.sentiment
    assert np.array_equal(before.flags & GAP, after.flags & GAP)
    assert not np.array_equal(before.score, after.score)


def test_outages_of_several_sources_are_one() -> None:
    outages = Outages({})
    for source in ("a", "b"):
        outages.seen(source, 0)
    hour = HOUR_NS
    assert outages.take("a", 1 * hour, 2 * hour, 0.0) == FOREVER
    assert outages.take("b", 0, 3 * hour, 0.0) is None
    assert outages.take("a", 4 * hour, 4 * hour, 1.0) is None
    assert outages.take("b", 5 * hour, 5 * hour, 1.0) == 5 * hour + AFTER_MAX_NS
    assert outages.take("b", 6 * hour, 6 * hour, 1.0) is None
    assert (outages.count, outages.down_ns) == (1, 5 * hour)
