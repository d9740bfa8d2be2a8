"""Paths into JSON values: `data.items.0.user["full.name"]`, `rows.*.price`; read once, checked when they are read.

A part is a name, a number (a place in a list, from its end when negative; a name in an object) or `*` (each of a list
or of an object's values). A name that holds a dot or a bracket stands in brackets and quotes. Nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from data.errors import InputError

PARTS_MAX: Final = 16
EACH: Final = "*"
_PART = re.compile(r"""\.?(?:([^.\[\]"'*\s][^.\[\]"'*]*)|(\*)|\[(-?\d{1,9}|\*)\]|\["([^"]+)"\]|\['([^']+)'\])""")
_NUMBER = re.compile(r"-?\d{1,9}")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()
"""Nothing lies at a path; not the same as a null."""


@dataclass(frozen=True)
class Path:
    """A path as it was read; see `read_path`.

    Attributes
    ----------
    text : str
        As it was written.
    parts : tuple of str
    """

    text: str
    parts: tuple[str, ...]

    def one(self, value: Any) -> Any:
        """What lies there, or `MISSING`; of several the first."""
        return next(self.each(value), MISSING)

    def each(self, value: Any) -> Iterator[Any]:
        """All that lies there, in order."""
        return _walk(value, self.parts)

    @property
    def many(self) -> bool:
        """Whether several things can lie there."""
        return EACH in self.parts


def read_path(text: str, *, key: str, many: bool = False) -> Path:
    """Read a path; the empty one is the whole.

    Parameters
    ----------
    key : str
        The option it stands in, for the message.
    many : bool
        `*` is allowed.

    Raises
    ------
    InputError
        It isn't a path.

    Examples
    --------
    >>> path = read_path('rows.*["last price"]', key="value", many=True)
    >>> list(path.each({"rows": [{"last price": 1}, {"other": 2}, {"last price": 3}]}))
    [1, 3]
    """
    found: list[str] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or (match.start() == 0 and text.startswith(".")) or (at and text[at] not in ".["):
            remedy = 'Write names with dots between them, such as data.items.0.id, and ["a.b"] for a name with a dot'
            raise InputError(
                f"can't be read as a path from {text[at : at + 20]!r} on", key=key, value=text, remedy=remedy
            )
        found.append(next(group for group in match.groups() if group is not None))
        at = match.end()
    if len(found) > PARTS_MAX:
        raise InputError(f"a path of more than {PARTS_MAX} parts", key=key, value=text, remedy="Shorten it")
    if EACH in found and not many:
        raise InputError("a path to many things where one is asked for", key=key, value=text, remedy="Leave * out")
    return Path(text, tuple(found))


def _walk(value: Any, parts: tuple[str, ...]) -> Iterator[Any]:
    for at, part in enumerate(parts):
        if part == EACH:
            inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
            for each in inner:
                yield from _walk(each, parts[at + 1 :])
            return
        if isinstance(value, dict):
            if part not in value:
                return
            value = value[part]
        elif isinstance(value, list) and _NUMBER.fullmatch(part):
            place = int(part)
            if not -len(value) <= place < len(value):
                return
            value = value[place]
        else:
            return
    yield value
