"""History of any source: its feed is asked, what it hands over is made durable at once, and a fault is waited out.

A source's file says how it is asked; here are its options, its secrets, its way to the store, and the patience.
"""

from __future__ import annotations

import asyncio
import random
import tomllib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_origin

from pydantic import ValidationError

from bot.config import base_of, find_config, load_config
from bot.config_faults import Places, find_faults
from bot.config_live import is_reference
from bot.operate.references import look_up
from bot.record.feeds import near_hosts
from bot.terminal import now_ns
from data.errors import InputError, UnreachableError, raise_all
from data.feed import Batch, Card, FeedError, Options, Source, Tools, no_history
from data.http import Http
from data.intake_feed import to_facts
from data.sources import find_source
from data.spend import purse_of
from data.store import Store
from data.times import Span, format_time

ATTEMPTS: Final = 5
PAUSE_MAX_S: Final = 300.0
HUNDRED: Final = 100

Advance = Callable[[int, int], None]


@dataclass
class SourceReport:
    """What a fetch of a source did. `kinds` counts the facts handed over; times are nanoseconds UTC, 0 when none came.

    `deleted` are posts that the source wants gone, with their texts purged here.
    """

    name: str
    title: str
    quality: str
    terms: str
    terms_url: str
    since_ns: int
    until_ns: int
    added: int = 0
    unchanged: int = 0
    revised: int = 0
    quarantined: int = 0
    deleted: int = 0
    attempts: int = 0
    first_ns: int = 0
    last_ns: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What shall be fetched: a source, its options, the run's coins, and where relative `file:` references start."""

    source: Source
    options: Options
    coins: tuple[str, ...] = ()
    folder: Path = Path()


def options_of(name: str, config: Path | None, settings: Sequence[str]) -> Asked:
    """A source and its options: of its table in the configuration, where there is one, and of `--set`.

    Parameters
    ----------
    name : str
        Of a source, or of a table `[feeds.NAME]` that uses one.
    config : Path or None
        The TOML file; None: `tidegate.toml` here, if there is one.
    settings : sequence of str
        `option=value`, the value as TOML or as plain text.

    Raises
    ------
    InputError or InputErrors
        No such source, unknown options, a value that isn't allowed, a secret that is absent or written out.
    """
    given: dict[str, Any] = {}
    file = find_config(config)
    held = load_config(file) if file is not None else None
    table = held.feeds.get(name) if held is not None else None
    if table is not None:
        source = find_source(table.source)
        given = table.options.model_dump(exclude_unset=True)
    else:
        source = find_source(name, where=None, key="source")
    for setting in settings:
        option, equals, text = setting.partition("=")
        if not equals or not option.strip():
            remedy = "Write --set coins=BTC,ETH"
            raise InputError("not option=value", key="--set", value=option.strip(), remedy=remedy)
        field_ = source.options.model_fields.get(option.strip())
        given[option.strip()] = _value(text.strip(), None if field_ is None else field_.annotation)
    for option in source.card.keys:
        remedy = f"Keep it elsewhere, and give --set {option}=env:NAME, file:PATH or credential:NAME"
        if not given.get(option):
            raise InputError(f"{source.card.title} needs a key", key=option, remedy=remedy)
        if not is_reference(str(given[option])):
            raise InputError("a secret stands here", key=option, remedy=remedy)
    coins = tuple(dict.fromkeys(base_of(symbol) for symbol in held.run.symbols)) if held is not None else ()
    folder = held.folder if held is not None else Path()
    try:
        return Asked(source, source.options.model_validate(given), coins, folder)
    except ValidationError as error:
        section = f"feeds.{name}"
        places = Places(str(file) if table is not None else "--set", [])
        raise_all(find_faults(error, section=section, model=source.options, places=places))
        raise  # not reached: an error has faults


def fetch_source(
    store: Store,
    asked: Asked,
    span: Span,
    *,
    progress: Advance,
    tell: Callable[[str], None],
    pause: Callable[[float], float] = lambda seconds: seconds,
) -> SourceReport:
    """Bring what a source has of `[since, until)`; each of its pages is durable before the next one is asked for.

    Parameters
    ----------
    progress : callable
        Told percent done, and 100.
    tell : callable
        Takes a line about what is waited for.
    pause : callable
        What a wait of so many seconds becomes; tests shorten it.

    Raises
    ------
    InputError
        The source has no history, or none of that span; an option or a secret is wrong.
    UnreachableError
        It gave no usable answer, or wants to be left alone for long; what came before is stored.
    """
    if not asked.source.card.history:
        raise no_history(asked.source.card)
    if span[1] <= span[0]:
        raise InputError("the span is empty", key="--until", value=format_time(span[1]))
    return asyncio.run(_Fetch(store, asked, span, progress, tell, pause).run())


class _Clock:
    """The time of day, which never goes back."""

    def __init__(self) -> None:
        self._last_ns = 0

    def now_ns(self) -> int:
        """See `data.feed.Clock`."""
        self._last_ns = max(self._last_ns, now_ns())
        return self._last_ns


class _Fetch:
    """One fetch."""

    def __init__(
        self,
        store: Store,
        asked: Asked,
        span: Span,
        progress: Advance,
        tell: Callable[[str], None],
        pause: Callable[[float], float],
    ) -> None:
        self.store, self.asked, self.source, self.span = store, asked, asked.source, span
        self.progress, self.tell, self.pause = progress, tell, pause
        self.clock = _Clock()
        self.batches = 0
        card = asked.source.card
        self.report = SourceReport(
            card.name, card.title, card.history, terms_line(card), card.terms.url, span[0], span[1]
        )

    async def run(self) -> SourceReport:
        failures, before = 0, 0
        rng = random.Random()
        purse = purse_of(self.asked.options, self.source.card.name, self.store.var)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(Http(self.clock, near=near_hosts(self.asked.options)))
            if purse is not None:
                stack.callback(purse.close)
            tools = Tools(
                clock=self.clock, http=http, rng=rng, coins=self.asked.coins, secret=self._secret, store=self.store,
                purse=purse,
            )  # fmt: skip
            feed = self.source.build(self.asked.options, tools)
            while True:
                self.report.attempts += 1
                try:
                    await feed.fetch(self.span, self._take, self._advance)
                    return self.report
                except FeedError as error:
                    failures = failures + 1 if self.batches == before else 1
                    before = self.batches
                    wait_s = max(error.pause_s, 2.0 ** (failures - 1) * (1.0 + 0.1 * rng.random()))
                    if error.final or failures >= ATTEMPTS or wait_s > PAUSE_MAX_S:
                        raise self._given_up(error, failures) from error
                    self.tell(f"{self.source.card.name}: {error}; asked again in {wait_s:.0f} s")
                    await asyncio.sleep(self.pause(wait_s))

    def _secret(self, reference: str) -> str:
        return look_up(reference, key=self.source.card.name, folder=self.asked.folder)

    async def _take(self, batch: Batch) -> None:
        """Store a batch; when this returns, it is durable."""
        card, report = self.source.card, self.report
        found = to_facts(card, [batch], ingested_ns=self.clock.now_ns())
        for kind, table in found.facts.items():
            done = self.store.append(kind, table, rejects=found.rejects.pop(kind, None), origin=card.name, hashed=True)
            report.added += done.added
            report.unchanged += done.unchanged + done.duplicates
            report.revised += done.revised
            report.quarantined += done.quarantined
            report.kinds[kind] = report.kinds.get(kind, 0) + table.num_rows
            events = table["event_ns"].to_numpy()
            if len(events):
                report.first_ns = min(report.first_ns or int(events.min()), int(events.min()))
                report.last_ns = max(report.last_ns, int(events.max()))
        for kind, table in found.rejects.items():
            report.quarantined += self.store.quarantine(kind, table, card.name)
        for name, keys in found.gone.items():
            report.deleted += self.store.purge(name, keys)
        self.batches += 1

    def _advance(self, done: float, total: float) -> None:
        self.progress(int(HUNDRED * done / total) if total > 0 else HUNDRED, HUNDRED)

    def _given_up(self, error: FeedError, failures: int) -> UnreachableError:
        name = self.source.card.name
        if error.final:
            return UnreachableError(f"{name}: {error}. What came before is stored")
        if error.pause_s > PAUSE_MAX_S:
            return UnreachableError(
                f"{name}: {error}. It wants to be left alone for {error.pause_s:.0f} s; what came before is stored: "
                "run the same command again then"
            )
        return UnreachableError(
            f"{name}: no usable answer in {failures} attempts ({error}). What came before is stored: check the "
            "connection, and run the same command again to go on"
        )


def terms_line(card: Card) -> str:
    """What a source allows, on one line."""
    said = {True: "yes", False: "no", None: "not said"}
    terms = card.terms
    parts = [terms.note, f"training: {said[terms.trainable]}", f"handing on: {said[terms.redistributable]}"]
    if terms.retention_days is not None:
        parts.append(f"contents to be deleted after {terms.retention_days} days")
    return "; ".join(parts)


def _value(text: str, wanted: Any) -> Any:
    """A value from the command line: text where text is wanted, else TOML where it is, else names between commas."""
    if wanted is str:
        return text
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        found = None
    if isinstance(found, (str, int, float, list, dict)):
        return found
    if get_origin(wanted) in (tuple, list, set, frozenset):
        return [name.strip() for name in text.split(",") if name.strip()]
    return text
