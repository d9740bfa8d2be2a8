"""One recorder for each var folder: the kernel's lock says whether one runs, the file in it says which."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import asdict
from pathlib import Path

from bot.operate.lock import LOCK_FILE, Holder, boot_id, holder
from data.errors import InputError, RefusedError


def feeds_folder(var: Path) -> Path:
    """Where the recorder keeps its lock, its socket, and the memory of each feed."""
    return var / "feeds"


class RecorderLock:
    """The right to record into a var folder, held until `release` or the end of the process."""

    def __init__(self, handle: int, mine: Holder) -> None:
        self._handle: int | None = handle
        self.mine = mine

    def release(self) -> None:
        """Give it back. A second call does nothing."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)


def acquire(var: Path, *, now_ns: int, by: str) -> RecorderLock:
    """Take a var folder for this process.

    Parameters
    ----------
    by : str
        What records: "tidegate record", or a session's name.

    Raises
    ------
    RefusedError
        A recorder runs there already; the text says which.
    InputError
        The folder can't be made or locked.
    """
    folder = feeds_folder(var)
    file = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(f"can't be written ({error.strerror})", where=file) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = holder(folder)
            who = f"process {found.pid} ({found.session})" if found is not None and found.pid else "another process"
            raise RefusedError(f"{folder}: {who} records into this folder already. See tidegate status.") from None
        except OSError as error:
            raise InputError(f"this disk has no locks ({error.strerror})", where=file) from None
        mine = Holder(
            pid=os.getpid(), host=socket.gethostname(), session=by, since_ns=now_ns, boot=boot_id(), renewed_ns=now_ns
        )
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(asdict(mine)) + "\n").encode(), 0)
        return RecorderLock(handle, mine)
    except BaseException:
        os.close(handle)
        raise
