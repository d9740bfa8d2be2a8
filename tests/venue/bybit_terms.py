"""How Bybit v5 asks and denies: parameters read and checked, refusals in its codes, spans of time and pages."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote

from tests.venue.bybit_auth import Denied
from tests.venue.bybit_rows import Row
from tests.venue.records import Refusal, dec

Body = dict[str, Any]
WEEK_MS = 7 * 86_400_000
LINK = re.compile(r"[A-Za-z0-9_-]{1,36}")
WHY = {  # why the engine refuses, in the venue's codes
    "symbol": (10001, "params error: symbol invalid"),
    "halted": (110066, "No trading is allowed at the current time"),
    "price-filter": (10001, "params error: Price invalid"),
    "lot-size": (10001, "params error: Qty invalid"),
    "notional": (110094, "Order does not meet minimum order value"),
    "price-band": (110003, "Order price exceeds the allowable range."),
    "funds": (110007, "ab not enough for new order"),
    "duplicate": (110072, "OrderLinkedID is duplicate"),
    "reduce-only": (110017, "current position is zero, cannot fix reduce-only order qty"),
    "leverage": (110013, "Cannot set leverage gt maxLeverage by risk limit"),
    "no-order": (110001, "order not exists or too late to cancel"),
}


def denied(refusal: Refusal, conditional: bool = False, body: Body | None = None) -> Denied:
    """The engine's refusal in the venue's words."""
    if refusal.why == "too-many":
        return Denied(110009, "The number of stop orders exceeds the maximum allowable limit") if conditional else (
            Denied(110020, "Not allowed to have more than 500 active orders")
        )  # fmt: skip
    if refusal.why == "would-trigger":
        rises = str((body or {}).get("triggerDirection")) == "1"
        code, word, sign = (110092, "Rising", "<=") if rises else (110093, "Falling", ">=")
        return Denied(code, f"expect {word}, but trigger_price {sign} current: {refusal.detail}")
    code, text = WHY[refusal.why]
    return Denied(code, text)


def number(body: Body, name: str) -> Decimal:
    try:
        value = dec(str(body.get(name)))
    except InvalidOperation:
        raise Denied(10001, f"params error: {name} invalid") from None
    if not value.is_finite() or value < 0:
        raise Denied(10001, f"params error: {name} invalid")
    return value


def order_of(body: Body) -> tuple[str, Body]:
    """Kind and arguments for the engine of an order as it was sent."""
    side, kind, link = body.get("side"), body.get("orderType"), body.get("orderLinkId", "")
    tif = body.get("timeInForce") or ("IOC" if kind == "Market" else "GTC")
    wrong = [
        name
        for name, right in (
            ("side", side in ("Buy", "Sell")),
            ("orderType", kind in ("Market", "Limit")),
            ("timeInForce", tif in ("GTC", "IOC", "FOK", "PostOnly")),
            ("orderLinkId", link == "" or LINK.fullmatch(str(link)) is not None),
            ("positionIdx", str(body.get("positionIdx", 0)) == "0"),
            ("takeProfit or stopLoss (not offered here)", not body.get("takeProfit") and not body.get("stopLoss")),
            ("triggerBy (only LastPrice is offered here)", body.get("triggerBy", "LastPrice") == "LastPrice"),
        )
        if not right
    ]
    if wrong:
        raise Denied(10001, f"params error: {wrong[0]} invalid")
    limit = number(body, "price") if kind == "Limit" else None
    stop = number(body, "triggerPrice") if body.get("triggerPrice") else None
    engine_kind = "post-only" if tif == "PostOnly" else str(kind).lower()
    if stop is not None:
        engine_kind = _conditional(str(side), str(body.get("triggerDirection")), limit)
    tif = "IOC" if kind == "Market" else tif
    extra = {
        "orderLinkId": str(link),
        "timeInForce": tif,
        "triggerDirection": int(body.get("triggerDirection") or 0),
        "triggerBy": "LastPrice",
        "closeOnTrigger": bool(body.get("closeOnTrigger")),
        "createType": "CreateByUser",
    }
    return engine_kind, {
        "symbol": str(body.get("symbol")), "side": str(side).lower(), "qty": number(body, "qty"), "limit": limit,
        "stop": stop, "client_id": str(link), "tif": "GTC" if tif == "PostOnly" else tif,
        "reduce_only": bool(body.get("reduceOnly") or body.get("closeOnTrigger")), "extra": extra,
    }  # fmt: skip


def _conditional(side: str, direction: str, limit: Decimal | None) -> str:
    """Stop or take-profit: whether the price has to move against a position that the order would close."""
    if direction not in ("1", "2"):
        raise Denied(10001, "params error: TriggerDirection invalid")
    kind = "stop" if (side == "Buy") == (direction == "1") else "take-profit"
    return kind if limit is None else f"{kind}-limit"


def span(query: Body, now: int) -> tuple[int, int]:
    """Begin and end asked for: seven days at most, the last seven by default."""
    begin, end = (int(query[name]) if query.get(name) else None for name in ("startTime", "endTime"))
    if begin is None and end is None:
        return now - WEEK_MS, now + 1
    begin = end - WEEK_MS if begin is None and end is not None else begin
    assert begin is not None
    end = begin + WEEK_MS if end is None else end
    if end - begin > WEEK_MS:
        raise Denied(10001, "params error: The time range between startTime and endTime cannot exceed 7 days")
    return begin, end


def page(rows: list[tuple[int, Row]], query: Body, usual: int, most: int) -> Row:
    """One page, newest first. The cursor is given on the last page too: the page after it is empty."""
    limit = min(max(int(query.get("limit") or usual), 1), most)
    cursor = unquote(str(query.get("cursor") or ""))
    if cursor and not cursor.startswith("before:"):
        raise Denied(10001, "params error: cursor invalid")
    below = int(cursor.removeprefix("before:")) if cursor else None
    rest = [row for row in sorted(rows, key=lambda row: -row[0]) if below is None or row[0] < below]
    page = rest[:limit]
    return {
        "category": "linear",
        "list": [row for _, row in page],
        "nextPageCursor": f"before%3A{page[-1][0]}" if page else "",
    }
