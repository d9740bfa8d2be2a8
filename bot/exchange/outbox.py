"""What the venue told and the engine hasn't taken yet, and what of the venue's memory is safe to journal.

Memory (last trade ids, the foreign baseline) may only move on when the engine has taken what was told before, else a
crash in between would lose a fill. So each change of memory waits in line behind the events it follows.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from bot.events import Event, Funding, Outside, Report
from bot.ports import Put

Patch = Callable[[dict[str, Any]], None]


def is_counted(event: Event) -> bool:
    """True for events that only the venue puts and that move money: those that memory waits for."""
    return isinstance(event, (Report, Outside)) or (isinstance(event, Funding) and bool(event.venue_id))


class Outbox:
    """The way into the queue."""

    def __init__(self, memory: Mapping[str, Any] | None = None) -> None:
        self._memory: dict[str, Any] = json.loads(json.dumps(dict(memory or {})))
        self._line: deque[Patch | None] = deque()
        self._put: Put | None = None
        self.pending = 0
        self.told = 0
        self.moved = 0  # of these, those that change what the desk holds
        self.changed = False

    def open(self, put: Put) -> None:
        """From now on events go to `put`."""
        self._put = put

    def close(self) -> None:
        """Nothing is told any more."""
        self._put = None

    def put(self, event: Event) -> None:
        """Tell the engine."""
        if self._put is None:
            return
        if is_counted(event):
            self._line.append(None)
            self.pending += 1
            self.told += 1
            self.moved += not isinstance(event, Report) or event.what == "filled"
        self._put(event)

    def note(self, patch: Patch) -> None:
        """Change the memory as soon as all that was told so far is taken. `patch` is called with the memory."""
        self._line.append(patch)
        self._apply()

    def took(self, event: Event) -> None:
        """The engine has taken one event of the queue, in order; events of others don't count."""
        if not is_counted(event) or self.pending == 0:
            return
        while self._line:
            first = self._line.popleft()
            if first is None:
                break
            self._do(first)
        self.pending -= 1
        self._apply()

    def memory(self) -> dict[str, Any]:
        """The memory as JSON values, as of what the engine has taken; clears `changed`."""
        self.changed = False
        copy: dict[str, Any] = json.loads(json.dumps(self._memory))
        return copy

    def _apply(self) -> None:
        while self._line and self._line[0] is not None:
            self._do(self._line[0])
            self._line.popleft()

    def _do(self, patch: Patch) -> None:
        patch(self._memory)
        self.changed = True
