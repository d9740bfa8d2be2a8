"""Bots that are born quickly: a process that has everything imported and compiled forks one for each life.

A real life of the bot costs seconds of imports before its first order; a thousand of them would take hours. Here the
same code runs (`bot.session.real.run_live`, the exchange process, the watchdog), each in a process of its own that can
be killed like any other; only their beginning is a fork instead of a start of the interpreter. What differs from
`python -m bot live` stands in `_live`, and nowhere else.

    python -m tests.faults.nursery     (one JSON request a line, one JSON answer a line)
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.venue.remote import HOUSE

DEATHS = ("before-journal", "before-send", "in-flight", "before-report")


class Nursery:
    """Starts the process and asks it; ends it, and all who were born there, at the end of `with`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._alive: set[int] = set()

    def __enter__(self) -> Nursery:
        command = [sys.executable, "-m", "tests.faults.nursery"]
        self._process = subprocess.Popen(command, cwd=HOUSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._ask({"do": "ping"}) == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        for pid in list(self._alive):
            self.kill(pid)
        process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()

    def _ask(self, request: Mapping[str, Any]) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        with self._lock:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

    def bear(self, config: Path, accepted: str, **more: Any) -> int:
        """Start a life; its process id. `more` as `_live` takes it."""
        pid = int(self._ask({"do": "bear", "config": str(config), "accepted": accepted, **more}))
        self._alive.add(pid)
        return pid

    def poll(self, pid: int) -> int | None:
        """Its exit code, below 0 the signal that ended it; None while it lives."""
        code = self._ask({"do": "poll", "pid": pid})
        if code is not None:
            self._alive.discard(pid)
        return None if code is None else int(code)

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send it a signal; one that has ended and wasn't polled is no one else yet."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# --- inside -----------------------------------------------------------------------------------------------------------
def main() -> None:
    """Get everything ready, then bear."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _warm_up()
    living: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = "ready"
        if request["do"] == "bear":
            answer = _fork(lambda asked=request: _live(asked))  # type: ignore[misc]
            living.add(answer)
        elif request["do"] == "poll":
            pid, status = os.waitpid(int(request["pid"]), os.WNOHANG)
            living.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        out.write(json.dumps(answer) + "\n")
        out.flush()
    for pid in living:  # nobody is left who would end them
        os.kill(pid, signal.SIGKILL)


def _fork(work: Callable[[], int], keep: tuple[int, ...] = ()) -> int:
    """A child in a session of its own, without any of our files but `keep`."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        import asyncio

        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        asyncio._set_running_loop(None)
        for handle in range(3, 256):
            if handle not in keep:
                with contextlib.suppress(OSError):
                    os.close(handle)
        code = work()
    except SystemExit as end:
        code = int(end.code or 0) if not isinstance(end.code, str) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _live(asked: Mapping[str, Any]) -> int:
    """One life; the exit code.

    Asked: config, accepted, var, out (a file for what it prints), environment; and what differs from a session of
    `tidegate live`: venue (values of `VenueSettings`, for a shorter fence), watchdog (left out: none), die (one of
    `DEATHS`) with nth.
    """
    from bot.config import load_config
    from bot.exchange import ccxt_account, link
    from bot.exchange.line import VenueSettings
    from bot.session import live, real
    from data.errors import TidegateError

    handle = os.open(asked["out"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    os.environ.update(asked.get("environment", {}))
    of_config = live.venue_settings

    def settings(config: Any) -> VenueSettings:
        return dataclasses.replace(of_config(config), **asked.get("venue", {}))

    live.venue_settings = settings
    real.start_process = _forked_exchange  # type: ignore[assignment]
    real.start_watchdog = _forked_watchdog if asked.get("watchdog") else _no_watchdog  # type: ignore[assignment]
    link.PER_MINUTE["binance"] = link.PER_MINUTE["bybit"] = 1e9  # a second here holds as many rounds as a minute there
    _know_seconds()
    ccxt_account.MARKETS_AGE_S = 0.5  # for the same reason
    signal.signal(signal.SIGUSR1, _tell_tasks)
    if asked.get("die"):
        _doom(str(asked["die"]), int(asked.get("nth", 1)))
    try:
        real.run_live(
            load_config(Path(asked["config"])), Path(asked["var"]), person="tester", tell=lambda text: None,
            accepted=asked["accepted"], unknown_rights=False, shadow=False, take_over=False,
        )  # fmt: skip
    except TidegateError as error:
        print(f"error: {error}", flush=True)
        return error.exit_code
    return 0


def _know_seconds() -> None:
    """Bars of a second at the perpetual venue, whose shortest are of a minute."""
    from ccxt.async_support import bybit

    described = bybit.describe
    bybit.describe = lambda self: self.deep_extend(described(self), {"timeframes": {"1s": "1s"}})


def _tell_tasks(*_: Any) -> None:
    """Print what every task waits for: for a bot that doesn't end."""
    import asyncio

    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stdout)
    sys.stdout.flush()


class _Forked:
    """As much of a Popen as its owners use."""

    def __init__(self, pid: int) -> None:
        self.pid, self.stdin, self._code = pid, None, None

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None  # type: ignore[assignment]
        return self._code

    def wait(self, timeout: float = 20.0) -> int | None:
        import time

        limit = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("forked", timeout)
        return self._code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _forked_exchange(document: dict[str, Any], folder: Path) -> Any:
    """`bot.session.live.start_process`, by a fork."""
    from bot.exchange import client
    from bot.exchange.keys import environment_names
    from bot.operate.direct_line import DOCUMENT_FILE
    from bot.operate.files import write_whole

    write_whole(folder / DOCUMENT_FILE, json.dumps(document, indent=1) + "\n")
    read_end, write_end = os.pipe()

    def work() -> int:
        from bot.exchange import process

        out = os.open(folder / "exchange.out", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(read_end, 0)
        sys.stdin = os.fdopen(0, "r", closefd=False)
        return process.main([])

    pid = _fork(work, keep=(read_end,))
    os.close(read_end)
    for name in environment_names(document["key"]["name"]):
        os.environ.pop(name, None)
    stdin = os.fdopen(write_end, "wb", buffering=0)
    stdin.write(json.dumps(document).encode() + b"\n")
    forked = _Forked(pid)
    forked.stdin = stdin  # type: ignore[assignment]
    started = client.ExchangeProcess(forked, folder)  # type: ignore[arg-type]
    client._await_socket(started, 45.0, folder / "exchange.out")
    return started


def _forked_watchdog(folder: Path, *, after_s: float, environment: Mapping[str, str], **_: Any) -> Any:
    """`bot.operate.watchdog.start_watchdog`, by a fork."""

    def work() -> int:
        from bot.operate import watchdog

        os.environ.update(environment)
        return watchdog.main([str(folder), "--after", f"{after_s:g}"])

    return _Forked(_fork(work))


def _no_watchdog(folder: Path, **_: Any) -> None:
    pass


def _doom(how: str, nth: int) -> None:
    """Let it be killed at the n-th order: before the journal has it, before it is sent, while it is under way, or when
    the answer is there and not written."""
    import asyncio

    from bot.exchange.venue import ExchangeVenue
    from bot.run import Bot

    left = [nth]

    def die() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if how == "before-journal":
        write = Bot._write

        def written(self: Bot, ns: int, kind: str, body: dict[str, Any]) -> None:
            if kind == "step" and body.get("orders"):
                die()
            write(self, ns, kind, body)

        Bot._write = written  # type: ignore[method-assign]
    elif how == "before-send":
        submit = ExchangeVenue._submit

        def submitted(self: ExchangeVenue, command: Any) -> None:
            die()
            submit(self, command)

        ExchangeVenue._submit = submitted  # type: ignore[method-assign]
    elif how == "in-flight":
        place = ExchangeVenue._place

        async def placing(self: ExchangeVenue, o: Any, message: Any) -> None:
            asyncio.get_running_loop().call_later(0.01, die)
            await place(self, o, message)

        ExchangeVenue._place = placing  # type: ignore[method-assign]
    else:
        placed = ExchangeVenue._placed

        def answered(self: ExchangeVenue, o: Any, answer: Any) -> None:
            die()
            placed(self, o, answer)

        ExchangeVenue._placed = answered  # type: ignore[method-assign]


def _warm_up() -> None:
    """Import and compile all that a life needs, by a session that never meets a venue."""
    import ccxt.pro  # noqa: F401
    import keyring

    import bot.operate.watchdog
    import bot.session.real  # noqa: F401
    from backtest import compile as compiling
    from bot import rows
    from bot.config import load_config
    from bot.events import Bar, Report
    from bot.exchange import process  # noqa: F401
    from bot.recover import warm_records  # noqa: F401
    from bot.session.terms import engine_of, header_of, spec_of, with_markets
    from data.trust import authorities
    from tests.faults.bot_world import STRATEGY, SYMBOLS, config_text

    authorities()
    keyring.get_keyring()  # looks for every kind that is installed
    found: dict[str, Any] = {}

    def compile_once(strategy: Any) -> Any:
        return found.setdefault(strategy.identity(), None) or found.__setitem__(
            strategy.identity(), compiling.compile_pointer(strategy)
        ) or found[strategy.identity()]  # fmt: skip

    rows.compile_pointer = compile_once
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        (where / "tidegate.toml").write_text(config_text({}))
        (where / "risen.py").write_text(STRATEGY)
        config = load_config(where / "tidegate.toml")
        spec = with_markets(spec_of(config), {}, dict.fromkeys(SYMBOLS, 100.0))
        engine = engine_of(spec, header_of(config, spec, bot_id="0" * 8, mode="live", outside=True, stops=True))
        second, ns = 10**9, 1_700_000_000 * 10**9
        for k in range(4):
            for symbol in SYMBOLS:
                ns += 1
                opens = 1_700_000_000 * second + k * second
                price = 100.0 + (k if k < 3 else -k)
                engine.handle(
                    Bar(
                        ns=max(ns, opens + second),
                        symbol=symbol,
                        open_ns=opens,
                        close_ns=opens + second,
                        open=price,
                        high=price,
                        low=price,
                        close=price,
                        volume=5.0,
                    )  # fmt: skip
                )
                ns = max(ns, opens + second)
            for order in engine.desk.working["id"].tolist():
                ns += 1
                engine.handle(Report(ns=ns, order=order, what="acked"))
                ns += 1
                engine.handle(Report(ns=ns, order=order, what="filled", qty=1.0, price=100.0, trade=f"t{order}"))
        engine.restore(engine.snapshot())


if __name__ == "__main__":
    main()
