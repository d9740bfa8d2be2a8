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


def write_tiny_int8(folder: Path, *, masks: bool = True, card: dict[str, object] | None = None, seed: int = 0) -> Path:
    """The same model as the shipped one is stored: int8 by row, tokenizer.json, card.json, masks."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    write_tiny_bert(folder, ("bearish", "neutral", "bullish"), seed=seed)
    stored = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if tensor.dim() == 2:
            scale = tensor.abs().amax(dim=1).clamp(min=1e-8) / 127
            stored[name] = (tensor / scale[:, None]).round().to(torch.int8)
            stored[f"{name}.scale"] = scale
        else:
            stored[name] = tensor.contiguous()
    save_file(stored, folder / "model.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").unlink()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["tidegate"] = {"masks": masks, "max_length": 32}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    said = {
        "name": "tiny",
        "labels": ["bearish", "neutral", "bullish"],
        "cutoff": "2024-03-31",
        "licence": "Apache-2.0",
    }
    (folder / "card.json").write_text(json.dumps({**said, **(card or {})}), encoding="utf-8")
    return folder
