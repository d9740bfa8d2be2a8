"""News: what a site may do to its document, several sites side by side, and what is remembered of them."""

import asyncio
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from data.errors import InputError
from data.facts import to_facts
from data.feed import FeedError, Reading, Spoilt, Written
from data.gaps import POSTS_UP
from data.intake_feed import to_facts as intake
from data.sources.news import CARD
from data.store import Store
from data.times import HOUR_NS, SECOND_NS, parse_time
from tests.sources.news import FIRST_NS, Site, Story, story
from tests.sources.server import serving
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming


def follow(
    site: Site, steps: Sequence[Any], *, memory: dict[str, Any] | None = None, clock: StepClock | None = None
) -> Taken:
    """Follow a site; each step changes it once the change before has been asked for, twice at least."""

    async def work() -> Taken:
        taken = Taken()
        options = {"sites": ["local"], "every": 30.0}
        async with serving(site.answer) as server:
            given = {**options, "urls": {"local": f"{server.url}/rss"}}
            async with (
                opened("news", given, clock=clock or StepClock(), memory=memory) as feed,
                streaming(feed, taken) as task,
            ):
                for step in [*steps, lambda: None]:
                    await asked_again(site, task)
                    step()
                await asked_again(site, task)
        return taken

    return asyncio.run(work())


async def asked_again(site: Site, task: asyncio.Task[None], times: int = 2) -> None:
    wanted = len(site.asked) + times
    async with asyncio.timeout(5):
        while len(site.asked) < wanted:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.002)


def last_memory(taken: Taken) -> dict[str, Any]:
    return dict(next(batch.cursor for batch in reversed(taken.batches) if batch.cursor is not None))


def test_an_edit_is_a_revision_with_the_first_date_and_a_later_arrival(tmp_path: Path) -> None:
    site = Site([story(1, FIRST_NS)])

    def edit() -> None:
        site.stories[0].title = "Coin 1 doesn't move"

    taken = follow(site, [edit])
    first, second = taken.items
    assert isinstance(first, Written) and isinstance(second, Written)
    assert (first.key, first.event_ns) == (second.key, second.event_ns) and first.text != second.text
    store = Store(tmp_path)
    store.append("posts", intake(CARD, taken.batches, ingested_ns=NOW_NS + HOUR_NS).facts["posts"])
    facts = to_facts("posts", store.table("posts"))
    assert [fact.revision for fact in facts] == [0, 1] and {fact.source for fact in facts} == {"local"}
    assert facts[0].known_ns < facts[1].known_ns


def test_other_pictures_and_trackers_are_no_edit() -> None:
    site = Site([story(1, FIRST_NS)])

    def decorate() -> None:
        site.stories[0].summary = '<img src="https://cdn.test/2.jpg"/>' + site.stories[0].summary
        site.stories[0].link = "https://news.test/1?utm_source=mail&page=1&fbclid=x"

    assert len(follow(site, [decorate]).items) == 1


@pytest.mark.parametrize(
    "date",
    [None, "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT", formatdate(NOW_NS / SECOND_NS + 7200)],
    ids=["none", "unreadable", "1970", "ahead"],
)
def test_an_item_that_no_date_can_be_believed_of_is_dated_by_its_arrival_for_good(date: str | None) -> None:
    """Also when it is edited, and after a restart."""
    site, clock = Site([Story("a", "First words", date=date)]), StepClock()

    def edit() -> None:
        site.stories[0].title = "Other words"

    taken = follow(site, [edit], clock=clock)
    clock.advance(60)
    memory = last_memory(taken)
    site.stories[0].title = "Last words"
    again = follow(site, [], memory=memory, clock=clock)
    dates = {item.event_ns for item in [*taken.items, *again.items] if isinstance(item, Written)}
    assert [len(taken.items), len(again.items)] == [2, 1]
    assert dates == {taken.batches[0].arrived_ns}
    assert not intake(CARD, taken.batches, ingested_ns=clock.now_ns()).rejects


def test_an_entry_that_only_says_when_it_changed_keeps_its_first_date() -> None:
    text = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>x</title><entry><id>urn:1</id><title type="html">'
        '&lt;i&gt;Coin&lt;/i&gt; {0}</title><updated>2025-10-0{1}T00:00:00Z</updated><link href="/{1}"/>'
        "<content>Body</content></entry></feed>"
    )
    site = Site(body=text.format("up", 1).encode())

    def edit() -> None:
        site.body = text.format("down", 2).encode()

    first, second = follow(site, [edit]).items
    assert isinstance(first, Written) and isinstance(second, Written)
    assert (first.text, second.text) == ("Coin up\nBody", "Coin down\nBody")
    assert first.event_ns == second.event_ns == parse_time("2025-10-01")


def test_asks_only_for_what_changed_also_after_a_restart() -> None:
    """What another address said of its document isn't said to this one."""

    async def work() -> None:
        site, taken = Site([story(1, FIRST_NS)], headers={"Last-Modified": "Wed, 08 Oct 2025 00:00:00 GMT"}), Taken()
        async with serving(site.answer) as server:
            for path in ("rss", "rss", "feed"):
                options = {"sites": ["local"], "urls": {"local": f"{server.url}/{path}"}}
                memory = last_memory(taken) if taken.batches else None
                async with (
                    opened("news", options, clock=StepClock(), memory=memory) as feed,
                    streaming(feed, taken) as task,
                ):
                    begun = len(site.asked)
                    await asked_again(site, task, times=3)
                first, second = site.asked[begun : begun + 2]
                assert ("if-none-match" in first) == (path == "rss" and begun > 0)
                assert first.get("if-modified-since") == second["if-modified-since"] or "if-none-match" not in first
                assert "if-none-match" in second
                assert feed.health()["unchanged"] >= 1
        assert len(taken.items) == 1

    asyncio.run(work())


def test_a_tag_that_cannot_be_sent_back_is_left_alone() -> None:
    site = Site([story(1, FIRST_NS)], headers={"ETag": "\u00fcber", "Last-Modified": "x" * 600})
    assert len(follow(site, []).items) == 1
    assert all("if-none-match" not in asked and "if-modified-since" not in asked for asked in site.asked)


def test_what_was_not_acknowledged_comes_again() -> None:
    """The tag may not move before the facts are durable: 304 would hide them for good."""

    async def work() -> None:
        site, taken, failed = Site([story(1, FIRST_NS)]), Taken(), asyncio.Event()

        async def full(batch: Any) -> None:
            failed.set()
            raise OSError("disk full")

        async with serving(site.answer) as server:
            options = {"sites": ["local"], "urls": {"local": f"{server.url}/rss"}}
            async with opened("news", options, clock=StepClock()) as feed:
                with pytest.raises(OSError, match="disk full"):
                    await feed.stream(full)
                assert failed.is_set() and "sites" in feed.health()
                async with streaming(feed, taken):
                    await taken.wait(1)

    asyncio.run(work())


def test_one_key_twice_in_a_document_is_one_item() -> None:
    """The upper one counts; else the two would take turns as each other's edits, at every question."""
    site = Site([Story("a", "Below"), Story("a", "Above"), story(2, FIRST_NS)])
    items = follow(site, [lambda: site.stories.append(story(3, FIRST_NS))]).items
    assert [item.text.split("\n")[0] for item in items if isinstance(item, Written)][:1] == ["Above"]
    assert len(items) == 3


def test_items_that_say_nothing_are_set_apart_once() -> None:
    site = Site([Story("", "No key, no link"), Story("a", ""), Story("b", "<img src='x'/>")])
    items = follow(site, [lambda: site.stories.append(story(3, FIRST_NS))]).items
    assert sorted(item.reason for item in items if isinstance(item, Spoilt)) == [
        "neither a key nor a link", "no text", "no text",
    ]  # fmt: skip
    assert len(items) == 4


def test_a_broken_site_leaves_the_others_alone_and_shows_in_health() -> None:
    """It is asked more and more seldom; when it is back its news come; only when no site answers the feed fails."""

    async def work() -> None:
        good, bad, taken, alive = Site([story(1, FIRST_NS)]), Site([story(2, FIRST_NS)], status=500), Taken(), []
        clock = StepClock()

        async def answer(request: web.Request) -> web.Response:
            return await (good if request.path == "/good" else bad).answer(request)

        async with serving(answer) as server:
            options = {"sites": ["good"], "urls": {"good": f"{server.url}/good", "bad": f"{server.url}/bad"}}
            async with opened("news", options, clock=clock, alive=lambda: alive.append(1)) as feed:
                async with streaming(feed, taken) as task:
                    await asked_again(good, task, times=20)
                    assert len(bad.asked) < 8 and len(alive) >= 18
                    assert feed.health()["sites"]["good"] == "ok"
                    assert "HTTP 500" in feed.health()["sites"]["bad"] and feed.health()["failed"] >= 2
                    bad.status = 200
                    await taken.wait(2)
                    await asked_again(good, task)
                    assert feed.health()["sites"]["bad"] == "ok"
                    assert [batch.source for batch in taken.batches] == ["good", "bad"]
                    good.status, bad.status, bad.headers = 429, 429, {"Retry-After": "90"}
                    good.headers = {"Retry-After": "40"}
                    error = await asyncio.wait_for(asyncio.shield(ended(task)), 5)
                assert 39 < error.pause_s <= 40 and not error.final
                clock.advance(100)
                good.status, bad.status, good.headers, bad.headers = 404, 404, {}, {}
                with pytest.raises(FeedError, match="no news site answers") as caught:
                    await feed.stream(taken)
                assert caught.value.final

    asyncio.run(work())


def test_a_site_that_is_down_while_others_answer_is_marked_as_down_and_as_up() -> None:
    """Each marker stands at an instant of its own; an outage of all is left to the caller, and told of again after."""

    async def work() -> None:
        good, bad, taken, clock = Site([story(1, FIRST_NS)]), Site([story(2, FIRST_NS)]), Taken(), StepClock()

        async def answer(request: web.Request) -> web.Response:
            return await (good if request.path == "/good" else bad).answer(request)

        def marks() -> list[tuple[str, float, int]]:
            return [
                (batch.source, item.value, item.event_ns)
                for batch in taken.batches
                for item in batch.items
                if isinstance(item, Reading) and item.name == POSTS_UP
            ]

        async with serving(answer) as server:
            options = {"urls": {"good": f"{server.url}/good", "bad": f"{server.url}/bad"}, "sites": [], "every": 30.0}
            async with opened("news", options, clock=clock) as feed:
                async with streaming(feed, taken) as task:
                    await taken.wait(2)
                    bad.status = 500
                    await asked_again(bad, task)
                    assert not marks()
                    before = clock.ns
                    clock.advance(100)
                    await taken.wait(3)
                    assert [mark[:2] for mark in marks()] == [("bad", 0.0)] and marks()[0][2] < before
                    good.status = 500
                    assert not (await asyncio.wait_for(asyncio.shield(ended(task)), 5)).final
                good.status = 200
                clock.advance(5)
                async with streaming(feed, taken):
                    await taken.wait(4)
                    assert marks()[1][:2] == ("bad", 0.0) and marks()[1][2] > marks()[0][2]
                    bad.status = 200
                    await taken.wait(5)
        assert marks()[2][:2] == ("bad", 1.0) and marks()[2][2] > marks()[1][2]
        found = intake(CARD, taken.batches, ingested_ns=clock.now_ns())
        assert not found.rejects and found.facts["metrics"]["source"].to_pylist() == ["bad"] * 3

    asyncio.run(work())


async def ended(task: asyncio.Task[None]) -> FeedError:
    with pytest.raises(FeedError) as caught:
        await task
    return caught.value


def test_a_site_that_never_ends_its_answer_holds_nobody() -> None:
    async def work() -> None:
        good, taken = Site([story(1, FIRST_NS)]), Taken()

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == "/good":
                return await good.answer(request)
            stream = web.StreamResponse()
            await stream.prepare(request)
            while True:
                await stream.write(b" ")
                await asyncio.sleep(0.02)

        async with serving(answer) as server:
            options = {"sites": [], "urls": {"slow": f"{server.url}/slow", "good": f"{server.url}/good"}}
            async with opened("news", options, clock=StepClock()) as feed, streaming(feed, taken):
                assert len(await taken.wait(1)) == 1

    asyncio.run(work())


def test_sites_that_are_not_known_are_named() -> None:
    async def work(**options: Any) -> None:
        async with opened("news", options, clock=StepClock()):
            pass

    with pytest.raises(InputError, match="Perhaps coindesk"):
        asyncio.run(work(sites=["coindisk"]))
    with pytest.raises(InputError, match="no site to follow"):
        asyncio.run(work(sites=[]))
    with pytest.raises(ValueError, match="is no name"):
        asyncio.run(work(urls={"My Blog": "https://blog.test/"}))
    with pytest.raises(ValueError, match="not a web address"):
        asyncio.run(work(urls={"blog": "file:///etc/passwd"}))
