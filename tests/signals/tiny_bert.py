"""A tiny randomly initialised BERT with a small WordPiece vocabulary, written to a folder: what scorer tests run on."""

import json
from pathlib import Path

WORDS = (
    *("bitcoin", "ethereum", "price", "is", "up", "down", "very", "good", "bad", "the", "market", "crash", "moon"),
    *("buy", "sell", "hold", "now", "today", "crypto", "token", "not", "and", "of", "to", "in", "it", "this", "that"),
)
PIECES = [
    *"abcdefghijklmnopqrstuvwxyz0123456789$#@!?.,:'-",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"),
]


def write_tiny_bert(
    folder: Path,
    labels: tuple[str, ...] = ("negative", "neutral", "positive"),
    *,
    safe: bool = True,
    head: bool = True,
    seed: int = 0,
) -> Path:
    """Two layers of 32 numbers each; without `safe` as a pickle, without `head` lacking its classification head."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES, *WORDS]
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        initializer_range=0.6,
    )
    model = BertForSequenceClassification(config) if head else BertModel(config)
    if safe:
        model.save_pretrained(folder)
    else:
        config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    options = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")
    return folder
