"""A sequence classifier as a scorer, opened through `signals.scorer`: token-budget batches, safe weights, label map."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError, WorkError
from signals.labels import CLASSES
from signals.models import ModelCard
from signals.scorer import Probabilities, gather
from signals.text import normalise

if TYPE_CHECKING:
    import torch

TOKENISE_AT_ONCE: Final = 4096
"""Texts that are tokenised, sorted by length and cut into batches together; bounds the memory."""

_NO_MEMORY: Final = ("out of memory", "not enough memory", "can't allocate memory", "failed to allocate")


class TransformerScorer:
    """See `signals.scorer.open_scorer`. A text whose output isn't finite gets NaN, and so does an empty one."""

    def __init__(self, card: ModelCard, device: str, batch_tokens: int, dtype: str) -> None:
        import torch

        self.card = card
        self.dtype = dtype
        self._torch = torch
        self._device = pick_device(device)
        self.device = str(self._device)
        check_dtype(self._device, dtype)
        self.batch_tokens = batch_tokens
        self._model, self._tokenizer = load(card, self._device, dtype)
        self._length = readable_length(card, self._model.config, self._tokenizer)
        self._classes = class_matrix(card, self._model.config.num_labels)
        self._pad = self._tokenizer.pad_token_id

    def score(self, texts: Sequence[str]) -> Probabilities:
        """Probabilities of each text, in order: float32 of shape (n, 3); NaN where the model gave nothing finite."""
        return gather(self.batches(texts), len(texts))

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """The same piece by piece, longest texts first: (positions in `texts`, their probabilities)."""
        for start in range(0, len(texts), TOKENISE_AT_ONCE):
            piece = [normalise(text) for text in texts[start : start + TOKENISE_AT_ONCE]]
            filled = [at for at, text in enumerate(piece) if text]
            if not filled:
                continue
            ids = self._tokenizer(
                [piece[at] for at in filled],
                truncation=True,
                max_length=self._length,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
            for members in self._cut([len(row) for row in ids]):
                yield from self._run([(start + filled[at], ids[at]) for at in members])

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

    def _run(self, rows: list[tuple[int, list[int]]]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """One batch; in halves when the memory isn't enough, and smaller batches from then on."""
        try:
            probabilities = self._forward([ids for _, ids in rows])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                what = f"not enough memory on {self.device} for one text of {len(rows[0][1])} tokens"
                raise WorkError(f"{what}; free memory, or use --device cpu") from error
        else:
            yield np.array([at for at, _ in rows]), probabilities
            return
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()
        half = len(rows) // 2
        self.batch_tokens = max(1, min(self.batch_tokens, half * len(rows[0][1])))
        yield from self._run(rows[:half])
        yield from self._run(rows[half:])

    def _forward(self, ids: list[list[int]]) -> Probabilities:
        torch = self._torch
        longest = max(len(row) for row in ids)
        tokens = np.full((len(ids), longest), 0 if self._pad is None else self._pad, dtype=np.int64)
        mask = np.zeros((len(ids), longest), dtype=np.int64)
        for at, row in enumerate(ids):
            tokens[at, : len(row)] = row
            mask[at, : len(row)] = 1
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.from_numpy(tokens).to(self._device),
                attention_mask=torch.from_numpy(mask).to(self._device),
            ).logits
            logits = logits.float()
            outputs = torch.softmax(logits, dim=-1).cpu().numpy()
            finite = torch.isfinite(logits).all(dim=-1).cpu().numpy()
        rows: Probabilities = (outputs.astype(np.float64) @ self._classes).astype(np.float32)
        rows[~finite] = np.nan  # those texts have no score; the others in the batch keep theirs
        return rows


def pick_device(wanted: str) -> torch.device:
    """The device to compute on; see `signals.scorer.open_scorer`."""
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        remedy = "One of auto, cpu, cuda, cuda:1 …"
        raise InputError("no such device", key="device", value=wanted, remedy=remedy)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= found:
        remedy = f"{found} CUDA devices are there; use auto or cpu"
        raise InputError("not on this machine", key="device", value=wanted, remedy=remedy)
    return device


def check_dtype(device: torch.device, dtype: str) -> None:
    """Refuse bf16 where it would be emulated: slower than fp32 and less exact."""
    import torch

    if dtype != "bf16":
        return
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = _has_bf16_instructions()
    if not able:
        raise InputError("this processor doesn't compute in bf16", key="dtype", value=dtype, remedy="Use fp32")


def _has_bf16_instructions() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            flags = next((line for line in stream if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' own progress bars and hints off the terminal."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def load(card: ModelCard, device: torch.device, dtype: str) -> tuple[Any, Any]:
    """Model and tokenizer: safetensors only, no remote code, the pinned commit, no network when HF_HUB_OFFLINE is set.

    Raises
    ------
    InputError
        Not found, unsafe, damaged, or without a trained classification head.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    where = str(card.folder) if card.folder else str(card.hub_id)
    common: dict[str, Any] = {"trust_remote_code": False}
    if card.folder is None:
        common |= {"revision": card.commit, "local_files_only": _is_offline()}
    else:
        common |= {"local_files_only": True}
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(where, **common)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                where, use_safetensors=True, dtype=kind, output_loading_info=True, **common
            )
        except Exception as error:
            raise _load_error(card, error) from error
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if absent:
        raise InputError(
            f"{len(absent)} weights are missing, so the model would answer at random ({', '.join(absent[:3])})",
            where=where,
            key="model",
            value=card.name,
            remedy="Use a model that was fine-tuned for sequence classification",
        )
    if len(tokenizer) > model.config.vocab_size:
        what = f"the tokenizer has {len(tokenizer)} tokens, the model {model.config.vocab_size}"
        raise InputError(what, where=where, key="model", remedy="Use the tokenizer the model was trained with")
    return model.to(device).eval(), tokenizer


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def _load_error(card: ModelCard, error: Exception) -> InputError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    where = str(card.folder) if card.folder else f"{card.hub_id}@{card.commit}"
    if card.folder is not None:
        remedy = "Save model and tokenizer there again, with safetensors"
    elif _is_offline():
        remedy = "HF_HUB_OFFLINE is set and this commit is not in the local cache; unset it, or give a local folder"
    else:
        remedy = (
            "The hub could not be reached, the commit doesn't exist, or it holds no safetensors "
            "(then pin the commit of a safetensors conversion, or save the model to a local folder)"
        )
    return InputError(f"the model can't be loaded: {first}", where=where, key="model", value=card.name, remedy=remedy)


def readable_length(card: ModelCard, config: Any, tokenizer: Any) -> int:
    """Tokens that the card, the tokenizer and the model's positions all allow."""
    positions = int(getattr(config, "max_position_embeddings", 0) or card.max_length)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "bertweet", "longformer", "mpnet"):
        positions -= int(getattr(config, "pad_token_id", 1) or 0) + 1  # positions are counted from after the padding's
    return max(1, min(card.max_length, positions, int(tokenizer.model_max_length)))


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the GPU or on the CPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(said in text for said in _NO_MEMORY)
