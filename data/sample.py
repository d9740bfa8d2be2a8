"""The embedded sample: one seeded SYNTHETIC year of five symbols and their crowd, so that Tidegate runs with no files.

Nothing here happened. Real tickers are used so that entity linking has work to do; every source name begins with
"synthetic". In ETH and SOL the crowd's mood leads the price by a small planted edge, in BTC, ADA and DOGE it only
echoes past returns: a strategy on mood should find something in the first two, nothing in the others, and nothing
anywhere once the posts' times are shuffled. The size of the edge is what a demo needs, not what a market offers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from data.errors import InputError
from data.facts import MARKET_WIDE, fact_table
from data.sample_market import (
    COIN_NAMES,
    END_NS,
    HOUR_NS,
    HOURS,
    OUTAGE_HOUR,
    OUTAGE_HOURS,
    PLANTED,
    START_NS,
    SYMBOLS,
    Market,
    make_market,
)
from data.sample_metrics import SOURCE, metric_columns
from data.sample_posts import NEWS, SOCIAL, Plan, cut_plan, make_plan, post_columns
from data.sample_writer import MARKET_TOPIC, VOICES
from data.times import format_time

if TYPE_CHECKING:
    from data.store import Store

DEFAULT_SEED: Final = 7
INTERVAL_NS: Final = HOUR_NS
OUTAGE_NS: Final = (START_NS + OUTAGE_HOUR * HOUR_NS, START_NS + (OUTAGE_HOUR + OUTAGE_HOURS) * HOUR_NS)
KINDS: Final = ("bars", "metrics", "posts")
SOURCES: Final = (SOURCE, SOCIAL, NEWS)

__all__ = [
    "COIN_NAMES",
    "DEFAULT_SEED",
    "END_NS",
    "INTERVAL_NS",
    "OUTAGE_NS",
    "PLANTED",
    "SOURCES",
    "START_NS",
    "SYMBOLS",
    "SampleSummary",
    "sample_tables",
    "sample_truth",
    "write_sample",
]


@dataclass(frozen=True)
class SampleSummary:
    """What a sample holds and what writing it did; `str()` of it is the text to show, labelled synthetic.

    `planted` names the symbols in which mood leads price; `outage_ns` the one declared span without bars. `added` and
    `unchanged` count rows of all kinds: writing the same sample twice adds nothing.
    """

    seed: int
    since_ns: int
    until_ns: int
    symbols: tuple[str, ...]
    planted: tuple[str, ...]
    outage_ns: tuple[int, int]
    bars: int
    posts: int
    edited: int
    metrics: int
    added: int
    unchanged: int
    synthetic: bool = True

    def __str__(self) -> str:
        return (
            f"SYNTHETIC sample, seed {self.seed}: {format_time(self.since_ns)} to {format_time(self.until_ns)}, "
            f"{', '.join(self.symbols)} at 1h. {self.bars:,} bars, {self.posts:,} posts ({self.edited:,} edited), "
            f"{self.metrics:,} metric values. Nothing in it happened. A small edge of mood is planted in "
            f"{' and '.join(self.planted)}, none elsewhere; no bars from {format_time(self.outage_ns[0])} to "
            f"{format_time(self.outage_ns[1])}."
        )


def _checked_hours(hours: int | None) -> int:
    if hours is None:
        return HOURS
    if not 1 <= hours <= HOURS:
        raise InputError(
            "the sample can't be that long",
            key="hours",
            value=hours,
            remedy=f"Give 1 to {HOURS} hours, or leave it out",
        )
    return hours


def _checked_seed(seed: int) -> int:
    if seed < 0:
        raise InputError("a seed is a whole number from 0 on", key="seed", value=seed)
    return seed


def _bar_columns(market: Market, hours: int) -> dict[str, Any]:
    """Return the columns of the bars' table, symbol after symbol, without the outage."""
    number = np.arange(hours)
    open_hours = number[(number < OUTAGE_HOUR) | (number >= OUTAGE_HOUR + OUTAGE_HOURS)]
    open_ns = np.tile(market.open_ns[open_hours], len(SYMBOLS))
    prices = {name: getattr(market, name)[open_hours].T.ravel() for name in ("open", "high", "low", "close", "volume")}
    return {
        "source": SOURCE,
        "symbol": np.repeat(np.array(SYMBOLS), len(open_hours)),
        "interval_ns": INTERVAL_NS,
        "event_ns": open_ns,
        "known_ns": open_ns + INTERVAL_NS,
        "quality": "recorded",
        **prices,
    }


def sample_tables(
    seed: int = DEFAULT_SEED, hours: int | None = None, ingested_ns: int | None = None
) -> dict[str, pa.Table]:
    """Return the synthetic facts as tables of the stored columns, by kind: bars, metrics, posts.

    Parameters
    ----------
    seed : int
        Equal seeds give equal tables, bit for bit.
    hours : int, optional
        Only the first hours of the year: a short sample is the beginning of the long one. Default all 8,784.
    ingested_ns : int, optional
        When the rows are written; by default each counts as ingested when it became known.

    Returns
    -------
    dict of str to pyarrow.Table
        Revisions (edited posts, corrected metrics) are rows of their own with a later `known_ns`.

    Raises
    ------
    InputError
        When `seed` is negative or `hours` lies outside the year.
    """
    length = _checked_hours(hours)
    market = make_market(_checked_seed(seed))
    until_ns = START_NS + length * HOUR_NS
    columns = {
        "bars": _bar_columns(market, length),
        "metrics": metric_columns(seed, market, until_ns),
        "posts": post_columns(seed, market, cut_plan(make_plan(seed, market), until_ns)),
    }
    return {
        kind: fact_table(kind, {**table, "ingested_ns": table["known_ns"] if ingested_ns is None else ingested_ns})
        for kind, table in columns.items()
    }


def sample_truth(seed: int = DEFAULT_SEED, hours: int | None = None) -> pa.Table:
    """Return what the grammar meant by each post: columns key, voice, coin ("*" for the market or nothing) and tone.

    For tests and for judging models and linkers; a strategy has no business with it. Tone is -1, 0 or 1.
    """
    length = _checked_hours(hours)
    plan: Plan = make_plan(_checked_seed(seed), make_market(seed))
    plan = cut_plan(plan, START_NS + length * HOUR_NS)
    coins = np.array([*COIN_NAMES, MARKET_WIDE])
    assert len(coins) == MARKET_TOPIC + 1
    return pa.table(
        {
            "key": [f"synthetic-{number:06d}" for number in range(len(plan.event_ns))],
            "voice": np.array(VOICES)[plan.voice],
            "coin": coins[plan.topic],
            "tone": plan.tone,
        }
    )


def _refuse_other_sample(store: Store, bars: pa.Table, seed: int) -> None:
    """Raise InputError when the store holds a sample of another seed: mixed, the two would be nobody's market."""
    symbol = SYMBOLS[0]
    series = (SOURCE, symbol, str(INTERVAL_NS))
    if not any(part.series == series for part in store.manifest("bars").parts):
        return
    held = store.bars(symbol, INTERVAL_NS, source=SOURCE)
    fresh = bars.slice(0, bars.num_rows // len(SYMBOLS))
    both = min(len(held), fresh.num_rows)
    if not np.array_equal(held.close[:both], fresh["close"].to_numpy()[:both]):
        raise InputError(
            "the store holds a synthetic sample of another seed",
            where=store.root,
            key="seed",
            value=seed,
            remedy="Write it to another place with --var, or use the seed it was made with",
        )


def write_sample(
    store: Store, seed: int = DEFAULT_SEED, *, ingested_ns: int, hours: int | None = None
) -> SampleSummary:
    """Generate the synthetic sample and append it to a store.

    Writing it again adds nothing; a longer one of the same seed adds what is new. Killed in between, the store holds
    whole kinds only, and writing again completes it.

    Raises
    ------
    InputError
        Another seed's sample is there already, bad `seed` or `hours`, or the store can't be written.
    """
    tables = sample_tables(seed, hours, ingested_ns)
    _refuse_other_sample(store, tables["bars"], seed)
    done = [store.append(kind, tables[kind], origin=f"synthetic sample, seed {seed}") for kind in KINDS]
    edited = int(np.count_nonzero(tables["posts"]["revision"].to_numpy()))
    return SampleSummary(
        seed=seed,
        since_ns=START_NS,
        until_ns=START_NS + _checked_hours(hours) * HOUR_NS,
        symbols=SYMBOLS,
        planted=PLANTED,
        outage_ns=OUTAGE_NS,
        bars=tables["bars"].num_rows,
        posts=tables["posts"].num_rows - edited,
        edited=edited,
        metrics=tables["metrics"].num_rows,
        added=sum(part.added + part.revised for part in done),
        unchanged=sum(part.unchanged for part in done),
    )
