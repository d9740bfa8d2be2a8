"""The process that scores posts for a running bot; started by `bot.feeds.scoring`, ended by closing its input.

It reads one JSON line that says what to follow, and writes one a second that says how it goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import TidegateError

EVERY_S = 1.0
NICE = 10


class Told:
    """What is told, at most once in `EVERY_S`; saying it is also the sign of life."""

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {"texts": 0, "failed_texts": 0, "posts_done": 0, "posts_waiting": 0}
        self._last = float("-inf")
        self.progress: Any = None  # the latest `signals.score_report.ScoreProgress`

    def beat(self, *, now: bool = False) -> None:
        """Say how it goes, when it is time."""
        if now or time.monotonic() - self._last >= EVERY_S:
            self._last = time.monotonic()
            if self.progress is not None:
                self.counts |= _figures(self.progress)
            _say(self.counts)


class Counting:
    """A scorer whose texts are counted, and those without a finite answer."""

    def __init__(self, scorer: Any, told: Told) -> None:
        self._scorer, self._told = scorer, told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Any, Any]]:
        """See `signals.scorer.Scorer`."""
        for positions, rows in self._scorer.batches(texts):
            self._told.counts["texts"] += len(rows)
            self._told.counts["failed_texts"] += int((~np.isfinite(rows).all(axis=1)).sum())
            self._told.beat()
            yield positions, rows


def serve(document: dict[str, Any], ended: threading.Event) -> None:
    """Follow a store until told to end.

    Raises
    ------
    TidegateError
        The model, the store or the configuration isn't in order.
    """
    from bot.config import check
    from bot.config_faults import Places
    from bot.config_resolve import resolve_model
    from data.store import Store
    from signals.score_report import ScoreOptions
    from signals.scorer import Compute
    from signals.scoring import Late
    from signals.streaming import follow_posts

    config = check(document["config"], places=Places("the bot's configuration"), folder=Path(document["folder"]))
    card = resolve_model(config)
    compute, told = Compute(), Told()
    told.counts |= {"model": card.name, "revision": card.pinned}
    told.beat(now=True)
    options = ScoreOptions(scorer=Counting(Late(card, compute), told), sources=config.record.score_sources or None)
    if config.aliases.file:
        from signals.aliases import read_aliases
        from signals.entities import Linker

        options = dataclasses.replace(options, linker=Linker(read_aliases(config.path(config.aliases.file))))

    def until() -> bool:
        told.beat()
        return ended.is_set()

    def progress(done: Any) -> None:
        told.progress = done
        told.beat()

    follow_posts(
        Store(Path(document["var"])), card, compute, time.time_ns, progress, options, document["budget_ns"], until
    )


def _figures(done: Any) -> dict[str, Any]:
    """Posts done and waiting, the store's backlog with them, and the latest delays from arrival to score."""
    found: dict[str, Any] = {
        "posts_done": done.done, "posts_waiting": done.total - done.done + done.waiting(),
        "posts_per_s": done.posts_per_second,
    }  # fmt: skip
    if done.delays_ns:
        spread = np.percentile(np.array(done.delays_ns) / 1e6, [50, 95, 100])
        found["delay_ms"] = dict(zip(("median", "p95", "most"), map(float, spread), strict=True))
    return found


def main() -> int:
    """Read the document, serve until the input is closed."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    ended = threading.Event()
    document = json.loads(sys.stdin.readline())

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    try:
        serve(document, ended)
    except TidegateError as error:
        _say({"error": str(error)})
        return error.exit_code
    return 0


def _say(told: dict[str, Any]) -> None:
    try:
        print(json.dumps(told), flush=True)
    except BrokenPipeError:  # the bot is gone
        raise SystemExit(1) from None


if __name__ == "__main__":
    sys.exit(main())
