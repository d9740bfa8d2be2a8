"""How signals are declared, bound and printed; what inputs have to be; every example in the docstrings."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from signals import EMA, RSI, Close, Inputs, MetricTape, Mood, SentimentTape, Stream, Technical, ZScore, evaluate
from signals.inputs import of_closes
from signals.ops import SIGNALS_MAX
from strategies.base import Param

HOUR_NS = 3_600_000_000_000
HOUSE = Path(__file__).resolve().parents[2]
MODULES = ("inputs", "metric", "mood", "own", "price", "signal", "stream", "technical")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings(name: str) -> None:
    module = importlib.import_module(f"signals.{name}")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    if name in ("metric", "mood", "price"):  # one for each signal, at the least
        classes = [value for key, value in vars(module).items() if key[0].isalpha() and isinstance(value, type)]
        own = [cls for cls in classes if cls.__module__ == module.__name__]
        assert all(">>>" in (cls.__doc__ or "") for cls in own)
        assert result.attempted >= len(own)


def test_declaring_signals_loads_nothing_heavy() -> None:
    code = (
        "import sys; from signals import Mood, ZScore, EMA, Level; EMA(20), Mood('6h'), ZScore('flow', '7d');"
        "print(sorted({'numba', 'pandas', 'numpy', 'ta', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_param_stands_for_a_number_until_it_is_bound() -> None:
    window, other = Param(20, integer=True), Param(20, integer=True)
    signal = EMA(window)
    assert not signal.is_bound
    bound = signal.bind({window: 30, other: 5})  # told by identity: equal Params aren't the same
    assert bound.is_bound
    assert bound.window == 30
    assert repr(bound) == "EMA(30)"
    half_life = Param(6.0)
    assert Mood(half_life).bind({half_life: 0.5}).half_life_ns == HOUR_NS // 2
    technical = Technical("RSIIndicator", window=window).bind({window: 9})
    assert technical.chosen == {"window": 9}
    with pytest.raises(InputError, match="fast.*no value yet"):
        evaluate({"fast": signal}, of_closes([1.0]))
    with pytest.raises(InputError, match=r"EMA\.window"):
        signal.bind({window: 0})


@pytest.mark.parametrize(
    "text",
    [
        "EMA(20)",
        "EMA(20, column='open', on='4h')",
        "RSI()",
        "Mood()",
        "Mood('3h', prior=0.5, coin='*')",
        "ZScore('exchange_netflow', '7d')",
        "ZScore('close', 48, seen=(-3, 3))",
        "Technical('MACD', output='macd_diff', window_slow=30)",
        "Close(on='1d')",
    ],
)
def test_what_is_printed_is_what_one_would_type(text: str) -> None:
    names = {"EMA": EMA, "RSI": RSI, "Mood": Mood, "ZScore": ZScore, "Technical": Technical, "Close": Close}
    signal = eval(text, names)
    assert repr(signal) == text
    assert eval(repr(signal), names) == signal
    assert hash(eval(repr(signal), names)) == hash(signal)


def test_rows_are_laid_out_as_declared() -> None:
    inputs = of_closes([2.0, 4.0])
    rows, states = evaluate({"b": Close(), "a": EMA(1)}, inputs)
    assert rows.shape == (2, 1, 3)
    assert rows.flags.c_contiguous
    assert states.dtype == np.uint8
    np.testing.assert_array_equal(rows[1, 0], [4.0, 4.0, 0.0])
    out = np.full((2, 1, 3), 9.0)
    assert evaluate({"b": Close(), "a": EMA(1)}, inputs, out=out)[0] is out
    np.testing.assert_array_equal(out, rows)
    with pytest.raises(InputError, match="out"):
        evaluate({"b": Close()}, inputs, out=out)


def test_no_signals_and_no_bars() -> None:
    rows, states = evaluate({}, of_closes([1.0, 2.0]))
    assert rows.shape == (2, 1, 1)
    assert not states.any()
    rows, states = evaluate({"it": EMA(3), "mood": Mood()}, of_closes([]))
    assert rows.shape == (0, 1, 3)
    assert Stream({}, ("A/B",), ("A",), HOUR_NS).read(5)[1].tolist() == [6]


def test_too_many_signals() -> None:
    with pytest.raises(InputError, match=f"more than {SIGNALS_MAX}"):
        evaluate({f"s{i}": Close() for i in range(SIGNALS_MAX + 1)}, of_closes([1.0]))


def test_a_decision_that_looks_ahead_is_refused() -> None:
    closes = of_closes([1.0, 2.0, 3.0])
    columns = {name: getattr(closes, name) for name in ("open", "high", "low", "close", "volume")}

    def inputs(now: list[int], bar: list[int]) -> Inputs:
        return Inputs(
            ("A/B",), ("A",), HOUR_NS, closes.close_ns, **columns,
            decide_ns=np.array(now) * HOUR_NS, decide_bar=np.array(bar), cutoff_ns=np.array(now) * HOUR_NS,
        )  # fmt: skip

    for now, bar in (([1, 2], [1, 1]), ([1, 2], [0, 3]), ([2, 1], [0, 0]), ([2, 3], [1, 0]), ([1, 2], [-2, 0])):
        with pytest.raises(InputError, match="decide_bar"):
            evaluate({"it": Close()}, inputs(now, bar))
    assert evaluate({"it": Close()}, inputs([1, 2], [0, 1]))[0][1, 0, 0] == 2.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"close": np.ones((2, 2))}, "close.*shape"),
        ({"cutoff_ns": np.zeros(1)}, "decide_ns"),
        ({"coins": ("A", "A")}, "coins"),
        ({"coins": ()}, "coins"),
    ],
)
def test_inputs_that_do_not_fit_together(change: dict[str, Any], said: str) -> None:
    closes = of_closes([1.0, 2.0])
    names = (
        "symbols",
        "coins",
        "bar_ns",
        "close_ns",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "decide_ns",
        "decide_bar",
        "cutoff_ns",
    )
    with pytest.raises(InputError, match=said):
        Inputs(**{name: getattr(closes, name) for name in names} | change)


def test_tapes_that_do_not_fit_together() -> None:
    with pytest.raises(InputError, match=r"sorted by known_ns"):
        MetricTape([0, 0], [1, 2], [2, 1], [1.0, 2.0], [0, 0])
    with pytest.raises(InputError, match="differ in length"):
        SentimentTape([0], [1], [1], [0.5], [1.0, 2.0], [0], [0], [0])
    stray = MetricTape([1], [1], [1], [1.0], [0])
    with pytest.raises(InputError, match=r"flow\.coin"):
        of_closes([1.0], metrics={"flow": stray})
    assert len(SentimentTape.empty()) == len(MetricTape.empty()) == 0


def test_arrays_that_may_not_be_written_are_taken_too() -> None:
    close = np.ones((3, 1))
    close.flags.writeable = False
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), close)
    inputs = Inputs.at_closes(("A/B",), ("A",), HOUR_NS, (1 + np.arange(3)) * HOUR_NS, columns, delay_ns=7)
    assert evaluate({"it": EMA(2)}, inputs)[0][2, 0, 0] == 1.0
    assert (inputs.cutoff_ns - inputs.decide_ns == 7).all()
