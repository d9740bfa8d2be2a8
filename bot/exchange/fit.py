"""An order made to fit ccxt and its venue without changing a digit of it; else it is refused before the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bot.exchange import views
from bot.exchange.link import Said
from bot.exchange.wire import Place

STOP_COLLAR = Decimal("0.05")
KINDS = ("market", "limit", "post-only", "stop", "take-profit")


class Unfit(Exception):
    """An intent that doesn't fit the market, found before anything was sent."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why


def fitted(
    api: Any, family: str, intent: Place, late: datetime
) -> tuple[str, str, str, str, str | None, dict[str, Any]]:
    """The arguments of ccxt's `create_order`: our own gridded numbers, unchanged.

    Parameters
    ----------
    api : ccxt exchange
        With its markets.
    family : str
        The venue's kind.
    intent : Place
        The order.
    late : datetime
        When it has come too late, for venues that take such a time in the order.

    Raises
    ------
    Unfit
        It isn't on the market's grid, or no order that the venue has.
    """
    if intent.side not in ("buy", "sell") or intent.kind not in KINDS:
        raise Unfit("other", f"no such order: {intent.side} {intent.kind}")
    market = (api.markets or {}).get(intent.symbol)
    if market is None:
        raise Unfit("market", f"no such market: {intent.symbol}")
    params: dict[str, Any] = {"clientOrderId": intent.client_id}
    amount = _amount(api, intent, market)
    kind, price = "market", None
    if intent.kind in ("limit", "post-only"):
        kind, price = "limit", _price(api, intent.symbol, intent.limit, "limit")
        if intent.kind == "post-only":
            params["postOnly"] = True
    elif intent.kind in ("stop", "take-profit"):
        stop = _price(api, intent.symbol, intent.stop, "stop")
        params["stopLossPrice" if intent.kind == "stop" else "takeProfitPrice"] = stop
        if not _has_plain_stop(family, market, intent.kind):
            kind, price = "limit", _stop_limit(api, intent, market, Decimal(stop))
    if intent.reduce_only and market.get("contract"):
        params["reduceOnly"] = True
    if family == "okx" and market.get("contract"):
        params["marginMode"] = "isolated"
    if family == "kraken":  # the venue drops it when it comes later than this
        params["deadline"] = late.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return intent.symbol, kind, intent.side, amount, price, params


def _amount(api: Any, intent: Place, market: Mapping[str, Any]) -> str:
    qty = views.quantity(intent.qty)
    if qty is None:
        raise Unfit("filters", f"no quantity: {intent.qty}")
    amount = qty / views.contract_size(market)
    if Decimal(str(api.amount_to_precision(intent.symbol, views.text(amount)))) != amount:
        raise Unfit("filters", f"the quantity isn't on the grid: {intent.qty}")
    return views.text(amount)


def _price(api: Any, symbol: str, raw: str | None, name: str) -> str:
    price = None if raw is None else views.quantity(raw)
    if price is None:
        raise Unfit("filters", f"no {name} price: {raw}")
    if Decimal(str(api.price_to_precision(symbol, views.text(price)))) != price:
        raise Unfit("filters", f"the {name} price isn't on the grid: {raw}")
    return views.text(price)


def _stop_limit(api: Any, intent: Place, market: Mapping[str, Any], stop: Decimal) -> str:
    """The limit of a stop where the venue has no plain one: as told, else a collar beyond the stop."""
    if intent.limit is not None:
        return _price(api, intent.symbol, intent.limit, "limit")
    worst = stop * (1 + STOP_COLLAR) if intent.side == "buy" else stop * (1 - STOP_COLLAR)
    tick = views.number((market.get("precision") or {}).get("price"))
    if tick is None:
        raise Unfit("filters", "the market has no tick")
    return views.text(views.on_grid(worst, tick, up=intent.side == "sell"))


def _has_plain_stop(family: str, market: Mapping[str, Any], kind: str) -> bool:
    if family != "binance" or market.get("contract"):
        return True
    return ("STOP_LOSS" if kind == "stop" else "TAKE_PROFIT") in _order_types(market)


def has_stops(family: str, market: Mapping[str, Any]) -> bool:
    """Whether a stop can be kept at the venue for this market."""
    if family != "binance":
        return family != ""
    return bool(market.get("contract")) or bool({"STOP_LOSS", "STOP_LOSS_LIMIT"} & _order_types(market))


def _order_types(market: Mapping[str, Any]) -> set[str]:
    info = market.get("info")
    return set(info.get("orderTypes") or ()) if isinstance(info, dict) else set()


def next_page(family: str, said: Said, size: int | None) -> dict[str, Any]:
    """Arguments of the next page of open orders; none when this was the last."""
    if size is None or len(said.result) < size:
        return {}
    if family == "okx":
        return {"after": said.result[-1]["id"]}
    body = json.loads(said.call.requests[-1].body or "{}")
    cursor = (body.get("result") or {}).get("nextPageCursor")
    return {"cursor": cursor} if cursor else {}
