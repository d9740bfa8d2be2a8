"""Compares the desk with the exchange's books: no order lost or doubled, every fill told once, nothing foreign used."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from risk.orders import ACKED, CANCELLED, EXPIRED, FILLED, LOST, PARTIAL, REJECTED, STATES
from tests.sim.desk import BOT, TinyDesk
from tests.sim.exchange import Truth

STATUS = {FILLED: "filled", CANCELLED: "cancelled", EXPIRED: "expired", ACKED: "open", PARTIAL: "open"}
NEAR = Decimal("1e-6")


def faults_of(desk: TinyDesk, truth: Truth) -> list[str]:
    """All that is wrong with the orders, after the dust has settled."""
    found = list(desk.violations)
    ours = {key: orders for key, orders in truth.orders.items() if key.startswith(BOT)}
    expected = {f"{BOT}{o.session}{number:016x}": (number, o) for number, o in desk.orders.items()}
    found += [f"{key} is at the venue, the desk knows nothing of it" for key in ours.keys() - expected.keys()]
    for key, (number, o) in expected.items():
        there = ours.get(key, [])
        name = f"order {number} ({STATES[o.state]})"
        if len(there) > 1:
            found.append(f"{name} is {len(there)} times at the venue")
        trades = truth.trades.get(key, [])
        if sorted(o.trades) != sorted(str(t.number) for t in trades):
            found.append(f"{name}: told of trades {o.trades}, made were {[t.number for t in trades]}")
        if o.state in (LOST, REJECTED):
            found += [f"{name} is at the venue: {order}" for order in there]
        elif not there:
            found.append(f"{name} isn't at the venue")
        elif STATUS.get(o.state) != there[0].status:
            found.append(f"{name} is {there[0].status} at the venue")
    return found


def coins_of(desk: TinyDesk, truth: Truth, foreign: Mapping[str, str]) -> list[str]:
    """What of the account isn't what was foreign plus what is ours."""
    ours = {symbol.partition("/")[0]: qty for symbol, qty in desk.held.items()}
    ours[desk.symbols[0].partition("/")[2]] = desk.quote
    found = []
    for coin, text in foreign.items():
        total, should = truth.balances.get(coin, Decimal(0)), Decimal(text) + ours.get(coin, Decimal(0))
        if abs(total - should) > NEAR:
            found.append(f"{coin}: the account holds {total}, foreign {text} and ours make {should}")
    return found
