"""Santiment, for those with a key: on-chain, social and development metrics by its GraphQL API.

`metrics` maps names here to the vendor's. Rows are taken as stamped with the START of their interval, so `event_ns` is
its end; intervals that aren't over are left out. With `computed` (the default) each row is asked for together with the
time at which it was computed: that is `known_ns`, quality `vendor_pit`. The vendor computes some values anew, and then
says the later time: a value so counts as known later than its first form was, never earlier. Without it history is
`revised`. The field `computedAt` was found in the vendor's public code, not in its documentation, and couldn't be tried
without a key; where the API refuses it, write `computed = false`. Plans without real-time data refuse the last days.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import Field

from data.clean import clean_text
from data.dated_series import DatedSeries, Row
from data.errors import InputError
from data.feed import Card, FeedError, Options, Source, Terms, Tools
from data.http import Answer, read_json, redacted
from data.readings import RefusedError, secret_of
from data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, Span

CARD: Final = Card(
    name="santiment",
    title="Santiment (with a key)",
    kinds=("metrics",),
    live=True,
    history="revised",
    lag_ns=12 * HOUR_NS,
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=False,
        note="what the plan allows stands in its contract; limits by minute, hour and month",
        url="https://santiment.net/terms/",
    ),
    per_minute=60.0,
    keys=("key",),
)
INTERVALS: Final = {"5m": 5 * MINUTE_NS, "1h": HOUR_NS, "1d": DAY_NS}
SLUGS: Final = {
    "ADA": "cardano", "AVAX": "avalanche", "BNB": "binance-coin", "BTC": "bitcoin", "DOGE": "dogecoin",
    "ETH": "ethereum", "LINK": "chainlink", "LTC": "litecoin", "SOL": "solana", "XRP": "xrp",
}  # fmt: skip
METRICS: Final = {
    name: name for name in ("daily_active_addresses", "social_volume_total", "exchange_inflow", "exchange_outflow")
}
FINAL: Final = ("unauthorized", "apikey", "unknown argument")
REFUSED: Final = ("not supported", "mistyped", "outside the allowed", "upgrade", "slug")
"""Parts of messages about one metric or one coin, in small letters."""
QUERY: Final = """query($metric: String!, $slug: String!, $from: DateTime!, $to: DateTime!, $interval: interval!) {
  getMetric(metric: $metric) {
    timeseriesDataJson(selector: {slug: $slug}, from: $from, to: $to, interval: $interval%s)
  }
}"""
FIELDS: Final = ', fields: {datetime: "datetime", value: "value", computedAt: "computedAt"}'


class SantimentOptions(Options):
    """The table `[feeds.santiment]`."""

    key: str = Field("", description="reference to the API key, env:SANTIMENT_KEY for example")
    url: str = Field("https://api.santiment.net/graphql", description="address of the API")
    metrics: dict[str, str] = Field(METRICS, description="name here = name at Santiment")
    coins: tuple[str, ...] = Field((), description="coins, BTC for example; none: those of the run")
    slugs: dict[str, str] = Field({}, description="more coins: coin = slug at Santiment")
    interval: Literal["5m", "1h", "1d"] = Field("1d", description="length of an interval, as the metric has it")
    computed: bool = Field(True, description="ask for the time at which each value was computed")
    every: float = Field(3600.0, ge=10.0, description="seconds between two questions about the same series")


class Santiment(DatedSeries):
    """Series by metric and slug."""

    def __init__(self, options: SantimentOptions, tools: Tools) -> None:
        known = {**SLUGS, **{coin.upper(): slug for coin, slug in options.slugs.items()}}
        for coin in options.coins:
            if coin.upper() not in known:
                remedy = f"Name it: slugs = {{ {coin} = '...' }}"
                raise InputError("no slug is known for this coin", key="coins", value=coin, remedy=remedy)
        coins = [coin.upper() for coin in options.coins or tools.coins if coin.upper() in known]
        super().__init__(CARD, tools, options.metrics, coins, INTERVALS[options.interval], options.every)
        self._url, self._interval, self._slugs = options.url, options.interval, known
        self._query = QUERY % (FIELDS if options.computed else "")
        self._secret = secret_of(tools, options.key)

    async def read(self, metric: str, coin: str, span: Span) -> tuple[Iterable[Row], Answer]:
        """See `DatedSeries`."""
        variables = {
            "metric": metric,
            "slug": self._slugs[coin],
            "from": _iso(span[0]),
            "to": _iso(span[1]),
            "interval": self._interval,
        }
        body = {"query": self._query, "variables": variables}
        headers = {"authorization": f"Apikey {self._secret}"}
        answer = await self.tools.http.post(self._url, body, headers, statuses=frozenset({200, 400}))
        told = answer.json()
        if not isinstance(told, dict):
            raise FeedError(f"{answer.url}: the answer is no object")
        if told.get("errors"):
            raise self._refusal(answer, told["errors"])
        try:
            rows = told["data"]["getMetric"]["timeseriesDataJson"]
        except (TypeError, LookupError):
            raise FeedError(f"{answer.url}: the answer has no timeseriesDataJson") from None
        if isinstance(rows, str):
            rows = read_json(rows, answer.url)
        if not isinstance(rows, list):
            raise FeedError(f"{answer.url}: timeseriesDataJson is no list")
        return [_read_row(row) for row in rows], answer

    def _refusal(self, answer: Answer, errors: Any) -> FeedError:
        first = errors[0] if isinstance(errors, list) and errors else errors
        said = first.get("message") if isinstance(first, dict) else first
        text = redacted(clean_text(said if isinstance(said, str) else repr(said), most=300))
        text = text.replace(self._secret, "***")
        known = text.lower()
        if "rate limit" in known:
            return FeedError(f"{answer.url}: {text}", pause_s=60.0)
        if any(part in known for part in FINAL):
            return FeedError(f"{answer.url}: {text}", final=True)
        if any(part in known for part in REFUSED):
            return RefusedError(f"{answer.url}: {text}")
        return FeedError(f"{answer.url}: {text}")


def _read_row(row: Any) -> Row:
    told = row if isinstance(row, dict) else {}
    return Row(row, told.get("datetime"), told.get("value"), told.get("computedAt"))


def _iso(instant_ns: int) -> str:
    """A time as GraphQL's DateTime, whole seconds."""
    return datetime.fromtimestamp(max(instant_ns, 0) // SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SOURCE: Final = Source(CARD, SantimentOptions, Santiment)
