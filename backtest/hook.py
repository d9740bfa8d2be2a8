"""A strategy called from Python, decision by decision, through the same kernels: what can't be compiled, and what live
does.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from backtest.loop import LOGS_FULL, act_on, before_decision, next_event
from backtest.tape import Tape
from data.times import format_time
from risk.desk import Desk
from risk.records import Array
from strategies.base import Strategy

SAMPLES = 3
RAISED, NOT_A_NUMBER = 1, 2


class Row:
    """What a function sees of one symbol, or of the parameters: fields by name and nothing else, as in its compiled
    form. Numbers are Python's own, whose division by zero raises as there.
    """

    def __init__(self, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
        self.__dict__.update(zip(names, values, strict=True))

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]


class Rows:
    """What `allocate` sees of all symbols: a column by its name, a Row by its place."""

    def __init__(self, records: Array) -> None:
        names = records.dtype.names or ()
        self.__dict__.update({name: np.ascontiguousarray(records[name]) for name in names})
        self.__dict__["_rows"] = [Row(names, record.item()) for record in records]

    def __getitem__(self, key: Any) -> Any:
        return self.__dict__[key] if isinstance(key, str) else self.__dict__["_rows"][key]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.__dict__["_rows"])

    def __len__(self) -> int:
        return len(self.__dict__["_rows"])


class PythonRule:
    """A strategy's function over records, as its compiled form would be asked."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.dtype = strategy.row_dtype
        self.error = ""

    def __call__(self, rows: Array, states: Array, params: Array, weights: Array) -> int:
        """Weigh the known symbols of one decision: rows f8[M, S + 1], states u1[M], weights f8[M] written; the
        status.
        """
        known = np.flatnonzero(states == 0)
        if not len(known):
            return 0
        records = Rows(np.ascontiguousarray(rows[known]).view(self.dtype).reshape(-1))
        given = Row(params.dtype.names or (), params[0].item())
        try:
            if self.strategy.form == "weigh":
                answer = np.asarray([self.strategy.function(record, given) for record in records], np.float64)
            else:
                answer = np.asarray(self.strategy.function(records, given), float)
            if answer.shape != known.shape:  # numpy would spread fewer over more of them
                raise ValueError(f"{self.strategy.form} answered {_counted(answer)} for {len(known)} symbols")
        except Exception as error:  # whatever a user's function raises: the decision is skipped and counted
            self.error = f"{type(error).__name__}: {error}"
            return RAISED
        weights[known] = answer
        bad = ~np.isfinite(answer) if self.strategy.form == "weigh" else np.isinf(answer)
        if bad.any():
            self.error = f"weight {answer[bad][0]} is not a number"
            return NOT_A_NUMBER
        return 0

    def explain(self, rows: Array, states: Array, params: Array, ns: int) -> str:
        """What goes wrong at one decision, in words."""
        with np.errstate(all="ignore"):
            status = self(rows, states, params, np.full(len(states), np.nan))
        return f"{format_time(ns)}: {self.error if status else 'failed when compiled, but not in Python'}"


def _counted(answer: Array) -> str:
    return " x ".join(map(str, answer.shape)) + " weights" if answer.shape else "a single number"


def python_rule(strategy: Strategy) -> PythonRule:
    """The strategy's function for calls from Python."""
    return PythonRule(strategy)


def drive(desk: Desk, tape: Tape, rule: PythonRule, progress: Callable[[int, int], Any] | None = None) -> list[str]:
    """Walk the tape event by event, asking `rule` at each decision. Returns samples of its failures."""
    samples: list[str] = []
    total = len(tape["close_ns"])
    weights, states, rows = tape["weights"], tape["states"], tape["rows"]
    ref, header = desk.ref, tape.ref
    while True:
        event = next_event(desk.ref, header)
        if event == LOGS_FULL:
            desk.grow_logs()
            ref = desk.ref
            continue
        if event < 0:
            break
        j = int(header["decision"])
        if before_decision(ref, header):
            status = rule(rows[j], states[j], tape["params"], weights[j])
            if status and len(samples) < SAMPLES:
                samples.append(f"{format_time(int(tape['decide_ns'][j]))}: {rule.error}")
            act_on(ref, header, status)
        if progress is not None and j % 1000 == 0:
            progress(int(header["row"]), total)
    return samples
