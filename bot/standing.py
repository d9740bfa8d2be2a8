"""The desk's working orders as the venue's side takes them up at a start."""

from __future__ import annotations

from collections.abc import Mapping

from bot.engine import Engine
from bot.exchange.orders_book import OrderFacts


def order_facts(engine: Engine, sessions: Mapping[int, str]) -> list[OrderFacts]:
    """Working orders with the trades booked for them and the sessions that sent them.

    Parameters
    ----------
    engine : Engine
        As recovered.
    sessions : mapping of int to str
        Session by order number: `Recovered.sessions`, or `Bot.sessions` of a running one.

    Raises
    ------
    KeyError
        Nobody knows which session sent an order: its client id can't be told.
    """
    found = []
    for order in engine.desk.working:
        number = int(order["id"])
        found.append(
            OrderFacts(
                order=number, symbol=engine.symbols[order["symbol"]], side=int(order["side"]), kind=int(order["kind"]),
                purpose=int(order["purpose"]), qty=float(order["qty"]), filled=float(order["filled"]),
                state=int(order["state"]), session=sessions[number], sent_ns=int(order["decided_ns"]),
                price=float(order["limit"]) if order["limit"] > 0.0 else float(order["ref"]),
                trades=engine.ear.trades_of(number),
                leaving=bool(order["asked_ns"]),
            )
        )  # fmt: skip
    return found
