"""A JSON-RPC node of one's own (or rented), through web3: what moves to and from labelled addresses, block by block.

For each label there are `<label>_inflow`, `<label>_outflow` and `<label>_netflow` of the coin and of each token,
in whole coins, at the time of each block, also where nothing moved. A block is a fact when it has the confirmations
asked for; it is known when it arrived here. In history it counts as known at its time and so many times `block_s`
later: quality `assumed_lag`.

Reorganisations: the hashes of the last blocks stand in the cursor. When a block doesn't follow the remembered one, the
chain has turned deeper than the confirmations: the blocks since the fork are handed over again, with 0 where the new
chain has no block at a time, and become revisions; `health` counts them. Native transfers are those of transactions
that succeeded; what contracts move inside a transaction isn't seen. Tokens are read from their Transfer events. Chains
whose blocks share their times (several a second) can't be followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import Field

from data.errors import InputError
from data.feed import Batch, Card, FeedError, Item, Options, Progress, Reading, Source, Take, Terms, Tools
from data.json_rpc import Node, TooMuchError, quantity
from data.readings import past_batch
from data.times import HOUR_NS, SECOND_NS, Span, format_time
from data.transfers import Labels, Token, Transfer, address_of

CARD: Final = Card(
    name="node",
    title="JSON-RPC node (transfers of labelled addresses)",
    kinds=("metrics",),
    live=True,
    history="assumed_lag",
    lag_ns=300 * SECOND_NS,
    revises=True,
    terms=Terms(
        trainable=True,
        redistributable=True,
        note="what stands on a public chain belongs to nobody; a rented node has terms of its own",
        url="https://ethereum.org/en/developers/docs/apis/json-rpc/",
    ),
    per_minute=1200.0,
)
TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
TIME_MAX: Final = 2**34


class NodeOptions(Options):
    """The table `[feeds.node]`."""

    endpoint: str = Field("", description="address of the node, or a reference (env:NODE_URL) where it holds a key")
    chain: int = Field(1, ge=1, description="number of the chain that the node has to be of; 1 is Ethereum")
    coin: str = Field("ETH", description="the chain's own coin, of 18 decimals; empty: only tokens")
    labels: dict[str, tuple[str, ...]] = Field({}, description="label = [addresses], exchange = ['0x...'] for example")
    tokens: dict[str, Token] = Field({}, description="coin = { contract, decimals }: tokens that are watched")
    confirmations: int = Field(12, ge=0, le=10_000, description="blocks on top of a block until it is a fact")
    remembered: int = Field(64, ge=1, le=1000, description="blocks whose hashes are kept, to find a fork")
    block_s: float = Field(12.0, gt=0, description="seconds from block to block, for history")
    chunk: int = Field(50, ge=1, le=1000, description="blocks handed over together, and asked for logs together")
    every: float = Field(12.0, ge=1.0, description="seconds between two looks for a new block")
    pace: float = Field(0.05, ge=0.0, description="seconds before each question; an own node needs none")
    timeout: float = Field(30.0, gt=0, description="seconds for an answer")


@dataclass(frozen=True, slots=True)
class _Block:
    """What is needed of a block; `moved` holds the transfers of each coin."""

    number: int
    hash: str
    parent: str
    time_ns: int
    moved: dict[str, list[Transfer]] = field(default_factory=dict)


class NodeFeed:
    """Follows a chain and reads ranges of it."""

    def __init__(self, options: NodeOptions, tools: Tools) -> None:
        self.card, self.tools, self.options = CARD, tools, options
        self.counts: Counter[str] = Counter(reorgs=0, reorged_blocks=0)
        self._labels = Labels(options.labels)
        if not self._labels:
            raise InputError("no labels", key="labels", remedy="Name some: labels = { exchange = ['0x...'] }")
        self._coins = {options.coin.upper(): 18} if options.coin else {}
        self._contracts: dict[str, str] = {}
        for coin, token in options.tokens.items():
            self._contracts[address_of(token.contract, f"tokens.{coin}.contract")] = coin.upper()
            self._coins[coin.upper()] = token.decimals
        if not self._coins:
            raise InputError("neither a coin nor a token", key="coin", remedy="Name the chain's coin, or tokens")
        self._cursor: dict[str, Any] = dict(tools.memory)
        self._log_span = options.chunk
        Node(options.endpoint, tools, options.timeout, options.pace)  # faults of the address come at once

    def health(self) -> dict[str, Any]:
        """Blocks handed over, reorganisations deeper than the confirmations, and where it stands."""
        return {**self.counts, "next": self._cursor.get("next")}

    async def stream(self, take: Take) -> None:
        """See `data.feed.Feed`."""
        async with self._node() as node:
            await self._check_chain(node)
            while True:
                settled = await self._settled(node)
                self.tools.alive()
                while (batch := await self._next_batch(node, settled)) is not None:
                    await take(batch)
                    self._cursor = dict(batch.cursor or {})
                    self.counts["items"] += len(batch.items)
                    self.tools.alive()
                await self.tools.sleep(self.options.every * (1.0 + 0.1 * self.tools.rng.random()))

    async def fetch(self, span: Span, take: Take, progress: Progress) -> None:
        """See `data.feed.Feed`; blocks that are stored already aren't asked for again."""
        async with self._node() as node:
            await self._check_chain(node)
            settled = await self._settled(node)
            first = await self._first_at(node, span[0], settled)
            end = await self._first_at(node, span[1], settled)
            number = first + await self._stored(node, first, end, span)
            while number < end:
                progress(float(number - first), float(end - first))
                blocks = await self._blocks(node, number, min(number + self.options.chunk, end))
                deep_ns = int(self.options.confirmations * self.options.block_s * SECOND_NS)
                items = [_known(item, item.event_ns + deep_ns, node.answered_ns) for item in self._readings(blocks)]
                await take(past_batch(items, span, node.answered_ns, CARD.lag_ns))
                number = blocks[-1].number + 1
            progress(1.0, 1.0)
            if end > settled:
                await self._check_age(node, settled, span)

    def _node(self) -> Node:
        return Node(self.options.endpoint, self.tools, self.options.timeout, self.options.pace)

    async def _check_chain(self, node: Node) -> None:
        found = _number(node, await node.ask("eth_chainId"), "eth_chainId")
        if found != self.options.chain:
            raise FeedError(f"{node.shown} is of chain {found}, not {self.options.chain}", final=True)

    async def _check_age(self, node: Node, settled: int, span: Span) -> None:
        """A node that is still catching up doesn't have all of a span: that has to be said."""
        newest = (await self._header(node, max(settled, 0))).time_ns
        late_ns = HOUR_NS + int(self.options.confirmations * self.options.block_s * SECOND_NS)
        if min(span[1], self.tools.clock.now_ns()) - newest > late_ns:
            raise FeedError(f"{node.shown} is behind: its newest block that is deep enough is of {format_time(newest)}")

    async def _settled(self, node: Node) -> int:
        """The newest block with its confirmations."""
        return _number(node, await node.ask("eth_blockNumber"), "eth_blockNumber") - self.options.confirmations

    async def _next_batch(self, node: Node, settled: int) -> Batch | None:
        """The next blocks behind the cursor; None when there are none. After a reorganisation, those since the fork."""
        start = self._cursor.get("next")
        number = start if isinstance(start, int) else settled
        if number > settled or number < 0:
            return None
        tail = [list(entry) for entry in self._cursor.get("tail", [])]
        blocks = await self._blocks(node, number, min(number + self.options.chunk, settled + 1))
        gone: list[int] = []
        if tail and tail[-1][0] == number - 1 and tail[-1][1] != blocks[0].parent:
            tail, gone = await self._fork(node, tail)
            number = tail[-1][0] + 1 if tail else number - len(gone)
            until = min(number + max(self.options.chunk, len(gone)), settled + 1)
            blocks = await self._blocks(node, number, until)
            self.counts["reorgs"] += 1
            self.counts["reorged_blocks"] += len(gone)
            if tail and blocks[0].parent != tail[-1][1]:
                raise FeedError(f"{node.shown}: the chain turned while it was read")
        items: list[Item] = list(self._readings(blocks))
        there = {block.time_ns for block in blocks}
        items += [Reading(item.name, item.coin, when, 0.0) for when in gone if when not in there
                  for item in self._readings([_Block(0, "", "", when)])]  # fmt: skip
        self.counts["blocks"] += len(blocks)
        tail += [[block.number, block.hash, block.time_ns] for block in blocks]
        cursor = {"next": blocks[-1].number + 1, "tail": tail[-self.options.remembered :]}
        return Batch(items, node.answered_ns, cursor)

    async def _fork(self, node: Node, tail: list[list[Any]]) -> tuple[list[list[Any]], list[int]]:
        """The remembered blocks that are still part of the chain, and the times of those that aren't, oldest first."""
        gone: list[int] = []
        while tail:
            if (await self._header(node, tail[-1][0])).hash == tail[-1][1]:
                break
            gone.append(tail.pop()[2])
        return tail, gone[::-1]

    async def _blocks(self, node: Node, first: int, end: int) -> list[_Block]:
        """Blocks `[first, end)` with the transfers of the labels; each follows the one before."""
        blocks = [await self._block(node, number, bool(self.options.coin)) for number in range(first, end)]
        for before, after in zip(blocks, blocks[1:], strict=False):
            if after.parent != before.hash:
                raise FeedError(f"{node.shown}: the chain turned while it was read")
            if after.time_ns <= before.time_ns:
                raise FeedError(f"{node.shown}: blocks share their times; such a chain can't be followed", final=True)
        if self._contracts:
            at = first
            by_number = {block.number: block for block in blocks}
            while at < end:
                at = await self._add_logs(node, by_number, at, end)
        return blocks

    async def _header(self, node: Node, number: int) -> _Block:
        return await self._block(node, number, False)

    async def _block(self, node: Node, number: int, whole: bool) -> _Block:
        told = await node.ask("eth_getBlockByNumber", hex(number), whole)
        what = f"{node.shown}: block {number}"
        if told is None:
            raise FeedError(f"{what} isn't there")
        try:
            if quantity(told["number"]) != number:
                raise ValueError("another number")
            time_ns = quantity(told["timestamp"], TIME_MAX) * SECOND_NS
            block = _Block(number, _hash(told["hash"]), _hash(told["parentHash"]), time_ns)
            moved = [_native(row) for row in told["transactions"]] if whole else []
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise FeedError(f"{what} can't be read ({type(error).__name__})") from None
        known = set(self._labels.addresses)
        for transaction, transfer in moved:
            if transfer.units and (transfer.sender in known or transfer.receiver in known):
                if await self._succeeded(node, transaction, block):
                    block.moved.setdefault(self.options.coin.upper(), []).append(transfer)
        return block

    async def _succeeded(self, node: Node, transaction: str, block: _Block) -> bool:
        told = await node.ask("eth_getTransactionReceipt", transaction)
        try:
            if told["blockHash"] != block.hash:
                raise FeedError(f"{node.shown}: the chain turned while it was read")
            return quantity(told.get("status", "0x1"), 1) == 1  # before 2017 receipts had no status
        except (TypeError, ValueError, LookupError, AttributeError):
            raise FeedError(f"{node.shown}: the receipt of {transaction} can't be read") from None

    async def _add_logs(self, node: Node, blocks: dict[int, _Block], first: int, end: int) -> int:
        """Put the tokens' transfers from `first` on into their blocks; until where that was done."""
        padded = ["0x" + address[2:].rjust(64, "0") for address in self._labels.addresses]
        until = min(first + self._log_span, end)
        found: dict[tuple[str, int], tuple[_Block, str, Transfer]] = {}
        for topics in ([TRANSFER, padded], [TRANSFER, None, padded]):
            asked = {"fromBlock": hex(first), "toBlock": hex(until - 1), "address": [*self._contracts],
                     "topics": topics}  # fmt: skip
            try:
                rows = await node.ask("eth_getLogs", asked)
            except TooMuchError:
                if until - first <= 1:
                    raise
                self._log_span = (until - first) // 2
                return first
            if not isinstance(rows, list):
                raise FeedError(f"{node.shown}: logs aren't a list")
            for row in rows:
                block, index, coin, transfer = self._log(node, row, blocks)
                found[block.hash, index] = (block, coin, transfer)
        for block, coin, transfer in found.values():
            block.moved.setdefault(coin, []).append(transfer)
        self._log_span = min(2 * self._log_span, self.options.chunk)
        return until

    def _log(self, node: Node, row: Any, blocks: dict[int, _Block]) -> tuple[_Block, int, str, Transfer]:
        try:
            block, coin = blocks[quantity(row["blockNumber"])], self._contracts[row["address"].lower()]
            kind, sender, receiver = row["topics"]
            if row["blockHash"] != block.hash or row.get("removed"):
                raise FeedError(f"{node.shown}: the chain turned while it was read")
            if kind != TRANSFER or len(sender) != 66 or len(receiver) != 66:
                raise ValueError("another event")
            moved = Transfer("0x" + sender[26:].lower(), "0x" + receiver[26:].lower(), quantity(row["data"]))
            return block, quantity(row["logIndex"]), coin, moved
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise FeedError(f"{node.shown}: a log can't be read ({type(error).__name__})") from None

    def _readings(self, blocks: Sequence[_Block]) -> list[Reading]:
        found: list[Reading] = []
        for block in blocks:
            for coin, decimals in self._coins.items():
                tally = self._labels.tally()
                tally.add(block.moved.get(coin, ()))
                found += tally.readings(coin, decimals, block.time_ns)
        return found

    async def _first_at(self, node: Node, time_ns: int, settled: int) -> int:
        """The first block at or after a time; the one behind the settled ones when there is none."""
        low, high = 0, max(settled + 1, 0)
        while low < high:
            middle = (low + high) // 2
            if (await self._header(node, middle)).time_ns < time_ns:
                low = middle + 1
            else:
                high = middle
        return low

    async def _stored(self, node: Node, first: int, end: int, span: Span) -> int:
        """How many blocks from the first on are stored whole: what is fetched is stored in order, without holes."""
        if self.tools.store is None or first >= end:
            return 0
        names = list(self._labels.names())
        where = {"source": [CARD.name], "name": names, "coin": list(self._coins)}
        rows = self.tools.store.table("metrics", where, since_ns=span[0], columns=["name", "coin", "event_ns"])
        series: dict[tuple[str, str], set[int]] = {(name, coin): set() for name in names for coin in self._coins}
        for name, coin, when in zip(*(rows[key].to_pylist() for key in ("name", "coin", "event_ns")), strict=True):
            series[name, coin].add(when)
        times = sorted(when for when in set.intersection(*series.values()) if span[0] <= when < span[1])
        low, high = 0, min(len(times), end - first)
        while low < high:  # behind a hole the stored times run ahead of the chain's
            middle = (low + high) // 2
            if (await self._header(node, first + middle)).time_ns == times[middle]:
                low = middle + 1
            else:
                high = middle
        return low


def _known(item: Reading, known_ns: int, arrived_ns: int) -> Reading:
    """History: deep enough at `known_ns`, or at its arrival if that was before."""
    known = max(min(known_ns, arrived_ns), item.event_ns)
    return Reading(item.name, item.coin, item.event_ns, item.value, known)


def _native(row: Any) -> tuple[str, Transfer]:
    receiver = row["to"] or ""  # none: a contract is made
    return _hash(row["hash"]), Transfer(row["from"].lower(), receiver.lower(), quantity(row["value"]))


def _hash(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 66 or not value.startswith("0x"):
        raise ValueError("not a hash")
    return value


def _number(node: Node, value: Any, what: str) -> int:
    try:
        return quantity(value, 2**62)
    except ValueError:
        raise FeedError(f"{node.shown} {what}: not a number") from None


SOURCE: Final = Source(CARD, NodeOptions, NodeFeed)
