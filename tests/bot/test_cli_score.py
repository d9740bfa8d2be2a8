"""`score` and `models` beyond the sample: cards, engines, following the store until Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from data.store import Store
from signals import onnx_engine
from tests.signals.score_helpers import facts, posts
from tests.signals.tiny_bert import write_tiny_int8

RUNNER = CliRunner()
TOLD: dict[str, object] = {
    "calibration": {"temperature": 1.25, "bias": [0.1, 0.0, -0.1]},
    "thresholds": {"social": [-0.2, 0.3]},
    "training": [{"name": "some headlines", "rows": 9543, "licence": "MIT", "sha256": "ab12"}],
    "metrics": {"some headlines": {"macro_f1": 0.8123}},
    "known_failures": ["sarcasm is missed"],
    "seed": 7,
}


def call(*arguments: str) -> Result:
    return RUNNER.invoke(app, list(arguments))


def test_a_models_card_is_shown(tmp_path: Path) -> None:
    """Licence, cutoff, training sets, metrics, calibration and known failures, for people and as JSON."""
    folder = str(write_tiny_int8(tmp_path / "mine", card=TOLD))
    shown = call("models", folder)
    assert shown.exit_code == 0, shown.stderr
    for text in ("2024-03-31", "Apache-2.0", "some headlines", "9543", "0.8123", "1.25", "sarcasm is missed", "masked"):
        assert text in shown.stdout, text
    card = json.loads(call("models", folder, "--json").stdout)
    assert card["calibration"] == {"temperature": 1.25, "bias": [0.1, 0.0, -0.1]}
    assert card["about"]["seed"] == 7
    assert "to be pinned" in call("models", "finbert").stdout
    wrong = call("models", "nobody")
    assert wrong.exit_code == 2
    assert "no such model" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--max-delay", "100ms"], "--follow"),
        (["--follow", "--max-delay", "soon"], "--max-delay"),
        (["--follow", "--max-delay", "0s"], "--max-delay"),
        (["--follow", "--since", "2024-01-01"], "--since"),
        (["--engine", "abacus"], "engine"),
        (["--long", "all"], "long"),
        (["--dtype", "fp8"], "dtype"),
        (["--dtype", "bf16", "--engine", "onnx"], "computes in int8"),
        (["--model", "vader", "--engine", "onnx"], "a lexicon has no network"),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path: Path, var: Path, arguments: list[str], told: str) -> None:
    """Exit code 2, and the option's name."""
    Store(var).append("posts", posts(["bitcoin is up"]))
    done = call("score", "--own", "--model", str(write_tiny_int8(tmp_path / "mine")), *arguments)
    assert done.exit_code == 2, done.stdout
    assert told in done.stderr


def test_an_engine_that_is_not_installed_says_how(tmp_path: Path, var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip command, exit code 2."""
    Store(var).append("posts", posts(["bitcoin is up"]))
    monkeypatch.setattr(onnx_engine, "find_spec", lambda name: None)
    done = call("score", "--own", "--model", str(write_tiny_int8(tmp_path / "mine")), "--engine", "onnx")
    assert done.exit_code == 2
    assert "pip install 'tidegate[onnx]'" in done.stderr


def test_near_duplicates_are_told(var: Path) -> None:
    """How many posts repeat another, and how many scores were taken from those."""
    text = "huge bitcoin giveaway today, send it to the address in my bio and double it, the first 100 people only"
    Store(var).append("posts", posts([text, text.replace("100", "200")]))
    done = call("score", "--own", "--model", "vader")
    assert "1 posts all but repeat an earlier one; 1 scores were taken" in done.stdout


def test_following_ends_with_ctrl_c_and_exit_code_0(tmp_path: Path, var: Path) -> None:
    """In a process of its own: what arrives is scored within moments; Ctrl-C ends it with a summary."""
    store = Store(var)
    store.append("posts", posts(["bitcoin is up"]))
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from bot.cli import main; main()"
    command = [sys.executable, "-c", code, "score", "--own", "--model", "vader", "--follow", "--max-delay", "500ms"]
    process = subprocess.Popen(
        [*command, "--json"], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    try:
        for first, count in ((1, 1), (2, 2)):
            wait_for(store, count, process)
            store.append("posts", posts(["ethereum is up"], first=first, quality="recorded"))
        wait_for(store, 3, process)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, told
    report = json.loads(out)
    assert (report["linked"], report["interrupted"]) == (3, True)
    assert report["delays_ms"]["most"] > 0
    assert "500 ms" in told


def wait_for(store: Store, count: int, process: subprocess.Popen[str]) -> None:
    """Until so many facts are stored."""
    deadline = time.monotonic() + 40
    while len(facts(store)) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr
        time.sleep(0.05)
