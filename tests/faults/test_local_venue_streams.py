"""Unmodified ccxt pro classes hear the local venue's streams, whole and faulty."""

import asyncio
from typing import Any

import pytest

from tests.faults.test_local_venue import BTC, play
from tests.venue.faults import Fault
from tests.venue.server import API_KEY, LocalVenue

START = 1_700_000_000_000 // 60_000 * 60_000


async def soon(awaitable: Any) -> Any:
    """What comes within two seconds."""
    return await asyncio.wait_for(awaitable, 2)


async def listening(venue: LocalVenue, count: int = 1) -> None:
    """Wait until so many connections have subscribed."""
    while sum(bool(link.account or link.topics) for link in venue.streams.links) < count:
        await asyncio.sleep(0.005)


class Ear:
    """Collects what a watch method brings, again and again."""

    def __init__(self, watch: Any) -> None:
        self.heard: list[Any] = []
        self.errors: list[Exception] = []
        self._task = asyncio.ensure_future(self._run(watch))

    async def _run(self, watch: Any) -> None:
        import ccxt

        while True:
            try:
                self.heard += await watch()
            except ccxt.BaseError as error:
                self.errors.append(error)
                await asyncio.sleep(0.1)  # watched again at once after a polite close, ccxt dials without subscribing

    async def until(self, count: int) -> list[Any]:
        """Wait for so many."""
        async with asyncio.timeout(2):
            while len(self.heard) < count:
                await asyncio.sleep(0.005)
        return self.heard

    async def close(self) -> None:
        """Listen no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def test_bars_prices_and_books_are_streamed() -> None:
    """Open and closed bars, tickers, trades and the book, each to those who subscribed."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        ear = Ear(lambda: exchange.watch_ohlcv(BTC, "1m"))
        await soon(listening(venue))
        venue.bar("BTCUSDT", "1m", START, (50000, 50100, 49900, 50050, 3), closed=False)
        venue.bar("BTCUSDT", "1m", START, (50000, 50200, 49900, 50150, 5))
        venue.bar("ETHUSDT", "1m", START, (1, 1, 1, 1, 1))
        venue.bar("BTCUSDT", "1m", START + 60_000, (50150, 50200, 50100, "NaN", -4))
        rows = await ear.until(2)
        assert [row[0] for row in rows][-1] == START + 60_000 and rows[-1][5] == -4
        await ear.close()
        watches = [exchange.watch_ticker(BTC), exchange.watch_trades(BTC), exchange.watch_bids_asks([BTC])]
        tasks = [asyncio.ensure_future(one) for one in watches]
        await soon(listening(venue, 1 + len(tasks)))
        venue.set_price("BTCUSDT", "51000")
        ticker, trades, quotes = await soon(asyncio.gather(*tasks))
        assert ticker["last"] == trades[-1]["price"] == 51000 and quotes[BTC]["ask"] == 51000.01

    play(story, pro=True)


def test_orders_trades_and_balances_are_streamed() -> None:
    """A fill in parts, a cancel under the order's own client id, coins moved from outside."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        orders, trades = Ear(exchange.watch_orders), Ear(exchange.watch_my_trades)
        balance = asyncio.ensure_future(exchange.watch_balance())
        await soon(listening(venue))
        venue.engine.set_depth("BTCUSDT", "0.4", count=1)
        await exchange.create_order(BTC, "limit", "buy", 1, 49000, {"clientOrderId": "parts"})
        assert (await soon(balance))["USDT"]["used"] == 49000
        for count in (1, 2):  # of what comes at once ccxt tells the last only with the next
            await orders.until(count)
            await trades.until(count - 1)
            venue.set_price("BTCUSDT", 48900)
        await orders.until(3)
        await exchange.cancel_order(None, BTC, {"origClientOrderId": "parts"})
        heard = await orders.until(4)
        assert {one["clientOrderId"] for one in heard} == {"parts"}
        assert [(one["status"], one["filled"]) for one in heard][-1] == ("canceled", 0.8)
        fills = await trades.until(2)
        assert [(one["id"], one["amount"], one["price"], one["takerOrMaker"]) for one in fills] == [
            ("1", 0.4, 49000, "maker"), ("2", 0.4, 49000, "maker"),
        ]  # fmt: skip
        assert fills[0]["fee"] == {"currency": "BTC", "cost": 0.0004}
        balance = asyncio.ensure_future(exchange.watch_balance())
        await asyncio.sleep(0)
        await venue.command({"do": "deposit", "coin": "ETH", "amount": "3"})
        assert (await soon(balance))["ETH"]["free"] == 3
        await orders.close()
        await trades.close()

    play(story, pro=True)


def test_private_messages_are_lost_repeated_and_late() -> None:
    """As many trades as there were at the venue; what was heard of them is another matter."""
    table = {"drop": [1, 3], "duplicate": [1, 2, 2, 3], "reorder": [1, 3, 2], "delay": [1, 3, 2]}

    async def story(venue: LocalVenue, exchange: Any) -> None:
        raw: list[int] = []
        handle = exchange.handle_my_trade

        def spy(client: Any, message: dict[str, Any]) -> None:
            if message["x"] == "TRADE":
                raw.append(message["t"])
            handle(client, message)

        exchange.handle_my_trade = spy
        ear = Ear(exchange.watch_my_trades)
        await soon(listening(venue))
        for round_, (kind, heard) in enumerate(table.items()):
            raw.clear()
            venue.faults.add(Fault(kind, "user:TRADE", nth=2, seconds=0.05))
            for _ in range(3):
                await exchange.create_order(BTC, "market", "buy", 0.01)
            async with asyncio.timeout(2):
                while len(raw) < len(heard):
                    await asyncio.sleep(0.005)
            assert [number - 3 * round_ for number in raw] == heard, kind
        await ear.close()

    assert len(play(story, pro=True).trades()) == 12


def test_a_stream_that_is_cut_comes_back_without_what_it_missed() -> None:
    """At once as by a fault, politely as after 24 hours; a fill in between is only in the venue's records."""

    async def story(venue: LocalVenue, exchange: Any) -> None:
        async def up(count: int) -> None:
            async with asyncio.timeout(5):
                while sum(one["what"] == "stream-up" for one in venue.log) < count:
                    await asyncio.sleep(0.005)

        ear = Ear(exchange.watch_my_trades)
        await up(1)
        venue.faults.add(Fault("disconnect", "user:TRADE"))
        await exchange.create_order(BTC, "market", "buy", 0.01)
        await up(2)
        assert await venue.command({"do": "cut", "kind": "user", "politely": True}) == 1
        await up(3)
        await asyncio.sleep(0.05)  # what comes right behind the ack of a subscription, ccxt keeps but doesn't tell
        await exchange.create_order(BTC, "market", "buy", 0.01)
        assert [one["id"] for one in await ear.until(1)] == ["2"]
        assert [one["id"] for one in await exchange.fetch_my_trades(BTC)] == ["1", "2"]
        assert len(ear.errors) >= 2
        await ear.close()

    play(story, pro=True)


def test_a_stream_is_refused() -> None:
    """By a revoked key, by a gateway, by maintenance."""
    import ccxt

    async def story(venue: LocalVenue, exchange: Any) -> None:
        await venue.command({"do": "key", "api_key": API_KEY, "revoked": True})
        with pytest.raises(KeyError) as caught:  # ccxt stumbles over its own error: what the venue said is behind it
            await soon(exchange.watch_orders())
        assert isinstance(caught.value.__context__, ccxt.AuthenticationError) and "-2015" in str(
            caught.value.__context__
        )
        venue.streams.cut()
        await venue.command({"do": "key", "api_key": API_KEY, "revoked": False})
        await asyncio.sleep(0.05)
        venue.faults.add(Fault("timeout", "subscribe"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(exchange.watch_orders(), 0.1)
        venue.streams.cut()
        await asyncio.sleep(0.05)
        venue.faults.add(Fault("status", "dial:user", status=429, retry_after=1))
        with pytest.raises(ccxt.NetworkError):
            await soon(exchange.watch_orders())
        assert [hit["label"] for hit in venue.faults.hits] == ["subscribe", "dial:user"]

    play(story, pro=True)
