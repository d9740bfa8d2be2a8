"""How often these facts were tried: every strategy and setting tested on the same bars makes the best one luckier.

One line per trial in `var/runs/trials.tsv`: hash of the bars, hash of what was tried, how many it counts for (a sweep
counts each combination). Deleting a run doesn't delete its line, or a search could be made to look like a first try.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from backtest.result import InputShare, Result


def market_hash(inputs: Sequence[InputShare]) -> str:
    """sha256 over the bars among `inputs`: whoever looks at the same market over the same span shares its luck."""
    told = sorted((share.name, share.source, share.sha256) for share in inputs if share.kind == "bars")
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def count_trials(var: Path, market: str, besides: str = "") -> int:
    """Trials recorded so far on `market`, leaving out the one keyed `besides`. Unreadable lines are skipped."""
    counts: dict[str, int] = {}
    try:
        text = (Path(var) / "runs" / "trials.tsv").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return 0
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) == 3 and parts[0] == market and parts[1] != besides and parts[2].isdigit():
            counts[parts[1]] = max(counts.get(parts[1], 0), int(parts[2]))
    return sum(counts.values())


def count_in(result: Result, var: Path) -> int:
    """Record `result` as a trial on its market and note in it how many there are now; call before saving it."""
    result.trials = record_trial(var, market_hash(result.inputs), result.trial_key())
    return result.trials


def record_trial(var: Path, market: str, key: str, count: int = 1) -> int:
    """Record that `key` was tried on `market` and return the number of trials now, this one included."""
    before = count_trials(var, market, besides=key)
    path = Path(var) / "runs" / "trials.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    line = f"{market}\t{key}\t{count}"
    if line not in known.splitlines():
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if known.endswith("\n") or not known else "\n") + line + "\n")
    return before + count
