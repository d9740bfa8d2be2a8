"""Runs a signal written in Python over history, or over one fact at a time."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from signals import ops
from signals.inputs import PRICES, Array, Inputs, MetricTape
from signals.own import BarFact, Bars, MetricFact, OwnSignal, PostFact
from signals.own_bars import closed_bars, coarse_end, last_bars, own_bars, stretches

if TYPE_CHECKING:
    from signals.guard import Verdicts

MARKET = "*"


class OwnRun:
    """One Python signal over all symbols.

    Parameters
    ----------
    signal : OwnSignal
        Bound.
    symbols, coins : tuple of str
        As in `Inputs`.
    bar_ns : int
    max_age_ns : int
        Age limit beside the signal's own; 0 = none.
    """

    def __init__(
        self, signal: OwnSignal, symbols: tuple[str, ...], coins: tuple[str, ...], bar_ns: int, max_age_ns: int = 0
    ) -> None:
        self.signal = signal
        self.symbols = symbols
        self.coins = coins
        self.length = 0 if signal.on_ns == bar_ns else signal.on_ns
        own_bar_ns = signal.on_ns or bar_ns
        self.restart_ns = own_bar_ns * (1 + signal.lookback_bars) if signal.lookback_bars else 0
        limits = [age for age in (signal.max_age_ns, max_age_ns) if age > 0]
        self.max_age_ns = min(limits, default=0) if {"post", "metric"} & set(signal.feeds) else 0
        self.slab = np.zeros(len(symbols) * ops.BAR_HEAD)
        self.ticks = self.slab.view(np.int64)
        self.memories = [signal.start(symbol) for symbol in symbols]
        self.counts = np.zeros(len(symbols), np.int64)  # own bars since the last start
        self.last_ns = np.zeros(len(symbols), np.int64)  # end of the last own bar
        self.newest_ns = np.full(len(symbols), -1)  # newest event among posts and metrics
        self.suspect_ns = np.zeros(
            (2, len(symbols)), np.int64
        )  # until when posts are suspect: the coin's, the market's
        self.missing_ns = self.suspect_ns.copy()  # until when posts are missing, likewise

    # --- one fact at a time -------------------------------------------------------------------------------------------
    def bar(self, k: int, close_ns: int, *prices: float) -> None:
        """One of the run's bars of symbol `k`: open, high, low, close, volume."""
        if "bar" not in self.signal.feeds:
            return
        for fact in closed_bars(self.slab, self.ticks, k * ops.BAR_HEAD, self.length, BarFact(close_ns, *prices)):
            self._take(k, fact)

    def _take(self, k: int, fact: BarFact) -> None:
        if self.restart_ns and self.counts[k] and fact.close_ns - self.last_ns[k] > self.restart_ns:
            self.memories[k] = self.signal.start(self.symbols[k])
            self.counts[k] = 0
        self.last_ns[k] = fact.close_ns
        self.counts[k] += 1
        self.signal.step(self.memories[k], fact)

    def post(self, coin: int, fact: PostFact, until_ns: int) -> None:
        """One scored post about a coin, by its index, or about the market (-1), after which posts are suspect until."""
        if "post" not in self.signal.feeds:
            return
        if coin < len(self.symbols):
            self.suspect_ns[int(coin < 0), max(coin, 0) if coin >= 0 else slice(None)] = until_ns
        if fact.weight > 0.0:
            self._tell(coin, fact)

    def gap(self, coin: int, until_ns: int) -> None:
        """Posts about a coin, or about the market (-1), are missing until then."""
        if "post" in self.signal.feeds and coin < len(self.symbols):
            self.missing_ns[int(coin < 0), max(coin, 0) if coin >= 0 else slice(None)] = until_ns

    def metric(self, coin: int, fact: MetricFact) -> None:
        """One observation of a metric."""
        if "metric" in self.signal.feeds and fact.name in self.signal.metrics:
            self._tell(coin, fact)

    def _tell(self, coin: int, fact: PostFact | MetricFact) -> None:
        for k in range(len(self.symbols)) if coin < 0 else (coin,):
            if k < len(self.symbols):
                self.newest_ns[k] = max(self.newest_ns[k], fact.event_ns)
                self.signal.step(self.memories[k], fact)

    def read(self, now_ns: int) -> tuple[Array, Array]:
        """Values f8[M] and states u1[M]."""
        values = np.array([float(self.signal.value(memory, now_ns)) for memory in self.memories])
        values, codes = self._judged(values, self.counts, self.last_ns, self.newest_ns, np.int64(now_ns))
        suspect = ((self.suspect_ns > now_ns) | (self.missing_ns > now_ns)).any(axis=0) & (codes != ops.WARMING)
        return np.where(suspect, np.nan, values), np.where(suspect, np.uint8(ops.SUSPECT), codes)

    def snapshot(self) -> dict[str, Any]:
        """Copy of all it remembers."""
        kept = ("memories", "counts", "last_ns", "newest_ns", "suspect_ns", "missing_ns", "slab")
        return {name: copy.deepcopy(getattr(self, name)) for name in kept}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        for name, value in snapshot.items():
            setattr(self, name, copy.deepcopy(value))
        self.ticks = self.slab.view(np.int64)

    def _judged(self, values: Array, counts: Any, last_ns: Any, newest_ns: Any, now_ns: Any) -> tuple[Array, Array]:
        """Values, NaN where not fine, and states; the later an assignment, the more it counts."""
        low, high = self.signal.seen
        codes = np.zeros(len(values), np.uint8)
        codes[(values < low) | (values > high)] = ops.SUSPECT
        codes[~np.isfinite(values)] = ops.NOT_FINITE
        if not self.signal.lookback_bars:
            codes[np.isnan(values)] = ops.WARMING
        if self.max_age_ns:
            codes[(newest_ns >= 0) & (now_ns - newest_ns > self.max_age_ns)] = ops.STALE
        if self.length:
            codes[(counts > 0) & (last_ns < coarse_end(now_ns, self.length))] = ops.STALE
        codes[counts < self.signal.lookback_bars] = ops.WARMING
        return np.where(codes == ops.OK, values, np.nan), codes

    # --- history ------------------------------------------------------------------------------------------------------
    def history(self, inputs: Inputs, judged: Verdicts | None = None) -> tuple[Array, Array]:
        """Values f8[d, M] and states u1[d, M] at every decision; `judged` is what became of the posts."""
        shape = (len(inputs.decide_ns), len(self.symbols))
        values, codes = np.empty(shape), np.empty(shape, np.uint8)
        if self.signal.feeds == ():
            for k, memory in enumerate(self.memories):
                found = self.signal.at(memory, inputs.decide_ns)
                values[:, k], codes[:, k] = self._judged(found, 0, 0, np.int64(-1), inputs.decide_ns)
            return values, codes
        if self.signal.feeds == ("bar",) and type(self.signal).over is not OwnSignal.over:
            for k in range(len(self.symbols)):
                values[:, k], codes[:, k] = self._over(k, inputs)
            return values, codes
        self._replay(inputs, judged, values, codes)
        return values, codes

    def _over(self, k: int, inputs: Inputs) -> tuple[Array, Array]:
        """One symbol by the signal's own batch form."""
        close_ns, prices, _ = own_bars(inputs, k, self.length)
        bars = Bars(close_ns, *(np.ascontiguousarray(column) for column in prices.T))
        found, counts = self._stretches(k, bars)
        last = last_bars(inputs, k, self.length)  # -1 for none, which finds what is appended here
        values, known, ends = np.append(found, np.nan)[last], np.append(counts, 0)[last], np.append(close_ns, 0)[last]
        return self._judged(values, known, ends, np.int64(-1), inputs.decide_ns)

    def _stretches(self, k: int, bars: Bars) -> tuple[Array, Array]:
        """Values after each bar, and how many bars the signal then knows; it starts anew after a long silence."""
        found, counts = np.empty(len(bars)), np.empty(len(bars), np.int64)
        for begin, end in stretches(bars.close_ns, self.restart_ns):
            found[begin:end] = self.signal.over(self.symbols[k], bars.part(begin, end))
            counts[begin:end] = np.arange(1, end - begin + 1)
        return found, counts

    def _replay(self, inputs: Inputs, judged: Verdicts | None, values: Array, codes: Array) -> None:
        """Told one fact at a time, as it would be live; bars before metrics before posts known at the same time."""
        facts = _facts_of(self.signal, inputs, judged)
        b, f = -1, 0
        for i, (decide_bar, cutoff_ns) in enumerate(zip(inputs.decide_bar, inputs.cutoff_ns, strict=True)):
            while True:
                fact_is_due = f < len(facts) and facts[f][0] <= cutoff_ns
                if b < decide_bar and not (fact_is_due and facts[f][0] < inputs.close_ns[b + 1]):
                    b += 1
                    self._bars_at(b, inputs)
                elif fact_is_due:
                    _, _, coin, fact, until_ns = facts[f]
                    if fact is None:
                        self.gap(coin, until_ns)
                    elif isinstance(fact, PostFact):
                        self.post(coin, fact, until_ns)
                    else:
                        self.metric(coin, fact)
                    f += 1
                else:
                    break
            values[i], codes[i] = self.read(int(inputs.decide_ns[i]))

    def _bars_at(self, b: int, inputs: Inputs) -> None:
        for k in range(len(self.symbols)):
            if np.isfinite(inputs.close[b, k]):
                self.bar(k, int(inputs.close_ns[b]), *(float(getattr(inputs, name)[b, k]) for name in PRICES))


def _facts_of(
    signal: OwnSignal, inputs: Inputs, judged: Verdicts | None
) -> list[tuple[int, int, int, PostFact | MetricFact | None, int]]:
    """(known_ns, order of its kind, coin, fact, posts suspect until) of all that it is told, in that order.

    Without a fact: posts are missing until then.
    """
    facts: list[tuple[int, int, int, PostFact | MetricFact | None, int]] = []
    if "metric" in signal.feeds:
        for name in sorted(signal.metrics):
            metric = inputs.metrics.get(name) or MetricTape.empty()
            for f in range(len(metric)):
                facts.append(
                    (int(metric.known_ns[f]), 1, int(metric.coin[f]), metric_fact(name, inputs.coins, metric, f), 0)
                )
    if "post" in signal.feeds and judged is not None:
        tape = inputs.sentiment
        for f in range(len(tape)):
            if tape.flags[f] & ops.GAP:
                facts.append((int(tape.known_ns[f]), 2, int(tape.coin[f]), None, int(judged.until_ns[f])))
            elif tape.revision[f] == 0 and tape.trusted[f]:
                told = post_fact(inputs.coins, tape, f, float(judged.share[f]))
                facts.append((int(tape.known_ns[f]), 2, int(tape.coin[f]), told, int(judged.until_ns[f])))
    return sorted(facts, key=lambda fact: fact[:2])


def coin_name(coins: tuple[str, ...], coin: int) -> str:
    """Ticker of a coin's index; "*" for the market."""
    return MARKET if coin < 0 else coins[coin]


def metric_fact(name: str, coins: tuple[str, ...], tape: Any, f: int) -> MetricFact:
    """Row `f` of a metric's tape."""
    return MetricFact(
        name,
        coin_name(coins, int(tape.coin[f])),
        int(tape.event_ns[f]),
        int(tape.known_ns[f]),
        float(tape.value[f]),
        int(tape.revision[f]),
    )


def post_fact(coins: tuple[str, ...], tape: Any, f: int, share: float) -> PostFact:
    """Row `f` of a sentiment tape, with the share of its weight that counts."""
    return PostFact(
        coin_name(coins, int(tape.coin[f])),
        int(tape.event_ns[f]),
        int(tape.known_ns[f]),
        float(tape.score[f]),
        float(tape.weight[f]) * share,
        int(tape.author[f]),
        int(tape.source[f]),
    )
