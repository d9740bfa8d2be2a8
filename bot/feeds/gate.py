"""Until which time facts may be told: what comes after a close waits until the close's row is done."""

from __future__ import annotations

from collections.abc import Callable

from bot.ports import Clock
from data.gaps import FOREVER


class RowGate:
    """Until which time facts may be told, so that the decision at a close knows those of a backtest and no others.

    A close's bars come seconds after it. What becomes known meanwhile waits until the row is done: the decision uses
    facts known at the close, or a declared delay after it, in every mode. A row whose bars don't come isn't waited for
    longer than the bot itself waits.

    Parameters
    ----------
    row_ns : callable
        Close of the last row that is done; 0 before the first.
    bar_ns : int
        Length of a bar.
    delay_ns : int
        Declared delay: facts that became known so long after a close still count for it.
    patience_ns : int
        How long after a close its bars are waited for.
    """

    def __init__(
        self, row_ns: Callable[[], int], clock: Clock, *, bar_ns: int, delay_ns: int, patience_ns: int
    ) -> None:
        self._row_ns, self._clock = row_ns, clock
        self._bar_ns, self._delay_ns, self._patience_ns = bar_ns, delay_ns, patience_ns

    def __call__(self) -> int:
        last = self._row_ns()
        due = last + self._bar_ns
        if not last or self._clock.now_ns() > due + self._patience_ns:
            return FOREVER
        return due + self._delay_ns
