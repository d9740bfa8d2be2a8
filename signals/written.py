"""A signal from text, as one would type it in a strategy: `Mood(half_life="6h")`. Read, never run."""

from __future__ import annotations

import ast
import inspect
from difflib import get_close_matches
from typing import Any

from data.errors import InputError
from signals.signal import Signal

EXAMPLE = 'Mood(half_life="6h") or ZScore("exchange_netflow", window="7d")'


def signal_classes() -> dict[str, type[Signal]]:
    """The signals that ship, by name."""
    import signals as shipped

    found = {name: getattr(shipped, name) for name in shipped.__all__}
    return {
        name: item
        for name, item in found.items()
        if inspect.isclass(item) and issubclass(item, Signal) and name not in ("Signal", "OwnSignal")
    }


def read_signal(text: str, *, key: str = "signal") -> Signal:
    """The signal that a text declares: one of those that ship, with plain arguments, or its name alone.

    Raises
    ------
    InputError
        When it is no such declaration, or the signal refuses its arguments.

    Examples
    --------
    >>> read_signal('Mood(half_life="12h", prior=2.0)')
    Mood('12h', prior=2.0)
    >>> read_signal("attention")
    Attention()
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise _no_declaration(text, key) from None
    name, call = (tree.func, tree) if isinstance(tree, ast.Call) else (tree, None)
    if not isinstance(name, ast.Name):
        raise _no_declaration(text, key)
    chosen = _class_of(name.id, text, key)
    given: list[Any] = []
    named: dict[str, Any] = {}
    try:
        for argument in call.args if call else []:
            given.append(ast.literal_eval(argument))
        for keyword in call.keywords if call else []:
            if keyword.arg is None:
                raise ValueError
            named[keyword.arg] = ast.literal_eval(keyword.value)
    except ValueError:
        raise _no_declaration(text, key) from None
    try:
        return chosen(*given, **named)
    except TypeError:
        asked = ", ".join(str(each) for each in inspect.signature(chosen).parameters.values())
        raise InputError(
            "not the arguments of this signal", key=key, value=text, remedy=f"It is {chosen.__name__}({asked})"
        ) from None


def _class_of(name: str, text: str, key: str) -> type[Signal]:
    known = signal_classes()
    by_lower = {each.lower(): each for each in known}
    if name.lower() in by_lower:
        return known[by_lower[name.lower()]]
    near = get_close_matches(name.lower(), by_lower, n=1)
    guess = f"Did you mean {by_lower[near[0]]}? " if near else ""
    raise InputError("no such signal", key=key, value=text, remedy=f"{guess}There are {', '.join(known)}")


def _no_declaration(text: str, key: str) -> InputError:
    remedy = f"Write it as in a strategy, numbers and texts as arguments: {EXAMPLE}"
    return InputError("not a signal", key=key, value=text, remedy=remedy)
