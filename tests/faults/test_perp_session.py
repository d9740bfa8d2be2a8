"""Perpetuals live: the real bot, exchange process and ccxt on the local venue, judged by the venue's own records."""

from __future__ import annotations

from pathlib import Path

from tests.faults.perp_world import BTC, ETH, PerpWorld, play


def test_long_short_and_out(tmp_path: Path) -> None:
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

    play(tmp_path, story)
