"""From a bar's close to the order on the wire: a real bot and its exchange process against a venue on loopback.

Bars of a second come over the venue's stream, the strategy turns with every one, and each order is followed through
its stages by client id. The venue's log says when the request had come: the bot's own clock isn't asked. Everything
runs on this machine: what else runs there is in the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.live_bot import FILE as BOT_FILE
from benchmarks.live_exchange import FILE as EXCHANGE_FILE
from benchmarks.live_load import spread_ms
from tests.faults.bot_world import ACCOUNT, BALANCES, PRICES, LiveBot, Tape
from tests.venue.remote import HOUSE, RemoteVenue
from tests.venue.server import API_KEY, SECRET

# What each stage lies between, as the marks are called: of the bot, of its exchange process, of the venue.
STAGES = (
    ("door", "bot.came", "bot.begun"),
    ("engine", "bot.begun", "bot.decided"),
    ("journal", "bot.decided", "bot.durable"),
    ("to the line", "bot.durable", "bot.asked"),
    ("socket", "bot.asked", "exchange.came"),
    ("checks", "exchange.came", "exchange.checked"),
    ("ledger", "exchange.checked", "exchange.claimed"),
    ("sign and send", "exchange.claimed", "exchange.left"),
    ("to the venue", "exchange.left", "venue.came"),
)
WIRE = ("close at the door to the wire", "bot.came", "exchange.left")
VENUE = ("close at the door to the venue", "bot.came", "venue.came")
FEED = ("close to the door", "bot.closed", "bot.came")


class Watched(LiveBot):
    """The bot with a stop-watch."""

    def start(self, *more: str, key: tuple[str, str] = (API_KEY, SECRET)) -> None:
        """Start it."""
        names = {f"TIDEGATE_{ACCOUNT.upper()}_KEY": key[0], f"TIDEGATE_{ACCOUNT.upper()}_SECRET": key[1]}
        environment = {
            **os.environ, **names, "PYTHONPATH": str(HOUSE), "TIDEGATE_VAR": str(self.folder / "v"),
            BOT_FILE: str(self.folder / "bot.jsonl"), EXCHANGE_FILE: str(self.folder / "exchange.jsonl"),
        }  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.live_bot", "live", str(self.config)]
        with open(self.folder / "out", "ab") as out:
            self.process = subprocess.Popen(
                [*command, "--yes-i-accept-these-limits", self.hash, *more], env=environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip


def latency(*, seconds: int = 120, folder: Path | None = None) -> dict[str, Any]:
    """Figures of so many one-second bars, each of which turns the position of two coins.

    Parameters
    ----------
    folder : Path, optional
        On the disk that journal and ledger shall lie on: an order waits for two syncs of it, one after the other.

    Returns
    -------
    dict
        Orders followed, milliseconds (median, 99th percentile, most) from the bar at the bot's door to the wire and to
        the venue's log, by stage, and of the feed before it; the load of the machine.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        folder = Path(name)
        syncs = sync_ms(folder)
        with RemoteVenue(balances=BALANCES, prices=PRICES) as venue:
            venue.control("limits", weight_limit=10**9, orders_limit=10**9)
            tape, rest = Tape(venue), venue.addresses["rest"]
            urls = {"rest": rest, "stream": rest.replace("http", "ws")}
            sections: dict[str, Any] = {"live": {"settle": "50ms"}}
            sections["limits"] = {"orders_per_minute": 1000}  # or every second entry would be refused
            with Watched(folder, urls, **sections) as runner:
                runner.start()
                runner.ready(patience_s=120.0)
                for turn in range(seconds):
                    move = 1.001 if turn % 2 == 0 else 1 / 1.001
                    tape.step(BTCUSDT=move, ETHUSDT=move)
                time.sleep(1.0)
                requests = venue.truth()["requests"]
                runner.stop()
        found = joined(_lines(folder / "bot.jsonl"), _lines(folder / "exchange.jsonl"), requests)
    return {
        "bars": seconds, "orders": len(found), "ms": {name: _between(found, a, b) for name, a, b in (WIRE, VENUE)},
        "stages_ms": {name: _between(found, a, b) for name, a, b in STAGES},
        "feed_ms": {FEED[0]: _between(found, *FEED[1:])}, "sync_of_the_disk_ms": syncs,
        "load_average": os.getloadavg()[0], "cores": os.cpu_count(),
    }  # fmt: skip


def sync_ms(folder: Path, count: int = 100) -> dict[str, float]:
    """What one sync of a page's write takes on a folder's disk."""
    waits = []
    with open(folder / "sync", "wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4096))
            began = time.perf_counter_ns()
            os.fsync(file.fileno())
            waits.append(time.perf_counter_ns() - began)
    return spread_ms(waits)


def joined(
    ours: Sequence[Mapping[str, Any]], exchange: Sequence[Mapping[str, Any]], requests: Sequence[Mapping[str, Any]]
) -> list[dict[str, int]]:
    """Marks of every order that all three saw, by where and what."""
    theirs = {line["client_id"]: line for line in exchange}
    venue = {line["client_id"]: line for line in requests if line["label"] == "place"}
    found = []
    for line in ours:
        number = line["client_id"]
        if number in theirs and number in venue and "left" in theirs[number]:
            marks = {"venue.came": int(venue[number]["ns"])}
            for where, one in (("bot", line), ("exchange", theirs[number])):
                marks |= {f"{where}.{name}": value for name, value in one.items() if isinstance(value, int)}
            found.append(marks)
    return found


def _between(found: Sequence[Mapping[str, int]], since: str, until: str) -> dict[str, float]:
    return spread_ms([marks[until] - marks[since] for marks in found])


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
