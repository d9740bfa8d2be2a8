"""What a user may say about a file to import; texts as on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from data.errors import InputError
from data.facts import QUALITIES
from data.times import parse_duration

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "time": (
        *("time", "timestamp", "date", "datetime", "unix", "unix timestamp", "unix_timestamp", "open_time"),
        *("open time", "ts", "created_at", "published_at", "publishedat", "published", "created_utc"),
    ),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v"),
    "symbol": ("symbol", "pair"),
    "text": ("text", "full_text", "body", "content", "headlines"),
    "title": ("title", "headline"),
    "author": ("author", "user", "username", "user_name"),
    "followers": ("followers", "user_followers", "followers_count"),
    "url": ("url", "link"),
    "key": ("key", "id", "post_id", "tweet_id", "guid"),
    "source": ("source",),
    "coin": ("coin", "asset"),
    "name": ("name", "metric"),
    "value": ("value",),
    "score": ("score",),
    "known": (),
    "model": ("model",),
    "model_revision": ("model_revision",),
    "p_bearish": ("p_bearish",),
    "p_neutral": ("p_neutral",),
    "p_bullish": ("p_bullish",),
    "cluster": ("cluster",),
    "flags": ("flags",),
}
"""Column names that are understood without ``--map``, compared without case."""


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about a file; texts as on the command line, None or empty where nothing was said.

    Attributes
    ----------
    source : who the facts come from; one name per exchange or vendor
    columns : ``--map``: meaning to column, see `parse_map`; texts may be joined: ``{"text": "title+body"}``
    values : ``--values``: metric name to column or to columns added and subtracted, see `parse_values`
    symbol, interval : of bars; ``interval`` also of metrics stamped at their start
    unit, tz, time_format : of the time column
    stamp : ``start``, ``end`` or ``published``: what a row's time is the time of
    lag : from the end of the interval (or the stamp) until it could be known
    quality : one of `data.facts.QUALITIES`
    coin : of metrics and scores; ``*`` is market-wide
    model, model_revision : of scores
    keep_spikes : take bars that look like bad ticks
    names, delimiter, encoding, records : how to read the file, see `data.readers.read_rows`
    """

    source: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    symbol: str | None = None
    interval: str | None = None
    unit: str | None = None
    tz: str | None = None
    time_format: str | None = None
    stamp: str | None = None
    lag: str | None = None
    quality: str | None = None
    coin: str | None = None
    model: str | None = None
    model_revision: str | None = None
    keep_spikes: bool = False
    names: Sequence[str] | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    records: str | None = None

    def duration(self, option: str, where: str) -> int | None:
        """Nanoseconds of ``interval`` or ``lag``; None when not given."""
        text = getattr(self, option)
        return None if text is None else parse_duration(text, key=f"--{option}", where=where)

    def quality_or(self, default: str, where: str) -> str:
        """The declared quality, or the default."""
        if self.quality is not None and self.quality not in QUALITIES:
            raise InputError(
                "unknown quality",
                where=where,
                key="--quality",
                value=self.quality,
                remedy=f"One of {', '.join(QUALITIES)}",
            )
        return self.quality or default


def parse_map(pairs: Iterable[str]) -> dict[str, str]:
    """``--map`` arguments (``open=o``) as meaning to column.

    Raises
    ------
    InputError
        When there is no ``=``, or the meaning is unknown.
    """
    found = {}
    for pair in pairs:
        meaning, equals, column = pair.partition("=")
        if not equals or not column.strip() or meaning.strip() not in SYNONYMS:
            raise InputError(
                "not a column mapping",
                key="--map",
                value=pair,
                remedy=f"Write MEANING=COLUMN; meanings are {', '.join(SYNONYMS)}",
            )
        found[meaning.strip()] = column.strip()
    return found


def parse_values(pieces: Iterable[str]) -> dict[str, str]:
    """``--values`` arguments (``a,b`` or ``netflow=in-out``) as metric name to expression."""
    found = {}
    for piece in (part.strip() for text in pieces for part in text.split(",")):
        name, equals, expression = piece.partition("=")
        if not name.strip() or (equals and not expression.strip()):
            raise InputError(
                "not a metric", key="--values", value=piece, remedy="Write COLUMN, NAME=COLUMN or NAME=COLUMN-COLUMN"
            )
        found[name.strip()] = expression.strip() or name.strip()
    return found
