"""Verbs that list what there is: `limits`, `strategies`, `models`, `signals`."""

import dataclasses
from typing import Annotated

import typer

from bot.terminal import AsJson, ConfigFile, Settings, emit, note, say, table

PANEL = "Look up"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(rich_help_panel=PANEL)(limits)
    app.command(rich_help_panel=PANEL)(models)


def limits(
    config: ConfigFile = None,
    settings: Settings = None,
    live: Annotated[
        bool, typer.Option("--live", help="Check that every limit is stated, as live trading asks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the limits in effect, with their meaning, control number and where each value comes from."""
    from bot.context import current_config
    from bot.limit_table import limit_rows, refuse_defaults

    chosen = current_config(config, settings)
    if live:
        refuse_defaults(chosen)
    rows = limit_rows(chosen)
    if as_json:
        emit({row.name: {k: v for k, v in dataclasses.asdict(row).items() if k != "name"} for row in rows})
        return
    table(
        f"Limits for {chosen.where}, allocation {chosen.run.cash:,f} {chosen.quote}",
        ("limit", "value", "from", "control", "meaning"),
        [(row.name, row.text, row.origin, row.control, row.meaning) for row in rows],
        right=("value", "control"),
    )
    if any(row.origin == "default" for row in rows):
        note("default: the backtest profile; live trading has no defaults and asks for every limit")
    say()


def models(as_json: AsJson = False) -> None:
    """List the models that can score posts: kind, labels, how far their training reaches, licence."""
    from signals.models import DEFAULT_MODEL, REGISTRY

    cards = list(REGISTRY.values())
    if as_json:
        emit([{**dataclasses.asdict(card), "default": card.name == DEFAULT_MODEL} for card in cards])
        return
    rows = []
    for card in cards:
        name = f"{card.name} (default)" if card.name == DEFAULT_MODEL else card.name
        rows.append(
            (name, card.hub_id or card.kind, ", ".join(card.labels), card.cutoff_text, card.licence, card.notes)
        )
    table("Models", ("name", "from", "labels", "trained up to", "licence", "notes"), rows)
    note("A hub model needs its commit: tidegate score --model finbert@<40 hex digits>; a local folder works too")
