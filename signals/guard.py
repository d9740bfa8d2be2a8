"""Who is behind the posts: near-duplicates count less, a flood freezes a coin's mood, one source alone can't turn it.

How much a post counts is settled once, at its arrival, by what had arrived by then:

- The k-th of near-duplicates about a coin counts 1 / k, until their text wasn't seen for a day.
- Control 21. As soon as there are `posts` of them in an hour, two shares of the posts about a coin are looked at: those
  that repeat another, and those with hidden marks, look-alike letters or a label before the text, each less its usual
  share. In a burst, posts an hour beyond `z` deviations of what is usual, also of the newest 128 alone, and there those
  of the newest post's near-duplicates, of its author, and, less their usual shares, of its source and of strangers:
  authors whom few follow (or nobody knows how many) and whose first post came within a day. A share of `share` is a
  flood: for `pause` after its last sign the coin's mood is suspect, no post about it counts, and what the last one to
  two hours had contributed is taken back. A burst alone is none: a genuine wave is one.
- Control 22. A post that would, alone or with those before it, move the mood by more than `jump` from where it was one
  to two hours ago needs a witness: within the hour another source said the same, in another text, by another author.
  Without one it counts for no more than takes the mood to that bound, and the mood is suspect for an hour, or until a
  witness comes: one source alone never turns a mood at once. (The mood meant is `Mood` with its defaults.)

What is usual is learned bucket by bucket of five minutes, over about a week of volume and 500 buckets of posts, a burst
cut off at its limit, so that a flood can't make itself usual at once. Volume is judged from a coin's second day on,
strangers from its eighth: in a new coin every author is one. Memory is fixed: see `signals.kernels_guard`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from signals.inputs import Array, Inputs, SentimentTape
from signals.ops import FINE, JUMP, OWN_COIN, scope_of

SMALL_FOLLOWERS = 100.0
WHY = (
    "", "near-duplicates", "hidden marks, look-alike letters or labels", "one template", "one author",
    "unknown authors", "one source", "one source alone",
)  # fmt: skip


@dataclass(frozen=True)
class GuardLimits:
    """Limits of controls 21 and 22, as `risk.limits.Limits` has them; the default looks for near-duplicates only."""

    posts: float = math.inf
    z: float = math.inf
    share: float = math.inf
    pause_ns: int = 0
    jump: float = math.inf


OFF = GuardLimits()


@dataclass(frozen=True)
class Verdicts:
    """What became of each post of a tape; see `signals.kernels_guard.judge_post`."""

    share: Array  # f8[f]
    until_ns: Array  # i8[f]
    back: Array  # i8[f]
    why: Array  # i8[f]
    observed: Array  # f8[f]


class Guard:
    """State of the judgement of one stream of posts.

    Parameters
    ----------
    limits : GuardLimits
    coins : int
        How many coins there are besides the market.
    """

    def __init__(self, limits: GuardLimits, coins: int) -> None:
        from signals import kernels_guard, kernels_tables  # which a run on prices alone never loads

        self.limits = limits
        self._kernels: Any = kernels_guard
        self._par = np.array([limits.posts, limits.z, limits.share, limits.pause_ns, limits.jump])
        self._slab = np.zeros((coins + 1) * kernels_guard.COIN_SLOTS)
        self._authors = np.zeros(kernels_tables.TABLE_PLACES * kernels_tables.TABLE_SLOTS, np.int64)
        self._clusters = self._authors.copy()

    @property
    def _state(self) -> Any:
        return self._par, self._slab, self._slab.view(np.int64), self._authors, self._clusters

    def judge(
        self, coin: int, event_ns: int, known_ns: int, score: float, weight: float,
        author: int, source: int, cluster: int, flags: int, revision: int, trusted: int,
    ) -> tuple[float, int, int, int, float]:  # fmt: skip
        """One post; see `signals.kernels_guard.judge_post`."""
        post: Any = (coin, event_ns, known_ns, score, weight, author, source, cluster, flags, revision, trusted)
        found: tuple[float, int, int, int, float] = self._kernels.judge_post(*self._state, *post)
        return found

    def judge_all(self, tape: SentimentTape) -> Verdicts:
        """Every post of a tape in turn."""
        count = len(tape)
        found = Verdicts(
            np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64),
            np.zeros(count),
        )  # fmt: skip
        posts: Any = (
            tape.coin, tape.event_ns, tape.known_ns, tape.score, tape.weight, tape.author, tape.source, tape.cluster,
            tape.flags, tape.revision, tape.trusted,
        )  # fmt: skip
        self._kernels.judge_posts(*self._state, *posts, *vars(found).values())
        return found

    def snapshot(self) -> dict[str, Array]:
        """Copy of all it remembers."""
        return {name: getattr(self, name).copy() for name in ("_slab", "_authors", "_clusters")}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        for name, value in snapshot.items():
            setattr(self, name, np.array(value))


def verdicts(inputs: Inputs, limits: GuardLimits = OFF) -> Verdicts:
    """What became of each post of a run's inputs; found once for the same limits."""
    found: dict[GuardLimits, Verdicts] = inputs.__dict__.setdefault("_verdicts", {})
    if limits not in found:
        found[limits] = Guard(limits, len(inputs.coins)).judge_all(inputs.sentiment)
    return found[limits]


def is_flood(why: int) -> bool:
    """Whether a post was discounted by control 21."""
    return why not in (FINE, JUMP)


def floods(inputs: Inputs, limits: GuardLimits, coin: str | None) -> tuple[Array, Array]:
    """(known_ns i8[n], symbol i8[n]) of the posts by which control 21 was breached, and the symbols that it concerns.

    coin: whose posts are looked at: a ticker's or the market's ("*") concern every symbol, None is each symbol's own.
    """
    tape, judged = inputs.sentiment, verdicts(inputs, limits)
    symbols = len(inputs.symbols)
    breached = (judged.why != FINE) & (judged.why != JUMP)
    scope = scope_of(coin, inputs.coins)
    if scope == OWN_COIN:
        mine = np.flatnonzero(breached & (tape.coin >= 0) & (tape.coin < symbols))
        return tape.known_ns[mine], tape.coin[mine]
    theirs = np.flatnonzero(breached & (tape.coin == scope))
    return np.repeat(tape.known_ns[theirs], symbols), np.tile(np.arange(symbols), len(theirs))
