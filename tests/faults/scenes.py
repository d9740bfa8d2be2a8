"""Scenes: one fault each, staged for the real bot at the local venue, several played at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.faults import judge
from tests.faults.bot_world import FOREIGN_BTC, LIMITS
from tests.faults.lives import Life, Tape, brief, is_quiet, world
from tests.faults.nursery import Nursery
from tests.venue.faults import Fault
from tests.venue.records import Order
from tests.venue.server import SECRET, LocalVenue

BTC, ETH = "BTCUSDT", "ETHUSDT"
AT_ONCE = 8


class Scene:
    """What a scene gets: the venue, the bot, and what its strategy shall want.

    `hold` and `leave` name what shall be held from the next bar on; `foreign` is what isn't the bot's.
    """

    def __init__(self, venue: LocalVenue, life: Life, tape: Tape) -> None:
        self.venue, self.life, self.tape = venue, life, tape
        self.foreign = {"BTC": Decimal(FOREIGN_BTC)}
        self.wanted: set[str] = set()
        self.crash = ""
        self.slump = 0.9997  # of what isn't wanted, each bar
        self.wanted_bad = False

    def moves(self) -> Mapping[str, float]:
        """What is wanted rises, the rest falls."""
        found = {name: 1.0003 if name in self.wanted else self.slump for name in self.tape.prices}
        if self.crash:
            found[self.crash] = 0.93
            self.crash = ""
        return found

    def hold(self, *names: str) -> None:
        """From the next bar on, hold these and nothing else."""
        self.wanted = set(names)

    async def start(self, **more: Any) -> None:
        """A life, trading."""
        self.life.start(**more)
        await self.life.ready()

    async def see(self, wanted: Callable[[], Any], patience_s: float = 30.0) -> None:
        """Wait until the venue is as wanted."""
        limit = time.monotonic() + patience_s
        while not wanted():
            if time.monotonic() > limit:
                told = await self.life.told()
                orders = [(one.symbol, one.kind, one.side, one.status, one.client_id[16:]) for one in self.ours()]
                raise AssertionError(f"not seen: {orders} {brief(told)} {self.life.said()[-1500:]}")
            await asyncio.sleep(0.02)

    async def level(self, name: str, patience_s: float = 30.0) -> None:
        """Wait for a rung of the ladder."""
        await self.life.until(lambda told: told["level"] == name, patience_s)

    def ours(self, symbol: str = "", kind: str = "", *, standing: bool = False) -> list[Order]:
        """The bot's orders at the venue."""
        prefix = self.life.bot_id()
        return [
            one for one in self.venue.orders(prefix)
            if symbol in ("", one.symbol) and kind in ("", one.kind) and (one.is_open or not standing)
        ] if prefix else []  # fmt: skip

    def held(self, coin: str) -> Decimal:
        """What the venue holds of a coin beyond what is foreign."""
        return self.venue.engine.account("main").total(coin) - self.foreign.get(coin, Decimal(0))

    async def bought(self, symbol: str = BTC) -> None:
        """Wait until a position stands with its stop."""
        await self.see(lambda: self.ours(symbol, "stop", standing=True) and self.held(symbol[:3]) > Decimal("0.001"))

    async def sold(self, symbol: str = BTC) -> None:
        """Wait until it is gone, and the stop with it."""
        await self.see(lambda: not self.ours(symbol, standing=True) and self.held(symbol[:3]) < Decimal("0.001"))

    def spoil(self, kind: str, label: str = "place", **more: Any) -> None:
        """A fault of the next match."""
        self.venue.faults.add(Fault(kind, label, **more))

    def hit(self) -> int:
        """How many faults have hit."""
        return len(self.venue.faults.hits)

    async def quiet(self, patience_s: float = 40.0) -> dict[str, Any]:
        """Wait until nothing is under way."""
        return await self.life.until(
            lambda told: is_quiet(told) and all(one["state"] == "ACKED" for one in told["orders"]), patience_s
        )

    def placed(self) -> int:
        """Requests for new orders that reached the venue."""
        return sum(one["label"] == "place" for one in self.venue.requests)

    async def judged(self, *, quiet: bool = True) -> judge.Ledger:
        """Stop the bot, and let nothing be wrong; quiet: bars end first, and nothing is under way."""
        if quiet:
            await self.quiet()
        if self.life.lives:
            await self.life.stop()
        ledger = judge.read(self.life.account)
        foreign = {coin: str(amount) for coin, amount in self.foreign.items()}
        wrong = judge.faults(self.venue.truth(), ledger, foreign=foreign, limits=LIMITS, quiet=quiet)
        assert not wrong, f"{wrong}\n{self.life.said()[-3000:]}"
        return ledger


Story = Callable[[Scene], Awaitable[None]]


class Play:
    """Scenes by name; `scene` registers one, with sections of its configuration and a strategy of its own."""

    def __init__(self) -> None:
        self.scenes: dict[str, tuple[Story, dict[str, Any]]] = {}

    def scene(self, *, name: str = "", **given: Any) -> Callable[[Story], Story]:
        """Register a scene under its function's name."""

        def take(story: Story) -> Story:
            self.scenes[name or story.__name__] = (story, given)
            return story

        return take

    def run(self, nursery: Nursery, folder: Path) -> dict[str, str]:
        """Play all, some at a time; what went wrong by name, "" where nothing did."""

        async def main() -> dict[str, str]:
            room = asyncio.Semaphore(AT_ONCE)
            names = list(self.scenes)
            told = await asyncio.gather(*(self._one(nursery, folder / str(k), one, room)
                                          for k, one in enumerate(names)))  # fmt: skip
            return dict(zip(names, told, strict=True))

        return asyncio.run(main())

    async def _one(self, nursery: Nursery, folder: Path, name: str, room: asyncio.Semaphore) -> str:
        story, given = self.scenes[name]
        async with room, world(nursery, folder, **given) as (venue, life, tape):
            began = time.monotonic()
            scene = Scene(venue, life, tape)
            try:
                async with tape.running(scene.moves):
                    await story(scene)
            except AssertionError as error:
                return f"{error}"[:6000] or "an assertion"
            finally:
                if life.lives:
                    await life.kill()
            print(f"{time.monotonic() - began:5.1f} s  {name}")
            spilt = [str(one) for one in folder.rglob("*") if one.is_file() and SECRET.encode() in one.read_bytes()]
            return f"the secret stands in {spilt}" if spilt else ""
