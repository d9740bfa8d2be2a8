"""The ingest benchmark: what it counts is there, and adds up."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.ingest import STAGES, main, run


def test_every_kept_post_is_stored_once_and_shares_add_up(tmp_path: Path) -> None:
    found = run(tmp_path, posts=200, batches=2, stored=300, share=0.5)
    assert [row["stage"] for row in found["stages"]] == list(STAGES)
    assert sum(row["share"] for row in found["stages"]) == pytest.approx(1.0)
    assert 60 < found["facts"] < 140  # half of the messages speak of a coin


def test_it_prints_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ingest", "--posts", "50", "--batches", "1", "--stored", "10", "--json"])
    main()
    assert json.loads(capsys.readouterr().out)["stored_before"] == 10
