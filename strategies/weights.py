"""Weights: target weights that somebody worked out elsewhere, read from a file."""

from typing import Any

from data.errors import InputError
from signals.given import Given
from signals.signal import Signal, Span
from strategies.base import Strategy

WEIGHT_MOST = 20.0  # of equity: more is a slip of the pen, such as a quantity


class Weights(Strategy):
    """Hold what a file says: a row's weight counts from its time on, until the symbol's next row."""

    def __init__(self, file: str | None = None, max_age: Span = None, **values: Any) -> None:
        if file is None:
            raise InputError(
                "Weights needs a file with the columns time, symbol and weight",
                key="file",
                remedy="Give its path as the strategy: strategy = 'weights:targets.csv'",
            )
        target = Given(file, "weight", max_age=max_age, low=-WEIGHT_MOST, high=WEIGHT_MOST)
        # Read now: a fault in it is the user's to know before the run. Only a weight below 0 asks to sell short.
        lowest = min((float(values.min()) for _, values in target.table().values() if len(values)), default=0.0)
        self.short = lowest < 0.0
        self._target, self._file = target, file
        super().__init__(**values)

    def own_signals(self) -> dict[str, Signal]:
        """The file, as the one signal."""
        return {"target": self._target}

    def _more_identity(self) -> tuple[str, ...]:
        return (self._target.digest(),)

    def __repr__(self) -> str:
        age = "" if self._target.arguments["max_age"] is None else f", max_age={self._target.arguments['max_age']!r}"
        return f"Weights({self._file!r}{age})"

    @staticmethod
    def weigh(s: Any, p: Any) -> Any:
        """Target weight of equity for one symbol."""
        return s.target
