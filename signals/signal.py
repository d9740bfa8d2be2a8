"""The contract every signal passes: told the facts one at a time, in bounded memory, never a later one.

A signal is declared as an attribute of a strategy and says only what it is; `signals.evaluate` runs it over history and
`signals.Stream` over facts as they come, both by the same compiled step, so that the two agree bit for bit.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from data.errors import InputError
from data.times import HOUR_NS, parse_duration
from signals import ops

Setting: TypeAlias = Any  # a plain value, or a strategy's Param that stands for one until it is bound
Span: TypeAlias = Any  # a duration: text such as "6h", a number of hours, or a Param in hours
PLAIN = (bool, int, float, str, tuple, type(None))
NEVER = "never"


@dataclass(frozen=True)
class Recipe:
    """A bound signal as numbers: what the kernels get to see.

    Parameters
    ----------
    op : int
        Operation, one of those in `signals.ops`.
    slots : int
        Float slots of state it needs per symbol, without the common head of bar signals.
    column : int
        Bar column it reads, or which part of its result it gives.
    window : int
        Bars, buckets or nanoseconds, as its operation counts.
    need : int
        Bars until it is ready.
    params : tuple of float
        At most six numbers of its operation.
    """

    op: int
    slots: int = 0
    column: int = 0
    window: int = 0
    need: int = 1
    params: tuple[float, ...] = ()


def span_ns(value: Span, key: str) -> int:
    """Nanoseconds of a duration given as text ("6h") or as a number of hours.

    Raises
    ------
    InputError
        When it isn't a positive duration.
    """
    if isinstance(value, str):
        length = parse_duration(value, key=key)
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        length = round(value * HOUR_NS)
    else:
        raise InputError("not a duration", key=key, value=value, remedy="Write text such as '6h', or a number of hours")
    if length <= 0:
        raise InputError("a duration has to be longer than nothing", key=key, value=value)
    return length


def count_of(value: Setting, key: str, *, least: int = 1) -> int:
    """A whole number of bars or observations; InputError when it is anything else."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if not whole or value < least:
        raise InputError(f"has to be a whole number, at least {least}", key=key, value=value)
    return int(value)


def amount_of(value: Setting, key: str) -> float:
    """A finite number not below 0; InputError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError("has to be a number, not below 0", key=key, value=value)
    return float(value)


def choice_of(value: Setting, key: str, choices: tuple[str, ...]) -> int:
    """Index of a word among those allowed; InputError for any other."""
    if value not in choices:
        raise InputError("unknown choice", key=key, value=value, remedy=f"Use one of {', '.join(choices)}")
    return choices.index(value)


class Signal:
    """Base of all signals; see `signals.own` for writing one yourself.

    Attributes
    ----------
    kind : {"bar", "sentiment", "metric", "own"}
        Which facts move it.
    arguments : dict
        What it was declared with, by name; a strategy's Param may stand in for a number.
    on_ns : int
        Length of its own, coarser bars in nanoseconds; 0 = the run's bars.
    max_age_ns : int
        A fact-driven signal whose newest event is older than this is stale; 0 = never.
    seen : (float, float)
        A value outside of this range is suspect: a strategy fitted inside of it knows nothing out there.
    """

    kind: str = "bar"
    on_ns: int = 0
    max_age_ns: int = 0
    seen: tuple[float, float] = (-math.inf, math.inf)

    def __init__(self, **arguments: Setting) -> None:
        self._declare(**arguments)

    def _declare(self, **arguments: Setting) -> None:
        self.arguments: dict[str, Setting] = arguments
        self.is_bound = all(isinstance(value, PLAIN) for value in arguments.values())
        if self.is_bound:
            self._settle_common()
            self.settle()

    def _settle_common(self) -> None:
        on, seen = self.arguments.get("on"), self.arguments.get("seen")
        self.on_ns = 0 if on is None else span_ns(on, f"{type(self).__name__}.on")
        age = self.arguments.get("max_age")
        self.max_age_ns = 0 if age in (None, NEVER) else span_ns(age, f"{type(self).__name__}.max_age")
        if seen is not None:
            if not (isinstance(seen, tuple) and len(seen) == 2 and seen[0] < seen[1]):
                raise InputError("has to be (low, high) with low below high", key="seen", value=seen)
            self.seen = (float(seen[0]), float(seen[1]))

    def settle(self) -> None:
        """Check the arguments and derive numbers from them, once every Param has its value."""

    def bind(self, values: Mapping[Any, float]) -> Self:
        """Copy of this signal in which each Param, told by identity, is replaced by its value.

        Raises
        ------
        InputError
            When a value isn't one the signal can have.
        """
        chosen = {
            name: value if isinstance(value, PLAIN) else values.get(value, value)
            for name, value in self.arguments.items()
        }
        return type(self)(**chosen)

    def recipe(self, bar_ns: int) -> Recipe:
        """The numbers its kernel needs when the run's bars are `bar_ns` long."""
        raise NotImplementedError(f"{type(self).__name__} has no kernel")

    def facts(self) -> tuple[tuple[str, str, str | None], ...]:
        """Facts to be loaded for it: (kind, metric, coin).

        The kind is "sentiment" (then the metric is "") or "metrics". The coin is a ticker, "*" for the market as a
        whole, or None for each symbol's own; a metric of each symbol's own coin may also be one of the market.
        """
        return ()

    def scope(self, coins: tuple[str, ...]) -> int:
        """Which coins' facts it counts: one of the numbers in `signals.ops`, or a coin's index."""
        return ops.OWN_COIN

    @property
    def lookback_bars(self) -> int:
        """Bars of its own length that it needs before its first value."""
        return 0

    def lookback_ns(self, bar_ns: int) -> int:
        """How long before the first decision its facts have to start, for that decision to find it ready."""
        return self.lookback_bars * (self.on_ns or bar_ns) + self.on_ns

    def __repr__(self) -> str:
        pieces = []
        bare = True
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = self.arguments.get(name, parameter.default)
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            if parameter.default is not parameter.empty and value == parameter.default:
                bare = False
                continue
            bare = bare and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            pieces.append(repr(value) if bare else f"{name}={value!r}")
        known = inspect.signature(type(self)).parameters
        pieces += [f"{name}={value!r}" for name, value in self.arguments.items() if name not in known]
        return f"{type(self).__name__}({', '.join(pieces)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Signal) and self.arguments == other.arguments

    def __hash__(self) -> int:
        return hash((type(self), *self.arguments.items()))


def bar_column(name: Setting, key: str) -> int:
    """Index of a bar column."""
    return choice_of(name, key, ops.BAR_COLUMNS)
