"""Gaps as facts: when each source was surely up, when it was noticed that it wasn't, and when it came back."""

import asyncio
from pathlib import Path

import pytest

import bot.record.recorder
import bot.record.runner
from bot.record.coverage import Coverage, patience_of
from bot.record.memory import Heard, read_heard, write_heard
from data.feed import FeedError, Take
from data.times import SECOND_NS
from tests.bot.record_world import Every, Played, markers, play, recorder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(bot.record.runner, "FIRST_S", 0.01)
    monkeypatch.setattr(bot.record.recorder, "LOOK_S", 0.01)


def told(coverage: Coverage) -> list[tuple[str, float, int, int]]:
    """Markers as tuples."""
    return [(one.source, one.value, one.event_ns, one.known_ns) for one in coverage.take()]


def test_a_source_is_up_from_its_first_answer_and_down_from_its_last() -> None:
    """The first answer is no end of a gap that anybody knows of, but the begin of what is covered."""
    coverage = Coverage({"a": ("a", 100)}, {}, 0)
    coverage.fell("a", 5)
    assert told(coverage) == []
    for now in (10, 20, 30):
        coverage.alive("a", now)
    assert told(coverage) == [("a", 1.0, 10, 10)]
    coverage.fell("a", 35)
    coverage.fell("a", 36)
    assert told(coverage) == [("a", 0.0, 30, 35)]
    coverage.alive("a", 50)
    assert told(coverage) == [("a", 1.0, 50, 50)]
    assert [(gap.since_ns, gap.until_ns) for gap in coverage.gaps] == [(30, 50)]


def test_a_source_that_is_silent_for_long_is_down_though_nothing_failed() -> None:
    """Noticed when its patience has run out."""
    coverage = Coverage({"a": ("a", 100)}, {}, 0)
    coverage.alive("a", 10)
    assert coverage.notice(110) == [] and coverage.notice(111) == ["a"] and coverage.notice(500) == []
    assert told(coverage) == [("a", 1.0, 10, 10), ("a", 0.0, 11, 111)]


def test_two_markers_of_a_source_never_share_an_instant() -> None:
    """The later one would be a revision of the other."""
    coverage = Coverage({"a": ("a", 100)}, {"a": Heard(True, 40, 40)}, 40)
    coverage.alive("a", 40)
    coverage.fell("a", 40)
    coverage.alive("a", 40)
    assert [event for _, _, event, _ in told(coverage)] == [41, 42, 43, 44]


def test_a_shared_source_is_up_while_all_of_its_feeds_are() -> None:
    """One that failed makes a gap of the source; it ends when that one is back."""
    coverage = Coverage({"a": ("news", 100), "b": ("news", 100)}, {}, 0)
    coverage.alive("a", 10)
    assert told(coverage) == []
    coverage.alive("b", 20)
    coverage.alive("a", 30)
    coverage.fell("b", 40)
    coverage.alive("a", 50)
    assert told(coverage) == [("news", 1.0, 20, 20), ("news", 0.0, 21, 40)]
    coverage.alive("b", 60)
    assert told(coverage) == [("news", 1.0, 60, 60)]


def test_a_process_that_was_killed_left_a_gap_behind() -> None:
    """Also of a feed that isn't configured any more; a clean end left none open."""
    heard = {"a": Heard(True, 70, 10), "gone": Heard(True, 60, 10), "ended": Heard(False, 50, 50)}
    coverage = Coverage({"a": ("a", 100)}, heard, 90)
    assert told(coverage) == [("a", 0.0, 70, 90), ("gone", 0.0, 60, 90)]
    assert not any(one.up for one in coverage.heard().values())


def test_patience_follows_the_feeds_own_pauses() -> None:
    """A feed that asks every hour isn't silent after two minutes."""
    assert patience_of(Every(), None, 7) == 7
    assert patience_of(Every(every=3600.0), None, 7) == 3 * 3600 * SECOND_NS
    assert patience_of(Every(every=3600.0), 5, 7) == 5


def test_the_markers_of_a_life_are_in_the_store(var: Path) -> None:
    """Up; down since the last sign of life when the line failed; up again; down at the end."""
    alive: list[int] = []

    async def script(feed: Played, take: Take) -> None:
        for _ in range(3):
            feed.tools.alive()
            alive.append(feed.now_ns())
            await asyncio.sleep(0.02)
        if len(alive) == 3:
            raise FeedError("the line is cut")
        await asyncio.Event().wait()

    made = recorder(var, {"social": script})
    play(made, lambda: len(alive) == 6)
    rows = markers(var, "social")
    assert [value for value, _, _ in rows] == [1.0, 0.0, 1.0, 0.0]
    (_, first, _), (_, fell, noticed), (_, again, _), (_, last, ended) = rows
    assert first <= alive[0] < alive[1] < fell <= alive[2] < noticed < again <= alive[3] < alive[4] < last <= alive[5]
    assert ended > alive[5]
    assert not read_heard(var / "feeds")["social"].up
    play(recorder(var, {"social": script}), lambda: len(alive) >= 9)
    assert [value for value, _, _ in markers(var, "social")] == [1.0, 0.0] * 3


def test_silence_is_noticed_while_the_feed_runs(var: Path) -> None:
    """Its state says so, and its next answer ends the gap."""
    states: list[str] = []

    async def script(feed: Played, take: Take) -> None:
        feed.tools.alive()
        while "silent" not in states:
            await asyncio.sleep(0.01)
        feed.tools.alive()
        await asyncio.Event().wait()

    made = recorder(var, {"social": script}, patience_ns=50_000_000)

    def enough() -> bool:
        states.append(made.figures.feeds["social"].state)
        return "silent" in states and states[-1] == "up"

    play(made, enough)
    assert [value for value, _, _ in markers(var, "social")] == [1.0, 0.0, 1.0, 0.0]


def test_the_gap_of_a_killed_process_reaches_back_to_its_last_sign_of_life(var: Path) -> None:
    """Its memory says that it was up; the next start tells since when that isn't sure any more."""

    async def script(feed: Played, take: Take) -> None:
        feed.tools.alive()
        await asyncio.Event().wait()

    (var / "feeds").mkdir(parents=True)
    write_heard(var / "feeds", {"social": Heard(True, 5 * SECOND_NS, SECOND_NS)})
    made = recorder(var, {"social": script})
    play(made, lambda: made.figures.feeds["social"].state == "up")
    rows = markers(var, "social")
    assert [value for value, _, _ in rows] == [0.0, 1.0, 0.0]
    assert rows[0][1] == 5 * SECOND_NS and rows[0][2] > 10**18
