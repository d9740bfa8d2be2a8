"""Etherscan, API v2 (Ethereum and its kin): gas prices, supply, flows of labelled addresses by the hour.

| metric | coin | what it is |
| --- | --- | --- |
| `gas_safe`, `gas_propose`, `gas_fast`, `gas_base` | the chain's | the gas oracle's prices, gwei |
| `supply` | the chain's, each token | coins there are |
| `<label>_inflow`, `<label>_outflow`, `<label>_netflow` | the chain's, each token | coins moved within an hour |

Gas and supply have no time of their own: `event_ns` is the answer's `Date`. An hour of flows is handed over when its
last block has the confirmations asked for, complete or not at all; transfers inside a label and failed ones don't
count, and coins that contracts move on their way ("internal transactions") only where `internal` says so. Only flows
have history here. Errors come with HTTP 200 and `status` "0". Chains other than Ethereum may need a paid plan.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from data.clean import clean_text
from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Options, Progress, Reading, Source, Take, Terms, Tools
from data.http import Answer, redacted
from data.readings import Rounds, number, past_batch, secret_of, served_ns, spoilt
from data.times import HOUR_NS, SECOND_NS, Span, floor_time, format_time
from data.transfers import Labels, Tally, Token, Transfer, address_of, whole

CARD: Final = Card(
    name="etherscan",
    title="Etherscan, API v2",
    kinds=("metrics",),
    live=True,
    history="assumed_lag",
    lag_ns=HOUR_NS,
    revises=False,
    terms=Terms(
        trainable=None,
        redistributable=None,
        note="free plan: 3 requests a second, 100,000 a day, some chains; attribution 'Powered by Etherscan.io APIs'",
        url="https://etherscan.io/terms",
    ),
    per_minute=150.0,
    keys=("key",),
)
ROWS: Final = 1000
"""Rows of an answer, at most, on the free plan."""
PAGES_MAX: Final = 5000
CHUNK_NS: Final = 24 * HOUR_NS
GAS: Final = {
    "SafeGasPrice": "gas_safe",
    "ProposeGasPrice": "gas_propose",
    "FastGasPrice": "gas_fast",
    "suggestBaseFee": "gas_base",
}
TOPICS: Final = ("gas", "supply", "flows")
FINAL: Final = ("invalid api key", "missing/invalid api key", "unsupported chainid", "invalid action", "module name",
                "invalid address", "not supported", "free api access")  # fmt: skip
"""Parts of messages about what no waiting mends, in small letters."""


class EtherscanOptions(Options):
    """The table `[feeds.etherscan]`."""

    key: str = Field("", description="reference to the API key, env:ETHERSCAN_KEY for example")
    url: str = Field("https://api.etherscan.io/v2/api", description="address of the API")
    chain: int = Field(1, ge=1, description="number of the chain; 1 is Ethereum")
    coin: str = Field("ETH", description="the chain's own coin")
    topics: tuple[str, ...] = Field(TOPICS, description="of gas, supply, flows")
    labels: dict[str, tuple[str, ...]] = Field({}, description="label = [addresses]; none: no flows")
    tokens: dict[str, Token] = Field({}, description="coin = { contract, decimals }: tokens whose flows are wanted")
    internal: bool = Field(False, description="count coins that contracts moved, too; one request more an address")
    confirmations: int = Field(12, ge=0, le=10_000, description="blocks on top of a block until it counts")
    every: float = Field(60.0, ge=5.0, description="seconds between two looks at gas")
    slow_every: float = Field(300.0, ge=10.0, description="seconds between two looks at supply and flows")


@dataclass(frozen=True)
class _Series:
    """A coin, and the lists of transfers that it has: of the API's `action`."""

    coin: str
    decimals: int
    contract: str
    actions: tuple[str, ...]


class Etherscan(Rounds):
    """Samples of gas and supply, and sums of transfers."""

    def __init__(self, options: EtherscanOptions, tools: Tools) -> None:
        for topic in options.topics:
            if topic not in TOPICS:
                raise InputError("no such topic", key="topics", value=topic, remedy=f"Of {', '.join(TOPICS)}")
        self._labels = Labels(options.labels)
        topics = [topic for topic in options.topics if topic != "flows" or self._labels]
        if not topics:
            raise InputError("nothing to ask for", key="topics", remedy="Name gas or supply, or labels for flows")
        slow = dict.fromkeys(("supply", "flows"), options.slow_every)
        super().__init__(CARD, tools, topics, options.every, slow)
        self._url, self._chain, self._secret = options.url, options.chain, secret_of(tools, options.key)
        self._deep = options.confirmations
        own = ("txlist", "txlistinternal") if options.internal else ("txlist",)
        self._series = [_Series(options.coin.upper(), 18, "", own)]
        for coin, token in options.tokens.items():
            contract = address_of(token.contract, f"tokens.{coin}.contract")
            self._series.append(_Series(coin.upper(), token.decimals, contract, ("tokentx",)))

    async def ask_about(self, topic: str) -> Batch:
        """See `Rounds`."""
        if topic == "gas":
            return await self._gas()
        return await (self._supply() if topic == "supply" else self._flows())

    async def past(self, span: Span, take: Take, progress: Progress) -> None:
        """See `Polled`: flows, a day at a time; days that are stored whole aren't asked for again."""
        if not self._labels:
            raise InputError("only flows have a history here", key="labels", remedy="Name labels with their addresses")
        now_ns = self.tools.clock.now_ns()
        first = floor_time(span[0] - 1, HOUR_NS)  # the hour that ends at the first event of the span
        last = min(floor_time(span[1] - 1, HOUR_NS), floor_time(now_ns, HOUR_NS))
        total, stored = max(float(last - first), 1.0), self._stored()
        while first < last:
            until = min(first + CHUNK_NS, last)
            if not self._wanted(first, until) <= stored:
                settled, items, arrived = await self._sum(first, until)
                await take(past_batch(items, span, arrived, CARD.lag_ns))
                if until - settled > HOUR_NS:
                    raise FeedError(f"{CARD.name}: its blocks end before {format_time(settled + HOUR_NS)}")
                if settled < until:
                    break  # the newest hour lacks confirmations yet
            first = until
            progress(total - float(last - first), total)
        progress(total, total)

    async def _gas(self) -> Batch:
        answer, told = await self._call({"module": "gastracker", "action": "gasoracle"})
        if not isinstance(told, dict) or not set(GAS) & set(told):
            raise FeedError(f"{answer.url}: the gas oracle's answer has none of {', '.join(GAS)}")
        items: list[Item] = []
        for field, name in GAS.items():
            try:
                items.append(Reading(name, self._series[0].coin, served_ns(answer), number(told.get(field))))
            except ValueError as error:
                items.append(spoilt({field: told.get(field)}, f"{field} is {error}"))
        return Batch(items, answer.arrived_ns)

    async def _supply(self) -> Batch:
        items: list[Item] = []
        for one in self._series:
            about = {"action": "tokensupply", "contractaddress": one.contract} if one.contract else {}
            answer, told = await self._call({"module": "stats", "action": "ethsupply", **about})
            try:
                items.append(Reading("supply", one.coin, served_ns(answer), whole(told) / 10**one.decimals))
            except ValueError as error:
                items.append(spoilt(told, f"the supply is {error}"))
        return Batch(items, answer.arrived_ns)

    async def _flows(self) -> Batch:
        """The hours since the cursor that are over and deep enough, a day of them at most."""
        now_hour = floor_time(self.tools.clock.now_ns(), HOUR_NS)
        told = self.cursor.get("flows")
        first = told if isinstance(told, int) and told % HOUR_NS == 0 else now_hour - HOUR_NS
        until = min(first + CHUNK_NS, now_hour)
        settled, items, arrived = await self._sum(first, until)
        self.behind = {"flows"} if settled == until < now_hour else set()
        return Batch(items, arrived, {**self.cursor, "flows": settled} if settled > first else None)

    async def _sum(self, first_ns: int, until_ns: int) -> tuple[int, list[Item], int]:
        """Flows of the hours from `first_ns` on; until when they are complete and deep enough, `until_ns` at most."""
        answer, told = await self._call({"module": "proxy", "action": "eth_blockNumber"})
        head = _whole(told, answer)
        while until_ns > first_ns and (end := await self._block_before(until_ns)) + self._deep > head:
            until_ns -= HOUR_NS
        if until_ns <= first_ns:
            return first_ns, [], answer.arrived_ns
        blocks = (await self._block_before(first_ns) + 1, end)
        items: list[Item] = []
        arrived = answer.arrived_ns
        for one in self._series:
            tallies = {hour: self._labels.tally() for hour in range(first_ns, until_ns, HOUR_NS)}
            for action in one.actions:
                for address in self._labels.addresses:
                    arrived = await self._count(one, action, address, blocks, tallies) or arrived
            for hour, tally in tallies.items():
                items += tally.readings(one.coin, one.decimals, hour + HOUR_NS)
        return until_ns, items, arrived

    async def _count(
        self, one: _Series, action: str, address: str, blocks: tuple[int, int], tallies: dict[int, Tally]
    ) -> int:
        """Add an address's transfers within blocks to the tallies of their hours; when the last answer was in."""
        arrived = 0
        async for answer, rows in self._pages(one, action, address, blocks):
            arrived = answer.arrived_ns
            for row in rows:
                when, transfer = _read_transfer(row, one, answer)
                tally = tallies.get(floor_time(when, HOUR_NS))
                if tally is None:
                    raise FeedError(f"{answer.url}: a transfer outside the hours that were asked for")
                tally.add([transfer] if transfer else [], seen_from=address)
        return arrived

    async def _pages(
        self, one: _Series, action: str, address: str, blocks: tuple[int, int]
    ) -> AsyncIterator[tuple[Answer, Sequence[Any]]]:
        """Rows of a block range. A full answer may end inside a block: that one is asked for again, from its start."""
        start, page = blocks[0], 1
        params = {"module": "account", "action": action, "address": address, "offset": str(ROWS), "sort": "asc"}
        if one.contract:
            params["contractaddress"] = one.contract
        for _ in range(PAGES_MAX):
            if start > blocks[1]:
                return
            asked = {**params, "startblock": str(start), "endblock": str(blocks[1]), "page": str(page)}
            answer, rows = await self._call(asked)
            if not isinstance(rows, list):
                raise FeedError(f"{answer.url}: transfers aren't a list")
            numbers = [_whole(row.get("blockNumber") if isinstance(row, dict) else None, answer) for row in rows]
            if any(not start <= block <= blocks[1] for block in numbers) or numbers != sorted(numbers):
                raise FeedError(f"{answer.url}: transfers outside the blocks that were asked for, or not in order")
            if len(rows) < ROWS:
                yield answer, rows
                return
            if numbers[0] == numbers[-1]:  # a block with more transfers than an answer has room for
                yield answer, rows
                page += 1
                continue
            yield answer, [row for row, block in zip(rows, numbers, strict=True) if block < numbers[-1]]
            start, page = numbers[-1], 1
        raise FeedError(f"{self._url}: pages without end")

    async def _block_before(self, time_ns: int) -> int:
        """The last block stamped before a time."""
        stamp = str(time_ns // SECOND_NS - 1)
        asked = {"module": "block", "action": "getblocknobytime", "timestamp": stamp, "closest": "before"}
        answer, told = await self._call(asked)
        return _whole(told, answer)

    async def _call(self, params: dict[str, str]) -> tuple[Answer, Any]:
        """One question, at the pace of the plan."""
        await self.tools.sleep(self.pace_s)
        asked = {"chainid": str(self._chain), **params, "apikey": self._secret}
        answer = await self.tools.http.get(self._url, asked)
        self.tools.alive()  # an hour of a busy address is many pages
        body = answer.json()
        if not isinstance(body, dict) or "result" not in body:
            raise self._refusal(answer, body.get("error") if isinstance(body, dict) else None)
        if str(body.get("status", "1")) == "1":
            return answer, body["result"]
        if body["result"] == [] and "found" in str(body.get("message", "")).lower():
            return answer, []
        raise self._refusal(answer, body["result"] or body.get("message"))

    def _refusal(self, answer: Answer, said: Any) -> FeedError:
        text = redacted(clean_text(said if isinstance(said, str) else repr(said), most=300))
        text = text.replace(self._secret, "***") if self._secret else text
        known = text.lower()
        if "rate limit" in known or "too many" in known:
            return FeedError(f"{answer.url}: {text}", pause_s=3600.0 if "daily" in known or "day" in known else 5.0)
        return FeedError(f"{answer.url}: {text}", final=any(part in known for part in FINAL))

    def _wanted(self, first_ns: int, until_ns: int) -> set[tuple[str, str, int]]:
        hours = range(first_ns + HOUR_NS, until_ns + 1, HOUR_NS)
        return {(name, one.coin, hour) for name in self._labels.names() for one in self._series for hour in hours}

    def _stored(self) -> set[tuple[str, str, int]]:
        if self.tools.store is None:
            return set()
        where = {"source": [CARD.name], "name": list(self._labels.names())}
        rows = self.tools.store.table("metrics", where, columns=["name", "coin", "event_ns"])
        return set(zip(*(rows[name].to_pylist() for name in ("name", "coin", "event_ns")), strict=True))


def _whole(value: Any, answer: Answer) -> int:
    try:
        return whole(value, 2**62)
    except ValueError:
        raise FeedError(f"{answer.url}: a block that isn't a number") from None


def _read_transfer(row: Any, one: _Series, answer: Answer) -> tuple[int, Transfer | None]:
    """A row's time and what it moved; None where it failed. One that can't be read would make a wrong sum: an error."""
    try:
        when = whole(row["timeStamp"], 2**33) * SECOND_NS
        if str(row.get("isError", "0")) != "0":
            return when, None
        if one.contract and (
            row["contractAddress"].lower() != one.contract or whole(row["tokenDecimal"], 255) != one.decimals
        ):
            raise ValueError("of another token, or with other decimals than the options say")
        return when, Transfer(row["from"].lower(), row["to"].lower(), whole(row["value"]))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise FeedError(f"{answer.url}: a transfer can't be read ({redacted(str(error))})") from None


SOURCE: Final = Source(CARD, EtherscanOptions, Etherscan)
