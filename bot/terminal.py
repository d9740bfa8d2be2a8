"""What the command line prints and where: figures to stdout; notes, progress and errors to stderr.

Rich is imported inside the functions that draw, so that `tidegate --help` stays quick.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from data.errors import InputError

Advance = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""


@dataclass
class Invocation:
    """What the error handler has to know of the call that is running."""

    var: Path = Path("var")
    debug: bool = False


CALL = Invocation()


def _remember(folder: Path) -> Path:
    CALL.var = folder
    return folder


VarFolder = Annotated[
    Path, typer.Option("--var", envvar="TIDEGATE_VAR", help="Folder of facts and runs.", callback=_remember)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A strategy parameter, or any key as section.key. Repeatable."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Argument(metavar="[CONFIG]", help="TOML file; else tidegate.toml here, else the embedded sample."),
]
OnSample = Annotated[
    bool | None, typer.Option("--sample/--own", help="The embedded sample, or your own facts.", show_default=False)
]
VAR = Path("var")


def say(text: str = "") -> None:
    """A line for stdout: what the verb was asked for."""
    typer.echo(text)


def note(text: str) -> None:
    """A line for stderr: what is going on."""
    typer.echo(text, err=True)


def emit(value: Any) -> None:
    """JSON for stdout: one document, numbers that are no JSON as null."""
    typer.echo(json.dumps(clean(value), indent=2, ensure_ascii=False, default=str))


def clean(value: Any) -> Any:
    """The same value in JSON's terms: numpy numbers to Python's, NaN and infinities to None, tuples to lists."""
    if isinstance(value, dict):
        return {str(name): clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):
        return clean(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Print a table; columns named in `right` are set flush right. Without a terminal it is 160 characters wide."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    flush = set(right)
    for column in columns:
        drawn.add_column(column, justify="right" if column in flush else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    with console.capture() as captured:
        console.print(drawn)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """While work goes on, what a strategy prints goes to stderr: on stdout it would stand in the middle of figures."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def progress(label: str, unit: str) -> Iterator[Advance]:
    """Work that goes on, `aside`: a bar on stderr with rate and time left; without a terminal, nothing is drawn."""
    with aside(), _bar(label, unit) as advance:
        yield advance


@contextlib.contextmanager
def _bar(label: str, unit: str) -> Iterator[Advance]:
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task(label, total=None, rate="")
        began = time.monotonic()

        def advance(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(job, completed=done, total=total, rate=f"{rate:,.0f} {unit}/s")

        yield advance


def show_error(error: BaseException) -> None:
    """A named error in red on stderr; its text stands on its own without the colour."""
    typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(str(error), err=True)


def show_crash(error: BaseException) -> None:
    """An unexpected error: one line, and where its traceback lies; all of it with --debug."""
    text = "".join(traceback.format_exception(error))
    if CALL.debug:
        typer.echo(text, err=True)
    where = None if CALL.debug else keep_traceback(text)
    show_error(RuntimeError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__))
    if where is not None:
        note(f"This is a fault of Tidegate's. Its traceback is in {where}; --debug prints it.")


def keep_traceback(text: str) -> Path | None:
    """Write a traceback under the var folder, or the temporary one when that can't be; None when neither can."""
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    for folder in (CALL.var / "errors", Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
            return folder / name
    return None


def write_new(file: Path, text: str) -> None:
    """Write a file that must not exist yet.

    Raises
    ------
    InputError
        When it exists, or can't be written.
    """
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError("exists already; nothing was written", where=file, remedy="Move it away first") from None
    except OSError as error:
        raise InputError(f"can't be written ({error.strerror})", where=file) from None


def now_ns() -> int:
    """The wall clock in nanoseconds UTC: read here, handed down from here."""
    return time.time_ns()
