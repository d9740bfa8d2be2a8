"""X's filtered stream through unmodified tweepy: what comes, which rules are kept, and how each end of it is named."""

import asyncio
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.feed import Batch, FeedError, Spoilt, Written
from data.intake_feed import to_facts
from data.sources import find_source
from data.times import SECOND_NS, parse_time
from data.x_rules import tag_of
from tests.sources.world import Taken, streaming
from tests.sources.x_feed import BAD_ANSWERS, CHEAP, end_of, following, memory_of, purse_in, texts
from tests.sources.x_world import TOKEN, XWorld, raw, refuse


def test_posts_come_with_their_author_and_are_known_when_they_came(tmp_path: Path) -> None:
    async def work() -> None:
        world, taken, beats = XWorld(), Taken(), []
        row = world.post("$BTC \u202eup &amp; away", author="7")
        note = world.post("cut of", note_tweet={"text": "the whole of a long post"})
        world.send(row, note)
        before = world.clock.ns
        async with following(world, tmp_path, alive=lambda: beats.append(1)) as feed, streaming(feed, taken):
            first, second = await taken.wait(2, timeout_s=20)
            while len(beats) < 8:
                await asyncio.sleep(0.01)
            assert feed.health()["state"] == "following"
        assert isinstance(first, Written) and isinstance(second, Written)
        assert (first.key, first.author, first.followers) == (row["id"], "user_7", 1500.0)
        assert first.event_ns == parse_time(row["created_at"])
        assert first.url == f"https://x.com/user_7/status/{row['id']}"
        assert second.text == "the whole of a long post"
        found = to_facts(find_source("x").card, taken.batches, ingested_ns=world.clock.now_ns()).facts["posts"]
        assert set(found["quality"].to_pylist()) == {"recorded"}
        assert all(before < known <= world.clock.ns for known in found["known_ns"].to_pylist())

    asyncio.run(work())


def test_rules_are_made_ours_and_those_of_others_stay(tmp_path: Path) -> None:
    """A stale rule of ours goes, a foreign one stays, and a second start changes nothing."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        foreign = {"id": "1", "value": "cats", "tag": "somebody"}
        bare = {"id": "2", "value": "dogs"}
        stale = {"id": "3", "value": "(old)", "tag": tag_of("(old)")}
        world.rules = [foreign, bare, stale]
        world.send("close", "close")
        options: dict[str, Any] = {"cashtags": ("BTC", "eth"), "accounts": ("@Alice",), "language": "en"}
        async with following(world, tmp_path, **options) as feed:
            await end_of(feed, taken)
            ours = [rule for rule in world.rules if rule not in (foreign, bare)]
            assert world.rules[:2] == [foreign, bare] and stale not in world.rules
            values = {rule["value"] for rule in ours}
            assert values == {'($BTC OR $ETH OR "bitcoin") lang:en -is:retweet', "(from:alice) -is:retweet"}
            assert {rule["tag"] for rule in ours} == {tag_of(value) for value in values}
            await end_of(feed, taken)
            posted = [path for path, _ in world.asked if path.endswith("/rules")]
            assert len(posted) == 4, "get, add, delete; then get"
            assert (feed.health()["rules_added"], feed.health()["rules_deleted"]) == (2, 1)

    asyncio.run(work())


def test_posts_of_other_peoples_rules_are_paid_and_not_taken(tmp_path: Path) -> None:
    async def work() -> None:
        world, taken, purse = XWorld(), Taken(), purse_in(tmp_path)
        theirs, both = world.post("cats"), world.post("bitcoin cats")
        async with following(world, tmp_path, purse=purse) as feed, streaming(feed, taken):
            while not world.rules:
                await asyncio.sleep(0.01)
            world.send(world.line_of(theirs, ["somebody"]), world.line_of(both, ["somebody", world.tag()]))
            await taken.wait(1, timeout_s=20)
            assert texts(taken) == ["bitcoin cats"] and feed.health()["foreign"] == 1
        assert purse.spent().today == 2 * CHEAP

    asyncio.run(work())


ENDS: dict[str, tuple[Any, str]] = {
    "clean close": ("close", "closed"),
    "abort": ("abort", "broke"),
    "half a line": (b'{"data": {"id": "12', "silence|sign of life"),
    "garbage": (b"<html>Just a moment</html>\r\n", "page for people"),
    "no object": (b"[1, 2]\r\n", "no object"),
    "deep": (b"[" * 60_000 + b"\r\n", "JSON"),
    "endless line": (b"x" * 2_000_000, "X's stream"),
    "not a post": (b'{"hello": 1}\r\n', "no post"),
    "word of X": (
        b'{"errors": [{"title": "operational-disconnect", "detail": "upstream", "type": "t"}]}\r\n',
        "operational-disconnect",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_of_the_stream_is_one_error_and_loses_nothing(tmp_path: Path, end: str) -> None:
    """One connection a call; what came before the end is handed over, what came after it is brought by the next one."""

    async def work() -> None:
        world, taken = XWorld(keep_alive_s=10.0 if end == "half a line" else 0.02), Taken()
        what, word = ENDS[end]
        world.send(world.post("before"), what)
        async with following(world, tmp_path, silence=1.0 if end == "half a line" else 30) as feed:
            error = await end_of(feed, taken)
            assert isinstance(error, FeedError) and not error.final, repr(error)
            assert any(part in str(error) for part in word.split("|")), error
            assert world.streams == 1 and texts(taken) == ["before"]
            missed = world.post("missed")
            world.clock.advance(60)
            while not world.lines.empty():
                world.lines.get_nowait()
            world.keep_alive_s = 0.02
            async with streaming(feed, taken):
                world.send(world.post("after"))
                await taken.wait(3, timeout_s=20)
            assert sorted(texts(taken)) == ["after", "before", "missed"]
            late = [
                batch for batch in taken.batches for item in batch.items if getattr(item, "key", "") == missed["id"]
            ]
            assert not late[0].history and late[0].arrived_ns > parse_time(missed["created_at"]) + 60 * SECOND_NS

    asyncio.run(work())


REFUSALS: dict[str, tuple[Any, float, bool]] = {
    "reset": (refuse(429, {"x-rate-limit-reset": "RESET"}), 300.0, False),
    "retry-after": (refuse(429, {"Retry-After": "7"}), 7.0, False),
    "bare 429": (refuse(429, page=True), 60.0, False),
    "503": (refuse(503, page=True), 0.0, False),
    "500": (refuse(500), 0.0, False),
    "wrong key": (refuse(401), 0.0, True),
    "no credits": (refuse(402, body={"title": "CreditsDepleted", "detail": "buy some"}), 0.0, True),
    "not in the plan": (refuse(403), 0.0, True),
    "a proxy's page": (refuse(403, page=True), 0.0, False),
    "redirect": (refuse(302, {"Location": "http://127.0.0.1:9/"}), 0.0, False),
}


@pytest.mark.parametrize("request_no", [0, 1, 2], ids=["rules", "added", "stream"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_say_how_long_to_wait(tmp_path: Path, refusal: str, request_no: int) -> None:
    async def work() -> None:
        world, taken, purse = XWorld(), Taken(), purse_in(tmp_path)
        fault, pause_s, final = REFUSALS[refusal]
        if refusal == "reset":
            fault = refuse(429, {"x-rate-limit-reset": str(world.clock.ns // SECOND_NS + 300)})

        async with following(world, tmp_path, purse=purse) as feed:
            healthy = [world._rules, world._rules][:request_no]
            world.faults.extend([*healthy, fault])
            error = await end_of(feed, taken)
        assert isinstance(error, FeedError)
        assert error.pause_s == pytest.approx(pause_s, abs=1.1) and error.final is final
        assert TOKEN not in str(error) and purse.spent().today == 0

    asyncio.run(work())


def test_a_rule_that_x_refuses_is_final(tmp_path: Path) -> None:
    async def work() -> None:
        world = XWorld()
        async with following(world, tmp_path) as feed:
            world.faults.extend([world._rules, refuse(400)])
            error = await end_of(feed, Taken())
            assert isinstance(error, FeedError) and error.final
            bad = {"meta": {"summary": {}}, "errors": [{"title": "UnprocessableEntity", "detail": "no operator"}]}
            world.faults.extend([world._rules, refuse(200, body=bad)])
            error = await end_of(feed, Taken())
            assert isinstance(error, FeedError) and error.final and "no operator" in str(error)

    asyncio.run(work())


@pytest.mark.parametrize("content", BAD_ANSWERS)
def test_rules_that_cannot_be_read_are_named(tmp_path: Path, content: bytes) -> None:
    async def work() -> None:
        world = XWorld()
        async with following(world, tmp_path) as feed:
            world.faults.append(raw(content))
            error = await end_of(feed, Taken())
            assert isinstance(error, FeedError) and not error.final
            world.send("close")
            assert "closed" in str(await end_of(feed, Taken()))

    asyncio.run(work())


def test_silence_and_single_bytes_are_no_life(tmp_path: Path) -> None:
    """Blank lines are; a byte now and then that makes no line isn't."""

    async def work() -> None:
        for fault in (raw(b"", then="slow"), None):
            world = XWorld(keep_alive_s=60.0)
            async with following(world, tmp_path, silence=0.2) as feed:
                if fault is not None:
                    world.faults.extend([world._rules, world._rules, fault])
                error = await end_of(feed, Taken())
                assert isinstance(error, FeedError) and "no sign of life for 0.2 s" in str(error)

    asyncio.run(work())


def test_what_the_taker_raises_comes_out(tmp_path: Path) -> None:
    async def work() -> None:
        world = XWorld()
        world.send(world.post("one"))

        async def broken(batch: Any) -> None:
            if batch.items:
                raise RuntimeError("the disk is gone")

        async with following(world, tmp_path) as feed:
            with pytest.raises(RuntimeError, match="the disk is gone"):
                async with asyncio.timeout(20):
                    await feed.stream(broken)
            assert feed.health()["state"] == "idle" and "newest" not in feed._desk.cursor

    asyncio.run(work())


def test_a_handler_that_raises_is_not_a_line_in_the_log(tmp_path: Path) -> None:
    """Left alone tweepy would end the stream and only log it."""

    async def work() -> None:
        world = XWorld()
        world.send(world.post("one"))

        def broken() -> None:
            if world.streams:
                raise ZeroDivisionError("a fault of ours")

        async with following(world, tmp_path, alive=broken) as feed:
            error = await end_of(feed, Taken())
        assert isinstance(error, ZeroDivisionError)

    asyncio.run(work())


def test_connects_are_counted_across_restarts(tmp_path: Path) -> None:
    """Forty in fifteen minutes of the fifty that X allows; the count is in the cursor before the line is open."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        async with following(world, tmp_path, refill=False) as feed:
            for _ in range(3):
                world.send("close")
                await end_of(feed, taken)
        memory = memory_of(taken)
        assert len(memory["connects"]) == 3
        memory["connects"] *= 14
        async with following(world, tmp_path, memory=memory, refill=False) as feed:
            error = await end_of(feed, Taken())
            assert isinstance(error, FeedError) and not error.final and "42 times" in str(error)
            assert 890 < error.pause_s < 903 and world.streams == 3
            world.clock.advance(error.pause_s)
            world.send("close")
            await end_of(feed, Taken())
            assert world.streams == 4

    asyncio.run(work())


def test_a_repetition_comes_once_also_beside_what_it_repeats(tmp_path: Path) -> None:
    """Lines that came while the last batch was being taken are one batch."""

    class Slow(Taken):
        """Takes nothing further until it may."""

        may = asyncio.Event()

        async def __call__(self, batch: Batch) -> None:
            await super().__call__(batch)
            if batch.items:
                await self.may.wait()

    async def work() -> None:
        world, taken = XWorld(), Slow()
        first = world.post("buy")
        async with following(world, tmp_path, refill=False) as feed, streaming(feed, taken):
            world.send(world.post("before"))
            await taken.wait(1, timeout_s=20)
            world.send(first, first, world.post("after"))
            async with asyncio.timeout(20):
                while feed.health()["posts"] < 4:
                    await asyncio.sleep(0.01)
            taken.may.set()
            await taken.wait(3, timeout_s=20)
        assert [[item.text for item in batch.items] for batch in taken.batches if batch.items] == [  # type: ignore[union-attr]
            ["before"], ["buy", "after"],
        ]  # fmt: skip

    asyncio.run(work())


def test_edits_are_revisions_and_repetitions_come_once(tmp_path: Path) -> None:
    """The newest text has the first version's key; order doesn't matter; what can't be read is set apart."""

    async def work() -> None:
        world, taken = XWorld(), Taken()
        first, older = world.post("buy"), world.post("older")
        edited = world.edit(first, "sell")
        drifted = {**world.post("x"), "created_at": 17}
        world.send(edited | {"edit_history_post_ids": edited["edit_history_tweet_ids"]}, older, edited, first, drifted)
        async with following(world, tmp_path) as feed, streaming(feed, taken):
            await taken.wait(4, timeout_s=20)
        assert [item.key for item in taken.items[:3]] == [first["id"], older["id"], first["id"]]  # type: ignore[union-attr]
        assert texts(taken) == ["sell", "older", "buy"]
        [spoilt] = [item for item in taken.items if isinstance(item, Spoilt)]
        assert "created_at" in spoilt.reason

    asyncio.run(work())


def test_drifted_users_leave_a_post_without_author(tmp_path: Path) -> None:
    async def work() -> None:
        world, taken = XWorld(), Taken()
        row = world.post("lonely", author="9")
        async with following(world, tmp_path) as feed, streaming(feed, taken):
            while not world.rules:
                await asyncio.sleep(0.01)
            world.send(world.line_of(row).replace(b"followers_count", b"friends").replace(b'"users"', b'"accounts"'))
            [post] = await taken.wait(1, timeout_s=20)
        assert isinstance(post, Written)
        assert post.author == "" and math.isnan(post.followers) and post.url.startswith("https://x.com/i/status/")

    asyncio.run(work())


def test_the_key_is_in_no_log_and_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        world = XWorld()
        world.send(world.post("one"), "close")
        async with following(world, tmp_path) as feed:
            error = await end_of(feed, Taken())
        assert TOKEN not in repr(error) and TOKEN not in str(feed.health())

    caplog.set_level(logging.DEBUG)
    asyncio.run(work())
    assert "api.twitter.com" in caplog.text, "tweepy writes its headers to the log"
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"key": ""}, "key"), ({"accounts": ("a b",)}, "can't hold"), ({"names": ('say "it"',)}, "can't hold"),
        ({"names": (), "coins": ()}, "what to follow"), ({"names": ("x" * 100,), "rule_chars": 64}, "longer than one"),
    ],
)  # fmt: skip
def test_options_that_cannot_work_are_named(tmp_path: Path, options: dict[str, Any], word: str) -> None:
    async def work() -> None:
        with pytest.raises(InputError, match=word):
            async with following(XWorld(), tmp_path, **options):
                pass

    asyncio.run(work())
