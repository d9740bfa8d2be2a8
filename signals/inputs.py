"""What signals are run over: closed bars, scored posts and metrics, and the times at which somebody decides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.times import HOUR_NS

Array = npt.NDArray[Any]
PRICES = ("open", "high", "low", "close", "volume")


def _plain(values: Any, dtype: str) -> Array:
    """A writable C-contiguous array of one type: compiled code exists for that layout only."""
    return np.require(values, dtype=dtype, requirements=["C", "W"])


@dataclass(frozen=True)
class SentimentTape:
    """Scored posts in total order (known_ns, kind, source, key, revision, sequence).

    Parameters
    ----------
    coin : i8[f]
        Index into `Inputs.coins`; -1 for a post about the market as a whole.
    event_ns, known_ns : i8[f]
        When the post was written, and when its score was ready.
    score : f8[f]
        p(bullish) - p(bearish), within [-1, 1].
    weight : f8[f]
        How much the post counts; see `signals.mood.post_weight`.
    author, source : i8[f]
        Numbers that stand for who and where (see `ids_of`); author 0 for nobody knows who.
    revision : i8[f]
        Only revision 0 of a score is counted.
    trusted : u1[f], optional
        0 for a score of a model or revision that isn't pinned: it is ignored, and says why a signal has no value.
    cluster : i8[f], optional
        Number of the near-duplicates that the post belongs to, 0 when nobody looked for them.
    flags : i8[f], optional
        Bits of `data.facts.FLAGS`, and `signals.ops.SMALL` for an author whom few or nobody knows.
    """

    coin: Array
    event_ns: Array
    known_ns: Array
    score: Array
    weight: Array
    author: Array
    source: Array
    revision: Array
    trusted: Any = None
    cluster: Any = None
    flags: Any = None

    def __post_init__(self) -> None:
        trusted = np.ones(len(self.coin), np.uint8) if self.trusted is None else self.trusted
        object.__setattr__(self, "trusted", _plain(trusted, "u1"))
        for name in ("cluster", "flags"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros(len(self.coin), np.int64))
        for name in ("coin", "event_ns", "known_ns", "author", "source", "revision", "cluster", "flags"):
            object.__setattr__(self, name, _plain(getattr(self, name), "i8"))
        for name in ("score", "weight"):
            object.__setattr__(self, name, _plain(getattr(self, name), "f8"))
        _check_tape("sentiment", self, len(self.coin))

    @classmethod
    def empty(cls) -> SentimentTape:
        """No posts at all."""
        none = np.empty(0)
        return cls(none, none, none, none, none, none, none, none)

    def __len__(self) -> int:
        return len(self.coin)


def ids_of(names: Sequence[str]) -> Array:
    """Numbers that stand for names, i8[n]: the same in every run, whatever others there are; 0 for an empty name."""
    known = {"": 0}
    for name in set(names) - {""}:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        known[name] = int.from_bytes(digest, "little", signed=True) or 1
    return np.fromiter((known[name] for name in names), np.int64, len(names))


@dataclass(frozen=True)
class MetricTape:
    """Observations of one metric in total order (known_ns, kind, source, key, revision, sequence).

    Parameters
    ----------
    coin : i8[f]
        Index into `Inputs.coins`; -1 for the market as a whole.
    event_ns, known_ns : i8[f]
        End of the interval measured, and when the value could first have been used.
    value : f8[f]
    revision : i8[f]
        0 for the first value of an event, counting up as it is corrected.
    """

    coin: Array
    event_ns: Array
    known_ns: Array
    value: Array
    revision: Array

    def __post_init__(self) -> None:
        for name in ("coin", "event_ns", "known_ns", "revision"):
            object.__setattr__(self, name, _plain(getattr(self, name), "i8"))
        object.__setattr__(self, "value", _plain(self.value, "f8"))
        _check_tape("metric", self, len(self.coin))

    @classmethod
    def empty(cls) -> MetricTape:
        """No observations at all."""
        none = np.empty(0)
        return cls(none, none, none, none, none)

    def __len__(self) -> int:
        return len(self.coin)


def _check_tape(kind: str, tape: Any, size: int) -> None:
    for name, column in vars(tape).items():
        if column.shape != (size,):
            raise InputError(f"a {kind} tape's columns differ in length", key=name, value=column.shape)
    if size and bool((tape.known_ns[1:] < tape.known_ns[:-1]).any()):
        raise InputError(f"a {kind} tape has to be sorted by known_ns", key="known_ns")


@dataclass(frozen=True)
class Inputs:
    """All that signals may look at, and when.

    Parameters
    ----------
    symbols : tuple of str
        M symbols.
    coins : tuple of str
        The first M are the symbols' coins, in the same order; further ones may follow for metrics of other coins.
    bar_ns : int
        Length of a bar.
    close_ns : i8[n]
        Close times, ascending, multiples of `bar_ns` apart. A missing bar has a NaN close.
    open, high, low, close, volume : f8[n, M]
        Prices in quote, volume in base units.
    decide_ns : i8[d]
        When somebody decides, ascending.
    decide_bar : i8[d]
        Last bar closed at or before that time; -1 for none.
    cutoff_ns : i8[d]
        Latest `known_ns` that the decision may use.
    sentiment : SentimentTape
    metrics : dict of name to MetricTape
    """

    symbols: tuple[str, ...]
    coins: tuple[str, ...]
    bar_ns: int
    close_ns: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    decide_ns: Array
    decide_bar: Array
    cutoff_ns: Array
    sentiment: SentimentTape = field(default_factory=SentimentTape.empty)
    metrics: Mapping[str, MetricTape] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("close_ns", "decide_ns", "decide_bar", "cutoff_ns"):
            object.__setattr__(self, name, _plain(getattr(self, name), "i8"))
        shape = (len(self.close_ns), len(self.symbols))
        for name in PRICES:
            object.__setattr__(self, name, _plain(getattr(self, name), "f8"))
            if getattr(self, name).shape != shape:
                raise InputError(f"prices have to be of shape {shape}", key=name, value=getattr(self, name).shape)
        if bool((self.close_ns[1:] <= self.close_ns[:-1]).any()):
            raise InputError("bars have to be in order of time, one of each", key="close_ns")
        if not len(self.decide_ns) == len(self.decide_bar) == len(self.cutoff_ns):
            raise InputError("a decision needs its time, its bar and its cutoff", key="decide_ns")
        if len(set(self.coins)) != len(self.coins) or len(self.coins) < len(self.symbols):
            raise InputError("each symbol needs a coin of its own", key="coins", value=self.coins)
        tapes: dict[str, SentimentTape | MetricTape] = {"sentiment": self.sentiment, **self.metrics}
        for name, tape in tapes.items():
            if len(tape) and not (int(tape.coin.min()) >= -1 and int(tape.coin.max()) < len(self.coins)):
                raise InputError("a fact is about a coin that isn't among the coins", key=f"{name}.coin")

    @classmethod
    def at_closes(
        cls,
        symbols: Sequence[str],
        coins: Sequence[str],
        bar_ns: int,
        close_ns: Array,
        prices: Mapping[str, Array],
        *,
        delay_ns: int = 0,
        sentiment: SentimentTape | None = None,
        metrics: Mapping[str, MetricTape] | None = None,
    ) -> Inputs:
        """Inputs of a strategy that decides at every bar's close; `prices` maps each bar column to f8[n, M]."""
        close_ns = _plain(close_ns, "i8")
        inputs = cls(
            symbols=tuple(symbols),
            coins=tuple(coins),
            bar_ns=bar_ns,
            close_ns=close_ns,
            **{name: prices[name] for name in PRICES},
            decide_ns=close_ns,
            decide_bar=np.arange(len(close_ns)),
            cutoff_ns=close_ns if delay_ns == 0 else close_ns + delay_ns,
            sentiment=SentimentTape.empty() if sentiment is None else sentiment,
            metrics={} if metrics is None else metrics,
        )
        inputs.__dict__["_every_close"] = True
        return inputs

    @property
    def every_close(self) -> bool:
        """Whether it is known that decisions are made at every bar's close and at no other time."""
        return bool(self.__dict__.get("_every_close", False))


def of_closes(closes: Sequence[float], *, bar_ns: int = HOUR_NS, coin: str = "BTC", **tapes: Any) -> Inputs:
    """Inputs of one symbol from plain closes, first bar opening at the epoch: for examples and tries at a prompt."""
    close = np.asarray(closes, dtype=float).reshape(-1, 1)
    close_ns = (1 + np.arange(len(close))) * bar_ns
    prices = dict.fromkeys(PRICES[:4], close) | {"volume": np.ones_like(close)}
    return Inputs.at_closes((f"{coin}/USDT",), (coin,), bar_ns, close_ns, prices, **tapes)
