"""Signals written in Python by a user."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from signals import Inputs, MetricTape, OwnSignal, SentimentTape, Stream, evaluate
from signals.inputs import of_closes
from signals.ops import NOT_FINITE, OK, STALE, SUSPECT, WARMING

HOUR_NS = 3_600_000_000_000


class Diary(OwnSignal):
    """Writes down what it is told; its value is how much that was."""

    feeds = ("bar", "post", "metric")
    metrics = ("flow",)

    def __init__(self, *, max_age: Any = None, on: Any = None, seen: Any = None) -> None:
        self._declare(max_age=max_age, on=on, seen=seen)

    def start(self, symbol: str) -> dict[str, Any]:
        return {"symbol": symbol, "told": []}

    def step(self, memory: Any, fact: Any) -> None:
        memory["told"].append(fact)

    def value(self, memory: Any, now_ns: int) -> float:
        return float(len(memory["told"]))


def some_facts() -> Inputs:
    """Three bars, three posts (one a revision), and two observations of one of two metrics."""
    posts = SentimentTape(
        [0, -1, 0], [5, 6, 7], [HOUR_NS, HOUR_NS + 1, HOUR_NS + 2], [0.1] * 3, [1.0] * 3, [1] * 3, [2] * 3, [0, 0, 1]
    )
    flow = MetricTape([0, 1], [1, 2], [2 * HOUR_NS, 2 * HOUR_NS], [7.0, 8.0], [0, 0])
    metrics = {"flow": flow, "other": MetricTape([0], [1], [1], [1.0], [0])}
    closes = of_closes([1.0, 2.0, 3.0])
    return replace(closes, coins=("BTC", "ETH"), sentiment=posts, metrics=metrics)


def test_it_is_told_what_it_asked_for_in_the_order_in_which_it_was_known() -> None:
    memories: list[Any] = []

    class Kept(Diary):
        def start(self, symbol: str) -> dict[str, Any]:
            memories.append(super().start(symbol))
            return dict(memories[-1])

    rows, _ = evaluate({"diary": Kept()}, some_facts())
    assert rows[:, 0, 0].tolist() == [2.0, 5.0, 6.0]
    told = memories[0]["told"]
    assert [type(fact).__name__ for fact in told] == [
        "BarFact",
        "PostFact",
        "PostFact",
        "BarFact",
        "MetricFact",
        "BarFact",
    ]
    assert [getattr(fact, "coin", None) for fact in told[1:5]] == ["BTC", "*", None, "BTC"]
    assert told[4].value == 7.0
    assert memories[0]["symbol"] == "BTC/USDT"


def test_ages_ranges_and_coarser_bars() -> None:
    assert evaluate({"it": Diary(max_age="90m")}, some_facts())[1][:, 0].tolist() == [OK, STALE, STALE]
    assert evaluate({"it": Diary(seen=(0.0, 5.0))}, some_facts())[1][:, 0].tolist() == [OK, OK, SUSPECT]
    assert evaluate({"it": Diary(on="2h")}, some_facts())[0][:, 0, 0].tolist() == [1.0, 4.0, 4.0]


def test_no_value_yet_and_no_number() -> None:
    class Odd(OwnSignal):
        def value(self, memory: Any, now_ns: int) -> float:
            return (math.nan, math.inf, 1.0)[now_ns // HOUR_NS - 1]

        def step(self, memory: Any, fact: Any) -> None:
            pass

    rows, states = evaluate({"it": Odd()}, of_closes([1.0] * 3))
    assert states[:, 0].tolist() == [WARMING, NOT_FINITE, OK]
    np.testing.assert_array_equal(rows[:, 0, 0], [np.nan, np.nan, 1.0])


def test_a_silence_longer_than_its_lookback_starts_it_anew() -> None:
    class Three(Diary):
        feeds = ("bar",)

        @property
        def lookback_bars(self) -> int:
            return 2

    closes = of_closes([1.0, 1.0, 1.0, math.nan, math.nan, math.nan, 1.0, 1.0])
    assert evaluate({"it": Three()}, closes)[0][[2, 7], 0, 0].tolist() == [3.0, 2.0]
    assert evaluate({"it": Diary()}, closes)[0][7, 0, 0] == 5.0  # one without a lookback remembers


def test_a_batch_form_of_its_own_gives_what_steps_give() -> None:
    class Slope(OwnSignal):
        def start(self, symbol: str) -> dict[str, Any]:
            return {"last": math.nan, "slope": math.nan}

        def step(self, memory: Any, fact: Any) -> None:
            memory["slope"], memory["last"] = fact.close - memory["last"], fact.close

        def value(self, memory: Any, now_ns: int) -> float:
            return float(memory["slope"])

    class Quick(Slope):
        def over(self, symbol: str, bars: Any) -> Any:
            return np.diff(bars.close, prepend=np.nan)

    closes = of_closes([1.0, 2.0, math.nan, 5.0, 9.0])
    slow_rows, slow_states = evaluate({"it": Slope()}, closes)
    rows, states = evaluate({"it": Quick()}, closes)
    np.testing.assert_array_equal(rows, slow_rows)
    np.testing.assert_array_equal(states, slow_states)
    np.testing.assert_array_equal(rows[:, 0, 0], [np.nan, 1.0, np.nan, 3.0, 4.0])


def test_what_is_to_be_loaded_for_it() -> None:
    assert Diary().facts() == (("sentiment", "", None), ("sentiment", "", "*"), ("metrics", "flow", None))
    assert OwnSignal().facts() == ()


def test_a_signal_that_was_not_finished_says_so() -> None:
    with pytest.raises(NotImplementedError, match="OwnSignal has no step"):
        evaluate({"it": OwnSignal()}, of_closes([1.0]))


def test_a_snapshot_of_other_signals_is_refused() -> None:
    stream = Stream({"it": Diary()}, ("BTC/USDT",), ("BTC",), HOUR_NS)
    other = Stream({"it": Diary(max_age="1h")}, ("BTC/USDT",), ("BTC",), HOUR_NS)
    with pytest.raises(InputError, match="other signals, symbols or bars"):
        other.restore(stream.snapshot())


def test_bars_seen_before_and_bars_without_a_close_are_ignored() -> None:
    stream = Stream({"it": Diary()}, ("BTC/USDT",), ("BTC",), HOUR_NS)
    for close_ns, close in (
        (HOUR_NS, 1.0),
        (HOUR_NS, 9.0),
        (2 * HOUR_NS, math.nan),
        (2 * HOUR_NS, 3.0),
        (HOUR_NS, 4.0),
    ):
        stream.on_bar(0, close_ns, close, close, close, close, 1.0)
    assert stream.read(2 * HOUR_NS)[0][0, 0] == 2.0
