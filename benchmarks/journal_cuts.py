"""Cut, flip and kill the journal: it opens to what was committed, or refuses; it never tells what wasn't appended.

python -m benchmarks.journal_cuts                # every frame boundary, 1,000 cuts, 1,000 flips of each file, 200 kills
python -m benchmarks.journal_cuts --cuts 50 --flips 50 --kills 5 --seed 7 --json

A cut may cost the last commits, since a file that ends early looks like a power cut; a flipped byte may cost the very
last one, for the same reason, and anything else is refused. What a checkpoint carried over is never lost. Each record's
body follows from its number, so that every record that is read can be judged.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.journal.chain import JournalError
from bot.journal.file import Journal
from bot.journal.reader import wal_of
from bot.journal.wal import inspect_wal
from data.errors import InputError

GROUPS_CARRIED, GROUPS = 60, 140  # groups committed before the checkpoint, and in all


class BrokenPromise(AssertionError):
    """The journal told something that wasn't so."""


@functools.cache
def body_of(seq: int) -> dict[str, Any]:
    """The body that record `seq` has in these tests; some are long, so that they are stored compressed over pages."""
    rng = random.Random(seq)
    long = [rng.random() for _ in range(rng.choice((600, 1500)))] if seq % 23 == 0 else []
    return {"seq": seq, "is": "Bar", "close": rng.random() * 1e5, "text": "x" * rng.randrange(400), "long": long}


def kind_of(seq: int) -> str:
    """Every 23rd record is a snapshot."""
    return "snapshot" if seq % 23 == 0 else "event"


def append_group(journal: Journal, rng: random.Random) -> int:
    """Append one to five records and commit them; the number of the last."""
    seq = journal.head()[0]
    for _ in range(rng.randrange(1, 6)):
        seq += 1
        journal.append(seq * 1000, kind_of(seq), body_of(seq))
    journal.commit()
    return seq


@dataclass(frozen=True)
class Specimen:
    """A journal as a killed writer leaves it: its two files, and the last record of each commit, of those carried over
    and of those that are only in the write-ahead file, there by the length of the file that they need."""

    file: bytes
    wal: bytes
    carried: int
    ends: dict[int, int]

    @property
    def prefixes(self) -> set[int]:
        """Record numbers that a journal may end at."""
        return {self.carried, *self.ends.values()}

    @property
    def head(self) -> int:
        """The last record."""
        return max(self.prefixes)


def make_specimen(folder: Path, *, seed: int = 1, reset: bool = True) -> Specimen:
    """Write a journal and copy its files while it is open.

    reset: the write-ahead file begins anew after the checkpoint; else the specimen is taken right after a checkpoint
    that carried over all of it, and the file still stands.
    """
    rng, file = random.Random(seed), folder / "journal.sqlite"
    with Journal.create(file, {"bot": "00c0ffee"}, ns=0) as journal:
        for _ in range(GROUPS_CARRIED):
            carried = append_group(journal, rng)
        ends: dict[int, int] = {}
        if reset:
            journal.checkpoint()
        for _ in range(GROUPS - GROUPS_CARRIED if reset else 0):
            last = append_group(journal, rng)
            ends[inspect_wal(wal_of(file)).ends[-1]] = last
        if not reset:
            journal.checkpoint()
        return Specimen(file.read_bytes(), wal_of(file).read_bytes(), carried, ends)


def reopen(folder: Path, file: bytes, wal: bytes) -> int | str:
    """Open what is left and read all of it: the number of the last record, or why it was refused."""
    target = folder / "journal.sqlite"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    target.write_bytes(file)
    wal_of(target).write_bytes(wal)
    try:
        with Journal.open(target) as journal:
            head = journal.head()[0]
            judge(journal, head)
            # What was recovered can be written on, and read after the next start.
            journal.append((head + 1) * 1000, kind_of(head + 1), body_of(head + 1))
            journal.commit()
        with Journal.open(target, whole=True) as journal:
            judge(journal, head + 1)
        return head
    except JournalError as error:
        if error.why not in ("damaged", "io"):
            raise
        return error.why
    except InputError:
        return "no journal"


def judge(journal: Journal, head: int) -> None:
    """Every record is one that was appended, and none is missing."""
    count = 0
    for record in journal.records():
        count += 1
        wanted = {"bot": "00c0ffee"} if record.seq == 1 else body_of(record.seq)
        if record.seq != count or record.body != wanted:
            raise BrokenPromise(f"record {count} isn't what was appended")
    if count != head:
        raise BrokenPromise(f"{count} records are read, the last of which should be {head}")


@dataclass
class Tally:
    """How the attempts of one kind came out."""

    name: str
    came: Counter[str] = field(default_factory=Counter)

    @property
    def attempts(self) -> int:
        """How many there were."""
        return sum(self.came.values())


def cut_offsets(specimen: Specimen, count: int, seed: int) -> Iterator[int]:
    """Every frame boundary (all when count is 1,000 or more, else a sample of the same size), then seeded offsets."""
    rng, each = random.Random(seed), 24 + 4096
    bounds = list(range(32, len(specimen.wal) + 1, each))
    yield from bounds if count >= 1000 else rng.sample(bounds, min(count, len(bounds)))
    for _ in range(count):
        yield rng.randrange(len(specimen.wal) + 1)


def try_cuts(folder: Path, specimen: Specimen, *, count: int, seed: int) -> Tally:
    """Cut the write-ahead file: exactly the commits that are whole in what is left have to be there.

    Raises
    ------
    BrokenPromise
        Others were.
    """
    tally = Tally("cut")
    for offset in cut_offsets(specimen, count, seed):
        wanted = max((last for end, last in specimen.ends.items() if end <= offset), default=specimen.carried)
        got = reopen(folder, specimen.file, specimen.wal[:offset])
        if got != wanted:
            raise BrokenPromise(f"cut at {offset}: the journal ends at {got}, not at {wanted}")
        tally.came["whole" if got == specimen.head else "prefix"] += 1
    return tally


def try_cuts_after_checkpoint(folder: Path, specimen: Specimen, *, count: int, seed: int) -> Tally:
    """Cut a write-ahead file that was carried over already: nothing may be lost; what would lose it is refused."""
    tally = Tally("cut after a checkpoint")
    for offset in cut_offsets(specimen, count, seed):
        got = reopen(folder, specimen.file, specimen.wal[:offset])
        if got not in (specimen.carried, "damaged"):
            raise BrokenPromise(f"cut at {offset}: the journal ends at {got}, {specimen.carried} were carried over")
        tally.came["refused" if isinstance(got, str) else "whole"] += 1
    return tally


def try_flips(folder: Path, specimen: Specimen, *, count: int, seed: int, wal: bool) -> Tally:
    """Flip bits of one byte: a committed prefix or a refusal; in the write-ahead file only the last commit may go.

    In the journal's own file nothing may go: all records are there as they were, or it is refused (`Journal.open`, or
    reading the record that was hit).
    """
    tally, rng = Tally(f"flip in the {'write-ahead file' if wal else 'file'}"), random.Random(seed)
    previous = sorted(specimen.prefixes)[-2] if len(specimen.prefixes) > 1 else specimen.carried
    for _ in range(count):
        parts = [bytearray(specimen.file), bytearray(specimen.wal)]
        place = rng.randrange(len(parts[wal]))
        parts[wal][place] ^= rng.randrange(1, 256)
        got = reopen(folder, bytes(parts[0]), bytes(parts[1]))
        allowed = (specimen.head, previous) if wal else (specimen.head,)
        if isinstance(got, int) and got not in allowed:
            raise BrokenPromise(f"{tally.name} at {place}: the journal ends at {got}, not at {specimen.head}")
        tally.came["refused" if isinstance(got, str) else "whole" if got == specimen.head else "last commit cut"] += 1
    return tally


def try_kills(folder: Path, *, count: int, seed: int) -> Tally:
    """SIGKILL a process that writes, at random times; what it said was durable has to be there."""
    tally, rng = Tally("kill"), random.Random(seed)
    file = folder / "killed" / "journal.sqlite"
    file.parent.mkdir(parents=True)
    acknowledged = 0
    for _ in range(count):
        command = [sys.executable, "-c", f"from benchmarks.journal_cuts import write; write({str(file)!r})"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged = int(writer.stdout.readline())
            time.sleep(rng.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            # A line that was torn off counts as not said.
            said = [line for line in writer.stdout if line.endswith("\n")]
            acknowledged = int(said[-1]) if said else acknowledged
        with Journal.open(file, whole=True) as journal:
            head = journal.head()[0]
            judge(journal, head)
        # One group more may be durable than was said: the kill came between commit and word.
        if not acknowledged <= head <= acknowledged + 5:
            raise BrokenPromise(f"record {acknowledged} was durable; the journal ends at {head}")
        tally.came["one group more" if head > acknowledged else "as said"] += 1
    return tally


def write(file: str) -> None:
    """The process that is killed: goes on from where the journal is, and says after each commit how far it came."""
    path = Path(file)
    journal = Journal.open(path) if path.exists() else Journal.create(path, {"bot": "00c0ffee"}, ns=0)
    rng = random.Random(journal.head()[0])
    with journal:
        while True:
            print(append_group(journal, rng), flush=True)
            if rng.random() < 0.05:
                journal.checkpoint()


def run(*, cuts: int, flips: int, kills: int, seed: int) -> list[Tally]:
    """All of it, in a folder of its own.

    Raises
    ------
    BrokenPromise
        With what was done and what came of it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("made", "carried"):
            (folder / part).mkdir()
        specimen = make_specimen(folder / "made", seed=seed)
        carried = make_specimen(folder / "carried", seed=seed, reset=False)
        return [
            try_cuts(folder / "cut", specimen, count=cuts, seed=seed),
            try_cuts_after_checkpoint(folder / "cut", carried, count=cuts, seed=seed),
            try_flips(folder / "cut", specimen, count=flips, seed=seed, wal=True),
            try_flips(folder / "cut", specimen, count=flips, seed=seed, wal=False),
            try_flips(folder / "cut", carried, count=flips, seed=seed, wal=True),
            try_kills(folder, count=kills, seed=seed),
        ]


def main() -> None:
    """Print how the attempts came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args()
    tallies = run(cuts=given.cuts, flips=given.flips, kills=given.kills, seed=given.seed)
    if given.as_json:
        print(json.dumps([{"name": tally.name, "attempts": tally.attempts, **tally.came} for tally in tallies]))
        return
    for tally in tallies:
        shown = ", ".join(f"{count:,} {name}" for name, count in sorted(tally.came.items()))
        print(f"{tally.name:30} {tally.attempts:>6,}: {shown}")
    print("Nothing that was committed and carried over was lost; nothing was read that wasn't appended.")


if __name__ == "__main__":
    main()
