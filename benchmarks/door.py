"""A flood at the engine's door: 100,000 posts a second for ten seconds, and what it does to bars and to memory.

A thread puts posts, a bar comes every 20 ms, and a consumer works on each post for as long as the engine would. Told
are posts taken and dropped, how long bars waited from their put to the consumer's hands, and how much memory it took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import threading
import time
from typing import Any

import numpy as np

from bot.events import POSTS, Bar, Posts
from bot.feeds.door import Door

BURST_S = 0.001
BAR_S = 0.02


def flood(
    *, posts_per_second: int = 100_000, seconds: float = 10.0, posts_max: int = 50_000, work_ns: int = 5_000
) -> dict[str, Any]:
    """Figures of one flood.

    Parameters
    ----------
    work_ns : int
        What the consumer does for each post, in nanoseconds of its one thread.

    Returns
    -------
    dict
        Posts put, taken and dropped, the most that waited, bars, their waits in milliseconds (median, 99th percentile,
        most) and the growth of memory in MB.
    """
    return asyncio.run(_flood(posts_per_second, seconds, posts_max, work_ns))


async def _flood(posts_per_second: int, seconds: float, posts_max: int, work_ns: int) -> dict[str, Any]:
    door = Door(posts_max)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    waits: list[int] = []
    counts = {"put": 0, "taken": 0}
    ended = threading.Event()

    def pour() -> None:
        began = time.perf_counter()
        while (now := time.perf_counter() - began) < seconds:
            due = int(now * posts_per_second) - counts["put"]
            if due > 0:
                door.put_from_thread(Posts(ns=0, rows=np.zeros(due, POSTS)))
                counts["put"] += due
            time.sleep(BURST_S)
        ended.set()

    async def bars() -> None:
        while not ended.is_set():
            now = time.perf_counter_ns()
            door.put(Bar(ns=now, symbol="B", open_ns=0, close_ns=1, open=1, high=1, low=1, close=1, volume=1))
            await asyncio.sleep(BAR_S)

    async def consume() -> None:
        while True:
            for event in await door.get():
                if isinstance(event, Posts):
                    counts["taken"] += len(event.rows)
                    until = time.perf_counter_ns() + work_ns * len(event.rows)
                    while time.perf_counter_ns() < until:
                        pass
                else:
                    waits.append(time.perf_counter_ns() - event.ns)

    thread = threading.Thread(target=pour)
    taker = asyncio.create_task(consume())
    thread.start()
    await bars()
    thread.join()
    await door.drained()
    taker.cancel()
    spread = np.percentile(np.array(waits) / 1e6, [50, 99, 100])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        **counts,
        "dropped": door.health()["dropped_posts"],
        "most_waiting": door.health()["posts_most"],
        "bars": len(waits),
        "bar_wait_ms": dict(zip(("median", "p99", "most"), (round(float(ms), 3) for ms in spread), strict=True)),
        "memory_grown_mb": round(grown / 1024, 1),
    }


def main() -> None:
    """Run it and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=100_000, help="posts a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--queue", type=int, default=50_000, help="posts that wait at most")
    parser.add_argument("--work-us", type=float, default=5.0, help="microseconds of work for each post")
    given = parser.parse_args()
    figures = flood(
        posts_per_second=given.posts,
        seconds=given.seconds,
        posts_max=given.queue,
        work_ns=round(given.work_us * 1000),
    )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
