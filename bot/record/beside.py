"""The recorder inside a session: the same one, while no other process records into this folder.

A session trades whether its feeds are recorded or not: whatever ends the recording is told of, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot.ports import Clock, Put
from bot.record.feeds import chosen_feeds
from bot.record.lock import acquire
from bot.record.recorder import Recorder
from data.errors import RefusedError, TidegateError, UnreachableError

if TYPE_CHECKING:
    from bot.config import Config

LOG = logging.getLogger("tidegate.record")
LOOK_S: Final = 10.0
RETRY_S: Final = 60.0


class Recording:
    """The feed of a session that records the configured feeds; it puts nothing: facts come by the store."""

    name = "recorder"

    def __init__(self, config: Config, var: Path, *, clock: Clock, session: str) -> None:
        self._config, self._var, self._clock, self._session = config, var, clock, session
        self._recorder: Recorder | None = None
        self._trouble = ""

    async def run(self, put: Put) -> None:
        """See `bot.ports.Feed`."""
        while True:
            try:
                await self._record()
            except RefusedError as error:
                self._tell(str(error), logging.INFO)
                await asyncio.sleep(LOOK_S)
            except UnreachableError as error:  # nothing that is left would come back by itself
                self._tell(str(error), logging.ERROR)
                await asyncio.Event().wait()
            except TidegateError as error:
                self._tell(str(error), logging.ERROR)
                await asyncio.sleep(RETRY_S)
            except Exception as error:
                LOG.exception("recording failed")
                self._tell(f"{type(error).__name__}: {error}", logging.ERROR)
                await asyncio.sleep(RETRY_S)

    def health(self) -> dict[str, Any]:
        """How many feeds are up, facts, errors, and why nothing is recorded; `status` shows the recorder itself."""
        if self._recorder is None:
            return {"recording": False, "trouble": self._trouble}
        feeds = self._recorder.body()["feeds"].values()
        ages = [feed["age_s"] for feed in feeds if feed["age_s"] is not None]
        return {
            "recording": True, "age_s": min(ages, default=None), "count": sum(feed["facts"] for feed in feeds),
            "errors": sum(feed["errors"] for feed in feeds), "up": sum(feed["state"] == "up" for feed in feeds),
            "of": len(feeds), "trouble": self._recorder.writer.trouble,
        }  # fmt: skip

    async def _record(self) -> None:
        feeds, _ = chosen_feeds(self._config)
        lock = acquire(self._var, now_ns=self._clock.now_ns(), by=self._session)
        try:
            made = Recorder(
                self._config, feeds, self._var, clock=self._clock, rng=random.Random(), scoring=False
            )  # the session scores, where its signals need it
            self._recorder, self._trouble = made, ""
            LOG.info("recording %d feeds", len(feeds))
            await made.run(asyncio.Event())
        finally:
            self._recorder = None
            lock.release()

    def _tell(self, text: str, level: int) -> None:
        if text != self._trouble:
            LOG.log(level, "feeds aren't recorded here: %s", text)
        self._trouble = text
