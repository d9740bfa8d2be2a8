"""The look-ahead probe: passes what is causal, flags what isn't."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.bias import probe
from backtest.load import RunInputs
from backtest.run import Prepared, prepare_run
from backtest.spec import RunSpec
from data.store import Store
from signals import EMA, Level
from signals.inputs import MetricTape
from signals.own import Bars, OwnSignal
from strategies.base import Strategy
from strategies.load import SHIPPED
from tests.backtest.oracles.sampled import Everything, inputs_of, sampled, shipped, spec_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A stretch of the sample."""
    return sampled(tmp_path_factory.mktemp("bias"), hours=700)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_strategy_passes(name: str, store: Store, tmp_path: Path) -> None:
    """No decision of theirs sees its future."""
    strategy = shipped(name, tmp_path)
    spec = spec_of(strategy, market="perp" if strategy.short else "spot")
    report = probe(spec, inputs_of(store, spec), cuts=2)
    assert report.clean, str(report)
    assert report.decisions > 200 and "no look-ahead" in str(report)


@pytest.mark.parametrize("decide_on", ["bar", "facts"])
def test_price_mood_and_metric_together_pass(decide_on: str, store: Store) -> None:
    """With stops, decided at closes or also as facts arrive."""
    spec = spec_of(Everything(), decide_on=decide_on, every_ns=1800 * 10**9)
    inputs = inputs_of(store, spec)
    report = probe(spec, inputs, cuts=3)
    assert report.clean, str(report)
    assert report.decisions > (300 if decide_on == "bar" else 600)


class NextBar(OwnSignal):
    """How much the next bar will gain: a leak."""

    def start(self, symbol: str) -> Any:
        return {"last": float("nan")}

    def step(self, memory: Any, fact: Any) -> None:
        memory["last"] = fact.close

    def value(self, memory: Any, now_ns: int) -> float:
        return 0.0

    def over(self, symbol: str, bars: Bars) -> Any:
        return np.r_[bars.close[1:] / bars.close[:-1] - 1.0, 0.0]


class Prophet(Strategy):
    """Buys before it rises."""

    slow = EMA(5)
    gain = NextBar()

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """All in, just in time."""
        return 0.2 if s.gain > 0.0 else 0.0


class Index(Strategy):
    """Follows a published figure."""

    index = Level("stablecoin_supply", coin="*", max_age="9d")

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """The more there is the more."""
        return 0.3 * s.index / (abs(s.index) + 1e9)


def test_a_signal_that_reads_the_next_bar_is_flagged(store: Store) -> None:
    """By name, with the decision at the cut."""
    spec = spec_of(Prophet())
    report = probe(spec, inputs_of(store, spec), cuts=3)
    assert not report.clean and "LOOK-AHEAD" in str(report)
    assert {leak.signal for leak in report.leaks} == {"gain"}
    assert {leak.way for leak in report.leaks} == {"garbled", "deleted"}
    assert all(leak.decide_ns == leak.cut_ns for leak in report.leaks)


def by_event_time(spec: RunSpec, inputs: RunInputs) -> Prepared:
    """A pipeline that joins metrics by when they happened instead of by when they were known."""
    metrics = {}
    for name, tape in inputs.signals.metrics.items():
        order = np.argsort(tape.event_ns, kind="stable")
        columns = {key: column[order] for key, column in vars(tape).items()}
        metrics[name] = MetricTape(**{**columns, "known_ns": columns["event_ns"]})
    return prepare_run(spec, replace(inputs, signals=replace(inputs.signals, metrics=metrics)))


def test_a_metric_joined_by_event_time_is_flagged(store: Store) -> None:
    """The supply of a day is known hours after it: joined by the day, it is seen early."""
    spec = spec_of(Index())
    inputs = inputs_of(store, spec)
    assert probe(spec, inputs, cuts=2).clean
    report = probe(spec, inputs, cuts=2, prepare=by_event_time)
    assert not report.clean and {leak.signal for leak in report.leaks} == {"index"}
    assert all(leak.decide_ns <= leak.cut_ns for leak in report.leaks)


def test_the_probe_is_repeatable(store: Store) -> None:
    """Same seed, same report; another seed, other cuts."""
    spec = spec_of(Prophet())
    inputs = inputs_of(store, spec)
    first, again, other = (probe(spec, inputs, cuts=2, seed=seed) for seed in (4, 4, 5))
    assert first == again and {leak.cut_ns for leak in first.leaks} != {leak.cut_ns for leak in other.leaks}
