"""How a session's status is shown in a terminal, narrow or wide."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from bot.operate.status import feed_lines, is_passing, latch_figures
from bot.operate.words import NONE, age, age_s, figure, moment, money, number, plain, share, words
from bot.terminal import say, table

SHARES = ("daily_loss", "drawdown")


def show(status: dict[str, Any], *, now_ns: int) -> None:
    """Print a status for people."""
    now_ns = status.get("at_ns") or now_ns  # by the bot's own clock; of a journal: as it was then
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
    feeds = {**(status.get("feeds") or {}), **({"door": status["door"]} if status.get("door") else {})}
    if feeds:
        columns = ("feed", "age", "facts", "errors", "dropped", "state")
        rows = [tuple(_feed_row(name, health)) for name, health in feed_lines(feeds)]
        table("", columns, rows, right=columns[1:5])
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
    spent = status.get("spent")
    if spent:
        columns = ("limit", "spent", "allowed", "used")
        table("", columns, [tuple(_spent_row(name, *pair)) for name, pair in spent.items()], right=columns[1:])
    for name, title in (("exchange", "exchange"), ("venue", "venue")):
        if status.get(name):
            say(f"{title:<13}" + plain(status[name]))


def _latch_row(latch: dict[str, Any], now_ns: int) -> Iterator[str]:
    since, until = latch.get("since_ns"), latch.get("until_ns")
    if until and now_ns < until:
        ends = f"in {age(until - now_ns)}"
    elif is_passing(latch):
        ends = "by itself"
    else:
        ends = "by a person, once mended" if latch.get("stands") else "by a person"
    yield f"{latch.get('cause')} {latch.get('symbol') or ''}".rstrip()
    yield str(latch.get("level", NONE))
    yield age(now_ns - since) if since else NONE
    rule = str(latch.get("rule") or "")
    told = (rule if rule != latch.get("cause") else "", str(latch.get("reason") or ""), ", ".join(latch_figures(latch)))
    yield "; ".join(text for text in told if text) or NONE
    yield ends


def _position_row(symbol: str, entry: dict[str, Any]) -> Iterator[str]:
    qty, avg, last = (number(entry.get(name)) for name in ("qty", "avg", "last"))
    yield from (symbol, figure(qty), figure(avg), figure(last))
    yield from (money(qty * last), money(qty * (last - avg), signed=True))


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
    rest = {key: value for key, value in health.items() if value not in (0, "", None, [], {}, False)}
    rest = {key: value for key, value in rest.items() if key not in known}
    yield from (name, age_s(health.get("age_s")))
    yield from (_count(health.get(key)) for key in known[1:])
    yield plain(rest) if rest else ""


def _count(value: Any) -> str:
    """A count; of counts by name their sum."""
    return figure(sum(value.values())) if isinstance(value, dict) else figure(value)


def _decision_row(entry: dict[str, Any]) -> Iterator[str]:
    target = entry.get("target")
    yield from (moment(entry.get("ns")), str(entry.get("symbol", NONE)))
    yield "HOLD" if target is None else share(target)
    yield share(entry.get("held"))
    values = [f"{name} {value:.4g}" for name, value in (entry.get("values") or {}).items() if value is not None]
    named = f"{entry['signal']} is {entry.get('state', 'not ready')}" if entry.get("signal") else ""
    yield ", ".join(text for text in (str(entry.get("why") or ""), named, *values) if text) or NONE


def _spent_row(name: str, spent: Any, allowed: Any) -> Iterator[str]:
    """One limit: what is spent of it, what it allows, and the part of it."""
    yield words(name)
    if name in SHARES:
        yield from (share(spent), NONE if allowed is None else share(allowed))
    else:
        yield figure(round(number(spent), 2))
        yield "no limit" if allowed is None else figure(round(number(allowed), 2))
    yield share(number(spent) / number(allowed)) if allowed else NONE


def clear_screen() -> None:
    """Start a terminal's page anew."""
    say("\x1b[2J\x1b[H" + time.strftime("%H:%M:%SZ", time.gmtime()))
