"""The recorder under load, killed at random moments: nothing that it acknowledged is lost, nothing is stored twice.

    python -m benchmarks.record                          5,000 posts a second, ten SIGKILLs within 60 s each
    python -m benchmarks.record --rate 500 --kills 2 --seconds 15

A source of `benchmarks/record_feed` makes numbered posts at a rate, goes on from its cursor after a restart, and writes
down which posts it was told are durable. Each life is `tidegate record` in a process of its own, with its scorer beside
it, ended by SIGKILL at a random moment; a last one runs its full time and is ended by Ctrl-C. After every life all
stored posts are compared with what was acknowledged. Resident memory of recorder and scorer is read once a second; what
is compared between lives is the store, so its growth is no growth of theirs.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.store import Store

FEEDS = Path(__file__).resolve().parent / "record_feed"
COMMAND = (
    "import sys, data.sources; data.sources.__path__.append(sys.argv[1]); from bot.cli import main; main(sys.argv[2:])"
)
SOURCE, START_S, END_S = "firehose", 60.0, 60.0


@dataclass
class Life:
    """What was seen of one process."""

    how: str
    seconds: float = 0.0
    resident_mb: list[float] = field(default_factory=list)
    scorer_mb: list[float] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    end_s: float = 0.0


def live(folder: Path, seconds: float, kill: bool) -> Life:
    """One life: begun, watched from the first post on, ended."""
    life = Life("SIGKILL" if kill else "Ctrl-C")
    log = folder / "acknowledged"
    before = log.stat().st_size if log.exists() else 0
    out = folder / "told.jsonl"
    arguments = [str(FEEDS), "record", str(folder / "record.toml"), "--var", str(folder / "var"), "--json"]
    with open(out, "wb") as told, open(folder / "errors.txt", "ab") as errors:
        process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=told, stderr=errors)
        try:
            _wait_for(log, before, process)
            began = time.monotonic()
            while time.monotonic() - began < seconds and process.poll() is None:
                time.sleep(min(1.0, max(0.0, seconds - (time.monotonic() - began))))
                life.resident_mb.append(resident_mb(process.pid))
                life.scorer_mb.append(sum(map(resident_mb, children(process.pid))))
            life.seconds = time.monotonic() - began
            asked = time.monotonic()
            process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
            process.wait(END_S)
            life.end_s = time.monotonic() - asked
        finally:
            process.kill()
            process.wait()
    life.lines = [json.loads(line) for line in out.read_bytes().splitlines() if line.endswith(b"}")]
    judge(life, folder)
    return life


def judge(life: Life, folder: Path) -> None:
    """Compare what was acknowledged with what is stored."""
    told = np.loadtxt(folder / "acknowledged", dtype=np.int64, ndmin=2)
    acknowledged = np.unique(np.concatenate([np.arange(lo, hi) for lo, hi in told]))
    rows = Store(folder / "var").table("posts", columns=["key", "revision"])
    stored = np.array([int(key[1:]) for key in rows["key"].to_pylist()], np.int64)
    life.acknowledged, life.stored = len(acknowledged), len(stored)
    life.lost = int((~np.isin(acknowledged, stored)).sum())
    life.doubled = len(stored) - len(np.unique(stored)) + int((rows["revision"].to_numpy() > 0).sum())


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * 4096 / 1e6


def children(pid: int) -> list[int]:
    """Processes that it began."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def row_of(life: Life) -> str:
    """One life in a line."""
    last = life.lines[-1] if life.lines else {}
    feed = last.get("feeds", {}).get(SOURCE, {})
    scoring = last.get("scoring") or {}
    memory = life.resident_mb or [0.0]
    half = memory[len(memory) // 2 :]
    return (
        f"{life.how:<8}{life.seconds:6.1f} s  {feed.get('facts', 0):>9,} posts  {life.acknowledged:>10,} acknowledged"
        f"  {life.stored:>10,} stored  {life.lost} lost  {life.doubled} doubled  "
        f"commit {last.get('writer', {}).get('commit_ms', 0):,.0f} ms  "
        f"memory {memory[0]:.0f} to {memory[-1]:.0f} MB (most {max(memory):.0f}, last half {min(half):.0f} to "
        f"{max(half):.0f})"
        f"  scorer {max(life.scorer_mb or [0.0]):.0f} MB, {scoring.get('posts_done', 0):,} scored, "
        f"{scoring.get('posts_waiting', 0):,} wait  late {feed.get('late_writes', 0):,}"
    )


def main() -> int:
    """Run the lives; exit code 1 when a post was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5000.0, help="posts a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the last life; the others end within it")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--model", default="tidegate-mini")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept afterwards; else a temporary one")
    parser.add_argument("--json", type=Path, help="also write all figures there")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="tidegate-record-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.toml").write_text(
        f'[run]\nsymbols = ["BTC/USDT"]\nmodel = "{given.model}"\n[feeds.{SOURCE}]\nrate = {given.rate}\n'
        f'batch = {max(1, int(given.rate / 20))}\nat_once = 40\nlog = "{folder / "acknowledged"}"\n'
    )
    chance, lives = random.Random(given.seed), []
    try:
        for number in range(given.kills + 1):
            kill = number < given.kills
            seconds = chance.uniform(0.1, 1.0) * given.seconds if kill else given.seconds
            lives.append(live(folder, seconds, kill))
            print(row_of(lives[-1]), flush=True)
        if given.json:
            given.json.write_text(json.dumps([vars(life) for life in lives]))
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    lost, doubled = sum(life.lost for life in lives), sum(life.doubled for life in lives)
    print(f"{given.kills} kills at {given.rate:,.0f} posts a second: {lost} lost, {doubled} doubled")
    return 1 if lost or doubled else 0


def _wait_for(log: Path, size: int, process: subprocess.Popen[bytes]) -> None:
    """Until something was acknowledged."""
    until = time.monotonic() + START_S
    while not (log.exists() and log.stat().st_size > size):
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"the recorder didn't begin (exit code {process.poll()}); see errors.txt of its folder")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
