"""The state of a session in words, for `status`, and whole, for the next start."""

from __future__ import annotations

from typing import Any

from bot.engine import Engine
from bot.hearing import CAUSES
from bot.step import Step, order_body, step_body
from bot.terminal import clean
from data.times import HOUR_NS, MINUTE_NS
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
        "spent": _spent(engine, ns, fallen),
        "fees": float(account["fees"]),
        "realised": float(account["realised"]),
        "positions": positions,
        "orders": [order_body(order, engine.symbols) for order in desk.working],
        "last_decisions": last.get("decisions", []),
    }
    found: dict[str, Any] = clean(body)
    return found


def _spent(engine: Engine, ns: int, fallen: float) -> dict[str, list[float | None]]:
    """[spent, allowed] of every limit on what adds up; allowed None where there is none."""
    desk, account = engine.desk, engine.desk.account
    limits, times = desk.arrays["limits"][0], desk.arrays["rate"]
    lost = 1.0 - float(account["equity"] / account["day_mark"]) if account["day_mark"] > 0 else 0.0
    gross = min(float(limits["gross_notional"]), float(limits["gross_leverage"] * account["equity"]))
    over = ns >= int(account["day_end_ns"])  # nothing of the new day was booked yet
    found = {
        "daily_loss": (max(lost, 0.0), limits["daily_loss"]),
        "drawdown": (fallen, limits["drawdown"]),
        "losses_in_a_row": (account["losses"], limits["loss_streak"]),
        "gross_notional": (account["gross"], gross),
        "net_notional": (abs(account["net"]), limits["net_notional"]),
        "turnover_per_day": (0.0 if over else account["turnover_day"], limits["turnover_per_day"]),
        "fees_per_day": (0.0 if over else account["fees_day"], limits["fees_per_day"]),
        "orders_per_minute": (int((times > ns - MINUTE_NS).sum()), limits["orders_per_minute"]),
        "orders_per_hour": (int((times > ns - HOUR_NS).sum()), limits["orders_per_hour"]),
    }
    return {name: [float(spent), float(allowed)] for name, (spent, allowed) in found.items()}


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
