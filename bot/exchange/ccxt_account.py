"""The one place that talks to a venue with a key: places, cancels and asks through ccxt, and says what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from bot.exchange import outcomes, views
from bot.exchange.fit import Unfit, fitted, next_page
from bot.exchange.link import LOG, Link, Said
from bot.exchange.redact import redact
from bot.exchange.settings import Settings
from bot.exchange.wire import (
    Accepted,
    Alarm,
    BalancesAre,
    Cancel,
    ClockIs,
    Failed,
    Lookup,
    Message,
    NotFound,
    OrdersAre,
    OrderView,
    Place,
    Refused,
    Unknown,
)

MARKETS_AGE_S = 60.0
TAKEN_S = (0.05, 0.1, 0.2)
WEIGHTS = {
    "binance": {"markets": 20, "lookup": 4, "orders": 80, "orders-of": 6, "trades": 20, "balances": 20, "price": 2},
    "kraken": {"lookup": 2, "trades": 2},
}


class CcxtAccount:
    """Orders and questions of one account. `note` takes alarms, `client_of` names our client id of a venue's id."""

    def __init__(
        self, settings: Settings, link: Link, note: Callable[[Message], None], client_of: Callable[[str], str]
    ) -> None:
        self.settings, self.link, self.api, self.family = settings, link, link.api, link.family
        self.offset_ms, self.round_trip_ms = 0.0, 0.0
        self._note, self._client_of = note, client_of
        self._kinds: dict[str, str] = {}
        self._clients: dict[str, str] = {}
        self._markets_at = float("-inf")
        self.modes_at = float("-inf")  # when positions were last seen to be one-way and isolated; monotonic seconds
        self._alarmed = False

    # --- orders -------------------------------------------------------------------------------------------------------
    async def place(self, intent: Place, *, is_exit: bool) -> Message:
        """Place one order, once. A refused time stamp, and nothing else, is signed anew after a look at the clock."""
        try:
            order = fitted(self.api, self.family, intent, self.late())
        except Unfit as unfit:
            return Refused(why=unfit.why, code="local", text=str(unfit))
        except Exception as error:  # ccxt's own checks and Decimal's: nothing was sent
            return Refused(why="filters", code="local", text=redact(f"{type(error).__name__}: {error}"))
        for attempt in range(2):
            said = await self._send("place", partial(self.api.create_order, *order), urgent=is_exit, placing=True)
            answer = self._placed(intent, said)
            if not (isinstance(answer, Refused) and answer.why == "clock"):
                break
            if attempt == 0 and isinstance(await self.clock(), Failed):
                break
        if isinstance(answer, Refused) and answer.why == "clock":
            return replace(answer, why="other")
        if isinstance(answer, Refused) and answer.why == "market":
            self._markets_at = float("-inf")  # what is known of it isn't true any more: the next question reads anew
        return answer

    def _placed(self, intent: Place, said: Said) -> Message:
        if said.error is not None:
            self._key_watch(said)
            return outcomes.of_place(self.family, said.call, said.error, said.until_ns)
        nothing = outcomes.of_nothing(said.call, said.result, intent.client_id)
        if nothing is not None:
            return nothing
        given = {"side": intent.side, **{name: value for name, value in said.result.items() if value is not None}}
        view = views.order_view(
            given, self.market(intent.symbol), client_id=intent.client_id, kind=intent.kind, qty=intent.qty
        )
        limit = None if intent.kind == "market" else view.limit or intent.limit
        view = replace(view, client_id=intent.client_id, stop=intent.stop, limit=limit)
        self.remember(view)
        return Accepted(order=view)

    async def cancel(self, intent: Cancel) -> Message:
        """Cancel by client id; NotFound when the venue doesn't know it, wherever it keeps such orders."""
        answer: Message = NotFound()
        for extra in self._places_of(intent.symbol, self._kinds.get(intent.client_id)):
            params = {self._id_name(): intent.client_id, **extra}
            said = await self._send(
                "cancel", partial(self.api.cancel_order, None, intent.symbol, params), urgent=True, again=True
            )
            answer = await self._cancelled(intent, said)
            if not isinstance(answer, NotFound):
                return answer
        return answer

    async def _cancelled(self, intent: Cancel, said: Said) -> Message:
        if said.error is not None:
            self._key_watch(said)
            return outcomes.of_cancel(self.family, said.call, said.error, said.until_ns)
        last = said.call.last
        if last is None or last.status != 200 or not outcomes.is_whole(self.family, said.call, dict):
            sent_ns = time.time_ns() if last is None else last.sent_ns
            return Unknown(text="the answer to the cancel isn't one", sent_ns=sent_ns)
        order = said.result if isinstance(said.result, dict) else {}
        if order.get("status") is None or order.get("filled") is None:
            return await self._taken(intent, last.sent_ns)
        view = views.order_view(order, self.market(intent.symbol), kind=self._kinds.get(intent.client_id, ""))
        return Accepted(order=replace(view, client_id=intent.client_id))  # Binance names the cancel's own client id

    async def _taken(self, intent: Cancel, sent_ns: int) -> Message:
        """The venue took the wish and told no more: whether the order ended, and with what, has to be asked."""
        answer: Message = NotFound()
        for wait_s in (0.0, *TAKEN_S):
            await asyncio.sleep(wait_s)
            answer = await self.lookup(Lookup(client_id=intent.client_id, symbol=intent.symbol))
            if isinstance(answer, Accepted) and answer.order.status != "open":
                return answer
        if isinstance(answer, Accepted):
            return answer
        return Unknown(text="the cancel was taken; what became of the order isn't known", sent_ns=sent_ns)

    # --- questions about orders ---------------------------------------------------------------------------------------
    async def lookup(self, intent: Lookup) -> Message:
        """What became of an order: Accepted with its view, NotFound, or Failed."""
        answer: Message = NotFound()
        for extra in self._places_of(intent.symbol, self._kinds.get(intent.client_id)):
            for ask in self._lookups(intent, extra):
                said = await self._send("lookup", ask, urgent=True, again=True)
                answer = self._found(intent, said)
                if not isinstance(answer, NotFound):
                    return answer
        return answer

    def _lookups(self, intent: Lookup, extra: dict[str, Any]) -> list[Callable[[], Any]]:
        name, client_id, symbol = self._id_name(), intent.client_id, intent.symbol
        params = {name: client_id, **extra}
        if self.family == "bybit":
            return [
                lambda: self.api.fetch_open_orders(symbol, None, None, params),
                lambda: self.api.fetch_canceled_and_closed_orders(symbol, None, None, params),
            ]
        if self.family == "kraken":
            return [
                lambda: self.api.fetch_open_orders(symbol, None, None, params),
                lambda: self.api.fetch_closed_orders(symbol, None, None, params),
            ]
        return [lambda: self.api.fetch_order(None, symbol, params)]

    def _found(self, intent: Lookup, said: Said) -> Message:
        if said.error is not None:
            self._key_watch(said)
            return outcomes.of_question(self.family, said.call, said.error, said.until_ns)
        if not outcomes.is_whole(self.family, said.call, dict):
            return Failed(text="the answer to the look-up isn't one")
        rows = said.result if isinstance(said.result, list) else [said.result]
        for row in rows:
            if isinstance(row, dict) and row.get("id") and row.get("clientOrderId") in (intent.client_id, None):
                if row.get("clientOrderId") is None and self.family != "kraken":
                    continue
                view = replace(
                    views.order_view(row, self.market(intent.symbol), kind=self._kinds.get(intent.client_id, "")),
                    client_id=intent.client_id,
                )
                self.remember(view)
                return Accepted(order=view)
        return NotFound() if isinstance(said.result, list) else Failed(text="the look-up brought another order")

    async def open_orders(self, symbol: str | None = None) -> OrdersAre | Failed:
        """Every open order, ours and others', of the account or of one symbol."""
        found: dict[str, OrderView] = {}
        for extra in self._places_of(symbol, None):
            cursor: dict[str, Any] = {}
            while True:
                params = {**extra, **cursor}
                said = await self._send(
                    "orders-of" if symbol else "orders",
                    partial(self.api.fetch_open_orders, symbol, None, self._page_size(), params),
                    urgent=True,
                    again=True,
                )
                if said.error is not None or not outcomes.is_whole(self.family, said.call, list):
                    return self.failed(said, "the open orders")
                for row in said.result:
                    view = self._view(row)
                    if view is not None:
                        found[view.venue_id] = view
                cursor = next_page(self.family, said, self._page_size())
                if not cursor:
                    break
        return OrdersAre(orders=tuple(found.values()))

    def _view(self, row: Mapping[str, Any]) -> OrderView | None:
        market = (self.api.markets or {}).get(row.get("symbol"))
        if market is None:
            LOG.warning("an open order of a market that isn't known: %s", row.get("symbol"))
            market = {"symbol": str(row.get("symbol"))}
        view = views.order_view(row, market)
        self.remember(view)
        return view if view.status == "open" else None

    async def balances(self) -> Message:
        """What the account holds."""
        said = await self._send("balances", lambda: self.api.fetch_balance(), urgent=True, again=True)
        if said.error is not None or not outcomes.is_whole(self.family, said.call, dict):
            return self.failed(said, "the balances")
        try:
            return BalancesAre(balances=views.balance_views(said.result))
        except ValueError as error:
            return Failed(text=str(error))

    # --- clock, markets, prices ---------------------------------------------------------------------------------------
    async def clock(self) -> ClockIs | Failed:
        """Measure the venue's clock, the quickest of three, and sign by it from now on."""
        best: tuple[float, float] | None = None
        for _ in range(3):
            wall_ms, start = time.time() * 1000, time.monotonic()
            said = await self.link.run("clock", 1, lambda: self.api.fetch_time(), urgent=True)
            trip_ms = (time.monotonic() - start) * 1000
            if said.error is not None or not isinstance(said.result, int):
                if best is None:
                    return self.failed(said, "the venue's clock")
                break
            found = (trip_ms, said.result - (wall_ms + trip_ms / 2))
            best = found if best is None or found < best else best
        assert best is not None
        self.round_trip_ms, self.offset_ms = best
        if self.family != "kraken":  # its nonce only has to grow
            self.api.options["timeDifference"] = -round(self.offset_ms)
        return ClockIs(offset_ms=self.offset_ms, round_trip_ms=self.round_trip_ms)

    async def load_markets(self) -> Failed | None:
        """Read the markets, at most once a minute; None: they are there."""
        if self.api.markets and time.monotonic() - self._markets_at < MARKETS_AGE_S:
            return None
        said = await self._send("markets", lambda: self.api.load_markets(True))
        if said.error is not None or not said.result:
            return self.failed(said, "the markets")
        self._markets_at = time.monotonic()
        return None

    async def price(self, symbol: str) -> Decimal | None:
        """The venue's last price of a symbol; None: there is none now."""
        for name in ("fetch_ticker", "fetch_ohlcv"):
            arguments = (symbol,) if name == "fetch_ticker" else (symbol, "1m", None, 2)
            said = await self._send("price", partial(getattr(self.api, name), *arguments))
            try:
                found = said.result["last"] if name == "fetch_ticker" else said.result[-1][4]
                price = views.number(found)
            except (TypeError, KeyError, IndexError, InvalidOperation):
                price = None
            if price is not None and price > 0:
                return price
        return None

    # --- helpers ------------------------------------------------------------------------------------------------------
    def market(self, symbol: str) -> Mapping[str, Any]:
        """ccxt's market of a symbol, or one that only has its name."""
        found: Mapping[str, Any] = (self.api.markets or {}).get(symbol) or {"symbol": symbol}
        return found

    def remember(self, view: OrderView) -> None:
        """Keep what later answers leave out: the kind of an order, and whose it is."""
        if view.client_id.startswith(self.settings.bot_id):
            for kept, name, value in (
                (self._kinds, view.client_id, view.kind),
                (self._clients, view.venue_id, view.client_id),
            ):
                kept[name] = value
                while len(kept) > 20_000:
                    kept.pop(next(iter(kept)))

    def client_id(self, trade: Mapping[str, Any]) -> str:
        """Our client id of a trade; "" when it isn't known here."""
        venue_id = str(trade.get("order") or "")
        return views.client_of_trade(trade) or self._clients.get(venue_id, "") or self._client_of(venue_id)

    def late(self) -> datetime:
        """When, by the venue's clock, an order that is sent now has come too late."""
        return datetime.now(UTC) + timedelta(milliseconds=self.settings.recv_window_ms + self.offset_ms)

    def failed(self, said: Said, what: str) -> Failed:
        """Failed, for a question without a usable answer."""
        self._key_watch(said)
        if said.error is None:
            return Failed(text=f"the answer isn't one: {what}", until_ns=said.until_ns)
        answer = outcomes.of_question(self.family, said.call, said.error, said.until_ns)
        return answer if isinstance(answer, Failed) else Failed(text=f"the venue knows nothing of {what}")

    async def ask(self, what: str, ask: Callable[[], Any], shape: type[Any] | None = None) -> Any:
        """The result of a question, or Failed; `shape` is that of Binance's raw answer, where it has to be whole."""
        said = await self._send(what, ask, again=True)
        if said.error is not None or (shape is not None and not outcomes.is_whole(self.family, said.call, shape)):
            return self.failed(said, f"the {what}")
        return said.result

    async def _send(
        self, what: str, ask: Callable[[], Any], *, urgent: bool = False, placing: bool = False, again: bool = False
    ) -> Said:
        """One call; `again`: a question or cancel with a refused time stamp is asked once more with a new one."""
        weight = WEIGHTS.get(self.family, {}).get(what, 1)
        said = await self.link.run(what, weight, ask, urgent=urgent, placing=placing)
        code = said.call.code(self.family) if said.error is not None else None
        if again and code is not None and code.why == "clock" and not isinstance(await self.clock(), Failed):
            said = await self.link.run(what, weight, ask, urgent=urgent)
        return said

    def _key_watch(self, said: Said) -> None:
        if outcomes.is_revoked(self.family, said.call) and not self._alarmed:
            self._alarmed = True
            self._note(
                Alarm(kind="key", text=f"the venue refuses the key ({said.call.what}): {redact(said.error)[:200]}")
            )

    def _id_name(self) -> str:
        return {"bybit": "orderLinkId", "kraken": "cl_ord_id"}.get(self.family, "clientOrderId")

    def _page_size(self) -> int | None:
        return {"bybit": 50, "okx": 100}.get(self.family)

    def _places_of(self, symbol: str | None, kind: str | None) -> Iterable[dict[str, Any]]:
        """Where the venue may keep an order: some keep stops apart, and are asked there with other arguments."""
        perp = self.settings.market == "perp" if symbol is None else ":" in symbol
        apart: dict[str, Any] = {}
        if (self.family == "binance" and perp) or self.family == "okx":
            apart = {"trigger": True, **({"ordType": "conditional"} if self.family == "okx" else {})}
        elif self.family == "bybit" and not perp:
            apart = {"orderFilter": "tpslOrder"}
        if not apart:
            return ({},)
        return (apart, {}) if kind in ("stop", "take-profit") else ({}, apart)
