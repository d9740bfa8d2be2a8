"""The same models by ONNX Runtime, int8 per channel, on the CPU: the extra ``tidegate[onnx]``.

The network is exported once per model and revision, its weights quantised by row and its activations on the fly, and
kept in the cache folder (about the size of the embedded weights). int8 changes some labels: how many is measured on the
first texts of every run, against torch in fp32, and reported. Activations are scaled by batch, so that here, and only
here, a score depends a little on what else is in its batch.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from signals.models import ModelCard
from signals.open_model import Net
from signals.scorer import Compute, Probabilities
from signals.transformer import TransformerScorer

if TYPE_CHECKING:
    import torch

PARTS: Final = ("onnxruntime", "onnx", "onnxscript")
COMPARED: Final = 256
"""Texts whose labels are compared with those of torch in fp32."""

_EXPORT_VERSION: Final = 1


class OnnxNet:
    """A quantised network as a `signals.open_model.Net`; what torch hands over and takes back stays in memory."""

    def __init__(self, file: Path, net: Net) -> None:
        import onnxruntime
        import torch

        self._torch = torch
        self.outputs, self.vocabulary, self.positions = net.outputs, net.vocabulary, net.positions
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Logits of shape (texts, outputs)."""
        seen = self._torch.ones_like(tokens, dtype=self._torch.bool) if mask is None else mask
        logits = self._session.run(None, {"tokens": tokens.numpy(), "mask": seen.numpy()})[0]
        return self._torch.from_numpy(logits)


class OnnxScorer(TransformerScorer):
    """A `signals.transformer.TransformerScorer` whose network is the quantised one.

    Attributes
    ----------
    compared, changed : int
        Texts compared with torch in fp32 so far, and those whose most likely class differs.
    largest : float
        Largest difference of their scores p(bullish) - p(bearish).
    note : str
        The same in words.
    """

    def __init__(self, card: ModelCard, compute: Compute) -> None:
        absent = [name for name in PARTS if find_spec(name) is None]
        if absent:
            raise InputError(
                f"not installed: {', '.join(absent)}",
                key="engine",
                value="onnx",
                remedy="pip install 'tidegate[onnx]', or leave --engine out",
            )
        if compute.device not in ("auto", "cpu"):
            remedy = "Leave --device out, or use --engine torch"
            raise InputError("runs on the CPU only", key="engine", value="onnx", remedy=remedy)
        super().__init__(card, replace(compute, device="cpu", dtype="fp32", engine="torch"))
        self.dtype = "int8"
        self.compared = self.changed = 0
        self.largest = 0.0
        self._reference = self._net
        self._net = OnnxNet(quantised(card, self._net), self._reference)

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """See `signals.scorer.Scorer`; the first texts of all are compared with torch in fp32."""
        for positions, rows in super().batches(texts):
            if self.compared < COMPARED:
                self._compare([texts[at] for at in positions[: COMPARED - self.compared]], rows)
            yield positions, rows

    def _compare(self, texts: Sequence[str], rows: Probabilities) -> None:
        quick, self._net = self._net, self._reference
        try:
            exact = np.full_like(rows[: len(texts)], np.nan)
            for positions, found in super().batches(texts):
                exact[positions] = found
        finally:
            self._net = quick
        both = np.isfinite(exact[:, 0]) & np.isfinite(rows[: len(texts), 0])
        one, other = exact[both], rows[: len(texts)][both]
        self.compared += len(texts)
        self.changed += int((one.argmax(axis=1) != other.argmax(axis=1)).sum())
        if len(one):
            gaps = (one[:, 2] - one[:, 0]) - (other[:, 2] - other[:, 0])
            self.largest = max(self.largest, float(np.abs(gaps).max()))
        self.note = (
            f"int8 changed the label of {self.changed} of {self.compared} texts ({self.changed / self.compared:.1%}) "
            f"against fp32; scores differ by at most {self.largest:.3f}"
        )


def quantised(card: ModelCard, net: Net) -> Path:
    """The file of the quantised network; made when it isn't there.

    Raises
    ------
    InputError
        The architecture can't be exported, or the cache folder can't be written.
    """
    import onnxruntime
    import torch

    from data.cache import cache_root

    facts = (card.name, card.pinned, torch.__version__, onnxruntime.__version__, _EXPORT_VERSION)
    folder = cache_root() / "onnx"
    file = folder / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.onnx"
    if file.is_file():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as base:
            whole, small = Path(base) / "whole.onnx", Path(base) / "small.onnx"
            with _quiet():
                _export(net, whole)
                _quantise(whole, small)
            os.replace(small, file)
    except OSError as error:
        raise InputError(f"can't be written ({error.strerror})", where=folder, key="engine", value="onnx") from error
    except Exception as error:  # the exporter's own kinds of error are many, and all mean this
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = "Use --engine torch for this model"
        what = f"{card.name} can't be exported: {first}"
        raise InputError(what, key="engine", value="onnx", remedy=remedy) from error
    return file


def _export(net: Net, file: Path) -> None:
    """Write a network as ONNX, for any number of texts of any length."""
    import onnx
    import torch

    class Module(torch.nn.Module):
        def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return net(tokens, mask)

    tokens = torch.ones((2, 9), dtype=torch.int64)
    axes = {0: torch.export.Dim("texts", min=1, max=65_536), 1: torch.export.Dim("length", min=2, max=net.positions)}
    with torch.inference_mode(False), torch.no_grad():
        program: Any = torch.onnx.export(
            Module(),
            (tokens, torch.ones_like(tokens, dtype=torch.bool)),
            dynamo=True,
            dynamic_shapes=(axes, axes),
            input_names=["tokens", "mask"],
            output_names=["logits"],
            verbose=False,
        )
    model = program.model_proto
    del model.graph.value_info[:]  # shapes of before the exporter's own tidying, which the quantiser stumbles over
    onnx.save(model, str(file))


def _quantise(whole: Path, small: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(whole), str(small), per_channel=True, weight_type=QuantType.QInt8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's and the quantiser's own words off the terminal."""
    import logging
    import warnings

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
