"""Lives of the real bot, forked (`tests.faults.nursery`), at a venue that runs in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.faults.bot_world import ACCOUNT, BALANCES, PRICES, STRATEGY, Home
from tests.faults.nursery import Nursery
from tests.venue.server import API_KEY, SECRET, LocalVenue

# Shorter than a real session has it, so that a fence doesn't cost a test fifteen seconds; it is still longer than the
# window in which the venue takes a request.
SHORT = {
    "fence_s": 1.0, "timeout_s": 2.5, "confirm_s": 0.15, "backoff_s": 0.05, "backoff_most_s": 0.5,
    "unreachable_most_s": 1.0, "trades_grace_s": 0.1, "poll_s": 0.5, "start_s": 20.0, "reconcile_s": 1.0,
    "markets_s": 1.0, "maybe_s": 1.0,
}  # fmt: skip
QUICK = {"exchange": {"recv_window": "1s", "timeout": "1500ms"}}
SECOND_MS = 1000


class Life(Home):
    """A bot that can be born, killed and born again; the parameters are `Home`'s."""

    def __init__(self, nursery: Nursery, folder: Path, urls: Mapping[str, str], **sections: Any) -> None:
        super().__init__(folder, urls, **sections)
        self.nursery = nursery
        self.pid = 0
        self.code: int | None = None

    def start(self, *, key: tuple[str, str] = (API_KEY, SECRET), **more: Any) -> None:
        """Be born; `more` as `nursery._live` takes it."""
        names = {f"TIDEGATE_{ACCOUNT.upper()}_KEY": key[0], f"TIDEGATE_{ACCOUNT.upper()}_SECRET": key[1]}
        more = {"venue": SHORT, **more}
        self.code = None
        self.pid = self.nursery.bear(
            self.config, self.hash, var=str(self.var), out=str(self.folder / "out"), environment=names, **more
        )

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        if self.pid and self.code is None:
            self.code = self.nursery.poll(self.pid)
        return bool(self.pid) and self.code is None

    def bot_id(self) -> str:
        """What its client ids begin with; empty before its first start."""
        kept = self.account / "bot"
        return kept.read_text() if kept.exists() else ""

    async def told(self) -> dict[str, Any] | None:
        """Its status; None while nobody answers."""
        return await asyncio.to_thread(self.status)

    async def until(self, wanted: Callable[[dict[str, Any]], Any], patience_s: float = 40.0) -> dict[str, Any]:
        """Wait until its status is as wanted."""
        last: dict[str, Any] | None = None
        limit = time.monotonic() + patience_s
        while time.monotonic() < limit:
            last = await self.told() or last
            if last is not None and wanted(last):
                return last
            if not self.lives:
                raise AssertionError(f"the bot ended with {self.code}: {self.said()[-2000:]}")
            await asyncio.sleep(0.05)
        raise AssertionError(f"not in {patience_s} s: {brief(last)}\n{self.said()[-2000:]}")

    async def ready(self, patience_s: float = 60.0) -> dict[str, Any]:
        """Wait until it is reconciled and nothing stands against new risk."""
        return await self.until(is_ready, patience_s)

    async def ended(self, patience_s: float = 60.0) -> int:
        """Its exit code, below 0 the signal that ended it."""
        limit = time.monotonic() + patience_s
        while self.lives:
            if time.monotonic() > limit:
                self.nursery.kill(self.pid, signal.SIGUSR1)
                await asyncio.sleep(1.0)
                raise AssertionError(f"it goes on: {self.said()[-6000:]}")
            await asyncio.sleep(0.02)
        assert self.code is not None
        return self.code

    async def kill(self) -> None:
        """SIGKILL."""
        self.nursery.kill(self.pid)
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.nursery.kill(self.pid, signal.SIGTERM)
        return await self.ended()


def is_ready(told: dict[str, Any]) -> bool:
    """Reconciled, and no condition stands."""
    return bool(told["exchange"]["ready"] and not told["exchange"]["conditions"])


def is_quiet(told: dict[str, Any]) -> bool:
    """Ready, and nothing is under way."""
    venue = told["exchange"]
    return bool(venue["ready"] and not (venue["unknown"] or venue["unsettled"] or venue["untaken"]))


def brief(told: dict[str, Any] | None) -> str:
    """The parts of a status that tell why it isn't as wanted."""
    return str({key: (told or {}).get(key) for key in ("level", "latches", "positions", "orders", "exchange")})[:2500]


class Tape:
    """Bars of a second at a venue in this loop, closed as the second ends."""

    def __init__(self, venue: LocalVenue, prices: Mapping[str, str] | None = None) -> None:
        self.venue = venue
        self.prices = {name: float(text) for name, text in (prices or PRICES).items()}
        now = venue.now_ms() // SECOND_MS * SECOND_MS
        for back in range(90, 0, -1):
            for name, price in self.prices.items():
                self._bar(name, now - back * SECOND_MS, price, price, tell=False)

    async def step(self, **moves: float) -> None:
        """Wait for the second's end; each symbol's price moves by its factor, and the bar that shows it is closed."""
        now = time.time()
        end = int(now) + 1
        await asyncio.sleep(max(end - now, 0.0))
        for name, price in self.prices.items():
            last = self.prices[name] = round(price * moves.get(name, 1.0), 2)
            if last != price:
                self.venue.set_price(name, f"{last}")
            self._bar(name, (end - 1) * SECOND_MS, price, last)
            self._bar(name, end * SECOND_MS, last, last, closed=False)
        await asyncio.sleep(0.03)  # who listens only for the next news would hear of the end with the next bar
        for name, last in self.prices.items():
            self._bar(name, end * SECOND_MS, last, last, closed=False)

    def _bar(self, name: str, open_ms: int, first: float, last: float, **more: Any) -> None:
        self.venue.bar(name, "1s", open_ms, (first, max(first, last), min(first, last), last, 100), **more)

    async def run(self, moves: Callable[[], Mapping[str, float]]) -> None:
        """Step until cancelled."""
        while True:
            await self.step(**moves())

    @asynccontextmanager
    async def running(self, moves: Callable[[], Mapping[str, float]]) -> AsyncIterator[None]:
        """Step in the background."""
        task = asyncio.create_task(self.run(moves))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def world(
    nursery: Nursery, folder: Path, *, strategy: str = STRATEGY, **sections: Any
) -> AsyncIterator[tuple[LocalVenue, Life, Tape]]:
    """A venue, a bot that isn't born yet, and bars. Balances and prices are `tests.faults.bot_world`'s."""
    merged = {name: {**QUICK.get(name, {}), **sections.pop(name, {})} for name in {*QUICK, *sections}}
    folder.mkdir(parents=True, exist_ok=True)
    async with LocalVenue(balances=BALANCES, prices=PRICES) as venue:
        venue.doorman.weight_limit = 10**9
        urls = {"rest": venue.rest_url, "stream": venue.rest_url.replace("http", "ws")}
        life = Life(nursery, folder, urls, strategy=strategy, **merged)
        try:
            yield venue, life, Tape(venue)
        finally:
            if life.lives:
                await life.kill()
            await asyncio.to_thread(life.sweep)
