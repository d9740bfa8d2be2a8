"""A session once more: its recorded events through the engine, and through the backtest's batch form of signals and
tape; what differs from the record, decision for decision, by cause.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtest.crowd import guard_limits
from backtest.run import new_desk
from backtest.spec import RunSpec
from bot.engine import Engine, is_sound, is_tightening, observed_now, posts_now
from bot.events import POSTS, Bar, Event, Observation, Posts, Tick, unpack
from bot.hearing import Ear
from bot.recover import Records, pairs, plain_body, same_step, take_terms, warm_facts
from bot.rows import PRICES, RowRunner
from bot.step import Row, Step, order_body, step_body
from data.times import format_time
from risk.orders import STATES, TERMINAL
from risk.records import KINDS, STOP, Array
from signals import ops
from signals.history import evaluate
from signals.inputs import Inputs, MetricTape, SentimentTape

FIRST_SHOWN = 10


@dataclass
class Differences:
    """What a replay found: counts of what was compared, and what differed, by cause."""

    way: str
    compared: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    @property
    def none(self) -> bool:
        """Whether all was the same."""
        return not self.causes

    def note(self, cause: str, where: str) -> None:
        """One difference."""
        self.causes[cause] += 1
        if len(self.first) < FIRST_SHOWN:
            self.first.append(f"{where}: {cause}")

    def body(self) -> dict[str, Any]:
        """JSON values."""
        return {"way": self.way, "compared": dict(self.compared), "differ": dict(self.causes), "first": self.first}


def replay_engine(engine: Engine, journal: Records) -> Differences:
    """Handle every recorded event again, from the first warm fact on, in one life without restarts."""
    found = Differences("engine")
    for fact in warm_facts(journal):
        engine.learn(fact)
    for record, recorded in pairs(journal, 0):
        if record.kind == "session":
            take_terms(engine.desk, record.body)
        if record.kind != "event":
            continue
        step = engine.handle(unpack(record.body))
        found.compared["events"] += 1
        for name, part in (recorded or {}).items():
            found.compared[name] += len(part)
        differs = same_step(step, recorded, engine)
        if differs:
            found.note(differs, f"record {record.seq}, {format_time(record.ns)}")
    return found


@dataclass
class Session:
    """A recorded session laid out for the batch form: bars and facts as told, rows and messages in their order."""

    bars: dict[tuple[int, int], tuple[int, tuple[float, ...]]] = field(default_factory=dict)  # (close, k): told, prices
    newest: dict[int, int] = field(default_factory=dict)  # close of the newest bar by symbol
    posts: list[Array] = field(default_factory=list)
    metrics: dict[str, list[tuple[int, int, int, float, int]]] = field(default_factory=dict)
    order: list[tuple[str, Any]] = field(default_factory=list)  # ("terms" | "row" | "decision" | "message", what)
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    sent_ns: dict[int, int] = field(default_factory=dict)  # when each order was decided on, by the session's clock
    fills: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)


def lay_out(journal: Records, spec: RunSpec, coins: Sequence[str]) -> Session:
    """Read a journal."""
    session = Session()
    places = {symbol: k for k, symbol in enumerate(spec.symbols)}
    numbers = {coin: k for k, coin in enumerate(coins)} | {"*": -1}
    for fact in warm_facts(journal):
        _keep(session, fact, places, numbers)
    for record, recorded in pairs(journal, 0):
        if record.kind == "session":
            session.order.append(("terms", record.body))
        if record.kind != "event":
            continue
        event = unpack(record.body)
        parts = recorded or {}
        if isinstance(event, Posts):
            event = posts_now(event)
        elif isinstance(event, Observation):
            event = observed_now(event)
        tightened = is_tightening(event)
        if tightened:
            session.order.append(("message", event))
        for row, decision in _rows_of(parts, spec):
            session.order.append(("row", row))
            if decision is not None:
                session.order.append(("decision", decision))
        if not isinstance(event, Bar) or is_sound(event, spec.bar_ns):
            _keep(session, event, places, numbers)
        closes = {row["close_ns"] for row in parts.get("rows", [])}
        session.order += [("decision", one) for one in parts.get("decisions", []) if one["ns"] not in closes]
        told = not isinstance(event, Bar | Posts | Observation | Tick) or (isinstance(event, Tick) and parts)
        if told and not tightened:
            session.order.append(("message", event))
        for order in (*parts.get("orders", []), *parts.get("ended", [])):
            session.orders[order["id"]] = order
        session.sent_ns |= {order["id"]: record.ns for order in parts.get("orders", [])}
        session.fills += parts.get("fills", [])
        session.moves += parts.get("moves", []) + parts.get("refusals", [])
    return session


def _rows_of(parts: dict[str, Any], spec: RunSpec) -> Iterator[tuple[Row, dict[str, Any] | None]]:
    by_close = {one["ns"]: one for one in parts.get("decisions", [])}
    for body in parts.get("rows", []):
        prices = tuple(np.array([np.nan if v is None else v for v in body["prices"][name]], float) for name in PRICES)
        row = Row(
            open_ns=body["open_ns"], close_ns=body["close_ns"], prices=prices,  # type: ignore[arg-type]
            strange=np.array(body["strange"], np.uint8), risk_bar=body["risk_bar"],
        )  # fmt: skip
        yield row, by_close.get(row.close_ns)


def _keep(session: Session, event: Event, places: dict[str, int], numbers: dict[str, int]) -> None:
    if isinstance(event, Bar) and event.symbol in places:
        k = places[event.symbol]
        if event.close_ns > session.newest.get(k, 0):  # signals leave out what comes again, or after a newer one
            session.newest[k] = event.close_ns
            session.bars[event.close_ns, k] = (event.ns, tuple(float(getattr(event, name)) for name in PRICES))
    elif isinstance(event, Posts):
        session.posts.append(event.rows)
    elif isinstance(event, Observation) and event.coin in numbers:
        told = (numbers[event.coin], event.event_ns, event.known_ns, event.value, event.revision)
        session.metrics.setdefault(event.name, []).append(told)


def batch_inputs(session: Session, spec: RunSpec, coins: Sequence[str]) -> tuple[Inputs, Array]:
    """(inputs, late bool[d, M]): bars on one grid, facts in the order told, decisions with the cutoffs they had."""
    closes = np.array(sorted({close for close, _ in session.bars}), np.int64)
    at = {close: i for i, close in enumerate(closes.tolist())}
    columns = {name: np.full((len(closes), len(spec.symbols)), np.nan) for name in PRICES}
    told = np.zeros((len(closes), len(spec.symbols)), np.int64)
    for (close, k), (ns, prices) in session.bars.items():
        told[at[close], k] = ns
        for name, price in zip(PRICES, prices, strict=True):
            columns[name][at[close], k] = price
    decided = [what for kind, what in session.order if kind == "decision"]
    decide_ns = np.array([one["ns"] for one in decided], np.int64)
    cutoff_ns = np.array([one["cutoff_ns"] for one in decided], np.int64)
    bar = np.searchsorted(closes, decide_ns, side="right") - 1
    late = np.isfinite(columns["close"][bar]) & (told[bar] > cutoff_ns[:, None]) if len(bar) else np.zeros((0, 0), bool)
    posts = np.concatenate(session.posts) if session.posts else np.zeros(0, POSTS)
    names = list(POSTS.names or ())
    inputs = Inputs(
        symbols=tuple(spec.symbols), coins=tuple(coins), bar_ns=spec.bar_ns, close_ns=closes, **columns,
        decide_ns=decide_ns, decide_bar=bar, cutoff_ns=cutoff_ns,
        sentiment=SentimentTape(**{name: posts[name].copy() for name in names}),
        metrics={name: _metric_tape(rows) for name, rows in session.metrics.items()},
    )  # fmt: skip
    return inputs, late


def _metric_tape(rows: list[tuple[int, int, int, float, int]]) -> MetricTape:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return MetricTape(*columns)


def replay_batch(spec: RunSpec, coins: Sequence[str], journal: Records, *, outside: bool, stops: bool) -> Differences:
    """Signals over the whole session at once, then the tape's rows, decisions and messages in their order."""
    found = Differences("batch")
    session = lay_out(journal, spec, coins)
    inputs, late = batch_inputs(session, spec, coins)
    values, states = evaluate(
        spec.strategy.signals, inputs, max_age_ns=spec.limits.signal_age_ns, guard=guard_limits(spec.limits)
    )
    states[late] = ops.NO_BAR
    values[:, :, :-1][late] = np.nan  # it was not there when the strategy was asked
    desk = new_desk(spec, outside=outside, stops=stops)
    runner, ear = RowRunner(spec, desk), Ear(desk, spec.symbols)
    engine_names = tuple(spec.strategy.signals)
    j = 0
    for kind, what in session.order:
        if desk.logs_are_full:
            desk.grow_logs()
        if kind == "terms":
            take_terms(desk, what)
        elif kind == "row":
            runner.close(what)
        elif kind == "message":
            ear.remember(desk.working)
            ear.hear(what)
        else:
            decision = runner.decide(what["ns"], what["cutoff_ns"], values[j], states[j])
            body = plain_body(step_body(Step(ns=0, decisions=(decision,)), tuple(spec.symbols), engine_names))
            _compare_decision(found, body["decisions"][0], what)
            j += 1
    _compare_books(found, session, desk, tuple(spec.symbols))
    return found


def _compare_decision(found: Differences, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    found.compared["decisions"] += 1
    where = f"decision at {format_time(theirs['ns'])}"
    for symbol, told in theirs["symbols"].items():
        mine = ours["symbols"][symbol]
        if mine["values"] != told["values"] or (mine["hold"], mine["signal"]) != (told["hold"], told["signal"]):
            found.note("signals", f"{where}, {symbol}")
        elif mine["held"] != told["held"]:
            found.note("weight held", f"{where}, {symbol}")
        elif mine["weight"] != told["weight"]:
            found.note("weight asked", f"{where}, {symbol}")
    if (ours["status"], ours["asked"]) != (theirs["status"], theirs["asked"]):
        found.note("status", where)


def _in_order(one: dict[str, Any]) -> str:
    return json.dumps(one, sort_keys=True)


def _compare_books(found: Differences, session: Session, desk: Any, symbols: tuple[str, ...]) -> None:
    log = np.concatenate([desk.done, desk.working])
    ours = {int(order["id"]): plain_body(order_body(order, symbols)) for order in log}
    ends = {STATES[state] for state in np.flatnonzero(np.asarray(TERMINAL))}
    open_then = {number for number, order in session.orders.items() if order["state"] not in ends}
    found.compared["orders"] += len(session.orders)
    for number in sorted(ours.keys() | session.orders.keys()):
        mine, told = ours.get(number), session.orders.get(number)
        if mine is None or told is None:
            found.note("order missing", f"order {number}")
        elif number in open_then:
            fixed = ["symbol", "side", "kind", "qty", "decided_ns"]
            fixed += ["purpose"] if told["kind"] != KINDS[STOP] else []  # a stop that trails is another kind of exit
            if any(mine[name] != told[name] for name in fixed):
                found.note("order", f"order {number}")
        elif mine != told:
            found.note("order", f"order {number}")
    step = Step(ns=0, fills=desk.fills, events=desk.events)
    body = plain_body(step_body(step, symbols, ()))
    for name, theirs in (("fills", session.fills), ("verdicts and ladder", session.moves)):
        mine_all = body.get("fills", []) if name == "fills" else body.get("moves", []) + body.get("refusals", [])
        if name != "fills":
            mine_all, theirs = (sorted(part, key=_in_order) for part in (mine_all, theirs))
        found.compared[name] += len(theirs)
        for i in range(max(len(mine_all), len(theirs))):
            one = mine_all[i] if i < len(mine_all) else None
            other = theirs[i] if i < len(theirs) else None
            if one != other:
                found.note(name, f"{name} {i + 1}")
