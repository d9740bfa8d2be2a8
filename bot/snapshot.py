"""The state of a session in words, for `status`, and whole, for the next start."""

from __future__ import annotations

from typing import Any

from bot.engine import Engine
from bot.hearing import CAUSES
from bot.step import Step, order_body, step_body
from bot.terminal import clean
from risk.records import CAUSE_NAMES, LEVELS, NEVER, NO_NEW_RISK, RULES


def status_body(engine: Engine, ns: int) -> dict[str, Any]:
    """Position, equity, ladder, latches, open orders, last decisions: JSON values, null for what is no number."""
    desk = engine.desk
    account = desk.account
    books = desk.books
    positions = {
        symbol: {name: float(books[name][k]) for name in ("qty", "avg", "last")}
        for k, symbol in enumerate(engine.symbols)
    }
    fallen = 1.0 - float(account["equity"] / account["units"] / account["high"]) if account["high"] > 0 else 0.0
    last = step_body(Step(ns=ns, decisions=engine.last), engine.symbols, engine.names)
    body = {
        "at_ns": ns,
        "level": LEVELS[account["level"]],
        "latches": _latches(engine),
        "equity": float(account["equity"]),
        "cash": float(account["cash"]),
        "reserved": float(account["reserved"]),
        "gross": float(account["gross"]),
        "net": float(account["net"]),
        "drawdown": fallen,
        "day_mark": float(account["day_mark"]),
        "turnover_day": float(account["turnover_day"]),
        "fees_day": float(account["fees_day"]),
        "fees": float(account["fees"]),
        "realised": float(account["realised"]),
        "positions": positions,
        "orders": [order_body(order, engine.symbols) for order in desk.working],
        "last_decisions": last.get("decisions", []),
    }
    found: dict[str, Any] = clean(body)
    return found


def _latches(engine: Engine) -> list[dict[str, Any]]:
    standing = engine.ear.standing
    texts = {CAUSES[cause][0]: text for (cause, symbol), text in standing.items() if not symbol}
    found: list[dict[str, Any]] = []
    for cause, latch in enumerate(engine.desk.arrays["latches"]):
        if latch["level"]:
            timer = int(latch["until_ns"]) if latch["until_ns"] < NEVER else None
            found.append({
                "cause": CAUSE_NAMES[cause], "level": LEVELS[latch["level"]], "since_ns": int(latch["since_ns"]),
                "until_ns": timer, "rule": RULES.get(int(latch["rule"]), ""), "limit": float(latch["limit"]),
                "observed": float(latch["observed"]), "symbol": "", "stands": cause in texts,
                "text": texts.get(cause, ""),
            })  # fmt: skip
    for (cause_name, symbol), text in standing.items():
        if symbol:
            found.append({
                "cause": cause_name, "level": LEVELS[NO_NEW_RISK], "since_ns": 0, "until_ns": None, "rule": cause_name,
                "limit": 0.0, "observed": 0.0, "symbol": symbol, "stands": True, "text": text,
            })  # fmt: skip
    return found


def snapshot_body(engine: Engine, ns: int, *, feeds: dict[str, Any]) -> dict[str, Any]:
    """A snapshot's journal record: the status, and the engine whole."""
    return {**status_body(engine, ns), "feeds": clean(feeds), "engine": engine.snapshot()}
