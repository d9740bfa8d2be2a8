"""Live closed bars of any exchange: from its stream where it has one, confirmed and completed by REST."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bot.feeds.bar_line import COUNTS, Line
from bot.feeds.public import Row, SourceError
from bot.ports import Clock, Put
from data.errors import InputError
from data.times import DAY_NS, SECOND_NS, WEEK_NS, floor_time, format_duration, format_time

LOG = logging.getLogger("tidegate.feeds")
FIRST_S, LONGEST_S = 0.5, 30.0  # pauses between two questions to the venue
SLICE_S = 5.0  # the clock is read at least so often while waiting
DOUBT_NS = 30 * SECOND_NS  # added to a bar's end where the venue doesn't tell its time
SYNC_S, UNSURE_S = 300.0, 5.0  # between two looks at the venue's clock; while it isn't known
MISSES = 2  # bars in a row that REST knew and the stream didn't tell: it is begun anew


class BarSource(Protocol):
    """Where bars of one interval come from. `streams`: whether `watch` may be asked."""

    streams: bool

    async def open(self) -> None:
        """Get ready. Raises SourceError, or InputError for what no waiting mends."""
        ...

    async def offset_ns(self) -> int | None:
        """The venue's clock less ours; None where it doesn't tell. Raises SourceError."""
        ...

    async def fetch(self, symbol: str, since_ns: int, limit: int) -> list[Row]:
        """Bars that open at `since_ns` or later, oldest first. Raises SourceError."""
        ...

    async def watch(self, symbol: str) -> list[Row]:
        """The next news of a symbol's bars. Raises SourceError."""
        ...

    async def restart_stream(self) -> bool:
        """Begin the stream anew; whether that was done."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...

    def health(self) -> dict[str, Any]:
        """Plain values."""
        ...


class LiveBars:
    """The feed; what a bar is and when it is closed stands in `bot.feeds.bar_line`.

    Parameters
    ----------
    source : BarSource
    symbols : sequence of str
    bar_ns : int
        Length of the bars: up to a day, or a week.
    clock : Clock
    rng : random.Random
        For the jitter of pauses.
    last_close : mapping of symbol to int, optional
        Close of the newest bar that is known already, in nanoseconds; the bars since then are caught up. Without one a
        symbol begins with the bar under way.
    settle_ns : int
        How long after a bar's end its last trades are waited for.
    silence_s : float, optional
        A stream that says nothing for so long isn't trusted with its bar; left out: a bar's length, at least a minute.

    Raises
    ------
    InputError
        Bars of that length can't be followed.
    """

    name = "bars"

    def __init__(
        self,
        source: BarSource,
        symbols: Sequence[str],
        bar_ns: int,
        *,
        clock: Clock,
        rng: random.Random,
        last_close: Mapping[str, int] | None = None,
        settle_ns: int = 2 * SECOND_NS,
        silence_s: float | None = None,
    ) -> None:
        if bar_ns > DAY_NS and bar_ns != WEEK_NS:
            what = "bars of that length can't be followed live"
            raise InputError(what, key="run.bar", value=format_duration(bar_ns), remedy='Use up to "1d", or "7d"')
        self._source, self._bar_ns, self._clock, self._rng = source, bar_ns, clock, rng
        self._symbols = tuple(symbols)
        self._settle_ns = settle_ns
        self._silence_s = silence_s or max(60.0, bar_ns / SECOND_NS)
        self._last_close = dict(last_close or {})
        self._offset_ns: int | None = None
        self._lines: dict[str, Line] = {}

    async def run(self, put: Put) -> None:
        """See `bot.ports.Feed`.

        Raises
        ------
        InputError
            The exchange, a symbol or the interval doesn't exist.
        """
        try:
            await self._begin(put)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_time())
                for line in self._lines.values():
                    tasks.create_task(self._follow(line))
                    if self._source.streams:
                        tasks.create_task(self._listen(line))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            # Run once more, it catches up from here.
            self._last_close.update({line.symbol: line.last_ns for line in self._lines.values()})
            await self._source.close()

    def health(self) -> dict[str, Any]:
        """Age of the newest sound bar and counts, by symbol."""
        now = self._venue_ns()
        lines = {
            line.symbol: {
                "last_close": format_time(line.good_ns),
                "age_s": (now - line.good_ns) / SECOND_NS,
                "stale": sorted(line.reasons),
                "trouble": line.trouble,
                **{name: line.counts[name] for name in COUNTS},
            }
            for line in self._lines.values()
        }
        offset = None if self._offset_ns is None else self._offset_ns / 1e6
        return {"clock_offset_ms": offset, "source": self._source.health(), "symbols": lines}

    # --- beginning and keeping time -----------------------------------------------------------------------------------
    async def _begin(self, put: Put) -> None:
        self._lines = {
            symbol: Line(symbol, self._bar_ns, self._floor(self._last_close.get(symbol, self._clock.now_ns())), put)
            for symbol in self._symbols
        }
        fails = 0
        while True:
            try:
                await self._source.open()
                break
            except SourceError as error:
                for line in self._lines.values():
                    self._note(line, error)
                LOG.warning("the exchange can't be reached: %s", error)
                await asyncio.sleep(min(self._pause_s(fails, error), LONGEST_S))
                fails += 1
        await self._ask_offset()
        began = self._venue_ns()
        for line in self._lines.values():
            line.began_ns = began
            if line.symbol not in self._last_close:  # our clock may have been ahead of the venue's
                line.last_ns = line.good_ns = min(line.last_ns, self._floor(began))

    def _floor(self, now_ns: int) -> int:
        phase = 4 * DAY_NS if self._bar_ns == WEEK_NS else 0
        return floor_time(now_ns - phase, self._bar_ns) + phase

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S if self._offset_ns is not None else UNSURE_S)
            await self._ask_offset()

    async def _ask_offset(self) -> None:
        try:
            self._offset_ns = await self._source.offset_ns()
        except SourceError as error:
            LOG.info("the venue's clock can't be read: %s", error)

    def _venue_ns(self) -> int:
        return self._clock.now_ns() + (self._offset_ns or 0)

    def _doubt_ns(self) -> int:
        return self._settle_ns + (0 if self._offset_ns is not None else DOUBT_NS)

    # --- the stream ---------------------------------------------------------------------------------------------------
    async def _listen(self, line: Line) -> None:
        fails = 0
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    rows = await self._source.watch(line.symbol)
            except TimeoutError:
                line.counts["silences"] += 1
                line.break_off()
                continue
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                problem = SourceError("the stream was hung up")  # ccxt gave the future up; nobody cancels us
            except SourceError as error:
                problem = error
            else:
                fails = 0
                line.hear(rows)
                continue
            line.break_off()
            line.counts["stream_failures"] += 1
            line.trouble = str(problem)
            if problem.final:
                LOG.warning("%s is polled: its stream can't be had (%s)", line.symbol, problem)
                return
            await asyncio.sleep(self._pause_s(fails, problem))
            fails += 1

    # --- closing bars -------------------------------------------------------------------------------------------------
    async def _follow(self, line: Line) -> None:
        """Put one bar after the other."""
        fails = 0
        while True:
            if fails == 0:
                await self._wait(line)
            row = line.by_stream()
            if row is not None:
                line.take(row, "stream", self._venue_ns())
                fails = 0
                continue
            asked_ns = self._venue_ns()
            problem: SourceError | None = None
            moved = False
            try:
                rows = await self._source.fetch(line.symbol, line.last_ns - self._bar_ns, line.limit(asked_ns))
            except SourceError as error:
                problem = error
                line.counts["rest_failures"] += 1
                self._note(line, error)
            else:
                line.counts["rest"] += 1
                moved = line.learn(rows, asked_ns, self._doubt_ns())
            if moved:
                fails = 0
                continue
            line.judge_silence(self._venue_ns())
            await self._pause(line, fails, problem)
            fails += 1

    def _note(self, line: Line, error: SourceError) -> None:
        line.trouble = str(error)
        line.judge_silence(self._venue_ns())

    def _pause_s(self, fails: int, error: SourceError | None) -> float:
        """Seconds until the venue is asked again: twice as long each time, with jitter, and not before it says."""
        seconds = min(LONGEST_S, FIRST_S * 2.0 ** min(fails, 10)) * (0.5 + self._rng.random())
        return seconds if error is None else max(seconds, error.pause_s)

    async def _wait(self, line: Line) -> None:
        """Wait until the next bar is over by the venue's clock, or the stream tells of the one behind it."""
        if self._source.streams and line.misses >= MISSES and await self._source.restart_stream():
            line.misses = 0
        until_ns = line.last_ns + self._bar_ns + self._doubt_ns()
        while not line.woken.is_set():
            left_s = (until_ns - self._venue_ns()) / SECOND_NS
            if left_s <= 0:
                return
            await _either(line.woken, min(left_s, SLICE_S))

    async def _pause(self, line: Line, fails: int, error: SourceError | None) -> None:
        """A pause that ends early when the stream closes the bar; its silence is judged meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._pause_s(fails, error)
        line.woken.clear()
        while (left_s := until - loop.time()) > 0:
            await _either(line.woken, min(left_s, SLICE_S))
            if error is not None:
                line.give_up(self._venue_ns())
            if line.by_stream() is not None:
                return
            line.woken.clear()
            line.judge_silence(self._venue_ns())


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
