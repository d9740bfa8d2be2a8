"""A recorded paper session, replayed: the same decisions, orders and verdicts, by the engine and in the batch form."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.facts import coins_of
from backtest.run import new_desk, settled
from backtest.spec import RunSpec
from bot.engine import Engine
from bot.events import Bar, Event, Posts, Tick
from bot.feeds.door import Door
from bot.journal import MemoryJournal
from bot.recover import recover, warm_records
from bot.replay import replay_batch, replay_engine
from bot.run import Bot, SimulatedVenue
from data.store import Store
from tests.backtest.oracles.sampled import Everything, inputs_of, sampled, spec_of
from tests.parity.test_engine import HARSH, events_of

SECOND = 10**9
HOUR = 3600 * SECOND
DELAY = 5 * SECOND


class Watch:
    """A clock that is set."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        """The time it was set to."""
        return self.ns


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A stretch of the sample."""
    return sampled(tmp_path_factory.mktemp("session"), hours=420)


def day_of(store: Store, *, facts: bool = False, **changed: Any) -> tuple[RunSpec, list[Event], list[Event]]:
    """(spec, warm facts, live events): bars come a second or so after their close, some too late, one never; posts lie
    a millisecond on either side of closes.
    """
    made = {"decide_on": "facts", "every_ns": 900 * SECOND} if facts else {}
    spec = spec_of(Everything(), decision_delay_ns=DELAY, **made, **changed)
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    rng = np.random.default_rng(8)
    since = int(inputs.bars.open_ns[0]) + 60 * HOUR
    warm: list[Event] = []
    found: list[tuple[int, int, Event]] = []
    for number, event in enumerate(events_of(replace(spec, decision_delay_ns=0), inputs)):
        ns = event.ns
        if isinstance(event, Bar):
            if ns <= since:
                warm.append(event)
                continue
            fate = rng.random()
            if fate < 0.004:
                continue
            ns += int((rng.uniform(6, 2000) if fate < 0.02 else rng.uniform(0.2, 2.5)) * SECOND)
        elif ns <= since:
            warm.append(event)
            continue
        elif isinstance(event, Posts) and rng.random() < 0.3:
            ns = ns // HOUR * HOUR + HOUR + int(rng.choice([-1, 1])) * SECOND // 1000
        found.append((ns, number, replace(event, ns=ns)))
    ticks = [(ns, -1, Tick(ns=ns)) for ns in range(since + 3 * SECOND, since + 200 * HOUR, 120 * SECOND)]
    live = [event for _, _, event in sorted([*found, *ticks], key=lambda one: one[:2])]
    return spec, warm, [event for event in live if event.ns < since + 200 * HOUR]


def engine_of(spec: RunSpec) -> Engine:
    """A fresh one."""
    return Engine(spec, new_desk(spec), coins_of(spec))


async def session(
    spec: RunSpec,
    warm: Sequence[Event],
    live: Sequence[Event],
    *,
    kills: Sequence[int] = (),
    snapshot_ns: int = 50 * HOUR,
) -> MemoryJournal:
    """Run it; at the numbers of `kills` the process is gone without a word, and the next one recovers."""
    journal = MemoryJournal({"bot": "00c0ffee"})
    facts: Any = warm
    for body in warm_records(facts):
        journal.append(1, "warm", body)
    journal.append(1, "session", {"session": "s0"})
    journal.commit()
    engine, watch = engine_of(spec), Watch()
    for fact in facts:
        engine.learn(fact)

    def runner_of(engine: Engine, name: str) -> Bot:
        watch.ns = max(watch.ns, engine.now_ns)
        return Bot(
            engine, journal, clock=watch, door=Door(1000), venue=SimulatedVenue(), session=name, snapshot_ns=snapshot_ns
        )

    runner = runner_of(engine, "s0")
    for number, event in enumerate(live):
        watch.ns = event.ns
        await runner.take([event])
        if number in kills:
            engine = engine_of(spec)
            recover(engine, journal)
            journal.append(engine.now_ns + 1, "session", {"session": f"s{number}"})
            journal.commit()
            runner = runner_of(engine, f"s{number}")
    return journal


def replays(spec: RunSpec, journal: MemoryJournal) -> list[Any]:
    """Both ways."""
    coins = coins_of(spec)
    return [
        replay_engine(engine_of(spec), journal),
        replay_batch(spec, coins, journal, outside=False, stops=True),
    ]


@pytest.mark.parametrize("case", ["calm", "harsh", "facts", "killed"])
def test_a_session_replays_to_the_same_decisions(case: str, store: Store) -> None:
    """Late bars, posts a millisecond around closes, ticks, and a process killed three times."""
    changed = {"limits": HARSH} if case == "harsh" else {}
    spec, warm, live = day_of(store, facts=case == "facts", **changed)
    kills = [len(live) // 4, len(live) // 2, len(live) // 2 + 1] if case == "killed" else []
    journal = asyncio.run(session(spec, warm, live, kills=kills))
    for found in replays(spec, journal):
        assert found.none, found.body()
        assert found.compared["decisions"] > 150 and found.compared["fills"] > (2 if case == "harsh" else 20)
    if kills:
        undisturbed = asyncio.run(session(spec, warm, live))
        steps = [[r.body for r in each.records(kinds=("step",))] for each in (journal, undisturbed)]
        for body in (*steps[0], *steps[1]):
            body.pop("facts", None)  # numbers of records, of which a killed session has more
        assert steps[0] == steps[1]


def test_one_arrival_moved_across_a_close_changes_exactly_the_decision_that_it_should(store: Store) -> None:
    """A post that came a millisecond before the decision, now a millisecond after it."""
    spec, warm, live = day_of(store)
    at = next(i for i, e in enumerate(live) if i > len(live) // 2 and isinstance(e, Posts) and e.rows["coin"][0] == 0)
    before = decisions(asyncio.run(session(spec, warm, live)))
    last_ns = max(ns for ns in before if ns <= live[at].ns)
    early, late = live[:], live[:]
    del early[at], late[at]
    place = next(i for i, e in enumerate(early) if e.ns >= last_ns)
    early.insert(place, replace(live[at], ns=last_ns - SECOND // 1000))
    told = next(i for i, e in enumerate(early) if isinstance(e, Bar) and e.close_ns == last_ns + HOUR)
    there = live[told].ns if told < len(live) else early[told].ns
    moved = [i for i, e in enumerate(late) if isinstance(e, Bar) and e.close_ns == last_ns]
    late.insert(moved[-1] + 1, replace(live[at], ns=late[moved[-1]].ns + SECOND // 1000))
    assert there > last_ns
    one, other = (decisions(asyncio.run(session(spec, warm, each))) for each in (early, late))
    mood = [{ns: told["symbols"]["BTC/USDT"]["values"]["mood"] for ns, told in each.items()} for each in (one, other)]
    apart = [ns for ns in mood[0] if mood[0][ns] != mood[1][ns]]
    assert apart[0] == last_ns
    assert all(abs(mood[0][ns] - mood[1][ns]) < 1e-9 for ns in apart[1:])


def decisions(journal: MemoryJournal) -> dict[int, Any]:
    """By time."""
    return {one["ns"]: one for record in journal.records(kinds=("step",)) for one in record.body.get("decisions", [])}


def test_a_journal_that_other_code_wrote_is_not_gone_on_with(store: Store) -> None:
    """One recorded weight changed: recovery says at which record."""
    from data.errors import RefusedError

    spec, warm, live = day_of(store)
    journal = asyncio.run(session(spec, warm, live[:600], snapshot_ns=10**18))
    told = MemoryJournal({"bot": "00c0ffee"})
    changed = False
    for record in journal.records():
        if record.kind in ("header", "snapshot"):
            continue
        body = record.body
        if record.kind == "step" and body.get("decisions") and not changed:
            body["decisions"][0]["symbols"]["BTC/USDT"]["weight"] = 0.123
            changed = True
        told.append(record.ns, record.kind, body)
    told.commit()
    with pytest.raises(RefusedError, match="decisions"):
        recover(engine_of(spec), told)


def test_the_files_of_a_session_lie_where_they_should(tmp_path: Path) -> None:
    """Placeholder-free: a journal on disk takes the same records as one in memory."""
    from bot.journal import Journal

    header = {"bot": "00c0ffee"}
    disk, memory = Journal.create(tmp_path / "journal.sqlite", header, ns=1), MemoryJournal(header, ns=1)
    for keeper in (disk, memory):
        keeper.append(2, "session", {"session": "s0"})
        keeper.commit()
    assert disk.head() == memory.head()
    disk.close()
