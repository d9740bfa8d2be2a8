"""Opens a model, wherever it comes from: the embedded one, a local folder and a hub model go the same way.

Its files are looked at (`signals.folders`), its weights read and made floats (`signals.weights_file`); a BERT is
computed in plain torch (`signals.bert`), any other architecture by transformers, from the same weights. No code that
comes with a model is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from data.errors import InputError
from signals.bert import Bert, expected_shapes, is_plain_bert, renamed
from signals.folders import read_config
from signals.models import ModelCard
from signals.tokens import Tokeniser, open_backend
from signals.weights_file import cannot_load, local_folder, missing_weights, read_weights

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

# Their positions are counted from after the padding's.
_COUNTED_AFTER_PADDING: Final = ("roberta", "xlm-roberta", "camembert", "bertweet", "longformer", "mpnet")
# These take a mask that is ready for attention; from one that isn't, transformers asks the device whether it pads.
_READY_MASK: Final = ("roberta", "xlm-roberta", "camembert", "distilbert", "electra")


class Net(Protocol):
    """From token numbers (texts, length) and a mask of that shape (None: no padding) to logits (texts, outputs)."""

    outputs: int
    vocabulary: int
    positions: int

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Logits."""
        ...


@dataclass(frozen=True)
class OpenModel:
    """A model that is ready: network, tokeniser, and the token that fills up a batch (None: there is none)."""

    net: Net
    tokeniser: Tokeniser
    pad: int | None


class Other:
    """Any architecture that transformers knows, with a classification head."""

    def __init__(self, model: Any) -> None:
        self._model = model
        config = model.config
        self.outputs = int(config.num_labels)
        self.vocabulary = int(config.vocab_size)
        self.positions = int(getattr(config, "max_position_embeddings", 0) or 0)
        if config.model_type in _COUNTED_AFTER_PADDING:
            self.positions -= int(getattr(config, "pad_token_id", 1) or 0) + 1
        ready = config.model_type in _READY_MASK
        self._ready_mask = ready and getattr(config, "_attn_implementation", "") == "sdpa"

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Logits of shape (texts, outputs)."""
        if mask is not None and self._ready_mask:
            mask = mask[:, None, None, :].expand(-1, 1, tokens.shape[1], -1)
        elif mask is not None:
            mask = mask.long()
        logits: torch.Tensor = self._model(input_ids=tokens, attention_mask=mask).logits
        return logits


def open_model(card: ModelCard, device: torch.device, dtype: torch.dtype, long: str) -> OpenModel:
    """Network and tokeniser of a pinned card.

    Parameters
    ----------
    card : ModelCard
    device : torch.device
    dtype : torch.dtype
        What is computed in.
    long : str
        See `signals.tokens`.

    Raises
    ------
    InputError
        Not found, unsafe, damaged, without a trained classification head, or with another model's tokenizer.
    """
    folder = local_folder(card)
    config = read_config(folder)
    try:
        backend, allowed = open_backend(folder, config)
        weights = renamed(read_weights(folder, dtype))
    except InputError:
        raise
    except Exception as error:  # a damaged file: of safetensors, tokenizers or transformers, each with its own errors
        raise cannot_load(card, error) from error
    if is_plain_bert(config):
        net: Net = _plain(card, config, weights, device)
    else:
        net = _other(card, folder, weights, device, dtype)
    size = backend.get_vocab_size()
    if size > net.vocabulary:
        what = f"the tokenizer has {size} tokens, the model {net.vocabulary}"
        raise InputError(what, where=folder, key="model", remedy="Use the tokenizer the model was trained with")
    length = max(1, min(card.max_length, net.positions or card.max_length, allowed))
    return OpenModel(net, Tokeniser(backend, length, long), _pad(config, backend))


def _plain(card: ModelCard, config: Mapping[str, Any], weights: dict[str, torch.Tensor], device: torch.device) -> Bert:
    expected = expected_shapes(config)
    absent = [name for name, shape in expected.items() if name not in weights or tuple(weights[name].shape) != shape]
    if absent:
        raise missing_weights(card.folder or card.hub_id, card.name, sorted(absent, reverse=True))
    return Bert(config, weights, device)


def _other(
    card: ModelCard, folder: Path, weights: dict[str, torch.Tensor], device: torch.device, dtype: torch.dtype
) -> Other:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as KNOWN

    with _quiet():
        try:
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
            if type(config) not in KNOWN:
                raise ValueError(f"{config.model_type} is no architecture that transformers classifies texts with")
            kind: Any = KNOWN[type(config)]
            model, info = kind.from_pretrained(
                None, config=config, state_dict=weights, dtype=dtype, output_loading_info=True
            )
        except Exception as error:  # whatever transformers makes of a config and weights that don't fit
            raise cannot_load(card, error) from error
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if absent:
        raise missing_weights(folder, card.name, absent)
    return Other(model.to(device).eval())


def _pad(config: Mapping[str, Any], backend: Tokenizer) -> int | None:
    """The token that fills up a batch: the config's, else the tokenizer's own."""
    said = config.get("pad_token_id")
    if said is not None:
        return int(said)
    found = backend.token_to_id("[PAD]")
    return backend.token_to_id("<pad>") if found is None else found


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
