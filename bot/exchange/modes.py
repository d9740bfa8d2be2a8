"""Whether a derivatives account is as the ledger counts it: one-way positions, isolated margin, the run's leverage.

What holds for the whole account is never changed from here: other positions hang on it. A symbol's own setting is
changed while nothing is held there. What can't be made sure of is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from bot.exchange import views
from bot.exchange.ccxt_account import CcxtAccount
from bot.exchange.wire import Failed

NOT_READY = "the account isn't set up for this bot"
AGAIN_S = 60.0
UNIFIED = ("3", "4", "5", "6")  # Bybit's kinds of account whose margin mode is one for all symbols
ALREADY = {"bybit": ("110043",), "binance": ("-4046",)}  # "not modified"


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How one symbol is traded; None: the venue doesn't tell. own: its margin mode is its own, not the account's."""

    symbol: str
    hedged: bool | None
    isolated: bool | None
    leverage: Decimal | None
    held: bool
    own: bool = False


async def prepare(account: CcxtAccount) -> Failed | None:
    """Check the account, and set isolated margin and leverage of symbols where nothing is held; None: all is well.

    Without a leverage in the settings nothing is set.
    """
    if account.settings.market == "spot":
        return None
    failed = await _weigh(account, mend=account.settings.leverage is not None)
    if failed is None:
        account.modes_at = time.monotonic()
    return failed


async def still_right(account: CcxtAccount) -> Failed | None:
    """The same without setting anything, at most once a minute: a person may have changed it by hand."""
    if account.settings.market == "spot" or time.monotonic() - account.modes_at < AGAIN_S:
        return None
    failed = await _weigh(account, mend=False)
    if failed is None:
        account.modes_at = time.monotonic()
    return failed


async def _weigh(account: CcxtAccount, *, mend: bool) -> Failed | None:
    for symbol in account.settings.symbols:
        mode = await _mode(account, symbol)
        failed = mode if isinstance(mode, Failed) else await _margin(account, mode, mend) or await _leverage(
            account, mode, mend
        )  # fmt: skip
        if failed is not None:
            return failed
    return None


async def _margin(account: CcxtAccount, mode: Mode, mend: bool) -> Failed | None:
    if mode.hedged is not False:
        what = "is in hedge mode" if mode.hedged else "doesn't tell its position mode"
        return _not_ready(f"{mode.symbol} {what}; switch it to one-way in the exchange's account page")
    if mode.isolated:
        return None
    if mode.own and not mode.held and (mend or account.settings.leverage is None):
        return (
            await _set(account, "margin mode", partial(account.api.set_margin_mode, "isolated", mode.symbol))
            if mend
            else None
        )
    held = ", when nothing is held" if mode.held else ""
    return _not_ready(f"the margin of {mode.symbol} isn't isolated; switch it in the exchange's account page{held}")


async def _leverage(account: CcxtAccount, mode: Mode, mend: bool) -> Failed | None:
    wanted = account.settings.leverage
    if wanted is None or mode.leverage == wanted:
        return None
    if mode.held and mode.leverage is not None:
        return _not_ready(
            f"{mode.symbol} is held at leverage {mode.leverage:f}, and {wanted:f} is wanted; set run.leverage"
        )
    if not mend:
        return _not_ready(f"the leverage of {mode.symbol} is {mode.leverage}, and not {wanted:f}")
    params = {"marginMode": "isolated"} if account.family == "okx" else {}
    return await _set(account, "leverage", partial(account.api.set_leverage, float(wanted), mode.symbol, params))


async def _set(account: CcxtAccount, what: str, ask: Any) -> Failed | None:
    said = await account.link.run("leverage", 1, ask)
    code = said.call.code(account.family)
    if said.error is None or (code is not None and code.code in ALREADY.get(account.family, ())):
        return None
    return account.failed(said, f"the {what}")


def _not_ready(text: str) -> Failed:
    return Failed(text=f"{NOT_READY}: {text}")


# --- what the venues tell ---------------------------------------------------------------------------------------------
async def _mode(account: CcxtAccount, symbol: str) -> Mode | Failed:
    reader = {"bybit": _bybit, "binance": _binance, "okx": _okx}.get(account.family)
    if reader is None:
        return _not_ready(
            f"{account.settings.exchange} can't be asked for it here; perpetuals need bybit, binance or okx"
        )
    try:
        return await reader(account, symbol)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        return Failed(text=f"the answer about {symbol}'s margin isn't one ({type(error).__name__})")


async def _bybit(account: CcxtAccount, symbol: str) -> Mode | Failed:
    info = await account.ask("account", lambda: account.api.privateGetV5AccountInfo(), shape=dict)
    if isinstance(info, Failed):
        return info
    query = {"category": "linear", "symbol": account.market(symbol)["id"]}
    told = await account.ask("positions", lambda: account.api.privateGetV5PositionList(query), shape=dict)
    if isinstance(told, Failed):
        return told
    info, rows = info["result"], told["result"]["list"]
    unified = str(info.get("unifiedMarginStatus")) in UNIFIED
    apart = all(str(row.get("tradeMode")) == "1" for row in rows)
    return Mode(
        symbol=symbol,
        hedged=any(str(row["positionIdx"]) != "0" for row in rows) if rows else None,
        isolated=info["marginMode"] == "ISOLATED_MARGIN" if unified else apart,
        leverage=views.number(rows[0]["leverage"]) if rows else None,
        held=any(views.number(row["size"]) for row in rows),
    )


async def _binance(account: CcxtAccount, symbol: str) -> Mode | Failed:
    hedged = await account.ask("account", partial(account.api.fetch_position_mode, symbol), shape=dict)
    if isinstance(hedged, Failed):
        return hedged
    query = {"symbol": account.market(symbol)["id"]}
    told = await account.ask("account", lambda: account.api.fapiPrivateGetSymbolConfig(query), shape=list)
    if isinstance(told, Failed):
        return told
    held = await _held(account, symbol)
    if isinstance(held, Failed):
        return held
    row: Mapping[str, Any] = told[0]
    return Mode(
        symbol=symbol, hedged=hedged["hedged"], isolated=str(row["marginType"]).upper() == "ISOLATED",
        leverage=views.number(row["leverage"]), held=held, own=True,
    )  # fmt: skip


async def _okx(account: CcxtAccount, symbol: str) -> Mode | Failed:
    hedged = await account.ask("account", lambda: account.api.fetch_position_mode(), shape=dict)
    if isinstance(hedged, Failed):
        return hedged
    params = {"marginMode": "isolated"}
    told = await account.ask("account", partial(account.api.fetch_leverage, symbol, params), shape=dict)
    if isinstance(told, Failed):
        return told
    held = await _held(account, symbol)
    if isinstance(held, Failed):
        return held
    leverage = views.number(told["longLeverage"])
    return Mode(symbol=symbol, hedged=hedged["hedged"], isolated=True, leverage=leverage, held=held)  # by each order


async def _held(account: CcxtAccount, symbol: str) -> bool | Failed:
    rows = await account.ask("positions", lambda: account.api.fetch_positions([symbol]), shape=list)
    return rows if isinstance(rows, Failed) else any(views.number(row.get("contracts")) for row in rows)
