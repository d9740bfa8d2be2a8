"""`tidegate record`: the lock, the log, signals, the view, and the recorder between its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot.garbage import look_as_usual
from bot.operate.logs import open_logs
from bot.operate.service import tell_manager
from bot.record.feeds import Chosen
from bot.record.lock import acquire, feeds_folder
from bot.record.recorder import Recorder
from bot.record.view import chosen_view, show_page
from bot.record.words import plain_line
from bot.session.running import SystemClock
from bot.terminal import note

if TYPE_CHECKING:
    from bot.config import Config

INTERRUPTED: Final = 130
BY: Final = "tidegate record"


def run_recorder(
    config: Config, feeds: list[Chosen], var: Path, *, for_s: float | None, scoring: bool, as_json: bool
) -> None:
    """Record until a signal, or for a time.

    Raises
    ------
    RefusedError
        Another recorder has this folder.
    UnreachableError
        Every feed has stopped for good.
    InputError, InputErrors, WorkError
        A feed's options, or the disk.
    """
    clock = SystemClock()
    lock = acquire(var, now_ns=clock.now_ns(), by=BY)
    try:
        view = chosen_view(as_json=as_json)
        stream = None if view is show_page else sys.stderr  # a page has the last error in it
        logs = open_logs(feeds_folder(var), session="record", stream=stream)
        try:
            look_as_usual()
            recorder = Recorder(config, feeds, var, clock=clock, rng=random.Random(), scoring=scoring)
            asyncio.run(_run(recorder, for_s, as_json=as_json))
            if not as_json:
                note(f"ended, all of it stored: {plain_line(recorder.body(), 'recorded')}")
        finally:
            logs.close()
    finally:
        lock.release()


async def _run(recorder: Recorder, for_s: float | None, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_to_end() -> None:
        if stop.is_set():  # the second time: what was acknowledged is on disk already
            os._exit(INTERRUPTED)
        stop.set()
        tell_manager("STOPPING=1")
        if not as_json:
            note("ending: what has come is being stored; Ctrl-C again ends at once")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # not in the main thread: a test
            loop.add_signal_handler(number, ask_to_end)
    if for_s is not None:
        loop.call_later(for_s, stop.set)
    showing = asyncio.create_task(chosen_view(as_json=as_json)(recorder), name="view")
    tell_manager("READY=1")
    try:
        await recorder.run(stop)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
