"""What the recorder of a var folder is doing: asked of the running one, else what it left on disk."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.operate.control import NoAnswer, NobodyThere, ask
from bot.operate.lock import holder
from bot.operate.words import NONE, moment
from bot.record.lock import feeds_folder
from bot.record.memory import read_heard
from bot.record.words import FEED_COLUMNS, SOCKET_FILE, caps, feed_rows, gap_rows, head_line, scoring_line, writer_line
from bot.terminal import say, table
from data.errors import TidegateError
from data.spend import Spending


def gather_recorder(var: Path, *, timeout_s: float = 3.0) -> dict[str, Any] | None:
    """All that is known of the recorder; None where nothing was ever recorded.

    Returns
    -------
    dict
        Its own figures (`bot.record.recorder.Recorder.body`) when it answers. "running" is True, None (it is there and
        silent) or False; "heard" says of each source when it was last heard, as on disk; "told" what couldn't be read.
    """
    folder = feeds_folder(var)
    if not folder.is_dir():
        return None
    found: dict[str, Any] = {"running": False, "told": [], "heard": {}}
    try:
        found["heard"] = {
            name: {"up": one.up, "alive_ns": one.alive_ns} for name, one in sorted(read_heard(folder).items())
        }
    except TidegateError as error:
        found["told"].append(str(error))
    found["spend"] = _spent(folder)
    try:
        return {**found, **ask(folder / SOCKET_FILE, {"do": "status"}, timeout_s=timeout_s), "running": True}
    except (NobodyThere, NoAnswer) as error:
        held = holder(folder)
        if held is not None:
            found["running"] = None
            found["told"].append(f"process {held.pid} ({held.session}) records and doesn't answer")
        elif isinstance(error, NoAnswer):
            found["told"].append(str(error))
    except TidegateError as error:
        found["running"] = None
        found["told"].append(f"the recorder answers: {error}")
    return found


def show_recorder(found: dict[str, Any]) -> None:
    """Print it for people."""
    for text in found["told"]:
        say(f"note         {text}")
    if found["running"]:
        say(f"recorder     {head_line(found)}")
        table("", FEED_COLUMNS, feed_rows(found), right=("posts/s", "facts", "lag", "heard", "waits", "errors", "gaps"))
        for line in (writer_line(found), scoring_line(found), *caps(found), *gap_rows(found)):
            if line:
                say(line)
        return
    state = "NOT ANSWERING" if found["running"] is None else "not running"
    heard = ", ".join(f"{name} {moment(one['alive_ns'])}" for name, one in found["heard"].items())
    say(f"recorder     {state}; last heard: {heard or NONE}")
    for line in caps(found):
        say(line)


def _spent(folder: Path) -> dict[str, Any]:
    """What stands in the books of paid accounts; their caps only a running recorder knows."""
    found: dict[str, Any] = {}
    for books in sorted((folder / "spend").glob("*")):
        try:
            spent = asdict(Spending(books, cost=Decimal(0), cap_day=Decimal(0), cap_month=Decimal(0)).spent())
        except TidegateError as error:
            found[books.name] = {"why": str(error)}
            continue
        found[books.name] = {name: spent[name] for name in ("day", "today", "this_month", "stopped_ns", "why")}
    return found
