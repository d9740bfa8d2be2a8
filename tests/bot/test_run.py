"""The driver: who hears of a step when, and what becomes of events that were taken when it is stopped."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from backtest.facts import coins_of
from backtest.run import new_desk
from benchmarks.live_load import Watch, bars_at, spec_of, usual_days
from bot.engine import Engine
from bot.events import Command, Event, Operator
from bot.feeds.door import Door
from bot.journal import MemoryJournal
from bot.run import Bot
from bot.step import Step

SECOND = 10**9
START_NS = 1_767_225_600 * SECOND


class Noting(MemoryJournal):
    """Notes its commits."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__({"bot": "00c0ffee"})
        self.notes = notes

    def commit(self) -> None:
        """Note it when anything was waiting."""
        if getattr(self, "notes", None) is not None and len(self._rows) > self._committed:
            self.notes.append("durable")
        super().commit()


class Slow:
    """A venue that hands its work to a task, as the real one does."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self, put: Callable[[Event], None]) -> None:
        """Nothing to reconcile."""

    async def send(self, commands: Sequence[Command]) -> None:
        """Begin."""
        self.tasks.add(asyncio.create_task(self._write(len(commands))))

    async def _write(self, count: int) -> None:
        self.notes += ["left"] * count

    async def stop(self) -> None:
        """Nothing to stop."""

    def health(self) -> dict[str, Any]:
        """For `status`."""
        return {}


def driver_of(notes: list[str]) -> Bot:
    """A live desk that wants both coins after a row that rose."""
    spec = spec_of(SECOND)
    engine = Engine(spec, new_desk(spec, outside=True), coins_of(spec))
    for back in range(40, 0, -1):
        for bar in bars_at(START_NS - back * SECOND, SECOND, back % 2 == 0):
            engine.learn(bar)
    for posts in usual_days(START_NS, days=1):
        engine.learn(posts)
    return Bot(engine, Noting(notes), clock=Watch(START_NS), door=Door(10), venue=Slow(notes), tick_s=1e6)


def test_orders_leave_after_the_commit_and_before_anybody_is_told() -> None:
    """Durable, left, told; and what is told knows the number of its record."""

    async def main() -> None:
        notes: list[str] = []
        driver = driver_of(notes)
        told: list[tuple[str, int]] = []

        def hear(event: Event, step: Step) -> None:
            notes.append("told")
            told.append((type(event).__name__, driver.seq))

        driver.watchers.append(hear)
        word = Operator(ns=0, act="resume", person="p", reason="r")
        await driver.take([*bars_at(START_NS, SECOND, True), word])
        begun = notes[: notes.index("durable", 1)]
        assert begun == ["durable", "left", "left", "told", "told"], notes
        assert notes[len(begun) :] == ["durable", "told", "durable"]  # the last: a first snapshot
        assert [name for name, _ in told] == ["Bar", "Bar", "Operator"]
        seqs = [seq for _, seq in told]
        assert seqs == sorted(set(seqs))

    asyncio.run(main())


def test_what_was_taken_is_handled_when_the_consumer_is_cancelled() -> None:
    """The chunk's rest is journalled at the end of the session."""

    async def main() -> None:
        notes: list[str] = []
        driver = driver_of(notes)
        word = Operator(ns=0, act="resume", person="p", reason="r")
        for event in (*bars_at(START_NS, SECOND, True), word):
            driver.door.put(event)
        heard: list[str] = []
        driver.watchers.append(lambda event, step: heard.append(type(event).__name__))
        taking = asyncio.create_task(driver.take([*bars_at(START_NS, SECOND, True), word, word]))
        await asyncio.sleep(0)  # up to where it lets the orders leave
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await driver._end()
        assert heard.count("Operator") == 3 and notes.count("left") == 2

    asyncio.run(main())


def test_a_decision_names_the_records_behind_it() -> None:
    """Those that came since the decision before it; what only told that a row's time was over belongs to the next."""

    async def main() -> None:
        driver = driver_of([])
        clock = driver.clock
        assert isinstance(clock, Watch)
        post = next(usual_days(START_NS, days=1))
        first, second = bars_at(START_NS, SECOND, True), bars_at(START_NS + SECOND, SECOND, False)
        await driver.take([post, *first])
        clock.ns = START_NS + SECOND
        await driver.take([second[0]])
        clock.ns = START_NS + 2 * SECOND - 1  # the other bar didn't come in time; a post says so
        await driver.take([post])
        await driver.take(bars_at(START_NS + 2 * SECOND, SECOND, True))
        assert isinstance(driver.keeper, MemoryJournal)
        told, known = [], {"Bar": [], "Posts": []}
        for record in driver.keeper.records():
            if record.kind == "event" and record.body["is"] in known:
                known[record.body["is"]].append(record.seq)
            elif record.kind == "step" and record.body.get("decisions"):
                told.append(record.body["facts"])
        bars, posts = known["Bar"], known["Posts"]
        assert [one["Bar"] for one in told] == [
            {"newest": bars[1], "first_new": bars[0], "new": 2},
            {"newest": bars[2], "first_new": bars[2], "new": 1},
            {"newest": bars[4], "first_new": bars[3], "new": 2},
        ]
        assert [one["Posts"] for one in told] == [
            {"newest": posts[0], "first_new": posts[0], "new": 1},
            {"newest": posts[0], "new": 0},
            {"newest": posts[1], "first_new": posts[1], "new": 1},
        ]

    asyncio.run(main())
