"""Halting through the real exchange process, judged by the local venue's own orders and balances."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

from bot.exchange.wire import Refused
from bot.journal import Journal
from bot.operate.latch import read_latch
from bot.operate.stop import Halt, Step
from tests.bot.exchange_worlds import BOT, SESSION, World, order, world
from tests.bot.operate_bot import snapshot


def journal(folder: Path, qty: float) -> None:
    """A journal whose snapshot, older than everything here, holds `qty` BTC."""
    written = Journal.create(folder / "journal.sqlite", {"bot": BOT})
    written.append(1, "session", {"session": SESSION})
    body = snapshot(BTC=qty)
    written.append(2, "snapshot", {**body, "at_ns": 2, "feeds": {}})
    written.commit()
    written.close()


def play(folder: Path, story: Callable[[World], Awaitable[None]]) -> None:
    """Run a story in a world."""

    async def run() -> None:
        async with world(folder) as there:
            await story(there)

    asyncio.run(run())


async def halt(there: World, *, flatten: bool) -> tuple[bool, list[Step]]:
    """Halt the dead bot of this world."""
    steps: list[Step] = []
    job = Halt(folder=there.folder, person="ann", reason="odd", now_ns=5, spawn=None, tell=steps.append)
    return await asyncio.to_thread(job.run, flatten=flatten), steps


def standing(there: World) -> list[str]:
    """Kinds of orders that stand at the venue, whoever's."""
    return sorted(one["kind"] for one in there.venue.truth()["orders"] if one["status"] == "NEW")


def coins(there: World) -> Decimal:
    """All BTC of the account."""
    held = there.venue.truth()["balances"]["BTC"]
    return Decimal(held["free"]) + Decimal(held["locked"])


def test_cancel_spares_protection_then_flatten_sells_only_ours(tmp_path: Path) -> None:
    """Entries go, the stop stays; a flatten cancels that and sells what the bot bought, nothing of others."""

    async def story(there: World) -> None:
        journal(there.folder, 0.0)
        foreign = coins(there)
        there.venue.foreign("BTCUSDT", "sell", "limit", "0.5", limit="90000")
        await there.ask(order(1, qty="0.02"))  # bought after the journal's last word; its fee is taken in the coin
        await there.ask(order(2, kind="limit", limit="40000"))
        await there.ask(order(3, kind="stop", side="sell", stop="45000", limit=None, purpose="stop-loss"))
        worked, steps = await halt(there, flatten=False)
        assert worked and read_latch(there.folder).halted, steps
        assert standing(there) == ["limit", "stop"] and coins(there) == foreign + Decimal("0.01998")
        assert isinstance(await there.ask(order(4)), Refused)  # the latch keeps new risk out
        worked, steps = await halt(there, flatten=True)
        assert worked and "closed at market: 0.01998" in steps[-1].text, steps
        assert standing(there) == ["limit"] and coins(there) == foreign
        worked, steps = await halt(there, flatten=True)
        assert worked and "holds nothing" in steps[-1].text and coins(there) == foreign

    play(tmp_path, story)
