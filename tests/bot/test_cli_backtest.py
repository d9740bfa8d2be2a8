"""`tidegate backtest` from the command line: what it prints and saves, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app

RUNNER = CliRunner()
HEAD = """from signals import Close, Level
from strategies.base import Param, Strategy


class Mine(Strategy):
    price = Close()
"""


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory, first_days: Callable[..., Path]) -> Path:
    """A var folder with the first days of the sample, scored; shared by the tests of this file."""
    return first_days(tmp_path_factory.mktemp("facts") / "var")


@pytest.fixture
def here(facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, over the shared facts."""
    monkeypatch.setenv("TIDEGATE_VAR", str(facts))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def strategy(here: Path, body: str) -> list[str]:
    """A strategy file with that body, as arguments that run it on the sample."""
    (here / "mine.py").write_text(HEAD + body, encoding="utf-8")
    return ["--sample", "--set", "run.strategy=mine.py", "--set", "run.symbols=BTC/USDT,ETH/USDT"]


def runs_of(facts: Path) -> int:
    """How many runs are saved."""
    return sum(path.is_dir() for path in (facts / "runs").iterdir()) if (facts / "runs").exists() else 0


def test_the_sample_runs_without_any_file(here: Path, facts: Path) -> None:
    """No configuration: the embedded sample, said to be synthetic; the run is saved and can be shown again."""
    before = runs_of(facts)
    done = run("backtest")
    assert done.exit_code == 0, done.stderr
    assert "SYNTHETIC" in done.stdout
    assert runs_of(facts) == before + 1
    assert "MoodMomentum" in run("report").stdout
    assert "MoodMomentum" in run("report", "--list").stdout


@pytest.mark.parametrize(
    ("verb", "asked", "told"),
    [
        ("backtest", [], True),
        ("backtest", ["--sample"], False),
        ("backtest", ["--set", "run.source=mine"], False),
        ("signal-report", [], True),
        ("paper", [], True),
    ],
)
def test_own_facts_that_lie_unused_are_told_of(tmp_path: Path, verb: str, asked: list[str], told: bool) -> None:
    """Who brought in bars and has no configuration is told that the run goes to the sample, and how it would not."""
    bars, var = tmp_path / "bars.csv", str(tmp_path / "var")
    bars.write_text("time,open,high,low,close,volume\n1704067200000,1,2,1,2,5\n1704070800000,2,3,2,3,5\n")
    brought = run("import", "bars", str(bars), "--source", "mine", "--symbol", "A/B", "--interval", "1h", "--var", var)
    assert brought.exit_code == 0, brought.stderr
    done = run(verb, "--set", "run.strategy=none.py", "--var", var, *asked)
    assert done.exit_code == 2
    assert ("--set run.source=NAME" in " ".join(done.stderr.split())) == told


def test_what_init_writes_runs(here: Path) -> None:
    """The first strategy of a new user works as it is, also from another folder."""
    assert run("init").exit_code == 0
    done = run("backtest", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["strategy"] == "MyStrategy"
    assert told["settings"]["run"]["cash"] == "10000"
    assert told["settings"]["config"]["file"] == "tidegate.toml"
    other = here / "elsewhere"
    other.mkdir()
    again = json.loads(run("backtest", str(here / "tidegate.toml"), "--json").stdout)
    assert again["strategy_hash"] == told["strategy_hash"]


def test_pages_and_tables_are_written_where_they_were_asked_for(here: Path) -> None:
    """--html gives one page, --export the tables; both work for a saved run too."""
    done = run("backtest", "--html", "page.html", "--export", "tables", "--form", "parquet")
    assert done.exit_code == 0, done.stderr
    assert (here / "page.html").read_text(encoding="utf-8").startswith("<!")
    assert {path.name for path in (here / "tables").iterdir()} >= {"trades.parquet", "orders.parquet", "fills.parquet"}
    assert run("report", "--html", "again.html").exit_code == 0
    assert (here / "again.html").exists()


def test_runs_are_compared(here: Path) -> None:
    """Two settings side by side show what differs."""
    ids = []
    for entry in ("0.1", "0.4"):
        ids.append(json.loads(run("backtest", "--set", f"entry={entry}", "--json").stdout)["id"])
    done = run("compare", *ids)
    assert done.exit_code == 0, done.stderr
    assert "entry" in done.stdout
    assert len(json.loads(run("compare", *ids, "--json").stdout)["runs"]) == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["entry=1.5"], "params.entry"),
        (["enter=0.5"], "Did you mean entry"),
        (["entry=much"], "params.entry"),
        (["run.strategy=mood-flaw"], "mood-flow"),
        (["run.strategy=nowhere.py"], "nowhere.py"),
        (["run.strategy=no.such:Thing"], "no.such"),
        (["run.symbols=BTC/USDT,XRP/USDT"], "XRP/USDT"),
        (["run.symbols=BTC/USDT,ETH/USDC"], "several quote currencies"),
        (["run.since=2030-01-01"], "choose a span inside"),
        (["run.since=2024-01-05", "run.until=2024-01-05"], "span is empty"),
        (["run.bar=2h"], "2h"),
        (["run.model=finbert"], "commit"),
        (["limits.daily_loss=50%"], "limits.daily_loss_flatten"),
        (["limits.drawdon=50%"], "drawdown"),
        (["run.cash=many", "fill.taker_bps=-1", "limits.x=1"], "3 faults"),
    ],
)
def test_bad_settings_are_refused(here: Path, facts: Path, settings: list[str], told: str) -> None:
    """Exit code 2, the key is named, and no run is saved."""
    before = runs_of(facts)
    done = run("backtest", "--sample", *[part for setting in settings for part in ("--set", setting)])
    assert done.exit_code == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert runs_of(facts) == before


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('    flow = Level("nothing")\n    @staticmethod\n    def weigh(s, p):\n        return 0.0\n', "nothing"),
        ("    def weigh(s, p:\n        return 0\n", "line 7"),
        ("    x = 1 / 0\n", "ZeroDivisionError"),
        ("    pass\n", "neither weigh nor allocate"),
        ("    size = Param(2.0, low=0.0, high=1.0)\n", "out of range"),
        ("    def weigh(s, p):\n        return 0.0\n", "@staticmethod"),
    ],
    ids=[
        "no such metric",
        "syntax error",
        "raises when read",
        "no function",
        "default out of range",
        "no staticmethod",
    ],
)
def test_faulty_strategy_files_are_refused(here: Path, facts: Path, body: str, told: str) -> None:
    """File and line are named where there is one."""
    before = runs_of(facts)
    done = run("backtest", *strategy(here, body))
    assert done.exit_code == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert runs_of(facts) == before


@pytest.mark.parametrize(
    "statement",
    ["return 1.0 / int(s.price * 0.0)", 'return float("nan")'],
    ids=["raises", "NaN"],
)
def test_a_strategy_that_fails_is_counted_and_its_run_is_saved(here: Path, facts: Path, statement: str) -> None:
    """Exit code 1, the failed decisions are in the report, nothing was sold for them."""
    before = runs_of(facts)
    arguments = strategy(here, f"    @staticmethod\n    def weigh(s, p):\n        {statement}\n")
    done = run("backtest", *arguments, "--json")
    assert done.exit_code == 1, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["errors"] > 0
    assert told["metrics"]["trades"]["closed"] == 0
    assert "the strategy failed" in done.stderr
    assert runs_of(facts) == before + 1


@pytest.mark.filterwarnings("always:Mine runs interpreted")
def test_a_strategy_that_no_compiler_takes_runs_in_python_and_what_it_prints_stands_aside(here: Path) -> None:
    """One warning that says why and where; the stress runs are made; stdout is the report's alone."""
    body = "    def __init__(self, **values):\n        print('made')\n        super().__init__(**values)\n\n"
    body += "    @staticmethod\n    def weigh(s, p):\n        print(f'at {s.price:.1f}')\n        return 0.5\n"
    arguments = [*strategy(here, body), "--json"]
    done = run("backtest", *arguments)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["stress"].keys() == {"fees doubled", "one bar later"}
    assert "made\n" in done.stderr and "\nat " in done.stderr
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert len(warned) == 1 and "Mine runs interpreted, slower: " in warned[0] and "mine.py" in warned[0]
    assert "Failed in nopython" not in warned[0]
    probed = run("probe", *arguments, "--cuts", "1")
    assert json.loads(probed.stdout)["clean"] is True and probed.stderr.count("warning:") == 1


def test_weights_from_a_file(here: Path) -> None:
    """Target weights worked out elsewhere run like any strategy; a faulty row is named."""
    (here / "targets.csv").write_text(
        "time,symbol,weight\n2024-01-02T00:00Z,BTC/USDT,0.5\n2024-01-06T00:00Z,BTC/USDT,0\n", encoding="utf-8"
    )
    chosen = ["--sample", "--set", "run.strategy=targets.csv", "--set", "run.symbols=BTC/USDT"]
    done = run("backtest", *chosen, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["strategy"] == "Weights"
    assert run("report").exit_code == 0
    (here / "targets.csv").write_text("time,symbol,weight\n2024-01-02T00:00Z,BTC/USDT,-0.5\n", encoding="utf-8")
    assert "perp" in run("backtest", *chosen).stderr
    (here / "targets.csv").write_text("time,symbol,weight\n2024-01-02T00:00Z,BTC/USDT,much\n", encoding="utf-8")
    bad = run("backtest", *chosen)
    assert bad.exit_code == 2
    assert "targets.csv" in bad.stderr


def test_the_sample_is_scored_only_for_who_looks_at_posts(
    here: Path, tmp_path: Path, first_days: Callable[..., Path]
) -> None:
    """A strategy of prices alone begins at once; one of moods has the scores made, once."""
    var = str(first_days(tmp_path / "unscored", scored=False))
    price = run("backtest", "--sample", "--set", "run.strategy=ema-cross", "--var", var)
    assert price.exit_code == 0 and "scoring" not in price.stderr
    mood = ["backtest", "--sample", "--set", "run.strategy=mood-momentum", "--var", var]
    assert "scoring the sample's posts" in run(*mood).stderr
    assert "scoring" not in run(*mood).stderr


def test_perpetuals_run_with_stored_and_with_assumed_funding(here: Path) -> None:
    """The sample has funding rates; a stated rate stands in for them and is told."""
    chosen = ["--sample", "--set", "run.market=perp", "--set", "run.leverage=2", "--set", "run.strategy=ema-cross"]
    symbols = ["--set", "run.symbols=BTC/USDT:USDT,ETH/USDT:USDT"]
    stored = run("backtest", *chosen, *symbols, "--json")
    assert stored.exit_code == 0, stored.stderr
    assert any(share["name"].startswith("funding_rate") for share in json.loads(stored.stdout)["inputs"])
    assumed = run("backtest", *chosen, *symbols, "--set", "fill.funding=0.01%", "--json")
    assert assumed.exit_code == 0, assumed.stderr
    told = json.loads(assumed.stdout)
    assert told["doubts"][1] == "assumed: funding of 0.01% every 8h"
    shown = " ".join(run("report", told["id"]).stdout.split())
    assert "Assumed: funding of 0.01% every 8h." in shown
    assert "Assumed: bars of BTC/USDT, ETH/USDT stand for those of BTC/USDT:USDT, ETH/USDT:USDT." in shown
    assert "Tick, lot or least order is assumed, not stated under [market]" in shown


def test_a_page_that_cannot_be_written_is_an_error_and_the_run_stays(here: Path, facts: Path) -> None:
    """The run is saved before its page is drawn."""
    before = runs_of(facts)
    done = run("backtest", "--html", str(here / "missing" / "folder" / "page.html"))
    assert done.exit_code in (0, 1)
    assert runs_of(facts) == before + 1


def test_a_file_and_the_sample_exclude_each_other(here: Path) -> None:
    """Both asked for: neither is taken."""
    done = run("backtest", "some.toml", "--sample")
    assert done.exit_code == 2
    assert "--sample" in done.stderr
