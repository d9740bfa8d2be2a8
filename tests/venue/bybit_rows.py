"""What the linear venue tells of orders, executions, positions, wallets and markets, in Bybit v5's own fields."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

from tests.venue.records import ZERO, Account, Funding, Order, Position, Spec, Trade

Row = dict[str, Any]
STATUS = {
    "NEW": "New",
    "PARTIALLY_FILLED": "PartiallyFilled",
    "FILLED": "Filled",
    "CANCELED": "Cancelled",
    "EXPIRED": "Cancelled",
    "REJECTED": "Rejected",
}


def plain(value: Decimal | None) -> str:
    """A decimal as plain digits without idle zeros."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def order_key(number: int) -> str:
    """An order number as an id of the venue's form."""
    return f"{number:08x}-0a00-4a00-8a00-{number:012x}"


def order_number(key: str) -> int:
    """The order number of an id; -1 when it is none of ours."""
    try:
        number = int(key[:8], 16)
    except ValueError:
        return -1
    return number if key == order_key(number) else -1


def exec_key(number: int, symbol: str, kind: str = "trade") -> str:
    """An execution's id: engine numbers count within a symbol, this one is unique in the account."""
    return f"{number:08x}-0e00-4e00-8e00-{zlib.crc32(f'{kind} {symbol}'.encode()):012x}"


def status_of(order: Order) -> str:
    """The order's state by Bybit's names."""
    if order.waits:
        return "Untriggered" if order.is_open else "Deactivated"
    return STATUS[order.status]


def link_of(order: Order) -> str:
    """The sender's own id of an order, empty when none was given."""
    return str(order.extra.get("orderLinkId", order.client_id))


def side_name(order: Order) -> str:
    """`Buy` or `Sell`."""
    return "Buy" if order.side == "buy" else "Sell"


def order_type(order: Order) -> str:
    """`Market` or `Limit`: what the order is, or what it becomes when triggered."""
    return "Market" if order.limit is None else "Limit"


def order_row(order: Order) -> Row:
    """One order, as in `/v5/order/realtime`, `/v5/order/history` and the `order` stream."""
    conditional = order.stop is not None
    left = order.left if order.is_open else ZERO
    extra = order.extra
    return {
        "symbol": order.symbol,
        "orderId": order_key(order.id),
        "orderLinkId": link_of(order),
        "orderType": order_type(order),
        "side": side_name(order),
        "qty": plain(order.qty),
        "price": plain(order.limit or ZERO),
        "timeInForce": extra.get("timeInForce", "GTC"),
        "orderStatus": status_of(order),
        "cancelType": extra.get("cancelType", "UNKNOWN"),
        "rejectReason": extra.get("rejectReason", "EC_NoError"),
        "avgPrice": plain(order.cost / order.filled) if order.filled else "",
        "leavesQty": plain(left),
        "leavesValue": plain(left * (order.limit or ZERO)),
        "cumExecQty": plain(order.filled),
        "cumExecValue": plain(order.cost),
        "cumExecFee": extra.get("fee", "0"),
        "cumFeeDetail": {extra["feeCoin"]: extra["fee"]} if "feeCoin" in extra else {},
        "stopOrderType": "Stop" if conditional else "",
        "triggerPrice": plain(order.stop),
        "triggerDirection": extra.get("triggerDirection", 0),
        "triggerBy": extra.get("triggerBy", "LastPrice") if conditional else "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": extra.get("closeOnTrigger", False),
        "createType": extra.get("createType", "CreateByUser"),
        "lastPriceOnCreated": extra.get("lastPriceOnCreated", ""),
        "positionIdx": 0,
        "tpslMode": "",
        "takeProfit": "",
        "stopLoss": "",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "tpLimitPrice": "0",
        "slLimitPrice": "0",
        "isLeverage": "",
        "orderIv": "",
        "marketUnit": "",
        "placeType": "",
        "blockTradeId": "",
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "extraFees": "",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }


def execution_row(trade: Trade, order: Order, spec: Spec, mark: Decimal, left: Decimal) -> Row:
    """One trade, as in `/v5/execution/list` and the `execution` stream; left is what the order had open after it."""
    return {
        "symbol": trade.symbol,
        "orderId": order_key(trade.order_id),
        "orderLinkId": link_of(order),
        "side": "Buy" if trade.side == "buy" else "Sell",
        "orderPrice": plain(order.limit or ZERO),
        "orderQty": plain(order.qty),
        "leavesQty": plain(left),
        "orderType": order_type(order),
        "stopOrderType": "Stop" if order.stop is not None else "UNKNOWN",
        "createType": order.extra.get("createType", "CreateByUser"),
        "execFee": plain(trade.fee),
        "execId": exec_key(trade.id, trade.symbol),
        "execPrice": plain(trade.price),
        "execQty": plain(trade.qty),
        "execType": "BustTrade" if trade.liquidation else "Trade",
        "execValue": plain(trade.qty * trade.price),
        "execTime": str(trade.ms),
        "execPnl": plain(trade.realised),
        "feeCurrency": trade.fee_coin,
        "isMaker": trade.maker,
        "feeRate": plain(spec.maker if trade.maker else spec.taker),
        "markPrice": plain(mark),
        "closedSize": plain(trade.closed_qty),
        "seq": trade.id,
        **_unused(),
    }


def funding_row(funding: Funding) -> Row:
    """One payment of funding, as an execution: the fee is above 0 when the account paid."""
    size = abs(funding.qty)
    return {
        "symbol": funding.symbol,
        "orderId": order_key(0),
        "orderLinkId": "",
        "side": "Buy" if funding.qty > 0 else "Sell",
        "orderPrice": "0",
        "orderQty": "0",
        "leavesQty": "0",
        "orderType": "UNKNOWN",
        "stopOrderType": "UNKNOWN",
        "createType": "",
        "execFee": plain(funding.amount),
        "execId": exec_key(funding.id, funding.symbol, "funding"),
        "execPrice": plain(funding.mark),
        "execQty": plain(size),
        "execType": "Funding",
        "execValue": plain(size * funding.mark),
        "execTime": str(funding.ms),
        "execPnl": "0",
        "feeCurrency": "",
        "isMaker": False,
        "feeRate": plain(funding.rate if funding.qty > 0 else -funding.rate),
        "markPrice": plain(funding.mark),
        "closedSize": "0",
        "seq": funding.id,
        **_unused(),
    }


def _unused() -> Row:
    names = ("tradeIv", "markIv", "indexPrice", "underlyingPrice", "blockTradeId", "marketUnit", "extraFees")
    return dict.fromkeys(names, "")


def position_row(position: Position, spec: Spec, leverage: Decimal, mark: Decimal, level: Decimal | None) -> Row:
    """One position, flat ones too; level is the liquidation price where there is one."""
    size = abs(position.qty)
    side = "" if not position.qty else "Buy" if position.qty > 0 else "Sell"
    return {
        "symbol": position.symbol,
        "side": side,
        "size": plain(size),
        "avgPrice": plain(position.entry) if size else "0",
        "positionValue": plain(size * position.entry) if size else "",
        "leverage": plain(leverage),
        "markPrice": plain(mark),
        "liqPrice": plain(level) if size else "",
        "bustPrice": "",
        "positionIM": plain(position.margin) if size else "",
        "positionMM": plain(size * mark * spec.maintenance) if size else "",
        "positionBalance": plain(position.margin) if size else "0",
        "unrealisedPnl": plain(position.unrealised(mark)) if size else "",
        "curRealisedPnl": plain(position.realised),
        "cumRealisedPnl": plain(position.realised),
        "positionIdx": 0,
        "positionStatus": "Normal",
        "riskId": 1,
        "riskLimitValue": "2000000",
        "tradeMode": 0,
        "autoAddMargin": 0,
        "adlRankIndicator": 0,
        "tpslMode": "Full",
        "takeProfit": "",
        "stopLoss": "",
        "trailingStop": "0",
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "createdTime": str(position.updated_ms),
        "updatedTime": str(position.updated_ms),
        "seq": position.updated_ms or -1,
    }


def wallet_row(account: Account, marks: dict[str, Decimal], maintenance: dict[str, Decimal], settle: str) -> Row:
    """The unified account; marks and maintenance rates by symbol. Only the settle coin backs positions."""
    held = [position for position in account.positions.values() if position.qty]
    margin = sum((position.margin for position in held), ZERO)
    loose = sum((position.unrealised(marks[position.symbol]) for position in held), ZERO)
    needed = sum((abs(item.qty) * marks[item.symbol] * maintenance[item.symbol] for item in held), ZERO)
    realised = sum((position.realised for position in account.positions.values()), ZERO)
    coins = []
    for coin in account.coins():
        own = coin == settle
        wallet = account.total(coin) + (margin if own else ZERO)
        coins.append({
            "coin": coin,
            "walletBalance": plain(wallet),
            "equity": plain(wallet + (loose if own else ZERO)),
            "usdValue": plain(wallet + loose) if own else "0",
            "locked": "0" if own else plain(account.locked[coin]),
            "totalOrderIM": plain(account.locked[coin]) if own else "0",
            "totalPositionIM": plain(margin) if own else "0",
            "totalPositionMM": plain(needed) if own else "0",
            "unrealisedPnl": plain(loose) if own else "0",
            "cumRealisedPnl": plain(realised) if own else "0",
            "availableToWithdraw": "",  # no longer told of unified accounts
            "availableToBorrow": "",
            "borrowAmount": "0",
            "accruedInterest": "0",
            "bonus": "0",
            "spotHedgingQty": "0",
            "marginCollateral": own,
            "collateralSwitch": own,
        })  # fmt: skip
    total = account.total(settle) + margin
    return {
        "accountType": "UNIFIED",
        "totalEquity": plain(total + loose),
        "totalWalletBalance": plain(total),
        "totalMarginBalance": "",  # these are not told in isolated margin mode
        "totalAvailableBalance": "",
        "totalInitialMargin": "",
        "totalMaintenanceMargin": "",
        "accountIMRate": "",
        "accountMMRate": "",
        "accountLTV": "",
        "totalPerpUPL": plain(loose),
        "coin": coins,
    }


def instrument_row(spec: Spec, funding_minutes: int = 480) -> Row:
    """One market, as in `/v5/market/instruments-info`."""
    return {
        "symbol": spec.symbol,
        "contractType": "LinearPerpetual",
        "status": {"TRADING": "Trading", "BREAK": "PreLaunch"}.get(spec.status, "Closed"),
        "baseCoin": spec.base,
        "quoteCoin": spec.quote,
        "settleCoin": spec.quote,
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(max(0, -int(spec.tick.normalize().as_tuple().exponent))),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": plain(spec.max_leverage), "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": plain(spec.min_price),
            "maxPrice": plain(spec.max_price),
            "tickSize": plain(spec.tick),
        },
        "lotSizeFilter": {
            "maxOrderQty": plain(spec.max_qty),
            "maxMktOrderQty": plain(spec.max_qty),
            "minOrderQty": plain(spec.min_qty),
            "qtyStep": plain(spec.lot),
            "postOnlyMaxOrderQty": plain(spec.max_qty),
            "minNotionalValue": plain(spec.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": funding_minutes,
        "copyTrading": "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
    }
