"""The journal's writer and readers: durable groups, one writer, named errors, records checked when read."""

import fcntl
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.journal import Journal, JournalError, MemoryJournal, Reader
from bot.journal.chain import PACKED_FROM, canonical, digest, pack_text, text_of
from bot.journal.file import PRAGMAS
from bot.journal.reader import wal_of
from bot.ports import Keeper
from data.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the journal of a test lies."""
    return tmp_path / "a folder with ? and # and %" / "journal.sqlite"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    """A journal of a header, open for writing."""
    file.parent.mkdir()
    with Journal.create(file, {"bot": "00c0ffee"}, ns=5) as made:
        yield made


def filled(journal: Journal | MemoryJournal, count: int = 10) -> None:
    """Events and steps, and a snapshot after every fourth event, in one group each."""
    keeper: Keeper = journal
    for number in range(count):
        keeper.append(number, "event", {"is": "Tick", "ns": number})
        keeper.append(number, "step", {"fills": [], "number": number})
        if number % 4 == 3:
            keeper.append(number, "snapshot", {"state": [0.1 * number] * 2_000})
        keeper.commit()


def test_what_is_committed_is_read_again(file: Path, journal: Journal) -> None:
    """Records come back in order, by number and kind, in this process, in a reader beside it, and after a restart."""
    filled(journal)
    head = journal.head()
    assert head[0] == 1 + 20 + 2
    with Reader(file) as reader:
        for source in (journal, reader):
            assert [record.seq for record in source.records()] == list(range(1, 24))
            assert [record.seq for record in source.records(since=20)] == [21, 22, 23]
            assert [record.body["ns"] for record in source.records(since=15, kinds=["event"])] == [7, 8, 9]
            assert [record.kind for record in source.records(kinds={"snapshot", "header"})] == [
                "header", "snapshot", "snapshot"
            ]  # fmt: skip
            assert not list(source.records(kinds=[])) and not list(source.records(since=99))
            last = source.last("snapshot")
            assert last is not None and last.body == {"state": [0.1 * 7] * 2_000}
            step = source.last("step")
            assert step is not None and step.seq == 23 and source.last("operator") is None and source.last("x") is None
            assert source.head() == head and source.header == {"bot": "00c0ffee"}
            assert source.record(1) == next(source.records()) and source.record(24) is None
    journal.close()
    with Journal.open(file) as again:
        assert again.head() == head and again.recovery.torn == 0 and again.recovery.checked_from == 19
        assert again.append(7, "event", {}) == 24


def test_hash_is_over_the_canonical_text(journal: Journal) -> None:
    """Keys are sorted, floats keep every bit, and the hash is the stated one, compressed or not."""
    body = {"b": 0.1 + 0.2, "a": [-0.0, 5e-324, 1e308, 2**70, None, True, "é\ud800\x00"], "c": "x" * PACKED_FROM}
    journal.append(9, "event", body)
    journal.commit()
    header, record = journal.records()
    assert record.body == body and math.copysign(1, record.body["a"][0]) == -1
    text = canonical(body)
    assert text.startswith('{"a":[-0.0,5e-324,1e+308,1180591620717411303424,null,true,"\\u00e9\\ud800\\u0000"],"b":0.3')
    assert record.hash == digest(bytes.fromhex(header.hash), 2, 9, "event", text).hex()
    assert isinstance(pack_text(text), bytes) and text_of(pack_text(text)) == text


@pytest.mark.parametrize(
    ("ns", "kind", "body"),
    [
        (1, "event", {"a": float("nan")}), (1, "event", {"a": float("inf")}), (1, "event", {"a": {1, 2}}),
        (1, "event", {1: 2, "a": 3}), (1, "event", [1]), (1.0, "event", {}), (2**63, "event", {}),
        (1, "Event", {}), (1, "", {}), (1, "a\nb", {}), (1, "x" * 33, {}),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(journal: Journal, ns: Any, kind: str, body: Any) -> None:
    """NaN and infinities, types that JSON doesn't have, odd times and kinds: nothing of it is appended."""
    with pytest.raises(JournalError) as caught:
        journal.append(ns, kind, body)
    assert caught.value.why == "body" and journal.waiting == 0 and journal.append(1, "event", {}) == 2


def test_only_commit_makes_records(file: Path, journal: Journal) -> None:
    """What was appended shows after `commit`; `rollback` and `close` forget it, and numbers go on without a gap."""
    before = journal.head()
    journal.append(1, "event", {"a": 1})
    with Reader(file) as reader:
        assert journal.head() == before == reader.head() and len(list(journal.records())) == 1
        journal.rollback()
        assert journal.append(1, "event", {"a": 2}) == 2
        journal.commit()
        journal.commit()
        assert [record.body for record in reader.records(since=1)] == [{"a": 2}]
    journal.append(1, "event", {"a": 3})
    journal.close()
    with pytest.raises(JournalError, match="was closed"):
        journal.append(1, "event", {})
    with Journal.open(file) as again:
        assert again.head()[0] == 2


def test_one_writer(file: Path, journal: Journal) -> None:
    """A second writer is refused with the number of the first, in this process and another; a freed lock is free."""
    with pytest.raises(JournalError, match=f"process {os.getpid()} is writing") as caught:
        Journal.open(file)
    assert caught.value.why == "locked"
    code = (
        "import sys; from pathlib import Path; from bot.journal import Journal, JournalError\n"
        "try:\n    Journal.open(Path(sys.argv[1]))\nexcept JournalError as error:\n    print(error.why)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "locked\n", done.stderr
    journal.close()
    Journal.open(file).close()


def test_create_and_open_refuse_what_isnt_theirs(file: Path, journal: Journal, tmp_path: Path) -> None:
    """A journal is never begun over another; a missing or foreign file, or one with a trigger, is named."""
    journal.close()
    with pytest.raises(InputError, match="exists already"):
        Journal.create(file, {})
    with pytest.raises(InputError, match="no such journal"):
        Journal.open(tmp_path / "none.sqlite")
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).close()
    with pytest.raises(InputError, match="not a Tidegate journal"):
        Journal.open(other)
    other.write_text("no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(JournalError, match="not a database"):
        Reader(other)
    db = sqlite3.connect(file)
    db.execute("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records WHERE seq = new.seq; END")
    db.close()
    with pytest.raises(JournalError, match="layout of its tables was changed"):
        Journal.open(file)


def test_create_leaves_nothing_half_made(tmp_path: Path) -> None:
    """What a kill left of an earlier beginning is no obstacle, and the file is for its owner only."""
    file = tmp_path / "journal.sqlite"
    (tmp_path / "journal.sqlite.new").write_bytes(b"half")
    Journal.create(file, {"bot": "1"}).close()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "journal.sqlite.new").exists()
    with pytest.raises(JournalError, match="can't be locked"):
        Journal.create(tmp_path / "no folder" / "journal.sqlite", {})


def test_pragmas_are_read_back(journal: Journal, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer syncs every commit; a journal whose settings don't take is refused."""
    for name, _, wanted in PRAGMAS:
        found = journal._writer.execute(f"PRAGMA {name}").fetchone()
        assert found is None or found[0] == wanted
    journal.close()
    monkeypatch.setattr("bot.journal.file.PRAGMAS", (("journal_mode", "WAL", "wal"), ("synchronous", "NORMAL", 2)))
    with pytest.raises(JournalError, match="synchronous is 1 after it was set to NORMAL"):
        Journal.open(file)
    monkeypatch.undo()
    Journal.open(file).close()


def test_locked_by_another_program(file: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that finds the file locked says so, writes nothing, and may be tried again."""
    journal._writer.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.append(1, "event", {})
    with pytest.raises(JournalError) as caught:
        journal.commit()
    assert caught.value.why == "busy" and caught.value.may_retry and journal.head()[0] == 1 and journal.waiting == 1
    other.execute("ROLLBACK")
    other.close()
    journal.commit()
    assert journal.head()[0] == 2


def test_disk_full(file: Path, journal: Journal) -> None:
    """A full disk loses nothing and writes nothing half: the whole group waits until there is room, or is forgotten."""
    journal._writer.execute("PRAGMA max_page_count = 12")
    for number in range(50):
        journal.append(number, "event", {"text": "x" * 2_000})
    with pytest.raises(JournalError) as caught:
        journal.commit()
    assert caught.value.why == "full" and caught.value.exit_code == 1 and "disk is full" in str(caught.value)
    with Reader(file) as reader:
        assert reader.head()[0] == 1
    journal._writer.execute("PRAGMA max_page_count = 1000000")
    journal.append(50, "event", {})
    journal.commit()
    assert [record.ns for record in journal.records(since=1)] == list(range(51))


def test_write_error(tmp_path: Path) -> None:
    """An error of the disk ends the writing for good: what it left isn't known, so only a fresh opening may tell."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from bot.journal import Journal, JournalError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal.create(Path(sys.argv[1]), {})\n"
        "journal.append(1, 'event', {'a': 1}); journal.commit()\n"
        "size = Path(sys.argv[1] + '-wal').stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, -1))\n"
        "for n in range(20): journal.append(2, 'event', {'text': 'x' * 3000})\n"
        "for act in (journal.commit, journal.commit, lambda: journal.append(3, 'event', {})):\n"
        "    try:\n        act()\n    except JournalError as error:\n        print(error.why, error.may_retry)\n"
        "print(journal.head()[0])\n"
    )
    file = tmp_path / "journal.sqlite"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "io False\n" * 3 + "2\n", done.stderr
    with Journal.open(file) as journal:
        assert journal.head()[0] == 2


def test_somebody_else_wrote(file: Path, journal: Journal) -> None:
    """A record that another program put in is found by the next commit, which refuses; the chain names it."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("INSERT INTO records (seq, ns, kind, hash, body) VALUES (2, 1, 'event', x'00', '{}')")
    other.close()
    journal.append(1, "event", {})
    with pytest.raises(JournalError, match="somebody else wrote") as caught:
        journal.commit()
    assert caught.value.why == "foreign" and not caught.value.may_retry
    with pytest.raises(JournalError, match="somebody else wrote"):
        journal.append(1, "event", {})
    journal.close()
    with pytest.raises(JournalError, match="record 2, the last one, was altered or added") as refused:
        Journal.open(file)
    assert refused.value.seq == 2 and "Restore the journal from a backup" in str(refused.value)


def test_append_while_a_commit_runs(journal: Journal) -> None:
    """One thread may append while another commits: nothing is lost, doubled or out of order."""
    done = threading.Event()
    failures: list[BaseException] = []

    def commits() -> None:
        try:
            while not done.is_set():
                journal.commit()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=commits)
    thread.start()
    for number in range(3_000):
        journal.append(number, "event", {})
    done.set()
    thread.join()
    journal.commit()
    assert not failures
    assert [record.ns for record in journal.records(since=1)] == list(range(3_000))


def test_a_record_that_changed_is_never_read(file: Path, journal: Journal) -> None:
    """Reading checks each record: one that was altered or is missing raises, what stands before it comes out."""
    filled(journal)
    journal.close()
    for statement, first in (
        ("UPDATE records SET body = replace(body, '\"ns\":4', '\"ns\":3') WHERE seq = 10", 10),
        ("UPDATE records SET ns = ns + 1 WHERE seq = 8", 8),
        ("UPDATE records SET body = x'0011' WHERE seq = 7", 7),
        ("UPDATE records SET body = 17 WHERE seq = 6", 6),
        ("UPDATE records SET hash = 'text' WHERE seq = 5", 5),
        ("DELETE FROM records WHERE seq = 4", 4),
    ):
        db = sqlite3.connect(file, isolation_level=None)
        db.execute(statement)
        db.close()
        with Reader(file) as reader:
            seen = []
            with pytest.raises(JournalError) as caught:
                for record in reader.records():
                    seen.append(record.seq)
            assert seen == list(range(1, first)) and caught.value.seq == first
            with pytest.raises(JournalError):
                reader.record(first + (statement[:6] == "DELETE"))


def test_long_journal_is_read_in_looks(file: Path, journal: Journal) -> None:
    """A reader takes its rows in looks, sees what comes meanwhile, and keeps nobody from tidying the file."""
    for number in range(1_200):
        journal.append(number, "event", {})
    journal.commit()
    with Reader(file) as reader:
        records = reader.records()
        assert [next(records).seq for _ in range(600)][-1] == 600
        journal.append(1_200, "event", {"late": True})
        journal.commit()
        journal.checkpoint()
        assert [record.seq for record in records] == list(range(601, 1_203))


def test_read_without_a_right_to_write(file: Path, journal: Journal) -> None:
    """A journal that nobody writes can be read where nothing can be created beside it."""
    filled(journal)
    head = journal.head()
    journal.close()
    if os.geteuid() == 0:
        # The superuser may write anywhere: a file where SQLite wants its shared memory does as well.
        file.with_name(file.name + "-shm").mkdir()
    else:
        file.parent.chmod(0o500)
    try:
        with Reader(file) as reader:
            assert reader.head() == head
    finally:
        file.parent.chmod(0o700)


def test_lock_file_is_let_go_by_a_dead_process(file: Path, journal: Journal) -> None:
    """The lock is the system's: a lock file that lies about is no lock."""
    journal.close()
    lock = file.with_name(file.name + ".lock")
    assert lock.exists()
    with lock.open("r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(JournalError, match="is writing this journal already"):
            Journal.open(file)
    Journal.open(file).close()


def test_in_memory_it_is_the_same_chain(journal: Journal) -> None:
    """The journal of simulated worlds gives the same records and hashes without a file."""
    memory = MemoryJournal({"bot": "00c0ffee"}, ns=5)
    filled(memory)
    filled(journal)
    assert list(memory.records()) == list(journal.records()) and memory.head() == journal.head()
    assert memory.last("snapshot") == journal.last("snapshot") and memory.last("x") is None
    assert memory.origin == journal.origin
    assert list(memory.records(since=3, kinds=["step"])) == list(journal.records(since=3, kinds=["step"]))
    memory.append(1, "event", {})
    memory.rollback()
    assert memory.head() == journal.head()


def test_wal_stays_bounded(file: Path, journal: Journal) -> None:
    """The write-ahead file is used again after a checkpoint."""
    filled(journal)
    journal.checkpoint()
    size = wal_of(file).stat().st_size
    filled(journal, 4)
    assert wal_of(file).stat().st_size == size
    assert json.loads(json.dumps(journal.header)) == journal.header
