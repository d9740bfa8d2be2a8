"""Live bars: each put once, when it is closed, in order, whatever the venue and the line do."""

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.events import Bar
from bot.feeds.bars import LiveBars
from bot.feeds.public import SourceError
from data.errors import InputError
from data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, WEEK_NS
from tests.bot.feeds_world import START_NS, BarVenue, Heard, VirtualClock, play, values, whole

NAN = math.nan


def follow(venue: BarVenue, seconds: float, last_close: int | None = None, off_ns: int = 0) -> tuple[Heard, LiveBars]:
    """Follow one symbol of a venue for some virtual seconds; sees to it that every bar was right and in order."""
    heard = Heard()
    venue.client_off_ns = off_ns

    async def main() -> LiveBars:
        given_close = {} if last_close is None else {"BTC/USDT": last_close}
        feed = LiveBars(
            venue, ["BTC/USDT"], MINUTE_NS, clock=VirtualClock(off_ns), rng=random.Random(7), last_close=given_close
        )
        task = asyncio.create_task(feed.run(heard.put))
        await asyncio.sleep(seconds)
        told = feed.health()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        feed.told = told  # type: ignore[attr-defined]
        return feed

    feed = play(main())
    closes = [bar.close_ns for bar in heard.bars]
    assert closes == sorted(set(closes))
    assert venue.closed
    return heard, feed


def count(feed: LiveBars, name: str) -> int:
    """One count of the symbol's health."""
    return int(feed.told["symbols"]["BTC/USDT"][name])  # type: ignore[attr-defined]


def opens(heard: Heard) -> list[int]:
    """Which minute each bar is, from the start on."""
    return [(bar.open_ns - START_NS) // MINUTE_NS for bar in heard.bars]


def test_the_stream_closes_a_bar_when_it_tells_of_the_next() -> None:
    """Bars come from the stream within a moment, whole, in order, and REST isn't asked."""
    venue = BarVenue()
    heard, feed = follow(venue, 299)
    assert opens(heard) == [0, 1, 2, 3]
    assert [values(bar) for bar in heard.bars] == [whole(START_NS + at * MINUTE_NS) for at in range(4)]
    assert not any(bar.caught_up for bar in heard.bars)
    assert [round(at - 60 * (k + 1), 2) for k, (at, _) in enumerate(heard.events)] == [0.01] * 4
    assert not venue.asked
    assert count(feed, "by_stream") == 4


def test_without_a_stream_rest_is_asked_after_the_end_and_a_time_to_settle() -> None:
    """A bar under way is never put, and one request a bar is enough."""
    venue = BarVenue(streams=False)
    heard, feed = follow(venue, 299)
    assert opens(heard) == [0, 1, 2, 3]
    assert [values(bar) for bar in heard.bars] == [whole(START_NS + at * MINUTE_NS) for at in range(4)]
    assert all(62 <= at % 60 + 60 < 62.2 for at, _ in heard.events)
    assert len(venue.asked) == 4
    assert count(feed, "by_rest") == 4


@pytest.mark.parametrize("off_ns", [-20 * SECOND_NS, 20 * SECOND_NS])
@pytest.mark.parametrize("streams", [True, False])
def test_a_bar_ends_by_the_venues_clock(off_ns: int, streams: bool) -> None:
    """Whichever clock is wrong, no unfinished bar is put, and none is late by what the clocks differ."""
    heard, _ = follow(BarVenue(streams=streams), 299, off_ns=off_ns)
    heard_too, feed = follow(BarVenue(streams=streams, off_ns=off_ns), 299)
    for found in (heard, heard_too):
        assert [values(bar) for bar in found.bars] == [whole(bar.open_ns) for bar in found.bars]
        assert len(found.bars) >= 4
    assert feed.told["clock_offset_ms"] == off_ns / 1e6 and off_ns  # type: ignore[attr-defined]


def test_a_venue_that_tells_no_time_is_doubted() -> None:
    """Polled with a clock ahead of the venue's, a bar is put when the next one shows, or well after its end."""
    venue = BarVenue(streams=False, tells_time=False)
    heard, _ = follow(venue, 299, off_ns=20 * SECOND_NS)
    assert [values(bar) for bar in heard.bars] == [whole(bar.open_ns) for bar in heard.bars]
    assert opens(heard)[:3] == [0, 1, 2]


def test_bars_missed_before_the_start_are_caught_up() -> None:
    """From the last close that is known on, in pages; they are learnt, never decided on; then it goes on live."""
    venue = BarVenue()
    heard, feed = follow(venue, 130, last_close=START_NS - 2500 * MINUTE_NS)
    assert opens(heard) == list(range(-2500, 2))
    assert [bar.caught_up for bar in heard.bars] == [True] * 2500 + [False] * 2
    assert count(feed, "caught_up") == 2500
    assert heard.conditions == [] or heard.conditions[-1][0] is False
    assert len(venue.asked) <= 6


def test_bars_of_an_outage_are_caught_up_and_the_newest_is_not() -> None:
    """Bars behind which another has closed are history when they come; no new risk while none comes for two bars."""
    venue = BarVenue()
    venue.down = venue.cut = [(100, 400)]
    heard, feed = follow(venue, 500)
    assert opens(heard) == list(range(8))
    late = [bar.caught_up for bar in heard.bars]
    assert late[0] is False and late[1:4] == [True] * 3 and late[-2:] == [False] * 2
    on, off = heard.conditions
    assert on[0] and "no bar for 2m" in on[1] and "no answer" in on[1]
    assert not off[0]
    at = [at for at, event in heard.events if not isinstance(event, Bar)]
    assert 180 <= at[0] < 220 and 400 < at[1] < 440
    assert count(feed, "rest_failures") < 40


def test_a_silent_stream_is_backed_by_rest_and_begun_anew() -> None:
    """A stream that hangs without an error costs nothing but the time to settle; after two bars it is restarted."""
    venue = BarVenue()
    venue.deaf = [(70, 10_000)]
    heard, feed = follow(venue, 420)
    assert opens(heard) == [0, 1, 2, 3, 4, 5]
    assert venue.restarts == 1
    assert count(feed, "by_stream") >= 2
    assert all(at % 60 < 3 for at, _ in heard.events)
    assert heard.conditions == []


def test_after_a_break_the_streams_last_word_is_confirmed_by_rest() -> None:
    """Cut over a bar's end, the stream never told its last trades: REST does."""
    venue = BarVenue()
    venue.cut = [(55, 65)]
    heard, feed = follow(venue, 190)
    assert [values(bar) for bar in heard.bars] == [whole(START_NS + at * MINUTE_NS) for at in range(3)]
    assert (count(feed, "by_rest"), count(feed, "by_stream")) == (1, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"close": NAN},
        {"open": 0.0},
        {"low": -1.0},
        {"volume": -1.0},
        {"high": 1.0},
        {"close": math.inf},
        {"volume": NAN},
    ],
)
def test_a_bar_that_cant_be_true_is_put_aside(wrong: dict[str, float]) -> None:
    """It is counted, not put, and its symbol takes no new risk until a good one comes."""
    venue = BarVenue()
    bad_ns = START_NS + MINUTE_NS
    venue.bad = {bad_ns: whole(bad_ns)._replace(**wrong)}
    heard, feed = follow(venue, 299)
    assert opens(heard) == [0, 2, 3]
    assert count(feed, "quarantined") == 1
    assert [on for on, _ in heard.conditions] == [True, False]
    assert "can't be true" in heard.conditions[0][1]
    kinds = [isinstance(event, Bar) for _, event in heard.events]
    assert kinds == [True, False, True, False, True]


def test_a_bad_bar_that_the_venue_mends_at_once_is_put() -> None:
    """Wrong in the stream, right when REST is asked: nothing is lost."""
    venue = BarVenue()
    bad_ns = START_NS + MINUTE_NS
    venue.bad = {bad_ns: whole(bad_ns)._replace(close=NAN)}
    venue.bad_times = 7  # every word of the stream on it
    heard, feed = follow(venue, 299)
    assert opens(heard) == [0, 1, 2, 3]
    assert values(heard.bars[1]) == whole(bad_ns)
    assert (count(feed, "quarantined"), heard.conditions) == (0, [])


def test_a_hole_of_the_venue_is_asked_for_twice_and_then_passed() -> None:
    """What the venue doesn't have can't be put; what follows comes in order."""
    venue = BarVenue()
    venue.holes = {START_NS + MINUTE_NS, START_NS + 2 * MINUTE_NS}
    heard, feed = follow(venue, 360)
    assert opens(heard) == [0, 3, 4]
    assert count(feed, "holes") == 2
    assert heard.conditions[-1:] == [] or heard.conditions[-1][0] is False


def test_a_hole_longer_than_a_page_is_passed_too() -> None:
    """History without thousands of bars doesn't stop the feed for ever."""
    venue = BarVenue()
    first = START_NS - 4000 * MINUTE_NS
    venue.holes = {first + at * MINUTE_NS for at in range(10, 3500)}
    heard, feed = follow(venue, 130, last_close=first)
    assert opens(heard) == [*range(-4000, -3990), *range(-500, 2)]
    assert count(feed, "holes") == 3490


def test_a_bar_that_is_revised_is_counted_and_never_put_again() -> None:
    """What was decided on a bar stands; each new set of values is counted once."""
    venue = BarVenue(streams=False)
    venue.revised = {START_NS: whole(START_NS)._replace(close=102.0)}
    venue.lag_s = 0
    heard, feed = follow(venue, 70)
    assert count(feed, "revised") == 0
    heard, feed = follow(venue, 200, last_close=START_NS)
    assert opens(heard) == [0, 1, 2]
    venue = BarVenue(streams=False)
    venue.revised = {START_NS: whole(START_NS)._replace(close=102.0)}
    venue.down = [(65, 200)]  # so that the first bar is asked for again late
    heard, feed = follow(venue, 299)
    assert opens(heard) == [0, 1, 2, 3]
    assert values(heard.bars[0]) == whole(START_NS)
    assert count(feed, "revised") == 1


def test_rest_that_lags_is_asked_again_until_it_knows() -> None:
    """A venue whose REST is late by seconds is polled with growing pauses, and no unfinished bar is put."""
    venue = BarVenue(streams=False)
    venue.lag_s = 20.0
    heard, _ = follow(venue, 299)
    assert [values(bar) for bar in heard.bars] == [whole(bar.open_ns) for bar in heard.bars]


@pytest.mark.parametrize("lag_s", [0.0, 4.0, 20.0])
def test_a_venue_that_shows_closed_bars_only_is_followed(lag_s: float) -> None:
    """Without a sign of the next bar, one that is over is put when it is told the same for some seconds."""
    venue = BarVenue(streams=False)
    venue.shows_next, venue.lag_s = False, lag_s
    heard, feed = follow(venue, 299)
    assert opens(heard) == [0, 1, 2, 3][: len(heard.bars)] and len(heard.bars) >= 3
    assert [values(bar) for bar in heard.bars] == [whole(bar.open_ns) for bar in heard.bars]
    assert count(feed, "rest") < 60


def test_a_venue_that_shuts_us_out_is_left_alone_while_its_stream_goes_on() -> None:
    """Nothing is asked before the time that it names."""
    venue = BarVenue(streams=False)
    venue.down, venue.pause_s = [(61, 63)], 50.0
    heard, _ = follow(venue, 299)
    times = [at for at, _, _ in venue.asked]
    assert times[1] - times[0] >= 50.0
    assert opens(heard) == [0, 1, 2, 3]
    streaming = BarVenue()
    streaming.down, streaming.pause_s, streaming.cut = [(55, 65)], 1000.0, [(55, 61)]
    heard, feed = follow(streaming, 299)
    assert opens(heard) == [1, 2, 3]
    assert [bar.caught_up for bar in heard.bars] == [True, False, False]
    assert [on for on, _ in heard.conditions] == [True, False]
    assert len(streaming.asked) == 1
    assert count(feed, "holes") == 1


def test_an_exchange_that_cant_be_reached_at_first_is_waited_for() -> None:
    """The start is tried again with pauses; bars of the time without it are caught up."""
    venue = BarVenue()
    venue.open_fails = 8
    heard, feed = follow(venue, 500)
    assert opens(heard) == list(range(8))
    assert [on for on, _ in heard.conditions] in ([], [True, False])


def test_a_wrong_symbol_ends_the_feed_with_its_error() -> None:
    """No waiting mends it."""

    class Wrong(BarVenue):
        async def open(self) -> None:
            raise InputError("no such symbol", key="run.symbols")

    async def main() -> None:
        venue = Wrong()
        feed = LiveBars(venue, ["X/Y"], MINUTE_NS, clock=VirtualClock(), rng=random.Random(1))
        with pytest.raises(InputError, match="no such symbol"):
            await feed.run(lambda event: None)
        assert venue.closed

    play(main())


def test_a_stream_that_cant_be_had_leaves_polling() -> None:
    """A venue that refuses the subscription for good is polled."""

    class Refusing(BarVenue):
        async def watch(self, symbol: str) -> list[object]:  # type: ignore[override]
            raise SourceError("not supported", final=True)

    heard, feed = follow(Refusing(), 299)
    assert opens(heard) == [0, 1, 2, 3]
    assert count(feed, "stream_failures") == 1


def test_a_future_that_the_library_gives_up_doesnt_end_the_stream() -> None:
    """A cancellation that nobody of us asked for counts as a break."""

    class Dropping(BarVenue):
        dropped = False

        async def watch(self, symbol: str) -> list[object]:  # type: ignore[override]
            if not self.dropped and asyncio.get_running_loop().time() > 70:
                self.dropped = True
                raise asyncio.CancelledError
            return await super().watch(symbol)  # type: ignore[return-value]

    heard, feed = follow(Dropping(), 299)
    assert opens(heard) == [0, 1, 2, 3]
    assert count(feed, "stream_failures") == 1
    assert count(feed, "by_stream") >= 3


@pytest.mark.parametrize("bar_ns", [2 * DAY_NS, 30 * DAY_NS])
def test_bars_without_a_common_grid_are_refused(bar_ns: int) -> None:
    """Venues differ on where spans of days begin."""
    with pytest.raises(InputError, match="can't be followed"):
        LiveBars(BarVenue(), ["B"], bar_ns, clock=VirtualClock(), rng=random.Random(1))
    LiveBars(BarVenue(), ["B"], WEEK_NS, clock=VirtualClock(), rng=random.Random(1))
    LiveBars(BarVenue(), ["B"], HOUR_NS, clock=VirtualClock(), rng=random.Random(1))


def test_a_second_run_goes_on_where_the_first_ended() -> None:
    """No bar twice, none lost between the runs."""
    heard = Heard()

    async def main() -> None:
        feed = LiveBars(BarVenue(), ["BTC/USDT"], MINUTE_NS, clock=VirtualClock(), rng=random.Random(7))
        for _ in range(3):
            task = asyncio.create_task(feed.run(heard.put))
            await asyncio.sleep(200)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    play(main())
    assert opens(heard) == list(range(10)) or opens(heard) == list(range(9))


spans = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 150)).map(lambda s: (s[0], s[0] + s[1])), max_size=3)


@given(
    spans, spans, spans, st.sets(st.integers(0, 12), max_size=4), st.sets(st.integers(0, 12), max_size=3),
    st.booleans(), st.sampled_from([-3, 0, 2, 15]),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_whatever_fails_every_bar_comes_once_whole_and_in_order(
    down: list[tuple[float, float]],
    cut: list[tuple[float, float]],
    deaf: list[tuple[float, float]],
    holes: set[int],
    bad: set[int],
    streams: bool,
    off_s: int,
) -> None:
    """Random outages, breaks, holes, bad bars: what is there and sound comes in the end, and nothing else."""
    venue = BarVenue(streams=streams, off_ns=off_s * SECOND_NS)
    venue.down, venue.cut, venue.deaf = list(down), list(cut), list(deaf)
    venue.holes = {START_NS + at * MINUTE_NS for at in holes}
    venue.bad = {START_NS + at * MINUTE_NS: whole(START_NS + at * MINUTE_NS)._replace(low=NAN) for at in bad}
    heard, feed = follow(venue, 1500)
    wanted = [at for at in range(22) if at not in holes | bad]
    found = [at for at in opens(heard) if 0 <= at < 22]
    if count(feed, "rest_failures") and streams:  # passed by the stream while REST was down
        lost = len(set(range(22)) - set(found))
        assert set(found) <= set(wanted) and lost <= count(feed, "holes") + count(feed, "quarantined")
    else:
        assert found == wanted
    assert [values(bar) for bar in heard.bars] == [whole(bar.open_ns) for bar in heard.bars]
    assert [on for on, _ in heard.conditions] == [True, False] * (len(heard.conditions) // 2)
