"""Unmodified ccxt classes pointed at the linear test venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.venue.bybit import LocalPerpVenue

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
MONEY = {"USDT": "100000"}
PRICES = {"BTCUSDT": "50000", "ETHUSDT": "2000"}
Story = Callable[[LocalPerpVenue, Any], Awaitable[None]]


@asynccontextmanager
async def bybit_at(venue: LocalPerpVenue, *, pro: bool = False, **config: Any) -> AsyncIterator[Any]:
    """`ccxt.async_support.bybit`, or `ccxt.pro.bybit`, with its markets loaded; config as its constructor's."""
    if pro:
        from ccxt.pro import bybit
    else:
        from ccxt.async_support import bybit
    exchange = bybit(venue.ccxt_config(enableRateLimit=False, timeout_on_exit=1, **config))
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


def play(story: Story, *, pro: bool = False, config: dict[str, Any] | None = None, **setup: Any) -> LocalPerpVenue:
    """A story between a venue and a client; the venue as it was left."""

    async def run() -> LocalPerpVenue:
        async with (
            LocalPerpVenue(**{"prices": PRICES, "balances": MONEY, **setup}) as venue,
            bybit_at(venue, pro=pro, **(config or {})) as exchange,
        ):
            await story(venue, exchange)
            return venue

    return asyncio.run(run())


async def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until something is true.

    Raises
    ------
    TimeoutError
        It didn't become true in time.
    """
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
