"""The recorder in a terminal: a live page; plain lines where nobody looks; JSON lines for other programs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

from bot.record.recorder import Recorder
from bot.record.words import FEED_COLUMNS, caps, feed_rows, gap_rows, head_line, plain_line, scoring_line, writer_line
from bot.terminal import clean, say

if TYPE_CHECKING:
    from rich.console import Group

JSON_S: Final = 1.0
PAGE_S: Final = 0.5
PLAIN_S: Final = 10.0
Show = Callable[[Recorder], Coroutine[Any, Any, None]]


def chosen_view(*, as_json: bool) -> Show:
    """How a recorder is shown here."""
    if as_json:
        return show_json
    return show_page if sys.stdout.isatty() else show_lines


async def show_json(recorder: Recorder) -> None:
    """One JSON object a second, until cancelled; a last one then."""
    with _last(lambda: say(json.dumps(clean(recorder.body()), default=str))):
        while True:
            await asyncio.sleep(JSON_S)
            say(json.dumps(clean(recorder.body()), default=str))


async def show_lines(recorder: Recorder) -> None:
    """A line now and then, until cancelled; a last one then."""
    with _last(lambda: say(plain_line(recorder.body()))):
        while True:
            await asyncio.sleep(PLAIN_S)
            say(plain_line(recorder.body()))


async def show_page(recorder: Recorder) -> None:
    """A page that is drawn anew, until cancelled."""
    from rich.console import Console
    from rich.live import Live

    live = Live(page(recorder.body()), console=Console(highlight=False), auto_refresh=False)

    def draw() -> None:
        live.update(page(recorder.body()), refresh=True)

    with live, _last(draw):
        while True:
            draw()
            await asyncio.sleep(PAGE_S)


def page(body: dict[str, Any]) -> Group:
    """All of a recorder's figures."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in FEED_COLUMNS:
        drawn.add_column(column, justify="left" if column in ("feed", "state", "last error") else "right", no_wrap=True,
                         overflow="ellipsis")  # fmt: skip
    for row in feed_rows(body):
        drawn.add_row(*(Text(cell) for cell in row))
    lines = [head_line(body), writer_line(body), scoring_line(body), *caps(body), *gap_rows(body)]
    texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines if line]
    return Group(texts[0], drawn, *texts[1:])


@contextlib.contextmanager
def _last(show: Callable[[], None]) -> Iterator[None]:
    """Show once more when it ends."""
    try:
        yield
    finally:
        show()
