"""Bars of the simulated exchange's own prices, posts and metrics: told late, twice, out of order or never."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bot.events import POSTS, Bar, Event, Observation, Posts
from bot.ports import Put
from tests.sim.exchange import SimExchange

SECOND = 10**9
KEPT = 40  # closed bars that a feed can still read when it begins


@dataclass(frozen=True)
class FeedFaults:
    """How likely each is, per bar or fact."""

    lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    broken: float = 0.0  # a bar that can't be one

    @classmethod
    def drawn(cls, rng: random.Random) -> FeedFaults:
        """Some not at all, others often."""
        return cls(**{name: rng.choice((0.0, 0.0, 0.02, 0.1)) for name in cls.__dataclass_fields__})


class Tape:
    """Follows the prices, and tells whoever listens.

    Parameters
    ----------
    exchange : SimExchange
        Whose prices.
    symbols : sequence of str
    bar_ns : int
    rng : random.Random
        Of volumes, facts and faults.
    """

    def __init__(self, exchange: SimExchange, symbols: tuple[str, ...], bar_ns: int, rng: random.Random) -> None:
        self.exchange, self.symbols, self.bar_ns, self.rng = exchange, symbols, bar_ns, rng
        self.faults = FeedFaults()
        self.silent = False  # nothing more is told
        self.closed: list[Bar] = []
        self._seen: dict[str, list[float]] = {symbol: [] for symbol in symbols}
        self._open_ns = exchange.start_ns
        self._feed: BarFeed | None = None

    def listen(self, feed: BarFeed) -> None:
        """The feed of the process that runs now."""
        self._feed = feed

    def past(self, bars: int, walk: random.Random) -> list[Bar]:
        """Bars before the beginning, ending at the first prices."""
        found: list[Bar] = []
        for symbol in self.symbols:
            price = float(self.exchange.matching.prices[symbol])
            for back in range(bars):
                close_ns = self._open_ns - back * self.bar_ns
                before = round(price * (1.0 + walk.gauss(0.0, 0.002)), 2)
                found.append(self._bar(symbol, close_ns, [before, price]))
                price = before
        return sorted(found, key=lambda bar: (bar.close_ns, bar.symbol))

    def _bar(self, symbol: str, close_ns: int, prices: list[float]) -> Bar:
        return Bar(
            ns=close_ns, symbol=symbol, open_ns=close_ns - self.bar_ns, close_ns=close_ns, open=prices[0],
            high=max(prices), low=min(prices), close=prices[-1], volume=round(self.rng.uniform(50.0, 150.0), 3),
        )  # fmt: skip

    async def run(self) -> None:
        """Look at the prices every moment until cancelled."""
        while True:
            await asyncio.sleep(self.exchange.step_s)
            now_ns = self.exchange.start_ns + int(self.exchange.loop.time() * 1e9)
            for symbol in self.symbols:
                self._seen[symbol].append(float(self.exchange.matching.prices[symbol]))
            if now_ns >= self._open_ns + self.bar_ns:
                self._close()
            if self.rng.random() < 0.15:
                self._tell(self._posts(now_ns))
            if self.rng.random() < 0.1:
                coin = self.rng.choice(("BTC", "ETH", "*"))
                value = self.rng.gauss(0.0, 1.0)
                self._tell(Observation(ns=0, name="flow", coin=coin, event_ns=now_ns, known_ns=now_ns, value=value))

    def _close(self) -> None:
        self._open_ns += self.bar_ns
        for symbol in self.symbols:
            prices = self._seen[symbol]
            bar = self._bar(symbol, self._open_ns, prices)
            self._seen[symbol] = prices[-1:]
            self.closed.append(bar)
            self._send(bar)
        del self.closed[: -KEPT * len(self.symbols)]

    def _send(self, bar: Bar) -> None:
        rng, faults = self.rng, self.faults
        if rng.random() < faults.lost:
            return
        if rng.random() < faults.broken:
            bar = replace(bar, **rng.choice(({"low": -1.0}, {"high": bar.low * 0.5}, {"close": float("nan")})))
        late = rng.random() < faults.late
        delay = rng.uniform(1.0, 20.0) if late else rng.uniform(0.05, 0.6)
        self.exchange.loop.call_later(delay, self._tell, bar)
        if rng.random() < faults.doubled:
            self.exchange.loop.call_later(delay + rng.uniform(0.0, 10.0), self._tell, bar)

    def _tell(self, event: Event) -> None:
        if self._feed is not None and not self.silent:
            self._feed.tell(event)

    def _posts(self, now_ns: int) -> Posts:
        rows = np.zeros(self.rng.randint(1, 3), POSTS)
        for row in rows:
            row["coin"], row["event_ns"] = self.rng.choice((0, 0, 1, 1, -1)), now_ns - self.rng.randint(0, SECOND)
            row["known_ns"], row["score"] = now_ns, self.rng.uniform(-1.0, 1.0)
            row["weight"], row["author"] = self.rng.uniform(1.0, 3.0), self.rng.randint(0, 50)
            row["source"], row["trusted"], row["cluster"] = self.rng.randint(0, 2), 1, -1
        return Posts(ns=0, rows=rows)


class BarFeed:
    """One process's ear at the tape; implements `bot.ports.Feed`."""

    name = "tape"

    def __init__(self, tape: Tape, after_ns: int) -> None:
        self._tape, self._after_ns = tape, after_ns
        self._put: Put | None = None

    async def run(self, put: Put) -> None:
        """Read what closed while nobody listened, then go on."""
        for bar in self._tape.closed:
            if bar.close_ns > self._after_ns:
                put(replace(bar, caught_up=True))
        self._put = put
        self._tape.listen(self)
        await asyncio.Event().wait()

    def tell(self, event: Event) -> None:
        """Something is new."""
        if self._put is not None:
            self._put(event)

    def die(self) -> None:
        """Nobody listens any more."""
        self._put = None

    def health(self) -> dict[str, Any]:
        """Nothing to say."""
        return {}
