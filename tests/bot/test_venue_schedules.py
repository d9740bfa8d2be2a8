"""The venue's side on a simulated exchange, by seeded schedules of faults and deaths; the exchange's books judge."""

import pytest

from tests.sim.lives import lives
from tests.sim.loop import simulate


@pytest.mark.parametrize("block", range(4))
def test_no_schedule_loses_or_doubles(block: int) -> None:
    """Whatever is lost, late, doubled or killed, the desk ends where the exchange is."""
    for seed in range(20 * block, 20 * block + 20):
        _, found = simulate(seed, lambda loop, seed=seed: lives(loop, seed))  # type: ignore[misc]
        assert not found, f"seed {seed}: " + "; ".join(found)


def test_same_seed_same_run() -> None:
    """Two runs of one seed tell the desk the very same."""
    first, second = (simulate(7, lambda loop: lives(loop, 7))[0].log for _ in range(2))
    assert first == second and len(first) > 20
