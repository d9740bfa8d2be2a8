"""The public side of the linear venue: bars made of the prices that a test sets, tickers, the book, funding rates."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.venue.bybit_auth import Denied
from tests.venue.bybit_rows import Row, exec_key, instrument_row, plain
from tests.venue.matching import Engine
from tests.venue.records import ZERO, Happening, dec

Bar = list[Decimal]  # open, high, low, close, volume
MINUTE = 60_000
DAY = 1440 * MINUTE
FUNDING_MS = 8 * 60 * MINUTE
GAP_MAX = 3 * 1440  # minutes without a price that are filled with flat bars; older ones stay missing
INTERVALS = {name: int(name) * MINUTE for name in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")} | {
    "D": DAY,
    "W": 7 * DAY,
}


class Tape:
    """Minute bars by symbol, and what is told in public."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.bars: dict[str, dict[int, Bar]] = {name: {} for name in engine.specs}
        self.rates: dict[str, list[tuple[int, Decimal]]] = {name: [] for name in engine.specs}
        self.next_rate: dict[str, Decimal] = {name: Decimal("0.0001") for name in engine.specs}
        engine.hooks.append(self._hear)

    def _hear(self, news: Happening) -> None:
        if news.what == "PRICE":
            self.add(news.symbol, news.ms, news.amounts["price"], ZERO)
        elif news.trade is not None and not news.trade.liquidation:
            self.add(news.symbol, news.ms, news.trade.price, news.trade.qty)

    def add(self, symbol: str, now: int, price: Decimal, qty: Decimal) -> None:
        """One price, with the quantity that traded at it."""
        bars, start = self.bars[symbol], now - now % MINUTE
        last = max(bars, default=start)
        if start not in bars:
            for minute in range(max(last + MINUTE, start - GAP_MAX * MINUTE), start, MINUTE):
                bars[minute] = [bars[last][3]] * 4 + [ZERO]
            bars[start] = [price] * 4 + [ZERO]
        bar = bars[start]
        bars[start] = [bar[0], max(bar[1], price), min(bar[2], price), price, bar[4] + qty]

    def put(self, symbol: str, open_ms: int, values: list[Any]) -> None:
        """Set one minute bar (open, high, low, close, volume) as history."""
        self.bars[symbol][open_ms] = [dec(value) for value in values]

    def over(self, symbol: str, interval: str) -> dict[int, Bar]:
        """Bars of a coarser interval by their start, oldest first."""
        length = _length(interval)
        parts: dict[int, list[Bar]] = {}
        for minute, bar in sorted(self.bars[symbol].items()):
            parts.setdefault(begin(minute, length), []).append(bar)
        return {start: _joined(bars) for start, bars in parts.items()}

    # --- endpoints ---------------------------------------------------------------------------------------------------
    def kline(self, query: Row, now: int) -> Row:
        """Bars, newest first; the one that is still forming too."""
        symbol, interval = self._symbol(query), str(query.get("interval"))
        first, last = int(query.get("start") or 0), int(query.get("end") or now)
        limit = min(int(query.get("limit") or 200), 1000)
        rows = [
            [str(start), *(plain(value) for value in bar[:4]), plain(bar[4]), plain(bar[4] * bar[3])]
            for start, bar in self.over(symbol, interval).items()
            if begin(first, _length(interval)) <= start <= last
        ]
        # With a start the oldest are given, else the newest.
        chosen = rows[:limit] if query.get("start") else rows[-limit:]
        return {"category": "linear", "symbol": symbol, "list": chosen[::-1]}

    def kline_push(self, symbol: str, interval: str, start: int, now: int) -> Row:
        """One bar for the stream: confirmed when its time is over."""
        length = _length(interval)
        bars = self.bars[symbol]
        parts = [bars[minute] for minute in range(start, start + length, MINUTE) if minute in bars]
        bar = _joined(parts)
        names = ("open", "high", "low", "close", "volume")
        return {
            "start": start, "end": start + length - 1, "interval": interval,
            **{name: plain(value) for name, value in zip(names, bar, strict=True)},
            "turnover": plain(bar[4] * bar[3]), "confirm": now >= start + length, "timestamp": now,
        }  # fmt: skip

    def instruments(self, query: Row, now: int) -> Row:
        """Markets of the category and state asked for; all of them on one page."""
        wanted = query.get("symbol")
        rows = [instrument_row(spec) for name, spec in self.engine.specs.items() if wanted in (None, "", name)]
        if query.get("category") != "linear":
            rows = []
        state = query.get("status")
        rows = [row for row in rows if row["status"] == state or (state is None and row["status"] != "Closed")]
        return {"category": query.get("category", ""), "list": rows, "nextPageCursor": ""}

    def ticker(self, symbol: str, now: int) -> Row:
        """One ticker."""
        book = self.engine.books[symbol]
        bars = [bar for start, bar in self.bars[symbol].items() if start > now - DAY] or [[book.price] * 4 + [ZERO]]
        first, volume = bars[0][0], sum((bar[4] for bar in bars), ZERO)
        bid, ask = (next(iter(book.shown(side)), (ZERO, ZERO)) for side in ("bid", "ask"))
        return {
            "symbol": symbol, "lastPrice": plain(book.price), "markPrice": plain(book.mark),
            "indexPrice": plain(book.price), "prevPrice24h": plain(first),
            "price24hPcnt": plain(((book.price - first) / first).quantize(Decimal("0.000001")) if first else ZERO),
            "highPrice24h": plain(max(bar[1] for bar in bars)), "lowPrice24h": plain(min(bar[2] for bar in bars)),
            "prevPrice1h": plain(first), "openInterest": "1000", "openInterestValue": plain(1000 * book.price),
            "turnover24h": plain(volume * book.price), "volume24h": plain(volume),
            "fundingRate": plain(self.next_rate[symbol]), "fundingIntervalHour": "8",
            "nextFundingTime": str(now - now % FUNDING_MS + FUNDING_MS),
            "bid1Price": plain(bid[0]), "bid1Size": plain(bid[1]), "ask1Price": plain(ask[0]),
            "ask1Size": plain(ask[1]), "deliveryTime": "0", "deliveryFeeRate": "", "basisRate": "", "basis": "",
            "predictedDeliveryPrice": "", "preOpenPrice": "", "preQty": "", "curPreListingPhase": "",
        }  # fmt: skip

    def tickers(self, query: Row, now: int) -> Row:
        """The ticker of a symbol, or all of them."""
        names = [self._symbol(query)] if query.get("symbol") else list(self.engine.specs)
        rows = [self.ticker(name, now) for name in names] if query.get("category") == "linear" else []
        return {"category": query.get("category", ""), "list": rows}

    def book(self, query: Row, now: int) -> Row:
        """The order book."""
        symbol = self._symbol(query)
        return self.book_rows(symbol, min(int(query.get("limit") or 25), 500)) | {"ts": now, "cts": now}

    def book_rows(self, symbol: str, depth: int) -> Row:
        """Both sides, best first."""
        book = self.engine.books[symbol]
        rows = {side: [[plain(price), plain(qty)] for price, qty in book.shown(side)] for side in ("bid", "ask")}
        return {"s": symbol, "b": rows["bid"][:depth], "a": rows["ask"][:depth], "u": 1, "seq": 1}

    def trades(self, query: Row, now: int) -> Row:
        """The newest trades of a symbol."""
        symbol = self._symbol(query)
        rows = [
            {
                "execId": exec_key(trade.id, symbol, "public"), "symbol": symbol, "price": plain(trade.price),
                "size": plain(trade.qty), "side": "Buy" if trade.side == "buy" else "Sell", "time": str(trade.ms),
                "isBlockTrade": False, "isRPITrade": False,
            }
            for trade in self.engine.trades if trade.symbol == symbol
        ]  # fmt: skip
        return {"category": "linear", "list": rows[::-1][: int(query.get("limit") or 500)]}

    def funding(self, query: Row, now: int) -> Row:
        """Rates of funding that was due, newest first."""
        symbol = self._symbol(query)
        first, last = int(query.get("startTime") or 0), int(query.get("endTime") or now)
        rows = [
            {"symbol": symbol, "fundingRate": plain(rate), "fundingRateTimestamp": str(stamp)}
            for stamp, rate in self.rates[symbol] if first <= stamp <= last
        ]  # fmt: skip
        return {"category": "linear", "list": rows[::-1][: int(query.get("limit") or 200)]}

    def risk_limit(self, query: Row, now: int) -> Row:
        """One tier: the same maintenance rate at every size."""
        names = [self._symbol(query)] if query.get("symbol") else list(self.engine.specs)
        rows = [
            {
                "id": 1, "symbol": name, "riskLimitValue": "2000000", "isLowestRisk": 1, "mmDeduction": "",
                "maintenanceMargin": plain(self.engine.specs[name].maintenance),
                "initialMargin": plain(1 / self.engine.specs[name].max_leverage),
                "maxLeverage": plain(self.engine.specs[name].max_leverage),
            }
            for name in names
        ]  # fmt: skip
        return {"category": "linear", "list": rows, "nextPageCursor": ""}

    def _symbol(self, query: Row) -> str:
        symbol = str(query.get("symbol"))
        if symbol not in self.engine.specs:
            raise Denied(10001, "Not supported symbols")
        return symbol


def begin(stamp: int, length: int) -> int:
    """Start of the bar that a time lies in; weeks begin on Monday."""
    shift = 4 * DAY if length == 7 * DAY else 0
    return (stamp - shift) // length * length + shift


def _joined(parts: list[Bar]) -> Bar:
    """One bar of several that follow each other."""
    high, low = max(bar[1] for bar in parts), min(bar[2] for bar in parts)
    return [parts[0][0], high, low, parts[-1][3], sum((bar[4] for bar in parts), ZERO)]


def _length(interval: str) -> int:
    if interval not in INTERVALS:
        raise Denied(10001, "params error: interval invalid")
    return INTERVALS[interval]
