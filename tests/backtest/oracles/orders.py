"""A desk in a known state and one order for its gate, with whatever shall be wrong about them."""

from typing import Any

from risk.desk import Desk
from risk.records import ENTRY, MARKET
from tests.backtest.oracles.play import START, Setup
from tests.backtest.oracles.probes import probe_gate, probe_send

NOW = START
NAN, INF = float("nan"), float("inf")
MINUTE = 60 * 10**9


def desk_of(setup: Setup = Setup(), *, held: tuple[float, ...] = (0.0, 0.0), last: float = 100.0) -> Desk:  # noqa: B008
    """A desk of two symbols at a price of 100 each, holding so much of them at a mean price of 100."""
    desk = setup.desk(2)
    books, account = desk.books, desk.account
    books["last"], books["last_ns"] = last, NOW
    for k, qty in enumerate(held):
        if qty:
            books[k]["qty"], books[k]["avg"] = qty, last
            if setup.perp:
                books[k]["margin"] = abs(qty) * last / setup.leverage
                account["cash"] -= books[k]["margin"]
            else:
                account["cash"] -= qty * last
    account["gross"] = abs(books["qty"]).sum() * last
    account["net"] = books["qty"].sum() * last
    return desk


def ask(desk: Desk, **order: Any) -> tuple[int, float, float]:
    """The verdict on a market buy of 1 at 101 of the first symbol, with something else about it."""
    asked: dict[str, Any] = {
        "now": NOW, "k": 0, "side": 1, "kind": MARKET, "purpose": ENTRY, "qty": 1.0, "limit": 101.0,
        "stop": 0.0, "intent": 7,
    } | order  # fmt: skip
    rule, limit, seen = probe_gate(desk.ref, *(asked[name] for name in asked))
    return int(rule), float(limit), float(seen)


def order(desk: Desk, **changed: Any) -> bool:
    """Send that order."""
    asked: dict[str, Any] = {
        "now": NOW, "k": 0, "side": 1, "kind": MARKET, "purpose": ENTRY, "qty": 1.0, "limit": 101.0, "stop": 0.0,
    } | changed  # fmt: skip
    return bool(probe_send(desk.ref, *(asked[name] for name in asked)))
