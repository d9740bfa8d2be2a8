"""Notices: a storm is one message, nobody waits for it, and no address gets into a log."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.operate.heartbeat import OutsidePulse
from bot.operate.notify import Notifier, apprise_targets, daily_text, head_line, next_daily_ns
from bot.operate.references import look_up
from data.errors import InputError
from tests.bot.operate_bot import snapshot
from tests.bot.operate_hook import hook


class People:
    """A target that keeps what it gets."""

    def __init__(self, *answers: bool) -> None:
        self.got: list[tuple[str, str]] = []
        self.answers = list(answers)

    def __call__(self, title: str, body: str) -> bool:
        self.got.append((title, body))
        return self.answers.pop(0) if self.answers else True


def wait(condition: Callable[[], object]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_storm_is_one_message() -> None:
    """A thousand fills and an error come as one message that counts them and shows the newest."""
    people = People()
    notifier = Notifier([people], title="tidegate live main", gather_s=0.2, every_s=0.0)
    for number in range(900):
        notifier.tell("fill", f"bought {number}")
    wait(lambda: people.got)
    notifier.close()
    (title, body), *rest = people.got
    assert title == "tidegate live main: 900 fills" and not rest
    assert body.splitlines()[0] == "fill: bought 890" and body.splitlines()[9] == "fill: bought 899"
    assert body.splitlines()[10] == "and 890 fills before these: see tidegate logs"


def test_urgent_ones_do_not_wait_and_take_the_others_along() -> None:
    """A ladder move goes out at once, with what was waiting."""
    people = People()
    notifier = Notifier([people], title="t", gather_s=60, every_s=0.0)
    notifier.tell("fill", "bought 1 BTC/USDT")
    notifier.tell("ladder", "FLATTEN: drawdown 0.36, limit 0.35")
    wait(lambda: people.got)
    assert people.got == [
        ("t: 1 fill, 1 ladder move", "fill: bought 1 BTC/USDT\nladder: FLATTEN: drawdown 0.36, limit 0.35")
    ]
    notifier.close()


def test_at_most_one_message_in_a_time() -> None:
    """Errors in a row are gathered until the next message may go."""
    people = People()
    notifier = Notifier([people], title="t", gather_s=0.0, every_s=0.3)
    notifier.tell("error", "first")
    wait(lambda: people.got)
    for number in range(5):
        notifier.tell("error", f"later {number}")
    time.sleep(0.1)
    assert len(people.got) == 1
    wait(lambda: len(people.got) == 2)
    assert people.got[1][0] == "t: 5 errors"
    notifier.close()


def test_full_queue_and_slow_target_cost_the_teller_nothing() -> None:
    """While a target hangs, telling returns at once; what doesn't fit is counted and said later."""
    gate, got = threading.Event(), []

    def slow(title: str, body: str) -> bool:
        gate.wait(5)
        got.append(body)
        return True

    notifier = Notifier([slow], title="t", gather_s=0.0, every_s=0.0, queue_max=10)
    notifier.tell("error", "first")
    time.sleep(0.05)
    began = time.monotonic()
    for number in range(5000):
        notifier.tell("fill", str(number))
    assert time.monotonic() - began < 1.0 and notifier.counts.dropped >= 4980
    gate.set()
    wait(lambda: len(got) >= 2)
    notifier.close()
    assert any("notices were lost: the queue was full" in body for body in got)


def test_failed_delivery_is_tried_again_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Only the targets that failed, or raised, are asked again; in the end it is logged, without addresses."""
    good, bad = People(), People(False, False, False)

    def broken(title: str, body: str) -> bool:
        raise RuntimeError("https://secret.example/token")

    notifier = Notifier([good, bad, broken], title="t", gather_s=0.0, every_s=0.0, tries_s=(0.0, 0.01, 0.01))
    notifier.tell("error", "x")
    wait(lambda: notifier.counts.failed == 2)
    notifier.close()
    assert len(good.got) == 1 and len(bad.got) == 3
    assert "not delivered to 2 of 3" in caplog.text and "secret.example" not in caplog.text


def test_closing_sends_what_waits() -> None:
    """The last words of a session go out."""
    people = People()
    notifier = Notifier([people], title="t", gather_s=60, every_s=60)
    notifier.tell("session", "stopped by SIGTERM")
    notifier.close()
    notifier.close()
    notifier.tell("fill", "after the end")
    assert people.got == [("t: 1 session", "session: stopped by SIGTERM")]


def test_only_what_was_asked_for() -> None:
    """Kinds that aren't in `on`, and a notifier without targets, are quiet."""
    people = People()
    notifier = Notifier([people], title="t", on=("ladder",), gather_s=0.0)
    notifier.tell("fill", "x")
    notifier.close()
    Notifier([], title="t").tell("error", "x")
    assert not people.got and notifier.counts.told == 0


def test_apprise_delivers_on_loopback(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A real apprise target gets title and body; its address stays out of the log when it fails."""
    caplog.set_level(logging.DEBUG)
    with hook() as there:
        monkeypatch.setenv("HOOK", f"json://user:canary-secret@{there.url}/hush")
        notifier = Notifier(apprise_targets(["env:HOOK"]), title="t", gather_s=0.0, every_s=0.0, tries_s=(0.0,))
        notifier.tell("error", "the stream is down")
        wait(lambda: there.messages)
        there.status = 500
        wait(lambda: notifier.counts.messages == 1)
        notifier.tell("error", "again")
        wait(lambda: notifier.counts.failed == 1)
        notifier.close()
    assert there.messages[0]["title"] == "t: 1 error" and there.messages[0]["message"] == "error: the stream is down"
    assert "canary-secret" not in caplog.text and "hush" not in caplog.text


def test_wrong_addresses_are_named_by_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The faulty one is told by its place, never by its text."""
    monkeypatch.setenv("BAD", "nosuchservice://hush-hush")
    with pytest.raises(InputError, match="notify.urls, number 2") as told:
        apprise_targets(["json://localhost", "env:BAD"])
    assert "hush" not in str(told.value)


def test_references(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """env, file and credential are looked up; a file that others may read is refused; other text is itself."""
    monkeypatch.setenv("THERE", " value-of-env ")
    assert look_up("env:THERE", key="k") == "value-of-env" and look_up("https://x", key="k") == "https://x"
    (tmp_path / "secret").write_text("value-of-file\n")
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        look_up("file:secret", key="k", folder=tmp_path)
    (tmp_path / "secret").chmod(0o600)
    assert look_up("file:secret", key="k", folder=tmp_path) == "value-of-file"
    with pytest.raises(InputError, match="no credentials"):
        look_up("credential:secret", key="k")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert look_up("credential:secret", key="k") == "value-of-file"
    for missing in ("env:NOT_THERE", "file:nowhere", "credential:../secret", "credential:nowhere"):
        with pytest.raises(InputError):
            look_up(missing, key="k", folder=tmp_path)


def test_daily_summary() -> None:
    """Equity, the day, the ladder, holdings, feeds; the journal's head goes out exactly as it is."""
    body = {**snapshot(BTC=0.5), "drawdown": 0.01}
    day = {"date": "2023-11-14", "profit": -12.5, "fees": 1.25, "fills": 7, "refusals": 2}
    text = daily_text(body, day)
    assert text.splitlines() == [
        "2023-11-14: equity 10,234.50, day -12.50",
        "fees 1.25, fills 7, refusals 2",
        "ladder NO_NEW_RISK (stream, daily loss)",
        "holds 0.5 BTC/USDT",
        "feeds bars BTC/USDT 1.2s; bars ETH/USDT 1h30m; posts never, 2 errors",
        "UNKNOWN orders: 1",
    ]
    people = People()
    notifier = Notifier([people], title="t", gather_s=0.0)
    notifier.tell("daily", text, exact=head_line(12, "ab" * 32, "c2ln"))
    notifier.close()
    assert people.got[0][1].endswith(f"journal head 12 {'ab' * 32} signature c2ln")
    hour = 3600 * 10**9
    assert next_daily_ns(25 * hour, 5 * hour) == 29 * hour and next_daily_ns(29 * hour, 5 * hour) == 53 * hour


def test_outside_pulse(caplog: pytest.LogCaptureFixture) -> None:
    """The address is asked while the engine lives, not otherwise; failures are counted and don't name it."""

    async def main() -> None:
        alive = True
        with hook() as there:
            pulse = OutsidePulse(f"http://{there.url}/ping/hush", every_s=0.02, alive=lambda: alive, method="POST")
            task = asyncio.create_task(pulse.run())
            while pulse.sent < 2:
                await asyncio.sleep(0.01)
            alive = False
            while pulse.withheld < 2:
                await asyncio.sleep(0.01)
            before = len(there.asked)
            await asyncio.sleep(0.06)
            assert len(there.asked) == before and set(there.asked) == {"POST /ping/hush"}
            there.status, alive = 500, True
            while pulse.failed < 1:
                await asyncio.sleep(0.01)
        while pulse.failed < 3:  # nobody listens now
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 10))
    assert "withheld" in caplog.text and "hush" not in caplog.text
