"""Our scorer beside `transformers.pipeline(batch_size=32)`: same model, same texts, one core each, taking turns.

python -m benchmarks.score [--texts N] [--rounds 3] [--onnx] [--quick] [--json]
python -m benchmarks.score --million [N]

Counted are processor seconds of one thread. The first form also gives the texts a second of every stage of `tidegate
score`, the share of the measured matrix-multiply rate, and a cold start on 100 posts. The second scores a million
made-up posts and watches the memory; a stand-in answers for the model there, whose own memory doesn't grow.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.score_memory import watch_memory
from benchmarks.score_models import model_folder
from benchmarks.score_stages import cold_start, matmul_share, stages
from benchmarks.score_texts import KINDS
from benchmarks.score_workers import ScoreWorker
from signals.device import has_bf16_instructions
from signals.models import EMBEDDED_MODEL

SHARES = {"posts": 1.0, "headlines": 1.0, "articles": 0.125}
"""Of the texts asked for, how many of each kind: an article is a dozen posts' work."""


def specs(folder: Path, asked: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What each contender opens."""
    length = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    found: dict[str, dict[str, Any]] = {
        "pipeline, batch 32": {"what": "naive", "folder": str(folder), "length": length},
        "ours, fp32": {"what": "ours", "folder": str(folder), "dtype": "fp32"},
    }
    if has_bf16_instructions() and not asked.quick:
        found["ours, bf16"] = {"what": "ours", "folder": str(folder), "dtype": "bf16"}
    if asked.onnx:
        found["ours, onnx int8"] = {"what": "ours", "folder": str(folder), "dtype": "auto", "engine": "onnx"}
    return found


def compare(name: str, folder: Path, count: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a kind of text and contender: texts a second, ratio to the pipeline, share of its labels."""
    workers = [ScoreWorker.start(key, spec) for key, spec in specs(folder, asked).items()]
    rows = []
    try:
        for kind in KINDS:
            size = max(8, int(count * SHARES[kind]))
            best: dict[str, float] = {}
            labels: dict[str, list[str]] = {}
            for worker in workers:
                worker.call(kind, 8)  # what is made once per process and shape isn't counted
            for _ in range(asked.rounds):
                for worker in workers:
                    answer = worker.call(kind, size)
                    best[worker.name] = min(best.get(worker.name, float("inf")), answer["cpu_s"])
                    labels[worker.name] = answer["labels"]
            first = workers[0].name
            for key, seconds in best.items():
                same = [one == other for one, other in zip(labels[key], labels[first], strict=True)]
                rows.append(
                    {
                        "model": name,
                        "texts": kind,
                        "what": key,
                        "texts_per_second": size / seconds,
                        "ratio": best[first] / seconds,
                        "same_labels": sum(same) / len(same),
                    }
                )
    finally:
        for worker in workers:
            worker.stop()
    return rows


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Everything that the first form prints."""
    found: dict[str, Any] = {"speed": [], "share": []}
    with tempfile.TemporaryDirectory() as base:
        models = (
            {"tiny": asked.texts}
            if asked.quick
            else {EMBEDDED_MODEL: asked.texts, "BERT-base-shaped": asked.texts // 8}
        )
        for name, count in models.items():
            folder = model_folder(name, Path(base))
            found["speed"] += compare(name, folder, count, asked)
            found["share"].append({"model": name, **matmul_share(folder, count)})
        chosen = str(next(Path(base).iterdir())) if asked.quick else None
        found["stages"] = stages(asked.texts, asked.rounds, chosen)
        found["cold"] = cold_start(Path(base), chosen)
    return found


def show(found: dict[str, Any]) -> None:
    """The first form's tables."""
    for row in found["speed"]:
        print(
            f"{row['model']:<18} {row['texts']:<10} {row['what']:<20} {row['texts_per_second']:>9,.1f} /s"
            f" {row['ratio']:>6.1f} x {row['same_labels']:>7.1%} same labels"
        )
    for row in found["share"]:
        print(
            f"{row['model']:<18} {row['dtype']}: {row['model_gflops']:,.0f} of {row['matmul_gflops']:,.0f} GFLOP/s "
            f"that a matrix product of its shape reaches, {row['share']:.0%}"
        )
    for row in found["stages"]:
        print(f"stage {row['stage']:<24} {row['texts_per_second']:>12,.0f} posts/s")
    cold = found["cold"]
    print(
        f"cold start of `tidegate score` on {cold['posts']} posts: {cold['wall_s']:.1f} s ({cold['cpu_s']:.1f} s CPU)"
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1024, help="posts for the embedded model; an eighth for the large")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--onnx", action="store_true", help="the extra tidegate[onnx] as well")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few texts: does it run?")
    parser.add_argument("--million", type=int, nargs="?", const=1_000_000, help="watch the memory over so many posts")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.texts, asked.rounds = min(asked.texts, 32), 1
    if asked.million:
        rows = watch_memory(asked.million)
        lines = [
            f"{row['posts']:>10,} posts: {row['resident_mb']:>7,.0f} MB, {row['per_second']:,.0f}/s" for row in rows
        ]
        print(json.dumps(rows, indent=1) if asked.json else "\n".join(lines))
        return
    found = measure(asked)
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


if __name__ == "__main__":
    main()
