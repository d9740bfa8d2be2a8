"""What a run leaves behind, and whether another one left the same: bit for bit."""

from typing import Any

import numpy as np

from backtest.tape import Tape
from risk.desk import Desk


def books_of(desk: Desk, tape: Tape) -> dict[str, Any]:
    """Account, orders, fills, events and books at the end, and the account at every decision bar."""
    accounts = tape.accounts(desk.fills, float(desk.account["units"]))  # a unit was worth 1 at the start
    return accounts | {
        "fills": desk.fills.copy(), "events": desk.events.copy(), "done": desk.done.copy(),
        "working": desk.working.copy(), "account": desk.arrays["account"].copy(), "books": desk.books.copy(),
    }  # fmt: skip


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equal bit for bit, field by field."""
    for name, array in one.items():
        for field in array.dtype.names or (None,):
            ours, theirs = (part if field is None else part[field] for part in (array, other[name]))
            assert np.array_equal(ours, theirs, equal_nan=True), (name, field, np.argwhere(ours != theirs)[:3])
