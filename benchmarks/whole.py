"""The whole process: `tidegate backtest` over a stored year of minutes, caches warm and cold."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.market import Work, walk

WARM_SECONDS, WARM_MB, COLD_SECONDS = 3.0, 500.0, 15.0
CONFIG = """\
[run]
symbols = ["BTC/USDT"]
bar = "1m"
strategy = "ema-cross"
cash = "100000"
size = "quantity"
stake = "0.01"

[fill]
profile = "ideal"
taker_bps = 10
"""


def write_bars(path: Path, rows: int) -> None:
    """The walk as a Parquet file."""
    import pandas as pd

    bars = walk(Work(rows))
    columns = {name: getattr(bars, name)[:, 0] for name in ("open", "high", "low", "close", "volume")}
    times = pd.to_datetime(bars.open_ns, utc=True)
    pd.DataFrame({"time": times, **columns}).to_parquet(path, index=False)


def tidegate(arguments: list[str], cache: Path, folder: Path) -> dict[str, float]:
    """Run the command in `folder`: wall seconds, process CPU seconds and peak RSS in MB."""
    environment = {
        **os.environ,
        "TIDEGATE_CACHE": str(cache),
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *arguments], cwd=folder, env=environment, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"tidegate {' '.join(arguments)} ended with {process.returncode}:\n{said.read()}")
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def measure(rows: int, *, quiet: bool) -> list[dict[str, Any]]:
    """Import the bars into a store of its own and run: once with cold caches, then warm."""
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        write_bars(folder / "bars.parquet", rows)
        (folder / "tidegate.toml").write_text(CONFIG)
        var = ["--var", str(folder / "var")]
        bring = ["import", "bars", "bars.parquet", "--source", "walk", "--symbol", "BTC/USDT", "--interval", "1m", *var]
        imported = tidegate(bring, folder / "cache-of-import", folder)
        run = ["backtest", "tidegate.toml", *var]
        cold = tidegate(run, folder / "cache", folder)
        warm = [tidegate(run, folder / "cache", folder) for _ in range(5)]
    middle = {name: median(each[name] for each in warm) for name in warm[0]}
    found: list[dict[str, Any]] = [
        {"what": f"import of {rows:,} bars", **imported},
        {"what": "backtest, cold caches", **cold, "met": cold["wall"] < COLD_SECONDS},
        {"what": "backtest, warm", **middle, "met": middle["wall"] < WARM_SECONDS and middle["peak_mb"] < WARM_MB},
    ]
    if not quiet:
        print(f"\nWhole process over {rows:,} stored minutes (asked: cold {COLD_SECONDS:g} s, warm {WARM_SECONDS:g} s")
        print(f"and {WARM_MB:g} MB; the machine's other work slows wall seconds)")
        for row in found:
            verdict = "" if "met" not in row else "met" if row["met"] else "MISSED"
            times = f"{row['wall']:>8.2f} s wall{row['cpu']:>8.2f} s CPU{row['peak_mb']:>8,.0f} MB"
            print(f"{row['what']:<26}{times}  {verdict}")
    return found
