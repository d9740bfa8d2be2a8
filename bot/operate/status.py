"""What a session is doing: asked of the running bot, else read from its journal; and how that is shown."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot.operate.control import SOCKET_FILE, NoAnswer, NobodyThere, ask
from bot.operate.known import read_known
from bot.operate.latch import read_latch
from bot.operate.lock import holder
from bot.terminal import say, table
from data.errors import TidegateError
from data.times import format_duration, format_time

STEPS = 20
NONE = "–"
# Causes that end by themselves; the others wait for a person.
AUTO = frozenset({"data", "equity", "unknown", "clock", "stream", "venue", "market", "rate", "turnover", "streak"})


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
        return {**answer, **found, "running": True, "source": "bot"}
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
    body.pop("engine", None)
    later = [entry for step in known.steps for entry in step.get("decisions") or [] if isinstance(entry, dict)]
    if later:
        body["last_decisions"] = later[-STEPS:]
    record = {"seq": known.head[0], "hash": known.head[1], "ns": known.head_ns}
    if known.snapshot is None:
        found["told"].append("the journal has no snapshot yet")
    return {**body, "session": known.session, "bot": known.bot, "snapshot_seq": known.seq, "head": record}


def standing(status: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Causes that still stand: those that only go when they are mended, and those that pass by themselves."""
    hard: list[str] = []
    soft: list[str] = []
    for latch in status.get("latches") or []:
        if latch.get("stands"):
            passing = str(latch.get("cause")) in AUTO and _level(latch.get("level")) <= 1
            (soft if passing else hard).append(latch_line(latch))
    return hard, soft


def show(status: dict[str, Any], *, now_ns: int) -> None:
    """Print a status for people."""
    if status["source"] == "journal":
        now_ns = status.get("at_ns") or now_ns  # ages as they were then
    _show_head(status, now_ns)
    _show_money(status)
    latches = status.get("latches") or []
    if latches:
        rows = [tuple(_latch_row(latch, now_ns)) for latch in latches]
        table("", ("latched by", "level", "for", "why", "ends"), rows)
    positions = [(s, entry) for s, entry in (status.get("positions") or {}).items() if entry.get("qty")]
    if positions:
        columns = ("position", "quantity", "average", "last", "worth", "profit")
        rows = [tuple(_position_row(*item)) for item in positions]
        table("", columns, rows, right=columns[1:])
    else:
        say("positions    none")
    orders = status.get("orders") or []
    if orders:
        rows = [tuple(_order_row(order, now_ns)) for order in orders]
        table("", ("order", "what", "filled", "price", "state", "age"), rows)
    else:
        say("open orders  none")
    if status.get("feeds"):
        rows = [tuple(_feed_row(name, health)) for name, health in status["feeds"].items()]
        table(
            "",
            ("feed", "age", "facts", "errors", "dropped", "state"),
            rows,
            right=("age", "facts", "errors", "dropped"),
        )
    decisions = status.get("last_decisions") or []
    if decisions:
        table("", ("decided", "symbol", "target", "held", "why"), [tuple(_decision_row(entry)) for entry in decisions])
    _show_health(status)


def _show_head(status: dict[str, Any], now_ns: int) -> None:
    parts = [f"{status['mode']} {status['name']}"]
    if status["running"]:
        since = status.get("started_ns")
        parts.append(f"running, process {status.get('pid', NONE)}, session {status.get('session', NONE)}")
        parts += [f"for {age(now_ns - since)}"] if since else []
    else:
        parts.append("NOT ANSWERING" if status["running"] is None else "not running")
    say(", ".join(parts))
    for text in status["told"]:
        say(f"note         {text}")
    if status["source"] == "journal":
        at_ns, head = status.get("at_ns"), status["head"]
        say(f"journal      last record {head['seq']} of {moment(head['ns'])}")
        if at_ns:
            say(f"snapshot     of {moment(at_ns)}; what follows, ages too, is as it was then")
    latch = status["latch"]
    who = f" by {latch['person']}" if latch["person"] else ""
    when = f", {moment(latch['ns'])}" if latch["ns"] else ""
    say(f"kill latch   {latch['level']}{who}: {latch['reason']}{when}")
    if "level" in status:
        say(f"ladder       {status['level']}")


def _show_money(status: dict[str, Any]) -> None:
    if "equity" not in status:
        return
    parts = [f"equity       {money(status['equity'])}", f"cash {money(status.get('cash'))}"]
    if "day_profit" in status:
        parts.append(f"day {money(status['day_profit'], signed=True)}")
    if "drawdown" in status:
        parts.append(f"drawdown {share(status['drawdown'])}")
    say("   ".join(parts))
    unknown = [order for order in status.get("orders") or [] if order.get("state") == "UNKNOWN"]
    if unknown:
        listed = ", ".join(f"{order.get('order')} {order.get('symbol')}" for order in unknown)
        say(f"UNKNOWN      {len(unknown)} of the orders, outcome not known: {listed}")


def _show_health(status: dict[str, Any]) -> None:
    spend = status.get("spend") or {}
    if spend:
        say("spend        " + "   ".join(f"{words(name)} {_spent(value)}" for name, value in spend.items()))
    for name, title in (("exchange", "exchange"), ("venue", "venue")):
        if status.get(name):
            say(f"{title:<13}" + plain(status[name]))


def latch_line(latch: dict[str, Any]) -> str:
    """One latch in a line: cause, level, symbol, limit and observed, reason."""
    figures = [f"{name} {figure(latch[name])}" for name in ("limit", "observed") if latch.get(name) is not None]
    symbol = f" {latch['symbol']}" if latch.get("symbol") else ""
    why = f": {latch['reason']}" if latch.get("reason") else ""
    return f"{latch.get('cause')}{symbol} ({', '.join([str(latch.get('level')), *figures])}){why}"


def feed_line(name: str, health: dict[str, Any]) -> str:
    """One feed in a few words."""
    errors = f", {health['errors']} errors" if health.get("errors") else ""
    return f"{name} {age_s(health.get('age_s'))}{errors}"


def _latch_row(latch: dict[str, Any], now_ns: int) -> Iterator[str]:
    since, until = latch.get("since_ns"), latch.get("until_ns")
    cause = str(latch.get("cause"))
    if until and now_ns < until < now_ns + 10**18:
        ends = f"in {age(until - now_ns)}"
    elif cause in AUTO and _level(latch.get("level")) <= 1:
        ends = "by itself"
    else:
        ends = "by a person, once mended" if latch.get("stands") else "by a person"
    figures = [f"{words(name)} {figure(latch[name])}" for name in ("observed", "limit") if latch.get(name) is not None]
    yield f"{cause} {latch.get('symbol') or ''}".rstrip()
    yield str(latch.get("level", NONE))
    yield age(now_ns - since) if since else NONE
    yield "; ".join(text for text in (str(latch.get("reason") or ""), ", ".join(figures)) if text) or NONE
    yield ends


def _position_row(symbol: str, entry: dict[str, Any]) -> Iterator[str]:
    qty, avg, last = (_float(entry.get(name)) for name in ("qty", "avg", "last"))
    yield from (
        symbol,
        figure(qty),
        figure(avg),
        figure(last),
        money(qty * last),
        money(qty * (last - avg), signed=True),
    )


def _order_row(order: dict[str, Any], now_ns: int) -> Iterator[str]:
    side = {1: "buy", -1: "sell"}.get(order.get("side"), order.get("side", NONE))  # type: ignore[arg-type]
    what = (side, order.get("kind"), order.get("symbol"), f"({order.get('purpose')})" if order.get("purpose") else "")
    yield str(order.get("order", NONE))
    yield " ".join(str(text) for text in what if text)
    yield f"{figure(order.get('filled'))} of {figure(order.get('qty'))}"
    prices = [f"{name} {figure(order[name])}" for name in ("stop", "limit") if order.get(name)]
    yield ", ".join(prices) or NONE
    since = order.get("decided_ns")
    yield from (str(order.get("state", NONE)), age(now_ns - since) if since else NONE)


def _feed_row(name: str, health: dict[str, Any]) -> Iterator[str]:
    known = ("age_s", "count", "errors", "dropped")
    rest = {key: value for key, value in health.items() if key not in known}
    yield from (name, age_s(health.get("age_s")))
    yield from (figure(health.get(key)) for key in known[1:])
    yield plain(rest) if rest else ""


def _decision_row(entry: dict[str, Any]) -> Iterator[str]:
    target = entry.get("target")
    yield from (moment(entry.get("ns")), str(entry.get("symbol", NONE)))
    yield "HOLD" if target is None else share(target)
    yield share(entry.get("held"))
    named = f"{entry['signal']} is {entry.get('state', 'not ready')}" if entry.get("signal") else ""
    yield ", ".join(text for text in (str(entry.get("why") or ""), named) if text) or NONE


def _spent(value: Any) -> str:
    """A figure, or [used, limit]."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return f"{figure(value[0])} of {figure(value[1]) if value[1] is not None else 'no limit'}"
    return figure(value)


def _level(level: Any) -> int:
    levels = ("ACTIVE", "NO_NEW_RISK", "REDUCE_ONLY", "FLATTEN", "HALTED")
    return level if isinstance(level, int) else levels.index(level) if level in levels else len(levels)


def plain(entry: dict[str, Any]) -> str:
    """Plain values in a line."""
    return "   ".join(f"{words(name)} {figure(value)}" for name, value in entry.items())


def words(name: str) -> str:
    """A key as words."""
    return str(name).replace("_", " ")


def figure(value: Any) -> str:
    """A value as people read it, no digit invented."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.8f}".rstrip("0").rstrip(".") if 1e-8 <= abs(value) < 1e15 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def money(value: Any, *, signed: bool = False) -> str:
    """An amount with two digits."""
    number = _float(value)
    return NONE if math.isnan(number) else f"{number:{'+' if signed else ''},.2f}"


def share(value: Any) -> str:
    """A share as a percentage."""
    number = _float(value)
    return NONE if math.isnan(number) else f"{number:.1%}"


def moment(ns: Any) -> str:
    """A time to the second."""
    return format_time(int(ns) // 10**9 * 10**9) if isinstance(ns, int) and ns > 0 else NONE


def age(ns: int) -> str:
    """A span to a reasonable number of digits."""
    step = 10**9 if ns < 3_600 * 10**9 else 60 * 10**9
    return format_duration(max(ns, 0) // step * step)


def age_s(value: Any) -> str:
    """An age in seconds as text; what never came is "never"."""
    number = _float(value)
    if math.isnan(number) or math.isinf(number):
        return "never"
    return f"{number:.1f}s" if number < 60 else age(int(number * 1e9))


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def clear_screen() -> None:
    """Start a terminal's page anew."""
    say("\x1b[2J\x1b[H" + time.strftime("%H:%M:%SZ", time.gmtime()))
