"""A model's own card, `card.json` beside its weights: what it learnt from, until when, its calibration, its faults.

The shipped model has one, and so has whatever `python -m benchmarks.train_sentiment` writes. A folder without one is a
model of which nothing is known but its outputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from data.errors import InputError
from signals.labels import parse_labels

CARD_FILE: Final = "card.json"
READ: Final = ("name", "labels", "cutoff", "licence", "max_length", "calibration", "thresholds")
"""Keys that are read; all others are shown to people and otherwise left as they are."""


@dataclass(frozen=True)
class Calibration:
    """Probabilities are ``softmax((logits + bias) / temperature)``; without a bias, zeros."""

    temperature: float = 1.0
    bias: tuple[float, ...] = ()


@dataclass(frozen=True)
class CardFile:
    """What a card says; absent keys are None or empty."""

    name: str | None = None
    labels: tuple[str, ...] | None = None
    cutoff: date | None = None
    licence: str | None = None
    max_length: int | None = None
    calibration: Calibration = Calibration()
    thresholds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def read_card(folder: Path) -> CardFile:
    """The card of a model's folder; an empty one when there is none.

    Raises
    ------
    InputError
        It can't be read, or a value in it is not what it has to be; the key is named.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        return CardFile()
    raw = read_object(path)
    cutoff = raw.get("cutoff")
    labels = raw.get("labels")
    return CardFile(
        name=_maybe_text(path, raw, "name"),
        labels=None if labels is None else parse_labels(_texts(path, "labels", labels)),
        cutoff=None if cutoff is None else _date(path, cutoff),
        licence=_maybe_text(path, raw, "licence"),
        max_length=None if raw.get("max_length") is None else _length(path, raw["max_length"]),
        calibration=_calibration(path, raw.get("calibration", {})),
        thresholds=_thresholds(path, raw.get("thresholds", {})),
        about={key: value for key, value in raw.items() if key not in READ},
    )


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model's.

    Raises
    ------
    InputError
        It can't be read, or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # a fault of JSON or of UTF-8 is a ValueError
        raise InputError(f"can't be read: {error}", where=path, remedy="Save the model again") from error
    if not isinstance(found, dict):
        raise InputError("not a JSON object", where=path, remedy="Save the model again")
    return found


def _wrong(path: Path, key: str, value: object, wanted: str) -> InputError:
    return InputError(
        f"not {wanted}", where=path, key=key, value=value, remedy="Mend the card, or train the model anew"
    )


def _maybe_text(path: Path, raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise _wrong(path, key, value, "a text")


def _texts(path: Path, key: str, value: object) -> list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise _wrong(path, key, value, "a list of texts")


def _date(path: Path, value: object) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise _wrong(path, "cutoff", value, "a date (YYYY-MM-DD)") from None


def _length(path: Path, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise _wrong(path, "max_length", value, "a number of tokens")


def _numbers(path: Path, key: str, value: object) -> tuple[float, ...]:
    ok = isinstance(value, Sequence) and not isinstance(value, str)
    if ok and all(isinstance(item, int | float) and math.isfinite(item) for item in value):  # type: ignore[attr-defined]
        return tuple(float(item) for item in value)  # type: ignore[attr-defined]
    raise _wrong(path, key, value, "a list of numbers")


def _calibration(path: Path, value: object) -> Calibration:
    if not isinstance(value, dict):
        raise _wrong(path, "calibration", value, "an object with temperature and bias")
    temperature = value.get("temperature", 1.0)
    if not isinstance(temperature, int | float) or not math.isfinite(temperature) or temperature <= 0.0:
        raise _wrong(path, "calibration.temperature", temperature, "a number above 0")
    return Calibration(float(temperature), _numbers(path, "calibration.bias", value.get("bias", [])))


def _thresholds(path: Path, value: object) -> dict[str, tuple[float, float]]:
    if not isinstance(value, dict):
        raise _wrong(path, "thresholds", value, "an object of [low, high] by kind of source")
    found = {}
    for kind, pair in value.items():
        numbers = _numbers(path, f"thresholds.{kind}", pair)
        if len(numbers) != 2 or not -1.0 <= numbers[0] <= numbers[1] <= 1.0:
            raise _wrong(path, f"thresholds.{kind}", pair, "two numbers in [-1, 1], the lower first")
        found[str(kind)] = (numbers[0], numbers[1])
    return found
