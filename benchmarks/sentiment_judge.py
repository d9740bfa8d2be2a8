"""Scores texts as the product does and says how sure a figure is: what the sentiment table is made with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.train_sentiment.calibrate import Floats, Ints, by_thresholds, calibration_error, scores
from benchmarks.train_sentiment.sets import mask_rows
from signals.entities import Linker
from signals.models import ModelCard
from signals.scorer import Scorer

LEXICON_THRESHOLDS: Final = (-0.05, 0.05)
"""VADER's own, as its authors give them."""

INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True)
class Line:
    """One line of the table; shares are between 0 and 1, and `floor` is a ceiling where `lower_is_better`."""

    section: str
    title: str
    figure: str
    rows: int
    value: float
    low: float
    high: float
    vader: float | None = None
    floor: float | None = None
    aim: float | None = None
    calibration_error: float | None = None
    texts_per_s: float | None = None
    lower_is_better: bool = False
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the floor is met; None without one."""
        if self.floor is None:
            return None
        return self.value <= self.floor if self.lower_is_better else self.value >= self.floor

    def plain(self) -> dict[str, Any]:
        """For JSON: figures to four places."""
        found = asdict(self) | {"holds": self.holds}
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


@dataclass(frozen=True)
class Scored:
    """Texts as one model sees them."""

    probabilities: Floats
    score: Floats
    classes: Ints
    texts_per_s: float

    def by(self, pair: tuple[float, float] | None) -> Ints:
        """Classes by a pair of thresholds; without one, the most probable class."""
        return self.classes if pair is None else by_thresholds(self.score, *pair)


class Judge:
    """The model under test beside VADER, and the bootstrap."""

    def __init__(self, scorer: Scorer, baseline: Scorer, rounds: int = 1000, seed: int = 1) -> None:
        self.scorer = scorer
        self.baseline = baseline
        self.rounds = rounds
        self.seed = seed
        self._linker = Linker()

    @property
    def card(self) -> ModelCard:
        """Of the model under test."""
        return self.scorer.card

    def thresholds(self, source: str) -> tuple[float, float] | None:
        """The card's pair for a kind of source; None when it has none."""
        return self.card.thresholds.get(source) or self.card.thresholds.get("default")

    def score(self, frame: pd.DataFrame) -> Scored:
        """`text`, and `target` where the frame names one, masked when the model reads masked texts."""
        shown = frame["text"].tolist()
        if self.card.masks:
            labelled = frame if "label" in frame.columns else frame.assign(label=0)
            shown = [row.text for row in mask_rows(labelled, "", "", self._linker)]
        return _scored(self.scorer, shown)

    def lexicon(self, frame: pd.DataFrame) -> Scored:
        """The same by VADER, which reads the text as it is."""
        return _scored(self.baseline, frame["text"].tolist())

    def interval(self, groups: Sequence[Any], figure: Callable[[Ints], float]) -> tuple[float, float]:
        """95 % percentile bootstrap of a figure of row numbers; rows of one group (one text) are drawn together."""
        _, first = np.unique(np.asarray(groups).astype(str), return_inverse=True)
        order = np.argsort(first, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(first[order])) + 1)
        rng = np.random.default_rng(self.seed)
        alone = len(members) == len(order)
        found = []
        for _ in range(self.rounds):
            drawn = rng.integers(len(members), size=len(members))
            rows = order[drawn] if alone else np.concatenate([members[at] for at in drawn])
            found.append(figure(rows))
        low, high = np.nanpercentile(found, INTERVAL)
        return float(low), float(high)


def _scored(scorer: Scorer, texts: list[str]) -> Scored:
    """A text without a score (empty, say) counts as neutral here, since the table has to call it something."""
    start = time.perf_counter()
    chances = scorer.score(texts).astype(np.float64)
    took = time.perf_counter() - start
    chances[np.isnan(chances).any(axis=1)] = (0.0, 1.0, 0.0)
    classes = chances.argmax(axis=1) - 1
    if scorer.card.kind == "lexicon":
        classes = by_thresholds(scores(chances), *LEXICON_THRESHOLDS)
    return Scored(chances, scores(chances), classes, len(texts) / took)


def error_of(found: Scored, labels: NDArray[Any]) -> float:
    """Expected calibration error of the most probable class."""
    return calibration_error(found.probabilities, labels)
