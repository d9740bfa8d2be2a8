"""Sums of a stream by whole minute: a minute is told when all of it was heard, and never when part of it was missed.

Nothing here reads a clock or a line: the caller says since when the stream is heard without a break, and until when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from data.times import MINUTE_NS, SECOND_NS, floor_time

GRACE_NS: Final = 3 * SECOND_NS
"""A minute is told so long after its end: what is stamped in it may still be on its way, and clocks differ."""

KEPT: Final = 5
KEYS_MAX: Final = 500_000


@dataclass
class _Minute:
    sums: list[float]
    keys: set[Hashable] = field(default_factory=set)
    whole: bool = True
    told: tuple[float, ...] | None = None


class Minutes:
    """The minutes of one stream.

    Parameters
    ----------
    width : int
        How many sums there are.

    Attributes
    ----------
    counts : Counter
        `twice`: things that came again; `late`: such that came after their minute was told, which is told again;
        `too_late`: minutes after it, so that it isn't; `unwhole`: minutes that hold something that can't be read.
    """

    def __init__(self, width: int) -> None:
        self.counts: Counter[str] = Counter()
        self._width = width
        self._next_ns: int | None = None
        self._first_ns = 0
        self._minutes: dict[int, _Minute] = {}

    @property
    def next_ns(self) -> int | None:
        """Start of the next minute to be told; None before the stream is heard."""
        return self._next_ns

    def begin(self, heard_ns: int) -> None:
        """From now on the stream is heard without a break: minutes count that begin at this time or later."""
        self._first_ns = self._next_ns = floor_time(heard_ns + MINUTE_NS - 1, MINUTE_NS)
        self._minutes = {at: minute for at, minute in self._minutes.items() if at >= self._first_ns}

    def add(self, key: Hashable, stamp_ns: int, values: Sequence[float]) -> None:
        """Count a thing once by its key, in the minute of its stamp."""
        minute = self._minute(stamp_ns)
        if minute is None:
            return
        if key in minute.keys:
            self.counts["twice"] += 1
            return
        if len(minute.keys) >= KEYS_MAX:
            minute.whole = False
            return
        minute.keys.add(key)
        for at, value in enumerate(values):
            minute.sums[at] += value

    def spoil(self, stamp_ns: int) -> None:
        """Something of about that time, or shortly before, was lost or can't be read: its minute isn't whole."""
        for at in (stamp_ns, stamp_ns - GRACE_NS):
            minute = self._minute(at)
            if minute is not None:
                minute.whole = False

    def settle(self, heard_ns: int) -> list[tuple[int, tuple[float, ...]]]:
        """Minutes that are over and were heard whole, with those that have changed since they were told.

        Parameters
        ----------
        heard_ns : int
            Until when the stream was surely heard.

        Returns
        -------
        list of (end of the minute in ns, sums)
        """
        told: list[tuple[int, tuple[float, ...]]] = []
        if self._next_ns is None:
            return told
        for at, minute in sorted(self._minutes.items()):
            if minute.told is not None and minute.whole and tuple(minute.sums) != minute.told:
                self.counts["late"] += 1
                told.append((at + MINUTE_NS, self._tell(minute)))
        while self.is_due(heard_ns):
            minute = self._minutes.setdefault(self._next_ns, self._fresh())
            if minute.whole:
                told.append((self._next_ns + MINUTE_NS, self._tell(minute)))
            else:
                self.counts["unwhole"] += 1
            self._next_ns += MINUTE_NS
        oldest = self._next_ns - KEPT * MINUTE_NS
        self._minutes = {at: minute for at, minute in self._minutes.items() if at >= oldest}
        return told

    def is_due(self, heard_ns: int) -> bool:
        """Whether `settle` would tell the next minute."""
        return self._next_ns is not None and self._next_ns + MINUTE_NS + GRACE_NS <= heard_ns

    def _minute(self, stamp_ns: int) -> _Minute | None:
        at = floor_time(stamp_ns, MINUTE_NS)
        if self._next_ns is not None:
            if at < self._first_ns:
                return None
            if at < self._next_ns - KEPT * MINUTE_NS:
                self.counts["too_late"] += 1
                return None
        return self._minutes.setdefault(at, self._fresh())

    def _fresh(self) -> _Minute:
        return _Minute([0.0] * self._width)

    @staticmethod
    def _tell(minute: _Minute) -> tuple[float, ...]:
        minute.told = tuple(minute.sums)
        return minute.told
