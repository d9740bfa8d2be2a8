"""The private streams: orders and trades as they happen, connected anew before a venue cuts them, asked for otherwise.

ccxt hands over what came since it was last asked, and is silent about what came in between until the next message; so
its caches are tapped: every order and trade is told at once. A new connection is up before the old one is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.exchange import questions, views
from bot.exchange.ccxt_account import CcxtAccount
from bot.exchange.keys import Key
from bot.exchange.link import LOG, build
from bot.exchange.redact import redact
from bot.exchange.wire import (
    Accepted,
    Alarm,
    Lookup,
    Message,
    OrderSeen,
    OrderView,
    StreamState,
    Trades,
    TradesAre,
    TradeSeen,
)
from data.hang_up import hang_up

RENEW_S = 23 * 3600.0
READY_S = 20.0
OVERLAP_S = 2.0
RETRY_S = (0.5, 30.0)
POLL_S = 3.0
CLOSE_S = 5.0
POLLED_MAX = 20
Push = Callable[[Message], None]


@dataclass
class Times:
    """How long things take; a test makes them short."""

    renew_s: float = RENEW_S
    ready_s: float = READY_S
    overlap_s: float = OVERLAP_S
    first_retry_s: float = RETRY_S[0]
    last_retry_s: float = RETRY_S[1]
    poll_s: float = POLL_S
    now_ns: Callable[[], int] = time.time_ns  # what the age of an intent is measured by: its bot's clock


class Private:
    """Keeps one private stream up and pushes what it tells."""

    def __init__(self, account: CcxtAccount, key: Key, push: Push, times: Times | None = None) -> None:
        self._door, self._key, self._push = account, key, push
        self._times = times or Times()
        self.up = self._told_down = False

    async def run(self) -> None:
        """Run until cancelled."""
        retry_s = self._times.first_retry_s
        current: Connection | None = None
        fresh: Connection | None = None
        try:
            while True:
                fresh = Connection(self._door, self._key, self._push)
                try:
                    await fresh.open(self._times.ready_s)
                except Exception as error:  # of the network, of ccxt or of the venue: the stream isn't there
                    await fresh.close()
                    if current is None or current.broken.is_set():
                        self._down(error)
                    await asyncio.sleep(retry_s)
                    retry_s = min(retry_s * 2, self._times.last_retry_s)
                    continue
                retry_s = self._times.first_retry_s
                self._is_up("connected" if current is None else "renewed")
                if current is not None:
                    await asyncio.sleep(self._times.overlap_s)
                    await current.close()
                current, fresh = fresh, None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._times.renew_s):
                        await current.broken.wait()
                    self._down(current.error)
                    await current.close()
                    current = None
                    await asyncio.sleep(retry_s)
        finally:
            self.up = False
            for one in (current, fresh):  # both, where the end comes while one follows the other
                if one is not None:
                    await one.close()

    def _is_up(self, text: str) -> None:
        self.up, self._told_down = True, False
        self._push(StreamState(up=True, text=text))

    def _down(self, error: BaseException | None) -> None:
        self.up = False
        LOG.info("private stream: %s", f"{type(error).__name__}: {error}")
        if not self._told_down:
            self._told_down = True
            self._push(StreamState(up=False, text=redact(f"{type(error).__name__}: {error}")[:300]))


class Connection:
    """One connection: ccxt's streaming class, its orders and trades tapped."""

    def __init__(self, account: CcxtAccount, key: Key, push: Push) -> None:
        self._door, self._push = account, push
        self.api = build(account.settings, key, pro=True)
        self.broken = asyncio.Event()
        self.error: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, ready_s: float) -> None:
        """Connect, log in, subscribe.

        Raises
        ------
        Exception
            What ccxt raised, or TimeoutError: not all of it was done in time.
        """
        self.api.set_markets(list(self._door.api.markets.values()), self._door.api.currencies)
        self.api.options["timeDifference"] = self._door.api.options["timeDifference"]
        self.api.timeout_on_exit = 0
        self.api.orders = _tapped(self._order)
        self.api.triggerOrders = _tapped(self._order)
        self.api.myTrades = _tapped(self._trade)
        for watch in (self.api.watch_orders, self.api.watch_my_trades):
            self._tasks.append(asyncio.create_task(self._watch(watch)))
        async with asyncio.timeout(ready_s):
            while not self._is_ready():
                if self.error is not None:
                    raise self.error
                await asyncio.sleep(0.02)
            if self._door.family != "binance":  # their subscriptions are confirmed by a message nobody waits for
                await asyncio.sleep(0.3)
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        """Drop the connection."""
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await hang_up(self.api, CLOSE_S)

    async def _watch(self, watch: Callable[[], Any]) -> None:
        try:
            while True:
                await watch()
        except Exception as error:  # whatever it is, the stream can't be trusted any more
            self.error = self.error or error
            self.broken.set()

    def _is_ready(self) -> bool:
        """Connected, logged in, and nothing waited for but orders and trades."""
        clients = [one for one in self.api.clients.values() if one.url.startswith("ws")]
        if not clients or not all(one.isConnected for one in clients):
            return False
        waited = [str(name).lower() for one in clients for name, what in one.futures.items() if not what.done()]
        told = [name for name in waited if ("order" in name or "trade" in name) and "authenticate" not in name]
        return len(told) >= 2 and len(told) == len(waited)

    def _order(self, row: Mapping[str, Any]) -> None:
        market = self._door.market(str(row.get("symbol")))
        view = views.order_view(row, market)
        self._door.remember(view)
        self._push(OrderSeen(order=view))

    def _trade(self, row: Mapping[str, Any]) -> None:
        try:
            view = views.trade_view(row, self._door.market(str(row.get("symbol"))), self._door.client_id(row))
        except ValueError as error:
            self._push(Alarm(kind="stream", text=f"the stream told of {error}"))
            return
        self._push(TradeSeen(trade=view))
        kind = views.forced(row)
        if kind:
            self._push(Alarm(kind=kind, text=f"the venue itself closed {view.qty} {view.symbol} at {view.price}"))


def _tapped(told: Callable[[Mapping[str, Any]], None]) -> Any:
    from ccxt.async_support.base.ws.cache import ArrayCacheBySymbolById

    class Tapped(ArrayCacheBySymbolById):  # type: ignore[misc]
        """ccxt's cache, which also tells of each row when it comes."""

        def append(self, item: dict[str, Any]) -> None:
            super().append(item)
            told(dict(item))

    return Tapped(1000)


@dataclass
class Polling:
    """Asks for our own open orders where no stream tells of them."""

    account: CcxtAccount
    push: Push
    is_streaming: Callable[[], bool]
    poll_s: float = POLL_S
    watched: dict[str, str] = field(default_factory=dict)
    _last: dict[str, tuple[str, str]] = field(default_factory=dict)
    _told: dict[str, None] = field(default_factory=dict)
    _since_ns: int = field(default_factory=time.time_ns)

    def watch(self, client_id: str, symbol: str) -> None:
        """Ask after this order until it ends."""
        self.watched[client_id] = symbol

    def seen(self, view: OrderView) -> None:
        """An order's state became known otherwise."""
        if view.status != "open":
            self.watched.pop(view.client_id, None)

    async def run(self) -> None:
        """Run until cancelled; silent while the stream is up."""
        while True:
            await asyncio.sleep(self.poll_s)
            if not self.is_streaming() and self.watched:
                await self.once()

    async def once(self) -> None:
        """One round: trades first, so that an order's end comes after them."""
        orders = list(self.watched.items())[:POLLED_MAX]
        found = [await self.account.lookup(Lookup(client_id=one, symbol=symbol)) for one, symbol in orders]
        changed = [one.order for one in found if isinstance(one, Accepted) and self._is_new(one.order)]
        since_ns = self._since_ns - 60 * 10**9
        for symbol in sorted({one.symbol for one in changed if one.filled != "0"}):
            told = await questions.trades(self.account, Trades(symbol=symbol, since_ns=since_ns))
            if isinstance(told, TradesAre):
                for trade in told.trades:
                    if trade.trade_id not in self._told:
                        self._told[trade.trade_id] = None
                        self.push(TradeSeen(trade=trade))
        for view in changed:
            self._last[view.client_id] = (view.status, view.filled)
            self.push(OrderSeen(order=view))
            self.seen(view)
            if view.status != "open":
                self._last.pop(view.client_id, None)

    def _is_new(self, view: OrderView) -> bool:
        return self._last.get(view.client_id) != (view.status, view.filled)
