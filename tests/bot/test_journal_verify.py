"""`tidegate verify` and what it stands on: the chain, the signed heads, and the damage that each of them shows."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bot import verbs_journal
from bot.journal import Journal, JournalError
from bot.journal.chain import GENESIS, canonical, digest
from bot.journal.heads import append_head, load_key, public_text, read_heads, read_public_key, sign_head
from bot.journal.report import verify
from data.errors import InputError

Edit = Callable[[sqlite3.Connection], object]
ENTRIES = 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A closed journal of 30 records, a snapshot at 20, with signed heads at 10 and 25 beside it."""
    path = tmp_path / "journal.sqlite"
    key = load_key(tmp_path / "heads.key")
    with Journal.create(path, {"bot": "00c0ffee"}, ns=1_700_000_000 * 10**9) as journal:
        for seq in range(2, ENTRIES + 1):
            kind = "snapshot" if seq == 20 else "event"
            journal.append(1_700_000_000 * 10**9 + seq, kind, {"number": seq, "long": [seq] * (2_000 * (seq == 20))})
            journal.commit()
            if seq in (10, 25):
                append_head(sign_head(journal, key, ns=seq), tmp_path / "heads.jsonl", tmp_path / "elsewhere.jsonl")
    return path


def edit(file: Path, *acts: str | Edit) -> None:
    """Do to a journal's file what another program could."""
    db = sqlite3.connect(file, isolation_level=None)
    for act in acts:
        if isinstance(act, str):
            db.execute(act)
        else:
            act(db)
    db.close()


def rewrite(db: sqlite3.Connection, since: int, upto: int = ENTRIES) -> None:
    """Compute the hashes of records anew, as somebody would who knows the rule."""
    previous = GENESIS
    if since > 1:
        (previous,) = db.execute("SELECT hash FROM records WHERE seq = ?", (since - 1,)).fetchone()
    rows = db.execute("SELECT seq, ns, kind, body FROM records WHERE seq BETWEEN ? AND ? ORDER BY seq", (since, upto))
    for seq, ns, kind, body in rows.fetchall():
        text = body if isinstance(body, str) else canonical({"number": seq, "long": [seq] * 2_000})
        previous = digest(previous, seq, ns, kind, text)
        db.execute("UPDATE records SET hash = ? WHERE seq = ?", (previous, seq))


def shift(since: int, by: int) -> tuple[str, str]:
    """Renumber the records from `since` on."""
    return (
        f"UPDATE records SET seq = -seq WHERE seq >= {since}",
        f"UPDATE records SET seq = -seq + {by} WHERE seq < 0",
    )


def put(seq: int, chained: bool = False) -> Edit:
    """Insert a record at a number; `chained`: with the hash that fits."""

    def act(db: sqlite3.Connection) -> None:
        found = db.execute("SELECT hash FROM records WHERE seq = ?", (seq - 1,)).fetchone()
        stored = digest(found[0], seq, 1, "event", "{}") if chained else b"x" * 32
        db.execute("INSERT INTO records (seq, ns, kind, hash, body) VALUES (?, 1, 'event', ?, '{}')", (seq, stored))

    return act


SWAP_ROWS = (
    "UPDATE records SET seq = -1 WHERE seq = 7", "UPDATE records SET seq = 7 WHERE seq = {other}",
    "UPDATE records SET seq = {other} WHERE seq = -1",
)  # fmt: skip
SWAP_CONTENTS = (
    "CREATE TEMP TABLE kept AS SELECT seq, ns, kind, body FROM records WHERE seq IN (7, 8)",
    "UPDATE records SET (ns, kind, body) = (SELECT ns, kind, body FROM kept WHERE seq = 15 - records.seq) "
    "WHERE seq IN (7, 8)",
)
DAMAGE: dict[str, tuple[tuple[str | Edit, ...], int, str]] = {
    "body": (("UPDATE records SET body = replace(body, '7', '8') WHERE seq = 7",), 7, "altered"),
    "time": (("UPDATE records SET ns = ns + 1 WHERE seq IN (9, 20)",), 9, "altered"),
    "kind": (("UPDATE records SET kind = 'step' WHERE seq = 9",), 9, "altered"),
    "compressed body": (("UPDATE records SET body = substr(body, 1, length(body) - 1) WHERE seq = 20",), 20, "altered"),
    "hash": (("UPDATE records SET hash = zeroblob(32) WHERE seq = 12",), 12, "altered"),
    "type": (("UPDATE records SET body = 12.5, hash = 'abc' WHERE seq = 12",), 12, "altered"),
    "altered with its hash": (
        ("UPDATE records SET body = '{}' WHERE seq = 12", lambda db: rewrite(db, 12, 12)), 13, "altered",
    ),
    "header": (("UPDATE records SET body = '{\"bot\":\"other\"}' WHERE seq = 1",), 1, "altered"),
    "dropped": (("DELETE FROM records WHERE seq = 7",), 7, "dropped"),
    "several dropped": (("DELETE FROM records WHERE seq BETWEEN 7 AND 12",), 7, "dropped"),
    "header dropped": (("DELETE FROM records WHERE seq = 1",), 1, "dropped"),
    "all dropped": (("DELETE FROM records",), 1, "dropped"),
    "dropped and renumbered": (("DELETE FROM records WHERE seq IN (7, 8)", *shift(9, -2)), 7, "dropped"),
    "added": ((*shift(7, 1), put(7)), 7, "added"),
    "three added": ((*shift(7, 3), put(7), put(8), put(9)), 7, "added"),
    "added with its hash": ((*shift(7, 1), put(7, chained=True)), 8, "altered"),
    "added before the last": ((*shift(30, 1), put(30)), 30, "added"),
    "added at the end": ((put(31),), 31, "altered or added"),
    "added before the first": ((put(-4),), -4, "added"),
    "neighbours swapped": (tuple(act.format(other=8) for act in SWAP_ROWS), 7, "moved"),
    "far ones swapped": (tuple(act.format(other=21) for act in SWAP_ROWS), 7, "moved"),
    "contents swapped": (SWAP_CONTENTS, 7, "moved"),
    "moved to the end": (("UPDATE records SET seq = 31 WHERE seq = 7",), 7, "dropped"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_first_damage_is_named(file: Path, name: str) -> None:
    """Each kind of tampering is named by the first record that it hit; opening refuses by the same name."""
    acts, seq, what = DAMAGE[name]
    if name == "added before the first":
        acts = (lambda db: db.execute("INSERT INTO records (seq, ns, kind, hash, body) VALUES (-4,1,'a',x'','{}')"),)
    edit(file, *acts)
    fault = verify(file).fault
    assert fault is not None and (fault.seq, fault.what) == (seq, what), fault
    with pytest.raises(JournalError) as caught:
        Journal.open(file, whole=True)
    assert caught.value.seq in (seq, 1) and caught.value.why == "damaged" and caught.value.remedy


def test_opening_checks_from_the_last_snapshot(file: Path) -> None:
    """Opening is cheap: what lies before the last snapshot is left to `verify` and to reading, what follows isn't."""
    edit(file, "UPDATE records SET ns = ns + 1 WHERE seq = 9")
    with Journal.open(file) as journal:
        assert journal.recovery.checked_from == 20
        with pytest.raises(JournalError, match="record 9 isn't what was appended"):
            list(journal.records())
    edit(file, "UPDATE records SET ns = ns - 1 WHERE seq = 9", "UPDATE records SET ns = ns + 1 WHERE seq = 22")
    with pytest.raises(JournalError, match="record 22 was altered"):
        Journal.open(file)


@pytest.mark.parametrize(
    ("acts", "what", "seq"),
    [
        (("DELETE FROM records WHERE seq > 24",), "cut", 25),
        (("UPDATE records SET body = '{}' WHERE seq = 18", lambda db: rewrite(db, 18)), "rewritten", 11),
        (("UPDATE records SET body = '{}' WHERE seq = 1", lambda db: rewrite(db, 1)), "other journal", 10),
    ],
)
def test_heads_show_what_the_chain_cant(file: Path, acts: tuple[str | Edit, ...], what: str, seq: int) -> None:
    """A cut tail and one rewritten with all its hashes are sound as chains, and named by the signed heads."""
    edit(file, *acts)
    copy = file.rename(file.with_name("moved.sqlite"))  # a name with no heads beside it
    assert verify(copy).sound
    fault = verify(copy, heads=file.parent / "elsewhere.jsonl").fault
    assert fault is not None and (fault.what, fault.seq) == (what, seq), fault


def test_tail_after_the_last_head(file: Path) -> None:
    """What is cut after the last signed head shows nowhere: heads prove as far as they reach."""
    edit(file, "DELETE FROM records WHERE seq > 25")
    found = verify(file)
    assert found.sound and found.records == found.head_seq == 25


def test_forged_heads(file: Path) -> None:
    """A line that was changed, or signed by another key than the given one, isn't believed."""
    heads = file.parent / "heads.jsonl"
    lines = heads.read_text().splitlines()
    heads.write_text(lines[0] + "\n" + lines[1].replace('"ns":25', '"ns":26') + "\n")
    fault = verify(file).fault
    assert fault is not None and (fault.what, fault.seq) == ("signature", 25)
    other = load_key(file.parent / "other" / "heads.key") if (file.parent / "other").mkdir() is None else None
    assert other is not None
    with Journal.open(file) as journal:
        heads.write_text(lines[0] + "\n" + sign_head(journal, other) + "\n")
    fault = verify(file).fault
    assert fault is not None and "another key" in fault.text and fault.seq == 30
    wrong = file.parent / "other" / "heads.pub"
    assert not verify(file, heads=file.parent / "elsewhere.jsonl", public_key=wrong).sound
    right = verify(file, heads=file.parent / "elsewhere.jsonl", public_key=file.parent / "heads.pub")
    assert right.sound and right.given and right.heads == 2
    heads.write_text("no head\n")
    with pytest.raises(InputError, match="line 1 is no signed head"):
        verify(file)


def test_key_is_made_once_for_its_owner(tmp_path: Path) -> None:
    """The key appears with mode 0600 and its public half beside it; a readable one, or another kind, is refused."""
    file = tmp_path / "heads.key"
    key = load_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert public_text(load_key(file)) == public_text(key) == read_public_key(tmp_path / "heads.pub")
    file.chmod(0o640)
    with pytest.raises(InputError, match=r"others may read this key \(mode 0640\)"):
        load_key(file)
    file.chmod(0o600)
    file.write_text("no key")
    with pytest.raises(InputError, match="no Ed25519 key"):
        load_key(file)
    with pytest.raises(InputError, match="no Ed25519 public key"):
        read_public_key(file)
    with pytest.raises(JournalError, match="can't be read or made"):
        load_key(tmp_path / "none" / "heads.key")


def test_torn_line_of_heads(file: Path) -> None:
    """A line that a power cut tore is left out when read, and cut off by the next one; a lost place is named."""
    heads = file.parent / "heads.jsonl"
    whole = heads.read_text()
    heads.write_text(whole + whole[:40])
    assert len(read_heads(heads)) == 2 and verify(file).sound
    with Journal.open(file) as journal:
        line = sign_head(journal, load_key(file.parent / "heads.key"), ns=99)
    with pytest.raises(JournalError, match="can't be written to .*nowhere"):
        append_head(line, file.parent / "nowhere" / "heads.jsonl", heads)
    assert heads.read_text() == whole + line + "\n"
    assert verify(file).head_seq == 30
    new = file.parent / "new.jsonl"
    append_head(line, new)
    assert new.read_text() == line + "\n"


APP = typer.Typer()
verbs_journal.register(APP)


def run(*arguments: str | Path) -> Result:
    """The verb, in this process."""
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_verify_says_what_it_found(file: Path) -> None:
    """Exit code 0 and what was checked; 1 and the first bad record; the same as JSON."""
    done = run("verify", file)
    assert done.exit_code == 0
    assert "sound: 30 records, 2023-11-14 22:13:20 UTC" in done.stdout
    assert "2 signed heads agree, up to record 25" in done.stdout and "not given" in done.stdout
    done = run("verify", file, "--public-key", file.parent / "heads.pub", "--json")
    told = json.loads(done.stdout)
    assert told["sound"] and told["key_given"] and told["heads"]["checked"] == 2 and told["fault"] is None
    edit(file, "DELETE FROM records WHERE seq = 7")
    done = run("verify", file)
    assert done.exit_code == 1 and "NOT SOUND: record 7 was dropped" in done.stdout
    assert "sound before it: 6 records" in done.stdout
    done = run("verify", file, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["fault"] == {"record": 7, "what": "dropped", "text": "record 7 was dropped"}


def test_verify_while_the_bot_writes(file: Path) -> None:
    """A running bot's journal can be verified; without heads it says what that leaves open."""
    (file.parent / "heads.jsonl").unlink()
    with Journal.open(file) as journal:
        journal.append(1, "event", {})
        journal.commit()
        done = run("verify", file)
        assert done.exit_code == 0 and "31 records" in done.stdout and "No signed heads" in done.stderr
        journal.append(1, "event", {})
        journal.commit()


def test_what_is_no_file_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, also the one we are in, and nothing at all: with the file that may be meant."""
    monkeypatch.chdir(file.parent)
    for folder in (file.parent, Path()):
        with pytest.raises(InputError, match="a folder, not a journal") as caught:
            verify(folder)
        assert str(folder / "journal.sqlite") in (caught.value.remedy or "")
    with pytest.raises(InputError, match="no such journal"):
        verify(file.with_name("other.sqlite"))
