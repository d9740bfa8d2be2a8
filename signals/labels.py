"""What the outputs of a sequence-classification model mean: bearish, neutral, bullish; always said, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from data.errors import InputError

BEARISH: Final = "bearish"
NEUTRAL: Final = "neutral"
BULLISH: Final = "bullish"
CLASSES: Final = (BEARISH, NEUTRAL, BULLISH)
"""Column order of every probability in this project."""

MEANING: Final = {
    **dict.fromkeys(("bearish", "negative", "neg"), BEARISH),
    **dict.fromkeys(("neutral", "neu"), NEUTRAL),
    **dict.fromkeys(("bullish", "positive", "pos"), BULLISH),
}
"""Names that leave no doubt. LABEL_0 does, and so do stars."""

LABELS_REMEDY: Final = (
    "Say what each output means, in the model's order: --labels bearish,neutral,bullish "
    "(a class may stand for several outputs; neutral may be absent)"
)


def parse_labels(labels: str | Sequence[str]) -> tuple[str, ...]:
    """Classes in the model's order from ``"negative,neutral,positive"`` or a sequence.

    Raises
    ------
    InputError
        A word that is no class, or bearish or bullish not among them.
    """
    words = labels.split(",") if isinstance(labels, str) else list(labels)
    found = tuple(MEANING.get(word.strip().lower(), "") for word in words)
    if "" in found:
        unknown = words[found.index("")]
        raise InputError("not a class", key="labels", value=unknown, remedy=LABELS_REMEDY)
    if BEARISH not in found or BULLISH not in found:
        value = ",".join(words)
        raise InputError("both bearish and bullish are needed", key="labels", value=value, remedy=LABELS_REMEDY)
    return found


def marks(labels: Sequence[str]) -> str:
    """Labels as one short text: ``-0+`` for bearish, neutral, bullish."""
    return "".join({BEARISH: "-", NEUTRAL: "0", BULLISH: "+"}[label] for label in labels)
