"""The only door to torch and transformers: texts in, probabilities of bearish, neutral and bullish out.

Whatever the model, a text's probabilities don't depend on what else is in its batch, and a text that can't be scored
gets NaN: a missing score, never a neutral one. Nothing heavy is imported until a transformer is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from signals.labels import CLASSES
from signals.models import ModelCard
from signals.text import normalise

Probabilities = NDArray[np.float32]
"""Shape (n, 3): bearish, neutral, bullish. A row adds up to 1, or is NaN where a text has no score."""

BATCH_TOKENS: Final = 4096
"""Tokens in one batch, padding included, unless told otherwise."""

DTYPES: Final = ("fp32", "bf16")
_LEXICON_BATCH: Final = 256


class Scorer(Protocol):
    """What scores texts. `device` is where it computes, as shown to people."""

    card: ModelCard
    device: str
    dtype: str

    def score(self, texts: Sequence[str]) -> Probabilities:
        """Probabilities of each text, in order: float32 of shape (n, 3)."""
        ...

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """The same piece by piece, as they are ready: (positions in `texts`, their probabilities)."""
        ...


def open_scorer(card: ModelCard, device: str = "auto", batch_tokens: int = BATCH_TOKENS, dtype: str = "fp32") -> Scorer:
    """The scorer of a pinned card.

    Parameters
    ----------
    card : ModelCard
        From `signals.models.resolve`.
    device : str
        ``auto`` (CUDA when there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1``; a lexicon knows only the CPU.
    batch_tokens : int
        Budget of one batch in tokens, padding included; at least one text goes in whatever its length.
    dtype : str
        ``fp32``, or ``bf16`` where the processor computes in it.

    Raises
    ------
    InputError
        A device that isn't there, bf16 without support, weights that are unsafe, absent or no classifier's.
    """
    if batch_tokens < 1:
        raise InputError("must be at least 1", key="batch_tokens", value=batch_tokens)
    if dtype not in DTYPES:
        raise InputError("no such number format", key="dtype", value=dtype, remedy=f"One of {', '.join(DTYPES)}")
    if card.kind == "lexicon":
        if device not in ("auto", "cpu"):
            raise InputError("a lexicon runs on the CPU", key="device", value=device, remedy="Leave the device out")
        return LexiconScorer(card)
    from signals.transformer import TransformerScorer

    return TransformerScorer(card, device, batch_tokens, dtype)


def gather(batches: Iterator[tuple[NDArray[np.int64], Probabilities]], count: int) -> Probabilities:
    """All batches put back in order; rows no batch gave are NaN."""
    whole = np.full((count, len(CLASSES)), np.nan, dtype=np.float32)
    for positions, probabilities in batches:
        whole[positions] = probabilities
    return whole


class LexiconScorer:
    """VADER: the compound score c in [-1, 1] of the package vaderSentiment, spread over three classes.

    p(bullish) = max(c, 0), p(bearish) = max(-c, 0), p(neutral) = 1 - |c|; so p(bullish) - p(bearish) is c again. These
    are no calibrated probabilities: a lexicon has none. The first `card.max_length` words of a text are read.
    """

    def __init__(self, card: ModelCard) -> None:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        self.card = card
        self.device = "cpu"
        self.dtype = "fp32"
        self._analyser = SentimentIntensityAnalyzer()

    def score(self, texts: Sequence[str]) -> Probabilities:
        """Probabilities of each text, in order: float32 of shape (n, 3)."""
        return gather(self.batches(texts), len(texts))

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """The same piece by piece: (positions in `texts`, their probabilities)."""
        for start in range(0, len(texts), _LEXICON_BATCH):
            piece = texts[start : start + _LEXICON_BATCH]
            compound = np.array([self._compound(text) for text in piece])
            up, down = np.maximum(compound, 0.0), np.maximum(-compound, 0.0)
            rows = np.stack([down, 1.0 - up - down, up], axis=1).astype(np.float32)
            yield np.arange(start, start + len(piece)), rows

    def _compound(self, text: str) -> float:
        words = normalise(text).split(" ")[: self.card.max_length]  # its cost grows with the square of the words
        if words == [""]:
            return float("nan")
        return float(self._analyser.polarity_scores(" ".join(words))["compound"])
