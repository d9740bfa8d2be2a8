"""Verbs that list what there is: `limits`, `strategies`, `models`, `signals`."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.terminal import AsJson, ConfigFile, Settings, emit, note, say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signals.models import ModelCard

PANEL = "Look up"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(rich_help_panel=PANEL)(limits)
    app.command("strategies", rich_help_panel=PANEL)(list_strategies)
    app.command(rich_help_panel=PANEL)(models)
    group = typer.Typer(no_args_is_help=True, help="What a strategy can look at: list.")
    group.callback()(_signals)
    group.command("list")(list_signals)
    app.add_typer(group, name="signals", rich_help_panel=PANEL)


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


def list_strategies(as_json: AsJson = False) -> None:
    """List the shipped strategies with their signals and parameters; `run.strategy` also takes a file of your own."""
    from strategies.load import catalogue

    found = catalogue()
    if as_json:
        emit(
            {
                name: {
                    "summary": cls.summary(),
                    "signals": {key: repr(value) for key, value in cls.declared_signals().items()},
                    "params": {key: dataclasses.asdict(param) for key, param in cls.declared_params().items()},
                    "short": cls.short,
                    "decide_on": cls.decide_on,
                }
                for name, cls in found.items()
            }
        )
        return
    rows = []
    for name, cls in found.items():
        params = ", ".join(
            f"{key}={param.default:g} ({param.low:g} to {param.high:g})" for key, param in cls.declared_params().items()
        )
        rows.append((name, cls.summary(), params))
    table("Strategies", ("name", "what it does", "parameters, default and range"), rows)
    note(
        'Use one with: tidegate backtest --set run.strategy=NAME --set PARAMETER=VALUE; your own: strategy = "file.py"'
    )


def models(
    name: Annotated[str | None, typer.Argument(help="One model, or a folder: its whole card.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the models that can score posts, or show one's card: what it learnt from, until when, how good it is."""
    from signals.models import DEFAULT_MODEL, card_of, registry

    cards = list(registry().values()) if name is None else [card_of(name)]
    if as_json:
        found = [{**dataclasses.asdict(card), "default": card.name == DEFAULT_MODEL} for card in cards]
        emit(found if name is None else found[0])
        return
    if name is not None:
        show_card(cards[0])
        return
    rows = []
    for card in cards:
        shown = f"{card.name} (default)" if card.name == DEFAULT_MODEL else card.name
        rows.append((shown, card.origin, ", ".join(card.labels), card.cutoff_text, card.licence, card.notes))
    table("Models", ("name", "from", "labels", "trained up to", "licence", "notes"), rows)
    note("One model's card: tidegate models NAME. A hub model needs its commit: tidegate score --model finbert@<40 hex")
    note("digits>; a local folder works too")


def show_card(card: "ModelCard") -> None:
    """All that is known of one model."""
    rows = [
        ("name", card.name),
        ("from", card.origin),
        ("revision", card.revision or "to be pinned: name@<40 hex digits>"),
        ("labels", ", ".join(card.labels)),
        ("trained up to", card.cutoff_text),
        ("licence", card.licence),
        ("reads", f"{card.max_length} tokens" + (", coins masked" if card.masks else "")),
        ("languages", "English" if card.english else "not declared"),
        ("calibration", f"temperature {card.calibration.temperature:.3g}, bias {_numbers(card.calibration.bias)}"),
        *((f"thresholds, {kind}", _numbers(pair)) for kind, pair in card.thresholds.items()),
        ("notes", card.notes),
    ]
    table("", ("what", "value"), [row for row in rows if row[1]])
    for key, value in card.about.items():
        _show_part(key.replace("_", " "), value)


def _show_part(title: str, value: object) -> None:
    """One part of a card: a table for a list of objects, lines for a list of words, pairs for an object."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if all({"title", "value", "low", "high"} <= set(item) for item in value):
            table(title, ("texts", "figure", "value", "95 %", "VADER", "asked", ""), [_figure(item) for item in value])
            return
        columns = list(dict.fromkeys(column for item in value for column in item))
        table(title, columns, [[_plain(item.get(column, "")) for column in columns] for item in value])
    elif isinstance(value, list):
        say("\n".join([title, *(f"  {_plain(item)}" for item in value)]))
    elif isinstance(value, dict):
        plain = [(key, _plain(item)) for key, item in value.items() if not isinstance(item, (dict, list))]
        if plain:
            table(title, ("what", "value"), plain)
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                _show_part(f"{title}, {key}", item)
    else:
        say(f"{title}: {_plain(value)}")


def _figure(item: dict[str, Any]) -> tuple[str, ...]:
    """One held-out figure of a card: what it is, how sure, beside the baseline and what was asked of it."""
    asked = (
        "" if item.get("floor") is None else ("at most " if item.get("lower_is_better") else "") + _plain(item["floor"])
    )
    missed = "missed" if item.get("holds") is False else ""
    vader = "" if item.get("vader") is None else f"{item['vader']:.3f}"
    span = f"{item['low']:.3f} to {item['high']:.3f}"
    return item["title"], item.get("figure", ""), f"{item['value']:.4f}", span, vader, asked, missed


def _plain(value: object) -> str:
    """A value of a card in one cell."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value)


def _numbers(values: "Sequence[float]") -> str:
    return ", ".join(f"{value:+.3f}" for value in values) or "none"


def _signals() -> None:
    """What a strategy can look at."""


def _arguments(signal: type) -> str:
    """What a signal is declared with, as one would write it."""
    import inspect

    found = inspect.signature(signal).parameters.values()
    plain = [item for item in found if item.kind is not inspect.Parameter.VAR_KEYWORD]
    return ", ".join(
        item.name if item.default is inspect.Parameter.empty else f"{item.name}={item.default!r}" for item in plain
    )


def list_signals(as_json: AsJson = False) -> None:
    """List the signals a strategy can declare, and the indicators that Technical takes."""
    import inspect

    import signals as known
    from signals.technical import classes, outputs_of

    found = [getattr(known, name) for name in known.__all__]
    declared = [item for item in found if inspect.isclass(item) and issubclass(item, known.Signal)]
    rows = [
        (item.__name__, item.kind, _arguments(item), (inspect.getdoc(item) or "").split("\n")[0])
        for item in declared
        if item is not known.Signal
    ]
    indicators = {name: list(outputs_of(name)) for name in sorted(classes())}
    if as_json:
        columns = ("name", "kind", "arguments", "meaning")
        emit({"signals": [dict(zip(columns, row, strict=True)) for row in rows], "technical": indicators})
        return
    table("Signals", ("name", "moved by", "arguments", "meaning"), rows)
    shown = [(name, ", ".join(outputs)) for name, outputs in indicators.items()]
    table('Technical("NAME", output="...", window=14): the indicators of package ta', ("name", "outputs"), shown)
    note("A signal of your own: see signals/own.py; a file of your own numbers: Given")
