"""What tests of scoring share: posts, a clock that goes on by itself, a scorer that counts what it is asked."""

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.facts import fact_table
from data.store import Store
from data.times import HOUR_NS, SECOND_NS
from signals.models import ModelCard, resolve
from signals.scorer import Probabilities, gather

T0 = 1_700_000_000 * SECOND_NS
CARD = resolve("vader")
UP = [0.25, 0.25, 0.5]
DOWN = [0.5, 0.25, 0.25]


class Clock:
    """A clock that goes on by a second at each look."""

    def __init__(self, start_ns: int = T0 + 1000 * HOUR_NS) -> None:
        self.at = start_ns

    def __call__(self) -> int:
        self.at += SECOND_NS
        return self.at


class Echo:
    """A scorer that counts what it is asked, in batches of two; a text with BAD in it has no score."""

    def __init__(self, stop_after: int | None = None, error: type[BaseException] | None = None) -> None:
        self.card = CARD
        self.device = "abacus"
        self.dtype = "fp32"
        self.note = ""
        self.asked: list[str] = []
        self.stop_after = stop_after
        self.error = error

    def score(self, texts: Sequence[str]) -> Probabilities:
        return gather(self.batches(texts), len(texts))

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        for start in range(0, len(texts), 2):
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                if self.error is None:
                    os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C
                else:
                    raise self.error
            piece = texts[start : start + 2]
            self.asked += piece
            yield np.arange(start, start + len(piece)), np.array([self.row(text) for text in piece], dtype=np.float32)

    def row(self, text: str) -> list[float]:
        return [np.nan] * 3 if "BAD" in text else DOWN if "no:" in text else UP


def posts(
    texts: Sequence[str],
    *,
    first: int = 0,
    quality: str = "assumed_lag",
    known_ns: int | None = None,
    author: str = "ann",
) -> pa.Table:
    """Posts an hour apart, known a minute after they were written."""
    count = len(texts)
    event = T0 + (first + np.arange(count)) * HOUR_NS
    return fact_table(
        "posts",
        {
            "source": "here",
            "key": [f"p{first + number}" for number in range(count)],
            "event_ns": event,
            "known_ns": event + 60 * SECOND_NS if known_ns is None else np.full(count, known_ns),
            "ingested_ns": T0 + 900 * HOUR_NS,
            "quality": quality,
            "text": list(texts),
            "author": author,
            "followers": 12.0,
            "url": "",
        },
    )


def facts(store: Store, card: ModelCard = CARD) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.table("sentiment", {"model": [card.name]}).to_pylist()
    return rows
