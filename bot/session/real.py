"""A session with real money: the process with the key, preflight, confirmation, the run; or all of it but sending."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest.spec import RunSpec
from bot.events import Event
from bot.exchange.client import ExchangeProcess, SocketTransport
from bot.exchange.wire import MarketView
from bot.feeds.door import Door
from bot.feeds.stored import StoredFacts
from bot.operate.latch import ACTIVE, write_latch
from bot.operate.lock import holder
from bot.operate.watchdog import start_watchdog
from bot.ports import Feed, Put, Venue
from bot.preflight import Finding, confirm, limits_text, preflight, refuse_failed
from bot.run import SimulatedVenue
from bot.session.company import Company
from bot.session.live import (
    at_minimum,
    document_of,
    market_spec,
    read_markets,
    start_process,
    venue_of,
    watch_process,
    with_fees,
)
from bot.session.opening import Opened, bot_id_of, folder_of, open_session, refuse_before
from bot.session.paper import Fact, Tell, history, last_prices, live_parts, missed_facts, recent_bars, refuse_halted
from bot.session.running import SystemClock, run_session
from bot.session.terms import spec_of, with_markets
from bot.step import Step
from data.errors import RefusedError
from data.store import Store
from data.times import SECOND_NS

if TYPE_CHECKING:
    from bot.config import Config

LOG = logging.getLogger("tidegate.session")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What the person who starts it said."""

    person: str
    tell: Tell
    accepted: str | None
    unknown_rights: bool
    shadow: bool
    take_over: bool


def run_live(
    config: Config, var: Path, *, person: str, tell: Tell, accepted: str | None, unknown_rights: bool, shadow: bool,
    take_over: bool,
) -> Opened:  # fmt: skip
    """Trade with real money until a signal; `shadow`: with simulated fills, everything else as live.

    Raises
    ------
    TidegateError
        Whatever keeps it from starting or going on.
    """
    from bot.context import store_of
    from bot.limit_table import refuse_defaults

    refuse_defaults(config)
    spec = spec_of(config)
    asked = Asked(
        person=person, tell=tell, accepted=accepted, unknown_rights=unknown_rights, shadow=shadow, take_over=take_over
    )
    folder = folder_of(config, var, "live", name=f"{config.live.name}-shadow" if shadow else None)
    if (folder / "journal.sqlite").exists():
        refuse_halted(folder)
    refuse_before(folder, config, spec)
    held = holder(folder)
    if held is not None:  # before its exchange process's document is written over
        raise RefusedError(f"{folder}: {held} has this account; only one bot may run")
    document = document_of(config, spec, bot_id=bot_id_of(folder), folder=folder)
    tell(f"starting the exchange process for {config.exchange.id}, account {config.exchange.account}")
    environment = dict(os.environ)  # for the watchdog, which may have to start a process with the key, too
    process = start_process(document, folder)
    try:
        return asyncio.run(
            _run(config, spec, folder, var, store_of(config, var), process, document, asked, environment)
        )
    finally:
        process.close()


async def _run(
    config: Config, spec: RunSpec, folder: Path, var: Path, store: Store, process: ExchangeProcess,
    document: dict[str, Any], asked: Asked, environment: Mapping[str, str],
) -> Opened:  # fmt: skip
    clock = SystemClock()
    transport = SocketTransport(process.socket, bot_id=document["bot"], session=secrets.token_hex(4))
    await transport.connect()
    views = await read_markets(transport, spec.symbols)
    spec = _settled(config, spec, store, views, clock)
    findings = await preflight(
        config, spec, transport, folder=folder, store=store, views=views, now_ns=clock.now_ns(),
        unknown_rights=asked.unknown_rights,
    )  # fmt: skip
    show_findings(findings, asked.tell)
    refuse_failed(findings)
    asked.tell(limits_text(config))
    how = "shadow"
    if not asked.shadow:
        tty = sys.stdin.isatty()
        how = await asyncio.to_thread(confirm, config, asked.accepted, ask=input, interactive=tty)
    if not (folder / "latch").exists():
        write_latch(folder, ACTIVE, asked.person, f"first start; limits accepted: {how}", clock.now_ns())
    refuse_halted(folder)
    facts = StoredFacts(store, spec, clock=clock)

    warm = partial(history, store, spec, facts, clock.now_ns())
    opened = open_session(
        config, spec, folder, mode="live", now_ns=clock.now_ns(), person=asked.person, outside=not asked.shadow,
        stops=all(view.stops for view in views.values()), warm=warm, tell=asked.tell, take_over=asked.take_over,
        facts={"accepted": how, "exchange": config.exchange.id, "account": config.exchange.account},
    )  # fmt: skip
    try:
        await transport.close()
        missed = [] if opened.fresh else missed_facts(facts, opened)
        await _trade(opened, config, process, facts, missed, var, clock, environment, shadow=asked.shadow)
    finally:
        opened.close(clock.now_ns())
    return opened


async def _trade(
    opened: Opened, config: Config, process: ExchangeProcess, facts: StoredFacts, missed: Sequence[Fact], var: Path,
    clock: SystemClock, environment: Mapping[str, str], *, shadow: bool,
) -> None:  # fmt: skip
    company = Company(opened, config, now_ns=clock.now_ns, durable_latch=not shadow)
    transport = SocketTransport(process.socket, bot_id=opened.bot_id, session=opened.session)
    await transport.connect()

    def alarm(kind: str, text: str) -> None:
        LOG.error("%s: %s", kind, text)
        company.notifier.tell("alarm", f"{kind}: {text}")

    venue: Venue = SimulatedVenue() if shadow else venue_of(opened, config, transport, clock, alarm)
    feeding = live_parts(opened, config, clock, facts, venue, missed, var)

    def parts(door: Door) -> tuple[Venue, Sequence[Feed]]:
        own, feeds = feeding(door)
        return own, [*feeds, Alive(process)]

    if shadow:
        company.more.append(would_send)
    company.heartbeat.start(clock.now_ns())
    if not shadow:  # it outlives this process, and ends by itself when the session stops as it should
        file = Path(config.where) if Path(config.where).is_file() else None
        after_s = config.live.heartbeat_after / SECOND_NS
        start_watchdog(opened.folder, after_s=after_s, config=file, environment=environment)
    clean = False
    try:
        await run_session(opened, config, company, clock=clock, parts=parts)
        clean = True
    finally:
        company.close(clean=clean)
        await transport.close()


class Alive:
    """Ends the session with an error when the exchange process ends."""

    name = "exchange process"

    def __init__(self, process: ExchangeProcess) -> None:
        self._process = process

    async def run(self, put: Put) -> None:
        """Look, until cancelled."""
        await watch_process(self._process)

    def health(self) -> dict[str, Any]:
        """Whether it runs."""
        return {"running": self._process.exit_code is None}


def would_send(event: Event, step: Step) -> None:
    """In a shadow session: what would have left."""
    for order in step.sent:
        side = "buy" if order["side"] > 0 else "sell"
        LOG.warning("shadow: would send order %d: %s %g at worst %g", order["id"], side, order["qty"], order["limit"])


def show_findings(findings: Sequence[Finding], tell: Tell) -> None:
    """What preflight found: all that isn't well, and how much is."""
    for one in findings:
        if one.status != "ok":
            tell(f"{one.status}  {one.check}: {one.found}" + (f". {one.remedy}" if one.remedy else ""))
    tell(f"preflight: {sum(one.status == 'ok' for one in findings)} of {len(findings)} checks are well")


def _settled(config: Config, spec: RunSpec, store: Store, views: dict[str, MarketView], clock: SystemClock) -> RunSpec:
    """The run with the venue's grid and fees, capped near the minimum for a canary."""
    markets = {symbol: market_spec(view) for symbol, view in views.items()}
    spec = with_fees(with_markets(spec, markets, last_prices(recent_bars(store, spec, clock.now_ns()))), views)
    return at_minimum(spec) if config.live.canary else spec
