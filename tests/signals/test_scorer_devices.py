"""What holds on every device: run on the CPU always, and on a GPU with `-m gpu` where there is one.

What a GPU does differently (answers fetched together, half precision, smaller batches when memory runs out) is tested
on the CPU too, by switching it on there.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.score_texts import texts
from signals import device as signals_device
from signals import transformer
from signals.models import ModelCard, resolve
from signals.scorer import Compute, open_scorer
from tests.signals.tiny_bert import write_tiny_int8

TEXTS = [*texts("posts", 150), "", *texts("headlines", 100), "\u200b", *texts("articles", 6), "moon"]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def compute(request: pytest.FixtureRequest) -> Compute:
    """Exact numbers on the device."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return Compute(device=request.param, dtype="fp32")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    told: dict[str, object] = {"calibration": {"temperature": 1.5, "bias": [0.1, -0.2, 0.0]}}
    return resolve(str(write_tiny_int8(tmp_path_factory.mktemp("models") / "tiny", card=told)))


def score_of(rows: Any) -> Any:
    return rows[:, 2] - rows[:, 0]


def test_scores_are_the_cpus(card: ModelCard, compute: Compute) -> None:
    expected = open_scorer(card, Compute("cpu", dtype="fp32", batch_tokens=1)).score(TEXTS)
    rows = open_scorer(card, compute).score(TEXTS)
    assert np.allclose(rows, expected, atol=1e-3, equal_nan=True)
    empty = [at for at, text in enumerate(TEXTS) if not text.strip("\u200b")]
    assert np.flatnonzero(np.isnan(rows).any(axis=1)).tolist() == empty


@pytest.mark.parametrize("batch_tokens", [1, 100, 100_000])
def test_a_score_does_not_depend_on_its_batch(card: ModelCard, compute: Compute, batch_tokens: int) -> None:
    expected = open_scorer(card, compute).score(TEXTS)
    order = np.random.default_rng(3).permutation(len(TEXTS))
    rows = open_scorer(card, replace(compute, batch_tokens=batch_tokens)).score([TEXTS[at] for at in order])
    assert np.allclose(rows, expected[order], atol=1e-3, equal_nan=True)


def test_half_precision_changes_few_labels(card: ModelCard, compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals_device, "has_bf16_instructions", lambda: True)  # torch emulates it elsewhere
    many = texts("posts", 1200)
    exact = open_scorer(card, compute).score(many)
    dtype = "bf16" if compute.device == "cpu" else "auto"
    halves = [open_scorer(card, replace(compute, dtype=dtype, batch_tokens=budget)).score(many) for budget in (0, 300)]
    for half in halves:
        assert np.abs(score_of(half) - score_of(exact)).mean() < 0.03  # random weights magnify it
    between = (halves[0].argmax(axis=1) != halves[1].argmax(axis=1)).mean()
    assert between < 0.005  # by batch


def test_the_shipped_model_in_half_precision(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals_device, "has_bf16_instructions", lambda: True)
    shipped, many = resolve("tidegate-mini"), [*texts("posts", 300), *texts("headlines", 300)]
    exact = open_scorer(shipped, compute).score(many).argmax(axis=1)
    dtype = "bf16" if compute.device == "cpu" else "auto"
    for budget in (0, 300):
        half = open_scorer(shipped, replace(compute, dtype=dtype, batch_tokens=budget)).score(many).argmax(axis=1)
        assert (half != exact).mean() < 0.005


def test_smaller_batches_after_memory_ran_out(
    card: ModelCard, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer: Any = open_scorer(card, compute)
    expected = scorer.score(TEXTS)
    forward, tried = scorer._forward, []

    def small(ids: list[list[int]]) -> Any:
        tried.append(len(ids) * len(ids[0]))
        if tried[-1] > 200:
            raise RuntimeError("CUDA out of memory")
        return forward(ids)

    monkeypatch.setattr(scorer, "_forward", small)
    assert np.allclose(scorer.score(TEXTS), expected, atol=1e-3, equal_nan=True)
    tried.clear()
    scorer.score(TEXTS)
    assert max(tried) <= 200  # it has learnt


@pytest.mark.parametrize("together", [50, 4096])
def test_answers_fetched_together_are_the_same(card: ModelCard, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: one wait for the texts that were tokenised together, whatever the number of batches."""
    import torch

    monkeypatch.setattr(transformer, "TOKENISE_AT_ONCE", together)
    scorer: Any = open_scorer(card, Compute("cpu", dtype="fp32", batch_tokens=100))
    expected = scorer.score(TEXTS)
    scorer._later = True
    waits, whole = [], torch.Tensor.cpu

    def counted(tensor: Any) -> Any:
        waits.append(len(tensor))
        return whole(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    assert np.allclose(scorer.score(TEXTS), expected, atol=1e-6, equal_nan=True)
    assert len(waits) == -(-len(TEXTS) // together)


def test_the_next_texts_are_tokenised_meanwhile(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first texts are computed, the second ones are tokenised: each waits for the other here."""
    monkeypatch.setattr(transformer, "TOKENISE_AT_ONCE", 10)
    scorer: Any = open_scorer(card, Compute("cpu", dtype="fp32"))
    tokenise, forward = scorer._tokenise, scorer._forward
    second = threading.Event()
    calls: list[int] = []

    def noted(given: Sequence[str]) -> Any:
        calls.append(threading.get_ident())
        if len(calls) == 2:
            second.set()
        return tokenise(given)

    def waits(ids: list[list[int]]) -> Any:
        assert second.wait(timeout=20)
        return forward(ids)

    monkeypatch.setattr(scorer, "_tokenise", noted)
    monkeypatch.setattr(scorer, "_forward", waits)
    assert np.isfinite(scorer.score(texts("posts", 20))).all()
    assert len(calls) == 2 and threading.get_ident() not in calls


def test_a_reader_that_stops_early_leaves_no_thread_behind(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "TOKENISE_AT_ONCE", 5)
    batches = open_scorer(card, Compute("cpu", dtype="fp32")).batches(TEXTS)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tokenise")]


@pytest.mark.parametrize(
    ("gpu", "bf16", "asked", "got"),
    [
        (True, True, "auto", "bf16"),
        (True, False, "auto", "fp16"),
        (True, False, "fp16", "fp16"),
        (False, True, "auto", "bf16"),
        (False, False, "auto", "fp32"),
        (True, True, "fp32", "fp32"),
    ],
)
def test_auto_is_the_quick_format_of_the_device(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, gpu: bool, bf16: bool, asked: str, got: str
) -> None:
    import torch

    monkeypatch.setattr(signals_device, "pick_device", lambda wanted: torch.device("cuda" if gpu else "cpu"))
    monkeypatch.setattr(signals_device, "_has_bf16", lambda on_gpu: bf16)
    assert signals_device.settled_dtype(card, Compute(dtype=asked)) == got
    assert signals_device.settled_dtype(resolve("vader"), Compute(dtype=asked)) == "fp32"


def test_padding_is_masked_and_no_mask_is_made_without_it() -> None:
    tokens, mask = transformer.padded([[1, 2, 3], [4]], pad=9)
    assert tokens.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask is not None and mask.tolist() == [[True, True, True], [True, False, False]]
    assert transformer.padded([[1, 2], [3, 4]], pad=9)[1] is None


def test_the_path_of_the_card_is_not_needed_once_it_is_open(card: ModelCard, tmp_path: Path) -> None:
    moved = write_tiny_int8(tmp_path / "gone")
    scorer = open_scorer(resolve(str(moved)), Compute("cpu", dtype="fp32"))
    (moved / "model.safetensors").unlink()
    assert np.isfinite(scorer.score(["moon"])).all()
