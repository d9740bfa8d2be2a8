"""Small facts for the tests of the data floor."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.facts import fact_table
from data.store import Store
from data.times import HOUR_NS, parse_time

START = parse_time("2024-01-01")


@pytest.fixture
def store(var: Path) -> Store:
    return Store(var)


@pytest.fixture
def hourly() -> Callable[..., pa.Table]:
    """Sound hourly bars: ``hourly(close, first=0, symbol=..., **columns)``."""

    def build(close: Sequence[float], first: int = 0, symbol: str = "BTC/USDT", **columns: Any) -> pa.Table:
        prices = np.asarray(close, dtype=np.float64)
        opens = START + HOUR_NS * (first + np.arange(len(prices)))
        values: dict[str, Any] = {
            "source": "test",
            "symbol": symbol,
            "interval_ns": HOUR_NS,
            "event_ns": opens,
            "known_ns": opens + HOUR_NS,
            "ingested_ns": START,
            "quality": "assumed_lag",
            "open": prices,
            "high": prices * 1.01,
            "low": prices * 0.99,
            "close": prices,
            "volume": np.ones(len(prices)),
        }
        return fact_table("bars", {**values, **columns})

    return build


@pytest.fixture
def observed() -> Callable[..., pa.Table]:
    """Metric rows: ``observed([(event, known, value), ...], ingested=...)``, times as numbers of nanoseconds."""

    def build(rows: Sequence[tuple[int, int, float]], ingested: int = 10**6, name: str = "flow") -> pa.Table:
        event, known, value = (list(column) for column in zip(*rows, strict=True))
        return fact_table(
            "metrics",
            {
                "source": "test",
                "name": name,
                "coin": "BTC",
                "event_ns": event,
                "known_ns": known,
                "ingested_ns": ingested,
                "quality": "assumed_lag",
                "value": [float(number) for number in value],
            },
        )

    return build


@pytest.fixture
def written() -> Callable[..., pa.Table]:
    """Posts: ``written([(key, event, text), ...])``."""

    def build(rows: Sequence[tuple[str, int, str]], source: str = "news") -> pa.Table:
        keys, events, texts = (list(column) for column in zip(*rows, strict=True))
        return fact_table(
            "posts",
            {
                "source": source,
                "key": keys,
                "event_ns": events,
                "known_ns": events,
                "ingested_ns": 10**6,
                "quality": "recorded",
                "text": texts,
                "author": "",
                "followers": float("nan"),
                "url": "",
            },
        )

    return build
