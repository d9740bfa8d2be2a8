"""Results made by a small deterministic walk, for tests of figures, reports and saving.

No kernel takes part: a plain ledger in Python keeps the books, independent of the code that makes real results.
"""

from typing import Any

import numpy as np

from backtest.result import ORDERLOG, Discount, InputShare, Result
from risk.orders import CANCELLED, FILLED
from risk.records import (
    ACTIVE,
    ENTRY,
    EV_EXPIRED,
    EV_FUNDING,
    EV_LADDER,
    EV_REFUSED,
    EVENT,
    EXIT,
    FILL,
    MARKET,
    NO_NEW_RISK,
    R_ASSET_SHARE,
    R_STREAK,
    R_TURNOVER,
    STOP,
    STOP_LOSS,
)  # fmt: skip

HOUR_NS = 3600 * 10**9
START_NS = 1_704_067_200 * 10**9  # 2024-01-01
TAKER, SPREAD = 0.001, 0.0002
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT", "DOGE/USDT")
PRICES = (42_000.0, 2_300.0, 100.0, 0.6, 0.09)


class Ledger:
    """Cash, holdings and the records of one wallet; all is paid in full, so spot and perpetuals are alike."""

    def __init__(self, cash: float, count: int, fee_in_coin: bool) -> None:
        self.cash = cash
        self.held = np.zeros(count)
        self.stop = np.full(count, np.nan)
        self.fee_in_coin = fee_in_coin
        self.fills: list[tuple[Any, ...]] = []
        self.orders: list[tuple[Any, ...]] = []
        self.events: list[tuple[Any, ...]] = []

    def fill(self, ns: int, row: int, k: int, purpose: int, qty: float, price: float, ref: float) -> None:
        fee = abs(qty) * price * TAKER
        fee_base = qty * TAKER if self.fee_in_coin and qty > 0.0 else 0.0
        self.cash -= qty * price + (0.0 if fee_base else fee)
        self.held[k] += qty - fee_base
        if abs(self.held[k]) < 1e-12:
            self.held[k] = 0.0
        number = len(self.orders)
        slippage = qty * (price - ref)
        self.fills.append((ns, row, number, k, purpose, 0, qty, price, fee, fee_base, slippage, self.held[k], 0.0))
        kind, stop = (STOP, price) if purpose == STOP_LOSS else (MARKET, 0.0)
        side = 1 if qty > 0 else -1
        self.orders.append(
            (number, k, side, kind, purpose, FILLED, ns, ns, ns, row, abs(qty), abs(qty), price, stop, ref, price, 0)
        )

    def note(self, ns: int, kind: int, rule: int, k: int, level: int, was: int, limit: float, seen: float) -> None:
        self.events.append((ns, kind, rule, k, level, was, -1, limit, seen, 0.0, 0.0))


def made_market(n: int, count: int, seed: int, bar_ns: int) -> dict[str, Any]:
    """Prices and a mood that leads them a little: f8[n, M] each."""
    rng = np.random.default_rng(seed)
    hours = bar_ns / HOUR_NS
    mood = np.zeros((n, count))
    noise = rng.normal(0.0, 0.25 * np.sqrt(hours), (n, count))
    for i in range(1, n):
        mood[i] = mood[i - 1] * (1.0 - 0.08 * min(hours, 10.0)) + noise[i]
    mood = np.tanh(mood)
    drift = 0.0004 * hours * np.vstack([np.zeros((1, count)), mood[:-1]])
    steps = rng.normal(0.0, 0.007 * np.sqrt(hours), (n, count)) + drift
    base = np.array([PRICES[k % len(PRICES)] for k in range(count)])
    close = base * np.exp(np.cumsum(steps, axis=0))
    opened = np.vstack([base[None, :], close[:-1]]) * np.exp(rng.normal(0.0, 0.0004, (n, count)))
    wick = np.abs(rng.normal(0.0, 0.003 * np.sqrt(hours), (2, n, count)))
    high = np.maximum(opened, close) * (1.0 + wick[0])
    low = np.minimum(opened, close) * (1.0 - wick[1])
    flow = rng.normal(0.0, 1.0, (n, count))
    flow = np.cumsum(flow, axis=0) * 0.05
    return {"open": opened, "high": high, "low": low, "close": close, "mood": mood, "flow": flow}


def made_result(
    n: int = 24 * 60,
    symbols: tuple[str, ...] = SYMBOLS[:2],
    *,
    seed: int = 7,
    bar_ns: int = HOUR_NS,
    market: str = "spot",
    start_ns: int = START_NS,
    threshold: float = 0.35,
    **changes: Any,
) -> Result:
    """A run of a mood strategy over `n` bars; `changes` replace fields of the result."""
    world = made_market(n, len(symbols), seed, bar_ns)
    close_ns = start_ns + bar_ns * np.arange(1, n + 1, dtype=np.int64)
    book, record = _walk(world, close_ns, bar_ns, market, len(symbols), threshold)
    fields: dict[str, Any] = {
        "created_ns": start_ns + 366 * 24 * HOUR_NS,
        "strategy": "mood-flow",
        "strategy_hash": "5f" * 32,
        "params": {"entry": threshold, "exit": 0.1},
        "symbols": symbols,
        "quote": "USDT",
        "market": market,
        "bar_ns": bar_ns,
        "synthetic": True,
        "settings": _settings(symbols, market),
        "close_ns": close_ns,
        **{name: world[name] for name in ("open", "high", "low", "close")},
        **record,
        "decide_ns": close_ns.copy(),
        "signal_names": ("mood", "flow"),
        "rows": np.stack([world["mood"], world["flow"]], axis=2),
        "fills": np.array(book.fills, FILL),
        "orders": np.array(book.orders, ORDERLOG),
        "events": np.array(sorted(book.events), EVENT),
        "holds": {(symbols[0], "warming up", "flow"): 168, (symbols[-1], "stale", "mood"): 41, ("*", "no bar", ""): 3},
        "inputs": _inputs(symbols, n, close_ns),
        "doubts": ["assumed: funding of 0.01% every 8h"],
        "notes": ["feeds of posts were down once"],
        "model": {"id": "vader", "revision": "3.3.2", "cutoff": "2014-06-01", "warning": ""},
        "initial_cash": 10_000.0,
        "stress": {"fees doubled": 0.012, "one bar later": -0.031, "scores 10x as late": -0.044},
        "discounted": _discounted(symbols, start_ns),
        "trials": 12,
        "elapsed": 0.41,
    }
    return Result(**(fields | changes))


def _walk(
    world: dict[str, Any], close_ns: Any, bar_ns: int, market: str, count: int, threshold: float
) -> tuple[Any, ...]:
    """Fill at the next open what was decided at the close; a stop 4 % under the entry, filled inside the bar."""
    n = len(close_ns)
    book = Ledger(10_000.0, count, fee_in_coin=market == "spot")
    shorts = market == "perp"
    record = {name: np.zeros(n) for name in ("equity", "cash", "gross", "net")}
    record |= {"held": np.zeros((n, count)), "target": np.full((n, count), np.nan), "level": np.zeros(n, np.int8)}
    wish = np.zeros(count)
    equity = book.cash
    for i in range(n):
        begins = int(close_ns[i]) - bar_ns
        for sells_first in (True, False):
            for k in range(count):
                _trade(book, world, begins, i, k, wish[k], equity / count, sells_first)
        for k in range(count):
            _stop_out(book, world, int(close_ns[i]), i, k)
        if shorts and i % 8 == 7:
            _fund(book, world, int(close_ns[i]), i)
        prices = world["close"][i]
        equity = book.cash + float(book.held @ prices)
        record["equity"][i], record["cash"][i] = equity, book.cash
        record["gross"][i], record["net"][i] = np.abs(book.held * prices).sum(), book.held @ prices
        record["held"][i] = book.held
        mood = world["mood"][i]
        held = np.sign(np.where(np.abs(book.held * prices) > 1.0, book.held, 0.0))
        wish = np.where(np.abs(mood) > np.where(held != 0, 0.1, threshold), np.sign(mood), 0.0)
        wish = wish if shorts else np.maximum(wish, 0.0)
        record["target"][i] = wish / count
        _controls(book, record, int(close_ns[i]), i)
    return book, record


def _trade(book: Ledger, world: Any, ns: int, i: int, k: int, wish: float, stake: float, sells_first: bool) -> None:
    held, price = book.held[k], world["open"][i, k]
    ref = world["close"][max(i - 1, 0), k]
    lot = 10.0 ** np.floor(np.log10(1.0 / price))
    if sells_first and abs(held) > lot and np.sign(held) != wish:
        qty = -np.sign(held) * np.floor(abs(held) / (lot * 1e-2)) * lot * 1e-2
        book.fill(ns, i, k, EXIT, qty, price * (1.0 + np.sign(qty) * SPREAD), ref)
        book.stop[k] = np.nan
    elif not sells_first and wish != 0.0 and abs(held) <= lot:
        paid = price * (1.0 + wish * SPREAD)
        qty = wish * np.floor(min(stake, book.cash * 0.9) / paid / (lot * 1e-2)) * lot * 1e-2
        if qty != 0.0:
            book.fill(ns, i, k, ENTRY, qty, paid, ref)
            book.stop[k] = paid * (1.0 - 0.04 * wish)


def _stop_out(book: Ledger, world: Any, ns: int, i: int, k: int) -> None:
    stop, held = book.stop[k], book.held[k]
    hit = world["low"][i, k] <= stop if held > 0.0 else world["high"][i, k] >= stop
    if np.isfinite(stop) and held != 0.0 and hit:
        book.fill(ns, i, k, STOP_LOSS, -held, stop * (1.0 - np.sign(held) * SPREAD), stop)
        book.stop[k] = np.nan


def _fund(book: Ledger, world: Any, ns: int, i: int) -> None:
    for k in np.flatnonzero(book.held):
        paid = book.held[k] * world["close"][i, k] * 1e-4
        book.cash -= paid
        book.events.append((ns, EV_FUNDING, 0, k, 0, 0, -1, 1e-4, paid, book.held[k], world["close"][i, k]))


def _controls(book: Ledger, record: Any, ns: int, i: int) -> None:
    """A sprinkling of refusals, and one spell on the ladder."""
    if i % 97 == 50:
        book.note(ns, EV_REFUSED, R_ASSET_SHARE, 0, 0, 0, 0.5, 0.55 + 0.001 * (i % 7))
    if i % 301 == 40:
        book.note(ns, EV_REFUSED, R_TURNOVER, 0, 0, 0, 30_000.0, 31_250.0)
        book.note(ns, EV_EXPIRED, 0, 0, 0, 0, 0.0, 3.0)
    if i == 700:
        book.note(ns, EV_LADDER, R_STREAK, -1, NO_NEW_RISK, ACTIVE, 5.0, 5.0)
        book.orders.append(
            (len(book.orders), 0, 1, MARKET, ENTRY, CANCELLED, ns, ns, ns, i, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0)
        )
    if i == 748:
        book.note(ns, EV_LADDER, R_STREAK, -1, ACTIVE, NO_NEW_RISK, 5.0, 5.0)
    record["level"][i] = NO_NEW_RISK if 700 <= i < 748 else ACTIVE


def _settings(symbols: tuple[str, ...], market: str) -> dict[str, Any]:
    return {
        "run": {"symbols": list(symbols), "bar": "1h", "cash": "10000", "market": market, "resume_after": "never"},
        "params": {"entry": 0.35, "exit": 0.1},
        "fill": {"profile": "default"},
        "effective": {
            "fills": {"taker": TAKER, "maker": 0.0005, "spread": SPREAD, "latency_ns": 250_000_000},
            "limits": {"asset_share": 0.5, "drawdown": 0.25, "gross_leverage": float("inf")},
            "markets": {symbol: {"lot": 1e-5, "tick": 0.01, "min_notional": 5.0} for symbol in symbols},
            "leverage": 1.0,
        },
    }


def _discounted(symbols: tuple[str, ...], start_ns: int) -> list[Discount]:
    coin = symbols[0].split("/")[0]
    end_ns = start_ns + 7 * HOUR_NS
    return [
        Discount(coin, 21, "one template", start_ns + HOUR_NS, end_ns, 1984, 14, 0.5, 0.975),
        Discount("*", 22, "one source alone", end_ns, end_ns + HOUR_NS, 2, 0, 0.5, 0.62),
        Discount(coin, 0, "near-duplicates, the k-th for 1/k", start_ns, end_ns, 300, 0, 0.0, 41.4),
    ]


def _inputs(symbols: tuple[str, ...], n: int, close_ns: Any) -> list[InputShare]:
    first, last = int(close_ns[0]), int(close_ns[-1])
    shares = [
        InputShare("bars", f"{symbol} 1h", "synthetic", n, first, last, f"{k:064x}", {"assumed_lag": n})
        for k, symbol in enumerate(symbols)
    ]
    shares.append(
        InputShare("sentiment", "vader@3.3.2", "synthetic-posts", 40_000, first, last, "ab" * 32, {"recorded": 40_000})
    )
    quality = {"assumed_lag": 900, "revised": 100}
    shares.append(InputShare("metrics", "exchange_netflow *", "synthetic-chain", 1000, first, last, "cd" * 32, quality))
    return shares
