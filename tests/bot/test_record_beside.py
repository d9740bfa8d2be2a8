"""The recorder inside a session: it records while nobody else does, and its faults never end the session."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import bot.record.beside
from bot.config import load_config
from bot.operate.recording import gather_recorder
from bot.record.beside import Recording
from bot.record.lock import acquire
from bot.session.running import SystemClock
from data.store import Store
from tests.bot.record_world import markers
from tests.sources import fear_greed
from tests.sources.server import serving


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that a test can wait for."""
    monkeypatch.setattr(bot.record.beside, "LOOK_S", 0.02)
    monkeypatch.setattr(bot.record.beside, "RETRY_S", 0.02)


def beside(var: Path, table: dict[str, Any]) -> Recording:
    """As a session makes it."""
    raw = {"run": {"symbols": ["BTC/USDT"]}, "record": {"flush": "20ms"}, "feeds": {"fear_greed": table}}
    return Recording(load_config(None, base=raw), var, clock=SystemClock(), session="session 0000beef")


async def until(true: Any) -> None:
    """Look until it holds."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


def test_it_takes_over_when_another_recorder_ends_and_ends_in_order_itself(var: Path) -> None:
    """Meanwhile its health says who records; afterwards everything is as a recorder of its own leaves it."""

    async def main() -> None:
        other = acquire(var, now_ns=1, by="tidegate record")
        async with serving(fear_greed.make().handler) as server:
            feed = beside(var, {"url": f"{server.url}/fng/"})
            task = asyncio.create_task(feed.run(lambda event: None))
            await until(lambda: "tidegate record" in feed.health()["trouble"])
            assert not feed.health()["recording"] and not server.asked
            other.release()
            await until(lambda: feed.health().get("count") == 2)
            assert feed.health()["up"] == feed.health()["of"] == 1
            told = await asyncio.to_thread(gather_recorder, var)
            assert told is not None and told["running"] and told["feeds"]["fear_greed"]["facts"] == 2
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert Store(var).table("metrics", {"name": ["fear_greed"]}).num_rows == 2
        assert [value for value, _, _ in markers(var, "fear_greed")] == [1.0, 0.0]
        acquire(var, now_ns=2, by="the next").release()

    asyncio.run(main())


def test_what_ends_the_recording_does_not_end_the_session(var: Path) -> None:
    """A damaged memory is told of until somebody mends it; then it records."""
    (var / "feeds").mkdir(parents=True)
    memory = var / "feeds" / "fear_greed.json"
    memory.write_text("{")

    async def main() -> None:
        async with serving(fear_greed.make().handler) as server:
            feed = beside(var, {"url": f"{server.url}/fng/"})
            task = asyncio.create_task(feed.run(lambda event: None))
            await until(lambda: "damaged" in feed.health()["trouble"])
            memory.unlink()
            await until(lambda: feed.health().get("count") == 2)
            assert feed.health()["recording"] and not feed.health()["trouble"]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert Store(var).table("metrics", {"name": ["fear_greed"]}).num_rows == 2

    asyncio.run(main())
