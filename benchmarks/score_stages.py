"""The stages of scoring one by one, the share of the matrix-multiply rate that the model reaches, and a cold start."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.score_models import multiplications
from benchmarks.score_texts import texts
from benchmarks.score_workers import HOUSE
from data.facts import fact_table
from data.store import Store
from data.times import SECOND_NS
from signals.duplicates import Clusters
from signals.entities import Linker
from signals.language import is_english
from signals.mask import masked
from signals.models import DEFAULT_MODEL, resolve
from signals.scorer import Compute, open_scorer
from signals.text import normalise, tricks

START_NS = 1_700_000_000 * SECOND_NS
COLD_POSTS = 100


def cpu_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Least processor seconds of a few rounds."""
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def posts_table(given: list[str], first: int = 0) -> pa.Table:
    """Posts a second apart."""
    times = START_NS + (first + np.arange(len(given))) * SECOND_NS
    values = {"source": "made-up", "key": [f"p{first + at}" for at in range(len(given))], "event_ns": times}
    values |= {"known_ns": times, "ingested_ns": START_NS, "quality": "recorded", "text": given, "url": ""}
    return fact_table("posts", {**values, "author": "ann", "followers": 10.0})


def _scores_table(rows: int) -> pa.Table:
    """Sentiment facts as a run writes them."""
    times = START_NS + np.arange(rows) * SECOND_NS
    values = {"source": "made-up", "key": [f"p{at}" for at in range(rows)], "coin": "BTC", "model": "m"}
    values |= {"model_revision": "1", "event_ns": times, "known_ns": times, "ingested_ns": START_NS}
    values |= {"quality": "recorded", "p_bearish": 0.2, "p_neutral": 0.3, "p_bullish": 0.5, "score": 0.3}
    return fact_table("sentiment", {**values, "followers": 10.0, "author": "ann", "cluster": 1, "flags": 0})


def stages(count: int, rounds: int, model: str | None) -> list[dict[str, Any]]:
    """Posts a second of each stage on one core; `model` is a folder, else the default model."""
    import torch

    torch.set_num_threads(1)
    many = texts("posts", 16 * count)
    linker = Linker()
    normal = [normalise(text) for text in many]
    mentions = [linker.mentions(text) for text in normal]
    scorer: Any = open_scorer(resolve(model or DEFAULT_MODEL), Compute("cpu"))
    some = normal[:count]
    work: dict[str, tuple[int, Callable[[], Any]]] = {
        "normalise": (len(many), lambda: [normalise(text) for text in many]),
        "tricks and language": (len(many), lambda: [(tricks(a, b), is_english(b)) for a, b in zip(many, normal)]),  # noqa: B905
        "link": (len(many), lambda: [linker.link_normal(text) for text in normal]),
        "find mentions": (len(many), lambda: [linker.mentions(text) for text in normal]),
        "mask": (len(many), lambda: [masked(a, b, "BTC") for a, b in zip(normal, mentions, strict=True)]),
        "near-duplicates": (len(many), lambda: Clusters().place(normal, [0] * len(normal))),
        f"score ({scorer.card.name})": (len(some), lambda: scorer.score(some)),
    }
    if hasattr(scorer, "_tokenise"):
        work["tokenise"] = (len(many), lambda: scorer._tokenise(normal))
    with tempfile.TemporaryDirectory() as base:
        table = _scores_table(len(many))
        numbers = iter(range(10**6))
        work["write"] = (
            len(many),
            lambda: Store(Path(base) / str(next(numbers))).append("sentiment", table, hashed=True),
        )
        return [
            {"stage": name, "texts_per_second": size / max(cpu_seconds(run, rounds), 1e-9)}
            for name, (size, run) in work.items()
        ]


def matmul_share(folder: Path, count: int) -> dict[str, Any]:
    """What the model computes a second on posts, beside a matrix product of its own shape in the same numbers."""
    import torch

    torch.set_num_threads(1)
    scorer: Any = open_scorer(resolve(str(folder)), Compute("cpu"))
    given = texts("posts", count)
    lengths = [len(windows[0]) for windows in scorer._tokenise([normalise(text) for text in given])]
    rows = scorer._rows(given, 0)
    batches = [[rows[at].ids for at in members] for members in scorer._cut([len(row.ids) for row in rows])]
    seconds = cpu_seconds(lambda: [scorer._forward(ids) for ids in batches], 3)
    hidden = int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])
    kind = {"bf16": torch.bfloat16}.get(scorer.dtype, torch.float32)
    states, weights = torch.randn(scorer.batch_tokens, hidden).to(kind), torch.randn(4 * hidden, hidden).to(kind)
    with torch.inference_mode():
        product = cpu_seconds(lambda: [torch.nn.functional.linear(states, weights) for _ in range(10)], 5)
    matmul = 10 * 2.0 * scorer.batch_tokens * hidden * 4 * hidden / product
    model = multiplications(folder, lengths) / seconds
    return {
        "dtype": scorer.dtype,
        "model_gflops": model / 1e9,
        "matmul_gflops": matmul / 1e9,
        "share": model / matmul,
    }


def cold_start(base: Path, model: str | None) -> dict[str, Any]:
    """`tidegate score` in a fresh process on a store of 100 posts."""
    store = Store(base / "cold")
    store.append("posts", posts_table(texts("posts", COLD_POSTS)))
    code = "from bot.cli import main; main()"
    command = [sys.executable, "-c", code, "score", "--own", "--var", str(store.var), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, *(["--model", model] if model else [])], cwd=HOUSE, capture_output=True, text=True, check=True,
        env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    assert report["done"] == COLD_POSTS and report["rows_added"] > 0, report
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"posts": COLD_POSTS, "wall_s": wall, "cpu_s": cpu, "model": report["model"]}
