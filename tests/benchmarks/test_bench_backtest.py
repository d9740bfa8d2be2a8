"""The benchmark compares only what came out equal: its check holds on a small size, and can fail."""

import dataclasses

import pytest

from benchmarks.market import Work
from benchmarks.ours import Inlined, Pointer
from benchmarks.peers import VectorbtRustByHand
from benchmarks.tables import same


@pytest.mark.filterwarnings("ignore")  # of vectorbt's own imports
def test_every_side_does_the_same_work() -> None:
    """Pointer, inlined and vectorbt come to the same fills and equity, for one symbol and for two with shared cash."""
    for work in (Work(rows=3_000), Work(rows=2_000, symbols=2)):
        first = Pointer(work).timed()
        assert sum(first.trades) > 20
        assert same(Inlined(work).timed(), first)
        assert same(VectorbtRustByHand(work).timed(), first)  # numba would compile for half a minute
        assert not same(dataclasses.replace(first, equity=[first.equity[0] * (1.0 + 1e-8)]), first)
        assert not same(dataclasses.replace(first, trades=[first.trades[0] + 1]), first)
