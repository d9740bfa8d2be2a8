"""What a running bot needs of the world, as small ports: so that all of it can also run in a simulated one.

Time that passes is asyncio's (a simulated loop has virtual time); time of day, disk and the exchange come through here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from bot.events import Command, Event
from bot.exchange.wire import Message


class Clock(Protocol):
    """The time of day."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970 UTC; never goes back within a process."""
        ...


class Transport(Protocol):
    """The way to the exchange process, or to a simulated exchange."""

    async def ask(self, message: Message, *, timeout_s: float) -> Message:
        """The answer to one intent or question.

        Raises
        ------
        TimeoutError
            None came in time.
        ConnectionError
            The process isn't there. Whether the intent arrived isn't known, unless `NotConnected`.
        """
        ...

    def pushes(self) -> AsyncIterator[Message]:
        """What the exchange process tells of itself, as it comes."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class NotConnected(ConnectionError):
    """Nothing was written: the intent certainly never left."""


Put = Callable[[Event], None]


class Feed(Protocol):
    """Brings facts. Its coroutine ends when it is cancelled; what it meets on the way is its own affair to mend."""

    name: str

    async def run(self, put: Put) -> None:
        """Bring facts until cancelled. `ns` of what it puts is set by the engine's consumer."""
        ...

    def health(self) -> dict[str, Any]:
        """Age of the last fact, counts, errors: plain values for `status`."""
        ...


class Venue(Protocol):
    """Where orders go."""

    async def start(self, put: Put) -> None:
        """Reconcile, so that the strategy may speak; then keep telling what happens until `stop`."""
        ...

    async def send(self, commands: Sequence[Command]) -> None:
        """Send what the gate approved, after it was journalled. What becomes of it comes back as reports."""
        ...

    async def stop(self) -> None:
        """Stop telling. Orders that stand are left standing: the next start takes them up."""
        ...

    def health(self) -> dict[str, Any]:
        """Plain values for `status`."""
        ...


class Keeper(Protocol):
    """Durable records: the journal, or one in memory."""

    def append(self, ns: int, kind: str, body: dict[str, Any]) -> int:
        """Add a record to the open transaction; its sequence number."""
        ...

    def commit(self) -> None:
        """Make all that was appended durable before returning."""
        ...
