"""What a venue tells of an account: trades, positions, funding, markets, the key's rights, the dead-man timer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from bot.exchange import views
from bot.exchange.ccxt_account import CcxtAccount
from bot.exchange.fit import has_stops
from bot.exchange.modes import still_right
from bot.exchange.wire import (
    DeadMan,
    Done,
    Failed,
    Fundings,
    FundingsAre,
    Markets,
    MarketsAre,
    Message,
    PositionsAre,
    RightsAre,
    Trades,
    TradesAre,
)

PAGE = 1000
PAGES_MAX = 200
WINDOW_MS = 6 * 86_400_000  # Bybit tells of at most a week at once,
HISTORY_MS = 729 * 86_400_000  # and of two years in all
RECENT_MS = 3_600_000
FORCED = ("BustTrade", "AdlTrade")  # Bybit lists liquidations and deleveraging apart


async def trades(account: CcxtAccount, intent: Trades) -> Message:
    """The trades of one symbol after an id, or from a time on, all pages of them, in order."""
    rows: dict[str, Mapping[str, Any]] = {}
    if account.family == "binance":
        failed = await _by_id(account, intent, rows)
    elif intent.after_id is not None and intent.since_ns is None:
        failed = await _back_to(account, intent, rows)
    else:
        failed = await _by_time(account, intent, rows)
    if failed is not None:
        return failed
    market = account.market(intent.symbol)
    try:
        found = [views.trade_view(row, market, account.client_id(row)) for row in rows.values()]
    except ValueError as error:
        return Failed(text=str(error))
    found.sort(key=lambda one: (one.ns, int(one.trade_id) if one.trade_id.isdigit() else 0, one.trade_id))
    after = next((one for one in found if one.trade_id == intent.after_id), None)
    if after is not None:  # what the venue made in the same instant comes again: nobody knows which was first
        found = [one for one in found if one.ns >= after.ns and one.trade_id != after.trade_id]
    return TradesAre(trades=tuple(found))


async def _by_id(account: CcxtAccount, intent: Trades, rows: dict[str, Mapping[str, Any]]) -> Failed | None:
    since_ms = None if intent.since_ns is None else intent.since_ns // views.MS_NS
    after = intent.after_id if intent.after_id and intent.after_id.isdigit() else None
    for _ in range(PAGES_MAX):
        params = {} if after is None else {"fromId": int(after) + 1}
        start = since_ms if after is None else None
        said = await account.ask(
            "trades", partial(account.api.fetch_my_trades, intent.symbol, start, PAGE, params), shape=list
        )
        if isinstance(said, Failed):
            return said
        rows.update({str(row["id"]): row for row in said})
        if len(said) < PAGE:
            return None
        after = max((str(row["id"]) for row in said), key=int)
    return Failed(text=f"more than {PAGES_MAX} pages of trades")


async def _by_time(account: CcxtAccount, intent: Trades, rows: dict[str, Mapping[str, Any]]) -> Failed | None:
    """From window to window, from a time on."""
    now_ms = int(time.time() * 1000 + account.offset_ms) + 1000
    start = now_ms - RECENT_MS if intent.since_ns is None else intent.since_ns // views.MS_NS
    start = max(start, now_ms - HISTORY_MS)
    while True:
        end = min(start + WINDOW_MS, now_ms) if account.family == "bybit" else now_ms
        failed = await _window(account, intent, rows, start, end)
        if failed is not None or end >= now_ms:
            return failed
        start = end


async def _back_to(account: CcxtAccount, intent: Trades, rows: dict[str, Mapping[str, Any]]) -> Failed | None:
    """From now backwards until the trade is met after which it was asked."""
    now_ms = int(time.time() * 1000 + account.offset_ms) + 1000
    end = now_ms
    while end > now_ms - HISTORY_MS:
        start = end - WINDOW_MS if account.family == "bybit" else now_ms - HISTORY_MS
        failed = await _window(account, intent, rows, start, end)
        if failed is not None or intent.after_id in rows:
            return failed
        end = start
    return Failed(text=f"the venue knows no trade {intent.after_id} of {intent.symbol}")


async def _window(
    account: CcxtAccount, intent: Trades, rows: dict[str, Mapping[str, Any]], start: int, end: int
) -> Failed | None:
    """One window, of every kind of trade that is wanted."""
    kinds: list[dict[str, Any]] = [{}]
    if intent.forced and account.family == "bybit" and ":" in intent.symbol:
        kinds += [{"execType": kind} for kind in FORCED]
    for kind in kinds:
        failed = await _pages(account, intent, rows, start, end, kind)
        if failed is not None:
            return failed
    return None


async def _pages(
    account: CcxtAccount, intent: Trades, rows: dict[str, Mapping[str, Any]], start: int, end: int, kind: dict[str, Any]
) -> Failed | None:
    """Page by page backwards, until a page brings nothing new or the trade looked for is met."""
    until = end
    for _ in range(PAGES_MAX):
        params = {"until": until, **kind}
        ask = partial(account.api.fetch_my_trades, intent.symbol, start, 100, params)
        said = await account.ask("trades", ask, shape=list)
        if isinstance(said, Failed):
            return said
        new = [row for row in said if str(row["id"]) not in rows]
        rows.update({str(row["id"]): row for row in new})
        if len(said) < 50 or not new or (intent.since_ns is None and intent.after_id in rows):
            return None
        until = min(int(row["timestamp"]) for row in said)
    return Failed(text=f"more than {PAGES_MAX} pages of trades")


async def positions(account: CcxtAccount) -> Message:
    """Open positions; none of them on spot."""
    if account.settings.market == "spot":
        return PositionsAre(positions=())
    wrong = await still_right(account)
    if wrong is not None:
        return wrong
    found = await account.ask("positions", lambda: account.api.fetch_positions(), shape=list)
    if isinstance(found, Failed):
        return found
    shown, seen = [], set()
    for row in found:
        view = views.position_view(row, account.market(str(row.get("symbol"))))
        if view is None:
            continue
        if view.symbol in seen:
            return Failed(text=f"{view.symbol} is held both long and short; the bot needs the one-way mode")
        seen.add(view.symbol)
        shown.append(view)
    return PositionsAre(positions=tuple(shown))


async def fundings(account: CcxtAccount, intent: Fundings) -> Message:
    """Funding paid and received since a time, of the settings' symbols."""
    if account.settings.market == "spot":
        return FundingsAre(fundings=())
    if not account.api.has.get("fetchFundingHistory"):
        return Failed(text="ccxt doesn't tell of funding payments here")
    found = {}
    for symbol in account.settings.symbols:
        rows = await _fundings_of(account, symbol, intent.since_ns // views.MS_NS)
        if isinstance(rows, Failed):
            return rows
        try:
            shown = [views.funding_view(row, account.market(symbol)) for row in rows]
        except ValueError as error:
            return Failed(text=str(error))
        found.update({(one.symbol, one.funding_id): one for one in shown if one.ns >= intent.since_ns})
    return FundingsAre(fundings=tuple(sorted(found.values(), key=lambda one: (one.ns, one.symbol))))


async def _fundings_of(account: CcxtAccount, symbol: str, since_ms: int) -> list[Mapping[str, Any]] | Failed:
    """Rows of one symbol; Bybit tells of a week at most at once, the newest first, page by page."""
    if account.family != "bybit":
        ask = partial(account.api.fetch_funding_history, symbol, since_ms, 100)
        found: list[Mapping[str, Any]] | Failed = await account.ask("fundings", ask, shape=list)
        return found
    now_ms = int(time.time() * 1000 + account.offset_ms) + 1000
    rows: dict[str, Mapping[str, Any]] = {}
    start = max(since_ms, now_ms - HISTORY_MS)
    while start < now_ms:
        end = until = min(start + WINDOW_MS, now_ms)
        for _ in range(PAGES_MAX):
            params = {"until": until, "limit": 100}
            said = await account.ask(
                "fundings", partial(account.api.fetch_funding_history, symbol, start, None, params), shape=list
            )
            if isinstance(said, Failed):
                return said
            new = {str(row["id"]): row for row in said if str(row["id"]) not in rows}
            rows.update(new)
            if len(said) < 50 or not new:
                break
            until = min(int(row["timestamp"]) for row in said)
        start = end
    return list(rows.values())


async def markets(account: CcxtAccount, intent: Markets) -> Message:
    """Grid, filters, fees and state of the named symbols."""
    failed = await account.load_markets()
    if failed is not None:
        return failed
    shown = []
    for symbol in intent.symbols:
        market = (account.api.markets or {}).get(symbol)
        if market is None:
            return Failed(text=f"no such market: {symbol}")
        try:
            shown.append(
                views.market_view(market, has_stops(account.family, market), await _maintenance(account, market))
            )
        except ValueError as error:
            return Failed(text=f"{symbol}: {error}")
    return MarketsAre(markets=tuple(shown))


async def _maintenance(account: CcxtAccount, market: Mapping[str, Any]) -> Decimal | None:
    """Maintenance margin of the first tier of a perpetual, as a share; None where the venue doesn't tell."""
    if not market.get("contract"):
        return None
    symbol = str(market["symbol"])
    for name in ("fetch_market_leverage_tiers", "fetch_leverage_tiers"):
        if not account.api.has.get("fetchMarketLeverageTiers" if "market" in name else "fetchLeverageTiers"):
            continue
        argument: Any = symbol if "market" in name else [symbol]
        found = await account.ask("tiers", partial(getattr(account.api, name), argument))
        tiers = found.get(symbol) if isinstance(found, dict) else found
        if isinstance(tiers, list) and tiers and isinstance(tiers[0], dict):
            return views.number(tiers[0].get("maintenanceMarginRate"))
    return None


async def rights(account: CcxtAccount) -> Message:
    """What the key may do, where the venue tells it."""
    asks: dict[str, tuple[str, Callable[[dict[str, Any]], RightsAre]]] = {
        "binance": ("sapiGetAccountApiRestrictions", lambda body: _binance_rights(body, account.settings.market)),
        "bybit": ("privateGetV5UserQueryApi", lambda body: _bybit_rights(body, account.settings.market)),
        "okx": ("privateGetAccountConfig", _okx_rights),
    }
    if account.family not in asks or account.settings.demo:
        return RightsAre(can_trade=None, can_withdraw=None, detail="this venue doesn't tell")
    name, read = asks[account.family]
    if account.settings.sandbox and account.family == "binance":
        return RightsAre(can_trade=None, can_withdraw=None, detail="the test network doesn't tell")
    found = await account.ask("rights", lambda: getattr(account.api, name)(), shape=dict)
    if isinstance(found, Failed):
        return found
    try:
        return read(found)
    except (KeyError, TypeError, IndexError, AttributeError):
        return RightsAre(can_trade=None, can_withdraw=None, detail="the answer names no rights")


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())


def _binance_rights(body: dict[str, Any], market: str) -> RightsAre:
    trade = _flag(body["enableSpotAndMarginTrading" if market == "spot" else "enableFutures"])
    limited = "bound to addresses" if _flag(body.get("ipRestrict")) else "usable from any address"
    return RightsAre(can_trade=trade, can_withdraw=_flag(body["enableWithdrawals"]), detail=limited)


def _bybit_rights(body: dict[str, Any], market: str) -> RightsAre:
    result = body["result"]
    allowed = result["permissions"]
    names = {str(one) for group in allowed.values() for one in group or ()}
    wanted = {"SpotTrade"} if market == "spot" else {"Order", "DerivativesTrade"}
    readonly = str(result["readOnly"]) == "1"
    limited = "usable from any address" if result.get("ips") in (None, [], ["*"]) else "bound to addresses"
    return RightsAre(can_trade=not readonly and bool(names & wanted), can_withdraw="Withdraw" in names, detail=limited)


def _okx_rights(body: dict[str, Any]) -> RightsAre:
    row = body["data"][0]
    names = {one.strip() for one in str(row["perm"]).split(",")}
    limited = "bound to addresses" if row.get("ip") else "usable from any address"
    return RightsAre(can_trade="trade" in names, can_withdraw="withdraw" in names, detail=limited)


async def dead_man(account: CcxtAccount, intent: DeadMan, is_protection: Callable[[str, str], bool]) -> Message:
    """Arm or disarm the venue's timer; refused where it would cancel stops of ours."""
    if not account.api.has.get("cancelAllOrdersAfter"):
        return Failed(text="this venue has no dead-man timer")
    if account.family == "bybit":  # it only takes note of a time: what it watches is a stream that subscribes to it
        return Failed(text="this venue's timer hangs on a stream of its own; the watchdog stands in for it")
    if intent.timeout_s > 0 and account.family != "okx":  # there, stops are orders of another kind and survive
        orders = await account.open_orders()
        if isinstance(orders, Failed):
            return orders
        if any(is_protection(one.client_id, one.kind) for one in orders.orders):
            return Failed(text="the timer would cancel stops that protect a position")
    said = await account.ask("dead-man", lambda: account.api.cancel_all_orders_after(intent.timeout_s * 1000))
    return said if isinstance(said, Failed) else Done(count=1)
