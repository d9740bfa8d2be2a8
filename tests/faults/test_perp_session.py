"""Perpetuals live: the real bot, exchange process and ccxt on the local venue, judged by the venue's own records."""

from __future__ import annotations

from pathlib import Path

from tests.faults.perp_world import BTC, ETH, PerpWorld, play


def test_long_short_and_out(tmp_path: Path) -> None:
    """Entries either way, turned by two orders, reduce-only exits, protection at the venue; money to the cent."""

    async def story(world: PerpWorld) -> None:
        bot = await world.start()
        await bot.ready()
        engine = world.venue.engine
        assert engine.account("main").leverage == {"BTCUSDT": 3, "ETHUSDT": 3}
        await bot.bars(BTCUSDT=1.01)
        await bot.until(lambda: bot.held(BTC) > 0)
        await bot.settled()
        assert world.position(BTC).qty > 0 and world.position(ETH).qty == 0
        kinds = {(one.kind, one.side, one.reduce_only) for one in world.ours_open()}
        assert kinds == {("stop", "sell", True), ("take-profit", "sell", True)}
        await bot.bars(BTCUSDT=0.99, ETHUSDT=0.98)
        await bot.until(lambda: bot.held(BTC) < 0 and bot.held(ETH) < 0)
        await bot.settled()
        assert world.position(BTC).qty < 0 and world.position(ETH).qty < 0
        assert {(one.kind, one.side) for one in world.ours_open()} == {("stop", "buy"), ("take-profit", "buy")}
        assert abs(world.wallet() - 5000 - bot.money()) < 0.01
        await bot.bars()
        await bot.until(lambda: not bot.held(BTC) and not bot.held(ETH))
        await bot.settled()
        assert not world.ours_open() and not world.position(BTC).qty and not world.position(ETH).qty
        entries = [one for one in engine.orders.values() if not one.reduce_only]
        assert len(entries) == 3  # no order crossed zero: what turned was closed first
        assert abs(world.wallet() - 5000 - bot.money()) < 0.01
        assert not bot.alarms

    play(tmp_path, story)
