"""A local chain behind a JSON-RPC server: blocks that hold transfers and can be re-organised, twelve seconds apart."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from data.feed import Item, Reading
from data.sources.node import TRANSFER
from data.times import SECOND_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS

BLOCK_S = 12
GENESIS_S = NOW_NS // SECOND_NS - 200 * BLOCK_S
ETHER = 10**18
COLD, HOT, OTHER = (f"0x{digit * 40}" for digit in "abc")
TETHER = "0xdac17f958d2ee523a2206206994597c13d831ec7"
OPTIONS: dict[str, Any] = {
    "labels": {"exchange": (COLD, HOT)}, "tokens": {"USDT": {"contract": TETHER, "decimals": 6}},
    "confirmations": 3, "pace": 0.0, "chunk": 10, "every": 1.0, "remembered": 8,
}  # fmt: skip


def digest(text: str) -> str:
    """A hash as nodes write it."""
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Block:
    """A block of one branch; what it moves follows from its number and its branch."""

    number: int
    branch: str
    parent: str
    time_s: int

    @property
    def hash(self) -> str:
        """Of number and branch."""
        return digest(f"{self.number}{self.branch}")

    @property
    def sums(self) -> dict[str, tuple[float, float]]:
        """What came in and went out, by coin."""
        more = 100.0 if self.branch != "a" else 0.0
        return {"ETH": (self.number % 5 + more, 0.5 if self.number % 3 == 0 else 0.0),
                "USDT": (float(self.number % 4), 2.0 if self.number % 2 == 0 else 0.0)}  # fmt: skip

    def transactions(self) -> list[dict[str, Any]]:
        """In, out, within the label, a failed one, a contract's making, and one of strangers."""
        came, went = self.sums["ETH"]
        moves = [(OTHER, HOT, came), (COLD, OTHER, went), (HOT, COLD, 7.0), (OTHER, HOT, 999.0), (OTHER, None, 1.0),
                 (OTHER, OTHER, 50.0)]  # fmt: skip
        return [
            {"hash": digest(f"{self.hash}{at}"), "from": sender, "to": receiver, "value": hex(int(value * ETHER))}
            for at, (sender, receiver, value) in enumerate(moves)
        ]

    def logs(self) -> list[dict[str, Any]]:
        """Transfers of the token, one of them between strangers."""
        came, went = self.sums["USDT"]
        moves = [(OTHER, HOT, came), (HOT, OTHER, went), (OTHER, OTHER, 5.0), (COLD, HOT, 9.0)]
        return [
            {
                "address": TETHER, "blockNumber": hex(self.number), "blockHash": self.hash, "logIndex": hex(at),
                "topics": [TRANSFER, "0x" + sender[2:].rjust(64, "0"), "0x" + receiver[2:].rjust(64, "0")],
                "data": f"0x{int(value * 10**6):064x}", "removed": False,
            }
            for at, (sender, receiver, value) in enumerate(moves)
        ]  # fmt: skip

    def items(self) -> list[Item]:
        """What the block has to become."""
        when = self.time_s * SECOND_NS
        return [
            Reading(f"exchange_{name}", coin, when, value)
            for coin, (came, went) in self.sums.items()
            for name, value in (("inflow", came), ("outflow", went), ("netflow", came - went))
        ]


@dataclass
class Ledger:
    """The chain; `span_max` is how many blocks a question for logs may cover."""

    blocks: list[Block] = field(default_factory=list)
    span_max: int = 1000
    asked: list[str] = field(default_factory=list)
    odd: dict[str, Any] = field(default_factory=dict)
    receipts: dict[str, tuple[Block, int]] = field(default_factory=dict)

    def mine(self, count: int, branch: str = "a", pause_s: int = BLOCK_S) -> None:
        """Put blocks on top."""
        for _ in range(count):
            last = self.blocks[-1] if self.blocks else None
            number, time_s = (last.number + 1, last.time_s + pause_s) if last else (0, GENESIS_S)
            block = Block(number, branch, last.hash if last else digest("none"), time_s)
            self.blocks.append(block)
            self.receipts |= {row["hash"]: (block, at) for at, row in enumerate(block.transactions())}

    def turn(self, depth: int, count: int, branch: str = "b", pause_s: int = BLOCK_S) -> list[Block]:
        """Replace the last blocks by those of another branch; the blocks that are gone."""
        gone = self.blocks[-depth:]
        del self.blocks[-depth:]
        self.mine(count, branch, pause_s)
        return gone

    def items(self, first: int, last: int) -> list[Item]:
        """What blocks `first` to `last` have to become."""
        return [item for block in self.blocks[first : last + 1] for item in block.items()]

    async def handler(self, request: web.Request) -> web.Response:
        """One call."""
        call = await request.json()
        method, params = call["method"], call["params"]
        self.asked.append(method)
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        if method in self.odd:
            return reply({**body, **self.odd[method]})
        if method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= self.span_max:
            error = {"code": -32005, "message": "query returned more than 10000 results"}
            return reply({**body, "error": error})
        return reply({**body, "result": self._result(method, params)})

    def _result(self, method: str, params: list[Any]) -> Any:
        if method == "eth_chainId":
            return "0x1"
        if method == "eth_blockNumber":
            return hex(len(self.blocks) - 1)
        if method == "eth_getTransactionReceipt":
            block, at = self.receipts[params[0]]
            there = block.number < len(self.blocks) and self.blocks[block.number] is block
            return {"blockHash": block.hash, "status": "0x0" if at == 3 else "0x1"} if there else None
        if method == "eth_getLogs":
            return self._logs(params[0])
        number = int(params[0], 16)
        if number >= len(self.blocks):
            return None
        block = self.blocks[number]
        rows = block.transactions()
        return {"number": hex(number), "hash": block.hash, "parentHash": block.parent, "timestamp": hex(block.time_s),
                "transactions": rows if params[1] else [row["hash"] for row in rows]}  # fmt: skip

    def _logs(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        rows = []
        for block in self.blocks[int(asked["fromBlock"], 16) : int(asked["toBlock"], 16) + 1]:
            for row in block.logs():
                fits = [wanted is None or row["topics"][at] in wanted for at, wanted in enumerate(asked["topics"])]
                if row["address"] in asked["address"] and all(fits):
                    rows.append(row)
        return rows
