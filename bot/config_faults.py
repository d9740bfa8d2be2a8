"""Turns what pydantic found into errors that name file, key, value and remedy."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from bot.config_types import Fault
from data.errors import InputError

PLAIN_WORDS = {
    "string_type": "has to be text",
    "tuple_type": "has to be a list",
    "dict_type": "has to be a table",
    "model_type": "has to be a table",
    "model_attributes_type": "has to be a table",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "finite_number": "has to be a finite number",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
}
SECRET_WORDS = ("key", "secret", "password", "passphrase", "token", "url")
NO_FIELD = "Write one plain value after the key, for example: entry = 0.4"
BOUNDS = {
    "greater_than": "has to be above {gt:g}",
    "greater_than_equal": "has to be at least {ge:g}",
    "less_than": "has to be below {lt:g}",
    "less_than_equal": "has to be at most {le:g}",
}


def toml_text(value: Any) -> str:
    """A value as it stands in a TOML file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{Decimal(repr(value)):f}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_text(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(name)} = {toml_text(item)}" for name, item in value.items()) + " }"
    return str(value)


def toml_key(name: str) -> str:
    """A key as it stands in a TOML file: bare where it can be."""
    bare = name != "" and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in name)
    return name if bare else json.dumps(name, ensure_ascii=False)


# What other tools call it.
ELSEWHERE = {
    **dict.fromkeys(("start", "begin", "from", "start_date"), "since"),
    **dict.fromkeys(("end", "to", "stop", "end_date"), "until"),
    **dict.fromkeys(("timeframe", "interval"), "bar"),
    **dict.fromkeys(("symbol", "pair", "pairs"), "symbols"),
    **dict.fromkeys(("capital", "balance", "initial_cash"), "cash"),
}


def nearest(name: str, known: Iterable[str], *, noun: str = "Keys here") -> str:
    """The remedy for an unknown name: the likely one, else all of them."""
    names = list(known)
    close = [ELSEWHERE[name]] if ELSEWHERE.get(name) in names else []
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}" if close else f"{noun}: {', '.join(names)}"


def find_faults(
    error: ValidationError, *, section: str, model: type[BaseModel] | None, places: "Places", more: Iterable[str] = ()
) -> list[InputError]:
    """One input error for each of pydantic's, with the dotted key as the user wrote it; `more` keys may stand there."""
    faults = []
    for found in error.errors(include_url=False):
        path = (section, *(str(part) for part in found["loc"]))
        dotted = ".".join(path)
        what, remedy = _describe(dict(found), model, more)
        whole = len(path) == 1 and isinstance(found["input"], Mapping)
        value = None if whole or may_hold_secret(path, unknown=found["type"] == "extra_forbidden") else found["input"]
        faults.append(InputError(what, where=places.of(dotted), key=dotted, value=value, remedy=remedy))
    return faults


def may_hold_secret(path: Sequence[str], *, unknown: bool) -> bool:
    """True for a value that a message doesn't repeat: addresses of notices and gateways, and what looks like a key."""
    if path[0].startswith("feeds.") and (unknown or len(path) == 1 or _sounds_secret(path[-1])):
        return True
    if path[0] == "notify" or (path[0] == "exchange" and (unknown or len(path) == 1 or path[1] in ("urls", "options"))):
        return True
    return unknown and any(word in path[-1].lower() for word in SECRET_WORDS)


def _sounds_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET_WORDS if word != "url")


class Places:
    """Where each key was given: the file, or `--set` for those that the command line replaced."""

    def __init__(self, file: str, overrides: Iterable[str] = ()) -> None:
        self.file = file
        self.overrides = frozenset(overrides)

    def of(self, dotted: str) -> str:
        """Name of the place for one dotted key."""
        for given in self.overrides:
            if dotted == given or dotted.startswith(f"{given}."):
                return "--set"
        return self.file

    def of_section(self, name: str) -> str:
        """Name of the place that brought a section in."""
        return "--set" if any(given.split(".")[0] == name for given in self.overrides) else self.file


def _describe(found: dict[str, Any], model: type[BaseModel] | None, more: Iterable[str]) -> tuple[str, str]:
    kind, context, loc = found["type"], found.get("ctx", {}), found["loc"]
    fields = {} if model is None else model.model_fields
    fault = context.get("error")
    if isinstance(fault, Fault):
        return fault.what, fault.remedy
    if kind == "extra_forbidden":
        return "unknown key", nearest(str(loc[-1]), [*fields, *more])
    name = next((str(part) for part in reversed(loc) if part in fields), "")
    example = _example(name, fields[name]) if name else NO_FIELD
    if kind == "literal_error":
        return f"has to be one of {context['expected']}", example
    if kind in BOUNDS:
        return BOUNDS[kind].format(**{name: float(bound) for name, bound in context.items()}), example
    if kind == "missing":
        return "is missing", example
    if kind == "value_error" and fault is not None:
        return str(fault), example
    return PLAIN_WORDS.get(kind, str(found["msg"])), example


def _example(name: str, field: FieldInfo) -> str:
    """What to write: the field's own example, else its default, else what it means."""
    if field.examples:
        return f"For example: {name} = {toml_text(field.examples[0])}"
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    if isinstance(default, (str, int, float, tuple, list)) and default not in ("", (), []):
        return f"For example: {name} = {toml_text(default)}"
    return f"{name}: {field.description}" if field.description else NO_FIELD
