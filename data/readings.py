"""What sources of metrics have in common: numbers that are numbers, honest times for history, questions in turns."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Progress, Reading, Spoilt, Take, Tools
from data.http import Answer
from data.polled import Polled
from data.times import DAY_NS, SECOND_NS, Span

OVERLAP_NS: Final = 7 * DAY_NS
"""Live, so much of what was there before is looked at again: a source that corrects itself does it within days."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class RefusedError(FeedError):
    """The source won't answer about one topic, however long we wait: the others go on without it."""


class Rounds(Polled):
    """A feed with several questions, each asked when it is due: one that fails doesn't hold up the others.

    Parameters
    ----------
    card : Card
    tools : Tools
    topics : sequence of str
        What is asked about, in order of importance.
    every_s : float
        Pause between two questions about one topic; up to a tenth of it is added as jitter.
    others_s : mapping of str to float, optional
        Other pauses for some topics.
    """

    def __init__(
        self,
        card: Card,
        tools: Tools,
        topics: Sequence[str],
        every_s: float,
        others_s: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(card, tools, every_s)
        self.behind: set[str] = set()  # topics to be asked about again at once
        self.refused: dict[str, str] = {}
        self._others_s = dict(others_s or {})
        self.pace_s = 60.0 / card.per_minute
        self._due = dict.fromkeys(topics, 0)
        self._skipped: list[str] = []

    async def ask_about(self, topic: str) -> Batch:
        """What the source says of a topic now; its cursor, if any, holds for all topics. Raises FeedError."""
        raise NotImplementedError

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        while True:
            topic = min(self._due, key=self._due.__getitem__)
            wait_s = (self._due[topic] - self.tools.clock.now_ns()) / SECOND_NS
            if wait_s > 0:
                await self.tools.sleep(wait_s)
            asked_ns = self.tools.clock.now_ns()
            pause_s = self._others_s.get(topic, self.every_s) * (1.0 + 0.1 * self.tools.rng.random())
            try:
                batch = await self.ask_about(topic)
            except RefusedError as error:
                self._drop(topic, error)
                await self.tools.sleep(self.pace_s)
                continue
            except FeedError:
                self._due[topic] = asked_ns + int(pause_s * SECOND_NS / 4)
                raise
            self.counts["asked"] += 1
            self.tools.alive()
            await self._hand_over(batch, take)
            if batch.cursor is not None:
                self.cursor = dict(batch.cursor)
            self._due[topic] = asked_ns + (0 if topic in self.behind else int(pause_s * SECOND_NS))
            await self.tools.sleep(self.pace_s)

    async def each(self, topics: Iterable[str], progress: Progress) -> AsyncIterator[str]:
        """Topics one after the other, for history; to be told of refusals by `skip`. The progress ends with the last.

        Raises
        ------
        FeedError
            At the end, final: the source refused some.
        """
        chosen, self._skipped = list(topics), []
        for done, topic in enumerate(chosen):
            progress(float(done), float(len(chosen)))
            yield topic
            await self.tools.sleep(self.pace_s)
        progress(1.0, 1.0)
        if self._skipped:
            raise FeedError(f"refused: {'; '.join(self._skipped)}", final=True)

    def skip(self, topic: str, error: RefusedError) -> None:
        """History: remember a refusal for the end."""
        self._skipped.append(f"{topic}: {error}")

    def health(self) -> dict[str, Any]:
        """See `Polled`; with what the source refuses, which is asked for again after a restart."""
        return {**super().health(), **({"refused": dict(self.refused)} if self.refused else {})}

    def _drop(self, topic: str, error: RefusedError) -> None:
        """Don't ask about a topic any more.

        Raises
        ------
        FeedError
            Final: it was the last one.
        """
        self.tools.alive()
        self.counts["refused"] += 1
        if len(self._due) == 1:
            raise FeedError(f"{topic}: {error}", final=True) from error
        self.refused[topic] = str(error)
        del self._due[topic]

    def since_ns(self, topic: str) -> int:
        """From when on events are looked at, live: some days back from the last one handed over, or from now."""
        now, last = self.tools.clock.now_ns(), self._last(topic)
        return (now if last is None else min(last, now)) - OVERLAP_NS

    def recent(self, topic: str, items: Iterable[Item], arrived_ns: int) -> Batch:
        """What is fresh of a topic: what ended since `since_ns`, if the source says other than it did, else since then.

        The cursor keeps the last event and a digest of the days before it, so that a restart doesn't bring all of them
        again. Intervals that haven't ended are left out.
        """
        last, since = self._last(topic), self.since_ns(topic)
        kept = [item for item in items if not isinstance(item, Reading) or since < item.event_ns <= arrived_ns]
        newest = max([item.event_ns for item in kept if isinstance(item, Reading)], default=None)
        if newest is None:
            return Batch(kept, arrived_ns)
        cursor = {**self.cursor, topic: [newest, _digest(kept, newest)]}
        if last is not None and self.cursor[topic][1] == _digest(kept, last):
            kept = [item for item in kept if not isinstance(item, Reading) or item.event_ns > last]
        return Batch(kept, arrived_ns, cursor)

    def _last(self, topic: str) -> int | None:
        told = self.cursor.get(topic)
        return told[0] if isinstance(told, list) and len(told) == 2 and isinstance(told[0], int) else None


def _digest(items: Iterable[Item], last_ns: int) -> str:
    """Of the readings in the overlap before and at an event."""
    told = [item for item in items if isinstance(item, Reading) and last_ns - OVERLAP_NS < item.event_ns <= last_ns]
    lines = sorted(f"{item.name} {item.coin} {item.event_ns} {item.value!r}" for item in told)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def past_batch(items: Iterable[Item], span: Span, arrived_ns: int, lag_ns: int) -> Batch:
    """History of a span. What is here before its lag is over counts as known at its arrival, not later."""
    kept: list[Item] = []
    for item in items:
        if not isinstance(item, Reading):
            kept.append(item)
        elif span[0] <= item.event_ns < span[1] and item.event_ns <= arrived_ns:
            early = not item.known_ns and item.event_ns + lag_ns > arrived_ns
            kept.append(replace(item, known_ns=arrived_ns) if early else item)
    return Batch(kept, arrived_ns, history=True)


def number(value: Any) -> float:
    """A finite number, also one written as text.

    Raises
    ------
    ValueError
        It isn't one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")
    try:
        found = float(value)
    except OverflowError:
        raise ValueError("too large a number") from None
    if not isfinite(found):
        raise ValueError("not a finite number")
    return found


def secret_of(tools: Tools, reference: str, key: str = "key") -> str:
    """The secret that an option refers to.

    Raises
    ------
    InputError
        The option is empty, or nothing is there.
    """
    secret = tools.secret(reference) if reference else ""
    if not secret:
        remedy = f"Write where it is, never what it is: {key} = 'env:NAME'"
        raise InputError("this source doesn't answer without a key", key=key, value=reference, remedy=remedy)
    return secret


def spoilt(row: Any, reason: str) -> Spoilt:
    """A row set apart, cut to what a person needs to see what is wrong with it."""
    return Spoilt(repr(row)[:500], reason)


def served_ns(answer: Answer) -> int:
    """When the source gave an answer whose values have no time of their own: its `Date`, never after the arrival."""
    try:
        said = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return answer.arrived_ns
    return min(int(said) * SECOND_NS, answer.arrived_ns)


def metric_name(text: str) -> str:
    """A vendor's name of a metric in small letters with underscores: `CapMVRVCur` is `cap_mvrv_cur`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def is_metric_name(text: str) -> bool:
    """Small letters, digits and underscores, a letter first."""
    return _NAME.fullmatch(text) is not None
