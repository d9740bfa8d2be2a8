"""The command line: every verb, its exit code, and what becomes of an error.

Exit codes: 0 done, 1 the work failed, 2 bad usage or input, 3 refused by the gate, 4 venue or feed unreachable, 130
interrupted. Verbs import what they need when they run, so that `tidegate --help` answers at once.
"""

import errno
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from bot import (
    verbs_drift,
    verbs_facts,
    verbs_fetch,
    verbs_import,
    verbs_journal,
    verbs_lists,
    verbs_machine,
    verbs_operate,
    verbs_probe,
    verbs_record,
    verbs_reports,
    verbs_runs,
    verbs_score,
    verbs_session,
    verbs_signal_report,
    verbs_sources,
    verbs_sweep,
)
from bot.garbage import look_seldom
from bot.terminal import CALL, note, say, show_crash, show_error
from data.errors import TidegateError

INTERRUPTED = 130


class Verbs(TyperGroup):
    """The root group: takes `--debug` at any place, and turns errors into messages and exit codes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move `--debug` to the front, where it belongs to the root."""
        end = args.index("--") if "--" in args else len(args)
        CALL.debug = "--debug" in args[:end]
        kept = [arg for arg in args[:end] if arg != "--debug"] + args[end:]
        return list(super().parse_args(ctx, kept))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb. Usage errors, exits and a closed pipe stay with typer."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _teller()
                return super().invoke(ctx)
        except TidegateError as error:
            if CALL.debug:
                show_crash(error)
            else:
                show_error(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            note("\ninterrupted: what was stored is whole, and the same command goes on from there")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if _is_typers(error):
                raise
            show_crash(error)
            raise typer.Exit(1) from error


def _is_typers(error: Exception) -> bool:
    """Usage errors, exits, aborts and a reader that closed the pipe: typer knows what to do with them."""
    if isinstance(error, (typer.Exit, typer.Abort)) or hasattr(error, "format_message"):
        return True
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _teller() -> Callable[..., None]:
    """What shows the warnings of one call: each once, however often the work that raises it is done."""
    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if str(message) not in told:
            note(f"warning: {filename}:{lineno}: {message}" if CALL.debug else f"warning: {message}")
        told.add(str(message))

    return show


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"tidegate {version('tidegate')}")
        raise typer.Exit


AskVersion = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]
AskDebug = Annotated[bool, typer.Option("--debug", help="Print full tracebacks. May stand anywhere.")]

app = typer.Typer(
    name="tidegate",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(version: AskVersion = False, debug: AskDebug = False) -> None:
    """Trade crypto on what the crowd says, what the chain shows and what the price does, behind a hard risk gate.

    Start with: tidegate init, then tidegate backtest. Without a configuration, verbs use an embedded synthetic sample.
    """


TOPICS = (
    verbs_machine, verbs_facts, verbs_fetch, verbs_record, verbs_import, verbs_score, verbs_runs, verbs_sweep,
    verbs_probe, verbs_signal_report, verbs_session, verbs_operate, verbs_journal, verbs_drift, verbs_reports,
    verbs_lists, verbs_sources,
)  # fmt: skip
for topic in TOPICS:
    topic.register(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the command."""
    look_seldom()
    app(args=None if arguments is None else list(arguments), prog_name="tidegate")
    sys.exit(0)
