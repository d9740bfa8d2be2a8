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
from bot.exchange.door import Door
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


async def prepare(door: Door) -> Failed | None:
    """Check the account, and set isolated margin and leverage of symbols where nothing is held; None: all is well.

    Without a leverage in the settings nothing is set.
    """
    if door.settings.market == "spot":
        return None
    failed = await _weigh(door, mend=door.settings.leverage is not None)
    if failed is None:
        door.modes_at = time.monotonic()
    return failed


async def still_right(door: Door) -> Failed | None:
    """The same without setting anything, at most once a minute: a person may have changed it by hand."""
    if door.settings.market == "spot" or time.monotonic() - door.modes_at < AGAIN_S:
        return None
    failed = await _weigh(door, mend=False)
    if failed is None:
        door.modes_at = time.monotonic()
    return failed


async def _weigh(door: Door, *, mend: bool) -> Failed | None:
    for symbol in door.settings.symbols:
        mode = await _mode(door, symbol)
        failed = mode if isinstance(mode, Failed) else await _margin(door, mode, mend) or await _leverage(
            door, mode, mend
        )  # fmt: skip
        if failed is not None:
            return failed
    return None


async def _margin(door: Door, mode: Mode, mend: bool) -> Failed | None:
    if mode.hedged is not False:
        what = "is in hedge mode" if mode.hedged else "doesn't tell its position mode"
        return _not_ready(f"{mode.symbol} {what}; switch it to one-way in the exchange's account page")
    if mode.isolated:
        return None
    if mode.own and not mode.held and (mend or door.settings.leverage is None):
        return (
            await _set(door, "margin mode", partial(door.api.set_margin_mode, "isolated", mode.symbol))
            if mend
            else None
        )
    held = ", when nothing is held" if mode.held else ""
    return _not_ready(f"the margin of {mode.symbol} isn't isolated; switch it in the exchange's account page{held}")


async def _leverage(door: Door, mode: Mode, mend: bool) -> Failed | None:
    wanted = door.settings.leverage
    if wanted is None or mode.leverage == wanted:
        return None
    if mode.held and mode.leverage is not None:
        return _not_ready(
            f"{mode.symbol} is held at leverage {mode.leverage:f}, and {wanted:f} is wanted; set run.leverage"
        )
    if not mend:
        return _not_ready(f"the leverage of {mode.symbol} is {mode.leverage}, and not {wanted:f}")
    params = {"marginMode": "isolated"} if door.family == "okx" else {}
    return await _set(door, "leverage", partial(door.api.set_leverage, float(wanted), mode.symbol, params))


async def _set(door: Door, what: str, ask: Any) -> Failed | None:
    said = await door.link.run("leverage", 1, ask)
    code = said.call.code(door.family)
    if said.error is None or (code is not None and code.code in ALREADY.get(door.family, ())):
        return None
    return door.failed(said, f"the {what}")


def _not_ready(text: str) -> Failed:
    return Failed(text=f"{NOT_READY}: {text}")


# --- what the venues tell ---------------------------------------------------------------------------------------------
async def _mode(door: Door, symbol: str) -> Mode | Failed:
    reader = {"bybit": _bybit, "binance": _binance, "okx": _okx}.get(door.family)
    if reader is None:
        return _not_ready(f"{door.settings.exchange} can't be asked for it here; perpetuals need bybit, binance or okx")
    try:
        return await reader(door, symbol)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        return Failed(text=f"the answer about {symbol}'s margin isn't one ({type(error).__name__})")


async def _bybit(door: Door, symbol: str) -> Mode | Failed:
    info = await door.ask("account", lambda: door.api.privateGetV5AccountInfo(), shape=dict)
    if isinstance(info, Failed):
        return info
    query = {"category": "linear", "symbol": door.market(symbol)["id"]}
    told = await door.ask("positions", lambda: door.api.privateGetV5PositionList(query), shape=dict)
    if isinstance(told, Failed):
        return told
    account, rows = info["result"], told["result"]["list"]
    unified = str(account.get("unifiedMarginStatus")) in UNIFIED
    apart = all(str(row.get("tradeMode")) == "1" for row in rows)
    return Mode(
        symbol=symbol,
        hedged=any(str(row["positionIdx"]) != "0" for row in rows) if rows else None,
        isolated=account["marginMode"] == "ISOLATED_MARGIN" if unified else apart,
        leverage=views.number(rows[0]["leverage"]) if rows else None,
        held=any(views.number(row["size"]) for row in rows),
    )


async def _binance(door: Door, symbol: str) -> Mode | Failed:
    hedged = await door.ask("account", partial(door.api.fetch_position_mode, symbol), shape=dict)
    if isinstance(hedged, Failed):
        return hedged
    query = {"symbol": door.market(symbol)["id"]}
    told = await door.ask("account", lambda: door.api.fapiPrivateGetSymbolConfig(query), shape=list)
    if isinstance(told, Failed):
        return told
    held = await _held(door, symbol)
    if isinstance(held, Failed):
        return held
    row: Mapping[str, Any] = told[0]
    return Mode(
        symbol=symbol, hedged=hedged["hedged"], isolated=str(row["marginType"]).upper() == "ISOLATED",
        leverage=views.number(row["leverage"]), held=held, own=True,
    )  # fmt: skip


async def _okx(door: Door, symbol: str) -> Mode | Failed:
    hedged = await door.ask("account", lambda: door.api.fetch_position_mode(), shape=dict)
    if isinstance(hedged, Failed):
        return hedged
    params = {"marginMode": "isolated"}
    told = await door.ask("account", partial(door.api.fetch_leverage, symbol, params), shape=dict)
    if isinstance(told, Failed):
        return told
    held = await _held(door, symbol)
    if isinstance(held, Failed):
        return held
    leverage = views.number(told["longLeverage"])
    return Mode(symbol=symbol, hedged=hedged["hedged"], isolated=True, leverage=leverage, held=held)  # by each order


async def _held(door: Door, symbol: str) -> bool | Failed:
    rows = await door.ask("positions", lambda: door.api.fetch_positions([symbol]), shape=list)
    return rows if isinstance(rows, Failed) else any(views.number(row.get("contracts")) for row in rows)
