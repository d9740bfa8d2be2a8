"""Every failure that Tidegate names, in one tree; each carries the exit code of the command line.

TidegateError
├── WorkError            1  the work itself failed (a strategy raised, a page could not be written)
├── InputError           2  a file, a setting or an argument is wrong; says which, and what to do
├── InputErrors          2  several of them, reported at once
├── RefusedError         3  the gate or a latch refused
└── UnreachableError     4  a venue or a feed did not answer
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class TidegateError(Exception):
    """Base of all named failures."""

    exit_code: int = 1


class WorkError(TidegateError):
    """The work failed although the input was fine."""

    exit_code = 1


class RefusedError(TidegateError):
    """The gate, a limit or a latch refused."""

    exit_code = 3


class UnreachableError(TidegateError):
    """A venue or a feed could not be reached, or did not speak its protocol."""

    exit_code = 4


class InputError(TidegateError):
    """A file, a setting or an argument is wrong.

    Parameters
    ----------
    what : str
        What is wrong, one sentence without the final stop.
    where : str or Path, optional
        The file (or the place on the command line) it was found in.
    key : str, optional
        Column, setting or option.
    value : object, optional
        The offending value as it was given.
    remedy : str, optional
        What to do about it, one sentence.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | Path | None = None,
        key: str | None = None,
        value: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.key = key
        self.value = value
        self.remedy = remedy
        super().__init__(self._render())

    def placed(self, where: str | Path | None, key: str | None = None) -> InputError:
        """The same fault, found in another place; under another key where one is given."""
        return InputError(self.what, where=where, key=key or self.key, value=self.value, remedy=self.remedy)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle by positional arguments; ours are keywords, and sweeps send them between processes.
        return _rebuild, (self.what, self.where, self.key, self.value, self.remedy)

    def _render(self) -> str:
        place = f"{self.where}: " if self.where else ""
        subject = ""
        if self.key is not None:
            subject = f"{self.key}: " if self.value is None else f"{self.key} = {self.value!r}: "
        elif self.value is not None:
            subject = f"{self.value!r}: "
        what = self.what.rstrip(".")
        stop = "" if what.endswith("?") else "."
        remedy = f"{stop} {self.remedy.rstrip('.')}." if self.remedy else ""
        return f"{place}{subject}{what}{remedy}"


def _rebuild(what: str, where: str | None, key: str | None, value: object, remedy: str | None) -> InputError:
    return InputError(what, where=where, key=key, value=value, remedy=remedy)


class InputErrors(TidegateError):
    """Several input errors found in one pass, reported together.

    Parameters
    ----------
    errors : sequence of InputError
        At least one.
    """

    exit_code = 2

    def __init__(self, errors: Sequence[InputError]) -> None:
        self.errors = list(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        if len(self.errors) == 1:
            return str(self.errors[0])
        lines = "\n".join(f"  {number}. {error}" for number, error in enumerate(self.errors, start=1))
        return f"{len(self.errors)} faults:\n{lines}"


def raise_all(errors: Sequence[InputError]) -> None:
    """Raise what was collected: nothing, the one error, or all of them together."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputErrors(errors)
