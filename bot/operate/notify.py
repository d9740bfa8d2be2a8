"""Notices to people through apprise: from a bounded queue, by a thread of its own, many in one message.

Nothing here can hold up trading: to tell is to queue. A full queue and a message that can't be delivered are counted
and logged. An address is never logged: with most services it is the secret.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.operate.logs import clean
from bot.operate.references import look_up
from data.errors import InputError

KINDS = ("session", "fill", "refusal", "ladder", "alarm", "error", "daily")
URGENT = frozenset({"ladder", "alarm", "error"})
WORDS = {"daily": ("daily summary", "daily summaries"), "ladder": ("ladder move", "ladder moves")}
QUEUE_MAX = 1000
LINES_MAX = 10
TEXT_MAX = 500
TRIES_S = (0.0, 2.0, 8.0)
LOG = logging.getLogger("tidegate.notify")
Send = Callable[[str, str], bool]


@dataclass
class Counts:
    """What became of the notices."""

    told: int = 0
    messages: int = 0  # delivered
    failed: int = 0  # messages that a target never took
    dropped: int = 0  # notices that didn't fit into the queue


@dataclass
class _Batch:
    """What goes out as one message: of each kind how many, and the newest few."""

    total: dict[str, int] = field(default_factory=dict)
    lines: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    since: float = 0.0
    urgent: bool = False
    number: int = 0

    def add(self, kind: str, text: str, now: float) -> None:
        if not self.total:
            self.since = now
        self.number += 1
        self.urgent = self.urgent or kind in URGENT
        self.total[kind] = self.total.get(kind, 0) + 1
        kept = self.lines.setdefault(kind, [])
        kept.append((self.number, text))
        del kept[:-LINES_MAX]

    def message(self, title: str, dropped: int) -> tuple[str, str]:
        """Title and body."""
        counts = ", ".join(_count(kind, total) for kind, total in self.total.items())
        merged = sorted((number, f"{kind}: {text}") for kind, kept in self.lines.items() for number, text in kept)
        body = [text for _, text in merged]
        for kind, total in self.total.items():
            if total > len(self.lines[kind]):
                body.append(f"and {_count(kind, total - len(self.lines[kind]))} before these: see tidegate logs")
        if dropped:
            body.append(f"{dropped} notices were lost: the queue was full")
        return f"{title}: {counts}", "\n".join(body)


class Notifier:
    """Tells people. `targets` are functions (title, body) -> delivered; see `apprise_targets`."""

    def __init__(
        self,
        targets: Sequence[Send],
        *,
        title: str,
        on: Collection[str] = KINDS,
        gather_s: float = 2.0,
        every_s: float = 15.0,
        tries_s: Sequence[float] = TRIES_S,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """
        Parameters
        ----------
        title : str
            First words of every message, for example "tidegate live main".
        on : collection of str
            Kinds that are told of.
        gather_s : float
            How long others are waited for; urgent ones (ladder, alarm, error) don't wait.
        every_s : float
            At most one message in this time, urgent or not.
        """
        self.counts = Counts()
        self._targets, self._title, self._on = list(targets), title, frozenset(on)
        self._gather_s, self._every_s, self._tries_s = gather_s, every_s, tuple(tries_s)
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue(queue_max)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        if self._targets:
            self._thread.start()

    def tell(self, kind: str, text: str, *, exact: str = "") -> None:
        """Queue a notice; returns at once and never raises. `exact` follows the text as it is (a signed head)."""
        if kind not in self._on or not self._targets or self._closing.is_set():
            return
        self.counts.told += 1
        try:
            self._queue.put_nowait((kind, clean(text)[: TEXT_MAX if kind != "daily" else None] + exact))
        except queue.Full:
            self.counts.dropped += 1

    def close(self, timeout_s: float = 10.0) -> None:
        """Send what waits, once, and stop."""
        if self._closing.is_set() or not self._targets:
            return
        self._closing.set()
        until = time.monotonic() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            LOG.error("notices that still waited were not sent")
            return
        self._thread.join(max(until - time.monotonic(), 0.1))
        if self._thread.is_alive():
            LOG.error("a notice was still under way when the bot stopped")

    def _run(self) -> None:
        batch, allowed, told_dropped = _Batch(), 0.0, 0
        while True:
            now = time.monotonic()
            due = max(allowed, 0.0 if batch.urgent else batch.since + self._gather_s) if batch.total else None
            if due is not None and now >= due and (self._queue.empty() or now > due + 1.0):
                dropped, told_dropped = self.counts.dropped - told_dropped, self.counts.dropped
                self._deliver(*batch.message(self._title, dropped))
                batch, allowed = _Batch(), time.monotonic() + self._every_s
                continue
            try:
                item = self._queue.get(timeout=None if due is None else max(due - now, 0.0))
            except queue.Empty:
                continue
            if item is None:
                if batch.total:
                    self._deliver(*batch.message(self._title, self.counts.dropped - told_dropped))
                return
            batch.add(*item, now)

    def _deliver(self, title: str, body: str) -> None:
        waiting = self._targets
        for number, pause in enumerate(self._tries_s):
            if number and self._closing.wait(pause):
                break
            waiting = [send for send in waiting if not self._one(send, title, body)]
            if not waiting:
                return
        self.counts.failed += len(waiting)
        LOG.error("a notice was not delivered to %d of %d targets: %s", len(waiting), len(self._targets), title)

    def _one(self, send: Send, title: str, body: str) -> bool:
        try:
            done = send(title, body)
        except Exception as error:  # a plug-in of somebody else's; its text may hold the address
            LOG.warning("a notice failed: %s", type(error).__name__)
            return False
        self.counts.messages += bool(done)
        return bool(done)


def apprise_targets(urls: Sequence[str], folder: Path = Path()) -> list[Send]:
    """One target for each address of `[notify] urls`; references are looked up.

    Raises
    ------
    InputError
        A reference names nothing, or apprise doesn't know the address. The address isn't repeated.
    """
    if not urls:
        return []
    for name in ("apprise", "urllib3"):  # what they log carries addresses
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():  # its plug-ins are loaded here, with what their libraries think of this Python
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        targets: list[Send] = []
        for number, text in enumerate(urls, 1):
            place = f"notify.urls, number {number}"
            sender = apprise.Apprise()
            if not sender.add(look_up(text, key=place, folder=folder)):
                remedy = "See apprise's list of services"
                raise InputError("not an address that apprise knows", key=place, remedy=remedy)
            targets.append(_sending(sender))
    return targets


def daily_text(status: dict[str, Any], day: dict[str, Any]) -> str:
    """The daily summary: equity, the day's profit, fees and fills, ladder, feeds.

    Parameters
    ----------
    status : dict
        A status answer or snapshot.
    day : dict
        "date", and of that day "profit", "fees", "fills", "refusals".
    """
    from bot.operate.status import feed_line, feed_lines
    from bot.operate.words import money

    held = {symbol: entry for symbol, entry in (status.get("positions") or {}).items() if entry.get("qty")}
    latches = ", ".join(str(latch.get("cause")) for latch in status.get("latches") or [])
    feeds = "; ".join(
        feed_line(name, health) for name, health in feed_lines(status.get("feeds") or {}) if "age_s" in health
    )
    unknown = sum(order.get("state") == "UNKNOWN" for order in status.get("orders") or [])
    lines = [
        f"{day.get('date', '')}: equity {money(status.get('equity'))}, day {money(day.get('profit'), signed=True)}",
        f"fees {money(day.get('fees'))}, fills {day.get('fills', 0)}, refusals {day.get('refusals', 0)}",
        f"ladder {status.get('level', 'unknown')}" + (f" ({latches})" if latches else ""),
        "holds " + (", ".join(f"{entry['qty']:g} {symbol}" for symbol, entry in held.items()) or "nothing"),
        f"feeds {feeds or 'none'}",
    ]
    if unknown:
        lines.append(f"UNKNOWN orders: {unknown}")
    return "\n".join(lines)


def head_line(seq: int, digest: str, signature: str = "") -> str:
    """The journal's head as it goes out with the daily summary: a rewritten tail doesn't fit it."""
    return f"\njournal head {seq} {digest}" + (f" signature {signature}" if signature else "")


def next_daily_ns(now_ns: int, at_ns: int) -> int:
    """When the next summary is due: `at_ns` after a midnight UTC."""
    day = 86_400 * 10**9
    today = now_ns // day * day + at_ns
    return today if today > now_ns else today + day


def _sending(sender: Any) -> Send:
    def send(title: str, body: str) -> bool:
        return bool(sender.notify(body=body, title=title))

    return send


def _count(kind: str, total: int) -> str:
    one, many = WORDS.get(kind, (kind, f"{kind}s"))
    return f"{total} {one if total == 1 else many}"
