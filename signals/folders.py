"""A local model folder, looked at before anything is loaded: safe files only, outputs named, one hash over it all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from data.errors import InputError
from signals.card_file import CARD_FILE, CardFile, read_card, read_object
from signals.labels import BEARISH, BULLISH, LABELS_REMEDY, MEANING, marks

PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZER: Final = (
    "tokenizer*.json",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
)
EMBEDDED: Final = Path(__file__).with_name("weights")
"""Where the shipped model lies."""


@dataclass(frozen=True)
class Folder:
    """What a model's folder says of itself; `revision` is the SHA-256 over weights, config, tokenizer, card, labels."""

    labels: tuple[str, ...]
    revision: str
    masks: bool
    max_length: int | None
    card: CardFile


def inspect_folder(folder: Path, labels: tuple[str, ...] | None) -> Folder:
    """Look at a model without loading it.

    Parameters
    ----------
    folder : Path
    labels : tuple of str, optional
        Class of each output as the user declares it; else the card's, else config.json's when it leaves no doubt.

    Raises
    ------
    InputError
        Pickled weights only, code of its own, an adapter, a missing part, labels in doubt or of another number, a card
        that is wrong.
    """
    files = model_files(folder)
    config = read_config(folder)
    outputs = _outputs(folder, config)
    card = read_card(folder)
    if labels is None:
        labels = card.labels or _labels_of(folder, outputs)
    if len(labels) != len(outputs):
        what = f"{len(labels)} labels for a model of {len(outputs)} outputs"
        raise InputError(what, where=folder, key="labels", value=",".join(labels), remedy=LABELS_REMEDY)
    if len(card.calibration.bias) not in (0, len(outputs)):
        what = f"not one number for each of the {len(outputs)} outputs"
        value = list(card.calibration.bias)
        raise InputError(what, where=folder / CARD_FILE, key="calibration.bias", value=value)
    masks, length = _own_keys(folder, config)
    digest = hashlib.sha256(marks(labels).encode())
    for path in files:
        digest.update(f"\n{path.name}\n".encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return Folder(labels, digest.hexdigest(), masks, card.max_length or length, card)


def _own_keys(folder: Path, config: dict[str, Any]) -> tuple[bool, int | None]:
    """What config.json says under the key ``tidegate``: whether texts are masked for it, and the tokens it reads."""
    own = config.get("tidegate", {})
    where = folder / "config.json"
    if not isinstance(own, dict) or not isinstance(own.get("masks", False), bool):
        remedy = 'Write "tidegate": {"masks": true, "max_length": 128}'
        raise InputError("not masks and max_length", where=where, key="tidegate", value=own, remedy=remedy)
    length = own.get("max_length")
    if length is not None and (not isinstance(length, int) or length < 1):
        raise InputError("not a number of tokens", where=where, key="tidegate.max_length", value=length)
    return own.get("masks", False), length


def model_files(folder: Path) -> list[Path]:
    """The files the model consists of, or an error that says which is missing or unsafe."""
    if (folder / "adapter_config.json").exists():
        remedy = "Merge the adapter into its base model and save that with safetensors"
        raise InputError("an adapter without its base model", where=folder, remedy=remedy)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = ", ".join(sorted(path.name for pattern in PICKLES for path in folder.glob(pattern)))
        what = f"only pickled weights ({pickles}), which can run code" if pickles else "no *.safetensors file"
        remedy = "Save the model with safetensors, which save_pretrained does by default"
        raise InputError(what, where=folder, key="model", remedy=remedy)
    config = folder / "config.json"
    if not config.is_file():
        raise InputError("no config.json", where=folder, key="model", remedy="Save the model and its config together")
    tokenizer = {path for pattern in TOKENIZER for path in folder.glob(pattern)}
    if not tokenizer:
        remedy = "Save it there: tokenizer.save_pretrained(folder)"
        raise InputError("no tokenizer", where=folder, key="model", remedy=remedy)
    return sorted({*weights, config, *tokenizer, *folder.glob("*.safetensors.index.json"), *folder.glob(CARD_FILE)})


def read_config(folder: Path) -> dict[str, Any]:
    """A model's config.json.

    Raises
    ------
    InputError
        It can't be read, or asks for code of its own.
    """
    path = folder / "config.json"
    config = read_object(path)
    if config.get("auto_map"):
        remedy = "Code that comes with a model is never run; use a model of a kind that transformers knows"
        raise InputError("needs code of its own", where=path, key="auto_map", value=config["auto_map"], remedy=remedy)
    return config


def _outputs(folder: Path, config: dict[str, Any]) -> list[str]:
    """Names of the model's outputs by index."""
    names = config.get("id2label")
    if names is None:  # transformers leaves them out when there are two, under these names
        return [f"LABEL_{index}" for index in range(int(config.get("num_labels", 2)))]
    try:
        by_index = {int(index): str(name) for index, name in names.items()}
        return [by_index[index] for index in range(len(by_index))]
    except (AttributeError, ValueError, KeyError):
        where = folder / "config.json"
        raise InputError("not a map of 0, 1, … to names", where=where, key="id2label", value=names) from None


def _labels_of(folder: Path, outputs: list[str]) -> tuple[str, ...]:
    found = tuple(MEANING.get(name.strip().lower(), "") for name in outputs)
    if "" in found or BEARISH not in found or BULLISH not in found or len(set(found)) != len(found):
        raise InputError(
            "it isn't clear which outputs are bearish, neutral and bullish",
            where=folder / "config.json",
            key="id2label",
            value=", ".join(outputs),
            remedy=LABELS_REMEDY,
        )
    return found
