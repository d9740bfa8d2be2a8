"""What the journal costs: an append, a commit by size of its group, reading, verifying, opening.

python -m benchmarks.journal_times --folder var      # on the disk that the journal will lie on
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from bot.journal.file import Journal
from bot.journal.report import verify

GROUPS = (1, 2, 10, 100)
BAR = {"is": "Bar", "ns": 1, "symbol": "BTC/USDT", "open_ns": 1_700_000_000 * 10**9, "close_ns": 1_700_000_060 * 10**9,
       "open": 42_000.1, "high": 42_100.33, "low": 41_999.7, "close": 42_050.123456, "volume": 12.345,
       "caught_up": False}  # fmt: skip


def quantiles(spent: list[int]) -> dict[str, float]:
    """Median, 99th of a hundred and the most, in microseconds."""
    spent = sorted(spent)
    places = {"p50": len(spent) // 2, "p99": len(spent) * 99 // 100, "max": len(spent) - 1}
    return {name: round(spent[place] / 1e3, 1) for name, place in places.items()}


def measure(folder: Path, *, records: int, commits: int) -> dict[str, Any]:
    """Figures in microseconds, of one journal in a folder of its own."""
    file = folder / "journal.sqlite"
    found: dict[str, Any] = {}
    with Journal.create(file, {"bot": "00c0ffee"}) as journal:
        began = time.perf_counter_ns()
        for number in range(records):
            journal.append(number, "event", BAR)
        found["append"] = round((time.perf_counter_ns() - began) / records / 1e3, 2)
        began = time.perf_counter_ns()
        journal.commit()
        found["record of a long commit"] = round((time.perf_counter_ns() - began) / records / 1e3, 2)
        for size in GROUPS:
            spent = []
            for number in range(commits):
                for _ in range(size):
                    journal.append(number, "event", BAR)
                began = time.perf_counter_ns()
                journal.commit()
                spent.append(time.perf_counter_ns() - began)
            found[f"commit of {size}"] = quantiles(spent)
        began = time.perf_counter_ns()
        journal.checkpoint()
        found["checkpoint"] = round((time.perf_counter_ns() - began) / 1e3, 1)
        total = journal.head()[0]
        began = time.perf_counter_ns()
        assert sum(1 for _ in journal.records()) == total
        found["record read"] = round((time.perf_counter_ns() - began) / total / 1e3, 2)
        began = time.perf_counter_ns()
        assert verify(file).records == total
        found["record verified"] = round((time.perf_counter_ns() - began) / total / 1e3, 2)
        journal.append(0, "snapshot", {})
        journal.commit()
    began = time.perf_counter_ns()
    Journal.open(file).close()
    found["opened and closed"] = round((time.perf_counter_ns() - began) / 1e3, 1)
    return found | {"records": total, "bytes a record": round(file.stat().st_size / total, 1)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="on this disk; else where temporary files go")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--commits", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        found = measure(Path(name), records=given.records, commits=given.commits)
    if given.as_json:
        print(json.dumps(found))
        return
    for label, figure in found.items():
        shown = figure if not isinstance(figure, dict) else ", ".join(f"{key} {value}" for key, value in figure.items())
        print(f"{label:24} {shown}{'' if label in ('records', 'bytes a record') else ' µs'}")


if __name__ == "__main__":
    main()
