"""What ccxt tells of orders, trades, balances and markets, as the wire's views: decimal text, base units, ns UTC."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_UP, Decimal, InvalidOperation
from typing import Any

from bot.exchange.wire import BalanceView, FundingView, MarketView, OrderView, PositionView, TradeView

MS_NS = 1_000_000
_STATUS = {
    "open": "open",
    "closed": "filled",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "canceling": "open",
    "expired": "expired",
    "rejected": "rejected",
}


def number(value: Any) -> Decimal | None:
    """A finite number of ccxt's, exact as it prints; None where there is none."""
    if value is None or value == "":
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def text(value: Decimal) -> str:
    """Plain decimal text without an exponent or trailing zeros."""
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def quantity(raw: str) -> Decimal | None:
    """A quantity or price of an intent: finite and above 0; else None."""
    found = number(raw)
    return found if found is not None and found > 0 else None


def contract_size(market: Mapping[str, Any]) -> Decimal:
    """Base units of one contract; 1 on spot."""
    return (number(market.get("contractSize")) or Decimal(1)) if market.get("contract") else Decimal(1)


def on_grid(value: Decimal, step: Decimal, up: bool) -> Decimal:
    """The nearest multiple of the step at or above (`up`), or at or below."""
    return (value / step).to_integral_value(ROUND_UP if up else ROUND_DOWN) * step


def order_view(
    order: Mapping[str, Any], market: Mapping[str, Any], *, client_id: str = "", kind: str = "", qty: str = ""
) -> OrderView:
    """One order. `client_id`, `kind` and `qty` are what we asked for, where the answer leaves them out.

    An order that ended without its whole quantity isn't "filled", whatever word the venue has for it.
    """
    size = contract_size(market)
    asked = number(order.get("amount"))
    whole = asked * size if asked is not None else (number(qty) or Decimal(0))
    status, told = _STATUS.get(str(order.get("status")), "open"), number(order.get("filled"))
    filled = whole if told is None and status == "filled" else (told or Decimal(0)) * size
    if status == "filled" and filled < whole:
        status = "cancelled"
    if status == "open" and whole > 0 and filled >= whole:
        status = "filled"
    average, limit = number(order.get("average")), number(order.get("price"))
    stop = next(
        (
            one
            for name in ("triggerPrice", "stopLossPrice", "takeProfitPrice", "stopPrice")
            if (one := number(order.get(name)))
        ),
        None,
    )
    found_kind = kind or _kind(order, stop)
    updated = order.get("lastUpdateTimestamp") or order.get("lastTradeTimestamp") or order.get("timestamp") or 0
    return OrderView(
        client_id=str(order.get("clientOrderId") or client_id),
        venue_id=str(order.get("id") or ""),
        symbol=str(market["symbol"]),
        side=str(order.get("side") or ""),
        kind=found_kind,
        qty=text(whole),
        filled=text(filled),
        status=status,
        avg_price=text(average) if average and filled > 0 else None,
        limit=text(limit) if limit and found_kind != "market" else None,
        stop=text(stop) if stop else None,
        updated_ns=int(updated) * MS_NS,
    )


def _kind(order: Mapping[str, Any], stop: Decimal | None) -> str:
    info = order.get("info")
    raw = info if isinstance(info, dict) else {}
    said = " ".join(str(raw.get(name, "")) for name in ("type", "o", "ot", "stopOrderType", "ordType", "descr")).lower()
    if stop is not None or "stop" in said.replace("stopordertype", ""):
        return "take-profit" if "take" in said or order.get("takeProfitPrice") else "stop"
    if order.get("postOnly"):
        return "post-only"
    return "market" if "market" in str(order.get("type")) else "limit"


def trade_view(trade: Mapping[str, Any], market: Mapping[str, Any], client_id: str) -> TradeView:
    """One trade of ours.

    Raises
    ------
    ValueError
        It has no id, quantity or price: it can't be booked.
    """
    qty, price = number(trade.get("amount")), number(trade.get("price"))
    if qty is None or price is None or not trade.get("id"):
        raise ValueError("a trade without id, quantity or price")
    given = trade.get("fee") or next(iter(trade.get("fees") or ()), None) or {}
    return TradeView(
        trade_id=str(trade["id"]),
        venue_id=str(trade.get("order") or ""),
        client_id=client_id,
        symbol=str(market["symbol"]),
        side=str(trade.get("side") or ""),
        qty=text(qty * contract_size(market)),
        price=text(price),
        fee=text(number(given.get("cost")) or Decimal(0)),
        fee_currency=str(given.get("currency") or ""),
        maker=trade.get("takerOrMaker") == "maker",
        ns=int(trade.get("timestamp") or 0) * MS_NS,
    )


def client_of_trade(trade: Mapping[str, Any]) -> str:
    """Our client id in a trade, where the venue names it; else ""."""
    info = trade.get("info")
    raw = info if isinstance(info, dict) else {}
    return next((str(raw[name]) for name in ("orderLinkId", "clOrdId", "cl_ord_id", "c") if raw.get(name)), "")


def forced(trade: Mapping[str, Any]) -> str:
    """What the venue did to the account by itself: "liquidation" or "deleveraging"; "" for any other trade."""
    info = trade.get("info")
    raw = info if isinstance(info, dict) else {}
    client = client_of_trade(trade)
    if raw.get("execType") == "BustTrade" or client.startswith("autoclose-"):
        return "liquidation"
    return "deleveraging" if raw.get("execType") == "AdlTrade" or client.startswith("adl_autoclose") else ""


def balance_views(balance: Mapping[str, Any]) -> tuple[BalanceView, ...]:
    """Every coin of which there is any.

    Raises
    ------
    ValueError
        The answer isn't one of balances.
    """
    totals, free = balance.get("total"), balance.get("free")
    if not isinstance(totals, dict) or not isinstance(free, dict) or not balance.get("info"):
        raise ValueError("an answer without balances")
    found = []
    for coin, value in sorted(totals.items()):
        whole = number(value)
        if whole:
            left = number(free.get(coin))
            found.append(BalanceView(coin=coin, free=text(whole if left is None else left), total=text(whole)))
    return tuple(found)


def position_view(position: Mapping[str, Any], market: Mapping[str, Any]) -> PositionView | None:
    """One position, signed; None when it is flat."""
    contracts = number(position.get("contracts"))
    if not contracts:
        return None
    signed = abs(contracts) * contract_size(market) * (-1 if position.get("side") == "short" else 1)
    liquidation, margin = number(position.get("liquidationPrice")), number(position.get("initialMargin"))
    return PositionView(
        symbol=str(market["symbol"]),
        qty=text(signed),
        entry_price=text(number(position.get("entryPrice")) or Decimal(0)),
        mark_price=text(number(position.get("markPrice")) or Decimal(0)),
        liquidation_price=text(liquidation) if liquidation else None,
        margin=text(margin) if margin else None,
    )


def funding_view(row: Mapping[str, Any], market: Mapping[str, Any]) -> FundingView:
    """One payment; ccxt's amount is above 0 when received, ours when paid. Bybit's is a fee: above 0 when paid.

    Raises
    ------
    ValueError
        It has no amount.
    """
    info = row.get("info")
    raw = info if isinstance(info, dict) else {}
    is_fee = raw.get("execType") == "Funding"  # ccxt 4.5 hands it on with the venue's sign
    amount = number(raw.get("execFee") if is_fee else row.get("amount"))
    if amount is None:
        raise ValueError("a funding without an amount")
    amount = -amount if is_fee else amount
    ns = int(row.get("timestamp") or 0) * MS_NS
    return FundingView(
        funding_id=str(row.get("id") or f"{market['symbol']}@{ns}"),
        symbol=str(market["symbol"]),
        amount=text(-amount),
        ns=ns,
    )


def market_view(market: Mapping[str, Any], stops: bool, maintenance: Decimal | None) -> MarketView:
    """Grid, filters and fees of one market.

    Raises
    ------
    ValueError
        It names no grid: nothing can be ordered on it.
    """
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    tick, lot = number(precision.get("price")), number(precision.get("amount"))
    if not tick or not lot:
        raise ValueError("a market without a grid")
    size = contract_size(market)
    amounts, costs = limits.get("amount") or {}, limits.get("cost") or {}
    most, least = number(amounts.get("max")), number(amounts.get("min"))
    market_most = number((limits.get("market") or {}).get("max"))
    if market_most and (not most or market_most < most):
        most = market_most
    maker, taker = number(market.get("maker")), number(market.get("taker"))
    return MarketView(
        symbol=str(market["symbol"]),
        active=market.get("active") is not False,
        tick=text(tick),
        lot=text(lot * size),
        min_qty=text(max(least or lot, lot) * size),
        min_notional=text(number(costs.get("min")) or Decimal(0)),
        max_qty=text(most * size) if most else None,
        maker=text(maker) if maker is not None else None,
        taker=text(taker) if taker is not None else None,
        maintenance=text(maintenance) if maintenance is not None else None,
        stops=stops,
    )
