"""One bot per account: a file lock while it runs, and a lease that names a copied folder or another machine's bot.

The kernel's lock says for sure whether a bot of this machine has the folder. The lease says what the lock can't: that
the folder is a copy of one whose bot never ended, or that it lies on a disk that another machine uses too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bot.operate.files import read_small, write_whole
from data.errors import InputError, RefusedError

LOCK_FILE, LEASE_FILE = "lock", "lease"
TERM_S = 30.0
RENEW_S = 5.0
TRY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who has, or had, an account's folder. pid 0: it didn't say."""

    pid: int = 0
    host: str = ""
    session: str = ""
    bot: str = ""
    since_ns: int = 0
    boot: str = ""
    files: str = ""
    renewed_ns: int = 0
    released: bool = False

    def __str__(self) -> str:
        if not self.pid:
            return "a process that didn't say which"
        return f"process {self.pid} on {self.host}, session {self.session}"


class InstanceLock:
    """The right to run the bot of one account, held until `release` or the end of the process."""

    def __init__(self, folder: Path, handle: int, mine: Holder, previous: Holder | None) -> None:
        self.folder, self.mine = folder, mine
        self.previous = previous  # who had it and never gave it back: it crashed or was killed
        self._handle: int | None = handle

    def renew(self, now_ns: int) -> None:
        """Say that the bot still runs; call it about every `RENEW_S`.

        Raises
        ------
        RefusedError
            Lock or lease are no longer this session's: somebody removed them or took over. The bot has to halt.
        OSError
            The disk refused. The lock still holds.
        """
        found = _read(self.folder / LEASE_FILE)
        if self._handle is None or _files(self.folder) != self.mine.files or found.session != self.mine.session:
            raise RefusedError(f"{self.folder}: lock or lease were taken over by {found}; only one bot may run")
        self._write_lease(now_ns, released=False)

    def release(self, now_ns: int) -> None:
        """Give it back. A second call does nothing."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            with contextlib.suppress(OSError):  # an unreleased lease only makes the next start look closer
                if _read(self.folder / LEASE_FILE).session == self.mine.session:
                    self._write_lease(now_ns, released=True)
            fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    def _write_lease(self, now_ns: int, *, released: bool) -> None:
        body = {**asdict(self.mine), "renewed_ns": now_ns, "released": released}
        write_whole(self.folder / LEASE_FILE, json.dumps(body) + "\n")


def acquire(folder: Path, *, session: str, bot_id: str, now_ns: int, take_over: bool = False) -> InstanceLock:
    """Take the account's folder for this process.

    Parameters
    ----------
    take_over : bool
        A person has made sure that the bot which the lease names is dead. Never overrules the lock.

    Raises
    ------
    RefusedError
        A bot runs here, or the lease names one that may run elsewhere; the text says which, and what to do.
    InputError
        The folder can't be locked.
    """
    file = folder / LOCK_FILE
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(f"can't be opened ({error.strerror})", where=file) from None
    try:
        _take(handle, file)
        lease = folder / LEASE_FILE
        previous = _read(lease) if lease.exists() else None
        if previous is not None and not take_over:
            _look_at(previous, folder, now_ns)
        mine = Holder(
            pid=os.getpid(), host=socket.gethostname(), session=session, bot=bot_id, since_ns=now_ns,
            boot=boot_id(), files=_files(folder), renewed_ns=now_ns,
        )  # fmt: skip
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(asdict(mine)) + "\n").encode(), 0)
        os.fsync(handle)
        taken = InstanceLock(folder, handle, mine, previous if previous and not previous.released else None)
        taken._write_lease(now_ns, released=False)
        return taken
    except BaseException:
        os.close(handle)
        raise


def holder(folder: Path) -> Holder | None:
    """Who runs the bot of this folder now; None when no process of this machine does."""
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        return _read(folder / LOCK_FILE)
    finally:
        os.close(handle)


def last_holder(folder: Path) -> Holder:
    """Who had the folder last, running or not; pid 0 when nobody is known."""
    return _read(folder / LEASE_FILE)


def boot_id() -> str:
    """Names one run of one kernel: containers of a machine share it, a reboot changes it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _take(handle: int, file: Path) -> None:
    until = time.monotonic() + TRY_S  # a glance of `holder` holds it for a moment
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.02)
                continue
        except OSError as error:
            raise InputError(f"this disk has no locks ({error.strerror})", where=file) from None
        found = _read(file)
        kill = f" (if it hangs: tidegate halt, then kill {found.pid})" if found.pid else ""
        raise RefusedError(f"{file}: a bot runs on this account already: {found}. See tidegate status{kill}.")
    if os.fstat(handle).st_ino != file.stat().st_ino:
        raise RefusedError(f"{file}: was replaced while it was being locked; start again")


def _look_at(previous: Holder, folder: Path, now_ns: int) -> None:
    """Refuse when the lease's bot may still run where this machine's lock doesn't reach."""
    if previous.released:
        return
    remedy = "Make sure that this bot is dead, then start with --take-over"
    if not previous.pid:
        raise RefusedError(f"{folder / LEASE_FILE}: can't be read. {remedy}.")
    if previous.files != _files(folder):
        raise RefusedError(
            f"{folder}: is a copy of a folder whose bot never ended ({previous}), or its lock file was removed. "
            f"Two bots must not trade on one account. {remedy}."
        )
    age_s = (now_ns - previous.renewed_ns) / 1e9
    if previous.boot != boot_id() and abs(age_s) < TERM_S:
        raise RefusedError(
            f"{folder}: was in use {abs(age_s):.0f} s ago by {previous}, which is another machine or was rebooted. "
            f"Wait {TERM_S:.0f} s and start again, or: {remedy.lower()}."
        )


def _files(folder: Path) -> str:
    """Names these very files: a copy has others."""
    return f"{(folder / LOCK_FILE).stat().st_ino}-{folder.stat().st_ino}"


def _read(file: Path) -> Holder:
    try:
        body = json.loads(read_small(file))
        kinds = {name: type(value) for name, value in asdict(Holder()).items()}
        if not isinstance(body, dict) or any(type(body.get(name)) is not kind for name, kind in kinds.items()):
            return Holder()
        return Holder(**{name: body[name] for name in kinds})
    except (OSError, ValueError):
        return Holder()
