"""Small files that have to survive a power cut, and where those of one account lie."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import InputError

READ_MAX = 1 << 20
MODES = ("live", "paper")


def account_folder(var: Path, mode: str, name: str) -> Path:
    """Folder of one account's session: `VAR/live/NAME` or `VAR/paper/NAME`.

    Raises
    ------
    InputError
        The name would lead out of the folder.
    """
    if mode not in MODES:
        raise InputError("neither live nor paper", key="mode", value=mode)
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise InputError("not a name of a folder", key="live.name", value=name, remedy='For example: name = "default"')
    return var / mode / name


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable: a rename isn't, before this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(file: Path, text: str, *, mode: int = 0o600, durable: bool = True) -> None:
    """Put `text` in place of the file in one step: a reader sees the old or the new, never a part.

    Parameters
    ----------
    durable : bool
        On disk before this returns, name included.

    Raises
    ------
    OSError
        As the disk gave it; the file is then as it was, or (only the folder's sync failed) already the new one.
    """
    draft = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(handle, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(draft, file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    if durable:
        sync_folder(file.parent)


def read_small(file: Path) -> bytes:
    """Content of a plain file of at most 1 MiB; never hangs on a pipe or a device.

    Raises
    ------
    OSError
        It isn't there, isn't a plain file, is too large or can't be read.
    """
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a plain file")
        if found.st_size > READ_MAX:
            raise OSError("too large")
        return os.read(handle, READ_MAX)
    finally:
        os.close(handle)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json.loads: an object that names a key twice is refused instead of its last value being taken."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


@contextlib.contextmanager
def short_lock(file: Path, *, wait_s: float) -> Iterator[bool]:
    """Hold an advisory lock for a moment. Gives False when it couldn't be had in time, and lets you go on."""
    import time

    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield False
        return
    try:
        until, got = time.monotonic() + wait_s, False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                got = True
            except OSError:
                if time.monotonic() < until:
                    time.sleep(0.01)
                    continue
            break
        yield got
    finally:
        os.close(handle)
