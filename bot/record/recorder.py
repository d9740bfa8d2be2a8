"""The recorder: feeds, writer and scorer from their start to an end in order, and what it tells of itself meanwhile.

The end, by one Ctrl-C: feeds are cancelled, what waits is stored, cursors behind it, with the markers that say when
each source was last heard; at last the scorer is ended. Nothing that was acknowledged is lost at any moment of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot.feeds.scoring import Scoring
from bot.operate.control import ControlServer
from bot.record.commit import Committer
from bot.record.coverage import Coverage, patience_of
from bot.record.feeds import Chosen, build_feed, check_secrets, near_hosts
from bot.record.figures import Figures
from bot.record.lock import feeds_folder
from bot.record.memory import read_heard, read_kept
from bot.record.runner import Runner
from bot.record.words import SOCKET_FILE
from bot.record.writer import Writer
from data.errors import InputError, UnreachableError
from data.feed import Batch, Clock, Feed, FeedError
from data.http import Http
from data.spend import Spending, purse_of
from data.store import Store
from data.times import SECOND_NS

if TYPE_CHECKING:
    from bot.config import Config

LOG = logging.getLogger("tidegate.record")
LOOK_S: Final = 1.0
END_S: Final = 5.0
"""A feed that doesn't let go within this time is left behind."""


class Recorder:
    """Records feeds into a var folder; hold its lock (`bot.record.lock`).

    Parameters
    ----------
    config : Config
    feeds : list of Chosen
    var : Path
    scoring : bool
        Score posts beside it, in a process of its own.

    Raises
    ------
    InputError or InputErrors
        A secret is missing, the memory of a feed is damaged, or a source refuses its options.
    """

    def __init__(
        self, config: Config, feeds: list[Chosen], var: Path, *, clock: Clock, rng: random.Random, scoring: bool,
    ) -> None:  # fmt: skip
        check_secrets(config, feeds)
        self.config, self.feeds, self.var, self.clock = config, feeds, var, clock
        self.folder = feeds_folder(var)
        self._rng = rng
        self._purses = {
            feed.name: purse
            for feed in feeds
            if (purse := purse_of(feed.table.options, feed.card.name, var)) is not None
        }
        self._store = Store(var)
        now = clock.now_ns()
        heard = read_heard(self.folder)
        kept = {feed.name: read_kept(self.folder, feed.name, feed.card.name) for feed in feeds}
        patience = {
            feed.name: patience_of(feed.table.options, feed.table.patience, config.record.patience) for feed in feeds
        }
        self.figures = Figures({feed.name: feed.card.name for feed in feeds}, now)
        self.coverage = Coverage(
            {feed.name: (feed.card.name, patience[feed.name]) for feed in feeds}, heard, now,
            of_posts={feed.card.name for feed in feeds if "posts" in feed.card.kinds},
        )  # fmt: skip
        committer = Committer(self._store, self.folder, clock.now_ns, kept, heard)
        self.writer = Writer(
            committer, self.coverage, {feed.name: feed.card for feed in feeds},
            flush_s=config.record.flush / SECOND_NS, most=config.record.queue, told=self.figures.told,
        )  # fmt: skip
        self.scoring = Scoring(config, var, clock=clock, rng=rng) if scoring else None
        self.ending = False
        self._https = {feed.name: Http(clock, near=near_hosts(feed.table.options)) for feed in feeds}
        self._runners = {feed.name: self._runner(feed) for feed in feeds}

    # --- life ---------------------------------------------------------------------------------------------------------
    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set or this is cancelled; both end it in order.

        Raises
        ------
        UnreachableError
            Every feed has stopped for good.
        InputError, WorkError
            The disk or the store refused for good.
        """
        server = ControlServer(self.folder / SOCKET_FILE, self._answer)
        with contextlib.suppress(OSError):  # then status reads what is on disk
            await server.start()
        writing = asyncio.create_task(self.writer.run(), name="writer")
        following = [asyncio.create_task(one.run(), name=f"feed {name}") for name, one in self._runners.items()]
        looking = asyncio.create_task(self._look(), name="patience")
        scoring = None
        if self.scoring is not None:
            scoring = asyncio.create_task(self.scoring.run(lambda event: None), name="scoring")
        try:
            await self._until(stop, writing, following, looking)
        finally:
            try:
                await self._end(writing, following, looking, scoring)
            finally:
                await server.close()

    async def _until(
        self, stop: asyncio.Event, writing: asyncio.Task[None], following: list[asyncio.Task[None]],
        looking: asyncio.Task[None],
    ) -> None:  # fmt: skip
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            pending: set[asyncio.Task[Any]] = set(following)
            while not stop.is_set() and not writing.done():
                done, _ = await asyncio.wait({stopped, writing, looking, *pending}, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {stopped, writing}:
                    task.result()
                    pending.discard(task)
                if not pending and not stop.is_set() and not writing.done():
                    texts = (f"{name}: {one.last_error}" for name, one in self.figures.feeds.items())
                    raise UnreachableError(f"every feed has stopped ({'; '.join(texts)})")
        finally:
            stopped.cancel()

    async def _end(
        self, writing: asyncio.Task[None], following: list[asyncio.Task[None]], looking: asyncio.Task[None],
        scoring: asyncio.Task[None] | None,
    ) -> None:  # fmt: skip
        """The end in order; a writer that has failed raises its error here."""
        self.ending = True
        for task in (*following, looking):
            task.cancel()
        _, left = await asyncio.wait({*following, looking}, timeout=END_S)
        for task in left:
            LOG.warning("%s doesn't let go; it is left behind", task.get_name())
        for name in self.coverage.feeds:
            self.coverage.fell(name, self.clock.now_ns())
        self.writer.close()
        try:
            await writing
        finally:
            if scoring is not None:
                scoring.cancel()
                await asyncio.gather(scoring, return_exceptions=True)
            for http in self._https.values():
                await http.close()
            for purse in self._purses.values():
                with contextlib.suppress(FeedError):  # then its lease stays booked
                    purse.close()

    async def _look(self) -> None:
        """Notice feeds that have fallen silent."""
        while True:
            for name in self.coverage.notice(self.clock.now_ns()):
                self.figures.feeds[name].state = "silent"
                LOG.warning("feed %s hasn't answered for long: it counts as down", name)
            if self.coverage.waiting:
                self.writer.wake()
            await asyncio.sleep(LOOK_S)

    # --- feeds --------------------------------------------------------------------------------------------------------
    def _runner(self, feed: Chosen) -> Runner:
        return Runner(
            feed.name, partial(self._build, feed), partial(self._take, feed.name), fell=partial(self._fell, feed.name),
            figures=self.figures.feeds[feed.name], clock=self.clock, rng=self._rng,
        )  # fmt: skip

    def _build(self, feed: Chosen) -> Feed:
        return build_feed(
            self.config, feed, clock=self.clock, http=self._https[feed.name], rng=random.Random(self._rng.random()),
            memory=self.writer.memory(feed.name), alive=partial(self._alive, feed.name), store=self._store,
            purse=self._purses.get(feed.name),
        )  # fmt: skip

    async def _take(self, name: str, batch: Batch) -> None:
        self._alive(name)
        self.coverage.brings(name, batch.source)
        await self.writer.take(name, batch)

    def _alive(self, name: str) -> None:
        if self.ending:
            return
        self.coverage.alive(name, self.clock.now_ns())
        self.figures.feeds[name].state = "up"
        if self.coverage.waiting:
            self.writer.wake()

    def _fell(self, name: str) -> None:
        self.coverage.fell(name, self.clock.now_ns())
        if self.coverage.waiting:
            self.writer.wake()

    # --- what it tells ------------------------------------------------------------------------------------------------
    def body(self) -> dict[str, Any]:
        """All figures as plain values, for `status` and the view."""
        now = self.clock.now_ns()
        feeds = {}
        for name, runner in self._runners.items():
            heard = self.coverage.feeds[name]
            feeds[name] = {
                **self.figures.of_feed(name, now),
                "age_s": (now - heard.alive_ns) / SECOND_NS if heard.alive_ns else None,
                "waiting": self.writer.waiting(name),
                "gaps": heard.gaps,
                "health": _health(runner.feed),
            }
        gaps = [
            {"source": gap.source, "since_ns": gap.since_ns, "until_ns": gap.until_ns} for gap in self.coverage.gaps
        ]
        return {
            "pid": os.getpid(), "at_ns": now, "began_ns": self.figures.began_ns, "ending": self.ending, "feeds": feeds,
            "writer": {**self.figures.of_writer(), "trouble": self.writer.trouble, "retries": self.writer.retries},
            "scoring": None if self.scoring is None else self.scoring.health(), "gaps": gaps,
            "spend": {name: _spent(purse, now) for name, purse in self._purses.items()},
        }  # fmt: skip

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] != "status":
            raise InputError("a recorder is asked for its status only", key="do", value=request["do"])
        return self.body()


def _spent(purse: Spending, now_ns: int) -> dict[str, Any]:
    try:
        return asdict(purse.spent(now_ns))
    except InputError as error:
        return {"why": str(error)}


def _health(feed: Feed) -> dict[str, Any]:
    try:
        return dict(feed.health())
    except Exception as error:  # a fault of one source's file doesn't cost the status of all
        return {"health": f"{type(error).__name__}: {error}"}
