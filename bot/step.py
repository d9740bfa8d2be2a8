"""What came of one event: decisions with the values behind them, orders, fills, refusals, ladder moves, commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot.events import Command, Submit, Withdraw
from risk import records as rec
from risk.orders import STATES
from risk.records import EVENT, FILL, ORDER, Array


@dataclass(frozen=True)
class Decision:
    """One decision: signal values f8[M, S], states u1[M], weights asked f8[M] (NaN: hold), status of the strategy."""

    ns: int
    cutoff_ns: int
    values: Array
    states: Array
    held: Array
    weights: Array
    status: int
    asked: bool


@dataclass(frozen=True)
class Row:
    """Bars of one close as the desk was told of them: f8[M] each, NaN where a symbol's bar was not there in time."""

    open_ns: int
    close_ns: int
    prices: tuple[Array, Array, Array, Array, Array]
    strange: Array
    risk_bar: bool


@dataclass(frozen=True)
class Step:
    """What came of one event. Records are copies; nothing in it changes afterwards."""

    ns: int
    rows: tuple[Row, ...] = ()
    decisions: tuple[Decision, ...] = ()
    sent: Array = field(default_factory=lambda: np.zeros(0, ORDER))
    ended: Array = field(default_factory=lambda: np.zeros(0, ORDER))
    fills: Array = field(default_factory=lambda: np.zeros(0, FILL))
    events: Array = field(default_factory=lambda: np.zeros(0, EVENT))
    commands: tuple[Command, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """True when nothing came of it."""
        parts = (self.rows, self.decisions, self.sent, self.ended, self.fills, self.events, self.commands, self.notes)
        return not any(len(part) for part in parts)


def _number(value: Any) -> Any:
    number = float(value)
    return number if np.isfinite(number) else None


def _plain(record: Any, names: Sequence[str]) -> dict[str, Any]:
    """Fields of a record as JSON values."""
    found = {}
    for name in names:
        value = record[name]
        found[name] = int(value) if isinstance(value, np.integer) else _number(value)
    return found


def order_body(order: Any, symbols: Sequence[str]) -> dict[str, Any]:
    """An ORDER record in words."""
    body = _plain(order, ("id", "side", "decided_ns", "done_ns", "qty", "filled", "limit", "stop", "ref", "avg_price"))
    body |= {"symbol": symbols[order["symbol"]], "kind": rec.KINDS[order["kind"]]}
    return body | {"purpose": rec.PURPOSES[order["purpose"]], "state": STATES[order["state"]]}


def _fill_body(fill: Any, symbols: Sequence[str]) -> dict[str, Any]:
    body = _plain(fill, ("ns", "order", "maker", "qty", "price", "fee", "fee_base", "slippage", "held", "realised"))
    return body | {"symbol": symbols[fill["symbol"]], "purpose": rec.PURPOSES[fill["purpose"]]}


def _event_body(event: Any, symbols: Sequence[str]) -> dict[str, Any]:
    body = _plain(event, ("ns", "order", "limit", "observed", "qty", "price"))
    body |= {"kind": rec.EVENTS[event["kind"]], "rule": int(event["rule"])}
    body["rule_name"] = rec.RULES.get(int(event["rule"]), "")
    body["symbol"] = symbols[event["symbol"]] if event["symbol"] >= 0 else ""
    return body | {"level": rec.LEVELS[event["level"]], "was": rec.LEVELS[event["was"]]}


def _decision_body(one: Decision, symbols: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {"ns": one.ns, "cutoff_ns": one.cutoff_ns, "status": one.status, "asked": one.asked}
    told["symbols"] = {}
    for k, symbol in enumerate(symbols):
        state = int(one.states[k])
        why = "" if state == 0 else rec.STATES[state & 7]
        blamed = "" if state == 0 or rec.STATES[state & 7] == "no bar" else names[state >> 3]
        told["symbols"][symbol] = {
            "values": {name: _number(one.values[k, j]) for j, name in enumerate(names)},
            "held": _number(one.held[k]),
            "weight": _number(one.weights[k]),
            "hold": why,
            "signal": blamed,
        }
    return told


def _command_body(command: Command) -> dict[str, Any]:
    if isinstance(command, Withdraw):
        return {"do": "cancel", "order": command.order, "symbol": command.symbol}
    return {"do": "place", "order": command.order, "symbol": command.symbol}


def step_body(step: Step, symbols: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """A step as its journal record: JSON values, symbols and signals by name."""
    kinds = step.events["kind"]
    refused, moved = kinds == rec.EV_REFUSED, kinds == rec.EV_LADDER
    body: dict[str, Any] = {
        "rows": [_row_body(row, symbols) for row in step.rows],
        "decisions": [_decision_body(one, symbols, names) for one in step.decisions],
        "orders": [order_body(order, symbols) for order in step.sent],
        "ended": [order_body(order, symbols) for order in step.ended],
        "fills": [_fill_body(fill, symbols) for fill in step.fills],
        "moves": [_event_body(event, symbols) for event in step.events[moved]],
        "refusals": [_event_body(event, symbols) for event in step.events[refused]],
        "others": [_event_body(event, symbols) for event in step.events[~refused & ~moved]],
        "commands": [_command_body(command) for command in step.commands],
        "notes": list(step.notes),
    }
    return {name: part for name, part in body.items() if part}


def _row_body(row: Row, symbols: Sequence[str]) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume")
    return {
        "open_ns": row.open_ns,
        "close_ns": row.close_ns,
        "risk_bar": row.risk_bar,
        "strange": row.strange.tolist(),
        "prices": {name: [_number(value) for value in part] for name, part in zip(names, row.prices, strict=True)},
    }


def submit_of(order: Any, symbols: Sequence[str], ns: int) -> Submit:
    """The command that sends an order; `ns` is when it was decided by the clock, which may be after its bar's close."""
    return Submit(
        order=int(order["id"]),
        symbol=symbols[order["symbol"]],
        side=int(order["side"]),
        kind=int(order["kind"]),
        purpose=int(order["purpose"]),
        qty=float(order["qty"]),
        limit=float(order["limit"]),
        stop=float(order["stop"]),
        decided_ns=ns,
    )
