"""One process of the bot in a simulated world: recovered from the journal, run, and ended in some way."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

from backtest.facts import coins_of
from backtest.run import new_desk
from backtest.spec import RunSpec
from bot.engine import Engine
from bot.events import Event, Operator
from bot.exchange.ids import Ids
from bot.exchange.line import VenueSettings
from bot.exchange.venue import ExchangeVenue
from bot.feeds.door import Door
from bot.frozen import freeze
from bot.journal.memory import MemoryJournal
from bot.ports import Clock, Venue
from bot.recover import Warm, recover, take_terms, warm_records
from bot.run import Bot, SimulatedVenue
from bot.session.terms import terms_body
from bot.standing import order_facts
from bot.step import Step
from tests.backtest.oracles.fences import Fence
from tests.sim.disk import DiskFaults, Killed, Pen
from tests.sim.exchange import SimExchange
from tests.sim.tape import BarFeed, Tape

BOT = "b0b0b0b0"
SECOND = 10**9


def engine_of(spec: RunSpec, *, outside: bool) -> Engine:
    """A fresh one."""
    return Engine(spec, new_desk(spec, 1, outside=outside), coins_of(spec))


class Life:
    """A process from its start to its end.

    Parameters
    ----------
    spec : RunSpec
    journal : MemoryJournal
        What earlier ones left.
    exchange : SimExchange, optional
        Where it trades; without one it is a paper session.
    clock : Clock
    tape : Tape
        The market.
    rng : random.Random
        Of all that it draws.
    disk : DiskFaults
    warm : sequence of facts
        What signals learn before the very first event.
    """

    def __init__(
        self, spec: RunSpec, journal: MemoryJournal, exchange: SimExchange | None, clock: Clock, tape: Tape,
        rng: random.Random, disk: DiskFaults, warm: Sequence[Warm], settings: VenueSettings | None = None,
    ) -> None:  # fmt: skip
        self.exchange, self.rng = exchange, rng
        self.pen = Pen(journal, rng, disk)
        self.pen.on_death = self._gone
        self.engine = engine_of(spec, outside=exchange is not None)
        found = recover(self.engine, journal)
        self.fence = Fence(self.engine.desk)
        self.session = f"{len(found.known) + 1:08x}"
        self.alarms: list[str] = []
        self.lines: list[Any] = []
        self.feed = BarFeed(tape, self.engine.row_ns)
        self._found, self._clock, self._settings, self._journal = found, clock, settings, journal
        self._warm = warm
        self._task: asyncio.Task[None] | None = None
        self.ended: BaseException | None = None

    def _terms(self) -> dict[str, Any]:
        """Some lives begin under limits that were changed in the file: they count orders over other windows."""
        limits = new_desk(self.engine.spec).arrays["limits"]
        if self.rng.random() < 0.2:
            limits["repeat_orders"] = self.rng.choice((2, 6, 50, 300))
            limits["orders_per_hour"] = self.rng.choice((90, 600, 5000))
        take_terms(self.engine.desk, {"terms": freeze({"limits": limits})})
        return {"terms": terms_body(self.engine.desk)}

    def begin(self) -> None:
        """Write the session down and run."""
        if not self._found.known:
            for body in warm_records(self._warm):
                self.pen.append(1, "warm", body)
            for fact in self._warm:
                self.engine.learn(fact)
        body = {"session": self.session, **self._terms()}
        self.fence.mend()
        self.pen.append(max(self._clock.now_ns(), self.engine.now_ns), "session", body)
        self.pen.commit()
        self.venue = self._venue()
        self.bot = Bot(
            self.engine, self.pen, clock=self._clock, door=Door(2000), venue=self.venue, feeds=[self.feed],
            watchers=[self._look], session=self.session, sessions=self._found.sessions, snapshot_ns=40 * SECOND,
        )  # fmt: skip
        self._task = asyncio.create_task(self._run(), name=f"life {self.session}")

    def _venue(self) -> Venue:
        if self.exchange is None:
            return SimulatedVenue()
        line = self.exchange.connect()
        self.lines.append(line)
        books, account = self.engine.desk, self.engine.desk.account
        places = {symbol: k for k, symbol in enumerate(self.engine.symbols)}
        return ExchangeVenue(
            transport=line, clock=self._clock, rng=self.rng, ids=Ids(BOT, self.session, self._found.known),
            symbols=self.engine.symbols, perp=self.engine.spec.perp, settings=self._settings,
            held=lambda symbol: float(books.books["qty"][places[symbol]]),
            quote_held=lambda: float(account["cash"] + account["elsewhere"]),
            working=lambda: order_facts(self.engine, self.bot.sessions),
            mark=lambda symbol: float(books.books["last"][places[symbol]] or float("nan")), memory=self._found.venue,
            alarm=lambda kind, text: self.alarms.append(f"{kind}: {text}"),
        )  # fmt: skip

    async def _run(self) -> None:
        try:
            await self.bot.run()
        except Killed:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.ended = error
            raise

    def _look(self, event: Event, step: Step) -> None:
        """What a watcher sees."""

    def say(self, act: str, *, symbol: str = "", flatten: bool = False) -> None:
        """A person's word."""
        if self._task is not None and not self._task.done():
            self.bot.door.put(Operator(ns=0, act=act, person="ann", reason="simulated", symbol=symbol, flatten=flatten))

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._task is not None and self._task.done()

    async def lasts(self, seconds: float) -> bool:
        """Wait so long, or until it ends by itself: whether it did."""
        assert self._task is not None
        await asyncio.wait([self._task], timeout=seconds)
        return self._task.done()

    def _gone(self) -> None:
        """Nothing of it reaches the world any more."""
        self.pen.kill()
        self.feed.die()
        for line in self.lines:
            line.die()

    async def kill(self) -> None:
        """No goodbye: nothing that its tasks still do is seen by anybody."""
        self._gone()
        await self._wait(cancel=True)

    async def stop(self) -> None:
        """Asked to end."""
        self.bot.stop()
        await self._wait(cancel=False)

    async def _wait(self, *, cancel: bool) -> None:
        assert self._task is not None
        if cancel:
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Killed):
            await self._task
        self._gone()
