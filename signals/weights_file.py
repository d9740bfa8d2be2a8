"""Weights from safetensors only, plain or int8 by row, and where a hub model's files come from.

A matrix may be stored as int8 with one float a row: ``weight = int8 * scale[:, None]``, the scale under the matrix'
name with ``.scale`` behind it. That is a quarter of the size and changes the label of one text in two hundred; what is
computed with is always a float type.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data.errors import InputError
from signals.folders import TOKENIZER, model_files

if TYPE_CHECKING:
    import torch

    from signals.models import ModelCard

SCALE: Final = ".scale"
_WANTED: Final = ("*.safetensors", "*.safetensors.index.json", "config.json", *TOKENIZER)


def is_offline() -> bool:
    """Whether the user keeps us off the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def local_folder(card: ModelCard) -> Path:
    """Where the model's files lie; those of a hub model are fetched at its pinned commit, unless they are here already.

    Raises
    ------
    InputError
        Not found, no safetensors, or the hub can't be reached.
    """
    if card.folder is not None:
        return card.folder
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            str(card.hub_id), revision=card.commit, allow_patterns=list(_WANTED), local_files_only=is_offline()
        )
    except Exception as error:  # of the hub's client, of HTTP, of the disk: each is named for the user
        raise cannot_load(card, error) from error
    folder = Path(found)
    model_files(folder)
    return folder


def cannot_load(card: ModelCard, error: Exception) -> InputError:
    """The error for a model that transformers, safetensors or the hub couldn't make anything of."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    where = str(card.folder) if card.folder else f"{card.hub_id}@{card.commit}"
    if card.folder is not None:
        remedy = "Save model and tokenizer there again, with safetensors"
    elif is_offline():
        remedy = "HF_HUB_OFFLINE is set and this commit is not in the local cache; unset it, or give a local folder"
    else:
        remedy = (
            "The hub could not be reached, the commit doesn't exist, or it holds no safetensors "
            "(then pin the commit of a safetensors conversion, or save the model to a local folder)"
        )
    return InputError(f"the model can't be loaded: {first}", where=where, key="model", value=card.name, remedy=remedy)


def read_weights(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All tensors of a folder's safetensors files by name, int8 matrices as floats again.

    Raises
    ------
    InputError
        No such file, or an int8 matrix whose scale is missing or of another length.
    safetensors.SafetensorError
        A damaged file.
    """
    import torch
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError("the model can't be loaded: no *.safetensors file", where=folder, key="model")
    found: dict[str, torch.Tensor] = {}
    for path in files:
        with safe_open(path, framework="pt") as stored:
            names = set(stored.keys())
            for name in sorted(names):
                if name.endswith(SCALE) and name.removesuffix(SCALE) in names:
                    continue
                tensor = stored.get_tensor(name)
                if tensor.dtype == torch.int8:
                    scale = stored.get_tensor(name + SCALE) if name + SCALE in names else None
                    tensor = _floats(path, name, tensor, scale)
                found[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return found


def _floats(path: Path, name: str, tensor: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    if scale is None or tensor.dim() != 2 or tuple(scale.shape) != (tensor.shape[0],):
        what = f"{name} is stored as int8 without one scale a row ({name}{SCALE})"
        remedy = "Save the model again: python -m benchmarks.train_sentiment writes this form"
        raise InputError(what, where=path, key="model", remedy=remedy)
    return tensor.float() * scale.float()[:, None]


def missing_weights(where: object, name: str, absent: list[str]) -> InputError:
    """The error for a model that lacks weights, such as its classification head."""
    return InputError(
        f"{len(absent)} weights are missing, so the model would answer at random ({', '.join(absent[:3])})",
        where=str(where),
        key="model",
        value=name,
        remedy="Use a model that was fine-tuned for sequence classification",
    )
