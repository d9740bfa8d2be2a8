"""Bound signals laid out as numbers: rows of `code` and `par` that kernels read, and the slab of their state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.errors import InputError
from data.times import DAY_NS, format_duration
from signals import kernels_metrics, ops
from signals.inputs import Array
from signals.own import OwnSignal
from signals.own_run import OwnRun
from signals.signal import Signal

RING_LEAST = 16  # observations a metric's window has room for at first
RING_MOST = 1 << 20
LOOKBACK_MAX_NS = 100 * 365 * DAY_NS


@dataclass(frozen=True)
class Program:
    """Signals in order of declaration, compiled for one bar length.

    Parameters
    ----------
    bound : dict of name to Signal
    bar_ns : int
    code : i8[S, CODE_WIDTH]
    par : f8[S, PAR_WIDTH]
    slots : int
        Slots of state per symbol.
    """

    bound: dict[str, Signal]
    bar_ns: int
    code: Array
    par: Array
    slots: int

    def slot(self, j: int, k: int) -> int:
        """First slot of signal `j` of symbol `k`."""
        return k * self.slots + int(self.code[j, ops.AT])

    def ring(self, symbols: int) -> Array:
        """Fresh rings for a metric's observations, small at first."""
        return np.zeros(symbols * 3 * RING_LEAST)

    def state(self, symbols: int) -> tuple[Array, Array]:
        """A fresh slab f8[M * slots], and the same memory as int64."""
        slab = np.zeros(symbols * self.slots)
        return slab, slab.view(np.int64)


def compile_signals(
    bound: Mapping[str, Signal], bar_ns: int, coins: tuple[str, ...] = (), *, max_age_ns: int = 0
) -> Program:
    """Lay signals out for their kernels.

    Parameters
    ----------
    bound : mapping of name to Signal
        In order of declaration, every Param replaced by its value.
    bar_ns : int
        Length of the run's bars.
    coins : tuple of str
        Coins of the run, for signals that look at one coin by name.
    max_age_ns : int
        Age limit of every fact-driven signal, beside its own (control 20); 0 = none.

    Raises
    ------
    InputError
        When there are too many, one isn't bound, or its own bar isn't a multiple of the run's.
    """
    if len(bound) > ops.SIGNALS_MAX:
        raise InputError(f"more than {ops.SIGNALS_MAX} signals", value=len(bound))
    code = np.zeros((max(len(bound), 1), ops.CODE_WIDTH), np.int64)
    par = np.zeros((max(len(bound), 1), ops.PAR_WIDTH))
    at = 0
    for j, (name, signal) in enumerate(bound.items()):
        if not signal.is_bound:
            raise InputError("a Param in this signal has no value yet", key=name, value=signal)
        _check_own_bar(name, signal, bar_ns)
        recipe = signal.recipe(bar_ns)
        code[j, ops.OP], code[j, ops.AT], code[j, ops.COLUMN] = recipe.op, at, recipe.column
        code[j, ops.WINDOW], code[j, ops.NEED] = recipe.window, recipe.need
        code[j, ops.ON_NS] = 0 if signal.on_ns == bar_ns else signal.on_ns
        own_bar_ns = signal.on_ns or bar_ns
        ages = [age for age in (signal.max_age_ns, max_age_ns) if age > 0 and signal.kind in ("sentiment", "metric")]
        oldest = min(ages, default=0)
        if max(own_bar_ns * (1 + recipe.need), oldest) > LOOKBACK_MAX_NS:
            raise InputError("looks back over more than a hundred years", key=name, value=signal)
        code[j, ops.RESTART_NS] = own_bar_ns * (1 + recipe.need)
        code[j, ops.MAX_AGE_NS] = oldest
        code[j, ops.SCOPE] = signal.scope(coins)
        par[j, : len(recipe.params)] = recipe.params
        par[j, ops.LOW], par[j, ops.HIGH] = signal.seen
        at += recipe.slots + (ops.BAR_HEAD if signal.kind == "bar" else 0)
    return Program(dict(bound), bar_ns, code, par, max(at, 1))


def own_runs(
    bound: Mapping[str, Signal], symbols: tuple[str, ...], coins: tuple[str, ...], bar_ns: int, max_age_ns: int
) -> dict[int, OwnRun]:
    """The signals that Python runs, by their index."""
    return {
        j: OwnRun(signal, symbols, coins, bar_ns, max_age_ns)
        for j, signal in enumerate(bound.values())
        if isinstance(signal, OwnSignal)
    }


def price_column(row: Array) -> int:
    """Which column of a bar a signal reads, from its row of `code`; a channel takes high, low and close besides."""
    return ops.BAR_COLUMNS.index("close") if row[ops.OP] == ops.DONCHIAN else int(row[ops.COLUMN])


def larger(ring: Array, program: Program, ticks: Array, j: int) -> Array:
    """Rings of signal `j` of twice the capacity with the same observations.

    Raises
    ------
    InputError
        When a window holds more observations than `RING_MOST`.
    """
    symbols = len(ticks) // program.slots
    old = ring.reshape(symbols, 3, -1)
    capacity = old.shape[2]
    if capacity >= RING_MOST:
        raise InputError(
            f"a metric's window holds more than {RING_MOST} observations",
            key="window",
            value=format_duration(int(program.code[j, ops.WINDOW])),
            remedy="Use a shorter window, or a metric of longer intervals",
        )
    grown = np.zeros((symbols, 3, 2 * capacity))
    for k in range(symbols):
        head = program.slot(j, k) + kernels_metrics.X_HEAD
        grown[k, :, :capacity] = np.roll(old[k], -int(ticks[head]), axis=1)
        ticks[head] = 0
    return grown.reshape(-1)


def _check_own_bar(name: str, signal: Signal, bar_ns: int) -> None:
    if signal.on_ns and signal.on_ns % bar_ns:
        raise InputError(
            f"its own bar isn't a multiple of the run's, {format_duration(bar_ns)}",
            key=f"{name}.on",
            value=format_duration(signal.on_ns),
        )
