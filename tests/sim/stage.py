"""A quiet exchange and one bot on it, to stage single faults by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal

from bot.events import Withdraw
from bot.exchange import wire
from bot.exchange.line import VenueSettings
from risk.orders import STATES
from risk.records import LIMIT
from tests.sim.desk import BOT, TinyBot, TinyDesk
from tests.sim.exchange import SimExchange
from tests.sim.loop import VirtualLoop, simulate
from tests.sim.matching import Matching, spot_market

SYMBOL = "BTC/USDT"
Scene = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A quiet exchange (prices stand still unless `run`), a bot that has started, and hands to stage with."""

    def __init__(self, loop: VirtualLoop, *, perp: bool = False, settings: VenueSettings | None = None) -> None:
        self.loop, self.perp, self.settings = loop, perp, settings
        self.symbol = SYMBOL + ":USDT" if perp else SYMBOL
        self.matching = Matching(
            rng=random.Random(1), markets={self.symbol: spot_market(self.symbol)},
            prices={self.symbol: Decimal("100.00")}, perp=perp,
            balances={"BTC": Decimal(2), "USDT": Decimal(10_500), "BNB": Decimal(5)},
        )  # fmt: skip
        self.exchange = SimExchange(loop=loop, rng=random.Random(2), matching=self.matching, bot_id=BOT)
        self.desk = TinyDesk((self.symbol,), cash=10_000.0, perp=perp)
        self.bot = TinyBot(self.exchange, self.desk, random.Random(3), settings)

    async def again(self) -> None:
        """The bot dies and starts anew."""
        await self.bot.die()
        self.bot = TinyBot(self.exchange, self.desk, random.Random(4), self.settings)
        await self.bot.begin()

    async def order(self, side: int = 1, qty: float = 0.5, *, kind: int = LIMIT, limit: float = 99.0) -> int:
        """Send an order, far from the market unless told."""
        return await self.bot.submit(self.symbol, side, qty, kind=kind, limit=limit)

    async def withdraw(self, number: int) -> None:
        """Cancel it."""
        await self.bot.venue.send([Withdraw(order=number, symbol=self.symbol)])

    def fill(self, number: int, qty: str) -> None:
        """The exchange fills a part."""
        order = self.matching.orders[-1]
        assert order.client_id.endswith(f"{number:016x}")
        self.matching._fill(order, Decimal(qty), Decimal("99.00"), maker=True, now_s=self.loop.time())

    def state(self, number: int) -> str:
        """As the desk has it."""
        return STATES[self.desk.orders[number].state]

    def sent(self, kind: type[wire.Message]) -> int:
        """How many of these the process was asked."""
        return sum(isinstance(message, kind) for message in self.exchange.asked)


def play(scene: Scene, *, begin: bool = True, perp: bool = False, settings: VenueSettings | None = None) -> None:
    """Play a scene in virtual time; the desk must have no violation at its end."""

    async def main(loop: VirtualLoop) -> None:
        stage = Stage(loop, perp=perp, settings=settings)
        if begin:
            await stage.bot.begin()
            await asyncio.sleep(5.0)
        await scene(stage)
        await stage.bot.die()
        await stage.exchange.close()
        assert not stage.desk.violations
        assert not stage.bot.venue.health()["faults"]

    simulate(5, main)
