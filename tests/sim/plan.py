"""What a simulated bot wants: one cheap strategy for all seeds, with limits and execution drawn for each."""

from __future__ import annotations

import random
from typing import Any

from backtest.costs import FillModel
from backtest.spec import RunSpec
from risk.limits import Limits, MarketSpec
from risk.policy import Execution
from signals import EMA, Level, Mood
from strategies.base import Strategy

SECOND = 10**9
SYMBOLS = ("BTC/USDT", "ETH/USDT")
PERP_SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT")
BAR_NS = 5 * SECOND
CASH = 10_000.0
MARKET = MarketSpec(tick=0.01, lot=0.001, min_notional=5.0, assumed=False)


class Restless(Strategy):
    """Price, posts and a metric; a stop and a trailing stop near enough to be hit."""

    fast = EMA(2)
    slow = EMA(4)
    mood = Mood(half_life="1m", min_weight=0.0)
    flow = Level("flow")
    stop_loss = 0.006
    trailing_stop = 0.008

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Long when the price rises, more so in a good mood."""
        lift = 0.2 if s.fast > s.slow else 0.0
        return lift + 0.1 * max(s.mood, 0.0) + (0.05 if s.flow > 0.5 else 0.0)


def limits_of(rng: random.Random) -> Limits:
    """Some that bind and some that don't."""
    day = rng.choice(((0.5, 0.6), (0.5, 0.6), (0.003, 0.6), (0.003, 0.005)))
    return Limits(
        daily_loss=day[0], daily_loss_flatten=day[1], drawdown=rng.choice((0.01, 0.9, 0.9)),
        order_notional=rng.choice((800.0, 2_000.0, 20_000.0)), position_notional=rng.choice((1_500.0, 3_000.0)),
        gross_notional=rng.choice((2_500.0, 5_000.0)), net_notional=5_000.0, orders_per_minute=rng.choice((12, 60)),
        asset_share=rng.choice((0.2, 0.5)), loss_streak=rng.choice((3, 1000)),
        loss_streak_pause_ns=20 * SECOND, price_collar=0.02, bar_age_ns=30 * SECOND, repeat_orders=rng.choice((6, 50)),
        repeat_window_ns=60 * SECOND, novelty_return_z=12.0, novelty_volume_z=40.0, novelty_pause_ns=10 * SECOND,
        flood_posts=10**6,
    )  # fmt: skip


def execution_of(rng: random.Random) -> Execution:
    """At market, or post-only with a short wait."""
    return Execution(
        entry=rng.choice(("market", "post-only")), offset=rng.choice((0.0, 0.0005)), wait_ns=4 * SECOND,
        chases=rng.choice((0, 2)), then=rng.choice(("market", "cancel")), band=rng.choice((0.02, 0.005)),
    )  # fmt: skip


STRATEGY = Restless()


def spec_of(rng: random.Random, *, fee_asset: str, perp: bool) -> RunSpec:
    """The run of one world."""
    symbols = PERP_SYMBOLS if perp else SYMBOLS
    return RunSpec(
        strategy=STRATEGY, symbols=list(symbols), bar_ns=BAR_NS, cash=CASH, limits=limits_of(rng),
        execution=execution_of(rng), markets=dict.fromkeys(symbols, MARKET), fills=FillModel(fee_asset=fee_asset),
        market="perp" if perp else "spot", leverage=2.0 if perp else 1.0,
        decision_delay_ns=rng.choice((1, 2, 4)) * SECOND,
    )  # fmt: skip
