"""Finds a strategy by the name of a shipped one, a file, or a module, and sets its parameters."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from data.errors import InputError, InputErrors
from strategies.base import Strategy

SHIPPED = {
    "buy-and-hold": "strategies.buy_and_hold:BuyAndHold",
    "ema-cross": "strategies.ema_cross:EmaCross",
    "mood-momentum": "strategies.mood_momentum:MoodMomentum",
    "mood-flow": "strategies.mood_flow:MoodFlow",
    "fear-greed": "strategies.fear_greed:FearGreed",
    "mood-rank": "strategies.mood_rank:MoodRank",
    "weights": "strategies.weights:Weights",
}
TABLES = (".csv", ".parquet")


def load_strategy(text: str, values: Mapping[str, Any] | None = None) -> Strategy:
    """A strategy with its parameters.

    Parameters
    ----------
    text : str
        One of

        - the name of a shipped strategy: ``mood-flow``;
        - a file with one strategy in it: ``my/idea.py``; with several: ``my/idea.py:Idea``;
        - a class of an installed module, or of one in the current folder: ``package.module:Idea``;
        - a file of target weights: ``weights:targets.csv``, or just ``targets.csv``.
    values : mapping of str to number or str, optional
        Parameters that differ from their defaults; text is read as a number.

    Raises
    ------
    InputError
        When nothing of that name is found, the file can't be read, has a syntax error or raises when it is run, has no
        strategy or several, or the class isn't one. Names the file and the line.
    InputErrors
        When several parameters are unknown or out of range.
    """
    table = table_of(text)
    if table is not None:
        return load_class("weights")(file=table, **dict(values or {}))
    chosen = load_class(text)
    file = getattr(sys.modules.get(chosen.__module__), "__file__", None)
    with _faults_of(Path(file or text), "when the strategy is made", own=text not in SHIPPED):
        made = chosen(**dict(values or {}))
    if not hasattr(made, "signals"):
        what, remedy = f"{chosen.__name__}.__init__ leaves out what a Strategy needs", "Call super().__init__(**values)"
        raise InputError(what, where=text, key="strategy", remedy=remedy)
    return made


def table_of(text: str) -> str | None:
    """The file of target weights that a strategy's text names, if it names one."""
    file = text.removeprefix("weights:")
    return file if Path(file).suffix.lower() in TABLES else None


def load_class(text: str) -> type[Strategy]:
    """The class that a strategy's text names; see `load_strategy`."""
    known = SHIPPED.get(text, text)
    file, colon, name = known.rpartition(":")
    if not colon:
        file, name = known, ""
    if file.endswith(".py"):
        return _pick(_run_file(Path(file)), name, where=file)
    if not colon:
        raise _unknown(text)
    return _pick(_import(file, text), name, where=file)


def _unknown(text: str) -> InputError:
    near = get_close_matches(text, SHIPPED, n=1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return InputError(
        "no such strategy",
        key="strategy",
        value=text,
        remedy=f"{guess}There are {', '.join(SHIPPED)}; or give a file such as my/idea.py, or module:Class",
    )


def _run_file(file: Path) -> ModuleType:
    """Run a user's file as a module of its own."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"the strategy's file can't be read ({reason})", where=file, key="strategy") from error
    name = f"tidegate_user_{file.stem}_{hashlib.sha256(str(file.resolve()).encode() + raw).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError("not a Python file", where=file, key="strategy")
    linecache.checkcache(str(file))
    module = importlib.util.module_from_spec(spec)
    with _faults_of(file):
        code = compile(raw, str(file), "exec")
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return module


def _import(name: str, text: str) -> ModuleType:
    """Import a module by its dotted name, also from the current folder."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        with _faults_of(Path(name)):
            return importlib.import_module(name)
    except (ModuleNotFoundError, ValueError) as error:
        raise InputError(
            f"no module named {name!r}",
            key="strategy",
            value=text,
            remedy="Give a file such as my/idea.py:Idea, or install the module",
        ) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


@contextlib.contextmanager
def _faults_of(file: Path, when: str = "when it is read", *, own: bool = True) -> Iterator[None]:
    """Turn whatever goes wrong while a user's code is read and run into an InputError with file and line. own: the file
    is the user's; what is wrong of a shipped strategy isn't in its file.
    """
    try:
        yield
    except InputError as error:
        raise (error.placed(error.where or _place(error, file)) if own else error) from error.__cause__
    except InputErrors as errors:
        raise (InputErrors([one.placed(one.where or file) for one in errors.errors]) if own else errors) from None
    except SyntaxError as error:
        place = f"{error.filename or file}" + (f", line {error.lineno}" if error.lineno else "")
        said = (error.text or "").strip()
        raise InputError(f"syntax error: {error.msg}", where=place, key="strategy", value=said or None) from error
    except (Exception, SystemExit) as error:
        said = f"the file fails {when}: {type(error).__name__}: {error}"
        raise InputError(said, where=_place(error, file), key="strategy") from error


def _place(error: BaseException, file: Path) -> str:
    """The file, and its line that was run last, if any was."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}, line {frames[-1].lineno}" if frames else str(file)


def _pick(module: ModuleType, name: str, where: str) -> type[Strategy]:
    """The strategy of that name, or the only one, that a module defines."""
    if name:
        found = getattr(module, name, None)
        if found is None:
            raise InputError(f"has no class {name}", where=where, key="strategy", remedy=_those(module))
        if not (isinstance(found, type) and issubclass(found, Strategy) and found is not Strategy):
            raise InputError(f"{name} isn't a Strategy", where=where, key="strategy", remedy="Derive it from Strategy")
        return found
    own = _own(module)
    if len(own) == 1:
        return own[0]
    if not own:
        raise InputError(
            "defines no strategy",
            where=where,
            key="strategy",
            remedy="Write a class derived from strategies.base.Strategy",
        )
    raise InputError(
        f"defines several strategies: {', '.join(cls.__name__ for cls in own)}",
        where=where,
        key="strategy",
        remedy=f"Name one: {where}:{own[0].__name__}",
    )


def _own(module: ModuleType) -> list[type[Strategy]]:
    """Strategies a module defines itself and that no other of its strategies is derived from, in its order."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]
    bases = {base for cls in found for base in cls.__mro__[1:]}
    return [cls for cls in dict.fromkeys(found) if cls not in bases]


def _those(module: ModuleType) -> str:
    own = _own(module)
    return f"It has {', '.join(cls.__name__ for cls in own)}" if own else "It defines no strategy"


def catalogue() -> dict[str, type[Strategy]]:
    """The shipped strategies by name."""
    return {name: load_class(name) for name in SHIPPED}
