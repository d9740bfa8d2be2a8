"""One law in every form: compiled, interpreted, inlined and driven event by event decide alike, to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest import feed
from backtest.crowd import guard_limits
from backtest.hook import python_rule
from backtest.load import RunInputs
from backtest.loop import LOGS_FULL, act_on, before_decision, loop, next_event
from backtest.metrics import measure
from backtest.run import execute, new_desk, prepare_run, run, settled
from backtest.spec import RunSpec
from backtest.sweep import candidates_of, inlined_loop, sweep, walk
from data.store import Store
from risk.desk import Desk
from risk.limits import Limits
from signals import EMA
from signals.stream import Stream
from strategies.base import Param, Strategy
from tests.backtest.oracles.outcome import assert_same, books_of
from tests.backtest.oracles.sampled import Everything, inputs_of, sampled, shipped, spec_of
from tests.contracts.worlds import told

SECOND = 10**9
HARSH = Limits(
    daily_loss=0.01, daily_loss_flatten=0.02, drawdown=0.06, loss_streak=2, asset_share=0.3, orders_per_minute=6,
    novelty_return_z=4.0, turnover_per_day=20_000.0, flood_posts=4, flood_z=2.0, mood_jump=0.2,
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A stretch of the sample."""
    return sampled(tmp_path_factory.mktemp("parity"), hours=900)


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same with bars missing, and bars of four hours."""
    return sampled(tmp_path_factory.mktemp("holed"), hours=900, holed=True)


class Plain(Everything):
    """The same without protection, so that calm rows are skimmed."""

    stop_loss = None
    trailing_stop = None


class Seldom(Plain):
    """Trades once in a while, without a look at what is held."""

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Long when the price rises."""
        return p.tilt if s.fast > s.slow else 0.0


class Faulty(Everything):
    """Raises now and then."""

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """A division by zero where the price falls."""
        return 0.3 / (0.0 if s.fast < s.slow * 0.995 else 1.0)


class Broken(Everything):
    """Never answers."""

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """A division by zero."""
        return 1.0 / (0.0 * s.held)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "protected": (Everything, {}),
    "skimmed": (Plain, {}),
    "facts": (Plain, {"decide_on": "facts", "every_ns": 900 * SECOND}),
    "delayed": (Plain, {"decision_delay_ns": 1800 * SECOND}),
    "harsh": (Everything, {"limits": HARSH, "resume_after_ns": -2}),
    "perpetual": (Everything, {"market": "perp", "leverage": 3.0}),
    "faulty": (Faulty, {"limits": replace(spec_of(Plain()).limits, strategy_errors=10**6)}),
}


HOUR = 3600 * SECOND
FACTS: dict[str, Any] = {"decide_on": "facts", "every_ns": 900 * SECOND}
INSIDE: dict[str, Any] = {"bar_ns": 4 * HOUR, "inside_ns": HOUR}
HOLED: dict[str, tuple[Any, dict[str, Any]]] = {
    "gaps": (Seldom, {}),
    "facts": (Plain, FACTS),
    "seldom facts": (Seldom, FACTS | {"every_ns": HOUR // 2}),
    "facts of one": (Seldom, FACTS | {"symbols": ["ETH/USDT"]}),
    "inside": (Seldom, INSIDE),
    "inside of one": (Seldom, INSIDE | {"symbols": ["ETH/USDT"]}),
    "inside with stops": (Everything, INSIDE | {"risk_bar_ns": 2 * HOUR}),
    "inside and facts": (Plain, INSIDE | FACTS),
    "inside and seldom facts": (Seldom, INSIDE | FACTS | {"every_ns": 2 * HOUR}),
    "inside, perpetual": (Everything, INSIDE | {"market": "perp", "leverage": 3.0}),
    "inside, late": (Seldom, INSIDE | {"decision_delay_ns": 5400 * SECOND}),
}


def outcome(desk: Desk, tape: Any) -> dict[str, Any]:
    """All that a run leaves behind whose values and weights are kept."""
    return books_of(desk, tape) | {"weights": tape.wishes(), "rows": tape["rows"][:, :, :-1].copy()}


def in_one_go(spec: RunSpec, inputs: RunInputs, *, interpreted: bool = False) -> dict[str, Any]:
    """The batch run, compiled or interpreted."""
    prepared = prepare_run(spec, inputs, interpreted=interpreted)
    assert prepared.compiled is not interpreted
    desk = new_desk(spec)
    execute(desk, prepared)
    return outcome(desk, prepared.tape)


def inlined(spec: RunSpec, inputs: RunInputs) -> dict[str, Any]:
    """The batch run with the strategy written into the loop."""
    prepared = prepare_run(spec, inputs)
    desk = new_desk(spec)
    walk(inlined_loop(spec.strategy, narrow=False), desk, prepared.tape)
    return outcome(desk, prepared.tape)


def as_live(spec: RunSpec, inputs: RunInputs) -> dict[str, Any]:
    """Signals from a stream that is told one fact at a time, decisions made in Python one at a time."""
    seen = inputs.signals
    limits = {"max_age_ns": spec.limits.signal_age_ns, "guard": guard_limits(spec.limits)}
    stream = Stream(spec.strategy.signals, seen.symbols, seen.coins, seen.bar_ns, **limits)
    rows, states = (part[inputs.first :] for part in told(stream, seen))
    tape = prepare_run(spec, inputs, interpreted=True).tape
    np.testing.assert_array_equal(tape["rows"][:, :, :-1], rows[:, :, :-1])
    np.testing.assert_array_equal(tape["states"], states)
    rule = python_rule(spec.strategy)
    desk = new_desk(spec)
    tape.start(0)
    while True:
        event = next_event(desk.ref, tape.ref)
        if event == LOGS_FULL:
            desk.grow_logs()
            continue
        if event < 0:
            return outcome(desk, tape)
        j = int(tape.ref["decision"])
        tape["rows"][j, :, :-1] = rows[j, :, :-1]
        if before_decision(desk.ref, tape.ref):
            status = rule(tape["rows"][j], states[j], tape["params"], tape["weights"][j])
            act_on(desk.ref, tape.ref, status)


@pytest.mark.parametrize("case", CASES)
def test_compiled_interpreted_and_live_decide_alike(case: str, store: Store) -> None:
    """Decision for decision, fill for fill, mark for mark."""
    made, changed = CASES[case]
    spec = spec_of(made(), **changed)
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    batch = in_one_go(spec, inputs)
    assert len(batch["fills"]) > 8
    assert (batch["account"]["errors"][0] > 0) == (case == "faulty")
    assert_same(batch, in_one_go(spec, inputs, interpreted=True))
    assert_same(batch, as_live(spec, inputs))


@pytest.mark.parametrize("case", HOLED)
def test_bars_inside_bars_and_missing_ones_are_walked_alike(case: str, holed: Store) -> None:
    """Rows of two lengths, hours without a bar, and facts that arrive meanwhile: skimmed, inlined or one by one."""
    made, changed = HOLED[case]
    spec = spec_of(made(), **changed)
    inputs = inputs_of(holed, spec)
    assert (np.diff(inputs.bars.open_ns) > inputs.bars.close_ns[:-1] - inputs.bars.open_ns[:-1]).any()
    assert (inputs.bars.decides == 0).any() == ("inside" in case)
    spec = settled(spec, inputs)
    batch = in_one_go(spec, inputs)
    assert len(batch["fills"]) >= 8
    assert_same(batch, in_one_go(spec, inputs, interpreted=True))
    assert_same(batch, inlined(spec, inputs))


@pytest.mark.parametrize("case", ["skimmed", "harsh"])
def test_the_inlined_form_decides_alike(case: str, store: Store) -> None:
    """What a sweep runs is what a backtest runs, under limits that bind as well."""
    made, changed = CASES[case]
    spec = spec_of(made(), **changed)
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    assert_same(in_one_go(spec, inputs), inlined(spec, inputs))


class Crossing(Strategy):
    """Prices alone, and nothing of what is held: its values are made while the run goes on."""

    fast, slow = EMA(5), EMA(20)
    size = Param(0.3, low=0.0, high=1.0)

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Long while the fast average lies above the slow one."""
        return p.size if s.fast > s.slow else 0.0


ONE: dict[str, Any] = {"symbols": ["ETH/USDT"]}
LEAN: dict[str, dict[str, Any]] = {
    "calm": {}, "harsh": {"limits": HARSH, "resume_after_ns": -2},
    "one": ONE, "one harsh": ONE | {"limits": HARSH, "resume_after_ns": -2},
    "one by quantity": ONE | {"size": "quantity", "stake": 0.5},
    "one by notional": ONE | {"size": "notional", "stake": 1e3},
}  # fmt: skip


@pytest.mark.parametrize("case", LEAN)
def test_what_isnt_kept_is_decided_alike(case: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose signal values are made stretch by stretch, behind a pointer or written into the loop, ends in the
    same fills, events and books as one that is walked row by row.
    """
    monkeypatch.setattr(feed, "STRETCH", 500)  # a hundred rows of five symbols
    spec = spec_of(Crossing(), **LEAN[case])
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    whole = in_one_go(spec, inputs)
    assert_same(whole, in_one_go(spec, inputs, interpreted=True))
    for written_in in (False, True):
        lean = prepare_run(spec, inputs, keep=False)
        assert lean.tape.feed is not None and len(lean.tape["rows"]) < len(whole["rows"])
        desk = new_desk(spec)
        if written_in:
            walk(inlined_loop(spec.strategy, narrow=True), desk, lean.tape)
        else:
            execute(desk, lean)
        found = books_of(desk, lean.tape)
        assert len(found["fills"]) > 8
        assert_same({name: array for name, array in whole.items() if name in found}, found)


@pytest.mark.parametrize("case", ["gaps", "harsh", "seldom facts", "inside", "inside and seldom facts"])
def test_a_sweep_tells_what_backtests_tell(case: str, holed: Store) -> None:
    """Each combination's figures are those of a report on it."""
    made, name = (Crossing, "size") if case in ("gaps", "harsh") else (Seldom, "tilt")
    spec = spec_of(made(), **(LEAN[case] if case == "harsh" else HOLED[case][1]))
    inputs = inputs_of(holed, spec)
    grid = {name: [0.1, 0.15]}
    for row, one in zip(sweep(spec, inputs, grid, workers=1), candidates_of(spec, grid), strict=True):
        told = measure(run(one, inputs, created_ns=1, stress=False))
        assert (row.params, row.fills, row.final_equity) == (one.strategy.params, told.fills, told.final)
        assert row.sharpe is not None and row.sharpe == told.sharpe
        assert (row.total_return, row.max_drawdown) == pytest.approx((told.total_return, told.drawdown.depth))
        assert row.fees == pytest.approx(told.fees)


def test_stopping_and_going_on_changes_nothing(store: Store) -> None:
    """Rows in pieces of any size, and a desk copied in between, end in the same books."""
    spec = spec_of(Everything())
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    whole = in_one_go(spec, inputs)
    prepared = prepare_run(spec, inputs)
    desk, tape = new_desk(spec), prepared.tape
    tape.start(prepared.rule.address)
    for stop in (1, 2, 90, 91, 500, len(tape["close_ns"])):
        while loop(desk.ref, tape.ref, stop) == LOGS_FULL:
            desk.grow_logs()
        desk = desk.copy()
    assert_same(whole, outcome(desk, tape))


@pytest.mark.parametrize("name", ["ema-cross", "mood-flow", "mood-rank"])
def test_shipped_strategies_decide_alike(name: str, store: Store, tmp_path: Path) -> None:
    """`weigh` and `allocate`, compiled and live."""
    strategy: Strategy = shipped(name, tmp_path)
    spec = spec_of(strategy)
    inputs = inputs_of(store, spec)
    spec = settled(spec, inputs)
    assert_same(in_one_go(spec, inputs), as_live(spec, inputs))


def test_logs_grow_when_facts_bring_many_decisions_in_one_bar(store: Store) -> None:
    """A strategy that always fails, asked four times a minute inside day-long rows: one error each, none lost."""
    free = replace(spec_of(Broken()).limits, novelty_return_z=np.inf, novelty_volume_z=np.inf)
    spec = spec_of(Broken(), symbols=["BTC/USDT"], limits=free)
    inputs = inputs_of(store, spec)
    bars = inputs.bars
    n = len(bars.open_ns) // 24
    rows: dict[str, Any] = {name: getattr(bars, name)[::24][:n].copy() for name in bars.__dataclass_fields__}
    rows |= {"close_ns": rows["open_ns"] + 24 * 3600 * SECOND}
    asked_ns = np.arange(rows["open_ns"][0] + 15 * SECOND, rows["close_ns"][-1], 15 * SECOND)
    at = np.searchsorted(inputs.signals.close_ns, asked_ns, side="right") - 1
    often = replace(inputs.signals, decide_ns=asked_ns, decide_bar=at, cutoff_ns=asked_ns)
    late = np.zeros((len(asked_ns), 1), bool)
    inputs = replace(inputs, bars=replace(bars, **rows), signals=often, first=0, late=late)
    spec = settled(spec, inputs)
    prepared = prepare_run(spec, inputs)
    desk = new_desk(spec)
    execute(desk, prepared)
    asked = int((~prepared.tape["states"].any(axis=1)).sum())
    assert asked > 50_000 and desk.account["errors"] == asked
    assert (desk.events["kind"] == desk.events["kind"][0]).sum() == asked
