"""From the configuration to feeds that can be followed: tools, secrets and hosts, checked before any of them runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.config import Config, base_of
from bot.config_feeds import FeedTable, default_feeds
from bot.operate.references import look_up
from data.errors import InputError, raise_all
from data.feed import Card, Clock, Feed, Options, Purse, Source, Tools
from data.http import Http, host_of
from data.sources import find_source

if TYPE_CHECKING:
    from data.store import Store


@dataclass(frozen=True)
class Chosen:
    """A feed that shall be recorded."""

    name: str
    table: FeedTable
    source: Source

    @property
    def card(self) -> Card:
        """Its source's card."""
        return self.source.card


def chosen_feeds(config: Config) -> tuple[list[Chosen], bool]:
    """Enabled feeds, and whether they are the free ones because none is configured.

    Raises
    ------
    InputError
        All feeds that are configured are switched off.
    """
    tables = config.feeds or default_feeds()
    found = [Chosen(name, table, find_source(table.source)) for name, table in tables.items() if table.enabled]
    if not found:
        remedy = "Set enabled = true in one of them, or remove them all to record the free ones"
        raise InputError("no feed is enabled", where=config.where, key="feeds", remedy=remedy)
    return found, not config.feeds


def check_secrets(config: Config, feeds: list[Chosen]) -> None:
    """Look up every secret once, so that what is missing is told before anything begins.

    Raises
    ------
    InputError or InputErrors
        A reference leads nowhere, or a source that needs a key has none.
    """
    faults = []
    for feed in feeds:
        for name in feed.card.keys:
            dotted, text = f"feeds.{feed.name}.{name}", getattr(feed.table.options, name, "")
            if not text:
                remedy = f'Write where it lies: {name} = "env:NAME", "file:PATH" or "credential:NAME"'
                where = config.place_of(dotted)
                faults.append(InputError(f"{feed.card.title} needs a key", where=where, key=dotted, remedy=remedy))
                continue
            try:
                look_up(text, key=dotted, folder=config.folder)
            except InputError as error:
                faults.append(error)
    raise_all(faults)


def build_feed(
    config: Config, feed: Chosen, *, clock: Clock, http: Http, rng: random.Random, memory: Mapping[str, Any],
    alive: Callable[[], None], store: Store, purse: Purse | None,
) -> Feed:  # fmt: skip
    """A feed with its tools.

    Raises
    ------
    InputError
        Its options have something wrong that only the source can see.
    """
    coins = tuple(dict.fromkeys(base_of(symbol) for symbol in config.run.symbols))

    def secret(reference: str) -> str:
        return look_up(reference, key=f"feeds.{feed.name}", folder=config.folder)

    tools = Tools(
        clock=clock, http=http, rng=rng, memory=memory, coins=coins, secret=secret, alive=alive, store=store,
        purse=purse,
    )  # fmt: skip
    try:
        return feed.source.build(feed.table.options, tools)
    except InputError as error:
        dotted = f"feeds.{feed.name}.{error.key}" if error.key else f"feeds.{feed.name}"
        raise error.placed(error.where or config.place_of(dotted), dotted) from error


def near_hosts(options: Options) -> frozenset[str]:
    """Hosts that the configuration itself names for a feed: they may lie in a private network."""
    given = {name: getattr(options, name) for name in options.model_fields_set}
    return frozenset(host for text in _texts(given) if (host := _host(text)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _texts(each)
    elif hasattr(value, "model_fields_set"):
        for name in value.model_fields_set:
            yield from _texts(getattr(value, name))


def _host(text: str) -> str:
    try:
        return host_of(text) if "://" in text else ""
    except ValueError:
        return ""
