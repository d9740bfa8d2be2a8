"""DefiLlama: value locked, stablecoin supply and fees of decentralised finance, a value a day, free, without a key.

| metric | coin | what it is |
| --- | --- | --- |
| `tvl` | `*` | USD locked on all chains, without double counting and liquid staking |
| `stablecoin_supply` | `*` | USD in circulating stablecoins of all pegs |
| `defi_fees` | `*` | USD that users paid in fees during the day |
| `chain_tvl`, `chain_fees` | the chain's coin | the same for one chain |
| `chain_tvl_now` | the chain's coin | USD locked by `/v2/chains` at this moment; not counted as `chain_tvl` is |

Rows are stamped with the start of their day. Whether a row of `tvl` shows the start or the end of its day isn't
documented, so all count as measured at its END, which is never too early; the running day is left out until it is
over. The source re-states its history whenever it adds a protocol or mends an adapter: its quality is `revised`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from pydantic import Field

from data.clean import clean_name
from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Options, Progress, Reading, Source, Take, Terms, Tools
from data.http import Answer
from data.readings import RefusedError, Rounds, number, past_batch, served_ns, spoilt
from data.times import DAY_NS, HOUR_NS, SECOND_NS, Span

CARD: Final = Card(
    name="defillama",
    title="DefiLlama",
    kinds=("metrics",),
    live=True,
    history="revised",
    lag_ns=12 * HOUR_NS,
    revises=True,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="free and open API; the source should be named; its history is re-stated",
        url="https://defillama.com/terms",
    ),
    per_minute=30.0,
)
SERIES: Final = ("tvl", "stablecoin_supply", "defi_fees", "chain_tvl", "chain_fees", "chain_tvl_now")
CHAINS: Final = {
    "ADA": "Cardano", "APT": "Aptos", "ARB": "Arbitrum", "AVAX": "Avalanche", "BNB": "BSC", "BTC": "Bitcoin",
    "ETH": "Ethereum", "HYPE": "Hyperliquid L1", "NEAR": "Near", "OP": "OP Mainnet", "POL": "Polygon", "SOL": "Solana",
    "SUI": "Sui", "TON": "TON", "TRX": "Tron",
}  # fmt: skip
NOW: Final = "chain_tvl_now"


class DefiLlamaOptions(Options):
    """The table `[feeds.defillama]`."""

    url: str = Field("https://api.llama.fi", description="address of the API of value locked and fees")
    stablecoins_url: str = Field("https://stablecoins.llama.fi", description="address of the API of stablecoins")
    series: tuple[str, ...] = Field(SERIES, description=f"metrics, of {', '.join(SERIES)}")
    coins: tuple[str, ...] = Field((), description="coins whose chains are asked for; none: those of the run")
    chains: dict[str, str] = Field({}, description="more chains: coin = 'name at DefiLlama'")
    every: float = Field(3600.0, ge=10.0, description="seconds between two questions about the same metric")


@dataclass(frozen=True)
class _Series:
    """A series: how it is called, where it is asked for, and how its days are read."""

    name: str
    coin: str
    url: str
    params: dict[str, str]
    rows: Callable[[Any, Answer], Iterator[tuple[Any, Any, Any]]]


class DefiLlama(Rounds):
    """Several series; each answer is the whole of its history."""

    def __init__(self, options: DefiLlamaOptions, tools: Tools) -> None:
        known = {**CHAINS, **{coin.upper(): name for coin, name in options.chains.items()}}
        coins = [coin.upper() for coin in options.coins or tools.coins]
        for coin in options.coins:
            if coin.upper() not in known:
                remedy = f"Name its chain: chains = {{ {coin} = '...' }}"
                raise InputError("no chain is known for this coin", key="coins", value=coin, remedy=remedy)
        self._chains = {coin: known[coin] for coin in dict.fromkeys(coins) if coin in known}
        self._series = {f"{one.name} {one.coin}": one for one in _all_series(options, self._chains)}
        if options.series and not self._series and NOW not in options.series:
            raise InputError("nothing to ask for", key="coins", remedy="Name coins that have a chain, ETH for example")
        now = [NOW] if NOW in options.series and self._chains else []
        super().__init__(CARD, tools, [*self._series, *now], options.every)
        self._now_url = options.url.rstrip("/") + "/v2/chains"

    async def ask_about(self, topic: str) -> Batch:
        """See `Rounds`: the last days of a series, and those missed; or what is locked now."""
        if topic == NOW:
            return await self._read_now()
        items, arrived = await self._read(self._series[topic])
        return self.recent(topic, items, arrived)

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: one answer a series."""
        async for topic in self.each(self._series, progress):
            try:
                items, arrived = await self._read(self._series[topic])
            except RefusedError as error:
                self.skip(topic, error)
            else:
                await take(past_batch(items, span, arrived, CARD.lag_ns))

    async def _read(self, one: _Series) -> tuple[list[Item], int]:
        answer = await self.tools.http.get(one.url, one.params, statuses=frozenset({200, 400, 404}))
        if answer.status != 200:  # a chain that it doesn't know, or not by that name
            raise RefusedError(f"{answer.url}: HTTP {answer.status}")
        items: list[Item] = []
        for row, when, value in one.rows(answer.json(), answer):
            try:
                start, found = int(number(when)) * SECOND_NS, number(value)
            except ValueError as error:
                items.append(spoilt(row, f"a day or its value is {error}"))
                continue
            if start % DAY_NS == 0:  # the others show the running day
                items.append(Reading(one.name, one.coin, start + DAY_NS, found))
        return items, answer.arrived_ns

    async def _read_now(self) -> Batch:
        answer = await self.tools.http.get(self._now_url)
        rows = answer.json()
        if not isinstance(rows, list):
            raise FeedError(f"{answer.url}: the answer is no list")
        when, items = served_ns(answer), list[Item]()
        by_name = {name: coin for coin, name in self._chains.items()}
        for row in rows:
            coin = by_name.pop(clean_name(row.get("name")), "") if isinstance(row, dict) else ""
            if coin:
                try:
                    items.append(Reading(NOW, coin, when, number(row.get("tvl"))))
                except ValueError as error:
                    items.append(spoilt(row, f"tvl is {error}"))
        if len(by_name) == len(self._chains):
            raise FeedError(f"{answer.url}: none of the chains {', '.join(sorted(by_name))} is there")
        return Batch(items, answer.arrived_ns)


def _all_series(options: DefiLlamaOptions, chains: dict[str, str]) -> Iterator[_Series]:
    url, asked = options.url.rstrip("/"), set(options.series)
    if asked - set(SERIES):
        raise InputError("no such metric", key="series", value=sorted(asked - set(SERIES))[0], remedy=f"Of {SERIES}")
    fees = {"excludeTotalDataChart": "false", "excludeTotalDataChartBreakdown": "true", "dataType": "dailyFees"}
    if "tvl" in asked:
        yield _Series("tvl", "*", f"{url}/v2/historicalChainTvl", {}, _locked)
    if "stablecoin_supply" in asked:
        stable = options.stablecoins_url.rstrip("/") + "/stablecoincharts/all"
        yield _Series("stablecoin_supply", "*", stable, {}, _supplied)
    if "defi_fees" in asked:
        yield _Series("defi_fees", "*", f"{url}/overview/fees", fees, _paid)
    for coin, name in chains.items():
        if "chain_tvl" in asked:
            yield _Series("chain_tvl", coin, f"{url}/v2/historicalChainTvl/{quote(name)}", {}, _locked)
        if "chain_fees" in asked:
            yield _Series("chain_fees", coin, f"{url}/overview/fees/{quote(name)}", fees, _paid)


def _locked(body: Any, answer: Answer) -> Iterator[tuple[Any, Any, Any]]:
    """Rows as `{date, tvl}`."""
    if not isinstance(body, list):
        raise FeedError(f"{answer.url}: the answer is no list")
    for row in body:
        told = row if isinstance(row, dict) else {}
        yield row, told.get("date"), told.get("tvl")


def _supplied(body: Any, answer: Answer) -> Iterator[tuple[Any, Any, Any]]:
    """Rows as `{date, totalCirculatingUSD: {peg: USD}}`: all pegs together."""
    if not isinstance(body, list):
        raise FeedError(f"{answer.url}: the answer is no list")
    for row in body:
        told = row if isinstance(row, dict) else {}
        pegs, total = told.get("totalCirculatingUSD"), None
        if isinstance(pegs, dict) and pegs:
            try:
                total = sum(number(value) for value in pegs.values())
            except ValueError:
                total = None
        yield row, told.get("date"), total


def _paid(body: Any, answer: Answer) -> Iterator[tuple[Any, Any, Any]]:
    """Rows as `[day, USD]`."""
    rows = body.get("totalDataChart") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise FeedError(f"{answer.url}: the answer has no list 'totalDataChart'")
    for row in rows:
        pair = row if isinstance(row, list) and len(row) == 2 else (None, None)
        yield row, pair[0], pair[1]


SOURCE: Final = Source(CARD, DefiLlamaOptions, DefiLlama)
