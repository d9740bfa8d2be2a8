"""Kills, other people's hands, streams and halts; the real bot, judged by the venue (see `test_rows`)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from tests.faults import judge
from tests.faults.nursery import DEATHS, Nursery
from tests.faults.scenes import BTC, ETH, Play, Scene

PLAY = Play()
ROWS = dict(zip(DEATHS, (22, 23, 24, 25), strict=True))


def _killed(how: str) -> None:
    @PLAY.scene(name=f"{ROWS[how]} SIGKILL {how}")
    async def story(s: Scene) -> None:
        """What left is found, what didn't is lost; nothing is sent twice; what is held gets its stop."""
        if how == "in-flight":
            s.spoil("delay", accepted=False, seconds=0.4)  # the kill comes first: the request still arrives
        s.life.start(die=how, nth=1)
        s.hold(BTC)
        assert await s.life.ended() == -9
        await asyncio.sleep(0.6)
        stood = [one for one in s.ours(BTC) if one.kind == "market"]
        assert len(stood) == (0 if how in ("before-journal", "before-send") else 1), stood
        numbers = {one.client_id for one in stood}
        await s.start()
        await s.bought()
        if stood:
            assert {one.client_id for one in s.ours(BTC, "market")} == numbers, "it bought again"
        await s.judged()


for death in DEATHS:
    _killed(death)


@PLAY.scene(name="26 what stood when it died filled meanwhile")
async def filled_meanwhile(s: Scene) -> None:
    """The stop sold while nobody was there: the next start knows it and doesn't sell again."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    await s.life.kill()
    s.hold()
    s.crash = BTC
    await s.see(lambda: not s.ours(BTC, "stop", standing=True))
    await s.start()
    await s.quiet()
    ledger = await s.judged()
    assert abs(ledger.held("BTC/USDT")) < Decimal("0.00001")


@PLAY.scene(name="26 a cancel that never left")
async def cancel_lost(s: Scene) -> None:
    """Decided, written, and killed before it was sent: the next start cancels, and sells."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.spoil("timeout", "cancel", accepted=False, times=3)
    s.hold()
    await s.see(s.hit)
    await s.life.kill()
    s.venue.faults.clear()
    await s.start()
    await s.sold()
    await s.judged()


@PLAY.scene(name="27 coins moved by hand")
async def moved(s: Scene) -> None:
    """A little more or less of what is foreign is adopted; the bot trades on, and touches none of it."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    for amount in ("0.0005", "-0.001"):
        s.venue.engine.deposit("BTC", amount, s.venue.now_ms())
        s.foreign["BTC"] += Decimal(amount)
        await asyncio.sleep(1.5)
    s.hold(ETH)
    await s.sold()
    await s.bought(ETH)
    await s.judged()


@PLAY.scene(name="27 a great deal moved by hand")
async def moved_much(s: Scene) -> None:
    """Adopted too, but no new risk until a person has looked; ways out stay open."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.venue.engine.deposit("BTC", "-1", s.venue.now_ms())
    s.foreign["BTC"] -= 1
    await s.level("NO_NEW_RISK")
    s.hold(ETH)
    await s.sold()
    await asyncio.sleep(1.5)
    assert not s.ours(ETH)
    await s.judged()


@PLAY.scene(name="28 foreign orders")
async def foreign_orders(s: Scene) -> None:
    """They stand where they stood, also when the bot starts, trades and cancels."""
    far = s.venue.foreign(BTC, "sell", "limit", "0.3", limit="90000")
    await s.start()
    near = s.venue.foreign(ETH, "buy", "limit", "0.5", limit="1000")
    s.hold(BTC)
    await s.bought()
    s.hold()
    await s.sold()
    assert far.is_open and near.is_open
    told = await s.life.until(lambda told: told["exchange"]["foreign_orders"] == 2)
    assert told["level"] == "ACTIVE"
    await s.judged()


@PLAY.scene(name="29 what was ours was sold by hand")
async def sold_by_hand(s: Scene) -> None:
    """The desk is cut to what is left, nothing is made up from elsewhere, a person has to look."""
    await s.start()
    s.hold(ETH)
    await s.bought(ETH)
    (stop,) = s.ours(ETH, "stop", standing=True)
    s.venue.engine.end(stop, s.venue.now_ms(), "CANCELED", "by hand")
    s.venue.foreign(ETH, "sell", "market", str(stop.qty))
    await s.level("NO_NEW_RISK")
    await s.life.until(lambda told: abs(told["positions"]["ETH/USDT"]["qty"]) < 0.001)
    await s.judged()


@PLAY.scene(name="30 a halted symbol")
async def halted(s: Scene) -> None:
    """No new risk in that one alone; the other is traded."""
    await s.start()
    s.venue.engine.set_status(ETH, "BREAK", s.venue.now_ms())
    await s.life.until(lambda told: any("ETH/USDT" in one for one in told["exchange"]["conditions"]))
    s.hold(BTC, ETH)
    await s.bought(BTC)
    assert not s.ours(ETH)
    s.venue.engine.set_status(ETH, "TRADING", s.venue.now_ms())
    await s.bought(ETH)
    await s.judged()


@PLAY.scene(name="31 fees in a third coin")
async def third_coin(s: Scene) -> None:
    """They aren't taken from what was bought; all of it is sold again."""
    s.venue.set_price("BNBUSDT", "500")
    s.venue.engine.deposit("BNB", "3", s.venue.now_ms())
    s.venue.engine.account("main").fee_coin = "BNB"
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.hold()
    await s.sold()
    ledger = await s.judged()
    assert ledger.held("BTC/USDT") == 0 and s.held("BTC") == 0
    assert s.venue.engine.account("main").total("BNB") < 3


@PLAY.scene(name="7 a part fills, then the streams are cut")
async def partly(s: Scene) -> None:
    """The trades are fetched."""
    await s.start()
    s.spoil("partial-cut")
    s.hold(BTC)
    await s.bought()
    await s.judged()


def _messages(kind: str, number: str) -> None:
    @PLAY.scene(name=f"{number} private messages: {kind}")
    async def story(s: Scene) -> None:
        """Whatever becomes of the messages, each trade is booked once."""
        await s.start()
        s.spoil(kind, "user:*", times=6, seconds=0.3)
        s.hold(BTC)
        await s.bought()
        s.hold()
        await s.sold()
        assert s.hit()
        await s.judged()


for told, row in (("drop", "8"), ("reorder", "9, 11"), ("duplicate", "10"), ("disconnect", "8, 53")):
    _messages(told, row)


@PLAY.scene(name="53 the stream is cut politely")
async def polite(s: Scene) -> None:
    """A fill in between is read before new risk."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.venue.streams.cut("*", politely=True)
    s.crash = BTC
    s.hold()
    await s.see(lambda: not s.ours(BTC, "stop", standing=True))
    ledger = await s.judged()
    assert abs(ledger.held("BTC/USDT")) < Decimal("0.00001")


@PLAY.scene(name="41 another session of this bot")
async def another(s: Scene) -> None:
    """An order of its id and a session nobody knows: it halts, and the latch says so to the next start."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    s.venue.foreign(ETH, "buy", "limit", "0.5", limit="1000", client_id=f"{s.life.bot_id()}deadbeef{1:016x}")
    await s.level("HALTED")
    assert s.ours(BTC, "stop", standing=True), "its protection went"
    await s.life.stop()
    before = s.placed()
    s.life.start()
    assert await s.life.ended() == 3 and "HALTED" in s.life.said() and s.placed() == before


@PLAY.scene(name="41 a second process")
async def second(s: Scene) -> None:
    """Refused while the first one runs, before it touches anything; the first goes on."""
    await s.start()
    first = s.life.pid
    s.life.start()
    assert await s.life.ended() == 3, s.life.said()[-500:]
    s.life.pid, s.life.code = first, None
    s.hold(BTC)
    await s.bought()
    await s.judged()


@PLAY.scene(name="44 the key is revoked")
async def revoked(s: Scene) -> None:
    """It halts."""
    await s.start()
    s.hold(BTC)
    await s.bought()
    await s.venue.command({"do": "key", "api_key": "venue-key", "revoked": True})
    await s.level("HALTED")
    before = s.placed()
    s.hold(ETH)
    await asyncio.sleep(1.5)
    assert s.placed() == before


def _rights(row: str, **rights: bool) -> None:
    @PLAY.scene(name=row)
    async def story(s: Scene) -> None:
        """Refused before anything is placed."""
        await s.venue.command({"do": "key", "api_key": "venue-key", **rights})
        s.life.start()
        assert await s.life.ended() == 3, s.life.said()[-500:]
        assert not s.placed() and not (s.life.account / "journal.sqlite").exists()


_rights("42 a key that can't trade", trade=False)
_rights("43 a key that can withdraw", withdraw=True)


@PLAY.scene(name="18 the venue's clock drifts")
async def drifts(s: Scene) -> None:
    """No new risk beyond the limit; afterwards it trades."""
    await s.start()
    await asyncio.sleep(1.5)  # the bars' feed has measured the clock, too
    s.venue.offset_ms = 900.0
    await s.level("NO_NEW_RISK")
    s.hold(BTC)
    await asyncio.sleep(1.2)
    assert not s.ours()
    s.venue.offset_ms = 0.0
    await s.bought()
    await s.judged()


@pytest.fixture(scope="module")
def played(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All scenes, once."""
    folder: Path = tmp_path_factory.mktemp("a")
    return PLAY.run(nursery, folder)


@pytest.mark.parametrize("name", list(PLAY.scenes))
def test_row(played: dict[str, str], name: str) -> None:
    """The venue's orders, trades and balances are right, and the journal knows them."""
    assert not played[name], played[name]


def test_the_judge_sees_what_is_wrong() -> None:
    """A verdict is worth something only if it can be bad: an order twice, one that nobody decided, coins sold."""
    ledger = judge.Ledger("0a1b2c3d")
    one = {
        "client_id": f"0a1b2c3d11112222{5:016x}", "id": 1, "symbol": BTC, "side": "sell", "kind": "market",
        "qty": "0.1", "filled": "0.1", "status": "FILLED", "created_ms": 1, "reason": "",
    }  # fmt: skip
    trade = {"id": 1, "order_id": 1, "symbol": BTC, "side": "sell", "qty": "0.1", "price": "50000", "ms": 1,
             "fee": "0", "fee_coin": "USDT"}  # fmt: skip
    truth = {"orders": [one, {**one, "id": 2}], "trades": [trade], "balances": {}, "prices": {BTC: "1", ETH: "1"}}
    wrong = judge.faults(truth, ledger, foreign={}, limits={"order_notional": "9", "position_notional": "9",
                                                            "orders_per_minute": 1})  # fmt: skip
    for what in ("stands 2 times", "was sent 2 times", "isn't in the journal", "that weren't ours"):
        assert any(what in line for line in wrong), wrong
