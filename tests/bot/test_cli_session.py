"""Paper trading from the command line: a replayed sample, its journal, a running session that is asked and halted."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app

RUNNER = CliRunner()


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory, first_days: Callable[..., Path]) -> Path:
    """A var folder with the first days of the sample, scored."""
    return first_days(tmp_path_factory.mktemp("session") / "var")


@pytest.fixture(scope="module")
def journal(var: Path) -> Path:
    """The journal of two replayed days."""
    done = run("paper", "--sample", "--days", "2", "--speed", "0", "--var", str(var))
    assert done.exit_code == 0, done.stderr
    assert "SYNTHETIC MARKET" in done.stderr and "equity" in done.stdout
    (folder,) = (var / "paper").iterdir()
    return folder / "journal.sqlite"


def test_a_replayed_sample_is_the_same_again_in_both_ways(journal: Path) -> None:
    """Decisions, orders and verdicts, event by event and in batch."""
    done = run("replay", str(journal), "--json")
    assert done.exit_code == 0, done.stdout
    ways = json.loads(done.stdout)
    assert [one["way"] for one in ways] == ["engine", "batch"]
    assert all(one["differ"] == {} and one["compared"]["decisions"] == 49 for one in ways)
    assert all(one["compared"]["fills"] > 0 for one in ways)


def test_the_journal_of_a_session_is_sound_until_somebody_changes_it(journal: Path, tmp_path: Path) -> None:
    """A weight of one decision altered in a copy: verify names that record, replay refuses to read past it."""
    assert run("verify", str(journal)).exit_code == 0
    copy = tmp_path / "journal.sqlite"
    source, target = sqlite3.connect(journal), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    seq, body = target.execute("select seq, body from records where kind = 'step' and body like '%weight%'").fetchone()
    target.execute("update records set body = ? where seq = ?", (body.replace('"weight":0', '"weight":1', 1), seq))
    target.commit()
    target.close()
    done = run("verify", str(copy))
    assert done.exit_code == 1 and str(seq) in done.stdout + done.stderr
    assert run("replay", str(copy)).exit_code == 1


def test_fills_can_be_listed(journal: Path, tmp_path: Path) -> None:
    """As a table and as CSV."""
    done = run("trades", "--journal", str(journal), "--json")
    fills = json.loads(done.stdout)
    assert done.exit_code == 0 and len(fills) > 0
    assert run("trades", "--journal", str(journal), "--csv", str(tmp_path / "t.csv")).exit_code == 0
    assert len((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()) == len(fills) + 1


def test_a_journal_whose_strategy_has_changed_is_not_replayed(var: Path, tmp_path: Path) -> None:
    """The strategy's file is edited after the session: the error says which file."""
    strategy = tmp_path / "mine.py"
    text = "from signals import Close\nfrom strategies.base import Strategy\n\n\n"
    text += "class Mine(Strategy):\n    price = Close()\n"
    weigh = "\n    @staticmethod\n    def weigh(s, p):\n        return {}\n"
    strategy.write_text(text + weigh.format("0.1"), encoding="utf-8")
    options = ["--set", f"run.strategy={strategy}", "--set", "run.symbols=BTC/USDT", "--set", "live.name=mine"]
    before = set((var / "paper").iterdir()) if (var / "paper").exists() else set()
    time.sleep(1.1)  # sessions of replays are named by the second
    done = run("paper", "--sample", "--days", "0.5", "--speed", "0", *options, "--var", str(var))
    assert done.exit_code == 0, done.stderr
    (folder,) = set((var / "paper").iterdir()) - before
    assert run("replay", str(folder / "journal.sqlite")).exit_code == 0
    strategy.write_text(text + weigh.format("0.2"), encoding="utf-8")
    done = run("replay", str(folder / "journal.sqlite"))
    assert done.exit_code == 2 and "mine.py" in done.stderr


@pytest.fixture
def session(var: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A running replay in a process of its own, and its folder."""
    (var / "paper").mkdir(exist_ok=True)
    before = set((var / "paper").iterdir())
    time.sleep(1.1)
    command = [sys.executable, "-m", "bot", "paper", "--sample", "--days", "5", "--speed", "7200", "--var", str(var)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        folder = wait_for(lambda: next(iter(set((var / "paper").iterdir()) - before), None))
        wait_for(lambda: (folder / "bot.sock").exists())
        yield process, folder
    finally:
        process.kill()
        process.communicate()


def wait_for(found: Any, seconds: float = 60.0) -> Any:
    """What it finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("nothing came of it")


def test_a_running_session_is_asked_halted_resumed_and_ended(session: Any, var: Path) -> None:
    """status tells of it, halt holds it, resume lets it go on, SIGTERM ends it with a snapshot."""
    process, folder = session
    name = ["--name", folder.name, "--mode", "paper", "--var", str(var)]

    def status() -> Any:
        return json.loads(run("status", *name, "--json").stdout)

    told = wait_for(lambda: (s := status())["last_decisions"] and s)
    assert told["running"] is True and told["level"] == "ACTIVE" and told["equity"] > 0
    done = run("halt", *name, "--reason", "a test")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert status()["latch"]["level"] == "HALTED"
    wait_for(lambda: status()["level"] == "HALTED")  # a bot that had no time to answer sees the latch at its next tick
    done = run("resume", *name, "--reason", "the test goes on", "--person", "me")
    assert done.exit_code == 0, done.stdout + done.stderr
    wait_for(lambda: status()["level"] == "ACTIVE")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "ended" in out
    assert run("replay", str(folder / "journal.sqlite")).exit_code == 0
    assert status()["running"] is False


def test_a_halted_account_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3, and the way to resume."""
    from bot.operate.latch import HALTED, write_latch

    folder = tmp_path / "var" / "paper" / "default"
    folder.mkdir(parents=True)
    write_latch(folder, HALTED, "me", "a test", 1)
    config = tmp_path / "tidegate.toml"
    config.write_text(
        '[run]\nsymbols = ["BTC/USDT"]\nstrategy = "ema-cross"\n[market."BTC/USDT"]\ntick = 0.01\nlot = 0.00001\n',
        encoding="utf-8",
    )
    monkeypatch.setattr("bot.session.paper._prices", lambda *_: {"BTC/USDT": 50_000.0})
    done = run("paper", str(config), "--var", str(tmp_path / "var"))
    assert done.exit_code == 3 and "resume" in done.stderr
