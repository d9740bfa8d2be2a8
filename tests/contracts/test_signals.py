"""The contract every signal passes: batch == stream bit for bit, causal, bounded memory, the same after a restart."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import signals
from signals import (
    ATR,
    EMA,
    RSI,
    SMA,
    Attention,
    Change,
    Close,
    Disagreement,
    Donchian,
    Given,
    Inputs,
    Level,
    Momentum,
    Mood,
    MoodAge,
    MoodChange,
    MoodNovelty,
    OwnSignal,
    Signal,
    Staleness,
    Stream,
    Technical,
    Volatility,
    ZScore,
    evaluate,
)
from signals.guard import OFF, GuardLimits, verdicts
from signals.ops import DUPLICATES, JUMP, NO_BAR, OK, STATE_BITS, SUSPECT, TRICKS
from signals.own import BarFact, MetricFact
from tests.contracts.worlds import HOUR_NS, START_NS, Shape, garbled, shapes, told, world


class LastThings(OwnSignal):
    """A user's signal that mixes all kinds of facts; the order in which it is told matters to its value."""

    feeds = ("bar", "post", "metric")
    metrics = ("flow",)

    def __init__(self, *, on: Any = None, max_age: Any = None) -> None:
        self._declare(on=on, max_age=max_age)

    def start(self, symbol: str) -> dict[str, Any]:
        return {"told": 1.0}

    def step(self, memory: Any, fact: Any) -> None:
        number = fact.close if isinstance(fact, BarFact) else fact.value if isinstance(fact, MetricFact) else fact.score
        if math.isfinite(number):
            memory["told"] = 0.5 * memory["told"] + number

    def value(self, memory: Any, now_ns: int) -> float:
        return float(memory["told"])


class Range(OwnSignal):
    """A user's signal over bars that needs three of them."""

    def __init__(self, *, on: Any = None) -> None:
        self._declare(on=on)

    @property
    def lookback_bars(self) -> int:
        return 3

    def start(self, symbol: str) -> dict[str, Any]:
        return {"closes": []}

    def step(self, memory: Any, fact: Any) -> None:
        memory["closes"] = [*memory["closes"], fact.close][-3:]

    def value(self, memory: Any, now_ns: int) -> float:
        return max(memory["closes"], default=math.nan) - min(memory["closes"], default=math.nan)


@pytest.fixture(scope="module")
def targets_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights that begins after the world does."""
    file = tmp_path_factory.mktemp("given") / "targets.csv"
    hours = [f"2024-01-01T{hour:02d}:30Z,{coin},{hour / 50}" for hour in (0, 5, 11) for coin in ("C0/USDT", "C1")]
    file.write_text("\n".join(["time,symbol,weight", *hours]))
    return file


def every(file: Path) -> dict[str, Signal]:
    """Every signal there is, in forms that matter; small windows, so that short worlds fill them."""
    return {
        "close": Close(),
        "volume": Close(column="volume"),
        "ema": EMA(5),
        "sma": SMA(4),
        "rsi": RSI(3),
        "momentum": Momentum(6),
        "volatility": Volatility(4),
        "score": ZScore("close", 6),
        "loud": ZScore("volume", "8h", on="2h"),
        "channel": Donchian(5, on="4h", part="low"),
        "mood": Mood("3h", seen=(-0.5, 0.5)),
        "market_mood": Mood("3h", coin="*", max_age="2h"),
        "other_mood": Mood("3h", coin="OTHER", prior=0.0),
        "turn": MoodChange("1h", against="9h"),
        "split": Disagreement("5h", min_weight=2.0),
        "attention": Attention("6h", every="1h"),
        "fresh": MoodNovelty("3h"),
        "mood_age": MoodAge(),
        "level": Level("flow"),
        "market_level": Level("gauge", coin="*", max_age="9h"),
        "change": Change("gauge", "6h", relative=True),
        "metric_score": ZScore("flow", "9h", least=2),
        "age": Staleness("flow", coin="C0"),
        "technical": Technical("SMAIndicator", window=3, lookback=4),
        "coarse": Technical("ROCIndicator", window=2, lookback=3, on="2h"),
        "given": Given(str(file), max_age="6h"),
        "own": LastThings(max_age="8h"),
        "own_bars": Range(on="3h"),
    }


# Worlds are small: with these a crowd of four is judged, and some are found out.
WATCHFUL = GuardLimits(posts=3, z=1.0, share=0.4, pause_ns=2 * HOUR_NS, jump=0.15)

MORE = {
    "weekly": EMA(1, on="1w"),
    "seen_ema": EMA(3, seen=(99.0, 101.0)),
    "coarse_sma": SMA(2, on="3h"),
    "range": ATR(3),
    "relative_range": ATR(3, relative=True),
    "top": Donchian(3, part="high"),
    "place": Donchian(2),
    "absent": Level("no_such_metric"),
    "unknown_coin": Mood(coin="NOWHERE"),
    "own_coarse": LastThings(on="2h"),
}


def test_every_signal_is_in_the_contract(targets_file: Path) -> None:
    public = {getattr(signals, name) for name in signals.__all__}
    classes = {value for value in public if isinstance(value, type) and issubclass(value, Signal)} - {Signal, OwnSignal}
    tested = {type(signal) for signal in (every(targets_file) | MORE).values()}
    assert classes <= tested


@settings(max_examples=50)
@given(shape=shapes, guard=st.sampled_from([OFF, WATCHFUL]))
def test_batch_is_stream_bit_for_bit(targets_file: Path, shape: Shape, guard: GuardLimits) -> None:
    inputs = world(shape)
    for bound in (every(targets_file), MORE):
        rows, states = evaluate(bound, inputs, guard=guard)
        live_rows, live_states = told(Stream(bound, inputs.symbols, inputs.coins, inputs.bar_ns, guard=guard), inputs)
        for j, name in enumerate(bound):
            np.testing.assert_array_equal(rows[:, :, j], live_rows[:, :, j], err_msg=name)
        np.testing.assert_array_equal(states, live_states)


@settings(max_examples=20)
@given(shape=shapes, at=st.floats(0, 1), seed=st.integers(0, 99))
def test_nothing_later_changes_anything_earlier(targets_file: Path, shape: Shape, at: float, seed: int) -> None:
    inputs = world(shape)
    cut_ns = START_NS + int(at * (shape.bars + 1) * HOUR_NS)
    other = garbled(inputs, cut_ns, seed)
    before = inputs.cutoff_ns <= cut_ns
    for bound in (every(targets_file), MORE):
        rows, states = evaluate(bound, inputs, guard=WATCHFUL)
        other_rows, other_states = evaluate(bound, other, guard=WATCHFUL)
        np.testing.assert_array_equal(rows[before], other_rows[before])
        np.testing.assert_array_equal(states[before], other_states[before])


@settings(max_examples=8)
@given(shape=shapes)
def test_a_snapshot_goes_on_as_if_nothing_happened(targets_file: Path, shape: Shape) -> None:
    inputs = world(shape)
    bound = every(targets_file)

    def restarted(i: int, stream: Stream) -> Stream:
        if i % 7 != 3:
            return stream
        fresh = Stream(bound, inputs.symbols, inputs.coins, inputs.bar_ns, guard=WATCHFUL)
        fresh.restore(stream.snapshot())
        return fresh

    begun = Stream(bound, inputs.symbols, inputs.coins, inputs.bar_ns, guard=WATCHFUL)
    rows, states = told(begun, inputs, restarted)
    expected, expected_states = evaluate(bound, inputs, guard=WATCHFUL)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(states, expected_states)


def test_a_snapshot_stays_what_it_was(targets_file: Path) -> None:
    bound = every(targets_file)
    inputs = world(Shape(seed=3, bars=30))
    stream = Stream(bound, inputs.symbols, inputs.coins, inputs.bar_ns)
    told(stream, inputs)
    now_ns = int(inputs.decide_ns[-1])
    snapshot, before = stream.snapshot(), stream.read(now_ns)
    for k in range(2):
        stream.on_bar(k, now_ns + HOUR_NS, 1.0, 1.0, 1.0, 1.0, 1.0)
        stream.on_sentiment(k, now_ns, now_ns, 1.0, 99.0)
        stream.on_metric("flow", k, now_ns + 1, now_ns + 1, 99.0)
    restored = Stream(bound, inputs.symbols, inputs.coins, inputs.bar_ns)
    restored.restore(snapshot)
    np.testing.assert_array_equal(restored.read(now_ns)[0], before[0])
    np.testing.assert_array_equal(restored.read(now_ns)[1], before[1])
    assert not np.array_equal(stream.read(now_ns + HOUR_NS)[0], before[0], equal_nan=True)


def test_reading_changes_nothing(targets_file: Path) -> None:
    inputs = world(Shape(seed=5, missing=0.05))
    bound = every(targets_file)

    def nosy(i: int, stream: Stream) -> Stream:
        for ahead_ns in (0, HOUR_NS // 2, 40 * HOUR_NS):
            stream.read(int(inputs.decide_ns[i]) + ahead_ns)
        return stream

    rows, _ = told(Stream(bound, inputs.symbols, inputs.coins, inputs.bar_ns), inputs, nosy)
    np.testing.assert_array_equal(rows, evaluate(bound, inputs)[0])


def test_the_worlds_are_wild_enough_for_the_guard(targets_file: Path) -> None:
    inputs = world(Shape(seed=8, bars=70, symbols=3, facts=200))
    _, states = evaluate({"mood": Mood("3h")}, inputs)
    _, watched = evaluate({"mood": Mood("3h")}, inputs, guard=WATCHFUL)
    assert not (states == SUSPECT).any()
    assert 0.1 < (watched == SUSPECT).mean() < 0.9
    why = set(verdicts(inputs, WATCHFUL).why.tolist())
    assert {DUPLICATES, TRICKS, JUMP} <= why


def test_states_and_values_agree(targets_file: Path) -> None:
    inputs = world(Shape(seed=8, bars=70, symbols=3, missing=0.1, facts=200))
    for bound in (every(targets_file), MORE):
        rows, states = evaluate(bound, inputs, guard=WATCHFUL)
        assert not rows[:, :, -1].any()  # the weight held is the loop's to write
        finite = np.isfinite(rows[:, :, :-1])
        np.testing.assert_array_equal(finite.all(axis=2), states == OK)
        first = np.where(finite.all(axis=2) | (states == NO_BAR), 0, np.argmax(~finite, axis=2))
        np.testing.assert_array_equal(states >> STATE_BITS, first)
        if "close" in bound:  # what the last bar was is known whenever there was one
            np.testing.assert_array_equal(np.isnan(rows[:, :, 0]), states == NO_BAR)


def sizes_of(stream: Stream) -> int:
    """Bytes and list items of all state."""

    def size(thing: Any) -> int:
        if isinstance(thing, np.ndarray):
            return thing.nbytes
        if isinstance(thing, dict):
            return sum(size(value) for value in thing.values())
        return sum(size(value) for value in thing) if isinstance(thing, list | tuple) else 8

    return size(stream.snapshot())


def test_memory_is_bounded(targets_file: Path) -> None:
    bound = every(targets_file) | {"score_of_many": ZScore("flow", "2d")}
    stream = Stream(bound, ("C0/USDT",), ("C0", "OTHER"), HOUR_NS)
    sizes = []
    for bar in range(600):
        close_ns = START_NS + (bar + 1) * HOUR_NS
        stream.on_bar(0, close_ns, 100.0, 101.0, 99.0, 100.0 + bar % 7, 5.0)
        for step in range(3):
            at_ns = close_ns + step * HOUR_NS // 3
            stream.on_sentiment(0, at_ns, at_ns, 0.1 * step, 1.0)
            stream.on_metric("flow", 0, at_ns, at_ns, float(step))
        stream.read(close_ns)
        sizes.append(sizes_of(stream))
    assert max(sizes[100:]) == max(sizes[:100])  # ten days on, not a byte more than after the first four


def test_as_many_symbols_as_one() -> None:
    """A symbol's values don't depend on which others are in the run."""
    inputs = world(Shape(seed=11, symbols=3, missing=0.05))
    rows, states = evaluate(MORE, inputs)
    for k in range(3):
        alone = Inputs(
            symbols=inputs.symbols[k : k + 1],
            coins=inputs.coins[k : k + 1],
            bar_ns=inputs.bar_ns,
            close_ns=inputs.close_ns,
            **{name: getattr(inputs, name)[:, k : k + 1] for name in ("open", "high", "low", "close", "volume")},
            decide_ns=inputs.decide_ns,
            decide_bar=inputs.decide_bar,
            cutoff_ns=inputs.cutoff_ns,
        )
        bars_only = {name: signal for name, signal in MORE.items() if signal.kind == "bar"}
        mine, _ = evaluate(bars_only, alone)
        places = [list(MORE).index(name) for name in bars_only]
        np.testing.assert_array_equal(mine[:, 0, :-1], rows[:, k, places])
    assert states.shape == (60, 3)
