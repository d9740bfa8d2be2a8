"""Where a run goes over rows on which nothing happens: the row at which a new day begins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backtest.run import new_desk, prepare_run
from backtest.skim import days_rows
from benchmarks.market import MINUTE_NS, Work, walk
from benchmarks.ours import inputs_of, spec_of

ROWS = 300
STEPS = st.lists(st.sampled_from([1, 1, 1, 1, 2, 7, 400, 3000]), min_size=ROWS - 1, max_size=ROWS - 1)


@given(steps=st.just([1] * (ROWS - 1)) | STEPS, row=st.integers(0, ROWS - 1), ahead=st.integers(-2000, 200_000))
def test_the_first_row_of_a_later_day(steps: list[int], row: int, ahead: int) -> None:
    """The first row from the present one on that closes after the day's end, with and without gaps between bars."""
    work = Work(ROWS)
    spec = spec_of(work)
    tape = prepare_run(spec, inputs_of(spec, walk(work))).tape
    desk = new_desk(spec)
    closes = tape["close_ns"]
    closes[1:] = closes[0] + np.cumsum(steps) * MINUTE_NS
    day_end = int(closes[row]) + ahead * MINUTE_NS
    desk.account["day_end_ns"] = day_end
    tape.ref["row"] = row
    expected = max(int(np.searchsorted(closes, day_end, side="right")), row)
    assert days_rows(desk.ref, tape.ref) == expected
    assert days_rows(desk.ref, tape.ref) == expected  # as kept


def test_bars_inside_bars_leave_room_for_rows_that_are_valued_ahead() -> None:
    """Every tenth row is a decision bar; what skimming writes before it asks which stays in its memory."""
    work = Work(ROWS)
    spec = spec_of(work)
    inputs = inputs_of(spec, walk(work))
    inputs.bars.decides[:] = np.arange(ROWS) % 10 == 9
    equity = prepare_run(spec, inputs).tape["equity"]
    assert len(equity) == ROWS // 10
    assert equity.base is not None and len(equity.base) == ROWS
