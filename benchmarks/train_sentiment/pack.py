"""A model folder as it ships: matrices int8 by row with their scales, the tokenizer, the config, the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from benchmarks.train_sentiment.nets import Net, make_tokenizer
from signals.weights_file import read_weights

WEIGHTS_FILE: Final = "model.safetensors"
CARD_FILE: Final = "card.json"


def quantised(state: dict[str, Any]) -> dict[str, Any]:
    """Tensors to store: each matrix as int8 with `<name>.scale` by row (weight = int8 * scale), the rest as fp32."""
    import torch

    packed = {}
    for name, tensor in state.items():
        value = tensor.detach().float()
        if value.ndim != 2:
            packed[name] = value.contiguous()
            continue
        scale = value.abs().amax(dim=1).clamp_min(1e-8) / 127
        packed[name] = torch.round(value / scale[:, None]).to(torch.int8).contiguous()
        packed[f"{name}.scale"] = scale.contiguous()
    return packed


def restored(packed: dict[str, Any]) -> dict[str, Any]:
    """The fp32 state that packed tensors stand for."""
    import torch

    return {
        name: tensor.float() * packed[f"{name}.scale"][:, None] if tensor.dtype == torch.int8 else tensor
        for name, tensor in packed.items()
        if not name.endswith(".scale")
    }


def round_weights(net: Net) -> None:
    """Put into the network what its int8 form stands for, so that calibration and figures are of what ships."""
    net.model.load_state_dict(restored(quantised(net.model.state_dict())))


def save(net: Net, folder: Path, card: dict[str, Any]) -> None:
    """Write weights, config, tokenizer and card into a folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(quantised(net.model.state_dict()), str(folder / WEIGHTS_FILE), metadata={"format": "pt"})
    (folder / WEIGHTS_FILE).chmod(0o644)  # it would be its writer's alone
    config = json.loads(net.model.config.to_json_string(use_diff=False))
    kept = (
        *(
            "architectures",
            "model_type",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
        ),
        *("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "vocab_size"),
        *("type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id", "id2label", "label2id"),
    )
    shown = {key: config[key] for key in kept} | {"tidegate": {"masks": True, "max_length": card["max_length"]}}
    write_json(folder / "config.json", shown)
    net.tokenizer.save_pretrained(folder)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    write_card(folder, card)


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write the card of a folder."""
    write_json(folder / CARD_FILE, card)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a folder."""
    found: dict[str, Any] = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    return found


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write readable JSON with a closing line break."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def open_packed(folder: Path) -> Net:
    """The network of a packed folder in fp32, to be trained further."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig.from_pretrained(folder)
    model = BertForSequenceClassification(config)
    model.load_state_dict(read_weights(folder, torch.float32))
    pieces = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return Net(model, make_tokenizer(sorted(pieces, key=pieces.__getitem__), config.max_position_embeddings))
