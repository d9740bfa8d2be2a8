"""Texts a second: our scorer beside the naive transformers pipeline, same model, same texts, one run.

python -m benchmarks.scoring [--texts 512] [--layers 6] [--hidden 384] [--rounds 3] [--json]

The model is a randomly initialised BERT written to a temporary folder, so nothing is downloaded: its answers mean
nothing, its work is real. The contenders take turns, and the fastest of each one's rounds counts. The texts are posts
of the embedded sample, in normal form so that all read the same.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.sample import sample_tables
from signals.entities import Linker
from signals.models import ModelCard, resolve
from signals.scorer import open_scorer
from signals.text import normalise

LENGTH = 128
PIECES = "abcdefghijklmnopqrstuvwxyz0123456789$#@!?.,:'-%&()/"


def write_model(folder: Path, texts: Sequence[str], *, layers: int, hidden: int) -> Path:
    """A BERT of the given shape whose vocabulary is the texts' own words, saved with safetensors."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    words = sorted({word for text in texts for word in text.lower().split() if word.isalpha()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES, *(f"##{piece}" for piece in PIECES), *words]
    vocabulary = list(dict.fromkeys(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 32),
        intermediate_size=4 * hidden,
        max_position_embeddings=LENGTH,
        id2label={0: "negative", 1: "neutral", 2: "positive"},
        label2id={"negative": 0, "neutral": 1, "positive": 2},
        initializer_range=0.1,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    options = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")
    return folder


def naive(folder: Path, batch_size: int) -> Callable[[Sequence[str]], list[str]]:
    """The pipeline as its documentation shows it."""
    from transformers import pipeline

    classify: Any = pipeline("text-classification", model=str(folder), device="cpu", batch_size=batch_size)

    def run(texts: Sequence[str]) -> list[str]:
        return [row["label"] for row in classify(list(texts), truncation=True, max_length=LENGTH)]

    return run


def ours(card: ModelCard, dtype: str) -> Callable[[Sequence[str]], list[str]]:
    """Our scorer; gives the pipeline's label names so that answers can be compared."""
    scorer = open_scorer(card, device="cpu", dtype=dtype)
    names = np.array(["negative", "neutral", "positive"])

    def run(texts: Sequence[str]) -> list[str]:
        return [str(name) for name in names[scorer.score(texts).argmax(axis=1)]]

    return run


def contenders(folder: Path) -> dict[str, Callable[[Sequence[str]], list[str]]]:
    """All of them; bf16 only where the processor has it."""
    card = resolve(str(folder))
    found = {
        "pipeline, batch 1": naive(folder, 1),
        "pipeline, batch 32": naive(folder, 32),
        "ours, fp32": ours(card, "fp32"),
    }
    try:
        found["ours, bf16"] = ours(card, "bf16")
    except InputError as error:
        print(f"skipped ours, bf16: {error}")
    return found


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds and the result."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def measure(texts: Sequence[str], *, layers: int, hidden: int, rounds: int) -> list[dict[str, Any]]:
    """One row a contender: texts per second, ratio to the pipeline's better form, share of its labels."""
    with tempfile.TemporaryDirectory() as base:
        folder = write_model(Path(base) / "bert", texts, layers=layers, hidden=hidden)
        runs = contenders(folder)
        best = dict.fromkeys(runs, float("inf"))
        labels: dict[str, list[str]] = {}
        for _ in range(rounds):
            for name, run in runs.items():
                seconds, labels[name] = timed(lambda run=run: run(texts))  # type: ignore[misc]
                best[name] = min(best[name], seconds)
    naive_best = min(best["pipeline, batch 1"], best["pipeline, batch 32"])
    expected = labels["pipeline, batch 1"]
    return [
        {
            "what": name,
            "texts_per_second": len(texts) / seconds,
            "ratio": naive_best / seconds,
            "same_labels": float(np.mean([one == other for one, other in zip(labels[name], expected, strict=True)])),
        }
        for name, seconds in best.items()
    ]


def stages(texts: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Texts per second of what surrounds the model, and of the lexicon."""
    linker, lexicon = Linker(), open_scorer(resolve("vader"))
    work: dict[str, Callable[[], Any]] = {
        "normalise": lambda: [normalise(text) for text in texts],
        "normalise and link": lambda: linker.link_many(texts),
        "lexicon (vader)": lambda: lexicon.score(texts),
    }
    return [
        {"what": name, "texts_per_second": len(texts) / min(timed(run)[0] for _ in range(rounds))}
        for name, run in work.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    posts = sample_tables(7)["posts"]["text"].to_pylist()
    texts = [normalise(text) for text in posts[:: max(1, len(posts) // asked.texts)][: asked.texts]]
    rows = measure(texts, layers=asked.layers, hidden=asked.hidden, rounds=asked.rounds)
    rows += stages(posts[:20_000], asked.rounds)
    if asked.json:
        print(json.dumps(rows, indent=1))
        return
    length = np.mean([len(text) for text in texts])
    print(f"{len(texts)} posts of {length:.0f} characters, BERT of {asked.layers} layers of {asked.hidden}")
    for row in rows:
        ratio = f"{row['ratio']:6.1f} x   {row['same_labels']:6.1%} same labels" if "ratio" in row else ""
        print(f"{row['what']:<20} {row['texts_per_second']:>12,.0f} /s  {ratio}")


if __name__ == "__main__":
    main()
