"""A stand-in for engine, driver and journal: books what the venue's side reports and dies at any moment.

It is strict where the engine is lenient: an illegal move, a trade told twice or one after the end is a violation.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bot.events import Condition, Event, Funding, Outside, Report, Submit, Withdraw
from bot.exchange.ids import Ids
from bot.exchange.line import VenueSettings
from bot.exchange.orders_book import OrderFacts
from bot.exchange.venue import ExchangeVenue
from risk.orders import (
    ACKED,
    CANCELLED,
    EXPIRED,
    FILLED,
    LEGAL,
    LOST,
    PARTIAL,
    REJECTED,
    SENT,
    STATES,
    TERMINAL,
    UNKNOWN,
)
from risk.records import ENTRY, EXIT, LIMIT, MARKET, POST_ONLY
from tests.sim.exchange import SimExchange
from tests.sim.loop import SimClock

BOT = "b0b0b0b0"
MOVES = {
    "acked": ACKED, "unknown": UNKNOWN, "cancelled": CANCELLED, "expired": EXPIRED, "rejected": REJECTED, "lost": LOST,
}  # fmt: skip


@dataclass
class DeskOrder:
    """An order as the desk has it."""

    command: Submit
    session: str
    state: int = SENT
    filled: Decimal = Decimal(0)
    trades: list[str] = field(default_factory=list)


@dataclass
class TinyDesk:
    """What survives a death, and what it was told."""

    symbols: tuple[str, ...]
    cash: float
    perp: bool = False
    orders: dict[int, DeskOrder] = field(default_factory=dict)
    held: dict[str, Decimal] = field(default_factory=dict)
    quote: Decimal = Decimal(0)
    memory: dict[str, Any] = field(default_factory=dict)
    sessions: list[str] = field(default_factory=list)
    conditions: dict[tuple[str, str], Condition] = field(default_factory=dict)
    outside: list[Outside] = field(default_factory=list)
    fundings: list[Funding] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.quote = Decimal(repr(self.cash))

    def facts(self) -> list[OrderFacts]:
        """Working orders, as a recovered desk tells of them."""
        return [
            OrderFacts(
                order=number, symbol=o.command.symbol, side=o.command.side, kind=o.command.kind,
                purpose=o.command.purpose, qty=o.command.qty, filled=float(o.filled), state=o.state, session=o.session,
                sent_ns=o.command.decided_ns, price=100.0, trades=tuple(o.trades),
            )
            for number, o in self.orders.items() if not TERMINAL[o.state]
        ]  # fmt: skip

    def selling(self, symbol: str) -> Decimal:
        """Quantity that working sells may still take."""
        rest = Decimal(0)
        for o in self.orders.values():
            if o.command.symbol == symbol and o.command.side < 0 and not TERMINAL[o.state]:
                rest += Decimal(repr(o.command.qty)) - o.filled
        return rest

    def handle(self, event: Event) -> None:
        """One event of the queue."""
        self.log.append(repr(event))
        if isinstance(event, Report):
            self._reported(event)
        elif isinstance(event, Condition):
            self.conditions[event.cause, event.symbol] = event
        elif isinstance(event, Outside):
            self.outside.append(event)
            self.held[event.symbol] = Decimal(repr(event.qty))
        elif isinstance(event, Funding):
            self.fundings.append(event)

    def standing(self) -> list[str]:
        """Conditions that are on."""
        return sorted(f"{cause} {symbol}".strip() for (cause, symbol), one in self.conditions.items() if one.on)

    def _reported(self, report: Report) -> None:
        o = self.orders[report.order]
        if report.what == "filled":
            self._filled(o, report)
            return
        self._move(o, MOVES[report.what], report)

    def _move(self, o: DeskOrder, state: int, report: Report) -> None:
        if not LEGAL[o.state, state]:
            self.violations.append(f"order {report.order}: {STATES[o.state]} to {STATES[state]} by {report}")
        o.state = state

    def _filled(self, o: DeskOrder, report: Report) -> None:
        if report.trade in o.trades:
            self.violations.append(f"trade {report.trade} was told twice")
            return
        o.trades.append(report.trade)
        qty = Decimal(repr(report.qty))
        o.filled += qty
        side = o.command.side
        self._move(o, FILLED if o.filled >= Decimal(repr(o.command.qty)) else PARTIAL, report)
        symbol = o.command.symbol
        self.held[symbol] = self.held.get(symbol, Decimal(0)) + side * qty - Decimal(repr(report.fee_base))
        if not self.perp:
            self.quote -= side * qty * Decimal(repr(report.price))
        if not report.fee_base and not report.fee_elsewhere:
            self.quote -= Decimal(repr(report.fee))


class TinyBot:
    """One life of the bot on the simulated exchange.

    Parameters
    ----------
    exchange : SimExchange
        Where it trades.
    desk : TinyDesk
        What it remembers; shared by all its lives.
    rng : random.Random
        Of its wishes and of the venue's jitter.
    settings : VenueSettings
        Of the venue's side.
    """

    def __init__(
        self, exchange: SimExchange, desk: TinyDesk, rng: random.Random, settings: VenueSettings | None = None
    ) -> None:
        self.exchange, self.desk, self.rng = exchange, desk, rng
        session = f"{len(desk.sessions) + 1:08x}"
        self.session = session
        self.clock = SimClock(exchange.loop, exchange.start_ns)
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self.venue = ExchangeVenue(
            transport=exchange.connect(), clock=self.clock, rng=rng, ids=Ids(BOT, session, desk.sessions),
            symbols=desk.symbols, perp=desk.perp, held=lambda s: float(desk.held.get(s, 0)),
            quote_held=lambda: float(desk.quote), working=desk.facts,
            mark=lambda s: float(exchange.matching.prices[s]), settings=settings, memory=desk.memory,
            alarm=lambda kind, text: desk.alarms.append(f"{kind}: {text}"),
        )  # fmt: skip
        desk.sessions.append(session)
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Start; the engine takes events from the first one on."""
        self._tasks.append(asyncio.create_task(self._consume()))
        await self.venue.start(self.queue.put_nowait)

    async def die(self) -> None:
        """Now, in the middle of whatever it does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.venue.stop()

    async def trade(self, seconds: float) -> None:
        """Want this and that for a while."""
        task = asyncio.create_task(self._wish())
        self._tasks.append(task)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(task)
        task.cancel()

    async def submit(self, symbol: str, side: int, qty: float, *, kind: int = MARKET, limit: float = 0.0) -> int:
        """Journal an order, then send it; its number."""
        number = len(self.desk.orders) + 1
        price = float(self.exchange.matching.prices[symbol])
        purpose = (
            ENTRY if side > 0 and (self.desk.perp or self.rng.random() < 0.5) else EXIT
        )  # exits leave whatever stands in the way
        command = Submit(
            order=number, symbol=symbol, side=side, kind=kind, purpose=purpose, qty=qty,
            limit=limit or round(price * (1 + 0.05 * side), 2), stop=float("nan"), decided_ns=self.clock.now_ns(),
        )  # fmt: skip
        self.desk.orders[number] = DeskOrder(command, self.session)
        if self.rng.random() < 0.1:
            await asyncio.sleep(self.rng.uniform(0.0, 0.01))
        await self.venue.send([command])
        return number

    async def _wish(self) -> None:
        rng, desk = self.rng, self.desk
        while True:
            await asyncio.sleep(rng.expovariate(0.7))
            symbol = rng.choice(desk.symbols)
            working = [n for n, o in desk.orders.items() if not TERMINAL[o.state]]
            if working and (rng.random() < 0.3 or len(working) > 8):
                number = rng.choice(working)
                await self.venue.send([Withdraw(order=number, symbol=desk.orders[number].command.symbol)])
                continue
            free = desk.held.get(symbol, Decimal(0)) - desk.selling(symbol)
            side = -1 if free > Decimal("0.2") and rng.random() < 0.5 else 1
            kind = rng.choice((MARKET, LIMIT, LIMIT, POST_ONLY))
            price = float(self.exchange.matching.prices[symbol])
            limit = round(price - side * rng.randint(-20, 60) * 0.01, 2)
            await self.submit(symbol, side, rng.randint(60, 180) / 1000.0, kind=kind, limit=limit if kind else 0.0)

    async def _consume(self) -> None:
        while True:
            event = await self.queue.get()
            if self.rng.random() < 0.1:
                await asyncio.sleep(self.rng.choice((0.01, 0.1, 2.0)))
            self.desk.handle(event)
            self.venue.took(event)
            if self.venue.changed:
                self.desk.memory = self.venue.memory()
