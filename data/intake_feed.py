"""What feeds hand over, as facts: every item gets its times here, and nowhere else.

The law of this file: live, a fact is known when it had arrived here, whatever the source says of it; in history it is
known when the source says so, else its card's lag after the event, and its quality tells which. A thing that is dated
after it arrived can't be a fact: it is set apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data.checks import bar_faults
from data.clean import clean_address, clean_name, clean_text
from data.errors import InputError
from data.facts import fact_table
from data.feed import Batch, Candle, Card, Gone, Item, Reading, Spoilt, Written
from data.layout import rejects_of
from data.times import SECOND_NS

AHEAD_NS: Final = 300 * SECOND_NS
"""Clocks differ: a thing dated so little after its arrival counts as known at its date."""

FUTURE: Final = "dated after it arrived"
UNDATED: Final = "dated before 2009"
FIRST_NS: Final = 1_230_768_000 * SECOND_NS


@dataclass
class Intake:
    """Facts by kind, bad rows by kind, and keys of posts to be purged, by source."""

    facts: dict[str, pa.Table] = field(default_factory=dict)
    rejects: dict[str, pa.Table] = field(default_factory=dict)
    gone: dict[str, list[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Facts of all kinds."""
        return sum(table.num_rows for table in self.facts.values())


@dataclass(frozen=True)
class _Dated:
    """An item with the times and the quality that it is stored with."""

    item: Item
    source: str
    known_ns: int
    quality: str


def to_facts(card: Card, batches: Iterable[Batch], *, ingested_ns: int) -> Intake:
    """Facts of what a feed handed over.

    Parameters
    ----------
    card : Card
    batches : iterable of Batch
        In the order in which they came.
    ingested_ns : int
        When they are written; what arrived live can't be known later than this.

    Returns
    -------
    Intake
        Equal items of one call are stored once by the store; contradicting ones as it finds them.

    Raises
    ------
    InputError
        The feed handed over history although its card names no quality for it (a fault of the source's file).
    """
    found = Intake()
    sorted_out: dict[type, list[_Dated]] = {Written: [], Reading: [], Candle: []}
    bad: list[tuple[str, str, str]] = []
    for batch in batches:
        if batch.history and not card.history:
            raise InputError("history of a source that declares none", key="source", value=card.name)
        source = batch.source or card.name
        for item in batch.items:
            if isinstance(item, Gone):
                found.gone.setdefault(source, []).append(clean_name(item.key))
            elif isinstance(item, Spoilt):
                bad.append((source, item.reason, item.content[:2000]))
            else:
                if isinstance(item, Written):
                    item = _cleaned(item)
                dated, fault = _date(card, batch, source, item)
                if fault:
                    bad.append((source, fault, repr(item)[:2000]))
                else:
                    sorted_out[type(item)].append(dated)
    if sorted_out[Written]:
        found.facts["posts"] = _posts(sorted_out[Written], ingested_ns)
    if sorted_out[Reading]:
        found.facts["metrics"] = _metrics(sorted_out[Reading], ingested_ns)
    if sorted_out[Candle]:
        found.facts["bars"] = _bars(sorted_out[Candle], ingested_ns)
    if bad:
        found.rejects[card.kinds[0]] = rejects_of(bad)
    return found


def _date(card: Card, batch: Batch, source: str, item: Written | Reading | Candle) -> tuple[_Dated, str]:
    end_ns = item.event_ns + item.interval_ns if isinstance(item, Candle) else item.event_ns
    said = 0 if isinstance(item, Candle) else item.known_ns
    quality: str = "recorded"
    known = max(batch.arrived_ns, end_ns)
    if batch.history:
        known = said or end_ns + card.lag_ns
        quality = (item.quality if isinstance(item, Reading) else "") or card.history
    dated = _Dated(item, source, known, quality)
    if end_ns > batch.arrived_ns + AHEAD_NS or known > batch.arrived_ns + AHEAD_NS:
        return dated, FUTURE
    if end_ns < FIRST_NS:
        return dated, UNDATED
    if known < end_ns:
        return dated, "known before it happened"
    return dated, _fault(item)


def _cleaned(post: Written) -> Written:
    return Written(
        clean_name(post.key), post.event_ns, clean_text(post.text), clean_name(post.author), post.followers,
        clean_address(post.url), post.known_ns,
    )  # fmt: skip


def _fault(item: Written | Reading | Candle) -> str:
    if isinstance(item, Written):
        if not item.key:
            return "no key"
        return "" if item.text else "no text"
    if isinstance(item, Reading):
        if not np.isfinite(item.value):
            return "not a finite number"
        return "" if item.name and item.coin else "no name"
    opened, high, low, close, volume = (
        np.array([value]) for value in (item.open, item.high, item.low, item.close, item.volume)
    )
    times = np.array([item.event_ns])
    fault = bar_faults(times, (opened, high, low, close), volume, item.interval_ns, 2**62)
    return str(fault[0])


def _posts(rows: Sequence[_Dated], ingested_ns: int) -> pa.Table:
    posts: list[Any] = [row.item for row in rows]
    return fact_table(
        "posts",
        {
            **_common(rows, ingested_ns),
            "key": [post.key for post in posts],
            "text": [post.text for post in posts],
            "author": [post.author for post in posts],
            "followers": np.array([post.followers for post in posts], np.float64),
            "url": [post.url for post in posts],
        },
    )


def _metrics(rows: Sequence[_Dated], ingested_ns: int) -> pa.Table:
    readings: list[Any] = [row.item for row in rows]
    return fact_table(
        "metrics",
        {
            **_common(rows, ingested_ns),
            "name": [reading.name for reading in readings],
            "coin": [reading.coin for reading in readings],
            "value": np.array([reading.value for reading in readings], np.float64),
        },
    )


def _bars(rows: Sequence[_Dated], ingested_ns: int) -> pa.Table:
    candles: list[Any] = [row.item for row in rows]
    prices = {
        name: np.array([getattr(candle, name) for candle in candles], np.float64)
        for name in ("open", "high", "low", "close", "volume")
    }
    return fact_table(
        "bars",
        {
            **_common(rows, ingested_ns),
            "symbol": [candle.symbol for candle in candles],
            "interval_ns": np.array([candle.interval_ns for candle in candles], np.int64),
            **prices,
        },
    )


def _common(rows: Sequence[_Dated], ingested_ns: int) -> dict[str, Any]:
    known = np.array([row.known_ns for row in rows], np.int64)
    return {
        "source": [row.source for row in rows],
        "event_ns": np.array([row.item.event_ns for row in rows], np.int64),  # type: ignore[union-attr]
        "known_ns": known,
        "ingested_ns": np.full(len(rows), ingested_ns, np.int64),
        "quality": [row.quality for row in rows],
    }
