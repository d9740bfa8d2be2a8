"""Signals moved by metrics in kernels: of each series the newest event known counts, in the revision known.

Layout as in `signals.kernels_bars`. Observations lie in a ring of their own, f8[M, 3 * capacity] beside the same memory
as int64: event times, values, revisions. The capacity bounds memory and never changes a value: a ring that is full says
so, and is made larger.
"""

import math

from signals.bare import inner, kernel
from signals.kernels import NAN, Bytes, Floats, Ints
from signals.kernels_bars import note, verdict
from signals.kernels_posts import targets
from signals.ops import (
    AT,
    CHANGE,
    MAX_AGE_NS,
    METRIC_ZSCORE,
    OK,
    OP,
    OWN_COIN,
    SCOPE,
    STALE,
    STALENESS,
    WARMING,
    WINDOW,
)

HOUR = 3_600_000_000_000.0
# Slots: observations held, the first of them, newest event, first event ever, own coin seen, changed, z-score.
X_COUNT, X_HEAD, X_NEWEST, X_FIRST, X_OWN, X_CHANGED, X_VALUE = range(7)


@kernel
def learn_metric(
    code: Ints, ticks: Ints, ring: Floats, ring_ticks: Ints, r: int, capacity: int, j: int, at: int,
    coin: int, event_ns: int, value: float, revision: int,
) -> bool:  # fmt: skip
    """One observation into signal `j`; False when the ring is too small for it, and nothing was taken.

    An event older than the newest known is no news, unless it corrects one that is still in the window. Observations of
    the market as a whole count until the first one of the symbol's own coin.
    """
    own = coin >= 0 or code[j, SCOPE] != OWN_COIN
    if own and ticks[at + X_OWN] == 0:
        ticks[at + X_OWN] = 1
        ticks[at + X_COUNT] = 0
    elif not own and ticks[at + X_OWN] == 1:
        return True
    count, head = ticks[at + X_COUNT], ticks[at + X_HEAD]
    if count > 0 and event_ns <= ticks[at + X_NEWEST]:
        for back in range(1, count + 1):
            place = (head + count - back) % capacity
            if ring_ticks[r + place] < event_ns:
                break
            if ring_ticks[r + place] == event_ns and revision >= ring_ticks[r + 2 * capacity + place]:
                ring[r + capacity + place] = value
                ring_ticks[r + 2 * capacity + place] = revision
                ticks[at + X_CHANGED] = 1
        return True
    # One observation at or before the window's beginning is kept: a change is measured from it.
    while count > 1 and ring_ticks[r + (head + 1) % capacity] <= event_ns - code[j, WINDOW]:
        head = (head + 1) % capacity
        count -= 1
    ticks[at + X_COUNT], ticks[at + X_HEAD] = count, head
    if count == capacity:
        return False
    place = (head + count) % capacity
    ring_ticks[r + place] = event_ns
    ring[r + capacity + place] = value
    ring_ticks[r + 2 * capacity + place] = revision
    if count == 0:
        ticks[at + X_FIRST] = event_ns
    ticks[at + X_COUNT] = count + 1
    ticks[at + X_NEWEST] = event_ns
    ticks[at + X_CHANGED] = 1
    return True


@inner
def score_of_ring(
    ring: Floats, ring_ticks: Ints, r: int, capacity: int, head: int, count: int, since_ns: int, least: float
) -> float:
    """Standard score of the newest observation against those since a time and before it."""
    n = 0
    total = 0.0
    for i in range(count - 1):
        place = (head + i) % capacity
        if ring_ticks[r + place] >= since_ns:
            n += 1
            total += ring[r + capacity + place]
    if n < least:
        return NAN
    mean = total / n
    squares = 0.0
    for i in range(count - 1):
        place = (head + i) % capacity
        if ring_ticks[r + place] >= since_ns:
            squares += (ring[r + capacity + place] - mean) ** 2
    apart: float = ring[r + capacity + (head + count - 1) % capacity] - mean
    if squares > 0.0:
        return apart / math.sqrt(squares / n)
    return 0.0 if apart == 0.0 else math.inf


@inner
def metric_value(
    code: Ints,
    par: Floats,
    slab: Floats,
    ticks: Ints,
    ring: Floats,
    ring_ticks: Ints,
    r: int,
    capacity: int,
    j: int,
    at: int,
    now_ns: int,
) -> float:
    """Level, change, standard score or age in hours; NaN while the window isn't covered yet."""
    op = code[j, OP]
    count, head, newest = ticks[at + X_COUNT], ticks[at + X_HEAD], ticks[at + X_NEWEST]
    if op == STALENESS:
        age: float = (now_ns - newest) / HOUR
        return age
    value: float = ring[r + capacity + (head + count - 1) % capacity]
    since = newest - code[j, WINDOW]
    if op == CHANGE:
        if ring_ticks[r + head] > since:
            return NAN
        before = ring[r + capacity + head]
        change: float = value / before - 1.0 if par[j, 0] != 0.0 else value - before
        return change if change == change else math.inf
    if op == METRIC_ZSCORE:
        if ticks[at + X_FIRST] > since:
            return NAN
        if ticks[at + X_CHANGED] == 1:  # two passes over the window, once per observation that is read
            slab[at + X_VALUE] = score_of_ring(ring, ring_ticks, r, capacity, head, count, since, par[j, 1])
            ticks[at + X_CHANGED] = 0
        value = slab[at + X_VALUE]
    return value


@kernel
def read_metric(
    code: Ints,
    par: Floats,
    slab: Floats,
    ticks: Ints,
    ring: Floats,
    ring_ticks: Ints,
    r: int,
    capacity: int,
    j: int,
    at: int,
    now_ns: int,
) -> tuple[float, int]:
    """(value, state) of a signal moved by a metric."""
    value = NAN
    state = WARMING
    if ticks[at + X_COUNT] > 0:
        value = metric_value(code, par, slab, ticks, ring, ring_ticks, r, capacity, j, at, now_ns)
        state = OK
        if value != value and code[j, OP] in (CHANGE, METRIC_ZSCORE):
            state = WARMING
        elif 0 < code[j, MAX_AGE_NS] < now_ns - ticks[at + X_NEWEST]:
            state = STALE
    state = verdict(par, j, value, state)
    return (value if state == OK else NAN), state


@kernel
def metric_targets(scope: int, coin: int, symbols: int) -> tuple[int, int]:
    """Symbols [from, to) that an observation concerns: of the market, with no coin named, it is all of them."""
    if scope == OWN_COIN and coin < 0:
        return 0, symbols
    return targets(scope, coin, symbols)


@kernel
def batch_metrics(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, ring: Floats, ring_ticks: Ints, j: int,
    coin: Ints, event_ns: Ints, known_ns: Ints, observed: Floats, revision: Ints,
    decide_ns: Ints, cutoff_ns: Ints, rows: Floats, states: Bytes,
) -> bool:  # fmt: skip
    """Any signal moved by a metric over history; False when a ring was too small and nothing holds."""
    m = rows.shape[1]
    width = len(slab) // m
    capacity = len(ring) // (3 * m)
    at = code[j, AT]
    f = 0
    for i in range(len(decide_ns)):
        while f < len(coin) and known_ns[f] <= cutoff_ns[i]:
            begin, end = metric_targets(code[j, SCOPE], coin[f], m)
            for k in range(begin, end):
                if not learn_metric(
                    code,
                    ticks,
                    ring,
                    ring_ticks,
                    3 * capacity * k,
                    capacity,
                    j,
                    k * width + at,
                    coin[f],
                    event_ns[f],
                    observed[f],
                    revision[f],
                ):
                    return False
            f += 1
        for k in range(m):
            value, state = read_metric(
                code, par, slab, ticks, ring, ring_ticks, 3 * capacity * k, capacity, j, k * width + at, decide_ns[i]
            )
            note(rows, states, i, k, j, value, state)
    return True
