"""The same facts at the wrong times: a report on them has to find nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backtest.load import RunInputs
from risk.records import Array
from signals.inputs import MetricTape, SentimentTape
from signals.ops import GAP

TIMES = ("event_ns", "known_ns")


def shuffle_facts(inputs: RunInputs, seed: int) -> RunInputs:
    """Every scored post at the time of another, and every value of a metric at that of another of its coin; bars stay.

    How many there are at any time stays as it is, and so does all that a post says.
    """
    rng = np.random.default_rng(seed)
    seen = inputs.signals
    posts = vars(seen.sentiment)
    order = np.arange(len(seen.sentiment))
    real = np.flatnonzero(seen.sentiment.flags & GAP == 0)  # that a feed was down stays where it is
    order[real] = rng.permutation(real)
    moved = {name: column if name in TIMES else column[order] for name, column in posts.items()}
    metrics = {}
    for name, tape in sorted(seen.metrics.items()):
        values: Array = tape.value.copy()
        for coin in np.unique(tape.coin):
            mine = np.flatnonzero(tape.coin == coin)
            values[mine] = values[rng.permutation(mine)]
        metrics[name] = MetricTape(**{**vars(tape), "value": values})
    return replace(inputs, signals=replace(seen, sentiment=SentimentTape(**moved), metrics=metrics))
