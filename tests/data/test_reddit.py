"""Reddit through an unmodified asyncpraw: new things, edits, deletions, rate limit, keys, and all faults."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.feed import FeedError, Gone, Item, Spoilt, Written
from data.intake_feed import to_facts
from data.sources.reddit import CARD, RedditOptions
from data.store import Store
from data.times import SECOND_NS
from tests.sources.server import HTTP_FAULTS, PAUSE_S, Server, reply, serving
from tests.sources.subreddits import ID, SECRET, Subreddits
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming

pytest.importorskip("asyncpraw")
pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")  # used by asyncprawcore
SECRETS = {"env:ID": ID, "env:SECRET": SECRET}


def run(work: Callable[[Subreddits, Server], Awaitable[Any]]) -> Any:
    """Do the work beside a Reddit."""

    async def whole() -> Any:
        subreddits = Subreddits()
        async with serving(subreddits.handler) as server:
            return await work(subreddits, server)

    return asyncio.run(whole())


def feed(server: Server, clock: StepClock | None = None, *, memory: Any = None, store: Any = None, **more: Any) -> Any:
    """The source, pointed at the local server."""
    told = {
        "client_id": "env:ID", "client_secret": "env:SECRET", "subreddits": ("Bitcoin",), "every": 2.0,
        "api_url": server.url, "token_url": server.url, **more,
    }  # fmt: skip
    return opened("reddit", told, clock=clock or StepClock(), memory=memory, secrets=SECRETS, store=store)


async def until(true: Callable[[], Any], timeout_s: float = 5.0) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.005)


def told(items: list[Item]) -> list[str]:
    """Texts of the posts among some items."""
    return [item.text for item in items if isinstance(item, Written)]


def test_new_submissions_and_comments_come_once() -> None:
    """Oldest first, with author, address and time; then what comes; they are known when they arrived."""

    async def work(subreddits: Subreddits, server: Server) -> None:
        clock, taken = StepClock(), Taken()
        subreddits.submit("a", "Up", "It goes up.", age_s=50)
        subreddits.submit("b", "A link", age_s=90)
        subreddits.comment("c", "No &amp; <b>never</b>", age_s=70)
        async with feed(server, clock) as reddit, streaming(reddit, taken):
            await taken.wait(3)
            subreddits.comment("d", "later", age_s=5)
            subreddits.submit("e", "[deleted by user]", "[removed]", age_s=5)
            await taken.wait(5)
            assert reddit.health()["left"] == 590 and reddit.health()["watched"] == 4
        assert told(taken.items) == ["A link", "Up\nIt goes up.", "No &amp; <b>never</b>", "later"]
        assert Gone("t3_e") in taken.items
        first = taken.items[1]
        url = "https://www.reddit.com/r/Bitcoin/comments/a/x/"
        assert isinstance(first, Written) and (first.key, first.author, first.url) == ("t3_a", "somebody", url)
        assert first.event_ns == NOW_NS - 50 * SECOND_NS
        facts = to_facts(CARD, taken.batches, ingested_ns=clock.now_ns())
        assert not facts.rejects and facts.gone == {"reddit": ["t3_e"]}
        for row in facts.facts["posts"].to_pylist():
            assert NOW_NS < row["known_ns"] <= clock.ns
        assert taken.batches[-1].cursor == {
            "submissions": NOW_NS - 50 * SECOND_NS, "comments": NOW_NS - 5 * SECOND_NS,
        }  # fmt: skip

    run(work)


def test_it_goes_on_from_its_cursor_page_by_page() -> None:
    """Back to what was stored, a little further, and no more than is allowed at once."""

    async def work(subreddits: Subreddits, server: Server) -> None:
        for at in range(450):
            subreddits.submit(f"s{at}", f"number {at}", age_s=10 * at + 10)
        taken = Taken()
        async with feed(server, memory={"submissions": NOW_NS - 2000 * SECOND_NS}, comments=False) as reddit:
            async with streaming(reddit, taken):
                items = await taken.wait(261)
            assert reddit.health().get("cut", 0) == 0
        assert len(items) == 261  # 200 since then, 60 of the ten minutes before it, and the one that ends it
        assert sum("/r/Bitcoin/new" in path for _, path in server.asked) == 3
        given: dict[str, Any] = {"memory": {"submissions": NOW_NS - 4000 * SECOND_NS}, "comments": False}
        async with feed(server, **given) as reddit, streaming(reddit, Taken()):
            await until(lambda: reddit.health().get("cut"))
        asked = len(server.asked)
        async with feed(server, comments=False) as reddit, streaming(reddit, again := Taken()):
            await again.wait(100)
        assert sum("/r/Bitcoin/new" in path for _, path in server.asked[asked:][:2]) == 1

    run(work)


def test_recent_things_are_looked_at_again(tmp_path: Path) -> None:
    """Edits are revisions, what was deleted, removed, or whose author is gone, is purged; also of earlier runs."""

    async def work(subreddits: Subreddits, server: Server) -> None:
        clock, taken, store = StepClock(), Taken(), Store(tmp_path)
        names = [subreddits.submit(f"s{at}", f"title {at}", "text", age_s=100) for at in range(4)]
        names.append(subreddits.comment("c", "text", age_s=100))
        async with feed(server, clock) as reddit, streaming(reddit, taken):
            await taken.wait(5)
        store.append("posts", to_facts(CARD, taken.batches, ingested_ns=clock.now_ns()).facts["posts"])
        subreddits.things[names[0]] |= {"selftext": "text, mended", "edited": float(NOW_NS // SECOND_NS)}
        subreddits.things[names[1]] |= {"removed_by_category": "moderator"}
        subreddits.things[names[2]] |= {"author": "[deleted]"}
        subreddits.things[names[4]] |= {"body": "[deleted]"}
        again = Taken()
        clock.advance(1000)
        given = {"store": store, "memory": dict(taken.batches[-1].cursor or {})}
        async with feed(server, clock, **given) as reddit, streaming(reddit, again):
            await until(lambda: {Gone(names[1]), Gone(names[2]), Gone(names[4])} <= set(again.items))
            await until(lambda: "title 0\ntext, mended" in told(again.items))
            await until(lambda: reddit.health().get("edited") == 1)
            subreddits.hidden.update(names)  # no listing shows them any more: only looking again can
            subreddits.things[names[3]] |= {"selftext": "[removed]"}
            clock.advance(4000)
            await until(lambda: Gone(names[3]) in again.items)
        facts = to_facts(CARD, again.batches, ingested_ns=clock.now_ns())
        assert store.append("posts", facts.facts["posts"]).revised == 1
        assert store.purge("reddit", facts.gone["reddit"]) == 4

    run(work)


def test_the_rate_limit_is_kept() -> None:
    """Used up, nobody is asked until it opens, and the pause says how long; asyncpraw itself doesn't sleep."""

    async def work(subreddits: Subreddits, server: Server) -> None:
        clock, taken = StepClock(), Taken()
        subreddits.submit("a", "Up")
        subreddits.left = 0
        async with feed(server, clock) as reddit:
            for _ in range(2):
                with pytest.raises(FeedError, match="rate limit") as caught:
                    await reddit.stream(taken)
                assert 290 < caught.value.pause_s <= 300 and not caught.value.final
            assert len(server.asked) == 2  # a token and one listing
            clock.advance(301)
            subreddits.left = 500
            async with streaming(reddit, taken):
                assert told(await taken.wait(1)) == ["Up"]

    run(work)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("fault", HTTP_FAULTS)
def test_a_fault_has_a_name_and_loses_nothing(fault: str, at: int) -> None:
    """At the token, at the first listing, at the second: a FeedError without keys; then all of it is brought."""

    async def work(subreddits: Subreddits, server: Server) -> None:
        taken = Taken()
        subreddits.submit("a", "Up")
        subreddits.comment("b", "No")
        async with feed(server) as reddit:
            source = asyncio.create_task(reddit.stream(taken))
            await until(lambda: len(server.asked) >= at or source.done())
            server.script.append(fault)
            if fault == "slow-loris":
                await until(lambda: not server.script)
                source.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await source
            else:
                with pytest.raises(FeedError) as caught:
                    await asyncio.wait_for(source, 10)
                error = caught.value
                assert not error.final and (error.pause_s >= PAUSE_S) is fault.startswith("429")
                assert SECRET not in str(error) and "-of-reddit" not in str(error)
            async with streaming(reddit, taken):
                await until(lambda: set(told(taken.items)) == {"Up", "No"})

    run(work)


def test_a_token_that_is_too_old_is_asked_for_anew_and_wrong_keys_are_final() -> None:
    """asyncprawcore asks for a new one by itself; a refused application is told once, without its keys."""

    async def work(subreddits: Subreddits, server: Server) -> None:
        taken = Taken()
        subreddits.submit("a", "Up")
        async with feed(server) as reddit, streaming(reddit, taken):
            await taken.wait(1)
            subreddits.tokens = ["another"]
            subreddits.submit("b", "Down", age_s=5)
            await taken.wait(2)
        subreddits.good_id = False
        async with feed(server) as reddit:
            with pytest.raises(FeedError, match="refuses the keys") as caught:
                await reddit.stream(taken)
        assert caught.value.final and SECRET not in str(caught.value) and ID not in str(caught.value)

    run(work)


def test_things_that_are_not_as_they_were_are_set_apart() -> None:
    """Fields that are gone or changed: a reason each; a listing of another shape is an error."""

    async def work(subreddits: Subreddits, server: Server) -> None:
        taken = Taken()
        subreddits.submit("a", "Up")
        subreddits.submit("b", "x", created_utc="today")
        subreddits.submit("c", "x", selftext=None)
        subreddits.comment("d", "x", body=7)
        subreddits.comment("e", "x", created_utc=float("inf") if False else -5.0)
        async with feed(server) as reddit:
            async with streaming(reddit, taken):
                await taken.wait(5)
            assert sorted(item.reason for item in taken.items if isinstance(item, Spoilt)) == [
                "no text", "no text", "no time", "no time",
            ]  # fmt: skip
            for body in (
                {"kind": "Listing", "data": {"posts": []}},
                {"kind": "Wiki", "data": {}},
                {"data": []},
                [1, 2],
            ):
                server.handler = drifted(subreddits, body)
                with pytest.raises(FeedError) as caught:
                    await reddit.stream(taken)
                assert not caught.value.final

    def drifted(subreddits: Subreddits, body: Any) -> Any:
        async def handler(request: Any) -> Any:
            return await subreddits.handler(request) if "token" in request.path else reply(body)

        return handler

    run(work)


@pytest.mark.filterwarnings("ignore:The praw.ini in the current:UserWarning")
def test_settings_lying_about_do_not_lead_the_keys_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncpraw would read a `praw.ini` of the current folder, and the environment."""
    monkeypatch.setenv("praw_oauth_url", "http://127.0.0.1:9")
    monkeypatch.setenv("praw_username", "mallory")
    monkeypatch.setenv("praw_password", "x")
    from asyncpraw.config import Config

    (tmp_path / "praw.ini").write_text("[DEFAULT]\noauth_url = http://127.0.0.1:9\nreddit_url = http://127.0.0.1:9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Config, "CONFIG", None)

    async def work(subreddits: Subreddits, server: Server) -> None:
        subreddits.submit("a", "Up")
        async with feed(server) as reddit, streaming(reddit, taken := Taken()):
            assert told(await taken.wait(1)) == ["Up"]

    run(work)


def test_options_are_checked() -> None:
    """Names of subreddits; no history is promised."""
    with pytest.raises(InputError) as caught:
        RedditOptions(subreddits=("r/Bitcoin",))
    assert caught.value.key == "subreddits"

    async def work(subreddits: Subreddits, server: Server) -> None:
        async with feed(server) as reddit:
            with pytest.raises(InputError, match="record"):
                await reddit.fetch((0, 1), Taken(), lambda part, whole: None)

    run(work)
