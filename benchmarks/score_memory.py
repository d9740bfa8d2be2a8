"""Memory of a scoring run over very many posts."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.score_stages import posts_table
from benchmarks.score_texts import post
from data.store import Store
from signals.models import resolve
from signals.score_report import ScoreOptions, ScoreProgress
from signals.scorer import Compute, Probabilities, gather
from signals.scoring import score_posts

STEPS = 10
_AT_ONCE = 50_000


class StandIn:
    """Answers at once: what is watched is everything around the model."""

    def __init__(self) -> None:
        self.card = resolve("vader")
        self.device, self.dtype, self.note = "cpu", "fp32", ""

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """See `signals.scorer.Scorer`."""
        for start in range(0, len(texts), 1024):
            count = len(texts[start : start + 1024])
            yield np.arange(start, start + count), np.full((count, 3), 1.0 / 3.0, dtype=np.float32)

    def score(self, texts: Sequence[str]) -> Probabilities:
        """See `signals.scorer.Scorer`."""
        return gather(self.batches(texts), len(texts))


def resident_mb() -> float:
    """Memory of this process right now, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch_memory(count: int) -> list[dict[str, Any]]:
    """One row each tenth of the posts: resident MB and posts a second since the last row."""
    draw = random.Random(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as base:
        store = Store(Path(base))
        for first in range(0, count, _AT_ONCE):
            size = min(_AT_ONCE, count - first)
            store.append("posts", posts_table([f"{post(draw)} #{draw.randrange(10**9)}" for _ in range(size)], first))
        last = [0, time.process_time()]

        def look(told: ScoreProgress) -> None:
            if told.done >= (len(rows) + 1) * count // STEPS:
                now = time.process_time()
                rate = (told.done - last[0]) / (now - last[1])
                rows.append({"posts": told.done, "resident_mb": resident_mb(), "per_second": rate})
                last[:] = [told.done, now]

        report = score_posts(
            store, resolve("vader"), Compute("cpu"), time.time_ns, look, ScoreOptions(scorer=StandIn())
        )
        assert report.done == count, report
    return rows
