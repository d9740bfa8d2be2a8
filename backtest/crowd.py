"""Controls 21 and 22 in a run: which limits guard its posts, which bars a flood froze, and what was discounted.

Only a run whose strategy looks at sentiment comes here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backtest.load import RunInputs
from backtest.result import Discount
from backtest.spec import RunSpec
from risk.limits import Limits
from risk.novelty import FLOODED
from risk.records import R_FLOOD, R_TWO_SOURCES, Array
from signals.guard import WHY, GuardLimits, Verdicts, floods, verdicts
from signals.inputs import Inputs, SentimentTape
from signals.ops import FINE, JUMP


def guard_limits(limits: Limits) -> GuardLimits:
    """The limits of controls 21 and 22 among all limits of a run."""
    return GuardLimits(
        posts=float(limits.flood_posts),
        z=float(limits.flood_z),
        share=float(limits.flood_share),
        pause_ns=int(limits.flood_pause_ns),
        jump=float(limits.mood_jump),
    )


def mark_floods(spec: RunSpec, inputs: RunInputs, strange: Array) -> None:
    """Set the FLOODED bit of strange, u1[n, M] over all bars, where a flood was seen since the close before."""
    closes = inputs.signals.close_ns
    for coin in looked_at(spec):
        known, symbol = floods(inputs.signals, guard_limits(spec.limits), coin)
        bar = np.searchsorted(closes, known)
        inside = bar < len(closes)
        np.bitwise_or.at(strange, (bar[inside], symbol[inside]), np.uint8(FLOODED))


def discounted(spec: RunSpec, inputs: RunInputs) -> list[Discount]:
    """What didn't count, or not in full, in the span of a run; nothing when its strategy doesn't look at posts."""
    if not looked_at(spec):
        return []
    return discounts(inputs.signals, guard_limits(spec.limits), int(inputs.signals.decide_ns[inputs.first]))


def looked_at(spec: RunSpec) -> list[str | None]:
    """Coins whose posts the strategy's signals look at: tickers, "*" for the market, None for each symbol's own."""
    named = {fact[2] for signal in spec.strategy.signals.values() for fact in signal.facts() if fact[0] == "sentiment"}
    return sorted(named, key=str)


def discounts(inputs: Inputs, limits: GuardLimits, since_ns: int) -> list[Discount]:
    """What was discounted from a time on, and why: by coin, in order of time, near-duplicates last.

    Posts of one pause, and of jumps that follow each other within their hour, are told together.
    """
    tape, judged = inputs.sentiment, verdicts(inputs, limits)
    told: list[Discount] = []
    repeated: list[Discount] = []
    for coin in np.unique(tape.coin).tolist():
        name = "*" if coin < 0 else inputs.coins[coin]
        mine = np.flatnonzero((tape.coin == coin) & (judged.until_ns > 0) & (judged.share >= 0.0))
        told += [one for one in _pauses(tape, judged, limits, mine, name) if one.until_ns > since_ns]
        shared = np.flatnonzero(
            (tape.coin == coin) & (judged.share < 1.0) & (judged.share > 0.0) & (judged.why == FINE)
        )
        shared = shared[tape.known_ns[shared] >= since_ns]
        if len(shared):
            first, last = (int(tape.known_ns[shared[at]]) for at in (0, -1))
            worth = float(judged.share[shared].sum())
            repeated.append(
                Discount(name, 0, "near-duplicates, the k-th for 1/k", first, last, len(shared), 0, 0.0, worth)
            )
    return sorted(told, key=lambda one: (one.since_ns, one.coin)) + repeated


def _pauses(tape: SentimentTape, judged: Verdicts, limits: GuardLimits, mine: Array, name: str) -> list[Discount]:
    """The spans in which one coin's mood was suspect; `mine` are the posts about it after which it was, or had been."""
    found: list[dict[str, Any]] = []
    for f in mine.tolist():
        known, why = int(tape.known_ns[f]), int(judged.why[f])
        rule = R_TWO_SOURCES if why == JUMP else R_FLOOD
        if why == FINE and judged.share[f] > 0.0:
            if found and known < found[-1]["until_ns"] and judged.until_ns[f] <= known:
                found[-1]["until_ns"] = known  # a witness came
            continue
        if why != FINE and not (found and found[-1]["rule"] == rule and known < found[-1]["until_ns"]):
            limit = limits.jump if rule == R_TWO_SOURCES else limits.share
            found.append(
                {"coin": name, "rule": rule, "why": WHY[why], "since_ns": known, "posts": 0, "taken_back": 0}
                | {"limit": limit, "observed": 0.0, "until_ns": 0}
            )
        span = found[-1]
        span["posts"] += 1
        span["taken_back"] += int(judged.back[f])
        span["until_ns"] = max(span["until_ns"], int(judged.until_ns[f]))
        if judged.observed[f] > span["observed"]:
            span["observed"], span["why"] = float(judged.observed[f]), WHY[why]
    return [Discount(**span) for span in found]
