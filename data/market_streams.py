"""Trades and liquidations by stream, summed by minute, while every connection is known to live.

The first whole minute behind the moment at which all streams had answered is the first one that counts. A minute is
told when all connections were heard from after its end. Whatever ends a connection ends all of it; the next run begins
anew, and counts the minutes that were missed between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from data.ccxt_faults import troubles
from data.feed import Item, Reading, Spoilt, Tools
from data.intake_feed import AHEAD_NS
from data.live_exchange import CACHE_ROWS, Lines, LiveExchange
from data.market_rows import LONG_SIDE, read_liquidation, read_trade
from data.minutes import Minutes
from data.times import MINUTE_NS, SECOND_NS

TRADES: Final = ("trade_volume_buy", "trade_volume_sell", "trade_count")
LIQUIDATIONS: Final = ("liquidations_long", "liquidations_short")
METRICS: Final = {"trades": TRADES, "liquidations": LIQUIDATIONS}
SETTLE_NS: Final = 2 * SECOND_NS
"""All connections have answered, but perhaps not yet to each of several subscriptions."""

LOOK_S: Final = 1.0
BAD_MAX: Final = 100


class Streams:
    """One run of the streams of a feed.

    Parameters
    ----------
    exchange : LiveExchange
        Open.
    symbols : sequence of str
    what : sequence of str
        "trades", "liquidations", or both.
    silence_s : float
    counts : Counter
        Of the feed: goes on from run to run.
    left : dict of (kind, symbol) to int
        Of the feed: where the run before this one stopped.
    hand_over : callable
        Given a symbol and its items; returns when they are durable.
    """

    def __init__(
        self,
        exchange: LiveExchange,
        symbols: Sequence[str],
        what: Sequence[str],
        *,
        tools: Tools,
        silence_s: float,
        counts: Counter[str],
        left: dict[tuple[str, str], int],
        hand_over: Callable[[str, list[Item]], Any],
    ) -> None:
        self._exchange, self._made, self._tools = exchange, exchange.made, tools
        self._symbols, self._what = tuple(symbols), tuple(what)
        self._lines, self._counts, self._hand_over = Lines(exchange, silence_s), counts, hand_over
        self._sums = {("trades", symbol): Minutes(len(TRADES)) for symbol in symbols if "trades" in what}
        self._sums |= {
            ("liquidations", symbol): Minutes(len(LIQUIDATIONS)) for symbol in symbols if "liquidations" in what
        }
        self._sizes = {symbol: float(self._made.markets[symbol].get("contractSize") or 1.0) for symbol in symbols}
        self._bad: dict[str, list[Item]] = {}
        self._left = left
        self._heard_ns = 0
        self._lines_then = 0

    def jobs(self) -> list[Any]:
        """Coroutines that run until one of them fails."""
        found = [self._keep()]
        for name in self._what:
            together = f"watch{name.capitalize()}ForSymbols"
            if self._exchange.can(together):
                watch = getattr(self._made, f"watch_{name}_for_symbols")
                found.append(self._watch(name, partial(watch, list(self._symbols))))
            else:
                watch = getattr(self._made, f"watch_{name}")
                found += [self._watch(name, partial(watch, one)) for one in self._symbols]
        return found

    def end(self) -> None:
        """Add up what was counted, and note where the next run has to count from."""
        self._note_next()
        for (name, _), minutes in self._sums.items():
            for what, count in minutes.counts.items():
                self._counts[f"{name}_{what}"] += count
            minutes.counts.clear()

    async def _watch(self, name: str, call: Callable[[], Any]) -> None:
        while True:
            try:
                rows = await call()
            except troubles() as error:
                raise self._exchange.problem(error) from None
            if isinstance(rows, list) and len(rows) >= CACHE_ROWS:  # more came than ccxt keeps: some were lost
                for (kind, _), minutes in self._sums.items():
                    if kind == name:
                        minutes.spoil(self._tools.clock.now_ns())
            self._collect(name, rows)
            self._counts[name] += len(rows) if isinstance(rows, list) else 1

    async def _keep(self) -> None:
        """Watch the connections, and tell minutes that are over."""
        while True:
            now_ns = self._tools.clock.now_ns()
            heard_ns = self._lines.look(now_ns)
            if heard_ns != self._heard_ns:
                self._tools.alive()
                self._heard_ns = heard_ns
            if heard_ns and self._lines.count != self._lines_then:
                self._lines_then = self._lines.count
                self._begin(now_ns + SETTLE_NS)
            if any(minutes.is_due(heard_ns) for minutes in self._sums.values()):
                self._sweep()
            await self._tell(heard_ns)
            await self._tools.sleep(LOOK_S)

    def _begin(self, since_ns: int) -> None:
        """From now on nothing is missed; what was since the last minute that was told, counts as missed."""
        self._note_next()
        self._counts["streams_begun"] += 1
        for (name, symbol), minutes in self._sums.items():
            minutes.begin(since_ns)
            before_ns = self._left.get((name, symbol))
            if before_ns and minutes.next_ns:
                self._counts[f"{name}_minutes_missed"] += max(minutes.next_ns - before_ns, 0) // MINUTE_NS

    def _note_next(self) -> None:
        self._left.update({key: minutes.next_ns for key, minutes in self._sums.items() if minutes.next_ns})

    async def _tell(self, heard_ns: int) -> None:
        told: dict[str, list[Item]] = self._bad
        self._bad = {}
        for (name, symbol), minutes in self._sums.items():
            coin = symbol.partition("/")[0]
            for end_ns, sums in minutes.settle(heard_ns):
                self._counts[f"{name}_minutes"] += 1
                told.setdefault(symbol, []).extend(
                    Reading(metric, coin, end_ns, value) for metric, value in zip(METRICS[name], sums, strict=True)
                )
        for symbol, items in told.items():
            await self._hand_over(symbol, items)

    def _sweep(self) -> None:
        """Take what lies in ccxt's caches: it tells of some things only when another one comes."""
        for name in self._what:
            cache = getattr(self._made, name) or ()
            for rows in list(cache.values()) if isinstance(cache, dict) else [cache]:
                self._collect(name, list(rows), again=True)

    def _collect(self, name: str, rows: Any, *, again: bool = False) -> None:
        now_ns = self._tools.clock.now_ns()
        for row in rows if isinstance(rows, list) else [rows]:
            symbol = row.get("symbol") if isinstance(row, dict) else None
            minutes = self._sums.get((name, str(symbol)))
            if minutes is None:
                continue
            twice = minutes.counts["twice"]
            try:
                if name == "trades":
                    key, stamp_ns, values = read_trade(row, self._sizes[str(symbol)])
                else:
                    side = LONG_SIDE[self._exchange.name]
                    key, stamp_ns, values = read_liquidation(row, self._sizes[str(symbol)], side)  # type: ignore[assignment]
                if stamp_ns > now_ns + AHEAD_NS:
                    raise ValueError("dated after it arrived")
            except (TypeError, ValueError, LookupError) as error:
                if not again:
                    self._set_apart(str(symbol), minutes, row, error, now_ns)
                continue
            minutes.add(key, stamp_ns, values)
            if again:
                minutes.counts["twice"] = twice

    def _set_apart(self, symbol: str, minutes: Minutes, row: Any, error: Exception, now_ns: int) -> None:
        """A thing that can't be read: the minute in which it came isn't whole."""
        minutes.spoil(now_ns)
        bad = self._bad.setdefault(symbol, [])
        if len(bad) < BAD_MAX:
            bad.append(Spoilt(repr(row.get("info") or row)[:500], f"can't be read ({type(error).__name__}: {error})"))
