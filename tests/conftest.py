"""What every test shares: a store of its own, no network hub, the same examples each time."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "tidegate", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tidegate")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Beside other workers torch's threads mostly wait for each other, and do so at full load. Processes inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_sessionstart() -> None:
    """Importing every module makes millions of objects that stay: looking for garbage among them is a third of it."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on garbage is looked for again (unclosed files and sockets are found by that), among what is new."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh var folder that `TIDEGATE_VAR` points to, so that no test reads or writes a user's facts."""
    folder = tmp_path / "var"
    monkeypatch.setenv("TIDEGATE_VAR", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    yield folder
