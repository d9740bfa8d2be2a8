"""The operator's verbs as a person meets them: what is printed, exit codes, what is refused."""

import contextlib
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import bot.operate.status
from bot import verbs_operate
from bot.cli import Verbs
from bot.operate.latch import HALTED, read_latch, write_latch
from bot.operate.resume import resume
from bot.operate.status import gather
from data.errors import RefusedError
from tests.bot.operate_bot import BEFORE_NS, decision, session, snapshot
from tests.bot.operate_exchange import exchange
from tests.bot.test_operate_control import Handler, serve
from tests.bot.test_operate_stop import end, start_bot

app = typer.Typer(name="tidegate", cls=Verbs, no_args_is_help=True, pretty_exceptions_enable=False)
verbs_operate.register(app)


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def live(var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live session of a dead bot, in an empty working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    session(var / "live" / "main", snapshot(BTC=1.0, ETH=0.0))
    return var / "live" / "main"


@contextlib.contextmanager
def bot_process(folder: Path, *how: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The test bot, running."""
    process = start_bot(folder, *how)
    try:
        yield process
    finally:
        end(process)


def test_status_of_a_dead_bot(live: Path) -> None:
    """The journal's snapshot and the latch are shown, and that no bot runs; exit code 0."""
    done = run("status")
    assert done.exit_code == 0, done.output
    for text in (
        "live main, not running", "snapshot     of 2023-11-14 22:13:20Z", "kill latch   ACTIVE by founder: first start",
        "ladder       NO_NEW_RISK", "equity       10,234.50   cash 4,000.00", "UNKNOWN      1 of the orders",
        "observed 0.0612, limit 0.05", "sell stop BTC/USDT (stop-loss)", "0.5 of 2.5", "stale late", "1h30m",
        "mood is warming up", "mood 0.31, price 100", "day -65.50   drawdown 2.1%", "private stream; cut off",
    ):  # fmt: skip
        assert text in done.stdout, text
    shown = " ".join(done.stdout.split())
    for text in ("daily loss 0.6% 5.0% 12.8%", "turnover per day 500.25 2,000 25.0%", "net notional 4,000 no limit –"):
        assert text in shown, text
    assert "ETH/USDT            0" not in done.stdout
    found = json.loads(run("status", "--json").stdout)
    assert found["source"] == "journal" and found["running"] is False and found["positions"]["BTC/USDT"]["qty"] == 1.0


def test_status_without_journal_or_session(live: Path, var: Path) -> None:
    """What can't be read is said; without a session the verb says how one begins."""
    (live / "journal.sqlite").unlink()
    (live / "latch").unlink()
    done = run("status")
    assert done.exit_code == 0 and "there is no journal" in done.stdout
    assert "kill latch   HALTED: the latch file is missing" in done.stdout
    shutil.rmtree(var)
    done = run("status")
    assert done.exit_code == 2 and "tidegate paper begins one" in done.stderr


def test_newer_decisions_come_from_the_steps(tmp_path: Path) -> None:
    """Steps after the snapshot are newer than its decisions and its level; fills that it lacks are told."""
    folder = tmp_path / "live" / "main"
    later = BEFORE_NS + 10**9
    session(
        folder, snapshot(BTC=1.0), ({"decisions": [decision(later)], "fills": [{}]}, {"moves": [{"level": "HALTED"}]})
    )
    found = gather(folder)
    assert found["level"] == "HALTED" and "1 fills after the snapshot" in found["told"][1]
    first, second = found["last_decisions"]
    assert (first["ns"], first["symbol"], first["target"], first["values"]["mood"]) == (later, "BTC/USDT", 0.2, 0.31)
    assert (second["target"], second["signal"], second["state"]) == (None, "mood", "warming up")


def test_status_of_a_running_and_a_hung_bot(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running bot tells itself; one that is silent is named, with exit code 4."""
    with bot_process(live) as process:
        done = run("status")
        assert done.exit_code == 0, done.output
        assert f"live main, running, process {process.pid}, session 0000beef" in done.stdout
        found = json.loads(run("status", "--json").stdout)
        assert found["source"] == "bot" and found["latch"]["level"] == "ACTIVE"
    monkeypatch.setattr(bot.operate.status, "gather", functools.partial(gather, timeout_s=0.2))
    with bot_process(live, "hang") as process:
        done = run("status")
        assert done.exit_code == 4 and "NOT ANSWERING" in done.stdout
        assert f"process {process.pid}" in done.stdout and "snapshot     of" in done.stdout


def test_watch_ends_by_ctrl_c(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--watch looks again and again."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(verbs_operate.time, "sleep", pause)
    done = run("status", "--watch", "--every", "0.5")
    assert done.exit_code == 0 and done.stdout.count("live main, not running") == 3 and pauses == [0.5] * 3


def test_halt_prints_each_step(live: Path) -> None:
    """Each step stands in a line; the exit code says whether all worked."""
    with exchange(live):
        done = run("halt", "--reason", "looks odd", "--person", "ann")
    assert done.exit_code == 0, done.output
    assert [line.split()[2:4] for line in done.stdout.splitlines()] == [
        ["latch", "done"], ["bot", "done"], ["cancel", "done"],
    ]  # fmt: skip
    assert read_latch(live).reason == "looks odd"
    done = run("halt")
    assert done.exit_code == 1 and "NOT all of it worked" in done.stderr and "cancel            failed" in done.stdout
    found = run("halt", "--json")
    assert found.exit_code == 1 and json.loads(found.stdout)["worked"] is False


def test_halt_means_all_that_may_be_meant(live: Path, var: Path) -> None:
    """With two live sessions and no word which, both are halted; selling needs the word."""
    session(var / "live" / "other", snapshot(BTC=1.0))
    session(var / "paper" / "main", snapshot(BTC=1.0))
    done = run("halt", "--flatten")
    assert done.exit_code == 2 and "several sessions fit: live main, live other" in done.stderr
    run("halt")
    assert read_latch(live).halted and read_latch(var / "live" / "other").halted
    assert not read_latch(var / "paper" / "main").halted
    assert run("halt", "--mode", "paper").exit_code == 0 and read_latch(var / "paper" / "main").halted


def test_sessions_are_told_apart(live: Path, var: Path) -> None:
    """By name, by mode, by a configuration given, by the one here, by what runs."""
    session(var / "live" / "other", snapshot(BTC=1.0))
    assert run("status").exit_code == 2
    assert "live other" in run("status", "--name", "other").stdout
    Path("tidegate.toml").write_text('[live]\nname = "other"\n')
    assert "live other" in run("status").stdout
    Path("mine.toml").write_text('[live]\nname = "main"\n')
    assert "live main" in run("status", "mine.toml").stdout
    with bot_process(live):
        assert "live main, running" in run("status").stdout
    done = run("status", "--name", "nobody")
    assert done.exit_code == 2 and "There are: live main, live other" in done.stderr
    assert run("status", "--name", "../main").exit_code == 2


def test_resume_of_a_dead_bot(live: Path) -> None:
    """Person and reason go into the latch; what the journal still has is told."""
    write_latch(live, HALTED, "watchdog", "heartbeat", 1)
    assert run("resume").exit_code == 2
    done = run("resume", "--reason", "looked at it", "--person", "ann")
    assert done.exit_code == 0, done.output
    assert "kill latch was HALTED: heartbeat" in done.stdout and "no bot runs" in done.stdout
    assert "its journal still has: daily loss (REDUCE_ONLY, observed 0.0612, limit 0.05)" in done.stdout
    latch = read_latch(live)
    assert not latch.halted and (latch.person, latch.reason) == ("ann", "looked at it")


def answering(latches: list[dict[str, Any]], heard: list[str], refuse: bool = False) -> Handler:
    """A bot with these latches."""

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        heard.append(request["do"])
        if request["do"] == "resume" and refuse:
            raise RefusedError("the drawdown is 0.4")
        return {"latches": latches, "level": "ACTIVE"}

    return answer


def test_resume_is_refused_while_causes_stand(live: Path) -> None:
    """The causes are named, and nothing is changed; one that passes by itself or by this word doesn't keep from it."""
    write_latch(live, HALTED, "bob", "stop", 1)
    heard: list[str] = []
    stands = [
        {"cause": "journal", "level": "HALTED", "text": "disk full", "stands": True},
        {"cause": "stream", "level": "NO_NEW_RISK", "text": "down", "stands": True},
        {"cause": "another session", "level": "HALTED", "text": "seen", "stands": True},
        {"cause": "drawdown", "level": "HALTED", "stands": False},
    ]

    def work() -> list[str]:
        return resume(live, person="ann", reason="looked", now_ns=2)

    with pytest.raises(RefusedError, match=r"mend them first:\n  journal \(HALTED\): disk full$"):
        serve(live / "bot.sock", answering(stands, heard), work)
    assert read_latch(live).halted and heard == ["status"]
    told = serve(live / "bot.sock", answering(stands[1:], heard), work)
    assert "the running bot resumed; ladder ACTIVE" in told and told[-2:] == [
        "stood when it was said: stream (NO_NEW_RISK): down", "stood when it was said: another session (HALTED): seen",
    ]  # fmt: skip
    assert not read_latch(live).halted and heard[1:] == ["status", "resume"]


def test_resume_that_the_bot_refuses_is_taken_back(live: Path) -> None:
    """The latch is HALTED again when the bot refuses, and stays so when the bot is silent."""
    write_latch(live, HALTED, "bob", "stop", 1)

    def work() -> list[str]:
        return resume(live, person="ann", reason="looked", now_ns=2)

    with pytest.raises(RefusedError, match="the bot refused: the drawdown is 0.4. The kill latch is HALTED again"):
        serve(live / "bot.sock", answering([], [], refuse=True), work)
    assert read_latch(live).halted
    with bot_process(live, "hang"), pytest.raises(RefusedError, match="Nothing was changed"):
        resume(live, person="ann", reason="looked", now_ns=2, timeout_s=0.2)
    assert read_latch(live).halted


def test_close_needs_a_running_bot(live: Path) -> None:
    """The bot's own position is closed by the bot alone."""
    done = run("close", "BTC/USDT", "--reason", "enough")
    assert done.exit_code == 4 and "tidegate halt --flatten" in done.stderr
    with bot_process(live):
        done = run("close", "BTC/USDT", "--reason", "enough")
    assert done.exit_code == 0 and "closing BTC/USDT" in done.stdout
    assert (live / "requests").read_text() == "close None\n"


def test_logs_are_read(live: Path) -> None:
    """The readable form, filtered; --json gives what was written."""
    entries = [
        {"time": "2024-01-01T00:00:00.000Z", "ns": 1, "level": "INFO", "logger": "engine", "text": "one", "seq": 4},
        {"time": "2024-01-01T00:00:01.000Z", "ns": 2, "level": "ERROR", "logger": "venue", "text": "two", "qty": 1},
    ]
    (live / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert run("logs").stdout.splitlines() == [
        "2024-01-01 00:00:00.000  INFO     engine: one",
        "2024-01-01 00:00:01.000  ERROR    venue: two  qty=1",
    ]
    assert run("logs", "--level", "error", "--json").stdout.strip() == json.dumps(entries[1])
    assert run("logs", "--from", "engine", "-n", "5").stdout.count("\n") == 1
    assert run("logs", "--since", "1h").stdout == "" and run("logs", "--since", "now").exit_code == 2


def test_units_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """init --systemd writes hardened units beside a new or an existing configuration; systemd finds no fault."""
    from bot.cli import app as whole

    folder = tmp_path / "a folder 100%"
    folder.mkdir()
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(whole, ["init", "--systemd", "--var", "state"])
    assert done.exit_code == 0, done.output
    names = sorted(file.name for file in folder.glob("tidegate-*"))
    stem = "tidegate-default"
    assert names == [f"{stem}-exchange.path", f"{stem}-exchange.service", f"{stem}-watchdog.service", f"{stem}.service"]
    unit = Path(f"{stem}.service").read_text()
    for line in ("Type=notify", "WatchdogSec=60", "Restart=on-failure", "ProtectSystem=strict", "User=tidegate"):
        assert line in unit.splitlines()
    assert "LoadCredential" not in unit and "LoadCredential" in Path(f"{stem}-exchange.service").read_text()
    assert sys.executable in unit and "100%% " not in unit
    for name in names:
        Path(name).unlink()
    assert CliRunner().invoke(whole, ["init", "--systemd", "--var", "state"]).exit_code == 0
    again = CliRunner().invoke(whole, ["init", "--systemd", "--var", "state"])
    assert again.exit_code == 2 and "nothing was written" in again.stderr
    assert CliRunner().invoke(whole, ["init"]).exit_code == 2
    analyse = shutil.which("systemd-analyze")
    if analyse is not None:
        found = subprocess.run([analyse, "verify", *names], capture_output=True, text=True, timeout=30)
        complaints = [line for line in found.stderr.splitlines() if "a folder 100%" in line or stem in line]
        assert not complaints, found.stderr
