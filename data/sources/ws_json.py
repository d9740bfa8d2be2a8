"""Any WebSocket that sends JSON, joined by configuration alone: what is said to it, where things lie in its messages.

A feed of it is a table such as `[feeds.vendor]` with `use = "ws_json"`. Messages without items (greetings, heartbeats)
are counted and left; how objects become facts stands in `data.mapping`, how secrets are kept out in `data.vendor`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from pydantic import Field, model_validator

from data.clean import clean_text
from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Progress, Source, Spoilt, Take, Tools
from data.feed import no_history as no_past
from data.http import read_json
from data.mapping import Mapping
from data.paths import MISSING, read_path
from data.times import Span
from data.vendor import TERMS, Secrets, VendorOptions, check_purse
from data.ws import Line, open_line

CARD: Final = Card(
    name="ws_json",
    title="any WebSocket (JSON)",
    kinds=("posts", "metrics"),
    live=True,
    history="",
    revises=True,
    terms=TERMS,
    per_minute=60.0,
)
STRANGE_MAX: Final = 20


class WsJsonOptions(VendorOptions):
    """A table with `use = "ws_json"`."""

    subscribe: tuple[dict[str, Any] | str, ...] = Field((), description="said when the line is open; {name}: a secret")
    keepalive: dict[str, Any] | str = Field("", description="said again and again, where the vendor asks for it")
    keepalive_every: float = Field(30.0, ge=0.05, description="seconds between two of these")
    only_path: str = Field("", description="path of what tells messages with items from others")
    only_value: str = Field("", description="what lies there in messages with items")
    error_path: str = Field("", description="path of what only lies in refusals; it ends the line with that text")
    ignore: tuple[str, ...] = Field((), description="texts that aren't JSON and mean nothing, such as pong")
    silence: float = Field(0.0, ge=0, description="seconds without a message after which it counts as broken; 0: never")
    message_bytes: int = Field(1_000_000, ge=1_000, le=16_000_000, description="bytes of a message at most")

    @model_validator(mode="after")
    def _sound(self) -> WsJsonOptions:
        for key in ("only_path", "error_path"):
            read_path(getattr(self, key), key=key)
        if self.only_value and not self.only_path:
            raise InputError("needs only_path", key="only_value", remedy="Say where in a message it lies")
        return self


class WsJson:
    """A feed as it was configured; `card` says what was declared of it."""

    def __init__(self, told: WsJsonOptions, tools: Tools) -> None:
        self.card = replace(CARD, title=f"{told.name} (WebSocket)", kinds=(told.kind,), cost=told.cost)
        check_purse(told, tools)
        self._told, self._tools = told, tools
        self._mapping, self._secrets = Mapping(told), Secrets(told, tools)
        self._only = read_path(told.only_path, key="only_path")
        self._error = read_path(told.error_path, key="error_path")
        self.counts: Counter[str] = Counter()
        self._strange = 0

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`; a WebSocket has no history."""
        raise no_past(self.card)

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        told, fill = self._told, self._secrets.fill
        self._room()
        async with open_line(
            told.url, self._tools, params=fill(told.params), headers=fill(told.headers), secrets=self._secrets.values,
            most=told.message_bytes, silence_s=told.silence,
        ) as line:  # fmt: skip
            self.counts["connected"] += 1
            for message in told.subscribe:
                await line.say(fill(message))
            said = asyncio.create_task(self._keep_alive(line)) if told.keepalive else None
            try:
                while True:
                    await self._step(line, take)
            finally:
                if said is not None:
                    said.cancel()
                    with suppress(asyncio.CancelledError, FeedError):
                        await said

    def health(self) -> dict[str, Any]:
        """Counts of messages, of those without items, of items; `others`: values of coins that `coins` doesn't name."""
        return {**self.counts, **({"others": self._mapping.others} if self._mapping.others else {})}

    async def _keep_alive(self, line: Line) -> None:
        while True:  # a line that takes nothing ends in `hear` as well, with its reason
            await self._tools.sleep(self._told.keepalive_every)
            await line.say(self._secrets.fill(self._told.keepalive))

    def _room(self) -> int:
        """How many items may still come. Raises FeedError, final, when a cap is reached."""
        purse, now_ns, cost = self._tools.purse, self._tools.clock.now_ns(), self._told.cost
        if purse is None or cost <= 0:
            return 500
        room = purse.room(now_ns, cost)
        if room <= 0:
            purse.spend(1, now_ns, cost)  # says which cap, and until when
        return min(max(room, 1), 500)

    async def _step(self, line: Line, take: Take) -> None:
        """Hear, pay, hand over."""
        heard = await line.hear(most=self._room())
        items: list[Item] = []
        for message in heard.messages:
            items += self._read(message, line)
        self.counts["messages"] += len(heard.messages)
        if items and self._told.cost > 0 and self._tools.purse is not None:
            self._tools.purse.spend(len(items), heard.arrived_ns, self._told.cost)
        if items:
            await take(Batch(items, heard.arrived_ns, source=self._told.name))
            self.counts["items"] += len(items)
        if self._strange >= STRANGE_MAX:
            self._strange = 0
            raise FeedError(f"{line.shown}: {STRANGE_MAX} items in a row that aren't as they were declared")

    def _read(self, message: str | bytes, line: Line) -> list[Item]:
        """The items of a message. Raises FeedError for a refusal."""
        told = self._told
        if message in told.ignore:
            self.counts["without_items"] += 1
            return []
        try:
            body = read_json(message, line.shown)
        except FeedError as error:
            return self._apart([Spoilt(repr(message)[:500], str(error)[:200])])
        if told.error_path and (reason := self._error.one(body)) not in (MISSING, None, False, "", 0):
            text = self._secrets.hide(clean_text(str(reason), most=200)).replace("\n", " ")
            raise FeedError(f"{line.shown}: refused: {text}")
        if told.only_path and str(self._only.one(body)) != told.only_value:
            self.counts["without_items"] += 1
            return []
        items = self._mapping.read(body)
        if items is None:
            self.counts["without_items"] += 1
            return []
        return self._apart(items)

    def _apart(self, items: list[Item]) -> list[Item]:
        """Count what is set apart; without secrets, should the vendor have sent one back."""
        found: list[Item] = []
        for item in items:
            if not isinstance(item, Spoilt):
                self._strange = 0
                found.append(item)
                continue
            self._strange += 1
            self.counts["strange"] += 1
            if self._strange <= STRANGE_MAX:
                found.append(replace(item, content=self._secrets.hide(item.content)))
        return found


SOURCE: Final = Source(CARD, WsJsonOptions, WsJson)
