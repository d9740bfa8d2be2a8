"""The fear and greed index of alternative.me: one value a day for the whole market, free, without a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field

from data.feed import Batch, Card, FeedError, Item, Options, Progress, Reading, Source, Spoilt, Take, Terms, Tools
from data.polled import Polled
from data.times import DAY_NS, HOUR_NS, SECOND_NS, Span

CARD: Final = Card(
    name="fear_greed",
    title="Fear and greed index (alternative.me)",
    kinds=("metrics",),
    live=True,
    history="assumed_lag",
    lag_ns=HOUR_NS,
    revises=False,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="free, attribution asked next to where it is shown",
        url="https://alternative.me/crypto/fear-and-greed-index/",
    ),
    per_minute=6.0,
)
METRIC: Final = "fear_greed"


class FearGreedOptions(Options):
    """The table `[feeds.fear_greed]`."""

    url: str = Field("https://api.alternative.me/fng/", description="address of the API")
    every: float = Field(600.0, ge=10.0, description="seconds between two questions")


class FearGreed(Polled):
    """The index; a value is stamped with the start of the day on which it is published."""

    def __init__(self, options: FearGreedOptions, tools: Tools) -> None:
        super().__init__(CARD, tools, options.every)
        self._url = options.url

    async def ask(self) -> Sequence[Batch]:
        """See `Polled`: the newest two values."""
        return [await self._read(2)]

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: the source gives all of its history in one answer, counted back from today."""
        days = (self.tools.clock.now_ns() - span[0]) // DAY_NS + 2
        batch = await self._read(max(int(days), 1))
        kept = [item for item in batch.items if not isinstance(item, Reading) or span[0] <= item.event_ns < span[1]]
        await take(Batch(kept, batch.arrived_ns, history=True))
        progress(1.0, 1.0)

    async def _read(self, limit: int) -> Batch:
        answer = await self.tools.http.get(self._url, {"limit": str(limit), "format": "json"})
        body = answer.json()
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise FeedError(f"{answer.url}: the answer has no list 'data'")
        return Batch([_read_row(row) for row in rows], answer.arrived_ns)


def _read_row(row: Any) -> Item:
    try:
        value, day_s = float(row["value"]), int(row["timestamp"])
    except (TypeError, ValueError, LookupError) as error:
        return Spoilt(repr(row)[:500], f"a value or its time can't be read ({type(error).__name__})")
    if not 0 <= value <= 100:
        return Spoilt(repr(row)[:500], "outside 0 to 100")
    return Reading(METRIC, "*", day_s * SECOND_NS, value)


SOURCE: Final = Source(CARD, FearGreedOptions, FearGreed)
