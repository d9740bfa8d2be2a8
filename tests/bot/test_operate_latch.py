"""The kill latch: whole and ACTIVE, or HALTED; durable; a halt is never lost to a resume."""

import json
import os
from pathlib import Path

import pytest

import bot.operate.files
import bot.operate.latch
from bot.operate.latch import ACTIVE, HALTED, Latch, read_latch, release_latch, write_latch
from data.errors import InputError, RefusedError, WorkError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Level, person, reason and time come back as they were given, in one line of JSON."""
    write_latch(tmp_path, ACTIVE, "ann", "first start", 5)
    assert read_latch(tmp_path) == Latch(level=ACTIVE, person="ann", reason="first start", ns=5)
    assert not read_latch(tmp_path).halted
    assert json.loads((tmp_path / "latch").read_text()) == {
        "level": "ACTIVE", "person": "ann", "reason": "first start", "ns": 5,
    }  # fmt: skip
    write_latch(tmp_path, HALTED, "bob", "looks\n wrong ", 6)
    assert read_latch(tmp_path) == Latch(level=HALTED, person="bob", reason="looks wrong", ns=6)


def test_missing_is_halted(tmp_path: Path) -> None:
    """No file, and no folder, mean HALTED."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert read_latch(folder).halted and not read_latch(folder).sound


def test_every_torn_file_is_halted(tmp_path: Path) -> None:
    """Cut at any byte, or with any byte changed to another letter of the file, an ACTIVE latch is never misread."""
    write_latch(tmp_path, ACTIVE, "ann", "go", 5)
    whole = (tmp_path / "latch").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "latch").write_bytes(whole[:length])
        assert read_latch(tmp_path).halted, length
    for torn in (whole + b"\n", whole + whole, b"\0" * len(whole), whole.replace(b"\n", b" "), b"\n" + whole):
        (tmp_path / "latch").write_bytes(torn)
        assert read_latch(tmp_path).halted, torn


@pytest.mark.parametrize(
    "text",
    [
        '{"level": "active", "person": "a", "reason": "b", "ns": 1}',
        '{"level": "HALTED", "person": "a", "reason": "b", "ns": 1, "level": "ACTIVE"}',
        '{"level": "ACTIVE", "person": "", "reason": "b", "ns": 1}',
        '{"level": "ACTIVE", "person": "a", "reason": "b", "ns": "1"}',
        '{"level": "ACTIVE", "person": "a", "reason": "b", "ns": true}',
        '{"level": "ACTIVE", "person": "a", "reason": "b"}',
        '{"level": "ACTIVE", "person": "a", "reason": "b", "ns": 1, "more": 1}',
        '["ACTIVE"]', "ACTIVE", '"ACTIVE"', "[" * 100_000, "\ud7ff\u00ff", "null",
    ],
)  # fmt: skip
def test_other_content_is_halted(tmp_path: Path, text: str) -> None:
    """What isn't exactly a latch's line counts as none."""
    (tmp_path / "latch").write_text(text + "\n")
    assert read_latch(tmp_path).halted


def test_a_pipe_or_a_folder_in_its_place_is_halted(tmp_path: Path) -> None:
    """Reading never hangs and never raises."""
    os.mkfifo(tmp_path / "latch")
    assert read_latch(tmp_path).halted
    (tmp_path / "latch").unlink()
    (tmp_path / "latch").mkdir()
    assert read_latch(tmp_path).halted


def test_file_and_folder_are_synced_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content is on the disk before the rename, the rename before the write returns."""
    order: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (order.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file"),
                                     sync(handle))[1],
    )  # fmt: skip
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b))[1])
    write_latch(tmp_path, HALTED, "ann", "stop", 1)
    assert order == ["file", "rename", "folder"]


def test_full_disk_halts_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When HALTED can't be written the ACTIVE file is removed; when ACTIVE can't, the account is HALTED."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    write_latch(tmp_path, ACTIVE, "ann", "go", 1)
    with monkeypatch.context() as patch:
        patch.setattr(bot.operate.latch, "write_whole", full)
        told = write_latch(tmp_path, HALTED, "bob", "stop", 2)
    assert told.halted and "No space left" in told.reason and read_latch(tmp_path).halted
    write_latch(tmp_path, HALTED, "bob", "stop", 2)
    with monkeypatch.context() as patch:
        patch.setattr(bot.operate.latch, "write_whole", full)
        with pytest.raises(WorkError, match="stays HALTED"):
            write_latch(tmp_path, ACTIVE, "ann", "go", 3)
    assert read_latch(tmp_path).halted
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".tmp"]


def test_a_halt_that_came_in_between_wins(tmp_path: Path) -> None:
    """A latch is released only as the person saw it."""
    write_latch(tmp_path, HALTED, "bob", "drawdown", 1)
    seen = read_latch(tmp_path)
    write_latch(tmp_path, HALTED, "watchdog", "heartbeat", 2)
    with pytest.raises(RefusedError, match="changed meanwhile: HALTED by watchdog, heartbeat"):
        release_latch(tmp_path, seen, "ann", "looked at it", 3)
    assert read_latch(tmp_path).halted
    release_latch(tmp_path, read_latch(tmp_path), "ann", "looked at it", 4)
    assert read_latch(tmp_path) == Latch(level=ACTIVE, person="ann", reason="looked at it", ns=4)


def test_only_a_release_needs_words(tmp_path: Path) -> None:
    """ACTIVE needs a person and a reason; a halt isn't refused for its wording."""
    for person, reason in (("", "why"), ("ann", " ")):
        with pytest.raises(InputError, match="is missing"):
            write_latch(tmp_path, ACTIVE, person, reason, 1)
    assert write_latch(tmp_path, HALTED, "", "x" * 5000, 1).halted and read_latch(tmp_path).sound
    with pytest.raises(InputError, match="no such session"):
        write_latch(tmp_path / "nowhere", HALTED, "ann", "stop", 1)


def test_a_held_lock_delays_a_release_only(tmp_path: Path) -> None:
    """Somebody who holds the latch's own lock can't keep a halt from being written."""
    write_latch(tmp_path, ACTIVE, "ann", "go", 1)
    with bot.operate.files.short_lock(tmp_path / "latch.lock", wait_s=0.0) as got:
        assert got
        write_latch(tmp_path, HALTED, "bob", "stop", 2)
        assert read_latch(tmp_path).halted
