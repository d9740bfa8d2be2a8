"""Verbs that trade: `paper`, `live`, and `replay` of what they recorded."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.terminal import VAR, AsJson, ConfigFile, Settings, VarFolder, aside, emit, note, say, table
from data.errors import InputError

if TYPE_CHECKING:
    from bot.session.opening import Opened

PANEL = "Live"
Person = Annotated[str | None, typer.Option("--person", metavar="NAME", help="Who starts it; else your user name.")]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="The process that the lease names is dead for certain: take its place.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(rich_help_panel=PANEL)(paper)
    app.command(rich_help_panel=PANEL)(live)
    app.command(rich_help_panel=PANEL)(replay)


def person_of(given: str | None) -> str:
    """Who speaks: the name given, else the user's."""
    return given or getpass.getuser()


def paper(
    config: ConfigFile = None,
    settings: Settings = None,
    sample: Annotated[bool, typer.Option("--sample", help="Replay the embedded sample as if it were live.")] = False,
    days: Annotated[float, typer.Option("--days", min=0.05, help="Of a replayed sample: its last so many days.")] = 7.0,
    speed: Annotated[float, typer.Option("--speed", min=0.0, help="Of a replay; 0: as fast as it goes.")] = 7200.0,
    person: Person = None,
    take_over: TakeOver = False,
    var: VarFolder = VAR,
) -> None:
    """Trade on live bars and facts with simulated fills, without keys, until Ctrl-C; state survives a restart.

    Without a configuration, and where its bars are synthetic, the embedded sample is replayed as if it were live.
    """
    from bot.context import current_config
    from bot.session.paper import run_paper
    from bot.session.replayed import run_replayed

    chosen = current_config(config, settings, sample=sample, var=var)
    _warm_kernels()
    if chosen.on_sample:
        opened = run_replayed(chosen, var, days=days, speed=speed, person=person_of(person), tell=note)
    else:
        opened = run_paper(chosen, var, person=person_of(person), tell=note, take_over=take_over)
    _tell_end(opened)


def live(
    config: ConfigFile = None,
    settings: Settings = None,
    accepted: Annotated[
        str | None,
        typer.Option("--yes-i-accept-these-limits", metavar="HASH", help="Instead of typing: the hash that is shown."),
    ] = None,
    unknown_rights: Annotated[
        bool, typer.Option("--accept-unknown-rights", help="The venue doesn't tell what the key may do; accept that.")
    ] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="Do everything but send.")] = False,
    canary: Annotated[bool, typer.Option("--canary", help="Cap every entry near the venue's minimum.")] = False,
    person: Person = None,
    take_over: TakeOver = False,
    var: VarFolder = VAR,
) -> None:
    """Trade with real money, behind the limits that the configuration states. Shows them and asks first."""
    from bot.context import current_config
    from bot.session.real import run_live

    given = [*(settings or []), *(["live.canary=true"] if canary else [])]
    chosen = current_config(config, given)
    if chosen.on_sample:
        remedy = 'Give a configuration without run.source = "synthetic"'
        raise InputError("the embedded sample can't be traded with real money", where=chosen.where, remedy=remedy)
    _warm_kernels()
    opened = run_live(
        chosen, var, person=person_of(person), tell=note, accepted=accepted, unknown_rights=unknown_rights,
        shadow=shadow, take_over=take_over,
    )  # fmt: skip
    _tell_end(opened)


def replay(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="The journal.sqlite of a session.")],
    as_json: AsJson = False,
) -> None:
    """Run a recorded session again, event by event and in the backtest's batch form; print what differs, by cause.

    Exit code 1 when anything differs.
    """
    from bot.journal import Reader
    from bot.replay import replay_batch, replay_engine
    from bot.session.terms import engine_of, spec_of_header

    if not journal.is_file():
        raise InputError("no such journal", where=journal, remedy="Name the journal.sqlite of a session")
    _warm_kernels()
    reader = Reader(journal)
    try:
        header = reader.header
        spec = spec_of_header(header)
        coins, outside, stops = tuple(header["coins"]), bool(header["outside"]), bool(header["stops"])
        with aside():
            found = [
                replay_engine(engine_of(spec, header), reader),
                replay_batch(spec, coins, reader, outside=outside, stops=stops),
            ]
    finally:
        reader.close()
    if as_json:
        emit([one.body() for one in found])
    else:
        rows = []
        for one in found:
            compared = ", ".join(f"{count:,} {name}" for name, count in one.compared.items())
            differ = ", ".join(f"{count:,} by {cause}" for cause, count in one.causes.items()) or "nothing"
            rows.append(("event by event" if one.way == "engine" else "batch", compared, differ))
        table("", ("again", "compared", "differs"), rows)
        for line in [line for one in found for line in one.first]:
            say(line)
    if not all(one.none for one in found):
        raise typer.Exit(1)


def _warm_kernels() -> None:
    from bot.verbs_runs import warm_when_cold

    warm_when_cold()


def _tell_end(opened: "Opened") -> None:
    """The last lines of a session: what came of it, and where its journal lies."""
    from bot.snapshot import status_body

    engine = opened.engine
    body: dict[str, Any] = status_body(engine, engine.now_ns)
    held = {symbol: entry["qty"] for symbol, entry in body["positions"].items() if entry["qty"]}
    told = ", ".join(f"{qty:g} {symbol}" for symbol, qty in held.items()) or "nothing"
    say(f"session {opened.session} ended: equity {body['equity']:,.2f}, {body['level']}, holds {told}")
    say(f"journal: {opened.folder / 'journal.sqlite'}; tidegate replay, verify, trades and status read it")
