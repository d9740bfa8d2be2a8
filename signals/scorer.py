"""The only door to torch and transformers: texts in, probabilities of bearish, neutral and bullish out.

Whatever the model, a text's probabilities don't depend on what else is in its batch, and a text that can't be scored
gets NaN: a missing score, never a neutral one. Nothing heavy is imported until a transformer is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from signals.labels import CLASSES
from signals.models import ModelCard
from signals.text import normalise
from signals.tokens import LONG

Probabilities = NDArray[np.float32]
"""Shape (n, 3): bearish, neutral, bullish. A row adds up to 1, or is NaN where a text has no score."""

DTYPES: Final = ("auto", "fp32", "bf16", "fp16")
ENGINES: Final = ("torch", "onnx")
_LEXICON_BATCH: Final = 256


@dataclass(frozen=True)
class Compute:
    """How a model is to compute; a lexicon knows only the CPU and needs none of the rest.

    Attributes
    ----------
    device : str
        ``auto`` (CUDA when there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1``.
    batch_tokens : int
        Budget of one batch in tokens, padding included; at least one text goes in whatever its length. 0: what is
        quick on the device.
    dtype : str
        ``auto`` (bf16 where the device computes in it, else fp16 on a GPU and fp32 on a CPU), ``fp32``, ``bf16``,
        ``fp16``.
    engine : str
        ``torch``, or ``onnx``: int8 by ONNX Runtime on the CPU, an extra that has to be installed.
    long : str
        What is read of a long text: its ``lead``, or all its ``windows`` (see `signals.tokens`).
    """

    device: str = "auto"
    batch_tokens: int = 0
    dtype: str = "auto"
    engine: str = "torch"
    long: str = "lead"


class Scorer(Protocol):
    """What scores texts. `device` is where it computes and `note` what its user has to know, as shown to people."""

    card: ModelCard
    device: str
    dtype: str
    note: str

    def score(self, texts: Sequence[str]) -> Probabilities:
        """Probabilities of each text, in order: float32 of shape (n, 3)."""
        ...

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """The same piece by piece, as they are ready: (positions in `texts`, their probabilities)."""
        ...


def open_scorer(card: ModelCard, compute: Compute | None = None) -> Scorer:
    """The scorer of a pinned card, from `signals.models.resolve`.

    Raises
    ------
    InputError
        A device that isn't there, a number format it doesn't compute in, an extra that isn't installed, weights that
        are unsafe, absent or no classifier's.
    """
    compute = compute or Compute()
    if compute.batch_tokens < 0:
        raise InputError("must be at least 1, or 0 to choose", key="batch_tokens", value=compute.batch_tokens)
    for key, value, allowed in (("engine", compute.engine, ENGINES), ("long", compute.long, LONG)):
        if value not in allowed:
            raise InputError("no such choice", key=key, value=value, remedy=f"One of {', '.join(allowed)}")
    if card.kind == "lexicon":
        if compute.engine != "torch":
            remedy = "Leave the engine out, or choose a transformer: tidegate models"
            raise InputError("a lexicon has no network to run", key="engine", value=compute.engine, remedy=remedy)
        if compute.device not in ("auto", "cpu"):
            remedy = "Leave the device out"
            raise InputError("a lexicon runs on the CPU", key="device", value=compute.device, remedy=remedy)
        return LexiconScorer(card)
    if compute.engine == "onnx":
        from signals.onnx_engine import OnnxScorer

        return OnnxScorer(card, compute)
    from signals.transformer import TransformerScorer

    return TransformerScorer(card, compute)


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
        self.note = ""
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
