"""The embedded sample in a store, a stretch of it, with scores that a made-up model gave; and strategies that read all
of it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from backtest.load import RunInputs, load_inputs
from backtest.spec import RunSpec
from data.facts import fact_table
from data.sample import SYMBOLS, sample_tables
from data.store import Store
from data.times import HOUR_NS
from risk.limits import Limits
from signals import EMA, Mood, ZScore
from strategies.base import Param, Strategy
from strategies.load import load_strategy

MINUTE_NS = 60 * 10**9


class Everything(Strategy):
    """Price, mood and a metric, a stop and a trailing stop: all paths of a decision at once."""

    fast = EMA(8)
    slow = EMA(21)
    mood = Mood(half_life="12h")
    flow = ZScore("exchange_netflow", window="3d")
    tilt = Param(0.2, low=0.0, high=1.0)
    stop_loss = 0.05
    trailing_stop = 0.08

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Long when the price rises or the mood is high."""
        lift = 0.3 if s.fast > s.slow else 0.0
        return lift + p.tilt * max(s.mood - 0.1 * s.flow, 0.0) - 0.05 * s.held


def sampled(folder: Path, hours: int = 1000, *, holed: bool = False) -> Store:
    """A store with so many hours of the sample; each post about a coin has a score from a seeded generator, a minute
    late. holed: some hours are missing, and there are bars of four hours beside them, of which others are.
    """
    store = Store(folder)
    tables = sample_tables(hours=hours)
    if holed:
        tables["bars"] = with_holes(tables["bars"])
    rng = np.random.default_rng(5)
    posts = tables["posts"]
    count = posts.num_rows
    known = posts["known_ns"].to_numpy() + MINUTE_NS
    coins = np.array([symbol.split("/")[0] for symbol in SYMBOLS])
    score = np.clip(rng.normal(0.1, 0.5, count), -1.0, 1.0)
    scores = fact_table(
        "sentiment",
        {
            "source": posts["source"].to_pylist(), "key": posts["key"].to_pylist(),
            "coin": rng.choice(coins, count).tolist(),
            "model": "vader", "model_revision": "", "event_ns": posts["event_ns"].to_numpy(), "known_ns": known,
            "ingested_ns": known, "quality": "assumed_lag",
            "p_bearish": np.clip(-score, 0, 1), "p_neutral": 1 - np.abs(score),
            "p_bullish": np.clip(score, 0, 1), "score": score, "followers": posts["followers"].to_numpy(),
            "author": posts["author"].to_pylist(), "revision": posts["revision"].to_numpy(),
            "cluster": rng.integers(0, 300, count), "flags": rng.choice([0, 0, 1, 8], count),
        },
    )  # fmt: skip
    for kind in ("bars", "metrics"):
        store.append(kind, tables[kind], origin="synthetic")
    store.append("sentiment", scores, origin="synthetic")
    return store


def with_holes(bars: pa.Table) -> pa.Table:
    """Bars of one hour without those of some hours, of all symbols or of one, and whole ones of four hours but two."""
    columns = {name: bars[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    symbols, opens = np.array(bars["symbol"].to_pylist()), bars["event_ns"].to_numpy()
    hour = (opens - opens.min()) // HOUR_NS
    first, last = np.flatnonzero(hour % 4 == 0), np.flatnonzero(hour % 4 == 3)
    four = {
        "open": columns["open"][first], "close": columns["close"][last],
        "high": np.maximum.reduceat(columns["high"], first), "low": np.minimum.reduceat(columns["low"], first),
        "volume": np.add.reduceat(columns["volume"], first), "symbol": symbols[first], "open_ns": opens[first],
    }  # fmt: skip
    gone = np.isin(hour, [250, 251, 252, 253, 254, 500, 700, 701]) | ((symbols == SYMBOLS[1]) & np.isin(hour, [60, 61]))
    one = {name: column[~gone] for name, column in columns.items()}
    one |= {"symbol": symbols[~gone], "open_ns": opens[~gone]}
    four = {name: column[~np.isin(hour[first], [400, 404])] for name, column in four.items()}
    parts = []
    for length_ns, part in ((HOUR_NS, one), (4 * HOUR_NS, four)):
        open_ns = part.pop("open_ns")
        known_ns = open_ns + length_ns
        told = {"interval_ns": length_ns, "event_ns": open_ns, "known_ns": known_ns, "ingested_ns": known_ns}
        parts.append(fact_table("bars", {"source": "synthetic", "quality": "recorded", **told, **part}))
    return pa.concat_tables(parts)


def spec_of(strategy: Strategy, **changed: Any) -> RunSpec:
    """A run of a strategy over the sample's symbols with limits that let it trade."""
    limits = Limits(daily_loss=0.5, daily_loss_flatten=0.6, drawdown=0.9, loss_streak=10_000, asset_share=0.5)
    revised = ("exchange_netflow", "stablecoin_supply")
    base = RunSpec(strategy=strategy, symbols=list(SYMBOLS), limits=limits, allow_revised=revised)
    return replace(base, **changed)


def shipped(name: str, folder: Path) -> Strategy:
    """A shipped strategy by name; weights come from a file that is written first."""
    if name != "weights":
        return load_strategy(name)
    lines = ["time,symbol,weight"]
    rng = np.random.default_rng(3)
    for day in range(1, 40):
        for symbol in SYMBOLS:
            month = 1 + (day - 1) // 31
            lines.append(f"2024-{month:02d}-{1 + (day - 1) % 31:02d}T00:00Z,{symbol},{rng.uniform(0, 0.3):.3f}")
    file = folder / "targets.csv"
    file.write_text("\n".join(lines) + "\n")
    return load_strategy(str(file))


def inputs_of(store: Store, spec: RunSpec) -> RunInputs:
    """Its inputs."""
    return load_inputs(store, spec)
