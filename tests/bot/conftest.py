"""The first days of the sample, written and scored once for all tests of this folder, whichever worker they run in."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

HOURS = "300"


@pytest.fixture(scope="session")
def first_days(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Copy them to a folder: `first_days(var)`; `scored=False` leaves the scores away."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of the whole run

    def copied(var: Path, *, scored: bool = True) -> Path:
        with (shared / "first-days.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bare = _made(shared / "first-days", None, ["sample", "--hours", HOURS])
            source = _made(shared / "first-days-scored", bare, ["score", "--sample"]) if scored else bare
        return shutil.copytree(source, var)

    return copied


def _made(folder: Path, begin: Path | None, verb: list[str]) -> Path:
    """The folder that the verb makes out of another one; made once."""
    if not folder.exists():
        from bot.cli import app

        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        if begin is not None:
            shutil.copytree(begin, unfinished)
        done = CliRunner().invoke(app, [*verb, "--var", str(unfinished)])
        assert done.exit_code == 0, done.output
        unfinished.rename(folder)
    return folder
