"""The exchange process with a stop-watch: notes when an order came, was checked, claimed and signed, and when it left.

Started in the place of `bot.exchange.process` by `benchmarks.live_latency`; lines go to the file named in the
environment, after the answer.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from bot.exchange import link, process
from bot.exchange.ccxt_account import CcxtAccount
from bot.exchange.clerk import Clerk
from bot.exchange.link import Link
from bot.exchange.once import Claim, Once
from bot.exchange.wire import Message, Place

FILE = "TIDEGATE_BENCH_STAGES"


def watch() -> None:
    """Put the stop-watch into the classes. Bars are of a second: it holds as many rounds as a minute does there."""
    link.PER_MINUTE["binance"] = 1e9
    marks: dict[str, dict[str, int]] = {}
    answer, claim, place, run = Clerk.answer, Once.claim, CcxtAccount.place, Link.run
    running: list[str] = []

    async def answered(self: Clerk, message: Message, session: str) -> Message:
        if not isinstance(message, Place):
            return await answer(self, message, session)
        mark = marks[message.client_id] = {"came": time.time_ns()}
        found = await answer(self, message, session)
        mark["answered"] = time.time_ns()
        with open(os.environ[FILE], "a") as file:
            file.write(json.dumps({"client_id": message.client_id, **mark, "as": type(found).__name__}) + "\n")
        return found

    async def claimed(self: Once, one: Claim) -> bool:
        marks[one.client_id]["checked"] = time.time_ns()
        found = await claim(self, one)
        marks[one.client_id]["claimed"] = time.time_ns()
        return found

    async def placed(self: CcxtAccount, intent: Place, *, is_exit: bool) -> Message:
        running.append(intent.client_id)
        return await place(self, intent, is_exit=is_exit)

    async def ran(self: Link, what: str, *given: Any, **more: Any) -> Any:
        client_id = running.pop(0) if what == "place" and running else ""
        said = await run(self, what, *given, **more)
        if client_id and said.call.last is not None:
            marks[client_id]["left"] = said.call.last.sent_ns
        return said

    Clerk.answer, Once.claim = answered, claimed  # type: ignore[method-assign]
    CcxtAccount.place, Link.run = placed, ran  # type: ignore[method-assign]


if __name__ == "__main__":
    watch()
    sys.exit(process.main(sys.argv[1:]))
