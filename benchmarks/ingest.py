"""From the wire to the store: facts a second through parse, times, dedupe, entity linking and store, one core.

python -m benchmarks.ingest [--posts 5000] [--batches 12] [--stored 1000000] [--json]

The messages are a network's posts as Jetstream sends them, made by a small grammar; `--share` of them speak of a coin.
Every batch is what a recorder would commit at once. Each stage is timed by itself, processor seconds, the median of the
batches. The store holds `--stored` posts before the first batch: a store that is large must not be a slow one. Writing
counts the processor, not the disk; the wall time of a commit, with its flushes, stands beside it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.score_texts import texts
from data.facts import SCHEMAS, fact_table
from data.feed import Batch, Tools
from data.http import Http
from data.intake_feed import to_facts
from data.keys import key_hashes, may_hold
from data.merge import merge
from data.sources.bluesky import CARD, Bluesky, BlueskyOptions
from data.store import Store
from data.times import SECOND_NS
from data.ws import Heard
from signals.entities import Linker
from signals.text import normalise

START_NS = 1_760_000_000 * SECOND_NS
CHATTER = "the cat slept through the storm and missed breakfast again, number"
STAGES = ("parse", "times and facts", "dedupe", "store", "link")


class Now:
    """A clock that says what time the messages are of."""

    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        """See `data.feed.Clock`."""
        return self.ns


def messages(count: int, first: int, share: float, rng: random.Random) -> list[str]:
    """Jetstream's messages of so many posts, a few deletions among them."""
    about = texts("posts", count)
    found = []
    for at in range(count):
        number = first + at
        time_us = START_NS // 1000 + number * 200
        author = f"did:plc:{rng.getrandbits(60):024x}"
        commit: dict[str, Any] = {"rev": "3l", "collection": "app.bsky.feed.post", "rkey": f"3l{number:011d}"}
        if at % 50 == 49:
            commit |= {"operation": "delete"}
        else:
            text = about[at] if rng.random() < share else f"{CHATTER} {number}"
            written = datetime.fromtimestamp(time_us / 1e6, UTC).isoformat().replace("+00:00", "Z")
            record = {"$type": "app.bsky.feed.post", "createdAt": written, "langs": ["en"], "text": text}
            commit |= {"operation": "create", "record": record, "cid": "bafyrei"}
        found.append(json.dumps({"did": author, "time_us": time_us, "kind": "commit", "commit": commit}))
    return found


def fill(store: Store, count: int) -> None:
    """Posts that were there before, in commits of a quarter of a million."""
    for first in range(0, count, 250_000):
        numbers = np.arange(first, min(first + 250_000, count))
        at = START_NS - 10**15 + numbers * SECOND_NS // 5
        values = {"source": "bluesky", "key": [f"old{number}" for number in numbers.tolist()], "event_ns": at}
        values |= {"known_ns": at, "ingested_ns": at, "quality": "recorded", "author": "ann", "followers": np.nan}
        store.append("posts", fact_table("posts", {**values, "text": CHATTER, "url": ""}))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gave, and processor seconds."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def compare(store: Store, table: pa.Table) -> Any:
    """What an append finds out before it writes: whether a row is new, a repetition or a revision."""
    folder = store.root / "posts"
    hashes = key_hashes("posts", table)
    for part in store.manifest("posts").parts:
        may_hold("posts", folder, part, hashes)
    return merge("posts", table, SCHEMAS["posts"].empty_table())


def run(folder: Path, posts: int, batches: int, stored: int, share: float) -> dict[str, Any]:
    """Every batch through every stage."""
    store, clock, rng = Store(folder), Now(), random.Random(7)
    fill(store, stored)
    feed = Bluesky(BlueskyOptions(), Tools(clock=clock, http=Http(clock), rng=rng, coins=()))
    linker = Linker()
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    walls, facts = [], 0
    for number in range(batches):
        given = messages(posts, number * posts, share, rng)
        clock.ns = START_NS + (number + 1) * SECOND_NS
        heard = Heard(given, clock.ns)
        (items, _), spent = timed(lambda heard=heard: feed._read(heard))  # type: ignore[misc]
        seconds["parse"].append(spent)
        batch = Batch(items, clock.ns)
        intake, spent = timed(lambda batch=batch: to_facts(CARD, [batch], ingested_ns=clock.ns))  # type: ignore[misc]
        seconds["times and facts"].append(spent)
        table = intake.facts["posts"]
        _, looked = timed(lambda table=table: compare(store, table))  # type: ignore[misc]
        began = time.perf_counter()
        added, spent = timed(lambda table=table: store.append("posts", table, hashed=True))  # type: ignore[misc]
        walls.append(time.perf_counter() - began)
        assert added.added == table.num_rows, added
        seconds["dedupe"].append(looked)
        seconds["store"].append(max(spent - looked, 0.0))
        said = table["text"].to_pylist()
        _, linked = timed(lambda said=said: [linker.link_normal(normalise(text)) for text in said])  # type: ignore[misc]
        seconds["link"].append(linked)
        facts += table.num_rows
    return report(seconds, walls, posts, facts / batches, stored)


def report(
    seconds: dict[str, list[float]], walls: Sequence[float], posts: int, facts: float, stored: int
) -> dict[str, Any]:
    """Medians, rates and shares."""
    middle = {stage: statistics.median(found) for stage, found in seconds.items()}
    whole = sum(middle[stage] for stage in STAGES)
    rows = [
        {
            "stage": stage, "ms": 1000 * middle[stage], "share": middle[stage] / whole,
            "a_second": (posts if stage == "parse" else facts) / middle[stage] if middle[stage] else None,
        }
        for stage in STAGES
    ]  # fmt: skip
    return {
        "messages": posts, "facts": facts, "stored_before": stored, "stages": rows, "messages_a_second": posts / whole,
        "facts_a_second": facts / whole, "commit_wall_ms": 1000 * statistics.median(walls),
        "commit_wall_ms_most": 1000 * max(walls),
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """The table."""
    print(
        f"{found['messages']:,} messages a commit, {found['facts']:,.0f} kept; {found['stored_before']:,} stored before"
    )
    print(f"{'stage':<18}{'ms':>9}{'share':>8}{'a second':>13}")
    for row in found["stages"]:
        rate = "" if row["a_second"] is None else f"{row['a_second']:,.0f}"
        print(f"{row['stage']:<18}{row['ms']:>9.1f}{row['share']:>8.0%}{rate:>13}")
    rates = f"{found['messages_a_second']:,.0f} messages, {found['facts_a_second']:,.0f} facts a second of one core"
    print(f"all stages: {rates}")
    print(f"a commit: {found['commit_wall_ms']:.0f} ms of wall time, {found['commit_wall_ms_most']:.0f} at most")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=5000, help="messages of a commit")
    parser.add_argument("--batches", type=int, default=12, help="commits")
    parser.add_argument("--stored", type=int, default=1_000_000, help="posts in the store before")
    parser.add_argument("--share", type=float, default=1.0, help="messages that speak of a coin")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), asked.posts, asked.batches, asked.stored, asked.share)
    if asked.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
