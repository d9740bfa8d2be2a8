"""The command line's frame: help, exit codes, errors, the verbs that only look."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import bot.doctor
from bot.cli import app
from data.errors import InputError, InputErrors, RefusedError, UnreachableError, WorkError

RUNNER = CliRunner()
HEAVY = (
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "numba",
    "duckdb",
    "pydantic",
    "ccxt",
    "vectorbt",
    "plotly",
    "transformers",
)


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def test_help_loads_nothing_heavy() -> None:
    """`tidegate --help` answers at once because it imports the command line only."""
    code = (
        "import sys, bot.cli\n"
        "try:\n    bot.cli.main(['--help'])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
    assert "backtest" in done.stdout and "import" in done.stdout


def verbs(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """Every verb of the command line, those of groups by their path."""
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from verbs(command, *path, name)


@pytest.mark.parametrize("path", list(verbs(typer.main.get_command(app))), ids=" ".join)
def test_every_verb_explains_itself(path: tuple[str, ...]) -> None:
    """Each verb has a help text of its own."""
    done = run(*path, "--help")
    assert done.exit_code == 0
    assert path[-1] in done.stdout
    assert len(done.stdout.splitlines()) > 6


def test_version_and_bare_call() -> None:
    """The version is the distribution's; a bare call shows the help."""
    from importlib.metadata import version

    assert version("tidegate") in run("--version").stdout
    assert "Usage" in run().output


@pytest.mark.parametrize(
    "arguments", [["nope"], ["limits", "--nope"], ["compare"], ["doctor", "extra"], ["limits", "--set"]]
)
def test_bad_usage_is_exit_code_2(arguments: list[str]) -> None:
    """Typer's own usage errors have the code of all bad input."""
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WorkError("the page could not be drawn"), 1),
        (InputError("not a number", where="run.toml", key="run.cash", value="x", remedy="Write one"), 2),
        (InputErrors([InputError("one"), InputError("two")]), 2),
        (RefusedError("daily loss 5 % reached"), 3),
        (UnreachableError("kraken gave no answer"), 4),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_become_exit_codes(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    """Each named error has its code; its whole text goes to stderr, and nothing to stdout."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(bot.doctor, "examine", fail)
    done = run("doctor")
    assert done.exit_code == code
    assert not done.stdout
    assert (str(error) or "interrupted") in done.stderr


def test_an_unexpected_error_is_short_and_its_traceback_is_kept(monkeypatch: pytest.MonkeyPatch, var: Path) -> None:
    """One line for the person, the whole for whoever mends it; --debug prints it, wherever it stands."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("in the depths")

    monkeypatch.setattr(bot.doctor, "examine", fail)
    done = run("doctor")
    assert done.exit_code == 1
    assert "ZeroDivisionError: in the depths" in done.stderr
    assert "Traceback" not in done.stderr
    (kept,) = (var / "errors").iterdir()
    assert "in the depths" in kept.read_text(encoding="utf-8") and str(kept) in done.stderr.replace("\n", "")
    for arguments in (["--debug", "doctor"], ["doctor", "--debug"]):
        assert "Traceback" in run(*arguments).stderr


def test_init_writes_once_and_never_overwrites(folder: Path) -> None:
    """The second call leaves both files as they are; a lone file of the two is enough to refuse."""
    assert run("init").exit_code == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert set(written) == {"tidegate.toml", "my_strategy.py"}
    (folder / "my_strategy.py").unlink()
    (folder / "tidegate.toml").write_text("mine", encoding="utf-8")
    again = run("init")
    assert again.exit_code == 2
    assert "tidegate.toml" in again.stderr
    assert (folder / "tidegate.toml").read_text(encoding="utf-8") == "mine"
    assert not (folder / "my_strategy.py").exists()


def test_doctor_names_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound machine passes; a var folder that can't be one fails, and JSON says so too."""
    done = run("doctor", "--json")
    assert done.exit_code == 0, done.stderr
    checks = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert {"python", "packages", "cores", "torch device", "disk", "kernel cache", "var"} <= set(checks)
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    failed = run("doctor", "--var", str(blocked / "var"), "--json")
    assert failed.exit_code == 1
    assert {finding["status"] for finding in json.loads(failed.stdout) if finding["check"] == "var"} == {"fail"}


def test_limits_shows_what_is_given_and_what_is_default(folder: Path) -> None:
    """Shares of the allocation appear as money; the origin of each value stands beside it."""
    (folder / "tidegate.toml").write_text(
        '[run]\nsymbols = ["BTC/USDT"]\ncash = "2000"\n[limits]\norder_notional = "25%"\n', encoding="utf-8"
    )
    rows = json.loads(run("limits", "--json", "--set", "limits.drawdown=10%").stdout)
    assert rows["order_notional"]["value"] == 500.0
    assert rows["order_notional"]["origin"] == "tidegate.toml"
    assert (rows["drawdown"]["text"], rows["drawdown"]["origin"], rows["drawdown"]["control"]) == ("10%", "--set", "12")
    assert rows["loss_streak"]["origin"] == "default"
    assert "order_notional" in run("limits").stdout


def test_limits_for_live_have_no_defaults(folder: Path) -> None:
    """Every limit that isn't stated is named, all at once, with exit code 2."""
    run("init")
    done = run("limits", "--live")
    assert done.exit_code == 2
    assert "limits.daily_loss: a limit is missing" in done.stderr.replace("\n", "")
    assert "limits.strategy_errors" in done.stderr


def test_limits_that_contradict_a_default_are_named(folder: Path) -> None:
    """A second loss level under the first one's default is found when both are known."""
    (folder / "tidegate.toml").write_text(
        '[run]\nsymbols = ["BTC/USDT"]\n[limits]\ndaily_loss_flatten = "1%"\n', encoding="utf-8"
    )
    done = run("limits")
    assert done.exit_code == 2
    assert "limits.daily_loss_flatten" in done.stderr and "tidegate.toml" in done.stderr


@pytest.mark.parametrize("verb", [["models"], ["data"], ["report", "--list"]])
def test_lists_also_come_as_json(verb: list[str]) -> None:
    """What is listed is printed as text, or as one JSON document."""
    assert run(*verb).exit_code == 0
    json.loads(run(*verb, "--json").stdout)


@pytest.mark.parametrize("verb", [["report"], ["report", "20240101"], ["compare", "a", "b"]])
def test_runs_that_are_not_there(verb: list[str]) -> None:
    """Asking for a run that was never made is bad input."""
    done = run(*verb)
    assert done.exit_code == 2
    assert "no such run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fetch", "bars", "binanc", "BTC/USDT", "--since", "2024-01-01"], "binance"),
        (["fetch", "bars", "binance", "BTC/USDT", "--since", "yesterday"], "--since"),
        (["fetch", "bars", "binance", "BTC/USDT", "--since", "2024-01-01", "--interval", "7m"], "--interval"),
        (["fetch", "bars", "binance", "BTC/USDT", "--since", "2024-01-01", "--until", "2023-01-01"], "span"),
        (["fetch", "bars", "binance", "BTC/USDT", "--since", "2024-01-01", "--url", "x"], "--url"),
        (["fetch", "bars", "binance", "BTC/USDT"], "--since"),
    ],
)
def test_fetch_refuses_what_it_cannot_ask(arguments: list[str], told: str) -> None:
    """Bad arguments are found before any request is sent."""
    done = run(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr
