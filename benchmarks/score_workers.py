"""Scorers in processes of their own with one thread each, so that they can take turns.

python -m benchmarks.score_workers SPEC: a JSON object with what to open; then for each line of standard input, a JSON
object {kind, count}, one line of JSON back: processor seconds, and the label of each text.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pipes import answers, ask, stop
from benchmarks.score_texts import texts

HOUSE = Path(__file__).resolve().parent.parent
LABELS = ("bearish", "neutral", "bullish")


def naive(spec: dict[str, Any]) -> Callable[[Sequence[str]], list[str]]:
    """The pipeline as its documentation shows it."""
    from transformers import pipeline

    classify: Any = pipeline("text-classification", model=spec["folder"], device="cpu", batch_size=32)

    def run(given: Sequence[str]) -> list[str]:
        return [row["label"] for row in classify(list(given), truncation=True, max_length=spec["length"])]

    return run


def ours(spec: dict[str, Any]) -> Callable[[Sequence[str]], list[str]]:
    """Our scorer."""
    from signals.models import resolve
    from signals.scorer import Compute, open_scorer

    compute = Compute("cpu", dtype=spec["dtype"], engine=spec.get("engine", "torch"))
    scorer = open_scorer(resolve(spec["folder"]), compute)

    def run(given: Sequence[str]) -> list[str]:
        return [LABELS[at] for at in scorer.score(given).argmax(axis=1)]

    return run


@dataclass
class ScoreWorker:
    """A running contender."""

    name: str
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, name: str, spec: dict[str, Any]) -> ScoreWorker:
        """Start the process; it opens its model at once."""
        command = [sys.executable, "-m", "benchmarks.score_workers", json.dumps(spec)]
        single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
        pipe = subprocess.PIPE
        return cls(
            name,
            subprocess.Popen(command, cwd=HOUSE, text=True, stdin=pipe, stdout=pipe, env=os.environ | single | quiet),
        )

    def call(self, kind: str, count: int) -> dict[str, Any]:
        """Let it score so many texts of a kind: {cpu_s, labels}."""
        return ask(self.process, self.name, json.dumps({"kind": kind, "count": count}))

    def stop(self) -> None:
        """Let it end."""
        stop(self.process)


def main() -> None:
    """The worker's side."""
    spec = json.loads(sys.argv[1])
    told = answers()
    import torch

    torch.set_num_threads(1)
    run = {"naive": naive, "ours": ours}[spec["what"]](spec)
    for line in sys.stdin:
        asked = json.loads(line)
        given = texts(asked["kind"], asked["count"])
        begun = time.process_time()
        labels = run(given)
        told.write(json.dumps({"cpu_s": time.process_time() - begun, "labels": labels}) + "\n")
        told.flush()


if __name__ == "__main__":
    main()
