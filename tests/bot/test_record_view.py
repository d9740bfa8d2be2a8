"""What a recorder shows of itself, to people and to programs."""

import asyncio
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import bot.record.view
from bot.record.recorder import Recorder
from bot.record.view import page, show_json, show_lines
from bot.record.words import scoring_line, writer_line
from data.feed import FeedError, Take
from tests.bot.record_world import Played, recorder


async def busy(feed: Played, take: Take) -> None:
    """Three posts, then silence."""
    await take(feed.batch(*(feed.post(f"p{at}") for at in range(3))))
    await asyncio.Event().wait()


async def broken(feed: Played, take: Take) -> None:
    """A key that is wrong, in a text with a tag of the console's in it."""
    raise FeedError("the key is wrong [bold]", final=True)


def shown(made: Recorder, show: Any) -> None:
    """Record until both feeds have come to their end, and be looked at meanwhile."""

    async def main() -> None:
        stop = asyncio.Event()
        looking = asyncio.create_task(show(made))
        task = asyncio.create_task(made.run(stop))
        async with asyncio.timeout(20):
            while made.figures.feeds["busy"].posts < 3 or made.figures.feeds["broken"].state != "stopped":
                await asyncio.sleep(0.01)
        stop.set()
        await task
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)

    asyncio.run(main())


def test_json_lines_and_plain_lines_hold_the_figures(
    var: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line is one object; the last one is written when all is stored."""
    monkeypatch.setattr(bot.record.view, "JSON_S", 0.001)
    shown(recorder(var, {"busy": busy, "broken": broken}), show_json)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    last = lines[-1]
    assert len(lines) > 1 and last["ending"] and last["writer"]["added"] >= 3
    assert (last["feeds"]["busy"]["posts"], last["feeds"]["broken"]["errors"]) == (3, 1)
    assert 0.9 < last["feeds"]["busy"]["lag_s"] < 20 and last["gaps"][-1]["until_ns"] == 0
    shown(recorder(var, {"busy": busy, "broken": broken}), show_lines)
    (line,) = capsys.readouterr().out.splitlines()
    assert "2 feeds" in line and "busy up 3" in line and "broken stopped 0 (1 errors)" in line


def test_the_page_shows_every_feed_and_interprets_nothing(var: Path) -> None:
    """An error's text is text, whatever a source wrote into it; a narrow terminal cuts it, and no figure."""
    made = recorder(var, {"busy": busy, "broken": broken})
    pages: list[str] = []

    async def draw(made: Recorder) -> None:
        out = StringIO()
        Console(file=out, width=120).print(page(made.body()))
        pages.append(out.getvalue())

    async def main() -> None:
        await draw(made)

    shown(made, draw)
    asyncio.run(main())
    text = pages[-1]
    assert "the key is wrong [bold]" in text and "stopped" in text
    assert "written      " in text and "gap          busy" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_a_disk_that_refuses_and_a_late_scorer_are_said() -> None:
    """In words, with the figures that matter."""
    body: dict[str, Any] = {"writer": {"trouble": "the disk is full", "retries": 3}, "feeds": {}}
    assert writer_line(body) == "NOT RECORDING, try 3: the disk is full"
    told = {"model": "vader", "posts_done": 1200, "posts_waiting": 34, "delay_ms": {"median": 80.0, "p95": 2500.0}}
    line = scoring_line({"scoring": told})
    assert "1,200 posts done, 34 wait, oldest first; from arrival to score 80ms, 95% within 2.5s" in line
    assert "another process" in scoring_line({"scoring": {**told, "waits_for": "another process scores"}})
