"""A synthetic market and the hidden mood of its crowd: every number here is invented and seeded.

The law of this file: an hour knows only the hours before it. Mood at the start of hour h was moved by returns up
to hour h-1; the return of hour h is drawn after that. In the coins with an edge the mood of an hour adds a small
drift to that hour's return (the planted edge); in all others mood only echoes past returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
START_NS = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC
HOURS = 366 * 24  # 2024 was a leap year; the last bar closes at 2025-01-01 00:00 UTC
END_NS = START_NS + HOURS * HOUR_NS

# Mixed into every seed. Chosen among a hundred so that in the default year the edge one measures is near the one
# planted and the other coins look as empty as they are; other seeds scatter around that as chance has it.
_SALT = 91

OUTAGE_HOUR = 43 * 24 + 2  # 2024-02-13 02:00 UTC: the venue was down, no bars for any symbol
OUTAGE_HOURS = 3
CRASH_HOUR = 218 * 24 + 1  # 2024-08-06 01:00 UTC, most of it over within ten hours


class SampleCoin(NamedTuple):
    """One invented coin under a real ticker: `sigma` is its own hourly volatility, `growth` the year's log growth."""

    coin: str
    name: str
    price: float
    decimals: int  # of the price grid
    beta: float
    sigma: float
    growth: float
    edge: float  # drift per unit of mood, in hourly volatilities; 0 = mood says nothing about the future
    turnover: float  # quote units in a usual hour
    volume_decimals: int
    share: float  # of the posts


COINS = (
    SampleCoin("BTC", "bitcoin", 42_260.0, 2, 1.00, 0.0020, 0.09, 0.0, 6.5e7, 5, 0.27),
    SampleCoin("ETH", "ethereum", 2_282.0, 2, 1.10, 0.0030, -0.07, 0.050, 4.0e7, 4, 0.21),
    SampleCoin("SOL", "solana", 101.5, 2, 1.25, 0.0045, -0.15, 0.050, 2.2e7, 3, 0.18),
    SampleCoin("ADA", "cardano", 0.594, 4, 1.15, 0.0042, -0.16, 0.0, 4.0e6, 1, 0.11),
    SampleCoin("DOGE", "dogecoin", 0.0896, 5, 1.20, 0.0050, 0.06, 0.0, 7.0e6, 0, 0.13),
)
COIN_NAMES = tuple(coin.coin for coin in COINS)
SYMBOLS = tuple(f"{coin.coin}/USDT" for coin in COINS)
PLANTED = tuple(f"{coin.coin}/USDT" for coin in COINS if coin.edge > 0)

MARKET_SIGMA = 0.0043  # hourly volatility of the common factor, about 40 % a year before the crash
MOOD_HALF_LIFE_HOURS = 18.0
REACTION = 0.45  # share of a mood shock's size that comes from the hour's own return
CROWD_SHARE = 0.25  # share of each coin's mood variance common to all coins

# (day, log level of the common factor): quiet climb, chop, slow bleed, crash, repair, rally, cooling off.
REGIMES = (
    *((0, 0.0), (36, 0.05), (72, 0.17), (104, 0.08), (135, 0.06), (176, 0.10), (218, 0.02), (219, -0.17)),
    *((255, -0.13), (292, -0.09), (326, 0.24), (346, 0.16), (366, 0.10)),
)


@dataclass(frozen=True)
class Market:
    """The whole hidden year. Arrays are [hours] or [hours, coins]; prices lie on each coin's tick grid.

    `mood` and `crowd` are the hidden moods (about unit variance) at the START of each hour, `returns` the hour's log
    return, `volatility` the volatility in force, `shock` the one over the other.
    """

    open_ns: I8
    open: F8
    high: F8
    low: F8
    close: F8
    volume: F8
    returns: F8
    volatility: F8
    shock: F8
    mood: F8
    crowd: F8


def stream(seed: int, number: int) -> np.random.Generator:
    """Return the generator of one explicit stream; streams never share draws, so parts can change independently."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([_SALT, seed, number])))


def hour_of_day(hours: int) -> I8:
    """Return the UTC hour of day of each hour, i8[hours]."""
    return np.arange(hours, dtype=np.int64) % 24


def is_weekend(hours: int) -> NDArray[np.bool_]:
    """Return True for hours of a Saturday or Sunday; the sample starts on a Monday."""
    return (np.arange(hours) // 24) % 7 >= 5


# Share of the day's activity by UTC hour: a lull before Europe opens, a peak when the American day begins.
_ACTIVITY = np.array(
    [0.95, 0.92, 0.88, 0.82, 0.78, 0.76, 0.80, 0.88, 0.96, 1.00, 1.00, 1.02]
    + [1.10, 1.26, 1.38, 1.36, 1.26, 1.15, 1.08, 1.04, 1.04, 1.02, 0.98, 0.96]
)


def activity(hours: int) -> F8:
    """Return the intraday and weekly activity pattern around 1, f8[hours]."""
    return _ACTIVITY[hour_of_day(hours)] * np.where(is_weekend(hours), 0.78, 1.06)


def _fat_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> F8:
    """Return Student-t(5) shocks of unit variance, cut at 7 so that no seed prints an absurd candle."""
    shocks: F8 = np.clip(rng.standard_t(5, size=shape) * np.sqrt(3.0 / 5.0), -7.0, 7.0)
    return shocks


def _clustered(shocks: F8) -> F8:
    """Return the GARCH(1,1) volatility in force before each shock, long-run level 1, f8[hours, k] like `shocks`."""
    variance = np.empty_like(shocks)
    now = np.ones(shocks.shape[1])
    for hour in range(shocks.shape[0]):
        variance[hour] = now
        now = np.minimum(0.025 + (0.075 * shocks[hour] ** 2 + 0.90) * now, 9.0)
    volatility: F8 = np.sqrt(variance)
    return volatility


def _crash() -> tuple[F8, F8]:
    """Return the crash's extra log return and the volatility multiple around it, each f8[HOURS]."""
    fall = np.zeros(HOURS)
    weights = np.array([0.05, 0.08, 0.14, 0.22, 0.16, 0.11, -0.04, 0.13, 0.09, 0.06])
    fall[CRASH_HOUR : CRASH_HOUR + len(weights)] = -0.20 * weights
    multiple = np.ones(HOURS)
    multiple[CRASH_HOUR:] += 1.6 * 0.97 ** np.arange(HOURS - CRASH_HOUR)
    return fall, multiple


def _common_factor(rng: np.random.Generator) -> tuple[F8, F8]:
    """Return the common factor's hourly log returns and their volatility, each f8[HOURS]."""
    shocks = _fat_tailed(rng, (HOURS, 1))
    fall, multiple = _crash()
    volatility = MARKET_SIGMA * _clustered(shocks)[:, 0] * np.sqrt(activity(HOURS)) * multiple
    returns = volatility * shocks[:, 0] + fall
    for (first, level), (last, next_level) in zip(REGIMES[:-1], REGIMES[1:], strict=True):
        part = slice(first * 24, last * 24)
        returns[part] += ((next_level - level) - returns[part].sum()) / ((last - first) * 24)
    return returns, volatility


def _moods_and_returns(seed: int) -> tuple[F8, F8, F8, F8, F8]:
    """Walk the hours once; return mood, crowd, returns, volatility, shock (see `Market`)."""
    count = len(COINS)
    beta, sigma, edge = (np.array([getattr(coin, field) for coin in COINS]) for field in ("beta", "sigma", "edge"))
    common, common_volatility = _common_factor(stream(seed, 1))
    own_shocks = _fat_tailed(stream(seed, 2), (HOURS, count))
    own_volatility = sigma * _clustered(own_shocks) * np.sqrt(activity(HOURS))[:, None]
    volatility = np.sqrt((beta * common_volatility[:, None]) ** 2 + own_volatility**2)
    base = np.sqrt((beta * MARKET_SIGMA) ** 2 + sigma**2)
    blind = beta * common[:, None] + own_volatility * own_shocks

    keep = 0.5 ** (1.0 / MOOD_HALF_LIFE_HOURS)
    size = np.sqrt(1.0 - keep**2)
    fresh = size * np.sqrt(1.0 - REACTION**2) * stream(seed, 3).standard_normal((HOURS, count + 1))
    echo = size * REACTION
    common_shock = np.clip(common / common_volatility, -2.5, 2.5)
    mood, crowd, returns = np.empty((HOURS, count)), np.empty(HOURS), np.empty((HOURS, count))
    own, everyone = np.zeros(count), 0.0
    for hour in range(HOURS):
        crowd[hour] = everyone
        mood[hour] = np.sqrt(CROWD_SHARE) * everyone + np.sqrt(1.0 - CROWD_SHARE) * own
        returns[hour] = blind[hour] + edge * base * mood[hour]
        shock = np.clip(returns[hour] / volatility[hour], -2.5, 2.5)
        own = keep * own + echo * shock + fresh[hour, :count]
        everyone = keep * everyone + echo * float(common_shock[hour]) + float(fresh[hour, count])
    # One constant per coin brings the year to its declared growth; a constant can neither make nor hide an edge.
    growth = np.array([coin.growth for coin in COINS])
    returns += (growth - returns.sum(axis=0)) / HOURS
    return mood, crowd, returns, volatility, returns / volatility


def _candles(rng: np.random.Generator, coin: SampleCoin, returns: F8, volatility: F8) -> tuple[F8, F8, F8, F8]:
    """Return open, high, low, close of one coin on its tick grid; each bar is a path of 20 steps."""
    steps = 20
    scale = 10**coin.decimals
    log_close = np.log(coin.price) + np.cumsum(returns)
    log_open = np.concatenate(([np.log(coin.price)], log_close[:-1]))
    walk = np.cumsum(_fat_tailed(rng, (len(returns), steps)), axis=1) * (volatility / np.sqrt(steps))[:, None]
    done = np.arange(1, steps + 1) / steps
    path = log_open[:, None] + walk + (returns - walk[:, -1])[:, None] * done  # a bridge from open to close
    close = np.rint(np.exp(log_close) * scale).astype(np.int64)
    opened = np.concatenate(([round(coin.price * scale)], close[:-1])) + rng.integers(-1, 2, size=len(returns))
    high = np.maximum(np.rint(np.exp(path.max(axis=1)) * scale).astype(np.int64), np.maximum(opened, close))
    low = np.minimum(np.rint(np.exp(path.min(axis=1)) * scale).astype(np.int64), np.minimum(opened, close))
    # Whole ticks divided by a power of ten give the double nearest to the decimal price, so grids stay exact.
    return opened / scale, high / scale, low / scale, close / scale


def _volumes(rng: np.random.Generator, coin: SampleCoin, close: F8, volatility: F8, shock: F8) -> F8:
    """Return base volume: a slow random level, the daily pattern, and more of it in wild and moving hours."""
    noise = rng.standard_normal((len(close), 2))
    slow = np.empty(len(close))
    level = 0.0
    for hour, step in enumerate(noise[:, 0].tolist()):
        level = 0.985 * level + 0.07 * step
        slow[hour] = level
    wild = np.log(volatility / np.median(volatility))
    size = slow + 0.6 * wild + 0.28 * np.minimum(np.abs(shock), 4.0) + 0.22 * noise[:, 1] - 0.25
    quote = coin.turnover * activity(len(close)) ** 1.5 * np.exp(size)
    return np.round(quote / close, coin.volume_decimals)


def make_market(seed: int) -> Market:
    """Return the seeded synthetic year of all coins, without the outage cut out."""
    mood, crowd, returns, volatility, shock = _moods_and_returns(seed)
    columns: dict[str, list[Any]] = {name: [] for name in ("open", "high", "low", "close", "volume")}
    for number, coin in enumerate(COINS):
        rng = stream(seed, 10 + number)
        candles = _candles(rng, coin, returns[:, number], volatility[:, number])
        for name, values in zip(("open", "high", "low", "close"), candles, strict=True):
            columns[name].append(values)
        columns["volume"].append(_volumes(rng, coin, candles[3], volatility[:, number], shock[:, number]))
    table = {name: np.column_stack(values) for name, values in columns.items()}
    open_ns = START_NS + np.arange(HOURS, dtype=np.int64) * HOUR_NS
    return Market(open_ns=open_ns, returns=returns, volatility=volatility, shock=shock, mood=mood, crowd=crowd, **table)
