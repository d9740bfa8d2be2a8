"""Live sessions made by hand: a venue that fills as it is told, so that every figure of a drift is known beforehand."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from backtest.facts import coins_of
from backtest.run import new_desk, settled
from backtest.spec import RunSpec
from bot.engine import Engine
from bot.events import Bar, Event, Report, Submit
from bot.feeds.door import Door
from bot.journal import MemoryJournal
from bot.recover import warm_records
from bot.run import Bot, SimulatedVenue
from bot.session.terms import terms_body
from data.store import Store
from risk.records import MARKET
from strategies.base import Strategy
from tests.backtest.oracles.sampled import inputs_of, spec_of
from tests.parity.test_engine import Plain, events_of
from tests.parity.test_session import Watch

SECOND, MS = 10**9, 10**6
HOUR = 3600 * SECOND


@dataclass(frozen=True)
class Fills:
    """How the venue fills a market order: so much worse than the next bar's open, so late, so much of it."""

    slip: float = 0.0005
    fee: float = 0.00075
    delay_ns: int = 320 * MS
    share: Callable[[int], float] = lambda number: 1.0  # of the order of that number; the rest expires
    bars_late: int = 0


def spec_for(store: Store, strategy: Strategy | None = None) -> tuple[RunSpec, list[Event], list[Event]]:
    """(spec, warm facts, live events): every bar comes a second after its close."""
    spec = spec_of(strategy or Plain(), decision_delay_ns=5 * SECOND)
    spec = replace(spec, fills=replace(spec.fills, impact=0.0, participation=1.0))
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    since = int(inputs.bars.open_ns[0]) + 60 * HOUR
    warm: list[Event] = []
    live: list[tuple[int, int, Event]] = []
    for number, event in enumerate(events_of(replace(spec, decision_delay_ns=0), inputs)):
        if event.ns <= since:
            warm.append(event)
            continue
        ns = event.ns + (SECOND if isinstance(event, Bar) else 0)
        live.append((ns, number, replace(event, ns=ns)))
    return spec, warm, [event for _, _, event in sorted(live, key=lambda one: one[:2])]


def session(
    spec: RunSpec, warm: list[Event], live: list[Event], fills: Fills | None, *, hours: int = 200
) -> tuple[MemoryJournal, dict[str, Any], Engine]:
    """(journal, header, engine at its end); without `fills` a paper session."""
    return asyncio.run(_session(spec, warm, live, fills, hours))


async def _session(
    spec: RunSpec, warm: list[Event], live: list[Event], fills: Fills | None, hours: int
) -> tuple[MemoryJournal, dict[str, Any], Engine]:
    outside = fills is not None
    header = {"mode": "live" if outside else "paper", "outside": outside, "stops": True, "coins": list(coins_of(spec))}
    journal = MemoryJournal(header)
    for body in warm_records(warm):  # type: ignore[arg-type]
        journal.append(1, "warm", body)
    engine = Engine(spec, new_desk(spec, outside=outside), coins_of(spec))
    journal.append(1, "session", {"session": "s0", "terms": terms_body(engine.desk)})
    journal.commit()
    for fact in warm:
        engine.learn(fact)  # type: ignore[arg-type]
    watch = Watch()
    driver = Bot(engine, journal, clock=watch, door=Door(1000), venue=SimulatedVenue(), snapshot_ns=10**18)
    opens = {(bar.open_ns, bar.symbol): bar.open for bar in live if isinstance(bar, Bar)}
    waiting: list[tuple[int, int, Event]] = [(event.ns, place, event) for place, event in enumerate(live)]
    end = live[0].ns + hours * HOUR
    heapq.heapify(waiting)
    told = len(waiting)
    while waiting and waiting[0][0] < end:
        ns, _, event = heapq.heappop(waiting)
        watch.ns = ns
        commands: list[Any] = []
        driver.watchers[:] = [lambda _, step, found=commands: found.extend(step.commands)]  # type: ignore[misc]
        await driver.take([replace(event, ns=ns)])
        for command in commands:
            for report in _answers(command, fills or Fills(), watch.ns, opens):
                told += 1
                heapq.heappush(waiting, (report.ns, told, report))
    return journal, header, engine


def _answers(command: Any, fills: Fills, ns: int, opens: dict[tuple[int, str], float]) -> list[Report]:
    """What the venue says to one command, each with its time."""
    if not isinstance(command, Submit):
        return [Report(ns=ns + MS, order=command.order, what="cancelled")]
    if command.kind != MARKET:
        return [Report(ns=ns + MS, order=command.order, what="acked")]
    at = ns + fills.delay_ns + fills.bars_late * HOUR
    price = opens.get((at // HOUR * HOUR, command.symbol))
    share = fills.share(command.order)
    found = []
    if share > 0.0 and price is not None:
        paid = price * (1.0 + command.side * fills.slip)
        qty = command.qty if share == 1.0 else round(command.qty * share, 5)
        in_coin = qty * fills.fee if command.side > 0 else 0.0
        filled = Report(ns=at, order=command.order, what="filled", qty=qty, price=paid, trade=f"t{command.order}")
        found.append(replace(filled, fee=qty * paid * fills.fee, fee_base=in_coin))
    if share < 1.0 or price is None:
        found.append(Report(ns=at + MS, order=command.order, what="expired"))
    return found
