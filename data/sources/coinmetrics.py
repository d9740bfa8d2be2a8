"""Coin Metrics, community API v4: daily metrics of coins, free for non-commercial use, without a key.

A row is stamped with the START of its day and holds values of its END: `event_ns` is the next midnight. A metric is
called as the vendor calls it, in small letters with underscores (`CapMVRVCur` is `cap_mvrv_cur`). Beside them stands
`exchange_netflow`: what flowed to exchanges less what flowed from them, in coins (`FlowInExNtv - FlowOutExNtv`), or in
USD where the options say so. Flows and supplies of exchanges rest on address labels that are corrected backwards:
their history is `revised`. History is asked for anew each time: ten thousand rows are one request, and what was
re-stated becomes a revision. Which metrics a coin has for free changes (that flows in coins are among them wasn't tried
against the live service); those asked for and never given stand in `health`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field

from data.clean import clean_text
from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Options, Progress, Reading, Source, Take, Terms, Tools
from data.http import Answer
from data.readings import Rounds, metric_name, number, past_batch, spoilt
from data.times import DAY_NS, HOUR_NS, Span, floor_time, format_date, parse_time

CARD: Final = Card(
    name="coinmetrics",
    title="Coin Metrics, community API",
    kinds=("metrics",),
    live=True,
    history="assumed_lag",
    lag_ns=6 * HOUR_NS,
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=True,
        note="CC BY-NC 4.0: NON-COMMERCIAL use only, the source has to be named; commercial use needs their paid API",
        url="https://coinmetrics.io/community-network-data/",
    ),
    per_minute=100.0,  # 10 requests in 6 s for an address
)
METRICS: Final = (
    *("PriceUSD", "CapMrktCurUSD", "CapMVRVCur", "AdrActCnt", "TxCnt", "FeeTotNtv", "HashRate", "SplyCur"),
    *("FlowInExNtv", "FlowOutExNtv", "SplyExNtv"),
)
NETFLOW: Final = "exchange_netflow"
LEGS: Final = {"native": ("FlowInExNtv", "FlowOutExNtv"), "usd": ("FlowInExUSD", "FlowOutExUSD")}
LABELLED: Final = ("FlowIn", "FlowOut", "FlowTfr", "FlowNet", "SplyEx")
"""What begins so depends on who is thought to own an address."""
ROWS_MAX: Final = 10_000
PAGES_MAX: Final = 500
TOPIC: Final = "days"


class CoinMetricsOptions(Options):
    """The table `[feeds.coinmetrics]`."""

    url: str = Field("https://community-api.coinmetrics.io/v4", description="address of the API")
    coins: tuple[str, ...] = Field((), description="coins, BTC for example; none: those of the run")
    metrics: tuple[str, ...] = Field(METRICS, description="metrics as Coin Metrics writes them")
    netflow: Literal["native", "usd", "none"] = Field(
        "native", description="unit of exchange_netflow: native (coins), usd, or none to leave it out"
    )
    every: float = Field(3600.0, ge=10.0, description="seconds between two questions")


class CoinMetrics(Rounds):
    """Daily rows of several assets."""

    def __init__(self, options: CoinMetricsOptions, tools: Tools) -> None:
        super().__init__(CARD, tools, [TOPIC], options.every)
        self._url = options.url.rstrip("/") + "/timeseries/asset-metrics"
        self._assets = {coin.lower(): coin.upper() for coin in options.coins or tools.coins}
        self._legs = LEGS.get(options.netflow, ())
        self._metrics = tuple(dict.fromkeys(options.metrics))
        if not self._assets:
            raise InputError("no coins", key="coins", remedy="coins = ['BTC', 'ETH'], or --set coins=BTC,ETH")
        if not self._metrics and not self._legs:
            raise InputError("no metrics", key="metrics", remedy="Name some, AdrActCnt for example")
        self._given: set[tuple[str, str]] = set()

    async def ask_about(self, topic: str) -> Batch:
        """See `Rounds`: the last days, and those missed since the last one that was handed over."""
        items: list[Item] = []
        token = ""
        for _ in range(PAGES_MAX):
            rows, token, answer = await self._page(self.since_ns(topic), None, token)
            items += rows
            if not token:
                return self.recent(topic, items, answer.arrived_ns)
            await self.tools.sleep(self.pace_s)
        raise FeedError(f"{self._url}: pages without end")

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: page by page, oldest first."""
        whole = float(span[1] - span[0])
        token = ""
        for _ in range(PAGES_MAX):
            rows, token, answer = await self._page(span[0] - DAY_NS, span[1] - 1 - DAY_NS, token)
            batch = past_batch(rows, span, answer.arrived_ns, CARD.lag_ns)
            await take(batch)
            if not token:
                return progress(whole, whole)
            reached = max((item.event_ns for item in batch.items if isinstance(item, Reading)), default=span[0])
            progress(float(reached - span[0]), whole)
            await self.tools.sleep(self.pace_s)
        raise FeedError(f"{self._url}: pages without end")

    def health(self) -> dict[str, Any]:
        """See `Polled`; with `absent`, what was asked for and never given: the free tier may not have it."""
        names = [metric_name(metric) for metric in self._metrics] + ([NETFLOW] if self._legs else [])
        wanted = [(coin, name) for coin in self._assets.values() for name in names]
        absent = [f"{coin} {name}" for coin, name in wanted if (coin, name) not in self._given]
        return {**super().health(), "absent": absent if self.counts["asked"] else []}

    async def _page(self, since_ns: int, until_ns: int | None, token: str) -> tuple[list[Item], str, Answer]:
        """One page from the day of `since_ns` to that of `until_ns`, and the token of the next one."""
        params = {
            "assets": ",".join(self._assets),
            "metrics": ",".join(dict.fromkeys([*self._metrics, *self._legs])),
            "frequency": "1d",
            "start_time": format_date(floor_time(since_ns, DAY_NS)),
            "paging_from": "start",
            "sort": "time",
            "page_size": str(ROWS_MAX),
            "ignore_forbidden_errors": "true",  # not each metric is free for each coin
            "ignore_unsupported_errors": "true",
        }
        if until_ns is not None:
            params["end_time"] = format_date(until_ns)
        if token:
            params["next_page_token"] = token
        answer = await self.tools.http.get(self._url, params, statuses=frozenset({200, 400, 401, 403}))
        body = answer.json()
        _check_error(body, answer)
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise FeedError(f"{answer.url}: the answer has no list 'data'")
        following = _next_token(body)
        if following and following == token:
            raise FeedError(f"{answer.url}: the next page is the same page")
        return [item for row in rows for item in self._read_row(row)], following, answer

    def _read_row(self, row: Any) -> Sequence[Item]:
        try:
            coin, start = self._assets[row["asset"]], parse_time(row["time"])
        except (InputError, TypeError, AttributeError, LookupError):
            return [spoilt(row, "no asset that was asked for, or no time")]
        if start % DAY_NS:
            return [spoilt(row, "a day that doesn't start at midnight")]
        items: list[Item] = []
        values: dict[str, float] = {}
        for metric in dict.fromkeys([*self._metrics, *self._legs]):
            said = row.get(metric)
            if said is None:  # not computed yet, or not for this coin
                continue
            try:
                values[metric] = number(said)
            except ValueError as error:
                items.append(spoilt(row, f"{metric} is {error}"))
        readings = {metric_name(metric): (metric, values[metric]) for metric in self._metrics if metric in values}
        if self._legs and all(leg in values for leg in self._legs):
            readings[NETFLOW] = (self._legs[0], values[self._legs[0]] - values[self._legs[1]])
        for name, (metric, value) in readings.items():
            self._given.add((coin, name))
            quality = "revised" if metric.startswith(LABELLED) else ""
            items.append(Reading(name, coin, start + DAY_NS, value, quality=quality))
        return items


def _check_error(body: Any, answer: Answer) -> None:
    """Errors say their type and what they are about; none of those is mended by waiting."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        kind, message = clean_text(error.get("type"), most=60), clean_text(error.get("message"), most=300)
        raise FeedError(f"{answer.url}: {kind}: {message}", final=True)
    if answer.status != 200:
        raise FeedError(f"{answer.url}: HTTP {answer.status}", final=True)


def _next_token(body: dict[str, Any]) -> str:
    """Token of the next page; of its address only that is used, so that no answer leads us to another host."""
    token, url = body.get("next_page_token"), body.get("next_page_url")
    if not token and isinstance(url, str):
        token = parse_qs(urlsplit(url).query).get("next_page_token", [""])[0]
    return token if isinstance(token, str) else ""


SOURCE: Final = Source(CARD, CoinMetricsOptions, CoinMetrics)
