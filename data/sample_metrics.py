"""Synthetic on-chain and market series with the lags and the corrections that real ones have; none leads the price.

Each series is made of what had happened by the END of the interval it measures: fear and greed follow the crowd and
the past week, exchange flows answer the day's return, funding the hours before. No link to the future is planted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from data.facts import MARKET_WIDE
from data.sample_market import COINS, DAY_NS, F8, HOUR_NS, HOURS, I8, START_NS, Market, stream

SOURCE: Final = "synthetic"
FLOW_LAG_NS: Final = 6 * HOUR_NS
SUPPLY_LAG_NS: Final = 12 * HOUR_NS
FUNDING_INTERVAL_HOURS: Final = 8
_DAYS: Final = HOURS // 24
_REVISED_DAYS: Final = 6
_FLOW_SIZE: Final = {
    "BTC": 3_500.0,
    "ETH": 42_000.0,
    "SOL": 410_000.0,
    "ADA": 19e6,
    "DOGE": 85e6,
}  # coins in a usual day

Rows = tuple[str, str, I8, I8, F8, str]  # name, coin, event_ns, known_ns, value, quality


def _daily_ends() -> I8:
    """Return the end of each day, i8[days]."""
    return START_NS + np.arange(1, _DAYS + 1, dtype=np.int64) * DAY_NS


def _corrections(
    rng: np.random.Generator, name: str, coin: str, known_ns: I8, values: F8, size: float, decimals: int
) -> Rows:
    """Return later corrections of a handful of days: other values, known three to six days after the first ones."""
    days = np.sort(rng.choice(_DAYS - 10, size=_REVISED_DAYS, replace=False)) + 2
    later = known_ns[days] + rng.integers(3, 7, size=_REVISED_DAYS) * DAY_NS
    scale = size * (0.4 + rng.random(_REVISED_DAYS)) * np.where(rng.random(_REVISED_DAYS) < 0.5, -1.0, 1.0)
    return name, coin, _daily_ends()[days], later, np.round(values[days] + scale, decimals), "revised"


def _flows(seed: int, market: Market) -> Iterator[Rows]:
    """Yield net coins moved onto exchanges a day: a slow random tide, and inflows on days that fell."""
    for number, coin in enumerate(COINS):
        rng = stream(seed, 50 + number)
        noise = rng.standard_normal(_DAYS)
        fell = -market.shock[:, number].reshape(_DAYS, 24).sum(axis=1) / np.sqrt(24.0)
        tide = np.empty(_DAYS)
        level = 0.0
        for day in range(_DAYS):
            level = 0.55 * level + 0.75 * float(noise[day])
            tide[day] = level
        size = _FLOW_SIZE[coin.coin]
        values = np.round(size * (tide + 0.45 * fell), 2)
        known_ns = _daily_ends() + FLOW_LAG_NS
        yield "exchange_netflow", coin.coin, _daily_ends(), known_ns, values, "assumed_lag"
        yield _corrections(rng, "exchange_netflow", coin.coin, known_ns, values, 0.6 * size, 2)


def _fear_greed(seed: int, market: Market) -> Rows:
    """Return the index of 0 (fear) to 100 (greed), published at midnight from crowd, week and volatility."""
    ends = np.arange(1, _DAYS + 1) * 24
    feeling = market.crowd.reshape(_DAYS, 24).mean(axis=1)
    total = np.concatenate([[0.0], np.cumsum(market.returns.mean(axis=1))])
    week = (total[ends] - total[np.maximum(ends - 168, 0)]) / 0.08
    wild = market.volatility.mean(axis=1).reshape(_DAYS, 24).mean(axis=1) / float(np.median(market.volatility)) - 1.0
    noise = stream(seed, 60).standard_normal(_DAYS)
    index = np.rint(np.clip(50.0 + 11.0 * feeling + 13.0 * week - 9.0 * wild + 4.0 * noise, 1.0, 99.0))
    return "fear_greed", MARKET_WIDE, _daily_ends(), _daily_ends(), index, "vendor_pit"


def _supply(seed: int, market: Market) -> Iterator[Rows]:
    """Yield the dollars in stablecoins: slow growth, a little faster after good weeks."""
    rng = stream(seed, 61)
    total = np.concatenate([[0.0], np.cumsum(market.returns.mean(axis=1))])
    ends = np.arange(1, _DAYS + 1) * 24
    week = total[ends] - total[np.maximum(ends - 168, 0)]
    growth = 0.0005 + 0.004 * week + 0.0007 * rng.standard_normal(_DAYS)
    values = np.round(1.302e11 * np.exp(np.cumsum(growth)), 0)
    known_ns = _daily_ends() + SUPPLY_LAG_NS
    yield "stablecoin_supply", MARKET_WIDE, _daily_ends(), known_ns, values, "assumed_lag"
    yield _corrections(rng, "stablecoin_supply", MARKET_WIDE, known_ns, values, 2.5e8, 0)


def _funding(seed: int, market: Market) -> Iterator[Rows]:
    """Yield 8-hourly funding rates: premium + clamp(interest - premium, +-0.05 %), as large venues compute them."""
    hours = np.arange(0, HOURS + 1, FUNDING_INTERVAL_HOURS)
    times = START_NS + hours.astype(np.int64) * HOUR_NS
    for number, coin in enumerate(COINS):
        noise = stream(seed, 70 + number).standard_normal(len(hours))
        total = np.concatenate([[0.0], np.cumsum(market.shock[:, number])])
        day = (total[hours] - total[np.maximum(hours - 24, 0)]) / np.sqrt(24.0)
        feeling = market.mood[np.maximum(hours - 1, 0), number]
        premium = 0.0002 + 0.00022 * feeling + 0.00025 * day + 0.0002 * noise
        rate = np.clip(premium + np.clip(0.0001 - premium, -0.0005, 0.0005), -0.0075, 0.0075)
        yield "funding_rate", coin.coin, times, times, np.round(rate, 8), "recorded"


def metric_columns(seed: int, market: Market, until_ns: int) -> dict[str, Any]:
    """Return the columns of the metrics' table: intervals that ended by `until_ns`, corrections as own rows."""
    rows = [*_flows(seed, market), _fear_greed(seed, market), *_supply(seed, market), *_funding(seed, market)]
    columns: dict[str, list[Any]] = {"name": [], "coin": [], "quality": [], "revision": []}
    times, known, values = [], [], []
    for name, coin, event_ns, known_ns, value, quality in rows:
        keep = event_ns <= until_ns
        count = int(keep.sum())
        columns["name"] += [name] * count
        columns["coin"] += [coin] * count
        columns["quality"] += [quality] * count
        columns["revision"] += [int(quality == "revised")] * count
        times.append(event_ns[keep])
        known.append(known_ns[keep])
        values.append(value[keep])
    return {
        "source": SOURCE,
        **columns,
        "event_ns": np.concatenate(times),
        "known_ns": np.concatenate(known),
        "value": np.concatenate(values),
    }
