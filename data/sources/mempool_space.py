"""mempool.space: Bitcoin's fees, mempool, difficulty and hash rate, without a key; or an instance of one's own.

| metric (coin `BTC`) | what it is |
| --- | --- |
| `fee_fastest`, `fee_half_hour`, `fee_hour`, `fee_economy`, `fee_minimum` | recommended fees, sat/vB |
| `mempool_count`, `mempool_vsize`, `mempool_fees` | waiting transactions, their vB, their fees in sat |
| `difficulty_change_expected`, `difficulty_progress` | percent, to the next adjustment |
| `hashrate` | hashes a second, over the day that ended |
| `difficulty` | at each adjustment |

Fees, mempool and the expected difficulty have no time of their own: `event_ns` is the answer's `Date`. They have no
history here, so they have to be recorded; `hashrate` and `difficulty` have. Days of `hashrate` are stamped with their
END (so does the public code of the service, which is not part of its documented API).
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Options, Progress, Reading, Source, Take, Terms, Tools
from data.http import Answer
from data.readings import Rounds, number, past_batch, served_ns, spoilt
from data.times import DAY_NS, HOUR_NS, SECOND_NS, Span

CARD: Final = Card(
    name="mempool_space",
    title="mempool.space (Bitcoin fees, mempool, mining)",
    kinds=("metrics",),
    live=True,
    history="assumed_lag",
    lag_ns=HOUR_NS,
    revises=False,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="free within undisclosed limits (HTTP 429 beyond); for more, run an instance of one's own",
        url="https://mempool.space/terms-of-service",
    ),
    per_minute=30.0,
)
COIN: Final = "BTC"
NOW: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "fees": (
        "/v1/fees/recommended",
        {
            "fastestFee": "fee_fastest",
            "halfHourFee": "fee_half_hour",
            "hourFee": "fee_hour",
            "economyFee": "fee_economy",
            "minimumFee": "fee_minimum",
        },
    ),
    "mempool": ("/mempool", {"count": "mempool_count", "vsize": "mempool_vsize", "total_fee": "mempool_fees"}),
    "difficulty": (
        "/v1/difficulty-adjustment",
        {"difficultyChange": "difficulty_change_expected", "progressPercent": "difficulty_progress"},
    ),
}
"""What is asked about, where, and how the fields of the answer are called here."""

MINING: Final = "mining"
PERIODS: Final = (("3d", 3), ("1w", 7), ("1m", 30), ("3m", 90), ("6m", 180), ("1y", 365), ("2y", 730), ("3y", 1095))


class MempoolOptions(Options):
    """The table `[feeds.mempool_space]`."""

    url: str = Field("https://mempool.space/api", description="address of the API, perhaps of an instance of one's own")
    topics: tuple[str, ...] = Field((*NOW, MINING), description="of fees, mempool, difficulty, mining")
    every: float = Field(60.0, ge=5.0, description="seconds between two questions about fees, mempool and difficulty")
    mining_every: float = Field(3600.0, ge=10.0, description="seconds between two questions about the hash rate")


class MempoolSpace(Rounds):
    """Values of the moment, and the days of mining."""

    def __init__(self, options: MempoolOptions, tools: Tools) -> None:
        for topic in options.topics:
            if topic not in (*NOW, MINING):
                raise InputError("no such topic", key="topics", value=topic, remedy=f"Of {', '.join((*NOW, MINING))}")
        if not options.topics:
            raise InputError("no topics", key="topics", remedy=f"Name some of {', '.join((*NOW, MINING))}")
        super().__init__(CARD, tools, options.topics, options.every, {MINING: options.mining_every})
        self._url = options.url.rstrip("/")

    async def ask_about(self, topic: str) -> Batch:
        """See `Rounds`."""
        if topic == MINING:
            items, arrived = await self._mining("1m")
            return self.recent(topic, items, arrived)
        path, names = NOW[topic]
        answer = await self.tools.http.get(self._url + path)
        return Batch(_read_now(answer, names), answer.arrived_ns)

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: hash rate and difficulty, in one answer; the rest has no history."""
        days = (self.tools.clock.now_ns() - span[0]) // DAY_NS + 2
        period = next((name for name, long in PERIODS if long >= days), "all")
        items, arrived = await self._mining(period)
        await take(past_batch(items, span, arrived, CARD.lag_ns))
        progress(1.0, 1.0)

    async def _mining(self, period: str) -> tuple[list[Item], int]:
        answer = await self.tools.http.get(f"{self._url}/v1/mining/hashrate/{period}")
        body = answer.json()
        days = body.get("hashrates") if isinstance(body, dict) else None
        steps = body.get("difficulty") if isinstance(body, dict) else None
        if not isinstance(days, list) or not isinstance(steps, list):
            raise FeedError(f"{answer.url}: the answer has no lists 'hashrates' and 'difficulty'")
        items = [_read_dated("hashrate", row, "timestamp", "avgHashrate") for row in days]
        for row in steps:
            stamp = "time" if isinstance(row, dict) and "time" in row else "timestamp"
            items.append(_read_dated("difficulty", row, stamp, "difficulty"))
        return items, answer.arrived_ns


def _read_now(answer: Answer, names: dict[str, str]) -> list[Item]:
    body = answer.json()
    if not isinstance(body, dict) or not set(names) & set(body):
        raise FeedError(f"{answer.url}: the answer has none of {', '.join(names)}")
    when, items = served_ns(answer), list[Item]()
    for field, name in names.items():
        try:
            items.append(Reading(name, COIN, when, number(body.get(field))))
        except ValueError as error:
            items.append(spoilt({field: body.get(field)}, f"{field} is {error}"))
    return items


def _read_dated(name: str, row: Any, stamp: str, field: str) -> Item:
    told = row if isinstance(row, dict) else {}
    try:
        return Reading(name, COIN, int(number(told.get(stamp))) * SECOND_NS, number(told.get(field)))
    except ValueError as error:
        return spoilt(row, f"{stamp} or {field} is {error}")


SOURCE: Final = Source(CARD, MempoolOptions, MempoolSpace)
