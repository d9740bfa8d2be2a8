"""From the events of a session to the desk's messages, and what has to be remembered to take each thing once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bot.events import Condition, Event, Funding, Operator, Outside, Report, Tick, Transfer
from risk import orders
from risk import records as rec
from risk.desk import Desk
from risk.hear import FILLED_IN_PART, hear
from risk.records import ENTRY, HALTED, MESSAGE, Array

KEPT = 20_000  # trades and ended orders that are remembered

STATES = {
    "acked": orders.ACKED,
    "filled": FILLED_IN_PART,
    "cancelled": orders.CANCELLED,
    "expired": orders.EXPIRED,
    "rejected": orders.REJECTED,
    "unknown": orders.UNKNOWN,
    "lost": orders.LOST,
}
# cause: (latch, rule). Those that only a person ends don't end with their condition.
CAUSES = {
    "equity": (rec.C_EQUITY, rec.R_EQUITY),
    "reconciliation": (rec.C_RECONCILE, rec.R_RECONCILE),
    "unknown": (rec.C_UNKNOWN, rec.R_UNKNOWN),
    "clock": (rec.C_CLOCK, rec.R_CLOCK),
    "stream": (rec.C_STREAM, rec.R_STREAM),
    "venue": (rec.C_VENUE, rec.R_VENUE),
    "journal": (rec.C_JOURNAL, rec.R_JOURNAL),
    "heartbeat": (rec.C_HEARTBEAT, rec.R_HEARTBEAT),
    "key": (rec.C_KEY, rec.R_KEY),
    "foreign": (rec.C_FOREIGN, rec.R_FOREIGN),
}
OF_SYMBOL = {"data": rec.R_BAR_AGE, "market": rec.R_MARKET, "reconciliation": rec.R_RECONCILE}
BY_PERSON = {"heartbeat", "key", "foreign"}  # a resume ends them, their own end doesn't
BY_WORD = BY_PERSON | {"reconciliation"}  # a resume ends them


class Ear:
    """What was heard already: trades are booked once, orders that ended are known by number."""

    def __init__(self, desk: Desk, symbols: Sequence[str]) -> None:
        self._desk = desk
        self._places = {symbol: k for k, symbol in enumerate(symbols)}
        self._trades: dict[str, None] = {}
        self._orders: dict[int, tuple[int, int]] = {}  # number: (symbol, side)
        self.standing: dict[tuple[str, str], str] = {}  # (cause, symbol): text

    def needs_tick(self) -> bool:
        """Whether the passing of time alone can move the desk now: something is planned, or stands unprotected."""
        policy = self._desk.arrays["policy"][0]
        if not policy["outside"]:
            return False
        books = self._desk.books
        bare = (books["qty"] != 0.0) & (books["protected"] == 0) & (books["work_exit"] == 0.0)
        return bool(self._desk.account["planning"]) or bool(policy["guarded"] and bare.any())

    def remember(self, sent: Array) -> None:
        """Orders by number, for trades that come after their end."""
        for order in sent:
            self._orders[int(order["id"])] = (int(order["symbol"]), int(order["side"]))
        _shorten(self._orders)

    def hear(self, event: Event) -> list[str]:
        """Tell the desk; what a person should know of it."""
        if isinstance(event, Report):
            return self._report(event)
        if isinstance(event, Condition):
            return self._condition(event)
        if isinstance(event, Operator):
            return self._operator(event)
        if isinstance(event, Outside):
            return self._outside(event)
        if isinstance(event, Funding):
            return self._funding(event)
        if isinstance(event, Transfer):
            self._tell(event.ns, rec.M_TRANSFER, qty=event.amount)
            return [f"{event.person} moved {event.amount:g} into the allocation: {event.reason}"]
        assert isinstance(event, Tick), event
        self._tell(event.ns, rec.M_TICK)
        return []

    def _tell(self, ns: int, kind: int, **values: Any) -> bool:
        message = np.zeros(1, MESSAGE)
        message["ns"], message["kind"] = ns, kind
        for name, value in values.items():
            message[name] = value
        return bool(hear(self._desk.ref, message[0]))

    def _once(self, trade: str) -> bool:
        if not trade or trade in self._trades:
            return not trade
        self._trades[trade] = None
        _shorten(self._trades)
        return True

    def _report(self, event: Report) -> list[str]:
        if event.what == "filled" and not self._once(f"{event.order}:{event.trade}" if event.trade else ""):
            return []
        values = {
            "order": event.order, "qty": event.qty, "price": event.price, "fee": event.fee,
            "fee_base": event.fee_base, "elsewhere": event.fee_elsewhere, "maker": int(event.maker or event.passed),
        }  # fmt: skip
        if self._tell(event.ns, rec.M_REPORT, what=STATES[event.what], **values) or event.what != "filled":
            return [event.text] if event.text and event.what in ("rejected", "unknown", "lost") else []
        if event.order not in self._orders:
            self._latch(event.ns, "reconciliation", 1, 0.0, event.qty)
            return [f"a trade of order {event.order}, which nobody knows: {event.qty:g} at {event.price:g}"]
        symbol, side = self._orders[event.order]
        self._tell(event.ns, rec.M_LATE, symbol=symbol, **(values | {"qty": side * event.qty}))
        self._latch(event.ns, "reconciliation", 1, 0.0, event.qty)
        return [f"a trade of order {event.order} came after its end and was booked: {event.qty:g} at {event.price:g}"]

    def _latch(self, ns: int, cause: str, level: int, limit: float, observed: float) -> None:
        place, rule = CAUSES[cause]
        self._tell(ns, rec.M_CONDITION, what=place, order=level, symbol=rule, qty=limit, price=observed)

    def _condition(self, event: Condition) -> list[str]:
        where = (event.cause, event.symbol)
        before = where in self.standing
        if event.on:
            self.standing[where] = event.text
        else:
            self.standing.pop(where, None)
        if event.symbol:
            rule = OF_SYMBOL[event.cause]
            if event.symbol in self._places and before != event.on:
                self._tell(event.ns, rec.M_PAUSE, what=rule, symbol=self._places[event.symbol], maker=int(event.on))
        elif event.on:
            self._latch(event.ns, event.cause, event.level, event.limit, event.observed)
        elif event.cause not in BY_PERSON and not any(cause == event.cause for cause, _ in self.standing):
            self._latch(event.ns, event.cause, rec.ACTIVE, 0.0, 0.0)
        about = f" of {event.symbol}" if event.symbol else ""
        return (
            [f"{event.cause}{about}: {event.text or ('begins' if event.on else 'over')}"] if before != event.on else []
        )

    def _operator(self, event: Operator) -> list[str]:
        told = f"{event.person}: {event.act} {event.symbol}".rstrip() + f" ({event.reason})"
        if event.act == "halt":
            values = {"what": rec.C_OPERATOR, "order": HALTED, "symbol": rec.R_KILL}
            self._tell(event.ns, rec.M_CONDITION, **values)
            for k in self._places.values() if event.flatten else ():
                self._tell(event.ns, rec.M_CLOSE, symbol=k, what=rec.FLATTEN_EXIT)
        elif event.act == "close":
            self._tell(event.ns, rec.M_CLOSE, symbol=self._places[event.symbol], what=rec.EXIT)
        elif event.act == "resume":
            standing = {CAUSES[cause][0] for cause, symbol in self.standing if not symbol and cause not in BY_WORD}
            self.standing = {key: text for key, text in self.standing.items() if key[0] not in BY_WORD}
            self._tell(event.ns, rec.M_RESUME, what=sum(1 << cause for cause in standing))
        else:
            raise ValueError(f"an operator can't {event.act}")
        return [told]

    def _outside(self, event: Outside) -> list[str]:
        k = self._places[event.symbol]
        gone = abs(float(self._desk.books["qty"][k])) - abs(event.qty)
        if gone > 0.0:
            self._tell(event.ns, rec.M_OUTSIDE, symbol=k, qty=gone, price=event.price)
        return [event.text or f"{gone:g} of {event.symbol} were taken by somebody else"]

    def _funding(self, event: Funding) -> list[str]:
        if event.venue_id and not self._once(f"funding:{event.venue_id}"):
            return []
        k = self._places[event.symbol]
        if event.amount == event.amount:
            self._tell(event.ns, rec.M_FUNDING, symbol=k, fee=event.amount)
        else:
            self._tell(event.ns, rec.M_FUNDING, symbol=k, price=event.rate)
        return []

    def memory(self) -> dict[str, Any]:
        """All that has to survive a restart."""
        known = [[number, symbol, side] for number, (symbol, side) in self._orders.items()]
        standing = [[cause, symbol, text] for (cause, symbol), text in self.standing.items()]
        return {"trades": list(self._trades), "orders": known, "standing": standing}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from `memory`."""
        self._trades = dict.fromkeys(memory["trades"])
        self._orders = {number: (symbol, side) for number, symbol, side in memory["orders"]}
        self.standing = {(cause, symbol): text for cause, symbol, text in memory["standing"]}

    def trades_of(self, order: int) -> tuple[str, ...]:
        """The venue's ids of the trades that were booked for an order."""
        begin = f"{order}:"
        return tuple(trade[len(begin) :] for trade in self._trades if trade.startswith(begin))

    def side_of(self, order: int) -> int:
        """1 or -1 for an order of ours, 0 when it isn't known."""
        return self._orders.get(order, (0, 0))[1]


def _shorten(kept: dict[Any, Any]) -> None:
    while len(kept) > KEPT:
        del kept[next(iter(kept))]


__all__ = ["ENTRY", "Ear"]
