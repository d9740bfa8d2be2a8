"""Every indicator class of `ta`: the same in batch and live, nothing from later bars, as long a memory as it needs."""

import inspect
import math
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from signals import Stream, Technical, evaluate
from signals.inputs import Inputs
from signals.ops import NOT_FINITE, OK, WARMING
from signals.own import BarFact, Bars
from signals.technical import CUMULATES, classes, outputs_of, settings_of

HOUR_NS = 3_600_000_000_000
START_NS = 1_704_067_200_000_000_000
LOOKBACK = 130  # bars; enough for the rows that ta fills in, not for every memory
NAMES = sorted(set(classes()) - set(CUMULATES))


def made(size: int, seed: int = 2, start_ns: int = START_NS) -> Bars:
    """Hourly bars of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, size)))
    open_ = close * (1 + rng.normal(0, 0.004, size))
    high = np.maximum(open_, close) * (1 + abs(rng.normal(0, 0.003, size)))
    low = np.minimum(open_, close) * (1 - abs(rng.normal(0, 0.003, size)))
    close_ns = start_ns + (1 + np.arange(size)) * HOUR_NS
    return Bars(close_ns, open_, high, low, close, rng.lognormal(3, 1, size))


def inputs_of(bars: Bars) -> Inputs:
    """Inputs of one symbol that decides at its closes."""
    columns = {name: getattr(bars, name).reshape(-1, 1) for name in ("open", "high", "low", "close", "volume")}
    return Inputs.at_closes(("BTC/USDT",), ("BTC",), HOUR_NS, bars.close_ns, columns)


def needed(name: str) -> dict[str, Any]:
    """Settings that have no default."""
    return {key: 14 for key, value in settings_of(name).items() if value is inspect.Parameter.empty}


def facts(bars: Bars) -> list[BarFact]:
    columns = (bars.close_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return [BarFact(int(row[0]), *(float(x) for x in row[1:])) for row in zip(*columns, strict=True)]


def test_the_classes_are_those_that_were_looked_at() -> None:
    assert len(classes()) == 43
    assert {"RSIIndicator", "PSARIndicator", "KSTIndicator", "IchimokuIndicator"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_live_gives_what_the_batch_gives(name: str) -> None:
    bars = made(LOOKBACK + 50)
    told = facts(bars)
    watched = [*range(LOOKBACK - 1, LOOKBACK + 2), 143, 144, 167, 168, len(bars) - 1]  # days end at 143 and 167
    for output in outputs_of(name):
        signal = Technical(name, output=output, lookback=LOOKBACK, **needed(name))
        batch = signal.by_days(bars, LOOKBACK)
        memory = signal.start("BTC/USDT")
        for i, fact in enumerate(told):
            signal.step(memory, fact)
            if i in watched:
                np.testing.assert_array_equal(signal.value(memory, fact.close_ns), batch[i], err_msg=f"{output} {i}")
        assert np.isnan(batch[:LOOKBACK]).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_value_is_made_of_later_bars(name: str) -> None:
    bars = made(LOOKBACK + 60)
    other = made(LOOKBACK + 60, seed=9)
    for output in outputs_of(name):
        signal = Technical(name, output=output, lookback=LOOKBACK, **needed(name))
        known = signal.by_days(bars, LOOKBACK)
        assert np.isfinite(known[LOOKBACK:]).any(), output
        for cut in (LOOKBACK + 5, LOOKBACK + 20, LOOKBACK + 41):
            columns = (
                np.concatenate([getattr(bars, column)[:cut], 3 * getattr(other, column)[cut:]])
                for column in ("open", "high", "low", "close", "volume")
            )
            garbled = signal.by_days(Bars(bars.close_ns, *columns), LOOKBACK)
            np.testing.assert_array_equal(garbled[:cut], known[:cut], err_msg=output)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"PSARIndicator", "WMAIndicator"}))  # slow in ta, and tested below
def test_the_default_lookback_would_do(name: str) -> None:
    output = outputs_of(name)[0]
    signal = Technical(name, output=output, **needed(name))
    bars = made(signal.lookback + 80)
    found = signal.over("BTC/USDT", bars)  # compares with the whole history
    whole = signal.compute(bars)
    np.testing.assert_allclose(found[signal.lookback :], whole[signal.lookback :], rtol=1e-5, atol=1e-7)


def test_a_lookback_that_is_too_short_is_refused_with_one_that_would_do() -> None:
    inputs = inputs_of(made(1500))
    with pytest.raises(InputError, match=r"RSIIndicator of BTC/USDT differs.*Use lookback=320") as caught:
        evaluate({"it": Technical("RSIIndicator", window=14, lookback=20)}, inputs)
    assert (caught.value.key, caught.value.value) == ("lookback", 20)
    rows, _ = evaluate({"it": Technical("RSIIndicator", window=14, lookback=320)}, inputs)
    assert np.isfinite(rows[320:, 0, 0]).all()
    with pytest.raises(InputError, match="None up to"):
        evaluate({"it": Technical("EMAIndicator", window=2000, lookback=50)}, inputs_of(made(6000)))


def test_psar_is_that_of_ta_over_a_plain_index() -> None:
    import ta.trend

    bars = made(220)
    columns = {name: __import__("pandas").Series(getattr(bars, name)) for name in ("high", "low", "close")}
    whole = ta.trend.PSARIndicator(**columns).psar().to_numpy()
    found = Technical("PSARIndicator", output="psar", lookback=120).over("BTC/USDT", bars)
    np.testing.assert_allclose(found[120:], whole[120:], rtol=1e-6)


def test_states_warm_up_and_miss_what_ta_leaves_out() -> None:
    inputs = inputs_of(made(220))
    bound = {"up": Technical("PSARIndicator", output="psar_up", lookback=120)}  # only while it points up
    rows, states = evaluate(bound, inputs)
    assert (states[:120, 0] == WARMING).all()
    assert set(states[120:, 0].tolist()) == {OK, NOT_FINITE}
    assert bound["up"].lookback_bars == 121
    stream = Stream(bound, inputs.symbols, inputs.coins, HOUR_NS)
    for i, fact in enumerate(facts(made(220))):
        stream.on_bar(0, *fact)
        if i in (100, 119, 120, 150, 219):
            row, state = stream.read(fact.close_ns)
            np.testing.assert_array_equal(row[0, 0], rows[i, 0, 0])
            assert state[0] == states[i, 0]


def test_a_silence_longer_than_the_lookback_starts_it_anew() -> None:
    bars = made(120)
    inputs = inputs_of(bars)
    bound = {"it": Technical("SMAIndicator", window=4, lookback=10)}
    for name in ("open", "high", "low", "close", "volume"):
        getattr(inputs, name)[50:61] = np.nan
    rows, _ = evaluate(bound, inputs)
    assert np.isfinite(rows[61, 0, 0])  # eleven bars are its lookback and the bar itself
    for name in ("open", "high", "low", "close", "volume"):
        getattr(inputs, name)[61] = np.nan
    inputs.__dict__.pop("_opened")
    inputs.__dict__.pop("_own_bars")
    inputs.__dict__.pop("_last_bars")
    rows, _ = evaluate(bound, inputs)
    assert np.isnan(rows[62:72, 0, 0]).all()
    assert rows[72, 0, 0] == pytest.approx(bars.close[69:73].mean())


def test_memory_is_a_lookback_and_a_day() -> None:
    signal = Technical("SMAIndicator", window=3, lookback=30)
    memory = signal.start("BTC/USDT")
    sizes = []
    for fact in facts(made(400)):
        signal.step(memory, fact)
        sizes.append(len(memory["bars"]))
    assert max(sizes) == 30 + 24


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Technical("RSI"), "RSIIndicator"),
        (lambda: Technical("OnBalanceVolumeIndicator"), "cumulates from the first bar"),
        (lambda: Technical("MACD"), "several outputs.*macd, macd_signal, macd_diff"),
        (lambda: Technical("MACD", output="line"), "no such output"),
        (lambda: Technical("RSIIndicator", length=3), "length.*no such setting.*window"),
        (lambda: Technical("RSIIndicator", fillna=True), "no such setting"),
        (lambda: Technical("SMAIndicator"), "window.*needs this setting"),
        (lambda: Technical("DonchianChannel", output="donchian_channel_hband", offset=-2), "offset.*not below 0"),
        (lambda: Technical("RSIIndicator", lookback=0), "lookback"),
    ],
)
def test_what_an_indicator_can_not_be(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_what_ta_can_not_compute_is_named() -> None:
    signal = Technical("ADXIndicator", output="adx", window=14, lookback=5)
    with pytest.raises(InputError, match="ta's ADXIndicator fails on .* bars"):
        signal.over("BTC/USDT", made(20))


def test_a_window_from_a_param_is_a_whole_number_for_ta() -> None:
    by_param = Technical("RSIIndicator", window=14.0, lookback=300)
    assert by_param.chosen == {"window": 14}
    assert math.isfinite(by_param.over("X", made(400))[-1])
