"""Hears what the exchange process pushes: orders, trades, the state of the private stream, alarms."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Protocol

from bot.exchange.conditions import Conditions
from bot.exchange.grid import number
from bot.exchange.line import SECOND, Backoff, Line, VenueSettings
from bot.exchange.orders_book import OrdersBook
from bot.exchange.wire import (
    Accepted,
    Alarm,
    Cancel,
    Lookup,
    Message,
    NotFound,
    OrderSeen,
    OrderView,
    StreamState,
    TradeSeen,
    TradeView,
)
from bot.ports import Clock, Transport

log = logging.getLogger("tidegate.venue")
REVOKED = ("key", "revoked", "rights")
SILENCED = ("ban", "banned", "maintenance", "limit", "rate")
SILENT_NS = 60 * SECOND  # when an alarm doesn't say until when


class Hearer(Protocol):
    """The venue as the listener needs it."""

    def hear_order(self, view: OrderView) -> None:
        """An order of the account."""
        ...

    def hear_trade(self, view: TradeView) -> None:
        """A trade of the account."""
        ...

    def alarm(self, kind: str, text: str) -> None:
        """Tell a person."""
        ...

    def wake(self) -> None:
        """Read the venue now."""
        ...


class Listener:
    """Reads the pushes, and again when the line breaks.

    state "untold", "up" or "down"; generation grows with each break: what was read before it proves nothing.
    """

    def __init__(
        self, *, owner: Hearer, transport: Transport, conditions: Conditions, line: Line, clock: Clock,
        rng: random.Random, settings: VenueSettings, book: OrdersBook,
    ) -> None:  # fmt: skip
        self._owner, self._transport, self._conditions, self._line = owner, transport, conditions, line
        self._clock, self._rng, self._settings, self._book = clock, rng, settings, book
        self.state = "untold"
        self.generation = 0

    async def run(self) -> None:
        """Hear until cancelled."""
        pause = self._pause()
        while True:
            try:
                async for message in self._pushed():
                    pause = self._pause()
                    self._hear(message)
                text = "the exchange process hung up"
            except (ConnectionError, TimeoutError) as error:
                text = f"the exchange process can't be heard: {error}"
            self._broken("down", text)
            await asyncio.sleep(self._line.wait_s(pause.next()))
            self._broken("untold", text)

    def _pause(self) -> Backoff:
        return Backoff(self._rng, first=self._settings.backoff_s, most=self._settings.unreachable_most_s)

    async def _pushed(self) -> AsyncIterator[Message]:
        async for message in self._transport.pushes():
            yield message

    def _broken(self, state: str, text: str) -> None:
        self.state = state
        self.generation += 1
        self._conditions.on("stream", text)
        self._owner.wake()

    def _hear(self, message: Message) -> None:
        try:
            if isinstance(message, OrderSeen):
                self._owner.hear_order(message.order)
            elif isinstance(message, TradeSeen):
                self._owner.hear_trade(message.trade)
            elif isinstance(message, StreamState):
                self._broken("up" if message.up else "down", message.text or "the private stream was cut")
            elif isinstance(message, Alarm):
                self._alarmed(message)
        except ValueError as error:
            log.error("a push that makes no sense: %s", error)
            self._broken(self.state, f"a push makes no sense: {error}")

    def _alarmed(self, alarm: Alarm) -> None:
        text = f"{alarm.kind}: {alarm.text}"
        self._owner.alarm(alarm.kind, alarm.text)
        if alarm.kind in REVOKED:
            self._conditions.on("key", text, level=4, sticky=True)
        elif alarm.kind in SILENCED:
            self._line.silence(alarm.until_ns or self._clock.now_ns() + SILENT_NS, text)
        else:  # a fired dead-man timer, a liquidation, anything unheard of: read all before new risk
            self._broken(self.state, text)

    async def lay(self, view: OrderView) -> None:
        """An order of ours stands that the desk thinks ended: cancel it, for its fills would be nobody's."""
        pause = self._pause()
        ask = Lookup(client_id=view.client_id, symbol=view.symbol)
        answer = await self._line.ask(ask)
        met = False
        while not isinstance(answer, NotFound):
            if isinstance(answer, Accepted):
                if answer.order.status != "open":
                    break
                met = True
                text = f"order {view.client_id} stands though it had ended here: it is cancelled"
                self._conditions.on("reconciliation", text, symbol=view.symbol)
                await self._line.ask(Cancel(client_id=view.client_id, symbol=view.symbol))
            await asyncio.sleep(self._line.wait_s(pause.next()))
            answer = await self._line.ask(ask)
        if not met:
            return
        known = self._book.find(view.client_id)
        told = Decimal(0) if known is None else known.told
        if isinstance(answer, Accepted) and number(answer.order.filled) > told:
            text = f"order {view.client_id} filled {answer.order.filled} after it had ended here"
            self._conditions.on("reconciliation", text, sticky=True)
            self._owner.alarm("reconciliation", text)
        self._conditions.off("reconciliation", symbol=view.symbol)
