"""The sections of the recorder: `[record]`, and a table `[feeds.NAME]` for each feed, read by its source's options.

A source's file declares its own keys; here they get the house's manners: unknown ones are errors with the nearest name,
all faults are told at once, and what is a secret stands as a reference, never as itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import SerializeAsAny, TypeAdapter, ValidationError, field_validator, model_serializer

from bot.config_faults import Places, find_faults, nearest
from bot.config_live import is_reference
from bot.config_sections import Count, Section, key
from bot.config_types import Fault, Names, Span, read_span
from data.errors import InputError
from data.feed import Options, Source
from data.times import SECOND_NS, format_duration

FREE: Final = ("bluesky", "news", "fear_greed", "mempool_space")
"""What is recorded when no feed is configured, where it needs no key."""

COMMON: Final = ("use", "enabled", "patience")
"""Keys that every feed's table may have, beside those of its source."""

FLUSH_MAX_NS: Final = 60 * SECOND_NS
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Record(Section):
    """Recording: how often it is written down, what may wait, what is scored."""

    flush: Span = key("what arrived is stored at least so often", "250ms", "250ms")
    queue: Count = key("items of one feed that wait at most; beyond, it isn't read on", 20_000, 20_000)
    patience: Span = key("a feed that hasn't answered for so long counts as down", "2m", "2m")
    score: bool = key("score posts with run.model as they arrive", True, True)
    score_sources: Names = key("score posts of these sources only; left out: of all", ["bluesky", "x"], ())

    @field_validator("flush")
    @classmethod
    def _short(cls, span: int) -> int:
        if span > FLUSH_MAX_NS:
            raise Fault("is longer than a minute", 'Facts count as known when they are stored; write "250ms" or so')
        return span


class FeedTable(Section):
    """One table `[feeds.NAME]`: its source, and that source's options."""

    source: str
    enabled: bool = True
    patience: int | None = None
    options: SerializeAsAny[Options]

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        """The table as it stands in the file, so that it can be read again."""
        patience = {} if self.patience is None else {"patience": format_duration(self.patience)}
        told = self.options.model_dump(mode="json", exclude_none=True)
        return {"use": self.source, "enabled": self.enabled, **patience, **told}


def default_feeds() -> dict[str, FeedTable]:
    """The free feeds that are there, with their defaults."""
    from data.sources import all_sources

    known = all_sources()
    return {
        name: FeedTable(source=name, options=known[name].options())
        for name in FREE
        if name in known and known[name].card.live and not known[name].card.keys
    }


def read_feeds(raw: Any, places: Places) -> tuple[dict[str, FeedTable], list[InputError]]:
    """Feeds from the raw tables, and all that is wrong with them."""
    if not isinstance(raw, Mapping):
        remedy = "For example: [feeds.news]"
        return {}, [InputError("has to be a table", where=places.of("feeds"), key="feeds", remedy=remedy)]
    found: dict[str, FeedTable] = {}
    faults: list[InputError] = []
    for name, table in raw.items():
        made, wrong = _read_feed(str(name), table, places)
        faults += wrong
        if made is not None:
            found[str(name)] = made
    return found, faults


def _read_feed(name: str, table: Any, places: Places) -> tuple[FeedTable | None, list[InputError]]:
    dotted = f"feeds.{name}"
    if not _NAME.fullmatch(name):
        remedy = "Use up to 40 small letters, digits, - and _, a letter or digit first"
        return None, [InputError("not a feed's name", where=places.of(dotted), key=dotted, remedy=remedy)]
    if not isinstance(table, Mapping):
        remedy = f"Write its keys below [{dotted}]"
        return None, [InputError("has to be a table", where=places.of(dotted), key=dotted, remedy=remedy)]
    source, fault = _source_of(name, table, places)
    if source is None:
        return None, [fault] if fault else []
    faults: list[InputError] = []
    common = {key: _read_common(dotted, key, table[key], places, faults) for key in COMMON[1:] if key in table}
    rest = {key: value for key, value in table.items() if key not in COMMON}
    options = _read_options(dotted, source, rest, places, faults)
    if faults or options is None:
        return None, faults
    given = {key: value for key, value in common.items() if value is not None}
    return FeedTable(source=source.card.name, options=options, **given), []


def _source_of(name: str, table: Mapping[str, Any], places: Places) -> tuple[Source | None, InputError | None]:
    from data.sources import all_sources

    known = all_sources()
    wanted = table.get("use", name)
    if isinstance(wanted, str) and wanted in known:
        source = known[wanted]
        if source.card.live:
            return source, None
        remedy = f"Bring its history instead: tidegate fetch {wanted}"
        return None, InputError("this source can't be followed", where=places.of(f"feeds.{name}"), key=f"feeds.{name}",
                                remedy=remedy)  # fmt: skip
    dotted = f"feeds.{name}.use" if "use" in table else f"feeds.{name}"
    remedy = nearest(str(wanted), known, noun="Sources")
    if "use" not in table:
        remedy += '; a name of your own needs use = "SOURCE"'
    return None, InputError("no such source", where=places.of(dotted), key=dotted, value=wanted, remedy=remedy)


def _read_common(dotted: str, name: str, value: Any, places: Places, faults: list[InputError]) -> Any:
    where, place = f"{dotted}.{name}", places.of(f"{dotted}.{name}")
    try:
        return read_span(value) if name == "patience" else TypeAdapter(bool).validate_python(value)
    except Fault as fault:
        faults.append(InputError(fault.what, where=place, key=where, value=value, remedy=fault.remedy))
    except ValidationError:
        remedy = f"For example: {name} = false"
        faults.append(InputError("has to be true or false", where=place, key=where, value=value, remedy=remedy))
    return None


def _read_options(
    dotted: str, source: Source, table: Mapping[str, Any], places: Places, faults: list[InputError]
) -> Options | None:
    """A source's options; secrets among them have to be references."""
    for name in source.card.keys:
        text = table.get(name)
        if text and not (isinstance(text, str) and is_reference(text)):
            remedy = f'Keep it elsewhere and write {name} = "env:NAME", "file:PATH" or "credential:NAME"'
            where = places.of(f"{dotted}.{name}")
            faults.append(InputError("a secret stands here", where=where, key=f"{dotted}.{name}", remedy=remedy))
            return None
    try:
        return source.options.model_validate(dict(table))
    except ValidationError as error:
        faults += find_faults(error, section=dotted, model=source.options, places=places, more=COMMON)
    except InputError as error:
        key_ = f"{dotted}.{error.key}" if error.key else dotted
        faults.append(error.placed(places.of(key_), key_))
    return None
