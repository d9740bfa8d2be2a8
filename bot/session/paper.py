"""Paper trading: live facts and simulated fills; and the embedded sample replayed as if it were live."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.facts import needs_posts
from backtest.spec import RunSpec
from bot.events import Bar, Observation, Posts
from bot.feeds.bars import LiveBars
from bot.feeds.door import Door
from bot.feeds.funding import AssumedFunding
from bot.feeds.gate import RowGate
from bot.feeds.public import CcxtBars
from bot.feeds.scoring import Scoring
from bot.feeds.stored import StoredFacts, warm_bars
from bot.operate.latch import ACTIVE, read_latch, write_latch
from bot.ports import Clock, Feed, Put, Venue
from bot.record.beside import Recording
from bot.recover import Warm
from bot.run import SimulatedVenue
from bot.session.company import Company
from bot.session.opening import Opened, folder_of, open_session
from bot.session.running import Parts, SystemClock, run_session
from bot.session.terms import spec_of, with_markets
from data.errors import InputError, RefusedError
from data.store import Store
from data.times import SECOND_NS

if TYPE_CHECKING:
    from bot.config import Config

AFTER_NS = SECOND_NS
Tell = Callable[[str], None]
Fact = Posts | Observation


def refuse_halted(folder: Path) -> None:
    """A halted account isn't started: a person resumes it first.

    Raises
    ------
    RefusedError
        The kill latch isn't ACTIVE.
    """
    latch = read_latch(folder)
    if latch.halted:
        raise RefusedError(
            f"{folder} is HALTED by {latch.person}: {latch.reason}. First: tidegate resume --reason TEXT"
        )


def lookback_ns(spec: RunSpec) -> int:
    """How far back bars reach that signals want."""
    wanted = [signal.lookback_ns(spec.bar_ns) for signal in spec.strategy.signals.values()]
    return max([*wanted, 50 * spec.bar_ns])


def recent_bars(store: Store, spec: RunSpec, now_ns: int) -> list[Bar]:
    """Stored bars that signals warm up on, in order of close."""
    bars = warm_bars(store, spec, now_ns - lookback_ns(spec), now_ns)
    return sorted((replace(bar, ns=bar.close_ns, caught_up=False) for bar in bars), key=lambda bar: bar.close_ns)


def history(store: Store, spec: RunSpec, facts: StoredFacts, now_ns: int) -> Iterable[Warm]:
    """What the signals of a fresh session warm up on: stored bars, then every stored fact, marked as given."""
    yield from recent_bars(store, spec, now_ns)
    for fact in facts.warm():
        assert isinstance(fact, Posts | Observation)
        yield fact


def last_prices(bars: Iterable[Bar]) -> dict[str, float]:
    """The newest close of each symbol."""
    return {bar.symbol: bar.close for bar in bars}


async def asked_prices(source: CcxtBars, symbols: Sequence[str], now_ns: int, bar_ns: int) -> dict[str, float]:
    """Last closes asked of the exchange, for symbols of which no bar is stored."""
    await source.open()
    try:
        found = {}
        for symbol in symbols:
            rows = await source.fetch(symbol, now_ns // bar_ns * bar_ns - 5 * bar_ns, 10)
            if rows:
                found[symbol] = rows[-1].close
        return found
    finally:
        await source.close()


class Missed:
    """Facts that were stored while nobody listened: put at once, then done."""

    name = "missed"

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._facts = list(facts)

    async def run(self, put: Put) -> None:
        """Put them, and wait to be cancelled: only replays end."""
        for fact in self._facts:
            put(fact)
        await asyncio.Event().wait()

    def health(self) -> dict[str, int]:
        """How many they were."""
        return {"facts": len(self._facts)}


def settle_of(config: Config, spec: RunSpec) -> int:
    """How long after its end a bar is told: behind the declared delay, until which facts still count for its close."""
    declared = config.run.decision_delay
    return max(config.live.settle, declared + min(AFTER_NS, spec.bar_ns // 8) if declared else 0)


def live_parts(
    opened: Opened, config: Config, clock: Clock, facts: StoredFacts, venue: Venue, missed: Sequence[Fact], var: Path
) -> Parts:
    """Venue and feeds of a session on a real market."""

    def parts(door: Door) -> tuple[Venue, Sequence[Feed]]:
        engine, spec = opened.engine, opened.spec
        facts.until = RowGate(
            lambda: engine.row_ns, clock, bar_ns=spec.bar_ns, delay_ns=config.run.decision_delay,
            patience_ns=spec.decision_delay_ns,
        )  # fmt: skip
        since = clock.now_ns() - lookback_ns(spec)
        known = {symbol: max(engine.last_close(symbol), since) for symbol in spec.symbols}
        source = CcxtBars(config.exchange, spec.symbols, spec.bar_ns, clock.now_ns)
        bars = LiveBars(
            source, spec.symbols, spec.bar_ns, clock=clock, rng=random.Random(), last_close=known,
            settle_ns=settle_of(config, spec),
        )  # fmt: skip
        scoring = [Scoring(config, var, clock=clock, rng=random.Random())] if needs_posts(spec) else []
        feeds: list[Feed] = [bars, facts, *scoring, *([Missed(missed)] if missed else [])]
        if config.feeds:
            feeds.append(Recording(config, var, clock=clock, session=f"session {opened.session}"))
        if spec.perp and isinstance(venue, SimulatedVenue):
            feeds.append(AssumedFunding(spec.symbols, spec.fills.funding_rate, clock=clock))
        return venue, feeds

    return parts


def run_paper(config: Config, var: Path, *, person: str, tell: Tell, take_over: bool = False) -> Opened:
    """Trade on paper until a signal.

    Raises
    ------
    TidegateError
        Whatever keeps it from starting or going on.
    """
    from bot.context import store_of

    clock, store = SystemClock(), store_of(config, var)
    spec = spec_of(config)
    refuse_perp(config, spec)
    folder = folder_of(config, var, "paper")
    facts = StoredFacts(store, spec, clock=clock)
    spec = with_markets(spec, {}, _prices(store, spec, config, clock))
    _first_latch(folder, person, clock)
    refuse_halted(folder)

    warm = partial(history, store, spec, facts, clock.now_ns())
    opened = open_session(
        config, spec, folder, mode="paper", now_ns=clock.now_ns(), person=person, outside=False, stops=True, warm=warm,
        tell=tell, take_over=take_over,
    )  # fmt: skip
    missed = [] if opened.fresh else missed_facts(facts, opened)
    run_opened(opened, config, clock, live_parts(opened, config, clock, facts, SimulatedVenue(), missed, var))
    return opened


def missed_facts(facts: StoredFacts, opened: Opened) -> list[Fact]:
    """What was stored since the session's last event."""
    found = facts.warm(since_ns=opened.engine.now_ns)
    return [fact for fact in found if isinstance(fact, Posts | Observation)]


def run_opened(
    opened: Opened, config: Config, clock: Clock, parts: Parts, *,
    durable_latch: bool = False, quiet: bool = False, tick_s: float = 1.0,
) -> None:  # fmt: skip
    """Run an opened session with its company, and close both."""
    company = Company(opened, config, now_ns=clock.now_ns, durable_latch=durable_latch, quiet=quiet)
    clean = False
    try:
        asyncio.run(run_session(opened, config, company, clock=clock, parts=parts, tick_s=tick_s))
        clean = True
    finally:
        company.close(clean=clean)
        opened.close(clock.now_ns())


def refuse_perp(config: Config, spec: RunSpec) -> None:
    """Paper trading of perpetuals needs an assumed funding rate: nobody feeds the venue's.

    Raises
    ------
    InputError
        None is assumed.
    """
    if spec.perp and spec.fills.funding_rate != spec.fills.funding_rate:
        remedy = 'State an assumed rate: [fill] funding = "0.01%"'
        raise InputError(
            "paper trading has no feed of funding rates", where=config.where, key="fill.funding", remedy=remedy
        )


def _first_latch(folder: Path, person: str, clock: Clock) -> None:
    """A paper account that never ran begins ACTIVE."""
    if not (folder / "journal.sqlite").exists() and not (folder / "latch").exists():
        write_latch(folder, ACTIVE, person, "first start of a paper session", clock.now_ns())


def _prices(store: Store, spec: RunSpec, config: Config, clock: Clock) -> dict[str, float]:
    prices = last_prices(recent_bars(store, spec, clock.now_ns()))
    lacking = [symbol for symbol in spec.symbols if symbol not in prices]
    if lacking:
        source = CcxtBars(config.exchange, lacking, spec.bar_ns, clock.now_ns)
        prices |= asyncio.run(asked_prices(source, lacking, clock.now_ns(), spec.bar_ns))
    return prices
