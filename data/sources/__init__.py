"""Sources of facts, one file each; a file that is put here with a `SOURCE` can be configured at once.

`SOURCES` finds them when it is first asked: no list has to be kept.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from data.errors import InputError
from data.feed import Source


@cache
def all_sources() -> dict[str, Source]:
    """All sources by their name, in the order of their names."""
    found: dict[str, Source] = {}
    for module in pkgutil.iter_modules(__path__):
        source = getattr(importlib.import_module(f"{__name__}.{module.name}"), "SOURCE", None)
        if source is not None:
            found[source.card.name] = source
    return dict(sorted(found.items()))


def find_source(name: str, *, where: str | None = None, key: str = "source") -> Source:
    """A source by its name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    known = all_sources()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        remedy = f"Perhaps {' or '.join(near)}" if near else f"There are {', '.join(known)}"
        raise InputError("no such source", where=where, key=key, value=name, remedy=remedy)
    return known[name]
