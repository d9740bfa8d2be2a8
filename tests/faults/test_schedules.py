"""A few of the random lives of `benchmarks.faults`, and a few kills."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery
from tests.faults.schedules import Verdict, kill, play

SEEDS = (103, 106, 115, 121)  # among them lists that once broke something
PERP_SEED = 5
KILLS = 4


def test_no_seed_goes_wrong(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Faults, restarts, SIGKILLs, of coins and perpetuals: nothing lost, doubled, breached, unknown or of others."""

    async def run(folder: Path) -> list[Verdict]:
        stories = [play(nursery, folder / str(seed), seed) for seed in SEEDS]
        stories += [play(nursery, folder / "p", PERP_SEED, lives=2, perp=True)]
        stories += [kill(nursery, folder / "k", 7, KILLS), kill(nursery, folder / "pk", 8, 2, perp=True)]
        return list(await asyncio.gather(*stories))

    found = asyncio.run(run(tmp_path_factory.mktemp("s")))
    wrong = {verdict.seed: verdict.wrong for verdict in found if verdict.wrong}
    assert not wrong, wrong
    assert sum(verdict.orders for verdict in found) > 0 and sum(verdict.ends["kill"] for verdict in found) > KILLS
