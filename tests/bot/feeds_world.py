"""A world for feeds: a loop whose time jumps to the next thing due, and a venue of bars with every fault they have."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from bot.events import Bar, Condition, Event
from bot.feeds.public import Row, SourceError
from data.times import MINUTE_NS, SECOND_NS

START_NS = 1_700_000_040 * SECOND_NS  # on the grid of minutes


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything is ready, and jumps to the next timer when nothing is."""

    now = 0.0

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now

    def _run_once(self) -> None:
        waiting = [timer._when for timer in self._scheduled if not timer._cancelled]  # type: ignore[attr-defined]
        if not self._ready and waiting:  # type: ignore[attr-defined]
            self.now = max(self.now, min(waiting))
        super()._run_once()  # type: ignore[misc]


def play(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


class VirtualClock:
    """The time of day of a virtual loop, off by some nanoseconds."""

    def __init__(self, off_ns: int = 0) -> None:
        self.off_ns = off_ns

    def now_ns(self) -> int:
        """See `bot.ports.Clock`."""
        return START_NS + self.off_ns + int(asyncio.get_running_loop().time() * SECOND_NS)


def whole(open_ns: int) -> Row:
    """The bar as it is in the end."""
    step = open_ns // MINUTE_NS % 1000
    return Row(open_ns, 100.0 + step, 103.0 + step, 99.0 + step, 101.0 + step, 10.0 + step)


class BarVenue:
    """Bars of one minute from long ago on, asked like a `BarSource`.

    Attributes
    ----------
    holes, bad : sets of open times
        Bars that it doesn't have, and that it tells wrongly; `bad_times` of them only so many times.
    revised : dict of open time to Row
        What it says of a bar from two minutes after its end on.
    down : list of (from_s, to_s)
        REST answers nothing then; `cut` does so to the stream, and `deaf` lets it hang.
    """

    def __init__(self, *, streams: bool = True, tells_time: bool = True, off_ns: int = 0) -> None:
        self.streams, self.tells_time = streams, tells_time
        self.clock = VirtualClock(off_ns)
        self.client_off_ns = 0
        self.holes: set[int] = set()
        self.bad: dict[int, Row] = {}
        self.bad_times = 10**9
        self.revised: dict[int, Row] = {}
        self.down: list[tuple[float, float]] = []
        self.cut: list[tuple[float, float]] = []
        self.deaf: list[tuple[float, float]] = []
        self.lag_s = 0.0  # what REST says is so old
        self.shows_next = True  # REST tells of the bar under way
        self.pause_s = 0.0
        self.open_fails = 0
        self.asked: list[tuple[float, int, int]] = []
        self.restarts = 0
        self.closed = False

    async def open(self) -> None:
        """Fail as often as told."""
        await asyncio.sleep(0.1)
        if self.open_fails:
            self.open_fails -= 1
            raise SourceError("no answer")

    async def offset_ns(self) -> int | None:
        """The venue's clock less the true one."""
        if self._within(self.down):
            raise SourceError("no time")
        return self.clock.off_ns - self.client_off_ns if self.tells_time else None

    async def fetch(self, symbol: str, since_ns: int, limit: int) -> list[Row]:
        """Bars of REST."""
        at = asyncio.get_running_loop().time()
        self.asked.append((at, since_ns, limit))
        now = self.clock.now_ns() - int(self.lag_s * SECOND_NS)
        await asyncio.sleep(0.05)
        if self._within(self.down):
            raise SourceError("no answer", self.pause_s)
        opens = range(since_ns // MINUTE_NS * MINUTE_NS, now, MINUTE_NS)
        if not self.shows_next:
            opens = opens[: -1 if opens and opens[-1] + MINUTE_NS > now else None]
        there = [open_ns for open_ns in opens if open_ns >= since_ns and open_ns not in self.holes]
        return [self._told(open_ns, now) for open_ns in there[:limit]]

    async def watch(self, symbol: str) -> list[Row]:
        """An update every ten seconds, and one with the last word at a bar's end."""
        if self._within(self.cut):
            await asyncio.sleep(0.2)
            raise SourceError("the line is cut")
        before = self.clock.now_ns()
        await asyncio.sleep(10 - asyncio.get_running_loop().time() % 10 + 0.01)
        while self._within(self.deaf):
            await asyncio.sleep(10)
        if self._within(self.cut):
            raise SourceError("the line is cut")
        now = self.clock.now_ns()
        first, here = before // MINUTE_NS * MINUTE_NS, now // MINUTE_NS * MINUTE_NS
        return [self._told(open_ns, now) for open_ns in {first, here} if open_ns not in self.holes]

    async def restart_stream(self) -> bool:
        """A stream that is deaf hears again."""
        self.restarts += 1
        self.deaf.clear()
        return True

    async def close(self) -> None:
        """Remember it."""
        self.closed = True

    def health(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}

    def _within(self, spans: list[tuple[float, float]]) -> bool:
        at = asyncio.get_running_loop().time()
        return any(first <= at < last for first, last in spans)

    def _told(self, open_ns: int, now_ns: int) -> Row:
        row = whole(open_ns)
        if open_ns in self.bad and self.bad_times > 0:
            self.bad_times -= 1
            return self.bad[open_ns]
        if open_ns in self.revised and now_ns > open_ns + 3 * MINUTE_NS:
            return self.revised[open_ns]
        if now_ns < open_ns + MINUTE_NS:  # under way
            share = (now_ns - open_ns) / MINUTE_NS
            return row._replace(high=row.open + 1, close=row.open + 0.5, volume=row.volume * share)
        return row


class Heard:
    """Takes what a feed puts, with the time it came."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []

    def put(self, event: Event) -> None:
        """See `bot.ports.Put`."""
        self.events.append((asyncio.get_running_loop().time(), event))

    @property
    def bars(self) -> list[Bar]:
        """All bars."""
        return [event for _, event in self.events if isinstance(event, Bar)]

    @property
    def conditions(self) -> list[tuple[bool, str]]:
        """All conditions as (on, text)."""
        return [(event.on, event.text) for _, event in self.events if isinstance(event, Condition)]


def values(bar: Bar) -> Row:
    """The bar as a venue tells it."""
    return Row(bar.open_ns, bar.open, bar.high, bar.low, bar.close, bar.volume)
