"""However rows, gaps, decisions and limits lie: what is skimmed in blocks ends as what is walked event by event."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.compile import compile_pointer
from backtest.costs import fill_profile
from backtest.hook import drive, python_rule
from backtest.loop import LOGS_FULL, loop
from backtest.run import new_desk
from backtest.spec import RunSpec
from backtest.tape import Tape
from risk.limits import Limits, MarketSpec
from risk.policy import Execution
from risk.records import Array
from signals import EMA
from strategies.base import Strategy
from tests.backtest.oracles.fences import Fence
from tests.backtest.oracles.outcome import assert_same, books_of

SECOND = 10**9
BAR_NS, PARTS = 600 * SECOND, 5
START_NS = 1_700_000_400 * SECOND
DAY_NS = 86_400 * SECOND
MANY = 10_000


class Blind(Strategy):
    """Does as it is told."""

    wish = EMA(2)
    short = True

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """The number it is told."""
        return s.wish


class Seeing(Blind):
    """The same with a look at what is held, and an error where it is told one."""

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """A little less than it is told, the more is held."""
        return (s.wish - 0.1 * s.held) / (1.0 if s.wish > -2.0 else 0.0)


class Guarded(Seeing):
    """The same with stops."""

    stop_loss, trailing_stop = 0.02, 0.03


@dataclass
class Rows:
    """Bar rows and decisions of a made-up run."""

    open_ns: Array
    close_ns: Array
    decides: Array
    decide_ns: Array


def rows_of(rng: np.random.Generator) -> Rows:
    """Bars, some of them in parts, some missing; decisions at their closes, and some between."""
    bars = int(rng.integers(3, 300))
    missing = rng.choice([0, 0.05, 0.4])
    opens = START_NS + BAR_NS * np.cumsum(1 + (rng.random(bars) < missing) * rng.integers(1, 200, bars))
    split = rng.random(bars) < rng.choice([0.0, 0.0, 0.2, 1.0])
    part_ns = BAR_NS // PARTS
    fine = [
        (begin + p * part_ns, begin + (p + 1) * part_ns, p == PARTS - 1) if whole else (begin, begin + BAR_NS, True)
        for begin, whole in zip(opens.tolist(), split.tolist(), strict=True)
        for p in range(PARTS if whole else 1)
    ]
    open_ns, close_ns, decides = (np.array(column) for column in zip(*fine, strict=True))
    decide_ns = opens + BAR_NS
    if rng.random() < 0.5:
        count = int(rng.integers(1, 3 * bars))
        extra = START_NS + BAR_NS + rng.integers(1, decide_ns[-1] - START_NS - BAR_NS, count) // SECOND * SECOND
        extra = np.concatenate([extra, rng.choice(close_ns, count // 4)])
        decide_ns = np.union1d(decide_ns, extra[(extra > open_ns[0]) & (extra < decide_ns[-1])])
    return Rows(open_ns, close_ns, decides.astype(np.uint8), decide_ns)


def prices_of(rng: np.random.Generator, rows: int, symbols: int) -> tuple[Array, Array, Array, Array, Array]:
    """Walks that are wild or quiet, with holes or without."""
    wild = rng.choice([1e-5, 1e-4, 2e-3, 2e-2])
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, wild, (rows, symbols)), axis=0))
    opens = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, wild / 4, (rows, symbols)))
    high = np.maximum(opens, close) * (1.0 + wild * rng.random((rows, symbols)))
    low = np.minimum(opens, close) * (1.0 - wild * rng.random((rows, symbols)))
    volume = rng.choice([50.0, 1e6]) * rng.random((rows, symbols))
    if rng.random() < 0.2:
        hole = rng.random((rows, symbols)) < 0.03
        for column in (opens, high, low, close, volume):
            column[hole] = np.nan
    return opens, high, low, close, volume


def wishes_of(rng: np.random.Generator, decisions: int, symbols: int, *, short: bool, growing: bool) -> Array:
    """Weights that change seldom or often, or always."""
    often = rng.choice([0.002, 0.01, 0.03, 0.4])
    levels = [0.0, 0.0, 0.1, 0.25] + ([-0.2] if short else [])
    wish = rng.choice(levels, (decisions, symbols))
    if growing:  # a little more each time
        return np.cumsum(np.abs(rng.normal(0.0, 0.003, (decisions, symbols))), axis=0) % 1.0
    last = np.where(rng.random((decisions, symbols)) < often, np.arange(decisions)[:, None], 0)
    wish = np.take_along_axis(wish, np.maximum.accumulate(last, axis=0), axis=0)
    if rng.random() < 0.2:
        wish[rng.random((decisions, symbols)) < 0.05] = -3.0
    return wish


def spec_of(rng: np.random.Generator, symbols: int) -> RunSpec:
    """Limits that are reached or not, costs or none, any kind of size."""
    names = [f"S{k}/USDT" for k in range(symbols)]
    perp = rng.random() < 0.15
    free = Limits(daily_loss=0.9, daily_loss_flatten=0.95, drawdown=0.95, loss_streak=10_000, asset_share=1.0)
    harsh = Limits(
        daily_loss=0.004, daily_loss_flatten=0.02, drawdown=float(rng.choice([0.01, 0.05])), loss_streak=2,
        asset_share=0.3, orders_per_minute=4, turnover_per_day=20_000.0, strategy_errors=3,
    )  # fmt: skip
    size, stake = [("equity", 0.0), ("notional", 3_000.0), ("quantity", 30.0)][rng.integers(3)]
    entry = str(rng.choice(["market", "market", "post-only"]))
    crowded = Limits(  # orders pile up: nothing throttles them, and large ones go in slices
        daily_loss=0.9, daily_loss_flatten=0.95, drawdown=0.95, loss_streak=10_000, asset_share=1.0, price_collar=0.5,
        order_notional=float(rng.choice([20.0, 1e9])), orders_per_minute=MANY, orders_per_hour=MANY, repeat_orders=MANY,
    )  # fmt: skip
    limits = [free, free, harsh, harsh, crowded][rng.integers(5)]
    offset, wait_ns = (0.2, 10 * DAY_NS) if limits is crowded else (0.0, 300 * SECOND)
    entry = "post-only" if limits is crowded and rng.random() < 0.7 else entry
    return RunSpec(
        strategy=[Blind, Blind, Seeing, Seeing, Guarded][rng.integers(5)](), symbols=names, bar_ns=BAR_NS,
        cash=10_000.0, market="perp" if perp else "spot", leverage=2.0 if perp else 1.0, size=size, stake=stake,
        fills=fill_profile(str(rng.choice(["ideal", "default", "harsh"]))),
        execution=Execution(
            entry=entry, band=float(rng.choice([0.0, 0.05, 0.3])), chases=1, offset=offset, wait_ns=wait_ns,
        ),
        limits=limits,
        markets={name: MarketSpec(tick=0.01, lot=1e-3, assumed=False) for name in names},
        decision_delay_ns=int(rng.choice([0, 0, 90, 599])) * SECOND,
        resume_after_ns=int(rng.choice([-1, -2, 3600 * SECOND])),
    )  # fmt: skip


def tape_of(rng: np.random.Generator, spec: RunSpec, rows: Rows, *, blind: bool) -> Tape:
    """All that happens in the run."""
    n, d, symbols = len(rows.open_ns), len(rows.decide_ns), len(spec.symbols)
    bars = int(rows.decides.sum())
    perp = spec.market == "perp"
    values = np.zeros((d, symbols, 2))
    growing = bool(spec.limits.repeat_orders == MANY) and rng.random() < 0.7
    values[:, :, 0] = wishes_of(rng, d, symbols, short=perp, growing=growing)
    unknown = rng.choice([0.0, 0.0, 0.0, 0.01])
    often = int(rng.choice([20, 3600, 3600])) * SECOND
    due = np.arange(rows.open_ns[0] // DAY_NS * DAY_NS, rows.close_ns[-1], often) if perp else np.zeros(0, int)
    judged = rows.decides
    if rng.random() < 0.3:
        judged = (rng.random(n) < rng.choice([0.1, 0.95])).astype(np.uint8)
    return Tape(
        open_ns=rows.open_ns, close_ns=rows.close_ns, prices=prices_of(rng, n, symbols), decides=rows.decides,
        risk_bar=judged, decide_ns=rows.decide_ns, rows=values,
        states=(rng.random((d, symbols)) < unknown).astype(np.uint8),
        funding=(due, rng.integers(0, symbols, len(due)), rng.normal(0, 1e-4, len(due))),
        params=spec.strategy.param_record(),
        strange=(rng.random((bars, symbols)) < rng.choice([0.0, 0.0, 0.01])).astype(np.uint8),
        batch=int(rng.choice([8, 256])), late=bool(rng.random() < 0.3), blind=blind,
    )  # fmt: skip


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_skimmed_and_walked_end_alike(seed: int) -> None:
    """Orders, fills, events, marks and books of the compiled loop, stopped anywhere, are those of single events; and
    nothing was written beside the desk's arrays.
    """
    rng = np.random.default_rng(seed)
    spec = spec_of(rng, int(rng.choice([1, 1, 2, 5])))
    rows = rows_of(rng)
    rule = compile_pointer(spec.strategy)
    assert rule.blind == (type(spec.strategy) is Blind)
    tape = tape_of(rng, spec, rows, blind=rule.blind)
    desk = new_desk(spec)
    fence = Fence(desk)
    tape.start(rule.address)
    for stop in sorted({*rng.integers(0, len(rows.open_ns), 2).tolist(), len(rows.open_ns)}):
        while loop(desk.ref, tape.ref, stop) == LOGS_FULL:
            desk.grow_logs()
            fence.mend()
    fence.check()
    skimmed = books_of(desk, tape) | {"weights": tape.wishes()}
    tape["weights"][:] = np.nan
    tape.start(0)
    desk = new_desk(spec)
    drive(desk, tape, python_rule(spec.strategy))
    assert_same(skimmed, books_of(desk, tape) | {"weights": tape.wishes()})
