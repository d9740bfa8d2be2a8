"""The verb that lists what can be recorded and fetched: `sources`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.terminal import AsJson, emit, note, say, table

if TYPE_CHECKING:
    from data.feed import Source

PANEL = "Look up"
NO_HISTORY = "none"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(rich_help_panel=PANEL)(sources)


def sources(
    name: Annotated[str | None, typer.Argument(help="One source: its options, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the sources of facts: what they bring, whether live and as history, what they cost and allow."""
    from data.sources import all_sources, find_source

    chosen = list(all_sources().values()) if name is None else [find_source(name)]
    if as_json:
        told = [_as_json(source) for source in chosen]
        emit(told if name is None else told[0])
        return
    if name is not None:
        _show_one(chosen[0])
        return
    rows = [
        (
            source.card.name, source.card.title, ", ".join(source.card.kinds), "yes" if source.card.live else "no",
            source.card.history or NO_HISTORY, _cost(source), ", ".join(source.card.keys) or "none",
            source.card.terms.note,
        )
        for source in chosen
    ]  # fmt: skip
    table("Sources", ("name", "what", "brings", "live", "history", "cost", "keys", "terms"), rows)
    note("One source's options and terms: tidegate sources NAME. Its history: tidegate fetch NAME --since 2024-01-01")
    note("What is live is recorded with tidegate record, by a table [feeds.NAME] of the configuration")


def _as_json(source: "Source") -> dict[str, Any]:
    import dataclasses

    card = dataclasses.asdict(source.card)
    card["cost"] = str(source.card.cost)
    options = {
        key: {
            "meaning": field.description,
            "default": None if field.is_required() else _plain(field.get_default(call_default_factory=True)),
        }
        for key, field in source.options.model_fields.items()
    }
    return {**card, "options": options}


def _show_one(source: "Source") -> None:
    from bot.fetching import terms_line
    from data.times import format_duration

    card = source.card
    history = card.history or NO_HISTORY
    if card.history and card.lag_ns:
        history += f", known {format_duration(card.lag_ns)} after the event unless it says better"
    rows = [
        ("name", card.name),
        ("what", card.title),
        ("brings", ", ".join(card.kinds)),
        ("live", "yes" if card.live else "no"),
        ("history", history),
        ("revises what it said", "yes" if card.revises else "no"),
        ("requests a minute, at most", f"{card.per_minute:g}"),
        ("cost", _cost(source)),
        ("keys", ", ".join(card.keys) or "none"),
        ("terms", terms_line(card)),
        ("terms stand at", card.terms.url),
    ]
    table("", ("what", "value"), rows)
    options = [
        (key, "required" if field.is_required() else _shown(field.get_default(call_default_factory=True)),
         field.description or "")
        for key, field in source.options.model_fields.items()
    ]  # fmt: skip
    title = f"Options: keys of feeds.{card.name} in the configuration, or by --set"
    table(title, ("option", "default", "meaning"), options)
    say()


def _cost(source: "Source") -> str:
    return f"{source.card.cost} USD an item" if source.card.cost else "free"


def _plain(value: Any) -> Any:
    """A default in JSON's terms."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool, dict)) else str(value)


def _shown(value: Any) -> str:
    plain = _plain(value)
    return ", ".join(map(str, plain)) if isinstance(plain, list) else str(plain)
