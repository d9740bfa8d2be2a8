"""Perpetuals live: the real bot, exchange process and ccxt on the local venue, judged by the venue's own records."""

from __future__ import annotations

import asyncio

import pytest

from data.errors import RefusedError
from tests.faults.perp_world import BTC, ETH, PerpWorld, play
from tests.venue.faults import Fault


def test_long_short_and_out() -> None:
    """Entries either way, turned by two orders, reduce-only exits, protection at the venue; money to the cent."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        engine = world.venue.engine
        assert engine.account("main").leverage == {"BTCUSDT": 3, "ETHUSDT": 3}
        await runner.bars(BTCUSDT=1.01)
        await runner.until(lambda: runner.held(BTC) > 0)
        await runner.settled()
        assert world.position(BTC).qty > 0 and world.position(ETH).qty == 0
        kinds = {(one.kind, one.side, one.reduce_only) for one in world.ours_open()}
        assert kinds == {("stop", "sell", True), ("take-profit", "sell", True)}
        await runner.bars(BTCUSDT=0.99, ETHUSDT=0.98)
        await runner.until(lambda: runner.held(BTC) < 0 and runner.held(ETH) < 0)
        await runner.settled()
        assert world.position(BTC).qty < 0 and world.position(ETH).qty < 0
        assert {(one.kind, one.side) for one in world.ours_open()} == {("stop", "buy"), ("take-profit", "buy")}
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        await runner.bars()
        await runner.until(lambda: not runner.held(BTC) and not runner.held(ETH))
        await runner.settled()
        assert not world.ours_open() and not world.position(BTC).qty and not world.position(ETH).qty
        entries = [one for one in engine.orders.values() if not one.reduce_only]
        assert len(entries) == 3  # no order crossed zero: what turned was closed first
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        assert not runner.alarms

    play(story)


def test_stops_and_takes_fire_at_the_venue() -> None:
    """The venue's own trades end the position, the other order goes, and the bot stays out as it should."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        await runner.bars(BTCUSDT=1.01, ETHUSDT=0.99)
        await runner.until(lambda: runner.held(BTC) > 0 > runner.held(ETH))
        await runner.settled()
        world.venue.engine.stops_survive = True
        world.venue.set_price("BTCUSDT", "47500")  # through the long's stop
        world.venue.set_price("ETHUSDT", "1770")  # through the short's target
        await runner.until(lambda: not runner.held(BTC) and not runner.held(ETH))
        await runner.settled()
        assert not world.ours_open() and not world.position(BTC).qty and not world.position(ETH).qty
        fired = [one.kind for one in world.venue.engine.orders.values() if one.triggered and one.filled]
        assert sorted(fired) == ["stop", "take-profit"]
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        assert not runner.alarms

    play(story)


def test_funding_is_paid_and_received() -> None:
    """Each payment is booked once, by its amount, with the stream cut and over a restart."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        await runner.bars(BTCUSDT=1.01, ETHUSDT=0.99)
        await runner.until(lambda: runner.held(BTC) > 0 > runner.held(ETH))
        await runner.settled()
        world.venue.pay_funding("BTCUSDT", "0.001")
        world.venue.pay_funding("ETHUSDT", "0.0005")
        await runner.until(lambda: abs(world.wallet() - 5000 - runner.money()) < 1e-6)
        await runner.stop()
        world.venue.pay_funding("BTCUSDT", "-0.002")
        runner = await world.start()
        await runner.ready()
        await runner.until(lambda: abs(world.wallet() - 5000 - runner.money()) < 1e-6)
        paid = sum(float(one.amount) for one in world.venue.engine.fundings)
        assert abs(float(runner.account["funding"]) - paid) < 1e-6
        assert len(world.venue.engine.fundings) == 3

    play(story)


def test_many_fills_of_one_instant() -> None:
    """A market order that walks the book makes trades of one instant: each is booked, and reading them ends."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        world.venue.engine.set_depth("BTCUSDT", "0.013", count=5)
        world.venue.set_price("BTCUSDT", "50000")
        await runner.bars(BTCUSDT=1.01)
        await runner.until(lambda: runner.held(BTC) > 0)
        await runner.settled()
        assert len(world.venue.engine.trades) >= 3
        asked = len(world.venue.requests)
        await asyncio.sleep(1.0)
        trades = [one for one in world.venue.requests[asked:] if one["label"] == "trades"]
        assert len(trades) < 40
        await runner.stop()
        runner = await world.start()
        await runner.ready()
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01

    play(story)


def test_liquidation_cuts_the_desk() -> None:
    """A price that jumps over the stop liquidates: the desk books the loss to the cent, alarms, takes no new risk."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        await runner.bars(BTCUSDT=1.01)
        await runner.until(lambda: runner.held(BTC) > 0)
        await runner.settled()
        world.venue.set_price("BTCUSDT", "30000")
        await runner.until(lambda: not runner.held(BTC))
        await runner.until(lambda: "reconciliation" in runner.standing())
        assert any(alarm.startswith("liquidation") for alarm in runner.alarms)
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        await runner.until(lambda: not world.ours_open() and not len(runner.opened.engine.desk.working))
        count = len(world.venue.engine.orders)
        await runner.bars(BTCUSDT=1.01)
        await asyncio.sleep(0.3)
        assert len(world.venue.engine.orders) == count
        world.say("resume")
        await runner.until(lambda: not runner.standing())
        await runner.bars(BTCUSDT=1.01)
        await asyncio.sleep(0.3)
        assert len(world.venue.engine.orders) == count  # as after any protective exit: not before a target of 0
        await runner.bars()
        await runner.bars(BTCUSDT=1.01)
        await runner.until(lambda: runner.held(BTC) > 0)

    play(story)


def test_somebody_else_trades_the_same_contract() -> None:
    """What is taken from ours is cut at their price; what they hold beside ours bars entries until it is gone."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        await runner.bars(BTCUSDT=1.01)
        await runner.until(lambda: runner.held(BTC) > 0)
        await runner.settled()
        held = runner.held(BTC)
        world.venue.set_price("BTCUSDT", "50700")
        world.venue.foreign("BTCUSDT", "sell", "market", "0.01")
        await runner.until(lambda: abs(runner.held(BTC) - (held - 0.01)) < 1e-9)
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01  # at their price, their fee in it
        await runner.settled()
        world.say("resume")
        await runner.until(lambda: not runner.standing())
        world.venue.foreign("BTCUSDT", "sell", "market", "0.1")  # more than ours: turned short
        await runner.until(lambda: runner.held(BTC) == 0.0)
        await runner.until(lambda: "market" in runner.standing())
        await runner.until(lambda: not world.ours_open())
        world.say("resume")
        await runner.until(lambda: "reconciliation" not in runner.standing())
        before = [one for one in world.venue.engine.orders.values() if one.symbol == "BTCUSDT"]
        await runner.bars(BTCUSDT=0.99, ETHUSDT=1.01)
        await runner.until(lambda: runner.held(ETH) > 0)  # the other symbol goes on
        assert [one for one in world.venue.engine.orders.values() if one.symbol == "BTCUSDT"] == before
        left = -world.position(BTC).qty
        assert left > 0
        world.venue.foreign("BTCUSDT", "buy", "market", str(left))
        await runner.until(lambda: "market" not in runner.standing())

    play(story)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart_with_an_open_position(how: str) -> None:
    """The next start takes up position and stop; what fired meanwhile is booked as it happened."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        await runner.bars(BTCUSDT=1.01, ETHUSDT=0.99)
        await runner.until(lambda: runner.held(BTC) > 0 > runner.held(ETH))
        await runner.settled()
        stops = sorted(one.client_id for one in world.ours_open())
        await (runner.kill() if how == "kill" else runner.stop())
        runner = await world.start()
        await runner.ready()
        await runner.settled()
        assert sorted(one.client_id for one in world.ours_open()) == stops
        await (runner.kill() if how == "kill" else runner.stop())
        world.venue.set_price("BTCUSDT", "47500")  # the stop fires while nobody is there
        runner = await world.start()
        await runner.until(lambda: not runner.held(BTC))
        await runner.ready()
        await runner.settled()
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        await runner.bars()
        await runner.until(lambda: not runner.held(ETH))
        await runner.settled()
        assert not world.ours_open() and not runner.alarms

    play(story)


def test_liquidated_while_nobody_was_there() -> None:
    """A liquidation that only the records tell of is booked at its price by the next start."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        await runner.bars(ETHUSDT=0.99)
        await runner.until(lambda: runner.held(ETH) < 0)
        await runner.settled(ETH)
        await runner.kill()
        await world.stop_process()
        world.venue.set_price("ETHUSDT", "3500")
        await world.start_process()
        runner = await world.start()
        await runner.until(lambda: not runner.held(ETH))
        await runner.until(lambda: "reconciliation" in runner.standing() and runner.alarms)
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        await runner.until(lambda: not len(runner.opened.engine.desk.working))

    play(story)


def test_killed_at_every_order() -> None:
    """Killed while orders are under way, again and again: none is doubled or lost, and what is held has its stop."""

    async def story(world: PerpWorld) -> None:
        for number, factor in enumerate((1.01, 0.98, 1.02, 0.99)):
            runner = await world.start()
            await runner.ready()
            if number % 2:
                world.venue.faults.add(Fault("timeout", label="place", accepted=number == 1, seconds=10.0))
            await runner.bars(BTCUSDT=factor)
            await asyncio.sleep(0.02 * (number + 1))
            await runner.kill()
            world.venue.faults.clear()
        runner = await world.start()
        await runner.until(lambda: runner.venue.health()["ready"])
        await runner.settled()
        await runner.bars()
        await runner.until(lambda: not runner.held(BTC))
        await runner.settled()
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        ids = [one.client_id for one in world.venue.orders()]
        assert len(ids) == len(set(ids))

    play(story)


def test_cut_off_and_back() -> None:
    """Streams cut, the venue gone for a while, answers lost: a stop that fires meanwhile is booked, nothing twice."""

    async def story(world: PerpWorld) -> None:
        runner = await world.start()
        await runner.ready()
        await runner.bars(BTCUSDT=1.01, ETHUSDT=0.99)
        await runner.until(lambda: runner.held(BTC) > 0 > runner.held(ETH))
        await runner.settled()
        world.venue.streams.cut("user")
        await world.venue.listen(False)
        world.venue.set_price("BTCUSDT", "47500")
        world.venue.pay_funding("ETHUSDT", "0.001")
        await runner.until(lambda: {"stream", "venue"} & set(runner.standing()))
        assert runner.held(BTC) > 0
        await world.venue.listen(True)
        await runner.until(lambda: not runner.held(BTC))
        await runner.ready()
        await runner.settled()
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01
        world.venue.faults.add(Fault("reset", label="place", accepted=True), Fault("drop", label="user:*", times=3))
        await runner.bars(BTCUSDT=0.99, ETHUSDT=0.99)
        await runner.until(lambda: runner.held(BTC) < 0)
        await runner.settled()
        assert abs(world.wallet() - 5000 - runner.money()) < 0.01

    play(story)


def test_an_account_that_is_set_up_otherwise_is_refused() -> None:
    """Cross margin, hedge mode, or a position at another leverage: no start, and in a session no new risk."""

    async def story(world: PerpWorld) -> None:
        desk, engine = world.venue.desk, world.venue.engine
        told, position = desk.info, desk.position

        async def refused() -> str:
            await world.stop_process()
            await world.start_process()
            with pytest.raises(RefusedError) as error:
                await world.start()
            return str(error.value)

        desk.info = lambda dcp: {**told(dcp), "marginMode": "REGULAR_MARGIN"}  # type: ignore[method-assign]
        assert "isolated" in await refused()
        desk.info = told  # type: ignore[method-assign]
        desk.position = lambda symbol: {**position(symbol), "positionIdx": 1}  # type: ignore[method-assign]
        assert "one-way" in await refused()
        desk.position = position  # type: ignore[method-assign]
        assert not engine.account("main").leverage and not engine.orders
        world.venue.foreign("BTCUSDT", "buy", "market", "0.01")
        assert "leverage 1" in await refused() and "BTCUSDT" not in engine.account("main").leverage
        world.venue.foreign("BTCUSDT", "sell", "market", "0.01")
        await world.stop_process()
        await world.start_process()
        runner = await world.start()
        await runner.ready()
        assert engine.account("main").leverage == {"BTCUSDT": 3, "ETHUSDT": 3}
        desk.info = lambda dcp: {**told(dcp), "marginMode": "REGULAR_MARGIN"}  # type: ignore[method-assign]
        assert world.process is not None
        world.process.account.modes_at = float("-inf")  # as if a minute had gone
        await runner.until(lambda: "venue" in runner.standing())
        why = [said for said in runner.venue.health()["conditions"] if said.startswith("venue")]
        assert len(why) == 1 and "isn't isolated" in why[0]
        await runner.bars(BTCUSDT=1.01)
        await asyncio.sleep(0.2)
        assert not world.ours_open() and not world.position(BTC).qty
        desk.info = told  # type: ignore[method-assign]
        await runner.until(lambda: "venue" not in runner.standing())

    play(story)
