"""Live bars through unmodified ccxt against a venue that speaks Binance's protocol on loopback, whole and faulty."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot.config_live import Exchange
from bot.events import Bar, Condition, Event
from bot.feeds.bars import LiveBars
from bot.feeds.public import CcxtBars, Row, SourceError, read_rows
from data.endpoints import replace_urls
from data.errors import InputError
from data.http import retry_after_s
from data.times import HOUR_NS, MINUTE_NS, SECOND_NS
from tests.venue.faults import Fault
from tests.venue.server import LocalVenue

START = 1_700_000_040 * SECOND_NS
BTC = "BTC/USDT"


class Clock:
    """A clock that runs from where it is set; the venue's is kept beside it."""

    def __init__(self, venue: LocalVenue) -> None:
        self.venue = venue
        self.set(START)

    def set(self, ns: int) -> None:
        """Set both."""
        self.ahead_ns = ns - time.time_ns()
        self.venue.offset_ms = self.ahead_ns / 1e6

    def now_ns(self) -> int:
        """See `bot.ports.Clock`."""
        return time.time_ns() + self.ahead_ns


class Scene:
    """A venue, a feed that follows one symbol of it, and what it has put."""

    def __init__(self, venue: LocalVenue, **section: Any) -> None:
        self.venue, self.clock = venue, Clock(venue)
        self.heard: list[Event] = []
        urls = {"rest": venue.rest_url, "stream": venue.ws_url}
        self.section = Exchange(urls=urls, **{"timeout": "5s", "recv_window": "4s", **section})
        self.source = CcxtBars(self.section, [BTC], MINUTE_NS, self.clock.now_ns)
        self.feed: LiveBars | None = None

    def tell(self, minute: int, *, closed: bool = True, stream: bool = True, **wrong: object) -> None:
        """Give a bar, counted in minutes from the start."""
        values = {"open": 100 + minute, "high": 103 + minute, "low": 99 + minute, "close": 101 + minute, "volume": 7}
        open_ms = (START + minute * MINUTE_NS) // 10**6
        self.venue.bar("BTCUSDT", "1m", open_ms, list((values | wrong).values()), closed=closed, tell=stream)

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait for something."""
        async with asyncio.timeout(8):
            while not what():
                await asyncio.sleep(0.005)

    async def live(self, minute: int, what: Callable[[], bool]) -> None:
        """Tell of a bar under way, again and again as venues do, until something."""
        async with asyncio.timeout(8):
            while not what():
                self.tell(minute, closed=False)
                await asyncio.sleep(0.02)

    def minutes(self) -> list[int]:
        """Bars that were put."""
        return [(event.open_ns - START) // MINUTE_NS for event in self.heard if isinstance(event, Bar)]

    def count(self, name: str) -> int:
        """A count of the feed's health."""
        assert self.feed is not None
        return int(self.feed.health()["symbols"][BTC][name])


def play(story: Callable[[Scene], Awaitable[None]], minutes_back: int = 0, **section: Any) -> Scene:
    """A story of a feed that begins at START, knowing bars up to so many minutes before."""

    async def main() -> Scene:
        async with LocalVenue() as venue:
            scene = Scene(venue, **section)
            for minute in range(-5, 0):
                scene.tell(minute)
            scene.feed = LiveBars(
                scene.source, [BTC], MINUTE_NS, clock=scene.clock, rng=random.Random(1),
                last_close={BTC: START - minutes_back * MINUTE_NS}, settle_ns=0,
            )  # fmt: skip
            task = asyncio.create_task(scene.feed.run(scene.heard.append))
            try:
                await story(scene)
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return scene

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr("bot.feeds.bars.SLICE_S", 0.02)
    monkeypatch.setattr("bot.feeds.bars.FIRST_S", 0.02)
    monkeypatch.setattr("bot.feeds.bars.LONGEST_S", 0.1)
    monkeypatch.setattr("bot.feeds.bar_line.SAME_NS", SECOND_NS // 20)


async def subscribed(scene: Scene) -> None:
    """Wait until the feed listens to the stream."""
    await scene.until(lambda: any(link.topics for link in scene.venue.streams.links))


def test_bars_are_caught_up_by_rest_and_closed_by_the_stream() -> None:
    """History first, then live: put when the next bar shows, with the stream's last values, without a key."""

    async def story(scene: Scene) -> None:
        await scene.until(lambda: scene.minutes() == [-3, -2, -1])
        await subscribed(scene)
        scene.tell(0, closed=False, close=100.5)
        scene.tell(0)
        await scene.live(1, lambda: scene.minutes() == [-3, -2, -1, 0])

    scene = play(story, minutes_back=3)
    bars = [event for event in scene.heard if isinstance(event, Bar)]
    assert [bar.caught_up for bar in bars] == [True, True, True, False]
    last = bars[-1]
    assert Row(last.open_ns, last.open, last.high, last.low, last.close, last.volume) == (START, 100, 103, 99, 101, 7)
    assert scene.count("by_stream") == 1
    assert not any("signature" in str(request) or "apiKey" in str(request) for request in scene.venue.requests)
    assert scene.feed is not None and abs(scene.feed.health()["clock_offset_ms"]) < 500


def test_without_streams_bars_are_polled() -> None:
    """`exchange.streams = false`: no connection but REST; a bar comes after its end and a time to settle."""

    async def story(scene: Scene) -> None:
        await scene.until(lambda: scene.minutes() == [-1])
        scene.tell(0, stream=False)
        scene.tell(1, stream=False, closed=False)
        await asyncio.sleep(0.1)
        assert scene.minutes() == [-1]  # the clock says that it isn't over
        scene.clock.set(START + MINUTE_NS + 2 * SECOND_NS)
        await scene.until(lambda: scene.minutes() == [-1, 0])

    scene = play(story, minutes_back=1, streams=False)
    assert not scene.venue.streams.links
    assert scene.count("by_rest") == 1


@pytest.mark.parametrize("politely", [True, False])
def test_a_stream_that_is_cut_is_dialled_again_and_what_it_missed_comes_by_rest(politely: bool) -> None:
    """The 24 hours' cut and a broken line alike: no bar is lost, none comes twice."""

    async def story(scene: Scene) -> None:
        await subscribed(scene)
        scene.tell(0)
        await scene.until(lambda: scene.source.streams)
        await asyncio.sleep(0.05)
        links = list(scene.venue.streams.links)
        scene.venue.streams.cut(politely=politely)
        scene.tell(0, stream=False, close=102)
        scene.tell(1, stream=False)
        await scene.until(lambda: any(link.topics and link not in links for link in scene.venue.streams.links))
        scene.clock.set(START + 2 * MINUTE_NS + 5 * SECOND_NS)
        await scene.live(2, lambda: scene.minutes() == [0, 1])
        scene.tell(2)
        await scene.live(3, lambda: scene.minutes() == [0, 1, 2])

    scene = play(story)
    first = next(event for event in scene.heard if isinstance(event, Bar))
    assert first.close == 102.0
    assert scene.count("stream_failures") >= 1
    assert scene.count("by_stream") >= 1


FAULTS = [
    Fault("status", "klines", status=500, times=2),
    Fault("truncate", "klines", times=2),
    Fault("html", "klines", times=2),
    Fault("empty", "klines", times=2),
    Fault("braces", "klines", times=2),
    Fault("reset", "klines", times=2),
    Fault("cut", "klines", times=2),
    Fault("status", "info", status=503, times=2),
    Fault("html", "time", times=1),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind} {fault.label}")
def test_whatever_rest_answers_the_bars_come_in_the_end(fault: Fault) -> None:
    """Garbage, errors and broken lines are met with another question."""

    async def story(scene: Scene) -> None:
        scene.venue.faults.add(Fault(**vars(fault)))
        scene.tell(0, closed=False)
        await scene.until(lambda: scene.minutes() == [-3, -2, -1])

    scene = play(story, minutes_back=3)
    assert not [event for event in scene.heard if isinstance(event, Condition) and event.on and "can't" in event.text]


def test_a_ban_is_honoured() -> None:
    """429 and 418: nothing is asked before the time that the venue names; then it goes on."""

    async def story(scene: Scene) -> None:
        scene.venue.faults.add(Fault("status", "klines", status=429, code=-1003, retry_after=300))
        await scene.until(lambda: scene.source.health()["shut_out_s"] > 0)
        await asyncio.sleep(0.05)
        asked = len(scene.venue.requests)
        await asyncio.sleep(0.3)
        assert len(scene.venue.requests) == asked
        assert 290 < scene.source.health()["shut_out_s"] <= 300
        with pytest.raises(SourceError, match="shut us out") as caught:
            await scene.source.fetch(BTC, START, 3)
        assert caught.value.pause_s > 290
        scene.clock.set(START + 302 * SECOND_NS)
        assert await scene.source.fetch(BTC, START - 2 * MINUTE_NS, 3) != []
        scene.venue.faults.add(Fault("status", "klines", status=418, code=-1003))
        with pytest.raises(SourceError) as caught:
            await scene.source.fetch(BTC, START, 3)
        assert caught.value.pause_s >= 120

    play(story, minutes_back=3)


def test_a_bar_with_nan_is_put_aside_on_a_real_line_too() -> None:
    """It reaches us as the venue wrote it, and goes no further."""

    async def story(scene: Scene) -> None:
        await subscribed(scene)
        scene.tell(0, close="NaN")
        scene.tell(1, closed=False)
        scene.clock.set(START + MINUTE_NS + 2 * SECOND_NS)
        await scene.until(lambda: any(isinstance(event, Condition) for event in scene.heard))
        scene.tell(1)
        await scene.live(2, lambda: scene.minutes() == [1])

    scene = play(story)
    on, off = [event for event in scene.heard if isinstance(event, Condition)]
    assert (on.cause, on.on, on.symbol, off.on) == ("data", True, BTC, False)
    assert "close is missing" in on.text
    assert scene.count("quarantined") == 1


def test_a_venue_that_isnt_there_is_waited_for() -> None:
    """Refused connections and names that lead nowhere are tried again."""

    async def main() -> None:
        async with LocalVenue() as venue:
            scene = Scene(venue)
            for minute in range(-3, 0):
                scene.tell(minute)
            await venue.listen(False)
            feed = LiveBars(
                scene.source, [BTC], MINUTE_NS, clock=scene.clock, rng=random.Random(1),
                last_close={BTC: START - 3 * MINUTE_NS}, settle_ns=0,
            )  # fmt: skip
            task = asyncio.create_task(feed.run(scene.heard.append))
            await scene.until(lambda: scene.source.failures >= 2)
            assert any(isinstance(event, Condition) and event.on for event in scene.heard)
            await venue.listen(True)
            await scene.until(lambda: scene.minutes() == [-3, -2, -1])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changed", "symbol", "bar_ns", "what"),
    [
        ({"id": "binanse"}, BTC, MINUTE_NS, "no such exchange"),
        ({}, "BTC/USDX", MINUTE_NS, "no such symbol"),
        ({}, BTC, 7 * MINUTE_NS, "no bars of that length"),
        ({"urls": {"nothing": "http://127.0.0.1:1"}}, BTC, MINUTE_NS, "no such endpoint"),
        ({"id": "coinbase", "sandbox": True}, BTC, HOUR_NS, "none in ccxt"),
    ],
)
def test_what_no_waiting_mends_is_named(changed: dict[str, Any], symbol: str, bar_ns: int, what: str) -> None:
    """A wrong exchange, symbol, interval or endpoint ends the feed with an error that says so."""

    async def main() -> None:
        async with LocalVenue() as venue:
            scene = Scene(venue)
            section = scene.section.model_copy(update=changed)
            source = CcxtBars(section, [symbol], bar_ns, scene.clock.now_ns)
            feed = LiveBars(source, [symbol], bar_ns, clock=scene.clock, rng=random.Random(1))
            with pytest.raises(InputError, match=what):
                await asyncio.wait_for(feed.run(lambda event: None), 8)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 7.0), ("30", 30.0), ("0", 1.0), ("-5", 1.0), ("nan", 7.0), ("soon", 7.0), ("1e999", 7.0),
        ("Tue, 14 Nov 2023 22:14:10 GMT", 10.0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(said: str | None, seconds: float) -> None:
    """What can't be read is guessed; never less than a second."""
    assert retry_after_s(said, START - 40 * SECOND_NS + 40 * SECOND_NS, 7.0) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    "rows", [None, {}, "x", [[1, 2, 3]], [["a", 1, 1, 1, 1, 1]], [[float("nan"), 1, 1, 1, 1, 1]], [5]]
)
def test_what_isnt_bars_is_no_answer(rows: Any) -> None:
    """It isn't taken for an empty list."""
    with pytest.raises(SourceError):
        read_rows("venue", rows)


def test_rows_come_in_order_the_last_word_on_each() -> None:
    """A missing value is NaN."""
    rows = read_rows("venue", [[2000, 1, 1, 1, 1, None], [1000, 1, 1, 1, 1, 1], [1000, 2, 2, 2, 2, 2]])
    assert [row.open_ns for row in rows] == [SECOND_NS, 2 * SECOND_NS]
    assert rows[0].open == 2.0 and rows[1].volume != rows[1].volume


def test_endpoints_are_replaced_by_kind_or_by_name() -> None:
    """Scheme and host change, paths stay; the private stream may lie elsewhere; a named entry is taken as it is."""
    api = {
        "public": "https://api.venue.example/api/v3", "version": 3,
        "ws": {"spot": "wss://stream.venue.example:9443/ws", "ws-api": {"spot": "wss://ws.venue.example/ws-api/v3"}},
    }  # fmt: skip
    urls = {"rest": "http://127.0.0.1:80/", "stream": "ws://127.0.0.1:81/x", "user": "ws://127.0.0.1:82"}
    assert replace_urls(api, urls) == {
        "public": "http://127.0.0.1:80/api/v3", "version": 3,
        "ws": {"spot": "ws://127.0.0.1:81/x/ws", "ws-api": {"spot": "ws://127.0.0.1:82/ws-api/v3"}},
    }  # fmt: skip
    assert replace_urls(api, {"stream": "ws://a.b"})["ws"]["ws-api"]["spot"] == "ws://a.b/ws-api/v3"
    assert replace_urls(api, {"ws.spot": "ws://127.0.0.1:9/stream"})["ws"]["spot"] == "ws://127.0.0.1:9/stream"
    assert replace_urls(api, {}) == api
    with pytest.raises(InputError, match="no such endpoint"):
        replace_urls(api, {"ws.nothing": "ws://a.b"})
