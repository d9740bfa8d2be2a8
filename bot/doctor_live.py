"""What `tidegate doctor --live` looks at: the checks of a live session's start, over an exchange process of its own.

That process lies in a temporary folder without a kill latch, which is HALTED: it couldn't place an order if it were
told to. Where a session of the account runs, its exchange process is asked instead.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest.spec import RunSpec
from bot.doctor import Finding
from bot.exchange.client import SocketTransport
from bot.exchange.keys import SERVICE, default_file, environment_names
from bot.exchange.process import NOBODY, SOCKET
from bot.exchange.wire import Clock, ClockIs, Failed, Markets, MarketsAre
from bot.operate.files import account_folder
from bot.operate.lock import holder
from bot.preflight import ask, preflight
from bot.preflight_checks import local_findings
from bot.session.live import LOG_FILE, document_of, start_process
from bot.session.terms import spec_of
from data.errors import InputError, UnreachableError
from data.store import Store

if TYPE_CHECKING:
    from bot.config import Config

CONNECT_S = 10.0
UNREACHABLE = "venue"  # the check that fails when the venue doesn't answer
NO_CAP = "0.01"  # the process's own caps: nothing may leave it
NO_KEY = "no key was found"


def examine_live(
    config: Config, var: Path, store: Store, *, now_ns: int, unknown_rights: bool
) -> tuple[list[Finding], bool]:
    """Findings, and whether the venue was reached or at least not tried.

    Raises
    ------
    InputError or InputErrors
        The configuration is one of the embedded sample, or holds faults.
    """
    if config.on_sample:
        remedy = 'Give a configuration without run.source = "synthetic"'
        raise InputError("the embedded sample can't be traded with real money", where=config.where, remedy=remedy)
    spec = spec_of(config)
    folder = account_folder(var, "live", config.live.name)
    look = _Look(config, spec, folder, store, now_ns, unknown_rights)
    running = holder(folder)
    if running is not None and (folder / SOCKET).exists():
        return asyncio.run(look.over(folder / SOCKET))
    with tempfile.TemporaryDirectory(prefix="tidegate-doctor-") as name:
        place = Path(name)
        try:
            process = start_process(harmless_document(config, spec, place), place)
        except UnreachableError as error:
            return [_not_started(config, error, place / LOG_FILE), *look.local()], True
        try:
            return asyncio.run(look.over(process.socket))
        finally:
            process.close()


def harmless_document(config: Config, spec: RunSpec, folder: Path) -> dict[str, Any]:
    """What an exchange process is told that only answers questions: no caps to speak of, no leverage to set."""
    document = document_of(config, spec, bot_id=secrets.token_hex(4), folder=folder)
    document["exchange"]["streams"] = False
    document["caps"] = {name: 1 if name.startswith("orders_") else NO_CAP for name in document["caps"]}
    del document["leverage"]
    return document


class _Look:
    """The checks of one configuration."""

    def __init__(
        self, config: Config, spec: RunSpec, folder: Path, store: Store, now_ns: int, unknown_rights: bool
    ) -> None:
        self.config, self.spec, self.folder, self.store = config, spec, folder, store
        self.now_ns, self.unknown_rights = now_ns, unknown_rights

    def local(self) -> list[Finding]:
        """What needs no venue."""
        return local_findings(self.config, self.spec, folder=self.folder, store=self.store, now_ns=self.now_ns)

    async def over(self, socket: Path) -> tuple[list[Finding], bool]:
        """All checks over the process behind a socket."""
        transport = SocketTransport(socket, bot_id=NOBODY, session=NOBODY, watch=False)
        try:
            await transport.connect(timeout_s=CONNECT_S)
            answer = await ask(transport, Clock())
            if not isinstance(answer, ClockIs):
                text = answer.text if isinstance(answer, Failed) else type(answer).__name__
                return [self._unreachable(text), *await asyncio.to_thread(self.local)], False
            markets = await ask(transport, Markets(symbols=tuple(self.spec.symbols)))
            told = markets.markets if isinstance(markets, MarketsAre) else ()
            found = await preflight(
                self.config, self.spec, transport, folder=self.folder, store=self.store,
                views={view.symbol: view for view in told}, now_ns=self.now_ns, unknown_rights=self.unknown_rights,
            )  # fmt: skip
            return found, True
        except UnreachableError as error:
            return [self._unreachable(str(error)), *await asyncio.to_thread(self.local)], False
        finally:
            await transport.close()

    def _unreachable(self, text: str) -> Finding:
        exchange = self.config.exchange
        remedy = "Look at the network, at exchange.urls, and at the exchange's status page"
        return Finding("fail", UNREACHABLE, f"{exchange.id} doesn't answer: {text}", remedy)


def _not_started(config: Config, error: UnreachableError, log: Path) -> Finding:
    """Why the exchange process ended, in its own words; where a key was looked for, when that was why."""
    name = config.exchange.account
    told = _last_error(log)
    if NO_KEY not in told:
        return Finding("fail", "exchange process", told or str(error), "")
    key, secret, passphrase = environment_names(name)
    remedy = (
        f"Looked for, in this order: the systemd credential {SERVICE}-{name}; {default_file(name)} (mode 0600); the "
        f"keyring's {SERVICE}/{name}; {key} with {secret} (and {passphrase}) in the environment. Give one of them"
    )
    return Finding("fail", "key", f"none was found for account {name}", remedy)


def _last_error(log: Path) -> str:
    """The newest error in the process's log, without time and level; it is redacted there."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line.partition(" ERROR ")[2].partition(": ")[2] for line in lines if " ERROR " in line]
    return errors[-1] if errors else (lines[-1] if lines else "")
