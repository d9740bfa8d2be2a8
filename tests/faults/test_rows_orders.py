"""Orders whose answer is lost, wrong, late or refused; the real bot, judged by the venue (see `test_rows`)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery
from tests.faults.scenes import BTC, Play, Scene

PLAY = Play()
STOOD = {
    "1 no answer, it stood": {"kind": "timeout", "accepted": True},
    "5 cut JSON": {"kind": "truncate"},
    "6 braces": {"kind": "braces"},
    "6 HTML": {"kind": "html"},
    "17 503, it stood": {"kind": "status", "status": 503},
    "12 not found right after its ack": {"kind": "hide", "seconds": 0.5},
}  # fmt: skip
FELL = {
    "2 no answer, it didn't stand": {"kind": "timeout", "accepted": False},
    "17 502, it didn't stand": {"kind": "status", "status": 502, "accepted": False},
    "13 no funds": {"kind": "status", "status": 400, "code": -2010, "accepted": False,
                    "text": "Account has insufficient balance for requested action."},
    "15 too many": {"kind": "status", "status": 429, "code": -1003, "text": "Too many requests.", "retry_after": 1,
                    "accepted": False},
}  # fmt: skip


def _stood(name: str) -> None:
    @PLAY.scene(name=name)
    async def story(s: Scene) -> None:
        """It is found and protected; nothing is sent twice."""
        await s.start()
        s.spoil(**STOOD[name])  # type: ignore[arg-type]
        s.hold(BTC)
        await s.bought()
        assert s.hit() == 1 and len(s.ours(BTC, "market")) == 1
        await s.judged()


def _fell(name: str) -> None:
    @PLAY.scene(name=name)
    async def story(s: Scene) -> None:
        """It never stood: its number is never sent again, a later decision plans anew."""
        await s.start()
        s.spoil(**FELL[name])  # type: ignore[arg-type]
        s.hold(BTC)
        await s.see(s.hit)
        await s.bought()
        first = next(one["client_id"] for one in s.venue.requests if one.get("fault"))
        assert not s.venue.orders(first)
        assert len([one for one in s.venue.requests if one["label"] == "place" and one["client_id"] == first]) == 1
        await s.judged()


for row in STOOD:
    _stood(row)
for row in FELL:
    _fell(row)


@PLAY.scene(name="3 the lost request arrives after a not found")
async def arrives_late(s: Scene) -> None:
    """The fence covers it: one order, found, and no second one meanwhile."""
    await s.start()
    s.spoil("late", seconds=0.4, lookup=True)
    s.hold(BTC)
    await s.bought()
    assert len(s.ours(BTC, "market")) == 1
    await s.judged()


@PLAY.scene(name="16 shut out")
async def shut_out(s: Scene) -> None:
    """While the ban lasts nothing reaches the venue that places; then it goes on."""
    await s.start()
    s.venue.doorman.ban(2.0, s.venue.now_ms())
    s.hold(BTC)
    before = s.placed()
    await asyncio.sleep(1.5)
    assert s.placed() <= before + 1, "it went on placing"
    await s.bought()
    await s.judged()


@PLAY.scene(name="51 the venue ends a stop by itself")
async def stop_ended(s: Scene) -> None:
    """The position gets another stop."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    (stop,) = s.ours(BTC, "stop")
    s.venue.engine.end(stop, s.venue.now_ms(), "EXPIRED", "the venue's own will")
    await s.see(lambda: len(s.ours(BTC, "stop", standing=True)) == 1 and len(s.ours(BTC, "stop")) == 2)
    await s.judged()


@PLAY.scene(name="52 a cancel races the stop's fill")
async def cancel_races(s: Scene) -> None:
    """The fill wins: what the stop sold isn't sold again."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.spoil("race-fill", "cancel")
    s.hold()
    await s.see(lambda: s.hit() and s.held("BTC") < Decimal("0.00001"))
    await s.judged()


@PLAY.scene(name="20 maintenance")
async def maintenance(s: Scene) -> None:
    """No new risk while it lasts; afterwards it trades again."""
    await s.start()
    await s.venue.command({"do": "maintenance", "on": True})
    await s.level("NO_NEW_RISK")
    s.hold(BTC)
    await asyncio.sleep(1.5)
    assert not s.ours()
    await s.venue.command({"do": "maintenance", "on": False})
    await s.bought()
    await s.judged()


@PLAY.scene(name="21 nobody listens")
async def nobody_listens(s: Scene) -> None:
    """What can't be sent is rejected at once; the venue is back, and it trades."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    await s.venue.listen(False)
    s.hold()
    await asyncio.sleep(2.0)
    await s.venue.listen(True)
    await s.sold()
    await s.judged()


@pytest.fixture(scope="module")
def played(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All scenes, once."""
    folder: Path = tmp_path_factory.mktemp("o")
    return PLAY.run(nursery, folder)


@pytest.mark.parametrize("name", list(PLAY.scenes))
def test_row(played: dict[str, str], name: str) -> None:
    """The venue's orders, trades and balances are right, and the journal knows them."""
    assert not played[name], played[name]
