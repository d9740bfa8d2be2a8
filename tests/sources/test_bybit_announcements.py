"""Bybit's announcements through ccxt as it is: missed pages, edits, dates ahead, and what must not be followed."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from data.bounded import bounded_session
from data.feed import FeedError, Written
from data.times import HOUR_NS, SECOND_NS
from tests.sources.bybit_announcements import FIRST_NS, Board
from tests.sources.server import reply, serving
from tests.sources.world import StepClock, Taken, opened, streaming


def say(status: int, body: Any, headers: dict[str, str] | None = None) -> FeedError:
    """What an answer of the API becomes."""

    async def work() -> FeedError:
        async def answer(request: web.Request) -> web.Response:
            return reply(body, status, headers)

        async with (
            serving(answer) as server,
            opened("bybit_announcements", {"url": server.url}, clock=StepClock()) as feed,
        ):
            with pytest.raises(FeedError) as caught:
                await feed.stream(Taken())
        return caught.value

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("status", "body", "headers", "pause_s"),
    [
        (200, {"retCode": 10006, "retMsg": "Too many visits!"}, {}, 60),
        (200, {"retCode": 10001, "retMsg": "params error"}, {}, 0),
        (403, {"msg": "Forbidden"}, {"Retry-After": "600"}, 600),
        (200, {"retCode": 0, "result": {"list": None}}, {}, 0),
        (200, {"retCode": 0, "result": []}, {}, 0),
        (200, [], {}, 0),
    ],
)
def test_refusals_have_a_name(status: int, body: Any, headers: dict[str, str], pause_s: float) -> None:
    error = say(status, body, headers)
    assert error.pause_s == pause_s and str(error).startswith("http://127.0.0.1")


def test_pages_that_were_missed_are_asked_for_oldest_first() -> None:
    """Seventeen announcements while it was away, five a page."""

    async def work() -> None:
        clock, taken, again = StepClock(), Taken(), Taken()
        board = Board([FIRST_NS + at * HOUR_NS for at in range(8)])
        async with serving(board.answer) as server:
            options = {"url": server.url, "rows": 5}
            async with opened("bybit_announcements", options, clock=clock) as feed, streaming(feed, taken):
                await taken.wait(5)
            memory = dict(taken.batches[-1].cursor or {})
            board.times += [FIRST_NS + at * HOUR_NS for at in range(8, 25)]
            async with (
                opened("bybit_announcements", options, clock=clock, memory=memory) as feed,
                streaming(feed, again),
            ):
                await again.wait(17)
        dates = [item.event_ns for item in again.items if isinstance(item, Written)]
        assert dates == sorted(dates) and set(board.times[8:]) <= set(dates)
        cursors = [batch.cursor for batch in again.batches]
        assert cursors[-1] == {"newest_ns": board.times[-1]} and cursors[0] == memory

    asyncio.run(work())


def test_an_edit_is_a_revision_and_a_date_ahead_is_the_first_sight() -> None:
    async def work() -> None:
        clock, taken = StepClock(), Taken()
        board = Board([FIRST_NS, clock.ns + 3600 * SECOND_NS])
        async with serving(board.answer) as server:
            options = {"url": server.url, "rows": 5}
            async with opened("bybit_announcements", options, clock=clock) as feed, streaming(feed, taken):
                first = {item.key: item for item in await taken.wait(2) if isinstance(item, Written)}
                board.titles[1] = "Postponed: COIN1"
                edited = (await taken.wait(3))[2]
        assert isinstance(edited, Written) and edited.text.startswith("Postponed")
        assert first[edited.key].event_ns == edited.event_ns == taken.batches[0].arrived_ns

    asyncio.run(work())


def test_ccxt_is_held_to_the_bounds_of_all_others() -> None:
    """No redirect, no private network, no endless answer: whatever the library would do by itself."""

    async def work() -> None:
        async def elsewhere(request: web.Request) -> web.Response:
            if request.path == "/secret":
                return reply({"retCode": 0, "result": {"list": [{"title": "private"}]}})
            raise web.HTTPFound("/secret")

        async with serving(elsewhere) as server:
            async with opened("bybit_announcements", {"url": server.url}, clock=StepClock()) as feed:
                with pytest.raises(FeedError, match="leads elsewhere"):
                    await feed.stream(Taken())
            assert len(server.asked) == 1
            server.script.append("bomb")
            async with bounded_session(frozenset({"localhost"}), most=1_000_000) as session:
                port = server.url.rpartition(":")[2]
                with pytest.raises(FeedError, match="more than 1,000,000 bytes"):
                    async with session.get(f"http://localhost:{port}/") as answer:
                        await answer.text()
            async with bounded_session(frozenset()) as session:
                with pytest.raises(FeedError, match="private network"):
                    await session.get(f"http://localhost:{port}/")
        async with opened("bybit_announcements", {"url": "http://10.0.0.1:9"}, clock=StepClock()) as feed:
            with pytest.raises(FeedError, match="private network") as caught:
                await feed.stream(Taken())
            assert caught.value.final

    asyncio.run(work())
