"""Worlds with a known truth for signal reports: a metric read as it is, and prices that follow it or don't."""

from typing import Any

import numpy as np

from backtest.grid import Grid
from backtest.load import RunInputs
from backtest.signal_report import watching
from backtest.spec import RunSpec
from risk.records import Array
from signals import Level
from signals.inputs import Inputs, MetricTape
from strategies.base import Strategy

HOUR = 3_600_000_000_000
START = 1_704_067_200_000_000_000  # 2024-01-01
COINS = ("BTC", "ETH", "SOL", "ADA")


class Idle(Strategy):
    """Holds nothing."""

    @staticmethod
    def weigh(s: Any, p: Any) -> float:
        """Nothing."""
        return 0.0


def remembering(rng: np.random.Generator, rows: int, symbols: int, half_life: float) -> Array:
    """An autoregressive series of unit variance, f8[rows, symbols]."""
    keep = 0.5 ** (1.0 / half_life)
    x = rng.standard_normal((rows, symbols))
    x[1:] *= np.sqrt(1.0 - keep**2)
    for i in range(1, rows):
        x[i] += keep * x[i - 1]
    return x


def planted(x: Array, noise: Array, edge: float) -> Array:
    """Returns by bar whose bar i + 1 has a drift of `edge` times the signal at the close of bar i."""
    moved = 0.01 * noise
    moved[1:] += 0.01 * edge * x[:-1]
    return moved


def world(x: Array, returns: Array, *, missing: Array | None = None) -> RunInputs:
    """Hourly bars, each opening at the last one's close; the metric "tide" of each coin is x, known at each close."""
    rows, symbols = x.shape
    close = 100.0 * np.exp(np.cumsum(returns, axis=0))
    opened = np.vstack([np.full((1, symbols), 100.0), close[:-1]])
    opens = START + np.arange(rows) * HOUR
    columns = {
        "open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close,
        "volume": np.ones_like(close),
    }  # fmt: skip
    if missing is not None:
        columns = {name: np.where(missing, np.nan, column) for name, column in columns.items()}
    stamped = np.repeat(opens + HOUR, symbols)
    known = np.isfinite(x).ravel()
    tape = MetricTape(
        coin=np.tile(np.arange(symbols), rows)[known], event_ns=stamped[known], known_ns=stamped[known],
        value=x.ravel()[known], revision=np.zeros(int(known.sum())),
    )  # fmt: skip
    names = tuple(f"{coin}/USDT" for coin in COINS[:symbols])
    seen = Inputs.at_closes(names, COINS[:symbols], HOUR, opens + HOUR, columns, metrics={"tide": tape})
    bars = Grid(
        open_ns=opens, close_ns=opens + HOUR, **{name: column.copy() for name, column in columns.items()},
        known_ns=np.repeat((opens + HOUR)[:, None], symbols, axis=1), decides=np.ones(rows, np.uint8),
    )  # fmt: skip
    none = np.zeros(0, np.int64)
    return RunInputs(
        signals=seen, bars=bars, first=0, late=np.zeros((rows, symbols), bool), funding=(none, none, np.zeros(0)),
        shares=[], synthetic=True,
    )  # fmt: skip


def looking(symbols: int, **signals_by_name: Any) -> RunSpec:
    """The run that looks at the tide, or at other signals."""
    spec = RunSpec(strategy=Idle(), symbols=[f"{coin}/USDT" for coin in COINS[:symbols]])
    return watching(spec, signals_by_name or {"tide": Level("tide", max_age="3h")})
