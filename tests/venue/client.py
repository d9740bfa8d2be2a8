"""Unmodified ccxt classes pointed at a test venue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.venue.server import LocalVenue


@asynccontextmanager
async def ccxt_at(venue: LocalVenue, *, pro: bool = False, **config: Any) -> AsyncIterator[Any]:
    """`ccxt.async_support.binance`, or `ccxt.pro.binance`, with its markets loaded; config as its constructor's."""
    if pro:
        from ccxt.pro import binance
    else:
        from ccxt.async_support import binance
    exchange = binance(venue.ccxt_config(enableRateLimit=False, **config))
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()
