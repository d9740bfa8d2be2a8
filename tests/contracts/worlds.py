"""Made-up worlds for signals: bars with holes, posts and metrics that come late, out of order and revised."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from signals.inputs import PRICES, Inputs, MetricTape, SentimentTape
from signals.stream import Stream

HOUR_NS = 3_600_000_000_000
START_NS = 1_704_067_200_000_000_000 - 7 * HOUR_NS  # seven hours before 2024, so that days turn inside


@dataclass(frozen=True)
class Shape:
    """How a world is made; the same shape makes the same world."""

    seed: int
    bars: int = 60
    symbols: int = 2
    missing: float = 0.0
    outage: int = 0
    odd: float = 0.0
    facts: int = 80
    late_hours: int = 4
    between: bool = False
    delay_ns: int = 0


shapes = st.builds(
    Shape,
    seed=st.integers(0, 2**32 - 1),
    bars=st.integers(1, 70),
    symbols=st.integers(1, 3),
    missing=st.sampled_from([0.0, 0.05, 0.3]),
    outage=st.sampled_from([0, 0, 7, 25]),
    odd=st.sampled_from([0.0, 0.0, 0.03]),
    facts=st.sampled_from([0, 5, 60, 200]),
    late_hours=st.sampled_from([0, 3, 30]),
    between=st.booleans(),
    delay_ns=st.sampled_from([0, HOUR_NS // 3]),
)


def world(shape: Shape) -> Inputs:
    """Inputs of a shape."""
    rng = np.random.default_rng(shape.seed)
    n, m = shape.bars, shape.symbols
    close_ns = START_NS + (1 + np.arange(n)) * HOUR_NS
    decide_ns = close_ns
    if shape.between:  # when facts arrive, too
        extra = START_NS + rng.integers(0, (n + 2) * HOUR_NS, 2 * n)
        decide_ns = np.unique(np.concatenate([close_ns[rng.random(n) < 0.7], extra]))
    return Inputs(
        symbols=tuple(f"C{k}/USDT" for k in range(m)),
        coins=(*(f"C{k}" for k in range(m)), "OTHER"),
        bar_ns=HOUR_NS,
        close_ns=close_ns,
        **_prices(rng, shape),
        decide_ns=decide_ns,
        decide_bar=np.searchsorted(close_ns, decide_ns, side="right") - 1,
        cutoff_ns=decide_ns + shape.delay_ns,
        sentiment=_posts(rng, shape),
        metrics={name: _metric(rng, shape) for name in ("flow", "gauge")},
    )


def _prices(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    size = (shape.bars, shape.symbols)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, size), axis=0)).round(3)
    open_ = (close * (1 + rng.normal(0, 0.003, size))).round(3)
    high = np.maximum(open_, close) * (1 + abs(rng.normal(0, 0.002, size)))
    low = np.minimum(open_, close) * (1 - abs(rng.normal(0, 0.002, size)))
    prices = {"open": open_, "high": high, "low": low, "close": close, "volume": rng.lognormal(2, 1, size)}
    hole = rng.random(size) < shape.missing
    if shape.outage:
        begin = int(rng.integers(0, shape.bars))
        hole[begin : begin + shape.outage, int(rng.integers(0, shape.symbols))] = True
    for column in prices.values():
        column[hole] = np.nan
    for name in ("volume", "high"):  # a close without the rest
        prices[name][rng.random(size) < shape.odd] = np.nan
    return prices


def _times(rng: np.random.Generator, shape: Shape) -> tuple[Any, Any]:
    """When facts happened and when they were known: some long after, some at one instant, some on a bar's close."""
    known = np.sort(START_NS + rng.integers(0, (shape.bars + 2) * HOUR_NS, shape.facts))
    on_close = rng.random(shape.facts) < 0.2
    known[on_close] = np.sort(known)[on_close] // HOUR_NS * HOUR_NS
    known = np.sort(known)
    late = (rng.random(shape.facts) ** 3 * (shape.late_hours * HOUR_NS + 1)).astype(np.int64)
    return known - late, known


def _posts(rng: np.random.Generator, shape: Shape) -> SentimentTape:
    event, known = _times(rng, shape)
    size = shape.facts
    return SentimentTape(
        coin=rng.integers(-1, shape.symbols + 1, size),
        event_ns=event,
        known_ns=known,
        score=rng.uniform(-1, 1, size).round(2),
        weight=rng.uniform(0.5, 5, size),
        author=rng.integers(0, 9, size),
        source=rng.integers(0, 3, size),
        revision=(rng.random(size) < 0.1).astype(np.int64),
        trusted=(rng.random(size) > 0.05).astype(np.uint8),
        cluster=rng.integers(0, 25, size),
        flags=rng.choice([0, 0, 0, 1, 8, 32], size),
    )


def _metric(rng: np.random.Generator, shape: Shape) -> MetricTape:
    event, known = _times(rng, shape)
    event = event // (2 * HOUR_NS) * (2 * HOUR_NS)  # on a grid, so that events come again as revisions
    size = shape.facts
    value = rng.normal(0, 3, size).round(1)
    value[rng.random(size) < 0.02] = np.nan
    return MetricTape(
        coin=rng.integers(-1, shape.symbols + 1, size),
        event_ns=event,
        known_ns=known,
        value=value,
        revision=rng.integers(0, 3, size),
    )


def facts_of(inputs: Inputs) -> list[tuple[int, int, str, int]]:
    """(known_ns, order of kind, metric, row) of all facts in the order in which they are told."""
    facts = [(int(ns), 1, name, f) for name, tape in inputs.metrics.items() for f, ns in enumerate(tape.known_ns)]
    facts += [(int(ns), 2, "", f) for f, ns in enumerate(inputs.sentiment.known_ns)]
    return sorted(facts)


def tell(stream: Stream, inputs: Inputs, fact: tuple[int, int, str, int]) -> None:
    """Hand one fact to a stream."""
    _, kind, name, f = fact
    if kind == 1:
        tape = inputs.metrics[name]
        stream.on_metric(
            name,
            int(tape.coin[f]),
            int(tape.event_ns[f]),
            int(tape.known_ns[f]),
            float(tape.value[f]),
            int(tape.revision[f]),
        )
        return
    post = inputs.sentiment
    columns = (
        post.coin,
        post.event_ns,
        post.known_ns,
        post.score,
        post.weight,
        post.author,
        post.source,
        post.revision,
    )
    more = {"trusted": bool(post.trusted[f]), "cluster": int(post.cluster[f]), "flags": int(post.flags[f])}
    stream.on_sentiment(*(column[f].item() for column in columns), **more)


def told(stream: Stream, inputs: Inputs, between: Any = None) -> tuple[Any, Any]:
    """Rows and states of a stream told everything in turn and read at every decision; `between` may swap the stream."""
    facts, f, b = facts_of(inputs), 0, 0
    rows, states = [], []
    for i, now_ns in enumerate(inputs.decide_ns):
        while True:
            due = f < len(facts) and facts[f][0] <= inputs.cutoff_ns[i]
            if b <= inputs.decide_bar[i] and not (due and facts[f][0] < inputs.close_ns[b]):
                for k in range(len(inputs.symbols)):
                    stream.on_bar(k, int(inputs.close_ns[b]), *(float(getattr(inputs, name)[b, k]) for name in PRICES))
                b += 1
            elif due:
                tell(stream, inputs, facts[f])
                f += 1
            else:
                break
        if between is not None:
            stream = between(i, stream)
        row, state = stream.read(int(now_ns))
        rows.append(row)
        states.append(state)
    return np.array(rows), np.array(states)


def garbled(inputs: Inputs, cut_ns: int, seed: int) -> Inputs:
    """The same world up to a time; whatever became known later is another one, or never came."""
    rng = np.random.default_rng(seed)
    later = inputs.close_ns > cut_ns
    prices = {}
    for name in PRICES:
        column = getattr(inputs, name).copy()
        column[later] = rng.uniform(1, 1000, column[later].shape)
        column[later & (rng.random(len(later)) < 0.2)] = np.nan
        prices[name] = column
    posts = inputs.sentiment
    kept = (posts.known_ns <= cut_ns) | (rng.random(len(posts)) < 0.7)
    changed = {name: column[kept] for name, column in vars(posts).items()}
    after = changed["known_ns"] > cut_ns
    changed["score"] = np.where(after, -changed["score"], changed["score"])
    changed["event_ns"] = np.where(after, changed["event_ns"] - 5 * HOUR_NS, changed["event_ns"])
    metrics = {}
    for name, tape in inputs.metrics.items():
        value = np.where(tape.known_ns > cut_ns, rng.normal(50, 9, len(tape)), tape.value)
        metrics[name] = replace(tape, value=value)
    return replace(inputs, **prices, sentiment=SentimentTape(**changed), metrics=metrics)
