"""One connection to X's filtered stream through tweepy: any end of it is a FeedError, and nothing reconnects.

Left alone, tweepy's stream connects again without a pause when X closes it cleanly, ends with a mere line in the log
when a handler raises, and takes a line that sends single bytes for a living one. Here each of its hooks raises, what is
raised comes out of `run`, and a stream without a whole line for a while is given up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from data.feed import Clock, FeedError, Item
from data.http import read_json, redacted
from data.x_api import NO_KEY
from data.x_door import Door
from data.x_posts import read_line

QUEUE_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Arrived:
    """A line that came: its item, None when only foreign rules matched it, its identity, and when it was here."""

    item: Item | None
    identity: str
    arrived_ns: int


class Line:
    """One connection. `queue` holds what came, in order; whoever stops the line puts None behind it.

    Parameters
    ----------
    door : Door
        Closed at the end.
    fields : mapping
        What to ask for with each post, by tweepy's names.
    clock : Clock
    paid : callable
        Called for each post, before anything else is done with it; what it raises ends the connection.
    alive : callable
        Called for each line, also an empty one.
    silence_s : float
        Without a whole line for so long the connection is given up.
    counts : Counter
    """

    def __init__(
        self,
        door: Door,
        fields: Mapping[str, Any],
        clock: Clock,
        paid: Callable[[], Any],
        alive: Callable[[], None],
        silence_s: float,
        counts: Counter[str],
    ) -> None:
        self.door, self.fields, self.clock, self.counts = door, fields, clock, counts
        self.queue: asyncio.Queue[Arrived | None] = asyncio.Queue()
        self.connected = asyncio.Event()
        self.fault: BaseException | None = None
        self._paid, self._alive, self._silence_s = paid, alive, silence_s
        self._heard, self._held = asyncio.Event(), False

    async def run(self) -> None:
        """Connect and read until it ends; always raises.

        Raises
        ------
        FeedError
        """
        client = _client(self)
        client.session = self.door
        stream = client.filter(**self.fields)
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({stream, watch}, return_when=asyncio.FIRST_COMPLETED)
            for task in (stream, watch):
                error = task.exception() if task.done() else None
                if error is not None:
                    raise error
            raise FeedError("X's stream has ended without a word")
        finally:
            client.disconnect()
            watch.cancel()
            await asyncio.gather(stream, watch, return_exceptions=True)
            await self.door.close()

    async def line(self, raw: bytes) -> None:
        """A line of the stream that isn't empty."""
        self.beat()
        values = read_json(raw, "X's stream")
        if not isinstance(values, dict):
            raise FeedError("X's stream: a line that is no object")
        try:
            if values.get("data") is not None:
                self.counts["posts"] += 1
                self._paid()
        finally:
            item, identity = read_line(values)
            if item is None:
                self.counts["foreign"] += 1
            self.queue.put_nowait(Arrived(item, identity, self.clock.now_ns()))
        if self.queue.qsize() >= QUEUE_MAX:
            self._held = True
            await self.queue.join()
            self._held = False

    def beat(self) -> None:
        """A sign of life."""
        self._heard.set()
        self._alive()

    async def _watch(self) -> None:
        await self.connected.wait()
        while True:
            self._heard.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._silence_s):
                    await self._heard.wait()
            if not self._heard.is_set() and not self._held:
                raise FeedError(f"X's stream: no sign of life for {self._silence_s:g} s")


def _client(line: Line) -> Any:
    """tweepy's streaming client, with the hooks that it offers for such ends."""
    from tweepy.asynchronous import AsyncStreamingClient

    class Client(AsyncStreamingClient):  # type: ignore[misc]
        async def on_data(self, raw_data: bytes) -> None:
            try:
                await line.line(raw_data)
            except Exception as error:
                line.fault = error
                raise

        async def on_keep_alive(self) -> None:
            line.beat()

        async def on_connect(self) -> None:
            line.counts["connects"] += 1
            line.connected.set()
            line.beat()

        async def on_closed(self, resp: Any) -> None:
            raise FeedError("X has closed the stream")

        async def on_connection_error(self) -> None:
            raise FeedError("the line to X's stream broke")

        async def on_request_error(self, status_code: int) -> None:
            raise FeedError(f"X's stream: HTTP {status_code}")

        async def on_disconnect(self) -> None:
            return None

        async def on_exception(self, exception: Exception) -> None:
            if exception is line.fault or isinstance(exception, FeedError):
                raise exception
            text = f"X's stream: {type(exception).__name__}: {redacted(str(exception))}"
            raise FeedError(text) from exception

    return Client(NO_KEY)
