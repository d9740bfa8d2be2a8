"""What stands around a running bot: log, heartbeat, notices, metrics, signed heads, the operator's socket, the lock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.events import Event, Operator, Tick
from bot.journal.heads import HEADS_FILE, KEY_FILE, append_head, load_key, sign_head
from bot.operate.control import SOCKET_FILE, ControlServer, as_event
from bot.operate.heartbeat import Heartbeat, OutsidePulse
from bot.operate.latch import HALTED, read_latch, write_latch
from bot.operate.lock import RENEW_S
from bot.operate.logs import CONTEXT, open_logs
from bot.operate.metrics import Metrics
from bot.operate.notify import Notifier, apprise_targets, daily_text, head_line, next_daily_ns
from bot.operate.references import look_up
from bot.operate.service import manager_patience_s, tell_manager
from bot.run import Bot
from bot.session.opening import Opened
from bot.session.words import words_of
from bot.snapshot import status_body
from bot.step import Step
from data.errors import RefusedError, TidegateError
from data.times import SECOND_NS, format_time
from risk.records import EV_LADDER, EV_REFUSED, RULES
from risk.records import HALTED as LEVEL_HALTED

if TYPE_CHECKING:
    from bot.config import Config

LOG = logging.getLogger("tidegate.session")
ANSWER_S = 5.0


class Company:
    """Made before the bot runs, `around` it while it runs, closed after.

    Parameters
    ----------
    opened : Opened
    config : Config
    now_ns : callable
        The clock of the session.
    durable_latch : bool
        Write the kill latch when the ladder halts (live).
    quiet : bool
        Don't log to the terminal.
    """

    def __init__(
        self, opened: Opened, config: Config, *, now_ns: Callable[[], int], durable_latch: bool, quiet: bool = False
    ) -> None:
        self.opened, self.config, self._now_ns = opened, config, now_ns
        self._durable_latch = durable_latch
        self.logs = open_logs(opened.folder, session=opened.session, stream=None if quiet else sys.stderr)
        self.heartbeat = Heartbeat(opened.folder, opened.session)
        title = f"tidegate {opened.mode} {opened.folder.name}"
        targets = apprise_targets(config.notify.urls, config.folder)
        self.notifier = Notifier(targets, title=title, on=config.notify.on)
        self.metrics = Metrics(opened.mode, opened.folder.name)
        self.bot: Bot | None = None
        self.more: list[Callable[[Event, Step], None]] = []  # others who are told of every step
        self._key = load_key(opened.folder / KEY_FILE)
        self._day: dict[str, float] = {"fees": 0.0, "fills": 0, "refusals": 0}
        self._daily_ns = next_daily_ns(now_ns(), config.notify.daily)
        self._day_equity = float(opened.engine.desk.account["equity"])
        self._patience_s = manager_patience_s()
        self._halting = False

    # --- while it runs ------------------------------------------------------------------------------------------------
    async def around(self, runner: Bot) -> None:
        """Run the bot with everything around it; its own error ends all."""
        self.bot = runner
        runner.timer = self._time
        runner.watchers.append(self.watch)
        self.heartbeat.start(self._now_ns())
        control = ControlServer(self.opened.folder / SOCKET_FILE, self.answer)
        await control.start()
        if self.config.metrics.port is not None:
            port = self.metrics.serve(self.config.metrics.port)
            LOG.info("metrics at http://127.0.0.1:%d/metrics", port)
        tasks = [asyncio.create_task(self._keep_lock(), name="lock")]
        if self.config.notify.heartbeat_url:
            tasks.append(asyncio.create_task(self._pulse().run(), name="pulse"))
        self.notifier.tell("session", f"session {self.opened.session} starts")
        self.sign(runner)
        tell_manager("READY=1")
        running = asyncio.create_task(runner.run(), name="bot")
        try:
            await asyncio.wait({running, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await running
        finally:
            tell_manager("STOPPING=1")
            runner.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, running, return_exceptions=True)
            await control.close()
            self.metrics.close()

    def close(self, *, clean: bool) -> None:
        """After the bot has stopped: a last signed head, a last notice, the log's end.

        clean: it stopped as it was asked to. Else the heartbeat isn't ended, and the watchdog acts.
        """
        if self.bot is not None:
            with contextlib.suppress(TidegateError):  # already told of: it is what the session ended with
                self.sign(self.bot)
        if clean:
            self.heartbeat.stop(self._now_ns())
        self.notifier.tell("session", f"session {self.opened.session} has stopped")
        self.notifier.close()
        self.logs.close()

    async def _keep_lock(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            self.opened.lock.renew(self._now_ns())

    def _pulse(self) -> OutsidePulse:
        notify = self.config.notify
        url = look_up(str(notify.heartbeat_url), key="notify.heartbeat_url", folder=self.config.folder)
        patience = self.config.live.heartbeat_after / SECOND_NS
        every_s = notify.heartbeat_every / SECOND_NS
        return OutsidePulse(url, every_s=every_s, alive=lambda: self.heartbeat.age_s() < patience)

    def _time(self, what: str, seconds: float) -> None:
        if what == "commit":
            self.metrics.commit_s.observe(seconds)
        else:
            self.metrics.step_s.observe(seconds)

    # --- every event --------------------------------------------------------------------------------------------------
    def watch(self, event: Event, step: Step) -> None:
        """See `bot.run.Watcher`: called after the step is written."""
        assert self.bot is not None
        self.heartbeat.beat(event.ns)
        self.metrics.events.inc()
        CONTEXT.seq = self.bot.seq
        if isinstance(event, Tick):
            self._on_tick(event.ns)
        for kind, level, text in words_of(step, self.opened.engine):
            LOG.log(level, "%s", text)
            self.notifier.tell(kind, text)
        for watcher in self.more:
            watcher(event, step)
        self._count(step)
        if self._durable_latch and len(step.events):
            moves = step.events[step.events["kind"] == EV_LADDER]
            if len(moves) and moves["level"][-1] == LEVEL_HALTED and moves["was"][-1] < LEVEL_HALTED:
                write_latch(self.opened.folder, HALTED, "tidegate", "the risk ladder is HALTED", event.ns)

    def _on_tick(self, ns: int) -> None:
        assert self.bot is not None
        if self._patience_s is not None:
            tell_manager("WATCHDOG=1")
        self._look_at_latch()
        if self.config.metrics.port is not None:  # else nobody can read them
            self.metrics.update(self.status(ns))
        if ns >= self._daily_ns:
            self._daily_ns = next_daily_ns(ns, self.config.notify.daily)
            self._tell_day(ns)

    def _look_at_latch(self) -> None:
        """Somebody may have halted a bot that hung and now goes on."""
        assert self.bot is not None
        latch = read_latch(self.opened.folder)
        if latch.halted and self.opened.engine.desk.account["level"] < LEVEL_HALTED and not self._halting:
            self._halting = True
            self.bot.door.put(Operator(ns=0, act="halt", person=latch.person or "the latch", reason=latch.reason))
        self._halting = self._halting and latch.halted

    def _count(self, step: Step) -> None:
        self._day["fills"] += len(step.fills)
        self._day["fees"] += float(step.fills["fee"].sum())
        refused = step.events[step.events["kind"] == EV_REFUSED]
        self._day["refusals"] += len(refused)
        if len(step.fills):
            self.metrics.fills.inc(len(step.fills))
        for rule in refused["rule"].tolist():
            self.metrics.refusals.labels(RULES.get(rule, str(rule))).inc()

    def _tell_day(self, ns: int) -> None:
        assert self.bot is not None
        status = self.status(ns)
        day = {**self._day, "date": format_time(ns)[:10], "profit": status["equity"] - self._day_equity}
        self._day_equity = float(status["equity"])
        self._day = dict.fromkeys(self._day, 0)
        seq, stored = self.opened.journal.head()
        self.notifier.tell("daily", daily_text(status, day), exact=head_line(seq, stored, self.sign(self.bot)))

    def sign(self, runner: Bot) -> str:
        """Sign the journal's head and add it to the file of heads; the signed line."""
        line = sign_head(self.opened.journal, self._key, ns=runner.clock.now_ns())
        append_head(line, self.opened.folder / HEADS_FILE, *self._heads_elsewhere())
        return line

    def _heads_elsewhere(self) -> list[Path]:
        text = self.config.live.heads
        return [self.config.path(text)] if text else []

    # --- the operator -------------------------------------------------------------------------------------------------
    def status(self, ns: int) -> dict[str, Any]:
        """What `status` shows."""
        assert self.bot is not None
        body = status_body(self.opened.engine, ns)
        health = self.bot.health()
        door = health.pop("door")
        return {
            **body, "feeds": health, "door": door, "exchange": self.bot.venue.health(), "bot": self.opened.bot_id,
            "session": self.opened.session, "seq": self.bot.seq, "compiled": self.opened.engine.rows.compiled,
        }  # fmt: skip

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of an operator's verb."""
        assert self.bot is not None
        if request["do"] == "ping":
            return {"session": self.opened.session}
        if request["do"] == "status":
            return self.status(self._now_ns())
        event = as_event(request, 0)
        if event.symbol and event.symbol not in self.opened.engine.symbols:
            raise RefusedError(
                f"{event.symbol} isn't traded by this bot; it trades {', '.join(self.opened.engine.symbols)}"
            )
        return await self._hand_over(event)

    async def _hand_over(self, event: Operator) -> dict[str, Any]:
        """Put a person's word at the door, and wait until it was handled and is durable."""
        assert self.bot is not None
        runner = self.bot
        handled = asyncio.Event()

        def seen(told: Event, step: Step) -> None:
            if isinstance(told, Operator) and (told.act, told.reason) == (event.act, event.reason):
                handled.set()

        runner.watchers.append(seen)
        try:
            runner.door.put(event)
            async with asyncio.timeout(ANSWER_S):
                await handled.wait()
        finally:
            runner.watchers.remove(seen)
        await asyncio.sleep(0)
        return {"level": self.status(self._now_ns())["level"], "seq": runner.seq}
