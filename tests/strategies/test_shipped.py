"""Each shipped strategy: compiles, gives the same weights in Python, and says what its docstring says."""

import math
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from signals import evaluate
from signals.inputs import of_closes
from strategies.base import Strategy
from strategies.load import SHIPPED, load_class, load_strategy

HOUSE = Path(__file__).resolve().parents[2]
FILES = sorted(set(SHIPPED) - {"weights"})


def made(name: str, folder: Path, **values: Any) -> Strategy:
    """A shipped strategy; the one from a file gets one."""
    if name != "weights":
        return load_strategy(name, values)
    file = folder / "targets.csv"
    file.write_text("time,symbol,weight\n1970-01-01T01:00Z,BTC/USDT,0.4\n1970-01-01T02:00Z,BTC/USDT,-1.5\n")
    return load_strategy(str(file), values)


def rows_of(strategy: Strategy, *rows: dict[str, float]) -> Any:
    """Records of signal values over symbols."""
    records = np.zeros(len(rows), strategy.row_dtype)
    for record, row in zip(records, rows, strict=True):
        for name, value in row.items():
            record[name] = value
    return records


def weights_of(strategy: Strategy, *rows: dict[str, float]) -> list[float]:
    """What the function says in Python, one weight per symbol."""
    records = rows_of(strategy, *rows).view(np.recarray)
    params = strategy.param_record().view(np.recarray)[0]
    if strategy.form == "allocate":
        return [float(weight) for weight in strategy.function(records, params)]
    return [float(strategy.function(record, params)) for record in records]


@pytest.mark.parametrize("name", SHIPPED)
def test_compiled_and_in_python_it_says_the_same(name: str, tmp_path: Path) -> None:
    strategy = made(name, tmp_path)
    rng = np.random.default_rng(7)
    compiled = numba.njit(strategy.function)
    params = strategy.param_record()[0]
    for _ in range(20):
        rows = [{key: float(rng.normal(0, 0.5)) for key in strategy.row_dtype.names or ()} for _ in range(4)]
        for row in rows:
            row["held"] = max(row["held"], 0.0)
        records = rows_of(strategy, *rows)
        found = (
            compiled(records, params)
            if strategy.form == "allocate"
            else [compiled(record, params) for record in records]
        )
        np.testing.assert_array_equal(found, weights_of(strategy, *rows))


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_short_and_says_in_one_sentence_what_it_does(name: str) -> None:
    cls = load_class(name)
    module = cls.__module__.replace(".", "/")
    lines = (HOUSE / f"{module}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert cls.summary()[-1] == "."
    assert cls.summary().count(". ") == 0


def test_buy_and_hold_buys_once_and_lets_it_drift() -> None:
    strategy = load_strategy("buy-and-hold", {"share": 0.9})
    assert weights_of(strategy, {}, {}, {}) == pytest.approx([0.3, 0.3, 0.3])
    assert weights_of(strategy, {"held": 0.5}, {"held": 0.2}, {}) == pytest.approx([0.5, 0.2, 0.2])
    assert weights_of(strategy, {"held": 0.8}, {"held": 0.4}, {}) == [0.8, 0.4, 0.0]


def test_ema_cross() -> None:
    strategy = load_strategy("ema-cross", {"weight": 0.5})
    assert weights_of(strategy, {"fast": 2.0, "slow": 1.0}, {"fast": 1.0, "slow": 1.0}) == [0.5, 0.0]


def test_mood_momentum_enters_and_leaves_at_two_thresholds() -> None:
    strategy = load_strategy("mood-momentum")
    calm = {"mood": 0.1, "momentum": 0.02}
    assert weights_of(strategy, calm, calm | {"held": 0.2}) == [0.0, 0.25]
    assert weights_of(strategy, calm | {"mood": 0.2}, calm | {"mood": 0.9, "momentum": -0.01, "held": 0.2}) == [
        0.25,
        0.0,
    ]


def test_mood_flow_enters_and_leaves_at_two_thresholds() -> None:
    strategy = load_strategy("mood-flow")
    middling = {"mood": 0.2, "flow": 0.0}
    assert weights_of(strategy, middling, middling | {"held": 0.3}) == [0.0, 0.2]
    assert weights_of(strategy, {"mood": 0.4, "flow": 2.0}, {"mood": 0.9, "flow": -3.0}) == [0.0, 1.0]


def test_fear_greed_buys_fear_and_sells_greed() -> None:
    strategy = load_strategy("fear-greed")
    found = weights_of(
        strategy, {"index": 20.0}, {"index": 40.0}, {"index": 40.0, "held": 0.2}, {"index": 70.0, "held": 0.2}
    )
    assert found == [0.25, 0.0, 0.25, 0.0]


moods = st.lists(st.tuples(st.floats(-1, 1), st.booleans()), min_size=1, max_size=8)


@given(rows=moods)
def test_mood_rank_holds_the_best_and_no_more_than_it_may(rows: list[tuple[float, bool]]) -> None:
    strategy = load_strategy("mood-rank", {"top": 3})
    found = weights_of(strategy, *({"mood": mood, "held": 0.2 * held} for mood, held in rows))
    ranks = [mood + 0.03 * held for mood, held in rows]
    wanted = min(sum(rank > 0.05 for rank in ranks), 3)
    assert sum(weight > 0 for weight in found) == wanted
    assert sum(found) <= 0.8 + 1e-12
    taken = [rank for rank, weight in zip(ranks, found, strict=True) if weight > 0]
    left = [rank for rank, weight in zip(ranks, found, strict=True) if weight == 0 and rank > 0.05]
    assert not left or min(taken) >= max(left)


def test_weights_from_a_file(tmp_path: Path) -> None:
    strategy = made("weights", tmp_path)
    rows, _ = evaluate(strategy.signals, of_closes([1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(rows[:, 0, 0], [0.4, -1.5, -1.5])
    assert weights_of(strategy, {"target": -1.5}) == [-1.5]
    assert strategy.short
    assert repr(strategy) == f"Weights({str(tmp_path / 'targets.csv')!r})"
    assert repr(made("weights", tmp_path, max_age="1d")).endswith("max_age='1d')")
    assert list(load_strategy(f"weights:{tmp_path / 'targets.csv'}").signals) == ["target"]
    before = strategy.identity()
    (tmp_path / "targets.csv").write_text("time,symbol,weight\n1970-01-01T01:00Z,BTC/USDT,0.3\n")
    changed = load_strategy(str(tmp_path / "targets.csv"))
    assert changed.identity() != before
    assert not changed.short  # no weight in it is below 0


def test_weights_need_a_good_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weights:targets.csv"):
        load_strategy("weights")
    with pytest.raises(InputError, match="can't be read"):
        load_strategy(str(tmp_path / "none.parquet"))
    (tmp_path / "far.csv").write_text("time,symbol,weight\n2024-01-01,BTC/USDT,250\n")
    with pytest.raises(InputError, match="from -20 to 20"):
        load_strategy(str(tmp_path / "far.csv"))
    with pytest.raises(InputError, match="no such parameter"):
        load_strategy(str(made("weights", tmp_path)._file), {"entry": 1})  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FILES)
def test_its_defaults_can_be_set_again(name: str) -> None:
    strategy = load_strategy(name)
    again = load_strategy(name, dict(strategy.params))
    assert (repr(again), again.identity()) == (repr(strategy), strategy.identity())
    assert not any(math.isnan(value) for value in strategy.params.values())
