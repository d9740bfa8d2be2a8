"""Stored facts as a run takes them: what each post is worth and which coin it is about. The same for history and live.

A backtest makes its tapes here and a live feed its events, so that a post weighs the same in both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backtest.result import InputShare
from backtest.spec import RunSpec, coin_of
from data.errors import InputError
from data.gaps import POSTS_UP, Outages
from data.store import Store
from risk.records import Array
from signals.guard import SMALL_FOLLOWERS
from signals.inputs import MetricTape, SentimentTape, ids_of
from signals.mood import post_weights
from signals.ops import GAP, SMALL

SENTIMENT = (
    *("source", "coin", "event_ns", "known_ns", "revision", "quality", "score"),
    *("followers", "author", "cluster", "flags"),
)
MARKERS = ("source", "event_ns", "known_ns", "value", "quality")
METRICS = ("source", "coin", "event_ns", "known_ns", "revision", "quality", "value")
NUMBERS = {"event_ns", "known_ns", "revision", "value", "score", "followers", "cluster", "flags"}


def other_coins(spec: RunSpec) -> tuple[str, ...]:
    """Coins that signals name and no symbol trades, in alphabetical order."""
    own = [coin_of(symbol) for symbol in spec.symbols]
    named = {
        coin
        for signal in spec.strategy.signals.values()
        for _, _, coin in signal.facts()
        if coin not in (None, "*", *own)
    }
    return tuple(sorted(str(coin) for coin in named))


def coins_of(spec: RunSpec) -> tuple[str, ...]:
    """All coins whose facts a run takes: those of its symbols in their order, then others that signals name."""
    return (*(coin_of(symbol) for symbol in spec.symbols), *other_coins(spec))


def needs_posts(spec: RunSpec) -> bool:
    """Whether a signal of the run's strategy looks at posts."""
    return any(kind == "sentiment" for signal in spec.strategy.signals.values() for kind, _, _ in signal.facts())


def metric_names(spec: RunSpec) -> list[str]:
    """Metrics that the strategy's signals look at, in alphabetical order."""
    facts = {fact for signal in spec.strategy.signals.values() for fact in signal.facts()}
    return sorted({name for kind, name, _ in facts if kind == "metrics"})


def sentiment_where(spec: RunSpec, coins: Sequence[str]) -> dict[str, list[str]]:
    """Which scores a run takes: of its pinned model, about its coins or the market."""
    return {"model": [spec.model], "model_revision": [spec.model_revision], "coin": [*coins, "*"]}


def metric_where(name: str, coins: Sequence[str]) -> dict[str, list[str]]:
    """Which values of a metric a run takes: about its coins or the market."""
    return {"name": [name], "coin": [*coins, "*"]}


def unknown_coins(spec: RunSpec, sentiment: SentimentTape, metrics: Mapping[str, MetricTape]) -> list[str]:
    """What signals look at and no fact of the run is about, in a sentence each: they never get ready there."""
    coins = coins_of(spec)
    told = {("metrics", name): _places(tape.coin) for name, tape in metrics.items()}
    told["sentiment", ""] = _places(sentiment.coin[(sentiment.flags & GAP) == 0])
    lacking: dict[str, set[str]] = {}
    for signal in spec.strategy.signals.values():
        for kind, name, coin in signal.facts():
            there = told[kind, name]
            if coin == "*" or (coin is None and kind == "metrics" and -1 in there):
                continue  # a metric of the market stands for that of a coin
            wanted = range(len(spec.symbols)) if coin is None else [coins.index(coin)]
            lacking.setdefault(name or "scored post", set()).update(coins[k] for k in wanted if k not in there)
    return [
        f"no {name} of {', '.join(sorted(missing))} is stored: signals of it never get ready there"
        for name, missing in sorted(lacking.items())
        if missing
    ]


def _places(coin: Array) -> set[int]:
    """Which coins there are among many, by their places; -1 for the market."""
    return set((np.flatnonzero(np.bincount(coin + 1)) - 1).tolist())


def read_columns(
    store: Store, kind: str, where: Mapping[str, Any], since_ns: int | None, until_ns: int | None, names: Sequence[str]
) -> dict[str, Any]:
    """Columns of stored facts known in `[since_ns, until_ns)`: numbers as arrays, texts as lists."""
    table = store.table(kind, where, since_ns, until_ns, columns=list(names))
    return table_columns(table, names)


def table_columns(table: Any, names: Sequence[str]) -> dict[str, Any]:
    """Columns of an Arrow table: numbers as arrays, texts as lists."""
    return {name: table[name].to_numpy() if name in NUMBERS else table[name].to_pylist() for name in names}


def coin_index(column: Sequence[str], coins: Sequence[str]) -> Array:
    """Places of coins among those of the run, i8[f]; -1 for the market."""
    places = {coin: place for place, coin in enumerate(coins)}
    places["*"] = -1
    return np.fromiter((places[coin] for coin in column), np.int64, len(column))


def sentiment_tape(rows: Mapping[str, Any], coins: Sequence[str], weights: Mapping[str, float]) -> SentimentTape:
    """Scored posts from the columns `SENTIMENT`.

    Parameters
    ----------
    weights : mapping of source to float
        What a post weighs by where it was written: 1 where nothing is said.
    """
    source = rows["source"]
    by_source = np.fromiter((weights.get(name, 1.0) for name in source), float, len(source))
    return SentimentTape(
        coin=coin_index(rows["coin"], coins),
        event_ns=rows["event_ns"],
        known_ns=rows["known_ns"],
        score=rows["score"],
        weight=post_weights(rows["followers"], by_source),
        author=ids_of(rows["author"]),
        source=ids_of(source),
        revision=rows["revision"],
        cluster=rows["cluster"],
        flags=rows["flags"] | np.where(rows["followers"] >= SMALL_FOLLOWERS, 0, SMALL),
    )


def marker_where() -> dict[str, list[str]]:
    """Which metrics say that a feed of posts was down."""
    return {"name": [POSTS_UP], "coin": ["*"]}


def gap_tape(rows: Mapping[str, Any], coins: Sequence[str], outages: Outages) -> SentimentTape:
    """Rows that tell signals until when posts are missing (`signals.ops.GAP`), from the columns `MARKERS`.

    Parameters
    ----------
    outages : Outages
        Has seen the posts that are known by then; it goes on from here with later markers.
    """
    known, until = [], []
    for source, event_ns, known_ns, value, _ in zip(*(rows[name] for name in MARKERS), strict=True):
        missing = outages.take(source, int(event_ns), int(known_ns), float(value))
        if missing is not None:
            known.append(int(known_ns))
            until.append(missing)
    about = np.arange(-1, len(coins))
    at = np.repeat(np.array(known, np.int64), len(about))
    none = np.zeros(len(at))
    return SentimentTape(
        coin=np.tile(about, len(known)), event_ns=at, known_ns=at, score=none, weight=none, author=none, source=none,
        revision=none, cluster=np.repeat(np.array(until, np.int64), len(about)), flags=np.full(len(at), GAP),
    )  # fmt: skip


def read_gaps(
    store: Store, coins: Sequence[str], posts: Mapping[str, Any], outages: Outages, until_ns: int | None
) -> tuple[SentimentTape, dict[str, Any]]:
    """When feeds of some posts were down, from the beginning of the store on, and the markers that say so.

    Parameters
    ----------
    posts : columns
        ``source`` and ``known_ns`` of all the scored posts known before `until_ns`, in order.
    outages : Outages
        Fresh; it has seen posts and markers afterwards.
    """
    backwards = zip(reversed(posts["source"]), reversed(posts["known_ns"].tolist()), strict=True)
    for source, known_ns in dict(backwards).items():  # the last word on each source is its first post
        outages.seen(source, known_ns)
    markers = read_columns(store, "metrics", marker_where(), None, until_ns, MARKERS)
    return gap_tape(markers, coins, outages), markers


def join_tapes(gaps: SentimentTape, posts: SentimentTape) -> SentimentTape:
    """Both in one, in order of known_ns; at the same moment what is missing comes first."""
    if not len(gaps):
        return posts
    order = np.argsort(np.concatenate([gaps.known_ns, posts.known_ns]), kind="stable")
    joined = {name: np.concatenate([column, getattr(posts, name)])[order] for name, column in vars(gaps).items()}
    return SentimentTape(**joined)


def metric_tape(rows: Mapping[str, Any], coins: Sequence[str]) -> MetricTape:
    """Observations of one metric from the columns `METRICS`."""
    return MetricTape(
        coin=coin_index(rows["coin"], coins),
        event_ns=rows["event_ns"],
        known_ns=rows["known_ns"],
        value=rows["value"],
        revision=rows["revision"],
    )


def share_of(kind: str, name: str, rows: Mapping[str, Any], digest: str) -> InputShare:
    """What a report says of facts that a run read: rows in order of known_ns, and their hash."""
    kinds, counts = np.unique(np.asarray(rows["quality"], dtype=str), return_counts=True)
    sources = sorted(set(rows["source"]))
    known = np.asarray(rows["known_ns"])
    return InputShare(
        kind=kind,
        name=name,
        source=", ".join(sources),
        rows=len(known),
        first_ns=int(known[0]),
        last_ns=int(known[-1]),
        sha256=digest,
        quality={str(k): int(c) for k, c in zip(kinds, counts, strict=True)},
    )


def check_metric(name: str, rows: Mapping[str, Any], allow_revised: Sequence[str]) -> None:
    """Refuse what makes a metric's past look better than it was.

    Raises
    ------
    InputError
        It has several sources, or values revised later that weren't allowed by name.
    """
    sources = sorted(set(rows["source"]))
    if len(sources) > 1:
        raise InputError(
            "a metric has several sources", key="metric", value=f"{name}: {', '.join(sources)}",
            remedy="'tidegate data --forget' all but one",
        )  # fmt: skip
    if "revised" in set(rows["quality"]) and name not in allow_revised:
        raise InputError(
            "a metric holds values that were revised later than they were true", key="run.allow_revised", value=name,
            remedy=f'allow it by name: allow_revised = ["{name}"]; its past may look better than it was',
        )  # fmt: skip
