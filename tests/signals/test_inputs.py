"""What signals may look at is checked when it is put together."""

import numpy as np
import pytest

from data.errors import InputError
from data.times import HOUR_NS
from signals.inputs import Inputs


@pytest.mark.parametrize("hours", [[1, 3, 2, 4], [1, 2, 2, 3]], ids=["goes back", "twice"])
def test_bars_out_of_order(hours: list[int]) -> None:
    """A bar that closes before the one before it, or with it, is told at once, not taken for a gap."""
    close = np.ones((len(hours), 1))
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), close)
    with pytest.raises(InputError, match="in order of time") as told:
        Inputs.at_closes(("BTC/USDT",), ("BTC",), HOUR_NS, np.array(hours) * HOUR_NS, prices)
    assert told.value.key == "close_ns"
