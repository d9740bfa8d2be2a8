"""An exchange process and its client against a venue on loopback, all in one loop, for the exchange tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.exchange.client import SocketTransport
from bot.exchange.keys import Key
from bot.exchange.process import SOCKET, Process
from bot.exchange.settings import Settings, read_settings
from bot.exchange.streams import Times
from bot.exchange.wire import Message, Place
from tests.venue.bybit import LocalPerpVenue
from tests.venue.server import API_KEY, SECRET, LocalVenue

BOT, SESSION = "0a1b2c3d", "11112222"
BTC = "BTC/USDT"
MONEY = {"USDT": "100000", "BTC": "2"}
PRICES = {"BTCUSDT": "50000", "ETHUSDT": "2000", "SOLUSDT": "100", "BNBUSDT": "500"}
CAPS: dict[str, Any] = {
    "order_notional": "10000",
    "minute_notional": "50000",
    "hour_notional": "100000",
    "day_notional": "200000",
    "orders_per_minute": 60,
    "orders_per_hour": 600,
}
QUICK = Times(overlap_s=0.05, first_retry_s=0.02, last_retry_s=0.1, poll_s=0.05)


def document(folder: Path, urls: dict[str, str], **more: Any) -> dict[str, Any]:
    """The document of an exchange process; `exchange` and `caps` are merged."""
    exchange = {"id": "binance", "urls": urls, "streams": False, "timeout_ms": 500, **more.pop("exchange", {})}
    caps = {**CAPS, **more.pop("caps", {})}
    base = {"bot": BOT, "market": "spot", "symbols": [BTC], "folder": str(folder), "key": {"name": "test"}}
    return {**base, "exchange": exchange, "caps": caps, **more}


PERP = {"exchange": {"id": "bybit"}, "market": "perp", "symbols": ["BTC/USDT:USDT"], "leverage": 3}


def urls_of(venue: LocalVenue | LocalPerpVenue) -> dict[str, str]:
    """Addresses of a local venue."""
    return {"rest": venue.rest_url, "stream": venue.rest_url.replace("http", "ws")}


def settings_of(folder: Path, urls: dict[str, str], **more: Any) -> Settings:
    """The same, read."""
    return read_settings(json.dumps(document(folder, urls, **more)))


def activate(folder: Path, level: str = "ACTIVE") -> Path:
    """A session folder with a latch."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latch").write_text(json.dumps({"level": level, "person": "tester", "reason": "a test", "ns": 1}) + "\n")
    return folder


def order(number: int = 1, **more: Any) -> Place:
    """A small market entry."""
    given: dict[str, Any] = {"side": "buy", "kind": "market", "qty": "0.01", "limit": "50500", "symbol": BTC, **more}
    return Place(client_id=f"{BOT}{SESSION}{number:016x}", **given)


@dataclass
class World:
    """What a story gets."""

    venue: Any  # LocalVenue or LocalPerpVenue
    process: Process
    client: SocketTransport
    folder: Path

    async def ask(self, message: Message, timeout_s: float = 10.0) -> Any:
        """The process's answer."""
        return await self.client.ask(message, timeout_s=timeout_s)

    def stands(self, number: int = 1) -> list[Any]:
        """The venue's own orders of this number: the judge."""
        return self.venue.orders(f"{BOT}{SESSION}{number:016x}")


@asynccontextmanager
async def world(
    folder: Path,
    *,
    times: Times = QUICK,
    key: Key | None = None,
    venue: LocalVenue | LocalPerpVenue | None = None,
    **more: Any,
) -> AsyncIterator[World]:
    """A venue, an exchange process and a connected client."""
    folder = folder / "s"
    if not (folder / "latch").exists():
        activate(folder)
    async with venue or LocalVenue(balances=MONEY, prices=PRICES) as open_venue:
        settings = settings_of(folder, urls_of(open_venue), **more)
        process = Process(settings, key or Key(API_KEY, SECRET, None, "a test"), times)
        client = SocketTransport(folder / SOCKET, bot_id=BOT, session=SESSION)
        try:
            await process.start()
            await client.connect(timeout_s=5)
            yield World(open_venue, process, client, folder)
        finally:
            await client.close()
            await process.stop()
