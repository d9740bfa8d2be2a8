"""What the crowd says: scored posts that fade with time, how many there are, how far they disagree, what is new.

A post counts from when its score was known and fades from when it was written, so that one that comes late counts for
what is left of it. It weighs its source's weight times the capped logarithm of its author's followers, over its place
among its near-duplicates (`signals.guard`, which also says when posts don't count at all: then these signals are
suspect, and a strategy holds). Only the first score of a post counts, with the followers known then: a later revision,
with the attention it had drawn by then, is hindsight. Memory is a few sums per symbol, however many posts there are.

Sources fade together: where one falls silent, its part of the mood gives way to the others' as its posts fade, by at
most 2 * (1 - 2 ** (-t / half_life)) within a time t, and never at once. How old the newest post is says `MoodAge`; no
signal outlives its `max_age`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from data.errors import InputError
from data.times import HOUR_NS
from signals import ops
from signals.signal import NEVER, Recipe, Setting, Signal, Span, amount_of, count_of, span_ns

if TYPE_CHECKING:
    from signals.inputs import Array

FOLLOWERS_CAP = 1e6
FADED_OUT = 4  # half-lives without a post after which a mood is stale, by default


def post_weight(followers: float, source_weight: float = 1.0) -> float:
    """How much a post counts: its source's weight times 1 to 7, by the logarithm of the author's followers.

    Parameters
    ----------
    followers : float
        NaN when unknown, which counts as none; more than a million count as a million.
    source_weight : float
        Weight of the source, not below 0.

    Examples
    --------
    >>> post_weight(99), post_weight(math.nan), post_weight(1e9, source_weight=0.5)
    (3.0, 1.0, 3.5)
    """
    reach = min(max(followers, 0.0), FOLLOWERS_CAP) if followers == followers else 0.0
    return source_weight * (1.0 + min(math.log10(1.0 + reach), 6.0))


def post_weights(followers: Array, source_weight: Array | float = 1.0) -> Array:
    """`post_weight` of many posts at once, f8[f]."""
    import numpy as np

    reach = np.clip(np.nan_to_num(np.asarray(followers, dtype=float)), 0.0, FOLLOWERS_CAP)
    return np.asarray(source_weight * (1.0 + np.minimum(np.log10(1.0 + reach), 6.0)), dtype=float)


class _Posts(Signal):
    """A signal moved by posts."""

    kind = "sentiment"

    def _settle_coin(self) -> None:
        coin = self.arguments["coin"]
        if coin is not None and not (isinstance(coin, str) and coin):
            raise InputError(
                "has to be a ticker, '*' for the market, or None for each symbol's own", key="coin", value=coin
            )
        self.coin: str | None = coin

    def _default_age(self, age_ns: int) -> None:
        if self.arguments["max_age"] is None:
            self.max_age_ns = age_ns

    def facts(self) -> tuple[tuple[str, str, str | None], ...]:
        return (("sentiment", "", self.coin),)

    def scope(self, coins: tuple[str, ...]) -> int:
        return ops.scope_of(self.coin, coins)


class Mood(_Posts):
    """Mean score of the posts about a coin, weighted by author and source, each fading with a half-life.

    At a decision at T it is  sum(w s f) / (sum(w f) + prior)  with f = 2 ** (-(T - event) / half_life). The prior is a
    weight of neutral posts: it draws a mood made of little towards 0. Ready when the weight was once `min_weight`;
    stale when no post came for `max_age`.

    Parameters
    ----------
    half_life : duration
        After which a post counts half.
    prior : float
        Weight of a neutral opinion that is always there.
    min_weight : float
        Weight of posts, faded, from which on it is ready.
    coin : str, optional
        A ticker, "*" for posts about the market as a whole; each symbol's own by default.
    max_age : duration or "never", optional
        By default four half-lives.
    seen : (float, float), optional
        A value outside of this range is suspect: the symbol is held as it is.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import SentimentTape, of_closes
    >>> posts = SentimentTape(coin=[0, 0], event_ns=[0, 0], known_ns=[1, 2], score=[0.5, 1.0], weight=[1.0, 1.0],
    ...                       author=[0, 1], source=[0, 0], revision=[0, 0])
    >>> evaluate({"mood": Mood(half_life="1h", prior=1.0)}, of_closes([1.0, 1.0], sentiment=posts))[0][:, 0, 0]
    array([0.375, 0.25 ])
    """

    def __init__(
        self,
        half_life: Span = "6h",
        *,
        prior: Setting = 1.0,
        min_weight: Setting = 1.0,
        coin: str | None = None,
        max_age: Span = None,
        seen: Setting = None,
    ) -> None:
        self._declare(half_life=half_life, prior=prior, min_weight=min_weight, coin=coin, max_age=max_age, seen=seen)

    def settle(self) -> None:
        name = type(self).__name__
        self.half_life_ns = span_ns(self.arguments["half_life"], f"{name}.half_life")
        self.prior = amount_of(self.arguments.get("prior", 0.0), f"{name}.prior")
        self.min_weight = amount_of(self.arguments["min_weight"], f"{name}.min_weight")
        self._settle_coin()
        self._default_age(FADED_OUT * self.half_life_ns)

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.MOOD, slots=ops.MOOD_SLOTS, params=(self.half_life_ns, 1.0, self.prior, self.min_weight))

    def lookback_ns(self, bar_ns: int) -> int:
        return 10 * self.half_life_ns  # a thousandth is left of a post then


class MoodChange(Mood):
    """How the mood turns: the mood by a short half-life less the mood by a long one.

    Parameters
    ----------
    half_life, against : duration
        The short and the long half-life.
    prior, min_weight, coin, max_age, seen
        As for `Mood`; the weight is that by the short half-life.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import SentimentTape, of_closes
    >>> posts = SentimentTape(coin=[0], event_ns=[0], known_ns=[1], score=[1.0], weight=[1.0],
    ...                       author=[0], source=[0], revision=[0])
    >>> evaluate({"turn": MoodChange("1h", against="2h")}, of_closes([1.0, 1.0], sentiment=posts))[0][1, 0, 0].round(6)
    np.float64(-0.133333)
    """

    def __init__(
        self,
        half_life: Span = "2h",
        *,
        against: Span = "1d",
        prior: Setting = 1.0,
        min_weight: Setting = 1.0,
        coin: str | None = None,
        max_age: Span = None,
        seen: Setting = None,
    ) -> None:
        self._declare(
            half_life=half_life,
            against=against,
            prior=prior,
            min_weight=min_weight,
            coin=coin,
            max_age=max_age,
            seen=seen,
        )

    def settle(self) -> None:
        super().settle()
        self.against_ns = span_ns(self.arguments["against"], "MoodChange.against")
        if self.against_ns <= self.half_life_ns:
            raise InputError(
                "has to be longer than half_life", key="MoodChange.against", value=self.arguments["against"]
            )

    def recipe(self, bar_ns: int) -> Recipe:
        params = (self.half_life_ns, self.against_ns, self.prior, self.min_weight)
        return Recipe(ops.MOOD_CHANGE, slots=ops.MOOD_SLOTS, params=params)

    def lookback_ns(self, bar_ns: int) -> int:
        return 10 * self.against_ns


class _Weighed(Mood):
    """What is worked out of the posts' weights without a prior."""

    def __init__(
        self,
        half_life: Span = "6h",
        *,
        min_weight: Setting = 3.0,
        coin: str | None = None,
        max_age: Span = None,
        seen: Setting = None,
    ) -> None:
        self._declare(half_life=half_life, min_weight=min_weight, coin=coin, max_age=max_age, seen=seen)


class Disagreement(_Weighed):
    """Weighted standard deviation of the scores, fading as in `Mood`: 0 when all say the same, at most 1.

    Parameters
    ----------
    half_life, min_weight, coin, max_age, seen
        As for `Mood`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import SentimentTape, of_closes
    >>> posts = SentimentTape(coin=[0, 0], event_ns=[0, 0], known_ns=[1, 2], score=[1.0, -1.0], weight=[2.0, 2.0],
    ...                       author=[0, 1], source=[0, 0], revision=[0, 0])
    >>> evaluate({"split": Disagreement("1h")}, of_closes([1.0, 1.0], sentiment=posts))[0][:, 0, 0]
    array([1., 1.])
    """

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.DISAGREEMENT, slots=ops.MOOD_SLOTS, params=(self.half_life_ns, 1.0, 0.0, self.min_weight))


class MoodNovelty(_Weighed):
    """Share of the posts' weight, fading as in `Mood`, that says something new: 1 when none repeats another, near 0
    when a few texts are passed around.

    New is a post that counts in full: the first of its near-duplicates about the coin within a day, and not one of a
    jump that has no witness yet (`signals.guard`). Without clusters (scores imported without them) every text is new.

    Parameters
    ----------
    half_life, min_weight, coin, max_age, seen
        As for `Mood`; here near-duplicates weigh in full.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import SentimentTape, of_closes
    >>> posts = SentimentTape(coin=[0] * 4, event_ns=[0] * 4, known_ns=[1, 2, 3, 4], score=[1.0] * 4, weight=[2.0] * 4,
    ...                       author=[1, 2, 3, 4], source=[0] * 4, revision=[0] * 4, cluster=[7, 8, 8, 8])
    >>> evaluate({"fresh": MoodNovelty("1h")}, of_closes([1.0, 1.0], sentiment=posts))[0][:, 0, 0]
    array([0.5, 0.5])
    """

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.NOVELTY, slots=ops.MOOD_SLOTS, params=(self.half_life_ns, 1.0, 0.0, self.min_weight))


class MoodAge(_Posts):
    """Hours since the newest post that counted was written: a mood that nobody renews is no mood.

    Parameters
    ----------
    coin, seen
        As for `Mood`.

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import SentimentTape, of_closes
    >>> half = 1_800_000_000_000
    >>> posts = SentimentTape(coin=[0], event_ns=[half], known_ns=[half], score=[1.0], weight=[1.0],
    ...                       author=[0], source=[0], revision=[0])
    >>> evaluate({"age": MoodAge()}, of_closes([1.0, 1.0], sentiment=posts))[0][:, 0, 0]
    array([0.5, 1.5])
    """

    def __init__(self, *, coin: str | None = None, seen: Setting = None) -> None:
        self._declare(coin=coin, max_age=NEVER, seen=seen)

    def settle(self) -> None:
        self._settle_coin()

    def recipe(self, bar_ns: int) -> Recipe:
        return Recipe(ops.MOOD_AGE, slots=ops.MOOD_SLOTS, params=(HOUR_NS, 1.0, 0.0, 0.0))


class Attention(_Posts):
    """How many posts there are against what is usual: a standard score over buckets of time.

    The posts written in the running bucket (from, to] are compared with the mean and the standard deviation of those in
    each of the buckets of the window before it, without the running one. The deviation is taken to be at least one
    post, so that a single post after a silence isn't a sensation. A post is one whoever wrote it: what is felt is kept
    apart from how much is felt. Ready when the whole window lies after the first post known.

    Parameters
    ----------
    window : duration
        What is usual; a multiple of `every`.
    every : duration
        Length of a bucket. Within one the count can only rise: decide at its end, or take a rise as what it is.
    coin : str, optional
        As for `Mood`.
    max_age : duration or "never", optional
        By default the window.
    seen : (float, float), optional

    Examples
    --------
    >>> from signals import evaluate
    >>> from signals.inputs import SentimentTape, of_closes
    >>> hour = 3_600_000_000_000
    >>> times = [1, 2 * hour, 3 * hour, 4 * hour - 2, 4 * hour - 1, 4 * hour]
    >>> none = [0] * 6
    >>> posts = SentimentTape(coin=none, event_ns=times, known_ns=times, score=none, weight=[1.0] * 6,
    ...                       author=none, source=none, revision=none)
    >>> evaluate({"loud": Attention("2h")}, of_closes([1.0] * 4, sentiment=posts))[0][:, 0, 0]
    array([nan, nan, nan,  2.])
    """

    def __init__(
        self,
        window: Span = "7d",
        *,
        every: Span = "1h",
        coin: str | None = None,
        max_age: Span = None,
        seen: Setting = None,
    ) -> None:
        self._declare(window=window, every=every, coin=coin, max_age=max_age, seen=seen)

    def settle(self) -> None:
        self.every_ns = span_ns(self.arguments["every"], "Attention.every")
        self.window_ns = span_ns(self.arguments["window"], "Attention.window")
        self.buckets = count_of(self.window_ns / self.every_ns, "Attention.window / every", least=2)
        self._settle_coin()
        self._default_age(self.window_ns)

    def recipe(self, bar_ns: int) -> Recipe:
        slots = ops.ATTENTION_RING + self.buckets + 1 + ops.ATTENTION_SPARE
        return Recipe(ops.ATTENTION, slots=slots, column=self.every_ns, window=self.buckets)

    def lookback_ns(self, bar_ns: int) -> int:
        return self.window_ns + 2 * self.every_ns
