"""A journal that was cut, damaged or whose writer was killed; `benchmarks/journal_cuts.py` does far more of it."""

from pathlib import Path

import pytest

from benchmarks import journal_cuts
from bot.journal import Journal, JournalError, Reader
from bot.journal.reader import wal_of
from bot.journal.wal import WalState, inspect_wal

FRAME = 24 + 4096


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> journal_cuts.Specimen:
    """A journal as a killed writer leaves it, part of it carried over, part in the write-ahead file."""
    return journal_cuts.make_specimen(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> journal_cuts.Specimen:
    """The same right after a checkpoint, its write-ahead file still there."""
    return journal_cuts.make_specimen(tmp_path_factory.mktemp("carried"), reset=False)


def lay(folder: Path, file: bytes, wal: bytes) -> Path:
    """Put a journal's files down."""
    path = folder / "journal.sqlite"
    path.write_bytes(file)
    wal_of(path).write_bytes(wal)
    return path


def test_cut_journal_opens_to_the_commits_before(specimen: journal_cuts.Specimen, tmp_path: Path) -> None:
    """Cut at frames and in the middle of them: exactly the commits that are whole come back, and it is written on."""
    tally = journal_cuts.try_cuts(tmp_path / "cut", specimen, count=15, seed=3)
    assert tally.attempts == 30 and tally.came["prefix"] > 20


def test_cut_after_a_checkpoint_loses_nothing(carried: journal_cuts.Specimen, tmp_path: Path) -> None:
    """What a checkpoint carried over is there, or opening refuses: an older write-ahead file never hides it."""
    tally = journal_cuts.try_cuts_after_checkpoint(tmp_path / "cut", carried, count=15, seed=3)
    assert tally.came["refused"] > 20
    assert journal_cuts.reopen(tmp_path / "cut", carried.file, b"") == carried.carried
    assert journal_cuts.reopen(tmp_path / "cut", carried.file, carried.wal) == carried.carried


@pytest.mark.parametrize("wal", [True, False], ids=["write-ahead file", "file"])
def test_flipped_bytes(specimen: journal_cuts.Specimen, tmp_path: Path, wal: bool) -> None:
    """A flipped byte is refused, does no harm, or costs a last commit as a torn tail does; nothing false is read."""
    tally = journal_cuts.try_flips(tmp_path / "cut", specimen, count=25, seed=3, wal=wal)
    assert tally.came["refused"] > 12


def test_killed_writer(tmp_path: Path) -> None:
    """After SIGKILL all that was acknowledged is there, and whole groups only."""
    assert journal_cuts.try_kills(tmp_path, count=3, seed=3).attempts == 3


def test_torn_tail_is_told_from_a_hole(specimen: journal_cuts.Specimen, tmp_path: Path) -> None:
    """The last commit may be torn; a broken frame with durable commits behind it is refused."""
    ends = sorted(specimen.ends)
    torn = bytearray(specimen.wal[: ends[-1]])
    torn[-1] ^= 1
    file = lay(tmp_path, specimen.file, bytes(torn))
    assert not inspect_wal(wal_of(file)).hole
    with Journal.open(file) as journal:
        assert journal.head()[0] == specimen.ends[ends[-2]]
        assert journal.recovery.torn == (ends[-1] - ends[-2]) // FRAME
    holed = bytearray(specimen.wal)
    holed[ends[-2] - 1] ^= 1
    file = lay(tmp_path, specimen.file, bytes(holed))
    assert inspect_wal(wal_of(file)).hole
    for _ in range(2):  # refusing changes nothing: it is refused again
        with pytest.raises(JournalError, match="is damaged before its end") as caught:
            Journal.open(file)
        assert caught.value.seq == specimen.ends[ends[-3]] + 1 and "Restore" in str(caught.value)
    assert wal_of(file).read_bytes() == bytes(holed)


def test_broken_header_of_the_wal(
    specimen: journal_cuts.Specimen, carried: journal_cuts.Specimen, tmp_path: Path
) -> None:
    """SQLite ignores such a file altogether: allowed when all of it was carried over, else refused."""
    for made, opens in ((specimen, False), (carried, True)):
        broken = bytearray(made.wal)
        broken[17] ^= 1
        file = lay(tmp_path, made.file, bytes(broken))
        assert inspect_wal(wal_of(file)).headless
        if opens:
            with Journal.open(file) as journal:
                assert journal.head()[0] == made.carried
            continue
        with pytest.raises(JournalError, match=f"records from {made.carried + 1} on are lost"):
            Journal.open(file)


def test_frames_are_counted_as_sqlite_does(tmp_path: Path) -> None:
    """Checksums, generations and commits of a write-ahead file that was used twice."""
    path = tmp_path / "journal.sqlite"
    assert inspect_wal(wal_of(path)) == WalState(0)
    with Journal.create(path, {}) as journal:
        for number in range(20):
            journal.append(number, "event", {"text": "x" * 3_000})
            journal.commit()
        first = inspect_wal(wal_of(path))
        assert len(first.ends) >= 20 and first.ends[-1] == first.size and not (first.lost or first.hole)
        journal.checkpoint()
        journal.append(21, "event", {})
        journal.commit()
        again = inspect_wal(wal_of(path))
        assert len(again.ends) == 1 and again.size == first.size and not (again.lost or again.hole)
        with Reader(path) as reader:
            assert reader.head()[0] == 22
