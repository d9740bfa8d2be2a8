"""Goes after orders that aren't settled: looked up until the fence, their trades fetched, cancelled till they're gone.

A request that left is never repeated. "Not found" proves nothing while the request may still arrive: it is believed
only of a question that was asked after the fence, and only when no trade of the order was seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from bot.events import Report
from bot.exchange.line import SECOND, Backoff, Line, VenueSettings
from bot.exchange.orders_book import OrdersBook, Standing
from bot.exchange.wire import Accepted, Cancel, Lookup, NotFound, Trades, TradesAre
from bot.ports import Clock

PAGES_MOST = 200
SINCE_NS = 60 * SECOND  # how much earlier than an order its trades are looked for: clocks differ
LACKING_LONG_S = 30.0


class Teller(Protocol):
    """Where what was learnt goes."""

    def tell(self, reports: Iterable[Report]) -> None:
        """To the engine."""
        ...

    def hear_trades(self, answer: TradesAre) -> None:
        """Book trades that were read."""
        ...

    def mismatch(self, o: Standing, text: str) -> None:
        """The venue and the desk can't be brought together by themselves just now."""
        ...

    def settled(self, o: Standing) -> None:
        """An order that was gone after is settled."""
        ...


class Pursuer:
    """One task per unsettled order, at most."""

    def __init__(
        self, *, book: OrdersBook, line: Line, clock: Clock, rng: random.Random, settings: VenueSettings,
        offset_ms: Callable[[], float], teller: Teller, spawn: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:  # fmt: skip
        self._book, self._line, self._clock, self._rng = book, line, clock, rng
        self._settings, self._offset_ms, self._teller, self._spawn = settings, offset_ms, teller, spawn
        self._busy: dict[int, asyncio.Event] = {}

    def chase(self, o: Standing, delay: float = 0.0) -> None:
        """Settle the order, if nobody does already; what is new is looked at without waiting."""
        if not o.unsettled or o.placing:
            return
        if o.order in self._busy:
            if delay == 0.0:
                self._busy[o.order].set()
            return
        self._busy[o.order] = asyncio.Event()
        self._spawn(self._chase(o, delay), f"order {o.order}")

    def fence_ns(self, from_ns: int) -> int:
        """When a request that left at `from_ns` at the latest can't arrive any more."""
        span_s = self._settings.recv_window_s + self._settings.fence_s + abs(self._offset_ms()) / 1000.0
        return from_ns + int(span_s * SECOND)

    async def _chase(self, o: Standing, delay: float) -> None:
        nudge = self._busy[o.order]
        pause = self._pause()
        since_ns = self._clock.now_ns()
        try:
            await self._rest(nudge, delay)
            while o.unsettled:
                try:
                    await self._step(o)
                except ValueError as error:
                    self._teller.mismatch(o, f"order {o.order}: an answer makes no sense: {error}")
                if o.lacking and self._clock.now_ns() - since_ns > LACKING_LONG_S * SECOND:
                    self._teller.mismatch(o, f"order {o.order}: trades are missing that the venue says were made")
                if not o.unsettled:
                    break
                await self._rest(nudge, self._line.wait_s(pause.next()))
        finally:
            del self._busy[o.order]
        self._teller.settled(o)

    async def _step(self, o: Standing) -> None:
        if o.leaving:
            await self._cancel(o)
        if o.unknown or o.verify or o.leaving:
            await self._look(o)
        if o.lacking:
            await self._read_trades(o)

    async def _rest(self, nudge: asyncio.Event, seconds: float) -> None:
        if seconds <= 0.0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await nudge.wait()
        nudge.clear()
        if self._line.wait_s(0.0) > 0.0:
            await asyncio.sleep(self._line.wait_s(0.0))

    def _pause(self) -> Backoff:
        return Backoff(self._rng, first=self._settings.backoff_s, most=self._settings.backoff_most_s)

    async def _cancel(self, o: Standing) -> None:
        """Cancelling twice does no harm; what became of it is looked up."""
        answer = await self._line.ask(Cancel(client_id=o.client_id, symbol=o.symbol))
        if isinstance(answer, Accepted):
            self._teller.tell(self._book.see(answer.order, o))

    async def _look(self, o: Standing) -> None:
        if o.ended:
            return
        asked_ns, version = self._clock.now_ns(), o.version
        answer = await self._line.ask(Lookup(client_id=o.client_id, symbol=o.symbol))
        if isinstance(answer, Accepted):
            self._teller.tell(self._book.see(answer.order, o))
        elif isinstance(answer, NotFound) and o.version == version and not o.ended:
            await self._missing(o, asked_ns)

    async def _missing(self, o: Standing, asked_ns: int) -> None:
        """The venue doesn't know it. An order that it had is doubted from then on; the fence is the same for both."""
        if o.acked and not o.missed_ns:
            o.missed_ns = asked_ns
            self._teller.tell(self._book.doubt(o))
        fence_ns = self.fence_ns(o.missed_ns if o.acked else o.sent_ns)
        if asked_ns <= fence_ns:
            self._teller.tell(self._book.doubt(o))
            return
        version = o.version
        if not await self._read_trades(o) or o.version != version or o.ended:
            return
        doubted = asked_ns <= fence_ns + int(self._settings.maybe_s * SECOND)
        if o.lacking or (doubted and self._book.maybe_its(o)):
            # Somebody's trade by hand looks alike; an order that traded would be found, so this doubt has an end.
            self._teller.mismatch(o, f"order {o.order} isn't at the venue, but a trade may be its")
            return
        self._teller.tell(self._book.forget(o) if o.acked else self._book.lose(o))

    async def _read_trades(self, o: Standing) -> bool:
        """Read the trades since the order could be there; True when all of them came."""
        since_ns = max(o.first_ns - SINCE_NS, 0)
        after: str | None = None
        known: set[str] = set()  # trades of the same instant as the last come again
        for _ in range(PAGES_MOST):
            asked = Trades(symbol=o.symbol, after_id=after, since_ns=since_ns)
            answer = await self._line.ask(asked)
            if not isinstance(answer, TradesAre):
                return False
            new = tuple(view for view in answer.trades if view.trade_id not in known)
            if not new:
                return True
            self._teller.hear_trades(TradesAre(trades=new))
            known |= {view.trade_id for view in new}
            after = answer.trades[-1].trade_id
        return False
