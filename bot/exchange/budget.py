"""The rate budget: requests by weight in a sliding minute, with room that only cancels and exits may use.

A venue that says "too many" is obeyed: nothing leaves until its Retry-After is over, or, without one, for longer
each time.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections import deque
from collections.abc import Callable, Mapping

MINUTE_S = 60.0
RESERVE = 0.25
FIRST_WAIT_S = {429: 10.0, 418: 120.0}
WAIT_MAX_S = {429: 300.0, 418: 3600.0}
_UNTIL = re.compile(r"until (\d{13})")


class Budget:
    """`per_minute` in the venue's weights; `monotonic` in seconds, `wall_ns` for what is told to others."""

    def __init__(
        self,
        per_minute: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.per_minute = per_minute
        self._monotonic, self._wall_ns = monotonic, wall_ns
        self._used: deque[tuple[float, float]] = deque()
        self._stopped_until = 0.0
        self._placing_until = 0.0
        self._refusals = 0

    def take(self, weight: float, *, urgent: bool = False, placing: bool = False) -> int:
        """0 and the weight is taken; else until when (ns UTC) there is no room.

        Parameters
        ----------
        weight : float
            Of the request, in the venue's units.
        urgent : bool
            A cancel or an exit: may use the reserved room.
        placing : bool
            It places an order: also waits while the venue wants no more of them.
        """
        now = self._monotonic()
        stop = max(self._stopped_until, self._placing_until if placing else 0.0)
        if stop > now:
            return self._wall(stop, now)
        while self._used and self._used[0][0] <= now - MINUTE_S:
            self._used.popleft()
        limit = self.per_minute if urgent else self.per_minute * (1 - RESERVE)
        over = sum(one for _, one in self._used) + weight - limit
        if over > 0 and (self._used or weight > self.per_minute):
            for when, one in self._used:
                over -= one
                if over <= 0:
                    return self._wall(when + MINUTE_S, now)
            return self._wall(now + MINUTE_S, now)
        self._used.append((now, weight))
        return 0

    def told(self, used: float) -> None:
        """The venue's own count of the running minute; the higher of the two counts."""
        now = self._monotonic()
        missing = used - sum(one for when, one in self._used if when > now - MINUTE_S)
        if missing > 0:
            # Somebody else behind the same address. The venue's minute begins anew at the full minute.
            self._used.append((now, missing))

    def refused(self, status: int, headers: Mapping[str, str], body: str, *, orders_only: bool = False) -> int:
        """The venue said "too many" (429) or shut us out (418); until when nothing leaves (ns UTC)."""
        now = self._monotonic()
        kind = 418 if status == 418 else 429
        wait = retry_after_s(headers, self._wall_ns())
        named = _UNTIL.search(body)
        if named is not None:
            wait = max(wait or 0.0, int(named.group(1)) / 1000 - self._wall_ns() / 1e9)
        if wait is None:
            wait = min(FIRST_WAIT_S[kind] * 2**self._refusals, WAIT_MAX_S[kind])
        self._refusals = min(self._refusals + 1, 10)
        if orders_only:
            self._placing_until = max(self._placing_until, now + wait)
            return self._wall(self._placing_until, now)
        self._stopped_until = max(self._stopped_until, now + wait)
        return self._wall(self._stopped_until, now)

    def answered(self) -> None:
        """An answer came without complaint."""
        self._refusals = 0

    def _wall(self, when: float, now: float) -> int:
        return self._wall_ns() + int(max(when - now, 0.001) * 1e9)


def retry_after_s(headers: Mapping[str, str], now_ns: int) -> float | None:
    """Seconds that a Retry-After header names, as a number or as a date; None without one that can be read."""
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - now_ns / 1e9
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0) if seconds == seconds and seconds != float("inf") else None


def used_weight(headers: Mapping[str, str]) -> float | None:
    """The venue's count of this minute's weight, where it tells it."""
    said = next((value for name, value in headers.items() if name.lower() == "x-mbx-used-weight-1m"), None)
    try:
        return None if said is None else float(said)
    except ValueError:
        return None


class Pace:
    """Spaces out what isn't urgent, on the monotonic clock; stands in for ccxt's throttle, which reads the wall clock.

    `interval_s` is the time that one unit of cost refills, `burst` how many units may go at once.
    """

    def __init__(self, interval_s: float, burst: float = 20.0) -> None:
        self._interval_s, self._burst = interval_s, burst
        self._free_at = 0.0

    def delay_s(self, cost: float) -> float:
        """How long to wait before a request of this cost; it is booked."""
        now = time.monotonic()
        start = max(self._free_at, now - self._burst * self._interval_s)
        self._free_at = start + cost * self._interval_s
        return max(self._free_at - now - cost * self._interval_s, 0.0)
