"""`tidegate live` with a stop-watch: notes when a bar came to the door, and what an order waited for on its way out.

Started by `benchmarks.live_latency`; everything else is the real thing, down to the preflight. Its exchange process is
`benchmarks.live_exchange`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from bot.engine import Engine
from bot.events import Bar, Event, Submit
from bot.exchange import client
from bot.exchange.client import SocketTransport
from bot.exchange.venue import ExchangeVenue
from bot.exchange.wire import Message, Place
from bot.feeds.door import Door
from bot.step import Step

FILE = "TIDEGATE_BENCH_BOT"


def watch() -> None:
    """Put the stop-watch into the classes."""
    marks: dict[int, dict[str, int]] = {}
    came: dict[int, int] = {}  # when the last bar of a close came
    put, handle, send, ask, start = Door.put, Engine.handle, ExchangeVenue.send, SocketTransport.ask, subprocess.Popen

    def put_bar(self: Door, event: Event) -> None:
        if isinstance(event, Bar):
            came[event.close_ns] = time.time_ns()
        put(self, event)

    def handled(self: Engine, event: Event) -> Step:
        begun = time.time_ns()
        step = handle(self, event)
        if isinstance(event, Bar) and step.commands:
            done = time.time_ns()
            for command in step.commands:
                if isinstance(command, Submit):
                    times = {"closed": event.close_ns, "came": came[event.close_ns], "begun": begun, "decided": done}
                    marks[command.order] = times
        return step

    async def sent(self: ExchangeVenue, commands: Any) -> None:
        now = time.time_ns()
        for command in commands:
            if isinstance(command, Submit) and command.order in marks:
                marks[command.order]["durable"] = now
        await send(self, commands)

    async def asked(self: SocketTransport, message: Message, *, timeout_s: float) -> Message:
        number = int(message.client_id[16:], 16) if isinstance(message, Place) else -1
        if number in marks:
            marks[number]["asked"] = time.time_ns()
        found = await ask(self, message, timeout_s=timeout_s)
        if number in marks:
            assert isinstance(message, Place)
            with open(os.environ[FILE], "a") as file:
                file.write(json.dumps({"client_id": message.client_id, **marks.pop(number)}) + "\n")
        return found

    def started(command: list[str], *given: Any, **more: Any) -> Any:
        if command[1:3] == ["-m", "bot.exchange.process"]:
            command = [command[0], "-m", "benchmarks.live_exchange", *command[3:]]
        return start(command, *given, **more)

    Door.put, Engine.handle = put_bar, handled  # type: ignore[method-assign]
    ExchangeVenue.send, SocketTransport.ask = sent, asked  # type: ignore[method-assign]
    client.subprocess.Popen = started  # type: ignore[attr-defined]


if __name__ == "__main__":
    from bot.cli import main

    watch()
    main(sys.argv[1:])
