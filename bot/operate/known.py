"""What an account's journal knows when its bot can't be asked: last snapshot, decisions, holdings, booked trades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any, Protocol

from bot.exchange.wire import TradeView
from data.errors import InputError, TidegateError

JOURNAL_FILE = "journal.sqlite"
MARGIN_NS = 6 * 3600 * 10**9
CHUNK = 20_000
LOOK_BACK = 2_000  # records that are searched for the last steps
QUANTUM = Decimal("1e-12")


class Record(Protocol):
    """One record of a journal."""

    seq: int
    ns: int
    kind: str
    body: dict[str, Any]


class Reader(Protocol):
    """What is needed of a journal that is open for reading."""

    header: dict[str, Any]

    def records(self, since: int = 0, kinds: Any = None) -> Iterator[Any]:
        """Records after a sequence number."""
        ...

    def last(self, kind: str) -> Any:
        """The newest record of a kind, or None."""
        ...

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest record."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Known:
    """The journal's knowledge. `booked` are (order number, trade id) of trades that the snapshot has in it."""

    bot: str = ""
    session: str = ""
    snapshot: dict[str, Any] | None = None
    at_ns: int = 0
    seq: int = 0
    head: tuple[int, str] = (0, "")
    head_ns: int = 0
    booked: frozenset[tuple[int, str]] = frozenset()
    cut: dict[str, Decimal] = field(default_factory=dict)  # holdings cut after the snapshot, since sold by others
    steps: tuple[dict[str, Any], ...] = ()  # after the snapshot, the newest last


def open_journal(folder: Path) -> Reader:
    """The account's journal, for reading, whether its bot runs or not.

    Raises
    ------
    InputError
        There is none, or it can't be read.
    """
    file = folder / JOURNAL_FILE
    if not file.exists():
        raise InputError("there is no journal", where=file)
    from bot.journal import Reader as File

    return File(file)


def read_known(folder: Path, *, trades: bool = False, steps: int = 0) -> Known:
    """Read the journal; `trades` also collects booked trades (slower), `steps` the newest that many steps.

    Raises
    ------
    InputError
        There is no journal, or it can't be read.
    """
    journal = open_journal(folder)
    try:
        return _known(journal, trades=trades, steps=steps)
    except TidegateError:
        raise
    except Exception as error:
        raise InputError(f"can't be read ({type(error).__name__}: {error})", where=folder / JOURNAL_FILE) from None
    finally:
        journal.close()


def holdings(known: Known, seen: list[TradeView], coins: dict[str, Decimal]) -> dict[str, Decimal]:
    """What the bot holds: the snapshot, and the venue's trades of ours that it doesn't have yet.

    Parameters
    ----------
    known : Known
        With booked trades.
    seen : list of TradeView
        The account's trades of the snapshot's symbols since `MARGIN_NS` before it.
    coins : dict of Decimal
        By symbol, the most that can be ours (what the venue has of it, signed).

    Raises
    ------
    InputError
        A trade can't be told from another's: the holding isn't known.
    """
    found = positions(known)
    for trade in seen:
        if trade.symbol not in found or trade.ns < known.at_ns - MARGIN_NS:
            continue
        if len(trade.client_id) != 32:
            if trade.client_id:
                continue  # a client id of another's making
            raise InputError("a trade without client id may be ours or not", key=trade.symbol, value=trade.trade_id)
        if not trade.client_id.startswith(known.bot):
            continue
        if (int(trade.client_id[16:], 16), trade.trade_id) in known.booked:
            continue
        moved = Decimal(trade.qty) * (1 if trade.side == "buy" else -1)
        base = trade.symbol.partition("/")[0]
        found[trade.symbol] += moved - (Decimal(trade.fee) if trade.fee_currency == base else 0)
    for symbol, qty in found.items():
        most = min(known.cut.get(symbol, qty), coins.get(symbol, Decimal(0)), key=abs)
        same_side = most * qty > 0
        found[symbol] = min(qty, most, key=abs).quantize(QUANTUM, ROUND_DOWN) if same_side else Decimal(0)
    return {symbol: qty for symbol, qty in found.items() if qty}


def positions(known: Known) -> dict[str, Decimal]:
    """Quantities of the snapshot by symbol, zeros included: every symbol that the bot trades."""
    listed = (known.snapshot or {}).get("positions") or {}
    return {str(symbol): Decimal(str(entry.get("qty") or 0)) for symbol, entry in listed.items()}


def _known(journal: Reader, *, trades: bool, steps: int) -> Known:
    header, session, snapshot = journal.header, journal.last("session"), journal.last("snapshot")
    last_seq, digest = journal.head()
    newest = next(iter(journal.records(since=last_seq - 1)), None)
    body = dict(snapshot.body) if snapshot is not None else None
    seq = snapshot.seq if snapshot is not None else 0
    at_ns = int((body or {}).get("at_ns") or (snapshot.ns if snapshot is not None else 0))
    cut = {}
    if trades:
        events = (record.body for record in journal.records(since=seq, kinds=("event",)))
        cut = {body["symbol"]: Decimal(str(body["qty"])) for body in events if body.get("is") == "Outside"}
    newer = journal.records(since=max(seq, last_seq - LOOK_BACK), kinds=("step",)) if steps else iter(())
    return Known(
        bot=str(header.get("bot", "")), session=str((session.body if session else {}).get("session", "")),
        snapshot=body, at_ns=at_ns, seq=seq, head=(last_seq, digest), head_ns=newest.ns if newest else 0, cut=cut,
        booked=_booked(journal, seq, at_ns) if trades else frozenset(),
        steps=tuple(record.body for record in newer)[-steps:] if steps else (),
    )  # fmt: skip


def _booked(journal: Reader, seq: int, at_ns: int) -> frozenset[tuple[int, str]]:
    """Trades up to the snapshot, read backwards in pieces until well before it."""
    found, top = set(), seq
    while top > 0:
        start, oldest = max(top - CHUNK, 0), at_ns
        for record in journal.records(since=start, kinds=("event",)):
            if record.seq > top:
                break
            oldest = min(oldest, record.ns)
            if record.body.get("is") == "Report" and record.body.get("what") == "filled":
                found.add((int(record.body["order"]), str(record.body["trade"])))
        if oldest < at_ns - MARGIN_NS:
            break
        top = start
    return frozenset(found)
