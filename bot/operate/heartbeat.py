"""Signs of life: a file for the watchdog, and an outside address that alarms somebody when it isn't asked any more.

Both beat only while the engine's loop really handles events: a bot that hangs in a call is silent, as it should be.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bot.operate.files import read_small, write_whole
from bot.operate.lock import boot_id

HEARTBEAT_FILE = "heartbeat"
STARTING, RUNNING, STOPPED = "starting", "running", "stopped"
EVERY_S = 1.0
FRESH_S = 10.0
LOG = logging.getLogger("tidegate.heartbeat")


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One sign of life. mono_ns is the machine's monotonic clock, which its processes share until it reboots."""

    pid: int
    session: str
    boot: str
    ns: int
    mono_ns: int
    events: int
    state: str


class Heartbeat:
    """The bot's side. The driver calls `beat` after every event it handled; a write goes out once a second."""

    def __init__(self, folder: Path, session: str, *, every_s: float = EVERY_S) -> None:
        self.file, self.session, self.events, self.failed = folder / HEARTBEAT_FILE, session, 0, 0
        self._every_ns, self._written_ns, self._boot = int(every_s * 1e9), 0, boot_id()  # 0: never written
        self.beaten_ns = 0  # monotonic

    def start(self, ns: int) -> None:
        """Say that the bot is starting: before the watchdog starts, and again while a long start goes on."""
        self._write(STARTING, ns)

    def beat(self, ns: int) -> None:
        """One event was handled."""
        self.events += 1
        self.beaten_ns = time.monotonic_ns()
        if not self._written_ns or self.beaten_ns - self._written_ns >= self._every_ns:
            self._write(RUNNING, ns)

    def stop(self, ns: int) -> None:
        """The bot stops as it should: the watchdog may go."""
        self._write(STOPPED, ns)

    def age_s(self) -> float:
        """Seconds since an event was handled; infinite before the first."""
        return (time.monotonic_ns() - self.beaten_ns) / 1e9 if self.beaten_ns else float("inf")

    def _write(self, state: str, ns: int) -> None:
        self._written_ns = time.monotonic_ns()
        beat = Beat(
            pid=os.getpid(), session=self.session, boot=self._boot, ns=ns, mono_ns=self._written_ns,
            events=self.events, state=state,
        )  # fmt: skip
        try:
            write_whole(self.file, json.dumps(asdict(beat)) + "\n", durable=False)
        except OSError as error:  # the watchdog hears nothing then, and acts: that is its purpose
            self.failed += 1
            if self.failed in (1, 10, 100):
                LOG.error("the heartbeat can't be written: %s", error)


def read_beat(folder: Path) -> Beat | None:
    """The last sign of life; None when there is none that can be read."""
    try:
        body = json.loads(read_small(folder / HEARTBEAT_FILE))
        beat = Beat(**body)
    except (OSError, ValueError, TypeError):
        return None
    right = all(type(getattr(beat, name)) is int for name in ("pid", "ns", "mono_ns", "events"))
    return beat if right and beat.state in (STARTING, RUNNING, STOPPED) else None


class OutsidePulse:
    """Asks an address every so often while `alive` says so. What it is told back doesn't matter, but for errors."""

    def __init__(
        self, url: str, *, every_s: float, alive: Callable[[], bool], method: str = "GET", timeout_s: float = 10.0
    ) -> None:
        self.sent = self.failed = self.withheld = 0
        self._url, self._every_s, self._alive, self._method, self._timeout_s = url, every_s, alive, method, timeout_s

    async def run(self) -> None:
        """Beat until cancelled. Never raises for the network's sake; the address is never logged."""
        import aiohttp

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s)) as session:
            while True:
                if self._alive():
                    await self._beat(session)
                else:
                    self.withheld += 1
                    LOG.warning("the outside heartbeat is withheld: the engine handles no events")
                await asyncio.sleep(self._every_s)

    async def _beat(self, session: object) -> None:
        import aiohttp

        assert isinstance(session, aiohttp.ClientSession)
        try:
            async with session.request(self._method, self._url) as answer:
                if answer.status >= 400:
                    raise aiohttp.ClientError(f"status {answer.status}")
            self.sent += 1
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.failed += 1
            LOG.warning("the outside heartbeat failed: %s", type(error).__name__)
