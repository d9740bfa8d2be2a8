"""Where a key comes from, in which order, and what is refused."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bot.exchange.keys import default_file, environment_names, find_key, key_origin
from bot.exchange.redact import redact
from data.errors import InputError

TEXT = 'key = "{0}-key-text"\nsecret = "{0}-secret-text"\n'


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A keyring in memory."""
    held: dict[tuple[str, str], str] = {}
    module, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    for name in ("KeyringError", "NoKeyringError", "InitError"):
        base = Exception if name == "KeyringError" else errors.KeyringError
        setattr(errors, name, type(name, (base,), {}))

    def get_password(service: str, name: str) -> str | None:
        if ("", "") in held:
            raise getattr(errors, held["", ""])("no")
        return held.get((service, name))

    module.get_password = get_password  # type: ignore[attr-defined]
    module.errors = errors  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return held


def written(path: Path, name: str, mode: int = 0o600) -> Path:
    """A key's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT.format(name))
    path.chmod(mode)
    return path


def test_the_order_of_places(tmp_path: Path, ring: dict[tuple[str, str], str]) -> None:
    """Systemd credentials, file, keyring, environment: the first that has one; the environment is wiped each time."""
    key, secret, _ = environment_names("main")
    assert (key, secret) == ("TIDEGATE_MAIN_KEY", "TIDEGATE_MAIN_SECRET")
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    full = {**home, key: "env-key-text", secret: "env-secret-text"}
    given = dict(full)
    assert find_key("main", None, given).origin == "the environment"
    assert key not in given and secret not in given
    ring["tidegate", "main"] = TEXT.format("ring")
    given = dict(full)
    assert find_key("main", None, given).origin == "the keyring" and key not in given
    written(default_file("main", home), "file")
    assert find_key("main", None, dict(full)).key == "file-key-text"
    folder = written(tmp_path / "cred" / "tidegate-main", "cred", 0o400).parent
    given = {**full, "CREDENTIALS_DIRECTORY": str(folder)}
    assert key_origin("main", None, given) == "systemd credentials"
    found = find_key("main", None, given)
    assert found.key == "cred-key-text" and found.secret == "cred-secret-text" and key not in given


def test_the_process_environment_is_wiped(monkeypatch: pytest.MonkeyPatch, ring: dict[tuple[str, str], str]) -> None:
    """After reading, `os.environ` has it no more."""
    for name in environment_names("wiped-1"):
        monkeypatch.setenv(name, "some-long-text")
    found = find_key("wiped-1")
    assert found.passphrase == "some-long-text"
    assert not [name for name in environment_names("wiped-1") if name in os.environ]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o606, 0o700, 0o604])
def test_a_file_that_others_may_see_is_refused(tmp_path: Path, mode: int) -> None:
    """The refusal says what to run."""
    file = written(tmp_path / "key.toml", "file", mode)
    with pytest.raises(InputError, match=f"chmod 600 {file}"):
        find_key("main", file, {})


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it could change or read it."""
    file = written(tmp_path / "key.toml", "file")
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(InputError, match="chown"):
        find_key("main", file, {})


def test_what_isnt_a_key(tmp_path: Path, ring: dict[tuple[str, str], str]) -> None:
    """No key, a named file that isn't there, a folder, a text that isn't one; errors show nothing of it."""
    given = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(InputError, match="no key was found"):
        find_key("main", None, given)
    with pytest.raises(InputError, match="isn't there"):
        find_key("main", tmp_path / "nowhere", given)
    with pytest.raises(InputError, match="no plain file|can't be read"):
        (tmp_path / "folder").mkdir(mode=0o700)
        find_key("main", tmp_path / "folder", given)
    for text in ('key = "only-a-key-text"', "canary-not-toml", 'key = "short"\nsecret = "canary-secret"', "key = 5"):
        file = tmp_path / "bad.toml"
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(InputError) as caught:
            find_key("main", file, given)
        assert "canary" not in str(caught.value)
    with pytest.raises(InputError, match="not a key's name"):
        find_key("../x", None, given)


def test_keyrings_that_fail(tmp_path: Path, ring: dict[tuple[str, str], str]) -> None:
    """No keyring at all is passed over; one that is locked isn't: another key might be taken silently."""
    key, secret, _ = environment_names("main")
    given = {"XDG_CONFIG_HOME": str(tmp_path), key: "env-key-text", secret: "env-secret-text"}
    ring["", ""] = "NoKeyringError"
    assert find_key("main", None, dict(given)).origin == "the environment"
    ring["", ""] = "KeyringError"
    with pytest.raises(InputError, match="keyring"):
        find_key("main", None, dict(given))


def test_a_key_doesnt_show_itself(tmp_path: Path) -> None:
    """Neither printed nor in any text from here on."""
    found = find_key("main", written(tmp_path / "key.toml", "quiet"), {})
    assert "quiet" not in repr(found) and "quiet" not in f"{found}"
    assert "quiet-secret" not in redact("signed with quiet-secret-text")
