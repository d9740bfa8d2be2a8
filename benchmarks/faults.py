"""Random lives of the real bot at a local venue: faults, restarts and kills at random points; the venue is the judge.

    python -m benchmarks.faults                  1,000 seeded schedules of faults, restarts and SIGKILLs
    python -m benchmarks.faults --kills 200      no faults but SIGKILLs, with 2 BTC of somebody else's in the account
    python -m benchmarks.faults --perp           the same on perpetuals, long and short, with funding

Every life is the code of `tidegate live` in a process of its own: bot, exchange process with unmodified ccxt over
loopback, journal on disk. It is begun by a fork of a process that has everything imported (`tests.faults.nursery`),
since a start of the interpreter would cost more than the life. What is shorter than in a real session stands in
`tests.faults.lives.SHORT`: the fence is 2 s instead of 15, bars are of one second. The watchdog isn't started here; it
has tests of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.nursery import Nursery
from tests.faults.schedules import Verdict, kill, play

AT_ONCE = 4


async def schedules(
    nursery: Nursery, folder: Path, seeds: range, seconds: float, at_once: int, perp: bool
) -> list[Verdict]:
    """The verdicts on these seeds, as many as can begin in that time."""
    room = asyncio.Semaphore(at_once)
    until = time.monotonic() + seconds
    found: list[Verdict] = []

    async def one(seed: int) -> None:
        async with room:
            if time.monotonic() > until:
                return
            where = folder / str(seed)
            verdict = await play(nursery, where, seed, perp=perp)
            tell(verdict)
            found.append(verdict)
            if not verdict.wrong:
                shutil.rmtree(where, ignore_errors=True)

    await asyncio.gather(*(one(seed) for seed in seeds))
    return found


async def kills(nursery: Nursery, folder: Path, count: int, at_once: int, perp: bool) -> list[Verdict]:
    """That many SIGKILLs, shared among accounts that are traded side by side."""
    shares = [count // at_once + (k < count % at_once) for k in range(at_once)]
    running = (kill(nursery, folder / f"k{k}", k, share, perp=perp) for k, share in enumerate(shares))
    found = await asyncio.gather(*running)
    for verdict in found:
        tell(verdict)
    return found


def tell(verdict: Verdict) -> None:
    """One line, and what is wrong."""
    ends = ", ".join(f"{count} {name}" for name, count in sorted(verdict.ends.items()))
    print(f"seed {verdict.seed}: {verdict.seconds:.0f} s; {ends}; {verdict.orders} orders, {verdict.trades} trades, "
          f"{verdict.faults} faults, {verdict.lost} lost", flush=True)  # fmt: skip
    for line in verdict.wrong:
        print(f"  WRONG: {line}", flush=True)


def summary(found: list[Verdict], seconds: float) -> str:
    """The table."""
    ends: Counter[str] = sum((one.ends for one in found), Counter())
    rows = [
        ("schedules", len(found)),
        ("lives", sum(ends.values()) + len(found)),
        *((f"ended by {name}", count) for name, count in sorted(ends.items())),
        ("faults that hit", sum(one.faults for one in found)),
        ("orders at the venue", sum(one.orders for one in found)),
        ("trades, other people's too", sum(one.trades for one in found)),
        ("decided and never sent, or lost", sum(one.lost for one in found)),
        ("left with a latch for a person", sum(bool(one.latched) for one in found)),
        ("wrong", sum(bool(one.wrong) for one in found)),
        ("seconds", round(seconds)),
    ]
    return "\n".join(f"{name:<34} {value:>8,}" for name, value in rows)


def main() -> int:
    """Run it; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after so long")
    parser.add_argument("--kills", type=int, default=0, help="instead: so many SIGKILLs without other faults")
    parser.add_argument("--perp", action="store_true", help="perpetuals")
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp"), help="a short one: the path of a socket has to fit"
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tg", dir=given.folder))
    began = time.monotonic()
    with Nursery() as nursery:
        if given.kills:
            found = asyncio.run(kills(nursery, folder, given.kills, given.at_once, given.perp))
        else:
            seeds = range(given.first, given.first + given.seeds)
            found = asyncio.run(schedules(nursery, folder, seeds, given.seconds, given.at_once, given.perp))
    print(summary(found, time.monotonic() - began))
    if any(one.wrong for one in found):
        print(f"what went wrong lies in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
