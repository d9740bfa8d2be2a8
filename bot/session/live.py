"""The exchange's side of a live session: the process that holds the key, and the venue that speaks to it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest.spec import RunSpec
from bot.exchange.client import ExchangeProcess, SocketTransport, spawn_exchange
from bot.exchange.ids import Ids
from bot.exchange.line import VenueSettings
from bot.exchange.modes import NOT_READY
from bot.exchange.venue import ExchangeVenue
from bot.exchange.wire import Failed, Markets, MarketsAre, MarketView
from bot.operate.direct_line import DOCUMENT_FILE
from bot.operate.files import write_whole
from bot.ports import Clock
from bot.session.opening import Opened
from bot.standing import order_facts
from data.errors import InputError, RefusedError, UnreachableError
from data.times import MILLISECOND_NS, SECOND_NS
from risk.desk import Desk
from risk.limits import MarketSpec

if TYPE_CHECKING:
    from bot.config import Config

LOG = logging.getLogger("tidegate.session")
LOG_FILE = "exchange.out"
ASK_S = 30.0
ROOM = 1.02  # of the process's own caps over ours: its reference price is another one
CANARY = 1.5  # times the venue's minimum


def document_of(config: Config, spec: RunSpec, *, bot_id: str, folder: Path) -> dict[str, Any]:
    """What the exchange process is told at its start; see `bot.exchange.settings`. No secret is in it."""
    exchange, limits = config.exchange, spec.limits
    order = float(limits.order_notional) * ROOM
    caps = {
        "order_notional": order,
        "minute_notional": order * limits.orders_per_minute,
        "hour_notional": order * limits.orders_per_hour,
        "day_notional": min(float(limits.turnover_per_day) * ROOM, order * limits.orders_per_hour * 24),
        "orders_per_minute": limits.orders_per_minute,
        "orders_per_hour": limits.orders_per_hour,
    }
    return {
        "exchange": {
            "id": exchange.id, "urls": dict(exchange.urls), "sandbox": exchange.sandbox, "demo": exchange.demo,
            "recv_window_ms": exchange.recv_window // MILLISECOND_NS,
            "timeout_ms": exchange.timeout // MILLISECOND_NS, "options": dict(exchange.options),
            "streams": exchange.streams,
        },
        "bot": bot_id, "market": spec.market, "symbols": list(spec.symbols), "leverage": spec.leverage,
        "folder": str(folder.resolve()), "key": {"name": exchange.account},
        "caps": {name: str(value) if isinstance(value, float) else value for name, value in caps.items()},
    }  # fmt: skip


def start_process(document: dict[str, Any], folder: Path) -> ExchangeProcess:
    """Write the document where the operator's verbs find it, and start the process that reads the key.

    Raises
    ------
    UnreachableError
        It ended at once: no key, or a wrong one.
    """
    write_whole(folder / DOCUMENT_FILE, json.dumps(document, indent=1) + "\n")
    return spawn_exchange(document, log_file=folder / LOG_FILE)


async def read_markets(transport: SocketTransport, symbols: Sequence[str]) -> dict[str, MarketView]:
    """The venue's grid of every symbol.

    Raises
    ------
    UnreachableError
        The venue doesn't answer.
    InputError
        It has no such market, or the market is closed.
    RefusedError
        A derivatives account isn't in one-way mode and isolated margin.
    """
    answer = await transport.ask(Markets(symbols=tuple(symbols)), timeout_s=ASK_S)
    if not isinstance(answer, MarketsAre):
        text = answer.text if isinstance(answer, Failed) else type(answer).__name__
        if text.startswith(NOT_READY):
            raise RefusedError(text)
        raise UnreachableError(f"the venue doesn't tell its markets: {text}")
    views = {view.symbol: view for view in answer.markets}
    for symbol in symbols:
        if symbol not in views:
            raise InputError("the venue has no such market", key="run.symbols", value=symbol)
        if not views[symbol].active:
            raise InputError("the market is closed at the venue", key="run.symbols", value=symbol)
    return views


def market_spec(view: MarketView) -> MarketSpec:
    """A market's filters as the gate takes them; the venue's minimum quantity is a matter of lots."""
    return MarketSpec(
        tick=float(view.tick), lot=float(view.lot), min_notional=float(view.min_notional),
        max_quantity=float(view.max_qty) if view.max_qty is not None else float("inf"),
        maintenance=float(view.maintenance) if view.maintenance is not None else 0.005, assumed=False,
    )  # fmt: skip


def at_minimum(spec: RunSpec) -> RunSpec:
    """The same with every entry capped near the venue's minimum: a first session with real money."""
    least = max(market.min_notional for market in spec.markets.values()) * CANARY
    limits = replace(
        spec.limits,
        order_notional=min(spec.limits.order_notional, least),
        position_notional=min(spec.limits.position_notional, least),
    )
    return replace(spec, limits=limits)


def with_fees(spec: RunSpec, views: dict[str, MarketView]) -> RunSpec:
    """Reserve what the venue takes: the dearest fee of its markets, where that is more than the file says."""
    takers = [float(view.taker) for view in views.values() if view.taker is not None]
    taker = max([spec.fills.taker, *takers])
    return replace(spec, fills=replace(spec.fills, taker=taker))


def venue_settings(config: Config) -> VenueSettings:
    """How the venue's side behaves."""
    live, exchange = config.live, config.exchange
    return VenueSettings(
        recv_window_s=exchange.recv_window / SECOND_NS,
        timeout_s=exchange.timeout / SECOND_NS + 3.0,
        clock_offset_ms=live.clock_offset / MILLISECOND_NS,
        reconcile_s=live.reconcile_every / SECOND_NS,
        unknown_orders=live.unknown_orders,
        foreign_share=float(live.foreign_share),
        dead_man_s=int(live.dead_man / SECOND_NS),
    )


def venue_of(
    opened: Opened, config: Config, transport: Any, clock: Clock, alarm: Callable[[str, str], None]
) -> ExchangeVenue:
    """The bot's side of the exchange for an opened session."""
    engine, recovered = opened.engine, opened.recovered
    desk = engine.desk
    places = {symbol: k for k, symbol in enumerate(engine.symbols)}
    return ExchangeVenue(
        transport=transport, clock=clock, rng=random.Random(), perp=opened.spec.perp, symbols=engine.symbols,
        ids=Ids(opened.bot_id, opened.session, [name for name in recovered.known if name != opened.session]),
        held=lambda symbol: float(desk.books["qty"][places[symbol]]),
        quote_held=lambda: quote_of(desk, opened.spec.perp),
        mark=lambda symbol: float(desk.books["last"][places[symbol]]) or float("nan"),
        working=lambda: order_facts(engine, recovered.sessions),
        settings=venue_settings(config), memory=recovered.venue, alarm=alarm,
    )  # fmt: skip


def quote_of(desk: Desk, perp: bool) -> float:
    """The desk's quote beside what its holdings are worth at the last prices: both together are its equity."""
    quote = float(desk.account["cash"] + desk.account["elsewhere"])
    if perp:  # of a position, its margin and what it was entered at: quantity x price more is its profit
        quote += float((desk.books["margin"] - desk.books["qty"] * desk.books["avg"]).sum())
    return quote


async def watch_process(process: ExchangeProcess) -> None:
    """Ends the session when the exchange process ends: without it nothing can be cancelled.

    Raises
    ------
    UnreachableError
        It ended.
    """
    while process.exit_code is None:
        await asyncio.sleep(0.5)
    raise UnreachableError(
        f"the exchange process ended with code {process.exit_code}; see {LOG_FILE} in {process.folder}"
    )
