"""Scoring beside the bot: in a process of its own that is watched, and whose failures cost scores and nothing else."""

import asyncio
import random
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.config import Config, load_config
from bot.feeds.score_worker import Counting, Told, _alone
from bot.feeds.scoring import Scoring
from data.facts import fact_table
from data.store import Store
from data.times import SECOND_NS


class Clock:
    """The system's."""

    def now_ns(self) -> int:
        """See `bot.ports.Clock`."""
        return time.time_ns()


def config(**run: str) -> Config:
    """One symbol, one model."""
    return load_config(None, base={"run": {"symbols": ["BTC/USDT"], **run}})


def watch(feed: Scoring, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Run a feed until its health is enough."""

    async def main() -> dict[str, Any]:
        task = asyncio.create_task(feed.run(lambda event: None))
        async with asyncio.timeout(150):
            while not enough(feed.health()) and not task.done():
                await asyncio.sleep(0.01)
        told = feed.health()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return told

    return asyncio.run(main())


def scoring(var: Path, script: str, hangs_s: float = 30.0) -> Scoring:
    """A feed whose process is a script."""
    command = (sys.executable, "-c", textwrap.dedent(script))
    return Scoring(config(), var, clock=Clock(), rng=random.Random(1), hangs_s=hangs_s, command=command)


def test_what_the_process_tells_is_health(var: Path) -> None:
    """It gets the configuration by its input, never by its command line, and ends when its input is closed."""
    script = """
        import json, sys
        given = json.loads(sys.stdin.readline())
        print("noise of a library", flush=True)
        print(json.dumps({"model": given["config"]["run"]["model"], "texts": 5}), flush=True)
        sys.stdin.read()
    """
    told = watch(scoring(var, script), lambda health: "texts" in health)
    assert (told["texts"], told["model"], told["starts"], told["trouble"]) == (5, "tidegate-mini", 1, "")
    assert 0 <= told["age_s"] < 50


def test_a_process_that_hangs_is_killed_and_begun_anew(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that never answers can't stop the scoring for good; also one that ignores being asked to end."""
    monkeypatch.setattr("bot.feeds.scoring.FIRST_S", 0.01)
    monkeypatch.setattr("bot.feeds.scoring.END_S", 0.05)
    told = watch(scoring(var, "import time; time.sleep(600)", hangs_s=0.2), lambda health: health["hangs"] >= 2)
    assert told["starts"] >= 2
    assert "said nothing" in told["trouble"]


def test_a_process_that_fails_says_why_and_is_tried_again(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error stands in health; pauses lie between its starts."""
    monkeypatch.setattr("bot.feeds.scoring.FIRST_S", 0.01)
    script = "import json; print(json.dumps({'error': 'no such model'}), flush=True)"
    told = watch(scoring(var, script), lambda health: health["starts"] >= 3)
    assert told["trouble"] == "no such model"
    told = watch(
        Scoring(config(), var, clock=Clock(), rng=random.Random(1), command=("/nowhere/python",)),
        lambda health: bool(health["trouble"]),
    )
    assert "can't be started" in told["trouble"]


def test_new_posts_are_scored_in_the_background(var: Path) -> None:
    """A real process with a lexicon: a post that is stored while it runs has a score in the store soon after."""
    store = Store(var)
    now = time.time_ns()

    def post(key: str, ns: int) -> Any:
        columns = {
            "source": "x", "key": [key], "event_ns": ns - SECOND_NS, "known_ns": ns, "ingested_ns": ns,
            "quality": "recorded", "text": ["Bitcoin is great, wonderful news"], "author": "a", "followers": 10.0,
            "url": "",
        }  # fmt: skip
        return fact_table("posts", columns)

    store.append("posts", post("old", now))
    later: list[int] = []

    def enough(health: dict[str, Any]) -> bool:
        keys = store.table("sentiment", columns=["key"])["key"].to_pylist()
        if "old" in keys and not later:
            later.append(1)
            store.append("posts", post("new", time.time_ns()))
        return "new" in keys

    told = watch(Scoring(config(model="vader"), var, clock=Clock(), rng=random.Random(1)), enough)
    rows = store.table("sentiment", columns=["key", "coin", "quality", "score"]).to_pylist()
    assert {(row["key"], row["coin"]) for row in rows} == {("old", "BTC"), ("new", "BTC")}
    assert all(row["score"] > 0 for row in rows)
    assert told["model"] == "vader" and told["hangs"] == 0


def test_one_process_scores_and_the_other_waits(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder and a session on one folder: the second says what it waits for, and takes over."""
    monkeypatch.setattr("bot.feeds.score_worker.ASK_S", 0.01)
    told, heard = Told(), []

    with ExitStack() as first:
        assert first.enter_context(_alone(var, "model@1", Told(), lambda: False))
        with _alone(var, "model@2", Told(), lambda: False) as other:
            assert other

        def until() -> bool:
            heard.append(told.counts.get("waits_for"))
            if len(heard) == 3:
                first.close()
            return len(heard) > 10

        with _alone(var, "model@1", told, until) as mine:
            assert mine and heard[1:] == ["another process scores these posts with this model"] * 2
            assert told.counts["waits_for"] == ""
            with _alone(var, "model@1", Told(), lambda: True) as never:
                assert not never


def test_answers_that_arent_finite_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A model that gives NaN costs the text's score, and is seen in the counts."""

    class Broken:
        device = "cpu"

        def batches(self, texts: Any) -> Any:
            rows = np.full((2, 3), 1 / 3, np.float32)
            rows[1, 0] = np.nan
            yield np.arange(2), rows

    told = Told()
    counting = Counting(Broken(), told)
    assert len(list(counting.batches(["a", "b"]))) == 1
    assert (told.counts["texts"], told.counts["failed_texts"], counting.device) == (2, 1, "cpu")
    assert '"failed_texts": 1' in capsys.readouterr().out
