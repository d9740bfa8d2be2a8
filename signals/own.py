"""Your own signal: say how one fact changes what it remembers, and what its value is then.

>>> class RangeShare(OwnSignal):
...     '''Where the last close lies between the bar's low (0) and its high (1).'''
...     def start(self, symbol):
...         return {"share": float("nan")}
...     def step(self, memory, fact):
...         span = fact.high - fact.low
...         memory["share"] = (fact.close - fact.low) / span if span > 0 else 0.5
...     def value(self, memory, now_ns):
...         return memory["share"]
>>> from signals import evaluate
>>> from signals.inputs import of_closes
>>> rows, states = evaluate({"share": RangeShare()}, of_closes([100.0, 101.0]))
>>> rows[:, 0, 0]
array([0.5, 0.5])

It runs in Python, through the same decisions as the compiled signals and a few hundred times slower. `step` is told
facts in the order in which they were known and `value` must not change the memory; there is no path to a later fact, so
such a signal is causal, and its batch and stream forms are one. The memory should be a dict of numbers, lists and
arrays, since a snapshot copies it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from signals import ops
from signals.inputs import Array
from signals.signal import Recipe, Signal


class BarFact(NamedTuple):
    """A closed bar; prices in quote, volume in base units."""

    close_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class PostFact(NamedTuple):
    """A scored post about the symbol's coin, or (`coin` is "*") about the market as a whole.

    `weight` is what counts of it; posts that don't count at all aren't told (`signals.guard`).
    """

    coin: str
    event_ns: int
    known_ns: int
    score: float
    weight: float
    author: int
    source: int


class MetricFact(NamedTuple):
    """An observation of a metric for the symbol's coin or ("*") the market; revisions come as they come."""

    name: str
    coin: str
    event_ns: int
    known_ns: int
    value: float
    revision: int


@dataclass(frozen=True)
class Bars:
    """Closed bars of one symbol, none missing: one array per column."""

    close_ns: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array

    def part(self, begin: int, end: int) -> Bars:
        """A stretch of them."""
        return Bars(*(getattr(self, field.name)[begin:end] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.close_ns)


class OwnSignal(Signal):
    """Base of signals written in Python.

    Attributes
    ----------
    feeds : tuple
        Which facts `step` is told: any of "bar", "post", "metric" (those that `metrics` names).
    metrics : tuple of str
        Names of the metrics it reads.
    """

    kind = "own"
    feeds: ClassVar[tuple[str, ...]] = ("bar",)
    metrics: ClassVar[tuple[str, ...]] = ()

    def start(self, symbol: str) -> Any:
        """A fresh memory for one symbol."""
        return {}

    def step(self, memory: Any, fact: Any) -> None:
        """Take one fact into the memory: a BarFact, PostFact or MetricFact."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def value(self, memory: Any, now_ns: int) -> float:
        """The value at a decision; NaN while it has none."""
        raise NotImplementedError(f"{type(self).__name__} has no value")

    def over(self, symbol: str, bars: Bars) -> Array | None:
        """Values after each of one symbol's bars, all at once; None to have them stepped through.

        Only a signal fed by bars alone may have this form, and it has to give what `step` gives, bit for bit.
        """
        return None

    def at(self, memory: Any, now_ns: Array) -> Array:
        """Values at many decisions between which no fact came."""
        return np.array([self.value(memory, int(now)) for now in now_ns], dtype=float)

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.OWN)

    def facts(self) -> tuple[tuple[str, str, str | None], ...]:
        posts = (("sentiment", "", None), ("sentiment", "", "*")) if "post" in self.feeds else ()
        return posts + tuple(("metrics", name, None) for name in self.metrics)
