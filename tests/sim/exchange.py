"""The exchange process and the exchange behind it, in memory, with seeded faults on every way between bot and venue.

A request carries its stamp; the exchange drops it when it arrives later than recvWindow after that, as real ones do,
and the process sends no intent that waited longer than `STALE_S`. Without these two no fence could hold.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bot.exchange import wire
from bot.exchange.codec import decode, encode
from bot.exchange.wire import Message
from bot.ports import NotConnected
from tests.sim.loop import VirtualLoop
from tests.sim.matching import Matching, Refusal, SimOrder, SimTrade

RECV_WINDOW_S = 5.0
STALE_S = 10.0
PROCESS_WAITS_S = 12.0


@dataclass(frozen=True)
class Faults:
    """How likely each fault is, per message."""

    not_connected: float = 0.0
    ask_lost: float = 0.0  # between bot and process; half of them the process has read
    ask_late: float = 0.0
    ask_doubled: float = 0.0
    reply_lost: float = 0.0
    request_lost: float = 0.0  # between process and venue
    request_late: float = 0.0
    answer_lost: float = 0.0
    unknown: float = 0.0  # a 5xx or an answer that isn't one, done or not
    not_sent: float = 0.0
    query_failed: float = 0.0
    push_dropped: float = 0.0  # without a word
    push_doubled: float = 0.0
    push_late: float = 0.0
    lag: float = 0.0  # REST doesn't show yet what is new
    cut: float = 0.0  # per second: the private stream breaks for a while
    maintenance: float = 0.0  # per second: nobody is served for a while

    @classmethod
    def drawn(cls, rng: random.Random) -> Faults:
        """A mix: some faults not at all, others often."""
        names = cls.__dataclass_fields__
        drawn = {name: rng.choice((0.0, 0.0, 0.02, 0.1, 0.3)) for name in names}
        for name in ("cut", "maintenance"):
            drawn[name] /= 20.0
        return cls(**drawn)


@dataclass
class Truth:
    """What happened, by the exchange's own books: the judge."""

    orders: dict[str, list[SimOrder]]
    trades: dict[str, list[SimTrade]]
    balances: dict[str, Decimal]
    positions: dict[str, Decimal]


@dataclass
class SimExchange:
    """Process and venue. `faults` may be changed while it runs; `offset_s` is the venue's clock less the bot's."""

    loop: VirtualLoop
    rng: random.Random
    matching: Matching
    bot_id: str
    faults: Faults = field(default_factory=Faults)
    offset_s: float = 0.0
    start_ns: int = 1_700_000_000 * 10**9
    step_s: float = 0.5
    still: bool = False  # prices stand and nothing fills
    asked: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._placed: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lines: list[SimTransport] = []
        self._up = True
        self._closed_until_s = -1.0
        self._dead_man_s = float("inf")
        self.matching.lag_s = lambda: self.rng.uniform(0.0, 3.0) if self._hit("lag") else 0.0
        self.matching.start_ns = self.start_ns + int(self.offset_s * 1e9)
        self.matching.on_order = self._order_moved
        self.matching.on_trade = self._traded

    def truth(self) -> Truth:
        """By client id; orders of others too."""
        orders: dict[str, list[SimOrder]] = {}
        trades: dict[str, list[SimTrade]] = {}
        for order in self.matching.orders:
            orders.setdefault(order.client_id, []).append(order)
        for trade in self.matching.trades:
            trades.setdefault(trade.order.client_id, []).append(trade)
        return Truth(orders, trades, dict(self.matching.balances), dict(self.matching.positions))

    def connect(self) -> SimTransport:
        """A new line for a bot that starts."""
        line = SimTransport(self)
        line.queue.put_nowait(wire.StreamState(up=self._up))
        self._lines.append(line)
        return line

    def drop(self, line: SimTransport) -> None:
        """A line is gone."""
        if line in self._lines:
            self._lines.remove(line)

    async def run(self) -> None:
        """Let time pass at the venue until cancelled."""
        while True:
            await asyncio.sleep(self.step_s)
            if not self.still:
                self.matching.step(self.loop.time())
            if self.loop.time() >= self._dead_man_s:
                self._fire()
            if self._up and self._hit("cut"):
                self.spawn(self._cut())
            if self._hit("maintenance"):
                self._closed_until_s = self.loop.time() + self.rng.uniform(1.0, 30.0)

    async def close(self) -> None:
        """End all that still flies."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that outlives the bot."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def push(self, message: Message) -> None:
        """Tell everybody who listens, in some order."""
        for line in list(self._lines):
            delay = self.rng.uniform(0.0, 8.0) if self._hit("push_late") else self.rng.uniform(0.0, 0.2)
            self.loop.call_later(delay, line.queue.put_nowait, message)

    def _hit(self, fault: str) -> bool:
        return self.rng.random() < getattr(self.faults, fault)

    # --- the private stream -------------------------------------------------------------------------------------------
    def _order_moved(self, order: SimOrder) -> None:
        self._stream(wire.OrderSeen(order=self.matching.order_view(order)))

    def _traded(self, trade: SimTrade) -> None:
        self._stream(wire.TradeSeen(trade=self.matching.trade_view(trade)))

    def _stream(self, message: Message) -> None:
        if not self._up or self._hit("push_dropped"):
            return
        self.push(message)
        if self._hit("push_doubled"):
            self.push(message)

    async def _cut(self) -> None:
        self._up = False
        self._state()
        await asyncio.sleep(self.rng.uniform(0.5, 15.0))
        self._up = True
        self._state()

    def _state(self) -> None:
        for line in self._lines:
            line.queue.put_nowait(wire.StreamState(up=self._up))

    def _fire(self) -> None:
        self._dead_man_s = float("inf")
        for order in self.matching.orders:
            self.matching.cancel(order.client_id, self.loop.time())
        self.push(wire.Alarm(kind="dead-man", text="the venue cancelled all"))

    # --- the process --------------------------------------------------------------------------------------------------
    async def serve(self, message: Message, said_s: float) -> Message:
        """What the process makes of a message that was said at said_s."""
        self.asked.append(message)
        if isinstance(message, wire.Place):
            return await self._place(message, said_s)
        if isinstance(message, wire.Cancel):
            return await self._cancel(message)
        await asyncio.sleep(self.rng.uniform(0.01, 0.2))
        if self._hit("query_failed") or self.loop.time() < self._closed_until_s:
            return wire.Failed(text="the venue didn't answer")
        return self._query(message)

    async def _place(self, place: wire.Place, said_s: float) -> Message:
        now_ns = self.start_ns + int(self.loop.time() * 1e9)
        if place.client_id in self._placed:
            return wire.Refused(why="duplicate", code="", text="placed before")
        self._placed.add(place.client_id)  # also when it isn't sent: a copy of it mustn't be
        if self._hit("not_sent") or self.loop.time() - said_s > STALE_S:
            return wire.NotSent(text="no room, or too old")
        answer = self.spawn(self._travel(lambda: self._accept(place)))
        return await self._outcome(answer, now_ns)

    async def _cancel(self, cancel: wire.Cancel) -> Message:
        now_ns = self.start_ns + int(self.loop.time() * 1e9)
        return await self._outcome(self.spawn(self._travel(lambda: self._gone(cancel))), now_ns)

    async def _outcome(self, answer: asyncio.Task[Message | None], now_ns: int) -> Message:
        unknown = wire.Unknown(text="no answer from the venue", sent_ns=now_ns)
        hasty = self._hit("unknown")
        done, _ = await asyncio.wait([answer], timeout=self.rng.uniform(0.0, 1.0) if hasty else PROCESS_WAITS_S)
        if hasty:
            return unknown
        return (answer.result() or unknown) if done else unknown

    async def _travel(self, act: Any) -> Message | None:
        """A signed request's way to the venue and back; None when no answer comes."""
        stamp_s = self.loop.time()
        late = self._hit("request_late")
        await asyncio.sleep(self.rng.uniform(0.0, 30.0) if late else self.rng.uniform(0.01, 0.2))
        if self._hit("request_lost") or self.loop.time() < self._closed_until_s:
            return None
        apart_s = self.offset_s if abs(self.offset_s) < 1.0 else 0.0  # more than that, and it is signed by their clock
        if self.loop.time() + apart_s - stamp_s > RECV_WINDOW_S:
            return wire.Refused(why="other", code="-1021", text="outside of the recvWindow")
        answer: Message = act()
        if self._hit("answer_lost"):
            return None
        await asyncio.sleep(self.rng.uniform(0.01, 0.2))
        return answer

    def _accept(self, place: wire.Place) -> Message:
        try:
            order = self.matching.place(place, self.loop.time())
        except Refusal as refusal:
            why, code, text = refusal.args
            return wire.Refused(why=why, code=code, text=text)
        return wire.Accepted(order=self.matching.order_view(order))

    def _gone(self, cancel: wire.Cancel) -> Message:
        order = self.matching.cancel(cancel.client_id, self.loop.time())
        if order is None:
            return wire.Refused(why="other", code="-2011", text="unknown order")
        return wire.Accepted(order=self.matching.order_view(order))

    def _query(self, message: Message) -> Message:
        venue, now_s = self.matching, self.loop.time()
        match message:
            case wire.Lookup():
                order = venue.find(message.client_id, now_s)
                return wire.NotFound() if order is None else wire.Accepted(order=venue.order_view(order))
            case wire.OpenOrders():
                stand = (o for o in venue.orders if o.status == "open" and o.visible_s <= now_s)
                return wire.OrdersAre(orders=tuple(venue.order_view(o) for o in stand))
            case wire.Trades():
                return self._trades(message)
            case wire.Balances():
                coins = venue.balances.items()
                return wire.BalancesAre(
                    balances=tuple(wire.BalanceView(coin=c, free=str(v), total=str(v)) for c, v in coins)
                )
            case wire.Positions():
                return wire.PositionsAre(positions=tuple(self._position(s) for s in venue.positions))
            case wire.Fundings():
                return wire.FundingsAre(fundings=tuple(f for f in venue.fundings if f.ns >= message.since_ns))
            case wire.Markets():
                return wire.MarketsAre(markets=tuple(venue.markets[s] for s in message.symbols))
            case wire.Clock():
                return wire.ClockIs(offset_ms=self.offset_s * 1000.0, round_trip_ms=20.0)
            case wire.DeadMan():
                self._dead_man_s = now_s + message.timeout_s if message.timeout_s else float("inf")
        return wire.Done()

    def _position(self, symbol: str) -> wire.PositionView:
        price, qty = str(self.matching.prices[symbol]), str(self.matching.positions[symbol])
        return wire.PositionView(symbol=symbol, qty=qty, entry_price=price, mark_price=price)

    def _trades(self, asked: wire.Trades) -> Message:
        seen = [t for t in self.matching.trades if t.visible_s <= self.loop.time() and t.order.symbol == asked.symbol]
        if asked.after_id is not None:
            seen = [t for t in seen if t.number > int(asked.after_id)]
        elif asked.since_ns is not None:
            seen = [t for t in seen if self.matching.ns(t.at_s) >= asked.since_ns]
        return wire.TradesAre(trades=tuple(self.matching.trade_view(t) for t in seen[:50]))


class SimTransport:
    """One bot's line to the process; implements `bot.ports.Transport`."""

    def __init__(self, exchange: SimExchange) -> None:
        self.exchange = exchange
        self.queue: asyncio.Queue[Message] = asyncio.Queue()
        self.closed = False

    async def ask(self, message: Message, *, timeout_s: float) -> Message:
        """See `bot.ports.Transport`."""
        there = self.exchange
        if self.closed or there._hit("not_connected"):
            raise NotConnected("nobody answers")
        async with asyncio.timeout(timeout_s):
            return await self._said(message, there)

    async def _said(self, message: Message, there: SimExchange) -> Message:
        message = decode(encode(1, message))[1]
        said_s = there.loop.time()
        if there._hit("ask_lost"):
            if there.rng.random() < 0.5:
                there.spawn(self._late(message, there.rng.choice((0.0, there.rng.uniform(0.0, 15.0))), said_s))
            if there.rng.random() < 0.5:
                raise ConnectionResetError("the line broke")
            await asyncio.Event().wait()
        if there._hit("ask_doubled"):
            there.spawn(self._late(message, there.rng.uniform(0.0, 5.0), said_s))
        delay = there.rng.uniform(0.0, 40.0) if there._hit("ask_late") else there.rng.uniform(0.0, 0.01)
        answer: Message = await asyncio.shield(there.spawn(self._late(message, delay, said_s)))
        if there._hit("reply_lost"):
            await asyncio.Event().wait()
        return decode(encode(1, answer))[1]

    async def _late(self, message: Message, delay: float, said_s: float) -> Message:
        await asyncio.sleep(delay)
        return await self.exchange.serve(message, said_s)

    async def pushes(self) -> AsyncIterator[Message]:
        """See `bot.ports.Transport`."""
        while not self.closed:
            yield await self.queue.get()

    def die(self) -> None:
        """The bot is gone: what it would still say is never said."""
        self.closed = True
        self.exchange.drop(self)

    async def close(self) -> None:
        """Hang up; what was said before stays said."""
        self.closed = True
        self.exchange.drop(self)
