"""Opening models: int8 weights, cards with calibration, other architectures, one path for the embedded and the rest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from signals import folders, models
from signals.card_file import Calibration, read_card
from signals.models import resolve
from signals.scorer import Compute, open_scorer
from signals.weights_file import read_weights
from tests.signals.tiny_bert import PIECES, WORDS, write_tiny_bert, write_tiny_int8

CPU = Compute(device="cpu", dtype="fp32")
TEXTS = ["bitcoin is up", "the market crash is very bad", "buy now", "moon", "price down and not good"]


def logits_of(rows: Any) -> Any:
    """Logits up to a constant, from probabilities."""
    return np.log(rows.astype(float))


def test_int8_by_row_is_what_its_floats_are(tmp_path: Path) -> None:
    import torch

    plain = write_tiny_bert(tmp_path / "plain", ("bearish", "neutral", "bullish"))
    packed = write_tiny_int8(tmp_path / "packed")
    exact, near = read_weights(plain, torch.float32), read_weights(packed, torch.float32)
    assert exact.keys() == near.keys()
    for name, tensor in exact.items():
        step = tensor.abs().amax(dim=-1, keepdim=True) / 127 if tensor.dim() == 2 else 0.0
        assert bool(((tensor - near[name]).abs() <= 0.5001 * step + 1e-9).all()), name
    one, other = (open_scorer(resolve(str(folder)), CPU).score(TEXTS) for folder in (plain, packed))
    assert np.abs(one - other).max() < 0.05
    assert (packed / "model.safetensors").stat().st_size < 0.5 * (plain / "model.safetensors").stat().st_size


def test_the_tokenizer_file_gives_what_transformers_gives(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = write_tiny_int8(tmp_path / "packed")
    scorer: Any = open_scorer(resolve(str(folder)), CPU)
    expected = AutoTokenizer.from_pretrained(folder)(TEXTS, truncation=True, max_length=32)["input_ids"]
    assert [windows[0] for windows in scorer._tokenise(TEXTS)] == expected


def test_a_card_says_what_is_known(tmp_path: Path) -> None:
    told = {
        "calibration": {"temperature": 2.0, "bias": [0.5, -1.0, 0.0]},
        "thresholds": {"social": [-0.2, 0.3]},
        "known_failures": ["sarcasm"],
        "max_length": 16,
    }
    folder = write_tiny_int8(tmp_path / "packed", card=told)
    card = resolve(str(folder))
    assert (card.cutoff_text, card.licence, card.masks, card.max_length) == ("2024-03-31", "Apache-2.0", True, 16)
    assert card.calibration == Calibration(2.0, (0.5, -1.0, 0.0))
    assert card.thresholds == {"social": (-0.2, 0.3)}
    assert card.about == {"known_failures": ["sarcasm"]}
    assert card.notice == ""
    (folder / "card.json").unlink()
    bare = resolve(str(folder))
    assert (bare.cutoff, bare.max_length, bare.calibration, bare.pinned != card.pinned) == (
        None,
        32,
        Calibration(),
        True,
    )


def test_probabilities_are_calibrated(tmp_path: Path) -> None:
    bias, temperature = np.array([0.5, -1.0, 0.25]), 2.5
    plain = write_tiny_int8(tmp_path / "plain")
    told = {"calibration": {"temperature": temperature, "bias": bias.tolist()}}
    tempered = write_tiny_int8(tmp_path / "tempered", card=told)
    logits = logits_of(open_scorer(resolve(str(plain)), CPU).score(TEXTS))
    scaled = np.exp((logits + bias) / temperature)
    expected = scaled / scaled.sum(axis=1, keepdims=True)
    assert np.allclose(open_scorer(resolve(str(tempered)), CPU).score(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ({"cutoff": "lately"}, "cutoff"),
        ({"max_length": 0}, "max_length"),
        ({"calibration": {"temperature": 0}}, "calibration.temperature"),
        ({"calibration": {"bias": ["a"]}}, "calibration.bias"),
        ({"calibration": {"bias": [1.0]}}, "calibration.bias"),
        ({"calibration": 3}, "calibration"),
        ({"thresholds": {"news": [0.5, 0.1]}}, "thresholds.news"),
        ({"thresholds": {"news": [0.5]}}, "thresholds.news"),
        ({"labels": ["up", "down", "flat"]}, "labels"),
        ({"labels": "bearish"}, "labels"),
        ({"licence": 7}, "licence"),
    ],
)
def test_a_wrong_card_is_named(tmp_path: Path, told: dict[str, object], key: str) -> None:
    folder = write_tiny_int8(tmp_path / "packed", card=told)
    with pytest.raises(InputError) as caught:
        resolve(str(folder))
    assert key in str(caught.value)


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    for text in ("{", "[]", "\udcff"):
        (tmp_path / "card.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match="card.json"):
            read_card(tmp_path)


@pytest.mark.parametrize("own", [3, {"masks": "yes"}, {"max_length": 0}])
def test_wrong_keys_of_ours_in_a_config_are_named(tmp_path: Path, own: object) -> None:
    folder = write_tiny_bert(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "tidegate": own}), encoding="utf-8")
    with pytest.raises(InputError, match="tidegate"):
        resolve(str(folder))


def test_int8_without_its_scale_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_tiny_int8(tmp_path / "packed")
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight.scale"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"classifier\.weight is stored as int8 without one scale a row"):
        open_scorer(resolve(str(folder)), CPU)


def test_the_embedded_model_is_a_folder_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = write_tiny_int8(tmp_path / "weights")
    monkeypatch.setattr(models, "EMBEDDED", shipped)
    models.registry.cache_clear()
    try:
        card = resolve("tidegate-mini")
        assert (card.name, card.masks, card.english, card.folder) == ("tidegate-mini", True, True, shipped)
        assert card.pinned == resolve(str(shipped)).pinned
        assert resolve(f"tidegate-mini@{card.pinned}") == card
        with pytest.raises(InputError, match="another version is shipped"):
            resolve("tidegate-mini@" + "0" * 64)
        with pytest.raises(InputError, match="the labels of tidegate-mini are"):
            resolve("tidegate-mini", labels="bullish,neutral,bearish")
        assert np.isfinite(open_scorer(card, CPU).score(TEXTS)).all()
    finally:
        monkeypatch.undo()
        models.registry.cache_clear()
    assert folders.EMBEDDED == models.EMBEDDED


def write_other(folder: Path, kind: str) -> Path:
    """A tiny RoBERTa or DistilBERT with the tiny BERT's tokenizer."""
    import torch
    from transformers import (
        DistilBertConfig,
        DistilBertForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    write_tiny_bert(folder)
    size = len(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES, *WORDS])
    names = {0: "negative", 1: "neutral", 2: "positive"}
    common: dict[str, Any] = {"vocab_size": size, "pad_token_id": 0, "id2label": names, "initializer_range": 0.6}
    torch.manual_seed(1)
    if kind == "roberta":
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        model: Any = RobertaForSequenceClassification(RobertaConfig(**common, **shape, max_position_embeddings=66))
    else:
        shape = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
        model = DistilBertForSequenceClassification(DistilBertConfig(**common, **shape, max_position_embeddings=64))
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_other_architectures_go_through_transformers(tmp_path: Path, kind: str) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = write_other(tmp_path / kind, kind)
    scorer = open_scorer(resolve(str(folder)), CPU)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(
        TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False
    )
    with torch.no_grad():
        expected = model(**inputs).logits.softmax(-1).numpy()
    assert np.allclose(scorer.score(TEXTS), expected, atol=1e-5)
    alone = np.concatenate([scorer.score([text]) for text in TEXTS])
    assert np.allclose(alone, expected, atol=1e-5)


def test_an_architecture_that_classifies_nothing_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit"}), encoding="utf-8")
    with pytest.raises(InputError, match="the model can't be loaded"):
        open_scorer(resolve(str(folder), labels="bearish,neutral,bullish"), CPU)


def test_long_texts_by_their_lead_or_by_their_windows(tmp_path: Path) -> None:
    folder = write_tiny_int8(tmp_path / "packed")  # reads 32 tokens: 30 words
    card = resolve(str(folder))
    first, second = "good " * 30, "crash " * 15
    lead, windows = open_scorer(card, CPU), open_scorer(card, Compute("cpu", dtype="fp32", long="windows"))
    one, other = lead.score([first, second])
    long = first + second
    assert np.allclose(lead.score([long])[0], one, atol=1e-6)
    expected = (32 * one + 17 * other) / 49  # weighted by tokens, the two special ones with them
    assert np.allclose(windows.score([long, second, ""])[:2], [expected, other], atol=1e-6)
    assert np.isnan(windows.score([long, ""])[1]).all()
    book = windows.score(["good " * 10_000])
    assert np.allclose(book[0], one, atol=1e-6)  # sixteen windows of it, all alike


def test_a_hub_model_goes_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files at the pinned commit, safe ones only, looked at and opened like a folder's."""
    import huggingface_hub

    folder = write_tiny_int8(tmp_path / "snapshot")
    asked: dict[str, Any] = {}

    def fetched(name: str, **options: Any) -> str:
        asked.update(name=name, **options)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    card = resolve(f"some/model@{'ab' * 20}", labels="bearish,neutral,bullish")
    rows = open_scorer(card, CPU).score(TEXTS)
    assert np.allclose(rows, open_scorer(resolve(str(folder)), CPU).score(TEXTS), atol=1e-6)
    assert (asked["name"], asked["revision"], asked["local_files_only"]) == ("some/model", "ab" * 20, True)
    assert not [pattern for pattern in asked["allow_patterns"] if pattern.endswith((".bin", ".pt", ".py"))]
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="only pickled weights"):
        open_scorer(card, CPU)
