"""Verbs for the operator of a session: `status`, `halt`, `resume`, `close`, `logs`."""

import os
import sys
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.journal.places import Mode
from bot.terminal import VAR, AsJson, VarFolder, emit, note, now_ns, say
from data.errors import InputError, UnreachableError

PANEL = "Live"
NOT_ALL_WORKED = 1
Name = Annotated[str | None, typer.Option("--name", help="The session's name; else the only, or the running one.")]
OfMode = Annotated[Mode | None, typer.Option("--mode", help="The paper or the live session; else the likelier one.")]
SessionOf = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="A configuration, for its live.name; else --name.")
]
Person = Annotated[str | None, typer.Option("--person", metavar="NAME", help="Who says so; else your user name.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the journal.")]


class Level(StrEnum):
    """Levels of log records."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (status, halt, resume, close, logs):
        app.command(rich_help_panel=PANEL)(verb)


def status(
    config: SessionOf = None,
    name: Name = None,
    mode: OfMode = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="With --watch: seconds between two looks.")] = 2.0,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Show position, equity, ladder, latches, open orders, feed ages, last decisions and why. Works on a dead bot too.

    Then the recorder's feeds, spending and gaps; a recorder is shown alone where there is no session. Exit code 4 when
    the bot, or a recorder that is alone, is there and doesn't answer.
    """
    from bot.operate.recording import gather_recorder, show_recorder
    from bot.operate.sessions import choose, one_of, sessions
    from bot.operate.status import gather
    from bot.operate.status_view import clear_screen, show

    alone = name is None and mode is None and not sessions(var) and gather_recorder(var) is not None
    folder = None if alone else one_of(choose(var, name=name, mode=mode, config=config))
    try:
        while True:
            recorder = gather_recorder(var)
            found = {"running": recorder["running"] if recorder else False} if folder is None else gather(folder)
            if watch and not as_json and sys.stdout.isatty():
                clear_screen()
            if as_json:
                emit({**found, "recorder": recorder})
            else:
                if folder is not None:
                    show(found, now_ns=now_ns())
                if recorder is not None:
                    show_recorder(recorder)
            if not watch:
                break
            time.sleep(every)
    except KeyboardInterrupt:
        return
    if found["running"] is None:
        raise typer.Exit(UnreachableError.exit_code)


def halt(
    config: SessionOf = None,
    flatten: Annotated[bool, typer.Option("--flatten", help="Also sell what the bot holds, at market.")] = False,
    reason: Reason = "halted by hand",
    person: Person = None,
    every_session: Annotated[bool, typer.Option("--all", help="Every session under --var.")] = False,
    name: Name = None,
    mode: OfMode = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Stop a bot that runs, hangs or is dead: kill latch first, then its open orders; protection stays.

    With several sessions and no word which, all that may be meant are halted. Exit code 1 when a step didn't work.
    """
    from bot.operate.direct_line import default_spawn
    from bot.operate.sessions import choose, one_of, sessions
    from bot.operate.stop import Halt, Step

    found = sessions(var) if every_session else choose(var, name=name, mode=mode, config=config)
    if flatten and not every_session:
        found = [one_of(found)]
    if not found:
        raise InputError("there is no session", where=var)
    who, worked, steps = person or whoami(), True, []

    for folder in found:
        title = f"{folder.parent.name} {folder.name}"

        def tell(step: Step, title: str = title) -> None:
            steps.append({"session": title, **asdict(step)})
            if not as_json:
                say(f"{title}  {step.what:<18}{step.how:<9}{step.text}")

        job = Halt(folder=folder, person=who, reason=reason, now_ns=now_ns(), spawn=default_spawn(folder), tell=tell)
        worked = job.run(flatten=flatten) and worked
    if as_json:
        emit({"worked": worked, "steps": steps})
    elif not worked:
        note("NOT all of it worked: see the steps that failed.")
    if not worked:
        raise typer.Exit(NOT_ALL_WORKED)


def resume(
    reason: Reason,
    config: SessionOf = None,
    person: Person = None,
    name: Name = None,
    mode: OfMode = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Let a halted session trade again. Refused, with names, while what halted it still stands."""
    from bot.operate.resume import resume as release
    from bot.operate.sessions import choose, one_of

    folder = one_of(choose(var, name=name, mode=mode, config=config))
    told = release(folder, person=person or whoami(), reason=reason, now_ns=now_ns())
    if as_json:
        emit({"session": f"{folder.parent.name} {folder.name}", "told": told})
        return
    for text in told:
        say(text)


def close(
    symbol: Annotated[str, typer.Argument(help="The symbol, for example BTC/USDT.")],
    reason: Reason,
    person: Person = None,
    config: Annotated[Path | None, typer.Option("--config", help="A configuration, for its live.name.")] = None,
    name: Name = None,
    mode: OfMode = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Close the bot's own position in one symbol, and nothing else of the account. The bot has to run."""
    from bot.operate.control import SOCKET_FILE, NobodyThere, ask
    from bot.operate.sessions import choose, one_of

    folder = one_of(choose(var, name=name, mode=mode, config=config))
    request = {"do": "close", "symbol": symbol, "person": person or whoami(), "reason": reason}
    try:
        answer = ask(folder / SOCKET_FILE, request, timeout_s=7.0)
    except NobodyThere as error:
        raise UnreachableError(f"{error}. Start it, or sell all it holds: tidegate halt --flatten") from None
    if as_json:
        emit(answer)
        return
    order = f" by order {answer['order']}" if answer.get("order") else ""
    say(f"closing {symbol}{order}: see tidegate status")


def logs(
    config: SessionOf = None,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="At most so many of the past.")] = 50,
    level: Annotated[Level, typer.Option("--level", help="From this level on.")] = Level.info,
    text: Annotated[str, typer.Option("--grep", metavar="TEXT", help="Only those with this text in them.")] = "",
    logger: Annotated[str, typer.Option("--from", metavar="PART", help="Only of this part, for example venue.")] = "",
    session: Annotated[str, typer.Option("--session", metavar="ID", help="Only of one start.")] = "",
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="2024-05-01T12:00Z, or 2h.")] = None,
    watchdog: Annotated[bool, typer.Option("--watchdog", help="The watchdog's log instead.")] = False,
    name: Name = None,
    mode: OfMode = None,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Show a session's log in readable form, filtered; --json gives the lines as they were written."""
    from bot.operate.log_view import Filter, follow, last_entries
    from bot.operate.logs import LOG_FILE
    from bot.operate.sessions import choose, one_of

    folder = one_of(choose(var, name=name, mode=mode, config=config))
    file = "watchdog.jsonl" if watchdog else LOG_FILE
    wanted = Filter(level=level.value.upper(), text=text, logger=logger, session=session, since_ns=_since(since))
    for entry in last_entries(folder, wanted, lines, file=file):
        _show_entry(entry, as_json)
    if not following:
        return
    try:
        for entry in follow(folder, wanted, file=file):
            _show_entry(entry, as_json)
    except KeyboardInterrupt:
        return


def whoami() -> str:
    """Name of the person at the terminal, also behind sudo."""
    import getpass

    return os.environ.get("SUDO_USER") or getpass.getuser()


def _since(text: str | None) -> int:
    from data.times import parse_duration, parse_time

    if text is None:
        return 0
    if text[:4].isdigit() and "-" in text:
        return parse_time(text, key="--since")
    return now_ns() - parse_duration(text, key="--since")


def _show_entry(entry: dict[str, Any], as_json: bool) -> None:
    import json

    from bot.operate.logs import readable

    say(json.dumps(entry, ensure_ascii=False) if as_json else readable(entry))
