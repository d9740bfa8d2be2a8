"""A few of the random lives of `benchmarks.faults`, and a few kills."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.faults.nursery import Nursery
from tests.faults.schedules import Verdict, kill, play

SEEDS = (103, 106, 115, 121)  # among them lists that once broke something
KILLS = 4


def test_no_seed_goes_wrong(nursery: Nursery, tmp_path_factory: object) -> None:
    """Faults, restarts, SIGKILLs, also with 2 BTC of somebody else's: nothing lost, doubled, breached, unknown."""

    async def run(folder: Path) -> list[Verdict]:
        stories = [play(nursery, folder / str(seed), seed) for seed in SEEDS]
        return list(await asyncio.gather(*stories, kill(nursery, folder / "k", 7, KILLS)))

    found = asyncio.run(run(tmp_path_factory.mktemp("s")))  # type: ignore[attr-defined]
    wrong = {verdict.seed: verdict.wrong for verdict in found if verdict.wrong}
    assert not wrong, wrong
    assert sum(verdict.orders for verdict in found) > 0
