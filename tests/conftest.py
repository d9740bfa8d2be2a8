"""What every test shares: a store of its own, no network hub, the same examples each time."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

HERE = Path(__file__).resolve().parent

settings.register_profile(
    "tidegate", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tidegate")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Beside other workers torch's threads mostly wait for each other, and do so at full load. Processes inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What takes longest begins first, so that no worker is left with it at the end. The very first compiles most kernels;
# the next ones need few, so that no two workers compile the same at once. Names that are no longer there do no harm.
FIRST = (
    *("bot/test_cli_backtest", "data/test_market_source", "signals/test_scorer_devices", "contracts/test_sources"),
    *("bot/test_feeds_public", "benchmarks/test_bench_score", "bot/test_record_command", "bot/test_cli_fetch"),
    *("faults/test_perp_session", "faults/test_schedules", "bot/test_cli_signal_report", "faults/test_rows_account"),
    *("benchmarks/test_train_sentiment", "parity/test_forms", "bot/test_cli_sweep", "faults/test_rows_orders"),
    *("benchmarks/test_bench_live", "benchmarks/test_bench_backtest", "faults/test_rows_machine"),
    *("parity/test_recorded", "bot/test_cli_facts", "bot/test_cli_session", "signals/test_onnx_engine"),
    *("faults/test_rows", "bot/test_signal_report_real", "parity/test_engine", "test_tidy", "test_one_door"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; see `FIRST`."""
    places = {str(HERE / f"{name}.py"): place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


def pytest_sessionstart() -> None:
    """Importing every module makes millions of objects that stay: looking for garbage among them is a third of it."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on garbage is looked for again (unclosed files and sockets are found by that), among what is new.

    Every 10,000 objects instead of 700: that alone is a tenth of what the tests compute.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()
    # Hypothesis draws from the constants of all modules that are loaded. Which ones are depends on the tests before and
    # on who ran them, and so would the examples: what is loaded now is what counts.
    constants = providers._get_local_constants()
    providers._get_local_constants = lambda: constants


@pytest.fixture(autouse=True)
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh var folder that `TIDEGATE_VAR` points to, so that no test reads or writes a user's facts."""
    folder = tmp_path / "var"
    monkeypatch.setenv("TIDEGATE_VAR", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    yield folder
