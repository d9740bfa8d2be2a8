"""Verbs about the journal: `verify`, `backup`, `trades`."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.terminal import VAR, AsJson, VarFolder, emit, note, progress, say, table, write_new
from bot.verbs_operate import Name, OfMode, SessionOf

if TYPE_CHECKING:
    from bot.journal.report import Verdict
    from bot.journal.tables import Trade

PANEL = "Live"
OfFile = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="This journal, or a backup of one; no session is looked for."),
]
COLUMNS = ("time", "symbol", "side", "qty", "price", "fee", "purpose", "maker", "order", "trade", "realised")
FIGURES = ("qty", "price", "fee", "order", "realised")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(rich_help_panel=PANEL)(verify)
    app.command(rich_help_panel=PANEL)(backup)
    app.command(rich_help_panel=PANEL)(trades)


def verify(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="A journal.sqlite, or a backup of one.")],
    heads: Annotated[
        Path | None,
        typer.Option("--heads", metavar="FILE", help="Signed heads, one a line; else those beside the journal."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", metavar="FILE", help="The key that signed them; else the one beside the journal."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a journal's chain, and name the first record that was altered, dropped, added or moved.

    Signed heads show a tail that was cut off or written anew too, as far as they reach. Heads and a public key that
    were kept elsewhere (a notification, another host) prove more than those beside the journal, which whoever could
    rewrite it could have made anew. Exit code 0: sound; 1: it isn't.
    """
    from bot.journal.report import verify as look

    with progress("verify", "records") as advance:
        verdict = look(journal, heads=heads, public_key=public_key, advance=advance)
    if as_json:
        emit(verdict_json(verdict))
    else:
        show(verdict)
    if not verdict.sound:
        raise typer.Exit(1)


def backup(
    config: SessionOf = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The copy; signed heads go beside it.")
    ] = None,
    journal: OfFile = None,
    name: Name = None,
    mode: OfMode = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Copy the journal while the bot runs: verified, then put in place in one step, with its signed heads.

    An older backup of the same journal is replaced; anything else is left alone. To restore: stop the bot; move
    journal.sqlite, journal.sqlite-wal and journal.sqlite-shm away, all three; copy the backup to journal.sqlite (mode
    600); start. What happened since isn't in it: the start reconciles with the venue, which holds the truth.
    """
    from bot.journal.backup import back_up
    from data.errors import InputError

    if to is None:
        raise InputError("where to?", key="--to", remedy="Name the copy: tidegate backup --to FILE")
    file = journal or session_journal(var, name=name, mode=mode, config=config)
    with progress("backup", "pages") as advance:
        verdict = back_up(file, to, advance=advance)
    if as_json:
        emit({"journal": str(file), "backup": str(to), **verdict_json(verdict), "file": str(to)})
        return
    heads = f", {verdict.heads:,} signed heads" if verdict.heads else ", no signed heads yet"
    say(f"{file} -> {to}: {verdict.records:,} records{heads}; verified")


def trades(
    config: SessionOf = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Of this symbol only.")] = None,
    last: Annotated[int | None, typer.Option("--last", min=1, metavar="N", help="The newest N only.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write them to this file instead.")] = None,
    journal: OfFile = None,
    name: Name = None,
    mode: OfMode = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """List the bot's own fills out of the journal: what was traded, why, for what fee, and what it realised."""
    from collections import deque

    from bot.journal import Reader
    from bot.journal.tables import trades as read

    file = journal or session_journal(var, name=name, mode=mode, config=config)
    found: deque[Trade] = deque(maxlen=last)
    with Reader(file) as reader, progress("trades", "records") as advance:
        end = reader.head()[0]
        for trade in read(reader):
            if symbol in (None, trade.symbol):
                found.append(trade)
            advance(trade.seq, max(end, trade.seq))
    if csv is not None:
        write_new(csv, csv_text(found))
        note(f"wrote {csv}: {len(found):,} trades")
    if as_json:
        emit([{"time": stamp(trade.ns), **trade.__dict__} for trade in found])
    elif csv is None:
        show_trades(found)


def session_journal(var: Path, *, name: str | None, mode: str | None, config: Path | None) -> Path:
    """The journal of the session that an operator means.

    Raises
    ------
    InputError
        There is no such session, or several.
    """
    from bot.journal.places import JOURNAL_FILE
    from bot.operate.sessions import choose, one_of

    return one_of(choose(var, name=name, mode=mode, config=config)) / JOURNAL_FILE


def show_trades(found: "Sequence[Trade]") -> None:
    """Trades as a table, and what they add up to."""
    if not found:
        say("no trades yet")
        return
    rows = [
        (
            stamp(trade.ns), trade.symbol, trade.side, f"{trade.qty:.10g}", f"{trade.price:,.10g}", f"{trade.fee:,.4f}",
            trade.purpose, "yes" if trade.maker else "", trade.order, trade.trade, f"{trade.realised:+,.2f}",
        )
        for trade in found
    ]  # fmt: skip
    table("", COLUMNS, rows, right=FIGURES)
    fees, realised = sum(trade.fee for trade in found), sum(trade.realised for trade in found)
    say(f"{len(found):,} trades, fees {fees:,.2f}, realised {realised:+,.2f} after fees; in quote")


def csv_text(found: "Iterable[Trade]") -> str:
    """Trades as comma-separated values with a line of names; numbers keep every digit, times also in nanoseconds."""
    import csv
    import io

    from bot.journal.tables import Trade

    text = io.StringIO(newline="")
    names = [field.name for field in dataclasses.fields(Trade)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time", *names])
    for trade in found:
        writer.writerow([stamp(trade.ns), *(getattr(trade, name) for name in names)])
    return text.getvalue()


def show(verdict: "Verdict") -> None:
    """A verdict in sentences."""
    from bot.journal.heads import fingerprint

    if verdict.fault is not None:
        say(f"{verdict.file}: NOT SOUND: {verdict.fault.text}")
        sound = min(verdict.records, verdict.fault.seq - 1)
        say(f"sound before it: {sound:,} records" if sound > 0 else "no record before it is sound")
        note("Keep the file as it is, and restore a backup: tidegate backup --help says how.")
        return
    say(f"{verdict.file}: sound: {verdict.records:,} records, {stamp(verdict.first_ns)} to {stamp(verdict.last_ns)}")
    say(f"head {verdict.hash}")
    if not verdict.heads:
        note("No signed heads were checked: a tail that was cut off or written anew doesn't show.")
        return
    key = f"key {fingerprint(verdict.key)}" + ("" if verdict.given else ", not given but found with them")
    say(f"{verdict.heads:,} signed heads agree, up to record {verdict.head_seq:,} at {stamp(verdict.head_ns)} ({key})")


def verdict_json(verdict: "Verdict") -> dict[str, Any]:
    """A verdict as JSON values."""
    fault = verdict.fault
    return {
        "file": str(verdict.file),
        "sound": verdict.sound,
        "records": verdict.records,
        "hash": verdict.hash,
        "first_ns": verdict.first_ns,
        "last_ns": verdict.last_ns,
        "heads": {"checked": verdict.heads, "seq": verdict.head_seq, "ns": verdict.head_ns},
        "key": verdict.key or None,
        "key_given": verdict.given,
        "fault": None if fault is None else {"record": fault.seq, "what": fault.what, "text": fault.text},
    }


def stamp(ns: int) -> str:
    """A time as people read it, UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
