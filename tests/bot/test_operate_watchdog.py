"""The watchdog with real processes: it halts and cancels for a killed or hung bot, and goes when the bot stops."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import bot.operate.watchdog
from bot.exchange.wire import CancelAll, Failed, Message
from bot.operate.heartbeat import RUNNING, STARTING, STOPPED, Beat, Heartbeat, read_beat
from bot.operate.latch import read_latch
from bot.operate.lock import boot_id
from bot.operate.notify import Notifier
from bot.operate.watchdog import Watch, Watchdog, start_watchdog
from tests.bot.operate_bot import session, snapshot
from tests.bot.operate_exchange import exchange
from tests.bot.operate_hook import hook

HOUSE = Path(__file__).resolve().parents[2]
AFTER_S = 0.8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A live session that holds 1 BTC."""
    session(tmp_path / "live" / "main", snapshot(BTC=1.0))
    return tmp_path / "live" / "main"


@contextlib.contextmanager
def process(command: "Callable[[], subprocess.Popen[bytes]]") -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is gone after the block."""
    started = command()
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def bot_process(folder: Path, *how: str) -> "subprocess.Popen[bytes]":
    """The test bot."""
    return subprocess.Popen([sys.executable, "-m", "tests.bot.operate_bot", str(folder), *how], cwd=HOUSE)


def dog(folder: Path, *command: str, config: Path | None = None) -> "subprocess.Popen[bytes]":
    """The watchdog, as the bot starts it."""
    return start_watchdog(folder, after_s=AFTER_S, exchange=command, config=config)


def wait(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until it is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"still not: {what}"
        time.sleep(0.02)


def running(folder: Path) -> bool:
    """True when the bot beats."""
    beat = read_beat(folder)
    return beat is not None and beat.state == RUNNING


def log(folder: Path) -> str:
    """What the watchdog wrote."""
    file = folder / "watchdog.jsonl"
    return file.read_text() if file.exists() else ""


def test_sigkill_of_the_bot(folder: Path, tmp_path: Path) -> None:
    """The bot is killed: latch HALTED, orders cancelled, protection spared, people told; then the watchdog ends."""
    config = tmp_path / "tidegate.toml"
    with process(lambda: bot_process(folder)) as there, exchange(folder) as venue, hook() as people:
        config.write_text(f'[notify]\nurls = ["json://{people.url}"]\n')
        wait(lambda: running(folder), "the bot runs")
        with process(lambda: dog(folder, config=config)) as watchdog:
            time.sleep(1.2 * AFTER_S)
            assert watchdog.poll() is None and not read_latch(folder).halted and not venue.intents()
            there.send_signal(signal.SIGKILL)
            there.wait()
            assert watchdog.wait(60) == 0
    assert read_latch(folder).person == "watchdog" and "silent for" in read_latch(folder).reason
    assert venue.intents() == [CancelAll(protection=False)]
    said = "\n".join(message["message"] for message in people.messages)
    assert "open orders are cancelled" in said and "protection stands" in said
    assert people.messages[0]["title"].startswith("tidegate live main: ")


def test_the_exchange_process_is_started(folder: Path) -> None:
    """It died with the bot: the watchdog starts one, cancels, and doesn't leave it behind."""
    with process(lambda: bot_process(folder)) as there:
        wait(lambda: running(folder), "the bot runs")
        command = (sys.executable, "-m", "tests.bot.operate_exchange", str(folder))
        with process(lambda: dog(folder, *command)) as watchdog:
            wait(lambda: (folder / "watchdog.jsonl").exists(), "the watchdog runs")
            there.send_signal(signal.SIGKILL)
            there.wait()
            assert watchdog.wait(60) == 0, log(folder)
    assert (folder / "asked.jsonl").read_text().splitlines()[-1] == '["CancelAll", false]'
    assert read_latch(folder).halted


def test_clean_stop(folder: Path) -> None:
    """A bot that stops as it should takes the watchdog with it, without a halt."""
    with process(lambda: bot_process(folder)) as there, exchange(folder) as venue:
        wait(lambda: running(folder), "the bot runs")
        with process(lambda: dog(folder)) as watchdog:
            wait(lambda: (folder / "watchdog.jsonl").exists(), "the watchdog runs")
            there.send_signal(signal.SIGTERM)
            assert there.wait(60) == 0 and watchdog.wait(60) == 0
    assert not read_latch(folder).halted and not venue.intents()


def test_hung_bot_is_watched_on(folder: Path) -> None:
    """A bot that only hung is halted; when it beats again the watchdog is there for it, and halts a second time."""
    with process(lambda: bot_process(folder)) as there, exchange(folder) as venue:
        wait(lambda: running(folder), "the bot runs")
        with process(lambda: dog(folder)) as watchdog:
            wait(lambda: (folder / "watchdog.jsonl").exists(), "the watchdog runs")
            for count in (1, 2):
                there.send_signal(signal.SIGSTOP)
                wait(lambda count=count: len(venue.intents()) == count, "cancelled")  # type: ignore[misc]
                wait(lambda count=count: log(folder).count("protection stands: ") == count, "done")  # type: ignore[misc]
                assert read_latch(folder).halted and watchdog.poll() is None
                there.send_signal(signal.SIGCONT)
                wait(lambda count=count: log(folder).count("beats again") == count, "seen alive")  # type: ignore[misc]
            there.send_signal(signal.SIGTERM)
            assert watchdog.wait(60) == 0


def test_it_goes_on_until_the_venue_has_cancelled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that is down at first is asked again until it works."""
    answers: list[Message] = [Failed(text="maintenance")] * 3

    def reply(message: Message) -> Message | None:
        return answers.pop() if isinstance(message, CancelAll) and answers else None

    class Quiet:
        said: list[str] = []

        def tell(self, kind: str, text: str) -> None:
            self.said.append(text)

    monkeypatch.setattr(bot.operate.watchdog, "AGAIN_S", (0.05, 0.05))
    with process(lambda: bot_process(folder)) as there, exchange(folder, reply) as venue:
        wait(lambda: running(folder), "the bot runs")
        there.send_signal(signal.SIGKILL)
        there.wait()
        guard = Watchdog(folder, after_s=0.3, grace_s=1.0, spawn=None, notifier=Quiet())  # type: ignore[arg-type]
        assert guard.run() == 0
    assert len(venue.intents()) == 4 and any("did NOT work" in text and "maintenance" in text for text in Quiet.said)


def test_giving_up_is_said_and_exits_1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody to cancel through: the latch holds, a person is told, the exit code tells that orders may stand."""
    monkeypatch.setattr(bot.operate.watchdog, "AGAIN_S", (0.01,))
    heart = Heartbeat(folder, "0000beef")
    heart.beat(1)
    notifier = Notifier([], title="")
    assert Watchdog(folder, after_s=0.2, grace_s=1.0, spawn=None, notifier=notifier).run() == 1
    assert read_latch(folder).halted


def test_a_bot_that_stopped_before_the_first_look_is_not_halted(folder: Path) -> None:
    """It beat when the watchdog was asked for, and stopped as it should while that one was still starting."""
    heart = Heartbeat(folder, "0000beef")
    heart.start(1)
    asked_s = time.monotonic()
    heart.stop(2)
    notifier = Notifier([], title="")
    guard = Watchdog(folder, after_s=0.2, grace_s=0.4, spawn=None, notifier=notifier, began_s=asked_s)
    assert guard.run() == 0 and not read_latch(folder).halted


def test_only_one_watches(folder: Path) -> None:
    """A second watchdog of the same session leaves at once."""
    Heartbeat(folder, "0000beef").start(1)
    with process(lambda: dog(folder)) as first:
        wait(lambda: (folder / "watchdog.jsonl").exists(), "the watchdog runs")
        with process(lambda: dog(folder)) as second:
            assert second.wait(60) == 0 and first.poll() is None
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
    assert "another watchdog watches" in (folder / "watchdog.out").read_text()


def test_ages_are_judged_by_the_monotonic_clock() -> None:
    """Fresh, silent, stopped; a start has longer; a pause of the whole machine isn't the bot's silence."""
    beat = Beat(pid=1, session="s", boot=boot_id(), ns=0, mono_ns=0, events=1, state=RUNNING)

    def at(second: float, state: str = RUNNING) -> Beat:
        return replace(beat, mono_ns=int(second * 1e9), state=state)

    watch = Watch(after_s=10, grace_s=60, began_s=1000)
    assert [watch.look(None, now) for now in (1004, 1008, 1012)] == ["alive"] * 3  # none came yet: the start's patience
    assert [watch.look(at(1012, STARTING), now) for now in (1013, 1017, 1021, 1025)] == ["alive"] * 4
    assert [watch.look(at(1025), now) for now in (1026, 1030, 1035)] == ["alive"] * 3
    assert watch.look(at(1025), 1035.5) == "silent" and watch.look(at(1035.5), 1036) == "alive"
    assert watch.look(at(1036), 5000) == "alive"  # suspended for an hour: the bot gets time to beat
    assert watch.look(at(1036), 5004) == "alive" and watch.look(at(1036), 5005.5) == "silent"
    assert watch.look(None, 5006) == "silent"  # the file is gone
    assert watch.look(at(5007, STOPPED), 5007) == "stopped"


def test_an_old_stop_and_another_boot_do_not_count() -> None:
    """What an earlier session or an earlier boot left says nothing of this one."""
    left = Beat(pid=1, session="s", boot=boot_id(), ns=0, mono_ns=900 * 10**9, events=1, state=STOPPED)
    for old in (left, replace(left, boot="another", mono_ns=1005 * 10**9, state=RUNNING)):
        watch = Watch(after_s=10, grace_s=20, began_s=1000)
        assert [watch.look(old, now) for now in (1004, 1008, 1012, 1016, 1020)] == ["alive"] * 5
        assert watch.look(old, 1021) == "silent"


def test_heartbeat_file_is_whole_and_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written once a second at most, never torn, and a disk that refuses is counted, not raised."""
    heart = Heartbeat(tmp_path, "0000beef", every_s=10**9)  # longer than any machine has been up
    heart.beat(1)
    heart.beat(2)
    first = read_beat(tmp_path)
    assert first is not None and first.ns == 1 and heart.events == 2 and heart.age_s() < 5
    for text in ("", "{}", json.dumps({"pid": 1})):
        (tmp_path / "heartbeat").write_text(text)
        assert read_beat(tmp_path) is None
    monkeypatch.setattr(heart, "file", tmp_path / "nowhere" / "heartbeat")
    heart.stop(3)
    assert heart.failed == 1
