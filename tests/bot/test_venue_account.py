"""Whose is what: foreign coins beside ours, hands that move them, fees in any coin, positions, funding, liquidation."""

import asyncio
import json
from decimal import Decimal

import pytest

from bot.exchange import wire
from bot.exchange.account import Account
from bot.exchange.grid import number
from bot.exchange.line import VenueSettings
from bot.exchange.wire import TradeView
from risk.orders import FILLED, STATES
from risk.records import MARKET
from tests.sim.matching import spot_market
from tests.sim.stage import Stage, play


async def bought(s: Stage, qty: float = 1.0) -> None:
    """Buy at market and let it be told."""
    order = await s.order(qty=qty, kind=MARKET, limit=0.0)
    await asyncio.sleep(5)
    assert s.state(order) == STATES[FILLED]


def cut(s: Stage) -> list[tuple[str, float]]:
    """What the desk was cut to."""
    return [(one.symbol, one.qty) for one in s.desk.outside]


def test_baseline_is_what_is_not_ours() -> None:
    """The first start takes all but the allocation for foreign, and it survives a restart as JSON."""

    async def scene(s: Stage) -> None:
        assert s.desk.memory["foreign"] == {"BTC": "2", "USDT": "500"}
        assert json.loads(json.dumps(s.desk.memory)) == s.desk.memory
        s.matching._take = lambda order, now_s: s.fill(1, "1")  # type: ignore[method-assign]
        await bought(s)
        await s.again()
        assert s.bot.venue.health()["foreign"] == {"BTC": "2", "USDT": "500"}
        assert s.desk.outside == []

    play(scene)


def test_more_than_ours_is_adopted() -> None:
    """27: a small deposit is adopted and told; a great one also allows no new risk."""

    async def scene(s: Stage) -> None:
        s.matching.transfer("BTC", Decimal("0.1"))
        await asyncio.sleep(45)
        assert s.bot.venue.health()["foreign"]["BTC"] == "2.1" and s.desk.standing() == [] and s.desk.alarms
        s.matching.transfer("BTC", Decimal(-2))
        await asyncio.sleep(45)
        assert s.bot.venue.health()["foreign"]["BTC"] == "0.1" and s.desk.standing() == ["reconciliation"]
        assert s.desk.outside == []

    play(scene)


def test_less_than_ours_cuts_the_desk() -> None:
    """29: somebody sold what was ours: the desk is cut once, and a person has to resume."""

    async def scene(s: Stage) -> None:
        await bought(s)
        s.matching.by_hand(s.symbol, Decimal("-2.5"), s.loop.time())
        await asyncio.sleep(100)
        assert cut(s) == [(s.symbol, 0.499)] and s.desk.standing() == ["reconciliation"]
        assert s.bot.venue.health()["foreign"]["BTC"] == "0"
        await s.again()
        await asyncio.sleep(60)
        assert len(cut(s)) == 1

    play(scene)


def test_missing_quote_is_told_once() -> None:
    """29: quote of ours that is gone can't be cut: no new risk, one alarm."""

    async def scene(s: Stage) -> None:
        s.matching.transfer("USDT", Decimal(-2_000))
        await asyncio.sleep(200)
        assert s.desk.standing() == ["reconciliation"]
        assert sum("are missing" in alarm for alarm in s.desk.alarms) == 1

    play(scene)


def test_dust_is_nothing() -> None:
    """32: less than a lot isn't worth a word."""

    async def scene(s: Stage) -> None:
        s.matching.transfer("BTC", Decimal("-0.0009"))
        await asyncio.sleep(60)
        assert s.desk.standing() == [] and s.desk.alarms == []

    play(scene)


def test_dust_that_an_exit_lacks_is_written_off() -> None:
    """Less than a lot is missing, but ours makes one lot less to sell: else all of it could not be sold for good."""

    async def scene(s: Stage) -> None:
        await bought(s)
        for _ in range(20):  # all that is foreign goes, in parts that nobody minds
            s.matching.transfer("BTC", Decimal("-0.1"))
            await asyncio.sleep(45)
        assert s.bot.venue.health()["foreign"]["BTC"] == "0" and cut(s) == [] and s.desk.standing() == []
        s.matching.transfer("BTC", Decimal("-0.0005"))
        await asyncio.sleep(45)
        assert cut(s) == [(s.symbol, 0.9985)]
        assert s.desk.standing() == [] and "ours is cut to 0.9985" in s.desk.alarms[-1]
        order = await s.bot.submit(s.symbol, -1, 0.998, kind=MARKET)
        await asyncio.sleep(5)
        assert s.state(order) == STATES[FILLED]

    play(scene)


def test_perp_position_and_exit() -> None:
    """Positions are compared, exits are reduce-only, a liquidation cuts the desk."""

    async def scene(s: Stage) -> None:
        await bought(s)
        assert s.desk.standing() == [] and s.desk.memory["foreign"] == {s.symbol: "0"}
        order = await s.bot.submit(s.symbol, -1, 0.4, kind=MARKET)
        await asyncio.sleep(5)
        assert s.state(order) == STATES[FILLED]
        assert [m.reduce_only for m in s.exchange.asked if isinstance(m, wire.Place)][-1]
        s.matching.by_hand(s.symbol, Decimal("-0.6"), s.loop.time(), client_id="autoclose-1")
        await asyncio.sleep(20)
        assert cut(s) == [(s.symbol, 0.0)] and s.desk.standing() == ["reconciliation"]

    play(scene, perp=True)


def test_funding_is_booked_once() -> None:
    """Each payment by its id, also over a restart."""

    async def scene(s: Stage) -> None:
        await bought(s)
        for _ in range(2):
            s.matching.fund(s.symbol, Decimal("0.0001"), s.loop.time())
            await asyncio.sleep(40)
        assert [(one.venue_id, one.amount) for one in s.desk.fundings] == [("f1", 0.01), ("f2", 0.01)]
        await s.again()
        s.matching.fund(s.symbol, Decimal("0.0001"), s.loop.time())
        await asyncio.sleep(40)
        assert [one.venue_id for one in s.desk.fundings] == ["f1", "f2", "f3"]

    play(scene, perp=True)


def view(**given: str) -> TradeView:
    """A trade of 2 BTC at 100."""
    fields = {"side": "buy", "fee": "0.002", "fee_currency": "BTC", **given}
    return TradeView(
        trade_id="1", venue_id="v", client_id="", symbol="BTC/USDT", qty="2", price="100", maker=False, ns=0, **fields
    )


def account(mark: float = 100.0) -> Account:
    """BTC and BNB of ours, foreign ones beside them."""
    return Account(
        symbols=["BTC/USDT", "BNB/USDT"], perp=False, held=lambda s: 1.0, quote_held=lambda: 100.0, mark=lambda s: mark,
        foreign={"BTC": "1", "BNB": "1", "USDT": "0"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected", "foreign"),
    [
        ({}, (0.2, 0.002, 0.0), {"BTC": "1", "BNB": "1"}),
        ({"side": "sell", "fee": "0.3", "fee_currency": "USDT"}, (0.3, 0.0, 0.0), {"BTC": "1", "BNB": "1"}),
        ({"fee": "-0.1", "fee_currency": "USDT"}, (-0.1, 0.0, 0.0), {"BTC": "1", "BNB": "1"}),
        ({"fee": "0.003", "fee_currency": "BNB"}, (0.3, 0.0, 0.3), {"BTC": "1", "BNB": "0.997"}),
        ({"side": "sell"}, (0.2, 0.0, 0.2), {"BTC": "0.998", "BNB": "1"}),
        ({"fee": "5", "fee_currency": "OKB"}, (0.2, 0.0, 0.2), {"BTC": "1", "BNB": "1"}),
    ],
)
def test_fees_in_any_coin(given: dict[str, str], expected: tuple[float, float, float], foreign: dict[str, str]) -> None:
    """31: quote, the coin bought, or a third one, which is worth its price or the market's rate."""
    one = account()
    assert one.fees(view(**given), spot_market("BTC/USDT")) == pytest.approx(expected)
    assert one.foreign is not None
    assert {key: str(one.foreign[key].normalize()) for key in foreign} == foreign


def test_what_is_no_number_is_no_answer() -> None:
    """Text that isn't a finite decimal is never taken for one."""
    for text in ("", "NaN", "inf", "1e", "0x1"):
        with pytest.raises(ValueError):
            number(text)


def test_an_engine_that_takes_nothing_is_told_of() -> None:
    """Without the engine taking reports nothing is compared, and somebody hears of it."""

    async def scene(s: Stage) -> None:
        order = await s.order(kind=MARKET, limit=0.0)
        s.bot._tasks[0].cancel()
        await asyncio.sleep(120)
        assert any(alarm.startswith("engine") for alarm in s.desk.alarms)
        assert s.bot.venue.health()["untaken"] > 0 and order

    play(scene, settings=VenueSettings(silent_s=30.0))
