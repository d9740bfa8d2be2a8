"""What a session is doing: asked of the running bot, else read from its journal, in one form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot.operate.control import SOCKET_FILE, NoAnswer, NobodyThere, ask
from bot.operate.known import read_known
from bot.operate.latch import read_latch
from bot.operate.lock import Holder, holder
from bot.operate.words import age_s, figure, words
from data.errors import TidegateError

STEPS = 2_000
LEVELS = ("ACTIVE", "NO_NEW_RISK", "REDUCE_ONLY", "FLATTEN", "HALTED")
# Latches that end with their cause or their timer, while they only keep new risk out.
PASSING = frozenset({
    "data", "market", "order rate", "loss streak", "turnover", "equity", "unknown orders", "clock", "stream", "venue",
})  # fmt: skip
# Those that a person's word ends, though nothing says that their cause is over.
BY_WORD = frozenset({"heartbeat", "key", "foreign", "another session", "reconciliation"})


def gather(folder: Path, *, timeout_s: float = 3.0) -> dict[str, Any]:
    """All that is known of a session.

    Returns
    -------
    dict
        The bot's answer (fields of a snapshot, and health) or the journal's last snapshot, with "mode", "name",
        "latch", "source" ("bot", "journal" or "nothing"), "running" (True; None: it is there and silent; False) and
        "told" (sentences about what couldn't be read).
    """
    latch = read_latch(folder)
    found: dict[str, Any] = {
        "mode": folder.parent.name, "name": folder.name, "running": False, "source": "nothing", "told": [],
        "latch": {**asdict(latch), "level": "HALTED" if latch.halted else "ACTIVE"},
    }  # fmt: skip
    try:
        answer = ask(folder / SOCKET_FILE, {"do": "status"}, timeout_s=timeout_s)
        known = holder(folder) or Holder()
        who = {"pid": known.pid, "started_ns": known.since_ns}
        return {**who, **one_form(answer), **found, "running": True, "source": "bot"}
    except (NobodyThere, NoAnswer) as error:
        held = holder(folder)
        if held is not None:
            found["running"], found["holder"] = None, str(held)
            found["told"].append(f"{held} has the session and doesn't answer ({type(error).__name__})")
    except TidegateError as error:
        found["running"] = None
        found["told"].append(f"the bot answers: {error}")
    return {**_from_journal(folder, found), **found}


def _from_journal(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    try:
        known = read_known(folder, steps=STEPS)
    except (TidegateError, ImportError) as error:
        found["told"].append(f"the journal can't be read: {error}")
        return {}
    found["source"] = "journal"
    body = dict(known.snapshot or {})
    for name in ("engine", "order_sessions"):
        body.pop(name, None)
    later = [step["decisions"] for step in known.steps if step.get("decisions")]
    if later:
        body["last_decisions"] = later[-1]
    moves = [move for step in known.steps for move in step.get("moves") or []]
    if moves and "level" in body:
        body["level"] = moves[-1].get("level", body["level"])
        found["told"].append("the ladder moved after the snapshot: its latches are older than its level")
    fills = sum(len(step.get("fills") or []) for step in known.steps)
    if fills:
        found["told"].append(f"{fills} fills after the snapshot are not in the positions below: see tidegate trades")
    body = one_form(body)
    record = {"seq": known.head[0], "hash": known.head[1], "ns": known.head_ns}
    if known.snapshot is None:
        found["told"].append("the journal has no snapshot yet")
    return {**body, "session": known.session, "bot": known.bot, "snapshot_seq": known.seq, "head": record}


def one_form(status: dict[str, Any]) -> dict[str, Any]:
    """A status with one line for each symbol's decision, each latch's reason, and the day's profit."""
    found = dict(status)
    if "last_decisions" in status:
        found["last_decisions"] = [line for entry in status["last_decisions"] or [] for line in _decided(entry)]
    if "latches" in status:
        found["latches"] = [{**latch, "reason": _reason(latch)} for latch in status["latches"] or []]
    if "orders" in status:
        found["orders"] = [{**order, "order": order.get("order", order.get("id"))} for order in status["orders"] or []]
    if "day_profit" not in status and status.get("day_mark") and "equity" in status:
        found["day_profit"] = status["equity"] - status["day_mark"]
    return found


def _decided(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A decision of all symbols as one line for each; target None: it was to hold."""
    if "symbols" not in entry:
        yield entry
        return
    for symbol, one in entry["symbols"].items():
        hold, target = one.get("hold") or "", one.get("weight")
        why = hold
        if not hold and target is None:
            why = "the strategy wasn't asked" if not entry.get("asked", True) else "the strategy gave no weight"
        if not hold and entry.get("status"):
            why = f"the strategy failed with status {entry['status']}"
        yield {
            "ns": entry.get("ns"), "symbol": symbol, "target": None if hold else target, "held": one.get("held"),
            "why": "" if one.get("signal") else why, "signal": one.get("signal") or "", "state": hold,
            "values": one.get("values") or {},
        }  # fmt: skip


def _reason(latch: dict[str, Any]) -> str:
    return str(latch.get("reason") or latch.get("text") or "")


def feed_lines(feeds: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Feeds by name, those of several symbols symbol by symbol."""
    for name, health in feeds.items():
        symbols = health.get("symbols")
        if not isinstance(symbols, dict):
            yield name, health
            continue
        for symbol, line in symbols.items():
            yield f"{name} {symbol}", line
        rest = {key: value for key, value in health.items() if key != "symbols"}
        if rest:
            yield name, rest


def standing(status: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Causes that still stand: those that have to be mended first, and those that pass by themselves or by a word."""
    hard: list[str] = []
    soft: list[str] = []
    for latch in status.get("latches") or []:
        if latch.get("stands"):
            passes = is_passing(latch) or str(latch.get("cause")) in BY_WORD
            (soft if passes else hard).append(latch_line(latch))
    return hard, soft


def is_passing(latch: dict[str, Any]) -> bool:
    """True for a latch that ends without a person."""
    return str(latch.get("cause")) in PASSING and level_number(latch.get("level")) <= 1


def latch_line(latch: dict[str, Any]) -> str:
    """One latch in a line: cause, symbol, level, figures, reason."""
    symbol = f" {latch['symbol']}" if latch.get("symbol") else ""
    why = f": {_reason(latch)}" if _reason(latch) else ""
    return f"{latch.get('cause')}{symbol} ({', '.join([str(latch.get('level')), *latch_figures(latch)])}){why}"


def latch_figures(latch: dict[str, Any]) -> list[str]:
    """What was observed and its limit, where there is one."""
    names = [name for name in ("observed", "limit") if latch.get(name)]
    return [f"{words(name)} {figure(latch[name])}" for name in names]


def feed_line(name: str, health: dict[str, Any]) -> str:
    """One feed in a few words."""
    errors = f", {health['errors']} errors" if health.get("errors") else ""
    return f"{name} {age_s(health.get('age_s'))}{errors}"


def level_number(level: Any) -> int:
    """0 for ACTIVE to 4 for HALTED; what nobody knows counts as more."""
    return level if isinstance(level, int) else LEVELS.index(level) if level in LEVELS else len(LEVELS)
