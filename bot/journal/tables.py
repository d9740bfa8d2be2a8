"""What sessions did, read out of a journal's steps: fills, orders, decisions, ladder moves, refusals."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from bot.journal.chain import JournalError, Record

LOOK_BACK = 64  # records before a step among which the event lies that it came of
PARTS = ("rows", "decisions", "orders", "ended", "fills", "moves", "refusals", "others", "commands")


class Source(Protocol):
    """A journal as far as it is read here."""

    def records(self, since: int = 0, kinds: Collection[str] | None = None) -> Iterator[Record]:
        """Records after a number, of those kinds, in order."""
        ...

    def record(self, seq: int) -> Record | None:
        """One record."""
        ...


@dataclass(frozen=True)
class Trade:
    """One fill of the bot's own.

    side "buy" or "sell"; qty above 0, before a fee taken in the coin; fee in quote, of which fee_base (in the coin) was
    taken in the coin bought; realised: profit of the part that closed a position, after its fee, in quote; trade: the
    venue's id, empty for a simulated fill; seq: the journal's record.
    """

    ns: int
    symbol: str
    side: str
    qty: float
    price: float
    fee: float
    fee_base: float
    purpose: str
    maker: bool
    order: int
    trade: str
    realised: float
    seq: int


def entries(journal: Source, part: str, *, since: int = 0) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Every entry of one part of the steps after record `since`, each with the step's record.

    Parameters
    ----------
    journal : Source
        The journal.
    part : str
        "decisions", "orders" (sent), "ended", "fills", "moves" (of the ladder), "refusals", "others" (further events of
        the desk), "commands" or "rows".

    Raises
    ------
    JournalError
        A step isn't one, or a record isn't what was appended.
    """
    if part not in PARTS:
        raise ValueError(f"a step has no part {part!r}")
    for record in journal.records(since, ("step",)):
        found = record.body.get(part, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise _no_step(record, f"its {part} are no list of entries")
        for entry in found:
            yield record, entry


def trades(journal: Source, *, since: int = 0) -> Iterator[Trade]:
    """Fills of the steps after record `since`, in order, with the venue's ids of the reports that they came of.

    Raises
    ------
    JournalError
        As `entries`; or a fill lacks a field.
    """
    for record, fill in entries(journal, "fills", since=since):
        report = _event_of(journal, record)
        try:
            qty, order = float(fill["qty"]), int(fill["order"])
            told = report.get("is") == "Report" and report.get("what") == "filled" and report.get("order") == order
            yield Trade(
                ns=int(fill["ns"]), symbol=str(fill["symbol"]), side="buy" if qty > 0 else "sell", qty=abs(qty),
                price=float(fill["price"]), fee=float(fill["fee"]), fee_base=float(fill["fee_base"]),
                purpose=str(fill["purpose"]), maker=bool(fill["maker"]), order=order,
                trade=str(report.get("trade", "")) if told else "", realised=float(fill["realised"]), seq=record.seq,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise _no_step(record, f"a fill can't be read ({type(error).__name__}: {error})") from None


def _event_of(journal: Source, step: Record) -> dict[str, Any]:
    """The event that a step came of: the nearest one before it."""
    for seq in range(step.seq - 1, max(step.seq - LOOK_BACK, 0), -1):
        before = journal.record(seq)
        if before is None or before.kind == "step":
            break
        if before.kind == "event":
            return before.body
    return {}


def _no_step(record: Record, what: str) -> JournalError:
    remedy = "Read it with the Tidegate that wrote it"
    return JournalError(f"record {record.seq} is no step: {what}", why="body", seq=record.seq, remedy=remedy)
