"""Funding of simulated perpetuals at an assumed rate, every eight hours UTC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bot.events import Funding
from bot.ports import Clock, Put
from data.times import HOUR_NS, SECOND_NS

EVERY_NS = 8 * HOUR_NS
LOOK_S = 1.0


class AssumedFunding:
    """Puts a funding of every symbol when one is due; those that fell due while nobody ran are not made up for."""

    name = "funding"

    def __init__(self, symbols: Sequence[str], rate: float, *, clock: Clock) -> None:
        self._symbols, self._rate, self._clock = tuple(symbols), rate, clock
        self._due_ns = (clock.now_ns() // EVERY_NS + 1) * EVERY_NS
        self._paid = 0

    async def run(self, put: Put) -> None:
        """See `bot.ports.Feed`."""
        while True:
            now_ns = self._clock.now_ns()
            while now_ns >= self._due_ns:
                for symbol in self._symbols:
                    put(Funding(ns=0, symbol=symbol, due_ns=self._due_ns, rate=self._rate))
                self._due_ns += EVERY_NS
                self._paid += 1
            await asyncio.sleep(min(LOOK_S, (self._due_ns - now_ns) / SECOND_NS))

    def health(self) -> dict[str, Any]:
        """When the next is due."""
        return {"due_ns": self._due_ns, "paid": self._paid, "rate": self._rate}
