"""The venue's side against single faults, each staged by hand on the simulated exchange."""

import asyncio
import dataclasses
from collections.abc import Sequence
from decimal import Decimal

import pytest

from bot.events import Submit
from bot.exchange import wire
from bot.exchange.line import VenueSettings
from data.errors import RefusedError, WorkError
from risk.orders import ACKED, CANCELLED, EXPIRED, FILLED, LOST, PARTIAL, REJECTED, STATES, UNKNOWN
from risk.records import STOP, STOP_LOSS
from tests.sim.desk import BOT, DeskOrder
from tests.sim.exchange import Faults
from tests.sim.stage import Stage, play


def test_ack_fill_and_cancel() -> None:
    """An order is acked, filled in parts by trades, and its cancel is reported after them."""

    async def scene(s: Stage) -> None:
        number = await s.order()
        await asyncio.sleep(2)
        assert s.state(number) == STATES[ACKED]
        s.fill(number, "0.2")
        await asyncio.sleep(2)
        assert s.state(number) == STATES[PARTIAL]
        await s.withdraw(number)
        await asyncio.sleep(3)
        assert s.state(number) == STATES[CANCELLED] and s.desk.orders[number].filled == Decimal("0.2")
        assert s.desk.held[s.symbol] == Decimal("0.2") - Decimal("0.0002")

    play(scene)


def test_lost_answer_is_unknown_then_found() -> None:
    """1: the order stood although no answer came: found by its id, nothing sent again."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(answer_lost=1.0, push_dropped=1.0, query_failed=1.0)
        number = await s.order()
        await asyncio.sleep(16)
        assert s.state(number) == STATES[UNKNOWN]
        s.exchange.faults = Faults()
        await asyncio.sleep(30)
        assert s.state(number) == STATES[ACKED] and s.sent(wire.Place) == 1

    play(scene)


def test_lost_request_is_lost_only_after_the_fence() -> None:
    """2, 3: "not found" is believed after sent + recvWindow + 10 s and not before; it is never sent again."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(request_lost=1.0)
        began = s.loop.time()
        number = await s.order()
        await asyncio.sleep(1)
        while s.state(number) != STATES[LOST]:
            assert s.loop.time() - began < 30
            await asyncio.sleep(0.1)
        assert s.loop.time() - began > 15.0 and s.sent(wire.Place) == 1

    play(scene)


def test_not_connected_is_rejected_with_a_condition() -> None:
    """20: what never left is rejected at once; no new risk until somebody answers."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(not_connected=1.0)
        number = await s.order()
        await asyncio.sleep(0.1)
        assert s.state(number) == STATES[REJECTED] and "venue" in s.desk.standing()
        blocked = await s.order()
        await asyncio.sleep(0.1)
        assert s.state(blocked) == STATES[REJECTED]
        s.exchange.faults = Faults()
        await asyncio.sleep(60)
        assert s.desk.standing() == [] and s.sent(wire.Place) == 0

    play(scene)


def test_refusal_for_funds_is_final() -> None:
    """13: rejected, no retry."""

    async def scene(s: Stage) -> None:
        s.matching.transfer("USDT", Decimal(-10_490))
        number = await s.order()
        await asyncio.sleep(1)
        assert s.state(number) == STATES[REJECTED] and s.sent(wire.Place) == 1

    play(scene)


@pytest.mark.parametrize(("qty", "limit"), [(0.5005, 99.0), (0.5, 99.005), (0.04, 99.0), (float("nan"), 99.0)])
def test_off_the_grid_is_refused_here(qty: float, limit: float) -> None:
    """14: lot, tick, least notional and numbers that are none never reach the wire."""

    async def scene(s: Stage) -> None:
        number = await s.order(qty=qty, limit=limit)
        await asyncio.sleep(0.1)
        assert s.state(number) == STATES[REJECTED] and s.sent(wire.Place) == 0

    play(scene)


def test_sums_of_doubles_are_on_the_grid() -> None:
    """0.1 + 0.2 is 0.3 on the wire."""

    async def scene(s: Stage) -> None:
        await s.order(qty=0.1 + 0.2)
        await asyncio.sleep(1)
        assert next(m.qty for m in s.exchange.asked if isinstance(m, wire.Place)) == "0.3"

    play(scene)


def test_an_order_goes_out_once() -> None:
    """4: the same number again is a fault of ours."""

    async def scene(s: Stage) -> None:
        number = await s.order()
        with pytest.raises(WorkError):
            await s.bot.venue.send([s.desk.orders[number].command])
        await s.bot.die()
        with pytest.raises(WorkError):
            await s.bot.venue.send([dataclasses.replace(s.desk.orders[number].command, order=9)])

    play(scene)


def test_stream_gap_is_read_before_new_risk() -> None:
    """7, 8: a fill during the gap is told by REST, and the condition stands until then."""

    async def scene(s: Stage) -> None:
        number = await s.order()
        await asyncio.sleep(2)
        s.exchange._up = False
        s.exchange._state()
        await asyncio.sleep(0.5)
        assert "stream" in s.desk.standing()
        s.fill(number, "0.5")
        s.exchange._up = True
        s.exchange._state()
        await asyncio.sleep(5)
        assert s.state(number) == STATES[FILLED] and s.desk.standing() == []

    play(scene)


def test_reports_out_of_order() -> None:
    """9-11: a fill before the ack, the end before its trade, everything twice."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(answer_lost=1.0, push_dropped=1.0, query_failed=1.0)
        number = await s.order()
        await asyncio.sleep(1)
        s.fill(number, "0.2")
        order, trade = s.matching.orders[-1], s.matching.trades[-1]
        s.matching.cancel(order.client_id, s.loop.time())
        ended = wire.OrderSeen(order=s.matching.order_view(order))
        stale = wire.OrderSeen(order=dataclasses.replace(ended.order, status="open", filled="0"))
        told = wire.TradeSeen(trade=s.matching.trade_view(trade))
        for message in (ended, ended, stale):
            s.exchange.push(message)
        await asyncio.sleep(1)
        assert s.state(number) != STATES[CANCELLED]
        for message in (told, told, stale):
            s.exchange.push(message)
        await asyncio.sleep(1)
        assert s.state(number) == STATES[CANCELLED] and s.desk.orders[number].filled == Decimal("0.2")

    play(scene)


def test_restart_with_orders_standing() -> None:
    """23-26: what filled, ended, stands or never left while we were dead is known before the strategy speaks."""

    async def scene(s: Stage) -> None:
        stands, fills = await s.order(), await s.order()
        await asyncio.sleep(2)
        await s.bot.die()
        s.matching._fill(s.matching.orders[-1], Decimal("0.5"), Decimal("99"), maker=True, now_s=s.loop.time())
        last = next(n for n in (stands, fills) if s.matching.orders[-1].client_id.endswith(f"{n:016x}"))
        other = stands + fills - last
        never = s.desk.orders[last].command
        s.desk.orders[3] = DeskOrder(dataclasses.replace(never, order=3), s.bot.session)
        await s.again()
        await asyncio.sleep(5)
        assert [s.state(n) for n in (other, last, 3)] == [STATES[ACKED], STATES[FILLED], STATES[LOST]]
        assert s.desk.standing() == []

    play(scene)


def test_cancel_of_a_filled_order_is_a_fill() -> None:
    """52: the cancel comes too late; the fill wins."""

    async def scene(s: Stage) -> None:
        number = await s.order()
        await asyncio.sleep(2)
        s.exchange.faults = Faults(push_dropped=1.0)
        s.fill(number, "0.5")
        await s.withdraw(number)
        await asyncio.sleep(5)
        assert s.state(number) == STATES[FILLED]

    play(scene)


def test_venue_ends_an_order_by_itself() -> None:
    """51, 12: an expiry that nobody told of is found by the look behind the stream."""

    async def scene(s: Stage) -> None:
        number = await s.order()
        await asyncio.sleep(2)
        s.exchange.faults = Faults(push_dropped=1.0)
        s.matching._end(s.matching.orders[-1], "expired", s.loop.time())
        await asyncio.sleep(40)
        assert s.state(number) == STATES[EXPIRED]

    play(scene)


def test_too_many_unknown_orders_allow_no_new_risk() -> None:
    """18: beyond the limit until they are resolved."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(unknown=1.0, request_lost=1.0)
        for _ in range(2):
            await s.order(side=-1, limit=101.0)
        await asyncio.sleep(3)
        assert "unknown" in s.desk.standing()
        s.exchange.faults = Faults()
        await asyncio.sleep(60)
        assert s.desk.standing() == []

    play(scene, settings=VenueSettings(unknown_orders=1))


def stop_order(number: int, s: Stage) -> Submit:
    """A protective stop."""
    return Submit(
        order=number, symbol=s.symbol, side=-1, kind=STOP, purpose=STOP_LOSS, qty=0.5, limit=float("nan"), stop=90.0,
        decided_ns=s.bot.clock.now_ns(),
    )  # fmt: skip


def test_halted_market() -> None:
    """30: that symbol only; its orders are cancelled, protection is spared."""

    async def scene(s: Stage) -> None:
        number = await s.order()
        stop = stop_order(2, s)
        s.desk.orders[2] = DeskOrder(stop, s.bot.session)
        await s.bot.venue.send([stop])
        await asyncio.sleep(1)
        s.matching.markets[s.symbol] = dataclasses.replace(s.matching.markets[s.symbol], active=False)
        await asyncio.sleep(40)
        assert s.state(number) == STATES[CANCELLED] and s.desk.standing() == [f"market {s.symbol}"]
        assert s.state(2) == STATES[ACKED]

    play(scene, settings=VenueSettings(markets_s=10.0))


def test_clock_offset() -> None:
    """18: beyond the limit no new risk; the fence grows with it."""

    async def scene(s: Stage) -> None:
        s.exchange.offset_s = 0.9
        await asyncio.sleep(40)
        assert s.desk.standing() == ["clock"]
        s.exchange.offset_s = 0.1
        await asyncio.sleep(40)
        assert s.desk.standing() == []

    play(scene)


def levels(s: Stage, cause: str) -> Sequence[int]:
    """Levels of a condition that is on."""
    return [one.level for (name, _), one in s.desk.conditions.items() if name == cause and one.on]


def test_revoked_key_halts() -> None:
    """44: told by an alarm or by an answer."""

    async def scene(s: Stage) -> None:
        s.exchange.push(wire.Alarm(kind="revoked", text="the key is gone"))
        await asyncio.sleep(1)
        assert levels(s, "key") == [4]

    play(scene)


def test_second_instance_halts() -> None:
    """41: an order of our bot id and a session nobody knows."""

    async def scene(s: Stage) -> None:
        s.matching.place(
            wire.Place(
                client_id=BOT + "deadbeef" + "0" * 16, symbol=s.symbol, side="buy", kind="limit", qty="0.1", limit="90"
            ),
            s.loop.time(),
        )
        await asyncio.sleep(1)
        assert levels(s, "foreign") == [4]

    play(scene)


def test_foreign_orders_are_counted_and_left_alone() -> None:
    """28: they show in health and nothing else happens."""

    async def scene(s: Stage) -> None:
        s.matching.place(
            wire.Place(client_id="web-7", symbol=s.symbol, side="buy", kind="limit", qty="0.1", limit="90"), 0.0
        )
        await asyncio.sleep(40)
        assert s.bot.venue.health()["foreign_orders"] == 1 and s.desk.standing() == []
        assert s.matching.orders[-1].status == "open" and s.sent(wire.Cancel) == 0

    play(scene)


def test_ban_silences() -> None:
    """16: nobody is asked anything before the ban ends."""

    async def scene(s: Stage) -> None:
        until = s.bot.clock.now_ns() + 50 * 10**9
        s.exchange.push(wire.Alarm(kind="ban", text="418", until_ns=until))
        await asyncio.sleep(32)
        asked = len(s.exchange.asked)
        assert "venue" in s.desk.standing()
        await asyncio.sleep(15)
        assert len(s.exchange.asked) == asked
        await asyncio.sleep(60)
        assert s.desk.standing() == []

    play(scene)


def test_first_start_with_too_little() -> None:
    """The account holds less than the allocation: refused before anything is sent."""

    async def scene(s: Stage) -> None:
        s.matching.transfer("USDT", Decimal(-9_000))
        with pytest.raises(RefusedError, match="500 USDT|8500 USDT"):
            await s.bot.begin()

    play(scene, begin=False)


def test_start_returns_with_conditions_when_nobody_answers() -> None:
    """26: it doesn't wait for ever, and no new risk is allowed."""

    async def scene(s: Stage) -> None:
        s.exchange.faults = Faults(query_failed=1.0)
        await s.bot.begin()
        assert {"stream", "venue"} <= set(s.desk.standing())
        s.exchange.faults = Faults()
        await asyncio.sleep(60)
        assert s.desk.standing() == [] and s.bot.venue.health()["ready"]

    play(scene, begin=False)


def test_dead_man_timer_is_wound_and_its_firing_noticed() -> None:
    """54: wound every third of its span, disarmed by stop; when it fires, what it cancelled is read."""

    async def scene(s: Stage) -> None:
        number = await s.order()
        await asyncio.sleep(100)
        assert s.sent(wire.DeadMan) >= 5 and s.state(number) == STATES[ACKED]
        s.exchange._fire()
        await asyncio.sleep(5)
        assert s.state(number) == STATES[CANCELLED] and any("dead-man" in alarm for alarm in s.desk.alarms)

    play(scene, settings=VenueSettings(dead_man_s=60))
