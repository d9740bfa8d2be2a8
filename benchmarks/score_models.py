"""The models that scoring is timed on, as plain folders that transformers opens too: same weights for all sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from benchmarks.score_texts import KINDS, texts
from signals.folders import EMBEDDED, TOKENIZER
from signals.labels import CLASSES
from signals.models import EMBEDDED_MODEL, resolve
from signals.weights_file import read_weights

LENGTH: Final = 512
PIECES: Final = "abcdefghijklmnopqrstuvwxyz0123456789$#@!?.,:'-%&()/"
SHAPES: Final = {"BERT-base-shaped": (12, 768), "tiny": (2, 32)}
"""Layers and width."""


def model_folder(name: str, base: Path) -> Path:
    """A model by name in a folder of its own: ``tidegate-mini``, or one of `SHAPES` with random weights."""
    folder = base / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True)
    if name == EMBEDDED_MODEL:
        return _embedded(folder)
    return _random(folder, *SHAPES[name])


def _embedded(folder: Path) -> Path:
    """The shipped weights as floats, without calibration: the pipeline knows none."""
    import torch
    from safetensors.torch import save_file

    weights = {name: tensor.contiguous() for name, tensor in read_weights(EMBEDDED, torch.float32).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    labels = dict(enumerate(resolve(EMBEDDED_MODEL).labels))
    config = json.loads((EMBEDDED / "config.json").read_text(encoding="utf-8"))
    config |= {"id2label": labels, "label2id": {label: index for index, label in labels.items()}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for path in {found for pattern in TOKENIZER for found in EMBEDDED.glob(pattern)}:
        shutil.copy(path, folder)
    return folder


def _random(folder: Path, layers: int, hidden: int) -> Path:
    """A BERT of random weights with the texts' own words as vocabulary: its answers mean nothing, its work is real."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    words = {word for kind in KINDS for text in texts(kind, 500) for word in text.lower().split() if word.isalpha()}
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES, *(f"##{piece}" for piece in PIECES)]
    vocabulary = list(dict.fromkeys([*vocabulary, *sorted(words)]))
    torch.manual_seed(0)
    labels = dict(enumerate(CLASSES))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden,
        max_position_embeddings=LENGTH,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
        initializer_range=0.05,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    options: dict[str, Any] = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")
    return folder


def multiplications(folder: Path, lengths: list[int]) -> float:
    """Multiply-add pairs, counted as two, that `signals.bert` spends on texts of these lengths in tokens."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    inner = int(config["intermediate_size"])
    total = 0.0
    for length in lengths:
        whole = 4 * hidden * hidden + 2 * hidden * inner  # a token's projections, and its two wide layers
        total += (layers - 1) * (length * whole + 2 * length * length * hidden)
        total += 2 * length * hidden * hidden + whole - 2 * hidden * hidden + 2 * length * hidden
        total += hidden * hidden
    return 2.0 * total
