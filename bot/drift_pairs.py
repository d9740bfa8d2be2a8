"""Orders and fills of two plays of one session, paired by decision, symbol, side and purpose; and what each pair cost.

A pair's part of the difference in equity is split without remainder. Price: the same quantity at a better or worse
price, each against the open of the bar that it filled in. Timing: what the market did between those two opens. Fees:
of the same quantity, at their worth at the end. Missed: what only one side filled, of what both asked for. Size: what
one side asked for and the other didn't, since it held or owned something else by then. A quantity that only one side
filled counts until the other side catches up with it, or until the end.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot.step import Row
from risk import records as rec
from risk.desk import Desk
from risk.records import Array

CAUSES = ("price", "timing", "fees", "missed", "size")
OF_EPISODE = (rec.STOP_LOSS, rec.TAKE_PROFIT, rec.TRAILING, rec.TIME_EXIT, rec.LIQUIDATION)
NAN = float("nan")
Key = tuple[int, int, int, int]  # decision (-1: before the first), symbol, side, purpose


@dataclass
class Side:
    """One play: ORDER[n] by number, FILL[n], and for each fill the open and the number of its bar (-1 unknown)."""

    orders: Array
    fills: Array
    events: Array
    opens: Array
    bars: Array
    volumes: Array
    periods: Array  # of each order: the decision that it followed
    last: Array  # f8[M], the closes at the end
    lots: Array
    equity: float
    funding: float
    fees: float
    outside: bool


@dataclass
class Part:
    """What one side did of a pair: asked and filled in base units, the rest in quote; times in nanoseconds or 0."""

    orders: int = 0
    asked: float = 0.0
    worth: float = 0.0  # of a unit, at the decision
    filled: float = 0.0
    notional: float = 0.0
    slipped: float = 0.0  # lost against the price at the decision
    at_decision: float = 0.0  # the same quantity at that price
    at_open: float = 0.0  # the same quantity at the opens of its bars; NaN when one isn't known
    fee: float = 0.0
    fee_end: float = 0.0  # the fee at its worth at the end: coins taken are worth what coins are worth then
    sent_ns: int = 0
    first_ns: int = 0
    done_ns: int = 0

    @property
    def price(self) -> float:
        """Average price."""
        return self.notional / self.filled if self.filled else NAN

    @property
    def share(self) -> float:
        """Share filled of what was asked for."""
        return min(self.filled / self.asked, 1.0) if self.asked > 0.0 else NAN

    def bps(self, amount: float) -> float:
        """An amount in basis points of what was traded at the decision's price."""
        return 1e4 * amount / self.at_decision if self.at_decision else NAN


@dataclass
class Pair:
    """The same wish on both sides."""

    decision_ns: int
    symbol: int
    side: int
    purpose: int
    live: Part = field(default_factory=Part)
    simulated: Part = field(default_factory=Part)
    effects: dict[str, float] = field(default_factory=dict)

    @property
    def effect(self) -> float:
        """Its part of the difference in equity."""
        return sum(self.effects.values())

    @property
    def more(self) -> Part:
        """The side that filled more."""
        return self.live if self.live.filled > self.simulated.filled else self.simulated

    @property
    def missed(self) -> bool:
        """The simulated side filled, the live one didn't."""
        return self.simulated.filled > 0.0 and self.live.filled == 0.0

    @property
    def unmatched(self) -> bool:
        """The live side filled, the simulated one didn't."""
        return self.live.filled > 0.0 and self.simulated.filled == 0.0


def side_of(desk: Desk, first_ids: Sequence[int], filled: Sequence[int], rows: Sequence[Row], *, outside: bool) -> Side:
    """What a played desk did.

    Parameters
    ----------
    first_ids : sequence of int
        Number of the first order of each decision.
    filled : sequence of int
        How many fills there were at each row's close: tells the bar of a simulated fill.
    """
    both = np.concatenate([desk.done, desk.working])
    found = both[np.argsort(both["id"], kind="stable")]
    fills = desk.fills.copy()
    starts = np.array([row.open_ns for row in rows], np.int64)
    ends = np.array([row.close_ns for row in rows], np.int64)
    if outside:
        bars = np.searchsorted(starts, fills["ns"], side="right") - 1
        bars[(bars >= 0) & (fills["ns"] >= ends[bars])] = -1
    else:
        bars = np.searchsorted(np.array(filled, np.int64), np.arange(len(fills)), side="right")
    opens, volumes = (np.array([row.prices[place] for row in rows]) for place in (0, 4))
    known = bars >= 0
    at = [np.where(known, part[bars, fills["symbol"]], np.nan) for part in (opens, volumes)]
    account = desk.account
    return Side(
        orders=found, fills=fills, events=desk.events.copy(), opens=at[0], volumes=at[1],
        bars=np.where(np.isfinite(at[0]), bars, -1),
        periods=np.searchsorted(np.array(first_ids, np.int64), found["id"], side="right") - 1,
        last=desk.books["last"].copy(), lots=desk.arrays["markets"]["lot"].copy(), equity=float(account["equity"]),
        funding=float(account["funding"]), fees=float(account["fees"]), outside=outside,
    )  # fmt: skip


def pairs_of(live: Side, simulated: Side, decided: Sequence[int], sent_ns: Mapping[int, int]) -> list[Pair]:
    """Pair both sides; `decided` are the times of the decisions, `sent_ns` when live orders were decided on."""
    parts = [_parts(live, sent_ns), _parts(simulated, {})]
    found = []
    for key in sorted(parts[0].keys() | parts[1].keys()):
        period, symbol, side, purpose = key
        one, other = (each.get(key) or Part() for each in parts)
        if one.orders or one.filled or other.orders or other.filled:
            ns = decided[period] if period >= 0 else 0
            found.append(Pair(ns, symbol, side, purpose, one, other))
    for pair in found:
        pair.effects = effects_of_both(pair)
    add_effects_of_one(found, live.last.tolist())
    return found


def _parts(side: Side, sent_ns: Mapping[int, int]) -> dict[Key, Part]:
    found: dict[Key, Part] = defaultdict(Part)
    orders = {int(order["id"]): (order, int(period)) for order, period in zip(side.orders, side.periods, strict=True)}
    grouped: dict[Key, list[Any]] = defaultdict(list)
    for order, period in orders.values():
        if order["purpose"] not in OF_EPISODE:
            grouped[(period, int(order["symbol"]), int(order["side"]), int(order["purpose"]))].append(order)
    for key, group in grouped.items():
        part = found[key]
        part.orders, part.asked = len(group), asked_of(group)
        part.worth = float(group[0]["ref"])
        part.sent_ns = min((sent_ns.get(int(order["id"]), 0) for order in group), default=0)
        part.done_ns = max(int(order["done_ns"]) for order in group) if all(o["done_ns"] for o in group) else 0
    held: dict[int, float] = defaultdict(float)
    episodes: dict[int, int] = {}  # symbol: the decision that opened what is held
    for place, fill in enumerate(side.fills):
        k, number = int(fill["symbol"]), int(fill["order"])
        order, period = orders.get(number, (None, -1))
        if abs(held[k]) < side.lots[k] * (1.0 - 1e-9):
            episodes[k] = period
        held[k] = float(fill["held"])
        if fill["purpose"] == rec.OUTSIDE:
            continue
        purpose = int(fill["purpose"] if order is None else order["purpose"])
        began = episodes.get(k, -1) if order is None or purpose in OF_EPISODE else period
        key = (began, k, 1 if fill["qty"] > 0.0 else -1, purpose)
        _add(found[key], fill, order, side, place)
    for key, part in found.items():
        if key[3] in OF_EPISODE:
            part.asked = part.filled  # a stop asks for what is held, and is moved and replaced meanwhile
    return dict(found)


def _add(part: Part, fill: Any, order: Any, side: Side, place: int) -> None:
    qty, price = float(fill["qty"]), float(fill["price"])
    reference = price if order is None else float(order["stop"] or order["ref"])
    size = abs(qty)
    part.filled += size
    part.notional += size * price
    part.slipped += qty * (price - reference)
    part.at_decision += size * reference
    part.at_open += size * float(side.opens[place])
    part.fee += float(fill["fee"])
    in_coin = float(fill["fee_base"])
    part.fee_end += in_coin * float(side.last[fill["symbol"]]) if in_coin else float(fill["fee"])
    ns = int(fill["ns"])
    part.first_ns = min(part.first_ns or ns, ns)
    part.orders = max(part.orders, 1)


def asked_of(group: Sequence[Any]) -> float:
    """Quantity asked for by orders of which some replaced others: the most that was filled or working at a time."""
    moves: list[tuple[int, int, float]] = []
    for order in group:
        moves.append((int(order["decided_ns"]), 1, float(order["qty"])))
        if order["done_ns"]:
            moves.append((int(order["done_ns"]), 0, -max(float(order["qty"] - order["filled"]), 0.0)))
    total = most = 0.0
    for _, _, change in sorted(moves):
        total += change
        most = max(most, total)
    return most


def effects_of_both(pair: Pair) -> dict[str, float]:
    """What the quantity that both filled adds to the difference in equity."""
    found = dict.fromkeys(CAUSES, 0.0)
    live, simulated = pair.live, pair.simulated
    both = min(live.filled, simulated.filled)
    if both > 0.0:
        opens = [part.at_open / part.filled for part in (live, simulated)]
        moved = opens[1] - opens[0] if np.isfinite(opens).all() else 0.0
        found["timing"] = pair.side * both * moved
        found["price"] = pair.side * both * (simulated.price - live.price - moved)
        found["fees"] = both * (simulated.fee_end / simulated.filled - live.fee_end / live.filled)
    return found


@dataclass
class _Lot:
    """A quantity that the live side holds more (below 0: less) than the simulated one, and whose doing it is."""

    qty: float
    price: float
    effects: dict[str, float]
    cause: str


def add_effects_of_one(pairs: Sequence[Pair], last: Sequence[float]) -> None:
    """Add what only one side filled: first in, first out, until the other side catches up, else at the last prices."""
    lots: dict[int, deque[_Lot]] = defaultdict(deque)
    uneven = [pair for pair in pairs if pair.live.filled != pair.simulated.filled]
    for pair in sorted(uneven, key=lambda pair: pair.more.first_ns):
        price, fee = pair.more.price, pair.more.fee_end / pair.more.filled
        for cause, more in _more(pair).items():
            pair.effects[cause] -= more * fee
            left = pair.side * more
            waiting = lots[pair.symbol]
            while left and waiting and waiting[0].qty * left < 0.0:
                lot = waiting[0]
                closed = min(abs(lot.qty), abs(left)) * (1.0 if lot.qty > 0.0 else -1.0)
                lot.effects[lot.cause] += closed * (price - lot.price)
                lot.qty, left = lot.qty - closed, left + closed
                if lot.qty == 0.0:
                    waiting.popleft()
            if left:
                waiting.append(_Lot(left, price, pair.effects, cause))
    for symbol, waiting in lots.items():
        for lot in waiting:
            lot.effects[lot.cause] += lot.qty * (last[symbol] - lot.price)


def _more(pair: Pair) -> dict[str, float]:
    """What the live side filled more (below 0: less), by cause."""
    live, simulated = pair.live, pair.simulated
    size = 0.0
    if live.asked > 0.0 and simulated.asked > 0.0:
        size = (live.asked - simulated.asked) * simulated.filled / simulated.asked
    return {"size": size, "missed": live.filled - simulated.filled - size}
