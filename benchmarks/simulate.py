"""The whole bot in simulated worlds, one a seed: how many a minute of one core, and what is wrong in any of them.

python -m benchmarks.simulate --seeds 1000
python -m benchmarks.simulate --seeds 200 --first 5000 --paper
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from typing import Any

from tests.sim.verdict import faults_of
from tests.sim.world import run


def simulate(first: int, seeds: int, *, outside: bool, twice: int = 10) -> dict[str, Any]:
    """Figures and findings. The first `twice` seeds are run a second time: the journal's head has to be the same.

    Returns
    -------
    dict
        Seeds, those with findings and what was found, orders, trades, records and processes in all, processor seconds,
        and seeds a minute of processor time (worlds and their judgement; the second runs not counted).
    """
    run(first, outside=outside)  # kernels compiled or loaded
    bad: dict[int, list[str]] = {}
    counts = {"orders": 0, "trades": 0, "records": 0, "processes": 0}
    spent = 0.0
    for seed in range(first, first + seeds):
        began = time.process_time()
        world = run(seed, outside=outside)
        found = faults_of(world)
        spent += time.process_time() - began
        counts["orders"] += len(world.exchange.matching.orders)
        counts["trades"] += len(world.exchange.matching.trades)
        counts["records"] += world.journal.head()[0]
        counts["processes"] += len(world.lives)
        if seed < first + twice and run(seed, outside=outside).journal.head() != world.journal.head():
            found.append("a second run ended with another journal")
        if found:
            bad[seed] = found
    return {"seeds": seeds, "bad": bad, **counts, "seconds": round(spent, 1), "a_minute": round(60 * seeds / spent)}


def main(arguments: list[str] | None = None) -> int:
    """Print what was found; 1 when anything was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--paper", action="store_true", help="paper sessions instead of an exchange")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # worlds are full of errors on purpose
    found = simulate(given.first, given.seeds, outside=not given.paper)
    if given.json:
        print(json.dumps(found))
    else:
        for seed, texts in found["bad"].items():
            print(f"seed {seed}:", *texts, sep="\n  ")
        rest = ", ".join(f"{value} {name}" for name, value in found.items() if name not in ("bad", "seeds", "a_minute"))
        print(f"{found['seeds']} seeds, {len(found['bad'])} with findings; {rest}; {found['a_minute']} seeds a minute")
    return int(bool(found["bad"]))


if __name__ == "__main__":
    raise SystemExit(main())
