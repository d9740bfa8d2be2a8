"""An X feed on a local server, for its tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from data.feed import Written
from data.spend import Spending
from tests.sources.server import serving
from tests.sources.world import Taken, opened
from tests.sources.x_world import TOKEN, XWorld

BAD_ANSWERS = (b'{"data": [', b"<html>", b'"yes"', b"", b"[" * 100_000, b'{"data": [NaN]}', b"{}")
CHEAP = Decimal("0.001")


def purse_in(folder: Path, cap: str = "1000") -> Spending:
    """A purse for posts of 0.001 USD."""
    return Spending(folder / "purse", cost=CHEAP, cap_day=Decimal(cap), cap_month=Decimal(cap) * 10)


@asynccontextmanager
async def following(world: XWorld, folder: Path, **given: Any) -> AsyncIterator[Any]:
    """A feed on a running server."""
    purse = given.pop("purse", None) or purse_in(folder)
    tools = {name: given.pop(name) for name in ("memory", "store", "alive", "coins") if name in given}
    async with serving(world.handler) as server:
        options = {
            "key": "env:X", "url": server.url, "cost": CHEAP, "author_cost": 0, "names": ("bitcoin",), "silence": 30,
            **given,
        }  # fmt: skip
        secrets = {"env:X": TOKEN}
        async with opened("x", options, clock=world.clock, secrets=secrets, purse=purse, **tools) as feed:
            yield feed


async def end_of(feed: Any, taken: Taken, timeout_s: float = 20.0) -> BaseException:
    """What one call of `stream` raises."""
    async with asyncio.timeout(timeout_s):
        try:
            await feed.stream(taken)
        except Exception as error:
            return error
    raise AssertionError("a stream that ends has to raise")


def texts(taken: Taken) -> list[str]:
    """Of the posts taken."""
    return [item.text for item in taken.items if isinstance(item, Written)]


def memory_of(taken: Taken) -> dict[str, Any]:
    """The cursor that was stored last."""
    return next((dict(batch.cursor) for batch in reversed(taken.batches) if batch.cursor is not None), {})


async def until(true: Any) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)
