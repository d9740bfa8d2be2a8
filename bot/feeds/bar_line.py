"""One symbol's bars, without hands: which bar is closed, which can't be true, what the venue changed afterwards.

The law of this file: a bar is put once, when it is closed, in order. Closed means that the stream told of the next bar
without a break since its last word on this one, or that REST tells of the next bar, or that it is over by the venue's
clock and REST tells the same of it for a while. A bar that can't be true is put aside, counted, and its symbol takes no
new risk until a good one comes. One that the venue changes afterwards is counted and reported: what was decided on it
stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from bot.events import Bar, Condition
from bot.feeds.public import Row
from bot.ports import Put
from data.checks import bar_faults
from data.times import SECOND_NS, format_duration, format_time

LOG = logging.getLogger("tidegate.feeds")
PAGE = 1000
REMEMBERED = 512  # bars of a symbol that are watched for later changes
SILENT_BARS = 2
SAME_NS = 3 * SECOND_NS  # a bar that is over is told with the same values for so long, unless the next one shows
BAD, SILENT = "bad", "silent"
FAR = 2**62
COUNTS = (
    *("by_stream", "by_rest", "caught_up", "quarantined", "revised", "holes", "silences"),
    *("rest", "rest_failures", "stream_failures"),
)


class Line:
    """What is known of one symbol; all times are the venue's, in nanoseconds UTC.

    Parameters
    ----------
    last_ns : int
        Close of the newest bar that is known already: the next one opens there.
    put : Put
        Takes bars and conditions.

    Attributes
    ----------
    began_ns : int
        Bars that closed by then are caught up, not decided on.
    good_ns : int
        Close of the last sound bar.
    woken : asyncio.Event
        Set while the stream has told of a bar behind the next one.
    misses : int
        Bars in a row that REST knew and the stream didn't tell.
    """

    def __init__(self, symbol: str, bar_ns: int, last_ns: int, put: Put) -> None:
        self.symbol, self.bar_ns, self.last_ns = symbol, bar_ns, last_ns
        self.good_ns = last_ns
        self.began_ns = 0
        self.misses = 0
        self.trouble = ""
        self.reasons: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.woken = asyncio.Event()
        self._put = put
        self._heard: dict[int, Row] = {}  # from the stream, not put yet
        self._whole: set[int] = set()  # of these: no break since the stream's last word
        self._broken = False  # nothing was heard since the stream broke
        self._newest_ns = -FAR  # open of the newest bar that the stream told of
        self._done: OrderedDict[int, Row] = OrderedDict()
        self._changed: dict[int, Row] = {}
        self._same: tuple[Row | None, int] = (None, 0)  # the newest bar as it was told last, and since when
        self._doubted: set[int] = set()  # opens of bars that were missing or bad in an answer

    def hear(self, rows: Sequence[Row]) -> None:
        """What the stream tells: news, perhaps with older bars as a library remembers them, also across a break."""
        newest = max((row.open_ns for row in rows), default=-FAR)
        for row in rows:
            if row.open_ns < self.last_ns:
                self._compare(row)
                continue
            is_news = row.open_ns == newest or (not self._broken and self._heard.get(row.open_ns) != row)
            self._heard[row.open_ns] = row
            if is_news:
                self._whole.add(row.open_ns)
        self._newest_ns = max(self._newest_ns, newest)
        self._broken = False
        while len(self._heard) > REMEMBERED:  # far ahead of a hole that REST has to fill; it will bring these, too
            self._heard.pop(min(self._heard))
        if self._newest_ns > self.last_ns:
            self.woken.set()

    def break_off(self) -> None:
        """The stream broke: its last word on a bar may not have been the last."""
        self._whole.clear()
        self._broken = True

    def by_stream(self) -> Row | None:
        """The next bar, when the stream alone proves that it is closed, and it can be true."""
        row = self._heard.get(self.last_ns)
        if row is None or self._newest_ns <= self.last_ns or self.last_ns not in self._whole:
            return None
        return None if fault_of(row, self.bar_ns) else row

    def limit(self, now_ns: int) -> int:
        """How many bars REST is to be asked for, from the one before the next on."""
        return int(min(PAGE, max(3, (now_ns - self.last_ns) // self.bar_ns + 3)))

    def learn(self, rows: Sequence[Row], asked_ns: int, doubt_ns: int) -> bool:
        """Put what an answer of REST proves to be closed.

        Parameters
        ----------
        asked_ns : int
            When the question left.
        doubt_ns : int
            A bar is over so long after its end.

        Returns
        -------
        bool
            True when the line went on by at least one bar.
        """
        found = {row.open_ns: row for row in rows}
        newest = max(found, default=-FAR)
        before = self.last_ns
        for row in rows:
            if row.open_ns < before:
                self._compare(row)
        over = self._over(found, asked_ns, doubt_ns)
        faults = {at: fault_of(row, self.bar_ns) for at, row in found.items()}
        while self.last_ns < newest or (self.last_ns == over and over in found):
            at = self.last_ns
            if faults.get(at) == "":
                self.take(found[at], "rest", asked_ns)
            elif at not in self._doubted:  # asked for once more before it is given up
                break
            elif at in found:
                self._quarantine(found[at], faults[at])
            else:
                self._skip()
        reach = range(self.last_ns, newest, self.bar_ns)
        self._doubted = {at for at in self._doubted if at >= self.last_ns}
        self._doubted |= {at for at in (*reach, *found) if at >= self.last_ns and faults.get(at) != ""}
        if newest < before:
            self._jump(asked_ns)
        return self.last_ns > before

    def _over(self, found: Mapping[int, Row], asked_ns: int, doubt_ns: int) -> int:
        """Open of the newest bar, when it is over without the next one showing; -1 when that isn't sure.

        Its end and the time to settle have passed, and it was told with the same values for a while since then: a venue
        that answers from a cache may still tell of it as it was.
        """
        newest = max(found, default=-FAR)
        if not found or newest + self.bar_ns + doubt_ns > asked_ns:
            return -1
        row, first_ns = self._same
        if row != found[newest]:
            self._same = (found[newest], asked_ns)
            return -1
        return newest if asked_ns - first_ns >= SAME_NS else -1

    def take(self, row: Row, way: str, now_ns: int) -> None:
        """Put a closed, sound bar. way: "stream" or "rest"."""
        close_ns = row.open_ns + self.bar_ns
        late = close_ns <= self.began_ns or close_ns + self.bar_ns <= now_ns
        bar = Bar(
            ns=0, symbol=self.symbol, open_ns=row.open_ns, close_ns=close_ns, open=row.open, high=row.high,
            low=row.low, close=row.close, volume=row.volume, caught_up=late,
        )  # fmt: skip
        self.misses = self.misses + 1 if way == "rest" and not late and row.open_ns not in self._heard else 0
        self._done[row.open_ns] = row
        while len(self._done) > REMEMBERED:
            self._changed.pop(self._done.popitem(last=False)[0], None)
        self.counts["caught_up" if late else f"by_{way}"] += 1
        self.trouble = ""
        self._pass()
        self.good_ns = close_ns
        self._put(bar)
        self._turn(BAD, on=False)
        if now_ns - close_ns < SILENT_BARS * self.bar_ns:
            self._turn(SILENT, on=False)

    def judge_silence(self, now_ns: int) -> None:
        """No new risk when nothing came for two bars."""
        age = now_ns - self.good_ns
        if age >= SILENT_BARS * self.bar_ns:
            text = f"no bar for {format_duration(age // SECOND_NS * SECOND_NS)}"
            self._turn(SILENT, on=True, text=f"{text}: {self.trouble}" if self.trouble else text, age_ns=age)

    def give_up(self, now_ns: int) -> None:
        """REST can't be asked: pass a bar that only it could tell, once the stream has closed later ones."""
        if now_ns - self.last_ns < (1 + SILENT_BARS) * self.bar_ns:
            return
        later = [at for at in self._whole if self.last_ns < at < self._newest_ns]
        if later:
            LOG.warning("%s goes on by its stream without the bar of %s", self.symbol, format_time(self.last_ns))
            while self.last_ns < min(later):
                self._skip()

    def _jump(self, asked_ns: int) -> None:
        """A whole page without a bar, asked for twice: the venue has none, and is asked behind it."""
        page = PAGE * self.bar_ns
        if self.last_ns + page > asked_ns:
            return
        if self.last_ns not in self._doubted:
            self._doubted.add(self.last_ns)
            return
        LOG.warning("%s has no bars for %d from %s on", self.symbol, PAGE, format_time(self.last_ns))
        self.counts["holes"] += PAGE
        self.last_ns += page

    def _skip(self) -> None:
        self.counts["holes"] += 1
        LOG.info("%s: no bar of %s", self.symbol, format_time(self.last_ns))
        self._pass()

    def _quarantine(self, row: Row, fault: str) -> None:
        self.counts["quarantined"] += 1
        text = f"the bar of {format_time(row.open_ns)} can't be true: {fault}"
        LOG.warning("%s: %s", self.symbol, text)
        self._pass()
        self._turn(BAD, on=True, text=text)

    def _pass(self) -> None:
        """Go on to the next bar."""
        self.last_ns += self.bar_ns
        for behind in [at for at in self._heard if at < self.last_ns]:
            self._heard.pop(behind)
        self._whole &= self._heard.keys()
        if self._newest_ns <= self.last_ns:
            self.woken.clear()

    def _compare(self, row: Row) -> None:
        """Count a bar that was put and now has other values; once for each new set of them."""
        known = self._changed.get(row.open_ns, self._done.get(row.open_ns))
        if known is None or known == row:
            return
        self._changed[row.open_ns] = row
        self.counts["revised"] += 1
        LOG.warning(
            "%s: the venue changed its bar of %s after it was put: %s became %s",
            self.symbol, format_time(row.open_ns), known[1:], row[1:],
        )  # fmt: skip

    def _turn(self, reason: str, *, on: bool, text: str = "", age_ns: int = 0) -> None:
        """Raise or clear one reason; the symbol's condition lasts while there is any."""
        before = bool(self.reasons)
        (self.reasons.add if on else self.reasons.discard)(reason)
        if bool(self.reasons) == before:
            return
        limit = SILENT_BARS * self.bar_ns / SECOND_NS if age_ns else 0.0
        observed = age_ns / SECOND_NS
        self._put(Condition(ns=0, cause="data", on=on, symbol=self.symbol, text=text, limit=limit, observed=observed))


def fault_of(row: Row, bar_ns: int) -> str:
    """Why a bar can't be true; empty when it can."""
    opened, high, low, close, volume = (np.array([value]) for value in row[1:])
    return str(bar_faults(np.array([row.open_ns]), (opened, high, low, close), volume, bar_ns, FAR)[0])
