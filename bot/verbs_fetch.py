"""Verbs that bring history: `fetch bars`, what perpetuals tell, and every source that keeps any."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bot.terminal import VAR, AsJson, VarFolder, emit, note, now_ns, progress, say

if TYPE_CHECKING:
    from bot.fetching import SourceReport
    from data.market import FetchReport
    from data.market_series import SeriesReport
    from data.series_rows import What
    from data.store import Store

PANEL = "Facts"
ANY = "source"


class FetchVerbs(TyperGroup):
    """The group: a word that is no verb of its own is the name of a source."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """`fetch fear_greed` stands for `fetch source fear_greed`."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            return ANY, self.commands[ANY], args
        found: tuple[str | None, Any, list[str]] = super().resolve_command(ctx, args)
        return found


verbs = typer.Typer(cls=FetchVerbs, no_args_is_help=True, help="Bring history: bars, funding, any source that has it.")

ExchangeName = Annotated[str, typer.Argument(help="The exchange by its name in ccxt: binance, kraken, bybit.")]
Perpetuals = Annotated[list[str], typer.Argument(help="Linear perpetuals: BTC/USDT:USDT.")]
Since = Annotated[str, typer.Option(help="From then on: 2024-01-01 or 2024-01-01T12:00Z.")]
Until = Annotated[str | None, typer.Option(help="Before this; else up to now.")]
Urls = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="NAME=URL", help="Another address of the API, as a mirror has. Repeatable."),
]
Interval = Annotated[str, typer.Option(help="Distance of the values: 5m, 15m, 30m, 1h, 2h, 4h, 6h, 12h, 1d.")]


@verbs.callback()
def _group() -> None:
    """Bring history. Exchanges are asked at public addresses: no key is needed and none is read.

    Any other word is the name of a source: tidegate fetch fear_greed --since 2024-01-01. They are listed by: tidegate
    sources
    """


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.add_typer(verbs, name="fetch", rich_help_panel=PANEL)


@verbs.command()
def bars(
    exchange: ExchangeName,
    symbols: Annotated[list[str], typer.Argument(help="BTC/USDT, or BTC/USDT:USDT for a linear perpetual.")],
    since: Since,
    until: Until = None,
    interval: Annotated[str, typer.Option(help="Length of a bar.")] = "1h",
    urls: Urls = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Fetch bars. What is stored isn't asked for again; an interrupted fetch goes on where it stopped."""
    from data.market import fetch_bars

    interval_ns = _interval(interval)

    def fetch(symbol: str, asked: "Asked", advance: Any) -> "FetchReport":
        return fetch_bars(
            asked.store, exchange, symbol, interval_ns, *asked.span, now_ns=asked.now_ns, urls=asked.urls,
            progress=advance,
        )  # fmt: skip

    _each(symbols, _asked(since, until, urls, var), (f"{exchange} {{}} {interval}", "bars"), fetch, _show, as_json)


@verbs.command()
def funding(
    exchange: ExchangeName,
    symbols: Perpetuals,
    since: Since,
    until: Until = None,
    urls: Urls = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Fetch settled funding rates of perpetuals: the metric funding_rate."""
    _series("funding", exchange, symbols, since, until, None, urls, var, as_json)


@verbs.command("open-interest")
def open_interest(
    exchange: ExchangeName,
    symbols: Perpetuals,
    since: Since,
    until: Until = None,
    interval: Interval = "1h",
    urls: Urls = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Fetch open interest of perpetuals: the metrics open_interest (base) and open_interest_value (quote)."""
    _series("open_interest", exchange, symbols, since, until, interval, urls, var, as_json)


@verbs.command("long-short-ratio")
def long_short_ratio(
    exchange: ExchangeName,
    symbols: Perpetuals,
    since: Since,
    until: Until = None,
    interval: Interval = "1h",
    urls: Urls = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Fetch accounts that are long for each that is short: the metric long_short_ratio."""
    _series("long_short_ratio", exchange, symbols, since, until, interval, urls, var, as_json)


@verbs.command(ANY)
def fetch_any(
    name: Annotated[str, typer.Argument(help="A source, or a table [feeds.NAME] of the configuration.")],
    since: Since,
    until: Until = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="An option of the source. Repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; else tidegate.toml here, if there is one.")] = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Fetch the history of any source that keeps one; the word `source` may be left out."""
    from bot.context import open_store
    from bot.fetching import fetch_source, options_of
    from data.times import parse_time

    asked = options_of(name, config, settings or [])
    span = parse_time(since, key="--since"), now_ns() if until is None else parse_time(until, key="--until")
    with progress(f"{name}", "%") as advance:
        report = fetch_source(open_store(var), asked, span, progress=advance, tell=note)
    if as_json:
        emit(dataclasses.asdict(report))
    else:
        _show_source(report)


def _series(
    what: "What",
    exchange: str,
    symbols: list[str],
    since: str,
    until: str | None,
    interval: str | None,
    urls: list[str] | None,
    var: Path,
    as_json: bool,
) -> None:
    from data.market_series import fetch_series
    from data.times import HOUR_NS

    interval_ns = HOUR_NS if interval is None else _interval(interval)

    def fetch(symbol: str, asked: "Asked", advance: Any) -> "SeriesReport":
        return fetch_series(
            asked.store, exchange, symbol, what, *asked.span, now_ns=asked.now_ns, interval_ns=interval_ns,
            urls=asked.urls, progress=advance,
        )  # fmt: skip

    title = f"{exchange} {{}} {what.replace('_', ' ')}"
    _each(symbols, _asked(since, until, urls, var), (title, "hours"), fetch, _show_series, as_json)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What every fetch from an exchange is told alike."""

    store: "Store"
    span: tuple[int, int]
    now_ns: int
    urls: dict[str, str] | None


def _asked(since: str, until: str | None, urls: list[str] | None, var: Path) -> Asked:
    from bot.context import open_store
    from data.times import parse_time

    now = now_ns()
    span = parse_time(since, key="--since"), now if until is None else parse_time(until, key="--until")
    addresses = dict(_address(pair) for pair in urls or [])
    return Asked(open_store(var), span, now, addresses or None)


def _each(
    symbols: list[str],
    asked: Asked,
    shown: tuple[str, str],
    fetch: Callable[[str, Asked, Any], Any],
    show: Callable[[Any], None],
    as_json: bool,
) -> None:
    """Fetch symbol after symbol; `shown`: title of the progress bar and its unit."""
    reports = []
    for symbol in symbols:
        with progress(shown[0].format(symbol), shown[1]) as advance:
            reports.append(fetch(symbol, asked, advance))
        if not as_json:
            show(reports[-1])
    if as_json:
        emit([dataclasses.asdict(report) for report in reports])


def _interval(text: str) -> int:
    from bot.config_types import Fault, read_bar
    from data.errors import InputError

    try:
        return read_bar(text)
    except Fault as fault:
        raise InputError(fault.what, key="--interval", value=text, remedy=fault.remedy) from None


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
    _show_counts(report)
    missing = sum(gap.missing for gap in report.gaps)
    if missing:
        say(f"  {len(report.gaps)} gaps of the exchange's own, {missing:,} bars missing")


def _show_counts(report: "FetchReport | SeriesReport | SourceReport") -> None:
    counts = {"added": report.added, "revised": report.revised, "set apart": report.quarantined}
    told = [f"{count:,} {name}" for name, count in counts.items() if count or name == "added"]
    if report.unchanged:
        told.insert(1, f"{report.unchanged:,} unchanged")
    say("  " + ", ".join(told))


def _show_series(report: "SeriesReport") -> None:
    from data.times import format_duration, format_time

    title = f"{report.source} {report.symbol} {', '.join(report.names)}"
    if report.refused_before_ns:
        say(f"{title}: the exchange keeps nothing before {format_time(report.refused_before_ns)}")
    if not report.rows:
        say(f"{title}: nothing in that span ({report.requests} requests)")
        return
    span = f"{format_time(report.first_ns)} to {format_time(report.last_ns)}"
    say(f"{title}: {report.rows:,} values of each stored, {span} ({report.requests} requests)")
    _show_counts(report)
    if report.lag_ns:
        say(f"  counted as known {format_duration(report.lag_ns)} after their interval's end (assumed_lag)")
    missing = sum(gap.missing for gap in report.gaps)
    if missing:
        say(f"  {len(report.gaps)} gaps of the exchange's own, {missing:,} values missing")


def _show_source(report: "SourceReport") -> None:
    from data.times import format_time

    if report.first_ns:
        span = f"{format_time(report.first_ns)} to {format_time(report.last_ns)}"
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.kinds.items()))
        say(f"{report.name}: {kinds}, {span}, {report.quality}")
    else:
        say(f"{report.name}: nothing in that span")
    _show_counts(report)
    say(f"  terms: {report.terms}")
