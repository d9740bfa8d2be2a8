"""A sequence classifier as a scorer, opened through `signals.scorer`: batches by token budget, no waiting, no leaks.

Texts are tokenised by a thread of its own while the device computes what was tokenised before; batches hold texts of
like lengths. On a GPU nothing waits for a batch: copies go out of pinned memory, and answers are fetched once for all
texts that were tokenised together. CUDA graphs and torch.compile are left out: no GPU was there to measure them on, and
on a CPU compiling costs a minute and more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError, WorkError
from signals.device import is_out_of_memory, pick_device, settled_dtype, torch_dtype
from signals.labels import CLASSES
from signals.models import ModelCard
from signals.open_model import open_model
from signals.scorer import Compute, Probabilities, gather
from signals.text import normalise

if TYPE_CHECKING:
    import torch

TOKENISE_AT_ONCE: Final = 4096
"""Texts that are tokenised, sorted by length and cut into batches together; bounds the memory."""

BATCH_TOKENS_CPU: Final = 1024
BATCH_TOKENS_GPU: Final = 32_768
"""Budgets when none is given. On a CPU a batch's states have to fit its cache (measured); a GPU wants to be full."""


class Row(NamedTuple):
    """One window of a text: the text's position, and its token numbers."""

    at: int
    ids: list[int]


class TransformerScorer:
    """See `signals.scorer.open_scorer`. A text whose output isn't finite gets NaN, and so does an empty one."""

    def __init__(self, card: ModelCard, compute: Compute) -> None:
        import torch

        self.card = card
        self._torch = torch
        self._device = pick_device(compute.device)
        self.device = str(self._device)
        self.dtype = settled_dtype(card, compute)
        self.note = ""
        self._on_gpu = self._device.type == "cuda"
        self.batch_tokens = compute.batch_tokens or (BATCH_TOKENS_GPU if self._on_gpu else BATCH_TOKENS_CPU)
        opened = open_model(card, self._device, torch_dtype(self.dtype), compute.long)
        self._net, self._tokenise, self._pad = opened.net, opened.tokeniser, opened.pad
        self._classes = torch.tensor(class_matrix(card, self._net.outputs), dtype=torch.float32, device=self._device)
        bias = card.calibration.bias or (0.0,) * self._net.outputs
        self._bias = torch.tensor(bias, dtype=torch.float32, device=self._device)
        self._averages = compute.long == "windows"
        self._later = self._on_gpu  # answers are fetched together

    def score(self, texts: Sequence[str]) -> Probabilities:
        """Probabilities of each text, in order: float32 of shape (n, 3); NaN where the model gave nothing finite."""
        return gather(self.batches(texts), len(texts))

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """The same piece by piece, longest texts first: (positions in `texts`, their probabilities)."""
        starts = range(0, len(texts), TOKENISE_AT_ONCE)
        ahead = ThreadPoolExecutor(1, thread_name_prefix="tokenise")
        try:
            waiting: Future[list[Row]] | None = None
            for start in starts:
                rows = (waiting or ahead.submit(self._rows, texts, start)).result()
                following = start + TOKENISE_AT_ONCE
                waiting = ahead.submit(self._rows, texts, following) if following < len(texts) else None
                if rows:
                    yield from self._together(rows)
        finally:
            ahead.shutdown(cancel_futures=True)

    def _rows(self, texts: Sequence[str], start: int) -> list[Row]:
        """Windows of the next texts that aren't empty."""
        piece = [normalise(text) for text in texts[start : start + TOKENISE_AT_ONCE]]
        filled = [at for at, text in enumerate(piece) if text]
        windows = self._tokenise([piece[at] for at in filled]) if filled else []
        return [Row(start + at, ids) for at, found in zip(filled, windows, strict=True) for ids in found]

    def _together(self, rows: list[Row]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """Answers to what was tokenised together: batch by batch on a CPU, else all at its end."""
        kept: list[list[Row]] = []
        answers: list[torch.Tensor] = []
        for members in self._cut([len(row.ids) for row in rows]):
            for batch, answer in self._run([rows[at] for at in members]):
                if self._later or self._averages:
                    kept.append(batch)
                    answers.append(answer)
                else:
                    yield np.array([row.at for row in batch]), answer.numpy()
        if kept:
            whole: Probabilities = self._torch.cat(answers).cpu().numpy()  # the one wait for the device
            yield joined([row for batch in kept for row in batch], whole)

    def _cut(self, lengths: list[int]) -> Iterator[list[int]]:
        """Positions by length, in groups of at most `batch_tokens` tokens with padding.

        The longest come first: what the memory can't hold shows at once, and the time left is not promised too short.
        """
        group: list[int] = []
        for at in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
            alone = self._pad is None  # without a padding token, texts can't share a batch
            if group and (alone or (len(group) + 1) * lengths[group[0]] > self.batch_tokens):
                yield group
                group = []
            group.append(at)
        yield group

    def _run(self, rows: list[Row]) -> Iterator[tuple[list[Row], torch.Tensor]]:
        """One batch; in halves when the memory isn't enough, and smaller batches from then on."""
        try:
            answer = self._forward([row.ids for row in rows])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                what = f"not enough memory on {self.device} for one text of {len(rows[0].ids)} tokens"
                raise WorkError(f"{what}; free memory, or use --device cpu") from error
        else:
            yield rows, answer
            return
        if self._on_gpu:
            self._torch.cuda.empty_cache()
        half = len(rows) // 2
        self.batch_tokens = max(1, min(self.batch_tokens, half * len(rows[0].ids)))
        yield from self._run(rows[:half])
        yield from self._run(rows[half:])

    def _forward(self, ids: list[list[int]]) -> torch.Tensor:
        """Probabilities of one batch, on the device: float32 of shape (n, 3)."""
        own = self._torch
        tokens, mask = padded(ids, self._pad or 0)
        with own.inference_mode():
            logits = self._net(self._sent(tokens), None if mask is None else self._sent(mask)).float()
            outputs = own.softmax((logits + self._bias) / self.card.calibration.temperature, dim=-1)
            finite = own.isfinite(logits).all(dim=-1, keepdim=True)
            # A text without an answer has no score; the others in the batch keep theirs.
            answer: torch.Tensor = own.where(finite, outputs @ self._classes, own.nan)
            return answer

    def _sent(self, array: NDArray[Any]) -> torch.Tensor:
        """The array on the device; nobody waits for the copy."""
        tensor = self._torch.from_numpy(array)
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._on_gpu else tensor


def padded(ids: list[list[int]], pad: int) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Token numbers filled up to one length, and where they stand; None when all are of that length."""
    lengths = np.array([len(row) for row in ids])
    longest = int(lengths.max())
    if (lengths == longest).all():
        return np.array(ids, dtype=np.int64), None
    mask = np.arange(longest) < lengths[:, None]
    tokens = np.full((len(ids), longest), pad, dtype=np.int64)
    tokens[mask] = np.concatenate([np.array(row, dtype=np.int64) for row in ids])
    return tokens, mask


def joined(rows: Sequence[Row], answers: Probabilities) -> tuple[NDArray[np.int64], Probabilities]:
    """One row of probabilities a text: the mean of its windows', weighted by their tokens."""
    positions, owner = np.unique([row.at for row in rows], return_inverse=True)
    weights = np.array([len(row.ids) for row in rows], dtype=np.float64)
    total = np.bincount(owner, weights)
    means = [np.bincount(owner, weights * answers[:, at]) / total for at in range(len(CLASSES))]
    return positions.astype(np.int64), np.stack(means, axis=1).astype(np.float32)


def class_matrix(card: ModelCard, outputs: int) -> NDArray[np.float64]:
    """Shape (outputs, 3): which class each model output counts for."""
    if len(card.labels) != outputs:
        raise InputError(
            f"{len(card.labels)} labels for a model of {outputs} outputs",
            key="labels",
            value=",".join(card.labels),
            remedy="Give one label for each output, in the model's order",
        )
    matrix = np.zeros((outputs, len(CLASSES)))
    for index, label in enumerate(card.labels):
        matrix[index, CLASSES.index(label)] = 1.0
    return matrix
