"""GDELT: its complaints in plain text, its sloppy JSON, pages of one date, and articles dated ahead."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from data.feed import FeedError, Written
from data.intake_feed import to_facts
from data.sources.gdelt import CARD
from data.times import HOUR_NS, MINUTE_NS, SECOND_NS
from tests.sources.gdelt import LAST_NS, Index
from tests.sources.server import serving
from tests.sources.world import StepClock, Taken, opened, streaming


def fetch(index: Index, span: tuple[int, int]) -> tuple[Taken, list[str], Any]:
    """Fetch a span; what came, what was asked, and the feed's health."""

    async def work() -> tuple[Taken, list[str], Any]:
        taken = Taken()
        async with serving(index.answer) as server:
            options = {"url": f"{server.url}/doc", "records": 10}
            async with opened("gdelt", options, clock=StepClock()) as feed:
                await feed.fetch(span, taken, lambda done, whole: None)
                return taken, [path for _, path in server.asked], feed.health()

    return asyncio.run(work())


def say(text: str) -> FeedError:
    """What an answer of plain text becomes."""

    async def work() -> FeedError:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=text)

        async with serving(answer) as server, opened("gdelt", {"url": server.url}, clock=StepClock()) as feed:
            with pytest.raises(FeedError) as caught:
                await feed.stream(Taken())
        return caught.value

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("text", "final", "pause_s"),
    [
        ("Your query was too short or too long.", True, 0),
        ("Queries containing OR'd terms must be surrounded by ().", True, 0),
        ("Please limit requests to one every 5 seconds or contact us.", False, 30),
        ("Timespan is too short.\x1b[31m", True, 0),
        ("the database is down, try later", False, 0),
    ],
)
def test_complaints_in_plain_text_are_told(text: str, final: bool, pause_s: float) -> None:
    error = say(text)
    assert (error.final, error.pause_s) == (final, pause_s)
    assert text.split("\x1b")[0] in str(error) and "\x1b" not in str(error)


def test_escapes_that_json_has_not_are_read() -> None:
    index = Index([LAST_NS - HOUR_NS * 50], sloppy=True)
    taken, _, _ = fetch(index, (LAST_NS - HOUR_NS * 60, LAST_NS - HOUR_NS * 40))
    assert [item.text for item in taken.items if isinstance(item, Written)] == ["Bitcoin & co , it\\'s story 0"]


def test_more_articles_at_one_time_than_an_answer_holds_are_counted_not_looped_over() -> None:
    """They can't be asked for; the walk goes on behind them."""
    index = Index([LAST_NS - 50 * HOUR_NS] * 25 + [LAST_NS - 49 * HOUR_NS] * 3)
    taken, asked, health = fetch(index, (LAST_NS - 60 * HOUR_NS, LAST_NS - 40 * HOUR_NS))
    assert len({item.key for item in taken.items if isinstance(item, Written)}) == 13
    assert health["cut"] == 1 and len(asked) == 3


def test_a_fetch_goes_on_where_a_fault_had_ended_it() -> None:
    index = Index([LAST_NS - 60 * HOUR_NS + at * HOUR_NS for at in range(35)])
    span = (LAST_NS - 70 * HOUR_NS, LAST_NS - 10 * HOUR_NS)
    plain, asked, _ = fetch(index, span)

    async def work() -> tuple[Taken, int]:
        taken = Taken()
        async with serving(index.answer) as server:
            async with opened("gdelt", {"url": f"{server.url}/doc", "records": 10}, clock=StepClock()) as feed:

                async def take(batch: Any) -> None:
                    await taken(batch)
                    if len(taken.batches) == 2:
                        server.script.append("500")

                with pytest.raises(FeedError):
                    await feed.fetch(span, take, lambda done, whole: None)
                await feed.fetch(span, take, lambda done, whole: None)
            return taken, len(server.asked)

    taken, count = asyncio.run(work())
    assert [repr(item) for item in taken.items] == [repr(item) for item in plain.items]  # of followers: nan
    assert count == len(asked) + 1


def test_history_younger_than_its_lag_is_known_at_its_arrival() -> None:
    clock_ns = StepClock().ns
    index = Index([LAST_NS - 10 * MINUTE_NS, LAST_NS - 5 * HOUR_NS])
    taken, _, _ = fetch(index, (LAST_NS - 6 * HOUR_NS, clock_ns))
    found = to_facts(CARD, taken.batches, ingested_ns=clock_ns + HOUR_NS)
    rows = sorted(found.facts["posts"].to_pylist(), key=lambda row: row["event_ns"])
    assert not found.rejects and [row["quality"] for row in rows] == ["assumed_lag"] * 2
    assert rows[0]["known_ns"] == rows[0]["event_ns"] + 30 * MINUTE_NS
    assert clock_ns < rows[1]["known_ns"] < clock_ns + SECOND_NS


def test_an_article_dated_ahead_waits_for_its_time() -> None:
    """GDELT dates by the quarter that it works on; a fact can't have happened later than it was known."""

    async def work() -> None:
        clock, taken = StepClock(), Taken()
        index = Index([LAST_NS, clock.ns + 60 * SECOND_NS])
        async with serving(index.answer) as server:
            options = {"url": f"{server.url}/doc", "records": 10}
            async with opened("gdelt", options, clock=clock) as feed, streaming(feed, taken):
                await taken.wait(1)
                begun = len(server.asked)
                async with asyncio.timeout(15):
                    while len(server.asked) < begun + 3:
                        await asyncio.sleep(0.005)
                assert len(taken.items) == 1
                clock.advance(90)
                await taken.wait(2)

    asyncio.run(work())
