"""Markets as they are, by ccxt: funding, open interest, ratios, order books, trades, liquidations and closed bars.

Facts bear the exchange's ccxt name as their source, like those of `tidegate fetch`; metrics of spot symbols that of the
exchange with `_spot` behind it. Metrics, for the symbol's base asset:

- `funding_rate`: settled, at its funding time, as soon as the exchange tells it; `funding_rate_next`: what it says now
  that the next one will be, at the time of saying.
- `open_interest` in base units, `open_interest_value` in quote where it is told; `long_short_ratio`: accounts that are
  long for each that is short, by five minutes (see `data.series_rows` for its stamp).
- `trade_volume_buy`, `trade_volume_sell` in base units by the taker's side, and `trade_count`, a minute each;
  `liquidations_long`, `liquidations_short` in base units of positions that were closed by force, a minute each. Only
  minutes that were heard without a break; see `data.minutes`. Binance tells of one liquidation a second and symbol at
  most, so the sums are less than what happened.
- `book_imbalance`: see `data.market_rows`; sampled.

Bars are told when they are closed. A correction of one, or of a minute, is told again and becomes a revision.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from pydantic import Field

from data.errors import InputError
from data.feed import Batch, Candle, Card, FeedError, Item, Options, Progress, Reading, Source, Take, Terms, Tools
from data.live_exchange import LiveExchange
from data.market_rows import LONG_SIDE, closed_bars, imbalance, number
from data.market_streams import Streams
from data.series_rows import read_values, snap
from data.times import HOUR_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS, Span, floor_time

What = Literal["funding", "open_interest", "long_short_ratio", "book", "bars", "trades", "liquidations"]
PERPETUAL: Final = ("funding", "open_interest", "long_short_ratio", "liquidations")
STREAMED: Final = ("trades", "liquidations")
NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "funding": ("fetchFundingRate", "fetchFundingRateHistory"),
    "open_interest": ("fetchOpenInterest",),
    "long_short_ratio": ("fetchLongShortRatioHistory",),
    "book": ("fetchOrderBook",),
    "bars": ("fetchOHLCV",),
    "trades": ("watchTrades",),
    "liquidations": ("watchLiquidations",),
}
RATIO_NS: Final = 5 * MINUTE_NS
BARS_MAX: Final = 500
TOLD_MAX: Final = 5
SETTLED_MAX: Final = 100
SOON_S: Final = 5.0

CARD: Final = Card(
    name="market",
    title="Markets of an exchange, live (ccxt)",
    kinds=("metrics", "bars"),
    live=True,
    history="",
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="public market data without a key; what may be done with them is in the exchange's own terms",
        url="https://docs.ccxt.com/",
    ),
    per_minute=600.0,
)


class MarketOptions(Options):
    """The table `[feeds.market]`."""

    exchange: str = Field("binance", description="the exchange by its name in ccxt")
    symbols: tuple[str, ...] = Field((), description="BTC/USDT:USDT; left out: perpetuals of the run's coins in USDT")
    what: tuple[What, ...] = Field(
        ("funding", "open_interest"),
        min_length=1,
        description="funding, open_interest, long_short_ratio, book, bars, trades, liquidations",
    )
    every: float = Field(60.0, ge=1.0, description="seconds between two questions of one kind")
    book_every: float = Field(10.0, ge=1.0, description="seconds between two samples of the order books")
    levels: int = Field(20, ge=1, le=1000, description="levels of each side of the order book that are asked for")
    bps: float = Field(0.0, ge=0.0, le=1000.0, description="imbalance within so many basis points; 0: of all levels")
    bar: str = Field("1m", description="length of recorded bars, as ccxt writes it")
    silence: float = Field(60.0, ge=0.1, description="seconds without a sign of life after which a stream is broken")
    timeout: float = Field(12.0, ge=0.1, description="seconds that one question may take")
    urls: dict[str, str] = Field(default_factory=dict, description="other endpoints: rest, stream, or ccxt's own names")


class Market:
    """The feed: one task a kind of question, the streams, and an end for all of them when one fails."""

    card = CARD

    def __init__(self, options: MarketOptions, tools: Tools) -> None:
        self._options, self._tools = options, tools
        self._symbols = options.symbols or tuple(f"{coin}/USDT:USDT" for coin in tools.coins)
        self.counts: Counter[str] = Counter()
        self._take: Take | None = None
        self._turn = asyncio.Lock()
        told = {name: tools.memory.get(name) for name in ("settled", "bars")}
        self._cursor = {name: dict(value) if isinstance(value, dict) else {} for name, value in told.items()}
        self._due: dict[str, int] = {}
        self._left: dict[tuple[str, str], int] = {}
        self._ratios: dict[str, int] = {}
        self._bars: dict[str, dict[int, Candle]] = {}
        self._check()

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`: history of markets has verbs of its own."""
        raise InputError(
            "a live feed; history of markets is asked for by other verbs, and what they don't bring has to be recorded",
            key="source",
            value=CARD.name,
            remedy="tidegate fetch bars, funding, open-interest or long-short-ratio; or from now on: tidegate record",
        )

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        options = self._options
        self._take = take
        exchange = LiveExchange(options.exchange, options.urls, options.timeout, self._tools.clock, self.counts)
        streams: Streams | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            await exchange.open(self._symbols)
            self._check_abilities(exchange)
            self._tools.alive()
            jobs = self._questions(exchange)
            streamed = [name for name in options.what if name in STREAMED]
            if streamed:
                streams = Streams(
                    exchange, self._symbols, streamed, tools=self._tools, silence_s=options.silence, counts=self.counts,
                    left=self._left, hand_over=self._hand_over_now,
                )  # fmt: skip
                jobs += streams.jobs()
            tasks = [asyncio.ensure_future(job) for job in jobs]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
            if streams is not None:
                streams.end()
            await exchange.close()

    def health(self) -> dict[str, Any]:
        """Counts: questions, items, minutes told and broken, things that came late or twice."""
        return {"exchange": self._options.exchange, "symbols": len(self._symbols), **self.counts}

    # --- what is asked again and again --------------------------------------------------------------------------------
    def _questions(self, exchange: LiveExchange) -> list[Any]:
        options = self._options
        asks: dict[str, tuple[float, Callable[[LiveExchange, str], Awaitable[None]]]] = {
            "funding": (options.every, self._funding),
            "open_interest": (options.every, self._open_interest),
            "long_short_ratio": (options.every, self._ratio),
            "book": (options.book_every, self._book),
        }
        jobs: list[Any] = [self._again(exchange, *asks[name]) for name in asks if name in options.what]
        return jobs + ([self._follow_bars(exchange)] if "bars" in options.what else [])

    async def _again(
        self, exchange: LiveExchange, every_s: float, ask: Callable[[LiveExchange, str], Awaitable[None]]
    ) -> None:
        while True:
            for symbol in self._symbols:
                try:
                    await ask(exchange, symbol)
                except (TypeError, ValueError, LookupError) as error:
                    raise FeedError(f"{exchange.name}: {symbol}: an answer can't be read ({error})") from None
                self._tools.alive()
            await self._tools.sleep(every_s * (1.0 + 0.1 * self._tools.rng.random()))

    async def _funding(self, exchange: LiveExchange, symbol: str) -> None:
        made = exchange.made
        row = await exchange.ask(lambda: made.fetch_funding_rate(symbol))
        arrived_ns = self._tools.clock.now_ns()
        values, fault = read_values("funding", row)
        if fault:
            raise ValueError(fault)
        coin, stamp_ns = _coin(symbol), _stamp(row, arrived_ns)
        items: list[Item] = [Reading("funding_rate_next", coin, stamp_ns, values["funding_rate"])]
        if arrived_ns < self._due.get(symbol, 0):
            await self._hand_over(symbol, items, arrived_ns)
            return
        last = int(self._cursor["settled"].get(symbol, 0))
        since = (last + MINUTE_NS) // MILLISECOND_NS if last else None
        rows = await exchange.ask(lambda: made.fetch_funding_rate_history(symbol, since, SETTLED_MAX if last else 1))
        arrived_ns, newest = self._tools.clock.now_ns(), last
        for settled in rows:
            values, fault = read_values("funding", settled)
            if fault:
                raise ValueError(fault)
            event_ns = snap(int(settled["timestamp"]) * MILLISECOND_NS)
            if event_ns > last:
                items.append(Reading("funding_rate", coin, event_ns, values["funding_rate"]))
                newest = max(newest, event_ns)
        await self._hand_over(symbol, items, arrived_ns, {"settled": {symbol: newest}} if newest > last else {})
        due_ns = int(row.get("fundingTimestamp") or 0) * MILLISECOND_NS
        if newest > last or not last:
            self._due[symbol] = due_ns if due_ns > arrived_ns else floor_time(arrived_ns, HOUR_NS) + HOUR_NS

    async def _open_interest(self, exchange: LiveExchange, symbol: str) -> None:
        row = await exchange.ask(lambda: exchange.made.fetch_open_interest(symbol))
        arrived_ns = self._tools.clock.now_ns()
        values, fault = read_values("open_interest", row)
        if fault:
            raise ValueError(fault)
        stamp_ns = _stamp(row, arrived_ns)
        items: list[Item] = [Reading(name, _coin(symbol), stamp_ns, value) for name, value in values.items()]
        await self._hand_over(symbol, items, arrived_ns)

    async def _ratio(self, exchange: LiveExchange, symbol: str) -> None:
        rows = await exchange.ask(lambda: exchange.made.fetch_long_short_ratio_history(symbol, "5m", None, 3))
        arrived_ns = self._tools.clock.now_ns()
        if not rows:
            raise ValueError("no ratio at all")
        items: list[Item] = []
        newest = last = self._ratios.get(symbol, 0)
        for row in rows:
            values, fault = read_values("long_short_ratio", row)
            event_ns = int(row["timestamp"]) * MILLISECOND_NS + RATIO_NS
            if fault:
                raise ValueError(fault)
            if last < event_ns <= arrived_ns:
                items.append(Reading("long_short_ratio", _coin(symbol), event_ns, values["long_short_ratio"]))
                newest = max(newest, event_ns)
        await self._hand_over(symbol, items, arrived_ns)
        self._ratios[symbol] = newest

    async def _book(self, exchange: LiveExchange, symbol: str) -> None:
        book = await exchange.ask(lambda: exchange.made.fetch_order_book(symbol, self._options.levels))
        arrived_ns = self._tools.clock.now_ns()
        value = imbalance(book, self._options.levels, self._options.bps)
        reading = Reading("book_imbalance", _coin(symbol), _stamp(book, arrived_ns), value)
        await self._hand_over(symbol, [reading], arrived_ns)

    async def _follow_bars(self, exchange: LiveExchange) -> None:
        """Ask for bars soon after each of their ends, and again where they aren't there yet."""
        interval_ns = int(exchange.made.parse_timeframe(self._options.bar)) * SECOND_NS
        while True:
            behind = False
            for symbol in self._symbols:
                try:
                    newest_ns = await self._read_bars(exchange, symbol, interval_ns)
                except (TypeError, ValueError, LookupError) as error:
                    raise FeedError(f"{exchange.name}: {symbol}: bars can't be read ({error})") from None
                self._tools.alive()
                behind |= newest_ns < floor_time(self._tools.clock.now_ns(), interval_ns) - interval_ns
            now_ns = self._tools.clock.now_ns()
            rest_s = (floor_time(now_ns, interval_ns) + interval_ns - now_ns) / SECOND_NS + 1.0
            await self._tools.sleep(min(SOON_S, rest_s) if behind else rest_s)

    async def _read_bars(self, exchange: LiveExchange, symbol: str, interval_ns: int) -> int:
        last = int(self._cursor["bars"].get(symbol, 0))
        since = (last - TOLD_MAX * interval_ns) // MILLISECOND_NS if last else None
        limit, bar = BARS_MAX if last else 3, self._options.bar
        asked_ns = self._tools.clock.now_ns()  # an answer may be slow, and is as old as the question
        rows = await exchange.ask(lambda: exchange.made.fetch_ohlcv(symbol, bar, since, limit))
        if not rows:  # ccxt reads garbage as no bars, too; the newest ones are always there
            rows = await exchange.ask(lambda: exchange.made.fetch_ohlcv(symbol, bar, None, 3))
            if not rows:
                raise ValueError("no bars at all")
        arrived_ns = self._tools.clock.now_ns()
        told = self._bars.setdefault(symbol, {})
        closed = closed_bars(rows, symbol, interval_ns, asked_ns)
        fresh = [bar for bar in closed if bar.event_ns > last or told.get(bar.event_ns, bar) != bar]
        if not last:
            fresh = fresh[-1:]
        newest = max([last, *(bar.event_ns for bar in fresh)])
        await self._hand_over(symbol, list(fresh), arrived_ns, {"bars": {symbol: newest}} if newest > last else {})
        told.update({bar.event_ns: bar for bar in fresh})
        self._bars[symbol] = dict(sorted(told.items())[-TOLD_MAX:])
        return newest

    # --- on the way out -----------------------------------------------------------------------------------------------
    async def _hand_over(
        self, symbol: str, items: list[Item], arrived_ns: int, moved: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        """One batch at a time; the cursor moves when it is durable. Bars bear the exchange's name on spot, too."""
        if not items:
            return
        assert self._take is not None
        bars = isinstance(items[0], Candle)
        source = self._options.exchange if bars or ":" in symbol else f"{self._options.exchange}_spot"
        async with self._turn:
            cursor = {name: {**held, **(moved or {}).get(name, {})} for name, held in self._cursor.items()}
            await self._take(Batch(items, arrived_ns, cursor=cursor, source=source))
            self._cursor = cursor
        self.counts["items"] += len(items)

    async def _hand_over_now(self, symbol: str, items: list[Item]) -> None:
        await self._hand_over(symbol, items, self._tools.clock.now_ns())

    # --- what can be known to be wrong --------------------------------------------------------------------------------
    def _check(self) -> None:
        options = self._options
        if not self._symbols:
            raise InputError("no symbol is named", key="symbols", remedy='For example: symbols = ["BTC/USDT:USDT"]')
        for symbol in self._symbols:
            if options.what != ("bars",) and sum(_coin(other) == _coin(symbol) for other in self._symbols) > 1:
                remedy = "Metrics are told apart by coin: name one symbol of each"
                raise InputError("two symbols of one coin", key="symbols", value=symbol, remedy=remedy)
            if ":" not in symbol and any(name in PERPETUAL for name in options.what):
                raise InputError("not a perpetual", key="symbols", value=symbol, remedy="Write it like BTC/USDT:USDT")
        for name, url in options.urls.items():
            if not url.startswith(("https://", "http://", "wss://", "ws://")):
                raise InputError("not an address", key="urls", value=name, remedy='Write rest = "https://host"')
        if "liquidations" in options.what and options.exchange not in LONG_SIDE:
            remedy = f"It is known for {', '.join(LONG_SIDE)}"
            raise InputError(
                "whose liquidations these are isn't known", key="exchange", value=options.exchange, remedy=remedy
            )

    def _check_abilities(self, exchange: LiveExchange) -> None:
        for name in self._options.what:
            for ability in NEEDS[name]:
                if not exchange.can(ability):
                    raise InputError(f"ccxt has no {ability} for it", key="exchange", value=exchange.name)
            for symbol in self._symbols:
                market = exchange.made.markets[symbol]
                if name in PERPETUAL and not (market.get("swap") and market.get("linear")):
                    raise InputError("not a linear perpetual", key="symbols", value=symbol)
                if name == "open_interest" and number(market.get("contractSize") or 1.0) != 1.0:
                    raise InputError("open interest in contracts, not in base units", key="symbols", value=symbol)
        if "bars" in self._options.what and self._options.bar not in (exchange.made.timeframes or {}):
            remedy = f"It has {', '.join(exchange.made.timeframes or {}) or 'none'}"
            raise InputError("no bars of that length", key="bar", value=self._options.bar, remedy=remedy)


def _coin(symbol: str) -> str:
    return symbol.partition("/")[0]


def _stamp(row: Mapping[str, Any], arrived_ns: int) -> int:
    """When the exchange says that it was so; our clock where it doesn't say."""
    stamp = row.get("timestamp")
    return int(stamp) * MILLISECOND_NS if stamp else arrived_ns


SOURCE: Final = Source(CARD, MarketOptions, Market)
