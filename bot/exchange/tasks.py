"""The venue's tasks: one that fails is a fault of ours, which allows no new risk until a person has looked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from bot.exchange.conditions import Conditions

log = logging.getLogger("tidegate.venue")
Work = Coroutine[Any, Any, None]


class Tasks:
    """Starts, keeps and ends tasks.

    Parameters
    ----------
    conditions : Conditions
        Where a fault is latched.
    alarm : callable
        Told (kind, text).
    pause_s : float
        Before a task that has to live is begun again.
    """

    def __init__(self, conditions: Conditions, alarm: Callable[[str, str], None], pause_s: float) -> None:
        self._conditions, self._alarm, self._pause_s = conditions, alarm, pause_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.faults: list[str] = []

    def spawn(self, work: Work, name: str) -> None:
        """Start a task that ends by itself."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def keep(self, run: Callable[[], Work], name: str) -> None:
        """Start a task that is begun again when it fails."""
        self.spawn(self._forever(run, name), name)

    async def stop(self) -> None:
        """End all of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fault(task.get_name(), error)

    async def _forever(self, run: Callable[[], Work], name: str) -> None:
        while True:
            try:
                await run()
                return
            except Exception as error:  # said and latched; without these tasks nobody would hear of fills
                self._fault(name, error)
            await asyncio.sleep(self._pause_s)

    def _fault(self, name: str, error: BaseException) -> None:
        text = f"{name} failed: {type(error).__name__}: {error}"
        log.error(text, exc_info=error)
        self.faults = [*self.faults, text][-20:]
        self._conditions.on("reconciliation", text, sticky=True)
        self._alarm("fault", text)
