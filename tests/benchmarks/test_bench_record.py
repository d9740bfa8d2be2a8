"""The judge of the recorder's benchmark sees what is lost and what is doubled."""

from pathlib import Path

from benchmarks.record import Life, judge, resident_mb, row_of
from benchmarks.record_feed.firehose import CARD, text_of
from data.feed import Batch, Written
from data.intake_feed import to_facts
from data.store import Store
from data.times import SECOND_NS

NOW_NS = 1_760_000_000 * SECOND_NS


def store(folder: Path, numbers: range, at_ns: int) -> None:
    """Posts with these numbers, written at that time."""
    items = [Written(f"f{number}", at_ns, text_of(number)) for number in numbers]
    table = to_facts(CARD, [Batch(items, NOW_NS)], ingested_ns=NOW_NS).facts["posts"]
    Store(folder / "var").append("posts", table)


def test_what_is_missing_or_changed_is_counted(tmp_path: Path) -> None:
    """Ten were acknowledged, in two batches that came twice in part."""
    (tmp_path / "acknowledged").write_text("0 6\n4 10\n")
    store(tmp_path, range(0, 12), NOW_NS - SECOND_NS)
    life = Life("SIGKILL")
    judge(life, tmp_path)
    assert (life.acknowledged, life.stored, life.lost, life.doubled) == (10, 12, 0, 0)
    store(tmp_path, range(3, 5), NOW_NS - 2 * SECOND_NS)  # delivered again as something else
    (tmp_path / "acknowledged").write_text("0 15\n")
    judge(life, tmp_path)
    assert (life.lost, life.doubled) == (3, 4)
    assert "3 lost  4 doubled" in row_of(life)


def test_memory_is_read_of_processes_that_are_there() -> None:
    """Of one that is gone it is nothing."""
    import os

    assert resident_mb(os.getpid()) > 1 and resident_mb(2**22 + 1) == 0.0
