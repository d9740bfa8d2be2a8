"""The line to the exchange process: which failures stand in the way of new risk, and until when."""

import asyncio

import pytest

from bot.events import Condition, Event
from bot.exchange.conditions import Conditions
from bot.exchange.line import Line, VenueSettings
from bot.exchange.wire import (
    Balances,
    BalancesAre,
    Clock,
    ClockIs,
    Failed,
    Message,
    OpenOrders,
    OrdersAre,
    Positions,
    Trades,
    TradesAre,
    Unknown,
)

GOOD: dict[type[Message], Message] = {
    Balances: BalancesAre(balances=()), Clock: ClockIs(offset_ms=0.0, round_trip_ms=1.0),
    OpenOrders: OrdersAre(orders=()), Trades: TradesAre(trades=()),
}  # fmt: skip


class Process:
    """An exchange process that answers every question but those that are named in `failing`."""

    def __init__(self) -> None:
        self.failing: dict[Message, Message] = {}

    async def ask(self, message: Message, *, timeout_s: float) -> Message:
        """See `bot.ports.Transport`."""
        return self.failing.get(message) or GOOD[type(message)]


class Still:
    """A clock that stands."""

    def now_ns(self) -> int:
        """See `bot.ports.Clock`."""
        return 10**18


BTC, ETH = Trades(symbol="BTC/USDT", since_ns=0), Trades(symbol="ETH/USDT", since_ns=0)
ROUND = (OpenOrders(), BTC, ETH, Clock(), Balances())


@pytest.mark.parametrize("failing", [Balances(), OpenOrders(), ETH, Clock()])
@pytest.mark.parametrize("answer", [Failed(text="it isn't isolated"), Unknown(text="no answer in time", sent_ns=1)])
def test_a_reading_that_fails_in_every_round_allows_no_new_risk(failing: Message, answer: Message) -> None:
    """Whatever else is answered between; once is chance, and one answer to that very question ends it."""
    said: list[Event] = []
    process, conditions = Process(), Conditions(said.append, Still().now_ns)
    line = Line(process, Still(), conditions, VenueSettings())

    async def story() -> None:
        process.failing = {failing: answer}
        blocked = []
        for _ in range(3):
            for question in ROUND:
                await line.ask(question)
            blocked.append(conditions.blocking("BTC/USDT"))
        assert blocked == ["", *[f"venue: {answer.text}"] * 2]  # type: ignore[attr-defined]
        process.failing = {}
        for question in ROUND:
            assert conditions.blocking("BTC/USDT") or ROUND.index(question) > ROUND.index(failing)
            await line.ask(question)
        assert not conditions.blocking("BTC/USDT")

    asyncio.run(story())
    assert [(event.cause, event.on) for event in said if isinstance(event, Condition)] == [
        ("venue", False), ("venue", True), ("venue", False),
    ]  # fmt: skip


def test_a_question_that_isnt_asked_again_leaves_nothing_standing() -> None:
    """Two failures in a row of whatever kind, then anything that is answered."""
    process, conditions = Process(), Conditions(lambda event: None, Still().now_ns)
    line = Line(process, Still(), conditions, VenueSettings())
    cuts = Trades(symbol="BTC/USDT", since_ns=0, forced=True)

    async def story() -> None:
        process.failing = {cuts: Failed(text="no such list"), Positions(): Failed(text="not now")}
        for _ in range(2):
            await line.ask(cuts)
        assert conditions.blocking("BTC/USDT") == "venue: no such list"
        await line.ask(Balances())
        assert not conditions.blocking("BTC/USDT")
        process.failing = {BTC: Failed(text="no trades")}
        for question in (BTC, Balances(), BTC):
            await line.ask(question)
        await line.ask(cuts)  # another list, though of the same symbol
        assert conditions.blocking("BTC/USDT") == "venue: no trades"

    asyncio.run(story())
