"""A live bot under load: a flood of posts, the way of an order to the wire, a peak played again, a week's memory.

python -m benchmarks.live                              # all of it: a quarter of an hour
python -m benchmarks.live --only load,latency --json
python -m benchmarks.live --only latency --seconds 60  # so many one-second bars, and half a minute around them
python -m benchmarks.live --quick                      # a look in a minute: its figures say little
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.live_latency import latency
from benchmarks.live_load import load, peak
from benchmarks.live_memory import week

TARGET_MS = 10.0


def parts(quick: bool, folder: Path | None, seconds: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """What can be measured."""
    return {
        "load": lambda: load(seconds=2.0 if quick else 10.0),
        "latency": lambda: latency(seconds=20 if quick else seconds, folder=folder),
        "replay": lambda: peak(seconds=3.0 if quick else 10.0),
        "memory": lambda: week(days=0.05 if quick else 7.0),
    }


def show(name: str, found: dict[str, Any]) -> None:
    """Print one part's figures, and whether what is asked of it holds."""
    print(f"\n{name}")
    for key, value in found.items():
        if isinstance(value, dict) and value and all(isinstance(one, dict) for one in value.values()):
            for inner, spread in value.items():
                print(f"  {key:22} {inner:32} " + "  ".join(f"{which} {one:9,.2f}" for which, one in spread.items()))
        elif key == "resident_mb":
            print(f"  {key:22} {value[0][1]} at first, {value[-1][1]} at the end")
        else:
            print(f"  {key:22} {value}")
    if name == "latency" and found["orders"]:
        wire = next(iter(found["ms"].values()))
        verdict = "met" if wire["p99"] < TARGET_MS else "MISSED"
        print(f"  asked: p99 under {TARGET_MS:g} ms from the bar at the door to the wire: {verdict}")
    if name == "replay":
        whole = found["posts_handled"] == found["posts_recorded"] and found["bars_handled"] == found["bars_recorded"]
        print(f"  asked: nothing lost: {'met' if whole and not found['posts_dropped'] else 'MISSED'}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="load,latency,replay,memory", help="of these, with commas")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="for latency: on the disk that journal and ledger shall lie on")
    parser.add_argument("--seconds", type=int, default=300, help="for latency: as many bars (300)")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args()
    known = parts(given.quick, given.folder, given.seconds)
    names = given.only.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    found = {}
    for name in names:
        found[name] = known[name]()
        if not given.as_json:
            show(name, found[name])
    if given.as_json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
