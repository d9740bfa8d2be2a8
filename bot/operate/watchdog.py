"""The watchdog: a process of its own that halts and cancels when the bot's heartbeat stops (control 25).

    python -m bot.operate.watchdog FOLDER --after 30 [--notify-from tidegate.toml] [-- COMMAND of the exchange process]

It outlives the bot's SIGKILL. It ends when the bot stops as it should. After it acted on a bot that only hung, it
goes on watching, since a person may resume that bot.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.operate.direct_line import Spawn, default_spawn, spawner
from bot.operate.heartbeat import RUNNING, STOPPED, Beat, read_beat
from bot.operate.latch import read_latch
from bot.operate.lock import boot_id, holder
from bot.operate.logs import open_logs
from bot.operate.notify import KINDS, Notifier, apprise_targets
from bot.operate.service import tell_manager
from bot.operate.stop import BOT_S, FAILED, Halt, Step
from data.errors import TidegateError

LOG_FILE = "watchdog.jsonl"
LOCK_FILE = "watchdog.lock"
AFTER_S = 30.0
GRACE_S = 300.0
AGAIN_S = (5.0, 10.0, 20.0, 40.0, 60.0)
HOUSE = Path(__file__).resolve().parents[2]
LOG = logging.getLogger("tidegate.watchdog")


@dataclass(kw_only=True)
class Watch:
    """Compares the newest heartbeat with the clock. All times are monotonic seconds, handed in."""

    after_s: float
    grace_s: float  # silence that a start may have, before and while signals warm up
    began_s: float
    looked_s: float = field(init=False)
    heard_s: float = field(init=False)
    seen: Beat | None = None

    def __post_init__(self) -> None:
        """Count from the start on."""
        self.looked_s = self.heard_s = self.began_s

    def look(self, beat: Beat | None, now_s: float) -> str:
        """Look once: "alive", "stopped" or "silent".

        When the watchdog itself didn't run for long (a suspended machine), neither may the bot have: it gets the time
        to beat again.
        """
        paused = now_s - self.looked_s > self.after_s / 2
        self.looked_s = now_s
        if beat is not None and beat.boot == boot_id():
            if self.seen is None and beat.mono_ns / 1e9 < self.began_s and beat.state == STOPPED:
                beat = None  # of a session before this one
            else:
                self.heard_s = max(self.heard_s, beat.mono_ns / 1e9)
                self.seen = beat
        if self.seen is not None and self.seen.state == STOPPED:
            return "stopped"
        if paused:
            self.heard_s = max(self.heard_s, now_s - self.after_s / 2)
        running = self.seen is not None and self.seen.state == RUNNING
        patience = self.after_s if running else max(self.after_s, self.grace_s)
        return "silent" if now_s - self.heard_s > patience else "alive"


class Watchdog:
    """The loop around `Watch`, and what is done about silence."""

    def __init__(
        self, folder: Path, *, after_s: float, grace_s: float, spawn: Spawn | None, notifier: Notifier,
        began_s: float | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.spawn, self.notifier = folder, spawn, notifier
        self.after_s = after_s
        self.ended = threading.Event()
        # Asked for while the bot ran, we know it, though it may have stopped before we could look for the first time.
        began_s = time.monotonic() if began_s is None else began_s
        self._watch = Watch(after_s=after_s, grace_s=grace_s, began_s=began_s)

    def run(self) -> int:
        """Watch until the bot stopped (0), we are asked to end (0), or nothing is left to watch after acting.

        Returns
        -------
        int
            Exit code: 1 when orders may still stand at the venue.
        """
        every_s = min(1.0, self.after_s / 5)
        tell_manager("READY=1", "STATUS=watching")
        while not self.ended.wait(every_s):
            tell_manager("WATCHDOG=1")
            state = self._watch.look(read_beat(self.folder), time.monotonic())
            if state == "stopped" or (state == "silent" and self._watch.seen is None and self._nobody()):
                LOG.info("the bot stopped as it should" if state == "stopped" else "no bot came")
                return 0
            if state == "silent":
                worked = self._act()
                if holder(self.folder) is None:
                    return 0 if worked else 1
                self._wait_for_life()
        if self._watch.seen is not None and holder(self.folder) is not None:
            self._alarm("the watchdog was ended while the bot runs: nobody cancels when it hangs")
        return 0

    def _nobody(self) -> bool:
        """No bot has the folder and the latch is HALTED anyway: there is nothing to guard."""
        return holder(self.folder) is None and read_latch(self.folder).halted

    def _act(self) -> bool:
        age_s = time.monotonic() - self._watch.heard_s
        reason = f"heartbeat: the bot was silent for {age_s:.0f} s (limit {self.after_s:g} s)"
        self._alarm(f"{reason}; halting and cancelling")
        for number in range(len(AGAIN_S) + 1):
            lines: list[str] = []
            if self._halt(reason, lines.append):
                self._alarm("HALTED, open orders are cancelled, protection stands: " + "; ".join(lines))
                return True
            self._alarm("halting did NOT work wholly: " + "; ".join(lines))
            if number < len(AGAIN_S) and self.ended.wait(AGAIN_S[number]):
                break
        self._alarm("given up: open orders may stand. Cancel them at the venue by hand")
        return False

    def _halt(self, reason: str, note: Callable[[str], None]) -> bool:
        def tell(step: Step) -> None:
            tell_manager("WATCHDOG=1")
            LOG.log(logging.ERROR if step.how == FAILED else logging.WARNING, "%s: %s", step.what, step.text)
            note(f"{step.what} {step.how}: {step.text}")

        try:
            return Halt(
                folder=self.folder, person="watchdog", reason=reason, now_ns=time.time_ns(), tell=tell,
                spawn=self.spawn or default_spawn(self.folder), bot_s=min(BOT_S, self.after_s / 2),
            ).run()  # fmt: skip
        except Exception as error:  # whatever it is, the next try is due, and people have to know
            LOG.exception("halting failed")
            note(f"{type(error).__name__}: {error}")
            return False

    def _wait_for_life(self) -> None:
        """After acting on a bot that hangs: until it beats again, ends, or somebody starts another."""
        acted_s = time.monotonic()
        while not self.ended.wait(min(1.0, self.after_s / 5)):
            tell_manager("WATCHDOG=1")
            beat = read_beat(self.folder)
            if holder(self.folder) is None or (beat and beat.boot == boot_id() and beat.mono_ns / 1e9 > acted_s):
                self._watch.look(beat, time.monotonic())
                if holder(self.folder) is not None:
                    self._alarm("the bot beats again; the latch stays HALTED until a person resumes")
                    return
                self.ended.set()

    def _alarm(self, text: str) -> None:
        LOG.error("%s", text)
        self.notifier.tell("alarm", text)


def start_watchdog(
    folder: Path,
    *,
    after_s: float,
    exchange: Sequence[str] = (),
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start the watchdog of a session, apart from our terminal and process group: it has to outlive us.

    Call it after `Heartbeat.start`.

    Parameters
    ----------
    exchange : sequence of str
        Command line of the exchange process; left out: by the document in the folder.
    config : Path, optional
        Configuration with `[notify]`.
    environment : mapping, optional
        Of the watchdog, left out: ours. A key that comes by the environment has to be in it, or none can be started.
    """
    command = [sys.executable, "-m", "bot.operate.watchdog", str(folder), "--after", f"{after_s:g}"]
    command += ["--began", f"{time.monotonic():.6f}"]
    command += ["--notify-from", str(config)] if config is not None else []
    command += ["--", *exchange] if exchange else []
    own = dict(os.environ if environment is None else environment)
    own["PYTHONPATH"] = os.pathsep.join([str(HOUSE), *filter(None, [own.get("PYTHONPATH")])])
    with open(folder / "watchdog.out", "ab") as out:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=own
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the watchdog; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(prog="bot.operate.watchdog", description="Halt and cancel when a bot is silent.")
    parser.add_argument("folder", type=Path, help="the session's folder, VAR/live/NAME")
    parser.add_argument("--after", type=float, default=AFTER_S, help="seconds of silence", metavar="SECONDS")
    parser.add_argument("--grace", type=float, default=GRACE_S, help="the same, of a start", metavar="SECONDS")
    parser.add_argument("--began", type=float, help="when it was asked for, by the monotonic clock", metavar="SECONDS")
    parser.add_argument("--notify-from", type=Path, help="configuration with [notify] urls", metavar="CONFIG")
    options = parser.parse_args(given[:cut])
    if not options.after > 0 or not options.folder.is_dir():
        parser.error("--after has to be above 0, and FOLDER a folder")
    with _only_one(options.folder) as alone:
        if not alone:
            return 0
        logs = open_logs(options.folder, session="watchdog", file=LOG_FILE)
        notifier = Notifier(
            _targets(options.notify_from), title=f"tidegate {options.folder.parent.name} {options.folder.name}"
        )
        dog = Watchdog(
            options.folder, after_s=options.after, grace_s=options.grace, notifier=notifier, began_s=options.began,
            spawn=spawner(given[cut + 1 :]) if given[cut + 1 :] else None,  # else looked for when it is needed
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: dog.ended.set())
        try:
            return dog.run()
        finally:
            notifier.close()
            logs.close()


def _targets(config: Path | None) -> list[Callable[[str, str], bool]]:
    """Who is told; a fault in it is logged, since a watchdog without a voice is better than none."""
    if config is None:
        return []
    try:
        section = tomllib.loads(config.read_text(encoding="utf-8")).get("notify", {})
        if "alarm" not in section.get("on", KINDS):
            return []
        urls = section.get("urls", [])
        return list(apprise_targets([urls] if isinstance(urls, str) else urls, config.parent))
    except (OSError, ValueError, AttributeError, TidegateError) as error:
        LOG.error("nobody will be notified: %s", error)
        return []


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[bool]:
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"{folder}: another watchdog watches already\n")
            yield False
            return
        yield True
    finally:
        os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
