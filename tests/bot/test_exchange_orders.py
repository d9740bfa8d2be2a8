"""What the exchange process does with intents: the latch, ends of orders, close-outs, questions, two clients."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.exchange.clerk import latch_is_active
from bot.exchange.once import Claim
from bot.exchange.wire import (
    Accepted,
    Balances,
    BalancesAre,
    Cancel,
    CancelAll,
    Clock,
    ClockIs,
    CloseOut,
    DeadMan,
    Done,
    Failed,
    Fundings,
    FundingsAre,
    Lookup,
    Markets,
    MarketsAre,
    NotSent,
    OpenOrders,
    OrdersAre,
    Positions,
    PositionsAre,
    Refused,
    Rights,
    RightsAre,
    Trades,
    TradesAre,
)
from tests.bot.exchange_worlds import BOT, BTC, MONEY, PRICES, QUICK, World, activate, order, world
from tests.venue.faults import Fault
from tests.venue.server import LocalVenue

Story = Callable[[World], Awaitable[None]]
EXIT = {"side": "sell", "purpose": "exit", "limit": "49000"}
STOP = {"kind": "stop", "side": "sell", "stop": "48000", "limit": None, "purpose": "stop-loss"}


def play(folder: Path, story: Story, **more: Any) -> None:
    """One story in one world."""

    async def run() -> None:
        async with world(folder, **more) as there:
            await story(there)

    asyncio.run(run())


@pytest.mark.parametrize("text", ["", "{", "[]", '"ACTIVE"', '{"level": "HALTED"}', '{"level": 1}', "\xff" * 9, None])
def test_latch_fails_closed(tmp_path: Path, text: str | None) -> None:
    """Missing, torn or anything but ACTIVE isn't active."""
    activate(tmp_path)
    assert latch_is_active(tmp_path)
    (tmp_path / "latch").unlink()
    if text is not None:
        (tmp_path / "latch").write_text(text, encoding="latin-1")
    assert not latch_is_active(tmp_path)


def test_latched_entries_stay_exits_go(tmp_path: Path) -> None:
    """The process looks at the latch itself, before each entry."""

    async def story(there: World) -> None:
        activate(there.folder, "HALTED")
        answer = await there.ask(order(1))
        assert isinstance(answer, Refused) and answer.why == "latched" and not there.stands(1)
        assert isinstance(await there.ask(order(2, **EXIT)), Accepted)
        activate(there.folder)
        assert isinstance(await there.ask(order(1)), Accepted)  # refused before it was placed: the id is free

    play(tmp_path, story)


def test_what_was_decided_long_ago_never_leaves(tmp_path: Path) -> None:
    """By the bot's clock: the process stood still for too long, or its disk did. The fence counts on it."""
    now = [time.time_ns() + 3600 * 10**9]  # an hour from this machine's

    async def story(there: World) -> None:
        once = there.process.once
        take = once.take

        def slowly(claims: Sequence[Claim]) -> list[bool]:
            now[0] += 11 * 10**9
            return take(claims)

        assert isinstance(await there.ask(order(1, decided_ns=now[0] - 11 * 10**9)), NotSent)
        assert isinstance(await there.ask(order(2, decided_ns=now[0])), Accepted)
        once.take = slowly  # type: ignore[method-assign]
        answer = await there.ask(order(3, decided_ns=now[0]))
        assert isinstance(answer, NotSent) and "too old" in answer.text
        assert len(there.venue.orders(BOT)) == 1

    play(tmp_path, story, times=replace(QUICK, now_ns=lambda: now[0]))


def test_cancel_all_is_ours_alone(tmp_path: Path) -> None:
    """Orders of others and of hands stay; protection stays unless told."""

    async def story(there: World) -> None:
        assert isinstance(await there.ask(order(1, kind="limit", limit="45000")), Accepted)
        assert isinstance(await there.ask(order(2, **STOP)), Accepted)
        take = order(3, kind="limit", side="sell", limit="60000", purpose="take-profit")
        assert isinstance(await there.ask(take), Accepted)
        by_hand = there.venue.foreign("BTCUSDT", "buy", "limit", "0.02", limit=Decimal(40000))
        other = there.venue.foreign("BTCUSDT", "buy", "limit", "0.02", limit=Decimal(40000), client_id="f" * 32)
        shown = await there.ask(OpenOrders())
        assert isinstance(shown, OrdersAre) and len(shown.orders) == 5
        assert await there.ask(CancelAll()) == Done(count=1)
        assert [there.stands(number)[0].is_open for number in (1, 2, 3)] == [False, True, True]
        assert await there.ask(CancelAll(protection=True)) == Done(count=2)
        assert by_hand.is_open and other.is_open
        refused = await there.ask(Cancel(client_id="f" * 32, symbol=BTC))
        assert isinstance(refused, Refused) and other.is_open
        labels = {one["label"] for one in there.venue.requests}
        assert "cancel-all" not in labels

    play(tmp_path, story)


def test_close_out(tmp_path: Path) -> None:
    """A halted bot's way out: its own orders go, the quantity told is sold in whole lots, nothing else is."""

    async def story(there: World) -> None:
        assert isinstance(await there.ask(order(1, qty="0.02")), Accepted)
        assert isinstance(await there.ask(order(2, qty="0.02", **STOP)), Accepted)
        close = CloseOut(quantities={BTC: "0.019988"}, reason="a test")
        answer = await there.ask(close)
        assert isinstance(answer, Refused) and answer.code == "active" and there.stands(2)[0].is_open
        activate(there.folder, "HALTED")
        assert await there.ask(close) == Done(count=1)
        assert not there.stands(2)[0].is_open
        sold = [one for one in there.venue.trades(BOT) if one.side == "sell"]
        assert [str(one.qty) for one in sold] == ["0.01998"]
        wrong = CloseOut(quantities={BTC: "-1", "XYZ/USDT": "1"}, reason="a test")
        answer = await there.ask(wrong)
        assert isinstance(answer, Failed) and "XYZ" in answer.text and len(there.venue.trades(BOT)) == 2

    play(tmp_path, story)


def test_close_out_leaves_what_moved_meanwhile(tmp_path: Path) -> None:
    """A stop that fills while it is cancelled has sold already: the rest would be somebody else's coins."""

    async def story(there: World) -> None:
        await there.ask(order(1, qty="0.02"))
        await there.ask(order(2, qty="0.01998", **STOP))
        activate(there.folder, "HALTED")
        there.venue.faults.add(Fault("race-fill", label="cancel"))
        answer = await there.ask(CloseOut(quantities={BTC: "0.01998"}, reason="a test"))
        assert isinstance(answer, Failed) and "meanwhile" in answer.text
        assert sum(one.qty for one in there.venue.trades(BOT) if one.side == "sell") == Decimal("0.01998")

    play(tmp_path, story)


def test_stops_where_only_limits_are_allowed(tmp_path: Path) -> None:
    """A stop without a plain market form becomes a stop-limit a collar below; without either, the view says so."""
    plain = ("LIMIT", "LIMIT_MAKER", "MARKET")

    async def run() -> None:
        venue = LocalVenue(balances={**MONEY, "ETH": "5"}, prices=PRICES)
        async with world(tmp_path, venue=venue, symbols=[BTC, "ETH/USDT"]) as there:
            await there.ask(Markets(symbols=(BTC,)))
            markets = there.process.account.api.markets
            markets[BTC]["info"]["orderTypes"] = [*plain, "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]
            markets["ETH/USDT"]["info"]["orderTypes"] = list(plain)
            shown = await there.ask(Markets(symbols=(BTC, "ETH/USDT")))
            assert isinstance(shown, MarketsAre) and [one.stops for one in shown.markets] == [True, False]
            assert isinstance(await there.ask(order(1, **STOP)), Accepted)
            stop = there.stands(1)[0]
            assert stop.limit == Decimal(45600)
            shown = await there.ask(Lookup(client_id=order(1).client_id, symbol=BTC))
            assert isinstance(shown, Accepted) and (shown.order.kind, shown.order.stop) == ("stop", "48000")
            refused = await there.ask(order(2, **{**STOP, "symbol": "ETH/USDT", "stop": "1900"}))
            assert isinstance(refused, Refused) and refused.why == "filters"

    asyncio.run(run())


def test_questions(tmp_path: Path) -> None:
    """Trades in order and after an id, balances, markets, clock, rights, and what spot hasn't."""

    async def story(there: World) -> None:
        for number in range(1, 5):
            await there.ask(order(number, qty=f"0.0{number}"))
        told = await there.ask(Trades(symbol=BTC, since_ns=0))
        assert isinstance(told, TradesAre) and [one.qty for one in told.trades] == ["0.01", "0.02", "0.03", "0.04"]
        assert all(one.client_id.startswith(BOT) and one.fee_currency == "BTC" for one in told.trades)
        after = await there.ask(Trades(symbol=BTC, after_id=told.trades[1].trade_id))
        assert isinstance(after, TradesAre) and after.trades == told.trades[2:]
        held = await there.ask(Balances())
        assert isinstance(held, BalancesAre) and {one.coin for one in held.balances} == {"BTC", "USDT"}
        assert isinstance(await there.ask(Clock()), ClockIs)
        assert await there.ask(Rights()) == RightsAre(can_trade=True, can_withdraw=False, detail="bound to addresses")
        assert await there.ask(Positions()) == PositionsAre(positions=())
        assert await there.ask(Fundings(since_ns=0)) == FundingsAre(fundings=())
        assert isinstance(await there.ask(DeadMan(timeout_s=60)), Failed)
        assert isinstance(await there.ask(Markets(symbols=("XYZ/USDT",))), Failed)

    play(tmp_path, story)


def test_many_pages_of_trades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More trades than a page holds: all of them, once, in order."""
    from bot.exchange import questions

    monkeypatch.setattr(questions, "PAGE", 3)

    async def story(there: World) -> None:
        for number in range(1, 9):
            await there.ask(order(number, qty="0.001"))
        told = await there.ask(Trades(symbol=BTC, since_ns=0))
        assert isinstance(told, TradesAre)
        assert [one.client_id for one in told.trades] == [order(number).client_id for number in range(1, 9)]

    play(tmp_path, story)


def test_a_venue_that_isnt_there_at_the_start(tmp_path: Path) -> None:
    """The socket is there all the same; when the venue comes, orders go."""

    async def story(there: World) -> None:
        from bot.exchange.wire import NotSent, Ping

        await there.venue.listen(False)
        assert await there.ask(Ping()) == Done()
        assert isinstance(await there.ask(order(1)), NotSent)
        assert isinstance(await there.ask(OpenOrders()), Failed)
        await there.venue.listen(True)
        assert isinstance(await there.ask(order(1)), Accepted)

    async def run() -> None:
        async with LocalVenue(balances=MONEY, prices=PRICES) as venue:
            port = venue.port
        venue = LocalVenue(balances=MONEY, prices=PRICES, port=port)
        venue.maintenance = True
        async with world(tmp_path, venue=venue) as there:
            venue.maintenance = False
            await story(there)

    asyncio.run(run())


def test_the_process_outlives_a_hung_up_client(tmp_path: Path) -> None:
    """An order on its way isn't cut off when the one who asked is gone."""

    async def story(there: World) -> None:
        await there.ask(Balances())
        there.venue.faults.add(Fault("delay", label="place", seconds=0.2, accepted=False))
        asking = asyncio.create_task(there.ask(order(1)))
        await asyncio.sleep(0.1)
        await there.client.close()
        with pytest.raises(ConnectionError):
            await asking
        await asyncio.sleep(0.3)
        assert len(there.stands(1)) == 1
        assert there.process.once.client_of(str(there.stands(1)[0].id)) == order(1).client_id

    play(tmp_path, story)
