"""Verbs that ask venues: `fetch bars`."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from bot.terminal import VAR, AsJson, VarFolder, emit, now_ns, progress, say

if TYPE_CHECKING:
    from data.market import FetchReport

PANEL = "Facts"

verbs = typer.Typer(no_args_is_help=True, help="Ask a venue: bars.")


@verbs.callback()
def _group() -> None:
    """Bring history from a venue. Public addresses only: no key is needed and none is read."""


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.add_typer(verbs, name="fetch", rich_help_panel=PANEL)


@verbs.command()
def bars(
    exchange: Annotated[str, typer.Argument(help="The exchange by its name in ccxt: binance, kraken, bybit.")],
    symbols: Annotated[list[str], typer.Argument(help="BTC/USDT, or BTC/USDT:USDT for a linear perpetual.")],
    since: Annotated[str, typer.Option(help="First bar: 2024-01-01 or 2024-01-01T12:00Z.")],
    until: Annotated[str | None, typer.Option(help="The bars open before this; else up to now.")] = None,
    interval: Annotated[str, typer.Option(help="Length of a bar.")] = "1h",
    urls: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="NAME=URL", help="Another address of the API, as a mirror has. Repeatable."),
    ] = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Fetch bars. What is stored isn't asked for again; an interrupted fetch goes on where it stopped."""
    from bot.config_types import Fault, read_bar
    from bot.context import open_store
    from data.errors import InputError
    from data.market import fetch_bars
    from data.times import parse_time

    try:
        interval_ns = read_bar(interval)
    except Fault as fault:
        raise InputError(fault.what, key="--interval", value=interval, remedy=fault.remedy) from None
    now = now_ns()
    since_ns = parse_time(since, key="--since")
    until_ns = now if until is None else parse_time(until, key="--until")
    addresses = dict(_address(pair) for pair in urls or [])
    reports = []
    for symbol in symbols:
        with progress(f"{exchange} {symbol} {interval}", "bars") as advance:
            report = fetch_bars(
                open_store(var), exchange, symbol, interval_ns, since_ns, until_ns,
                now_ns=now, urls=addresses or None, progress=advance,
            )  # fmt: skip
        reports.append(report)
        if not as_json:
            _show(report)
    if as_json:
        emit([dataclasses.asdict(report) for report in reports])


def _address(pair: str) -> tuple[str, str]:
    from data.errors import InputError

    name, equals, url = pair.partition("=")
    if not name or not equals or not url:
        raise InputError("not NAME=URL", key="--url", value=pair, remedy="Write public=https://host/api/v3")
    return name, url


def _show(report: "FetchReport") -> None:
    from data.times import format_time

    if not report.bars:
        say(f"{report.source} {report.symbol}: no bars in that span ({report.requests} requests)")
        return
    span = f"{format_time(report.first_ns)} to {format_time(report.last_ns)}"
    say(f"{report.source} {report.symbol}: {report.bars:,} bars stored, {span} ({report.requests} requests)")
    counts = {"added": report.added, "revised": report.revised, "set apart": report.quarantined}
    say("  " + ", ".join(f"{count:,} {name}" for name, count in counts.items() if count or name == "added"))
    missing = sum(gap.missing for gap in report.gaps)
    if missing:
        say(f"  {len(report.gaps)} gaps of the exchange's own, {missing:,} bars missing")
