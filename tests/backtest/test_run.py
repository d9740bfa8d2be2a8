"""Whole runs: failing strategies, what a run may know and when, controls that only a run shows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backtest.events import risk_bars
from backtest.facts import unknown_coins
from backtest.grid import Grid
from backtest.load import RunInputs
from backtest.result import Result
from backtest.run import run
from backtest.spec import RunSpec
from data.errors import InputError
from risk.gate import MINUTE_NS as MINUTE
from risk.limits import Limits, MarketSpec
from risk.orders import CANCELLED
from risk.policy import Execution
from risk.records import (
    ACTIVE,
    EV_ERROR,
    EV_FUNDING,
    EV_LADDER,
    EV_REFUSED,
    NO_NEW_RISK,
    R_DAY_LOSS_FLATTEN,
    R_STRATEGY,
)
from signals import Close, Level, Mood
from signals.inputs import Inputs, MetricTape, SentimentTape
from signals.ops import GAP
from strategies.base import Param, Strategy
from tests.backtest.oracles.failing import Ancient, Fewer, GivesNan, Listed, More, Raises, Single, Slow
from tests.backtest.oracles.play import DAY, HOUR, IDEAL, NAN, START

LIMITS = Limits(asset_share=1.0, novelty_return_z=np.inf, novelty_volume_z=np.inf, price_collar=0.2, strategy_errors=3)
MARKET = MarketSpec(tick=0.01, lot=0.001, min_notional=1.0)


def world(closes: list[float], *, step: int = HOUR, start: int = START, **tapes: Any) -> RunInputs:
    """One symbol that opens, stays and closes at one price a bar."""
    price = np.array(closes, float).reshape(-1, 1)
    n = len(price)
    opens = start + np.arange(n) * step
    columns = dict.fromkeys(("open", "high", "low", "close"), price) | {"volume": np.full_like(price, 1e9)}
    seen = Inputs.at_closes(("BTC/USDT",), ("BTC",), step, opens + step, columns, **tapes)
    bars = Grid(
        open_ns=opens, close_ns=opens + step, **{name: column.copy() for name, column in columns.items()},
        known_ns=(opens + step).reshape(-1, 1), decides=np.ones(n, np.uint8),
    )  # fmt: skip
    none = np.zeros(0, np.int64)
    return RunInputs(
        signals=seen, bars=bars, first=0, late=np.zeros((n, 1), bool), funding=(none, none, np.zeros(0)), shares=[],
        synthetic=True,
    )  # fmt: skip


def done(strategy: Strategy, inputs: RunInputs, *, interpreted: bool = False, **changed: Any) -> Result:
    """A run without friction."""
    spec = RunSpec(
        strategy=strategy, symbols=["BTC/USDT"], bar_ns=inputs.signals.bar_ns, cash=1000.0, fills=IDEAL, limits=LIMITS,
        execution=Execution(band=0.0), markets={"BTC/USDT": MARKET},
    )  # fmt: skip
    return run(replace(spec, **changed), inputs, created_ns=0, stress=False, interpreted=interpreted)


# --- strategies that fail --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Raises, "ZeroDivisionError"), (GivesNan, "weight nan"), (Slow, "KeyError: 'oh'"),
        (Fewer, "allocate answered 0 weights for 1 symbols"), (More, "allocate answered 2 weights for 1 symbols"),
        (Listed, "weigh answered 1 x 1 weights for 1 symbols"),
        (Single, "allocate answered a single number for 1 symbols"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:(Slow|Listed|Single) runs interpreted")
def test_a_weigh_that_fails_skips_its_decision_and_is_counted(made: type[Strategy], said: str) -> None:
    """Two of ten decisions: the run completes, what was held is held, and what went wrong can be read."""
    result = done(made(), world([10, 10, 13, 10, 10, 13, 10, 10, 10, 10]))
    assert result.errors == 2 and len(result.close_ns) == 10
    assert len(result.error_samples) == 2 and all(said in text for text in result.error_samples)
    assert result.error_samples[0].startswith("2024-01-01 03:00Z")
    assert (result.events["kind"] == EV_ERROR).sum() == 2
    assert np.isnan(result.target[[2, 5]]).all() and np.isfinite(result.target[[0, 1, 3, 4, 6]]).all()
    assert result.held[3, 0] == result.held[2, 0] > 0.0  # no zero, no sale
    assert not (result.events["kind"] == EV_LADDER).any()


def test_a_signal_that_looks_back_over_a_hundred_years_is_named() -> None:
    with pytest.raises(InputError, match="over more than a hundred years") as caught:
        done(Ancient(), world([10, 10]))
    assert caught.value.key == "mean"


class Growing(Strategy):
    """Wants a little more at each bar, and nothing once the price has fallen."""

    price = Close()

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """More the higher the price; nothing below 100."""
        return max((s.price - 100.0) / 100.0, 0.0)


def test_no_more_entries_wait_than_there_are_places_for() -> None:
    """Each bar another one joins those that wait far below the market: the desk's table ends, and entries before it."""
    inputs = world([101.0 + 0.2 * i for i in range(200)] + [99.0] * 3)
    limits = replace(LIMITS, orders_per_hour=10_000, repeat_orders=10_000, price_collar=0.9)
    rule = Execution(entry="post-only", offset=0.6, wait_ns=400 * HOUR, chases=0, then="cancel", band=0.0)
    found = [done(Growing(), inputs, interpreted=one, limits=limits, execution=rule) for one in (False, True)]
    for result in found:
        assert len(result.orders) == 38 and set(result.orders["state"].tolist()) == {CANCELLED}
        assert not len(result.fills) and not (result.events["kind"] == EV_REFUSED).any()
    assert found[0].orders.tobytes() == found[1].orders.tobytes()


class Half(Strategy):
    """Holds half."""

    price = Close()

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Always."""
        return 0.5


@pytest.mark.parametrize("gap", [0, 60])
def test_any_number_of_fundings_is_paid_within_a_bar_and_between_two(gap: int) -> None:
    """One a minute on daily bars, and over two months without a bar: each is in the log, which has grown for them."""
    days, minute = 20, MINUTE
    inputs = world([100.0] * days, step=DAY)
    for bars in (inputs.bars, inputs.signals):
        bars.close_ns[10:] += gap * DAY
    inputs.bars.open_ns[10:] += gap * DAY
    inputs.bars.known_ns[10:] += gap * DAY
    inputs.signals.decide_ns[:], inputs.signals.cutoff_ns[:] = inputs.signals.close_ns, inputs.signals.close_ns
    due = START + np.arange((days + gap) * DAY // minute) * minute
    inputs = replace(inputs, funding=(due, np.zeros(len(due), np.int64), np.full(len(due), 1e-9)))
    spec = RunSpec(
        strategy=Half(), symbols=["BTC/USDT:USDT"], bar_ns=DAY, cash=1000.0, fills=IDEAL, limits=LIMITS, market="perp",
        leverage=2.0, execution=Execution(band=0.0), markets={"BTC/USDT:USDT": MARKET},
    )  # fmt: skip
    found = [run(spec, inputs, created_ns=0, stress=False, interpreted=one) for one in (False, True)]
    assert found[0].events.tobytes() == found[1].events.tobytes()
    assert found[0].equity.tobytes() == found[1].equity.tobytes()
    held = found[0].fills["ns"][0]
    events = found[0].events
    assert events["ns"].tolist() == due[due > held].tolist() and set(events["kind"].tolist()) == {EV_FUNDING}
    assert found[0].equity[-1] == pytest.approx(1000.0 - 5.0 * 100.0 * 1e-9 * len(events), rel=1e-10)


class Borrowed(Strategy):
    """A signal and a Param called as numpy's own records have something; divides by zero when the price is 13."""

    mean = Close()
    size = Param(0.25, low=0.0, high=1.0)

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """The share, unless the mean is 13."""
        return p.size if s.mean / (s.mean - 13.0) > 0.0 else p["size"] / 2


class BorrowedRows(Strategy):
    """A Param of such a name, over all symbols at once."""

    close = Close()
    size = Param(0.25, low=0.0, high=1.0)

    @staticmethod
    def allocate(s: Any, p: Any) -> Any:
        """The share where the close is over 12, half of it elsewhere."""
        weights = np.zeros(len(s.close))
        for k in range(len(s)):
            weights[k] = p.size if s.close[k] > 12.0 and s[k].close > 12.0 else p.size / 2
        return weights


@pytest.mark.parametrize("made", [Borrowed, BorrowedRows])
def test_fields_are_what_was_declared_in_every_form(made: type[Strategy]) -> None:
    """Interpreted and compiled see the same numbers by a name that numpy uses too, and raise alike."""
    inputs = world([12, 13, 14, 11, 13, 16, 12])
    forms = [done(made(), inputs, interpreted=interpreted) for interpreted in (False, True)]
    assert set(forms[0].target[np.isfinite(forms[0].target)]) == {0.25, 0.125}
    np.testing.assert_array_equal(forms[0].target, forms[1].target)
    assert forms[0].errors == forms[1].errors == (2 if made is Borrowed else 0)


def test_after_so_many_failures_in_a_row_nothing_new_is_risked() -> None:
    """Three in a row; the fourth decision is sound and would buy, and doesn't."""
    result = done(Raises(), world([13, 13, 13, 10, 10, 10]))
    assert result.errors == 3 and len(result.fills) == 0
    moves = result.events[result.events["kind"] == EV_LADDER]
    assert moves["rule"].tolist() == [R_STRATEGY] and moves["level"].tolist() == [NO_NEW_RISK]
    assert moves["ns"].tolist() == [START + 3 * HOUR] and result.level[-1] == NO_NEW_RISK


def test_failures_that_arent_in_a_row_dont_add_up() -> None:
    """Every other decision fails: no latch."""
    result = done(Raises(), world([10, 13] * 6))
    assert result.errors == 6 and (result.level == ACTIVE).all()


# --- point in time ---------------------------------------------------------------------------------------------------
class Follows(Strategy):
    """Holds what a metric says."""

    level = Level("gauge", coin="*")

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """As told."""
        return s.level


class Listens(Strategy):
    """Holds what the crowd says."""

    mood = Mood(half_life="1h")

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """As felt."""
        return 1.0 if s.mood > 0.0 else 0.0


def metric(*rows: tuple[float, float, float, int]) -> dict[str, MetricTape]:
    """Observations of the gauge in order of arrival: (event hour, known hour, value, revision)."""
    event, known, value, revision = (np.array(column) for column in zip(*rows, strict=True))
    hours = [START + (column * HOUR).astype(np.int64) for column in (event, known)]
    return {"gauge": MetricTape(np.full(len(rows), -1), hours[0], hours[1], value, revision)}


def told(result: Result) -> list[float]:
    """Signal values of the decisions, rounded."""
    return [round(float(value), 6) for value in result.rows[:, 0, 0]]  # type: ignore[index]


def test_a_revision_is_seen_only_from_its_time() -> None:
    """0.4 of hour 1, corrected to 0.2 at 3:30: the decision at 4:00 is the first to see it."""
    result = done(Follows(), world([10] * 6, metrics=metric((1, 1, 0.4, 0), (1, 3.5, 0.2, 1))))
    assert told(result) == [0.4, 0.4, 0.4, 0.2, 0.2, 0.2]


def test_a_value_counts_from_when_it_was_known() -> None:
    """Measured at 1:00, known at 3:00 sharp: 3:00 sees it, 2:00 doesn't."""
    result = done(Follows(), world([10] * 4, metrics=metric((1, 3, 0.3, 0))))
    assert np.isnan(told(result)[:2]).all() and told(result)[2:] == [0.3, 0.3]
    assert result.fills["row"].tolist() == [3]


def test_the_last_arrival_isnt_always_the_latest_event() -> None:
    """The value of hour 1 arrives after that of hour 2: it changes nothing; the one of hour 3 does."""
    arrivals = metric((2, 2.2, 0.2, 0), (1, 3.2, 0.1, 0), (3, 4.2, 0.3, 0))
    assert told(done(Follows(), world([10] * 6, metrics=arrivals)))[2:] == [0.2, 0.2, 0.3, 0.3]


def test_a_decision_delay_lets_later_facts_in_and_trades_later() -> None:
    """Known half an hour after the close of 2:00: with a delay of half an hour that decision uses it."""
    late = metric((1, 2.5, 0.5, 0))
    assert np.isnan(told(done(Follows(), world([10] * 5, metrics=late)))[1])
    waits = world([10] * 5, metrics=late, delay_ns=HOUR // 2)
    result = done(Follows(), waits, decision_delay_ns=HOUR // 2)
    assert told(result)[1] == 0.5 and result.fills["ns"].tolist() == [START + 3 * HOUR]


def posts(*rows: tuple[float, float, float]) -> SentimentTape:
    """Posts about the coin: (written at hour, known at hour, score)."""
    event, known, score = (np.array(column, float) for column in zip(*rows, strict=True))
    zeros = np.zeros(len(rows), np.int64)
    hours = [START + (column * HOUR).astype(np.int64) for column in (event, known)]
    return SentimentTape(zeros, hours[0], hours[1], score, np.ones(len(rows)), zeros, zeros, zeros)


def test_a_post_known_late_isnt_seen_early_and_has_aged() -> None:
    """Written at 1:00 and known at 3:30: nothing at 3:00; at 4:00 it counts as three hours old."""
    early = told(done(Listens(), world([10] * 6, sentiment=posts((0.5, 0.5, -0.5), (1, 1, 1.0)))))
    late = told(done(Listens(), world([10] * 6, sentiment=posts((0.5, 0.5, -0.5), (1, 3.5, 1.0)))))
    assert late[1] < 0.0 < early[1] and late[2] < 0.0
    assert late[3] == early[3]


# --- controls that a run shows ---------------------------------------------------------------------------------------
def test_control_20_a_signal_older_than_its_limit_is_ignored() -> None:
    """Two hours are allowed: from then on the symbol is held, whatever the old value said, and the count says why."""
    limits = replace(LIMITS, signal_age_ns=2 * HOUR)
    result = done(Follows(), world([10] * 8, metrics=metric((1, 1, 0.5, 0))), limits=limits)
    assert len(result.fills) == 1 and result.held[-1, 0] == result.held[2, 0] > 0.0
    assert result.holds[("BTC/USDT", "stale", "level")] >= 4
    assert np.isnan(result.target[4:]).all()


def test_control_23_an_unusual_bar_pauses_entries_for_its_time() -> None:
    """After 200 calm bars a jump of 20 %: what is wished for at its close comes two hours later."""
    rng = np.random.default_rng(4)
    calm = (100 * np.exp(np.cumsum(rng.normal(0, 0.002, 200)))).tolist()
    prices = [*calm, calm[-1] * 1.2, calm[-1] * 1.2, calm[-1] * 1.2, calm[-1] * 1.2, calm[-1] * 1.2]
    when = float(len(calm)) + 1.0
    wish = metric((when - 0.5, when - 0.5, 0.5, 0))
    for z, first in ((np.inf, 201), (8.0, 203)):
        limits = replace(LIMITS, novelty_return_z=z, novelty_pause_ns=2 * HOUR)
        result = done(Follows(), world(prices, metrics=wish), limits=limits)
        assert result.fills["row"].tolist()[:1] == [first], z


class Always(Strategy):
    """Half in the coin."""

    close = Close()

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Half."""
        return 0.5


def test_the_ladder_moves_also_when_bars_lie_off_the_epochs_grid() -> None:
    """Days that end at 06:00, and weeks: no multiple of their length since 1970, and still watched."""
    for step, start in ((DAY, START + 6 * HOUR), (7 * DAY, START)):
        inputs = world([100, 100, 40, 40, 40], step=step, start=start)
        result = done(Always(), inputs, limits=replace(LIMITS, bar_age_ns=30 * DAY))
        moves = result.events[result.events["kind"] == EV_LADDER]
        assert moves["rule"].tolist()[:1] == [R_DAY_LOSS_FLATTEN]
        assert moves["ns"][0] == start + 3 * step


def test_risk_bars_of_their_own_length() -> None:
    """Of rows of 4 h from midnight every second ends one of 8 h; where it is missing the next stands for it."""
    bars = world([1.0] * 6, step=4 * HOUR).bars
    assert risk_bars(bars, 8 * HOUR).tolist() == [0, 1, 0, 1, 0, 1]
    assert risk_bars(bars, 0).tolist() == [1] * 6
    keep = np.array([0, 2, 3, 4, 5])
    rows: dict[str, Any] = {name: getattr(bars, name)[keep] for name in bars.__dataclass_fields__}
    assert risk_bars(replace(bars, **rows), 8 * HOUR).tolist() == [0, 1, 1, 0, 1]


def test_a_run_is_a_function_of_its_spec_and_inputs() -> None:
    """Twice the same, to the last bit."""
    prices = (100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.02, 80)))).tolist()
    first, again = (done(Always(), world(prices)) for _ in range(2))
    assert (first.fills == again.fills).all() and (first.equity == again.equity).all() and len(first.fills) > 3


class Looks(Strategy):
    """At posts and a metric of its own coin, at a metric of the market, and at one of a coin that isn't traded."""

    mood = Mood(half_life="1h")
    own, market, other = Level("own"), Level("market"), Level("other", coin="ETH")

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Nothing."""
        return 0.0


def test_what_nothing_is_known_of_is_told() -> None:
    """A metric of the market stands for each coin's; posts about another coin, or a feed that was down, don't."""
    names = ["BTC/USDT", "XRP/USDT"]
    spec = RunSpec(strategy=Looks(), symbols=names)  # its coins: BTC, XRP, ETH

    def about(*coins: int) -> MetricTape:
        where = np.array(coins)
        return MetricTape(where, *np.zeros((2, len(where)), np.int64), np.ones(len(where)), np.zeros_like(where))

    flags = np.array([GAP, 0])
    written = replace(posts((1, 1, 0.5), (1, 1, 0.5)), coin=np.array([1, 0]), flags=flags)
    metrics = {"own": about(1, 2), "market": about(-1), "other": about(0, 1)}
    assert unknown_coins(spec, written, metrics) == [
        "no other of ETH is stored: signals of it never get ready there",
        "no own of BTC is stored: signals of it never get ready there",
        "no scored post of XRP is stored: signals of it never get ready there",
    ]
    whole = replace(written, flags=np.zeros(2, np.int64))
    assert unknown_coins(spec, whole, {"own": about(0, 1), "market": about(0, 1), "other": about(2)}) == []


def test_a_missing_bar_holds() -> None:
    """No price, no decision: the symbol is held and counted."""
    result = done(Always(), world([100, 100, 100, NAN, NAN, 120, 120]))
    assert result.holds[("BTC/USDT", "no bar", "")] == 2
    assert np.isnan(result.target[3:5]).all() and result.held[4, 0] == result.held[2, 0] > 0.0
