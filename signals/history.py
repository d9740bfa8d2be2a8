"""Signals over history: one row of values per decision and symbol, and why a symbol has none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from data.errors import InputError
from signals import kernels_bars, ops
from signals.inputs import Array, Inputs
from signals.program import Program, compile_signals
from signals.signal import Signal


def evaluate(bound: Mapping[str, Signal], inputs: Inputs, *, max_age_ns: int = 0) -> tuple[Array, Array]:
    """Values of all signals at every decision.

    Parameters
    ----------
    bound : mapping of name to Signal
        In order of declaration.
    inputs : Inputs
    max_age_ns : int
        Age limit of fact-driven signals, beside their own; 0 = none.

    Returns
    -------
    rows : f8[d, M, S + 1]
        Values; NaN where a signal isn't fine. The last column is left at 0 for the weight held.
    states : u1[d, M]
        0 where all is fine, else ``code | index << 3`` of the first signal that isn't (codes in `signals.ops`).

    Raises
    ------
    InputError
        When a decision looks at a bar that closes after it, or a signal can't be what it was declared to be.
    """
    program = compile_signals(bound, inputs.bar_ns, inputs.coins, max_age_ns=max_age_ns)
    opened, dense = _opened(inputs)
    states = opened.copy()
    shape = (len(inputs.decide_ns), len(inputs.symbols), len(bound) + 1)
    rows = np.empty(shape)
    rows[:, :, -1] = 0.0
    if states.size:
        slab, ticks = program.state(len(inputs.symbols))
        for j, signal in enumerate(bound.values()):
            if signal.kind == "bar":
                _bars(program, j, slab, ticks, inputs, dense, rows, states)
    return rows, states


def _opened(inputs: Inputs) -> tuple[Array, bool]:
    """States before any signal, and whether every bar is there and decided on; found once per inputs."""
    known = inputs.__dict__.get("_opened")
    if known is None:
        states = np.empty((len(inputs.decide_ns), len(inputs.symbols)), np.uint8)
        missing, faulty = kernels_bars.open_decisions(
            inputs.close_ns, inputs.close, inputs.bar_ns, inputs.decide_ns, inputs.decide_bar, states
        )
        if faulty >= 0:
            raise InputError(
                "a decision looks at a bar that closes later, or decisions are out of order",
                key="decide_bar",
                value=int(faulty),
            )
        n = len(inputs.close_ns)
        dense = not missing and len(inputs.decide_bar) == n and bool((inputs.decide_bar == np.arange(n)).all())
        known = states, dense and not (states == ops.NO_BAR).any()
        inputs.__dict__["_opened"] = known
    return known[0], known[1]


def _bars(
    program: Program, j: int, slab: Array, ticks: Array, inputs: Inputs, dense: bool, rows: Array, states: Array
) -> None:
    row = program.code[j]
    column = inputs.close if row[ops.COLUMN] == ops.BAR_COLUMNS.index("close") else None
    seen = np.isfinite(program.par[j, ops.LOW :]).any()
    if dense and column is not None and not row[ops.ON_NS] and not seen:
        if row[ops.OP] == ops.EMA:
            scratch = np.empty((1, len(inputs.symbols)))
            kernels_bars.dense_ema(column, row[ops.WINDOW], program.par[j, 0], scratch, rows, states, j)
            return
        if row[ops.OP] == ops.SMA:
            kernels_bars.dense_mean(column, row[ops.WINDOW], rows, states, j)
            return
        if row[ops.OP] == ops.CLOSE:
            kernels_bars.dense_copy(column, rows, j)
            return
    kernels_bars.batch_bars(
        program.code, program.par, slab, ticks, j, inputs.close_ns,
        inputs.open, inputs.high, inputs.low, inputs.close, inputs.volume,
        inputs.decide_ns, inputs.decide_bar, rows, states,
    )  # fmt: skip
