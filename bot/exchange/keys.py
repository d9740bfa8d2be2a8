"""Where the exchange key comes from: systemd credentials, a file of mode 0600, the system keyring, the environment.

The first that has one is taken; a config never holds it. A key is TOML text: key = "...", secret = "...", and for some
venues passphrase = "..."; in the environment TIDEGATE_NAME_KEY, TIDEGATE_NAME_SECRET and TIDEGATE_NAME_PASSPHRASE.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from bot.exchange.redact import SHORTEST, keep_secret
from data.errors import InputError

SERVICE = "tidegate"
FILE_MAX = 65_536
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PARTS = ("key", "secret", "passphrase")


@dataclass(frozen=True, repr=False)
class Key:
    """A key as it signs. It never shows its parts."""

    key: str
    secret: str
    passphrase: str | None
    origin: str

    def __repr__(self) -> str:
        return f"Key(***, from {self.origin})"


def environment_names(name: str) -> tuple[str, str, str]:
    """The environment variables of a key: of the key, the secret and the passphrase."""
    stem = re.sub(r"[^A-Z0-9]", "_", name.upper())
    return f"TIDEGATE_{stem}_KEY", f"TIDEGATE_{stem}_SECRET", f"TIDEGATE_{stem}_PASSPHRASE"


def default_file(name: str, environment: MutableMapping[str, str] | None = None) -> Path:
    """Where a key's file is looked for when the config names none."""
    given = (os.environ if environment is None else environment).get("XDG_CONFIG_HOME")
    folder = Path(given) if given else Path.home() / ".config"
    return folder / "tidegate" / "keys" / f"{name}.toml"


def find_key(name: str, file: Path | None = None, environment: MutableMapping[str, str] | None = None) -> Key:
    """The key, from the first place that has one; its parts are struck out of every log from here on.

    The environment is wiped of it whatever its origin. A key file that is named has to be there.

    Parameters
    ----------
    name : str
        The key's name: credential `tidegate-NAME`, keyring entry, environment `TIDEGATE_NAME_...`.
    file : Path, optional
        The key's file; left out: `~/.config/tidegate/keys/NAME.toml`.
    environment : mutable mapping, optional
        Instead of `os.environ`.

    Raises
    ------
    InputError
        Nobody has it; its file is open to others or somebody else's; its text isn't a key's.
    """
    if not _NAME.fullmatch(name):
        raise InputError("not a key's name", key="key", value=name, remedy="Use letters, digits, - and _")
    where = os.environ if environment is None else environment
    given = _take_environment(name, where)
    found = _from_credentials(name, where) or _from_file(name, file, where) or _from_keyring(name)
    if found is None and given.get("key"):
        found = _made(given, "the environment")
    if found is None:
        variables = environment_names(name)
        raise InputError(
            "no key was found",
            key="key",
            value=name,
            remedy=f"Write it to {file or default_file(name, where)} (mode 0600), give the systemd credential "
            f"{SERVICE}-{name}, store it in the keyring as {SERVICE}/{name}, or set {variables[0]} and {variables[1]}",
        )
    return found


def key_origin(name: str, file: Path | None = None, environment: MutableMapping[str, str] | None = None) -> str | None:
    """Where `find_key` would look first with success, by being there; nothing is read. The keyring isn't asked."""
    where = os.environ if environment is None else environment
    folder = where.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / f"{SERVICE}-{name}").exists():
        return "systemd credentials"
    if (file or default_file(name, where)).exists():
        return str(file or default_file(name, where))
    return "the environment" if where.get(environment_names(name)[0]) else None


def _take_environment(name: str, where: MutableMapping[str, str]) -> dict[str, str]:
    taken = {part: where.pop(variable, "") for part, variable in zip(_PARTS, environment_names(name), strict=True)}
    for value in taken.values():
        if len(value) >= SHORTEST:
            keep_secret(value)
    return {part: value for part, value in taken.items() if value}


def _from_credentials(name: str, where: MutableMapping[str, str]) -> Key | None:
    folder = where.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / f"{SERVICE}-{name}" if folder else None
    if path is None or not path.exists():
        return None
    return _parsed(path.read_text(encoding="utf-8"), str(path))


def _from_file(name: str, file: Path | None, where: MutableMapping[str, str]) -> Key | None:
    path = file or default_file(name, where)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if file is None:
            return None
        raise InputError("the key's file isn't there", where=file) from None
    except PermissionError:
        remedy = f"chown {os.geteuid()} {path}"
        raise InputError("the key's file can't be read by this user", where=path, remedy=remedy) from None
    try:
        _check_file(handle, path)  # the open file is looked at, not its name: nobody can swap it in between
        return _parsed(os.read(handle, FILE_MAX).decode(), str(path))
    finally:
        os.close(handle)


def _check_file(handle: int, path: Path) -> None:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise InputError("the key's file is no plain file", where=path)
    if found.st_uid != os.geteuid():
        remedy = f"chown {os.geteuid()} {path}"
        raise InputError(f"the key's file belongs to user {found.st_uid}", where=path, remedy=remedy)
    if stat.S_IMODE(found.st_mode) & 0o177:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise InputError(f"the key's file has mode {mode}; others may see it", where=path, remedy=f"chmod 600 {path}")


def _from_keyring(name: str) -> Key | None:
    import keyring
    from keyring.errors import InitError, KeyringError, NoKeyringError

    try:
        text = keyring.get_password(SERVICE, name)
    except (NoKeyringError, InitError):
        return None
    except KeyringError as error:
        raise InputError(f"the keyring didn't open: {type(error).__name__}", key="key", value=name) from None
    return None if text is None else _parsed(text, "the keyring")


def _parsed(text: str, origin: str) -> Key:
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # its message would show a part of the text
        raise InputError("not a key's text", where=origin, remedy='Write key = "..." and secret = "..."') from None
    if body.keys() - set(_PARTS) or not all(isinstance(value, str) for value in body.values()):
        raise InputError("a key's text has key, secret and passphrase, in quotes", where=origin)
    return _made(body, origin)


def _made(body: dict[str, str], origin: str) -> Key:
    for part in ("key", "secret"):
        if len(body.get(part, "")) < SHORTEST:
            raise InputError(f"the {part} is missing, or shorter than {SHORTEST} characters", where=origin)
    passphrase = body.get("passphrase") or None
    keep_secret(body["key"], body["secret"])
    if passphrase is not None:
        if len(passphrase) < SHORTEST:
            raise InputError(f"the passphrase is shorter than {SHORTEST} characters", where=origin)
        keep_secret(passphrase)
    return Key(body["key"], body["secret"], passphrase, origin)
