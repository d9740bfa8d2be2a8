"""The entities benchmark: the floors it has to reach on the labelled posts, and that it runs without them."""

import csv
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.entities import DATA_ENV, LABELS, Count, data_folder, judge, labelled, main
from data.errors import InputError
from signals.entities import Linker

BESIDE = Path(__file__).parents[2].parent / "shared" / "data"
REAL = data_folder(Path(os.environ[DATA_ENV]) if os.environ.get(DATA_ENV) else BESIDE)


def test_labels_are_ids_only() -> None:
    rows = list(csv.DictReader(LABELS.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 500
    assert len({(row["file"], row["column"], row["row"]) for row in rows}) == 500
    assert [sum(row["part"] == part for row in rows) for part in ("tune", "held out")] == [250, 250]
    assert sum(not row["coins"] for row in rows) >= 100
    assert set(rows[0]) == {"file", "column", "row", "sha256", "part", "coins", "market", "english"}


@pytest.mark.skipif(REAL is None, reason=f"no labelled posts: neither {DATA_ENV} nor {BESIDE} has a folder `text`")
@pytest.mark.parametrize("part", ["tune", "held out"])
def test_labelled_posts(part: str) -> None:
    assert REAL is not None
    counts = judge(labelled(REAL), Linker())[part]
    assert counts["coins"].precision >= 0.95
    assert counts["coins"].recall >= 0.9
    assert counts["market"].precision >= 0.85
    assert counts["not English"].precision >= 0.95


def test_count() -> None:
    count = Count()
    count.add({"BTC", "ETH"}, {"BTC", "SOL", "NOSUCHCOIN"})
    assert (count.right, count.wrong, count.missed, count.unknown) == (1, 1, 1, 1)
    assert count.precision == count.recall == 0.5
    assert count.recall_of_all == pytest.approx(1 / 3)


def test_another_text_than_the_labelled_one_is_refused(tmp_path: Path) -> None:
    for row in csv.DictReader(LABELS.read_text(encoding="utf-8").splitlines()):
        path = tmp_path / row["file"]
        if not path.exists():
            pq.write_table(pa.table({"title": ["a"], "text": ["b"]}), path)
    with pytest.raises(InputError, match="not the labelled text"):
        labelled(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        labelled(tmp_path / "none")


def test_runs_without_labelled_posts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(DATA_ENV, raising=False)
    monkeypatch.setattr("sys.argv", ["entities", "--rounds", "1", "--posts", "200", "--json"])
    main()
    told = capsys.readouterr()
    said = json.loads(told.out)
    assert "labelled posts skipped" in told.err
    assert said["quality"] == {}
    speed = said["posts_per_second"]["embedded sample"]
    assert set(speed) == {"link", "normalise", "mentions", "tricks", "language"}
    assert speed["link"] > 1000
    assert said["posts_per_second"]["all together"] == pytest.approx(speed)
