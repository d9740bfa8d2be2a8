"""BERT for sequence classification in plain torch: what the embedded model and FinBERT are.

The same numbers as `transformers.BertForSequenceClassification`, with less work: the last layer computes its answer for
the first token only, which is all the head looks at (a quarter of all multiplications in a model of three layers), the
three projections of attention are one multiplication, and opening it doesn't import transformers (three seconds).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

ACTIVATIONS: Final = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_HEAD: Final = ("bert.pooler.dense", "classifier")
_NORMS: Final = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # names of old checkpoints


def is_plain_bert(config: Mapping[str, Any]) -> bool:
    """Whether a model with this config.json is what this file computes."""
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act", "gelu") in ACTIVATIONS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
        and not config.get("add_cross_attention", False)
    )


def renamed(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under today's names."""
    found = {}
    for name, tensor in weights.items():
        for old, new in _NORMS.items():
            name = name.replace(old, new)
        found[name] = tensor
    return found


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every weight that is used, with its shape."""
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (int(config["vocab_size"]), hidden),
        "bert.embeddings.position_embeddings.weight": (int(config["max_position_embeddings"]), hidden),
        "bert.embeddings.token_type_embeddings.weight": (int(config.get("type_vocab_size", 2)), hidden),
    }

    def norm(name: str) -> None:
        shapes[f"{name}.LayerNorm.weight"] = shapes[f"{name}.LayerNorm.bias"] = (hidden,)

    def linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)

    norm("bert.embeddings")
    for number in range(int(config["num_hidden_layers"])):
        layer = f"bert.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", hidden, hidden)
        linear(f"{layer}.attention.output.dense", hidden, hidden)
        norm(f"{layer}.attention.output")
        linear(f"{layer}.intermediate.dense", inner, hidden)
        linear(f"{layer}.output.dense", hidden, inner)
        norm(f"{layer}.output")
    linear(_HEAD[0], hidden, hidden)
    linear(_HEAD[1], _outputs(config), hidden)
    return shapes


def _outputs(config: Mapping[str, Any]) -> int:
    names = config.get("id2label")
    return len(names) if names else int(config.get("num_labels", 2))


Pair = tuple["torch.Tensor", "torch.Tensor"]
"""A weight and its bias."""


class Linear:
    """A linear layer; in fp32 on a CPU by oneDNN, whose products are 2.6 times as fast as MKL's on AMD (measured)."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        import torch

        self._torch = torch
        self._weight, self._bias = weight, bias
        self._packed = None
        here = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        onednn = here and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        if onednn and weight.device.type == "cpu" and weight.dtype == torch.float32:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """The layer's outputs."""
        if self._packed is None or self._torch.compiler.is_compiling():  # an export wants the plain form
            return self._torch.nn.functional.linear(states, self._weight, self._bias)
        answer: torch.Tensor = self._torch.ops.mkldnn._linear_pointwise(
            states, self._packed, self._bias, "none", [], "none"
        )
        return answer


@dataclass(frozen=True)
class _Layer:
    """Weights of one layer; `all_three` is query, key and value one below the other, the two after it are parts."""

    all_three: Linear
    query: Linear
    key_and_value: Linear
    mixed: Linear
    mixed_norm: Pair
    widen: Linear
    narrow: Linear
    narrow_norm: Pair


def _pair(weights: Mapping[str, torch.Tensor], name: str) -> Pair:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _layer(weights: Mapping[str, torch.Tensor], number: int) -> _Layer:
    import torch

    name = f"bert.encoder.layer.{number}"
    parts = [_pair(weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
    matrix, bias = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    hidden = matrix.shape[1]
    return _Layer(
        all_three=Linear(matrix, bias),
        query=Linear(matrix[:hidden], bias[:hidden]),
        key_and_value=Linear(matrix[hidden:], bias[hidden:]),
        mixed=Linear(*_pair(weights, f"{name}.attention.output.dense")),
        mixed_norm=_pair(weights, f"{name}.attention.output.LayerNorm"),
        widen=Linear(*_pair(weights, f"{name}.intermediate.dense")),
        narrow=Linear(*_pair(weights, f"{name}.output.dense")),
        narrow_norm=_pair(weights, f"{name}.output.LayerNorm"),
    )


class Bert:
    """The network on a device.

    Parameters
    ----------
    config : mapping
        config.json.
    weights : mapping of str to tensor
        At least what `expected_shapes` names, in those shapes.
    device : torch.device
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], device: torch.device) -> None:
        import torch

        self._torch = torch
        self.outputs = _outputs(config)
        self.vocabulary = int(config["vocab_size"])
        self.positions = int(config["max_position_embeddings"])
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._approximate = ACTIVATIONS[config.get("hidden_act", "gelu")]
        own = {name: weights[name].to(device) for name in expected_shapes(config)}
        self._words = own["bert.embeddings.word_embeddings.weight"]
        # Every text is one segment, so its embedding goes into that of the positions.
        kinds = own["bert.embeddings.token_type_embeddings.weight"][0]
        self._places = own["bert.embeddings.position_embeddings.weight"] + kinds
        self._first_norm = _pair(own, "bert.embeddings.LayerNorm")
        self._layers = [_layer(own, number) for number in range(int(config["num_hidden_layers"]))]
        self._pool, self._head = Linear(*_pair(own, _HEAD[0])), Linear(*_pair(own, _HEAD[1]))

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Logits of shape (texts, outputs).

        Parameters
        ----------
        tokens : int64 tensor of shape (texts, length)
        mask : bool tensor of that shape, or None
            True where there is a token; None when all texts are of that length.
        """
        seen = None if mask is None else mask[:, None, None, :]
        states = self._words[tokens] + self._places[: tokens.shape[1]]
        states = self._norm(states, self._first_norm)
        for layer in self._layers[:-1]:
            states = self._attend(layer, states, seen, states)
        first = self._attend(self._layers[-1], states, seen, states[:, :1].contiguous())[:, 0].contiguous()
        return self._head(self._torch.tanh(self._pool(first)))

    def _attend(
        self, layer: _Layer, states: torch.Tensor, seen: torch.Tensor | None, asking: torch.Tensor
    ) -> torch.Tensor:
        """One layer: what the tokens `asking`, which stand first in `states` or are all of it, make of all tokens."""
        functional = self._torch.nn.functional
        texts, length, _ = states.shape

        def by_head(part: torch.Tensor) -> torch.Tensor:
            return part.view(texts, -1, self._heads, part.shape[-1] // self._heads).transpose(1, 2)

        if asking is states:
            asked, keys, values = layer.all_three(states).chunk(3, dim=-1)
        else:
            asked = layer.query(asking)
            keys, values = layer.key_and_value(states).chunk(2, dim=-1)
        shape = None if seen is None else seen.expand(texts, 1, asking.shape[1], length)
        mixed = functional.scaled_dot_product_attention(by_head(asked), by_head(keys), by_head(values), attn_mask=shape)
        mixed = mixed.transpose(1, 2).reshape(asking.shape)
        middle = self._norm(layer.mixed(mixed) + asking, layer.mixed_norm)
        inner = functional.gelu(layer.widen(middle), approximate=self._approximate)
        return self._norm(layer.narrow(inner) + middle, layer.narrow_norm)

    def _norm(self, states: torch.Tensor, pair: Pair) -> torch.Tensor:
        normed: torch.Tensor = self._torch.nn.functional.layer_norm(states, pair[0].shape, *pair, self._epsilon)
        return normed
