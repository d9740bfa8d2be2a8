"""The purse of a paid source: what was spent today and this month, kept on disk so that nothing makes it forget.

The law of this file: money is in the books before it counts as spendable. A purse books a little ahead, a lease, and
spends from it in memory; what a killed process had left of its lease stays booked. So the books can say too much, by
less than one lease a kill, and never too little. Days and months are UTC, and the books' own time never goes back: a
clock that does finds the day that it left behind still as spent as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from pydantic import Field

from data.errors import InputError, WorkError
from data.feed import FeedError, Options
from data.manifest import disk_error, flush_folder, locked
from data.times import DAY_NS, SECOND_NS, format_date, format_time

FORMAT: Final = 1
LEASE_ITEMS: Final = 50
SHARE_OF_ROOM: Final = 8
"""A lease is at most this part of what is left, so that near the cap others who share the account still get theirs."""

PLENTY: Final = 10**9
NONE: Final = Decimal(0)
BOOKS: Final = "books.json"
OPENED: Final = "opened"


class PaidOptions(Options):
    """Base of the options of a source that costs money."""

    account: str = Field("", pattern=r"^[a-z0-9_-]{0,40}$", description="feeds with the same account share one purse")
    cost: Decimal = Field(NONE, ge=0, description="USD for an item")
    cap_day: Decimal = Field(Decimal(5), gt=0, description="USD that may be spent in a day (UTC)")
    cap_month: Decimal = Field(Decimal(50), gt=0, description="USD that may be spent in a month (UTC)")


@dataclass(frozen=True)
class Books:
    """What stands on disk: sums of the newest day and month, whether a cap has stopped somebody, and the caps then."""

    day: str = ""
    month: str = ""
    day_usd: Decimal = NONE
    month_usd: Decimal = NONE
    last_ns: int = 0
    stopped_ns: int = 0
    stopped_by: str = ""
    stopped_why: str = ""
    cap_day: Decimal = NONE
    cap_month: Decimal = NONE

    def at(self, now_ns: int) -> Books:
        """The books as they stand at a time, which never goes back: a new day or month begins at nothing."""
        last_ns = max(now_ns, self.last_ns)
        day = format_date(last_ns)
        month = day[:7]
        books = replace(self, day=day, month=month, last_ns=last_ns)
        if day != self.day:
            books = replace(books, day_usd=NONE)
        if month != self.month:
            books = replace(books, month_usd=NONE)
        over = (self.stopped_by == "day" and day != self.day) or (self.stopped_by == "month" and month != self.month)
        return replace(books, stopped_ns=0, stopped_by="", stopped_why="") if over else books


@dataclass(frozen=True)
class Spent:
    """What `status` shows of a purse; amounts in USD.

    Parameters
    ----------
    account : str
    day, month : str
        The UTC day and month that the books stand at.
    today, this_month : Decimal
        Booked, what is booked ahead by running feeds with it.
    cap_day, cap_month, remaining : Decimal
        `remaining` is what may still be booked now, by both caps.
    stopped_ns : int
        Since when a cap stops the feeds; 0 when none does.
    why : str
        Which cap it is, in words; empty when none does.
    """

    account: str
    day: str
    month: str
    today: Decimal
    this_month: Decimal
    cap_day: Decimal
    cap_month: Decimal
    remaining: Decimal
    stopped_ns: int
    why: str


class Spending:
    """The purse of one account; several feeds and processes may hold one each.

    Parameters
    ----------
    folder : Path
        Where its books are, for example `var/feeds/spend/x`; see `purse_of`.
    cost : Decimal
        USD for an item.
    cap_day, cap_month : Decimal
        USD that may be spent in a UTC day and month.
    lease_items : int
        Items booked ahead at a time; 1 makes every item wait for the disk.
    """

    def __init__(
        self, folder: Path, *, cost: Decimal, cap_day: Decimal, cap_month: Decimal, lease_items: int = LEASE_ITEMS
    ) -> None:
        self.folder, self.cost = Path(folder), cost
        self._caps = {"day": cap_day, "month": cap_month}
        self._ahead = lease_items * cost
        self._lease, self._taken, self._day, self._last_ns = NONE, NONE, "", 0

    def spend(self, items: int, now_ns: int, cost: Decimal | None = None) -> None:
        """See `data.feed.Purse`. Raises FeedError (final) at a cap, and for books that can't be read or written."""
        amount = items * (self.cost if cost is None else cost)
        self._last_ns = max(self._last_ns, now_ns)
        if format_date(self._last_ns) != self._day or amount > self._lease:
            with _as_feed_error(self.folder):
                self._book(amount, now_ns)
        self._lease -= amount
        self._taken += amount

    def give_back(self, items: int, booked_ns: int, cost: Decimal | None = None) -> None:
        """See `data.feed.Purse`: never more than this purse itself has spent on that day."""
        if format_date(booked_ns) != self._day:
            return
        amount = min(items * (self.cost if cost is None else cost), self._taken)
        self._lease += amount
        self._taken -= amount
        if self._lease > 2 * self._ahead:
            with _as_feed_error(self.folder):
                self._return(self._lease - self._ahead)

    def room(self, now_ns: int, cost: Decimal | None = None) -> int:
        """See `data.feed.Purse`."""
        each = self.cost if cost is None else cost
        if each == 0:
            return PLENTY
        with _as_feed_error(self.folder), locked(self.folder):
            books = _read(self.folder).at(now_ns)
        mine = self._lease if books.day == self._day else NONE
        return int(((max(self._left(books), NONE) + mine) / each).to_integral_value(ROUND_FLOOR))

    def close(self) -> None:
        """Give back what is left of the lease; the purse may be used again.

        Raises
        ------
        FeedError
            The books can't be read or written; the lease stays booked.
        """
        with _as_feed_error(self.folder):
            self._return(self._lease)

    def spent(self, now_ns: int | None = None) -> Spent:
        """What stands in the books; with this purse's caps, for those of the last spender see `read_spent`.

        Parameters
        ----------
        now_ns : int, optional
            Without it, as of the last booking.

        Raises
        ------
        InputError
            The books are damaged.
        """
        return _shown(self.folder, now_ns, self._caps)

    def _left(self, books: Books) -> Decimal:
        return min(self._caps["day"] - books.day_usd, self._caps["month"] - books.month_usd)

    def _book(self, amount: Decimal, now_ns: int) -> None:
        """Have at least an amount in the lease, durably booked; what another day left of it goes back."""
        with locked(self.folder):
            books = replace(
                self._unlease(_read(self.folder).at(now_ns)), cap_day=self._caps["day"], cap_month=self._caps["month"]
            )
            need = amount - self._lease
            left = self._left(books)
            if need > left:
                books = self._stopped(books, "month" if need > self._caps["month"] - books.month_usd else "day")
                self._write(books)
                raise _stop(self.folder.name, books, now_ns)
            ahead = min(self._ahead, left / SHARE_OF_ROOM)
            more = max(need, ahead // self.cost * self.cost if self.cost else NONE)
            books = replace(books, day_usd=books.day_usd + more, month_usd=books.month_usd + more)
            self._write(replace(books, stopped_ns=0, stopped_by="", stopped_why=""))
            self._lease += more

    def _unlease(self, books: Books) -> Books:
        """Books without the lease of a day that is over; the lease of the same day is kept."""
        if books.day == self._day:
            return books
        if self._lease and books.month == self._day[:7]:
            books = replace(books, month_usd=max(books.month_usd - self._lease, NONE))
        self._lease, self._taken, self._day = NONE, NONE, books.day
        self._last_ns = max(self._last_ns, books.last_ns)
        return books

    def _return(self, amount: Decimal) -> None:
        if not amount:
            return
        with locked(self.folder):
            books = _read(self.folder)
            if books.day == self._day:
                books = replace(books, day_usd=max(books.day_usd - amount, NONE))
            if books.month == self._day[:7]:
                books = replace(books, month_usd=max(books.month_usd - amount, NONE))
            self._lease -= amount  # first: a failed write leaves it booked and unspendable
            self._write(books)

    def _stopped(self, books: Books, by: str) -> Books:
        spent, period = (books.day_usd, books.day) if by == "day" else (books.month_usd, books.month)
        why = f"the cap of {self._caps[by]:f} USD a {by} is reached ({spent:f} USD booked in {period})"
        since_ns = books.stopped_ns if books.stopped_by == by else books.last_ns
        return replace(books, stopped_ns=since_ns, stopped_by=by, stopped_why=why)

    def _write(self, books: Books) -> None:
        fresh = self.folder / f"{BOOKS}.tmp"
        with fresh.open("wb") as sink:
            sink.write(_text(books))
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(fresh, self.folder / BOOKS)
        opened = self.folder / OPENED
        if not opened.exists():
            opened.touch()
            flush_folder(self.folder.parent)
        flush_folder(self.folder)


def read_spent(folder: Path, now_ns: int | None = None) -> Spent:
    """What stands in the books of an account, with the caps of who spent last: for those who don't spend.

    Raises
    ------
    InputError
        The books are damaged.
    """
    return _shown(Path(folder), now_ns, None)


def purse_of(options: Options, name: str, var: Path) -> Spending | None:
    """The purse of a configured feed; None for a source that costs nothing.

    Parameters
    ----------
    options : Options
        Of the feed; those of paid sources are `PaidOptions`.
    name : str
        Of the source: the account's name where the options give none.
    var : Path
        The run-time folder.
    """
    if not isinstance(options, PaidOptions):
        return None
    folder = var / "feeds" / "spend" / (options.account or name)
    return Spending(folder, cost=options.cost, cap_day=options.cap_day, cap_month=options.cap_month)


def _read(folder: Path) -> Books:
    path = folder / BOOKS
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        if not (folder / OPENED).exists():
            return Books()
        raise _damaged(path, "the books are gone") from None
    except (ValueError, KeyError, TypeError, InvalidOperation, RecursionError) as error:
        raise _damaged(path, f"the books are damaged ({str(error)[:80]})") from None


def _shown(folder: Path, now_ns: int | None, caps: Mapping[str, Decimal] | None) -> Spent:
    books = _read(folder) if folder.is_dir() else Books()
    if now_ns is not None or books.day:
        books = books.at(books.last_ns if now_ns is None else now_ns)
    day, month = (caps["day"], caps["month"]) if caps else (books.cap_day, books.cap_month)
    return Spent(
        account=folder.name,
        day=books.day,
        month=books.month,
        today=books.day_usd,
        this_month=books.month_usd,
        cap_day=day,
        cap_month=month,
        remaining=max(min(day - books.day_usd, month - books.month_usd), NONE),
        stopped_ns=books.stopped_ns,
        why=books.stopped_why,
    )


@contextmanager
def _as_feed_error(folder: Path) -> Iterator[None]:
    """Fail closed: without books nothing is bought."""
    try:
        yield
    except OSError as error:
        raise FeedError(f"the purse: {disk_error(error, folder)}", pause_s=60.0) from error
    except (InputError, WorkError) as error:
        raise FeedError(f"the purse: {error}", final=True) from error


def _stop(account: str, books: Books, now_ns: int) -> FeedError:
    opens_ns = _next_day(books.last_ns) if books.stopped_by == "day" else _next_month(books.last_ns)
    ahead = "" if books.last_ns - now_ns < DAY_NS else "; the clock is behind the books by more than a day"
    text = (
        f"{account}: {books.stopped_why}; nothing more is bought before {format_time(opens_ns)},"
        f" unless cap_{books.stopped_by} is raised{ahead}"
    )
    return FeedError(text, pause_s=max((opens_ns - now_ns) / SECOND_NS, 1.0), final=True)


def _damaged(path: Path, what: str) -> InputError:
    remedy = f"See what was spent in the provider's console; moving {path.parent} away begins at nothing"
    return InputError(what, where=path, remedy=remedy)


def _text(books: Books) -> bytes:
    body = json.dumps({"format": FORMAT, **asdict(books)}, default=lambda value: format(value, "f"), sort_keys=True)
    return json.dumps({"books": body, "check": hashlib.sha256(body.encode()).hexdigest()}).encode()


def _parse(raw: bytes) -> Books:
    outer = json.loads(raw)
    body = outer["books"]
    if hashlib.sha256(body.encode()).hexdigest() != outer["check"]:
        raise ValueError("the check sum differs")
    found = json.loads(body)
    if found.pop("format") != FORMAT:
        raise ValueError("written by another version of Tidegate")
    amounts = {name: Decimal(found[name]) for name in ("day_usd", "month_usd", "cap_day", "cap_month")}
    if not all(amount.is_finite() for amount in amounts.values()):
        raise ValueError("an amount isn't finite")
    books = Books(**{**found, **amounts})
    return books


def _next_day(instant_ns: int) -> int:
    return (instant_ns // DAY_NS + 1) * DAY_NS


def _next_month(instant_ns: int) -> int:
    day = datetime.fromtimestamp(instant_ns // SECOND_NS, UTC)
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * SECOND_NS
