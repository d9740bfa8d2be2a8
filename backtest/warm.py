"""The first run on a machine compiles the kernels: two processes do it in the time of one, and keep what they made.

The helper makes ready what a run like this one needs before its loop (signals, what is unusual), by preparing one over
made-up facts, and then goes through the far kernels from the front; this process compiles the loop and comes from their
back. What one has compiled the other finds on disk.
"""

import pickle
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from numba import types

from backtest.facts import coins_of, metric_names
from backtest.grid import Grid
from backtest.load import RunInputs
from backtest.loop import loop
from backtest.run import prepare_run
from backtest.spec import RunSpec
from backtest.tape import TAPE
from risk.memory import FAR, HEADER, entry_point
from signals.inputs import Inputs, MetricTape, SentimentTape
from signals.own import OwnSignal
from signals.signal import Signal
from strategies.base import Strategy

HELPER = """
import gc, sys, pickle
gc.disable()  # it makes only what stays, and ends
from backtest.warm import help_out
help_out(pickle.load(sys.stdin.buffer))
"""
ROWS = 4


class SignalsOnly(Strategy):
    """Signals of another strategy, of a class that a second process knows, too; it is never asked."""

    def __init__(self, looked_at: Mapping[str, Signal]) -> None:
        super().__init__()
        self.signals = dict(looked_at)

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Nothing."""
        return 0.0


def alike(spec: RunSpec) -> RunSpec:
    """A run that needs the same kernels and can be sent to another process: signals that run in Python are left out."""
    kept = {name: one for name, one in spec.strategy.signals.items() if not isinstance(one, OwnSignal)}
    return replace(spec, strategy=SignalsOnly(kept))


def made_up(spec: RunSpec) -> RunInputs:
    """Facts of every kind that the run's signals look at, a few of each."""
    symbols = tuple(spec.symbols)
    close_ns = (1 + np.arange(ROWS)) * spec.bar_ns
    prices = {name: np.ones((ROWS, len(symbols))) for name in ("open", "high", "low", "close", "volume")}
    one, none = np.ones(1, np.int64), np.zeros(0, np.int64)
    post = SentimentTape(
        coin=0 * one, event_ns=one, known_ns=one, score=0.5 * one, weight=1.0 * one, author=one, source=one,
        revision=0 * one,
    )  # fmt: skip
    value = MetricTape(coin=0 * one, event_ns=one, known_ns=one, value=1.0 * one, revision=0 * one)
    return RunInputs(
        signals=Inputs.at_closes(
            symbols, coins_of(spec), spec.bar_ns, close_ns, prices, sentiment=post,
            metrics=dict.fromkeys(metric_names(spec), value),
        ),
        bars=Grid(
            open_ns=close_ns - spec.bar_ns, close_ns=close_ns, **prices,
            known_ns=np.repeat(close_ns[:, None], len(symbols), axis=1), decides=np.ones(ROWS, np.uint8),
        ),
        first=0, late=np.zeros((ROWS, len(symbols)), bool), funding=(none, none, np.zeros(0)), shares=[],
        synthetic=True,
    )  # fmt: skip


def help_out(spec: RunSpec | None) -> None:
    """What the helper does."""
    if spec is not None:
        prepare_run(spec, made_up(spec), interpreted=True)
    for name in FAR:
        entry_point(name)


def warm_up(spec: RunSpec | None = None) -> None:
    """Compile what every run needs, and what this one's signals need, into the cache. What fails in the helper is
    simply compiled here, when it is needed.
    """
    told = pickle.dumps(None if spec is None else alike(spec))
    helper = subprocess.Popen(
        [sys.executable, "-c", HELPER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert helper.stdin is not None
        with suppress(OSError), helper.stdin as there:  # one that couldn't even begin to listen
            there.write(told)
        signature = (numba.from_dtype(HEADER), numba.from_dtype(TAPE), types.int64)
        loop.compile(signature)  # type: ignore[attr-defined]
        for name in reversed(FAR):
            entry_point(name)
    finally:
        helper.terminate()
        helper.wait()
