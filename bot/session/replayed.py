"""The embedded sample replayed as if it were live: the clock is the sample's, faster, and nothing needs a network."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.spec import RunSpec
from bot.events import Bar, Observation, Posts
from bot.feeds.door import Door
from bot.feeds.replay import Replay, ReplayClock, Span, read_span
from bot.operate.latch import ACTIVE, write_latch
from bot.ports import Feed, Venue
from bot.recover import Warm
from bot.run import SimulatedVenue
from bot.session.opening import Opened, folder_of, open_session
from bot.session.paper import Tell, last_prices, lookback_ns, run_opened
from bot.session.terms import spec_of, with_markets
from data.times import DAY_NS, format_time

if TYPE_CHECKING:
    from bot.config import Config


def run_replayed(config: Config, var: Path, *, days: float, speed: float, person: str, tell: Tell) -> Opened:
    """Replay the last days of the sample into a fresh paper session.

    Parameters
    ----------
    speed : float
        Seconds of the sample in one of ours; 0: as fast as it goes.

    Raises
    ------
    TidegateError
        Whatever keeps it from starting or going on.
    """
    from bot.context import store_of
    from bot.verbs_runs import ensure_sample

    spec = spec_of(config)
    store = store_of(config, var)
    ensure_sample(store, spec)
    end_ns = max(int(store.bars(symbol, spec.bar_ns).close_ns[-1]) for symbol in spec.symbols)
    span = read_span(store, spec, end_ns - int(days * DAY_NS), end_ns + 1)
    before = _history(span, spec)
    clock = ReplayClock(span.start_ns - 1)
    spec = with_markets(spec, {}, last_prices(fact for fact in before if isinstance(fact, Bar)))
    folder = folder_of(config, var, "paper", name=f"replay-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    write_latch(folder, ACTIVE, person, "a replay of the sample", clock.now_ns())
    opened = open_session(
        config, spec, folder, mode="paper", now_ns=clock.now_ns(), person=person, outside=False, stops=True,
        warm=lambda: before, tell=tell, facts={"replayed": "the embedded sample: invented prices and posts"},
    )  # fmt: skip
    pace = f"{speed:g} times their pace" if speed else "full speed"
    tell(f"SYNTHETIC MARKET: {len(span.played):,} facts from {format_time(span.start_ns)} on, at {pace}")

    def parts(door: Door) -> tuple[Venue, Sequence[Feed]]:
        return SimulatedVenue(), [Replay(span, clock, door.drained, speed=speed or math.inf)]

    run_opened(opened, config, clock, parts)
    return opened


def _history(span: Span, spec: RunSpec) -> list[Warm]:
    """What signals warm up on: every post and metric, bars as far back as one of them looks."""
    since_ns = span.start_ns - lookback_ns(spec)
    found: list[Warm] = []
    for fact in span.history:
        if isinstance(fact, Bar):
            if fact.close_ns >= since_ns:
                found.append(replace(fact, ns=fact.close_ns, caught_up=False))
        elif isinstance(fact, Posts | Observation):
            found.append(fact)
    return found
