"""What a session's fills were beside what a backtest would have given it over the same bars, facts and decisions.

The record is played twice in step: once with the reports of the venue that it had, once with the simulated venue in its
place. Every signal value is the recorded one; what each asks for follows from what it holds. What a person said, what
was paid in, and what somebody took by hand happens to both; what the venue said of itself happens to the real one only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from backtest.run import new_desk
from backtest.spec import RunSpec
from bot.drift_pairs import CAUSES, Pair, Side, pairs_of, side_of
from bot.events import Condition, Event, Funding, Outside, Report, Tick
from bot.hearing import Ear
from bot.recover import Records, plain_body, take_terms
from bot.replay import Session, lay_out
from bot.rows import RowRunner
from bot.step import Row, Step, step_body
from data.errors import InputError, WorkError
from risk import records as rec
from risk.records import Array

OF_THE_BOT = ("data", "heartbeat", "journal")  # conditions that no venue tells
ROWS_MIN = 2


@dataclass
class Drift:
    """What was found. Money in quote; `live` and `simulated` are the two sides, `causes` add up to `difference`."""

    mode: str
    outside: bool
    since_ns: int
    until_ns: int
    decisions: int
    rows: int
    cash: float
    live: Side
    simulated: Side
    pairs: list[Pair]
    latency_ns: int  # that the simulated venue assumes, from decision to venue
    policy: Array
    left_out: int = 0  # fills after the last bar, for which there is no simulated one yet
    symbols: tuple[str, ...] = ()
    sent_ns: dict[int, int] = field(default_factory=dict)
    open_ns: list[int] = field(default_factory=list)  # of each row

    @property
    def difference(self) -> float:
        """Equity of the session less that of the simulated one."""
        return self.live.equity - self.simulated.equity

    @property
    def causes(self) -> dict[str, float]:
        """By cause; they add up to the difference, `other` being what no pair explains."""
        found = {name: float(sum(pair.effects[name] for pair in self.pairs)) for name in CAUSES}
        found["funding"] = self.simulated.funding - self.live.funding
        found["other"] = self.difference - sum(found.values())
        return found

    @property
    def traded(self) -> float:
        """Notional that the session traded."""
        return float(sum(pair.live.notional for pair in self.pairs))


class Track:
    """One of the two desks, and what is noted while it plays."""

    def __init__(self, spec: RunSpec, *, outside: bool, stops: bool) -> None:
        self.desk = new_desk(spec, outside=outside, stops=stops)
        self.outside, self.stops = outside, stops
        self.runner, self.ear = RowRunner(spec, self.desk), Ear(self.desk, tuple(spec.symbols))
        self.first_ids: list[int] = []  # number of the first order of each decision
        self.filled: list[int] = []  # fills up to each row's close

    def take_terms(self, body: Mapping[str, Any]) -> None:
        """Limits, costs and markets in force from now on; the venue stays the one that this desk began with."""
        take_terms(self.desk, body, outside=self.outside, stops=self.stops)

    def room(self) -> None:
        """Room for what the next thing may bring."""
        if self.desk.logs_are_full:
            self.desk.grow_logs()

    def hear(self, event: Event) -> None:
        """One message."""
        self.ear.remember(self.desk.working)
        self.ear.hear(event)

    def close(self, row: Row) -> None:
        """One row."""
        self.runner.close(row)
        self.filled.append(len(self.desk.fills))

    def decide(self, what: Mapping[str, Any], spec: RunSpec) -> None:
        """One decision on the recorded values."""
        self.first_ids.append(int(self.desk.account["next_id"]))
        values, held = values_of(what, spec)
        self.runner.decide(what["ns"], what["cutoff_ns"], values, held)


def values_of(what: Mapping[str, Any], spec: RunSpec) -> tuple[Array, Array]:
    """(values f8[M, S + 1], states u1[M]) as recorded; the last column is the weight held, filled in later."""
    names = tuple(spec.strategy.signals)
    values = np.full((len(spec.symbols), len(names) + 1), np.nan)
    found = np.zeros(len(spec.symbols), np.uint8)
    for k, symbol in enumerate(spec.symbols):
        told = what["symbols"][symbol]
        for j, name in enumerate(names):
            value = told["values"][name]
            values[k, j] = np.nan if value is None else value
        if told["hold"]:
            blamed = names.index(told["signal"]) if told["signal"] else 0
            found[k] = rec.STATES.index(told["hold"]) | blamed << 3
    return values, found


def compare(spec: RunSpec, journal: Records, header: Mapping[str, Any]) -> Drift:
    """Play a session twice and pair what came of it.

    Parameters
    ----------
    spec : RunSpec
        Of the journal's header, see `bot.session.terms.spec_of_header`.

    Raises
    ------
    InputError
        The session has no decision with a bar after it.
    WorkError
        The record doesn't come out the same again: `tidegate replay` says where.
    """
    session = lay_out(journal, spec, tuple(header["coins"]))
    end = max((place for place, (kind, _) in enumerate(session.order) if kind == "row"), default=-1)
    played = session.order[: end + 1]
    rows = [what for kind, what in played if kind == "row"]
    decided = [what for kind, what in played if kind == "decision"]
    if len(rows) < ROWS_MIN or not decided:
        remedy = "Let the session see a decision and the bar after it"
        raise InputError("too short to compare: there is no decision with a bar after it", key="JOURNAL", remedy=remedy)
    outside = bool(header["outside"])
    live = Track(spec, outside=outside, stops=bool(header["stops"]))
    simulated = Track(spec, outside=False, stops=True)
    for kind, what in played:
        _play(kind, what, live, simulated, spec)
    left_out = _check(session, live, spec)
    policy = simulated.desk.arrays["policy"].copy()
    one, other = (
        side_of(track.desk, track.first_ids, track.filled, rows, outside=track.outside) for track in (live, simulated)
    )
    times = [one["ns"] for one in decided]
    assumed_ns = int(policy["latency_ns"][0]) - spec.decision_delay_ns
    return Drift(
        mode=str(header["mode"]), outside=outside, since_ns=rows[0].open_ns, until_ns=rows[-1].close_ns,
        decisions=len(decided), rows=len(rows), cash=float(spec.cash), live=one, simulated=other,
        pairs=pairs_of(one, other, times, session.sent_ns), latency_ns=assumed_ns, policy=policy, left_out=left_out,
        symbols=tuple(spec.symbols), sent_ns=session.sent_ns, open_ns=[row.open_ns for row in rows],
    )  # fmt: skip


def _play(kind: str, what: Any, live: Track, simulated: Track, spec: RunSpec) -> None:
    """One thing to both; what a venue outside told only to the one that had it."""
    for track in (live, simulated):
        track.room()
    if kind == "terms":
        live.take_terms(what)
        simulated.take_terms(what)
    elif kind == "row":
        live.close(what)
        simulated.close(what)
    elif kind == "decision":
        live.decide(what, spec)
        simulated.decide(what, spec)
    else:
        held = live.desk.books["qty"].copy()
        live.hear(what)
        for event in _to_the_other(what, live, simulated, held, spec):
            simulated.hear(event)


def _to_the_other(event: Event, live: Track, simulated: Track, held: Array, spec: RunSpec) -> list[Event]:
    """What the simulated side is told of a message: the same, the same in its own measure, or nothing."""
    if not live.outside:
        return [event]
    if isinstance(event, Report | Tick) or (isinstance(event, Condition) and event.cause not in OF_THE_BOT):
        return []
    if isinstance(event, Outside):
        k = spec.symbols.index(event.symbol)
        gone = float(abs(held[k]) - abs(live.desk.books["qty"][k]))
        left = max(abs(float(simulated.desk.books["qty"][k])) - gone, 0.0)
        return [replace(event, qty=left)] if gone > 0.0 else []
    if isinstance(event, Funding) and event.amount == event.amount:
        k = spec.symbols.index(event.symbol)
        worth = float(held[k] * live.desk.books["last"][k])
        rate = event.amount / worth if worth else 0.0
        return [replace(event, rate=rate, amount=float("nan"), venue_id="")] if rate else []
    return [event]


def _check(session: Session, live: Track, spec: RunSpec) -> int:
    """How many fills came after the last bar; the others have to be the recorded ones."""
    ours = plain_body(step_body(Step(ns=0, fills=live.desk.fills), tuple(spec.symbols), ())).get("fills", [])
    if ours != session.fills[: len(ours)]:
        raise WorkError(
            "the record doesn't come out the same again, so nothing can be compared with it: it was written by other "
            "code, or altered. See where: tidegate replay JOURNAL"
        )
    return len(session.fills) - len(ours)
