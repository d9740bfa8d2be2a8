"""The linear venue in a process of its own, for tests that kill the bot: it goes on while the bot is dead.

`python -m tests.venue.bybit_remote` prints its addresses as one line of JSON and takes control commands at `/control`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import threading

from tests.venue.bybit import LocalPerpVenue
from tests.venue.bybit_auth import Key
from tests.venue.faults import Fault
from tests.venue.remote import HOUSE, RemoteVenue


class RemotePerpVenue(RemoteVenue):
    """Starts the linear venue and steers it; setup: arguments of `LocalPerpVenue`, faults and key as dicts."""

    def __enter__(self) -> RemotePerpVenue:
        command = [sys.executable, "-m", "tests.venue.bybit_remote", "--setup", json.dumps(self.setup)]
        self._process = subprocess.Popen(command, cwd=HOUSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the venue didn't start: {self._process.wait()}")
        self.addresses = json.loads(line)
        return self


async def main(arguments: argparse.Namespace) -> None:
    """Listen until SIGTERM or SIGINT, or until standard input ends unless told to stay."""
    given = json.loads(arguments.setup)
    given["faults"] = [Fault(**one) for one in given.get("faults", ())]
    given["key"] = Key(**given["key"]) if "key" in given else None
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    async with LocalPerpVenue(port=arguments.port, **given) as venue:
        addresses = {"rest": venue.rest_url, "stream": venue.ws_url, "user": venue.user_url, "port": venue.port}
        print(json.dumps({**addresses, "control": venue.rest_url + "/control", "urls": venue.ccxt_urls()}), flush=True)
        if not arguments.stay:
            threading.Thread(target=watch, daemon=True).start()
        await over.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--setup", default="{}", help="JSON: balances, prices, faults, key and the like")
    parser.add_argument("--stay", action="store_true", help="don't end with standard input")
    asyncio.run(main(parser.parse_args()))
