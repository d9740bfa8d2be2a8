"""Glassnode, for those with a key: on-chain metrics, by preference the point-in-time ones, whose history never changes.

`metrics` maps names here to paths of the API: `exchange_netflow = "transactions/transfers_volume_exchanges_net_pit"`.
Rows are stamped with the START of their interval (documented), so `event_ns` is its end. A path that ends with `_pit`
gives values as they were first computed (documented: append-only, immutable). Their answers are said to tell when a
value was computed; the name of that field couldn't be verified without a key, so the names in `COMPUTED` are looked
for: where one is there it is `known_ns`, quality `vendor_pit`; where none is there, the lag is assumed (quality
`assumed_lag`). Other paths are re-stated, `revised`. Which metrics have a `_pit` form stands in the vendor's catalogue;
of those here only `addresses/accumulation_count_pit` was verified. Values that are objects aren't read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import Field

from data.dated_series import DatedSeries, Row
from data.feed import Card, FeedError, Options, Source, Terms, Tools
from data.http import Answer
from data.readings import RefusedError, secret_of
from data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, WEEK_NS, Span

CARD: Final = Card(
    name="glassnode",
    title="Glassnode (with a key)",
    kinds=("metrics",),
    live=True,
    history="assumed_lag",
    lag_ns=2 * HOUR_NS,
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=False,
        note="paid API; what the plan allows stands in its contract",
        url="https://glassnode.com/terms-and-conditions",
    ),
    per_minute=300.0,  # documented: 600 a minute, shared with the account's other use
    keys=("key",),
)
INTERVALS: Final = {"10m": 10 * MINUTE_NS, "1h": HOUR_NS, "24h": DAY_NS, "1w": WEEK_NS}
COMPUTED: Final = ("computed_at", "computedAt", "ct", "c")


class GlassnodeOptions(Options):
    """The table `[feeds.glassnode]`."""

    key: str = Field("", description="reference to the API key, env:GLASSNODE_KEY for example")
    url: str = Field("https://api.glassnode.com/v1/metrics", description="address of the API")
    metrics: dict[str, str] = Field(
        {"accumulation_count": "addresses/accumulation_count_pit"}, description="name here = path of the API"
    )
    coins: tuple[str, ...] = Field((), description="coins, BTC for example; none: those of the run")
    interval: Literal["10m", "1h", "24h", "1w"] = Field("24h", description="length of an interval, as the plan has it")
    every: float = Field(3600.0, ge=10.0, description="seconds between two questions about the same series")


class Glassnode(DatedSeries):
    """Series by path and asset."""

    def __init__(self, options: GlassnodeOptions, tools: Tools) -> None:
        coins = [coin.upper() for coin in options.coins or tools.coins]
        super().__init__(CARD, tools, options.metrics, coins, INTERVALS[options.interval], options.every)
        self._url, self._interval = options.url.rstrip("/"), options.interval
        self._secret = secret_of(tools, options.key)

    async def read(self, metric: str, coin: str, span: Span) -> tuple[Iterable[Row], Answer]:
        """See `DatedSeries`."""
        params = {
            "a": coin,
            "i": self._interval,
            "s": str(max(span[0], 0) // SECOND_NS),
            "u": str(-(-span[1] // SECOND_NS)),
            "f": "json",
            "timestamp_format": "unix",
        }
        url = f"{self._url}/{metric.strip('/')}"
        statuses = frozenset({200, 400, 403, 404})
        answer = await self.tools.http.get(url, params, {"x-api-key": self._secret}, statuses=statuses)
        if answer.status != 200:  # no such metric, not for this coin, or not in this plan
            raise RefusedError(f"{answer.url}: HTTP {answer.status}")
        rows = answer.json()
        if not isinstance(rows, list):
            raise FeedError(f"{answer.url}: the answer is no list")
        return [_read_row(row) for row in rows], answer

    def quality(self, metric: str, row: Row) -> str:
        """See `DatedSeries`: only a point-in-time path keeps its history."""
        if not metric.endswith("_pit"):
            return "revised"
        return super().quality(metric, row)


def _read_row(row: Any) -> Row:
    told = row if isinstance(row, dict) else {}
    computed = next((told[name] for name in COMPUTED if told.get(name) is not None), None)
    return Row(row, told.get("t"), told.get("v", told), computed)


SOURCE: Final = Source(CARD, GlassnodeOptions, Glassnode)
