"""The life of one feed: followed until it fails, then again after a pause that grows; its faults are its own.

What a source did wrong (`FeedError`) costs a pause, at least the one that the source asked for. What no waiting mends
stops this feed and no other; a spent budget stops it until the day or the month is over. Anything else that a feed
raises is a fault of its file: it is logged with its traceback, counted, and the feed is made anew from its last
acknowledged cursor.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from bot.record.figures import FeedFigures
from data.errors import InputError, WorkError
from data.feed import Clock, Feed, FeedError, Take
from data.times import SECOND_NS

LOG = logging.getLogger("tidegate.record")
FIRST_S: Final = 1.0
LONGEST_S: Final = 300.0
STEADY_S: Final = 60.0
"""A feed that was followed so long begins anew with the shortest pause."""


class Runner:
    """Follows one feed.

    Parameters
    ----------
    build : callable
        Makes the feed, from its last acknowledged cursor.
    take : Take
    fell : callable
        Told that the feed isn't heard any more.
    figures : FeedFigures
    """

    def __init__(
        self, name: str, build: Callable[[], Feed], take: Take, *, fell: Callable[[], None], figures: FeedFigures,
        clock: Clock, rng: random.Random,
    ) -> None:  # fmt: skip
        self.name, self.figures = name, figures
        self.feed = build()
        self._build, self._take, self._fell, self._clock, self._rng = build, take, fell, clock, rng

    async def run(self) -> None:
        """Until cancelled, or until the feed has failed for good."""
        loop, fails = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            pause_s = 0.0
            try:
                await self.feed.stream(self._take)
                self._failed("it ended by itself")
            except FeedError as error:
                self._failed(str(error))
                pause_s = error.pause_s
                if error.final:
                    self._stop(str(error))
                    if not pause_s:
                        return
                    await self._wait(fails, pause_s, state="stopped")  # a cap: until the next day or month begins
                    continue
            except (InputError, WorkError) as error:  # its options, or our own disk
                self._failed(str(error))
                self._stop(str(error))
                return
            except Exception as error:
                self._crashed(error)
            self._fell()
            fails = 0 if loop.time() - began > STEADY_S else fails + 1
            await self._wait(fails, pause_s)

    def _failed(self, text: str) -> None:
        self.figures.failed(text, self._clock.now_ns())
        LOG.warning("feed %s: %s", self.name, text)

    def _stop(self, text: str) -> None:
        self._fell()
        self.figures.state = "stopped"
        LOG.error("feed %s has stopped: %s", self.name, text)

    def _crashed(self, error: Exception) -> None:
        self.figures.crashes += 1
        self.figures.failed(f"{type(error).__name__}: {error}", self._clock.now_ns())
        LOG.error("feed %s failed on what it got; it begins anew", self.name, exc_info=error)
        try:
            self.feed = self._build()
        except Exception:  # then the old one goes on
            LOG.exception("feed %s can't be made anew", self.name)

    async def _wait(self, fails: int, pause_s: float, *, state: str = "down") -> None:
        """Pauses double from failure to failure; half of one is by chance, so that feeds don't come back in step."""
        own_s = min(LONGEST_S, FIRST_S * 2.0 ** min(max(fails - 1, 0), 16)) * (0.5 + self._rng.random())
        wait_s = max(own_s, pause_s * (1.0 + 0.05 * self._rng.random()))
        self.figures.state = state
        self.figures.again_ns = self._clock.now_ns() + int(wait_s * SECOND_NS)
        await asyncio.sleep(wait_s)
        self.figures.again_ns = 0
        self.figures.state = "starting"
