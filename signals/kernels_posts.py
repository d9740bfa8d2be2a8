"""Signals moved by posts in kernels: each post fades from the time it was written, and counts from when it was known.

Layout as in `signals.kernels_bars`. What a post is worth was judged before: `signals.kernels_guard`.
"""

import math

from signals.bare import inner, kernel
from signals.kernels import NAN, Bytes, Floats, Ints, finite
from signals.kernels_bars import note, verdict
from signals.ops import (
    AT,
    ATTENTION,
    ATTENTION_RING,
    ATTENTION_SPARE,
    COLUMN,
    DISAGREEMENT,
    MAX_AGE_NS,
    MOOD_AGE,
    MOOD_CHANGE,
    MOOD_WIDTH,
    NOVELTY,
    OK,
    OP,
    ORIGIN,
    OWN_COIN,
    SCOPE,
    STALE,
    SUSPECT,
    WARMING,
    WINDOW,
)

HOUR = 3600 * 10**9

# Slots of a mood: weight, weighted sum, time both are stated for, newest event, newest event of an unpinned model,
# ready, until when it is suspect, until when posts are missing, then weighted squares (disagreement), the weight of
# what is new (novelty), or weight and sum by the other half-life (change).
M_WEIGHT, M_SUM, M_TIME, M_NEWEST, M_UNPINNED, M_READY, M_UNTIL, M_GAP, M_OTHER, M_OTHER_SUM = range(10)
# Slots of attention, in the same places where they mean the same: newest bucket + 1, bucket of the first post known;
# counts.
A_HEAD, A_FIRST = 0, 1


@kernel
def targets(scope: int, coin: int, symbols: int) -> tuple[int, int]:
    """Symbols [from, to) that a fact about `coin` (-1: the market) concerns, for a signal of that scope."""
    if scope == OWN_COIN:
        return (coin, coin + 1) if 0 <= coin < symbols else (0, 0)
    return (0, symbols) if coin == scope else (0, 0)


# --- posts ------------------------------------------------------------------------------------------------------------


@inner
def faded(elapsed_ns: int, half_life_ns: float) -> float:
    """What is left of a weight after a time; never more than it was."""
    return math.exp2(-elapsed_ns / half_life_ns) if elapsed_ns > 0 else 1.0


@inner
def advance(slab: Floats, ticks: Ints, at: int, event_ns: int) -> int:
    """State a mood for the newest event it knows; how far this one lies ahead of what was the newest."""
    if slab[at + M_WEIGHT] == 0.0:
        ticks[at + M_TIME] = event_ns
    ahead: int = event_ns - ticks[at + M_TIME]
    ticks[at + M_TIME] = max(event_ns, ticks[at + M_TIME])
    return ahead


@inner
def keep_past(ticks: Ints, at: int, width: int, now_ns: int) -> None:
    """Remember slots as they were when this hour and the one before it began, behind the slots themselves.

    Layout: `width` slots, their copies of this hour, those of the hour before, and the number of this hour.
    """
    hour = now_ns // HOUR
    newer, older, when = at + width, at + 2 * width, at + 3 * width
    if hour <= ticks[when]:
        return
    follows = hour == ticks[when] + 1
    for i in range(width):
        ticks[older + i] = ticks[newer + i] if follows else ticks[at + i]
        ticks[newer + i] = ticks[at + i]
    ticks[when] = hour


@inner
def take_back(ticks: Ints, at: int, width: int) -> None:
    """Back to what was remembered of the hour before this one: one to two hours ago."""
    for i in range(width):
        ticks[at + i] = ticks[at + 2 * width + i]
        ticks[at + width + i] = ticks[at + 2 * width + i]


@inner
def learn_mood(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, at: int, event_ns: int, score: float, weight: float,
    is_new: bool,
) -> None:  # fmt: skip
    """One post into the accumulators; one that comes late counts for what is left of it."""
    op = code[j, OP]
    ahead = advance(slab, ticks, at, event_ns)
    old, new = faded(ahead, par[j, 0]), faded(-ahead, par[j, 0])
    slab[at + M_WEIGHT] = slab[at + M_WEIGHT] * old + weight * new
    slab[at + M_SUM] = slab[at + M_SUM] * old + weight * new * score
    if op == DISAGREEMENT:
        slab[at + M_OTHER] = slab[at + M_OTHER] * old + weight * new * score * score
    elif op == NOVELTY:
        slab[at + M_OTHER] = slab[at + M_OTHER] * old + (weight * new if is_new else 0.0)
    elif op == MOOD_CHANGE:
        slow_old, slow_new = faded(ahead, par[j, 1]), faded(-ahead, par[j, 1])
        slab[at + M_OTHER] = slab[at + M_OTHER] * slow_old + weight * slow_new
        slab[at + M_OTHER_SUM] = slab[at + M_OTHER_SUM] * slow_old + weight * slow_new * score
    if slab[at + M_WEIGHT] >= par[j, 3]:
        ticks[at + M_READY] = 1


@inner
def mood_value(code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, at: int, now_ns: int) -> float:
    """Mood, its change, disagreement, novelty or age at a time; reading changes nothing."""
    op = code[j, OP]
    weight, total = slab[at + M_WEIGHT], slab[at + M_SUM]
    if op == MOOD_AGE:
        return float((now_ns - ticks[at + M_NEWEST]) / HOUR)
    if op == NOVELTY:
        return float(slab[at + M_OTHER] / weight)
    if op == DISAGREEMENT:
        mean = total / weight
        return math.sqrt(max(slab[at + M_OTHER] / weight - mean * mean, 0.0))
    elapsed = now_ns - ticks[at + M_TIME]
    left = faded(elapsed, par[j, 0])
    value: float = total * left / (weight * left + par[j, 2])
    if op == MOOD_CHANGE:
        left = faded(elapsed, par[j, 1])
        value -= slab[at + M_OTHER_SUM] * left / (slab[at + M_OTHER] * left + par[j, 2])
    return value


@inner
def learn_attention(code: Ints, slab: Floats, ticks: Ints, j: int, at: int, event_ns: int, known_ns: int) -> None:
    """Count one post in its bucket (from, to]."""
    length = code[j, COLUMN]
    size = code[j, WINDOW] + 1 + ATTENTION_SPARE
    bucket = (event_ns - 1) // length
    if ticks[at + M_READY] == 0:
        ticks[at + M_READY] = 1
        ticks[at + A_FIRST] = (known_ns - 1) // length
        ticks[at + A_HEAD] = bucket
        for i in range(size):
            slab[at + ATTENTION_RING + i] = 0.0
    head = ticks[at + A_HEAD]
    for empty in range(head + 1, min(bucket, head + size) + 1):
        slab[at + ATTENTION_RING + empty % size] = 0.0
    head = max(head, bucket)
    ticks[at + A_HEAD] = head
    if bucket > head - size:
        slab[at + ATTENTION_RING + bucket % size] += 1.0


@inner
def forget_attention(code: Ints, slab: Floats, ticks: Ints, j: int, at: int, known_ns: int) -> None:
    """Count nobody in the buckets of the last two hours: they were a flood. In longer ones few of it were counted."""
    length = code[j, COLUMN]
    if ticks[at + M_READY] == 0 or length > 2 * HOUR:
        return
    size = code[j, WINDOW] + 1 + ATTENTION_SPARE
    head = ticks[at + A_HEAD]
    for b in range(max((known_ns - 2 * HOUR) // length, head - size + 1), head + 1):
        slab[at + ATTENTION_RING + b % size] = 0.0


@inner
def attention_value(code: Ints, slab: Floats, ticks: Ints, j: int, at: int, now_ns: int) -> float:
    """Standard score of the running bucket's count against the buckets before it; NaN until those were seen."""
    window = code[j, WINDOW]
    size = window + 1 + ATTENTION_SPARE
    bucket = (now_ns - 1) // code[j, COLUMN]
    head = ticks[at + A_HEAD]
    if bucket - window <= ticks[at + A_FIRST]:
        return NAN
    total = squares = current = 0.0
    for b in range(max(bucket - window, head - size + 1), min(bucket, head) + 1):
        count = slab[at + ATTENTION_RING + b % size]
        if b == bucket:
            current = count
        else:
            total += count
            squares += count * count
    mean = total / window
    score: float = (current - mean) / math.sqrt(max(squares / window - mean * mean, 1.0))
    return score


@kernel
def learn_post(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, at: int,
    event_ns: int, known_ns: int, score: float, weight: float, revision: int, trusted: int,
    share: float, until_ns: int, back: int,
) -> None:  # fmt: skip
    """One scored post into signal `j`. Only a post's first score counts, of a pinned model.

    share, until_ns, back: what `signals.kernels_guard.judge_post` made of it; a share below 0 is no post but says until
    when posts are missing.
    """
    if share < 0.0:
        ticks[at + M_GAP] = until_ns
        return
    if revision != 0 or not finite(score) or not weight > 0.0:
        return
    if trusted == 0:
        ticks[at + M_UNPINNED] = max(ticks[at + M_UNPINNED], event_ns)
        return
    op = code[j, OP]
    if op != ATTENTION:
        keep_past(ticks, at, MOOD_WIDTH, known_ns)
    if back != 0:
        if op == ATTENTION:
            forget_attention(code, slab, ticks, j, at, known_ns)
        else:
            missing_until = ticks[at + M_GAP]  # a feed's silence isn't taken back with a flood
            take_back(ticks, at, MOOD_WIDTH)
            ticks[at + M_GAP] = missing_until
    ticks[at + M_UNTIL] = until_ns
    if not share > 0.0:
        return
    if op == ATTENTION:
        learn_attention(code, slab, ticks, j, at, event_ns, known_ns)
    else:
        counted = weight if op == NOVELTY else weight * share
        learn_mood(code, par, slab, ticks, j, at, event_ns, score, counted, share == 1.0)
    ticks[at + M_NEWEST] = max(ticks[at + M_NEWEST], event_ns)


@kernel
def read_post(code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int, at: int, now_ns: int) -> tuple[float, int]:
    """(value, state) of a signal moved by posts."""
    state = OK
    value = NAN
    if ticks[at + M_READY] == 0:
        state = WARMING
    elif code[j, OP] == ATTENTION:
        value = attention_value(code, slab, ticks, j, at, now_ns)
        if value != value:
            state = WARMING
    else:
        value = mood_value(code, par, slab, ticks, j, at, now_ns)
    if state == OK and 0 < code[j, MAX_AGE_NS] < now_ns - ticks[at + M_NEWEST]:
        state = STALE
    if state != WARMING and now_ns < max(ticks[at + M_UNTIL], ticks[at + M_GAP]):
        state = SUSPECT
    if state != OK and ticks[at + M_UNPINNED] > ticks[at + M_NEWEST]:
        state = ORIGIN
    state = verdict(par, j, value, state)
    return (value if state == OK else NAN), state


@kernel
def batch_posts(
    code: Ints, par: Floats, slab: Floats, ticks: Ints, j: int,
    coin: Ints, event_ns: Ints, known_ns: Ints, score: Floats, weight: Floats, revision: Ints, trusted: Bytes,
    share: Floats, until_ns: Ints, back: Ints,
    decide_ns: Ints, cutoff_ns: Ints, rows: Floats, states: Bytes,
) -> None:  # fmt: skip
    """Any signal moved by posts over history."""
    m = rows.shape[1]
    width = len(slab) // m
    at = code[j, AT]
    f = 0
    for i in range(len(decide_ns)):
        while f < len(coin) and known_ns[f] <= cutoff_ns[i]:
            begin, end = targets(code[j, SCOPE], coin[f], m)
            for k in range(begin, end):
                learn_post(
                    code, par, slab, ticks, j, k * width + at,
                    event_ns[f], known_ns[f], score[f], weight[f], revision[f], trusted[f],
                    share[f], until_ns[f], back[f],
                )  # fmt: skip
            f += 1
        for k in range(m):
            value, state = read_post(code, par, slab, ticks, j, k * width + at, decide_ns[i])
            note(rows, states, i, k, j, value, state)
