"""The whole bot in simulated worlds: virtual time, a seed each, judged by the exchange's own books."""

import logging
from collections.abc import Iterator

import pytest

from tests.sim.verdict import faults_of
from tests.sim.world import run


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Worlds are full of errors on purpose."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("block", range(2))
def test_no_world_loses_or_doubles_or_breaches(block: int) -> None:
    """Spot and perpetuals, deaths, a full disk, foreign hands, a clock that is set, people who halt and resume."""
    for seed in range(8 * block, 8 * block + 8):
        found = faults_of(run(seed))
        assert not found, f"seed {seed}: " + "; ".join(found)


def test_no_paper_world_differs_from_its_replays() -> None:
    """The same deaths and people without an exchange."""
    for seed in range(8):
        found = faults_of(run(seed, outside=False))
        assert not found, f"seed {seed}: " + "; ".join(found)


@pytest.mark.parametrize("outside", [True, False])
def test_the_same_seed_gives_the_same_journal(outside: bool) -> None:
    """To the last hash."""
    heads = [run(7, outside=outside).journal.head() for _ in range(2)]
    assert heads[0] == heads[1] and heads[0][0] > 100


def test_the_benchmark_says_what_it_found() -> None:
    """Two seeds, as the command counts them."""
    from benchmarks.simulate import simulate

    found = simulate(0, 2, outside=True, twice=1)
    assert found["seeds"] == 2 and not found["bad"] and found["a_minute"] > 0 and found["records"] > 200
