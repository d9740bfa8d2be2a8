"""Bound signals laid out as numbers: rows of `code` and `par` that kernels read, and the slab of their state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.errors import InputError
from data.times import format_duration
from signals import ops
from signals.inputs import Array
from signals.signal import Signal


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
        Float slots of state per symbol.
    """

    bound: dict[str, Signal]
    bar_ns: int
    code: Array
    par: Array
    slots: int

    def state(self, symbols: int) -> tuple[Array, Array]:
        """A fresh slab f8[M, slots], and the same memory as int64."""
        slab = np.zeros((symbols, max(self.slots, 1)))
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
        code[j, ops.RESTART_NS] = own_bar_ns * (1 + max(signal.lookback_bars, 1))
        ages = [age for age in (signal.max_age_ns, max_age_ns) if age > 0 and signal.kind in ("sentiment", "metric")]
        code[j, ops.MAX_AGE_NS] = min(ages, default=0)
        code[j, ops.SCOPE] = signal.scope(coins)
        par[j, : len(recipe.params)] = recipe.params
        par[j, ops.LOW], par[j, ops.HIGH] = signal.seen
        at += recipe.slots + (ops.BAR_HEAD if signal.kind == "bar" else 0)
    return Program(dict(bound), bar_ns, code, par, at)


def _check_own_bar(name: str, signal: Signal, bar_ns: int) -> None:
    if signal.on_ns and signal.on_ns % bar_ns:
        raise InputError(
            f"its own bar isn't a multiple of the run's, {format_duration(bar_ns)}",
            key=f"{name}.on",
            value=format_duration(signal.on_ns),
        )
