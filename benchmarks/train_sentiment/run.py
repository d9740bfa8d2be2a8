"""From labelled sets and our own posts to a folder that ships: teach six layers, distil, round, calibrate, write."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.sentiment_posts.grammar import LATER, generated_rows, posts_hash, written_rows
from benchmarks.train_sentiment import calibrate
from benchmarks.train_sentiment.fit import LossOf, Plan, Vary, distil_loss, gold_loss, logits_of, train
from benchmarks.train_sentiment.nets import Net, shrink
from benchmarks.train_sentiment.pack import round_weights
from benchmarks.train_sentiment.sets import Row, split_rows
from benchmarks.train_sentiment.tricks import tricked

HELD_SHARE: Final = 0.08
"""Of the labelled rows: kept for choosing the epoch and for calibration."""

LARGE: Final = 200
"""Held rows from which a set has a say of its own in choosing the epoch."""

CASHTAG_MASKED: Final = 0.4
"""Share of the unmasked rows whose cashtags are shown as the target."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """What a run does; the defaults made the shipped model."""

    layers: int = 3
    teach: Plan = field(default_factory=lambda: Plan(epochs=3, rate=1e-4, bf16=True))
    distil: Plan = field(default_factory=lambda: Plan(epochs=8, rate=2e-4, bf16=True))
    posts: int = 10_000
    held_posts: int = 3_000
    rows_max: int | None = None


@dataclass(frozen=True)
class Material:
    """Rows to train on and rows held back, labelled sets and our own posts apart."""

    rows: list[Row]
    held: list[Row]
    posts: int
    held_posts: list[Row]
    seed: int

    def vary(self, epoch: int, *, later: bool = False) -> list[Row]:
        """The rows of an epoch: other fillings of our templates, tricks on other rows; `later` as in the grammar."""
        rng = np.random.default_rng([self.seed, 7, epoch])
        own = generated_rows(self.posts, (self.seed, 8, epoch), held=False, later=later)
        own += 2 * written_rows(held=False) if self.posts else []
        return tricked([_cashtags(row, rng) for row in self.rows] + own, rng)


def _cashtags(row: Row, rng: np.random.Generator) -> Row:
    """Now and then a stock's cashtag becomes the target, as a coin's does in the product."""
    if "$" not in row.text or rng.random() >= CASHTAG_MASKED:
        return row
    words = ["target" if word[:1] == "$" and word[1:2].isalpha() else word for word in row.text.split(" ")]
    return replace(row, text=" ".join(words))


def gather(rows: Sequence[Row], recipe: Recipe, seed: int) -> Material:
    """Split the labelled rows and make ready our own."""
    kept, held = split_rows(rows, HELD_SHARE)
    if recipe.rows_max is not None:
        kept, held = kept[: recipe.rows_max], held[: recipe.rows_max]
    own = generated_rows(recipe.held_posts, (seed, 9), held=True) + 3 * written_rows(held=True)
    return Material(kept, held, recipe.posts, own, seed)


def teach(net: Net, material: Material, plan: Plan, say: Say, kept: Path | None = None) -> None:
    """Fine-tune in place; the epoch that does best on the held rows stays, and in the file `kept` when it is given."""
    say(f"teaching {net.layers} layers on {len(material.vary(0)):,} rows an epoch")
    _keep_best(net, material, plan, material.vary, gold_loss(net), say, kept)


def distil(teacher: Net, layers: int, material: Material, plan: Plan, say: Say, kept: Path | None = None) -> Net:
    """A student of so many layers that answers like its teacher."""
    student = shrink(teacher, layers)
    teacher.model.eval()
    vary = partial(material.vary, later=True)
    _keep_best(student, material, plan, vary, distil_loss(student, teacher), say, kept)
    return student


def _keep_best(
    net: Net, material: Material, plan: Plan, vary: Vary, loss_of: LossOf, say: Say, kept: Path | None
) -> None:
    """Train; a finished stage is taken from its file, so that a run that was cut short goes on from there."""
    from safetensors.torch import load_file, save_file

    if kept is not None and kept.is_file():
        say(f"taken from {kept}")
        net.model.load_state_dict(load_file(str(kept)))
        return
    best: tuple[float, dict[str, Any]] = (-1.0, {})

    def after(epoch: int) -> None:
        nonlocal best
        found = held_figures(net, material, plan)
        say(f"  held rows: {', '.join(f'{name} {value:.3f}' for name, value in found.items())}")
        score = float(np.mean(list(found.values())))
        if score > best[0]:
            best = (score, copy.deepcopy(net.model.state_dict()))
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                save_file(best[1], str(kept.with_suffix(".best")))

    train(net, vary, plan, loss_of, say, after)
    net.model.load_state_dict(best[1])
    if kept is not None:
        kept.with_suffix(".best").rename(kept)


def held_figures(net: Net, material: Material, plan: Plan) -> dict[str, float]:
    """Macro-F1 on the held rows of each large set, or of all when none is large, and on the held posts of our own."""
    groups: dict[str, list[Row]] = {}
    for row in material.held:
        groups.setdefault(row.origin, []).append(row)
    large = {name: rows for name, rows in groups.items() if len(rows) >= LARGE}
    groups = (large or {"labelled": material.held}) | {"own": material.held_posts}
    found = {}
    for name, rows in groups.items():
        if rows:
            called = logits_of(net, [row.text for row in rows], plan).argmax(axis=1) - 1
            found[name] = calibrate.macro_f1([row.label for row in rows], called)
    return found


def finish(net: Net, material: Material, plan: Plan) -> dict[str, Any]:
    """Round to int8, calibrate, fit thresholds; what the card says of all that.

    Calibration weighs the held rows of the labelled sets and the held posts alike (with either alone, or the posts'
    labels evened out, both are ranked and called worse); thresholds come from the held posts alone, each from those
    that reach us as its source does.
    """
    round_weights(net)
    exact = replace(plan, bf16=False)
    rows = material.held + material.held_posts
    logits = logits_of(net, [row.text for row in rows], exact)
    labels = [row.label for row in rows]
    first = len(material.held)
    weights = [1 / max(1, first)] * first + [1 / max(1, len(rows) - first)] * (len(rows) - first)
    calibration = calibrate.fit_calibration(logits, labels, weights)
    chances = calibrate.calibrated(logits, calibration)
    score = calibrate.scores(chances)
    own = np.arange(len(rows)) >= first
    source = np.array([row.source for row in rows])
    truth = np.array(labels)
    thresholds = {
        name: calibrate.fit_thresholds(score[chosen], truth[chosen])
        for name, chosen in (
            ("social", own & (source == "social")),
            ("news", own & (source == "news")),
            ("default", own),
        )
    }
    called = chances.argmax(axis=1) - 1
    figures = {
        name: {
            "rows": int(chosen.sum()),
            "macro_f1": round(calibrate.macro_f1(truth[chosen], called[chosen]), 4),
            "calibration_error": round(calibrate.calibration_error(chances[chosen], truth[chosen]), 4),
        }
        for name, chosen in (("held labelled rows", ~own), ("held posts of our own", own))
        if chosen.any()
    }
    length = int(net.model.config.max_position_embeddings)
    return {"calibration": calibration, "thresholds": thresholds, "validation": figures, "max_length": length}


def posts_fact(recipe: Recipe) -> dict[str, Any]:
    """What the card says of our own posts; rows are those of one epoch of the student's."""
    return {
        "name": "posts of our own writing (benchmarks/sentiment_posts)",
        "rows": round(recipe.posts * (1 + sum(LATER.values()))) + 2 * len(written_rows(held=False)),
        "licence": "Apache-2.0",
        "until": None,
        "sha256": posts_hash(),
    }
