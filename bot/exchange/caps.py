"""The second, independent hard caps: what may leave in a minute, an hour and a day, at this process's own prices.

Exits are never held back by money: they are counted, and only a run of them beyond `EXIT_ROOM` times the numbers of
orders is stopped, since that is a fault and no way out.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.exchange.once import Spent
from data.errors import InputError

MINUTE_NS, HOUR_NS, DAY_NS = 60 * 10**9, 3600 * 10**9, 86_400 * 10**9
EXIT_ROOM = 3
PRICE_AGE_S = 30.0
PRICE_BAND = Decimal("0.10")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Notional in quote, numbers of orders; price_band: share that an entry's worst price may lie off the reference."""

    order_notional: Decimal
    minute_notional: Decimal
    hour_notional: Decimal
    day_notional: Decimal
    orders_per_minute: int
    orders_per_hour: int
    price_band: Decimal = PRICE_BAND

    @classmethod
    def read(cls, body: Any, where: str) -> Limits:
        """The limits of a document; all but `price_band` have to be given.

        Raises
        ------
        InputError
            One is missing, unknown, or not above 0.
        """
        given = body if isinstance(body, dict) else {}
        names = [one.name for one in fields(cls)]
        if given.keys() - set(names):
            raise InputError("unknown cap", where=where, key=sorted(given.keys() - set(names))[0])
        values: dict[str, Any] = {}
        for name in names:
            if name not in given:
                if name == "price_band":
                    continue
                raise InputError("a cap is missing", where=where, key=name, remedy="All caps have to be given")
            values[name] = _above_zero(given[name], name, where)
        return cls(**values)


def _above_zero(value: Any, name: str, where: str) -> Any:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise InputError("not a number", where=where, key=name, value=value) from None
    if not number.is_finite() or number <= 0 or isinstance(value, bool):
        raise InputError("a cap has to be above 0", where=where, key=name, value=value)
    if name.startswith("orders_"):
        if number != int(number):
            raise InputError("a whole number", where=where, key=name, value=value)
        return int(number)
    return number


@dataclass(frozen=True)
class Breach:
    """Which cap, its limit and what was observed."""

    cap: str
    limit: Decimal | int
    observed: Decimal | int

    def __str__(self) -> str:
        return f"{self.cap}: limit {self.limit}, observed {self.observed}"


class Caps:
    """Sliding windows over what was placed; `history` brings what was placed before a restart."""

    def __init__(self, limits: Limits, history: Iterable[Spent] = ()) -> None:
        self.limits = limits
        self._spent: deque[Spent] = deque(history)

    def check(self, now_ns: int, notional: Decimal, is_exit: bool) -> Breach | None:
        """The first cap that one more order would breach; None: it may leave."""
        now_ns = max(now_ns, self._spent[-1].ns if self._spent else 0)  # a clock set back frees nothing
        while self._spent and self._spent[0].ns <= now_ns - DAY_NS:
            self._spent.popleft()
        room = EXIT_ROOM if is_exit else 1
        for cap, window_ns in (("orders_per_minute", MINUTE_NS), ("orders_per_hour", HOUR_NS)):
            count = sum(1 for one in self._spent if one.ns > now_ns - window_ns) + 1
            limit = getattr(self.limits, cap) * room
            if count > limit:
                return Breach(cap, limit, count)
        if is_exit:
            return None
        if notional > self.limits.order_notional:
            return Breach("order_notional", self.limits.order_notional, notional)
        windows = (("minute_notional", MINUTE_NS), ("hour_notional", HOUR_NS), ("day_notional", DAY_NS))
        for cap, window_ns in windows:
            total = notional + sum(
                (one.notional for one in self._spent if one.ns > now_ns - window_ns), start=Decimal(0)
            )
            if total > getattr(self.limits, cap):
                return Breach(cap, getattr(self.limits, cap), total)
        return None

    def count(self, spent: Spent) -> None:
        """An order is about to leave."""
        self._spent.append(spent)

    def release(self, client_id: str) -> None:
        """It certainly didn't come to stand: its notional is free again, its number still counts."""
        for place, one in enumerate(self._spent):
            if one.client_id == client_id:
                self._spent[place] = Spent(client_id, one.ns, Decimal(0), one.is_exit)


class Reference:
    """The process's own last prices, asked of the venue itself and kept for `PRICE_AGE_S`."""

    def __init__(self, ask: Callable[[str], Awaitable[Decimal | None]]) -> None:
        self._ask = ask
        self._known: dict[str, tuple[float, Decimal]] = {}
        self._waiting: dict[str, asyncio.Task[Decimal | None]] = {}

    async def price(self, symbol: str) -> Decimal | None:
        """A fresh price in quote; None: there is none now."""
        known = self._known.get(symbol)
        if known is not None and time.monotonic() - known[0] < PRICE_AGE_S:
            return known[1]
        return await self.refresh(symbol)

    async def refresh(self, symbol: str) -> Decimal | None:
        """Ask anew; those who ask at the same time share one request."""
        task = self._waiting.get(symbol)
        if task is None:
            task = asyncio.ensure_future(self._asked(symbol))
            self._waiting[symbol] = task
            task.add_done_callback(lambda _: self._waiting.pop(symbol, None))
        return await asyncio.shield(task)

    async def _asked(self, symbol: str) -> Decimal | None:
        price = await self._ask(symbol)
        if price is None or not price.is_finite() or price <= 0:
            return None
        self._known[symbol] = (time.monotonic(), price)
        return price


def price_breach(side: str, kind: str, limit: Decimal | None, reference: Decimal, band: Decimal) -> Breach | None:
    """Whether an entry's worst price is beyond the band, or the market already beyond the worst price."""
    if limit is None:
        return None
    worst = reference * (1 + band) if side == "buy" else reference * (1 - band)
    if limit > worst if side == "buy" else limit < worst:
        return Breach("price_band", worst, limit)
    if kind == "market" and (reference > limit if side == "buy" else reference < limit):
        return Breach("worst_price", limit, reference)
    return None
