"""Twenty thousand coordinated posts move no order; the same posts by genuine authors do. Through the public edge."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.crowd import guard_limits
from backtest.load import RunInputs, load_inputs
from backtest.result import Discount, Result
from backtest.run import run
from backtest.spec import RunSpec
from data.errors import InputError
from data.facts import HIDDEN_MARKS, fact_table
from data.store import Store
from risk.limits import Limits
from risk.records import EV_FROZEN, R_FLOOD, R_TWO_SOURCES
from signals import Mood
from signals.ops import SUSPECT
from signals.stream import Stream
from strategies.base import Strategy
from tests.contracts.worlds import told

HOUR = 3600 * 10**9
DAY = 24 * HOUR
START = 1_704_067_200 * 10**9  # 2024-01-01 00:00 UTC
DAYS = 12
FLOOD_NS = START + 10 * DAY + 10 * HOUR
FLOOD = 20_000
PAUSE = Limits().flood_pause_ns
ORDINARY = ("social", "news")
Facts = dict[str, Any]


class Follows(Strategy):
    """Holds as much as the crowd likes the coin."""

    mood = Mood(half_life="6h")

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """As felt."""
        return s.mood if s.mood > 0.0 else 0.0


def facts_of(posts: Facts) -> Any:
    """Sentiment facts from columns; what isn't said is ordinary."""
    count = len(posts["event_ns"])
    score = np.broadcast_to(posts["score"], count)
    return fact_table("sentiment", {
        "coin": "BTC", "model": "vader", "model_revision": "1", "known_ns": posts["event_ns"] + 10**9,
        "ingested_ns": posts["event_ns"] + 10**9, "quality": "recorded",
        "p_bearish": np.clip(-score, 0, 1), "p_neutral": 1 - np.abs(score), "p_bullish": np.clip(score, 0, 1),
        "flags": 0, **posts, "score": np.array(score),
    })  # fmt: skip


def crowd(score: float, every: int = HOUR // 10) -> Facts:
    """Ten posts an hour by forty known authors in two sources, all of one opinion."""
    event = np.arange(START + every, START + DAYS * DAY, every)
    count = len(event)
    return {
        "event_ns": event, "key": [f"c{i}" for i in range(count)], "score": score,
        "source": [ORDINARY[i % 2] for i in range(count)], "author": [f"known{i % 40}" for i in range(count)],
        "followers": np.full(count, 5000.0), "cluster": 1 + np.arange(count),
    }  # fmt: skip


def flood(score: float, **columns: Any) -> Facts:
    """Twenty thousand posts within the hour, each in words of its own, by accounts nobody knows."""
    return {
        "event_ns": FLOOD_NS + np.arange(FLOOD) * (HOUR // FLOOD), "key": [f"f{i}" for i in range(FLOOD)],
        "score": score, "source": [ORDINARY[i % 2] for i in range(FLOOD)],
        "author": [f"new{i}" for i in range(FLOOD)], "followers": np.full(FLOOD, 3.0),
        "cluster": 10**6 + np.arange(FLOOD), **columns,
    }  # fmt: skip


KINDS: dict[str, Callable[[], Facts]] = {
    "strangers": dict,
    "templates": lambda: {"cluster": 10**6 + np.arange(FLOOD) % 6, "followers": np.full(FLOOD, 900.0)},
    "one author": lambda: {"author": "megaphone", "followers": np.full(FLOOD, 2e6)},
    "disguised": lambda: {"flags": HIDDEN_MARKS, "followers": np.full(FLOOD, 900.0)},
}


def genuine() -> Facts:
    """The same posts, by authors whom people follow."""
    return {"author": [f"person{i}" for i in range(FLOOD)], "followers": 100.0 + np.arange(FLOOD) % 9000}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[RunSpec, RunInputs, Result]]:
    """A run over bars that don't move, a crowd, and what is written besides: ``ran(mood, extra posts or None)``."""
    opens = START + np.arange(DAYS * 24) * HOUR
    price = np.full(len(opens), 100.0)
    bars = fact_table("bars", {
        "source": "here", "symbol": "BTC/USDT", "interval_ns": HOUR, "event_ns": opens, "known_ns": opens + HOUR,
        "ingested_ns": opens + HOUR, "quality": "recorded", "open": price, "high": price, "low": price,
        "close": price, "volume": np.full(len(opens), 1e6),
    })  # fmt: skip

    def build(
        mood: float, extra: Facts | None = None, every: int = HOUR // 10, **changed: Any
    ) -> tuple[RunSpec, RunInputs, Result]:
        store = Store(tmp_path_factory.mktemp("flood"))
        store.append("bars", bars)
        store.append("sentiment", facts_of(crowd(mood, every)))
        if extra is not None:
            store.append("sentiment", facts_of(extra))
        spec = RunSpec(strategy=Follows(), symbols=["BTC/USDT"], model="vader", model_revision="1", **changed)
        inputs = load_inputs(store, spec)
        return spec, inputs, run(spec, inputs, created_ns=0, stress=False)

    return build


LONG, FLAT = 0.6, -0.4


@pytest.fixture(scope="module")
def calm(ran: Callable[..., Any]) -> dict[float, Result]:
    """The runs without a flood: one buys once and holds, one never buys."""
    results = {mood: ran(mood)[2] for mood in (LONG, FLAT)}
    assert results[LONG].held[-1, 0] > 0.0 and len(results[LONG].fills) > 0 and len(results[FLAT].orders) == 0
    assert not results[LONG].discounted and not results[FLAT].discounted
    return results


@pytest.mark.parametrize(
    ("mood", "score", "kind"),
    [
        (LONG, -1.0, "strangers"), (LONG, 1.0, "templates"), (FLAT, 1.0, "strangers"), (FLAT, -1.0, "one author"),
        (LONG, -1.0, "templates"), (FLAT, 1.0, "one author"), (FLAT, 1.0, "disguised"),
    ],
)  # fmt: skip
def test_a_flood_moves_no_order(
    ran: Callable[..., Any], calm: dict[float, Result], mood: float, score: float, kind: str
) -> None:
    """Every order and fill of the run is that of the run without the flood; the position is held; it is all told."""
    spec, inputs, result = ran(mood, flood(score, **KINDS[kind]()))
    np.testing.assert_array_equal(result.orders, calm[mood].orders)
    np.testing.assert_array_equal(result.fills, calm[mood].fills)
    np.testing.assert_array_equal(result.held, calm[mood].held)
    frozen = (result.close_ns > FLOOD_NS) & (result.close_ns <= FLOOD_NS + HOUR + PAUSE)
    assert np.isnan(result.target[frozen, 0]).all() and np.isfinite(result.target[~frozen, 0]).all()
    assert result.holds == {("BTC/USDT", "suspect", "mood"): 1 + PAUSE // HOUR}
    [told_of] = [one for one in result.discounted if one.rule == R_FLOOD]
    assert told_of.coin == "BTC" and told_of.observed >= told_of.limit == Limits().flood_share
    assert told_of.posts > FLOOD - 100 and told_of.since_ns < FLOOD_NS + HOUR // 60
    # What had counted by then, and was taken back, was little: the posts until there was enough to judge by.
    assert 0 < told_of.taken_back < 60
    event = result.events[result.events["kind"] == EV_FROZEN]
    assert event["rule"].tolist() == [R_FLOOD] and event["symbol"].tolist() == [0]
    assert event["ns"][0] == FLOOD_NS + HOUR and event["observed"][0] == PAUSE


def test_who_decides_as_facts_arrive_holds_too(ran: Callable[..., Any]) -> None:
    """A decision a minute within the flood: the first sees one post of it, the next is frozen."""
    _, _, result = ran(LONG, flood(-1.0), decide_on="facts", limits=replace(Limits(), orders_per_hour=10**4))
    assert not (result.orders["decided_ns"] > FLOOD_NS).any()
    inside = (result.decide_ns > FLOOD_NS + 2 * 60 * 10**9) & (result.decide_ns < FLOOD_NS + HOUR)
    assert inside.sum() > 50 and np.isnan(result.target[inside]).all()


@pytest.mark.parametrize(("mood", "score"), [(LONG, -1.0), (FLAT, 1.0)])
def test_the_same_posts_by_genuine_authors_do(ran: Callable[..., Any], mood: float, score: float) -> None:
    """A long sells, a flat one buys, within the hour."""
    _, _, result = ran(mood, flood(score, **genuine()))
    acted = result.orders[result.orders["decided_ns"] > FLOOD_NS]
    assert len(acted) and acted["side"][0] == int(score) and acted["decided_ns"][0] == FLOOD_NS + HOUR
    assert not [one for one in result.discounted if one.rule == R_FLOOD]


def test_a_stream_freezes_as_the_backtest_does(ran: Callable[..., Any]) -> None:
    """One post at a time, as live: the same values and states, and the breach is told with the post."""
    spec, inputs, result = ran(LONG, flood(-1.0))
    seen = inputs.signals
    guard = guard_limits(spec.limits)
    stream = Stream(spec.strategy.signals, seen.symbols, seen.coins, seen.bar_ns, guard=guard)
    breaches = []
    whole = stream.on_sentiment
    stream.on_sentiment = lambda *post, **more: breaches.append(whole(*post, **more))  # type: ignore[method-assign, func-returns-value]
    rows, states = told(stream, seen)
    np.testing.assert_array_equal(rows[:, :, 0], result.rows[:, :, 0])
    frozen = (seen.decide_ns > FLOOD_NS) & (seen.decide_ns < FLOOD_NS + PAUSE)
    assert (states[frozen, 0] == SUSPECT).all()
    assert sum(breaches) > FLOOD - 1000 and not any(breaches[: len(breaches) // 3 // 10])


def test_one_loud_voice_waits_for_a_witness(ran: Callable[..., Any]) -> None:
    """The account of a regulator is hacked: a coin that few write of jumps by nobody's word but its own."""
    lone: Facts = {name: column[:1] if not np.isscalar(column) else column for name, column in flood(1.0).items()}
    voice = {**lone, "source": ["social"], "followers": np.array([9e5])}
    strict = replace(Limits(), mood_jump=0.3)
    _, _, result = ran(FLAT, voice, 6 * HOUR, limits=strict)
    assert len(result.orders) == 0
    [told_of] = [one for one in result.discounted if one.rule == R_TWO_SOURCES and one.since_ns > FLOOD_NS]
    assert isinstance(told_of, Discount) and told_of.observed > told_of.limit == 0.3
    assert told_of.until_ns == FLOOD_NS + 10**9 + HOUR
    heard = {name: np.append(column, column) for name, column in voice.items() if not np.isscalar(column)}
    heard |= {"score": 1.0, "key": ["f0", "f1"], "source": ["social", "news"], "author": ["a", "b"], "cluster": [1, 2]}
    _, _, confirmed = ran(FLAT, heard, 6 * HOUR, limits=strict)
    assert confirmed.orders["decided_ns"][0] == FLOOD_NS + HOUR


def test_a_source_weighs_what_the_run_says(ran: Callable[..., Any], tmp_path: Path) -> None:
    """Half the crowd is news: without it the other half speaks; a source that nobody scored is an error."""
    columns = crowd(0.0)
    columns["score"] = np.where(np.array(columns["source"]) == "news", 0.9, -0.9)
    store = Store(tmp_path)
    store.append("sentiment", facts_of(columns))
    _, inputs, _ = ran(LONG)
    store.append("bars", fact_table("bars", {
        "source": "here", "symbol": "BTC/USDT", "interval_ns": HOUR, "event_ns": inputs.bars.open_ns,
        "known_ns": inputs.bars.close_ns, "ingested_ns": inputs.bars.close_ns, "quality": "recorded",
        **{name: getattr(inputs.bars, name)[:, 0] for name in ("open", "high", "low", "close", "volume")},
    }))  # fmt: skip
    base = RunSpec(strategy=Follows(), symbols=["BTC/USDT"], model="vader", model_revision="1")
    last = {}
    for name, weights in {"both": {}, "news": {"social": 0.0}, "loud": {"news": 3.0}}.items():
        spec = replace(base, source_weights=weights)
        last[name] = run(spec, load_inputs(store, spec), created_ns=0, stress=False).rows[-1, 0, 0]  # type: ignore[index]
    assert abs(last["both"]) < 0.05 and last["news"] > 0.8 and 0.3 < last["loud"] < 0.6
    with pytest.raises(InputError, match=r"sources.weights.*reddit.*news, social"):
        load_inputs(store, replace(base, source_weights={"reddit": 2.0}))
