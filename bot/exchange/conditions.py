"""What stands in the way of new risk, as the venue's side sees it: each change is put into the queue once.

After a start nobody knows which latches the recovered engine holds, so the first word on each cause is always said,
also when it is "off". A sticky condition is for a person to clear: it is never said off from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bot.events import Condition, Event

AGAIN_NS = 60 * 10**9  # a sticky one that comes up again is said again: a person may have cleared it


class Conditions:
    """The conditions of one venue.

    Parameters
    ----------
    put : callable
        Into the queue.
    now_ns : callable
        Time of day.
    """

    def __init__(self, put: Callable[[Event], None], now_ns: Callable[[], int]) -> None:
        self._put = put
        self._now_ns = now_ns
        self._said: dict[tuple[str, str], Condition] = {}
        self._sticky: set[tuple[str, str]] = set()

    def on(
        self, cause: str, text: str, *, symbol: str = "", level: int = 1, limit: float = 0.0, observed: float = 0.0,
        sticky: bool = False,
    ) -> None:  # fmt: skip
        """Raise it; while it stands it isn't said again. sticky: only a person clears it."""
        key = (cause, symbol)
        condition = Condition(
            ns=self._now_ns(), cause=cause, on=True, symbol=symbol, level=level, limit=limit, observed=observed,
            text=text,
        )  # fmt: skip
        before = self._said.get(key)
        if sticky:
            self._sticky.add(key)
        elif before is not None and before.on:
            return
        if before is not None and before == replace(condition, ns=before.ns) and condition.ns - before.ns < AGAIN_NS:
            return
        self._said[key] = condition
        self._put(condition)

    def off(self, cause: str, *, symbol: str = "") -> None:
        """Clear it, unless it is sticky or said to be off already."""
        key = (cause, symbol)
        before = self._said.get(key)
        if key in self._sticky or (before is not None and not before.on):
            return
        self._said[key] = Condition(ns=self._now_ns(), cause=cause, on=False, symbol=symbol)
        self._put(self._said[key])

    def is_on(self, cause: str, symbol: str = "") -> bool:
        """True when it was raised from here and not cleared."""
        said = self._said.get((cause, symbol))
        return said is not None and said.on

    def blocking(self, symbol: str) -> str:
        """Why no new risk may leave for `symbol` just now; "" when it may.

        Sticky ones don't count: a person may have cleared them, and the gate knows.
        """
        for (cause, where), said in self._said.items():
            if said.on and (cause, where) not in self._sticky and where in ("", symbol):
                return f"{cause}: {said.text}"
        return ""

    def standing(self) -> list[str]:
        """All that is on, for people."""
        return [
            f"{cause} {symbol}".strip() + f": {said.text}" for (cause, symbol), said in self._said.items() if said.on
        ]
