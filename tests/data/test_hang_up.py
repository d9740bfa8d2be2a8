"""Closing a real ccxt object whose server never takes its leave: in time, cancelled, and for good."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.pro
import pytest
from aiohttp import web

from data.hang_up import hang_up

TICK_S = 0.05


async def beside(work: Callable[[Any], Awaitable[None]]) -> None:
    """Do the work with an exchange that is connected to the server, and look at what it leaves open."""
    end = asyncio.Event()

    async def mute(request: web.Request) -> web.WebSocketResponse:
        """A stream that takes the handshake and answers nothing any more, not even a goodbye."""
        there = web.WebSocketResponse(autoclose=False)
        await there.prepare(request)
        await end.wait()
        return there

    app = web.Application()
    app.router.add_get("/", mute)
    runner = web.AppRunner(app, shutdown_timeout=TICK_S)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made = ccxt.pro.binance({"timeout": 5000})
    made.timeout_on_exit = 0
    made.open()
    session = made.session
    client = made.client(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    try:
        await client.connect(session)
        await work(made)
        assert session.closed
    finally:
        end.set()
        await runner.cleanup()


def test_a_goodbye_that_isnt_answered_leaves_no_session_open(caplog: pytest.LogCaptureFixture) -> None:
    """ccxt waits for it; its session is closed when the time is over, and it is said."""

    async def work(made: Any) -> None:
        async with asyncio.timeout(5):
            await hang_up(made, TICK_S)

    asyncio.run(beside(work))
    assert "binance: a connection didn't close: TimeoutError" in caplog.text


def test_cancelled_while_it_closes() -> None:
    """Whoever is cancelled while hanging up leaves no session open either."""

    async def work(made: Any) -> None:
        task = asyncio.create_task(hang_up(made, 60.0))
        await asyncio.sleep(TICK_S)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(beside(work))


def test_who_asks_for_a_stream_while_it_closes() -> None:
    """Whose turn to ask comes late is told that the line is cut; ccxt would open a session that nobody closes."""

    async def work(made: Any) -> None:
        market = {"id": "BTCUSDT", "lowercaseId": "btcusdt", "symbol": "BTC/USDT", "spot": True, "type": "spot"}
        made.set_markets([made.safe_market_structure(market)])
        closing = asyncio.create_task(hang_up(made, TICK_S))
        await asyncio.sleep(TICK_S / 2)
        for _ in range(2):  # while it closes, and when it has closed
            with pytest.raises(ccxt.NetworkError, match="closed on our side"):
                await made.watch_trades("BTC/USDT")
            await closing
        assert made.session is None

    asyncio.run(beside(work))
