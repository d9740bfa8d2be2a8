"""Messages of the exchange process as JSON lines, and back: nothing is taken that isn't exactly one of them."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any

from bot.exchange.wire import TYPES, Message
from data.errors import InputError


class WireError(InputError):
    """A line that isn't one of ours."""


_HINTS = {kind: typing.get_type_hints(kind) for kind in TYPES.values()}


def encode(number: int, message: Message) -> bytes:
    """One line, newline included."""
    body = {"id": number, "is": type(message).__name__, **dataclasses.asdict(message)}
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> tuple[int, Message]:
    """Number and message of a line.

    Raises
    ------
    WireError
        It isn't JSON, names no type of ours, or a field is missing, unknown or of another type.
    """
    try:
        body = json.loads(line)
        number, name = body.pop("id"), body.pop("is")
        if not isinstance(number, int):
            raise WireError("a line's number isn't one", value=number)
        return number, _made(TYPES[name], body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"not a line of this protocol: {type(error).__name__}", value=line[:80]) from None


def _made(kind: type[Message], body: dict[str, Any]) -> Message:
    hints = _HINTS[kind]
    if body.keys() - hints.keys():
        raise WireError("unknown field", key=kind.__name__, value=sorted(body.keys() - hints.keys()))
    return kind(**{name: _value(hints[name], value, f"{kind.__name__}.{name}") for name, value in body.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _value(next(part for part in parts if part is not type(None)), value, where)
    if origin is tuple:
        return tuple(_value(parts[0], item, where) for item in value)
    if origin is dict:
        return {str(key): _value(parts[1], item, where) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Message):
        return _made(hint, dict(value))
    right = isinstance(value, (int, float)) and not isinstance(value, bool) if hint is float else type(value) is hint
    if not right:
        raise WireError("a field is of another type", key=where, value=value)
    return value
