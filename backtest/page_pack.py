"""Packs a run's curves for the page: little-endian arrays behind a JSON header, thinned to what a screen can show.

Layout: u32 length of the header, the header (JSON, padded to 8), then the arrays, each padded to 8. Curves longer than
the budget are cut into buckets of equal length, of which the lowest and the highest value are kept in the order they
came: what sticks out stays visible. Prices and curves are float32, times float64 milliseconds UTC.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backtest.curve import filled
from backtest.metrics import hold_curve
from backtest.trades import round_trips
from risk.records import LEVELS, PURPOSES

if TYPE_CHECKING:
    from backtest.result import Result

Array = npt.NDArray[Any]

MOST_POINTS = 20_000  # of one curve
MOST_BYTES = 2_400_000  # of all curves together, before compression
MOST_TRADES = 10_000
MOST_FILLS = 30_000
MOST_SPANS = 400


class Pack:
    """Collects arrays and writes them behind their header."""

    def __init__(self) -> None:
        self.header: dict[str, Any] = {}
        self._arrays: dict[str, Array] = {}

    def add(self, name: str, values: Array, dtype: str = "f4") -> None:
        """Add an array under `name`; dtype is f4, f8 or i4."""
        with np.errstate(over="ignore"):
            self._arrays[name] = np.ascontiguousarray(values, dtype=f"<{dtype}")

    def tobytes(self) -> bytes:
        """Header and arrays as one run of bytes."""
        places, parts, offset = {}, [], 0
        for name, values in self._arrays.items():
            raw = values.tobytes()
            places[name] = [offset, len(values), values.dtype.str[1:]]
            parts.append(raw + b"\0" * (-len(raw) % 8))
            offset += len(parts[-1])
        header = json.dumps(self.header | {"arrays": places}, allow_nan=False).encode()
        header += b" " * (-(len(header) + 4) % 8)
        return struct.pack("<I", len(header)) + header + b"".join(parts)


def pack(result: Result) -> tuple[bytes, dict[str, int]]:
    """The page's bytes, and how much was left out: `bucket` (bars a bucket, 1 = all of them), `trades`, `fills`."""
    box = Pack()
    bars, decisions = len(result.close_ns), len(result.decide_ns)
    names = result.signal_names if result.rows is not None else ()
    # Five curves of the account; each symbol's close, weight and signals.
    curves = 5 + len(result.symbols) * (2 + len(names))
    limit = max(min(MOST_POINTS, MOST_BYTES // (4 * curves)), 500)
    prices = bars <= limit and 4 * bars * (curves + 3 * len(result.symbols)) <= MOST_BYTES
    times = Thinner(result.close_ns, limit)
    _add_account(box, result, times)
    _add_symbols(box, result, times, prices)
    if names:
        _add_signals(box, result, Thinner(result.decide_ns, limit))
    left_out = {"bucket": times.width, "trades": _add_trades(box, result), "fills": _add_fills(box, result)}
    box.header |= {
        "quote": result.quote,
        "market": result.market,
        "symbols": list(result.symbols),
        "signals": list(names),
        "bar_ms": result.bar_ns / 1e6,
        "purposes": list(PURPOSES),
        "candles": prices,
        "bucket": times.width,
        "bars": bars,
        "decisions": decisions,
        "start_ms": (int(result.close_ns[0]) - result.bar_ns) / 1e6,
        "initial": result.initial_cash,
        "spans": ladder_spans(result),
        "left_out": left_out,
    }
    return box.tobytes(), left_out


class Thinner:
    """Cuts curves over one time axis to at most `limit` points, all in the same way."""

    def __init__(self, times_ns: Array, limit: int) -> None:
        count = len(times_ns)
        self.width = 1 if count <= limit else -(-count // (limit // 2))
        self._whole = count // self.width * self.width
        if self.width == 1:
            self.times = times_ns / 1e6
            return
        starts = times_ns[: self._whole : self.width]
        middles = times_ns[self.width // 2 : self._whole : self.width]
        self.times = np.r_[np.column_stack([starts, middles]).ravel(), times_ns[-1]] / 1e6

    def __call__(self, values: Array) -> Array:
        """`values` (one a time) thinned: low and high of each bucket as they came, and the last one. NaN stay."""
        if self.width == 1:
            return values
        buckets = values[: self._whole].reshape(-1, self.width)
        known = np.isfinite(buckets)
        low = np.where(known, buckets, np.inf).argmin(axis=1)
        high = np.where(known, buckets, -np.inf).argmax(axis=1)
        pair = np.sort(np.column_stack([low, high]), axis=1)
        kept = np.take_along_axis(buckets, pair, axis=1).ravel()
        thinned: Array = np.r_[kept, values[-1]]
        return thinned


def ladder_spans(result: Result) -> list[tuple[float, float, str]]:
    """Stretches above ACTIVE as (from ms, to ms, level name); the longest ones when there are very many."""
    level = np.asarray(result.level, np.int64)
    edges = np.flatnonzero(np.diff(level)) + 1
    starts, stops = np.r_[0, edges], np.r_[edges, len(level)]
    spans = [
        ((int(result.close_ns[a]) - result.bar_ns) / 1e6, int(result.close_ns[b - 1]) / 1e6, LEVELS[level[a]])
        for a, b in zip(starts.tolist(), stops.tolist(), strict=True)
        if level[a] > 0
    ]
    if len(spans) > MOST_SPANS:
        spans = sorted(sorted(spans, key=lambda span: span[0] - span[1])[:MOST_SPANS])
    return spans


def _add_account(box: Pack, result: Result, thin: Thinner) -> None:
    equity = filled(result.equity)
    highs = np.maximum.accumulate(np.fmax(equity, result.initial_cash))
    hold, _ = hold_curve(result)
    alive = equity > 0.0
    share = np.divide(result.gross, equity, out=np.zeros(len(equity)), where=alive)
    net = np.divide(result.net, equity, out=np.zeros(len(equity)), where=alive)
    box.add("t", thin.times, "f8")
    box.add("equity", thin(equity))
    box.add("hold", thin(hold))
    box.add("fall", thin(equity / highs - 1.0))
    box.add("gross", thin(share))
    box.add("net", thin(net))


def _add_symbols(box: Pack, result: Result, thin: Thinner, prices: bool) -> None:
    equity = np.where(result.equity > 0.0, result.equity, np.nan)
    for k in range(len(result.symbols)):
        close = result.close[:, k]
        box.add(f"close{k}", thin(close))
        box.add(f"weight{k}", thin(np.nan_to_num(result.held[:, k] * filled(close) / equity)))
        for name in ("open", "high", "low") if prices else ():
            box.add(f"{name}{k}", getattr(result, name)[:, k])


def _add_signals(box: Pack, result: Result, thin: Thinner) -> None:
    assert result.rows is not None
    box.add("decide", thin.times, "f8")
    for k in range(len(result.symbols)):
        for s in range(len(result.signal_names)):
            box.add(f"signal{k}_{s}", thin(result.rows[:, k, s]))


def _add_trades(box: Pack, result: Result) -> int:
    """The trips by column; returns how many were left out."""
    trades = round_trips(result)
    kept = trades[:MOST_TRADES]
    box.add("trade_entry", kept["entry_ns"] / 1e6, "f8")
    box.add("trade_exit", np.where(kept["open"] == 1, np.nan, kept["exit_ns"] / 1e6), "f8")
    for name in ("symbol", "side", "bars", "purpose"):
        box.add(f"trade_{name}", kept[name], "i4")
    for name in ("entry_price", "exit_price", "qty", "fees", "slippage", "funding", "pnl", "return"):
        box.add(f"trade_{name}", kept[name], "f8" if name == "pnl" else "f4")
    return len(trades) - len(kept)


def _add_fills(box: Pack, result: Result) -> int:
    """The fills by column, for the marks in the price chart; returns how many were left out."""
    kept = result.fills[:MOST_FILLS]
    box.add("fill_t", kept["ns"] / 1e6, "f8")
    for name in ("symbol", "purpose"):
        box.add(f"fill_{name}", kept[name], "i4")
    for name in ("qty", "price"):
        box.add(f"fill_{name}", kept[name])
    return len(result.fills) - len(kept)
