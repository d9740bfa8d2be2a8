"""The first run on a machine compiles the kernels: two processes do it in the time of one, and keep what they made.

The helper (`backtest.helper`) goes through the far kernels from the front; once it knows the run it makes ready what
one like it needs before its loop (signals, what is unusual), by preparing one over made-up facts. This process compiles
the loop and comes from the back. What one has compiled the other finds on disk.
"""

import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from queue import Queue
from threading import Thread
from typing import Any, BinaryIO

import numba
import numpy as np
from numba import types

from backtest.facts import coins_of, metric_names
from backtest.grid import Grid
from backtest.helper import Helper
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


def help_out(source: BinaryIO) -> None:
    """What the helper does: far kernels until it is told of the run, what that looks for, the other far kernels."""
    told: Queue[bytes] = Queue()
    Thread(target=lambda: told.put(source.read()), daemon=True).start()
    far = iter(FAR)
    while told.empty() and (name := next(far, None)) is not None:
        entry_point(name)
    if not (run := told.get()):
        return  # whoever began it has ended
    spec: RunSpec | None = pickle.loads(run)
    if spec is not None:
        prepare_run(spec, made_up(spec), interpreted=True)
    for name in far:
        entry_point(name)


def warm_up(helper: Helper, spec: RunSpec | None = None) -> None:
    """Compile what every run needs, and what this one's signals need, into the cache. What fails in the helper is
    simply compiled here, when it is needed.
    """
    assert helper.stdin is not None
    with suppress(OSError), helper.stdin as there:  # one that couldn't even begin to listen
        there.write(pickle.dumps(None if spec is None else alike(spec)))
    signature = (numba.from_dtype(HEADER), numba.from_dtype(TAPE), types.int64)
    loop.compile(signature)  # type: ignore[attr-defined]
    for name in reversed(FAR):
        entry_point(name)
