"""One bar row at a time through the backtest's own kernels: bars of one close are gathered, then told to the desk."""

from __future__ import annotations

import numpy as np

from backtest.compile import ask, compile_pointer
from backtest.hook import python_rule
from backtest.loop import act_on, before_decision, close_row, open_row
from backtest.spec import RunSpec
from backtest.tape import Tape
from bot.events import Bar
from bot.step import Decision, Row
from risk.desk import Desk
from risk.novelty import fresh_memory, watch
from risk.records import Array

PRICES = ("open", "high", "low", "close", "volume")


class Gathering:
    """The bars of the close that is awaited: f8[M] by column, NaN where none has come yet."""

    def __init__(self, spec: RunSpec) -> None:
        self._places = {symbol: k for k, symbol in enumerate(spec.symbols)}
        self._spec = spec
        self.close_ns = 0  # 0: none is awaited
        self.caught_up = False
        self.prices = np.full((len(PRICES), len(spec.symbols)), np.nan)

    def add(self, bar: Bar) -> None:
        """One symbol's bar."""
        if self.close_ns != bar.close_ns:
            self.clear()
            self.close_ns = bar.close_ns
        self.caught_up |= bar.caught_up
        self.prices[:, self._places[bar.symbol]] = [getattr(bar, name) for name in PRICES]

    @property
    def whole(self) -> bool:
        """Whether every symbol's bar is there."""
        return bool(np.isfinite(self.prices[3]).all())

    def clear(self) -> None:
        """Await the next close."""
        self.close_ns, self.caught_up = 0, False
        self.prices[:] = np.nan


class RowRunner:
    """A tape of one row and one decision, used again and again: what the backtest's loop does to each of its rows."""

    def __init__(self, spec: RunSpec, desk: Desk) -> None:
        symbols, width = len(spec.symbols), len(spec.strategy.signals) + 1
        one = np.zeros((1, symbols))
        self.spec, self.desk = spec, desk
        self.tape = Tape(
            open_ns=np.zeros(1, np.int64), close_ns=np.zeros(1, np.int64),
            prices=(one.copy(), one.copy(), one.copy(), one.copy(), one.copy()),
            decides=np.ones(1, np.uint8), risk_bar=np.zeros(1, np.uint8), decide_ns=np.zeros(1, np.int64),
            rows=np.zeros((1, symbols, width)), states=np.zeros((1, symbols), np.uint8),
            funding=(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)),
            params=spec.strategy.param_record(), strange=np.zeros((1, symbols), np.uint8),
        )  # fmt: skip
        self.memory = fresh_memory(symbols)
        self.risk_part = -1
        self._code = compile_pointer(spec.strategy)
        self.compiled = self._code is not None
        self._rule = None if self.compiled else python_rule(spec.strategy)
        self._address = self._code.address if self._code is not None else 0
        self.tape.start(self._address)

    def unusual(self, close: Array, volume: Array) -> Array:
        """u1[M]: what control 23 says of one decision bar; it learns it, too."""
        limits = self.spec.limits
        strange = np.zeros((1, len(close)), np.uint8)
        z, v = float(limits.novelty_return_z), float(limits.novelty_volume_z)
        if np.isfinite(z) or np.isfinite(v):
            watch(self.memory, close[None, :].copy(), volume[None, :].copy(), z, v, strange)
        found: Array = strange[0]
        return found

    def is_risk_bar(self, close_ns: int, open_ns: int) -> bool:
        """Whether a risk bar ends here; where the one at a boundary is missing, the next stands for it."""
        length = self.spec.risk_bar_ns or self.spec.bar_ns
        part = close_ns // length
        before = open_ns // length if self.risk_part < 0 else self.risk_part
        self.risk_part = part
        return part > before

    def close(self, row: Row) -> None:
        """Tell the desk of a row: its open, its inside, its close."""
        arrays, desk = self.tape.arrays, self.desk
        arrays["open_ns"][0], arrays["close_ns"][0] = row.open_ns, row.close_ns
        for name, part in zip(PRICES, row.prices, strict=True):
            arrays[name][0] = part
        arrays["strange"][0] = row.strange
        arrays["risk_bar"][0] = row.risk_bar
        self._rewind()
        # Both do all they are asked to: they give way to the logs for fundings only, and this tape has none.
        open_row(desk.ref, self.tape.ref)
        close_row(desk.ref, self.tape.ref)

    def decide(self, ns: int, cutoff_ns: int, values: Array, states: Array) -> Decision:
        """Ask the strategy at `ns` and act on what it wants. values f8[M, S + 1], states u1[M]."""
        arrays, desk, tape = self.tape.arrays, self.desk, self.tape
        self._rewind()
        arrays["decide_ns"][0] = ns
        arrays["rows"][0], arrays["states"][0] = values, states
        status = 0
        asked = before_decision(desk.ref, tape.ref)
        held = arrays["rows"][0, :, -1].copy()
        if asked:
            status = self._ask()
            wished = arrays["weights"][0].copy()
            act_on(desk.ref, tape.ref, status)
        else:
            wished = arrays["weights"][0].copy()
        return Decision(ns, cutoff_ns, values[:, :-1].copy(), states.copy(), held, wished, status, bool(asked))

    def _ask(self) -> int:
        arrays = self.tape.arrays
        if self._rule is None:
            return int(ask(self.tape.ref, 0))
        return int(self._rule(arrays["rows"][0], arrays["states"][0], arrays["params"], arrays["weights"][0]))

    def _rewind(self) -> None:
        self.tape.start(self._address)
