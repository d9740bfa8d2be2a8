"""How somebody else's JSON objects become posts or values of series: by paths that the configuration states.

Nothing is guessed: the unit of times, what a stamp is the time of, and the names of series and coins are all declared.
An object that isn't as declared is set apart with its reason.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from data.errors import InputError
from data.feed import Gone, Item, Reading, Spoilt, Written
from data.paths import Path, read_path
from data.spend import PaidOptions
from data.times import SECOND_NS, parse_duration, parse_time

TimeUnit = Literal["s", "ms", "us", "ns", "iso"]
UNITS: Final = {"s": SECOND_NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
CONSTANT: Final = "="
METRIC_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
COIN_NAME: Final = re.compile(r"\*|[A-Z0-9]{1,20}")
INT64_MAX: Final = 2**63 - 1
ROWS_MAX: Final = 50_000
"""Items of one answer or message."""

_POST: Final = ("key", "text", "author", "followers", "link", "deleted")
_METRIC: Final = ("metric", "coin", "value", "values")


class MappedOptions(PaidOptions):
    """Keys that all generic sources share; a path that begins with `=` is a constant."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="`source` of the facts: the vendor's name")
    kind: Literal["posts", "metrics"] = Field(description="what the items are")
    items: str = Field("", description="path to the items (a list, or one); empty: the whole")
    time: str = Field(description="path of an item's time")
    unit: TimeUnit = Field(description="what times are written in: s, ms, us, ns since 1970, or iso")
    utc: bool = Field(False, description="iso times without a zone are UTC; otherwise they are set apart")
    key: str = Field("", description="posts: path of what names a post for ever")
    text: tuple[str, ...] = Field((), description="posts: paths of the text, put below each other")
    html: bool = Field(False, description="posts: the text is HTML")
    author: str = Field("", description="posts: path of the author")
    followers: str = Field("", description="posts: path of the author's number of followers")
    link: str = Field("", description="posts: path of the address for people")
    deleted: str = Field("", description="posts: path of what is true when a post was deleted")
    metric: str = Field("", description="metrics: path of the series' name, or = and the name")
    coin: str = Field("", description="metrics: path of the coin, or = and the ticker (=* for the whole market)")
    value: str = Field("", description="metrics: path of the value")
    values: dict[str, str] = Field({}, description="metrics: instead of metric and value: names and their paths")
    coins: dict[str, str] = Field({}, description="metrics: the vendor's names of coins and ours; others are left out")
    stamp: Literal["end", "start"] = Field("end", description="metrics: the time is the end or start of the interval")
    interval: str = Field("", description="metrics: with stamp = start: the length that a value measures, such as 1d")

    @field_validator("text", mode="before")
    @classmethod
    def _one_text(cls, told: Any) -> Any:
        return (told,) if isinstance(told, str) else told

    @model_validator(mode="after")
    def _whole(self) -> MappedOptions:
        Mapping(self)
        return self


class Mapping:
    """The declared way from objects to items.

    Parameters
    ----------
    told : MappedOptions

    Attributes
    ----------
    shift_ns : int
        How far the end of an interval lies behind the vendor's stamp.
    others : int
        Values of coins that `coins` doesn't name, so far.

    Raises
    ------
    InputError
        A path can't be read, or what the kind needs is missing.
    """

    def __init__(self, told: MappedOptions) -> None:
        self.others, self.shift_ns = 0, 0
        self._told = told
        self._items = read_path(told.items, key="items", many=True)
        self._time = read_path(_needed(told.time, "time"), key="time")
        self._divide = 1 if told.unit == "iso" else UNITS[told.unit]
        wrong = _METRIC if told.kind == "posts" else _POST
        for name in wrong:
            if getattr(told, name):
                raise InputError(f"kind is {told.kind!r}, which has no such thing", key=name, remedy="Leave it out")
        if told.kind == "posts":
            self._key = read_path(_needed(told.key, "key"), key="key")
            self._text = [read_path(path, key="text") for path in told.text or ("",) if _needed(path, "text")]
            named = {name: getattr(told, name) for name in ("author", "followers", "link", "deleted")}
            self._more = {name: read_path(path, key=name) for name, path in named.items() if path}
        else:
            self._series = _series(told)
            self._coin = _path_or_constant(_needed(told.coin, "coin"), "coin", COIN_NAME)
            self._coins = _coin_names(told.coins)
            length_ns = parse_duration(told.interval, key="interval") if told.interval else 0
            if told.stamp == "start" and not length_ns:
                raise InputError("stamps of the start need a length", key="interval", remedy='Such as interval = "1d"')
            self.shift_ns = length_ns if told.stamp == "start" else 0

    def read(self, body: Any, *, history: bool = False, lag_ns: int = 0, quality: str = "") -> list[Item] | None:
        """Items of an answer or a message, in its order; None when nothing at all lies where items have to be.

        Parameters
        ----------
        history : bool
            They were asked for afterwards: each counts as known `lag_ns` after its time, with this quality.
        """
        found = list(self._items.each(body))
        if not found:
            return None
        rows = found[0] if len(found) == 1 and isinstance(found[0], list) and not self._items.many else found
        items: list[Item] = []
        for row in rows[:ROWS_MAX]:
            items += self._read_row(row, lag_ns if history else -1, quality if history else "")
        if len(rows) > ROWS_MAX:
            items.append(Spoilt("", f"{len(rows) - ROWS_MAX:,} items more than one answer may have"))
        return items

    def _read_row(self, row: Any, lag_ns: int, quality: str) -> list[Item]:
        try:
            if not isinstance(row, dict | list):
                raise ValueError("not an object")
            if self._told.kind == "posts":
                return [self._post(row, lag_ns)]
            return self._readings(row, lag_ns, quality)
        except ValueError as error:
            return [Spoilt(_shown(row), str(error)[:200])]

    def _post(self, row: Any, lag_ns: int) -> Item:
        key = self._key.one(row)
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            raise ValueError(f"no key at {self._key.text}")
        if "deleted" in self._more and self._more["deleted"].one(row):
            return Gone(str(key))
        event_ns = self._time_ns(row)
        texts = [text for path in self._text if isinstance(text := path.one(row), str) and text]
        if not texts:
            raise ValueError(f"no text at {' or '.join(path.text for path in self._text)}")
        text = "\n".join(texts)
        if self._told.html:
            from data.clean import clean_text

            text = clean_text(text, html=True)
        author, link = (self._more[name].one(row) if name in self._more else "" for name in ("author", "link"))
        count = _number(self._more["followers"].one(row)) if "followers" in self._more else math.nan
        return Written(
            str(key), event_ns, text, author=str(author) if isinstance(author, str | int) else "", followers=count,
            url=link if isinstance(link, str) else "", known_ns=event_ns + lag_ns if lag_ns >= 0 else 0,
        )  # fmt: skip

    def _readings(self, row: Any, lag_ns: int, quality: str) -> list[Item]:
        said = self._coin if isinstance(self._coin, str) else self._coin.one(row)
        if not isinstance(said, str) or not said:
            raise ValueError("no coin")
        coin = self._coins.get(said, "") if self._coins and said != "*" else said.upper()
        if not coin:
            self.others += 1
            return []
        if not COIN_NAME.fullmatch(coin):
            raise ValueError("a coin that isn't a ticker: name it in coins")
        end_ns = self._time_ns(row) + self.shift_ns
        known_ns = end_ns + lag_ns if lag_ns >= 0 else 0
        items: list[Item] = []
        for named, path in self._series:
            name = named if isinstance(named, str) else named.one(row)
            if not isinstance(name, str) or not METRIC_NAME.fullmatch(name):
                raise ValueError("a name of a series that isn't small letters, digits and underscores")
            found = path.one(row)
            if found is None and len(self._series) > 1:
                continue  # of several values of a row, some may be empty
            value = _number(found)
            if not math.isfinite(value):
                raise ValueError(f"no number at {path.text}")
            items.append(Reading(name, coin, end_ns, value, known_ns=known_ns, quality=quality))
        return items

    def _time_ns(self, row: Any) -> int:
        told = self._time.one(row)
        if self._told.unit == "iso":
            if not isinstance(told, str):
                raise ValueError(f"no time at {self._time.text}")
            try:
                return parse_time(told, tz=UTC if self._told.utc else None)
            except InputError as error:
                raise ValueError(f"a time that can't be read: {error.what}") from None
        return _instant(told, self._divide, self._time.text)


def _instant(told: Any, unit_ns: int, where: str) -> int:
    """Nanoseconds of a number of units; exact, also where it is written with a fraction or as text."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        raise ValueError(f"no time at {where}")
    try:
        exact = Decimal(str(told)) * unit_ns
        instant = int(exact) if exact.is_finite() and abs(exact) <= INT64_MAX else None
    except (InvalidOperation, ValueError):
        instant = None
    if instant is None:
        raise ValueError(f"no time at {where}")
    return instant


def _number(told: Any) -> float:
    """A number, also as text; NaN for anything else."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return math.nan
    try:
        return float(told)
    except (ValueError, OverflowError):
        return math.nan


def _needed(text: str, key: str) -> str:
    if not text:
        raise InputError("is needed", key=key, remedy=f'Write the path where it lies, such as {key} = "data.{key}"')
    return text


def _path_or_constant(text: str, key: str, form: re.Pattern[str]) -> Path | str:
    if not text.startswith(CONSTANT):
        return read_path(text, key=key)
    constant = text[len(CONSTANT) :]
    if not form.fullmatch(constant):
        remedy = "=BTC or =*" if form is COIN_NAME else "Small letters, digits and underscores, such as =open_interest"
        raise InputError("not a name", key=key, value=text, remedy=remedy)
    return constant


def _series(told: MappedOptions) -> list[tuple[Path | str, Path]]:
    """Names, or where they lie, and where their values lie."""
    if told.values:
        if told.metric or told.value:
            raise InputError("stands beside metric or value", key="values", remedy="Leave one of them out")
        for name in told.values:
            _path_or_constant(f"{CONSTANT}{name}", "values", METRIC_NAME)
        return [(name, read_path(_needed(path, "values"), key="values")) for name, path in told.values.items()]
    named = _path_or_constant(_needed(told.metric, "metric"), "metric", METRIC_NAME)
    return [(named, read_path(_needed(told.value, "value"), key="value"))]


def _coin_names(told: dict[str, str]) -> dict[str, str]:
    for coin in told.values():
        if not COIN_NAME.fullmatch(coin):
            raise InputError("not a ticker", key="coins", value=coin, remedy='Such as coins = { bitcoin = "BTC" }')
    return dict(told)


def _shown(row: Any) -> str:
    try:
        return json.dumps(row)[:500]
    except (TypeError, ValueError):
        return repr(row)[:500]


def missing_items(told: MappedOptions, shown: str) -> str:
    """The message for an answer without items."""
    return f"{shown}: nothing lies at {told.items or 'the whole'}, where items have to be"
