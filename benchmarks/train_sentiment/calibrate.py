"""Probabilities that mean what they say, thresholds per kind of source, and the figures both are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.train_sentiment.sets import LABELS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS: Final = 15
_GRID: Final = np.round(np.arange(-0.95, 0.951, 0.01), 2)


def softmax(logits: Floats) -> Floats:
    """Rows that add up to one."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def fit_calibration(logits: Floats, labels: Sequence[int], weights: Sequence[float]) -> dict[str, Any]:
    """Temperature and bias of each class with the least weighted log loss (Guo et al. 2017, with a bias).

    Parameters
    ----------
    logits : array of shape (n, 3)
    labels : sequence of -1, 0, 1
    weights : sequence of float

    Returns
    -------
    dict
        ``temperature`` and ``bias``: probabilities are softmax((logits + bias) / temperature).
    """
    from scipy.optimize import minimize

    classes = np.array([LABELS.index(label) for label in labels])
    share = np.asarray(weights) / np.sum(weights)

    def loss(values: Floats) -> float:
        rows = softmax((logits + np.array([values[1], 0.0, values[2]])) / np.exp(values[0]))
        picked = np.clip(rows[np.arange(len(classes)), classes], 1e-12, 1.0)
        return float(-(share * np.log(picked)).sum())

    found = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9, "maxiter": 4000})
    temperature, down, up = float(np.exp(found.x[0])), float(found.x[1]), float(found.x[2])
    return {"temperature": round(temperature, 6), "bias": [round(down, 6), 0.0, round(up, 6)]}


def calibrated(logits: Floats, calibration: dict[str, Any]) -> Floats:
    """Probabilities of bearish, neutral, bullish."""
    return softmax((logits + np.array(calibration["bias"])) / calibration["temperature"])


def scores(probabilities: Floats) -> Floats:
    """p(bullish) - p(bearish)."""
    return probabilities[:, 2] - probabilities[:, 0]


def by_thresholds(score: Floats, low: float, high: float) -> Ints:
    """-1 at or below `low`, 1 at or above `high`, else 0."""
    return np.where(score <= low, -1, np.where(score >= high, 1, 0))


def macro_f1(labels: Sequence[int] | Ints, called: Sequence[int] | Ints) -> float:
    """Mean over the three classes of F1; 0 for a class that is neither there nor called."""
    truth, said = np.asarray(labels), np.asarray(called)
    found = []
    for label in LABELS:
        both = int(((truth == label) & (said == label)).sum())
        either = int((truth == label).sum() + (said == label).sum())
        found.append(2 * both / either if either else 0.0)
    return float(np.mean(found))


def fit_thresholds(score: Floats, labels: Sequence[int]) -> list[float]:
    """The pair (low, high) with the best macro-F1; the middle of those that are as good."""
    truth = np.asarray(labels)
    best: list[tuple[float, float]] = []
    top = -1.0
    for low in _GRID[_GRID < 0]:
        for high in _GRID[_GRID > 0]:
            found = macro_f1(truth, by_thresholds(score, low, high))
            if found > top + 1e-9:
                top, best = found, []
            if found >= top - 1e-9:
                best.append((float(low), float(high)))
    return [round(float(np.median([pair[at] for pair in best])), 3) for at in (0, 1)]


def calibration_error(probabilities: Floats, labels: Sequence[int] | Ints) -> float:
    """Expected calibration error: mean gap between how sure the called class is and how often it is right."""
    sure = probabilities.max(axis=1)
    right = np.asarray(LABELS)[probabilities.argmax(axis=1)] == np.asarray(labels)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == at].mean() - sure[bins == at].mean()) * (bins == at).mean() for at in np.unique(bins)]
    return float(np.sum(gaps))


def area_under_curve(score: Floats, positive: NDArray[np.bool_]) -> float:
    """Chance that a bullish text scores above a bearish one (Mann & Whitney), ties half."""
    from scipy.stats import rankdata

    ranks = rankdata(score)
    ups = int(positive.sum())
    downs = len(positive) - ups
    if not ups or not downs:
        return float("nan")
    return float((ranks[positive].sum() - ups * (ups + 1) / 2) / (ups * downs))
