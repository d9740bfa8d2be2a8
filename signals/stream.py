"""Signals one fact at a time, by the very steps that run over history: what the live engine holds."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from data.errors import InputError
from signals import kernels_bars, kernels_metrics, kernels_posts, ops
from signals.guard import OFF, Guard, GuardLimits, is_flood
from signals.inputs import Array
from signals.own import BarFact, MetricFact, PostFact
from signals.own_bars import closed_bars
from signals.own_run import OwnRun, coin_name
from signals.program import compile_signals, larger, own_runs, price_column
from signals.signal import Signal


class Stream:
    """State of all signals of a strategy; told facts as they become known, read when somebody decides.

    Parameters
    ----------
    bound : mapping of name to Signal
        In order of declaration, every Param replaced by its value.
    symbols, coins : tuple of str
        As in `Inputs`: the first coins are the symbols' own, in the same order.
    bar_ns : int
        Length of the run's bars.
    max_age_ns : int
        Age limit of fact-driven signals, beside their own; 0 = none.
    guard : GuardLimits, optional
        Limits of controls 21 and 22; left out, posts are only counted by their near-duplicates.

    Examples
    --------
    >>> from signals import EMA
    >>> stream = Stream({"ema": EMA(2)}, ("BTC/USDT",), ("BTC",), bar_ns=60)
    >>> for close_ns, close in ((60, 1.0), (120, 4.0)):
    ...     stream.on_bar(0, close_ns, close, close, close, close, 1.0)
    >>> rows, states = stream.read(120)
    >>> rows, states
    (array([[3., 0.]]), array([0], dtype=uint8))
    """

    def __init__(
        self,
        bound: Mapping[str, Signal],
        symbols: tuple[str, ...],
        coins: tuple[str, ...],
        bar_ns: int,
        *,
        max_age_ns: int = 0,
        guard: GuardLimits | None = None,
    ) -> None:
        self.coins = tuple(coins)
        self.bar_ns = bar_ns
        self._symbols = len(symbols)
        self._program = compile_signals(bound, bar_ns, self.coins, max_age_ns=max_age_ns)
        self._identity = repr((dict(bound), tuple(symbols), self.coins, bar_ns, max_age_ns, guard))
        self._slab, self._ticks = self._program.state(len(symbols))
        self._last_ns = np.full(len(symbols), -1)
        self._by_kind: dict[str, list[int]] = {kind: [] for kind in ("bar", "sentiment", "metric", "own")}
        for j, signal in enumerate(bound.values()):
            self._by_kind[signal.kind].append(j)
        declared = list(bound.values())
        self._columns = {j: price_column(self._program.code[j]) for j in self._by_kind["bar"]}
        self._metrics = {j: declared[j].facts()[0][1] for j in self._by_kind["metric"]}
        self._rings = {j: self._program.ring(len(symbols)) for j in self._metrics}
        self._own: dict[int, OwnRun] = own_runs(bound, tuple(symbols), self.coins, bar_ns, max_age_ns)
        self._guard: Guard | None = None
        if any(fact[0] == "sentiment" for signal in declared for fact in signal.facts()):
            self._guard = Guard(guard or OFF, len(self.coins))

    def on_bar(
        self, symbol: int, close_ns: int, open: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """A closed bar of one symbol, by its index. Ignored when it was seen before or has no close."""
        if close_ns <= self._last_ns[symbol] or not np.isfinite(close):
            return
        self._last_ns[symbol] = close_ns
        program = self._program
        bar = BarFact(close_ns, float(open), float(high), float(low), float(close), float(volume))
        for j in self._by_kind["bar"]:
            at, length = program.slot(j, symbol), int(program.code[j, ops.ON_NS])
            for own in closed_bars(self._slab, self._ticks, at, length, bar):
                x = own[1 + self._columns[j]]
                kernels_bars.learn_bar(
                    program.code, program.par, self._slab, self._ticks, j, at,
                    own.close_ns, own.high, own.low, own.close, x,
                )  # fmt: skip
        for run in self._own.values():
            run.bar(symbol, close_ns, open, high, low, close, volume)

    def on_sentiment(
        self,
        coin: int,
        event_ns: int,
        known_ns: int,
        score: float,
        weight: float,
        author: int = 0,
        source: int = 0,
        revision: int = 0,
        trusted: bool = True,
        cluster: int = 0,
        flags: int = 0,
    ) -> bool:
        """A scored post about a coin, by its index, or about the market (-1); columns as in `SentimentTape`.

        Returns
        -------
        bool
            True when this post breaches control 21: the coin's symbols are to take no new risk.
        """
        if self._guard is None:
            return False
        share, until_ns, back, why, _ = self._guard.judge(
            coin,
            event_ns,
            known_ns,
            float(score),
            float(weight),
            author,
            source,
            cluster,
            flags,
            revision,
            int(trusted),
        )
        program = self._program
        for j in self._by_kind["sentiment"]:
            for k in range(*kernels_posts.targets(program.code[j, ops.SCOPE], coin, self._symbols)):
                kernels_posts.learn_post(
                    program.code, program.par, self._slab, self._ticks, j, program.slot(j, k),
                    event_ns, known_ns, float(score), float(weight), revision, int(trusted), share, until_ns, back,
                )  # fmt: skip
        if flags & ops.GAP:
            for run in self._own.values():
                run.gap(coin, until_ns)
        elif self._own and revision == 0 and trusted:
            fact = PostFact(coin_name(self.coins, coin), event_ns, known_ns, score, weight * share, author, source)
            for run in self._own.values():
                run.post(coin, fact, until_ns)
        return is_flood(why)

    def on_metric(self, name: str, coin: int, event_ns: int, known_ns: int, value: float, revision: int = 0) -> None:
        """An observation of a metric about a coin, by its index, or about the market (-1)."""
        for j in self._by_kind["metric"]:
            if self._metrics[j] == name:
                for k in range(*kernels_metrics.metric_targets(self._program.code[j, ops.SCOPE], coin, self._symbols)):
                    self._observe(j, k, coin, event_ns, float(value), revision)
        if self._own:
            fact = MetricFact(name, coin_name(self.coins, coin), event_ns, known_ns, value, revision)
            for run in self._own.values():
                run.metric(coin, fact)

    def _observe(self, j: int, k: int, coin: int, event_ns: int, value: float, revision: int) -> None:
        program, ring = self._program, self._rings[j]
        while not kernels_metrics.learn_metric(
            program.code, self._ticks, ring, ring.view(np.int64), *self._ring_of(j, k), j, program.slot(j, k),
            coin, event_ns, value, revision,
        ):  # fmt: skip
            ring = self._rings[j] = larger(ring, program, self._ticks, j)

    def _ring_of(self, j: int, k: int) -> tuple[int, int]:
        """Beginning and capacity of a symbol's ring."""
        capacity = len(self._rings[j]) // (3 * self._symbols)
        return 3 * capacity * k, capacity

    def read(self, now_ns: int) -> tuple[Array, Array]:
        """Values at a decision, from all that was told so far; reading changes nothing.

        Returns
        -------
        rows : f8[M, S + 1]
        states : u1[M]
            As `evaluate` gives for one decision.
        """
        rows = np.zeros((1, self._symbols, len(self._program.bound) + 1))
        fresh = (self._last_ns >= 0) & (now_ns - self._last_ns < self.bar_ns)
        states = np.where(fresh, np.uint8(ops.OK), np.uint8(ops.NO_BAR))[None, :]
        for j, signal in enumerate(self._program.bound.values()):
            found = zip(*self._own[j].read(now_ns), strict=True) if j in self._own else None
            for k in range(self._symbols):
                value, state = self._read(j, k, signal.kind, now_ns) if found is None else next(found)
                kernels_bars.note(rows, states, 0, k, j, value, int(state))
        return rows[0], states[0]

    def _read(self, j: int, k: int, kind: str, now_ns: int) -> tuple[float, int]:
        code, par, slab, ticks = self._program.code, self._program.par, self._slab, self._ticks
        at = self._program.slot(j, k)
        if kind == "bar":
            return kernels_bars.read_bar(code, par, slab, ticks, j, at, now_ns)
        if kind == "sentiment":
            return kernels_posts.read_post(code, par, slab, ticks, j, at, now_ns)
        ring = self._rings[j]
        place = self._ring_of(j, k)
        return kernels_metrics.read_metric(code, par, slab, ticks, ring, ring.view(np.int64), *place, j, at, now_ns)

    def last_close(self, symbol: int) -> int:
        """Close of the newest bar of a symbol, by its index; -1 before the first."""
        return int(self._last_ns[symbol])

    def snapshot(self) -> dict[str, Any]:
        """Copy of all state: dicts, lists, numbers and arrays. A rewarmed average isn't the continuous one."""
        return {
            "identity": self._identity,
            "slab": self._slab.copy(),
            "last_ns": self._last_ns.copy(),
            "rings": {j: ring.copy() for j, ring in self._rings.items()},
            "own": {j: run.snapshot() for j, run in self._own.items()},
            "guard": None if self._guard is None else self._guard.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot.

        Raises
        ------
        InputError
            When it was taken of other signals, symbols or bars.
        """
        if snapshot.get("identity") != self._identity:
            raise InputError(
                "this snapshot was taken of other signals, symbols or bars",
                key="snapshot",
                remedy="Warm the signals up from stored facts instead",
            )
        self._slab = np.array(snapshot["slab"])
        self._ticks = self._slab.view(np.int64)
        self._last_ns = np.array(snapshot["last_ns"])
        self._rings = {j: np.array(ring) for j, ring in snapshot["rings"].items()}
        for j, run in self._own.items():
            run.restore(copy.deepcopy(snapshot["own"][j]))
        if self._guard is not None:
            self._guard.restore(snapshot["guard"])
