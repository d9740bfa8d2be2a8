"""The public side of the linear venue: bars that a test gives or that its prices make, tickers, book, funding rates."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.venue.bybit_auth import Denied
from tests.venue.bybit_rows import Row, exec_key, instrument_row, plain
from tests.venue.candles import STEP_MS, Candles
from tests.venue.matching import Engine
from tests.venue.records import ZERO, Happening

MINUTE = 60_000
DAY = 1440 * MINUTE
FUNDING_MS = 8 * 60 * MINUTE
GAP_MAX = 1000  # bars without a price that are made flat; older ones stay missing
NAMES = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "720": "12h", "D": "1d",
}  # fmt: skip
ALL_NAMES = {**NAMES, "1s": "1s"}  # seconds, which the real venue hasn't: a bot that is killed can't wait for minutes


class Tape:
    """What is told in public. make_bars: prices and trades make bars of every interval, by the venue's clock."""

    def __init__(self, engine: Engine, *, make_bars: bool = False) -> None:
        self.engine = engine
        self.candles = Candles()
        self.rates: dict[str, list[tuple[int, Decimal]]] = {name: [] for name in engine.specs}
        self.next_rate: dict[str, Decimal] = {name: Decimal("0.0001") for name in engine.specs}
        if make_bars:
            engine.hooks.append(self._hear)

    def _hear(self, news: Happening) -> None:
        for name in NAMES.values():
            if news.what == "PRICE":
                self._add(news.symbol, name, news.ms, news.amounts["price"], ZERO)
            elif news.trade is not None and not news.trade.liquidation:
                self._add(news.symbol, name, news.ms, news.trade.price, news.trade.qty)

    def _add(self, symbol: str, name: str, now: int, price: Decimal, qty: Decimal) -> None:
        """Work one price into the bar of its time, flat bars before it where there was none."""
        step, rows = STEP_MS[name], self.candles.rows.get((symbol, name), [])
        start, last = now - now % step, rows[-1] if rows else None
        if last is not None and last[0] == start:
            high, low = max(Decimal(last[2]), price), min(Decimal(last[3]), price)
            values = [last[1], plain(high), plain(low), plain(price), plain(Decimal(last[5]) + qty)]
        else:
            values = [plain(price)] * 4 + [plain(qty)]
            if last is not None:
                for gap in range(max(last[0] + step, start - GAP_MAX * step), start, step):
                    self.candles.put(symbol, name, gap, [last[4]] * 4 + ["0"])
        self.candles.put(symbol, name, start, values)

    # --- endpoints ---------------------------------------------------------------------------------------------------
    def kline(self, query: Row, now: int) -> Row:
        """Bars, newest first; the one that is still forming too. With a start the oldest are given, else the newest."""
        symbol, name = self._symbol(query), ALL_NAMES.get(str(query.get("interval")))
        if name is None:
            raise Denied(10001, "params error: interval invalid")
        first, last = (int(query[name]) if query.get(name) else None for name in ("start", "end"))
        if first is not None:
            first -= first % STEP_MS[name]  # the bar that holds the start is given too
        rows = self.candles.get(symbol, name, first, last, min(int(query.get("limit") or 200), 1000))
        return {
            "category": "linear",
            "symbol": symbol,
            "list": [[str(row[0]), *row[1:6], "0"] for row in reversed(rows)],
        }

    def kline_push(self, interval: str, row: list[Any], now: int, *, closed: bool) -> Row:
        """One bar for the stream."""
        names = ("open", "high", "low", "close", "volume")
        return {
            "start": row[0], "end": row[6], "interval": interval, **dict(zip(names, row[1:6], strict=True)),
            "turnover": "0", "confirm": closed, "timestamp": now,
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
        day = [trade for trade in self.engine.trades if trade.symbol == symbol and trade.ms > now - DAY]
        volume = sum((trade.qty for trade in day), ZERO)
        prices = [book.price, *(trade.price for trade in day)]
        first = prices[-1]
        bid, ask = (next(iter(book.shown(side)), (ZERO, ZERO)) for side in ("bid", "ask"))
        return {
            "symbol": symbol, "lastPrice": plain(book.price), "markPrice": plain(book.mark),
            "indexPrice": plain(book.price), "prevPrice24h": plain(first),
            "price24hPcnt": plain(((book.price - first) / first).quantize(Decimal("0.000001")) if first else ZERO),
            "highPrice24h": plain(max(prices)), "lowPrice24h": plain(min(prices)),
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
