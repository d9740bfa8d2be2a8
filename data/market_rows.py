"""What an exchange tells of now, as ccxt's rows give it: the order book's imbalance, bars that are closed, trades.

`book_imbalance` is (B - A) / (B + A): B the sizes that bid and A those that ask, from -1 (all ask) to 1 (all bid). They
are summed over the best so many levels of each side, or over all levels within so many basis points of the middle of
the best prices. Where the told book ends nearer than that on one side, both sides are cut at that distance.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from data.feed import Candle
from data.times import MILLISECOND_NS, SECOND_NS

CLOSED_NS: Final = 10 * SECOND_NS
"""A bar without a later one counts as closed so long after its end."""

BASIS_POINT: Final = 1e-4
EDGE: Final = 1e-12

LONG_SIDE: Final[Mapping[str, str]] = {"binance": "sell", "binanceusdm": "sell", "bybit": "buy"}
"""What the side of a liquidation is where a long position was closed: Binance tells that of the order, Bybit that of
the position. Elsewhere it wasn't looked up, and liquidations aren't recorded.
"""


def imbalance(book: Any, levels: int, bps: float) -> float:
    """The imbalance of an order book as ccxt gives it.

    Parameters
    ----------
    levels : int
        Of each side.
    bps : float
        Within so many basis points of the middle instead; 0: by levels.

    Raises
    ------
    ValueError
        A side is absent, sizes or prices can't be read, or the book is crossed.
    """
    bids, asks = _side(book, "bids")[:levels], _side(book, "asks")[:levels]
    if bids[0][0] >= asks[0][0]:
        raise ValueError("the book is crossed")
    if bps:
        middle = (bids[0][0] + asks[0][0]) / 2
        reach = min(bps * BASIS_POINT * middle, middle - bids[-1][0], asks[-1][0] - middle) + EDGE * middle
        bids = [level for level in bids if middle - level[0] <= reach]
        asks = [level for level in asks if level[0] - middle <= reach]
    else:
        both = min(len(bids), len(asks))
        bids, asks = bids[:both], asks[:both]
    bid, ask = math.fsum(size for _, size in bids), math.fsum(size for _, size in asks)
    if bid + ask <= 0:
        raise ValueError("the book holds nothing there")
    return (bid - ask) / (bid + ask)


def closed_bars(rows: Any, symbol: str, interval_ns: int, asked_ns: int) -> list[Candle]:
    """Bars of an answer that are over, oldest first: a later one came, or they ended seconds before the question.

    Raises
    ------
    ValueError
        It isn't a list of bars.
    """
    if not isinstance(rows, list) or not all(isinstance(row, (list, tuple)) and len(row) >= 6 for row in rows):
        raise ValueError("no list of bars")
    bars: dict[int, Candle] = {}
    for row in rows:
        open_ns = int(row[0]) * MILLISECOND_NS
        values = [math.nan if value is None else float(value) for value in row[1:6]]
        bars[open_ns] = Candle(symbol, interval_ns, open_ns, *values)
    newest = max(bars, default=0)
    return [
        bar
        for open_ns, bar in sorted(bars.items())
        if open_ns + interval_ns <= asked_ns and (open_ns < newest or asked_ns >= open_ns + interval_ns + CLOSED_NS)
    ]


def read_trade(row: Any, contract_size: float) -> tuple[Hashable, int, tuple[float, float, float]]:
    """Key, stamp, and what a trade adds: base units bought, base units sold, one.

    Raises
    ------
    ValueError, TypeError, LookupError
        It can't be read.
    """
    side, amount = row["side"], float(row["amount"]) * contract_size
    if side not in ("buy", "sell") or not 0 <= amount < math.inf:
        raise ValueError("no side, or no amount")
    stamp_ns = int(row["timestamp"]) * MILLISECOND_NS
    key = row.get("id") or (stamp_ns, side, row.get("price"), amount)
    return key, stamp_ns, (amount, 0.0, 1.0) if side == "buy" else (0.0, amount, 1.0)


def read_liquidation(row: Any, contract_size: float, long_side: str) -> tuple[Hashable, int, tuple[float, float]]:
    """Key, stamp, and what a liquidation adds: base units of longs, base units of shorts.

    Raises
    ------
    ValueError, TypeError, LookupError
        It can't be read.
    """
    side, amount = row["side"], float(row["contracts"]) * contract_size
    if side not in ("buy", "sell") or not 0 <= amount < math.inf:
        raise ValueError("no side, or no amount")
    stamp_ns = int(row["timestamp"]) * MILLISECOND_NS
    key = (stamp_ns, side, row.get("price"), amount)
    return key, stamp_ns, (amount, 0.0) if side == long_side else (0.0, amount)


def number(value: Any) -> float:
    """A finite number, or ValueError."""
    if isinstance(value, bool):
        raise ValueError("no number")
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found


def _side(book: Any, name: str) -> Sequence[tuple[float, float]]:
    rows = book[name]
    levels = [(number(row[0]), number(row[1])) for row in rows]
    if not levels or any(price <= 0 or size < 0 for price, size in levels):
        raise ValueError(f"no {name}, or not such as can be")
    return levels
