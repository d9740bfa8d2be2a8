"""The verb that compares a session's fills with simulated ones: `drift`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bot.terminal import AsJson, aside, emit, note, say, table
from data.errors import InputError

PANEL = "Live"
WIDTH = 80


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(rich_help_panel=PANEL)(drift)


def drift(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="The journal.sqlite of a session.")],
    largest: Annotated[int, typer.Option("--largest", min=0, help="Show so many of the pairs that differ most.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Compare a live session with a backtest that simulates the fills, over the same bars, facts and decisions.

    Slippage, delay, missed and partial fills, fees; the difference in equity by cause; and the costs that would have
    fitted, as lines for [fill]. A paper session shows none: its fills are simulated ones.
    """
    from bot.drift import compare
    from bot.drift_report import body_of
    from bot.journal import Reader
    from bot.session.terms import spec_of_header
    from bot.verbs_runs import warm_when_cold

    if not journal.is_file():
        raise InputError("no such journal", where=journal, remedy="Name the journal.sqlite of a session")
    warm_when_cold()
    with Reader(journal) as reader, aside():
        found = compare(spec_of_header(reader.header), reader, reader.header)
    body = body_of(found)
    if as_json:
        emit(body)
    else:
        show(body, largest)


def show(body: dict[str, Any], largest: int) -> None:
    """Print a drift; no line is wider than a narrow terminal."""
    say(f"{body['mode']} session, {body['since']} to {body['until']}")
    say(f"{body['bars']:,} bars, {body['decisions']:,} decisions, beside simulated fills of the same decisions")
    if body["same"]:
        say(f"no drift: {body['live']['fills']:,} fills, the same on both sides")
        if body["mode"] == "paper":
            note("A paper session's fills are simulated: this shows that the record is whole, not what a venue does.")
        return
    table("", ("", "live", "simulated"), list(_lines(body)), right=("live", "simulated"))
    if body["fills_after_the_last_bar"]:
        note(f"{body['fills_after_the_last_bar']:,} fills came after the last bar and are left out.")
    equity = body["equity"]
    say(f"equity {equity['live']:,.2f}, simulated {equity['simulated']:,.2f}: {_money(equity['difference'])}, of which")
    rows = [
        (name, _money(cause["quote"]), _bps(cause["bps"], "+"), cause["what"])
        for name, cause in body["causes"].items()
        if abs(cause["quote"]) >= 0.005 or name not in ("funding", "other")
    ]
    table("", ("cause", "quote", "bps", "what"), _folded(rows, 48), right=("quote", "bps"))
    _show_pairs(body["pairs"], largest)
    if body["snippet"]:
        say("costs that would have fitted (bps in [fill]; 95% intervals):")
        say(body["snippet"])
    for limit in body["limits"]:
        note(limit)


def _lines(body: dict[str, Any]) -> list[tuple[str, str, str]]:
    live, simulated, delay = body["live"], body["simulated"], body["delay_ms"]
    both = (live, simulated)
    found = [
        ("orders", *(f"{one['orders']:,}" for one in both)),
        ("fills", *(f"{one['fills']:,}" for one in both)),
        ("traded", *(f"{one['traded']:,.2f}" for one in both)),
        ("filled of what was asked", *(_share(one["share_filled"]) for one in both)),
        ("filled in part", *(f"{one['partly_filled']:,}" for one in both)),
        ("filled on this side only", f"{body['unmatched']:,}", f"{body['missed']:,}"),
        ("slippage, bps", *(_bps(one["slippage_bps"], "+") for one in both)),
        ("fees, bps", *(_bps(one["fees_bps"]) for one in both)),
    ]
    first, done = delay["first_fill"], delay["done"]
    if first:
        found.append(("decision to first fill, ms", _wait(first), f"{delay['assumed']:,.0f} assumed"))
    if done:
        found.append(("decision to done, ms", _wait(done), ""))
    for name, count in live["ended"].items():
        if count or simulated["ended"][name]:
            found.append((name, f"{count:,}", f"{simulated['ended'][name]:,}"))
    return [(str(what), str(one), str(other)) for what, one, other in found]


def _show_pairs(pairs: list[dict[str, Any]], largest: int) -> None:
    most = sorted((pair for pair in pairs if pair["effect"]), key=lambda pair: -abs(pair["effect"]))[:largest]
    if not most:
        return
    rows = []
    for pair in most:
        cause = max(pair["effects"], key=lambda name: abs(pair["effects"][name]))
        prices = [f"{pair[side]['price']:,.6g}" if pair[side]["filled"] else "-" for side in ("live", "simulated")]
        wish = f"{pair['side']} {pair['symbol']} {pair['purpose']}"
        rows.append((pair["decision"][5:16], wish, *prices, _money(pair["effect"]), cause))
    columns = ("decision", "order", "live at", "sim. at", "quote", "mostly")
    table("", columns, rows, right=("live at", "sim. at", "quote"))


def _folded(rows: list[tuple[str, str, str, str]], width: int) -> list[tuple[str, str, str, str]]:
    """The last column over several lines."""
    import textwrap

    found = []
    for name, quote, bps, what in rows:
        first, *others = textwrap.wrap(what, width)
        found += [(name, quote, bps, first), *(("", "", "", other) for other in others)]
    return found


def _wait(one: dict[str, float]) -> str:
    return f"{one['median']:,.0f} (90%: {one['p90']:,.0f})"


def _share(share: float) -> str:
    return "-" if share != share else f"{share:.1%}"


def _bps(value: float, sign: str = "") -> str:
    return "-" if value != value else f"{round(value, 2) + 0.0:{sign},.2f}"


def _money(amount: float) -> str:
    return f"{round(amount, 2) + 0.0:+,.2f}"  # + 0.0: no minus before a zero
