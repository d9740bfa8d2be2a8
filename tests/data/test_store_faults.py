"""What can go wrong under the store: kills at any point, a full disk, damaged files, two writers."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data.append
import data.files
import data.manifest
from data.errors import InputError, WorkError
from data.facts import SCHEMAS
from data.store import Appended, Store
from data.times import HOUR_NS

Build = Callable[..., pa.Table]

# Runs appends in a process of its own and sends itself a signal before the n-th call that touches the disk for good.
VICTIM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever runs the tests ignores it
from pathlib import Path
from data.files import ImportOptions, import_file
from data.store import Store
calls, deadly, number = 0, int(sys.argv[4]), getattr(signal, sys.argv[5])
def guarded(function):
    def call(*given, **named):
        global calls
        calls += 1
        if calls == deadly:
            os.kill(os.getpid(), number)
        return function(*given, **named)
    return call
for name in ("fsync", "replace", "link"):
    setattr(os, name, guarded(getattr(os, name)))
import_file(Store(Path(sys.argv[2])), "bars", Path(sys.argv[3]), ImportOptions(symbol="BTC/USDT", interval="1h"), 2**62)
print("done", calls)
"""


def _victim(var: Path, path: Path, deadly: int, number: str) -> "subprocess.CompletedProcess[str]":
    root = str(Path(data.manifest.__file__).parents[1])
    command = [sys.executable, "-c", VICTIM, root, str(var), str(path), str(deadly), number]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def _csv(path: Path, rows: int, first: int = 0, extra: str = "") -> Path:
    lines = [f"{1_704_067_200 + 3600 * (first + at)},1,2,0.5,1.5,{first + at}" for at in range(rows)]
    path.write_text("time,open,high,low,close,volume\n" + "\n".join(lines) + "\n" + extra)
    return path


def _state(store: Store) -> tuple[str, int]:
    return store.digest("bars"), store.rejects("bars").num_rows


class Killed(BaseException):
    """Nothing catches it, so nothing is tidied: on disk it looks like a kill."""


@pytest.mark.parametrize("deadly", range(1, 9))
def test_stopped_dead_before_every_step(
    store: Store, hourly: Build, monkeypatch: pytest.MonkeyPatch, deadly: int
) -> None:
    store.append("bars", hourly([1.0, 2.0]))
    before, fresh = _state(store), hourly([3.0, 4.0], first=2)
    bad = pa.table({"reason": ["bad"], "open": ["x"]})
    calls = 0

    def guarded(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*given: object) -> object:
            nonlocal calls
            calls += 1
            if calls == deadly:
                raise Killed
            return real(*given)

        return call

    with monkeypatch.context() as patched:
        for name in ("fsync", "replace", "link"):
            patched.setattr(os, name, guarded(name))
        try:
            store.append("bars", fresh, rejects=bad, origin="f")
            whole = True
        except Killed:
            whole = store.manifest("bars").sequence == 2
    assert whole == (deadly > 5)  # two files, the manifest, its link and its rename come before it counts
    assert whole or _state(store) == before
    done = store.append("bars", fresh, rejects=bad, origin="f")
    assert done == (Appended(unchanged=2) if whole else Appended(added=2, quarantined=1))
    assert {path.name for path in (store.root / "bars").iterdir()} <= _named(store)


@pytest.mark.parametrize("deadly", [5])
def test_killed_while_importing(store: Store, tmp_path: Path, deadly: int) -> None:
    _import(store, _csv(tmp_path / "first.csv", 5))
    before = _state(store)
    second = _csv(tmp_path / "second.csv", 50, first=3, extra="1704067200,-1,1,1,1,1\n")
    ended = _victim(store.var, second, deadly, "SIGKILL")
    after = _state(store)
    assert ended.returncode == -signal.SIGKILL
    assert after == before
    done = _import(store, second)
    assert (done.added, done.unchanged, done.quarantined_new) == (48, 2, 1)
    assert len(store.bars("BTC/USDT", HOUR_NS)) == 53
    assert store.rejects("bars").num_rows == 1
    leftovers = {path.name for path in (store.root / "bars").iterdir()} - _named(store)
    assert leftovers == set()


def test_killed_at_random_moments(store: Store, tmp_path: Path) -> None:
    _import(store, _csv(tmp_path / "first.csv", 5))
    before = _state(store)
    second = _csv(tmp_path / "second.csv", 20_000, first=3)
    root = str(Path(data.manifest.__file__).parents[1])
    draw = random.Random(7)
    for _ in range(2):
        command = [sys.executable, "-c", VICTIM, root, str(store.var), str(second), "0", "SIGKILL"]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            running.wait(draw.uniform(0.3, 0.9))
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        rows = len(store.bars("BTC/USDT", HOUR_NS))
        assert rows in (5, 20_003)
        assert rows != 5 or _state(store) == before


def test_interrupted_by_the_keyboard(store: Store, tmp_path: Path) -> None:
    _import(store, _csv(tmp_path / "first.csv", 5))
    before = _state(store)
    ended = _victim(store.var, _csv(tmp_path / "second.csv", 50, first=3), 2, "SIGINT")
    assert "KeyboardInterrupt" in ended.stderr
    assert _state(store) == before


def test_full_disk_leaves_the_store_as_it_was(store: Store, hourly: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("bars", hourly([1.0, 2.0]))
    before = _state(store)
    names = sorted(os.listdir(store.root / "bars"))

    def full(path: Path, table: pa.Table, **_: object) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(data.append, "write_table", full)
        with pytest.raises(InputError, match="the disk is full") as caught:
            store.append("bars", hourly([3.0], first=2))
    assert caught.value.exit_code == 2
    assert "--var" in str(caught.value)
    assert (_state(store), sorted(os.listdir(store.root / "bars"))) == (before, names)
    assert store.append("bars", hourly([3.0], first=2)) == Appended(added=1)


def test_full_disk_at_the_manifest(store: Store, hourly: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("bars", hourly([1.0, 2.0]))
    before = _state(store)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(data.manifest.os, "replace", full)
        with pytest.raises(InputError, match="the disk is full"):
            store.append("bars", hourly([3.0], first=2))
    assert _state(store) == before


def test_a_commit_that_could_not_be_flushed_says_so(
    store: Store, hourly: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(data.manifest, "flush_folder", failing)
        with pytest.raises(WorkError, match="stored, but"):
            store.append("bars", hourly([1.0]))
    assert len(store.bars("BTC/USDT", HOUR_NS)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on file size")
def test_a_real_limit_on_file_size(store: Store, tmp_path: Path) -> None:
    _import(store, _csv(tmp_path / "first.csv", 5))
    before = _state(store)
    path = _csv(tmp_path / "second.csv", 30_000, first=3)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n" + VICTIM
    root = str(Path(data.manifest.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-c", limited, root, str(store.var), str(path), "0", "SIGINT"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "InputError" in ended.stderr and "the disk is full (File too large)" in ended.stderr
    assert _state(store) == before


def test_no_permission_and_other_failures(
    store: Store, hourly: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="writing failed"):
        Store(tmp_path / "file").append("bars", hourly([1.0]))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(data.append, "write_table", refused)
    with pytest.raises(InputError, match="can't be written"):
        store.append("bars", hourly([1.0]))


def test_a_damaged_part_is_named(store: Store, hourly: Build) -> None:
    store.append("bars", hourly(np.linspace(1, 2, 500)))
    [part] = store.manifest("bars").parts
    path = store.root / "bars" / part.file
    whole = path.read_bytes()
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(SCHEMAS["bars"].names.index("close"))
    at = chunk.data_page_offset + chunk.total_compressed_size - 9
    for damaged in (whole[: len(whole) // 2], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"part-.*damaged.*Restore it from a backup"):
            store.bars("BTC/USDT", HOUR_NS)
    with pytest.raises(InputError, match="damaged"):
        store.append("bars", hourly([5.0], first=100))
    path.unlink()
    with pytest.raises(InputError, match="a stored file is gone"):
        store.bars("BTC/USDT", HOUR_NS)
    path.write_bytes(whole)
    assert len(store.bars("BTC/USDT", HOUR_NS)) == 500


def test_a_damaged_manifest_and_the_way_back(store: Store, hourly: Build) -> None:
    store.append("bars", hourly([1.0]))
    store.append("bars", hourly([2.0], first=1))
    path = store.root / "bars" / "manifest.json"
    for damaged in (b"", b'{"format": 1', b'{"format": 99}', b"[]"):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            store.bars("BTC/USDT", HOUR_NS)
        assert str(path) in str(caught.value)
    (store.root / "bars" / "manifest.previous.json").replace(path)
    assert store.bars("BTC/USDT", HOUR_NS).close.tolist() == [1.0]


def test_no_single_wrong_bit_in_a_manifest_passes(store: Store, hourly: Build) -> None:
    """Else a part whose name it changed would be swept away by the next writer."""
    store.append("bars", hourly([1.0, 2.0]))
    folder = store.root / "bars"
    path = folder / "manifest.json"
    whole, held = path.read_bytes(), sorted(folder.glob("*.parquet"))
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(InputError):
            store.bars("BTC/USDT", HOUR_NS)
    with pytest.raises(InputError):
        store.append("bars", hourly([3.0], first=2))
    assert sorted(folder.glob("*.parquet")) == held
    path.write_bytes(whole)
    assert store.append("bars", hourly([3.0], first=2)).added == 1


def test_two_writers_and_a_reader(store: Store, hourly: Build) -> None:
    store.append("bars", hourly([1.0]))
    failures: list[BaseException] = []

    def write(first: int) -> None:
        try:
            for at in range(first, 40, 2):
                Store(store.var).append("bars", hourly([float(at)], first=at))
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(first,)) for first in (1, 2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert 1 <= len(store.bars("BTC/USDT", HOUR_NS)) <= 40
    for writer in writers:
        writer.join()
    assert failures == []
    assert store.bars("BTC/USDT", HOUR_NS).close.tolist() == [1.0, *map(float, range(1, 40))]


def _import(store: Store, path: Path) -> data.files.ImportReport:
    from data.files import ImportOptions, import_file

    return import_file(store, "bars", path, ImportOptions(symbol="BTC/USDT", interval="1h"), 2**62)


def _named(store: Store) -> set[str]:
    manifest = store.manifest("bars")
    return manifest.files() | set(manifest.retired) | {"manifest.json", "manifest.previous.json", "lock"}
