"""The engine, told one event at a time, ends in the books of the backtest's compiled loop: bit for bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.facts import coins_of
from backtest.load import RunInputs
from backtest.loop import LOGS_FULL, loop
from backtest.run import new_desk, prepare_run, settled
from backtest.spec import RunSpec
from bot.engine import Engine
from bot.events import POSTS, Bar, Event, Observation, Posts
from bot.step import Step
from data.store import Store
from risk.limits import Limits
from tests.backtest.oracles.sampled import Everything, inputs_of, sampled, shipped, spec_of

SECOND = 10**9
HARSH = Limits(
    daily_loss=0.01, daily_loss_flatten=0.02, drawdown=0.06, loss_streak=2, asset_share=0.3, orders_per_minute=6,
    novelty_return_z=4.0, turnover_per_day=20_000.0, flood_posts=4, flood_z=2.0, mood_jump=0.2,
)  # fmt: skip


class Plain(Everything):
    """The same without protection, so that calm rows are skimmed."""

    stop_loss = None
    trailing_stop = None


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "protected": (Everything, {}),
    "skimmed": (Plain, {}),
    "facts": (Plain, {"decide_on": "facts", "every_ns": 900 * SECOND}),
    "delayed": (Plain, {"decision_delay_ns": 1800 * SECOND}),
    "harsh": (Everything, {"limits": HARSH}),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A stretch of the sample."""
    return sampled(tmp_path_factory.mktemp("engine"), hours=900)


def events_of(spec: RunSpec, inputs: RunInputs) -> list[Event]:
    """All bars and facts in the order in which they are known; a bar comes when its decision has waited long enough."""
    seen = inputs.signals
    found: list[tuple[int, int, Event]] = []
    for i, close_ns in enumerate(seen.close_ns.tolist()):
        at = close_ns + spec.decision_delay_ns
        for k, symbol in enumerate(seen.symbols):
            columns = {name: float(getattr(seen, name)[i, k]) for name in ("open", "high", "low", "close", "volume")}
            if np.isfinite(columns["close"]):
                bar = Bar(ns=at, symbol=symbol, open_ns=close_ns - spec.bar_ns, close_ns=close_ns, **columns)
                found.append((at, 2, bar))
    tape = seen.sentiment
    for f, ns in enumerate(tape.known_ns.tolist()):
        post = np.zeros(1, POSTS)
        for name in POSTS.names or ():
            post[name] = getattr(tape, name)[f]
        found.append((ns, 1, Posts(ns=ns, rows=post)))
    for name, metric in seen.metrics.items():
        for f, ns in enumerate(metric.known_ns.tolist()):
            coin = "*" if metric.coin[f] < 0 else seen.coins[metric.coin[f]]
            told = {"value": float(metric.value[f]), "revision": int(metric.revision[f])}
            known = {"event_ns": int(metric.event_ns[f]), "known_ns": ns}
            found.append((ns, 0, Observation(ns=ns, name=name, coin=coin, **known, **told)))
    return [event for _, _, event in sorted(found, key=lambda one: one[:2])]


def live(spec: RunSpec, inputs: RunInputs, *, restart_every: int = 0) -> tuple[Engine, list[Step]]:
    """The session: what lies before the run is learnt, the rest handled; the engine begun anew every so often."""
    engine = Engine(spec, new_desk(spec), coins_of(spec))
    since = int(inputs.bars.open_ns[0])
    last = int(inputs.bars.close_ns[-1]) + spec.decision_delay_ns
    steps = []
    for number, event in enumerate(events_of(spec, inputs)):
        if event.ns > last:
            break
        if (event.close_ns if isinstance(event, Bar) else event.ns) <= since:
            assert isinstance(event, Bar | Posts | Observation)
            engine.learn(event)
            continue
        steps.append(engine.handle(event))
        if restart_every and number % restart_every == 0:
            state = engine.snapshot()
            engine = Engine(spec, new_desk(spec), coins_of(spec))
            engine.restore(state)
    return engine, steps


def told(steps: list[Step], name: str) -> Any:
    """One log over all steps."""
    return np.concatenate([getattr(step, name) for step in steps])


def assert_same(spec: RunSpec, inputs: RunInputs, engine: Engine, steps: list[Step], *, late: bool) -> None:
    """Fills, orders, refusals, ladder moves, account and books are those of the compiled loop."""
    prepared = prepare_run(spec, inputs, late=late)
    desk, tape = new_desk(spec), prepared.tape
    tape.start(prepared.rule.address)
    while loop(desk.ref, tape.ref, len(tape["close_ns"])) == LOGS_FULL:
        desk.grow_logs()
    assert len(desk.fills) > 8
    for name, log in (("fills", desk.fills), ("events", desk.events), ("ended", desk.done)):
        ours = told(steps, name)
        for field in log.dtype.names:
            if field != "row":
                assert np.array_equal(ours[field], log[field], equal_nan=True), (name, field)
    decided = [one for step in steps for one in step.decisions]
    assert [one.ns for one in decided] == tape["decide_ns"].tolist()
    np.testing.assert_array_equal(np.array([one.values for one in decided]), tape["rows"][:, :, :-1])
    np.testing.assert_array_equal(np.array([one.weights for one in decided]), tape.wishes())
    ours_account, account = engine.desk.account, desk.account
    for field in account.dtype.names:
        if field not in ("row", "n_fills", "n_events", "n_done"):
            assert ours_account[field] == account[field], field
    for field in desk.books.dtype.names:
        assert np.array_equal(engine.desk.books[field], desk.books[field], equal_nan=True), field


@pytest.mark.parametrize("case", CASES)
def test_one_event_at_a_time_ends_in_the_books_of_the_loop(case: str, store: Store) -> None:
    """Decision for decision, fill for fill, also on facts between closes and with a delay."""
    made, changed = CASES[case]
    spec = spec_of(made(), **changed)
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    engine, steps = live(spec, inputs)
    assert engine.rows.compiled
    assert_same(spec, inputs, engine, steps, late=True)


@pytest.mark.parametrize("case", ["skimmed", "facts"])
def test_where_bars_are_missing_it_is_the_same(case: str, tmp_path: Path) -> None:
    """Hours without any bar, or without one symbol's: facts decide for one bar more, and then wait for the next."""
    made, changed = CASES[case]
    spec = spec_of(made(), **changed)
    inputs = inputs_of(sampled(tmp_path, hours=900, holed=True), spec)
    spec = settled(spec, inputs)
    engine, steps = live(spec, inputs)
    assert_same(spec, inputs, engine, steps, late=True)


@pytest.mark.parametrize("name", ["ema-cross", "mood-flow", "mood-rank"])
def test_shipped_strategies_decide_alike_live(name: str, store: Store, tmp_path: Path) -> None:
    """`weigh` and `allocate`."""
    spec = spec_of(shipped(name, tmp_path))
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    assert_same(spec, inputs, *live(spec, inputs), late=True)


def test_a_session_restored_from_its_snapshots_goes_on_as_if_nothing_had_been(store: Store) -> None:
    """Begun anew at every hundredth event, from JSON values."""
    spec = spec_of(Everything(), limits=replace(HARSH, loss_streak=10**6))
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    assert_same(spec, inputs, *live(spec, inputs, restart_every=100), late=True)
