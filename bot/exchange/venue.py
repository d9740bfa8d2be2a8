"""The real exchange as the engine sees it: orders out, reports back, through the process that holds the key.

Nothing is sent twice. What left and has no outcome is UNKNOWN until it is found or, after the fence, LOST. Every task
of this class may fail alone: then no new risk is allowed until a person has looked.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bot.events import Command, Event, Report, Submit, Withdraw
from bot.exchange.account import Account
from bot.exchange.conditions import Conditions
from bot.exchange.grid import OffGridError, intent, number, plain
from bot.exchange.ids import Ids
from bot.exchange.line import SECOND, Line, VenueSettings
from bot.exchange.listen import Listener
from bot.exchange.orders_book import OrderFacts, OrdersBook, Standing
from bot.exchange.outbox import Outbox
from bot.exchange.pursuit import Pursuer
from bot.exchange.reconcile import Reconciler
from bot.exchange.rounds import Rounds
from bot.exchange.tasks import Tasks
from bot.exchange.wire import (
    Accepted,
    Message,
    NotSent,
    OrderView,
    Place,
    Refused,
    TradesAre,
    TradeView,
    Unknown,
)
from bot.ports import Clock, Put, Transport
from data.errors import WorkError
from risk.records import ENTRY, STOP, TAKE

_REVOKING = ("rights",)


class ExchangeVenue:
    """Orders at an exchange; implements `bot.ports.Venue`.

    Parameters
    ----------
    transport : Transport
        The way to the exchange process; closed by `stop`.
    clock : Clock
        Time of day.
    rng : random.Random
        Jitter.
    ids : Ids
        Client ids of this bot and session.
    symbols : sequence of str
        What the bot trades, all in one quote coin.
    perp : bool
        A derivatives account: positions are compared, exits are reduce-only.
    held, quote_held : callable
        The desk's quantity of a symbol; its quote, fees that were taken elsewhere not subtracted.
    working : callable
        The desk's working orders; asked at the start.
    mark : callable
        The last price of a symbol, NaN when there is none.
    settings : VenueSettings
        Times and limits.
    memory : mapping, optional
        What `memory()` returned last, from the journal.
    alarm : callable, optional
        Told (kind, text) of what a person should know.
    """

    def __init__(
        self, *, transport: Transport, clock: Clock, rng: random.Random, ids: Ids, symbols: Sequence[str], perp: bool,
        held: Callable[[str], float], quote_held: Callable[[], float], working: Callable[[], Sequence[OrderFacts]],
        mark: Callable[[str], float], settings: VenueSettings | None = None, memory: Mapping[str, Any] | None = None,
        alarm: Callable[[str, str], None] | None = None,
    ) -> None:  # fmt: skip
        self._transport, self._clock, self._rng, self._ids = transport, clock, rng, ids
        self._symbols, self._perp, self._working, self._mark = tuple(symbols), perp, working, mark
        self._settings = settings or VenueSettings()
        self._alarm = alarm or (lambda kind, text: None)
        known = dict(memory or {})
        self._outbox = Outbox(known)
        self._conditions = Conditions(self._outbox.put, clock.now_ns)
        self._tasks = Tasks(self._conditions, self._alarm, self._settings.backoff_most_s)
        self._line = Line(transport, clock, self._conditions, self._settings)
        self._account = Account(
            symbols=symbols, perp=perp, held=held, quote_held=quote_held, mark=mark, foreign=known.get("foreign"),
            quote_tolerance=self._settings.quote_tolerance,
        )  # fmt: skip
        self._book = OrdersBook(ids, self._fees, clock.now_ns)
        self._reconciler = Reconciler(
            book=self._book, line=self._line, clock=clock, settings=self._settings, account=self._account,
            outbox=self._outbox, conditions=self._conditions, owner=self, symbols=symbols, memory=known,
        )  # fmt: skip
        self._pursuer = Pursuer(
            book=self._book, line=self._line, clock=clock, rng=rng, settings=self._settings,
            offset_ms=lambda: self._reconciler.offset_ms, teller=self, spawn=self._tasks.spawn,
        )  # fmt: skip
        self._listener = Listener(
            owner=self, transport=transport, conditions=self._conditions, line=self._line, clock=clock, rng=rng,
            settings=self._settings, book=self._book,
        )  # fmt: skip
        self._rounds = Rounds(
            reconciler=self._reconciler, listener=self._listener, conditions=self._conditions, line=self._line,
            book=self._book, outbox=self._outbox, clock=clock, rng=rng, settings=self._settings, owner=self,
        )  # fmt: skip
        self._ghosts, self._strays = set[str](), set[tuple[str, str]]()
        self._lost: list[int] = list(known.get("lost", []))
        self._running = False

    # --- the port -----------------------------------------------------------------------------------------------------
    async def start(self, put: Put) -> None:
        """Reconcile, then keep telling; what isn't consistent in time stands as conditions when this returns.

        The engine has to take events while this waits: balances are compared with what it has booked.

        Raises
        ------
        RefusedError
            The very first start, and the account holds less than the allocation.
        """
        self._outbox.open(put)
        self._conditions.on("stream", "the venue wasn't read since the start")
        facts = list(self._working())
        self._running = True
        self._reconciler.begin(min((one.sent_ns for one in facts), default=self._clock.now_ns()))
        # Whoever handed them over is gone, so none was handed over after now. Not from when they were sent: the clock
        # may have been set since, and by that count the fence would be over before a request in flight has arrived.
        latest_ns = self._clock.now_ns() + int(self._settings.timeout_s * SECOND)
        for one in facts:
            self.tell(self._book.restore(one, latest_ns=latest_ns))
        self._tasks.keep(self._listener.run, "pushes")
        self._tasks.keep(self._rounds.run, "reconciliation")
        if self._settings.dead_man_s:
            self._tasks.keep(self._rounds.rearm, "dead-man timer")
        for o in self._book:
            self._pursuer.chase(o)
        try:
            async with asyncio.timeout(self._settings.start_s):
                await self._rounds.ready.wait()
        except TimeoutError:
            self._alarm("start", "the venue isn't reconciled yet: " + "; ".join(self._conditions.standing()))
        if self._rounds.refused is not None:
            await self.stop()
            raise self._rounds.refused

    async def send(self, commands: Sequence[Command]) -> None:
        """Take what the gate approved; returns before the venue has answered."""
        if not self._running:
            raise WorkError("the venue isn't running: nothing was sent")
        for command in commands:
            if isinstance(command, Submit):
                self._submit(command)
            else:
                self._withdraw(command)

    async def stop(self) -> None:
        """Stop telling; orders are left standing. The venue's own dead-man timer is disarmed."""
        if not self._running:
            return
        self._running = False
        self._outbox.close()
        await self._tasks.stop()
        await self._rounds.disarm()
        await self._transport.close()

    def health(self) -> dict[str, Any]:
        """Plain values for `status`."""
        orders = list(self._book)
        return {
            "ready": self._rounds.ready.is_set(),
            "reachable": self._line.reachable,
            "stream": self._listener.state,
            "conditions": self._conditions.standing(),
            "orders": len(orders),
            "unknown": sum(o.unknown for o in orders),
            "unsettled": sum(o.unsettled for o in orders),
            "leaving": sum(o.leaving for o in orders),
            "foreign_orders": self._reconciler.foreign_orders,
            "foreign": {key: plain(value) for key, value in (self._account.foreign or {}).items()},
            "clock_offset_ms": self._reconciler.offset_ms,
            "untaken": self._outbox.pending,
            "asked": self._line.asked,
            "dead_man": self._rounds.dead_man,
            "faults": list(self._tasks.faults),
        }

    # --- what the driver journals -------------------------------------------------------------------------------------
    def took(self, event: Event) -> None:
        """The engine has handled one event of the queue. Call it for each, in order, before the step is journalled."""
        self._outbox.took(event)
        self._rounds.took()

    @property
    def changed(self) -> bool:
        """`memory()` has something new to journal."""
        return self._outbox.changed

    def memory(self) -> dict[str, Any]:
        """What has to survive a restart, as JSON values, as of the events that were taken."""
        return self._outbox.memory()

    # --- orders out ---------------------------------------------------------------------------------------------------
    def _submit(self, command: Submit) -> None:
        now_ns = self._clock.now_ns()
        if self._book.get(command.order) is not None:
            raise WorkError(f"order {command.order} was sent before; it is never sent twice")
        try:
            reason = self._conditions.blocking(command.symbol) if command.purpose == ENTRY else ""
            if command.symbol not in self._reconciler.markets:
                reason = reason or "the market's grid isn't known yet"
            if reason:
                raise OffGridError(reason)
            client_id, market = self._ids.make(command.order), self._reconciler.markets[command.symbol]
            message = intent(command, market, client_id, perp=self._perp, mark=self._mark(command.symbol))
        except OffGridError as error:
            self.tell(self._book.refuse(self._taken(command, now_ns, "0"), f"not sent: {error}"))
            return
        o = self._taken(command, now_ns, message.qty)
        o.placing = True
        self._tasks.spawn(self._place(o, message), f"order {o.order}")

    def _taken(self, command: Submit, now_ns: int, qty: str) -> Standing:
        price = command.limit if command.limit > 0.0 else self._mark(command.symbol)
        return self._book.add(
            Standing(
                order=command.order, client_id=self._ids.make(command.order), symbol=command.symbol, side=command.side,
                protective=command.kind in (STOP, TAKE), qty=number(qty), price=price, first_ns=now_ns, sent_ns=now_ns,
            )
        )  # fmt: skip

    async def _place(self, o: Standing, message: Place) -> None:
        answer = await self._line.ask(message)
        o.placing = False
        try:
            self._placed(o, answer)
        except ValueError as error:
            self._conditions.on("stream", f"order {o.order}: an answer makes no sense: {error}")
            self.tell(self._book.doubt(o, latest_ns=self._latest_ns()))
        self._pursuer.chase(o)

    def _placed(self, o: Standing, answer: Message) -> None:
        if isinstance(answer, Accepted):
            self.tell(self._book.see(answer.order, o))
        elif isinstance(answer, Refused) and answer.why != "duplicate" and not o.acked:
            self._refused(o, answer)
        elif isinstance(answer, NotSent) and not o.acked:
            self.tell(self._book.refuse(o, f"not sent: {answer.text}"))
        elif not o.ended and not o.acked:
            # A duplicate too: then the process had it before, and what came of that isn't known here.
            told = isinstance(answer, Unknown) and answer.sent_ns > 0
            self.tell(self._book.doubt(o, latest_ns=answer.sent_ns if told else self._latest_ns()))  # type: ignore[attr-defined]
        else:
            o.verify = not o.ended

    def _latest_ns(self) -> int:
        return self._clock.now_ns() + int(self._settings.timeout_s * SECOND)

    def _refused(self, o: Standing, answer: Refused) -> None:
        text = f"{answer.why} {answer.code}: {answer.text}"
        self.tell(self._book.refuse(o, text, passed=answer.why == "passed" and o.protective))
        if answer.why in _REVOKING:
            self._conditions.on("key", f"the key may not trade: {answer.text}", level=4, sticky=True)
        elif answer.why == "market":
            self._tasks.spawn(self._reread_markets(), "markets")
        elif answer.why == "funds":
            self._rounds.wake()

    async def _reread_markets(self) -> None:
        await self._reconciler.read_markets(now=True)

    def _withdraw(self, command: Withdraw) -> None:
        o = self._book.get(command.order)
        if o is None:
            text = f"order {command.order} shall be cancelled, but nobody knows it"
            self._conditions.on("reconciliation", text, sticky=True)
            self._alarm("reconciliation", text)
        elif o is not None and not o.ended:
            o.leaving = True
            self._pursuer.chase(o)

    # --- what is heard ------------------------------------------------------------------------------------------------
    def tell(self, reports: Iterable[Report]) -> None:
        """To the engine; then what follows from it for the account and the latches."""
        for report in reports:
            self._outbox.put(report)
            if report.what == "lost":
                self._lost = [*self._lost, report.order][-512:]
                lost = list(self._lost)
                self._outbox.note(lambda memory, lost=lost: memory.update(lost=lost))  # type: ignore[misc]
        if self._account.charged:
            self._reconciler.note_foreign()
        self._weigh_unknown()

    def hear_order(self, view: OrderView) -> None:
        """An order of the account, from the stream or read."""
        owner = self._ids.owner(view.client_id)
        if owner == "stranger":
            self._strange(view.client_id)
            return
        o = self._book.find(view.client_id, symbol=view.symbol, venue_id=view.venue_id)
        if o is not None and not o.ended:
            self.tell(self._book.see(view, o))
            self._pursuer.chase(o, self._settings.trades_grace_s)
        elif owner == "ours" and view.status == "open" and view.client_id not in self._ghosts:
            self._ghosts.add(view.client_id)
            self._tasks.spawn(self._lay(view), f"stray order {view.client_id}")

    def _strange(self, client_id: str) -> None:
        text = f"order {client_id} is of this bot, but of a session nobody knows: another one is running"
        self._conditions.on("foreign", text, level=4, sticky=True)
        if client_id not in self._ghosts:
            self._ghosts.add(client_id)
            self._alarm("foreign", text)

    async def _lay(self, view: OrderView) -> None:
        try:
            await self._listener.lay(view)
        finally:
            self._ghosts.discard(view.client_id)

    def hear_trade(self, view: TradeView) -> None:
        """A trade of the account, from the stream or read."""
        owner = self._ids.owner(view.client_id)
        o = self._book.find(view.client_id, symbol=view.symbol, venue_id=view.venue_id)
        if owner == "foreign" and o is None and view.symbol in self._symbols:
            self._rounds.moved(view)
            if view.client_id:
                return
        if owner == "stranger":
            self._strange(view.client_id)
            return
        reports = self._book.trade(view)
        self.tell(reports)
        if owner == "ours" and self._ids.order(view.client_id) in self._lost and not reports:
            self._stray(view)
        while self._book.strays:
            self._stray(self._book.strays.pop())
        o = o or self._book.find(view.client_id, symbol=view.symbol, venue_id=view.venue_id)
        if o is not None:
            self._pursuer.chase(o, self._settings.trades_grace_s)

    def hear_trades(self, answer: TradesAre) -> None:
        """Trades that were read."""
        for view in answer.trades:
            self.hear_trade(view)

    def _stray(self, view: TradeView) -> None:
        if (view.symbol, view.trade_id) in self._strays:
            return
        self._strays.add((view.symbol, view.trade_id))
        text = f"trade {view.trade_id} of {view.qty} {view.symbol} belongs to {view.client_id}, which had ended"
        self._conditions.on("reconciliation", text, sticky=True)
        self.alarm("reconciliation", text)

    # --- what the parts ask of each other -----------------------------------------------------------------------------
    def chase(self, o: Standing) -> None:
        """Look after an order."""
        self._pursuer.chase(o)

    def alarm(self, kind: str, text: str) -> None:
        """Tell a person."""
        self._alarm(kind, text)

    def wake(self) -> None:
        """Read the venue now."""
        self._rounds.wake()

    def mismatch(self, o: Standing, text: str) -> None:
        """Venue and desk can't be brought together just now: no new risk in that symbol until they are."""
        self._conditions.on("reconciliation", text, symbol=o.symbol)

    def settled(self, o: Standing) -> None:
        """An order that was gone after is settled."""
        if not any(other.unsettled for other in self._book if other.symbol == o.symbol):
            self._conditions.off("reconciliation", symbol=o.symbol)
        self._weigh_unknown()
        if not self._rounds.ready.is_set() or self._conditions.is_on("stream"):
            self._rounds.wake()

    def _fees(self, view: TradeView) -> tuple[float, float, float]:
        return self._account.fees(view, self._reconciler.markets.get(view.symbol))

    def _weigh_unknown(self) -> None:
        unknown = [o for o in self._book if o.unknown]
        worth = sum(float(o.rest) * o.price for o in unknown)
        count, limit = len(unknown), self._settings.unknown_orders
        if count > limit:
            text = f"the outcome of {count} orders isn't known"
            self._conditions.on("unknown", text, limit=float(limit), observed=float(count))
        elif not worth <= self._settings.unknown_notional:
            text = f"the outcome of orders worth {worth:.2f} isn't known"
            self._conditions.on("unknown", text, limit=self._settings.unknown_notional, observed=worth)
        else:
            self._conditions.off("unknown")
