"""`tidegate sweep` from the command line."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import pytest
from typer.testing import CliRunner, Result

from backtest.sharpe import luckiest_sharpe
from backtest.sweep import SweepRow
from benchmarks.market import Work, walk
from benchmarks.ours import inputs_of, spec_of
from bot.cli import app
from bot.verbs_sweep import By, appraise, read_axis, show_rows
from data.errors import InputError

RUNNER = CliRunner()
SINCE = "2024-01-07"  # some days after the first facts
EMA = ["--sample", "--set", "run.strategy=ema-cross", "--set", "run.symbols=BTC/USDT,ETH/USDT"]


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory, first_days: Callable[..., Path]) -> Path:
    """A var folder with the first days of the sample."""
    return first_days(tmp_path_factory.mktemp("facts") / "var")


@pytest.fixture
def sample(facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder of its own over those facts; the record of trials starts anew."""
    shutil.rmtree(facts / "runs", ignore_errors=True)
    monkeypatch.setenv("TIDEGATE_VAR", str(facts))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=10:60:10", [10, 20, 30, 40, 50, 60]),
        ("x=0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("x=0:1:0.4", [0, 0.4, 0.8]),
        ("x=-1:-1:1", [-1]),
        ("x=3, 1 ,2", [3, 1, 2]),
    ],
)
def test_axes(text: str, values: list[float]) -> None:
    """Ranges include both ends and have no binary dust; lists keep their order."""
    assert read_axis(text)[1] == values


@pytest.mark.parametrize(
    "text", ["fast", "fast=", "=1,2", "x=1:2", "x=2:1:1", "x=1:2:0", "x=a,b", "x=nan", "x=0:1:1e-9"]
)
def test_axes_that_are_none(text: str) -> None:
    """Each is refused with both forms shown."""
    with pytest.raises(InputError, match="--grid"):
        read_axis(text)


def test_every_combination_is_run_and_the_search_is_counted(sample: None, tmp_path: Path) -> None:
    """Rows in the grid's order, as JSON and CSV; the same search twice is one search, and only once. Some days give no
    Sharpe ratio, here as in a report.
    """
    grid = ["--grid", "fast_window=5,10", "--grid", "slow_window=20:40:10"]
    done = run("sweep", *EMA, *grid, "--csv", "rows.csv", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert [row["params"]["fast_window"] for row in told["rows"]] == [5.0] * 3 + [10.0] * 3
    assert (told["combinations"], told["trials"]) == (6, 6)
    assert told["sampling"] == "daily closes at 00:00 UTC, 12 returns"
    assert {told[name] for name in ("best_sharpe", "luckiest_sharpe", "chance_of_edge")} == {None}
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["slow_window"]) for row in rows] == [20.0, 30.0, 40.0] * 2
    assert {row["sharpe"] for row in rows} == {""}
    assert float(rows[0]["final_equity"]) == told["rows"][0]["final_equity"]
    again = run("sweep", *EMA, *grid, "--top", "2", "--by", "return")
    assert "2 of 6 combinations" in again.stdout and "No Sharpe ratio" in again.stdout
    assert again.stdout.startswith(" SYNTHETIC MARKET") and told["synthetic"] is True


def test_what_the_facts_leave_in_doubt_stands_above_the_rows(sample: None) -> None:
    """As a report on one of them would say it."""
    perp = ["--sample", "--set", "run.strategy=ema-cross", "--set", "run.market=perp", "--set", "fill.funding=0.01%"]
    done = run("sweep", *perp, "--set", "run.symbols=ETH/USDT:USDT", "--grid", "fast_window=10")
    assert done.exit_code == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "! Assumed: funding of 0.01% every 8h." in told.split("1 of 1 combinations")[0]
    assert "! Assumed: bars of ETH/USDT stand for those of ETH/USDT:USDT." in told
    mood = run("sweep", "--sample", "--set", "run.strategy=mood-momentum", "--grid", "entry=0.2")
    assert "· 100% of sentiment have an assumed publication lag" in mood.stdout


def test_the_best_is_weighed_against_luck(capsys: pytest.CaptureFixture[str]) -> None:
    """By the number of tries and of daily returns; rows without a ratio come last."""
    work = Work(40 * 24 * 60)
    inputs = inputs_of(spec_of(work), walk(work))
    zeros = dict.fromkeys(("total_return", "max_drawdown", "fees", "final_equity"), 0.0)
    rows = [
        SweepRow(params={"a": a}, sharpe=of, fills=0, errors=0, **zeros) for a, of in ((1, None), (2, 1.0), (3, 5.0))
    ]
    few, many = appraise(rows, inputs, 3), appraise(rows, inputs, 3000)
    assert few["best_sharpe"] == 5.0
    assert few["luckiest_sharpe"] == pytest.approx(luckiest_sharpe(40, 3) * 365.25**0.5)
    assert 0.5 < few["chance_of_edge"] < 0.95 and many["chance_of_edge"] < 0.5
    assert few["chance_of_edge"] == pytest.approx(
        NormalDist().cdf((5.0 / 365.25**0.5 - luckiest_sharpe(40, 3)) * 39**0.5 / (1 + 0.5 * 25 / 365.25) ** 0.5)
    )
    show_rows(rows, ["a"], few, top=3, by=By.sharpe)
    shown = capsys.readouterr().out
    assert shown.index("5.00") < shown.index("1.00") < shown.index("\u2013")
    assert "luckiest of 3 worthless tries" in shown


def test_a_combination_is_what_a_backtest_of_it_gives(sample: None) -> None:
    """The inlined form and the default form agree to the cent."""
    swept = json.loads(run("sweep", *EMA, "--grid", "fast_window=8", "--json").stdout)["rows"][0]
    single = json.loads(run("backtest", *EMA, "--set", "fast_window=8", "--json").stdout)
    assert swept["total_return"] == pytest.approx(single["metrics"]["total_return"], abs=1e-9)


@pytest.mark.filterwarnings("always:Mine runs interpreted")
def test_a_strategy_that_no_compiler_takes_is_swept_in_python(sample: None, tmp_path: Path) -> None:
    """Equal to a backtest of each; what it prints is no figure."""
    (tmp_path / "mine.py").write_text(
        "from signals import EMA, Close\nfrom strategies.base import Param, Strategy\n\n\n"
        "class Mine(Strategy):\n    price = Close()\n    window = Param(20, low=2, high=100, integer=True)\n"
        "    mean = EMA(window)\n    size = Param(0.5, low=0.0, high=1.0)\n\n"
        "    @staticmethod\n    def weigh(s, p):\n        print(f'at {s.price:.1f}')\n"
        "        return p.size if s.price > s.mean else 0.0\n",
        encoding="utf-8",
    )
    mine = ["--sample", "--set", "run.strategy=mine.py", "--set", "run.symbols=BTC/USDT,ETH/USDT"]
    done = run("sweep", *mine, "--grid", "window=10,30", "--grid", "size=0.2,0.5", "--json")
    assert done.exit_code == 0 and "Mine runs interpreted" in done.stderr and "\nat " in done.stderr, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len({row["final_equity"] for row in rows}) == 4 and all(row["fills"] for row in rows)
    for row in rows[1:3]:
        given = [part for name, value in row["params"].items() for part in ("--set", f"{name}={value:g}")]
        single = json.loads(run("backtest", *mine, *given, "--json").stdout)
        assert single["metrics"]["total_return"] == row["total_return"]
        assert single["metrics"]["fees"] == pytest.approx(row["fees"]) and single["errors"] == 0


@pytest.mark.parametrize("symbols", ["BTC/USDT,ETH/USDT", "ETH/USDT"])
def test_each_combination_has_its_own_warm_up(sample: None, symbols: str) -> None:
    """Windows shorter and longer than the configured one, in a span that begins later than the facts: equal to the bit
    to backtests of their own, decided on from the same bar on.
    """
    told = ["--sample", "--set", "run.strategy=ema-cross", "--set", f"run.symbols={symbols}"]
    told += ["--set", f"run.since={SINCE}"]
    swept = json.loads(run("sweep", *told, "--grid", "slow_window=30,60,140", "--json").stdout)["rows"]
    assert len({row["fees"] for row in swept}) == 3
    for row in swept:
        window = f"slow_window={int(row['params']['slow_window'])}"
        alone = json.loads(run("backtest", *told, "--set", window, "--json").stdout)["metrics"]
        assert (row["final_equity"], row["fees"]) == (alone["final"], alone["fees"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "nothing to sweep"),
        (["--grid", "fastest=1,2"], "fastest"),
        (["--grid", "fast_window=1:10:1"], "fast_window"),
        (["--grid", "fast_window=2.5"], "fast_window"),
        (["--grid", "fast_window=2:60:1", "--csv", "no/such/folder.csv"], "folder.csv"),
        (["--grid", "fast_window=2", "--top", "0"], "--top"),
    ],
)
def test_bad_grids_are_refused(sample: None, arguments: list[str], told: str) -> None:
    """Unknown names, values out of range, nothing to do: exit code 2."""
    done = run("sweep", *EMA, *arguments)
    assert done.exit_code == 2, done.stdout
    assert told in done.stderr
