"""`tidegate probe` from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory, first_days: Callable[..., Path]) -> Path:
    """A var folder with the first days of the sample."""
    return first_days(tmp_path_factory.mktemp("probe") / "var", scored=False)


def test_a_clean_strategy(facts: Path) -> None:
    """A shipped strategy passes, with exit code 0, and says how much was compared."""
    arguments = ["probe", "--sample", "--set", "run.strategy=ema-cross", "--cuts", "2", "--var", str(facts)]
    found = RUNNER.invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert "no look-ahead" in found.output
    told = json.loads(RUNNER.invoke(app, [*arguments, "--json"]).stdout)
    assert told["clean"] is True
    assert told["cuts"] == 2
    assert told["decisions"] > 100


def test_unknown_strategy(facts: Path) -> None:
    """Bad input is exit code 2, with the name that was wrong."""
    found = RUNNER.invoke(app, ["probe", "--sample", "--set", "run.strategy=no-such", "--var", str(facts)])
    assert found.exit_code == 2
