"""An engine by hand: two coins on bars of five seconds, what it knows at its start, and a session of given events."""

import asyncio
from typing import Any

import numpy as np

from backtest.facts import coins_of
from backtest.run import new_desk
from backtest.spec import RunSpec
from bot.engine import Engine
from bot.events import POSTS, Bar, Event, Observation, Posts
from bot.feeds.door import Door
from bot.journal.memory import MemoryJournal
from bot.recover import warm_records
from bot.run import Bot, SimulatedVenue
from bot.step import Step
from risk.limits import Limits
from risk.policy import Execution
from tests.parity.test_session import Watch
from tests.sim.plan import BAR_NS, MARKET, STRATEGY, SYMBOLS

SECOND = 10**9
T0 = 1_700_000_000 * SECOND
EARLIER = T0 - 70 * SECOND
DELAY = 2 * SECOND
POST_ONLY = Execution(entry="post-only", wait_ns=4 * SECOND, chases=2, then="cancel")


def spec_of(**changed: Any) -> RunSpec:
    """Two symbols, bars of five seconds, limits that don't bind."""
    limits = changed.pop("limits", Limits(loss_streak=1000, flood_posts=10**6))
    return RunSpec(
        strategy=STRATEGY, symbols=list(SYMBOLS), bar_ns=BAR_NS, limits=limits, decision_delay_ns=DELAY,
        markets=dict.fromkeys(SYMBOLS, MARKET), **changed,
    )  # fmt: skip


def bar(symbol: str, number: int, close: float, *, after: float = 0.1) -> Bar:
    """The bar that closes `number` bars after T0, told `after` seconds later."""
    close_ns = T0 + number * BAR_NS
    prices = {"open": close - 0.1, "high": close + 0.1, "low": close - 0.2, "close": close}
    ns = close_ns + int(after * SECOND) + (symbol == SYMBOLS[1])
    return Bar(ns=ns, symbol=symbol, open_ns=close_ns - BAR_NS, close_ns=close_ns, volume=100.0, **prices)


def warmed(spec: RunSpec, *, outside: bool = True) -> tuple[Engine, list[Any]]:
    """(an engine that knows ten rising bars, a post of each coin and a metric; these facts)."""
    engine = Engine(spec, new_desk(spec, outside=outside), coins_of(spec))
    post = np.zeros(2, POSTS)
    post["coin"], post["known_ns"], post["event_ns"], post["weight"], post["trusted"] = [0, 1], EARLIER, EARLIER, 2.0, 1
    facts: list[Any] = [bar(symbol, k, 100.0 + 0.1 * k) for k in range(-9, 1) for symbol in SYMBOLS]
    facts.append(Posts(ns=T0, rows=post))
    facts.append(Observation(ns=T0, name="flow", coin="*", event_ns=EARLIER, known_ns=EARLIER, value=0.0))
    for fact in facts:
        engine.learn(fact)
    return engine, facts


def rows_told(engine: Engine, number: int, close: float) -> Step:
    """Both symbols' bars of one close; what the second led to."""
    engine.handle(bar(SYMBOLS[0], number, close))
    return engine.handle(bar(SYMBOLS[1], number, close))


def journal_of(spec: RunSpec, facts: list[Any], events: list[Event]) -> MemoryJournal:
    """A session of these events."""

    async def main() -> MemoryJournal:
        journal, watch = MemoryJournal({"bot": "00c0ffee"}), Watch()
        for body in warm_records(facts):
            journal.append(1, "warm", body)
        journal.append(1, "session", {"session": "s0"})
        journal.commit()
        session = Bot(warmed(spec)[0], journal, clock=watch, door=Door(10), venue=SimulatedVenue(), session="s0")
        for event in events:
            watch.ns = event.ns
            await session.take([event])
        return journal

    return asyncio.run(main())
