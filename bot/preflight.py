"""Before a live session: what the venue says of key, clock, markets and account, what the machine says, and a person.

Nothing here places, cancels or changes anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.spec import RunSpec
from bot import preflight_checks as checks
from bot.confirm import confirm, limits_text, show_limits
from bot.doctor import Finding
from bot.exchange.account import base_of
from bot.exchange.wire import (
    Balances,
    BalancesAre,
    Clock,
    ClockIs,
    Failed,
    Markets,
    MarketsAre,
    MarketView,
    Message,
    OpenOrders,
    OrdersAre,
    Positions,
    PositionsAre,
    Rights,
    RightsAre,
)
from bot.journal.places import JOURNAL_FILE
from bot.ports import Transport
from data.errors import RefusedError, TidegateError
from data.store import Store
from data.times import MILLISECOND_NS

if TYPE_CHECKING:
    from bot.config import Config

__all__ = ["Finding", "confirm", "limits_text", "preflight", "refuse_failed", "show_limits"]

ASK_S = 45.0
BIND = "Bind it to this machine's address in the exchange's account page"


async def preflight(
    config: Config, spec: RunSpec, transport: Transport, *, folder: Path, store: Store, views: dict[str, MarketView],
    now_ns: int, unknown_rights: bool, prices: Mapping[str, float] | None = None,
) -> list[Finding]:  # fmt: skip
    """Every check of a live session, in the order in which they are printed; none of them raises.

    Call it before the session's journal is opened: without a journal in `folder` it is a first session, whose
    allocation has to be there in full.

    Parameters
    ----------
    spec : RunSpec
        Of `bot.session.terms.spec_of`.
    transport : Transport
        To the exchange process, connected.
    folder : Path
        The account's folder; it need not exist.
    views : dict of str to MarketView
        The venue's markets; those that are missing are asked for, for the reason.
    unknown_rights : bool
        A person accepts that the venue doesn't tell what the key may do.
    prices : mapping of str to float, optional
        Last prices, to compare least quantities with limits in money; left out: the newest stored closes.
    """
    local = await asyncio.to_thread(checks.local_findings, config, spec, folder=folder, store=store, now_ns=now_ns)
    if prices is None:
        prices = await asyncio.to_thread(checks.stored_prices, spec, store, now_ns)
    found = [
        _venue(config),
        *rights(await ask(transport, Rights()), unknown_rights),
        clock(config, await ask(transport, Clock())),
    ]
    found += await _markets(spec, transport, views)
    found += [
        *checks.minimums(config, spec, views, prices),
        *checks.fees(config, views),
        *checks.protection(spec, views),
        *balances(config, spec, await ask(transport, Balances()), views, fresh=checks.is_fresh(folder)),
    ]
    if spec.perp:
        found += positions(spec, await ask(transport, Positions()), fresh=checks.is_fresh(folder))
    found += orders(spec, await ask(transport, OpenOrders()), await asyncio.to_thread(_bot_id, folder))
    return [*found, *local]


def _venue(config: Config) -> Finding:
    exchange = config.exchange
    kind = (
        "test network, no real money" if exchange.sandbox else "demo, no real money" if exchange.demo else "real money"
    )
    replaced = f"; exchange.urls replaces {', '.join(exchange.urls)}" if exchange.urls else ""
    return Finding("ok", "venue", f"{exchange.id} {config.run.market}, {kind}, account {exchange.account}{replaced}")


def refuse_failed(findings: list[Finding]) -> None:
    """Raise when a check failed.

    Raises
    ------
    RefusedError
        With every failed check and its remedy.
    """
    failed = [one for one in findings if one.status == "fail"]
    if failed:
        lines = [f"  {one.check}: {one.found}" + (f". {one.remedy}" if one.remedy else "") for one in failed]
        raise RefusedError("\n".join([f"not started, {len(failed)} checks failed:", *lines]))


async def ask(transport: Transport, question: Message) -> Message:
    """The answer, or Failed, whatever happens to the way there."""
    try:
        return await transport.ask(question, timeout_s=ASK_S)
    except TimeoutError:
        return Failed(text=f"no answer in {ASK_S:g} s")
    except ConnectionError as error:
        return Failed(text=str(error) or "the exchange process went away")


def _why(answer: Message) -> str:
    if isinstance(answer, Failed):
        return answer.text + (" (the key isn't valid any more)" if answer.revoked else "")
    return f"an answer of another kind: {type(answer).__name__}"


# --- key and clock ----------------------------------------------------------------------------------------------------
def rights(answer: Message, unknown_rights: bool) -> Iterator[Finding]:
    """A key that may trade and not withdraw."""
    if not isinstance(answer, RightsAre):
        remedy = "Look at the key in the exchange's account page" if _revoked(answer) else "Try again"
        yield Finding("fail", "key", f"its rights couldn't be read: {_why(answer)}", remedy)
        return
    detail = f" ({answer.detail})" if answer.detail else ""
    if answer.can_withdraw:
        yield Finding("fail", "key", f"it can withdraw{detail}", "Make a key without that right, and delete this one")
    if answer.can_trade is False:
        yield Finding("fail", "key", f"it can't trade here{detail}", "Give it the right to trade this market, no other")
    silent = [told for told, value in (("trade", answer.can_trade), ("withdraw", answer.can_withdraw)) if value is None]
    if silent:
        found = f"the venue doesn't tell whether it can {' and '.join(silent)}{detail}"
        if unknown_rights:
            yield Finding("warn", "key", f"{found}; accepted", "")
        else:
            remedy = "Look it up in the exchange's account page, then: --accept-unknown-rights"
            yield Finding("fail", "key", found, remedy)
    elif answer.can_trade and answer.can_withdraw is False:
        anywhere = "any address" in answer.detail
        yield Finding("ok", "key", f"it can trade and not withdraw{detail}", BIND if anywhere else "")


def _revoked(answer: Message) -> bool:
    return isinstance(answer, Failed) and answer.revoked


def clock(config: Config, answer: Message) -> Finding:
    """The venue's clock against ours."""
    if not isinstance(answer, ClockIs):
        return Finding("fail", "clock", f"the venue's clock couldn't be read: {_why(answer)}", "Try again")
    limit = config.live.clock_offset / MILLISECOND_NS
    found = f"{answer.offset_ms:+.1f} ms off the venue's, over {answer.round_trip_ms:.0f} ms there and back"
    if not abs(answer.offset_ms) <= limit:
        remedy = f"Let the machine keep its clock (chrony or ntpd); live.clock_offset allows {limit:g} ms"
        return Finding("fail", "clock", found, remedy)
    if answer.round_trip_ms / 2 > limit:
        remedy = "The way to the venue is too slow to tell; a machine nearer to it is advised"
        return Finding("warn", "clock", found, remedy)
    return Finding("ok", "clock", found)


# --- markets ----------------------------------------------------------------------------------------------------------
async def _markets(spec: RunSpec, transport: Transport, views: Mapping[str, MarketView]) -> list[Finding]:
    missing = tuple(symbol for symbol in spec.symbols if symbol not in views)
    found = []
    if missing:
        answer = await ask(transport, Markets(symbols=missing))
        told = "the venue has no such market" if isinstance(answer, MarketsAre) else _why(answer)
        remedy = "Correct run.symbols, or exchange.id"
        found.append(Finding("fail", "markets", f"{', '.join(missing)}: {told}", remedy))
    closed = [symbol for symbol, view in views.items() if not view.active]
    if closed:
        what = f"{', '.join(closed)}: closed at the venue (halted or delisted)"
        found.append(Finding("fail", "markets", what, "Take it out of run.symbols, or wait"))
    return found or [Finding("ok", "markets", f"{', '.join(views)}: open")]


# --- account ----------------------------------------------------------------------------------------------------------
def balances(
    config: Config, spec: RunSpec, answer: Message, views: Mapping[str, MarketView], *, fresh: bool
) -> Iterator[Finding]:
    """Whether the allocation is there at a first session, and what else the account holds of the coins."""
    if not isinstance(answer, BalancesAre):
        remedy = "Look at the key in the exchange's account page" if _revoked(answer) else "Try again"
        yield Finding("fail", "balance", f"the balances couldn't be read: {_why(answer)}", remedy)
        return
    if not fresh:
        yield Finding("ok", "balance", "read; a session goes on: they are compared with its journal at the start")
        return
    quote, cash = config.quote, config.run.cash
    held = {view.coin: view for view in answer.balances}
    total = Decimal(held[quote].total) if quote in held else Decimal(0)
    free = Decimal(held[quote].free) if quote in held else Decimal(0)
    found = f"{total:,f} {quote} there, {cash:,f} are to be the bot's"
    if total < cash:
        remedy = f"Bring in {cash - total:f} {quote}, or set run.cash to what is there"
        yield Finding("fail", "balance", found, remedy)
    elif free < cash:
        found = f"{found}; only {free:,f} are free, the rest is tied up in orders"
        yield Finding("warn", "balance", found, "Orders of the bot may be refused for lack of funds")
    else:
        yield Finding("ok", "balance", found)
    if spec.perp:
        return
    foreign = []
    for symbol in spec.symbols:
        coin = base_of(symbol)
        least = Decimal(views[symbol].lot) if symbol in views else Decimal(0)
        if coin in held and Decimal(held[coin].total) > least:
            foreign.append(f"{held[coin].total} {coin}")
    if foreign:
        found = f"the account holds {', '.join(foreign)} that isn't the bot's"
        yield Finding("warn", "foreign", found, "Counted, and never touched; an account of its own is cleaner")


def positions(spec: RunSpec, answer: Message, *, fresh: bool) -> Iterator[Finding]:
    """Others' positions in the traded contracts."""
    if not isinstance(answer, PositionsAre):
        yield Finding("fail", "positions", f"they couldn't be read: {_why(answer)}", "Try again")
        return
    held = [f"{view.qty} {view.symbol}" for view in answer.positions if view.symbol in spec.symbols]
    if fresh and held:
        found = f"the account holds {', '.join(held)} that isn't the bot's"
        yield Finding("warn", "foreign", found, "Counted, and never touched; an account of its own is cleaner")


def orders(spec: RunSpec, answer: Message, bot_id: str) -> Iterator[Finding]:
    """Open orders: others' are counted."""
    if not isinstance(answer, OrdersAre):
        yield Finding("fail", "orders", f"open orders couldn't be read: {_why(answer)}", "Try again")
        return
    ours = [one for one in answer.orders if bot_id and one.client_id.startswith(bot_id)]
    others = len(answer.orders) - len(ours)
    here = sum(one.symbol in spec.symbols for one in answer.orders if one not in ours)
    if others:
        found = f"{others} open that aren't the bot's, {here} of them in its symbols; {len(ours)} of its own"
        yield Finding("warn", "orders", found, "Counted, and never touched; an account of its own is cleaner")
    else:
        yield Finding("ok", "orders", f"{len(ours)} open of the bot's, none of others" if ours else "none are open")


def _bot_id(folder: Path) -> str:
    """The bot's id that the account's journal names; empty before the first session."""
    from bot.journal import Reader

    if checks.is_fresh(folder):
        return ""
    try:
        reader = Reader(folder / JOURNAL_FILE)
    except TidegateError:
        return ""  # its damage is named when the session opens it; until then no order counts as the bot's
    try:
        return str(reader.header["bot"])
    finally:
        reader.close()
