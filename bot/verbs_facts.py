"""Verbs that bring facts in and show them: `sample`, `data`."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from bot.terminal import VAR, AsJson, OnSample, VarFolder, emit, note, now_ns, say, table

if TYPE_CHECKING:
    from data.quality import CatalogRow
    from data.store import Store

PANEL = "Facts"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("sample", rich_help_panel=PANEL)(write)
    app.command("data", rich_help_panel=PANEL)(catalog)


def write(
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed makes another year.")] = None,
    hours: Annotated[int | None, typer.Option(help="Only the first hours of the year.")] = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Write the embedded sample: a synthetic year of five symbols with their crowd. Writing it twice adds nothing."""
    from bot.context import sample_store
    from data.sample import DEFAULT_SEED, write_sample

    note("writing the synthetic sample")
    chosen = DEFAULT_SEED if seed is None else seed
    summary = write_sample(sample_store(var), seed=chosen, ingested_ns=now_ns(), hours=hours)
    if as_json:
        emit(dataclasses.asdict(summary))
        return
    say(str(summary))


def catalog(
    forget: Annotated[str | None, typer.Option(metavar="KIND", help="Take series out: bars, posts, metrics...")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Which ones, with --forget. Repeatable; all have to fit."),
    ] = None,
    sample: OnSample = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """List what is stored: span, rows, gaps, duplicates, bad rows, quality mix, last known."""
    from bot.context import facts_of
    from data.quality import catalog as read_catalog

    _, store = facts_of(None, sample=sample, var=var)
    if forget is not None:
        _forget(store, forget, where or [], as_json)
        return
    rows = read_catalog(store)
    if as_json:
        emit([dataclasses.asdict(row) for row in rows])
        return
    if not rows:
        say(f"nothing is stored in {store.root}")
        note("Bring facts in with: tidegate fetch bars, tidegate import; or write the sample with: tidegate sample")
        return
    for kind in dict.fromkeys(row.kind for row in rows):
        _show_kind(kind, [row for row in rows if row.kind == kind])


def _forget(store: "Store", kind: str, where: list[str], as_json: bool) -> None:
    """Take series out of the store with all revisions, as after an import under a wrong lag."""
    from data.errors import InputError
    from data.facts import IDENTITY, KINDS

    if kind not in KINDS:
        raise InputError("no such kind of facts", key="--forget", value=kind, remedy=f"One of {', '.join(KINDS)}")
    chosen = dict(part.partition("=")[::2] for part in where)
    if not chosen or not all(chosen.values()):
        remedy = "For example: --forget metrics --where source=coinmetrics --where name=exchange_netflow"
        raise InputError("which ones is not said", key="--where", value=", ".join(where) or None, remedy=remedy)
    for column in chosen:
        if column not in IDENTITY[kind] and column != "source":
            remedy = f"One of source, {', '.join(IDENTITY[kind])}"
            raise InputError(f"{kind} are not told apart by that", key="--where", value=column, remedy=remedy)
    removed = store.forget(kind, chosen)
    if as_json:
        emit({"kind": kind, "where": chosen, "removed": removed})
    else:
        say(f"{removed:,} rows of {kind} taken out")


def _show_kind(kind: str, rows: "list[CatalogRow]") -> None:
    from data.times import format_duration

    columns = (
        "name",
        "source",
        "first",
        "last",
        "rows",
        "gaps",
        "twice",
        "revised",
        "late",
        "bad",
        "quality",
        "last known",
    )
    lines: list[tuple[object, ...]] = []
    for row in rows:
        if not row.rows:
            lines.append((row.name, row.source, "", "", 0, "", "", "", "", _counts(row.quarantined), "", ""))
            continue
        gaps = f"{row.gaps}, to {format_duration(row.largest_gap_ns)}" if row.gaps else "0"
        bad = _counts({**row.quarantined, **({"bad tick": row.bad_ticks} if row.bad_ticks else {})})
        quality = " ".join(f"{name} {count / row.rows:.0%}" for name, count in row.quality.items())
        span = (_minute(row.first_ns), _minute(row.last_ns))
        counts = (f"{row.rows:,}", gaps, row.duplicates, row.revised, row.late)
        lines.append((row.name, row.source, *span, *counts, bad, quality, _minute(row.known_last_ns)))
    table(kind, columns, lines, right=("rows", "twice", "revised", "late"))
    say()


def _minute(instant_ns: int) -> str:
    from data.times import MINUTE_NS, floor_time, format_time

    return format_time(floor_time(instant_ns, MINUTE_NS))


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "0"
