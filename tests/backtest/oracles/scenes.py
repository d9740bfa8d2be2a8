"""Random markets, wishes and settings for properties: gaps, crashes, missing bars, thin volume."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from backtest.costs import FillModel
from risk.limits import MarketSpec
from risk.policy import Execution
from risk.records import Array
from tests.backtest.oracles.play import DAY, HOUR, NAN, OPEN_LIMITS, START, Play, Setup

CALM = 8  # bars at the end in which nothing moves and everything fills


@dataclass(frozen=True)
class Scene:
    """How a random run is made; the same scene is the same run."""

    seed: int
    symbols: int
    perp: bool
    leverage: float
    in_coin: bool
    post_only: bool
    participation: float
    protection: tuple[float, float, float, int]
    limits: dict[str, Any]
    unknown: float  # share of decisions in which a symbol isn't known
    bars: int = 40
    resume_ns: int = -1


money = st.one_of(st.just(np.inf), st.floats(200.0, 20_000.0))
limit_sets = st.fixed_dictionaries({
    "order_notional": money, "position_notional": money, "gross_notional": money, "net_notional": money,
    "gross_leverage": st.sampled_from([0.5, 1.0, 3.0, 1e9]), "asset_share": st.sampled_from([0.3, 1.0, 1e9]),
    "turnover_per_day": st.one_of(st.just(np.inf), st.floats(2_000.0, 50_000.0)),
    "orders_per_minute": st.sampled_from([2, 10, 1000]), "repeat_orders": st.sampled_from([2, 300]),
    "daily_loss": st.sampled_from([0.05, 0.3, 1e9]), "drawdown": st.sampled_from([0.1, 0.4, 1e9]),
    "loss_streak": st.sampled_from([2, 10**6]), "price_collar": st.sampled_from([0.01, 0.05]),
    "tag_share": st.sampled_from([{}, {"tag": 0.5}]),
})  # fmt: skip
scenes = st.builds(
    Scene,
    seed=st.integers(0, 2**32 - 1),
    symbols=st.integers(1, 3),
    perp=st.booleans(),
    leverage=st.sampled_from([1.0, 3.0, 20.0]),
    in_coin=st.booleans(),
    post_only=st.booleans(),
    participation=st.sampled_from([0.02, 1.0]),
    protection=st.tuples(
        st.sampled_from([NAN, 0.05]),
        st.sampled_from([NAN, 0.05]),
        st.sampled_from([NAN, 0.05]),
        st.sampled_from([0, 5 * HOUR]),
    ),
    limits=limit_sets,
    unknown=st.sampled_from([0.0, 0.2]),
    resume_ns=st.sampled_from([-1, -2, 7 * HOUR]),
)


def setup_of(scene: Scene) -> Setup:
    """Its settings."""
    limits = dict(scene.limits)
    limits["daily_loss_flatten"] = limits["daily_loss"] * 1.5
    return Setup(
        fills=FillModel(fee_asset="received" if scene.in_coin else "quote", participation=scene.participation),
        execution=Execution(
            entry="post-only" if scene.post_only else "market", band=0.02, wait_ns=HOUR, chases=1,
            then="market" if scene.seed % 2 else "cancel",
        ),
        limits=replace(OPEN_LIMITS, **limits),
        market=MarketSpec(tick=0.01, lot=0.001, min_notional=5.0, maintenance=0.01, max_quantity=30.0),
        perp=scene.perp, leverage=scene.leverage, size="equity", stake=0.0, short=scene.perp,
        protection=scene.protection,
        resume_ns=scene.resume_ns, tags={"C0/USDT": "tag", "C1/USDT": "tag"},
    )  # fmt: skip


def prices_of(rng: Any, n: int, symbols: int) -> tuple[Array, Array, Array, Array, Array]:
    """Bars with gaps, jumps of 30 to 60 % either way, holes and thin volume; calm at the end."""
    shape = (n, symbols)
    gap = rng.normal(0.0, 0.004, shape)
    jumps = rng.random(shape) < 0.04
    jump = np.where(
        rng.random(shape) < 0.6, np.log1p(-rng.uniform(0.3, 0.6, shape)), np.log1p(rng.uniform(0.3, 0.6, shape))
    )
    gap = np.where(jumps, jump, gap)
    body = np.where(rng.random(shape) < 0.03, rng.normal(0.0, 0.3, shape), rng.normal(0.0, 0.02, shape))
    body[-CALM:], gap[-CALM:] = 0.0, 0.0
    log = np.log(100.0) + np.cumsum(gap + body, axis=0)
    close, open_ = np.exp(log), np.exp(log - body)
    high = np.maximum(open_, close) * (1.0 + np.abs(rng.normal(0.0, 0.01, shape)))
    low = np.minimum(open_, close) * (1.0 - np.minimum(np.abs(rng.normal(0.0, 0.01, shape)), 0.5))
    volume = np.exp(rng.normal(5.0, 1.5, shape))
    high[-CALM:], low[-CALM:], volume[-CALM:] = close[-CALM:], close[-CALM:], 1e7
    missing = rng.random(shape) < 0.05
    missing[0], missing[-CALM:] = False, False
    columns = [open_, high, low, close, volume]
    for column in columns:
        column[missing] = np.nan
    return tuple(np.ascontiguousarray(column) for column in columns)  # type: ignore[return-value]


def play_of(scene: Scene, limits: dict[str, Any] | None = None) -> Play:
    """The scripted run of a scene: random wishes that repeat now and then, and none at all in the calm at the end."""
    rng = np.random.default_rng(scene.seed)
    n, m = scene.bars + CALM, scene.symbols
    prices = prices_of(rng, n, m)
    weights = rng.uniform(-1.0, 1.5, (n, m)) * (rng.random((n, m)) < 0.7)
    weights[rng.random((n, m)) < 0.1] = NAN
    again = rng.random(n) < 0.4
    for j in range(1, n):
        if again[j]:
            weights[j] = weights[j - 1]
    states = np.where(rng.random((n, m)) < scene.unknown, rng.integers(1, 7, (n, m)), 0).astype(np.uint8)
    states[np.isnan(prices[3])] = 6
    weights[-CALM:], states[-CALM:] = 0.0, 0
    funding = (
        [(START + i * 8 * HOUR, k, float(rng.normal(0, 5e-4))) for i in range(n // 8) for k in range(m)]
        if scene.perp
        else []
    )
    setup = setup_of(scene if limits is None else replace(scene, limits={**scene.limits, **limits}))
    return Play(
        setup, prices, weights, states=states, funding=funding, start=START + DAY // 2, risk_every=1 + scene.seed % 2
    )
