"""Bad bars, a failing strategy, a journal that can't be written: the real bot and the venue (see `test_rows`)."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bot.session.running import SystemClock
from tests.faults.nursery import Nursery
from tests.faults.scenes import BTC, ETH, Play, Scene

PLAY = Play()
HEAD = '''"""A strategy that fails when it is told to: while the coin falls."""

from signals import Momentum
from strategies.base import Strategy


class Failing(Strategy):
    """Hold what rose; fail over what fell by more than a little."""

    stop_loss = 0.05
    rise = Momentum(1)

    @staticmethod
    def weigh(s, p):
        """A fifth, or a failure."""
'''
RAISES = HEAD + "        return 0.2 if s.rise > 0.0 else 1 // int(s.rise > -0.0005) * 0.0\n"
NAN = HEAD + "        return 0.2 if s.rise > 0.0 else (0.0 if s.rise > -0.0005 else float('nan'))\n"


def _spoil_bar(s: Scene, name: str, **values: str) -> None:
    """The next bar that closes carries these values."""
    bar = s.venue.bar

    def spoilt(symbol: str, interval: str, open_ms: int, told: Any, **more: Any) -> None:
        if symbol == name and more.get("closed", True) and s.wanted_bad:
            told = [
                values.get(key, one) for key, one in zip(("open", "high", "low", "close"), told[:4], strict=True)
            ] + [told[4]]
        bar(symbol, interval, open_ms, told, **more)

    s.venue.bar = spoilt  # type: ignore[method-assign]


@PLAY.scene(name="33 bars that can't be true")
async def bad_bars(s: Scene) -> None:
    """Nothing is decided on them: what is held stays, with its stop; then it goes on."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.wanted_bad = True
    _spoil_bar(s, BTC, close="NaN", low="-1")
    s.hold()
    await asyncio.sleep(4.0)
    assert s.ours(BTC, "stop", standing=True) and s.held("BTC") > 0
    s.wanted_bad = False
    await s.sold()
    await s.judged()


@PLAY.scene(name="34-36 bars changed afterwards, missing, told twice")
async def odd_bars(s: Scene) -> None:
    """They cost no order more and none less."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    orders = len(s.ours())
    now = s.venue.now_ms() // 1000 * 1000
    for back in (3, 4, 5):  # those the bot has had: a newer one may still be on its way, and would be what it is
        price = s.tape.prices[BTC]
        s.venue.bar(BTC, "1s", now - back * 1000, (price, price * 2, price / 2, price / 2, 1))
    await asyncio.sleep(2.5)
    assert len(s.ours()) == orders
    await s.judged()


def _failing(row: str, text: str) -> None:
    @PLAY.scene(name=row, strategy=text)
    async def story(s: Scene) -> None:
        """What is held stays held, with its stop; after so many failures no new risk is taken."""
        await s.start()
        s.hold(BTC)
        await s.bought()
        s.slump = 0.999
        s.hold()
        await s.level("NO_NEW_RISK")
        assert s.ours(BTC, "stop", standing=True) and s.held("BTC") > 0
        s.slump = 0.9997
        await s.sold()
        s.hold(ETH)
        await asyncio.sleep(2.0)
        assert not s.ours(ETH)
        await s.judged()


_failing("46 the strategy raises", RAISES)


@PLAY.scene(name="47 the strategy returns NaN", strategy=NAN)
async def nan(s: Scene) -> None:
    """NaN is no weight: what is held stays held, with its stop."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.slump = 0.999
    s.hold()
    await asyncio.sleep(3.5)
    assert s.ours(BTC, "stop", standing=True) and s.held("BTC") > 0
    s.slump = 0.9997
    await s.sold()
    await s.judged()


@PLAY.scene(name="37 the journal is locked by another program")
async def locked(s: Scene) -> None:
    """Nothing is sent that isn't written; it halts, the stop stands; a person resumes, and it sells."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    await s.quiet()
    other = sqlite3.connect(s.life.account / "journal.sqlite", isolation_level=None, timeout=5)
    other.execute("BEGIN IMMEDIATE")
    before = s.placed()
    s.hold()
    code = await s.life.ended()
    other.rollback()
    other.close()
    assert code not in (0, None) and s.placed() == before, (code, s.life.said()[-800:])
    assert s.ours(BTC, "stop", standing=True)
    s.life.start()
    assert await s.life.ended() == 3, s.life.said()[-800:]
    await s.judged(quiet=False)


@PLAY.scene(name="38 the disk is full")
async def full(s: Scene) -> None:
    """No journal, no send: it halts, and the stop stands."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    await s.quiet()
    before = s.placed()
    resource.prlimit(s.life.pid, resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
    s.hold()
    code = await s.life.ended()
    assert code not in (0, None) and s.placed() == before, (code, s.life.said()[-800:])
    assert s.ours(BTC, "stop", standing=True)
    await s.judged(quiet=False)


@pytest.fixture(scope="module")
def played(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All scenes, once."""
    folder: Path = tmp_path_factory.mktemp("m")
    return PLAY.run(nursery, folder)


@pytest.mark.parametrize("name", list(PLAY.scenes))
def test_row(played: dict[str, str], name: str) -> None:
    """The venue's orders, trades and balances are right, and the journal knows them."""
    assert not played[name], played[name]


def test_time_inside_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """19: a clock that is set back stands still inside."""
    clock = SystemClock()
    told = iter([100, 50, 101])
    monkeypatch.setattr("time.time_ns", lambda: next(told))
    assert [clock.now_ns() for _ in range(3)] == [100, 100, 101]
