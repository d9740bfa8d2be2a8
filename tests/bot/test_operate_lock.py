"""One bot per account: the lock, the lease, and what is said to the second."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bot.operate.lock
from bot.operate.lock import acquire, holder, last_holder
from data.errors import InputError, RefusedError

HOLD = """
import sys, time
from pathlib import Path
from bot.operate.lock import acquire
lock = acquire(Path(sys.argv[1]), session="0000cafe", bot_id="ab12cd34", now_ns=time.time_ns())
print("held", flush=True)
sys.stdin.readline()
lock.release(time.time_ns())
"""


def other(folder: Path) -> "subprocess.Popen[str]":
    """Another process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]", *, kill: bool) -> None:
    """End it as it should, or by SIGKILL."""
    if kill:
        process.send_signal(signal.SIGKILL)
    process.communicate("\n" if not kill else None, timeout=20)


def take(folder: Path, *, now_ns: int | None = None, take_over: bool = False) -> bot.operate.lock.InstanceLock:
    """The lock for this process."""
    ns = time.time_ns() if now_ns is None else now_ns
    return acquire(folder, session="0000beef", bot_id="ab12cd34", now_ns=ns, take_over=take_over)


def test_second_process_is_refused_and_told_whom(tmp_path: Path) -> None:
    """The refusal names the process that runs, and what to do; after a clean end the next one starts."""
    process = other(tmp_path)
    with pytest.raises(RefusedError, match=rf"process {process.pid} on .*session 0000cafe.*tidegate status.*kill"):
        take(tmp_path)
    found = holder(tmp_path)
    assert found is not None and found.pid == process.pid and found.bot == "ab12cd34"
    end(process, kill=False)
    assert holder(tmp_path) is None and last_holder(tmp_path).released
    lock = take(tmp_path)
    assert lock.previous is None
    lock.release(time.time_ns())
    lock.release(time.time_ns())


def test_after_sigkill_the_next_start_takes_up(tmp_path: Path) -> None:
    """The kernel lets go of a dead process's lock, and the new one is told who it was."""
    process = other(tmp_path)
    end(process, kill=True)
    lock = take(tmp_path)
    assert lock.previous is not None and lock.previous.pid == process.pid
    lock.release(time.time_ns())


def test_a_copy_of_a_running_session_is_refused(tmp_path: Path) -> None:
    """A copied folder names the bot of the first one; only a person can say that it is dead."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    process = other(first)
    shutil.copytree(first, second)
    end(process, kill=True)
    with pytest.raises(RefusedError, match=rf"is a copy of a folder.*process {process.pid} .*--take-over"):
        take(second)
    take(second, take_over=True).release(time.time_ns())
    take(second).release(time.time_ns())


def test_take_over_never_overrules_the_lock(tmp_path: Path) -> None:
    """A bot that runs here stays the only one."""
    process = other(tmp_path)
    with pytest.raises(RefusedError, match="runs on this account already"):
        take(tmp_path, take_over=True)
    end(process, kill=False)


def test_another_machine_on_the_same_disk_is_refused_while_its_lease_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same files, another boot: a lease of the last 30 s may be alive, an older one isn't."""
    with monkeypatch.context() as patch:
        patch.setattr(bot.operate.lock, "boot_id", lambda: "another")
        lock = take(tmp_path, now_ns=1_000 * 10**9)
        os.close(lock._handle)  # type: ignore[arg-type]  # its machine lost power: nothing was released
        lock._handle = None
    for now_s in (1_010, 990):
        with pytest.raises(RefusedError, match=r"in use 10 s ago by .*Wait 30 s"):
            take(tmp_path, now_ns=now_s * 10**9)
    take(tmp_path, now_ns=1_031 * 10**9).release(time.time_ns())


def test_unreadable_lease_is_refused(tmp_path: Path) -> None:
    """Not knowing who had it means not starting."""
    for text in ("", "{}", json.dumps({"pid": "1"}), "[1]"):
        (tmp_path / "lease").write_text(text)
        with pytest.raises(RefusedError, match="can't be read"):
            take(tmp_path)


def test_renewing_finds_out_that_it_was_taken_over(tmp_path: Path) -> None:
    """A removed lock file, or another's lease, ends the right to run."""
    lock = take(tmp_path, now_ns=5)
    lock.renew(7)
    assert last_holder(tmp_path).renewed_ns == 7 and not last_holder(tmp_path).released
    body = json.loads((tmp_path / "lease").read_text())
    (tmp_path / "lease").write_text(json.dumps({**body, "session": "0000dead"}))
    with pytest.raises(RefusedError, match="session 0000dead"):
        lock.renew(8)
    (tmp_path / "lease").write_text(json.dumps(body))
    lock.renew(9)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").touch()
    with pytest.raises(RefusedError, match="taken over"):
        lock.renew(10)
    lock.release(11)


def test_a_glance_does_not_get_into_a_start(tmp_path: Path) -> None:
    """Looking who runs takes the lock for a moment; a start waits that moment out."""
    assert holder(tmp_path) is None
    (tmp_path / "lock").touch()
    import fcntl

    handle = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    import threading

    threading.Timer(0.1, os.close, (handle,)).start()
    take(tmp_path).release(time.time_ns())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """No folder, no lock."""
    with pytest.raises(InputError, match="can't be opened"):
        take(tmp_path / "nowhere")
