"""The private stream: told at once, up and down said, renewed before it is cut, asked for where it can't be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.exchange.streams import Times
from bot.exchange.wire import Accepted, Message, OrderSeen, StreamState, TradeSeen
from tests.bot.exchange_worlds import World, order, world
from tests.venue.faults import Fault

QUICK = Times(renew_s=60, ready_s=2, overlap_s=0.05, first_retry_s=0.05, last_retry_s=0.2, poll_s=0.1)


class Ear:
    """Hears the pushes and keeps them."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    async def listen(self, there: World) -> None:
        """Until cancelled."""
        async for message in there.client.pushes():
            self.heard.append(message)

    async def until(self, wanted: Any, timeout_s: float = 4.0) -> None:
        """Wait until what was heard is as wanted."""
        async with asyncio.timeout(timeout_s):
            while not wanted(self.heard):
                await asyncio.sleep(0.01)

    def states(self) -> list[bool]:
        """Ups and downs."""
        return [one.up for one in self.heard if isinstance(one, StreamState)]

    def ends(self, number: int) -> list[str]:
        """Ended states of one order."""
        mine = [one.order for one in self.heard if isinstance(one, OrderSeen)]
        return [one.status for one in mine if one.client_id == order(number).client_id and one.status != "open"]

    def trades(self) -> list[str]:
        """Ids of trades."""
        return [one.trade.trade_id for one in self.heard if isinstance(one, TradeSeen)]


@asynccontextmanager
async def heard(folder: Path, *, streams: bool = True, times: Times = QUICK) -> AsyncIterator[tuple[World, Ear]]:
    """A world, and what it tells."""
    async with world(folder, exchange={"streams": streams}, times=times) as there:
        ear = Ear()
        listening = asyncio.create_task(ear.listen(there))
        try:
            await ear.until(lambda _: True in ear.states())
            yield there, ear
        finally:
            listening.cancel()


def test_every_trade_is_told_at_once(tmp_path: Path) -> None:
    """Many at the same moment: none waits for the next message."""

    async def run() -> None:
        async with heard(tmp_path) as (there, ear):
            for number in range(1, 11):
                assert isinstance(await there.ask(order(number, kind="limit", limit="49000", qty="0.001")), Accepted)
            there.venue.set_price("BTCUSDT", "48000")
            await ear.until(lambda _: len(set(ear.trades())) == 10)
            await ear.until(lambda _: all(ear.ends(number) == ["filled"] for number in range(1, 11)))

    asyncio.run(run())


def test_a_cut_stream_is_said_and_comes_back(tmp_path: Path) -> None:
    """Down, then up again: whoever hears it reads what was missed."""

    async def run() -> None:
        async with heard(tmp_path) as (there, ear):
            assert there.venue.streams.cut("user") >= 1
            await ear.until(lambda _: ear.states()[-2:] == [False, True])
            await there.ask(order(1))
            await ear.until(lambda _: len(ear.trades()) == 1)

    asyncio.run(run())


def test_while_it_cant_come_up_orders_are_asked_after(tmp_path: Path) -> None:
    """A refused dial is tried again; meanwhile polling tells of trades and ends."""

    async def run() -> None:
        async with heard(tmp_path) as (there, ear):
            there.venue.faults.add(Fault("status", label="dial:user", times=10_000))
            there.venue.streams.cut("user")
            await ear.until(lambda _: ear.states()[-1] is False)
            assert isinstance(await there.ask(order(1, kind="limit", limit="49000")), Accepted)
            there.venue.set_price("BTCUSDT", "48000")
            await ear.until(lambda _: ear.ends(1) == ["filled"] and len(ear.trades()) == 1)
            kinds = [type(one) for one in ear.heard if not isinstance(one, StreamState)]
            assert kinds[-2:] == [TradeSeen, OrderSeen]  # the trade before the end
            assert ear.states().count(False) == 1
            there.venue.faults.clear()
            await ear.until(lambda _: ear.states()[-1] is True)

    asyncio.run(run())


def test_it_is_renewed_before_the_venue_cuts_it(tmp_path: Path) -> None:
    """The new connection is up before the old one goes; nothing is missed and it is never down."""

    async def run() -> None:
        times = Times(renew_s=0.4, ready_s=2, overlap_s=0.1, first_retry_s=0.05, last_retry_s=0.2, poll_s=5)
        async with heard(tmp_path, times=times) as (there, ear):
            for number in range(1, 16):
                assert isinstance(await there.ask(order(number, qty="0.001")), Accepted)
                await asyncio.sleep(0.08)
            await ear.until(lambda _: len(ear.states()) >= 3 and len(set(ear.trades())) == 15)
            assert all(ear.states())

    asyncio.run(run())


def test_an_end_while_one_connection_follows_another_closes_both(tmp_path: Path) -> None:
    """Nothing stays connected when the process stops in the overlap."""

    async def run() -> None:
        times = Times(renew_s=0.2, ready_s=2, overlap_s=60, first_retry_s=0.05, last_retry_s=0.2, poll_s=5)
        async with heard(tmp_path, times=times) as (there, ear):
            await ear.until(lambda _: ear.states() == [True, True])
            there_before = [link for link in there.venue.streams.links if link.kind == "user"]
            assert len(there_before) == 2
            await there.process.stop()
            async with asyncio.timeout(4):
                while any(link.kind == "user" for link in there.venue.streams.links):
                    await asyncio.sleep(0.01)

    asyncio.run(run())


def test_without_streams_orders_are_asked_after(tmp_path: Path) -> None:
    """Where streams are off, polling stands in and says so."""

    async def run() -> None:
        async with heard(tmp_path, streams=False) as (there, ear):
            await there.ask(order(1, kind="limit", limit="49000"))
            await there.ask(order(2, kind="limit", limit="40000"))
            there.venue.set_price("BTCUSDT", "48000")
            await ear.until(lambda _: ear.ends(1) == ["filled"] and len(ear.trades()) == 1)
            await there.venue.command({"do": "cancel", "client_id": order(2).client_id})
            await ear.until(lambda _: ear.ends(2) == ["cancelled"])
            assert not there.venue.streams.links

    asyncio.run(run())
