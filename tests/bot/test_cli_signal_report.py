"""`tidegate signal-report`: what it finds on the sample, what it prints, the page it writes, how it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from bot.verbs_signal_report import looked_at
from data.sample import PLANTED, SYMBOLS
from strategies.load import load_strategy

RUNNER = CliRunner()
SAMPLE = ["--sample", "--set", "run.model=vader"]


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A var folder with the whole sample, scored by the lexicon; shared by the tests of this file."""
    folder = tmp_path_factory.mktemp("facts") / "var"
    for verb in (["sample"], ["score", "--sample", "--model", "vader"]):
        done = run(*verb, "--var", str(folder))
        assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def here(facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, over the shared facts."""
    monkeypatch.setenv("TIDEGATE_VAR", str(facts))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*arguments: str) -> dict[str, Any]:
    """The report as JSON."""
    done = run("signal-report", *SAMPLE, *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def with_evidence(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Signals and symbols with evidence."""
    return [(verdict["signal"], verdict["symbol"]) for verdict in report["verdicts"] if verdict["evidence"]]


def test_the_planted_edge_is_found_in_its_two_symbols_and_nowhere_else() -> None:
    """The sample's truth: mood leads price in two symbols and echoes it in the others."""
    report = told("--signal", "Mood(half_life='6h')")
    assert with_evidence(report) == [("mood", symbol) for symbol in SYMBOLS if symbol in PLANTED]
    assert report["synthetic"] and report["model"]["id"] == "vader" and len(report["cells"]) == 25
    for cell in report["cells"]:
        if cell["fault"] == "":
            assert cell["symbol"] in PLANTED
            assert cell["low"] > 0 and cell["beyond_low"] > 0 and cell["corrected"] < 0.05
    best = [cell["ic"] for cell in report["cells"] if cell["symbol"] in PLANTED and cell["horizon_ns"] == 12 * 3600e9]
    assert all(0.08 < ic < 0.25 for ic in best)
    assert {quarter["quarter"] for quarter in report["quarters"]} == {f"2024 Q{n}" for n in (1, 2, 3, 4)}
    assert [one["missing"] for one in report["coverage"]] == [3] * 5  # the declared outage
    assert min(one["ready"] for one in report["coverage"]) > 0.99


@pytest.mark.parametrize("seed", ["1", "2"])
def test_nothing_is_found_once_the_posts_times_are_shuffled(seed: str) -> None:
    report = told("--shuffled", "--seed", seed)
    assert with_evidence(report) == [] and report["shuffled"]


def test_what_is_printed_fits_80_columns_and_says_no_evidence(here: Path) -> None:
    """Verdict first; the label of the sample; every symbol judged; how it was done."""
    done = run("signal-report", *SAMPLE, "--html", "page.html")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "SYNTHETIC MARKET" in done.stdout
    assert "✓ Evidence in 2 of 5 symbols: ETH/USDT, SOL/USDT; mood = Mood(12.0)." in done.stdout
    for symbol in SYMBOLS:
        verdict = next(line for line in lines if line.startswith(symbol))
        assert ("evidence: follow it" in verdict) == (symbol in PLANTED)
        assert ("no evidence: " in verdict) == (symbol not in PLANTED)
    assert "wrote page.html" in done.stderr
    page = (here / "page.html").read_text(encoding="utf-8")
    shown = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.DOTALL)
    assert "Synthetic market" in shown and "evidence: follow it" in shown and "no evidence: " in shown
    assert "http" not in re.sub(r"http-equiv", "", shown) and "default-src 'none'" in shown
    assert shown.count('class="card"') == 7 and 'id="ic0"' in shown and 'id="sum0"' in shown
    assert "<!--" not in shown


def test_signals_of_a_strategy_and_of_ones_own_stand_side_by_side() -> None:
    """By their names in the strategy, or as typed; a name that comes twice is told apart."""
    span = ["--set", "run.since=2024-06-01", "--set", "run.symbols=ETH/USDT,BTC/USDT", "--horizons", "4h,1h"]
    report = told(*span, "--strategy", "mood-flow")
    assert report["declared"] == {"mood": "Mood()", "flow": "ZScore('exchange_netflow', '7d')"}
    assert report["horizons_ns"] == [3600 * 10**9, 4 * 3600 * 10**9] and len(report["cells"]) == 8
    report = told(*span, "--signal", "momentum", "--signal", "Mood", "--signal", "Mood('1d')", "--signal", "attention")
    assert list(report["declared"]) == ["momentum", "mood", "mood_2", "attention"]
    assert {cell["horizon_ns"] for cell in report["cells"]} == {3600 * 10**9, 4 * 3600 * 10**9}


def test_what_is_looked_at_unless_one_says_so() -> None:
    """What the configured strategy sees besides price; all of one that is named; a mood where there is nothing."""
    assert list(looked_at(load_strategy("mood-momentum"), [], whole=False)) == ["mood"]
    assert list(looked_at(load_strategy("mood-momentum"), [], whole=True)) == ["mood", "momentum"]
    assert list(looked_at(load_strategy("fear-greed"), [], whole=False)) == ["index"]
    assert {name: repr(one) for name, one in looked_at(load_strategy("ema-cross"), [], whole=False).items()} == {
        "mood": "Mood()"
    }


def test_a_model_that_read_of_the_future_is_named() -> None:
    done = run("signal-report", *SAMPLE, "--set", "run.model_cutoff=2024-06-30", "--horizons", "4h")
    assert done.exit_code == 0 and "2024-06-30" in done.stdout
    assert "! vader" in done.stdout.replace("\n", " ")


def test_parameters_of_the_file_stay_with_its_own_strategy(here: Path) -> None:
    """Another strategy by name has parameters of its own; --set still reaches it."""
    text = '[run]\nsymbols = ["ETH/USDT"]\nsource = "synthetic"\nstrategy = "mood-momentum"\nmodel = "vader"\n'
    (here / "mine.toml").write_text(text + "[params]\nwindow = 30\n", encoding="utf-8")
    done = run("signal-report", "mine.toml", "--strategy", "fear-greed", "--horizons", "1d", "--set", "weight=0.1")
    assert done.exit_code == 0, done.stderr
    assert "index = Level('fear_greed'" in done.stdout
    wrong = run("signal-report", "mine.toml", "--strategy", "fear-greed", "--set", "window=30")
    assert wrong.exit_code == 2 and "window" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--signal", "Moood"], "--signal = 'Moood': no such signal. Did you mean Mood?"),
        (["--signal", "Mood(half_life='6 parsecs')"], "not a duration"),
        (["--signal", "Level('unheard_of')"], "metric = 'unheard_of': the strategy needs a metric that is not stored"),
        (["--strategy", "mod-flow"], "strategy = 'mod-flow': no such strategy. Did you mean mood-flow?"),
        (["--horizons", "30m"], "--horizons = '30m': a horizon is shorter than a bar. Use multiples of 1h."),
        (["--horizons", "90m"], "isn't a whole number of bars"),
        (["--horizons", "soon"], "--horizons = 'soon': not a duration"),
        (["--horizons", "30d"], "is too short for this horizon"),
        (["--set", "run.until=2024-01-02"], "is too short for this horizon"),
        (["--set", "run.since=2026-01-01"], "no bars of BTC/USDT 1h from 2026-01-01"),
        (["--set", "run.model=elsewhere@1"], "no score of this model is stored"),
    ],
)
def test_bad_input_is_named_and_ends_with_2(arguments: list[str], said: str) -> None:
    done = run("signal-report", *SAMPLE, *arguments)
    assert done.exit_code == 2 and said in done.stderr, done.stderr


def test_a_page_that_cant_be_written_is_failed_work(here: Path) -> None:
    (here / "taken").write_text("")
    done = run("signal-report", *SAMPLE, "--horizons", "4h", "--html", "taken/page.html")
    assert done.exit_code == 1 and "could not be written" in done.stderr
