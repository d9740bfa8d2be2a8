"""X's bill: no stream, search or look-up costs more than the caps allow, and the purse never says too little."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from data.errors import InputError
from data.feed import FeedError
from data.sources import find_source
from data.spend import purse_of
from data.times import DAY_NS, HOUR_NS
from tests.sources.world import Taken, opened, streaming
from tests.sources.x_feed import CHEAP, end_of, following, memory_of, purse_in, texts
from tests.sources.x_world import TOKEN, XWorld, raw, refuse


async def pour(world: XWorld, count: int) -> None:
    """Posts at X's own pace of some hundred a second."""
    for number in range(count):
        world.send(world.post(f"post {number}"))
        await asyncio.sleep(0.002)


def test_a_stream_that_would_cost_more_than_the_cap_stops_at_it(tmp_path: Path) -> None:
    """What X has billed is within the cap; a restart buys nothing; `spent` says it; the next day goes on."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        async with following(world, tmp_path, purse=purse_in(tmp_path, "0.100"), refill=False) as feed:
            flood = asyncio.create_task(pour(world, 300))
            error = await end_of(feed, taken)
            flood.cancel()
            assert isinstance(error, FeedError) and error.final and "cap of 0.100 USD a day" in str(error)
            assert 0 < error.pause_s <= DAY_NS / 10**9
        got, billed = len(texts(taken)), world.billed["stream"]
        assert 75 <= got <= billed <= 100, "20 of 100 are kept for posts that are on their way"
        books = purse_in(tmp_path, "0.100").spent()
        assert books.today == Decimal("0.100") and books.stopped_ns and "cap of 0.100 USD a day" in books.why
        streams, world.lines = world.streams, asyncio.Queue()
        given = {"purse": purse_in(tmp_path, "0.100"), "memory": memory_of(taken), "refill": False}
        async with following(world, tmp_path, **given) as feed:
            again = await end_of(feed, Taken())
            assert isinstance(again, FeedError) and again.final and world.streams == streams
            world.clock.advance(error.pause_s + 60)
            more = Taken()
            async with streaming(feed, more):
                world.send(world.post("the next day"))
                async with asyncio.timeout(20):
                    while "the next day" not in texts(more):
                        await asyncio.sleep(0.01)
        assert purse_in(tmp_path).spent().stopped_ns == 0

    asyncio.run(work())


def test_what_is_booked_is_what_x_has_sent(tmp_path: Path) -> None:
    """After an orderly end the books say exactly the bill: what was booked ahead is given back."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        async with following(world, tmp_path) as feed:
            world.send(*(world.post(f"{number}") for number in range(30)), "close")
            await end_of(feed, taken)
        assert len(texts(taken)) == 30
        assert purse_in(tmp_path).spent().today == 30 * CHEAP

    asyncio.run(work())


def test_an_author_is_counted_unless_he_is_not_asked_for(tmp_path: Path) -> None:
    async def work() -> None:
        for authors, each in ((True, Decimal("0.003")), (False, Decimal("0.001"))):
            world, folder = XWorld(), tmp_path / str(authors)
            world.send(world.post("one"), "close")
            async with following(world, folder, author_cost=Decimal("0.002"), authors=authors) as feed:
                assert feed.card.cost == each
                await end_of(feed, Taken())
            [query] = [query for path, query in world.asked if path == "/2/tweets/search/stream"]
            assert ("expansions" in query) is authors and "created_at" in query["tweet.fields"]
            assert purse_in(folder).spent().today == each

    asyncio.run(work())


def test_the_list_price_and_the_caps_are_the_defaults(tmp_path: Path) -> None:
    """A post 0.005 and its author 0.010 USD; 5 USD a day, 50 a month; counts come out of the same purse."""

    async def work() -> None:
        options = find_source("x").options.model_validate({"key": "env:X"})
        purse = purse_of(options, "x", tmp_path)
        assert purse is not None and (purse.spent().cap_day, purse.spent().cap_month) == (5, 50)
        secrets = {"env:X": TOKEN}
        async with opened("x", {"key": "env:X"}, clock=XWorld().clock, secrets=secrets, purse=purse) as feed:
            assert feed.card.cost == find_source("x").card.cost == Decimal("0.015")

    asyncio.run(work())


def test_without_a_purse_nothing_is_bought(tmp_path: Path) -> None:
    from data.feed import Tools
    from tests.sources.world import StepClock

    source = find_source("x")
    tools = Tools(StepClock(), None, None, coins=("BTC",), secret=lambda reference: TOKEN)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no purse"):
        source.build(source.options.model_validate({"key": "env:X"}), tools)


def test_a_refill_is_paid_from_the_same_purse_and_stops_at_the_cap(tmp_path: Path) -> None:
    """Pages are booked before they are asked for; what the cap left out is asked for on the next day."""

    async def work() -> None:
        world, taken = XWorld(page=25), Taken()
        async with following(world, tmp_path, purse=purse_in(tmp_path, "0.100")) as feed:
            world.send(world.post("seen"), "close")
            await end_of(feed, taken)
            world.clock.advance(60)
            for number in range(200):
                world.post(f"missed {number}")
            world.clock.advance(60)
            error = await end_of(feed, taken)
            assert isinstance(error, FeedError) and error.final and "cap of" in str(error)
            assert world.billed["search"] >= 40 and sum(world.billed.values()) <= 100
            assert memory_of(taken)["gaps"], "the gap is still owed"
        assert purse_in(tmp_path).spent().today <= Decimal("0.100")
        world.clock.advance(86_400)
        async with following(world, tmp_path, memory=memory_of(taken)) as feed, streaming(feed, taken):
            async with asyncio.timeout(20):
                while len(set(texts(taken))) < 201:
                    await asyncio.sleep(0.01)
        assert sum(world.billed.values()) * CHEAP <= purse_in(tmp_path).spent().this_month

    asyncio.run(work())


def test_failures_cost_what_they_may_have_cost_and_not_more(tmp_path: Path) -> None:
    """A refusal costs nothing; an answer that breaks off may have been billed, but the same one only once."""

    async def work() -> None:
        world = XWorld()
        span = (world.clock.ns - 2 * HOUR_NS, world.clock.ns - HOUR_NS)
        async with following(world, tmp_path, names=("bitcoin",)) as feed:
            for fault in (refuse(500), refuse(429), refuse(503, page=True)):
                world.faults.append(fault)
                with pytest.raises(FeedError):
                    await feed.fetch(span, Taken(), lambda part, whole: None)
            assert purse_in(tmp_path).spent().today == 0
            for _ in range(4):
                world.faults.append(raw(b'{"data": [', then="abort"))
                with pytest.raises(FeedError):
                    await feed.fetch(span, Taken(), lambda part, whole: None)
            assert purse_in(tmp_path).spent().today == 100 * CHEAP
            await feed.fetch(span, Taken(), lambda part, whole: None)
            assert purse_in(tmp_path).spent().today == 100 * CHEAP
        async with following(world, tmp_path, url="http://127.0.0.1:9") as feed:
            with pytest.raises(FeedError):
                await feed.fetch(span, Taken(), lambda part, whole: None)
        assert purse_in(tmp_path).spent().today == 100 * CHEAP

    asyncio.run(work())


def test_books_that_are_damaged_stop_the_feed_before_anything_is_bought(tmp_path: Path) -> None:
    async def work() -> None:
        world, purse = XWorld(), purse_in(tmp_path)
        purse.spend(1, world.clock.ns)
        (tmp_path / "purse" / "books.json").write_text("{")
        async with following(world, tmp_path, purse=purse_in(tmp_path)) as feed:
            error = await end_of(feed, Taken())
        assert isinstance(error, FeedError) and error.final and "damaged" in str(error)
        assert not world.asked

    asyncio.run(work())
