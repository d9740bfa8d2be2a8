"""A stored span played as if it were now: each thing at its moment, in one order, at any speed."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.costs import FillModel
from bot.events import Bar, Event, Funding, Posts
from bot.feeds.door import Door
from bot.feeds.replay import FASTEST, Replay, ReplayClock, Span, read_span
from data.errors import InputError
from data.facts import fact_table
from data.store import Store
from data.times import HOUR_NS, SECOND_NS
from tests.bot.feeds_world import play
from tests.bot.test_feeds_stored import SPEC, START, bars, metrics, scores, told


@pytest.fixture
def store(var: Path) -> Store:
    """Twelve hours of two symbols, posts at and around closes, a metric."""
    made = Store(var)
    for symbol in SPEC.symbols:
        bars(made, symbol, 12)
    times = [START + HOUR_NS, START + HOUR_NS + 1, START + 2 * HOUR_NS - 1, START + 3 * HOUR_NS, START + 3 * HOUR_NS]
    posts = [
        (str(at), coin, ns, 0.1 * at)
        for at, (coin, ns) in enumerate(zip(["BTC", "ETH", "*", "BTC", "ETH"], times, strict=True))
    ]
    made.append("sentiment", scores(*posts))
    made.append("metrics", metrics(("BTC", START + 3 * HOUR_NS, 7.0), ("ETH", START + 20 * HOUR_NS, 8.0)))
    return made


def run(span: Span, *, speed: float = FASTEST, work_s: float = 0.0) -> tuple[list[tuple[float, int, Event]], float]:
    """(time of the loop, of the bot's clock, event) of all that a bot takes; and how long the replay took."""

    async def main() -> Any:
        door, clock = Door(10_000), ReplayClock(span.start_ns)
        feed = Replay(span, clock, door.drained, speed=speed)
        loop = asyncio.get_running_loop()
        taken: list[tuple[float, int, Event]] = []

        async def consume() -> None:
            while True:
                for event in await door.get():
                    await asyncio.sleep(work_s)
                    taken.append((loop.time(), clock.now_ns(), event))

        task = asyncio.create_task(consume())
        await feed.run(door.put)
        await door.drained()
        task.cancel()
        assert feed.health()["share"] == 1.0
        return taken, loop.time()

    found: tuple[list[tuple[float, int, Event]], float] = play(main())
    return found


def test_everything_comes_at_its_moment_facts_before_bars(store: Store) -> None:
    """Metrics, posts, bars of one moment in this order; the clock stands at it until the bot has dealt with them."""
    span = read_span(store, SPEC, START + 2 * HOUR_NS, START + 4 * HOUR_NS)
    taken, _ = run(span)
    hours = [
        (kind, which, round((ns - START) / HOUR_NS, 6)) for kind, which, ns, _ in told([event for _, _, event in taken])
    ]
    assert hours == [
        ("bar", "BTC/USDT", 2), ("bar", "ETH/USDT", 2),
        ("metric", "BTC", 3), ("post", 0, 3), ("post", 1, 3), ("bar", "BTC/USDT", 3), ("bar", "ETH/USDT", 3),
    ]  # fmt: skip
    assert all(clock_ns == ns for (_, clock_ns, _), (_, _, ns, _) in zip(
        [item for item in taken if not isinstance(item[2], Posts)],
        [item for item in told([event for _, _, event in taken]) if item[0] != "post"], strict=True,
    ))  # fmt: skip
    assert not any(event.caught_up for _, _, event in taken if isinstance(event, Bar))


def test_what_was_known_before_the_span_is_history(store: Store) -> None:
    """It is there to warm up on, bars marked as caught up; nothing is both, nothing is lost."""
    cut = START + 3 * HOUR_NS
    span = read_span(store, SPEC, cut, None)
    history = told(span.history)
    assert [ns < cut for _, _, ns, _ in history] == [True] * len(history)
    assert all(event.caught_up for event in span.history if isinstance(event, Bar))
    everything = told(read_span(store, SPEC, None, None).history) + told(
        [event for _, event in read_span(store, SPEC, None, None).played]
    )
    assert sorted(history + told([event for _, event in span.played])) == sorted(everything)
    assert span.start_ns == cut


def test_speed_maps_the_span_onto_our_time(store: Store) -> None:
    """3,600 times as fast, an hour of the span is a second; a slow bot delays the clock, never the order."""
    span = read_span(store, SPEC, START + HOUR_NS, None)
    taken, took = run(span, speed=3600)
    closes = [(at, event.close_ns) for at, _, event in taken if isinstance(event, Bar)]
    assert all(abs(at - (close_ns - span.start_ns) / HOUR_NS) < 0.01 for at, close_ns in closes)
    assert took == pytest.approx(11.0, abs=0.01)
    slow, _ = run(span, speed=3600, work_s=0.7)
    fast, took = run(span)
    assert took == 0.0
    assert [event for _, _, event in slow] == [event for _, _, event in taken] == [event for _, _, event in fast]
    assert [ns for _, ns, _ in slow] == [ns for _, ns, _ in taken] == [ns for _, ns, _ in fast]


def test_a_bar_that_was_late_is_late_again(var: Path) -> None:
    """A bar is played when it became known, not at its close."""
    store = Store(var)
    columns = {
        "source": "s", "symbol": "BTC/USDT", "interval_ns": HOUR_NS, "event_ns": [START, START + HOUR_NS],
        "known_ns": [START + HOUR_NS, START + 2 * HOUR_NS + 90 * SECOND_NS], "ingested_ns": START,
        "quality": "recorded", "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 9.0,
    }  # fmt: skip
    store.append("bars", fact_table("bars", columns))
    span = read_span(store, replace(SPEC, symbols=("BTC/USDT",)), None, None)
    assert [at - START for at, _ in span.played] == [HOUR_NS, 2 * HOUR_NS + 90 * SECOND_NS]


def test_funding_of_a_perpetual_comes_after_the_bar_that_ends_with_it(var: Path) -> None:
    """An assumed rate is due every eight hours; missing stored funding is an error, as in a backtest."""
    store = Store(var)
    symbol = "BTC/USDT:USDT"
    bars(store, symbol, 24, since_ns=START // (24 * HOUR_NS) * 24 * HOUR_NS)
    spec = replace(SPEC, symbols=(symbol,), market="perp", fills=FillModel(funding_rate=0.0001))
    taken, _ = run(read_span(store, spec, None, None))
    events = [event for _, _, event in taken]
    due = [at for at, event in enumerate(events) if isinstance(event, Funding)]
    assert len(due) == 3
    for at in due:
        bar, funding = events[at - 1], events[at]
        assert isinstance(bar, Bar) and isinstance(funding, Funding)
        assert bar.close_ns == funding.due_ns and funding.rate == 0.0001
    with pytest.raises(InputError, match="funding is missing"):
        read_span(store, replace(spec, fills=FillModel()), None, None)


def test_a_span_without_bars_is_refused(store: Store) -> None:
    """The remedy names what is there."""
    with pytest.raises(InputError, match="no bar closes in the span"):
        read_span(store, SPEC, START + 100 * HOUR_NS, None)
    span = read_span(store, SPEC, None, None)
    with pytest.raises(InputError, match="above 0"):
        Replay(span, ReplayClock(0), asyncio.Event().wait, speed=0.0)  # type: ignore[arg-type]


def test_the_clock_never_goes_back() -> None:
    """A moment that has gone by changes nothing."""
    clock = ReplayClock(100)
    clock.advance(90)
    assert clock.now_ns() == 100
    clock.advance(np.iinfo(np.int64).max)
    assert clock.now_ns() == 2**63 - 1
