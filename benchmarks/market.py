"""The market that every contender trades: a seeded random walk of one-minute bars, and the work to be done on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MINUTE_NS = 60 * 10**9
START_NS = 1_704_067_200 * 10**9  # 2024-01-01 UTC
YEAR = 525_600  # minutes
FEE = 0.001
QUANTITY = 0.01
CASH = 100_000.0  # of each symbol
FAST, SLOW = 20, 60


@dataclass(frozen=True)
class Work:
    """What is to be done: EMA cross over `rows` bars of `symbols` symbols, once for each (fast, slow) of the windows.

    Long or flat, a fixed quantity, bought and sold at the next bar's open, 0.1 % fee in quote.
    """

    rows: int = YEAR
    symbols: int = 1
    fast: tuple[int, ...] = (FAST,)
    slow: tuple[int, ...] = (SLOW,)

    @property
    def combinations(self) -> list[tuple[int, int]]:
        """(fast, slow) of every run; the fast window changes slowest."""
        return [(fast, slow) for fast in self.fast for slow in self.slow]

    @property
    def cash(self) -> float:
        """What a run begins with; enough that sharing it between symbols never binds."""
        return CASH * self.symbols

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Work:
        """Back from JSON."""
        return cls(plain["rows"], plain["symbols"], tuple(plain["fast"]), tuple(plain["slow"]))


@dataclass(frozen=True)
class Walk:
    """Bars, f8[n, M] each, and their open times i8[n]."""

    open_ns: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array


def walk(work: Work, seed: int = 1) -> Walk:
    """The same bars for the same work in every process."""
    rng = np.random.default_rng(seed)
    shape = (work.rows, work.symbols)
    close = 30_000.0 * np.exp(np.cumsum(rng.normal(0.0, 4e-4, shape), axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 1e-5, shape))
    wick = np.exp(np.abs(rng.normal(0.0, 1e-4, (2, *shape))))
    return Walk(
        open_ns=START_NS + np.arange(work.rows) * MINUTE_NS,
        open=opened,
        high=np.maximum(opened, close) * wick[0],
        low=np.minimum(opened, close) / wick[1],
        close=close,
        volume=100.0 * np.exp(rng.normal(0.0, 0.3, shape)),
    )
