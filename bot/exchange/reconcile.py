"""The look at the venue behind the stream: clock, open orders, trades, balances or positions, funding, markets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from bot.events import Funding, Outside
from bot.exchange.account import Account, Drift, nets, price_of_cut, totals
from bot.exchange.conditions import Conditions
from bot.exchange.grid import number, plain
from bot.exchange.line import SECOND, Line, VenueSettings
from bot.exchange.orders_book import OrdersBook, Standing
from bot.exchange.outbox import Outbox
from bot.exchange.pursuit import PAGES_MOST, SINCE_NS
from bot.exchange.wire import (
    Balances,
    BalancesAre,
    Clock,
    ClockIs,
    Fundings,
    FundingsAre,
    FundingView,
    Markets,
    MarketsAre,
    MarketView,
    Message,
    OpenOrders,
    OrdersAre,
    OrderView,
    Positions,
    PositionsAre,
    Trades,
    TradesAre,
    TradeView,
)
from bot.ports import Clock as TimeOfDay
from data.errors import RefusedError

FUNDING_OVERLAP_NS = READ_OVERLAP_NS = 3600 * SECOND
CUT_BACK_NS = 6 * 86_400 * SECOND
IDS_KEPT = 5_000
SHOWN_MOST = 5


class Owner(Protocol):
    """The venue as the reconciler needs it."""

    def hear_order(self, view: OrderView) -> None:
        """An order of the account was seen standing."""
        ...

    def hear_trades(self, answer: TradesAre) -> None:
        """Trades of the account were read."""
        ...

    def chase(self, o: Standing) -> None:
        """Look after an order."""
        ...

    def alarm(self, kind: str, text: str) -> None:
        """Tell a person."""
        ...


class Reconciler:
    """Reads the venue round by round. `markets` and `offset_ms` are what it has learnt."""

    def __init__(
        self, *, book: OrdersBook, line: Line, clock: TimeOfDay, settings: VenueSettings, account: Account,
        outbox: Outbox, conditions: Conditions, owner: Owner, symbols: Sequence[str], memory: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._book, self._line, self._clock, self._settings = book, line, clock, settings
        self._account, self._outbox, self._conditions, self._owner = account, outbox, conditions, owner
        self._symbols = tuple(symbols)
        self.markets: dict[str, MarketView] = {}
        self.offset_ms = 0.0
        self.compared = False  # what the account holds was found to fit since the start
        self.foreign_orders = 0
        self._markets_ns = 0
        self._cursors: dict[str, str] = dict(memory.get("cursors", {}))
        self._read_ids: dict[str, dict[str, None]] = {symbol: {} for symbol in self._symbols}
        self._read_ns: dict[str, int] = {}
        self._since_ns = int(memory.get("since_ns", 0))
        self._funding_ns = int(memory.get("funding_ns", 0))
        self._funding_read_ns = 0  # until when it was read since the start
        self._cut_prices: dict[str, float] = {}
        self._funding_ids: dict[str, int] = dict(memory.get("funding_ids", {}))
        self._drifts: tuple[tuple[str, Decimal], ...] = ()
        self._short: dict[str, Decimal] = {}  # quote that is missing, as told
        self._seen_times = 0
        self._seen_moved = 0
        self._locks = {symbol: asyncio.Lock() for symbol in self._symbols}

    def begin(self, oldest_ns: int) -> None:
        """Before the first round: from when on trades are ours, at a first start."""
        if not self._since_ns:
            self._since_ns = self._funding_ns = max(oldest_ns - SINCE_NS, 0)
            since = self._since_ns
            self._outbox.note(lambda memory: memory.update(since_ns=since, funding_ns=since))

    @property
    def doubtful(self) -> bool:
        """Balances or positions differ, and it isn't confirmed yet."""
        return bool(self._drifts)

    # --- orders and trades --------------------------------------------------------------------------------------------
    async def read_orders(self) -> bool:
        """Read what stands and what was traded; True when all of it came."""
        stood = [o for o in self._book if o.acked and not o.placing]
        versions = {o.order: o.version for o in stood}
        answer = await self._line.ask(OpenOrders())
        if not isinstance(answer, OrdersAre):
            return False
        self.foreign_orders = sum(self._book.ids.owner(view.client_id) == "foreign" for view in answer.orders)
        for view in answer.orders:
            self._owner.hear_order(view)
        there = {view.client_id for view in answer.orders}
        for o in stood:
            if o.client_id not in there and not o.ended and o.version == versions[o.order]:
                o.verify = True
                self._owner.chase(o)
        done = [await self.read_trades(symbol) for symbol in self._symbols]
        for o in self._book:
            self._owner.chase(o)
        return all(done)

    async def read_trades(self, symbol: str) -> bool:
        """Read a symbol's trades after the last that was read; those of its own instant come again."""
        async with self._locks[symbol]:
            begun_ns, known = self._clock.now_ns(), self._read_ids[symbol]
            for _ in range(PAGES_MOST):
                after, since_ns = self._cursors.get(symbol), self._read_ns.get(symbol, self._since_ns)
                answer = await self._line.ask(Trades(symbol=symbol, after_id=after, since_ns=since_ns))
                if not isinstance(answer, TradesAre):
                    return False
                new = [view for view in answer.trades if view.trade_id not in known]
                if not new:
                    # Nothing will come before that, so the next look needn't go back as far.
                    self._read_ns[symbol] = max(since_ns, begun_ns - READ_OVERLAP_NS)
                    return True
                self._owner.hear_trades(TradesAre(trades=tuple(new)))
                last = self._cursors[symbol] = answer.trades[-1].trade_id
                known.update(dict.fromkeys(view.trade_id for view in new))
                while len(known) > IDS_KEPT:
                    del known[next(iter(known))]
                self._outbox.note(_set_cursor(symbol, last))
        return False

    # --- clock and markets --------------------------------------------------------------------------------------------
    async def read_clock(self) -> bool:
        """Measure the venue's clock; half of the round trip is what isn't known of it."""
        answer = await self._line.ask(Clock())
        if not isinstance(answer, ClockIs):
            return False
        self.offset_ms = answer.offset_ms
        limit = self._settings.clock_offset_ms
        if abs(answer.offset_ms) - answer.round_trip_ms / 2.0 > limit:
            text = f"the venue's clock is {answer.offset_ms:+.0f} ms from ours"
            self._conditions.on("clock", text, limit=limit, observed=abs(answer.offset_ms))
        else:
            self._conditions.off("clock")
        return True

    async def read_markets(self, *, now: bool = False) -> bool:
        """Read grids and states, now or when the last reading is old."""
        if self.markets and not now and self._clock.now_ns() < self._markets_ns:
            return True
        answer = await self._line.ask(Markets(symbols=self._symbols))
        if not isinstance(answer, MarketsAre):
            return False
        told = {view.symbol: view for view in answer.markets}
        for symbol in self._symbols:
            self._hear_market(symbol, told.get(symbol))
        self._markets_ns = self._clock.now_ns() + int(self._settings.markets_s * SECOND)
        return True

    def _hear_market(self, symbol: str, view: MarketView | None) -> None:
        if view is not None:
            self.markets[symbol] = view
        if view is not None and view.active:
            mingled = self._account.mingled(symbol, self.markets)
            if mingled:
                text = f"somebody else holds {plain(mingled)} {symbol}, and the venue nets it with ours"
                self._conditions.on("market", text, symbol=symbol)
            else:
                self._conditions.off("market", symbol=symbol)
            return
        self._conditions.on("market", f"{symbol} doesn't trade at the venue", symbol=symbol)
        for o in self._book:
            if o.symbol == symbol and not o.protective and not o.leaving:
                o.leaving = True
                self._owner.chase(o)

    # --- what the account holds ---------------------------------------------------------------------------------------
    async def read_account(self) -> bool:
        """Compare what the venue holds with the desk; differences count when confirmed by several reads in a row.

        Raises
        ------
        RefusedError
            At the very first start: the account holds less than the desk was given.
        """
        moved = self._outbox.moved  # an order that is refused again and again doesn't put off what the account shows
        answer = await self._line.ask(Positions() if self._account.perp else Balances())
        seen = self._holdings(answer)
        if seen is None:
            return False
        quiet = moved == self._outbox.moved and self._outbox.pending == 0 and not any(
            o.unsettled or o.placing for o in self._book
        )  # fmt: skip
        if not quiet or not self.markets.keys() >= set(self._symbols):
            return True
        if self._account.foreign is None:
            self._begin(seen)
        drifts = self._account.compare(seen, self.markets)
        self._short = {one.key: one.moved for one in drifts if self._short.get(one.key) == one.moved}
        drifts = [one for one in drifts if one.key not in self._short]
        sight = tuple((one.key, one.moved) for one in drifts)
        same = sight == self._drifts and moved == self._seen_moved
        self._seen_times = self._seen_times + 1 if same else 1
        self._drifts, self._seen_moved = sight, moved
        if not drifts:
            self.compared = True
        elif self._seen_times >= self._settings.confirmations:
            self._drifts = ()
            for one in drifts:
                self._take(one)
        else:
            if self._seen_times == 1:
                self._doubt_orders({self._account.symbol_of.get(one.key, "") for one in drifts})
            if self._account.perp:
                await self._look_for_cuts(drifts)
        return True

    async def _look_for_cuts(self, drifts: Sequence[Drift]) -> None:
        """At what price somebody else (or a liquidation) took what is missing of ours."""
        since_ns = max(self._since_ns, self._clock.now_ns() - CUT_BACK_NS)
        for one in drifts:
            symbol, ours = self._account.symbol_of[one.key], self._account.ours(one.key)
            answer = await self._line.ask(Trades(symbol=symbol, since_ns=since_ns, forced=True)) if one.short else None
            if not isinstance(answer, TradesAre):
                continue
            others = [view for view in answer.trades if self._is_others(view)]
            price = price_of_cut(others, 1 if ours > 0 else -1, abs(ours - one.ours))
            if price is not None:
                self._cut_prices[symbol] = price

    def _is_others(self, view: TradeView) -> bool:
        known = self._book.find(view.client_id, symbol=view.symbol, venue_id=view.venue_id)
        return self._book.ids.owner(view.client_id) == "foreign" and known is None

    def _doubt_orders(self, symbols: set[str]) -> None:
        """Perhaps a fill that nobody told of: orders that stand are looked up. "" is any symbol."""
        for o in self._book:
            if o.acked and (o.symbol in symbols or "" in symbols):
                o.verify = True
                self._owner.chase(o)

    @staticmethod
    def _holdings(answer: Message) -> dict[str, Decimal] | None:
        if isinstance(answer, BalancesAre):
            return totals(answer.balances)
        return nets(answer.positions) if isinstance(answer, PositionsAre) else None

    def _begin(self, seen: Mapping[str, Decimal]) -> None:
        missing = self._account.begin(seen)
        if missing:
            text = ", ".join(f"{plain(value)} {key}" for key, value in sorted(missing.items()))
            raise RefusedError(f"the account holds less than the allocation: {text} are missing")
        self.note_foreign()
        for symbol in self._symbols if self._account.perp else ():
            self._hear_market(symbol, self.markets.get(symbol))

    def note_foreign(self) -> None:
        """Let the journal know the baseline."""
        foreign = {key: plain(value) for key, value in (self._account.foreign or {}).items()}
        self._account.charged = False
        self._outbox.note(lambda memory: memory.update(foreign=foreign))

    def _take(self, one: Drift) -> None:
        """Act on a confirmed difference."""
        account = self._account
        others = f"; {self.foreign_orders} foreign orders stand" if self.foreign_orders else ""
        if one.short and one.key not in account.symbol_of:
            text = f"{plain(-one.moved)} {one.key} of ours are missing{others}"
            self._short[one.key] = one.moved
            self._conditions.on("reconciliation", text, sticky=True, observed=float(-one.moved))
            self._owner.alarm("reconciliation", text)
            return
        worth, equity = account.worth(one.key, one.moved), account.equity()
        limit = self._settings.foreign_share * equity
        text = f"{one.key}: {plain(one.moved)} moved outside the bot{others}"
        account.adopt(one)
        if one.short:
            symbol = account.symbol_of[one.key]
            text += f"; ours is cut to {plain(one.ours)}"
            price = self._cut_prices.pop(symbol, account.mark(symbol))
            self._outbox.put(
                Outside(ns=self._clock.now_ns(), symbol=symbol, qty=float(one.ours), price=price, text=text)
            )
        self.note_foreign()
        if account.perp:
            self._hear_market(account.symbol_of[one.key], self.markets.get(account.symbol_of[one.key]))
        self._owner.alarm("reconciliation", text)
        if (one.short and not one.dust) or not worth <= limit:  # also when one of them isn't known
            self._conditions.on("reconciliation", text, limit=limit, observed=worth, sticky=True)

    # --- funding ------------------------------------------------------------------------------------------------------
    async def read_fundings(self) -> bool:
        """Book funding that was paid, each payment once."""
        if not self._account.perp:
            return True
        begun_ns = self._clock.now_ns()
        since_ns = max(self._funding_ns, self._funding_read_ns) - FUNDING_OVERLAP_NS
        answer = await self._line.ask(Fundings(since_ns=max(since_ns, 0)))
        if not isinstance(answer, FundingsAre):
            return False
        self._funding_read_ns = begun_ns
        self._hear_fundings(sorted(answer.fundings, key=lambda view: view.ns))
        return True

    def _hear_fundings(self, views: Iterable[FundingView]) -> None:
        heard = False
        for view in views:
            if view.funding_id in self._funding_ids or view.symbol not in self._symbols or view.ns < self._since_ns:
                continue
            heard = True
            self._funding_ids[view.funding_id] = view.ns
            self._funding_ns = max(self._funding_ns, view.ns)
            share = self._account.share(view.symbol)  # the rest of it was somebody else's to pay
            amount = float(number(view.amount) * share)
            if not share:
                continue
            self._outbox.put(
                Funding(
                    ns=self._clock.now_ns(),
                    symbol=view.symbol,
                    due_ns=view.ns,
                    amount=amount,
                    venue_id=view.funding_id,
                )  # fmt: skip
            )
        if heard:
            oldest = self._funding_ns - 2 * FUNDING_OVERLAP_NS
            self._funding_ids = {key: ns for key, ns in self._funding_ids.items() if ns >= oldest}
            ids, ns = dict(self._funding_ids), self._funding_ns
            self._outbox.note(lambda memory: memory.update(funding_ids=ids, funding_ns=ns))


def _set_cursor(symbol: str, last: str) -> Callable[[dict[str, Any]], None]:
    def patch(memory: dict[str, Any]) -> None:
        memory.setdefault("cursors", {})[symbol] = last

    return patch
