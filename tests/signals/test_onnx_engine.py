"""The int8 engine: a clear error without its extra; with it, nearly the same answers, and what changed is said."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.score_texts import texts
from data.errors import InputError
from signals import onnx_engine
from signals.models import ModelCard, resolve
from signals.scorer import Compute, open_scorer
from tests.signals.tiny_bert import write_tiny_int8

INT8 = Compute(device="cpu", engine="onnx")
installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in onnx_engine.PARTS),
    reason="the extra tidegate[onnx] is not installed",
)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setenv("TIDEGATE_CACHE", str(tmp_path / "cache"))
    return resolve(str(write_tiny_int8(tmp_path / "tiny")))


def test_without_the_extra_it_says_what_to_install(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_engine, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        open_scorer(card, INT8)
    assert "not installed: onnxruntime, onnx, onnxscript" in str(caught.value)
    assert "pip install 'tidegate[onnx]'" in str(caught.value)


def test_it_runs_on_the_cpu_only(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_engine, "find_spec", lambda name: object())
    with pytest.raises(InputError, match="CPU only"):
        open_scorer(card, Compute(device="cuda", engine="onnx"))


@installed
@pytest.mark.filterwarnings("ignore")  # of the exporter's own
def test_int8_is_near_fp32_and_says_how_near(card: ModelCard) -> None:
    many = [*texts("posts", 300), "", *texts("articles", 3)]
    exact = open_scorer(card, Compute("cpu", dtype="fp32")).score(many)
    scorer: Any = open_scorer(card, INT8)
    rows = scorer.score(many)
    assert (np.isnan(rows) == np.isnan(exact)).all()
    both = np.isfinite(exact).all(axis=1)
    assert np.abs(rows[both] - exact[both]).max() < 0.5  # random weights magnify it
    assert (rows[both].argmax(axis=1) == exact[both].argmax(axis=1)).mean() > 0.9
    assert scorer.dtype == "int8"
    assert scorer.compared == onnx_engine.COMPARED
    assert f"{scorer.changed} of {onnx_engine.COMPARED} texts" in scorer.note
    alone = np.concatenate([scorer.score([text]) for text in many[:20]])
    assert (alone.argmax(axis=1) == rows[:20].argmax(axis=1)).mean() >= 0.7  # activations are scaled by batch


@installed
@pytest.mark.filterwarnings("ignore")
def test_the_export_is_made_once(card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_scorer(card, INT8)
    files = list((tmp_path / "cache" / "onnx").iterdir())
    assert len(files) == 1
    monkeypatch.setattr(onnx_engine, "_export", lambda net, file: pytest.fail("exported again"))
    open_scorer(card, INT8)


@installed
def test_what_can_not_be_exported_is_named(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(net: Any, file: Path) -> None:
        raise RuntimeError("unsupported operator")

    monkeypatch.setattr(onnx_engine, "_export", fails)
    with pytest.raises(InputError, match="tiny can't be exported: unsupported operator"):
        open_scorer(card, INT8)
