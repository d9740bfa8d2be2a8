"""The verb that records feeds: `record`."""

from typing import TYPE_CHECKING, Annotated

import typer

from bot.terminal import VAR, AsJson, ConfigFile, Settings, VarFolder, note
from data.errors import InputError

if TYPE_CHECKING:
    from bot.config import Config
    from bot.record.feeds import Chosen

PANEL = "Facts"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(rich_help_panel=PANEL)(record)


def record(
    config: ConfigFile = None,
    settings: Settings = None,
    span: Annotated[str | None, typer.Option("--for", metavar="TIME", help="End after this time: 10m, 2h, 7d.")] = None,
    no_score: Annotated[bool, typer.Option("--no-score", help="Don't score posts as they arrive.")] = False,
    var: VarFolder = VAR,
    as_json: AsJson = False,
) -> None:
    """Record all configured feeds side by side, for weeks; without any, the free ones. Ctrl-C ends it in order.

    What is shown as recorded is on disk. A killed recorder goes on where it was; what it missed is marked as a gap.
    Exit code 4 when every feed has stopped for good.
    """
    from bot.context import current_config
    from bot.record.run import run_recorder

    for_s = _seconds(span)
    chosen = current_config(config, settings)
    feeds = _feeds(chosen)
    run_recorder(chosen, feeds, var, for_s=for_s, scoring=chosen.record.score and not no_score, as_json=as_json)


def _feeds(config: "Config") -> "list[Chosen]":
    """What is recorded, told."""
    from bot.record.feeds import chosen_feeds

    feeds, free = chosen_feeds(config)
    if free:
        names = ", ".join(feed.name for feed in feeds)
        note(f"no feed is configured in {config.where}: recording the free ones ({names}). Yours: [feeds.NAME]")
    for feed in feeds:
        terms = feed.card.terms
        if terms.note:
            note(f"{feed.name}: {feed.card.title}. Terms: {terms.note} ({terms.url})")
    return feeds


def _seconds(span: str | None) -> float | None:
    from data.times import SECOND_NS, parse_duration

    if span is None:
        return None
    found = parse_duration(span, key="--for")
    if found <= 0:
        raise InputError("has to be longer than 0", key="--for", value=span)
    return found / SECOND_NS
