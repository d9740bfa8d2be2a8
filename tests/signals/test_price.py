"""Bar signals against plain Python and pandas; holes, silences, coarser bars."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.errors import InputError
from signals import ATR, EMA, RSI, SMA, Close, Donchian, Inputs, Momentum, Signal, Volatility, ZScore, evaluate
from signals.inputs import of_closes
from signals.ops import NO_BAR, NOT_FINITE, OK, SUSPECT, WARMING

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS


def bars(size: int = 300, seed: int = 3) -> dict[str, Any]:
    """Prices of one symbol, a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, size)))
    open_ = close * (1 + rng.normal(0, 0.01, size))
    high = np.maximum(open_, close) * (1 + abs(rng.normal(0, 0.01, size)))
    low = np.minimum(open_, close) * (1 - abs(rng.normal(0, 0.01, size)))
    return {"open": open_, "high": high, "low": low, "close": close, "volume": rng.lognormal(2, 1, size)}


def inputs_of(prices: dict[str, Any], *, bar_ns: int = HOUR_NS, start_ns: int = 0) -> Inputs:
    """Inputs of one symbol that decides at its closes."""
    close_ns = start_ns + (1 + np.arange(len(prices["close"]))) * bar_ns
    columns = {name: column.reshape(-1, 1) for name, column in prices.items()}
    return Inputs.at_closes(("BTC/USDT",), ("BTC",), bar_ns, close_ns, columns)


def values(signal: Signal, inputs: Inputs) -> Any:
    """Its values at every decision, f8[d]."""
    return evaluate({"it": signal}, inputs)[0][:, 0, 0]


def state(signal: Signal, inputs: Inputs) -> Any:
    """Its states at every decision, u1[d]."""
    return evaluate({"it": signal}, inputs)[1][:, 0]


# --- slow twins: one value from all closed bars so far ----------------------------------------------------------------


def slow_rsi(close: list[float], window: int) -> float:
    changes = [b - a for a, b in zip(close, close[1:], strict=False)]
    if len(changes) < window:
        return math.nan
    up = sum(max(c, 0) for c in changes[:window]) / window
    down = sum(max(-c, 0) for c in changes[:window]) / window
    for change in changes[window:]:
        up = (up * (window - 1) + max(change, 0)) / window
        down = (down * (window - 1) + max(-change, 0)) / window
    return 100 - 100 / (1 + up / down) if down else (100.0 if up else 50.0)


def slow_atr(prices: dict[str, Any], end: int, window: int) -> float:
    ranges = []
    for i in range(end):
        high, low = prices["high"][i], prices["low"][i]
        last = prices["close"][i - 1] if i else None
        ranges.append(high - low if last is None else max(high - low, abs(high - last), abs(low - last)))
    if len(ranges) < window:
        return math.nan
    average = sum(ranges[:window]) / window
    for wide in ranges[window:]:
        average = (average * (window - 1) + wide) / window
    return average


def slow_score(series: Any, i: int, window: int) -> float:
    past = series[max(i - window, 0) : i]
    return (series[i] - past.mean()) / past.std() if len(past) == window else math.nan


def slow_volatility(close: Any, i: int, window: int, bar_ns: int) -> float:
    if i < window:
        return math.nan
    returns = np.diff(np.log(close[i - window : i + 1]))
    return float(np.sqrt(np.mean(returns**2) * (365 * DAY_NS / bar_ns)))


def test_ema_and_sma_are_those_of_pandas() -> None:
    prices = bars()
    close = pd.Series(prices["close"])
    ema = close.ewm(span=20, adjust=False, min_periods=20).mean()
    np.testing.assert_allclose(values(EMA(20), inputs_of(prices)), ema, rtol=1e-13)
    np.testing.assert_allclose(values(SMA(20), inputs_of(prices)), close.rolling(20).mean(), rtol=1e-13)
    volume = pd.Series(prices["volume"]).rolling(7).mean()
    np.testing.assert_allclose(values(SMA(7, column="volume"), inputs_of(prices)), volume, rtol=1e-12)


def test_rsi_and_atr_are_wilders() -> None:
    prices = bars(60)
    inputs = inputs_of(prices)
    rsi = [slow_rsi(prices["close"][: i + 1].tolist(), 14) for i in range(60)]
    np.testing.assert_allclose(values(RSI(14), inputs), rsi, rtol=1e-12)
    atr = np.array([slow_atr(prices, i + 1, 9) for i in range(60)])
    np.testing.assert_allclose(values(ATR(9), inputs), atr, rtol=1e-12)
    np.testing.assert_allclose(values(ATR(9, relative=True), inputs), atr / prices["close"], rtol=1e-12)
    assert values(RSI(2), of_closes([5.0, 5.0, 5.0]))[2] == 50.0
    assert values(RSI(2), of_closes([5.0, 6.0, 7.0]))[2] == 100.0


def test_momentum_volatility_score_and_channel() -> None:
    prices = bars(400)
    close, inputs = prices["close"], inputs_of(prices)
    momentum = pd.Series(close).pct_change(13)
    np.testing.assert_allclose(values(Momentum(13), inputs), momentum, rtol=1e-10)
    volatility = [slow_volatility(close, i, 24, HOUR_NS) for i in range(400)]
    np.testing.assert_allclose(values(Volatility(24), inputs), volatility, rtol=1e-10)
    np.testing.assert_allclose(
        values(ZScore("close", 48), inputs), [slow_score(close, i, 48) for i in range(400)], rtol=1e-8
    )
    scores = [slow_score(prices["volume"], i, 24) for i in range(400)]
    np.testing.assert_allclose(values(ZScore("volume", "1d"), inputs), scores, rtol=1e-8)
    top = pd.Series(prices["high"]).rolling(20).max().shift(1)
    bottom = pd.Series(prices["low"]).rolling(20).min().shift(1)
    np.testing.assert_array_equal(values(Donchian(20, part="high"), inputs), top)
    np.testing.assert_array_equal(values(Donchian(20, part="low"), inputs), bottom)
    np.testing.assert_allclose(values(Donchian(20), inputs), (close - bottom) / (top - bottom), rtol=1e-12)


def test_the_moments_survive_a_storm_before_a_calm() -> None:
    """Sums that went through 1e9 would leave nothing of a deviation of 1e-3."""
    calm = 100 + 1e-3 * np.sin(np.arange(60))
    series = np.concatenate([[1e9, 3e9, 1e9], calm])
    found = values(ZScore("close", 8), of_closes(series.tolist()))
    expected = [slow_score(series, i, 8) for i in range(len(series))]
    np.testing.assert_allclose(found[12:], expected[12:], rtol=1e-6)


def test_a_window_in_which_nothing_moved() -> None:
    still = of_closes([7.0] * 6 + [8.0])
    found = values(ZScore("close", 3), still)
    assert found[5] == 0.0
    assert math.isnan(found[6])
    assert state(ZScore("close", 3), still)[6] == NOT_FINITE
    assert values(Donchian(3), still)[5] == 0.5


def test_warming_up_until_the_first_value() -> None:
    prices = bars(40)
    for signal, first in (
        (EMA(5), 4),
        (SMA(5), 4),
        (RSI(5), 5),
        (ATR(5), 4),
        (Momentum(5), 5),
        (ZScore("close", 5), 5),
    ):
        states = state(signal, inputs_of(prices))
        assert (states[:first] == WARMING).all(), signal
        assert (states[first:] == OK).all(), signal
        assert signal.lookback_bars == first + 1, signal


def test_a_missing_bar_is_skipped_and_holds_its_symbol() -> None:
    prices = bars(50)
    whole = values(EMA(5), inputs_of({name: np.delete(column, [20, 21]) for name, column in prices.items()}))
    for column in prices.values():
        column[[20, 21]] = np.nan
    inputs = inputs_of(prices)
    np.testing.assert_array_equal(np.delete(values(EMA(5), inputs), [20, 21]), whole)
    assert (state(EMA(5), inputs)[20:22] == NO_BAR).all()


def test_a_long_silence_starts_it_anew() -> None:
    prices = bars(60)
    for signal, size in ((EMA(5), 5), (SMA(5), 5), (Donchian(4), 5), (Volatility(4), 5)):
        gone = {name: column.copy() for name, column in prices.items()}
        for column in gone.values():
            column[20 : 20 + size] = np.nan
        assert state(signal, inputs_of(gone))[20 + size] == OK, signal  # as long as its window: still remembered
        for column in gone.values():
            column[20 : 21 + size] = np.nan
        after = inputs_of({name: column[21 + size :] for name, column in gone.items()})
        found = values(signal, inputs_of(gone))[21 + size :]
        np.testing.assert_array_equal(found, values(signal, after), err_msg=repr(signal))


def test_coarser_bars_count_when_they_have_closed() -> None:
    prices = bars(100)
    inputs = inputs_of(prices, start_ns=DAY_NS + 2 * HOUR_NS)  # in the middle of a four-hour bar
    frame = pd.DataFrame(prices, index=pd.to_datetime(inputs.close_ns))
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    coarse = frame.resample("4h", closed="right", label="right").agg(rules)
    coarse = coarse[coarse.index <= frame.index[-1]]
    for signal, expected in (
        (Close(on="4h"), coarse["close"]),
        (Close(column="volume", on="4h"), coarse["volume"]),
        (SMA(3, on="4h"), coarse["close"].rolling(3).mean()),
        (Donchian(3, part="high", on="4h"), coarse["high"].rolling(3).max().shift(1)),
    ):
        np.testing.assert_allclose(
            values(signal, inputs), expected.reindex(frame.index).ffill().to_numpy(), rtol=1e-12, err_msg=repr(signal)
        )


def test_a_coarser_bar_without_its_end_closes_with_the_next_bar() -> None:
    prices = {name: np.arange(1.0, 13.0) for name in ("open", "high", "low", "close", "volume")}
    for column in prices.values():
        column[3] = np.nan  # the bar that would end the first four hours
    found = values(Close(on="4h"), inputs_of(prices))
    np.testing.assert_array_equal(found[:4], [np.nan] * 4)
    np.testing.assert_array_equal(found[4:8], [3.0, 3.0, 3.0, 8.0])


def test_a_coarser_bar_that_never_was_is_stale() -> None:
    prices = {name: np.arange(1.0, 17.0) for name in ("open", "high", "low", "close", "volume")}
    for column in prices.values():
        column[4:8] = np.nan
    found = values(Close(on="4h"), inputs_of(prices))
    np.testing.assert_array_equal(found[[3, 8, 11]], [4.0, np.nan, 12.0])


def test_weeks_end_on_monday_at_midnight() -> None:
    prices = {name: np.arange(1.0, 22.0) for name in ("open", "high", "low", "close", "volume")}
    inputs = inputs_of(prices, bar_ns=DAY_NS)  # the epoch was a Thursday
    found = values(Close(on="1w"), inputs)
    assert found[3] == 4.0  # Thursday to Sunday
    assert found[10] == 11.0


def test_decisions_between_bars_see_the_last_closed_one() -> None:
    closes = of_closes([1.0, 2.0, 3.0])
    now = np.array([HOUR_NS // 2, HOUR_NS, HOUR_NS + 5, 3 * HOUR_NS - 1, 3 * HOUR_NS, 4 * HOUR_NS])
    bar = np.array([-1, 0, 0, 1, 2, 2])
    columns = {name: getattr(closes, name) for name in ("open", "high", "low", "close", "volume")}
    inputs = Inputs(("A/B",), ("A",), HOUR_NS, closes.close_ns, **columns, decide_ns=now, decide_bar=bar, cutoff_ns=now)
    rows, states = evaluate({"close": Close()}, inputs)
    np.testing.assert_array_equal(rows[:, 0, 0], [np.nan, 1.0, 1.0, 2.0, 3.0, np.nan])
    assert states[:, 0].tolist() == [NO_BAR, OK, OK, OK, OK, NO_BAR]  # an hour after the last close there is none


def test_values_outside_of_what_was_seen_are_suspect() -> None:
    rows, states = evaluate({"a": Close(), "b": Close(seen=(1.5, 2.5))}, of_closes([1.0, 2.0, 3.0]))
    assert states[:, 0].tolist() == [SUSPECT | 1 << 3, OK, SUSPECT | 1 << 3]
    np.testing.assert_array_equal(rows[:, 0, 1], [np.nan, 2.0, np.nan])


def test_a_price_without_its_volume_leaves_price_signals_alone() -> None:
    prices = bars(30)
    whole = values(EMA(5), inputs_of(prices))
    prices["volume"][10] = np.nan
    inputs = inputs_of(prices)
    np.testing.assert_array_equal(values(EMA(5), inputs), whole)
    found = values(SMA(3, column="volume"), inputs)
    assert state(SMA(3, column="volume"), inputs)[10] == NOT_FINITE
    np.testing.assert_allclose(found[12], np.mean(prices["volume"][[9, 11, 12]]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EMA(0), "EMA.window"),
        (lambda: EMA(2.5), "whole number"),
        (lambda: EMA("ten"), "EMA.window"),
        (lambda: SMA(3, column="mid"), "SMA.column = 'mid'"),
        (lambda: Donchian(3, part="middle"), "position, high, low"),
        (lambda: EMA(3, on="0h"), "EMA.on"),
        (lambda: EMA(3, seen=(2, 1)), "seen"),
        (lambda: ZScore("close", 1), "ZScore.window"),
        (lambda: ZScore("close", 5, coin="BTC"), "ZScore.coin"),
    ],
)
def test_what_a_signal_can_not_be(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_its_own_bar_is_a_multiple_of_the_runs() -> None:
    with pytest.raises(InputError, match=r"it\.on.*1h30m.*1h"):
        values(EMA(3, on="90m"), of_closes([1.0] * 5))
    with pytest.raises(InputError, match=r"ZScore\.window / bar"):
        values(ZScore("close", "90m"), of_closes([1.0] * 5))
