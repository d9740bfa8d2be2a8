"""Runs an opened session to its end: signals of the process, the bot, and what stands around it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bot.feeds.door import Door
from bot.garbage import look_as_usual
from bot.ports import Clock, Feed, Venue
from bot.run import Bot
from bot.session.company import Company
from bot.session.opening import Opened
from data.errors import WorkError

if TYPE_CHECKING:
    from bot.config import Config


class SystemClock:
    """The time of day, which never goes back within the process."""

    def __init__(self) -> None:
        self._last_ns = 0

    def now_ns(self) -> int:
        """Nanoseconds UTC."""
        self._last_ns = max(self._last_ns, time.time_ns())
        return self._last_ns


Parts = Callable[[Door], tuple[Venue, Sequence[Feed]]]


async def run_session(
    opened: Opened, config: Config, company: Company, *, clock: Clock, parts: Parts, tick_s: float = 1.0
) -> None:
    """Run until a signal, the end of all feeds, or a failure.

    Parameters
    ----------
    parts : callable
        Makes venue and feeds, inside the loop.

    Raises
    ------
    WorkError
        The journal couldn't be written: the session halted.
    """
    look_as_usual()
    door = Door(config.live.posts_queue)
    venue, feeds = parts(door)
    runner = Bot(
        opened.engine, opened.journal, clock=clock, door=door, venue=venue, feeds=feeds, session=opened.session,
        sessions=opened.recovered.sessions, tick_s=tick_s,
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # not in the main thread: a test
            loop.add_signal_handler(number, runner.stop)
    await company.around(runner)
    if runner.failed is not None:
        raise WorkError(f"the session halted: {runner.failed}")
