"""MODEL_CARD.md: a model's card for people, written from card.json so that the two can't differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks.train_sentiment.pack import read_card

LEAFLET: Final = "MODEL_CARD.md"


def write_leaflet(folder: Path) -> None:
    """Write the page beside the card it is made from."""
    (folder / LEAFLET).write_text(leaflet(read_card(folder)), encoding="utf-8")


def leaflet(card: dict[str, Any]) -> str:
    """The page as Markdown."""
    pairs = ", ".join(f"{name} {low:g} / {high:g}" for name, (low, high) in card["thresholds"].items())
    blocks = [
        f"# {card['name']}, version {card['version']}",
        "Says of a post or headline whether it is bearish, neutral or bullish for one coin. The coin asked for reads "
        '"target", every other coin "other"; the score is p(bullish) - p(bearish).',
        f"Base: {card['base']['name']}. Licence: {card['licence']}. Learnt from texts up to "
        f"{card['cutoff'] or 'an unknown day'}{_because(card)} Reads {card['max_length']} tokens. Seed {card['seed']}.",
        "## Trained on\n\n| set | rows | licence | SHA-256 |\n| --- | --- | --- | --- |\n"
        + "\n".join(
            f"| {fact['name']} | {fact['rows']:,} | {fact['licence']} | `{fact['sha256'][:16]}…` |"
            for fact in card["training"]
        ),
        f"## Calibration\n\nTemperature {card['calibration']['temperature']:g}, bias {card['calibration']['bias']}. "
        f"Thresholds of the score, bearish at or below / bullish at or above: {pairs}.",
        "## Figures\n\n"
        + "".join(f"{said}.\n\n" for said in [card.get("how_chosen")] if said)
        + _figures(card["metrics"]),
        "## Known failures\n\n" + "\n".join(f"- {failure}" for failure in card["known_failures"]),
    ]
    return "\n\n".join(blocks) + "\n"


def _because(card: dict[str, Any]) -> str:
    why = card.get("cutoff_why")
    return f" ({why})." if why else "."


def _figures(metrics: dict[str, Any]) -> str:
    held = [
        f"On {found['rows']:,} {name} (used to choose the epoch and to calibrate): macro-F1 {found['macro_f1']:.3f}, "
        f"calibration error {found['calibration_error']:.3f}."
        for name, found in metrics["validation"].items()
    ]
    table = metrics.get("table")
    if not table:
        return "\n".join([*held, "", "Held-out sets: `python -m benchmarks.sentiment_table --save` fills this in."])
    lines = [
        "| texts | rows | figure | value [95 %] | VADER | floor | calibration error |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for line in table:
        interval = f"{line['value']:.3f} [{line['low']:.3f}, {line['high']:.3f}]"
        rest = " | ".join(_number(line[key]) for key in ("vader", "floor", "calibration_error"))
        lines.append(f"| {line['title']} | {line['rows']:,} | {line['figure']} | {interval} | {rest} |")
    return "\n".join([*held, "", "Held out (`python -m benchmarks.sentiment_table`):", "", *lines])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
