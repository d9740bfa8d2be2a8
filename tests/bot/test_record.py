"""The recorder: what it tells feeds is durable is, one feed's faults are its own, and it ends in order."""

import asyncio
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import bot.record.runner
import bot.record.writer
import data.append
from bot.operate.recording import gather_recorder
from bot.record.words import caps
from data.errors import InputError, UnreachableError
from data.feed import FeedError, Gone, Spoilt, Take
from data.spend import PaidOptions
from data.store import Store
from data.times import SECOND_NS
from tests.bot.record_world import Played, keys, play, recorder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(bot.record.runner, "FIRST_S", 0.01)
    monkeypatch.setattr(bot.record.writer, "FIRST_S", 0.01)


async def idle(feed: Played, take: Take) -> None:
    """A source that answers and has nothing new."""
    while True:
        feed.tools.alive()
        await asyncio.sleep(0.01)


def test_what_take_returns_for_is_on_disk_with_its_cursor(var: Path) -> None:
    """Facts first, then the cursor, then the answer; the next process begins with that cursor."""
    seen: list[Any] = []

    async def script(feed: Played, take: Take) -> None:
        seen.append(dict(feed.tools.memory))
        at = len(seen)
        await take(feed.batch(feed.post(f"p{at}"), cursor={"at": at}))
        memory = json.loads((var / "feeds" / "social.json").read_text())
        seen.append((keys(var), memory["cursor"]))
        await idle(feed, take)

    play(recorder(var, {"social": script}), lambda: len(seen) == 2)
    play(recorder(var, {"social": script}), lambda: len(seen) == 4)
    assert seen == [{}, (["p1"], {"at": 1}), {"at": 1}, (["p1", "p3"], {"at": 3})]


def test_all_feeds_are_written_in_one_commit(var: Path) -> None:
    """Ten feeds hand over at the same moment: the store sees one append."""
    ready: list[str] = []

    async def script(feed: Played, take: Take) -> None:
        await take(feed.batch(feed.post(feed.card.name)))
        ready.append(feed.card.name)
        await idle(feed, take)

    play(recorder(var, {f"feed{k}": script for k in range(10)}), lambda: len(ready) == 10)
    assert sorted(keys(var)) == [f"feed{k}" for k in range(10)]
    assert Store(var).manifest("posts").sequence == 1


def test_a_crash_is_the_feeds_own(var: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback and counted; the feed is made anew from its cursor, and others don't notice."""

    async def crashing(feed: Played, take: Take) -> None:
        if feed.call == 1:
            await take(feed.batch(feed.post("before"), cursor={"done": 1}))
            raise KeyError("a field that isn't there")
        assert feed.tools.memory == {"done": 1}
        await take(feed.batch(feed.post("after")))
        await idle(feed, take)

    made = recorder(var, {"broken": crashing, "sound": idle})
    play(made, lambda: made.figures.feeds["broken"].posts == 2)
    broken, sound = made.body()["feeds"]["broken"], made.body()["feeds"]["sound"]
    assert (broken["crashes"], broken["errors"], sound["errors"]) == (1, 1, 0)
    assert "KeyError" in broken["last_error"] and "Traceback" in caplog.text
    assert sorted(keys(var)) == ["after", "before"]


def test_a_source_that_fails_is_asked_again_and_one_that_is_done_for_is_not(var: Path) -> None:
    """FeedError: called again, as long after as the source asked; final: that feed stops, the others go on."""
    calls: dict[str, int] = {}

    async def failing(feed: Played, take: Take) -> None:
        calls[feed.card.name] = feed.call
        if feed.card.name == "busy":
            raise FeedError("asked too often", pause_s=3600.0)
        if feed.card.name == "wrong":
            raise FeedError("the key is wrong", final=True)
        if feed.call < 4:
            raise FeedError("no answer")
        await idle(feed, take)

    made = recorder(var, {"busy": failing, "wrong": failing, "shaky": failing})
    play(made, lambda: made.figures.feeds["shaky"].state == "up" and calls.get("wrong") == 1)
    feeds = made.body()["feeds"]
    assert calls == {"busy": 1, "wrong": 1, "shaky": 4}
    assert feeds["busy"]["again_in_s"] > 3590
    assert (feeds["wrong"]["state"], feeds["wrong"]["last_error"]) == ("stopped", "the key is wrong")
    assert (feeds["shaky"]["errors"], feeds["shaky"]["last_error"]) == (3, "no answer")


def test_pauses_grow_and_differ(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From failure to failure they double, up to a bound; half of each is by chance."""
    naps: list[float] = []
    real = asyncio.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await real(0)

    async def failing(feed: Played, take: Take) -> None:
        if feed.call > 14:
            raise FeedError("enough", final=True)
        raise FeedError("no answer")

    monkeypatch.setattr(bot.record.runner, "FIRST_S", 1.0)
    monkeypatch.setattr("bot.record.runner.asyncio.sleep", nap)
    made = recorder(var, {"down": failing})
    with pytest.raises(UnreachableError, match="every feed has stopped.*down: enough"):
        play(made, lambda: False)
    naps = [pause for pause in naps if pause != 1.0 and pause != 0.005]
    assert len(naps) == 14
    for at, pause in enumerate(naps):
        usual = min(300.0, 2.0**at)
        assert 0.5 * usual <= pause <= 1.5 * usual
    assert len({pause / min(300.0, 2.0**at) for at, pause in enumerate(naps)}) == 14


def test_a_feed_that_hands_over_nonsense_is_refused_alone(var: Path) -> None:
    """A cursor that isn't JSON, a batch that isn't facts: nothing of it is stored, its cursor stays, others are."""

    async def odd(feed: Played, take: Take) -> None:
        if feed.call == 1:
            await take(feed.batch(feed.post("x"), cursor={"at": {1, 2}}))
        if feed.call == 2:
            await take(feed.batch("no item", cursor={"at": 2}))  # type: ignore[arg-type]
        await idle(feed, take)

    async def sound(feed: Played, take: Take) -> None:
        await take(feed.batch(feed.post("good")))
        await idle(feed, take)

    made = recorder(var, {"odd": odd, "sound": sound})
    play(made, lambda: made.figures.feeds["odd"].crashes == 2 and made.figures.feeds["sound"].posts == 1)
    assert keys(var) == ["good"]
    assert not (var / "feeds" / "odd.json").exists()


def test_things_that_are_no_facts_are_set_apart(var: Path) -> None:
    """Spoilt rows are in quarantine with their reason when `take` returns."""
    reasons: list[Any] = []

    async def script(feed: Played, take: Take) -> None:
        await take(feed.batch(Spoilt("{}", "no time"), feed.post("p1"), feed.post("p2", text=" ")))
        reasons.extend(Store(var).rejects("posts")["reason"].to_pylist())
        await idle(feed, take)

    made = recorder(var, {"social": script})
    play(made, lambda: bool(reasons))
    assert sorted(reasons) == ["no text", "no time"] and made.body()["feeds"]["social"]["spoilt"] == 2


def test_deleted_posts_lose_their_text(var: Path) -> None:
    """The wish is durable with the cursor, and done in time; the key stays, so that the post doesn't come back."""

    async def script(feed: Played, take: Take) -> None:
        await take(feed.batch(feed.post("p1", "secret words"), feed.post("p2")))
        await take(feed.batch(Gone("p1"), Gone("never seen"), cursor={"at": 2}))
        await idle(feed, take)

    made = recorder(var, {"social": script})
    play(made, lambda: made.figures.feeds["social"].gone == 2)
    rows = {row["key"]: row["text"] for row in Store(var).table("posts").to_pylist()}
    assert rows == {"p1": "", "p2": "bitcoin is up"}
    assert json.loads((var / "feeds" / "social.json").read_text())["gone"] == {}


def test_what_was_written_late_counts_as_known_when_it_was_written(var: Path) -> None:
    """Nobody could have used it before."""
    times: list[int] = []

    async def script(feed: Played, take: Take) -> None:
        times.append(feed.now_ns())
        await take(feed.batch(feed.post("late"), ago_ns=3 * SECOND_NS))
        await take(feed.batch(feed.post("timely"), ago_ns=SECOND_NS // 2))
        times.append(feed.now_ns())
        await idle(feed, take)

    made = recorder(var, {"social": script})
    play(made, lambda: len(times) == 2)
    known = {row["key"]: row["known_ns"] for row in Store(var).table("posts").to_pylist()}
    assert times[0] <= known["late"] <= times[1] and known["timely"] < times[1] - SECOND_NS // 2
    assert made.body()["feeds"]["social"]["late_writes"] == 1


@pytest.fixture
def held_store(var: Path) -> Iterator[int]:
    """Another writer has the posts: no commit goes through until it lets go."""
    folder = var / "facts" / "posts"
    folder.mkdir(parents=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield handle
    os.close(handle)


def test_a_feed_is_not_read_on_while_its_queue_is_full(var: Path, held_store: int) -> None:
    """Ten items may wait, not one more, however much the source has; afterwards all of it is there."""
    handed: list[int] = []

    async def flood(feed: Played, take: Take) -> None:
        async def one(at: int) -> None:
            await take(feed.batch(*(feed.post(f"p{at}-{k}") for k in range(4))))
            handed.append(at)

        feed.tools.alive()
        await asyncio.gather(*(one(at) for at in range(12)))
        await idle(feed, take)

    made = recorder(var, {"flood": flood}, queue=10)
    looks: list[int] = []

    def enough() -> bool:
        looks.append(made.writer.waiting("flood"))
        if len(looks) == 60:
            assert handed == [] and looks[-1] == 8
            fcntl.flock(held_store, fcntl.LOCK_UN)
        return len(handed) == 12

    play(made, enough)
    assert max(looks) <= 10 and handed == list(range(12)) and len(keys(var)) == 48


def test_a_full_disk_is_waited_for_and_loses_nothing(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged while it is full; it is told, tried again, and stored when there is room."""
    real, tries, troubles = data.append.write_table, [0], []

    def full(*given: Any, **more: Any) -> None:
        tries[0] += 1
        if 2 <= tries[0] < 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*given, **more)

    async def script(feed: Played, take: Take) -> None:
        for at in range(1, 4):
            await take(feed.batch(feed.post(f"p{at}"), cursor={"at": at}))
            assert keys(var) == [f"p{k}" for k in range(1, at + 1)]
        await idle(feed, take)

    made = recorder(var, {"social": script})
    monkeypatch.setattr(data.append, "write_table", full)

    def enough() -> bool:
        troubles.append(made.body()["writer"]["trouble"])
        return made.figures.feeds["social"].posts == 3

    play(made, enough)
    assert any("the disk is full" in text for text in troubles) and made.writer.trouble == ""
    assert keys(var) == ["p1", "p2", "p3"]


def test_a_disk_that_fails_for_good_ends_the_recording_by_name(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was acknowledged stays; what wasn't is not, and its cursor didn't move."""
    real, refused = data.append.write_table, []

    def failing(path: Path, *given: Any, **more: Any) -> None:
        if path.parent.name == "posts" and "p1" in keys(var):
            raise OSError(errno.EROFS, "Read-only file system")
        real(path, *given, **more)

    async def script(feed: Played, take: Take) -> None:
        await take(feed.batch(feed.post("p1"), cursor={"at": 1}))
        try:
            await take(feed.batch(feed.post("p2"), cursor={"at": 2}))
        except InputError as error:
            refused.append(str(error))
            raise

    made = recorder(var, {"social": script})
    monkeypatch.setattr(data.append, "write_table", failing)
    with pytest.raises(InputError, match="can't be written"):
        play(made, lambda: False)
    assert refused and keys(var) == ["p1"]
    assert json.loads((var / "feeds" / "social.json").read_text())["cursor"] == {"at": 1}


def test_a_spent_budget_stops_the_feed_until_the_day_is_over_and_says_so(var: Path) -> None:
    """Also after a restart; `status` tells, of a recorder that has ended as well. Other feeds go on."""

    async def paid(feed: Played, take: Take) -> None:
        assert feed.tools.purse is not None
        for at in range(10):
            feed.tools.purse.spend(1, feed.now_ns())
            await take(feed.batch(feed.post(f"p{at}")))

    options = PaidOptions(cost=Decimal(1), cap_day=Decimal(3), cap_month=Decimal(9))
    for _ in range(2):
        made = recorder(var, {"paid": paid, "free": idle}, options=options)
        states = made.figures.feeds
        play(made, lambda states=states: states["paid"].state == "stopped" and states["free"].state == "up")
        assert sorted(keys(var)) == ["p0", "p1", "p2"]
        body = made.body()
        assert "cap of 3 USD a day" in body["feeds"]["paid"]["last_error"] and body["feeds"]["paid"]["again_in_s"] > 0
        (line,) = [line for line in caps(body) if "paid" in line]
        assert "3 USD of 3 today" in line and "STOPPED: the cap of 3 USD a day is reached" in line
    ended = gather_recorder(var)
    assert ended is not None and not ended["running"]
    assert any("STOPPED: the cap of 3 USD a day" in line for line in caps(ended))


def test_a_damaged_memory_is_named(var: Path) -> None:
    """Half a file: which one, and what to do."""
    (var / "feeds").mkdir(parents=True)
    (var / "feeds" / "social.json").write_text('{"format": 1, "cur')
    with pytest.raises(InputError, match=r"social\.json.*damaged.*Remove it"):
        recorder(var, {"social": idle})
