"""Verbs that bring files in: `import bars`, `import posts`, `import metrics`, `import scores`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.terminal import VAR, AsJson, VarFolder, emit, note, now_ns, say

if TYPE_CHECKING:
    from data.files import ImportReport

PANEL = "Facts"
Files = Annotated[list[Path], typer.Argument(help="CSV, Parquet, Feather, JSON lines or JSON; .gz of text files too.")]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="MEANING=COLUMN", help="Which column is what: time=open_time. Repeatable."),
]
Source = Annotated[str | None, typer.Option(help="Who the facts come from: one name for each exchange or vendor.")]
Unit = Annotated[str | None, typer.Option(help="Unit of numeric times: s, ms, us or ns.")]
Zone = Annotated[str | None, typer.Option(help="Zone of times without one: UTC, +02:00 or America/New_York.")]
TimeFormat = Annotated[str | None, typer.Option(help="Form of times that aren't ISO, as in strptime: %d.%m.%Y %H:%M.")]
Quality = Annotated[
    str | None, typer.Option(help="How far the times can be trusted: recorded, vendor_pit, assumed_lag or revised.")
]
Header = Annotated[str | None, typer.Option("--names", help="Names of the columns of a file without a header: a,b,c.")]
Delimiter = Annotated[str | None, typer.Option(help="What parts the columns of a text file, when it isn't seen.")]
Encoding = Annotated[str, typer.Option(help="Encoding of a text file.")]
Records = Annotated[str | None, typer.Option(help="Key under which a JSON file holds its rows, dotted.")]
Lag = Annotated[str | None, typer.Option(help="From the interval's end, or the stamp, until it could be known: 6h.")]
Coin = Annotated[str | None, typer.Option(help="The coin it is about; '*' is the whole market.")]

verbs = typer.Typer(no_args_is_help=True, help="Bring a file in: bars, posts, metrics or scores.")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.add_typer(verbs, name="import", rich_help_panel=PANEL)


@verbs.command()
def bars(
    ctx: typer.Context,
    files: Files,
    symbol: Annotated[str | None, typer.Option(help="What the bars are of; else a column or the name.")] = None,
    interval: Annotated[str | None, typer.Option(help="Length of a bar: 1h; else it is measured.")] = None,
    source: Source = None,
    columns: Map = None,
    unit: Unit = None,
    tz: Zone = None,
    time_format: TimeFormat = None,
    quality: Quality = None,
    keep_spikes: Annotated[bool, typer.Option(help="Take bars that look like bad ticks.")] = False,
    names: Header = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    records: Records = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Import bars: time, open, high, low, close, volume. Knows freqtrade's feather and JSON layouts."""
    _import("bars", ctx.params)


@verbs.command()
def posts(
    ctx: typer.Context,
    files: Files,
    source: Source = None,
    columns: Map = None,
    lag: Lag = None,
    unit: Unit = None,
    tz: Zone = None,
    time_format: TimeFormat = None,
    quality: Quality = None,
    names: Header = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    records: Records = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Import posts and news: time, text; author, followers, url, key if there. --map text=title+body joins two."""
    _import("posts", ctx.params)


@verbs.command()
def metrics(
    ctx: typer.Context,
    files: Files,
    stamp: Annotated[
        str | None, typer.Option(help="What a row's time is: start or end of its interval, published.")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="Length of the interval that a value measures: 1d.")] = None,
    lag: Lag = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--values", metavar="NAME=COLUMNS", help="Of a wide file: a,b or netflow=in-out. Repeatable."),
    ] = None,
    coin: Coin = None,
    source: Source = None,
    columns: Map = None,
    unit: Unit = None,
    tz: Zone = None,
    time_format: TimeFormat = None,
    quality: Quality = None,
    names: Header = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    records: Records = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Import on-chain and market metrics. When a value could be known has to be said: --stamp, --interval, --lag."""
    _import("metrics", ctx.params)


@verbs.command()
def scores(
    ctx: typer.Context,
    files: Files,
    model: Annotated[str | None, typer.Option(help="Which model the scores come from.")] = None,
    model_revision: Annotated[str | None, typer.Option("--revision", help="Which revision of the model.")] = None,
    coin: Coin = None,
    lag: Lag = None,
    source: Source = None,
    columns: Map = None,
    unit: Unit = None,
    tz: Zone = None,
    time_format: TimeFormat = None,
    quality: Quality = None,
    names: Header = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    records: Records = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Import sentiment scored elsewhere: time, coin, and score or p_bearish, p_neutral, p_bullish."""
    _import("scores", ctx.params)


def _import(kind: str, said: dict[str, Any]) -> None:
    """Import each file in one commit of its own; a faulty one stops the rest, those before it stay.

    Parameters
    ----------
    said : dict
        Every argument and option of the verb by its name.
    """
    from bot.context import open_store
    from data.files import ImportOptions, import_file, parse_map, parse_values

    chosen = {field.name: said[field.name] for field in dataclasses.fields(ImportOptions) if field.name in said}
    chosen["columns"] = parse_map(said["columns"] or [])
    chosen["values"] = parse_values(said.get("values") or [])
    chosen["names"] = [name.strip() for name in said["names"].split(",")] if said["names"] else None
    reports = []
    for file in said["files"]:
        report = import_file(open_store(said["var"]), kind, file, ImportOptions(**chosen), now_ns())
        reports.append(report)
        if not said["as_json"]:
            _show(report)
    if said["as_json"]:
        emit([dataclasses.asdict(report) for report in reports])


def _show(report: "ImportReport") -> None:
    from data.times import format_time

    span = f", {format_time(report.first_ns)} to {format_time(report.last_ns)}" if report.first_ns else ""
    listed = ", ".join(report.series[:8]) + (f" and {len(report.series) - 8} more" if len(report.series) > 8 else "")
    say(f"{report.path}: {report.read:,} rows of {report.kind} read{span}")
    say(f"  {listed}")
    counts = {"added": report.added, "unchanged": report.unchanged, "revised": report.revised}
    counts |= {"said twice": report.duplicates, "empty": report.empty}
    say("  " + ", ".join(f"{count:,} {name}" for name, count in counts.items() if count or name == "added"))
    for reason, count in report.quarantined.items():
        say(f"  set apart: {count:,} {reason}")
    for remark in report.notes:
        note(f"  note: {remark}")
