"""A test venue in a process of its own, for tests that kill the bot: it goes on while the bot is dead."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parent.parent.parent


class RemoteVenue:
    """Starts the venue and steers it; it ends with `with`, or with the process that started it.

    Parameters
    ----------
    setup : keyword arguments
        balances, prices, faults (as dicts) and keys (as dicts) of `LocalVenue`.
    """

    def __init__(self, **setup: Any) -> None:
        self.setup = setup
        self.addresses: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> RemoteVenue:
        command = [sys.executable, "-m", "tests.venue.server", "--setup", json.dumps(self.setup)]
        self._process = subprocess.Popen(command, cwd=HOUSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the venue didn't start: {self._process.wait()}")
        self.addresses = json.loads(line)
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()

    def control(self, do: str, **given: Any) -> Any:
        """Run one of the commands of `tests.venue.control`.

        Raises
        ------
        RuntimeError
            The venue couldn't.
        """
        body = json.dumps({"do": do, **given}).encode()
        request = urllib.request.Request(self.addresses["control"], body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["ok"]
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(error.read().decode()) from None

    def truth(self) -> dict[str, Any]:
        """What really is, as `LocalVenue.truth`."""
        told: dict[str, Any] = self.control("truth")
        return told
