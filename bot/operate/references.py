"""Secrets by reference: `env:NAME`, `file:PATH` and `credential:NAME` name where a secret lies, and aren't one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from data.errors import InputError

SECRET_MAX = 1 << 16


def look_up(text: str, *, key: str, folder: Path = Path()) -> str:
    """What a reference names; any other text is returned as it is. The secret is never part of an error.

    Parameters
    ----------
    key : str
        The setting, named in errors.
    folder : Path
        Where a relative `file:` starts.

    Raises
    ------
    InputError
        There is no such variable, file or credential, it is empty, or a file is open to other users.
    """
    kind, colon, name = text.partition(":")
    if not colon or kind not in ("env", "file", "credential"):
        return text
    if kind == "env":
        found = os.environ.get(name, "")
    elif kind == "file":
        found = _read(folder / Path(name).expanduser(), key, private=True)
    else:
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        if not given or "/" in name:
            remedy = "systemd gives credentials to its services: LoadCredential=, and start it as one"
            raise InputError("no credentials were given to this process", key=key, value=text, remedy=remedy)
        found = _read(Path(given) / name, key, private=False)
    if not found.strip():
        raise InputError("names nothing, or what it names is empty", key=key, value=text)
    return _kept(found.strip())


def _read(file: Path, key: str, *, private: bool) -> str:
    try:
        with open(file, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if private and stat.S_IMODE(mode) & 0o077:
                raise InputError("is open to other users", where=file, key=key, remedy=f"chmod 600 {file}")
            return stream.read(SECRET_MAX).decode()
    except UnicodeDecodeError:
        raise InputError("is no text", where=file, key=key) from None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=file, key=key) from None


def _kept(secret: str) -> str:
    """The same; from now on it is struck out of every log."""
    from bot.operate.logs import keep_secret

    keep_secret(secret)
    return secret
