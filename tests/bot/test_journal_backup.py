"""`tidegate backup`: a verified copy while the bot writes, put in place in one step, that never loses an older one."""

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bot import verbs_journal
from bot.journal import Journal, JournalError, Reader
from bot.journal.backup import back_up, heads_of, public_of
from bot.journal.heads import append_head, load_key, sign_head
from bot.journal.report import verify
from data.errors import InputError

APP = typer.Typer()
verbs_journal.register(APP)


@pytest.fixture
def folder(var: Path) -> Path:
    """The folder of a paper session."""
    made = var / "paper" / "default"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    """A journal of 500 records with a signed head, open for writing."""
    with Journal.create(folder / "journal.sqlite", {"bot": "00c0ffee"}) as made:
        for number in range(499):
            made.append(number, "event", {"text": "x" * 300})
        made.commit()
        append_head(sign_head(made, load_key(folder / "heads.key")), folder / "heads.jsonl")
        yield made


def run(*arguments: str | Path) -> Result:
    """The verb, in this process."""
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_backup_while_the_bot_writes(folder: Path, journal: Journal, tmp_path: Path) -> None:
    """The copy is sound, as of one moment, with its heads, one plain file for its owner; and it can be restored."""
    to, done = tmp_path / "copy.sqlite", threading.Event()

    def writes() -> None:
        while not done.is_set():
            journal.append(1, "event", {"text": "y" * 3_000})
            journal.commit()

    writer = threading.Thread(target=writes)
    writer.start()
    try:
        verdict = back_up(journal.file, to)
    finally:
        done.set()
        writer.join()
    assert verdict.sound and verdict.records >= 500 and verdict.heads == 1
    assert to.stat().st_mode & 0o777 == 0o600
    names = {to.name, heads_of(to).name, public_of(to).name}
    assert {path.name for path in tmp_path.iterdir()} == names | {"var"}
    assert verify(to) == verdict.__class__(**{**verdict.__dict__, "file": to, "given": False})
    restored = tmp_path / "restored" / "journal.sqlite"
    restored.parent.mkdir()
    shutil.copy(to, restored)
    with Journal.open(restored) as again:
        assert again.head()[0] == verdict.records and again.append(1, "event", {}) == verdict.records + 1
        again.commit()


def test_backup_replaces_its_own_elder_only(journal: Journal, tmp_path: Path) -> None:
    """An older backup of the same journal gives way; another file, another journal, or one that knows more doesn't."""
    to = tmp_path / "copy.sqlite"
    back_up(journal.file, to)
    journal.append(1, "event", {})
    journal.commit()
    assert back_up(journal.file, to).records == 501
    kept = to.read_bytes()
    other = tmp_path / "other.sqlite"
    Journal.create(other, {"bot": "other"}).close()
    with pytest.raises(InputError, match="a backup of another journal"):
        back_up(other, to)
    text = tmp_path / "notes.txt"
    text.write_text("mine, and long enough to have been a database")
    with pytest.raises(JournalError, match="not a database"):
        back_up(journal.file, text)
    with pytest.raises(InputError, match="the journal itself"):
        back_up(journal.file, journal.file)
    with pytest.raises(InputError, match="no such folder"):
        back_up(journal.file, tmp_path / "none" / "copy.sqlite")
    db = sqlite3.connect(journal.file, isolation_level=None)
    db.execute("DELETE FROM records WHERE seq = 501")
    db.close()
    with pytest.raises(JournalError, match="goes to record 501; the journal is shorter now"):
        back_up(journal.file, to)
    assert to.read_bytes() == kept and not list(tmp_path.glob(".*"))


def test_unsound_journal_is_not_backed_up(journal: Journal, tmp_path: Path) -> None:
    """A copy that doesn't verify is thrown away, and says what is wrong."""
    db = sqlite3.connect(journal.file, isolation_level=None)
    db.execute("UPDATE records SET ns = 0 WHERE seq = 77")
    db.close()
    with pytest.raises(JournalError, match="nothing was kept of it: record 77 was altered"):
        back_up(journal.file, tmp_path / "copy.sqlite")
    assert [path.name for path in tmp_path.iterdir()] == ["var"]


def test_backup_of_the_configured_session(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb finds the session's journal, needs --to, and takes the session that is named."""
    monkeypatch.chdir(tmp_path)
    done = run("backup", "--to", tmp_path / "copy.sqlite")
    assert done.exit_code == 0 and "500 records, 1 signed heads; verified" in done.stdout, done.output
    done = run("backup", "--to", tmp_path / "copy.sqlite", "--journal", journal.file, "--json")
    assert json.loads(done.stdout)["records"] == 500
    assert isinstance(run("backup").exception, InputError)
    live = journal.file.parents[2] / "live" / "default"
    live.mkdir(parents=True)
    Journal.create(live / "journal.sqlite", {}).close()
    done = run("backup", "--to", tmp_path / "b", "--mode", "live")
    assert done.exit_code == 0 and "1 records, no signed heads yet; verified" in done.stdout
    assert "there is no session" in str(run("backup", "--to", tmp_path / "b", "--var", tmp_path / "x").exception)


def test_killed_backup_leaves_the_elder(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops a backup, the one before is whole; what it left is no obstacle."""
    to = tmp_path / "copy.sqlite"
    back_up(journal.file, to)
    journal.append(1, "event", {})
    journal.commit()

    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(JournalError, match="No space left on device"):
        back_up(journal.file, to)
    monkeypatch.undo()
    (tmp_path / ".copy.sqlite.part").write_bytes(b"left over")
    with Reader(to) as reader:
        assert reader.head()[0] == 500
    assert back_up(journal.file, to).records == 501
