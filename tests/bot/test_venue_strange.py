"""The venue's side when something happens that shouldn't: it holds still and says so."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from bot.exchange import wire
from risk.orders import ACKED, LOST, REJECTED, STATES, UNKNOWN
from risk.records import MARKET
from tests.sim.desk import BOT
from tests.sim.exchange import Faults
from tests.sim.stage import Stage, play

Serve = Callable[[wire.Message], Awaitable[wire.Message]]


def answering(s: Stage, kind: type[wire.Message], answer: wire.Message | Exception) -> None:
    """From now on the process answers this kind of message so."""
    serve: Serve = s.exchange.serve

    async def instead(message: wire.Message, *said: float) -> wire.Message:
        if not isinstance(message, kind):
            return await serve(message, *said)
        if isinstance(answer, Exception):
            raise answer
        return answer

    s.exchange.serve = instead  # type: ignore[method-assign]


def test_an_order_that_had_ended_here_is_cancelled() -> None:
    """Ours by session, unknown to the desk: its fills would be nobody's."""

    async def scene(s: Stage) -> None:
        place = wire.Place(
            client_id=BOT + s.bot.session + "f" * 16, symbol=s.symbol, side="buy", kind="limit", qty="0.1", limit="90"
        )
        s.matching.place(place, s.loop.time())
        await asyncio.sleep(10)
        assert s.matching.orders[-1].status == "cancelled" and s.desk.standing() == []

    play(scene)


@pytest.mark.parametrize("error", [ValueError("no such field"), OSError("odd"), RuntimeError("a fault of ours")])
def test_a_line_that_fails_oddly_makes_an_order_unknown(error: Exception) -> None:
    """Whatever is raised, the request may have left: it is looked up, and lost after the fence."""

    async def scene(s: Stage) -> None:
        answering(s, wire.Place, error)
        number = await s.order()
        await asyncio.sleep(3)
        assert s.state(number) == STATES[UNKNOWN]
        await asyncio.sleep(40)
        assert s.state(number) == STATES[LOST]

    play(scene)


def test_an_acknowledgement_without_sense_is_no_acknowledgement() -> None:
    """6: numbers that aren't any leave the order unknown until it is found."""

    async def scene(s: Stage) -> None:
        view = wire.OrderView(
            client_id="", venue_id="v1", symbol=s.symbol, side="buy", kind="limit", qty="0.5", filled="NaN",
            status="open",
        )  # fmt: skip
        answering(s, wire.Place, wire.Accepted(order=view))
        number = await s.order()
        await asyncio.sleep(3)
        assert s.state(number) == STATES[UNKNOWN]

    play(scene)


def test_a_duplicate_is_looked_up() -> None:
    """4: the process had it before; what came of it isn't known here."""

    async def scene(s: Stage) -> None:
        answering(s, wire.Place, wire.Refused(why="duplicate", code="", text="placed before"))
        number = await s.order()
        await asyncio.sleep(2)
        assert s.state(number) == STATES[UNKNOWN]

    play(scene)


def test_a_key_without_the_right_halts() -> None:
    """42: refused for its rights."""

    async def scene(s: Stage) -> None:
        answering(s, wire.Place, wire.Refused(why="rights", code="-2015", text="no"))
        number = await s.order()
        await asyncio.sleep(2)
        assert s.state(number) == STATES[REJECTED] and s.desk.conditions["key", ""].level == 4

    play(scene)


def test_a_trade_nobody_can_attribute_keeps_an_order_unknown() -> None:
    """Not found after the fence, but a trade may be its: nobody says lost."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(request_lost=1.0)
        number = await s.order()
        s.matching.by_hand(s.symbol, Decimal("0.25"), s.loop.time(), client_id="")
        s.exchange.push(wire.TradeSeen(trade=s.matching.trade_view(s.matching.trades[-1])))
        await asyncio.sleep(60)
        assert s.state(number) == STATES[UNKNOWN] and f"reconciliation {s.symbol}" in s.desk.standing()

    play(scene)


def test_a_trade_without_a_name_finds_its_order() -> None:
    """10: a trade that names only the venue's id waits until that id is known."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(answer_lost=1.0, push_dropped=1.0, query_failed=1.0)
        number = await s.order()
        await asyncio.sleep(1)
        s.fill(number, "0.2")
        trade = s.matching.trade_view(s.matching.trades[-1])
        s.exchange.push(wire.TradeSeen(trade=dataclasses.replace(trade, client_id="")))
        await asyncio.sleep(1)
        assert not s.desk.orders[number].trades
        s.exchange.push(wire.OrderSeen(order=s.matching.order_view(s.matching.orders[-1])))
        await asyncio.sleep(5)
        assert s.desk.orders[number].trades == [trade.trade_id]

    play(scene)


def test_a_failing_task_latches_and_lives_on() -> None:
    """A fault of ours in the reconciliation: no new risk, and it is tried again."""

    async def scene(s: Stage) -> None:
        rounds = s.bot.venue._rounds
        whole = rounds._round

        async def broken() -> bool:
            raise KeyError("a fault of ours")

        rounds._round = broken  # type: ignore[method-assign]
        await asyncio.sleep(40)
        rounds._round = whole  # type: ignore[method-assign]
        assert s.desk.standing() == ["reconciliation"]
        faults = s.bot.venue.health()["faults"]
        assert faults and "KeyError" in faults[0]
        s.bot.venue._tasks.faults.clear()
        number = await s.order(kind=MARKET, limit=0.0)
        await asyncio.sleep(5)
        assert s.state(number) not in (STATES[ACKED], STATES[UNKNOWN])

    play(scene)
