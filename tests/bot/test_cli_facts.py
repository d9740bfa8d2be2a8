"""Sample, score and catalogue from the command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from signals.scorer import LexiconScorer

RUNNER = CliRunner()
HOURS = "200"


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture
def sample(var: Path, first_days: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first days of the embedded sample, and an empty working folder."""
    monkeypatch.chdir(tmp_path)
    first_days(var, scored=False)


def scored(*arguments: str) -> dict[str, Any]:
    """What `score` says it did, as JSON."""
    done = run("score", "--sample", "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_sample_is_written_once_and_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second writing adds nothing; every text about it says synthetic."""
    monkeypatch.chdir(tmp_path)
    first = json.loads(run("sample", "--hours", HOURS, "--json").stdout)
    assert first["added"] > 1000 == first["bars"]
    again = json.loads(run("sample", "--hours", HOURS, "--json").stdout)
    assert (again["added"], again["bars"]) == (0, 1000)
    assert "SYNTHETIC" in run("sample", "--hours", HOURS).stdout
    rows = json.loads(run("data", "--sample", "--json").stdout)
    assert {row["kind"] for row in rows} == {"bars", "posts", "metrics"}
    assert all(row["source"].startswith("synthetic") for row in rows)


def test_series_are_taken_out_by_name(sample: None) -> None:
    """What came in wrong goes with all its revisions; without saying which, nothing goes."""
    before = len(json.loads(run("data", "--sample", "--json").stdout))
    for arguments in ([], ["--where", "name"], ["--where", "colour=red"]):
        assert run("data", "--sample", "--forget", "metrics", *arguments).exit_code == 2
    assert run("data", "--sample", "--forget", "ticks", "--where", "name=x").exit_code == 2
    assert len(json.loads(run("data", "--sample", "--json").stdout)) == before
    done = run("data", "--sample", "--forget", "metrics", "--where", "name=fear_greed", "--json")
    assert json.loads(done.stdout)["removed"] > 0
    assert len(json.loads(run("data", "--sample", "--json").stdout)) == before - 1


def test_own_facts_and_the_sample_never_mix(sample: None, var: Path) -> None:
    """The sample lies in a store of its own; without --sample it isn't seen."""
    assert "nothing is stored" in run("data").stdout
    assert (var / "sample" / "facts").is_dir() and not (var / "facts").exists()


def test_a_configuration_on_the_sample_chooses_its_store(sample: None) -> None:
    """What `init` writes runs on the sample; `data` follows it, says so, and --own overrides."""
    assert run("init").exit_code == 0
    listed = run("data", "--json")
    assert json.loads(listed.stdout)
    assert "embedded sample" in listed.stderr
    assert json.loads(run("data", "--own", "--json").stdout) == []


def test_scoring_is_done_once(sample: None) -> None:
    """The second call finds every post done; the baseline says what it is."""
    first = scored()
    assert first["done"] == first["posts"] > 500
    assert first["rows_added"] > 0
    second = scored()
    assert (second["already"], second["done"], second["rows_added"]) == (first["posts"], 0, 0)
    told = run("score", "--sample")
    assert "scored before" in told.stdout
    assert "lexicon baseline" in run("score", "--sample", "--model", "vader").stderr


def test_interrupted_scoring_goes_on(sample: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle: what was scored is stored, exit code 130, and the next call does the rest."""
    whole = LexiconScorer.batches

    def stops(self: LexiconScorer, texts: list[str]) -> Iterator[Any]:
        for number, batch in enumerate(whole(self, texts)):
            if number == 1:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(LexiconScorer, "batches", stops)
        stopped = run("score", "--sample", "--json", "--model", "vader")
    assert stopped.exit_code == 130
    report = json.loads(stopped.stdout)
    assert report["interrupted"] and 0 < report["done"] < report["posts"]
    rest = scored("--model", "vader")
    assert rest["already"] == report["done"]
    assert rest["already"] + rest["done"] == rest["posts"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "finbert"], "commit"),
        (["--model", "nobody/knows@main"], "commit"),
        (["--model", "none"], "no such model"),
        (["--model", "vader", "--device", "cuda"], "lexicon"),
        (["--delay", "soon"], "--delay"),
        (["--since", "2024-01-01T00:00"], "--since"),
        (["--batch-tokens", "many"], "--batch-tokens"),
        (["--cutoff", "lately"], "cutoff"),
        (["nowhere.toml"], "nowhere.toml"),
    ],
)
def test_scoring_refuses(sample: None, arguments: list[str], told: str) -> None:
    """A model that isn't pinned, an unknown device, a wrong duration: each is said, exit code 2."""
    done = run("score", "--sample", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr


def test_scoring_nothing_says_how_to_get_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store is no error, and the next step is named."""
    monkeypatch.chdir(tmp_path)
    done = run("score")
    assert done.exit_code == 0
    assert "import posts" in done.stderr


def test_aliases_of_the_configuration_are_used(sample: None, tmp_path: Path) -> None:
    """A broken alias file is named; a good one links words the built-in table doesn't know."""
    (tmp_path / "names.toml").write_text("[BTC]\nnames = 3\n", encoding="utf-8")
    (tmp_path / "tidegate.toml").write_text(
        '[run]\nsymbols = ["BTC/USDT"]\nsource = "synthetic"\n[aliases]\nfile = "names.toml"\n', encoding="utf-8"
    )
    done = run("score")
    assert done.exit_code == 2
    assert "names.toml" in done.stderr
    (tmp_path / "names.toml").write_text('[BTC]\nnames = ["chart"]\n', encoding="utf-8")
    linked = json.loads(run("score", "--json").stdout)["linked"]
    (tmp_path / "tidegate.toml").unlink()
    assert scored()["done"] > 0
    assert linked > 0
