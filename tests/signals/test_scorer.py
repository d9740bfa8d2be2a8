"""Scorers: probabilities that add up, don't depend on the batch, and are missing rather than wrong."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import InputError, WorkError
from signals import device as signals_device
from signals import transformer
from signals.models import ModelCard, resolve
from signals.scorer import Compute, Scorer, open_scorer
from tests.signals.tiny_bert import write_tiny_bert

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = [
    "bitcoin is up",
    "the market crash is very bad",
    "buy now",
    "",
    "we sell all of it today, crypto is not good " * 20,
    "moon",
    "<p>bitcoin &amp; ethereum</p>",
    "\u200b",
    "price down",
]
EMPTY = [3, 7]
CPU = Compute(device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def card(folder: Path) -> ModelCard:
    return resolve(str(folder))


@pytest.fixture(scope="module")
def tiny(card: ModelCard) -> Scorer:
    return open_scorer(card, CPU)


def test_importing_the_scorer_loads_nothing_heavy() -> None:
    code = (
        "import sys, signals.scorer, signals.scoring, signals.models, signals.entities\n"
        "from signals.models import resolve; resolve('vader')\n"
        "print([m for m in ('torch', 'transformers', 'vaderSentiment', 'ahocorasick') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# ---- the lexicon -----------------------------------------------------------------------------------------------------


def test_the_lexicon_spreads_its_score_over_three_classes() -> None:
    scorer = open_scorer(resolve("vader"))
    rows = scorer.score(
        ["what a great win, love it", "horrible crash, total disaster", "the node is online", "", "\x00"]
    )
    assert rows.dtype == np.float32
    assert rows.shape == (5, 3)
    assert np.allclose(rows[:3].sum(axis=1), 1.0, atol=1e-6)
    score = rows[:, 2] - rows[:, 0]
    assert score[0] > 0.5
    assert score[1] < -0.5
    assert score[2] == 0.0
    assert np.isnan(rows[3:]).all()
    assert (rows[0, 0], rows[1, 2]) == (0.0, 0.0)


def test_the_lexicon_gives_the_packages_compound_score() -> None:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    texts = ["bitcoin is GREAT!!!", "not good at all 😡", "meh"]
    rows = open_scorer(resolve("vader")).score(texts).astype(float)
    expected = [SentimentIntensityAnalyzer().polarity_scores(text)["compound"] for text in texts]
    assert np.allclose(rows[:, 2] - rows[:, 0], expected, atol=1e-6)


def test_the_lexicon_reads_a_book_no_further_than_its_length() -> None:
    scorer = open_scorer(resolve("vader"))
    rows = scorer.score(["good " * 300_000, "the " * 511 + "good", "the " * 512 + "good"])
    assert rows[0, 2] > 0.9
    assert rows[1, 2] > 0.0
    assert rows[2, 2] == 0.0


def test_the_lexicon_runs_on_the_cpu_only() -> None:
    with pytest.raises(InputError, match="device = 'cuda'"):
        open_scorer(resolve("vader"), Compute(device="cuda"))


# ---- the transformer -------------------------------------------------------------------------------------------------


def test_probabilities_add_up_in_order_and_empty_texts_have_none(tiny: Scorer) -> None:
    rows = tiny.score(TEXTS)
    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), 3)
    assert np.isnan(rows[EMPTY]).all()
    filled = np.delete(rows, EMPTY, axis=0)
    assert np.allclose(filled.sum(axis=1), 1.0, atol=1e-6)
    assert len(np.unique(filled.round(5), axis=0)) == len(filled)
    assert tiny.score([]).shape == (0, 3)
    assert (tiny.device, tiny.dtype) == ("cpu", "fp32")


def test_a_score_is_what_transformers_itself_says(tiny: Scorer, folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        outputs = model(**tokenizer(["bitcoin is up"], return_tensors="pt")).logits.softmax(-1).numpy()
    assert np.allclose(tiny.score(["bitcoin is up"]), outputs, atol=1e-6)


@pytest.mark.parametrize("batch_tokens", [1, 40, 100_000])
def test_a_score_does_not_depend_on_its_batch(card: ModelCard, tiny: Scorer, batch_tokens: int) -> None:
    alone = np.concatenate([tiny.score([text]) for text in TEXTS])
    together = open_scorer(card, replace(CPU, batch_tokens=batch_tokens)).score(TEXTS)
    backwards = tiny.score(TEXTS[::-1])[::-1]
    assert np.allclose(alone, together, atol=1e-3, equal_nan=True)
    assert np.allclose(alone, backwards, atol=1e-3, equal_nan=True)


def test_batches_keep_to_their_budget_and_waste_little(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer: Any = open_scorer(card, replace(CPU, batch_tokens=64))
    sizes: list[tuple[int, int]] = []
    forward = scorer._forward

    def spy(ids: list[list[int]]) -> Any:
        sizes.append((len(ids) * max(map(len, ids)), sum(map(len, ids))))
        return forward(ids)

    monkeypatch.setattr(scorer, "_forward", spy)
    texts = [("bitcoin " * (1 + at % 12)).strip() for at in range(100)]
    assert np.isfinite(scorer.score(texts)).all()
    assert max(padded for padded, _ in sizes) <= 64
    assert sum(used for _, used in sizes) / sum(padded for padded, _ in sizes) > 0.9


def test_more_texts_than_are_tokenised_at_once(tiny: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tiny.score(TEXTS)
    monkeypatch.setattr(transformer, "TOKENISE_AT_ONCE", 2)
    assert np.allclose(tiny.score(TEXTS), expected, atol=1e-3, equal_nan=True)


def test_an_output_that_is_not_finite_is_a_missing_score(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    scorer: Any = open_scorer(card, CPU)
    net = scorer._net
    moon = scorer._tokenise(["moon"])[0][0][1]

    def poisoned(tokens: Any, mask: Any) -> Any:
        logits = net(tokens, mask)
        logits[(tokens == moon).any(dim=1), 1] = torch.nan
        return logits

    scorer._net = poisoned
    rows = scorer.score(["moon", "bitcoin", "buy"])
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1:]).all()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_out_of_memory_halves_the_batch(card: ModelCard, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"bitcoin {word} now" for word in ("is", "up", "down", "good", "bad", "moon", "buy")]
    scorer: Any = open_scorer(card, CPU)
    expected = scorer.score(texts)
    forward = scorer._forward
    tried: list[int] = []

    def small_memory(ids: list[list[int]]) -> Any:
        tried.append(len(ids))
        if len(ids) > 3:
            raise error
        return forward(ids)

    monkeypatch.setattr(scorer, "_forward", small_memory)
    assert np.allclose(scorer.score(texts), expected, atol=1e-3)
    assert tried == [7, 3, 4, 2, 2]
    tried.clear()
    assert np.allclose(scorer.score(texts), expected, atol=1e-3)
    assert tried == [2, 2, 2, 1]  # it has learnt


def test_one_text_too_many_for_the_memory_is_an_error(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer: Any = open_scorer(card, CPU)

    def no_memory(ids: Sequence[Sequence[int]]) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(scorer, "_forward", no_memory)
    with pytest.raises(WorkError, match="not enough memory on cpu for one text"):
        scorer.score(["bitcoin"])
    monkeypatch.setattr(scorer, "_forward", lambda ids: (_ for _ in ()).throw(RuntimeError("other")))
    with pytest.raises(RuntimeError, match="other"):
        scorer.score(["bitcoin"])


def test_labels_move_columns_and_add_up(folder: Path, tiny: Scorer) -> None:
    plain = tiny.score(["bitcoin is up"])[0]
    turned = open_scorer(resolve(str(folder), labels="bullish,neutral,bearish"), CPU).score(["bitcoin is up"])[0]
    assert np.allclose(turned, plain[::-1], atol=1e-6)
    merged = open_scorer(resolve(str(folder), labels="bearish,bearish,bullish"), CPU).score(["bitcoin is up"])[0]
    assert np.allclose(merged, [plain[0] + plain[1], 0.0, plain[2]], atol=1e-6)


def test_hostile_texts_are_scored_or_missing(tiny: Scorer) -> None:
    texts = ["\ud800", "\x00", "🚀" * 5000, "x" * 10_000_000, "\u202e" * 9, "<b>", "[MASK] [SEP] [PAD]", "比特币"]
    rows = tiny.score(texts)
    given = np.isfinite(rows).all(axis=1)
    assert given.tolist() == [False, False, True, True, False, False, True, True]
    assert np.allclose(rows[given].sum(axis=1), 1.0, atol=1e-5)


def test_bf16_only_where_the_processor_has_it(card: ModelCard, tiny: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals_device, "has_bf16_instructions", lambda: False)
    with pytest.raises(InputError, match="bf16"):
        open_scorer(card, replace(CPU, dtype="bf16"))
    monkeypatch.setattr(signals_device, "has_bf16_instructions", lambda: True)  # torch emulates it elsewhere
    scorer = open_scorer(card, replace(CPU, dtype="bf16"))
    assert scorer.dtype == "bf16"
    assert np.allclose(scorer.score(TEXTS), tiny.score(TEXTS), atol=0.1, equal_nan=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "abacus"}, "device = 'abacus': no such device"),
        ({"device": "mps"}, "no such device"),
        ({"device": "cuda:77"}, "device = 'cuda:77': not on this machine"),
        ({"dtype": "fp8"}, "dtype = 'fp8'"),
        ({"batch_tokens": -1}, "batch_tokens = -1"),
        ({"dtype": "fp16"}, "a CPU doesn't compute in fp16"),
        ({"engine": "abacus"}, "engine = 'abacus'"),
        ({"long": "all"}, "long = 'all'"),
    ],
)
def test_bad_options(card: ModelCard, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_scorer(card, replace(CPU, **options))


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_model_without_a_trained_head_would_answer_at_random(tmp_path: Path) -> None:
    bare = write_tiny_bert(tmp_path / "bare", head=False)
    card = resolve(str(bare), labels="bearish,neutral,bullish")
    with pytest.raises(InputError, match="weights are missing, so the model would answer at random") as caught:
        open_scorer(card, CPU)
    assert "classifier" in str(caught.value)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    pickled = write_tiny_bert(tmp_path / "pickled", safe=False)
    with pytest.raises(InputError, match="only pickled weights"):
        resolve(str(pickled))
    sneaked = write_tiny_bert(tmp_path / "sneaked")
    card = resolve(str(sneaked))
    (sneaked / "model.safetensors").rename(sneaked / "pytorch_model.bin")
    with pytest.raises(InputError, match="the model can't be loaded"):
        open_scorer(card, CPU)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    broken = write_tiny_bert(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="the model can't be loaded") as caught:
        open_scorer(resolve(str(broken)), CPU)
    assert str(broken) in str(caught.value)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    mixed = write_tiny_bert(tmp_path / "mixed")
    with (mixed / "vocab.txt").open("a", encoding="utf-8") as stream:
        stream.write("".join(f"extra{number}\n" for number in range(10)))
    with pytest.raises(InputError, match="the tokenizer has"):
        open_scorer(resolve(str(mixed)), CPU)


def test_offline_hub_models_say_what_to_do() -> None:
    with pytest.raises(InputError) as caught:
        open_scorer(resolve(f"finbert@{COMMIT}"), CPU)
    assert "HF_HUB_OFFLINE" in str(caught.value)
    assert f"ProsusAI/finbert@{COMMIT}" in str(caught.value)
