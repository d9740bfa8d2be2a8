"""What the engine hears and what it asks for: closed lists of frozen records. Time is in the event, never read.

`ns` is when the engine could first use it: stamped by the one consumer of the queue, it never goes back. Symbols and
coins are named, not numbered, so that a journal can be read without its session.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from data.errors import WorkError
from risk.records import Array

# One scored post as signals take it; columns as in `signals.inputs.SentimentTape`, coin as an index, -1 the market.
POSTS = np.dtype([
    ("coin", "i8"), ("event_ns", "i8"), ("known_ns", "i8"), ("score", "f8"), ("weight", "f8"), ("author", "i8"),
    ("source", "i8"), ("revision", "i8"), ("trusted", "u1"), ("cluster", "i8"), ("flags", "i8"),
])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Event:
    """Anything that the engine hears."""

    ns: int


@dataclass(frozen=True, kw_only=True)
class Bar(Event):
    """A closed bar of one symbol. caught_up: it closed while nobody listened; it is learnt, never decided on."""

    symbol: str
    open_ns: int
    close_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    caught_up: bool = False


@dataclass(frozen=True, kw_only=True)
class Posts(Event):
    """Scored posts, POSTS[n], in order of known_ns."""

    rows: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Posts) and self.ns == other.ns and self.rows.tobytes() == other.rows.tobytes()

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class Observation(Event):
    """One value of a metric; coin is a ticker, or "*" for the market."""

    name: str
    coin: str
    event_ns: int
    known_ns: int
    value: float
    revision: int = 0


@dataclass(frozen=True, kw_only=True)
class Funding(Event):
    """Funding due on a simulated perpetual: a rate; or paid at a real one: an amount, above 0 when paid."""

    symbol: str
    due_ns: int
    rate: float = float("nan")
    amount: float = float("nan")
    venue_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Tick(Event):
    """Time has passed. Sent at least once a second, so that timers move in a silent market."""


@dataclass(frozen=True, kw_only=True)
class Report(Event):
    """What the venue tells of one order of ours, by the desk's order number.

    what "acked", "filled" (one trade), "cancelled", "expired", "rejected", "unknown" or "lost". A trade has its
    quantity, price and fee: `fee` its worth in quote, `fee_base` the part taken in the coin bought, `fee_elsewhere` the
    worth of what was taken in a third coin. `trade` is the venue's id: the same one twice is booked once. `passed` is
    of a rejected stop or target: the price is past it already.
    """

    order: int
    what: str
    qty: float = 0.0
    price: float = 0.0
    fee: float = 0.0
    fee_base: float = 0.0
    fee_elsewhere: float = 0.0
    maker: bool = False
    passed: bool = False
    trade: str = ""
    venue_id: str = ""
    venue_ns: int = 0
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Outside(Event):
    """The venue holds less of a symbol than the desk (somebody sold it by hand): the desk's holding is cut to `qty`."""

    symbol: str
    qty: float
    price: float
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Condition(Event):
    """Something that allows no new risk while it lasts, or (level above 1) more. `symbol` "" means the account.

    cause "data" (15), "equity" (16), "reconciliation" (17), "unknown" (18), "clock", "stream", "venue", "journal",
    "heartbeat" (25), "market" (a halted symbol), "key" (revoked), "foreign" (another session on the account).
    """

    cause: str
    on: bool
    symbol: str = ""
    level: int = 1
    limit: float = 0.0
    observed: float = 0.0
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Operator(Event):
    """A person's word. act "halt" (flatten: also sell), "resume", "close" (one symbol)."""

    act: str
    person: str
    reason: str
    symbol: str = ""
    flatten: bool = False


@dataclass(frozen=True, kw_only=True)
class Transfer(Event):
    """Quote moved into (below 0: out of) the allocation by the operator."""

    amount: float
    person: str
    reason: str


EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (Bar, Posts, Observation, Funding, Tick, Report, Outside, Condition, Operator, Transfer)
}


def pack(event: Event) -> dict[str, Any]:
    """An event as JSON values; floats keep every bit (NaN is null, infinities are text)."""
    body: dict[str, Any] = {"is": type(event).__name__}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, np.ndarray):
            value = base64.b64encode(value.tobytes()).decode()
        elif isinstance(value, float) and not math.isfinite(value):
            value = None if value != value else repr(value)
        body[field.name] = value
    return body


def unpack(body: dict[str, Any]) -> Event:
    """The event that `pack` wrote.

    Raises
    ------
    WorkError
        It is none that this version writes.
    """
    try:
        given = dict(body)
        kind = EVENTS[given.pop("is")]
        for field in fields(kind):
            if field.name == "rows":
                given["rows"] = np.frombuffer(base64.b64decode(given["rows"]), POSTS)
            elif field.type == "float" and not isinstance(given.get(field.name, 0.0), float):
                value = given[field.name]
                given[field.name] = float("nan") if value is None else float(value)
        return kind(**given)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"an event in the journal is none that this version of Tidegate writes ({type(error).__name__}: {error})"
        raise WorkError(what) from error


# --- what the engine asks of a venue ----------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Submit:
    """Send one order that the gate approved. kind and purpose as numbered in `risk.records`; side 1 or -1."""

    order: int
    symbol: str
    side: int
    kind: int
    purpose: int
    qty: float
    limit: float
    stop: float
    decided_ns: int


@dataclass(frozen=True, kw_only=True)
class Withdraw:
    """Cancel one order; it works on until the venue says that it is gone."""

    order: int
    symbol: str


Command = Submit | Withdraw
