"""The contract of a feed: what a source declares of itself, how it is asked, what it hands over, and how it fails.

A feed hands over things as they came, in batches; the recorder gives them their times and stores them, and only then
goes on. So a feed may move its cursor with each batch: what was acknowledged is durable, and what wasn't comes again.
Nothing here reads a clock, a disk or the network by itself: all of it comes in `Tools`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from data.errors import InputError, UnreachableError
from data.times import Span

if TYPE_CHECKING:
    from data.http import Http
    from data.store import Store

History = Literal["", "assumed_lag", "vendor_pit", "revised"]


class FeedError(UnreachableError):
    """A source didn't answer, or not as its API is written.

    Parameters
    ----------
    text : str
        What happened, without secrets.
    pause_s : float
        How long the source asked to be left alone; 0 when it said nothing.
    final : bool
        No waiting mends it: a wrong key, a spent budget, an API that is gone. The feed stops and says so.
    """

    def __init__(self, text: str, *, pause_s: float = 0.0, final: bool = False) -> None:
        super().__init__(text)
        self.pause_s, self.final = pause_s, final


@dataclass(frozen=True)
class Terms:
    """What a source allows, as its terms were read; None: they don't say.

    Parameters
    ----------
    trainable, redistributable : bool or None
        Whether models may be trained on it, and whether it may be handed on.
    retention_days : int or None
        Days after which contents have to be deleted; None: no such rule.
    note : str
        What else matters: "non-commercial use only", "attribution asked".
    url : str
        Where the terms stand.
    """

    trainable: bool | None
    redistributable: bool | None
    note: str
    url: str
    retention_days: int | None = None


@dataclass(frozen=True)
class Card:
    """What a source declares.

    Parameters
    ----------
    name : str
        Its name in the configuration and, unless several feeds share the source, `source` of its facts.
    title : str
        One line for people.
    kinds : tuple of str
        Of `data.facts.KINDS`: what it brings.
    live : bool
        It can be followed.
    history : str
        The quality of what `fetch` brings (`data.facts.QUALITIES`); empty: the source has no history.
    lag_ns : int
        History only: a value counts as known so long after its `event_ns`, unless the source tells better.
    revises : bool
        It changes what it has said before.
    terms : Terms
    per_minute : float
        Requests a minute that it is asked at most.
    cost : Decimal
        USD for each item that it hands over; 0 when it is free.
    keys : tuple of str
        Options that name a secret, without which it doesn't answer.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    live: bool
    history: History
    revises: bool
    terms: Terms
    per_minute: float
    lag_ns: int = 0
    cost: Decimal = Decimal(0)
    keys: tuple[str, ...] = ()


class Options(BaseModel):
    """Base of a source's options, the keys of its table in the configuration: unknown ones are errors.

    Each field says with `Field(description=...)` what it means. One that names a secret holds a reference
    (`env:NAME`, `file:PATH`, `credential:NAME`), never the secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True, slots=True)
class Written:
    """A post as the source gives it; `event_ns` is when it was written, by the source.

    `known_ns` is set in history only, where the source itself says when a thing could first be read.
    """

    key: str
    event_ns: int
    text: str
    author: str = ""
    followers: float = math.nan
    url: str = ""
    known_ns: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of a series for a coin, or market-wide (`*`); `event_ns` is the end of the interval that it measures.

    `known_ns` and `quality` are set in history only, where the source tells more than its card.
    """

    name: str
    coin: str
    event_ns: int
    value: float
    known_ns: int = 0
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Candle:
    """A closed bar; prices in quote, volume in base units. `event_ns` is its open."""

    symbol: str
    interval_ns: int
    event_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Gone:
    """The source wants a post deleted: its text is purged; its key, times and score stay."""

    key: str


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A thing that can't be a fact: it is set apart with its reason, never dropped silently."""

    content: str
    reason: str


Item = Written | Reading | Candle | Gone | Spoilt


@dataclass(frozen=True)
class Batch:
    """What arrived together.

    Parameters
    ----------
    items : sequence of Item
    arrived_ns : int
        Our clock when the bytes had come in: in live use, `known_ns` of its facts.
    cursor : mapping or None
        What the feed has to remember to go on behind this batch, as JSON values; None: as before. It is stored after
        the facts are.
    source : str
        `source` of the facts, where it isn't the card's name: the venue, the news site.
    history : bool
        Asked for by `fetch`: times come from the source, not from our clock.
    """

    items: Sequence[Item]
    arrived_ns: int
    cursor: Mapping[str, Any] | None = None
    source: str = ""
    history: bool = False


Take = Callable[[Batch], Awaitable[None]]
"""Hands a batch over; returns when it is durable."""

Progress = Callable[[float, float], None]
"""Called with how much is done, and of how much in all."""


class Clock(Protocol):
    """The time of day."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970 UTC; never goes back within a process."""
        ...


class Purse(Protocol):
    """Money that may still be spent on paid items. `cost` is USD for an item, where it isn't the purse's own."""

    def spend(self, items: int, now_ns: int, cost: Decimal | None = None) -> None:
        """Book items durably, before they are asked for or as they come.

        Raises
        ------
        FeedError
            Final: the cap of the day or the month is reached. `pause_s` says when the next one begins.
        """
        ...

    def give_back(self, items: int, booked_ns: int, cost: Decimal | None = None) -> None:
        """Items that didn't come; `booked_ns` is when they were booked: nothing of a day that is over comes back."""
        ...

    def room(self, now_ns: int, cost: Decimal | None = None) -> int:
        """How many items may still be taken."""
        ...

    def close(self) -> None:
        """Give back what is booked ahead and wasn't spent; the purse may be used again."""
        ...


@dataclass(frozen=True)
class Tools:
    """What a feed works with.

    Parameters
    ----------
    clock : Clock
    http : Http
        The only way to plain HTTP; see `data.http`.
    rng : random.Random
        For jitter.
    memory : mapping
        The cursor of the last acknowledged batch of this feed; empty at the first start.
    coins : tuple of str
        Coins that the run is about, for feeds that aren't told others.
    secret : callable
        Looks up a reference (`env:NAME`). Raises InputError when nothing is there.
    alive : callable
        To be called whenever the source has answered, also when it had nothing new: so that silence isn't taken for a
        fault, nor a fault for silence.
    store : Store or None
        For feeds that look at what is stored already (history that is resumed).
    purse : Purse or None
        For paid sources.
    sleep : callable
        Waits for so many seconds; all pauses of a feed go through it.
    """

    clock: Clock
    http: Http
    rng: random.Random
    memory: Mapping[str, Any] = field(default_factory=dict)
    coins: tuple[str, ...] = ()
    secret: Callable[[str], str] = lambda reference: ""
    alive: Callable[[], None] = lambda: None
    store: Store | None = None
    purse: Purse | None = None
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep


class Feed(Protocol):
    """A source that is being asked. Neither coroutine sleeps through a failure: it raises, and is called again."""

    card: Card

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """Bring what happened in `[span[0], span[1])`, oldest first where the source allows; resumable.

        Raises
        ------
        FeedError
        InputError
            The source has no history, or none of that span.
        """
        ...

    async def stream(self, take: Take) -> None:
        """Follow the source from its cursor on until cancelled.

        Raises
        ------
        FeedError
            Anything that the source or the line did wrong. The caller waits, and calls again.
        """
        ...

    def health(self) -> dict[str, Any]:
        """Counts and states as plain values, for `status` and the recorder's view."""
        ...


@dataclass(frozen=True)
class Source:
    """One kind of feed that can be configured: each file of `data/sources` has one, called `SOURCE`.

    Parameters
    ----------
    card : Card
    options : type of Options
        Its table in the configuration.
    build : callable
        Makes the feed of options and tools. Raises InputError for what the options have wrong.
    """

    card: Card
    options: type[Options]
    build: Callable[[Any, Tools], Feed]


def no_history(card: Card) -> InputError:
    """What `fetch` raises where a source keeps no history."""
    return InputError(
        f"{card.title} keeps no history that can be asked for",
        key="source",
        value=card.name,
        remedy="Record it from now on: tidegate record",
    )
