"""A small bot for tests of the operator's side: lock, heartbeat, control socket and journal of a real session.

`python -m tests.bot.operate_bot FOLDER [hang|busy]` runs it as a process; `session` makes its folder and journal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

BOT, SESSION = "ab12cd34", "0000beef"
BEFORE_NS = 1_700_000_000 * 10**9


def client_id(order: int, session: str = SESSION) -> str:
    """The client id of one of the bot's orders."""
    return f"{BOT}{session}{order:016x}"


def decision(ns: int) -> dict[str, Any]:
    """A step's decision of two symbols: one weight, one that a signal held back."""
    one = {"values": {"mood": 0.31, "price": 100.0}, "held": 0.19, "weight": 0.2, "hold": "", "signal": ""}
    other = {
        "values": {"mood": None, "price": 50.0},
        "held": 0.0,
        "weight": None,
        "hold": "warming up",
        "signal": "mood",
    }
    return {"ns": ns, "cutoff_ns": ns, "status": 0, "asked": True, "symbols": {"BTC/USDT": one, "ETH/USDT": other}}


def snapshot(**positions: float) -> dict[str, Any]:
    """A snapshot's body that holds these coins."""
    held = {f"{coin}/USDT": {"qty": qty, "avg": 90.0, "last": 100.0} for coin, qty in positions.items()}
    return {
        "at_ns": BEFORE_NS, "level": "NO_NEW_RISK", "equity": 10_234.5, "cash": 4_000.0, "positions": held,
        "day_mark": 10_300.0, "drawdown": 0.021, "turnover_day": 500.25, "fees_day": 0.5,
        "spent": {
            "daily_loss": [0.0064, 0.05], "turnover_per_day": [500.254, 2000.0], "orders_per_minute": [3.0, 12.0],
            "net_notional": [4000.0, None],
        },
        "latches": [
            {"cause": "stream", "level": "NO_NEW_RISK", "since_ns": BEFORE_NS - 9 * 10**9, "until_ns": None,
             "rule": "private stream", "limit": 0.0, "observed": 0.0, "symbol": "", "stands": True, "text": "cut off"},
            {"cause": "daily loss", "level": "REDUCE_ONLY", "since_ns": BEFORE_NS - 3 * 10**12, "until_ns": None,
             "rule": "daily loss", "limit": 0.05, "observed": 0.0612, "symbol": "", "stands": False, "text": ""},
        ],
        "orders": [
            {"id": 7, "symbol": "BTC/USDT", "side": -1, "kind": "stop", "purpose": "stop-loss", "qty": 1.0,
             "filled": 0.0, "limit": 0.0, "stop": 82.8, "state": "ACKED", "decided_ns": BEFORE_NS - 10**12},
            {"id": 9, "symbol": "ETH/USDT", "side": 1, "kind": "limit", "purpose": "entry", "qty": 2.5,
             "filled": 0.5, "limit": 99.9, "stop": 0.0, "state": "UNKNOWN", "decided_ns": BEFORE_NS - 10**10},
        ],
        "last_decisions": [decision(BEFORE_NS)],
        "feeds": {
            "bars": {"clock_offset_ms": 3.5, "source": {"exchange": "binance", "failures": 2}, "symbols": {
                "BTC/USDT": {"age_s": 1.25, "stale": [], "trouble": "", "by_stream": 4321, "by_rest": 0},
                "ETH/USDT": {"age_s": 5400.0, "stale": ["late"], "trouble": "no bar since 21:00", "by_stream": 99},
            }},
            "posts": {"age_s": float("inf"), "count": 0, "errors": 2, "dropped": 17},
            "door": {"waiting": {"first": 0, "posts": 12}, "dropped": {"x": 3, "news": 4}, "posts_max": 50_000},
        },
    }  # fmt: skip


def session(folder: Path, body: dict[str, Any], later: tuple[dict[str, Any], ...] = ()) -> None:
    """A session's folder with an ACTIVE latch and a journal: two booked trades, a snapshot, then `later` events."""
    from bot.events import Report, pack
    from bot.journal import Journal
    from bot.operate.latch import ACTIVE, write_latch
    from bot.terminal import clean

    folder.mkdir(parents=True)
    write_latch(folder, ACTIVE, "founder", "first start", 1)
    journal = Journal.create(folder / "journal.sqlite", {"bot": BOT})
    journal.append(BEFORE_NS - 9000, "session", {"session": SESSION, "pid": 1})
    for trade in ("t1", "t2"):
        event = Report(ns=BEFORE_NS - 5000, order=5, what="filled", qty=0.5, price=90.0, trade=trade)
        journal.append(event.ns, "event", pack(event))
    journal.append(BEFORE_NS, "snapshot", clean(body))
    for each in later:
        journal.append(BEFORE_NS + 1, "event" if "is" in each else "step", each)
    journal.commit()
    journal.close()


async def run(folder: Path, how: str) -> None:
    """Beat ten times a second until SIGTERM; with "hang" stop beating after half a second."""
    from bot.operate.control import ControlServer
    from bot.operate.heartbeat import Heartbeat
    from bot.operate.lock import acquire

    lock = acquire(folder, session=SESSION, bot_id=BOT, now_ns=time.time_ns())
    beat = Heartbeat(folder, SESSION, every_s=0.05)
    beat.start(time.time_ns())
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        with open(folder / "requests", "a", encoding="utf-8") as file:
            file.write(f"{request['do']} {request.get('flatten')}\n")
        return {**snapshot(BTC=1.0), "session": SESSION, "pid": os.getpid(), "level": "ACTIVE", "latches": []}

    server = ControlServer(folder / "bot.sock", answer)
    await server.start()
    began = time.monotonic()
    while not ended.is_set():
        beat.beat(time.time_ns())
        if how == "hang" and time.monotonic() - began > 0.2:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            time.sleep(3600)
        try:
            await asyncio.wait_for(ended.wait(), 0.05)
        except TimeoutError:
            continue
    await server.close()
    beat.stop(time.time_ns())
    lock.release(time.time_ns())


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
