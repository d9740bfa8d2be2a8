"""Scores posts as recorders store them, in a process of its own: the model never delays an order.

The process follows the store and appends what it has scored; `bot.feeds.stored` finds it there. It says every second
that it lives: one that hangs is killed and begun anew, after pauses that grow. Meanwhile scores are missing, the
signals that need them go stale, and positions are held. A text that the model gives no finite answer for is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.ports import Clock, Put
from data.times import MILLISECOND_NS, SECOND_NS

if TYPE_CHECKING:
    from bot.config import Config

LOG = logging.getLogger("tidegate.feeds")
BUDGET_NS = 200 * MILLISECOND_NS
HANGS_S = 120.0  # loading a model takes a while, too
FIRST_S, LONGEST_S = 1.0, 60.0
STEADY_S = 600.0  # a process that lived so long begins anew at once
END_S = 5.0
LINE_MAX = 1 << 16
COMMAND = (sys.executable, "-m", "bot.feeds.score_worker")


class Scoring:
    """The feed; it puts nothing, since what it makes comes by the store.

    Parameters
    ----------
    config : Config
        Names the model and further names of coins.
    var : Path
        The folder whose store is followed.
    hangs_s : float
        A process that says nothing for so long is killed.
    command : sequence of str
        What is started.
    """

    name = "scoring"

    def __init__(
        self,
        config: Config,
        var: Path,
        *,
        clock: Clock,
        rng: random.Random,
        hangs_s: float = HANGS_S,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._config, self._var, self._clock, self._rng = config, var, clock, rng
        self._hangs_s, self._command = hangs_s, tuple(command)
        self._told: dict[str, Any] = {}
        self._told_ns = 0
        self._starts = self._hangs = 0
        self._trouble = ""

    async def run(self, put: Put) -> None:
        """See `bot.ports.Feed`."""
        loop = asyncio.get_running_loop()
        fails = 0
        while True:
            began = loop.time()
            await self._serve()
            fails = 0 if loop.time() - began > STEADY_S else fails + 1
            pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(fails - 1, 10)) * (0.5 + self._rng.random())
            LOG.warning("posts aren't scored (%s); the scorer begins anew in %.0f s", self._trouble, pause_s)
            await asyncio.sleep(pause_s)

    def health(self) -> dict[str, Any]:
        """What the process told last, how long ago, and how often it had to be begun anew."""
        age_s = (self._clock.now_ns() - self._told_ns) / SECOND_NS if self._told_ns else None
        return {
            **self._told,
            "age_s": age_s,
            "starts": self._starts,
            "hangs": self._hangs,
            "trouble": self._trouble,
        }

    def _document(self) -> bytes:
        body = {
            "config": {name: part for name, part in self._config.plain().items() if name != "feeds"},
            "folder": str(self._config.folder.resolve()),
            "var": str(self._var.resolve()),
            "budget_ns": BUDGET_NS,
        }
        return json.dumps(body).encode() + b"\n"

    async def _serve(self) -> None:
        """One process from its start to its end."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                limit=LINE_MAX,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the bot, which ends us in its own time
            )
        except OSError as error:
            self._trouble = f"it can't be started: {error}"
            return
        self._starts += 1
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        talk = asyncio.create_task(_pass_on(process.stderr))
        try:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(self._document())
                await process.stdin.drain()
            await self._listen(process.stdout)
        finally:
            try:
                await _end(process)
            finally:
                talk.cancel()
                await asyncio.gather(talk, return_exceptions=True)

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        """Hear the process until it ends or hangs."""
        while True:
            try:
                async with asyncio.timeout(self._hangs_s):
                    line = await lines.readline()
            except TimeoutError:
                self._hangs += 1
                self._trouble = f"it said nothing for {self._hangs_s:g} s and was killed"
                return
            except ValueError:
                self._trouble = "it said more than a line holds"
                return
            if not line:
                self._trouble = self._trouble or "it ended"
                return
            try:
                told = json.loads(line)
            except ValueError:
                continue  # a library that prints to stdout
            if isinstance(told, dict):
                self._trouble = str(told.pop("error", ""))
                self._told.update(told)
                self._told_ns = self._clock.now_ns()


def _environment() -> dict[str, str]:
    """Ours, with one core left to the bot where there are several."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores - 1)), **os.environ}


async def _pass_on(lines: asyncio.StreamReader) -> None:
    """What the process complains of, into our log."""
    while line := await lines.read(LINE_MAX):
        for text in line.decode(errors="replace").splitlines():
            LOG.info("scorer: %s", text[:500])


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to end by closing its input; then kill it, at once where we are cancelled meanwhile."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
